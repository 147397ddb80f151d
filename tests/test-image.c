/* tests/test-image.c - PNG out and in, texts, damage, and disks that say no. */
#include "engine/image.h"

#include "engine/write_file.h"
#include "tests/tmp_folder.h"

#include <gio/gio.h>
#include <png.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* A picture without two equal rows; channels 4 have an alpha that must not matter. */
static uint8_t *
make_pixels (int width, int height, int channels)
{
  uint8_t *pixels = g_malloc ((gsize) width * height * channels);

  for (int i = 0; i < width * height; i++)
    for (int c = 0; c < channels; c++)
      pixels[i * channels + c] = c == 3 ? 255 : (i * (c + 3) + i / width * 7) & 255;
  return pixels;
}

static char *
path_in (const char *folder, const char *name)
{
  return g_build_filename (folder, name, NULL);
}

static char *
read_file (const char *path, gsize *n)
{
  g_autoptr (GError) error = NULL;
  char *bytes = NULL;

  g_file_get_contents (path, &bytes, n, &error);
  g_assert_no_error (error);
  return bytes;
}

static guint
count_files (const char *folder)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  guint n = 0;

  while (g_dir_read_name (dir))
    n++;
  return n;
}

static void
test_round_trip (void)
{
  static const int sizes[][2] = { { 1, 1 }, { 1, 9 }, { 16, 16 }, { 33, 17 }, { 640, 3 } };
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *path = path_in (folder, "out.png");

  for (gsize i = 0; i < G_N_ELEMENTS (sizes); i++)
    for (int channels = 3; channels <= 4; channels++) {
      g_autofree uint8_t *pixels = make_pixels (sizes[i][0], sizes[i][1], channels);
      const struct eng_png png = {
        .width = sizes[i][0], .height = sizes[i][1], .channels = channels, .pixels = pixels
      };
      g_autoptr (GError) error = NULL;
      int width, height;

      eng_png_write (path, &png, &error);
      g_assert_no_error (error);
      g_autofree uint8_t *back = eng_png_read_rgb (path, &width, &height, &error);
      g_assert_no_error (error);
      g_assert_cmpint (width, ==, sizes[i][0]);
      g_assert_cmpint (height, ==, sizes[i][1]);
      for (int k = 0; k < width * height; k++)
        g_assert_cmpmem (back + 3 * k, 3, pixels + channels * k, 3);
    }
  g_assert_cmpuint (count_files (folder), ==, 1);
}

/* Where chunk type is, from the length field on; NULL when there is none. */
static const char *
find_chunk (const char *file, gsize n, const char *type)
{
  for (gsize at = 8; at + 12 <= n;) {
    guint32 length;

    memcpy (&length, file + at, 4);
    if (memcmp (file + at + 4, type, 4) == 0)
      return file + at;
    at += 12 + GUINT32_FROM_BE (length);
  }
  return NULL;
}

static void
test_texts (void)
{
  static const struct eng_png_text texts[] = {
    { "parameters", "a caf\xc3\xa9\nSteps: 8" },
    { "Comment", "\xe7\xba\xa2\xe8\x89\xb2\xe7\x9a\x84\xe9\xa3\x8e\xe7\xad\x9d, \xf0\x9f\xaa\x81" },
    { "Tab", "a\tb" },
    { "Empty", "" },
    { "parameters", "a second one" },
  };
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *path = path_in (folder, "out.png");
  g_autofree uint8_t *pixels = make_pixels (8, 8, 4);
  const struct eng_png png = { 8, 8, 4, pixels, texts, G_N_ELEMENTS (texts), TRUE };
  g_autoptr (GError) error = NULL;
  gsize n;

  eng_png_write (path, &png, &error);
  g_assert_no_error (error);
  g_autoptr (GHashTable) back = eng_png_read_text (path, &error);
  g_assert_no_error (error);
  for (int i = 0; i < 4; i++)
    g_assert_cmpstr (g_hash_table_lookup (back, texts[i].key), ==, texts[i].value);
  g_assert_nonnull (
      strstr (g_hash_table_lookup (back, "XML:com.adobe.xmp"), "/trainedAlgorithmicMedia\""));

  g_autofree char *file = read_file (path, &n);
  const char *latin1 = find_chunk (file, n, "tEXt");
  const char *picture = find_chunk (file, n, "IDAT");
  g_assert_cmpmem (latin1 + 8, 24, "parameters\0a caf\xe9\nSteps: ", 24);
  g_assert_true (latin1 < picture && find_chunk (file, n, "iTXt") < picture);
  g_assert_nonnull (find_chunk (file, n, "sRGB"));
}

