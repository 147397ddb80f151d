/* engine/image.h - PNG files: pictures with their text, out and in.
 *
 * Blocking; any thread.  Everything that fails sets error (ENG_ERROR_FILE) with the file's name in
 * it. */
#pragma once

#include "engine/error.h"

#include <glib.h>
#include <stdint.h>

struct eng_png_text {
  const char *key;   /* 1 to 79 characters of ASCII, such as "parameters" */
  const char *value; /* UTF-8 */
};

struct eng_png {
  int width, height;
  int channels;          /* of pixels: 3, or 4, whose alpha is left out */
  const uint8_t *pixels; /* sRGB, channels * width bytes a row */
  const struct eng_png_text *texts;
  guint n_texts;
  gboolean is_generated; /* says so in XMP: IPTC's digital source type trainedAlgorithmicMedia */
};

/* 8-bit RGB with an sRGB chunk.  Texts go before the picture, as tEXt when Latin-1 can hold them
 * and as iTXt else, which is what A1111's files have and what their readers expect.  NULL when a
 * size or key is impossible; the message is without a file's name here. */
GBytes *eng_png_encode (const struct eng_png *png, GError **error);
/* The same into a file, whole or not at all (engine/write_file.h). */
gboolean eng_png_write (const char *path, const struct eng_png *png, GError **error);

/* All of a file's texts, key to UTF-8; of two with one key the first.  A file whose picture is
 * damaged or cut short gives the texts before the damage.  NULL and error when it is no PNG. */
GHashTable *eng_png_read_text (const char *path, GError **error);
/* The picture, 3 bytes a pixel, packed; any kind of PNG, alpha left out.  At most 2^27 pixels.  The
 * caller frees it. */
uint8_t *eng_png_read_rgb (const char *path, int *width, int *height, GError **error);
