/* ui/sl-timing-axis.h - which part of a timeline is in view, and where a moment lies on it.
 *
 * A plain value.  Times are milliseconds, places are pixels from the axis' left end. */
#pragma once

#include <glib.h>

struct sl_axis {
  double extent;     /* the whole timeline is [0, extent] */
  double start, end; /* what is in view, within the extent */
  gboolean fit;      /* all of it, also when it grows */
};

#define SL_AXIS_INIT                                                                               \
  {                                                                                                \
    .extent = 1, .end = 1, .fit = TRUE                                                             \
  }

/* A view that was zoomed stays where it is, as far as it still can. */
void sl_axis_set_extent (struct sl_axis *axis, double extent);
/* factor above 1 shows less; the moment at stays in its place. */
void sl_axis_zoom (struct sl_axis *axis, double factor, double at);
void sl_axis_fit (struct sl_axis *axis);
void sl_axis_pan (struct sl_axis *axis, double by);
/* The least move that brings [start, end] into view, or its beginning when it is too long. */
void sl_axis_show (struct sl_axis *axis, double start, double end);

double sl_axis_to_x (const struct sl_axis *axis, double at, double width);
double sl_axis_to_time (const struct sl_axis *axis, double x, double width);
/* The distance of ticks that are at least so many pixels apart: 1, 2 or 5 times a power of ten. */
double sl_axis_get_tick (const struct sl_axis *axis, double width, double apart);
