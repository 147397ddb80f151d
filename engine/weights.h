/* engine/weights.h - tensors in files, and how they reach the device.
 *
 * An eng_weights is one component's tensors, read by mmap: a .safetensors file, or a folder with
 * one file or with shards and a *.safetensors.index.json.  Everything is checked when it is opened:
 * header length, JSON, names, dtypes, shapes, offsets (inside the file, not overlapping, product of
 * the shape times the dtype's size, no overflow).  Immutable after opening; may be shared between
 * threads.
 *
 * Reading the mapping of a file that was cut short raises SIGBUS, so the engine itself reads data
 * by eng_weights_read (engine/safetensors.h), for which that is an error.  A deleted file is
 * harmless. */
#pragma once

#include "kernels/device.h"

#include <glib.h>

typedef struct eng_weights eng_weights; /* opaque, reference counted */

struct eng_tensor_info {
  const char *name; /* borrowed from the weights */
  krn_dtype dtype; /* KRN_F32, KRN_F16 or KRN_BF16; others are refused when used, not when opened */
  const char *on_disk; /* the dtype as written in the file, such as "BF16" or "F8_E4M3" */
  int n_dims;
  int64_t dim[4];   /* the first four, when there are more */
  const void *data; /* borrowed from the mapping, unaligned; see above */
  size_t bytes;
};

eng_weights *eng_weights_open (const char *path, GError **error);
eng_weights *eng_weights_ref (eng_weights *weights);
void eng_weights_unref (eng_weights *weights);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (eng_weights, eng_weights_unref)

/* NULL when there is none of that name. */
const struct eng_tensor_info *eng_weights_lookup (const eng_weights *weights, const char *name);
/* In the order of the file(s); i from 0 to n - 1. */
guint eng_weights_get_n (const eng_weights *weights);
const struct eng_tensor_info *eng_weights_get (const eng_weights *weights, guint i);
const char *eng_weights_get_path (const eng_weights *weights);
/* __metadata__ of the first file, name to string; borrowed, never NULL. */
GHashTable *eng_weights_get_metadata (const eng_weights *weights);

/* A loader gathers what a network wants, then puts all of it on the device in one block.
 *
 *     eng_loader *loader = eng_loader_new (weights, "transformer", "");
 *     eng_loader_want (loader, &block->qkv, 3 * dim, dim, "q.weight", "k.weight", "v.weight",
 *                      NULL);
 *     ...
 *     ok = eng_loaders_finish (&loader, 1, &block, &how, error);
 *
 * A wrong or missing tensor is remembered, and eng_loaders_finish fails with
 * `transformer: layers.3.attention.to_q.weight is [64, 192], expected [192, 192]`.  The targets
 * must stay where they are until finish, which sets their data, dtype (the device's weight dtype)
 * and sizes.  Names are copied. */
typedef struct eng_loader eng_loader;
eng_loader *eng_loader_new (const eng_weights *weights, const char *component,
                            const char *prefix /* put before every name; "" for none */);
void eng_loader_free (eng_loader *loader);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (eng_loader, eng_loader_free)

/* TRUE when the file has prefix + name: to choose between spellings. */
gboolean eng_loader_has (const eng_loader *loader, const char *name);
/* The tensor prefix + name, to read sizes from; NULL when the file has none. */
const struct eng_tensor_info *eng_loader_lookup (const eng_loader *loader, const char *name);
/* *target becomes [rows, cols]: the named tensors' rows one under the other.  Each may have any
 * number of dimensions; its last must be cols (or, with rows == 1, its product), and the sum of
 * rows must be rows.  The list of names ends with NULL. */
void eng_loader_want (eng_loader *loader, krn_tensor *target, int64_t rows, int64_t cols,
                      const char *name, ...) G_GNUC_NULL_TERMINATED;
/* *target becomes [out, kh, kw, in] from a tensor [out, in, kh, kw] on disk. */
void eng_loader_want_conv (eng_loader *loader, krn_tensor *target, int out, int in, int kh, int kw,
                           const char *name);
/* A piece of f32 that does not come from the file (tables of constants), n copied. */
void eng_loader_want_constant (eng_loader *loader, krn_tensor *target, int64_t rows, int64_t cols,
                               const float *values);
/* What was asked for since the last group is one, which can be had without the others
 * (engine/feed.h); means nothing to eng_loaders_finish. */
void eng_loader_end_group (eng_loader *loader);
/* Bytes that finish takes on a device whose weights are of that dtype; 0 after a wrong tensor. */
size_t eng_loader_get_bytes (const eng_loader *loader, krn_dtype dtype);

struct eng_loading {
  struct krn_device *device; /* borrowed */
  krn_stream *stream;        /* borrowed; of the uploads.  Several threads use it, one at a time */
  void (*progress) (size_t done, size_t total, void *data); /* may be NULL; see below */
  void *data;
  const int *cancelled; /* atomic; may be NULL */
};

/* Allocates a block for each of n loaders, uploads everything, read by several threads, waits, and
 * sets blocks, which the caller gives back with device->free_memory.  Progress is told on this
 * thread, in bytes on the device of all loaders, at most every few MiB.  FALSE and error on
 * failure, when nothing is left behind: no memory (needed and free bytes), a tensor that is missing
 * or misshapen, a file that shrank, cancelled (seen within a few MiB). */
gboolean eng_loaders_finish (eng_loader *const *loaders, int n, void **blocks,
                             const struct eng_loading *how, GError **error);
