/* kernels/cuda/cudnn_plan.h - plans of cuDNN: found, chosen, kept and run.  Plain C; only for
 * cudnn_*.c. */
#pragma once

#include "kernels/cuda/cudnn_library.h"

/* An operation on tensors that lie somewhere. */
enum { CUDNN_MOST_TENSORS = 6 };
struct cudnn_problem {
  struct cudnn_key key;
  /* The graph of key's operation, owned by parts. */
  cudnn_desc (*describe) (struct cudnn_parts *parts, const struct cudnn_key *key);
  int n; /* tensors */
  int64_t uid[CUDNN_MOST_TENSORS];
  void *data[CUDNN_MOST_TENSORS]; /* on the device; of a tensor by value, on the host */
  bool timed;                     /* candidates are timed; else the library's first one is taken */
  int output;                     /* which tensor is written, and its size, if timed */
  size_t output_bytes;
  size_t scratch_used; /* bytes of the stream's scratch that are not to be written */
};

/* Enqueues the operation.  KRN_ERROR_UNSUPPORTED, and nothing was enqueued: cuDNN has nothing for
 * it that makes do with the stream's scratch. */
krn_status cudnn_run (krn_stream *stream, const struct cudnn_problem *problem);
void cudnn_plans_free (struct krn_cudnn *cudnn);

/* A plan's text from the user's cache folder, which the caller frees; NULL: not there, or of
 * another GPU or cuDNN. */
char *cudnn_cache_read (const struct krn_cudnn *cudnn, const struct cudnn_key *key, size_t *size);
/* A folder that cannot be written to is no failure. */
void cudnn_cache_write (const struct krn_cudnn *cudnn, const struct cudnn_key *key,
                        const char *text, size_t size);
