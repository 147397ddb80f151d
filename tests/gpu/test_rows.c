#include "tests/gpu/gpu_pair.h"

#include <stddef.h>

/* Rows and columns: one, tails of eight, more than a block takes at once, Z-Image's. */
static const int64_t sizes[][2] = {
  { 1, 1 }, { 3, 7 }, { 5, 8 }, { 2, 257 }, { 33, 192 }, { 9, 3840 }, { 4, 10240 },
};
enum { N_SIZES = sizeof sizes / sizeof *sizes };

static void
test_norms (int64_t rows, int64_t n, bool with_scale)
{
  struct pair x = pair_input (KRN_BF16, 1, 1, rows, n, 0.5f), w = pair_vector (KRN_BF16, n, 1.f);
  struct pair s = with_scale ? pair_vector (KRN_F32, n, 0.f) : absent;
  struct pair y = pair_output (KRN_BF16, 1, 1, rows, n), z = pair_output (KRN_BF16, 1, 1, rows, n);

  begin ("rms_norm");
  check (&y, t.cpu->rms_norm (t.cpu_stream, y.cpu, x.cpu, w.cpu, s.cpu, 1e-5f),
         t.gpu->rms_norm (t.stream, y.gpu, x.gpu, w.gpu, s.gpu, 1e-5f), BF16_ROUNDED);
  begin ("layer_norm");
  check (&z, t.cpu->layer_norm (t.cpu_stream, z.cpu, x.cpu, s.cpu, 1e-5f),
         t.gpu->layer_norm (t.stream, z.gpu, x.gpu, s.gpu, 1e-5f), BF16_ROUNDED);
  begin ("rms_norm");
  check (&x, t.cpu->rms_norm (t.cpu_stream, x.cpu, x.cpu, w.cpu, s.cpu, 1e-5f),
         t.gpu->rms_norm (t.stream, x.gpu, x.gpu, w.gpu, s.gpu, 1e-5f), BF16_ROUNDED);
  check_refused (t.cpu->rms_norm (t.cpu_stream, y.cpu, x.cpu, absent.cpu, s.cpu, 1e-5f),
                 t.gpu->rms_norm (t.stream, y.gpu, x.gpu, absent.gpu, s.gpu, 1e-5f));
  pair_free (&x);
  pair_free (&w);
  pair_free (&s);
  pair_free (&y);
  pair_free (&z);
}

/* flags: 1 weight, 2 gate, 4 second norm, 8 its scale. */
static void
test_residual_norm (int64_t rows, int64_t n, int flags)
{
  struct pair x = pair_input (KRN_BF16, 1, 1, rows, n, 0.f);
  struct pair h = pair_input (KRN_BF16, 1, 1, rows, n, 0.f);
  struct pair h_weight = flags & 1 ? pair_vector (KRN_BF16, n, 1.f) : absent;
  struct pair gate = flags & 2 ? pair_vector (KRN_F32, n, 0.f) : absent;
  struct pair y = flags & 4 ? pair_output (KRN_BF16, 1, 1, rows, n) : absent;
  struct pair y_weight = pair_vector (KRN_BF16, n, 1.f);
  struct pair y_scale = flags & 8 ? pair_vector (KRN_F32, n, 0.f) : absent;
  const struct krn_residual_norm cpu = { x.cpu, h.cpu,        h_weight.cpu, gate.cpu,
                                         y.cpu, y_weight.cpu, y_scale.cpu,  1e-5f };
  const struct krn_residual_norm gpu = { x.gpu, h.gpu,        h_weight.gpu, gate.gpu,
                                         y.gpu, y_weight.gpu, y_scale.gpu,  1e-5f };
  const krn_status on_cpu = t.cpu->residual_norm (t.cpu_stream, &cpu);
  const krn_status on_gpu = t.gpu->residual_norm (t.stream, &gpu);

  begin ("residual_norm");
  check (&x, on_cpu, on_gpu, BF16_ROUNDED);
  if (flags & 4)
    check (&y, on_cpu, on_gpu, BF16_TWICE);
  pair_free (&x);
  pair_free (&h);
  pair_free (&h_weight);
  pair_free (&gate);
  pair_free (&y);
  pair_free (&y_weight);
  pair_free (&y_scale);
}

