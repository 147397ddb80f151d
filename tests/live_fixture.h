/* tests/live_fixture.h - whole windows whose canvas is drawn by OpenGL. */
#pragma once

#include "tests/window_fixture.h"

#include "ui/sl-pixels.h"
#include "ui/sl-window-private.h"

#include <dlfcn.h>
#include <link.h>

static inline SlCanvas *
get_canvas (SlWindow *window)
{
  return find_type (window, SL_TYPE_CANVAS);
}

static inline SlStage *
get_stage (SlWindow *window)
{
  return find_type (window, SL_TYPE_STAGE);
}

static inline SlGlView *
get_view (SlWindow *window)
{
  return sl_canvas_get_view (get_canvas (window));
}

static inline struct sl_gl_stats
get_stats (SlWindow *window)
{
  struct sl_gl_stats stats;

  sl_gl_view_get_stats (get_view (window), &stats);
  return stats;
}

static inline int
name_cb (struct dl_phdr_info *info, size_t size, void *names)
{
  if (*info->dlpi_name)
    g_ptr_array_add (names, g_strdup (info->dlpi_name));
  return 0;
}

/* Drivers of OpenGL leak by design: those that stay mapped can be named to the leak checker. */
static inline void
keep_libraries (void)
{
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);

  dl_iterate_phdr (name_cb, names);
  for (guint i = 0; i < names->len; i++)
    dlopen (g_ptr_array_index (names, i), RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

/* Waits for the context.  FALSE, and the test is skipped: there is no OpenGL here. */
static inline gboolean
has_gl (SlWindow *window)
{
  g_assert_true (wait_until (gtk_widget_get_realized (GTK_WIDGET (get_view (window))), 20));
  keep_libraries ();
  if (sl_canvas_get_has_gl (get_canvas (window)))
    return TRUE;
  g_test_skip (sl_gl_view_get_reason (get_view (window)));
  return FALSE;
}

/* Draws until nothing is pending, fades included. */
static inline void
settle (SlWindow *window)
{
  wait_ms (250);
  gtk_test_widget_wait_for_draw (GTK_WIDGET (window));
}

/* What GTK would put on the screen for a widget: RGBA of its size. */
static inline GBytes *
shoot (gpointer widget, int *width, int *height)
{
  g_autoptr (GdkPaintable) paintable = gtk_widget_paintable_new (widget);
  GskRenderer *renderer = gtk_native_get_renderer (gtk_widget_get_native (widget));
  g_autoptr (GdkTexture) texture = NULL;
  g_autoptr (GskRenderNode) node = NULL;
  GtkSnapshot *snapshot = gtk_snapshot_new ();

  *width = gtk_widget_get_width (widget);
  *height = gtk_widget_get_height (widget);
  gdk_paintable_snapshot (paintable, snapshot, *width, *height);
  node = gtk_snapshot_free_to_node (snapshot);
  g_assert_nonnull (node);
  texture =
      gsk_renderer_render_texture (renderer, node, &GRAPHENE_RECT_INIT (0, 0, *width, *height));
  return sl_pixels_ref (texture);
}

/* Pixels of [left, left + w) of the picture, shown at 1:1 in the middle, that differ from it. */
static inline int
count_wrong (SlWindow *window, GdkTexture *picture, int from, int to)
{
  const int w = gdk_texture_get_width (picture), h = gdk_texture_get_height (picture);
  g_autoptr (GBytes) want = sl_pixels_ref (picture);
  const guint8 *p = g_bytes_get_data (want, NULL);
  int width, height, wrong = 0;
  g_autoptr (GBytes) shot = shoot (get_canvas (window), &width, &height);
  const guint8 *q = g_bytes_get_data (shot, NULL);
  const int left = (int) roundf ((float) (width - w) / 2);
  const int top = (int) roundf ((float) (height - h) / 2);

  g_assert_cmpint (width, >=, w);
  g_assert_cmpint (height, >=, h);
  for (int y = 0; y < h; y++)
    for (int x = from; x < to; x++)
      wrong += memcmp (p + 4 * ((size_t) y * w + x),
                       q + 4 * ((size_t) (top + y) * width + left + x), 4) != 0;
  return wrong;
}

static inline void
set_number (SlWindow *window, const char *key, int value)
{
  g_settings_set_int (window->settings, key, value);
}
