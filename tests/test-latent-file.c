/* tests/test-latent-file.c - latents to .safetensors and back. */
#include "engine/latent_file.h"

#include "engine/error.h"
#include "engine/weights.h"
#include "tests/tmp_folder.h"

#include <math.h>
#include <string.h>

static struct eng_latent *
make (const char *name, int number, int64_t c, int64_t h, int64_t w)
{
  struct eng_latent *latent = eng_latent_new (name, number, (int64_t[]){ 1, c, h, w });

  for (int64_t i = 0; i < c * h * w; i++)
    latent->data[i] = sinf (i) * (number + 2);
  return latent;
}

static char *
write_two (const char *folder)
{
  g_autoptr (GPtrArray) latents = g_ptr_array_new_with_free_func ((GDestroyNotify) eng_latent_free);
  g_autoptr (GError) error = NULL;
  char *path = g_build_filename (folder, "dump.safetensors", NULL);

  g_ptr_array_add (latents, make ("noise", -1, 2, 3, 5));
  g_ptr_array_add (latents, make ("step", 1, 2, 3, 5));
  eng_latent_write (path, latents, &error);
  g_assert_no_error (error);
  return path;
}

static void
test_writes (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *path = write_two (folder);
  g_autoptr (GError) error = NULL;
  g_autoptr (eng_weights) file = eng_weights_open (path, &error);
  struct eng_latent *step = make ("", 1, 2, 3, 5);

  g_assert_no_error (error);
  g_assert_cmpuint (eng_weights_get_n (file), ==, 2);
  g_assert_nonnull (eng_weights_lookup (file, "noise"));
  const struct eng_tensor_info *info = eng_weights_lookup (file, "step_1");
  g_assert_cmpint (info->dtype, ==, KRN_F32);
  g_assert_cmpint (info->n_dims, ==, 4);
  g_assert_cmpint (info->dim[0], ==, 1);
  g_assert_cmpint (info->dim[3], ==, 5);
  g_assert_cmpmem (info->data, info->bytes, step->data, 30 * sizeof (float));
  g_assert_cmpuint ((guintptr) info->data % 4, ==, 0);
  eng_latent_free (step);
}

static void
test_reads (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *path = write_two (folder);
  struct eng_latent *noise = make ("", -1, 2, 3, 5);
  g_autoptr (GError) error = NULL;
  float data[30];

  eng_latent_read (path, data, noise->dim, &error); /* of two, the noise */
  g_assert_no_error (error);
  g_assert_cmpmem (data, sizeof data, noise->data, sizeof data);
  eng_latent_free (noise);
}

/* A file of one tensor "x" with the given header fields and bytes. */
static char *
write_raw (const char *folder, const char *dtype, const char *shape, const void *bytes, gsize n)
{
  g_autofree char *header = g_strdup_printf (
      "{\"x\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[0,%" G_GSIZE_FORMAT "]}}", dtype,
      shape, n);
  const guint64 length = GUINT64_TO_LE (strlen (header));
  g_autoptr (GByteArray) file = g_byte_array_new ();

  g_byte_array_append (file, (const guint8 *) &length, 8);
  g_byte_array_append (file, (const guint8 *) header, strlen (header));
  g_byte_array_append (file, bytes, n);
  return tmp_folder_write (folder, "raw.safetensors", file->data, file->len);
}

/* 1, -2, the largest, the least subnormal, infinity and a half-way subnormal of each kind. */
static void
test_halves (void)
{
  static const guint16 f16[] = { 0x3c00, 0xc000, 0x7bff, 0x0001, 0x7c00, 0x8200 };
  static const guint16 bf16[] = { 0x3f80, 0xc000, 0x7f7f, 0x0001, 0x7f80, 0x8040 };
  const float want16[] = { 1, -2, 65504, 0x1p-24f, INFINITY, -0x1p-15f };
  const float wantb[] = { 1, -2, 0x1.fep127f, 0x1p-133f, INFINITY, -0x1p-127f };
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  const int64_t dim[4] = { 1, 1, 2, 3 };
  float data[6];

  g_autofree char *a = write_raw (folder, "F16", "[2, 3]", f16, sizeof f16);
  g_assert_true (eng_latent_read (a, data, dim, NULL));
  g_assert_cmpmem (data, sizeof data, want16, sizeof want16);
  g_autofree char *b = write_raw (folder, "BF16", "[1, 2, 3]", bf16, sizeof bf16);
  g_assert_true (eng_latent_read (b, data, dim, NULL));
  g_assert_cmpmem (data, sizeof data, wantb, sizeof wantb);
}

static void
test_refuses (void)
{
  static const struct {
    const char *dtype, *shape, *message;
    gsize bytes;
  } cases[] = {
    { "F32", "[3, 2]", "x is [3, 2], expected [1, 1, 2, 3]", 24 },
    { "F32", "[2, 2, 3]", "x is [2, 2, 3], expected [1, 1, 2, 3]", 48 },
    { "F32", "[3]", "x is [3], expected [1, 1, 2, 3]", 12 },
    { "F32", "[1, 1, 1, 2, 3]", "x is [1, 1, 1, 2, ...], expected [1, 1, 2, 3]", 24 },
    { "F32", "[]", "x is [], expected [1, 1, 2, 3]", 4 },
    { "I32", "[2, 3]", "x is I32, expected F32, F16 or BF16", 24 },
    { "I64", "[2, 3]", "x is I64, expected F32, F16 or BF16", 48 },
    { "F64", "[2, 3]", "x is F64, expected F32, F16 or BF16", 48 },
    { "U8", "[2, 3]", "x is U8, expected F32, F16 or BF16", 6 },
  };
  static const char bytes[48];
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  const int64_t dim[4] = { 1, 1, 2, 3 };
  float data[6];

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *path =
        write_raw (folder, cases[i].dtype, cases[i].shape, bytes, cases[i].bytes);
    g_autoptr (GError) error = NULL;

    g_assert_false (eng_latent_read (path, data, dim, &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
    g_assert_true (g_str_has_suffix (error->message, cases[i].message));
  }
}

static void
test_several (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *path = g_build_filename (folder, "several.safetensors", NULL);
  g_autoptr (GPtrArray) latents = g_ptr_array_new_with_free_func ((GDestroyNotify) eng_latent_free);
  const int64_t dim[4] = { 1, 1, 2, 3 };
  g_autoptr (GError) error = NULL;
  g_autoptr (GError) no_folder = NULL;
  float data[6];

  g_ptr_array_add (latents, make ("step", 0, 1, 2, 3));
  g_ptr_array_add (latents, make ("step", 1, 1, 2, 3));
  g_assert_true (eng_latent_write (path, latents, NULL));
  g_assert_false (eng_latent_read (path, data, dim, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
  g_ptr_array_add (latents, make ("latents", -1, 1, 2, 3));
  g_assert_true (eng_latent_write (path, latents, NULL));
  g_assert_true (eng_latent_read (path, data, dim, NULL));
  g_assert_false (eng_latent_write ("/nowhere/at/all.safetensors", latents, &no_folder));
  g_assert_error (no_folder, ENG_ERROR, ENG_ERROR_FILE);
  g_assert_nonnull (strstr (no_folder->message, "/nowhere/at/all.safetensors"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/latent-file/writes", test_writes);
  g_test_add_func ("/latent-file/reads", test_reads);
  g_test_add_func ("/latent-file/halves", test_halves);
  g_test_add_func ("/latent-file/refuses", test_refuses);
  g_test_add_func ("/latent-file/several", test_several);
  return g_test_run ();
}
