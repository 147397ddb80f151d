/* Host memory for copies: what is given out, and that the next picture finds it there. */
#include "engine/staging.h"

#include "engine/error.h"

#include <string.h>

static struct krn_device *device;

static void
test_take (void)
{
  static const size_t sizes[] = { 1, 64, 65, 3 << 20, 100, 2 << 20, 0 };
  eng_staging *staging = eng_staging_new (device);
  g_autoptr (GError) error = NULL;
  char *taken[G_N_ELEMENTS (sizes)];

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    taken[i] = eng_staging_take (staging, sizes[i], "it", &error);
    g_assert_no_error (error);
    g_assert_cmpuint ((uintptr_t) taken[i] % 64, ==, 0);
    memset (taken[i], (int) i + 1, sizes[i]);
  }
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++)
    for (size_t k = 0; k < sizes[i]; k++)
      g_assert_cmpint (taken[i][k], ==, i + 1); /* nobody else's */
  eng_staging_free (staging);
}

/* The second picture like the first asks the device for nothing. */
static void
test_reset (void)
{
  eng_staging *staging = eng_staging_new (device);
  guint64 before = 0;

  for (int picture = 0; picture < 4; picture++) {
    if (picture == 1)
      before = krn_allocations (device);
    for (int i = 0; i < 5; i++)
      g_assert_nonnull (eng_staging_take (staging, 1500000, "it", NULL));
    eng_staging_reset (staging);
  }
  g_assert_cmpuint (krn_allocations (device), ==, before);
  eng_staging_free (staging);
}

static void
test_too_much (void)
{
  static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 10, SIZE_MAX / 2 };
  eng_staging *staging = eng_staging_new (device);

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_null (eng_staging_take (staging, sizes[i], "the noise", &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_MEMORY);
    g_assert_true (g_pattern_match_simple ("the noise needs * of host memory", error->message));
  }
  g_assert_nonnull (eng_staging_take (staging, 10, "it", NULL));
  eng_staging_free (staging);
}

int
main (int argc, char **argv)
{
  int code;

  g_test_init (&argc, &argv, NULL);
  g_assert_cmpint (krn_cpu_open (&device, 1), ==, KRN_OK);
  g_test_add_func ("/staging/take", test_take);
  g_test_add_func ("/staging/reset", test_reset);
  g_test_add_func ("/staging/too-much", test_too_much);
  code = g_test_run ();
  device->close (device);
  return code;
}
