/* engine/feed.h - weights that do not stay on the device: they come from their files, a group after
 * the other, each time that a pass runs.
 *
 * A feed needs memory for two groups: while one is computed with, threads read the next.  A pass
 * waits for the files, on the engine's thread, so it takes as long as reading all of them; cancel
 * is looked at meanwhile.  Engine thread only. */
#pragma once

#include "engine/run.h"
#include "engine/weights.h"

typedef struct eng_feed eng_feed;

/* Of every group of loader (eng_loader_end_group) from number first on.  Takes the loader over,
 * also on failure.  Reads nothing yet; needs a stream, and some host memory at the first pass. */
eng_feed *eng_feed_new (eng_loader *loader, guint first, struct krn_device *device, GError **error);
void eng_feed_free (eng_feed *feed); /* while its run's stream is idle; NULL allowed */

/* Bytes of the memory that a feed of those groups takes of a run. */
size_t eng_feed_get_bytes (const eng_loader *loader, guint first, krn_dtype weight);

/* Memory for two groups from the run's arena; the caller drops it. */
krn_tensor eng_feed_take (const eng_feed *feed, struct eng_run *run);
/* One operation: what is enqueued on run's stream from now on has the weights of group i, counted
 * from the first, and no longer those of the group before.  A pass asks for all, in order; the next
 * one begins anew with group 0. */
void eng_feed_acquire (eng_feed *feed, struct eng_run *run, krn_tensor memory, guint i);
/* Ends a pass that failed or was cancelled midway: nothing is read or sent any more, and the run's
 * `cancelled` is not looked at again.  Waits for what was sent. */
void eng_feed_stop (eng_feed *feed);
/* One operation: rows of a matrix [any, width] of loader's that stays in its file, those that ids
 * (host; all of them rows of it) name: dst is [n, width]. */
void eng_feed_rows (eng_feed *feed, struct eng_run *run, krn_tensor dst,
                    const struct eng_tensor_info *matrix, const int32_t *ids);
