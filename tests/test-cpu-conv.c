#include "tests/test-cpu-common.h"

static const krn_tensor absent;

/* A pixel of the input, which may be doubled; 0 outside. */
static double
input_at (krn_tensor x, const struct krn_conv *args, int64_t n, int64_t iy, int64_t ix, int64_t c)
{
  const int shift = args->upsample;

  if (iy < 0 || ix < 0 || iy >> shift >= x.dim[1] || ix >> shift >= x.dim[2])
    return 0.;
  return *at (x, (n * x.dim[1] + (iy >> shift)) * x.dim[2] + (ix >> shift), c);
}

static double
conv_at (krn_tensor x, krn_tensor w, const struct krn_conv *args, const int64_t *pixel, int64_t o)
{
  const int64_t kh = w.dim[1], kw = w.dim[2];
  double sum = 0.;

  for (int64_t ky = 0; ky < kh; ky++)
    for (int64_t kx = 0; kx < kw; kx++)
      for (int64_t c = 0; c < x.dim[3]; c++)
        sum += input_at (x, args, pixel[0], pixel[1] * args->stride + ky - args->pad_before,
                         pixel[2] * args->stride + kx - args->pad_before, c) *
               *at (w, (o * kh + ky) * kw + kx, c);
  return sum;
}

static double *
conv_reference (krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
                const struct krn_conv *args)
{
  double *want = g_new (double, krn_count (y));

  for (int64_t row = 0; row < krn_rows (y); row++)
    for (int64_t o = 0; o < y.dim[3]; o++) {
      const int64_t pixel[] = { row / y.dim[2] / y.dim[1], row / y.dim[2] % y.dim[1],
                                row % y.dim[2] };

      want[row * y.dim[3] + o] = conv_at (x, w, args, pixel, o) +
                                 (bias.data ? *at (bias, 0, o) : 0.) +
                                 (args->add.data ? *at (args->add, row, o) : 0.);
    }
  return want;
}

static int64_t
out_size (int64_t size, const struct krn_conv *args, int64_t k)
{
  return ((args->upsample ? 2 : 1) * size + args->pad_before + args->pad_after - k) / args->stride +
         1;
}

/* add: 0 none, 1 another tensor, 2 y itself. */
static void
check_conv (const int *size, int64_t k, struct krn_conv args, int add, int64_t gap)
{
  krn_tensor x = make_input (size[0], size[1], size[2], size[3], gap, 0.);
  krn_tensor w = make_input (size[4], k, k, size[3], 0, 0.);
  krn_tensor bias = add == 1 ? absent : make_vector (size[4]), y, other = absent;
  const int64_t h = out_size (size[1], &args, k), wide = out_size (size[2], &args, k);
  g_autofree double *want = NULL;

  y = add == 2 ? make_input (size[0], h, wide, size[4], gap, 0.)
               : make_output (size[0], h, wide, size[4], gap);
  if (add == 1)
    other = make_input (size[0], h, wide, size[4], 0, 0.);
  args.add = add == 2 ? y : other;
  want = conv_reference (y, x, w, bias, &args);

  g_assert_cmpint (device->conv2d (stream, y, x, w, bias, &args), ==, KRN_OK);
  assert_close_sums (y, want, k * k * size[3]);
  FREE (x, w, y, bias, other);
}

static void
test_shapes (void)
{
  static const int sizes[][5] = { /* n, h, w, in, out */
                                  { 1, 8, 8, 16, 64 },  { 1, 9, 7, 64, 32 }, { 2, 5, 6, 3, 32 },
                                  { 1, 12, 4, 32, 3 },  { 1, 1, 1, 8, 20 },  { 1, 6, 5, 130, 70 },
                                  { 2, 7, 3, 33, 129 }, { 1, 17, 19, 5, 8 }
  };

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    for (int add = 0; add < 3; add++) {
      const int64_t gap = add * 2;

      check_conv (sizes[i], 3, (struct krn_conv){ 1, 1, 1, false }, add, gap);
      check_conv (sizes[i], 3, (struct krn_conv){ 1, 1, 1, true }, add, gap);
      check_conv (sizes[i], 1, (struct krn_conv){ 1, 0, 0, false }, add, gap);
      check_conv (sizes[i], 1, (struct krn_conv){ 1, 0, 0, true }, add, gap);
      check_conv (sizes[i], 2, (struct krn_conv){ 2, 1, 2, false }, add, gap);
      check_conv (sizes[i], 4, (struct krn_conv){ 1, 2, 1, true }, add, gap);
      /* An encoder's downsampling: padded at the bottom and right only. */
      if (sizes[i][1] > 2 && sizes[i][2] > 1)
        check_conv (sizes[i], 3, (struct krn_conv){ 2, 0, 1, false }, add, gap);
    }
}

