/* kernels/cpu/level.h - names and vectors of one level of the instruction set.
 *
 * Meson compiles the operations once for each level and gives KRN_LEVEL (the end of every external
 * name), KRN_VECTOR_BYTES and KRN_TILE_VECTORS.  Included by every file that is compiled so. */
#pragma once

#include <stdint.h>

#define KRN_LEVEL_PASTE(name, level) name##_##level
#define KRN_LEVEL_EXPAND(name, level) KRN_LEVEL_PASTE (name, level)
#define KRN_LEVEL_NAME(name) KRN_LEVEL_EXPAND (name, KRN_LEVEL)

#define krn_cpu_attention KRN_LEVEL_NAME (krn_cpu_attention)
#define krn_cpu_conv2d KRN_LEVEL_NAME (krn_cpu_conv2d)
#define krn_cpu_copy KRN_LEVEL_NAME (krn_cpu_copy)
#define krn_cpu_download KRN_LEVEL_NAME (krn_cpu_download)
#define krn_cpu_embedding KRN_LEVEL_NAME (krn_cpu_embedding)
#define krn_cpu_fill KRN_LEVEL_NAME (krn_cpu_fill)
#define krn_cpu_gemm KRN_LEVEL_NAME (krn_cpu_gemm)
#define krn_cpu_group_apply KRN_LEVEL_NAME (krn_cpu_group_apply)
#define krn_cpu_group_norm KRN_LEVEL_NAME (krn_cpu_group_norm)
#define krn_cpu_group_stats KRN_LEVEL_NAME (krn_cpu_group_stats)
#define krn_cpu_image_rgba KRN_LEVEL_NAME (krn_cpu_image_rgba)
#define krn_cpu_latent_rgba KRN_LEVEL_NAME (krn_cpu_latent_rgba)
#define krn_cpu_layer_norm KRN_LEVEL_NAME (krn_cpu_layer_norm)
#define krn_cpu_linear KRN_LEVEL_NAME (krn_cpu_linear)
#define krn_cpu_pack_columns KRN_LEVEL_NAME (krn_cpu_pack_columns)
#define krn_cpu_pack_rows KRN_LEVEL_NAME (krn_cpu_pack_rows)
#define krn_cpu_patchify KRN_LEVEL_NAME (krn_cpu_patchify)
#define krn_cpu_qk_norm_rope KRN_LEVEL_NAME (krn_cpu_qk_norm_rope)
#define krn_cpu_residual_norm KRN_LEVEL_NAME (krn_cpu_residual_norm)
#define krn_cpu_rms_norm KRN_LEVEL_NAME (krn_cpu_rms_norm)
#define krn_cpu_sampler_step KRN_LEVEL_NAME (krn_cpu_sampler_step)
#define krn_cpu_silu KRN_LEVEL_NAME (krn_cpu_silu)
#define krn_cpu_silu_gate KRN_LEVEL_NAME (krn_cpu_silu_gate)
#define krn_cpu_tile KRN_LEVEL_NAME (krn_cpu_tile)
#define krn_cpu_to_nchw KRN_LEVEL_NAME (krn_cpu_to_nchw)
#define krn_cpu_to_nhwc KRN_LEVEL_NAME (krn_cpu_to_nhwc)
#define krn_cpu_upload KRN_LEVEL_NAME (krn_cpu_upload)

enum {
  KRN_VECTOR = KRN_VECTOR_BYTES / 4,             /* floats in one register */
  KRN_TILE_ROWS = 6,                             /* rows of the GEMM's register tile */
  KRN_TILE_COLS = KRN_TILE_VECTORS * KRN_VECTOR, /* and its columns */
};

/* Loads and stores through this type need no alignment. */
typedef float krn_vector __attribute__ ((vector_size (KRN_VECTOR_BYTES), aligned (4), may_alias));

/* Indices that interleave the low and the high halves of two vectors, for __builtin_shufflevector.
 */
#if KRN_VECTOR_BYTES == 64
#define KRN_INTERLEAVE_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define KRN_INTERLEAVE_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif KRN_VECTOR_BYTES == 32
#define KRN_INTERLEAVE_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define KRN_INTERLEAVE_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define KRN_INTERLEAVE_LOW 0, 4, 1, 5
#define KRN_INTERLEAVE_HIGH 2, 6, 3, 7
#endif
