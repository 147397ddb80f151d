#include "kernels/cpu/gemm.h"
#include "kernels/cpu/ops.h"

#include <string.h>

/* Fewer rows than this do not pay for laying out the weights: each weight is read once. */
enum { FEW_ROWS = 8 };

struct linear {
  krn_tensor y, x, w, bias;
  bool accumulate;
};

static void
linear_rows (const void *data, struct krn_tile_rows *rows, int64_t m, int first_tap, int n_taps,
             int64_t first_channel)
{
  const struct linear *self = data;
  const int64_t last = krn_rows (self->y) - 1;

  for (int i = 0; i < KRN_TILE_ROWS; i++) {
    const int64_t row = m + i < last ? m + i : last;

    rows->a[0][i] = krn_row (self->x, row) + first_channel;
    rows->y[i] = krn_row (self->y, row);
    rows->add[i] = self->accumulate ? rows->y[i] : NULL;
  }
}

static __attribute__ ((noinline)) float
dot (const float *a, const float *b, int64_t n)
{
  float sum = 0.f;

#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; i++)
    sum += a[i] * b[i];
  return sum;
}

static void
linear_few (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct linear *self = data;

  for (int64_t n = first; n < end; n++)
    for (int64_t m = 0; m < krn_rows (self->y); m++) {
      const float bias = self->bias.data ? ((const float *) self->bias.data)[n] : 0.f;
      float *y = krn_row (self->y, m) + n;

      *y = dot (krn_row (self->x, m), krn_row (self->w, n), self->x.dim[3]) + bias +
           (self->accumulate ? *y : 0.f);
    }
}

krn_status
krn_cpu_linear (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
                bool accumulate)
{
  const struct linear self = { y, x, w, bias, accumulate };
  const struct krn_tap tap = { 1, { 0 } };
  const struct krn_gemm gemm = { .m = krn_rows (y),
                                 .n = y.dim[3],
                                 .channels = x.dim[3],
                                 .taps = &tap,
                                 .n_taps = 1,
                                 .w = w.data,
                                 .w_stride = w.stride,
                                 .bias = bias.data,
                                 .rows = linear_rows,
                                 .data = &self };

  if (!krn_is_tensor (y, KRN_F32) || !krn_is_matrix (x, krn_rows (y), x.dim[3]) ||
      !krn_is_matrix (w, y.dim[3], x.dim[3]) || !krn_may_be_vector (bias, y.dim[3]))
    return KRN_ERROR_SHAPE;

  if (gemm.m < FEW_ROWS)
    krn_for_rows (stream, gemm.n, gemm.channels, linear_few, &self);
  else
    krn_cpu_gemm (stream, &gemm);
  return KRN_OK;
}

krn_status
krn_cpu_embedding (krn_stream *stream, krn_tensor y, krn_tensor ids, krn_tensor table)
{
  const int64_t n = krn_rows (y), width = y.dim[3];
  const int32_t *id = ids.data;

  if (!krn_is_tensor (y, KRN_F32) || !krn_is_tensor (ids, KRN_I32) || krn_count (ids) != n ||
      (krn_rows (ids) > 1 && ids.stride != ids.dim[3]) || !krn_is_tensor (table, KRN_F32) ||
      table.dim[3] != width)
    return KRN_ERROR_SHAPE;
  for (int64_t i = 0; i < n; i++)
    if (id[i] < 0 || id[i] >= krn_rows (table))
      return KRN_ERROR_SHAPE;

  for (int64_t i = 0; i < n; i++)
    memcpy (krn_row (y, i), krn_row (table, id[i]), (size_t) width * sizeof (float));
  return KRN_OK;
}
