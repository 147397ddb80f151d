#include "tests/test-cpu-common.h"

static const krn_tensor absent;

static const int sizes[][2] = { { 1, 1 }, { 1, 192 }, { 288, 192 }, { 40, 257 }, { 3, 3840 } };

/* y = norm (x) * w * (1 + scale), in float64; mean: as LayerNorm does. */
static double *
norm_reference (krn_tensor x, krn_tensor w, krn_tensor scale, gboolean mean, double eps)
{
  const int64_t n = x.dim[3];
  double *want = g_new (double, krn_count (x));

  for (int64_t r = 0; r < krn_rows (x); r++) {
    double centre = 0., squares = 0.;

    for (int64_t i = 0; mean && i < n; i++)
      centre += *at (x, r, i) / (double) n;
    for (int64_t i = 0; i < n; i++)
      squares += (*at (x, r, i) - centre) * (*at (x, r, i) - centre);
    for (int64_t i = 0; i < n; i++)
      want[r * n + i] = (*at (x, r, i) - centre) / sqrt (squares / (double) n + eps) *
                        (w.data ? *at (w, 0, i) : 1.) * (scale.data ? 1. + *at (scale, 0, i) : 1.);
  }
  return want;
}

static void
check_norms (int64_t rows, int64_t n, int64_t gap, gboolean with_scale)
{
  krn_tensor x = make_input (1, 1, rows, n, gap, 0.5), w = make_vector (n);
  krn_tensor scale = with_scale ? make_vector (n) : absent;
  krn_tensor y = make_output (1, 1, rows, n, 1);
  g_autofree double *rms = norm_reference (x, w, scale, FALSE, 1e-5);
  g_autofree double *layer = norm_reference (x, absent, scale, TRUE, 1e-5);

  g_assert_cmpint (device->rms_norm (stream, y, x, w, scale, 1e-5f), ==, KRN_OK);
  assert_close (y, rms, 4e-6);
  g_assert_cmpint (device->layer_norm (stream, y, x, scale, 1e-5f), ==, KRN_OK);
  assert_close (y, layer, 4e-6);
  g_assert_cmpint (device->rms_norm (stream, x, x, w, scale, 1e-5f), ==, KRN_OK);
  assert_close (x, rms, 4e-6);
  FREE (x, w, scale, y);
}

static void
test_norms (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    for (int flags = 0; flags < 4; flags++)
      check_norms (sizes[i][0], sizes[i][1], flags & 1 ? 5 : 0, flags & 2);
}

/* flags: 1 weight, 2 gate, 4 second norm, 8 its scale. */
static void
check_residual_norm (int64_t rows, int64_t n, int flags)
{
  struct krn_residual_norm args = { .eps = 1e-5f };
  g_autofree double *normed = NULL, *sum = NULL, *want = NULL;
  krn_tensor x = args.x = make_matrix (rows, n, 2), h = args.h = make_matrix (rows, n, 0);

  args.h_weight = flags & 1 ? make_vector (n) : absent;
  args.gate = flags & 2 ? make_vector (n) : absent;
  args.y_weight = make_vector (n);
  args.y = flags & 4 ? make_output (1, 1, rows, n, 1) : absent;
  args.y_scale = flags & 8 ? make_vector (n) : absent;
  if (flags & 2)
    *at (args.gate, 0, 0) = 1e-4f; /* where a careless tanh loses half its digits */

  normed = norm_reference (h, args.h_weight, absent, FALSE, 1e-5);
  sum = g_new (double, krn_count (x));
  for (int64_t i = 0; i < rows * n; i++)
    sum[i] = *at (x, i / n, i % n) + (flags & 1 ? normed[i] : (double) *at (h, i / n, i % n)) *
                                         (flags & 2 ? tanh (*at (args.gate, 0, i % n)) : 1.);

  g_assert_cmpint (device->residual_norm (stream, &args), ==, KRN_OK);
  assert_close (x, sum, 1e-6);
  if (flags & 4) {
    want = norm_reference (x, args.y_weight, args.y_scale, FALSE, 1e-5);
    assert_close (args.y, want, 4e-6);
  }
  FREE (x, h, args.h_weight, args.gate, args.y, args.y_weight, args.y_scale);
}

static void
test_residual_norm (void)
{
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    for (int flags = 0; flags < 16; flags++)
      check_residual_norm (sizes[i][0], sizes[i][1], flags);
}

static void
reference_head (double *x, krn_tensor w, krn_tensor rope, int64_t position, enum krn_rope kind,
                int64_t n)
{
  double squares = 0.;

  for (int64_t i = 0; i < n; i++)
    squares += x[i] * x[i];
  for (int64_t i = 0; w.data && i < n; i++)
    x[i] *= *at (w, 0, i) / sqrt (squares / (double) n + 1e-6);
  for (int64_t i = 0; i < n / 2; i++) {
    const int64_t a = kind == KRN_ROPE_HALF ? i : 2 * i,
                  b = kind == KRN_ROPE_HALF ? i + n / 2 : a + 1;
    const double c = *at (rope, position, 2 * i), s = *at (rope, position, 2 * i + 1);
    const double first = x[a], second = x[b];

    x[a] = first * c - second * s;
    x[b] = first * s + second * c;
  }
}

