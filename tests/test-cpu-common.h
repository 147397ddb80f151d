/* tests/test-cpu-common.h - what the tests of kernels/cpu/ share.
 *
 * A device with two threads, tensors of repeatable random numbers whose rows may lie apart, outputs
 * filled with NaN so that an element that is not written shows, and a comparison with float64. */
#pragma once

#include "kernels/device.h"

#include <glib.h>
#include <math.h>
#include <string.h>

static struct krn_device *device;
static krn_stream *stream;
static GRand *randoms;

static inline int
run_tests (void)
{
  int status;

  g_assert_cmpint (krn_cpu_open (&device, 2), ==, KRN_OK);
  g_assert_cmpint (device->stream_new (device, &stream), ==, KRN_OK);
  randoms = g_rand_new_with_seed (20);
  status = g_test_run ();
  g_rand_free (randoms);
  device->stream_free (stream);
  device->close (device);
  return status;
}

/* Float32 of these sizes with gap floats between rows, all NaN. */
static inline krn_tensor
make_output (int64_t d0, int64_t d1, int64_t d2, int64_t d3, int64_t gap)
{
  krn_tensor t = krn_tensor_make (NULL, KRN_F32, d0, d1, d2, d3);
  float *data;
  gsize n;

  t.stride = d3 + gap;
  n = (gsize) (krn_rows (t) * t.stride);
  g_assert_cmpuint (n, <, G_MAXINT32);
  data = g_new (float, n);
  for (gsize i = 0; i < n; i++)
    data[i] = NAN;
  t.data = data;
  return t;
}

static inline float *
at (krn_tensor t, int64_t row, int64_t col)
{
  return (float *) t.data + row * t.stride + col;
}

/* The same, filled with numbers around centre; gaps stay NaN. */
static inline krn_tensor
make_input (int64_t d0, int64_t d1, int64_t d2, int64_t d3, int64_t gap, double centre)
{
  krn_tensor t = make_output (d0, d1, d2, d3, gap);

  for (int64_t r = 0; r < krn_rows (t); r++)
    for (int64_t i = 0; i < d3; i++)
      *at (t, r, i) = (float) (centre + g_rand_double_range (randoms, -1.7, 1.7));
  return t;
}

static inline krn_tensor
make_matrix (int64_t rows, int64_t cols, int64_t gap)
{
  return make_input (1, 1, rows, cols, gap, 0.);
}

static inline krn_tensor
make_vector (int64_t n)
{
  return make_input (1, 1, 1, n, 0, 0.);
}

static inline void
free_tensors (krn_tensor *tensors, int n)
{
  for (int i = 0; i < n; i++)
    g_free (tensors[i].data);
}

/* Frees the tensors named. */
#define FREE(...)                                                                                  \
  free_tensors ((krn_tensor[]){ __VA_ARGS__ },                                                     \
                sizeof ((krn_tensor[]){ __VA_ARGS__ }) / sizeof (krn_tensor))

static inline void
assert_gaps_untouched (krn_tensor t)
{
  for (int64_t r = 0; r < krn_rows (t); r++)
    for (int64_t i = t.dim[3]; i < t.stride; i++)
      g_assert_true (isnan (*at (t, r, i)));
}

/* want is packed. */
static inline void
assert_within (krn_tensor got, const double *want, double bound)
{
  double worst = 0.;

  for (int64_t i = 0; i < krn_count (got); i++) {
    const double error = fabs (*at (got, i / got.dim[3], i % got.dim[3]) - want[i]);

    g_assert_false (isnan (error));
    worst = MAX (worst, error);
  }
  g_assert_cmpfloat (worst, <=, bound);
  assert_gaps_untouched (got);
}

/* The tolerance is relative to the root mean square: 1e-6 is about eight roundings of float32. */
static inline void
assert_close (krn_tensor got, const double *want, double tolerance)
{
  double squares = 0.;

  for (int64_t i = 0; i < krn_count (got); i++)
    squares += want[i] * want[i];
  assert_within (got, want, tolerance * sqrt (squares / (double) krn_count (got)) + 1e-30);
}

/* Each is a sum of n products of numbers from make_input, about sqrt (n) in size.  The roundings of
 * a float32 sum, each up to 6e-8 of the sum so far, add up as a random walk. */
static inline void
assert_close_sums (krn_tensor got, const double *want, int64_t n)
{
  assert_within (got, want, (1e-6 + 1.5e-7 * sqrt ((double) n)) * sqrt ((double) n));
}
