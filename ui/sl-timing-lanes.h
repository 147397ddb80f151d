/* ui/sl-timing-lanes.h - a timing's spans by lane and in order: what is at a moment, what is next,
 * and what there is to draw.
 *
 * Follows an SlTiming when it is told to; main thread. */
#pragma once

#include "ui/sl-timing-axis.h"
#include "ui/sl-timing.h"

typedef struct sl_lanes sl_lanes;

sl_lanes *sl_lanes_new (void);
void sl_lanes_free (sl_lanes *lanes);
/* Reads what is new in timing, or all of it when it is another one or was replaced.  NULL: empty.
 * FALSE: places of before mean something else now. */
gboolean sl_lanes_update (sl_lanes *lanes, SlTiming *timing);

/* One span. */
struct sl_place {
  gboolean any; /* FALSE: none */
  SlLane lane;
  guint i; /* of the lane's spans */
};

/* A lane's spans by their start.  Borrowed until the next update. */
guint sl_lanes_get_n (const sl_lanes *lanes, SlLane lane);
const struct sl_span *sl_lanes_get (const sl_lanes *lanes, SlLane lane, guint i);
/* NULL: none. */
const struct sl_span *sl_lanes_get_at (const sl_lanes *lanes, const struct sl_place *place);
/* Which span of the timing that is (G_MAXUINT: none), and the way back. */
guint sl_lanes_get_index (const sl_lanes *lanes, const struct sl_place *place);
struct sl_place sl_lanes_find_index (const sl_lanes *lanes, guint index);
/* The span at a moment, or the nearest one within so many milliseconds. */
struct sl_place sl_lanes_find (const sl_lanes *lanes, SlLane lane, double at, double within);

/* Spans as they are drawn: one block for each that can be told from its neighbours, one for many
 * that cannot. */
struct sl_block {
  int x0, x1;      /* pixels, at least one */
  guint first, n;  /* spans of the lane */
  SlPart part;     /* of the longest */
  double coverage; /* how much of the block is busy: 0 to 1 */
};

/* Appends the blocks in view, for an axis of so many device pixels. */
void sl_lanes_merge (const sl_lanes *lanes, SlLane lane, const struct sl_axis *axis, int width,
                     GArray *blocks);
