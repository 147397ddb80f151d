/* engine/pipeline.h - the order of a picture: encode text, make noise, step, preview, decode.
 *
 * Engine thread only. */
#pragma once

#include "engine/lanes.h"
#include "engine/model.h"

typedef struct eng_pipeline eng_pipeline;

/* device is borrowed. */
eng_pipeline *eng_pipeline_new (struct krn_device *device, GError **error);
void eng_pipeline_free (eng_pipeline *pipeline); /* frees the model, too; NULL allowed */

/* Frees the model that it has and loads another; on failure it has none. */
gboolean eng_pipeline_load (eng_pipeline *pipeline, eng_model_info *info,
                            void (*progress) (double fraction, void *data), void *data,
                            const int *cancelled, GError **error);
const eng_model *eng_pipeline_get_model (eng_pipeline *pipeline); /* NULL: none */

struct eng_picture_observer {
  void (*progress) (const struct eng_progress *progress, void *data); /* may be NULL */
  void *data;
  const int *cancelled; /* atomic */
};

/* Makes one picture.  params are resolved (engine/params.h). */
eng_image *eng_pipeline_run (eng_pipeline *pipeline, const struct eng_params *params,
                             const struct eng_picture_observer *observer, GError **error);
