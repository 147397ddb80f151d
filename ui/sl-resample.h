/* ui/sl-resample.h - smooth enlarging and clean reducing of RGBA pixels on the CPU, so that a small
 * preview looks like a soft photograph and not like tiles.  Any thread; blocking. */
#pragma once

#include <glib.h>
#include <stdint.h>

/* Enlarges (Mitchell's cubic: no tiles, almost no ringing) or reduces (the same filter widened, so
 * nothing aliases).  src: [height, width, 4], sRGB, alpha ignored; the result: [to_height,
 * to_width, 4], alpha 255. */
GBytes *sl_resample (const uint8_t *src, int width, int height, int to_width, int to_height);
