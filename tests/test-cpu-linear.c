#include "tests/test-cpu-common.h"

static const krn_tensor absent;

static double *
linear_reference (krn_tensor x, krn_tensor w, krn_tensor bias, krn_tensor y, gboolean accumulate)
{
  const int64_t rows = krn_rows (y), out = y.dim[3];
  double *want = g_new (double, (gsize) (rows * out));

  for (int64_t r = 0; r < rows; r++)
    for (int64_t n = 0; n < out; n++) {
      double sum = (bias.data ? *at (bias, 0, n) : 0.) + (accumulate ? *at (y, r, n) : 0.);

      for (int64_t k = 0; k < x.dim[3]; k++)
        sum += (double) *at (x, r, k) * *at (w, n, k);
      want[r * out + n] = sum;
    }
  return want;
}

static void
check_linear (int64_t rows, int64_t in, int64_t out, int64_t gap, gboolean with_bias,
              gboolean accumulate)
{
  krn_tensor x = make_matrix (rows, in, gap), w = make_matrix (out, in, gap);
  krn_tensor bias = with_bias ? make_vector (out) : absent;
  krn_tensor y = accumulate ? make_matrix (rows, out, gap) : make_output (1, 1, rows, out, gap);
  g_autofree double *want = linear_reference (x, w, bias, y, accumulate);

  g_assert_cmpint (device->linear (stream, y, x, w, bias, accumulate), ==, KRN_OK);
  assert_close_sums (y, want, in);
  FREE (x, w, y, bias);
}

static void
test_shapes (void)
{
  static const int64_t sizes[][3] = { { 1, 1, 1 },       { 1, 192, 768 },  { 3, 33, 17 },
                                      { 7, 300, 5 },     { 8, 16, 16 },    { 40, 192, 576 },
                                      { 288, 192, 192 }, { 289, 131, 65 }, { 13, 577, 64 },
                                      { 97, 1300, 130 }, { 30, 64, 2000 } };

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    for (int flags = 0; flags < 8; flags++)
      check_linear (sizes[i][0], sizes[i][1], sizes[i][2], flags & 1 ? 3 : 0, flags & 2, flags & 4);
}

static void
test_random_shapes (void)
{
  for (int i = 0; i < 100; i++)
    check_linear (g_rand_int_range (randoms, 1, 60), g_rand_int_range (randoms, 1, 100),
                  g_rand_int_range (randoms, 1, 150), i % 4, i % 3 == 0, i % 5 == 0);
}

/* x and y may be columns of wider tensors. */
static void
test_column_views (void)
{
  krn_tensor all = make_matrix (20, 100, 0), w = make_matrix (30, 40, 0);
  krn_tensor x = krn_col_view (all, 10, 40), y = krn_col_view (all, 60, 30);
  g_autofree double *want = linear_reference (x, w, absent, y, FALSE);
  const float before = *at (all, 5, 59), after = *at (all, 5, 90);

  g_assert_cmpint (device->linear (stream, y, x, w, absent, false), ==, KRN_OK);
  for (int64_t i = 0; i < 600; i++)
    g_assert_cmpfloat_with_epsilon (*at (y, i / 30, i % 30), want[i], 1e-4);
  g_assert_cmpfloat (before, ==, *at (all, 5, 59));
  g_assert_cmpfloat (after, ==, *at (all, 5, 90));
  FREE (all, w);
}

static void
test_refuses (void)
{
  krn_tensor x = make_matrix (4, 8, 0), w = make_matrix (6, 8, 0), y = make_matrix (4, 6, 0);
  krn_tensor bias = make_vector (6), bad = y;

  g_assert_cmpint (device->linear (stream, y, x, w, bias, false), ==, KRN_OK);
  g_assert_cmpint (device->linear (stream, x, x, w, bias, false), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->linear (stream, y, w, w, bias, false), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->linear (stream, y, x, y, bias, false), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->linear (stream, y, x, w, y, false), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->linear (stream, y, absent, w, bias, false), ==, KRN_ERROR_SHAPE);
  bad.dtype = KRN_BF16;
  g_assert_cmpint (device->linear (stream, bad, x, w, bias, false), ==, KRN_ERROR_SHAPE);
  bad = y;
  bad.stride = 5;
  g_assert_cmpint (device->linear (stream, bad, x, w, bias, false), ==, KRN_ERROR_SHAPE);
  FREE (x, w, y, bias);
}

/* A NaN reaches its own row and no other. */
static void
test_nan (void)
{
  krn_tensor x = make_matrix (20, 50, 0), w = make_matrix (70, 50, 0);
  krn_tensor y = make_output (1, 1, 20, 70, 0);

  *at (x, 7, 3) = NAN;
  g_assert_cmpint (device->linear (stream, y, x, w, absent, false), ==, KRN_OK);
  for (int64_t r = 0; r < 20; r++)
    for (int64_t n = 0; n < 70; n++)
      g_assert_cmpint (isnan (*at (y, r, n)) != 0, ==, r == 7);
  FREE (x, w, y);
}

static void
test_embedding (void)
{
  int32_t ids[] = { 3, 0, 9, 3 };
  krn_tensor table = make_matrix (10, 37, 2), y = make_output (1, 1, 4, 37, 1);
  krn_tensor id = krn_tensor_make (ids, KRN_I32, 1, 1, 1, 4);

  g_assert_cmpint (device->embedding (stream, y, id, table), ==, KRN_OK);
  for (int64_t r = 0; r < 4; r++)
    g_assert_cmpmem (at (y, r, 0), 37 * sizeof (float), at (table, ids[r], 0), 37 * sizeof (float));
  assert_gaps_untouched (y);

  ids[2] = 10;
  g_assert_cmpint (device->embedding (stream, y, id, table), ==, KRN_ERROR_SHAPE);
  ids[2] = -1;
  g_assert_cmpint (device->embedding (stream, y, id, table), ==, KRN_ERROR_SHAPE);
  id.dtype = KRN_F32;
  g_assert_cmpint (device->embedding (stream, y, id, table), ==, KRN_ERROR_SHAPE);
  FREE (table, y);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/linear/shapes", test_shapes);
  g_test_add_func ("/cpu/linear/random-shapes", test_random_shapes);
  g_test_add_func ("/cpu/linear/column-views", test_column_views);
  g_test_add_func ("/cpu/linear/refuses", test_refuses);
  g_test_add_func ("/cpu/linear/nan", test_nan);
  g_test_add_func ("/cpu/embedding", test_embedding);
  return run_tests ();
}
