/* engine/pipeline.h - pictures in the making: encode text, make noise, step, preview, decode.
 *
 * Up to three pictures are in the making at once, the next one's text beside this one's steps and
 * the last one's decoding.  Nothing here waits for the device but loading, a text encoder whose
 * weights come from their files (engine/feed.h) and the dump of its output; who drives the pipeline
 * calls eng_pipeline_advance again and again, and may sleep a millisecond when it returns FALSE.
 *
 * Engine thread only, but for the preview ring's reader side. */
#pragma once

#include "engine/lanes.h"
#include "engine/model.h"
#include "engine/preview.h"

typedef struct eng_pipeline eng_pipeline;

/* device is borrowed. */
eng_pipeline *eng_pipeline_new (struct krn_device *device, enum eng_residency text_encoder,
                                GError **error);
/* Frees the model, too.  No picture may be in the making.  NULL allowed. */
void eng_pipeline_free (eng_pipeline *pipeline);

/* Frees the model that it has and loads another; on failure it has none.  No picture may be in the
 * making. */
gboolean eng_pipeline_load (eng_pipeline *pipeline, eng_model_info *info,
                            void (*progress) (double fraction, void *data), void *data,
                            const int *cancelled, GError **error);
const eng_model *eng_pipeline_get_model (eng_pipeline *pipeline); /* NULL: none */
/* Bytes on the device: of the model, and of the block that pictures are made in. */
void eng_pipeline_get_memory (eng_pipeline *pipeline, size_t *weights, size_t *arena);
/* Where the window's side may find frames on the device. */
eng_preview *eng_pipeline_get_preview (eng_pipeline *pipeline);

struct eng_picture_observer {
  void (*progress) (const struct eng_progress *progress, void *data); /* may be NULL */
  /* Exactly once.  image is NULL when error is set; both borrowed. */
  void (*done) (eng_image *image, const GError *error, void *data);
  void *data;
  const int *cancelled; /* atomic; until done */
};

/* Pictures in the making. */
guint eng_pipeline_get_n (eng_pipeline *pipeline);
/* Whether another picture, to be made with these switches, may be added now. */
gboolean eng_pipeline_takes (eng_pipeline *pipeline, const struct eng_debug *debug);
/* Adds a picture.  params are resolved (engine/params.h) and taken over; debug is copied. */
void eng_pipeline_add (eng_pipeline *pipeline, struct eng_params *params,
                       const struct eng_debug *debug, const struct eng_picture_observer *observer);
/* Does a piece of what can be done without waiting.  FALSE: there is nothing. */
gboolean eng_pipeline_advance (eng_pipeline *pipeline);
/* The device's context is gone: every picture has failed, and all that is left is to free the
 * pipeline and to open the device again. */
gboolean eng_pipeline_is_lost (eng_pipeline *pipeline);
