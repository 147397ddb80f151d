#include "kernels/cpu/ops.h"
#include "kernels/cpu/vector_math.h"

krn_status
krn_cpu_silu (krn_stream *stream, krn_tensor y, krn_tensor x)
{
  const int64_t rows = krn_rows (y), n = y.dim[3];

  if (!krn_is_tensor (y, KRN_F32) || !krn_is_matrix (x, rows, n))
    return KRN_ERROR_SHAPE;

#pragma omp parallel for num_threads(stream->threads) if (rows * n > KRN_SERIAL)
  for (int64_t r = 0; r < rows; r++) {
    const float *from = krn_row (x, r);
    float *to = krn_row (y, r);

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      to[i] = krn_silu (from[i]);
  }
  return KRN_OK;
}

krn_status
krn_cpu_silu_gate (krn_stream *stream, krn_tensor y, krn_tensor x)
{
  const int64_t rows = krn_rows (y), n = y.dim[3];

  if (!krn_is_tensor (y, KRN_F32) || !krn_is_matrix (x, rows, 2 * n))
    return KRN_ERROR_SHAPE;

#pragma omp parallel for num_threads(stream->threads) if (rows * n > KRN_SERIAL)
  for (int64_t r = 0; r < rows; r++) {
    const float *gate = krn_row (x, r), *value = gate + n;
    float *to = krn_row (y, r);

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
      to[i] = krn_silu (gate[i]) * value[i];
  }
  return KRN_OK;
}
