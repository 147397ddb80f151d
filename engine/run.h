/* engine/run.h - one pass of operations on one stream: its memory, its first failure, its cancel.
 *
 * A forward pass is written as one line per operation,
 *
 *     krn_tensor h = eng_run_take (run, act, 1, 1, rows, dim);
 *     ENG_RUN (run, rms_norm, h, x, block->norm1, scale, 1e-5f);
 *     ...
 *     eng_run_drop (run, h);
 *
 * and asks once, at its end, whether all went well (eng_run_ok).  The same code is run several
 * times: first as a plan, when nothing is launched and the arena only counts, then for real in a
 * block of that size, all at once or in segments, each of which walks through the whole pass but
 * launches only its own operations.  Takes and drops must therefore depend on shapes alone, and a
 * pass that is run in segments must give back all that it takes.
 *
 * Used on the engine's thread only. */
#pragma once

#include "kernels/device.h"

#include <glib.h>

/* Device memory for activations, handed out by liveness: what is dropped is given out again, first
 * fit, neighbours merged.  A plan finds the size that one block must have. */
typedef struct eng_arena eng_arena;
eng_arena *eng_arena_new (void);
void eng_arena_free (eng_arena *arena);
/* The most bytes in use at once since eng_arena_reset. */
size_t eng_arena_get_peak (const eng_arena *arena);
/* Forgets everything; from now on memory is [base, base + size), borrowed.  base NULL: a plan. */
void eng_arena_reset (eng_arena *arena, void *base, size_t size);

struct eng_run {
  struct krn_device *device; /* borrowed; never NULL, also in a plan (its dtypes are looked at) */
  krn_stream *stream;        /* borrowed; NULL in a plan */
  eng_arena *arena;          /* borrowed */
  const int *cancelled;      /* atomic, borrowed; may be NULL.  Looked at before every operation */
  gboolean planning;         /* nothing is launched */
  int n_met;                 /* operations that the pass came to so far */
  int first, last;           /* the segment: those from first on and before last; last 0: all */
  krn_status status;         /* first failure; what comes after it is skipped */
  const char *failed;        /* the operation that failed, static */
  const GError *cause;       /* why, when it was not the device; borrowed.  NULL otherwise */
};

/* Enqueues one operation, unless the run is a plan, has failed or is cancelled. */
#define ENG_RUN(run, operation, ...)                                                               \
  do {                                                                                             \
    if (eng_run_may_launch (run) &&                                                                \
        ((run)->status = (run)->device->operation ((run)->stream, __VA_ARGS__)) != KRN_OK)         \
      (run)->failed = #operation;                                                                  \
  } while (0)

/* Counts one operation.  FALSE in a plan, outside the segment, after a failure, and when cancelled
 * (the status becomes KRN_CANCELLED). */
gboolean eng_run_may_launch (struct eng_run *run);

/* A packed tensor from the arena, uninitialised; 256-byte aligned.  When the arena is full the run
 * fails with KRN_ERROR_MEMORY and the tensor has no data. */
krn_tensor eng_run_take (struct eng_run *run, krn_dtype dtype, int64_t d0, int64_t d1, int64_t d2,
                         int64_t d3);
/* Gives a taken tensor back; the stream's order makes reuse safe.  The tensor as taken, not a view.
 */
void eng_run_drop (struct eng_run *run, krn_tensor tensor);

/* TRUE when every operation so far was accepted; else sets error, naming what (the stage, such as
 * "text encoder") and the operation.  Does not wait for the device. */
gboolean eng_run_ok (const struct eng_run *run, const char *what, GError **error);
