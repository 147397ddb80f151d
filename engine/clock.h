/* engine/clock.h - the times of one picture, of what its lanes and the host did for it.
 *
 * Spans on a lane lie between two of the device's events, put round what is enqueued between begin
 * and end; they reach the timeline when the device has done them, put on the host's clock.  Engine
 * thread only. */
#pragma once

#include "engine/lanes.h"
#include "engine/timeline.h"

typedef struct eng_clock eng_clock;

/* begin: when the picture began, microseconds of g_get_monotonic_time.  events FALSE: spans of
 * lanes are left out. */
eng_clock *eng_clock_new (eng_lanes *lanes, gint64 begin, gboolean events);
void eng_clock_free (eng_clock *clock); /* the timeline, too; NULL allowed */
/* name is copied.  One span of a lane at a time. */
void eng_clock_begin (eng_clock *clock, enum eng_lane lane, const char *name);
void eng_clock_end (eng_clock *clock, enum eng_lane lane);
/* The host was at it from begin, microseconds as above, to now. */
void eng_clock_add_host (eng_clock *clock, const char *name, gint64 begin);
/* Borrowed; with all that is done by now, each once. */
eng_timeline *eng_clock_get_timeline (eng_clock *clock);
eng_timeline *eng_clock_steal_timeline (eng_clock *clock);
double eng_clock_get_seconds (const eng_clock *clock); /* since it began */
