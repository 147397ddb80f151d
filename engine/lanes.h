/* engine/lanes.h - the streams of a device, the memory that runs on them use, and their clock.
 *
 * Each lane has a stream and an arena; the arenas share one block of device memory, which is
 * allocated when the plans of a picture ask for more than there is, and kept.  Engine thread only.
 */
#pragma once

#include "engine/run.h"
#include "engine/timeline.h"

enum eng_lane { ENG_LANE_TEXT, ENG_LANE_DENOISE, ENG_LANE_DECODE, ENG_N_LANES };

typedef struct eng_lanes eng_lanes;

eng_lanes *eng_lanes_new (struct krn_device *device, GError **error);
void eng_lanes_free (eng_lanes *lanes); /* waits for the streams; NULL allowed */
krn_stream *eng_lanes_get_stream (eng_lanes *lanes, enum eng_lane lane);

/* A plan: a run on lane that launches nothing.  After it eng_lanes_end_plan remembers its peak.  A
 * lane that is planned several times gets the largest. */
struct eng_run eng_lanes_begin_plan (eng_lanes *lanes, enum eng_lane lane);
void eng_lanes_end_plan (eng_lanes *lanes, enum eng_lane lane);
/* Forgets the plans. */
void eng_lanes_clear_plans (eng_lanes *lanes);
/* Makes the block large enough for what was planned.  FALSE: the message has needed and free bytes,
 * and what (such as "a picture of 2048x2048"). */
gboolean eng_lanes_reserve (eng_lanes *lanes, const char *what, GError **error);
/* Frees the block; the next reserve allocates anew. */
void eng_lanes_release (eng_lanes *lanes);
/* A real run on lane, with all of the lane's planned memory free. */
struct eng_run eng_lanes_begin_run (eng_lanes *lanes, enum eng_lane lane, const int *cancelled);

/* The clock.  start begins a picture's time; begin and end put two events round what is enqueued
 * between them; collect turns those that are done by now into spans of timeline, in the order of
 * their begins and each once.  name is copied. */
void eng_lanes_start_clock (eng_lanes *lanes);
void eng_lanes_begin_span (eng_lanes *lanes, enum eng_lane lane, const char *name);
void eng_lanes_end_span (eng_lanes *lanes, enum eng_lane lane);
void eng_lanes_collect_spans (eng_lanes *lanes, eng_timeline *timeline);
/* lane waits for all that was enqueued on other so far. */
void eng_lanes_join (eng_lanes *lanes, enum eng_lane lane, enum eng_lane other);
/* The host waits for all lanes. */
gboolean eng_lanes_sync (eng_lanes *lanes, GError **error);
