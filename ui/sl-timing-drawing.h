/* ui/sl-timing-drawing.h - draws lanes of spans along an axis, and knows where things are.
 *
 * Part of a widget: colours, font and size are the widget's.  Places are its pixels.  Main thread.
 */
#pragma once

#include "ui/sl-timing-lanes.h"

#include <gtk/gtk.h>

struct sl_drawing {
  GtkWidget *widget; /* borrowed, as the next two */
  const sl_lanes *lanes;
  const struct sl_axis *axis;
  GArray *blocks;      /* of struct sl_block; kept between frames */
  PangoLayout *layout; /* for every text, one after the other; NULL: the font is not known */
  int names_width;     /* of the lanes' names, left of the axis */
};

struct sl_marks {
  double now; /* how far a running picture is; < 0: it does not run */
  struct sl_place hovered, chosen;
};

void sl_drawing_init (struct sl_drawing *self, GtkWidget *widget, const sl_lanes *lanes,
                      const struct sl_axis *axis);
void sl_drawing_clear (struct sl_drawing *self);
/* The widget has another font or text size. */
void sl_drawing_forget_font (struct sl_drawing *self);
void sl_drawing_measure (GtkOrientation orientation, int *minimum, int *natural);

/* Of the axis. */
double sl_drawing_get_width (const struct sl_drawing *self);
void sl_drawing_get_lane (const struct sl_drawing *self, SlLane lane, double *y, double *height);
void sl_drawing_snapshot (struct sl_drawing *self, GtkSnapshot *snapshot,
                          const struct sl_marks *marks);
