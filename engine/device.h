/* engine/device.h - which device the engine drives. */
#pragma once

#include "kernels/device.h"

#include <glib.h>

/* Opens the device that options ask for: "auto", "cpu" or "cuda" (NULL is "auto").  *reason is set
 * to one sentence that says why it is not a GPU, "" when it is one or none was asked for; the
 * caller frees it.  NULL and error when what was asked for by name cannot be had.  The caller
 * closes the device. */
struct krn_device *eng_device_open (const char *kind, int threads, char **reason, GError **error);
