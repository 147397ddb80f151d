/* engine/noise.h - normal noise equal to torch.randn, so that a seed means the same picture here as
 * in other programs.
 *
 *     struct eng_noise noise;
 *     eng_noise_init (&noise, ENG_RNG_CPU, seed);
 *     eng_noise_fill (&noise, latents, n);
 *
 * A generator is plain data without anything to free; copying it copies its state.  Not to be used
 * from two threads at once.  Nothing here fails.
 *
 * ENG_RNG_CPU: torch.Generator ("cpu"), float32, contiguous: bit for bit what torch 2.x gives on an
 * x86-64 machine with AVX2 or AVX-512 (tests/data/noise-cpu.txt).  Without AVX2 torch itself gives
 * other last bits.  As in torch, only the low 32 bits of the seed count, a draw of 16 or more
 * values differs from its parts drawn one after the other, and the half of a pair that a draw of
 * fewer than 16 left over is kept for the next such draw.
 *
 * ENG_RNG_CUDA: torch.Generator ("cuda"), float32.  Uniforms are bit for bit those of cuRAND; the
 * logarithm and the sine are rounded correctly here, while cuRAND takes the GPU's quick sine, whose
 * error is absolute: torch 2.11 on an H200 gives values at most 2.2e-6 away (a fifth of them the
 * same bits), for as many as that GPU runs threads: 270,336, which 1024x1024 needs 262,144 of. */
#pragma once

#include "engine/engine.h"

#include <stddef.h>
#include <stdint.h>

enum { ENG_NOISE_MT_WORDS = 624 };

struct eng_noise {
  enum eng_rng rng;
  uint64_t seed;

  /* ENG_RNG_CPU: the Mersenne Twister, and the normal that a short draw left over. */
  uint32_t mt[ENG_NOISE_MT_WORDS];
  int mt_used; /* words of mt given out since it was last renewed */
  gboolean has_left;
  double left;

  /* ENG_RNG_CUDA: the low half of the Philox counter, and the threads that torch would launch at
   * most: multiprocessors times threads per multiprocessor of the GPU to be imitated.  A draw of
   * more values than that lands in an order that depends on it.  0, the default, is a GPU that is
   * large enough, which is what A1111 and stable-diffusion.cpp imitate, too. */
  uint64_t offset;
  uint64_t max_threads;
};

void eng_noise_init (struct eng_noise *noise, enum eng_rng rng, uint64_t seed);

/* out[0] to out[n - 1] = one torch.randn (n, generator=noise). */
void eng_noise_fill (struct eng_noise *noise, float *out, size_t n);
