/* tests/test-cuda-cache.c - what the CUDA half keeps for its next start; needs no GPU. */
#include "kernels/cuda/cache.h"
#include "tests/tmp_folder.h"

#include <glib.h>

struct record {
  char key[8], value[16];
};

static const struct record records[] = { { "one", "eins" }, { "two", "zwei" }, { "six", "sechs" } };

static struct krn_cache *
open_cache (void)
{
  struct krn_cache *cache = krn_cache_open ("test NVIDIA H200/13.1", 8, 16);

  g_assert_nonnull (cache);
  return cache;
}

static char *
cache_path (const char *folder)
{
  return g_build_filename (folder, "deep", "safelight", "test-NVIDIA-H200-13.1", NULL);
}

static void
put_all (struct krn_cache *cache)
{
  for (gsize i = 0; i < G_N_ELEMENTS (records); i++)
    krn_cache_put (cache, records[i].key, records[i].value);
}

static void
assert_all (struct krn_cache *cache)
{
  for (gsize i = 0; i < G_N_ELEMENTS (records); i++)
    g_assert_cmpstr (krn_cache_find (cache, records[i].key), ==, records[i].value);
}

static void
test_survives (void)
{
  const char missing[8] = "ten", other[16] = "fuenf";
  struct krn_cache *cache = open_cache ();

  g_assert_null (krn_cache_find (cache, missing));
  put_all (cache);
  assert_all (cache);
  krn_cache_free (cache);

  cache = open_cache ();
  assert_all (cache);
  g_assert_null (krn_cache_find (cache, missing));
  krn_cache_put (cache, records[1].key, other);
  krn_cache_free (cache);

  cache = open_cache ();
  g_assert_cmpstr (krn_cache_find (cache, records[1].key), ==, other);
  g_assert_cmpstr (krn_cache_find (cache, records[2].key), ==, records[2].value);
  krn_cache_put (cache, records[1].key, records[1].value);
  krn_cache_free (cache);
}

/* Two processes at once: the later one to write keeps what the other wrote. */
static void
test_two_writers (void)
{
  struct krn_cache *a = open_cache (), *b = open_cache ();

  krn_cache_put (a, "from a\0", "1\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
  krn_cache_put (b, "from b\0", "2\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
  krn_cache_free (a);
  krn_cache_free (b);
  a = open_cache ();
  g_assert_cmpstr (krn_cache_find (a, "from a\0"), ==, "1");
  g_assert_cmpstr (krn_cache_find (a, "from b\0"), ==, "2");
  krn_cache_free (a);
}

/* Whatever is cut, changed or of other sizes counts as empty, and is replaced. */
static void
test_broken (gconstpointer folder)
{
  g_autofree char *path = cache_path (folder);
  g_autofree char *whole = NULL;
  gsize size;

  g_assert_true (g_file_get_contents (path, &whole, &size, NULL));
  for (gsize i = 0; i < size; i++) {
    g_autofree char *bytes = g_memdup2 (whole, size);
    struct krn_cache *cache;

    bytes[i] ^= 0x10;
    g_assert_true (g_file_set_contents_full (path, bytes, (gssize) size, G_FILE_SET_CONTENTS_NONE,
                                             0600, NULL));
    cache = open_cache ();
    g_assert_null (krn_cache_find (cache, records[0].key));
    krn_cache_free (cache);
    g_assert_true (
        g_file_set_contents_full (path, whole, (gssize) i, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
    cache = open_cache ();
    g_assert_null (krn_cache_find (cache, records[0].key));
    if (i + 1 == size)
      put_all (cache);
    krn_cache_free (cache);
  }
  struct krn_cache *cache = open_cache ();
  assert_all (cache);
  krn_cache_free (cache);
  cache = krn_cache_open ("test NVIDIA H200/13.1", 8, 15);
  g_assert_null (krn_cache_find (cache, records[0].key));
  krn_cache_free (cache);
}

/* Without a folder the records live as long as the process. */
static void
test_no_folder (gconstpointer folder)
{
  g_autofree char *file = g_build_filename (folder, "file", NULL);
  const char *const places[] = { "relative", file };

  g_assert_true (g_file_set_contents (file, "", 0, NULL));
  g_unsetenv ("HOME");
  for (gsize i = 0; i < G_N_ELEMENTS (places); i++) {
    struct krn_cache *cache;

    g_setenv ("XDG_CACHE_HOME", places[i], TRUE);
    cache = open_cache ();
    put_all (cache);
    assert_all (cache);
    krn_cache_free (cache);
  }
}

int
main (int argc, char **argv)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *deep = g_build_filename (folder, "deep", NULL);
  g_autofree char *ours = g_build_filename (deep, "safelight", NULL);
  g_autofree char *path = cache_path (folder);
  int status;

  g_test_init (&argc, &argv, NULL);
  g_setenv ("XDG_CACHE_HOME", deep, TRUE);
  g_test_add_func ("/cuda-cache/survives", test_survives);
  g_test_add_func ("/cuda-cache/two-writers", test_two_writers);
  g_test_add_data_func ("/cuda-cache/broken", folder, test_broken);
  g_test_add_data_func ("/cuda-cache/no-folder", folder, test_no_folder);
  status = g_test_run ();
  g_unlink (path);
  g_rmdir (ours);
  g_rmdir (deep);
  return status;
}
