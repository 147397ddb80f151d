/* engine/staging.h - host memory that copies to and from a device run on; one picture's.
 *
 * Page-locked where the device wants that, so that a copy does not hold up the thread that asks for
 * it.  Blocks are kept for the next picture.  Engine thread only. */
#pragma once

#include "kernels/device.h"

#include <glib.h>

typedef struct eng_staging eng_staging;

eng_staging *eng_staging_new (struct krn_device *device); /* borrowed */
void eng_staging_free (eng_staging *staging);             /* NULL allowed */
/* bytes of it, uninitialised, until the next reset; at least 64-byte aligned.  NULL and error when
 * there is none, naming what ("the noise"). */
void *eng_staging_take (eng_staging *staging, size_t bytes, const char *what, GError **error);
/* All of it may be given out again: no copy reads or writes it any more. */
void eng_staging_reset (eng_staging *staging);
