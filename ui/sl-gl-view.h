/* ui/sl-gl-view.h - the canvas's child that draws by OpenGL, and where GPU-made previews come in.
 *
 * It shows the scene that its client fills at every draw.  Where OpenGL cannot be had it draws
 * nothing and says why (reason); the canvas then draws by GTK's own means.
 *
 * A GtkGLArea and not a GdkGLTexture in a paintable: the shader gets the pixels of the screen, so
 * filters, fade and comparison are one pass, and a live texture is only ever read within a draw, so
 * it may be written between two. */
#pragma once

#include "ui/sl-gl-painter.h"

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define SL_TYPE_GL_VIEW (sl_gl_view_get_type ())
G_DECLARE_FINAL_TYPE (SlGlView, sl_gl_view, SL, GL_VIEW, GtkGLArea)

/* Who writes the live textures.  Every function is called on the main thread with the GL context
 * current; all must be there. */
struct sl_gl_source {
  /* Once per context, before the others.  FALSE: it cannot write into this context's textures. */
  gboolean (*open) (gpointer data);
  /* The size of the newest frame; FALSE: there is none that was not copied. */
  gboolean (*next) (gpointer data, int *width, int *height);
  /* Enqueues the copy of that frame; FALSE: it failed, and the source is closed. */
  gboolean (*copy) (gpointer data, int live, guint texture);
  /* The texture's storage goes. */
  void (*forget) (gpointer data, int live);
  void (*close) (gpointer data); /* the context goes */
};

typedef void (*sl_gl_scene_func) (struct sl_gl_scene *scene, gpointer data);

SlGlView *sl_gl_view_new (sl_gl_scene_func fill, gpointer data);
/* NULL while it draws; else why it does not, one sentence.  Notified as "reason". */
const char *sl_gl_view_get_reason (SlGlView *self);
/* "OpenGL 4.5, llvmpipe (...)"; "" before it is realized. */
const char *sl_gl_view_get_name (SlGlView *self);

/* source: static, NULL: none; opened at once when there is a context.  TRUE: it is open. */
gboolean sl_gl_view_set_source (SlGlView *self, const struct sl_gl_source *source, gpointer data);
/* Takes the source's newest frame into a live texture; what is drawn from now on sees it.  FALSE:
 * there is none that was not taken, or the source failed. */
gboolean sl_gl_view_take_live (SlGlView *self, int live);
GdkTexture *sl_gl_view_read_live (SlGlView *self, int live); /* NULL: nothing there */

struct sl_gl_stats { /* since the view was made */
  guint64 draws;
  guint64 uploads;   /* textures sent by the host */
  guint64 copies;    /* frames taken from the source */
  double slowest_ms; /* draw, on the main thread */
  guint error;       /* the first GL error; 0: none */
};
void sl_gl_view_get_stats (SlGlView *self, struct sl_gl_stats *stats);

G_END_DECLS