static void
check_qk_norm_rope (int q_heads, int kv_heads, int n, enum krn_rope kind, gboolean norm)
{
  const int64_t rows = 34, positions = 17, cols = (int64_t) (q_heads + 2 * kv_heads) * n;
  struct krn_qk_norm_rope args = {
    .q_heads = q_heads, .kv_heads = kv_heads, .head_dim = n, .kind = kind, .eps = 1e-6f
  };
  g_autofree double *want = NULL;

  args.qkv = make_matrix (rows, cols, 3);
  args.rope = make_matrix (positions, n, 1);
  args.q_weight = norm ? make_vector (n) : absent;
  args.k_weight = norm ? make_vector (n) : absent;
  want = g_new (double, krn_count (args.qkv));
  for (int64_t i = 0; i < rows * cols; i++)
    want[i] = *at (args.qkv, i / cols, i % cols);
  for (int64_t r = 0; r < rows; r++)
    for (int64_t head = 0; head < q_heads + kv_heads; head++)
      reference_head (want + r * cols + head * n, head < q_heads ? args.q_weight : args.k_weight,
                      args.rope, r % positions, kind, n);

  g_assert_cmpint (device->qk_norm_rope (stream, &args), ==, KRN_OK);
  assert_close (args.qkv, want, 4e-6);
  FREE (args.qkv, args.rope, args.q_weight, args.k_weight);
}

static void
test_qk_norm_rope (void)
{
  for (int flags = 0; flags < 4; flags++) {
    const enum krn_rope kind = flags & 1 ? KRN_ROPE_HALF : KRN_ROPE_INTERLEAVED;

    check_qk_norm_rope (3, 3, 64, kind, flags & 2);
    check_qk_norm_rope (4, 2, 128, kind, flags & 2);
    check_qk_norm_rope (2, 1, 6, kind, flags & 2);
    check_qk_norm_rope (1, 1, 2, kind, flags & 2);
  }
}

/* From where e^x vanishes to where it overflows. */
static void
test_silu (void)
{
  const int64_t n = 1001;
  krn_tensor x = make_output (1, 1, 2, n, 1), y = make_output (1, 1, 2, n, 0);
  krn_tensor gate = make_matrix (1, 2 * n, 0), z = make_output (1, 1, 1, n, 0);

  for (int64_t i = 0; i < 2 * n; i++)
    *at (x, i / n, i % n) = (float) (i - n) / 8.f;
  g_assert_cmpint (device->silu (stream, y, x), ==, KRN_OK);
  for (int64_t i = 0; i < 2 * n; i++) {
    const double v = *at (x, i / n, i % n), want = v / (1. + exp (-v));

    g_assert_cmpfloat (fabs (*at (y, i / n, i % n) - want), <=, 4e-7 * fabs (want) + 1e-36);
  }
  g_assert_cmpint (device->silu (stream, x, x), ==, KRN_OK);
  for (int64_t i = 0; i < 2 * n; i++)
    g_assert_cmpfloat (*at (x, i / n, i % n), ==, *at (y, i / n, i % n));

  g_assert_cmpint (device->silu_gate (stream, z, gate), ==, KRN_OK);
  for (int64_t i = 0; i < n; i++) {
    const double v = *at (gate, 0, i), want = v / (1. + exp (-v)) * *at (gate, 0, n + i);

    g_assert_cmpfloat (fabs (*at (z, 0, i) - want), <=, 5e-7 * fabs (want) + 1e-30);
  }

  *at (x, 0, 7) = NAN;
  g_assert_cmpint (device->silu (stream, x, x), ==, KRN_OK);
  g_assert_true (isnan (*at (x, 0, 7)));
  g_assert_false (isnan (*at (x, 0, 8)));
  FREE (x, y, gate, z);
}

static void
test_refuses (void)
{
  krn_tensor x = make_matrix (4, 12, 0), y = make_matrix (4, 6, 0), w = make_vector (12);
  struct krn_residual_norm seam = { .x = x, .h = y };
  struct krn_qk_norm_rope rope = {
    .qkv = x, .rope = x, .q_heads = 1, .kv_heads = 1, .head_dim = 4
  };

  g_assert_cmpint (device->rms_norm (stream, y, x, w, absent, 0.f), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->rms_norm (stream, x, x, absent, absent, 0.f), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->rms_norm (stream, x, x, w, y, 0.f), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->layer_norm (stream, y, x, absent, 0.f), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->residual_norm (stream, &seam), ==, KRN_ERROR_SHAPE);
  seam.h = seam.y = x; /* a second norm without its weight */
  g_assert_cmpint (device->residual_norm (stream, &seam), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->qk_norm_rope (stream, &rope), ==, KRN_ERROR_SHAPE);
  rope.head_dim = 3;
  g_assert_cmpint (device->qk_norm_rope (stream, &rope), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->silu (stream, y, x), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->silu_gate (stream, x, x), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->silu_gate (stream, y, x), ==, KRN_OK);
  FREE (x, y, w);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/norm/rms-and-layer", test_norms);
  g_test_add_func ("/cpu/norm/residual", test_residual_norm);
  g_test_add_func ("/cpu/norm/qk-rope", test_qk_norm_rope);
  g_test_add_func ("/cpu/norm/silu", test_silu);
  g_test_add_func ("/cpu/norm/refuses", test_refuses);
  return run_tests ();
}
