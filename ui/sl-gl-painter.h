/* ui/sl-gl-painter.h - draws pictures with OpenGL 3.2 or OpenGL ES 3.0; no widget, no engine.
 *
 * Every function wants the context that sl_gl_painter_new() was called with to be current, and so
 * runs on that context's thread.  Colours are sRGB values from end to end: a picture shown at 1:1
 * comes out byte for byte.  Enlarging filters those values, as ui/sl-resample.h does; making
 * smaller averages light.
 *
 * Rectangles are in device pixels of the framebuffer, from its top left corner. */
#pragma once

#include <gdk/gdk.h>

typedef struct sl_gl_painter sl_gl_painter;

/* Live textures: written on the GPU by someone else (ui/sl-gl-view.h), two of them, so that one can
 * fade into the other. */
#define SL_GL_N_LIVE 2

struct sl_gl_layer {
  GdkTexture *texture; /* borrowed; NULL: see live */
  int live;            /* 0: a blank sheet; else the live texture live - 1 */
  float x, y, width, height;
  gboolean soft; /* a preview: enlarged more softly than a finished picture */
};

struct sl_gl_scene {
  struct sl_gl_layer now, before;
  float mix;      /* of now over before; 1: before is not looked at, unless it is compared */
  float split;    /* > 0: before is left of this line, now right of it; else no line */
  float radius;   /* of the corners */
  float paper[4]; /* of a blank sheet; straight alpha */
};

/* es: the context is of OpenGL ES. */
sl_gl_painter *sl_gl_painter_new (gboolean es, GError **error);
void sl_gl_painter_free (sl_gl_painter *painter); /* NULL allowed */

/* Draws into the framebuffer that is bound, all of it, premultiplied over nothing.  A texture that
 * is not on the GPU yet is uploaded first; the four used last are kept there. */
void sl_gl_painter_draw (sl_gl_painter *painter, const struct sl_gl_scene *scene, int width,
                         int height);

/* The live texture as GL knows it; its storage is made anew when the size changes (changed), which
 * whoever registered it must hear of before: see sl_gl_painter_live_fits(). */
guint sl_gl_painter_get_live (sl_gl_painter *painter, int live);
gboolean sl_gl_painter_live_fits (sl_gl_painter *painter, int live, int width, int height);
void sl_gl_painter_resize_live (sl_gl_painter *painter, int live, int width, int height);
/* Its pixels, read back; NULL: it has none. */
GdkTexture *sl_gl_painter_read_live (sl_gl_painter *painter, int live);

guint64 sl_gl_painter_get_uploads (sl_gl_painter *painter); /* textures sent so far */
guint sl_gl_painter_get_error (sl_gl_painter *painter);     /* the first GL error, 0: none; checked
                                                               where     SL_CHECK_GL is set */
