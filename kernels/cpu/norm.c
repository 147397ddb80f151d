#include "kernels/cpu/ops.h"
#include "kernels/cpu/vector_math.h"

#include <math.h>

enum { RUN = 256 }; /* elements summed in float32; the runs are summed in float64 */

/* The mean of (x - centre)^2. */
static float
mean_square (const float *x, int64_t n, float centre)
{
  double total = 0.;

  for (int64_t first = 0; first < n; first += RUN) {
    const int64_t end = first + RUN < n ? first + RUN : n;
    float sum = 0.f;

#pragma omp simd reduction(+ : sum)
    for (int64_t i = first; i < end; i++)
      sum += (x[i] - centre) * (x[i] - centre);
    total += (double) sum;
  }
  return (float) (total / (double) n);
}

static float
row_mean (const float *x, int64_t n)
{
  double total = 0.;

  for (int64_t first = 0; first < n; first += RUN) {
    const int64_t end = first + RUN < n ? first + RUN : n;
    float sum = 0.f;

#pragma omp simd reduction(+ : sum)
    for (int64_t i = first; i < end; i++)
      sum += x[i];
    total += (double) sum;
  }
  return (float) (total / (double) n);
}

static float
rms_factor (const float *x, int64_t n, float eps)
{
  return 1.f / sqrtf (mean_square (x, n, 0.f) + eps);
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

struct norm {
  krn_tensor y, x, w, scale;
  float eps;
};

static void
rms_norm_rows (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct norm *self = data;

  for (int64_t r = first; r < end; r++)
    rms_norm_row (krn_row (self->y, r), krn_row (self->x, r), self->w.data, self->scale.data,
                  self->y.dim[3], self->eps);
}

krn_status
krn_cpu_rms_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor scale,
                  float eps)
{
  const int64_t rows = krn_rows (y), n = y.dim[3];
  const struct norm self = { y, x, w, scale, eps };

  if (!krn_is_tensor (y, KRN_F32) || !krn_is_matrix (x, rows, n) || !krn_is_vector (w, n) ||
      !krn_may_be_vector (scale, n))
    return KRN_ERROR_SHAPE;

  krn_for_rows (stream, rows, n, rms_norm_rows, &self);
  return KRN_OK;
}

static void
layer_norm_row (float *y, const float *x, const float *scale, int64_t n, float eps)
{
  const float mean = row_mean (x, n);
  const float factor = 1.f / sqrtf (mean_square (x, n, mean) + eps);

  if (scale)
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      y[i] = (x[i] - mean) * factor * (1.f + scale[i]);
  else
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      y[i] = (x[i] - mean) * factor;
}

static void
layer_norm_rows (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct norm *self = data;

  for (int64_t r = first; r < end; r++)
    layer_norm_row (krn_row (self->y, r), krn_row (self->x, r), self->scale.data, self->y.dim[3],
                    self->eps);
}

krn_status
krn_cpu_layer_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor scale, float eps)
{
  const int64_t rows = krn_rows (y), n = y.dim[3];
  const struct norm self = { .y = y, .x = x, .scale = scale, .eps = eps };

  if (!krn_is_tensor (y, KRN_F32) || !krn_is_matrix (x, rows, n) || !krn_may_be_vector (scale, n))
    return KRN_ERROR_SHAPE;

  krn_for_rows (stream, rows, n, layer_norm_rows, &self);
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

static void
residual_norm_rows (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct krn_residual_norm *args = data;
  const int64_t n = args->x.dim[3];

  for (int64_t r = first; r < end; r++) {
    float *x = krn_row (args->x, r);

    residual_row (x, krn_row (args->h, r), args->h_weight.data, args->gate.data, n, args->eps);
    if (args->y.data)
      rms_norm_row (krn_row (args->y, r), x, args->y_weight.data, args->y_scale.data, n, args->eps);
  }
}

krn_status
krn_cpu_residual_norm (krn_stream *stream, const struct krn_residual_norm *args)
{
  const int64_t rows = krn_rows (args->x), n = args->x.dim[3];

  if (!krn_is_tensor (args->x, KRN_F32) || !krn_is_matrix (args->h, rows, n) ||
      !krn_may_be_vector (args->h_weight, n) || !krn_may_be_vector (args->gate, n))
    return KRN_ERROR_SHAPE;
  if (args->y.data && (!krn_is_matrix (args->y, rows, n) || !krn_is_vector (args->y_weight, n) ||
                       !krn_may_be_vector (args->y_scale, n)))
    return KRN_ERROR_SHAPE;

  krn_for_rows (stream, rows, n, residual_norm_rows, args);
  return KRN_OK;
}
