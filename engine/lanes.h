/* engine/lanes.h - the streams of a device, the memory that runs on them use, and how far ahead of
 * the device they are.
 *
 * Each lane has a stream and an arena; the arenas share one block of device memory, which is
 * allocated when the plan of a picture asks for more than there is, and kept.  A lane's part of the
 * block stays where it is until the block is allocated anew, so that equal plans get equal
 * addresses.  Engine thread only. */
#pragma once

#include "engine/run.h"

/* The copy lane's memory holds the tables of a schedule, whose size depends on the number of steps;
 * so what the denoise lane's steps take lies at the same place for any number of them. */
enum eng_lane { ENG_LANE_TEXT, ENG_LANE_DENOISE, ENG_LANE_DECODE, ENG_LANE_COPY, ENG_N_LANES };

typedef struct eng_lanes eng_lanes;

eng_lanes *eng_lanes_new (struct krn_device *device, GError **error);
void eng_lanes_free (eng_lanes *lanes); /* waits for the streams; NULL allowed */
krn_stream *eng_lanes_get_stream (eng_lanes *lanes, enum eng_lane lane);
/* TRUE: every lane is the denoise lane's stream from now on.  While all are idle. */
void eng_lanes_set_one_stream (eng_lanes *lanes, gboolean one);

/* ---- Memory ---- */

/* Bytes that a picture needs of each lane's memory. */
struct eng_plan {
  size_t bytes[ENG_N_LANES];
};

/* A plan: a run on lane that launches nothing.  After it eng_lanes_end_plan puts its peak into
 * plan.  A lane that is planned several times gets the largest.  Lanes may be planned together. */
struct eng_run eng_lanes_begin_plan (eng_lanes *lanes, enum eng_lane lane);
void eng_lanes_end_plan (eng_lanes *lanes, enum eng_lane lane, struct eng_plan *plan);
/* Whether the block holds plan as it is. */
gboolean eng_lanes_fit (const eng_lanes *lanes, const struct eng_plan *plan);
/* Whether reserve could make it so. */
gboolean eng_lanes_could_fit (const eng_lanes *lanes, const struct eng_plan *plan);
/* Makes the block large enough for plan, and for the plans before it where there is memory for all;
 * what was in it is lost.  While all lanes are idle.  FALSE: there is no block now; the message has
 * needed and free bytes, and what (such as "a picture of 2048x2048"). */
gboolean eng_lanes_reserve (eng_lanes *lanes, const struct eng_plan *plan, const char *what,
                            GError **error);
/* Counts the blocks: what was captured with addresses of another one is of no use. */
guint eng_lanes_get_generation (const eng_lanes *lanes);
size_t eng_lanes_get_size (const eng_lanes *lanes); /* of the block, in bytes */
/* Waits for the lanes and frees the block; the next reserve allocates anew. */
void eng_lanes_release (eng_lanes *lanes);
/* A real run on lane, with all of the lane's memory free. */
struct eng_run eng_lanes_begin_run (eng_lanes *lanes, enum eng_lane lane, const int *cancelled);

/* ---- Order and pace ---- */

/* Seconds that one operation of some pass takes on this device; 0: not known yet. */
struct eng_pace {
  double seconds;
};

/* Ends a segment of n operations that was enqueued on lane.  Their pace, borrowed, is corrected
 * when the device has done them; pace NULL: they take no time worth counting. */
void eng_lanes_end_segment (eng_lanes *lanes, enum eng_lane lane, struct eng_pace *pace, int n);
/* pace is about to go. */
void eng_lanes_forget_pace (eng_lanes *lanes, const struct eng_pace *pace);
/* TRUE: too little is left to do on lane, another segment may be enqueued.  FALSE: there is enough,
 * so that a cancel would soon be through. */
gboolean eng_lanes_want_more (eng_lanes *lanes, enum eng_lane lane);
/* All segments that were ended are done. */
gboolean eng_lanes_is_idle (eng_lanes *lanes, enum eng_lane lane);
/* Seconds that a segment should take, so that want_more can be as good as it says. */
#define ENG_SEGMENT_SECONDS 0.007

/* Events are kept for later pictures.  record gives an event with all that was enqueued on lane so
 * far; NULL: the device gave none, and has done all of it. */
krn_event *eng_lanes_record (eng_lanes *lanes, enum eng_lane lane);
void eng_lanes_give_back (eng_lanes *lanes, krn_event *event); /* NULL allowed */
/* TRUE for NULL, too. */
gboolean eng_lanes_is_done (eng_lanes *lanes, krn_event *event);
/* lane waits for all that was enqueued on other so far. */
void eng_lanes_join (eng_lanes *lanes, enum eng_lane lane, enum eng_lane other);
/* lane waits for event; NULL: it need not. */
void eng_lanes_wait_for (eng_lanes *lanes, enum eng_lane lane, krn_event *event);
/* The host waits for all lanes. */
gboolean eng_lanes_sync (eng_lanes *lanes, GError **error);
/* A status that says that the device's context is gone, or KRN_OK.  Takes microseconds. */
krn_status eng_lanes_check (eng_lanes *lanes);

/* ---- Time ---- */

/* A point that the device's clock and the host's have in common; reference counted. */
typedef struct eng_anchor eng_anchor;
/* A new one where a lane is idle, else the last.  NULL: the device gives none. */
eng_anchor *eng_lanes_get_anchor (eng_lanes *lanes);
void eng_anchor_unref (eng_anchor *anchor); /* NULL allowed */
/* When event, which is done, was: microseconds of g_get_monotonic_time.  FALSE: unknown. */
gboolean eng_anchor_time (const eng_anchor *anchor, krn_event *event, double *time);
