#include "kernels/cpu/ops.h"
#include "kernels/cpu/vector_math.h"

#include <math.h>

static float
sum_of_squares (const float *x, int64_t n, float mean)
{
  float sum = 0.f;

#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; i++)
    sum += (x[i] - mean) * (x[i] - mean);
  return sum;
}

static float
row_mean (const float *x, int64_t n)
{
  float sum = 0.f;

#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; i++)
    sum += x[i];
  return sum / (float) n;
}

static float
rms_factor (const float *x, int64_t n, float eps)
{
  return 1.f / sqrtf (sum_of_squares (x, n, 0.f) / (float) n + eps);
}

static void
rms_norm_row (float *y, const float *x, const float *w, const float *scale, int64_t n, float eps)
{
  const float factor = rms_factor (x, n, eps);

  if (scale)
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      y[i] = x[i] * factor * w[i] * (1.f + scale[i]);
  else
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      y[i] = x[i] * factor * w[i];
}

krn_status
krn_cpu_rms_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor scale,
                  float eps)
{
  const int64_t rows = krn_rows (y), n = y.dim[3];

  if (!krn_is_tensor (y, KRN_F32) || !krn_is_matrix (x, rows, n) || !krn_is_vector (w, n) ||
      !krn_may_be_vector (scale, n))
    return KRN_ERROR_SHAPE;

#pragma omp parallel for num_threads(stream->threads) if (rows * n > KRN_SERIAL)
  for (int64_t r = 0; r < rows; r++)
    rms_norm_row (krn_row (y, r), krn_row (x, r), w.data, scale.data, n, eps);
  return KRN_OK;
}

krn_status
krn_cpu_layer_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor scale, float eps)
{
  const int64_t rows = krn_rows (y), n = y.dim[3];
  const float *by = scale.data;

  if (!krn_is_tensor (y, KRN_F32) || !krn_is_matrix (x, rows, n) || !krn_may_be_vector (scale, n))
    return KRN_ERROR_SHAPE;

#pragma omp parallel for num_threads(stream->threads) if (rows * n > KRN_SERIAL)
  for (int64_t r = 0; r < rows; r++) {
    const float *from = krn_row (x, r);
    const float mean = row_mean (from, n);
    const float factor = 1.f / sqrtf (sum_of_squares (from, n, mean) / (float) n + eps);
    float *to = krn_row (y, r);

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      to[i] = (from[i] - mean) * factor * (by ? 1.f + by[i] : 1.f);
  }
  return KRN_OK;
}

static void
residual_row (float *x, const float *h, const float *w, const float *gate, int64_t n, float eps)
{
  const float factor = w ? rms_factor (h, n, eps) : 1.f;

  if (w && gate)
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      x[i] += krn_tanh (gate[i]) * (h[i] * factor * w[i]);
  else if (w)
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      x[i] += h[i] * factor * w[i];
  else if (gate)
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      x[i] += krn_tanh (gate[i]) * h[i];
  else
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      x[i] += h[i];
}

krn_status
krn_cpu_residual_norm (krn_stream *stream, const struct krn_residual_norm *args)
{
  const krn_tensor x = args->x, h = args->h, y = args->y;
  const int64_t rows = krn_rows (x), n = x.dim[3];

  if (!krn_is_tensor (x, KRN_F32) || !krn_is_matrix (h, rows, n) ||
      !krn_may_be_vector (args->h_weight, n) || !krn_may_be_vector (args->gate, n))
    return KRN_ERROR_SHAPE;
  if (y.data && (!krn_is_matrix (y, rows, n) || !krn_is_vector (args->y_weight, n) ||
                 !krn_may_be_vector (args->y_scale, n)))
    return KRN_ERROR_SHAPE;

#pragma omp parallel for num_threads(stream->threads) if (rows * n > KRN_SERIAL)
  for (int64_t r = 0; r < rows; r++) {
    residual_row (krn_row (x, r), krn_row (h, r), args->h_weight.data, args->gate.data, n,
                  args->eps);
    if (y.data)
      rms_norm_row (krn_row (y, r), krn_row (x, r), args->y_weight.data, args->y_scale.data, n,
                    args->eps);
  }
  return KRN_OK;
}
