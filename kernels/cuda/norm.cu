/* kernels/cuda/norm.cu - norms over rows: one block a row, a row a few kilobytes that the second
 * reading finds in the cache.  Sums in f32. */
#include "kernels/cuda/common.cuh"

/* A block's threads for rows of n: eight elements each, up to 256. */
static unsigned
row_threads (int64_t n)
{
  const int64_t warps = (n + 255) / 256;

  return 32 * (unsigned) (warps < 8 ? warps : 8);
}

/* A block takes row blockIdx.x; rows beyond a grid's size are refused. */
static bool
rows_fit (int64_t rows)
{
  return rows <= INT32_MAX;
}

static __device__ float
sum_of_squares (const bf16 *x, size_t n, float mean, bool aligned)
{
  float sum = 0.f;

  for (size_t i = 8 * threadIdx.x; i < n; i += 8 * blockDim.x) {
    const eight e = load8 (x + i, n - i, aligned);

#pragma unroll
    for (int k = 0; k < 8; k++)
      sum += i + k < n ? (e.v[k] - mean) * (e.v[k] - mean) : 0.f;
  }
  return block_sum (sum);
}

/* y = x * factor * w * (1 + scale); each thread reads what it writes, so y may be x. */
static __device__ void
scale_row (bf16 *y, const bf16 *x, const bf16 *w, const float *scale, size_t n, float factor,
           bool aligned)
{
  for (size_t i = 8 * threadIdx.x; i < n; i += 8 * blockDim.x) {
    eight e = load8 (x + i, n - i, aligned);
    const eight by = load8 (w + i, n - i, aligned);

#pragma unroll
    for (int k = 0; k < 8; k++)
      e.v[k] *= factor * by.v[k];
    if (scale) {
      const eight s = load8 (scale + i, n - i, aligned);

#pragma unroll
      for (int k = 0; k < 8; k++)
        e.v[k] *= 1.f + s.v[k];
    }
    store8 (y + i, e, n - i, aligned);
  }
}

static __global__ void
rms_norm_rows (bf16 *y, const bf16 *x, const bf16 *w, const float *scale, size_t n, size_t y_stride,
               size_t x_stride, float eps, bool aligned)
{
  const bf16 *from = x + blockIdx.x * x_stride;
  const float mean = sum_of_squares (from, n, 0.f, aligned) / (float) n;

  scale_row (y + blockIdx.x * y_stride, from, w, scale, n, rsqrtf (mean + eps), aligned);
}

krn_status
krn_cuda_rms_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor scale,
                   float eps)
{
  const int64_t rows = krn_rows (y), n = y.dim[3];
  const bool aligned =
      krn_is_aligned (y) && krn_is_aligned (x) && krn_is_aligned (w) && krn_is_aligned (scale);

  if (!krn_is_tensor (y, KRN_BF16) || !krn_is_matrix (x, KRN_BF16, rows, n) ||
      !krn_is_vector (w, KRN_BF16, n) || !krn_may_be_vector (scale, KRN_F32, n))
    return KRN_ERROR_SHAPE;
  if (!rows_fit (rows))
    return KRN_ERROR_UNSUPPORTED;

  rms_norm_rows<<<(unsigned) rows, row_threads (n), 0, stream->handle>>> (
      (bf16 *) y.data, (const bf16 *) x.data, (const bf16 *) w.data, (const float *) scale.data,
      (size_t) n, (size_t) y.stride, (size_t) x.stride, eps, aligned);
  return krn_cuda_launched ();
}

static __global__ void
layer_norm_rows (bf16 *y, const bf16 *x, const float *scale, size_t n, size_t y_stride,
                 size_t x_stride, float eps, bool aligned)
{
  const bf16 *from = x + blockIdx.x * x_stride;
  bf16 *to = y + blockIdx.x * y_stride;
  float sum = 0.f, mean, factor;

  for (size_t i = 8 * threadIdx.x; i < n; i += 8 * blockDim.x) {
    const eight e = load8 (from + i, n - i, aligned);

#pragma unroll
    for (int k = 0; k < 8; k++)
      sum += e.v[k];
  }
  mean = block_sum (sum) / (float) n;
  factor = rsqrtf (sum_of_squares (from, n, mean, aligned) / (float) n + eps);

  for (size_t i = 8 * threadIdx.x; i < n; i += 8 * blockDim.x) {
    eight e = load8 (from + i, n - i, aligned);

#pragma unroll
    for (int k = 0; k < 8; k++)
      e.v[k] = (e.v[k] - mean) * factor;
    if (scale) {
      const eight s = load8 (scale + i, n - i, aligned);

#pragma unroll
      for (int k = 0; k < 8; k++)
        e.v[k] *= 1.f + s.v[k];
    }
    store8 (to + i, e, n - i, aligned);
  }
}

