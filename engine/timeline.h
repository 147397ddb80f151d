/* engine/timeline.h - where the time went: named spans on lanes, and their export.
 *
 * A plain list; one thread at a time.  Times are milliseconds on the job's clock, 0 is its begin.
 */
#pragma once

#include "engine/engine.h"

typedef struct eng_timeline eng_timeline;

/* The first three are the streams of engine/lanes.h, in its order. */
enum eng_timeline_lane {
  ENG_TIMELINE_TEXT,
  ENG_TIMELINE_DENOISE,
  ENG_TIMELINE_DECODE,
  ENG_TIMELINE_COPY,
  ENG_TIMELINE_HOST,
  ENG_N_TIMELINE_LANES
};

eng_timeline *eng_timeline_new (void);
void eng_timeline_free (eng_timeline *timeline); /* NULL allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (eng_timeline, eng_timeline_free)

/* lane: enum eng_timeline_lane, or its equal of engine/lanes.h.  name is copied; it is UTF-8.  A
 * span that ends before it starts ends where it starts. */
void eng_timeline_add (eng_timeline *timeline, int lane, const char *name, double start,
                       double end);
/* In the order added.  Borrowed until the next add; NULL when there is none. */
const struct eng_span *eng_timeline_get_spans (const eng_timeline *timeline, guint *n);

/* Milliseconds in spans of one lane (-1: of every lane) whose name is stage, with or without a
 * number behind it: "step" is the sum of "step 1", "step 2" and so on.  n (may be NULL) gets how
 * many there were. */
double eng_timeline_sum (const eng_timeline *timeline, int lane, const char *stage, guint *n);
/* Milliseconds between from and to that no span of the lanes (a mask of 1 << lane) covers. */
double eng_timeline_gaps (const eng_timeline *timeline, guint lanes, double from, double to);
/* What goes along with it, copied; its strings are static.  get: zeros when it was never set. */
void eng_timeline_set_counters (eng_timeline *timeline, const struct eng_counters *counters);
const struct eng_counters *eng_timeline_get_counters (const eng_timeline *timeline);
/* "text", "denoise", "decode", "copy", "host"; static. */
const char *eng_timeline_lane_name (int lane);

/* For --timings:
 *   {"total_ms": 812.5,
 *    "counters": {"graph": "replayed", "evaluations": 8, "replayed": 8, "prompt_cached": false,
 *                 "steps_per_second": 12.5, "idle_ms": 0.4, "allocations": 0,
 *                 "preview_bytes": 524288},
 *    "stages": [{"lane": "denoise", "name": "step", "count": 8, "ms": 640.0}],
 *    "spans": [{"lane": "denoise", "name": "step 1", "start_ms": 101.2, "end_ms": 181.0}]}
 * total is the end of the last span; counters are left out when none were set.  The caller frees
 * the text. */
char *eng_timeline_to_json (const eng_timeline *timeline);
/* For --trace: the Chrome trace event format, read by chrome://tracing and Perfetto.  One thread
 * per lane. */
char *eng_timeline_to_trace (const eng_timeline *timeline);