static void
test_random_shapes (void)
{
  for (int i = 0; i < 60; i++) {
    const int size[] = { g_rand_int_range (randoms, 1, 3), g_rand_int_range (randoms, 3, 10),
                         g_rand_int_range (randoms, 3, 10), g_rand_int_range (randoms, 1, 90),
                         g_rand_int_range (randoms, 1, 90) };
    const struct krn_conv args = { 1 + i % 2, i % 3, i % 4, i % 2 == 0 && i % 3 == 1 };

    check_conv (size, 1 + i % 4, args, i % 3, i % 5);
  }
}

static void
test_refuses (void)
{
  krn_tensor x = make_input (1, 6, 6, 4, 0, 0.), w = make_input (8, 3, 3, 4, 0, 0.);
  krn_tensor y = make_output (1, 6, 6, 8, 0);
  struct krn_conv args = { .stride = 1, .pad_before = 1, .pad_after = 1 };

  g_assert_cmpint (device->conv2d (stream, y, x, w, absent, &args), ==, KRN_OK);
  args.add = x;
  g_assert_cmpint (device->conv2d (stream, y, x, w, absent, &args), ==, KRN_ERROR_SHAPE);
  args.add = absent;
  g_assert_cmpint (device->conv2d (stream, y, x, w, x, &args), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->conv2d (stream, x, x, w, absent, &args), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->conv2d (stream, y, y, w, absent, &args), ==, KRN_ERROR_SHAPE);
  args.upsample = true;
  g_assert_cmpint (device->conv2d (stream, y, x, w, absent, &args), ==, KRN_ERROR_SHAPE);
  args.upsample = false;
  args.pad_after = 0;
  g_assert_cmpint (device->conv2d (stream, y, x, w, absent, &args), ==, KRN_ERROR_SHAPE);
  args.pad_after = 1;
  args.stride = 3;
  g_assert_cmpint (device->conv2d (stream, y, x, w, absent, &args), ==, KRN_ERROR_SHAPE);
  FREE (x, w, y);
}

static void
group_statistics (krn_tensor x, int64_t n, int64_t first, int64_t size, double *mean,
                  double *variance)
{
  const int64_t pixels = x.dim[1] * x.dim[2];
  double sum = 0., squares = 0.;

  for (int64_t p = n * pixels; p < (n + 1) * pixels; p++)
    for (int64_t c = first; c < first + size; c++)
      sum += *at (x, p, c);
  *mean = sum / (double) (pixels * size);
  for (int64_t p = n * pixels; p < (n + 1) * pixels; p++)
    for (int64_t c = first; c < first + size; c++)
      squares += (*at (x, p, c) - *mean) * (*at (x, p, c) - *mean);
  *variance = squares / (double) (pixels * size);
}

static double *
group_norm_reference (krn_tensor x, krn_tensor w, krn_tensor b, int groups, double eps,
                      gboolean silu)
{
  const int64_t channels = x.dim[3], pixels = x.dim[1] * x.dim[2], size = channels / groups;
  double *want = g_new (double, krn_count (x));

  for (int64_t n = 0; n < x.dim[0]; n++)
    for (int64_t c = 0; c < channels; c++) {
      double mean, variance;

      group_statistics (x, n, c / size * size, size, &mean, &variance);
      for (int64_t p = n * pixels; p < (n + 1) * pixels; p++) {
        const double v =
            (*at (x, p, c) - mean) / sqrt (variance + eps) * *at (w, 0, c) + *at (b, 0, c);

        want[p * channels + c] = silu ? v / (1. + exp (-v)) : v;
      }
    }
  return want;
}

static void
check_group_norm (const int *size, int groups, gboolean silu, double centre)
{
  krn_tensor x = make_input (size[0], size[1], size[2], size[3], 0, centre);
  krn_tensor w = make_vector (size[3]), b = make_vector (size[3]);
  krn_tensor y = make_output (size[0], size[1], size[2], size[3], 3);
  g_autofree double *want = group_norm_reference (x, w, b, groups, 1e-6, silu);
  /* The input itself carries a rounding of 6e-8 times its mean. */
  const double tolerance = 2e-6 + fabs (centre) * 2e-7;

  g_assert_cmpint (device->group_norm (stream, y, x, w, b, groups, 1e-6f, silu), ==, KRN_OK);
  assert_close (y, want, tolerance);
  g_assert_cmpint (device->group_norm (stream, x, x, w, b, groups, 1e-6f, silu), ==, KRN_OK);
  assert_close (x, want, tolerance);
  FREE (x, w, b, y);
}

