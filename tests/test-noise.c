/* tests/test-noise.c - against torch on the CPU (bit for bit) and the formula of torch on CUDA. */
#include "engine/noise.h"

#include <math.h>
#include <string.h>

/* Lines of a golden file without its comments; free with g_strfreev. */
static char **
read_lines (const char *name)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "data", name, NULL);
  g_autofree char *text = NULL;
  g_autoptr (GError) error = NULL;

  g_file_get_contents (path, &text, NULL, &error);
  g_assert_no_error (error);
  return g_strsplit (g_strchomp (text), "\n", -1);
}

/* All draws of a line, one after the other; sizes "3,20,1".  Free with g_free. */
static float *
draw (struct eng_noise *noise, const char *sizes, gsize *n)
{
  g_auto (GStrv) size = g_strsplit (sizes, ",", -1);
  float *values = NULL;

  *n = 0;
  for (int i = 0; size[i]; i++) {
    const gsize more = g_ascii_strtoull (size[i], NULL, 10);
    values = g_renew (float, values, *n + more);
    eng_noise_fill (noise, values + *n, more);
    *n += more;
  }
  return values;
}

static void
test_cpu (void)
{
  g_auto (GStrv) lines = read_lines ("noise-cpu.txt");

  for (int i = 0; lines[i]; i++) {
    g_auto (GStrv) field = g_strsplit (lines[i], " ", -1);
    struct eng_noise noise;
    gsize n;

    if (lines[i][0] == '#')
      continue;
    eng_noise_init (&noise, ENG_RNG_CPU, g_ascii_strtoull (field[0], NULL, 10));
    g_autofree float *values = draw (&noise, field[1], &n);
    for (int k = 0; field[3 + k]; k++) {
      uint32_t word;
      memcpy (&word, &values[k], sizeof word);
      g_assert_cmphex (word, ==, g_ascii_strtoull (field[3 + k], NULL, 16));
    }
    g_autofree char *digest =
        g_compute_checksum_for_data (G_CHECKSUM_SHA256, (guchar *) values, n * sizeof (float));
    g_assert_cmpstr (digest, ==, field[2]);
  }
}

/* The goldens are from the formula, not from a GPU.  The tolerance of one unit in the last place is
 * for a sine or logarithm that lies so near the middle of two floats that libraries differ. */
static void
test_cuda (void)
{
  g_auto (GStrv) lines = read_lines ("noise-cuda.txt");

  for (int i = 0; lines[i]; i++) {
    g_auto (GStrv) field = g_strsplit (lines[i], " ", -1);
    struct eng_noise noise;
    gsize n;

    if (lines[i][0] == '#')
      continue;
    eng_noise_init (&noise, ENG_RNG_CUDA, g_ascii_strtoull (field[0], NULL, 10));
    noise.max_threads = g_ascii_strtoull (field[1], NULL, 10);
    g_autofree float *values = draw (&noise, field[2], &n);
    for (int k = 3; field[k]; k++) {
      char *end;
      const gsize at = g_ascii_strtoull (field[k], &end, 10);
      const uint32_t want = g_ascii_strtoull (end + 1, NULL, 16);
      int32_t word;

      g_assert_cmpuint (at, <, n);
      memcpy (&word, &values[at], sizeof word);
      g_assert_cmpint (labs ((long) word - (int32_t) want), <=, 1);
    }
  }
}

/* A draw is a function of the state alone: a copy gives the same, also with a normal left over. */
static void
test_copy (void)
{
  for (int rng = ENG_RNG_CPU; rng <= ENG_RNG_CUDA; rng++) {
    struct eng_noise a, b;
    float x[40], y[40];

    eng_noise_init (&a, rng, 99);
    eng_noise_fill (&a, x, 5);
    b = a;
    eng_noise_fill (&a, x, 0);
    eng_noise_fill (&a, x, 3);
    eng_noise_fill (&a, x + 3, 37);
    eng_noise_fill (&b, y, 3);
    eng_noise_fill (&b, y + 3, 37);
    g_assert_cmpmem (x, sizeof x, y, sizeof y);
  }
}

static void
test_is_normal (void)
{
  enum { N = 1 << 20 };
  g_autofree float *x = g_new (float, N);

  for (int rng = ENG_RNG_CPU; rng <= ENG_RNG_CUDA; rng++) {
    struct eng_noise noise;
    double sum = 0, square = 0, fourth = 0;

    eng_noise_init (&noise, rng, 3);
    eng_noise_fill (&noise, x, N);
    for (int i = 0; i < N; i++) {
      const double v = x[i];
      g_assert_true (isfinite (v));
      sum += v;
      square += v * v;
      fourth += v * v * v * v;
    }
    /* Five standard deviations of each estimate: 1, sqrt 2 and sqrt 96 over sqrt N. */
    g_assert_cmpfloat (fabs (sum / N), <, 5.0 / 1024);
    g_assert_cmpfloat (fabs (square / N - 1), <, 5 * 1.4143 / 1024);
    g_assert_cmpfloat (fabs (fourth / N - 3), <, 5 * 9.8 / 1024);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/noise/cpu", test_cpu);
  g_test_add_func ("/noise/cuda", test_cuda);
  g_test_add_func ("/noise/copy", test_copy);
  g_test_add_func ("/noise/is-normal", test_is_normal);
  return g_test_run ();
}
