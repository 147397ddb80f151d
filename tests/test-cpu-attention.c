#include "tests/test-cpu-common.h"

static double
dot (krn_tensor a, int64_t a_row, int64_t a_col, krn_tensor b, int64_t b_row, int64_t b_col,
     int64_t n)
{
  double sum = 0.;

  for (int64_t i = 0; i < n; i++)
    sum += (double) *at (a, a_row, a_col + i) * *at (b, b_row, b_col + i);
  return sum;
}

static double *
attention_reference (krn_tensor q, krn_tensor k, krn_tensor v, const struct krn_attention *args)
{
  const int64_t width = args->head_dim, heads = args->q_heads;
  const int64_t tokens = krn_rows (q) / args->batch, keys = krn_rows (k) / args->batch;
  double *want = g_new0 (double, krn_rows (q) * heads * width);
  g_autofree double *weight = g_new (double, keys);

  for (int64_t row = 0; row < krn_rows (q); row++)
    for (int64_t head = 0; head < heads; head++) {
      const int64_t kv_col = head / (heads / args->kv_heads) * width;
      const int64_t kv_row = row / tokens * keys;
      const int64_t seen = args->causal ? row % tokens + 1 : keys;
      double top = -INFINITY, sum = 0.;

      for (int64_t i = 0; i < seen; i++) {
        weight[i] = dot (q, row, head * width, k, kv_row + i, kv_col, width) * args->scale;
        top = MAX (top, weight[i]);
      }
      for (int64_t i = 0; i < seen; i++)
        sum += weight[i] = exp (weight[i] - top);
      for (int64_t i = 0; i < seen; i++)
        for (int64_t d = 0; d < width; d++)
          want[(row * heads + head) * width + d] +=
              weight[i] / sum * *at (v, kv_row + i, kv_col + d);
    }
  return want;
}

/* q, k and v are columns of one packed projection when they have as many rows. */
static void
check_attention (const struct krn_attention *args, int64_t tokens, int64_t kv_tokens)
{
  const int64_t q_width = (int64_t) args->q_heads * args->head_dim;
  const int64_t kv_width = (int64_t) args->kv_heads * args->head_dim;
  krn_tensor q_all = make_matrix (args->batch * tokens, q_width + 2 * kv_width, 0);
  krn_tensor kv_all = make_matrix (args->batch * kv_tokens, q_width + 2 * kv_width, 0);
  krn_tensor q = krn_col_view (q_all, 0, q_width);
  krn_tensor k = krn_col_view (kv_all, q_width, kv_width);
  krn_tensor v = krn_col_view (kv_all, q_width + kv_width, kv_width);
  krn_tensor o = make_output (1, 1, args->batch * tokens, q_width, 3);
  g_autofree double *want = attention_reference (q, k, v, args);

  g_assert_cmpint (device->attention (stream, o, q, k, v, args), ==, KRN_OK);
  /* Averages of values around 0 are much smaller than the values, whose errors they keep. */
  assert_close (o, want, 1e-5);
  FREE (q_all, kv_all, o);
}

