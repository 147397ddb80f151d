/* engine/image.c - writing PNG. */
#include "engine/image.h"

#include "engine/write_file.h"

#include <png.h>
#include <setjmp.h>
#include <string.h>
#include <zlib.h>

/* Run lengths and Huffman codes only: for pictures without repeated pieces that is faster than any
 * search for matches and, at the levels worth waiting for, also smaller (numbers in the commit). */
enum { COMPRESSION_LEVEL = 1, COMPRESSION_STRATEGY = Z_RLE, FILTER = PNG_FILTER_SUB };

static const char xmp_key[] = "XML:com.adobe.xmp";
/* Says what IPTC's vocabulary has for pictures made by a trained model. */
static const char xmp_generated[] =
    "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">"
    "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">"
    "<rdf:Description rdf:about=\"\" "
    "xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\" "
    "Iptc4xmpExt:DigitalSourceType="
    "\"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia\"/>"
    "</rdf:RDF></x:xmpmeta>";

/* Everything a longjmp out of libpng must not lose. */
struct writer {
  png_structp png;
  png_infop info;
  GByteArray *out;
  png_text *texts; /* strings borrowed from strings */
  GPtrArray *strings;
  char message[256];
};

static void
error_cb (png_structp png, const char *message)
{
  struct writer *w = png_get_error_ptr (png);

  g_strlcpy (w->message, message, sizeof w->message);
  png_longjmp (png, 1);
}

static void
warning_cb (png_structp png, const char *message)
{
}

static void
write_cb (png_structp png, png_bytep bytes, png_size_t n)
{
  struct writer *w = png_get_io_ptr (png);
  g_byte_array_append (w->out, bytes, n);
}

static void
flush_cb (png_structp png)
{
}

/* value in Latin-1 when it has only what a tEXt chunk may hold; else NULL. */
static char *
to_latin1 (const char *value)
{
  for (const char *c = value; *c; c = g_utf8_next_char (c)) {
    const gunichar u = g_utf8_get_char (c);
    if (u > 0xff || (u < 0x20 && u != '\n') || (u >= 0x7f && u < 0xa0))
      return NULL;
  }
  return g_convert (value, -1, "ISO-8859-1", "UTF-8", NULL, NULL, NULL);
}

static void
prepare_text (struct writer *w, png_text *text, const char *key, const char *value)
{
  char *valid = g_utf8_make_valid (value, -1);
  char *latin1 = g_str_equal (key, xmp_key) ? NULL : to_latin1 (valid);

  text->compression = latin1 ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
  text->key = (char *) key;
  text->text = latin1 ? latin1 : valid;
  text->text_length = latin1 ? strlen (latin1) : 0;
  text->itxt_length = latin1 ? 0 : strlen (valid);
  text->lang = text->lang_key = (char *) "";
  g_ptr_array_add (w->strings, valid);
  if (latin1)
    g_ptr_array_add (w->strings, latin1);
}

static void
prepare (struct writer *w, const struct eng_png *png)
{
  w->out = g_byte_array_new ();
  w->strings = g_ptr_array_new_with_free_func (g_free);
  w->texts = g_new0 (png_text, png->n_texts + 1);
  for (guint i = 0; i < png->n_texts; i++)
    prepare_text (w, &w->texts[i], png->texts[i].key, png->texts[i].value);
  if (png->is_generated)
    prepare_text (w, &w->texts[png->n_texts], xmp_key, xmp_generated);
  w->png = png_create_write_struct (PNG_LIBPNG_VER_STRING, w, error_cb, warning_cb);
  w->info = w->png ? png_create_info_struct (w->png) : NULL;
}

/* FALSE: libpng refused; the message is in w.  Only this function's frame sees the longjmp, and it
 * changes no variable of its own. */
static gboolean
encode (struct writer *w, const struct eng_png *png)
{
  if (!w->info || setjmp (png_jmpbuf (w->png)))
    return FALSE;

  png_set_write_fn (w->png, w, write_cb, flush_cb);
  png_set_user_limits (w->png, G_MAXINT32, G_MAXINT32);
  png_set_compression_level (w->png, COMPRESSION_LEVEL);
  png_set_compression_strategy (w->png, COMPRESSION_STRATEGY);
  png_set_filter (w->png, PNG_FILTER_TYPE_BASE, FILTER);
  png_set_IHDR (w->png, w->info, png->width, png->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_sRGB (w->png, w->info, PNG_sRGB_INTENT_PERCEPTUAL);
  png_set_text (w->png, w->info, w->texts, png->n_texts + (png->is_generated ? 1 : 0));
  png_write_info (w->png, w->info);
  if (png->channels == 4)
    png_set_filler (w->png, 0, PNG_FILLER_AFTER); /* takes the fourth byte out */
  for (int y = 0; y < png->height; y++)
    png_write_row (w->png, png->pixels + (size_t) y * png->width * png->channels);
  png_write_end (w->png, NULL);
  return TRUE;
}

static gboolean
check (const struct eng_png *png, GError **error)
{
  if (png->width < 1 || png->height < 1 || (png->channels != 3 && png->channels != 4)) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE,
                 "a picture of %dx%d with %d channels cannot be a PNG", png->width, png->height,
                 png->channels);
    return FALSE;
  }
  for (guint i = 0; i < png->n_texts; i++) {
    const char *key = png->texts[i].key;
    const gsize n = strlen (key);

    /* libpng would shorten or change a key that the format does not allow. */
    if (n < 1 || n > 79 || !g_str_is_ascii (key) || g_strstr_len (key, -1, "  ") || key[0] == ' ' ||
        key[n - 1] == ' ' || strpbrk (key, "\n\r\t")) {
      g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "\"%s\" cannot be the key of a PNG's text",
                   key);
      return FALSE;
    }
  }
  return TRUE;
}

GBytes *
eng_png_encode (const struct eng_png *png, GError **error)
{
  struct writer w = { 0 };
  GBytes *bytes = NULL;

  if (!check (png, error))
    return NULL;
  prepare (&w, png);
  if (encode (&w, png))
    bytes = g_byte_array_free_to_bytes (g_steal_pointer (&w.out));
  else
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "the PNG could not be made: %s",
                 w.message[0] ? w.message : "libpng did not start");
  png_destroy_write_struct (&w.png, &w.info);
  g_clear_pointer (&w.out, g_byte_array_unref);
  g_ptr_array_unref (w.strings);
  g_free (w.texts);
  return bytes;
}

gboolean
eng_png_write (const char *path, const struct eng_png *png, GError **error)
{
  g_autoptr (GBytes) bytes = eng_png_encode (png, error);
  gsize n;

  if (!bytes) {
    g_prefix_error (error, "%s: ", path);
    return FALSE;
  }
  const void *data = g_bytes_get_data (bytes, &n);
  return eng_write_file (path, data, n, error);
}
