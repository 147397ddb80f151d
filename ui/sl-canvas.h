/* ui/sl-canvas.h - shows one picture: fitted, at 1:1, zoomed, panned.
 *
 * A picture and its previews have one logical size, so a preview sits in the same rectangle as the
 * picture that replaces it, whatever its own resolution.
 *
 * It draws by OpenGL (SlGlView, its child), which also shows previews that never leave the GPU, or,
 * where that cannot be, by GTK's own means: has-gl tells. */
#pragma once

#include "ui/sl-gl-view.h"

G_BEGIN_DECLS

#define SL_TYPE_CANVAS (sl_canvas_get_type ())
G_DECLARE_FINAL_TYPE (SlCanvas, sl_canvas, SL, CANVAS, GtkWidget)

/* Shows texture in the place of a picture of width x height pixels; NULL: a blank sheet. */
void sl_canvas_show (SlCanvas *self, GdkTexture *texture, int width, int height);
/* Shows the newest preview of the view's source, which stays on the GPU, if there is a new one;
 * only while has-gl. */
void sl_canvas_show_live (SlCanvas *self, int width, int height);
/* What is shown, brought to the host if it is not there; NULL: nothing is. */
GdkTexture *sl_canvas_dup_shown (SlCanvas *self);
/* Shows a finished picture at its own size.  Without OpenGL it is first enlarged smoothly on a
 * worker thread and the old one stays until then. */
void sl_canvas_show_picture (SlCanvas *self, GdkTexture *texture);
gboolean sl_canvas_get_has_picture (SlCanvas *self); /* notified as has-picture */

/* Whether OpenGL draws; notified as has-gl.  The view says why not, and where its frames come
 * from. */
gboolean sl_canvas_get_has_gl (SlCanvas *self);
SlGlView *sl_canvas_get_view (SlCanvas *self); /* borrowed */

/* Shows other left of a line that can be dragged, in the place of the picture; NULL: no more. */
void sl_canvas_compare (SlCanvas *self, GdkTexture *other);
gboolean sl_canvas_get_comparing (SlCanvas *self);
/* Where that line is, 0 (left edge of the picture) to 1. */
void sl_canvas_set_split (SlCanvas *self, double split);
double sl_canvas_get_split (SlCanvas *self);

/* Device pixels for each pixel of the picture; 0 fits the picture into the widget.  Keeps the
 * middle of the view in place. */
void sl_canvas_set_zoom (SlCanvas *self, double zoom);
double sl_canvas_get_zoom (SlCanvas *self);
/* As set, or as fitting gives it. */
double sl_canvas_get_scale (SlCanvas *self);
/* Whether the picture is larger than the view: dragging then pans. */
gboolean sl_canvas_get_can_pan (SlCanvas *self);

G_END_DECLS