static void
test_rope (int64_t rows, int64_t positions, int q_heads, int kv_heads, int head_dim, int flags)
{
  const int64_t heads = q_heads + 2 * kv_heads;
  struct pair qkv = pair_input (KRN_BF16, 1, 1, rows, heads * head_dim, 0.2f);
  struct pair q = flags & 1 ? pair_vector (KRN_BF16, head_dim, 1.f) : absent;
  struct pair k = flags & 1 ? pair_vector (KRN_BF16, head_dim, 1.f) : absent;
  struct pair rope = pair_input (KRN_F32, 1, 1, positions, head_dim, 0.f);
  const enum krn_rope kind = flags & 2 ? KRN_ROPE_HALF : KRN_ROPE_INTERLEAVED;
  const struct krn_qk_norm_rope cpu = { qkv.cpu,  q.cpu,    k.cpu, rope.cpu, q_heads,
                                        kv_heads, head_dim, kind,  1e-6f };
  struct krn_qk_norm_rope gpu = { qkv.gpu,  q.gpu,    k.gpu, rope.gpu, q_heads,
                                  kv_heads, head_dim, kind,  1e-6f };

  begin ("qk_norm_rope");
  check (&qkv, t.cpu->qk_norm_rope (t.cpu_stream, &cpu), t.gpu->qk_norm_rope (t.stream, &gpu),
         BF16_ROUNDED);
  pair_free (&qkv);
  pair_free (&q);
  pair_free (&k);
  pair_free (&rope);
}

static void
test_silu (krn_dtype dtype, int64_t rows, int64_t n)
{
  const double tolerance = dtype == KRN_BF16 ? BF16_ROUNDED : F32_ROUNDED;
  struct pair x = pair_input (dtype, 1, 1, rows, n, 0.f), y = pair_output (dtype, 1, 1, rows, n);

  begin ("silu");
  pair_set (&x, 0, 0, -90.f); /* whose exponential overflows */
  pair_send (&x);
  check (&y, t.cpu->silu (t.cpu_stream, y.cpu, x.cpu), t.gpu->silu (t.stream, y.gpu, x.gpu),
         tolerance);
  check (&x, t.cpu->silu (t.cpu_stream, x.cpu, x.cpu), t.gpu->silu (t.stream, x.gpu, x.gpu),
         tolerance);
  pair_free (&x);
  pair_free (&y);
}

static void
test_silu_gate (int64_t rows, int64_t n)
{
  struct pair x = pair_input (KRN_BF16, 1, 1, rows, 2 * n, 0.f);
  struct pair y = pair_output (KRN_BF16, 1, 1, rows, n);

  begin ("silu_gate");
  check (&y, t.cpu->silu_gate (t.cpu_stream, y.cpu, x.cpu),
         t.gpu->silu_gate (t.stream, y.gpu, x.gpu), BF16_ROUNDED);
  check_refused (t.cpu->silu_gate (t.cpu_stream, x.cpu, x.cpu),
                 t.gpu->silu_gate (t.stream, x.gpu, x.gpu));
  pair_free (&x);
  pair_free (&y);
}

static void
test_embedding (int64_t rows, int64_t n)
{
  struct pair table = pair_input (KRN_BF16, 1, 1, 50, n, 0.f), ids = pair_ids (rows, 50);
  struct pair y = pair_output (KRN_BF16, 1, 1, rows, n);

  begin ("embedding");
  check (&y, t.cpu->embedding (t.cpu_stream, y.cpu, ids.cpu, table.cpu),
         t.gpu->embedding (t.stream, y.gpu, ids.gpu, table.gpu), 0.);
  pair_free (&table);
  pair_free (&ids);
  pair_free (&y);
}

/* Converting, and one row for all. */
static void
test_copy (int64_t rows, int64_t n, krn_dtype to, krn_dtype from, bool one_row)
{
  struct pair x = pair_input (from, 1, 1, one_row ? 1 : rows, n, 0.f);
  struct pair y = pair_output (to, 1, 1, rows, n);

  begin ("copy");
  check (&y, t.cpu->copy (t.cpu_stream, y.cpu, x.cpu), t.gpu->copy (t.stream, y.gpu, x.gpu),
         to == KRN_BF16 && from == KRN_F32 ? BF16_ROUNDED : 0.);
  pair_free (&x);
  pair_free (&y);
}

void
test_rows (void)
{
  static const krn_dtype dtypes[] = { KRN_BF16, KRN_F32 };

  for (int i = 0; i < N_SIZES; i++) {
    const int64_t rows = sizes[i][0], n = sizes[i][1];

    test_norms (rows, n, false);
    test_norms (rows, n, true);
    for (int flags = 0; flags < 16; flags++)
      test_residual_norm (rows, n, flags);
    for (int j = 0; j < 2; j++)
      test_silu (dtypes[j], rows, n);
    test_silu_gate (rows, n);
    test_embedding (rows, n);
    for (int j = 0; j < 8; j++)
      test_copy (rows, n, dtypes[j % 2], dtypes[j / 2 % 2], j / 4);
  }
  for (int flags = 0; flags < 4; flags++) {
    test_rope (7, 7, 3, 1, 128, flags);
    test_rope (33, 11, 4, 2, 64, flags);
    test_rope (2, 5, 1, 1, 2, flags);
    test_rope (5, 5, 2, 2, 258, flags);
  }
}
