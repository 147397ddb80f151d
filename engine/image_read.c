/* engine/image_read.c - reading PNG that anybody may have made, or damaged. */
#include "engine/error.h"
#include "engine/image.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

/* A decompression bomb is stopped by size before anything is inflated: the picture by its pixels,
 * a text by its length. */
enum { MAX_SIDE = 1 << 16, MAX_PIXELS = 1 << 27, MAX_TEXT = 8 << 20, MAX_CHUNKS = 500 };

/* Everything a longjmp out of libpng must not lose. */
struct reader {
  FILE *file;
  png_structp png;
  png_infop info, end_info;
  uint8_t *pixels; /* [height, width, 3], or one row */
  char message[256];
};

static void
error_cb (png_structp png, const char *message)
{
  struct reader *r = png_get_error_ptr (png);

  g_strlcpy (r->message, message, sizeof r->message);
  png_longjmp (png, 1);
}

static void
warning_cb (png_structp png, const char *message)
{
}

static void
read_cb (png_structp png, png_bytep bytes, png_size_t n)
{
  struct reader *r = png_get_io_ptr (png);

  if (fread (bytes, 1, n, r->file) != n)
    png_error (png, ferror (r->file) ? "it could not be read" : "it ends too early");
}

static gboolean
fail (const char *path, const char *reason, GError **error)
{
  g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: %s", path, reason);
  return FALSE;
}

static gboolean
open_reader (struct reader *r, const char *path, GError **error)
{
  uint8_t signature[8];

  if (!g_file_test (path, G_FILE_TEST_IS_REGULAR)) /* a pipe would block for ever */
    return fail (path, g_file_test (path, G_FILE_TEST_EXISTS) ? "not a file" : "no such file",
                 error);
  r->file = g_fopen (path, "rbe");
  if (!r->file)
    return fail (path, g_strerror (errno), error);
  if (fread (signature, 1, 8, r->file) != 8 || png_sig_cmp (signature, 0, 8))
    return fail (path, "not a PNG", error);

  r->png = png_create_read_struct (PNG_LIBPNG_VER_STRING, r, error_cb, warning_cb);
  r->info = r->png ? png_create_info_struct (r->png) : NULL;
  r->end_info = r->info ? png_create_info_struct (r->png) : NULL;
  if (!r->end_info)
    return fail (path, "libpng did not start", error);
  png_set_read_fn (r->png, r, read_cb);
  png_set_sig_bytes (r->png, 8);
  png_set_user_limits (r->png, MAX_SIDE, MAX_SIDE);
  png_set_chunk_malloc_max (r->png, MAX_TEXT);
  png_set_chunk_cache_max (r->png, MAX_CHUNKS);
  return TRUE;
}

static void
close_reader (struct reader *r)
{
  if (r->png)
    png_destroy_read_struct (&r->png, &r->info, &r->end_info);
  g_clear_pointer (&r->file, fclose);
  g_clear_pointer (&r->pixels, g_free);
}

/* TRUE when the picture is of a size that is read at all. */
static gboolean
has_bearable_size (struct reader *r)
{
  const guint64 w = png_get_image_width (r->png, r->info);
  const guint64 h = png_get_image_height (r->png, r->info);

  return w * h <= MAX_PIXELS;
}

/* Whatever it was, rows become 8-bit RGB. */
static void
ask_for_rgb (struct reader *r)
{
  png_set_expand (r->png);
  png_set_scale_16 (r->png);
  png_set_gray_to_rgb (r->png);
  png_set_strip_alpha (r->png);
}

/* ---- Texts ---- */

/* FALSE when the file is damaged; what came before the damage is in r->info and r->end_info.  Only
 * this function's frame sees the longjmp; what it changes is behind r. */
static gboolean
read_all_texts (struct reader *r)
{
  if (setjmp (png_jmpbuf (r->png)))
    return FALSE;

  png_read_info (r->png, r->info);
  if (!has_bearable_size (r))
    return FALSE;
  /* To what comes after the picture leads only the way through it. */
  const int passes = png_set_interlace_handling (r->png);
  png_read_update_info (r->png, r->info);
  r->pixels = g_malloc (png_get_rowbytes (r->png, r->info));
  for (int pass = 0; pass < passes; pass++)
    for (guint y = png_get_image_height (r->png, r->info); y > 0; y--)
      png_read_row (r->png, r->pixels, NULL);
  png_read_end (r->png, r->end_info);
  return TRUE;
}

static void
take_texts (GHashTable *texts, struct reader *r, png_infop info)
{
  png_text *text;
  int n = 0;

  png_get_text (r->png, info, &text, &n);
  for (int i = 0; i < n; i++) {
    const gboolean is_utf8 = text[i].compression >= PNG_ITXT_COMPRESSION_NONE;
    char *value = is_utf8 ? g_utf8_make_valid (text[i].text, -1)
                          : g_convert (text[i].text, -1, "UTF-8", "ISO-8859-1", NULL, NULL, NULL);
    char *key = g_convert (text[i].key, -1, "UTF-8", "ISO-8859-1", NULL, NULL, NULL);

    if (key && value && !g_hash_table_contains (texts, key)) {
      g_hash_table_insert (texts, key, value);
      continue;
    }
    g_free (key);
    g_free (value);
  }
}

GHashTable *
eng_png_read_text (const char *path, GError **error)
{
  struct reader r = { 0 };
  GHashTable *texts = NULL;

  if (open_reader (&r, path, error)) {
    read_all_texts (&r);
    texts = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
    take_texts (texts, &r, r.info);
    take_texts (texts, &r, r.end_info);
  }
  close_reader (&r);
  return texts;
}

/* ---- The picture ---- */

static gboolean
read_picture (struct reader *r)
{
  if (setjmp (png_jmpbuf (r->png)))
    return FALSE;

  png_read_info (r->png, r->info);
  if (!has_bearable_size (r))
    png_error (r->png, "it has more than 2^27 pixels");
  ask_for_rgb (r);
  const int passes = png_set_interlace_handling (r->png);
  png_read_update_info (r->png, r->info);
  const gsize row = png_get_rowbytes (r->png, r->info);
  const guint height = png_get_image_height (r->png, r->info);
  if (row != (gsize) 3 * png_get_image_width (r->png, r->info))
    png_error (r->png, "its pixels are of an unknown kind");
  r->pixels = g_try_malloc0_n (height, row);
  if (!r->pixels)
    png_error (r->png, "not enough memory");
  for (int pass = 0; pass < passes; pass++)
    for (guint y = 0; y < height; y++)
      png_read_row (r->png, r->pixels + y * row, NULL);
  png_read_end (r->png, NULL);
  return TRUE;
}

uint8_t *
eng_png_read_rgb (const char *path, int *width, int *height, GError **error)
{
  struct reader r = { 0 };
  uint8_t *pixels = NULL;

  if (open_reader (&r, path, error)) {
    if (read_picture (&r)) {
      *width = png_get_image_width (r.png, r.info);
      *height = png_get_image_height (r.png, r.info);
      pixels = g_steal_pointer (&r.pixels);
    } else
      fail (path, r.message, error);
  }
  close_reader (&r);
  return pixels;
}
