/* kernels/cuda/ops.h - the operations on CUDA, and the checks that they share.  Plain C. */
#pragma once

#include "kernels/cuda/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the engine looks for, a krn_cuda_open_fn; all else in the module is hidden. */
__attribute__ ((visibility ("default"))) krn_status krn_cuda_open (struct krn_device **device,
                                                                   char *reason, size_t size);

/* What krn_device calls a CUDA error, which is forgotten so that a later launch is not blamed. */
krn_status krn_cuda_status (cudaError_t error);
/* The status of the launches since the last call. */
krn_status krn_cuda_launched (void);

/* Lets kernels that need more than 48 KiB of shared memory have it; once, at open. */
krn_status krn_cuda_attention_prepare (void);
krn_status krn_cuda_attention_wide_prepare (void);
krn_status krn_cuda_conv_prepare (void);

krn_status krn_cuda_gl_check (struct krn_device *device);
krn_status krn_cuda_gl_register (struct krn_device *device, krn_gl_texture **texture, unsigned name,
                                 int width, int height);
void krn_cuda_gl_unregister (krn_gl_texture *texture);
krn_status krn_cuda_gl_copy (krn_stream *stream, krn_gl_texture *texture, krn_tensor rgba);

krn_status krn_cuda_upload (krn_stream *stream, krn_tensor dst, const void *src,
                            krn_dtype src_dtype);
krn_status krn_cuda_download (krn_stream *stream, void *dst, krn_tensor src);
krn_status krn_cuda_copy (krn_stream *stream, krn_tensor dst, krn_tensor src);
krn_status krn_cuda_linear (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                            krn_tensor bias, bool accumulate);
krn_status krn_cuda_embedding (krn_stream *stream, krn_tensor y, krn_tensor ids, krn_tensor table);
krn_status krn_cuda_rms_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                              krn_tensor scale, float eps);
krn_status krn_cuda_layer_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor scale,
                                float eps);
krn_status krn_cuda_residual_norm (krn_stream *stream, const struct krn_residual_norm *args);
krn_status krn_cuda_qk_norm_rope (krn_stream *stream, const struct krn_qk_norm_rope *args);
krn_status krn_cuda_attention (krn_stream *stream, krn_tensor o, krn_tensor q, krn_tensor k,
                               krn_tensor v, const struct krn_attention *args);
krn_status krn_cuda_silu_gate (krn_stream *stream, krn_tensor y, krn_tensor x);
krn_status krn_cuda_silu (krn_stream *stream, krn_tensor y, krn_tensor x);
krn_status krn_cuda_conv2d (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                            krn_tensor bias, const struct krn_conv *args);
krn_status krn_cuda_group_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                                krn_tensor b, int groups, float eps, bool silu);
krn_status krn_cuda_group_stats (krn_stream *stream, krn_tensor stats, krn_tensor x, int groups);
krn_status krn_cuda_group_apply (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor stats,
                                 krn_tensor w, krn_tensor b, float eps, bool silu);
krn_status krn_cuda_patchify (krn_stream *stream, krn_tensor tokens, krn_tensor latent, int patch);
krn_status krn_cuda_sampler_step (krn_stream *stream, const struct krn_sampler_step *args);
krn_status krn_cuda_to_nhwc (krn_stream *stream, krn_tensor y, krn_tensor x, float mul, float add);
krn_status krn_cuda_to_nchw (krn_stream *stream, krn_tensor y, krn_tensor x, float mul, float add);
krn_status krn_cuda_latent_rgba (krn_stream *stream, krn_tensor rgba, krn_tensor latent,
                                 krn_tensor factors);
krn_status krn_cuda_image_rgba (krn_stream *stream, krn_tensor rgba, krn_tensor x);

/* Present, with sizes above zero and rows that do not overlap. */
static inline bool
krn_is_tensor (krn_tensor t, krn_dtype dtype)
{
  return t.data != NULL && t.dtype == dtype && t.dim[0] > 0 && t.dim[1] > 0 && t.dim[2] > 0 &&
         t.dim[3] > 0 && (t.stride >= t.dim[3] || krn_rows (t) == 1);
}

static inline bool
krn_is_packed (krn_tensor t)
{
  return krn_is_tensor (t, t.dtype) && (t.stride == t.dim[3] || krn_rows (t) == 1);
}

static inline bool
krn_is_matrix (krn_tensor t, krn_dtype dtype, int64_t rows, int64_t cols)
{
  return krn_is_tensor (t, dtype) && krn_rows (t) == rows && t.dim[3] == cols;
}

static inline bool
krn_is_vector (krn_tensor t, krn_dtype dtype, int64_t n)
{
  return krn_is_matrix (t, dtype, 1, n);
}

/* Absent, or a vector of n. */
static inline bool
krn_may_be_vector (krn_tensor t, krn_dtype dtype, int64_t n)
{
  return t.data == NULL || krn_is_vector (t, dtype, n);
}

static inline bool
krn_is_image (krn_tensor t, krn_dtype dtype, int64_t d1, int64_t d2, int64_t d3)
{
  return krn_is_tensor (t, dtype) && t.dim[0] == 1 && t.dim[1] == d1 && t.dim[2] == d2 &&
         t.dim[3] == d3;
}

static inline bool
krn_same_shape (krn_tensor a, krn_tensor b)
{
  return a.dim[0] == b.dim[0] && a.dim[1] == b.dim[1] && a.dim[2] == b.dim[2] &&
         a.dim[3] == b.dim[3];
}

/* Every row starts where a 16-byte access may; absent tensors do not matter. */
static inline bool
krn_is_aligned (krn_tensor t)
{
  const size_t size = krn_dtype_size (t.dtype);

  return t.data == NULL || ((uintptr_t) t.data % 16 == 0 &&
                            (krn_rows (t) == 1 || (size_t) t.stride * size % 16 == 0));
}

/* Blocks for n items, at most so many that the launch is accepted: kernels that use it take further
 * items in steps of the grid. */
static inline unsigned
krn_blocks (size_t n, size_t per_block)
{
  const size_t blocks = (n + per_block - 1) / per_block, most = (size_t) 1 << 24;

  return (unsigned) (blocks < most ? blocks : most);
}

#ifdef __cplusplus
}
#endif
