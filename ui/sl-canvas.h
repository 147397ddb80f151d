/* ui/sl-canvas.h - shows one picture: fitted, at 1:1, zoomed, panned.
 *
 * A picture and its previews have one logical size, so a preview sits in the same rectangle as the
 * picture that replaces it, whatever its own resolution.  The presenter is sl_canvas_show() and
 * the snapshot: a view that lives on the GPU replaces these two. */
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define SL_TYPE_CANVAS (sl_canvas_get_type ())
G_DECLARE_FINAL_TYPE (SlCanvas, sl_canvas, SL, CANVAS, GtkWidget)

/* Shows texture in the place of a picture of width x height pixels; NULL: a blank sheet. */
void sl_canvas_show (SlCanvas *self, GdkTexture *texture, int width, int height);
/* Shows a finished picture at its own size; it is first enlarged smoothly on a worker thread and
 * the old one stays until then. */
void sl_canvas_show_picture (SlCanvas *self, GdkTexture *texture);
gboolean sl_canvas_get_has_picture (SlCanvas *self); /* notified as has-picture */

/* Device pixels for each pixel of the picture; 0 fits the picture into the widget.  Keeps the
 * middle of the view in place. */
void sl_canvas_set_zoom (SlCanvas *self, double zoom);
double sl_canvas_get_zoom (SlCanvas *self);
/* As set, or as fitting gives it. */
double sl_canvas_get_scale (SlCanvas *self);
/* Whether the picture is larger than the view: dragging then pans. */
gboolean sl_canvas_get_can_pan (SlCanvas *self);

G_END_DECLS
