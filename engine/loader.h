/* engine/loader.h - what loader.c gathers and loader_send.c puts on the device.  Private to them.
 */
#pragma once

#include "engine/weights.h"

struct eng_want {
  krn_tensor *target; /* borrowed */
  krn_tensor tensor;  /* what it will be; dtype and data come with the device */
  GPtrArray *pieces;  /* struct eng_tensor_info, borrowed from the weights */
  float *constant;    /* owned; NULL unless it stands for the pieces */
  gboolean permute;   /* the piece is [out, in, kh, kw] */
};

struct eng_loader {
  eng_weights *weights; /* a reference */
  char *component, *prefix;
  GArray *wants; /* struct eng_want */
  GError *error; /* the first wrong tensor */
};

/* Elements of a tensor; its file was checked, so this is in range. */
static inline int64_t
eng_tensor_count (const struct eng_tensor_info *tensor)
{
  return tensor->bytes / krn_dtype_size (tensor->dtype);
}

/* Bytes of everything on a device whose weights are of that dtype, SIZE_MAX when a size_t cannot
 * hold them; offsets (may be NULL) gets where each want begins. */
size_t eng_loader_plan (const eng_loader *loader, krn_dtype dtype, size_t *offsets);
