/* ui/sl-timing.h - where one picture's time went: named spans on lanes, and what is counted.
 *
 * All times are milliseconds on the picture's clock; 0 is its begin.  The session fills it, on the
 * main thread (a finished one may be filled on any thread before it is handed over); the panel's
 * parts only read.  As a GListModel it lists its spans in the order added, as SlTimingItem.
 *
 * Signal "changed": spans, counts or the state are different now. */
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

typedef enum {
  SL_LANE_TEXT,
  SL_LANE_DENOISE,
  SL_LANE_DECODE,
  SL_LANE_COPY, /* previews and pictures on their way to the window */
  SL_LANE_HOST, /* what is computed there, and files */
  SL_N_LANES
} SlLane;

struct sl_span {
  SlLane lane;
  const char *name; /* as the engine calls it: "step 3"; borrowed from the timing */
  double start, end;
};

/* What the spans add up to.  Each span is of one part. */
typedef enum {
  SL_PART_TEXT,
  SL_PART_PREPARE, /* noise and tables before the first step */
  SL_PART_STEPS,
  SL_PART_PREVIEW,
  SL_PART_DECODE,
  SL_PART_COPY,  /* the finished picture, to the host */
  SL_PART_HOST,  /* what the device may have waited for */
  SL_PART_PNG,   /* written after the picture: not within its total */
  SL_PART_OTHER, /* a span that is none of these */
  SL_N_PARTS
} SlPart;

/* What is counted beside the clock.  A count that nobody took is absent: below 0. */
typedef enum {
  SL_COUNT_PROMPT_CACHED, /* 1: the prompt was not encoded again */
  SL_COUNT_EVALUATIONS,   /* passes of the network */
  SL_COUNT_REPLAYS,       /* of these, launched as one captured graph */
  SL_COUNT_ALLOCATIONS,   /* calls of the device's allocator while the picture was made */
  SL_COUNT_PREVIEW_BYTES, /* of previews that went through the host's memory */
  SL_N_COUNTS
} SlCount;

#define SL_TYPE_TIMING (sl_timing_get_type ())
G_DECLARE_FINAL_TYPE (SlTiming, sl_timing, SL, TIMING, GObject)

/* serial: the picture's, as SlResult has it.  title: its settings in one line. */
SlTiming *sl_timing_new (guint serial, const char *title);
guint sl_timing_get_serial (SlTiming *self);
const char *sl_timing_get_title (SlTiming *self);

/* Names are copied; a span that ends before it starts ends where it starts. */
void sl_timing_add (SlTiming *self, const struct sl_span *spans, guint n);
/* In the order added; borrowed until the next add. */
const struct sl_span *sl_timing_get_spans (SlTiming *self, guint *n);
/* Another number whenever spans that were there are others now; added ones do not count. */
guint sl_timing_get_edition (SlTiming *self);

/* While it runs: elapsed and left (< 0: unknown) as of now.  The clock goes on by itself. */
void sl_timing_set_progress (SlTiming *self, double elapsed, double left);
/* Takes over the title, spans and counts of another, which is left empty, and ends the clock at
 * total. */
void sl_timing_finish (SlTiming *self, SlTiming *from, double total);
gboolean sl_timing_is_running (SlTiming *self);
/* From the picture's begin to its end; of a running one: to now. */
double sl_timing_get_total (SlTiming *self);
/* Where a running one will end, as far as is known; else its total. */
double sl_timing_get_expected (SlTiming *self);

/* Writing the file took so long; the span is drawn from the picture's end on, whenever it was.  The
 * latest counts. */
void sl_timing_set_png (SlTiming *self, double length);

void sl_timing_set_count (SlTiming *self, SlCount what, double value);
double sl_timing_get_count (SlTiming *self, SlCount what); /* < 0: absent */

/* ---- What follows from the spans ---- */

SlPart sl_timing_get_part (const struct sl_span *span);
/* Sum of a part's spans; n (may be NULL) gets how many. */
double sl_timing_get_sum (SlTiming *self, SlPart part, guint *n);
/* The part, to 1, of the time from the first step's begin to the last span's end on the device in
 * which any of its lanes was busy; overlaps count once.  < 0: there was no step.  Before it a
 * picture may wait for the one that is made at the same time. */
double sl_timing_get_busy (SlTiming *self);
/* Milliseconds of the total in which nothing was told, of the device or of the host: what was
 * waited for belongs to another picture, or to nobody. */
double sl_timing_get_gaps (SlTiming *self);

struct sl_timing_steps {
  guint n;
  double mean, slowest;
  double per_second; /* from the first one's start to the last one's end */
};

/* A step that takes several evaluations is one.  All 0 without a step. */
struct sl_timing_steps sl_timing_get_steps (SlTiming *self);

/* ---- A span as a list's item ---- */

#define SL_TYPE_TIMING_ITEM (sl_timing_item_get_type ())
G_DECLARE_FINAL_TYPE (SlTimingItem, sl_timing_item, SL, TIMING_ITEM, GObject)

guint sl_timing_item_get_index (SlTimingItem *self);
SlTiming *sl_timing_item_get_timing (SlTimingItem *self); /* borrowed */

G_END_DECLS
