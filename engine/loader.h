/* engine/loader.h - what loader.c gathers, and what puts it on the device.  Private to the loader.
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
  GArray *wants;  /* struct eng_want */
  GArray *groups; /* guint: how many wants there were when each was ended */
  GError *error;  /* the first wrong tensor */
};

/* Elements of a tensor; its file was checked, so this is in range. */
static inline int64_t
eng_tensor_count (const struct eng_tensor_info *tensor)
{
  return tensor->bytes / krn_dtype_size (tensor->dtype);
}

/* Bytes that a want takes in a block on a device whose weights are of that dtype; SIZE_MAX when a
 * size_t cannot hold them. */
size_t eng_want_bytes (const struct eng_want *want, krn_dtype dtype);

/* Sets the targets of n wants, which will stand one behind the other from base on. */
void eng_loader_place (const eng_loader *loader, guint first, guint n, krn_dtype dtype, char *base);
