#include "kernels/cuda/library.h"

#include <dlfcn.h>
#include <glib.h>

/* Names that lead nowhere are passed over. */
static void
test_open (void)
{
  static const char *const names[] = { "libno-such-thing.so.1", "libm.so.6" };
  void *library = krn_library_open (names, G_N_ELEMENTS (names));

  g_assert_nonnull (library);
  g_assert_null (krn_library_open (names, 1));
  dlclose (library);
}

static void
test_load (void)
{
  static const char *const names[] = { "libm.so.6" };
  void *library = krn_library_open (names, 1);
  double (*floor) (double) = NULL, (*none) (double) = NULL;
  const struct krn_symbol symbols[] = { { &floor, "floor" }, { &none, "no_such_function" } };

  g_assert_true (krn_library_load (library, symbols, 1));
  g_assert_cmpfloat (floor (2.5), ==, 2.);
  g_assert_false (krn_library_load (library, symbols, G_N_ELEMENTS (symbols)));
  g_assert_true (none == NULL);
  dlclose (library);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cuda-library/open", test_open);
  g_test_add_func ("/cuda-library/load", test_load);
  return g_test_run ();
}
