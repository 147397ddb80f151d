/* kernels/cpu/ops.h - the operations of one level, and the checks that they share. */
#pragma once

#include "kernels/cpu/level.h"
#include "kernels/cpu/stream.h"
#include "kernels/device.h"

/* Elements of a part of an elementwise operation: a few microseconds. */
enum { KRN_PART = 8192 };

/* Puts the operations of this level into the table. */
void krn_cpu_fill (struct krn_device *device);

krn_status krn_cpu_upload (krn_stream *stream, krn_tensor dst, const void *src,
                           krn_dtype src_dtype);
krn_status krn_cpu_download (krn_stream *stream, void *dst, krn_tensor src);
krn_status krn_cpu_copy (krn_stream *stream, krn_tensor dst, krn_tensor src);
krn_status krn_cpu_linear (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                           krn_tensor bias, bool accumulate);
krn_status krn_cpu_embedding (krn_stream *stream, krn_tensor y, krn_tensor ids, krn_tensor table);
krn_status krn_cpu_rms_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                             krn_tensor scale, float eps);
krn_status krn_cpu_layer_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor scale,
                               float eps);
krn_status krn_cpu_residual_norm (krn_stream *stream, const struct krn_residual_norm *args);
krn_status krn_cpu_qk_norm_rope (krn_stream *stream, const struct krn_qk_norm_rope *args);
krn_status krn_cpu_attention (krn_stream *stream, krn_tensor o, krn_tensor q, krn_tensor k,
                              krn_tensor v, const struct krn_attention *args);
krn_status krn_cpu_silu_gate (krn_stream *stream, krn_tensor y, krn_tensor x);
krn_status krn_cpu_silu (krn_stream *stream, krn_tensor y, krn_tensor x);
krn_status krn_cpu_conv2d (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                           krn_tensor bias, const struct krn_conv *args);
krn_status krn_cpu_group_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                               krn_tensor b, int groups, float eps, bool silu);
krn_status krn_cpu_group_stats (krn_stream *stream, krn_tensor stats, krn_tensor x, int groups);
krn_status krn_cpu_group_apply (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor stats,
                                krn_tensor w, krn_tensor b, float eps, bool silu);
krn_status krn_cpu_patchify (krn_stream *stream, krn_tensor tokens, krn_tensor latent, int patch);
krn_status krn_cpu_sampler_step (krn_stream *stream, const struct krn_sampler_step *args);
krn_status krn_cpu_to_nhwc (krn_stream *stream, krn_tensor y, krn_tensor x, float mul, float add);
krn_status krn_cpu_to_nchw (krn_stream *stream, krn_tensor y, krn_tensor x, float mul, float add);
krn_status krn_cpu_latent_rgba (krn_stream *stream, krn_tensor rgba, krn_tensor latent,
                                krn_tensor factors);
krn_status krn_cpu_image_rgba (krn_stream *stream, krn_tensor rgba, krn_tensor x);

/* Runs a task over rows of cols elements, in parts that are worth a thread. */
static inline void
krn_for_rows (krn_stream *stream, int64_t rows, int64_t cols, krn_task task, const void *data)
{
  krn_team_run (stream->team, rows, (KRN_PART + cols - 1) / cols, task, data);
}

/* The float32 row of a tensor seen as [rows, cols]. */
static inline float *
krn_row (krn_tensor t, int64_t row)
{
  return (float *) t.data + (size_t) row * (size_t) t.stride;
}

/* Present, with sizes above zero and rows that do not overlap. */
static inline bool
krn_is_tensor (krn_tensor t, krn_dtype dtype)
{
  return t.data != NULL && t.dtype == dtype && t.dim[0] > 0 && t.dim[1] > 0 && t.dim[2] > 0 &&
         t.dim[3] > 0 && (t.stride >= t.dim[3] || krn_rows (t) == 1);
}

static inline bool
krn_is_matrix (krn_tensor t, int64_t rows, int64_t cols)
{
  return krn_is_tensor (t, KRN_F32) && krn_rows (t) == rows && t.dim[3] == cols;
}

static inline bool
krn_is_vector (krn_tensor t, int64_t n)
{
  return krn_is_matrix (t, 1, n);
}

/* Absent, or a vector of n. */
static inline bool
krn_may_be_vector (krn_tensor t, int64_t n)
{
  return t.data == NULL || krn_is_vector (t, n);
}

static inline bool
krn_is_image (krn_tensor t, krn_dtype dtype, int64_t d1, int64_t d2, int64_t d3)
{
  return krn_is_tensor (t, dtype) && t.dim[0] == 1 && t.dim[1] == d1 && t.dim[2] == d2 &&
         t.dim[3] == d3;
}
