/* engine/picture.c - a finished picture. */
#include "engine/picture.h"

#include "engine/image.h"
#include "engine/infotext.h"
#include "engine/model.h"
#include "engine/params.h"
#include "engine/write_file.h"

#include <string.h>

struct eng_image {
  gatomicrefcount refs;
  struct eng_picture made;
  char *infotext;
};

eng_image *
eng_image_new (const struct eng_picture *picture)
{
  eng_image *image = g_new0 (eng_image, 1);

  g_atomic_ref_count_init (&image->refs);
  image->made = *picture;
  eng_model_info_ref (image->made.info);
  image->infotext = eng_infotext_write (picture->params, picture->info->name, picture->info->hash,
                                        "Safelight " ENG_VERSION);
  return image;
}

eng_image *
eng_image_ref (eng_image *image)
{
  g_atomic_ref_count_inc (&image->refs);
  return image;
}

void
eng_image_unref (eng_image *image)
{
  if (!g_atomic_ref_count_dec (&image->refs))
    return;
  eng_params_free (image->made.params);
  eng_model_info_unref (image->made.info);
  g_bytes_unref (image->made.rgba);
  eng_timeline_free (image->made.timeline);
  g_free (image->made.warning);
  g_free (image->infotext);
  g_free (image);
}

int
eng_image_get_width (const eng_image *image)
{
  return image->made.params->width;
}

int
eng_image_get_height (const eng_image *image)
{
  return image->made.params->height;
}

GBytes *
eng_image_get_rgba (const eng_image *image)
{
  return image->made.rgba;
}

const struct eng_params *
eng_image_get_params (const eng_image *image)
{
  return image->made.params;
}

const char *
eng_image_get_model_name (const eng_image *image)
{
  return image->made.info->name;
}

const char *
eng_image_get_infotext (const eng_image *image)
{
  return image->infotext;
}

const char *
eng_image_get_warning (const eng_image *image)
{
  return image->made.warning;
}

const struct eng_span *
eng_image_get_spans (const eng_image *image, guint *n)
{
  return eng_timeline_get_spans (image->made.timeline, n);
}

double
eng_image_get_seconds (const eng_image *image)
{
  return image->made.seconds;
}

const struct eng_counters *
eng_image_get_counters (const eng_image *image)
{
  return eng_timeline_get_counters (image->made.timeline);
}

static struct eng_png
describe_png (const eng_image *image, const struct eng_png_text *text, enum eng_save_flags flags)
{
  const gboolean metadata = !(flags & ENG_SAVE_NO_METADATA);

  return (struct eng_png){
    .width = eng_image_get_width (image),
    .height = eng_image_get_height (image),
    .channels = 4,
    .pixels = g_bytes_get_data (image->made.rgba, NULL),
    .texts = text,
    .n_texts = metadata ? 1 : 0,
    .is_generated = metadata,
  };
}

gboolean
eng_image_save_png (const eng_image *image, const char *path, enum eng_save_flags flags,
                    GError **error)
{
  const struct eng_png_text text = { "parameters", image->infotext };
  const struct eng_png png = describe_png (image, &text, flags);

  return eng_png_write (path, &png, error);
}

GBytes *
eng_image_to_png (const eng_image *image, enum eng_save_flags flags, GError **error)
{
  const struct eng_png_text text = { "parameters", image->infotext };
  const struct eng_png png = describe_png (image, &text, flags);

  return eng_png_encode (&png, error);
}

gboolean
eng_image_save_timeline (const eng_image *image, const char *path, enum eng_timeline_format format,
                         GError **error)
{
  g_autofree char *text = format == ENG_TIMELINE_TRACE
                              ? eng_timeline_to_trace (image->made.timeline)
                              : eng_timeline_to_json (image->made.timeline);

  return eng_write_file (path, text, strlen (text), error);
}

gboolean
eng_frame_save_png (const struct eng_frame *frame, const char *path, GError **error)
{
  const struct eng_png png = {
    .width = frame->width, .height = frame->height, .channels = 4, .pixels = frame->rgba
  };

  return eng_png_write (path, &png, error);
}
