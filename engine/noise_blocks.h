/* engine/noise_blocks.h - torch's normals in blocks of 16; private to noise.c. */
#pragma once

#include <stddef.h>

/* In place: n times 16 uniforms of [0, 1) become as many normals. */
void eng_noise_blocks (float *values, size_t n);
/* The same, for any processor and for one that has fused multiply-add (x86-64 only). */
void eng_noise_blocks_base (float *values, size_t n);
void eng_noise_blocks_fma (float *values, size_t n);
