#include "kernels/cpu/ops.h"

#include <math.h>

/* These are not inlined: inside the loop over heads GCC 12 leaves their loops scalar. */

static __attribute__ ((noinline)) void
head_norm (float *x, const float *w, int64_t n, float eps)
{
  float sum = 0.f, factor;

#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; i++)
    sum += x[i] * x[i];
  factor = 1.f / sqrtf (sum / (float) n + eps);
#pragma omp simd
  for (int64_t i = 0; i < n; i++)
    x[i] = x[i] * factor * w[i];
}

static __attribute__ ((noinline)) void
rotate_interleaved (float *x, const float *rope, int64_t n)
{
#pragma omp simd
  for (int64_t i = 0; i < n; i += 2) {
    const float a = x[i], b = x[i + 1], c = rope[i], s = rope[i + 1];

    x[i] = a * c - b * s;
    x[i + 1] = b * c + a * s;
  }
}

static __attribute__ ((noinline)) void
rotate_half (float *x, const float *rope, int64_t n)
{
  float *low = x, *high = x + n / 2;

#pragma omp simd
  for (int64_t i = 0; i < n / 2; i++) {
    const float a = low[i], b = high[i], c = rope[2 * i], s = rope[2 * i + 1];

    low[i] = a * c - b * s;
    high[i] = b * c + a * s;
  }
}

static void
qk_norm_rope_rows (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct krn_qk_norm_rope *args = data;
  const int64_t n = args->head_dim, positions = krn_rows (args->rope);

  for (int64_t r = first; r < end; r++) {
    const float *rope = krn_row (args->rope, r % positions);

    for (int64_t head = 0; head < args->q_heads + args->kv_heads; head++) {
      float *x = krn_row (args->qkv, r) + head * n;
      const float *w = head < args->q_heads ? args->q_weight.data : args->k_weight.data;

      if (w)
        head_norm (x, w, n, args->eps);
      if (args->kind == KRN_ROPE_HALF)
        rotate_half (x, rope, n);
      else
        rotate_interleaved (x, rope, n);
    }
  }
}

krn_status
krn_cpu_qk_norm_rope (krn_stream *stream, const struct krn_qk_norm_rope *args)
{
  const int64_t n = args->head_dim, rows = krn_rows (args->qkv);
  const int64_t heads = (int64_t) args->q_heads + 2 * (int64_t) args->kv_heads;

  if (n <= 0 || n % 2 != 0 || args->q_heads <= 0 || args->kv_heads <= 0 ||
      (args->kind != KRN_ROPE_INTERLEAVED && args->kind != KRN_ROPE_HALF) ||
      !krn_is_matrix (args->qkv, rows, heads * n) ||
      !krn_is_matrix (args->rope, krn_rows (args->rope), n) ||
      !krn_may_be_vector (args->q_weight, n) || !krn_may_be_vector (args->k_weight, n) ||
      !args->q_weight.data != !args->k_weight.data)
    return KRN_ERROR_SHAPE;

  krn_for_rows (stream, rows, heads * n, qk_norm_rope_rows, args);
  return KRN_OK;
}