krn_status
krn_cuda_layer_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor scale, float eps)
{
  const int64_t rows = krn_rows (y), n = y.dim[3];
  const bool aligned = krn_is_aligned (y) && krn_is_aligned (x) && krn_is_aligned (scale);

  if (!krn_is_tensor (y, KRN_BF16) || !krn_is_matrix (x, KRN_BF16, rows, n) ||
      !krn_may_be_vector (scale, KRN_F32, n))
    return KRN_ERROR_SHAPE;
  if (!rows_fit (rows))
    return KRN_ERROR_UNSUPPORTED;

  layer_norm_rows<<<(unsigned) rows, row_threads (n), 0, stream->handle>>> (
      (bf16 *) y.data, (const bf16 *) x.data, (const float *) scale.data, (size_t) n,
      (size_t) y.stride, (size_t) x.stride, eps, aligned);
  return krn_cuda_launched ();
}

/* Absent pointers are NULL. */
struct residual {
  bf16 *x, *y;
  const bf16 *h, *h_weight, *y_weight;
  const float *gate, *y_scale;
  size_t n, x_stride, y_stride, h_stride;
  float eps;
  bool aligned;
};

/* Adds to x and gives the sum of squares of what x then holds: the norm is of the stored numbers,
 * as if it were an operation of its own. */
static __device__ float
add_row (const struct residual &r, bf16 *x, const bf16 *h, float factor)
{
  float sum = 0.f;

  for (size_t i = 8 * threadIdx.x; i < r.n; i += 8 * blockDim.x) {
    const size_t left = r.n - i;
    eight e = load8 (x + i, left, r.aligned), add = load8 (h + i, left, r.aligned);

    if (r.h_weight) {
      const eight w = load8 (r.h_weight + i, left, r.aligned);

#pragma unroll
      for (int k = 0; k < 8; k++)
        add.v[k] *= factor * w.v[k];
    }
    if (r.gate) {
      const eight g = load8 (r.gate + i, left, r.aligned);

#pragma unroll
      for (int k = 0; k < 8; k++)
        add.v[k] *= tanhf (g.v[k]);
    }
#pragma unroll
    for (int k = 0; k < 8; k++) {
      e.v[k] = rounded (e.v[k] + add.v[k]);
      sum += e.v[k] * e.v[k];
    }
    store8 (x + i, e, left, r.aligned);
  }
  return sum;
}

static __global__ void
residual_norm_rows (struct residual r)
{
  bf16 *x = r.x + blockIdx.x * r.x_stride;
  const bf16 *h = r.h + blockIdx.x * r.h_stride;
  float factor = 1.f, sum;

  if (r.h_weight)
    factor = rsqrtf (sum_of_squares (h, r.n, 0.f, r.aligned) / (float) r.n + r.eps);
  sum = add_row (r, x, h, factor);
  if (!r.y)
    return;
  factor = rsqrtf (block_sum (sum) / (float) r.n + r.eps);
  scale_row (r.y + blockIdx.x * r.y_stride, x, r.y_weight, r.y_scale, r.n, factor, r.aligned);
}

krn_status
krn_cuda_residual_norm (krn_stream *stream, const struct krn_residual_norm *args)
{
  const int64_t rows = krn_rows (args->x), n = args->x.dim[3];
  struct residual r = {};

  if (!krn_is_tensor (args->x, KRN_BF16) || !krn_is_matrix (args->h, KRN_BF16, rows, n) ||
      !krn_may_be_vector (args->h_weight, KRN_BF16, n) ||
      !krn_may_be_vector (args->gate, KRN_F32, n))
    return KRN_ERROR_SHAPE;
  if (args->y.data && (!krn_is_matrix (args->y, KRN_BF16, rows, n) ||
                       !krn_is_vector (args->y_weight, KRN_BF16, n) ||
                       !krn_may_be_vector (args->y_scale, KRN_F32, n)))
    return KRN_ERROR_SHAPE;
  if (!rows_fit (rows))
    return KRN_ERROR_UNSUPPORTED;

  r.x = (bf16 *) args->x.data;
  r.h = (const bf16 *) args->h.data;
  r.h_weight = (const bf16 *) args->h_weight.data;
  r.gate = (const float *) args->gate.data;
  r.n = (size_t) n;
  r.x_stride = (size_t) args->x.stride;
  r.h_stride = (size_t) args->h.stride;
  r.eps = args->eps;
  r.aligned = krn_is_aligned (args->x) && krn_is_aligned (args->h) &&
              krn_is_aligned (args->h_weight) && krn_is_aligned (args->gate);
  if (args->y.data) {
    r.y = (bf16 *) args->y.data;
    r.y_weight = (const bf16 *) args->y_weight.data;
    r.y_scale = (const float *) args->y_scale.data;
    r.y_stride = (size_t) args->y.stride;
    r.aligned = r.aligned && krn_is_aligned (args->y) && krn_is_aligned (args->y_weight) &&
                krn_is_aligned (args->y_scale);
  }
  residual_norm_rows<<<(unsigned) rows, row_threads (n), 0, stream->handle>>> (r);
  return krn_cuda_launched ();
}
