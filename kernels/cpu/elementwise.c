#include "kernels/cpu/ops.h"
#include "kernels/cpu/vector_math.h"

struct elementwise {
  krn_tensor y, x;
};

static void
silu_rows (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct elementwise *self = data;
  const int64_t n = self->y.dim[3];

  for (int64_t r = first; r < end; r++) {
    const float *from = krn_row (self->x, r);
    float *to = krn_row (self->y, r);

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      to[i] = krn_silu (from[i]);
  }
}

krn_status
krn_cpu_silu (krn_stream *stream, krn_tensor y, krn_tensor x)
{
  const struct elementwise self = { y, x };

  if (!krn_is_tensor (y, KRN_F32) || !krn_is_matrix (x, krn_rows (y), y.dim[3]))
    return KRN_ERROR_SHAPE;

  krn_for_rows (stream, krn_rows (y), y.dim[3], silu_rows, &self);
  return KRN_OK;
}

static void
silu_gate_rows (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct elementwise *self = data;
  const int64_t n = self->y.dim[3];

  for (int64_t r = first; r < end; r++) {
    const float *gate = krn_row (self->x, r), *value = gate + n;
    float *to = krn_row (self->y, r);

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      to[i] = krn_silu (gate[i]) * value[i];
  }
}

krn_status
krn_cpu_silu_gate (krn_stream *stream, krn_tensor y, krn_tensor x)
{
  const struct elementwise self = { y, x };

  if (!krn_is_tensor (y, KRN_F32) || !krn_is_matrix (x, krn_rows (y), 2 * y.dim[3]))
    return KRN_ERROR_SHAPE;

  krn_for_rows (stream, krn_rows (y), y.dim[3], silu_gate_rows, &self);
  return KRN_OK;
}
