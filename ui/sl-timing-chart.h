/* ui/sl-timing-chart.h - draws a timing: a lane for every stream, a block for every span.
 *
 * Properties:
 *   timing  SlTiming; NULL: nothing
 *   span    which of its spans is chosen by keyboard, by click or from outside; G_MAXUINT: none
 *   told    what stands under the pointer or is chosen, in words; "" for nothing
 *
 * Arrow keys go from span to span, + and - zoom, 0 shows all, Page Up and Page Down move. */
#pragma once

#include "ui/sl-timing.h"

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define SL_TYPE_TIMING_CHART (sl_timing_chart_get_type ())
G_DECLARE_FINAL_TYPE (SlTimingChart, sl_timing_chart, SL, TIMING_CHART, GtkWidget)

/* Above 1 shows less, in the middle; 0 shows all. */
void sl_timing_chart_zoom (SlTimingChart *self, double factor);
/* What is in view, in milliseconds. */
void sl_timing_chart_get_view (SlTimingChart *self, double *start, double *end);
/* The middle of a span on the widget; FALSE when there is no such span or it is out of view. */
gboolean sl_timing_chart_get_place (SlTimingChart *self, guint span, double *x, double *y);

G_END_DECLS