/* Rows [first, first + n) of an image. */
static krn_tensor
band (krn_tensor x, int64_t first, int64_t n)
{
  krn_tensor rows = krn_row_view (x, first * x.dim[2], n * x.dim[2]);

  return (krn_tensor){ rows.data, x.dtype, { 1, n, x.dim[2], x.dim[3] }, x.stride };
}

/* In parts of h / parts rows it is the same; but the statistics are rounded once more. */
static void
check_group_parts (int h, int w, int c, int groups, int parts, double centre)
{
  krn_tensor x = make_input (1, h, w, c, 0, centre), y = make_output (1, h, w, c, 0);
  krn_tensor scale = make_vector (c), bias = make_vector (c);
  krn_tensor stats = make_output (1, parts, groups, 2, 0);
  g_autofree double *want = group_norm_reference (x, scale, bias, groups, 1e-6, TRUE);
  const int rows = h / parts;

  for (int i = 0; i < parts; i++) {
    krn_tensor own = krn_row_view (stats, (int64_t) i * groups, groups);
    g_assert_cmpint (device->group_stats (stream, own, band (x, i * rows, rows), groups), ==,
                     KRN_OK);
  }
  for (int i = 0; i < parts; i++)
    g_assert_cmpint (device->group_apply (stream, band (y, i * rows, rows),
                                          band (x, i * rows, rows), stats, scale, bias, 1e-6f,
                                          true),
                     ==, KRN_OK);
  assert_close (y, want, 2e-6 + fabs (centre) * 2e-7);

  g_assert_cmpint (device->group_stats (stream, stats, x, groups + 1), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->group_apply (stream, y, x, absent, scale, bias, 1e-6f, true), ==,
                   KRN_ERROR_SHAPE);
  g_assert_cmpint (device->group_apply (stream, y, x, stats, stats, bias, 1e-6f, true), ==,
                   KRN_ERROR_SHAPE);
  FREE (x, y, scale, bias, stats);
}

static void
test_group_parts (void)
{
  check_group_parts (32, 20, 64, 16, 1, 0.);
  check_group_parts (32, 20, 64, 16, 8, 0.);
  check_group_parts (12, 7, 48, 3, 12, 0.);
  check_group_parts (40, 33, 128, 32, 5, 100.);
}

static void
test_group_norm (void)
{
  static const int sizes[][5] = {
    { 1, 32, 32, 64, 16 }, { 2, 9, 7, 48, 3 }, { 1, 64, 64, 32, 16 },
    { 1, 1, 1, 64, 2 },    { 3, 5, 5, 7, 1 },  { 1, 3, 100, 512, 32 }
  };

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    check_group_norm (sizes[i], sizes[i][4], FALSE, 0.);
    check_group_norm (sizes[i], sizes[i][4], TRUE, 0.);
    check_group_norm (sizes[i], sizes[i][4], TRUE, 100.);
  }
}

static void
test_group_norm_refuses (void)
{
  krn_tensor x = make_input (1, 4, 4, 6, 0, 0.), w = make_vector (6), bad = make_vector (5);

  g_assert_cmpint (device->group_norm (stream, x, x, w, w, 4, 1e-6f, true), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->group_norm (stream, x, x, w, w, 0, 1e-6f, true), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->group_norm (stream, x, x, bad, w, 2, 1e-6f, true), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->group_norm (stream, x, x, w, absent, 2, 1e-6f, true), ==,
                   KRN_ERROR_SHAPE);
  g_assert_cmpint (device->group_norm (stream, w, x, w, w, 2, 1e-6f, true), ==, KRN_ERROR_SHAPE);
  FREE (x, w, bad);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/conv/shapes", test_shapes);
  g_test_add_func ("/cpu/conv/random-shapes", test_random_shapes);
  g_test_add_func ("/cpu/conv/refuses", test_refuses);
  g_test_add_func ("/cpu/group-norm", test_group_norm);
  g_test_add_func ("/cpu/group-norm/parts", test_group_parts);
  g_test_add_func ("/cpu/group-norm/refuses", test_group_norm_refuses);
  return run_tests ();
}
