/* engine/infer.h - what a config.json would say, read from tensors that came without one. */
#pragma once

#include "engine/weights.h"

#include <json-glib/json-glib.h>

/* The config of a Qwen3 text encoder whose tensors' names begin with prefix.  What no shape tells
 * is as in Qwen3-4B, Z-Image's encoder: rope theta 1e6, eps 1e-6.  NULL and error when a tensor
 * that tells a size is missing.  The caller gives it back with json_object_unref. */
JsonObject *eng_infer_qwen3 (const eng_weights *weights, const char *prefix, GError **error);