static void
test_no_texts (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *path = path_in (folder, "out.png");
  g_autofree uint8_t *pixels = make_pixels (8, 8, 3);
  const struct eng_png png = { .width = 8, .height = 8, .channels = 3, .pixels = pixels };
  gsize n;

  g_assert_true (eng_png_write (path, &png, NULL));
  g_autofree char *file = read_file (path, &n);
  g_assert_null (find_chunk (file, n, "tEXt"));
  g_assert_null (find_chunk (file, n, "iTXt"));
  g_autoptr (GHashTable) texts = eng_png_read_text (path, NULL);
  g_assert_cmpuint (g_hash_table_size (texts), ==, 0);
}

static void
test_refuses (void)
{
  static const uint8_t pixel[4];
  static const char *const keys[] = { "",
                                      " a",
                                      "a ",
                                      "a  b",
                                      "a\nb",
                                      "caf\xc3\xa9",
                                      "eighty characters eighty characters eighty characters "
                                      "eighty characters, eighty." };

  for (gsize i = 0; i < G_N_ELEMENTS (keys); i++) {
    const struct eng_png_text text = { keys[i], "value" };
    const struct eng_png png = { 1, 1, 3, pixel, &text, 1, FALSE };
    g_autoptr (GError) error = NULL;

    g_assert_null (eng_png_encode (&png, &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
  }
  for (int i = 0; i < 3; i++) {
    const struct eng_png png = { .width = i == 0 ? 0 : 1,
                                 .height = i == 1 ? -1 : 1,
                                 .channels = i == 2 ? 2 : 3,
                                 .pixels = pixel };
    g_assert_null (eng_png_encode (&png, NULL));
  }
}

/* ---- Disks that say no ---- */

/* Fails to write over older, with a message that names path; older stays as it was. */
static void
assert_fails (const char *path, const char *reason)
{
  g_autofree uint8_t *pixels = make_pixels (256, 256, 3);
  const struct eng_png png = { .width = 256, .height = 256, .channels = 3, .pixels = pixels };
  g_autoptr (GError) error = NULL;

  g_assert_false (eng_png_write (path, &png, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
  g_assert_nonnull (strstr (error->message, path));
  g_assert_nonnull (strstr (error->message, reason));
}

/* A file of at most 4096 bytes may be written: the same way through the code as a full disk, and
 * it holds for root, too. */
static void
test_full_disk (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *path = tmp_folder_write (folder, "out.png", "older", 5);
  g_autofree uint8_t *pixels = make_pixels (256, 256, 3);
  const struct eng_png png = { .width = 256, .height = 256, .channels = 3, .pixels = pixels };
  g_autoptr (GError) error = NULL;
  struct rlimit before, small;
  gboolean written;
  gsize n;

  signal (SIGXFSZ, SIG_IGN);
  g_assert_cmpint (getrlimit (RLIMIT_FSIZE, &before), ==, 0);
  small = before;
  small.rlim_cur = 4096;
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &small), ==, 0);
  written = eng_png_write (path, &png, &error);
  g_assert_cmpint (setrlimit (RLIMIT_FSIZE, &before), ==, 0);
  signal (SIGXFSZ, SIG_DFL);

  g_assert_false (written);
  g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
  g_assert_nonnull (strstr (error->message, path));
  g_autofree char *older = read_file (path, &n);
  g_assert_cmpmem (older, n, "older", 5);
  g_assert_cmpuint (count_files (folder), ==, 1); /* the temporary one is gone */
}

static void
test_full_device (void)
{
  if (!g_file_test ("/dev/full", G_FILE_TEST_EXISTS)) {
    g_test_skip ("no /dev/full here");
    return;
  }
  assert_fails ("/dev/full", "No space left");
  g_assert_false (g_file_test ("/dev/full", G_FILE_TEST_IS_REGULAR)); /* and was not replaced */
}

static void
test_bad_folders (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *file = tmp_folder_write (folder, "file", "x", 1);
  g_autofree char *none = g_build_filename (folder, "none", "out.png", NULL);
  g_autofree char *below = g_build_filename (file, "out.png", NULL);
  g_autofree char *out = path_in (folder, "out.png");

  assert_fails (none, "No such file");
  assert_fails (below, "Not a directory");
  assert_fails (folder, "Is a directory");
  if (geteuid () != 0) { /* root may write anywhere */
    g_assert_cmpint (chmod (folder, 0500), ==, 0);
    assert_fails (out, "Permission denied");
    g_assert_cmpint (chmod (folder, 0700), ==, 0);
  }
  g_assert_cmpuint (count_files (folder), ==, 1);
}

static void
test_permissions (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *path = path_in (folder, "new");
  g_autofree char *link = path_in (folder, "link");
  const mode_t before = umask (027);
  struct stat st;

  g_assert_true (eng_write_file (path, "1", 1, NULL));
  g_assert_cmpint (stat (path, &st), ==, 0);
  g_assert_cmphex (st.st_mode & 0777, ==, 0640);
  g_assert_cmpint (chmod (path, 0604), ==, 0);
  g_assert_cmpint (symlink ("new", link), ==, 0);
  g_assert_true (eng_write_file (link, "22", 2, NULL));
  g_assert_cmpint (lstat (link, &st), ==, 0);
  g_assert_true (S_ISLNK (st.st_mode));
  g_assert_cmpint (stat (path, &st), ==, 0);
  g_assert_cmphex (st.st_mode & 0777, ==, 0604);
  g_assert_cmpint (st.st_size, ==, 2);
  umask (before);
}

/* ---- Other people's files ---- */

/* Writes a file with libpng as we never would: any colour type, depth, interlace, texts behind. */
static char *
write_other (const char *folder, int color_type, int depth, int interlace)
{
  char *path = path_in (folder, "other.png");
  FILE *file = fopen (path, "wb");
  png_structp png = png_create_write_struct (PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct (png);
  static png_color palette[2] = { { 1, 2, 3 }, { 250, 128, 0 } };
  static png_byte row[16 * 8];
  png_text text = { .compression = PNG_TEXT_COMPRESSION_zTXt,
                    .key = "parameters",
                    .text = "behind" };

  memset (row, 0x55, sizeof row);
  png_init_io (png, file);
  png_set_IHDR (png, info, 16, 16, depth, color_type, interlace, 0, 0);
  if (color_type == PNG_COLOR_TYPE_PALETTE)
    png_set_PLTE (png, info, palette, 2);
  png_write_info (png, info);
  for (int pass = png_set_interlace_handling (png); pass > 0; pass--)
    for (int y = 0; y < 16; y++)
      png_write_row (png, row);
  png_set_text (png, info, &text, 1);
  png_write_end (png, info);
  png_destroy_write_struct (&png, &info);
  fclose (file);
  return path;
}

static void
test_kinds (void)
{
  static const int kinds[][2] = { { PNG_COLOR_TYPE_GRAY, 1 },      { PNG_COLOR_TYPE_GRAY, 8 },
                                  { PNG_COLOR_TYPE_GRAY, 16 },     { PNG_COLOR_TYPE_PALETTE, 1 },
                                  { PNG_COLOR_TYPE_RGB, 8 },       { PNG_COLOR_TYPE_RGB, 16 },
                                  { PNG_COLOR_TYPE_RGBA, 8 },      { PNG_COLOR_TYPE_RGBA, 16 },
                                  { PNG_COLOR_TYPE_GRAY_ALPHA, 8 } };

  for (gsize i = 0; i < G_N_ELEMENTS (kinds); i++)
    for (int interlace = 0; interlace < 2; interlace++) {
      g_autoptr (tmp_folder) folder = tmp_folder_new ();
      g_autofree char *path = write_other (folder, kinds[i][0], kinds[i][1], interlace);
      g_autoptr (GError) error = NULL;
      int width, height;

      g_autofree uint8_t *pixels = eng_png_read_rgb (path, &width, &height, &error);
      g_assert_no_error (error);
      g_assert_cmpint (width, ==, 16);
      g_assert_cmpint (height, ==, 16);
      if (kinds[i][1] >= 8)
        g_assert_cmpint (pixels[16 * 16 * 3 - 1], ==, 0x55);
      g_autoptr (GHashTable) texts = eng_png_read_text (path, &error);
      g_assert_no_error (error);
      g_assert_cmpstr (g_hash_table_lookup (texts, "parameters"), ==, "behind");
    }
}

static GBytes *
example (void)
{
  static const struct eng_png_text texts[] = { { "parameters", "kept" } };
  g_autofree uint8_t *pixels = make_pixels (24, 24, 3);
  const struct eng_png png = { 24, 24, 3, pixels, texts, 1, TRUE };

  return eng_png_encode (&png, NULL);
}

/* Cut anywhere, and with any byte changed, files are read or refused, and nothing else happens. */
static void
test_damage (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autoptr (GBytes) whole = example ();
  gsize n;
  const guint8 *bytes = g_bytes_get_data (whole, &n);
  g_autofree guint8 *copy = g_malloc (n);

  for (gsize i = 0; i < 2 * n; i += 3) {
    const gboolean cut = i < n;
    int width, height;

    memcpy (copy, bytes, n);
    if (!cut)
      copy[i - n] ^= 1 << (i % 8);
    g_autofree char *path = tmp_folder_write (folder, "damaged.png", copy, cut ? i : n);
    g_autoptr (GError) error = NULL;
    g_autoptr (GHashTable) texts = eng_png_read_text (path, &error);
    g_assert_true (texts || g_error_matches (error, ENG_ERROR, ENG_ERROR_FILE));
    g_autoptr (GError) refused = NULL;
    g_autofree uint8_t *pixels = eng_png_read_rgb (path, &width, &height, &refused);
    g_assert_true (pixels || g_error_matches (refused, ENG_ERROR, ENG_ERROR_FILE));
    if (cut)
      g_assert_null (pixels);
    if (cut && i > n - 20) /* behind the texts */
      g_assert_cmpstr (g_hash_table_lookup (texts, "parameters"), ==, "kept");
  }
}

static void
append_chunk (GByteArray *file, const char *type, const void *data, guint32 n)
{
  const guint32 length = GUINT32_TO_BE (n);
  guint32 crc = 0xffffffff;
  GByteArray *body = g_byte_array_new ();

  g_byte_array_append (body, (const guint8 *) type, 4);
  g_byte_array_append (body, data, n);
  for (guint i = 0; i < body->len; i++) {
    crc ^= body->data[i];
    for (int k = 0; k < 8; k++)
      crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  crc = GUINT32_TO_BE (~crc);
  g_byte_array_append (file, (const guint8 *) &length, 4);
  g_byte_array_append (file, body->data, body->len);
  g_byte_array_append (file, (const guint8 *) &crc, 4);
  g_byte_array_unref (body);
}

/* A header that promises size pixels a side, and then nothing. */
static GByteArray *
begin_png (guint32 size)
{
  GByteArray *file = g_byte_array_new ();
  const guint32 side = GUINT32_TO_BE (size);
  guint8 header[13] = { [8] = 8, [9] = 2 };

  memcpy (header, &side, 4);
  memcpy (header + 4, &side, 4);
  g_byte_array_append (file, (const guint8 *) "\x89PNG\r\n\x1a\n", 8);
  append_chunk (file, "IHDR", header, sizeof header);
  return file;
}

static void
test_bombs (void)
{
  static const guint32 sizes[] = { 0, 20000, 65536, 65537, 0x7fffffff, 0xffffffff };
  g_autoptr (tmp_folder) folder = tmp_folder_new ();

  for (gsize i = 0; i < G_N_ELEMENTS (sizes); i++) {
    g_autoptr (GByteArray) file = begin_png (sizes[i]);
    g_autoptr (GError) error = NULL;
    int width, height;

    append_chunk (file, "tEXt", "parameters\0x", 12);
    append_chunk (file, "IDAT", "x", 1);
    g_autofree char *path = tmp_folder_write (folder, "bomb.png", file->data, file->len);
    g_assert_null (eng_png_read_rgb (path, &width, &height, &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
    g_autoptr (GHashTable) texts = eng_png_read_text (path, NULL);
    if (i == 1 || i == 2)
      g_assert_cmpstr (g_hash_table_lookup (texts, "parameters"), ==, "x");
  }
}

/* 64 MiB of text in 64 KiB: left out, and what stands beside it is read. */
static void
test_text_bomb (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autoptr (GByteArray) file = begin_png (4);
  g_autoptr (GByteArray) chunk = g_byte_array_new ();
  g_autoptr (GConverter) deflate =
      G_CONVERTER (g_zlib_compressor_new (G_ZLIB_COMPRESSOR_FORMAT_ZLIB, 9));
  const gsize n = 64 << 20;
  g_autofree char *zeros = g_strnfill (n, '0');
  g_autofree char *packed = g_malloc (1 << 20);
  gsize read, written;

  g_assert_cmpint (g_converter_convert (deflate, zeros, n, packed, 1 << 20,
                                        G_CONVERTER_INPUT_AT_END, &read, &written, NULL),
                   ==, G_CONVERTER_FINISHED);
  g_byte_array_append (chunk, (const guint8 *) "bomb\0", 6);
  g_byte_array_append (chunk, (const guint8 *) packed, written);
  append_chunk (file, "zTXt", chunk->data, chunk->len);
  append_chunk (file, "tEXt", "parameters\0kept", 15);
  append_chunk (file, "IDAT", "x", 1);
  g_autofree char *path = tmp_folder_write (folder, "bomb.png", file->data, file->len);
  g_autoptr (GHashTable) texts = eng_png_read_text (path, NULL);
  const char *bomb = g_hash_table_lookup (texts, "bomb");
  g_assert_true (!bomb || strlen (bomb) <= 8 << 20);
  g_assert_cmpstr (g_hash_table_lookup (texts, "parameters"), ==, "kept");
}

static void
test_not_png (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *text = tmp_folder_write (folder, "text.png", "hello, world", 12);
  g_autofree char *empty = tmp_folder_write (folder, "empty.png", "", 0);
  g_autofree char *none = path_in (folder, "none.png");
  const char *const paths[] = { text, empty, none, folder, "/dev/zero" };

  for (gsize i = 0; i < G_N_ELEMENTS (paths); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_null (eng_png_read_text (paths[i], &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
    g_assert_nonnull (strstr (error->message, paths[i]));
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/image/round-trip", test_round_trip);
  g_test_add_func ("/image/texts", test_texts);
  g_test_add_func ("/image/no-texts", test_no_texts);
  g_test_add_func ("/image/refuses", test_refuses);
  g_test_add_func ("/image/full-disk", test_full_disk);
  g_test_add_func ("/image/full-device", test_full_device);
  g_test_add_func ("/image/bad-folders", test_bad_folders);
  g_test_add_func ("/image/permissions", test_permissions);
  g_test_add_func ("/image/kinds", test_kinds);
  g_test_add_func ("/image/damage", test_damage);
  g_test_add_func ("/image/bombs", test_bombs);
  g_test_add_func ("/image/text-bomb", test_text_bomb);
  g_test_add_func ("/image/not-png", test_not_png);
  return g_test_run ();
}
