/* tests/test-live.c - the canvas drawn by OpenGL: what is on the screen is what the engine made.
 *
 * Without a GPU this runs on Mesa's software renderer and takes the path of one upload a preview.
 */
#include "tests/window_fixture.h"

#include "ui/sl-pixels.h"

static SlCanvas *
get_canvas (SlWindow *window)
{
  return find_type (window, SL_TYPE_CANVAS);
}

static struct sl_gl_stats
get_stats (SlWindow *window)
{
  struct sl_gl_stats stats;

  sl_gl_view_get_stats (sl_canvas_get_view (get_canvas (window)), &stats);
  return stats;
}

/* What GTK would put on the screen for a widget: RGBA of its size in device pixels. */
static GBytes *
shoot (GtkWidget *widget, int *width, int *height)
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

/* Draws until nothing is pending, fades included. */
static void
settle (SlWindow *window)
{
  wait_ms (250);
  gtk_test_widget_wait_for_draw (GTK_WIDGET (window));
}

static void
set_up (SlWindow *window, int size, int steps, const char *prompt)
{
  g_autoptr (GSettings) settings = g_settings_new ("io.github.safelight.Safelight");

  g_assert_true (wait_until (is_ready (window), 60));
  g_settings_set_int (settings, "width", size);
  g_settings_set_int (settings, "height", size);
  g_settings_set_int (settings, "steps", steps);
  type_prompt (window, prompt);
}

static void
make_one (SlWindow *window)
{
  const guint before = count_results (window);

  g_assert_true (activate (window, "win.generate"));
  g_assert_true (wait_until (count_results (window) == before + 1 && !is_busy (window), 60));
}

static gboolean
has_gl (SlWindow *window)
{
  GtkWidget *view = GTK_WIDGET (sl_canvas_get_view (get_canvas (window)));

  g_assert_true (wait_until (gtk_widget_get_realized (view), 20));
  if (sl_canvas_get_has_gl (get_canvas (window)))
    return TRUE;
  g_test_skip (sl_gl_view_get_reason (sl_canvas_get_view (get_canvas (window))));
  return FALSE;
}

static void
assert_shows (SlWindow *window, GdkTexture *picture)
{
  const int w = gdk_texture_get_width (picture), h = gdk_texture_get_height (picture);
  g_autoptr (GBytes) want = sl_pixels_ref (picture);
  const guint8 *p = g_bytes_get_data (want, NULL);
  int width, height, wrong = 0;
  g_autoptr (GBytes) shot = shoot (GTK_WIDGET (get_canvas (window)), &width, &height);
  const guint8 *q = g_bytes_get_data (shot, NULL);
  const int left = (int) roundf ((float) (width - w) / 2),
            top = (int) roundf ((float) (height - h) / 2);

  g_assert_cmpint (width, >=, w);
  g_assert_cmpint (height, >=, h);
  for (int y = 0; y < h; y++)
    for (int x = 0; x < w; x++)
      wrong += memcmp (p + 4 * ((size_t) y * w + x),
                       q + 4 * ((size_t) (top + y) * width + left + x), 4) != 0;
  g_assert_cmpint (wrong, ==, 0);
}

static void
test_pixels (void)
{
  SlWindow *window = open_window (1120, 760);

  if (has_gl (window)) {
    set_up (window, 256, 2, "a lighthouse by the sea");
    make_one (window);
    g_assert_true (activate (window, "win.zoom-original"));
    settle (window);
    assert_shows (window,
                  sl_result_get_texture (sl_stage_get_shown (find_type (window, SL_TYPE_STAGE))));
    g_assert_cmpuint (get_stats (window).error, ==, 0);
  }
  close_window (window);
}

int
main (int argc, char **argv)
{
  isolate_folders ();
  setlocale (LC_ALL, "");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/live/pixels", test_pixels);
  return run_in_application (g_test_run);
}
