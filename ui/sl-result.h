/* ui/sl-result.h - one finished picture of this session: what the strip lists and the canvas shows.
 *
 * Immutable.  Made by SlSession on its worker; used on the main thread.  It holds the engine's
 * picture by a reference that only the session understands. */
#pragma once

#include "ui/sl-recipe.h"

#include <gdk/gdk.h>

G_BEGIN_DECLS

#define SL_TYPE_RESULT (sl_result_get_type ())
G_DECLARE_FINAL_TYPE (SlResult, sl_result, SL, RESULT, GObject)

struct sl_result_parts {  /* all taken over by the result */
  gpointer image;         /* the engine's picture; NULL: unfinished, its texture is all there is */
  GDestroyNotify release; /* of image */
  SlRecipe *recipe;
  GdkTexture *texture;   /* its own pixels */
  GdkTexture *thumbnail; /* at most 192 pixels high */
  char *warning;         /* or NULL */
  double seconds;
  guint serial; /* of this session's pictures, from 1 */
};

/* Every picture keeps its pixels, for the canvas, for saving and for dragging.  So a session keeps
 * so many, and of large ones fewer: 8 of 4096 x 4096. */
#define SL_RESULTS_MAX 200
#define SL_RESULTS_MAX_BYTES ((gsize) 512 << 20)

SlResult *sl_result_new (const struct sl_result_parts *parts);
gboolean sl_result_get_unfinished (SlResult *self);
gpointer sl_result_get_image (SlResult *self);
const SlRecipe *sl_result_get_recipe (SlResult *self);
GdkTexture *sl_result_get_texture (SlResult *self);
GdkTexture *sl_result_get_thumbnail (SlResult *self);
const char *sl_result_get_warning (SlResult *self);
double sl_result_get_seconds (SlResult *self);
guint sl_result_get_serial (SlResult *self);
/* Appends it to a list of SlResult, oldest first, and drops the oldest beyond the limits; the new
 * one always stays. */
void sl_result_append (SlResult *self, GListStore *list);

G_END_DECLS
