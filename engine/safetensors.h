/* engine/safetensors.h - one .safetensors file: its checked header and its mapping.  Private to
 * the engine.
 *
 * The file: 8 bytes of header length (little endian), that many bytes of JSON, then the data.
 * Refused are: unknown dtypes, shapes that overflow, tensors that leave the file, share bytes or
 * have another size than their shape says, names that come twice.  Bytes that belong to no tensor
 * are tolerated (the format's own reader refuses them; writers that align their data leave some).
 */
#pragma once

#include "engine/weights.h"

typedef struct {
  char *label; /* as messages show the file */
  int fd;      /* what tensors are read from */
  GMappedFile *mapping;
  const char *data; /* borrowed from the mapping: first byte behind the header */
  guint64 data_size;
  GArray *tensors;      /* struct eng_tensor_info, by offset; their names live in names */
  GStringChunk *names;  /* owned */
  GHashTable *seen;     /* set of those names */
  GHashTable *metadata; /* string to string */
} eng_safetensors;

eng_safetensors *eng_safetensors_open (const char *path, GError **error);
void eng_safetensors_free (eng_safetensors *file);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (eng_safetensors, eng_safetensors_free)
/* Copies bytes of tensor, from that byte on, by read: of the mapping a file that has become shorter
 * would leave SIGBUS, here it is an error. */
gboolean eng_safetensors_read (const eng_safetensors *file, const struct eng_tensor_info *tensor,
                               size_t from, void *to, size_t bytes, GError **error);
/* The same for a tensor of any of the files. */
gboolean eng_weights_read (const eng_weights *weights, const struct eng_tensor_info *tensor,
                           size_t from, void *to, size_t bytes, GError **error);
