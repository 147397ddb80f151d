/* engine/ropes.h - rotation tables of the last few sizes, on the host where copies may read them.
 *
 * A table takes milliseconds of sines; a picture of a size that was there before needs none. Engine
 * thread only. */
#pragma once

#include "engine/model.h"

typedef struct eng_ropes eng_ropes;

eng_ropes *eng_ropes_new (const eng_model *model); /* borrowed */
void eng_ropes_free (eng_ropes *ropes);            /* NULL allowed */
/* f32 [pad (h / patch * w / patch) + padded, head_dim], as eng_z_image_rope fills it.  Borrowed; it
 * stays until it is released.  Six can be in use.  NULL and error: no memory. */
const float *eng_ropes_take (eng_ropes *ropes, int h, int w, int padded, GError **error);
/* No copy reads it any more; once for every take.  NULL allowed. */
void eng_ropes_release (eng_ropes *ropes, const float *values);