static void
test_shapes (void)
{
  static const int sizes[][6] = {
    /* batch, heads, kv heads, width, tokens, kv tokens */
    { 1, 3, 3, 64, 288, 288 }, { 1, 4, 2, 64, 40, 40 },    { 2, 2, 1, 80, 97, 131 },
    { 1, 1, 1, 512, 70, 300 }, { 1, 6, 2, 7, 5, 1 },       { 3, 2, 2, 33, 1, 260 },
    { 1, 1, 1, 600, 20, 20 },  { 1, 2, 2, 128, 100, 257 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    const int *s = sizes[i];
    struct krn_attention args = { .batch = s[0],
                                  .q_heads = s[1],
                                  .kv_heads = s[2],
                                  .head_dim = s[3],
                                  .scale = 1.f / sqrtf ((float) s[3]) };

    check_attention (&args, s[4], s[5]);
    args.causal = true;
    check_attention (&args, s[4], s[4]);
  }
}

/* Scores far apart: the running maximum moves from block to block, and most weights vanish. */
static void
test_large_scores (void)
{
  const struct krn_attention args = {
    .batch = 1, .q_heads = 1, .kv_heads = 1, .head_dim = 64, .scale = 1.f
  };
  krn_tensor q = make_matrix (60, 64, 0), k = make_matrix (900, 64, 0);
  krn_tensor v = make_matrix (900, 64, 0), o = make_output (1, 1, 60, 64, 0);
  g_autofree double *want = NULL;

  for (int64_t r = 0; r < 900; r++)
    for (int64_t i = 0; i < 64; i++)
      *at (k, r, i) *= (float) r / 300.f;
  want = attention_reference (q, k, v, &args);
  g_assert_cmpint (device->attention (stream, o, q, k, v, &args), ==, KRN_OK);
  assert_close (o, want, 2e-5); /* a score of 100 carries a rounding of 1e-5 into its weight */
  FREE (q, k, v, o);
}

/* 4096 tokens in four heads: a matrix of scores would take 256 MB.  Equal keys average the values,
 * so that the answer is known. */
static void
test_many_tokens (void)
{
  const struct krn_attention args = {
    .batch = 1, .q_heads = 4, .kv_heads = 4, .head_dim = 64, .scale = 0.125f
  };
  krn_tensor q = make_matrix (4096, 256, 0), k = make_matrix (4096, 256, 0);
  krn_tensor v = make_matrix (4096, 256, 0), o = make_output (1, 1, 4096, 256, 0);

  for (int64_t r = 1; r < 4096; r++)
    memcpy (at (k, r, 0), at (k, 0, 0), 256 * sizeof (float));
  g_assert_cmpint (device->attention (stream, o, q, k, v, &args), ==, KRN_OK);
  for (int64_t i = 0; i < 256; i++) {
    double mean = 0.;

    for (int64_t r = 0; r < 4096; r++)
      mean += *at (v, r, i) / 4096.;
    for (int64_t r = 0; r < 4096; r++)
      g_assert_cmpfloat_with_epsilon (*at (o, r, i), mean, 1e-6);
  }
  FREE (q, k, v, o);
}

static void
test_refuses (void)
{
  struct krn_attention args = {
    .batch = 1, .q_heads = 2, .kv_heads = 2, .head_dim = 8, .scale = 1.f
  };
  krn_tensor q = make_matrix (6, 16, 0), k = make_matrix (4, 16, 0), o = make_matrix (6, 16, 0);
  krn_tensor narrow = make_matrix (4, 8, 0);

  g_assert_cmpint (device->attention (stream, o, q, k, k, &args), ==, KRN_OK);
  g_assert_cmpint (device->attention (stream, o, q, k, narrow, &args), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->attention (stream, k, q, k, k, &args), ==, KRN_ERROR_SHAPE);
  args.causal = true;
  g_assert_cmpint (device->attention (stream, o, q, k, k, &args), ==, KRN_ERROR_SHAPE);
  args.causal = false;
  args.batch = 4;
  g_assert_cmpint (device->attention (stream, o, q, k, k, &args), ==, KRN_ERROR_SHAPE);
  args.batch = 0;
  g_assert_cmpint (device->attention (stream, o, q, k, k, &args), ==, KRN_ERROR_SHAPE);
  args.batch = 1;
  args.kv_heads = 3;
  g_assert_cmpint (device->attention (stream, o, q, k, k, &args), ==, KRN_ERROR_SHAPE);
  FREE (q, k, o, narrow);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/attention/shapes", test_shapes);
  g_test_add_func ("/cpu/attention/large-scores", test_large_scores);
  g_test_add_func ("/cpu/attention/many-tokens", test_many_tokens);
  g_test_add_func ("/cpu/attention/refuses", test_refuses);
  return run_tests ();
}
