/* tests/test-live.c - the real engine in a window that is drawn by OpenGL: what is on the screen is
 * what the engine made.  On Mesa's software renderer, where each preview is uploaded, or on the GPU
 * that there is; then it says what it measured. */
#include "tests/live_fixture.h"

static void
make_one (SlWindow *window)
{
  const guint before = count_results (window);

  g_assert_true (activate (window, "win.generate"));
  g_assert_true (wait_until (count_results (window) == before + 1 && !is_busy (window), 60));
}

static void
report_view (SlWindow *window)
{
  g_autofree char *view = NULL, *reason = NULL, *device = NULL;
  guint64 bytes;

  g_object_get (sl_window_get_session (window), "view", &view, "view-reason", &reason,
                "device-name", &device, "preview-bytes", &bytes, NULL);
  g_test_message ("on %s: %s", device, view);
  g_test_message ("not better, for: %s", reason);
  g_test_message ("bytes of previews through the host: %" G_GUINT64_FORMAT, bytes);
  if (!*reason) /* they stay on the GPU */
    g_assert_cmpuint (bytes, ==, 0);
}

static void
test_pixels (void)
{
  SlWindow *window = open_window (1120, 760);

  if (has_gl (window)) {
    GdkTexture *picture;

    g_assert_true (wait_until (is_ready (window), 60));
    set_number (window, "width", 256);
    set_number (window, "height", 256);
    set_number (window, "steps", 2);
    type_prompt (window, "a lighthouse by the sea");
    make_one (window);
    g_assert_true (activate (window, "win.zoom-original"));
    settle (window);
    picture = sl_result_get_texture (sl_stage_get_shown (get_stage (window)));
    g_assert_cmpint (count_wrong (window, picture, 0, 256), ==, 0);
    g_assert_cmpuint (get_stats (window).error, ==, 0);
    report_view (window);
  }
  close_window (window);
}

struct watch {
  gint64 begin, first, last;
  gint64 longest; /* that the main loop was away */
  guint tick;
};

static void
previewed_cb (SlSession *session, GParamSpec *pspec, struct watch *watch)
{
  if (sl_session_get_has_preview (session) && !watch->first)
    watch->first = g_get_monotonic_time ();
}

static gboolean
tick_cb (gpointer data)
{
  struct watch *watch = data;
  const gint64 now = g_get_monotonic_time ();

  if (watch->last)
    watch->longest = MAX (watch->longest, now - watch->last);
  watch->last = now;
  return G_SOURCE_CONTINUE;
}

/* Levels by which the live frame differs from the picture's means of 8 x 8 pixels, on average. */
static double
compare_live (GdkTexture *live, GdkTexture *picture)
{
  const int w = gdk_texture_get_width (live), h = gdk_texture_get_height (live);
  g_autoptr (GBytes) small = sl_pixels_ref (live), large = sl_pixels_ref (picture);
  const guint8 *p = g_bytes_get_data (small, NULL), *q = g_bytes_get_data (large, NULL);
  double sum = 0;

  g_assert_cmpint (gdk_texture_get_width (picture), ==, 8 * w);
  for (int y = 0; y < h; y++)
    for (int x = 0; x < w; x++)
      for (int c = 0; c < 3; c++) {
        double mean = 0;

        for (int k = 0; k < 64; k++)
          mean += q[4 * ((size_t) (8 * y + k / 8) * 8 * w + 8 * x + k % 8) + c] / 64.;
        sum += fabs (p[4 * ((size_t) y * w + x) + c] - mean);
      }
  return sum / (3. * w * h);
}

static void
report_live (SlWindow *window)
{
  GdkTexture *picture = sl_result_get_texture (sl_stage_get_shown (get_stage (window)));
  double best = -1;

  for (int i = 0; i < SL_GL_N_LIVE; i++) {
    g_autoptr (GdkTexture) live = sl_gl_view_read_live (get_view (window), i);
    const double levels = live ? compare_live (live, picture) : -1;

    if (live && (best < 0 || levels < best))
      best = levels;
  }
  if (best < 0)
    return;
  g_test_message ("the last live frame is %.1f levels from the picture, on average", best);
  g_assert_cmpfloat (best, <, 32);
}

static int
get_number (const char *name, int otherwise)
{
  return g_getenv (name) ? atoi (g_getenv (name)) : otherwise;
}

static void
watched_run (SlWindow *window, int size, int steps)
{
  struct watch watch = { 0 };
  struct sl_gl_stats before, after;
  gint64 end, told;

  g_signal_connect (sl_window_get_session (window), "notify::preview", G_CALLBACK (previewed_cb),
                    &watch);
  watch.tick = g_timeout_add (1, tick_cb, &watch);
  before = get_stats (window);
  watch.begin = g_get_monotonic_time ();
  make_one (window);
  end = g_get_monotonic_time ();
  after = get_stats (window);
  g_source_remove (watch.tick);
  settle (window);
  g_test_message ("%d x %d, %d steps: %.1f ms, first preview after %.1f ms, %.1f draws a second",
                  size, size, steps, (double) (end - watch.begin) / 1e3,
                  watch.first ? (double) (watch.first - watch.begin) / 1e3 : -1,
                  (double) (after.draws - before.draws) * 1e6 / (double) (end - watch.begin));
  g_test_message ("slowest draw ever %.1f ms, main loop away for at most %.1f ms, %d uploads, "
                  "%d copies",
                  after.slowest_ms, (double) watch.longest / 1e3,
                  (int) (after.uploads - before.uploads), (int) (after.copies - before.copies));
  report_live (window);

  watch.first = 0;
  g_assert_true (activate (window, "win.generate"));
  if (wait_until (watch.first != 0 || !is_busy (window), 20) && is_busy (window)) {
    told = g_get_monotonic_time ();
    activate (window, "win.cancel");
    g_assert_true (wait_until (!is_busy (window), 20));
    g_test_message ("idle %.1f ms after cancelling",
                    (double) (g_get_monotonic_time () - told) / 1e3);
  }
  g_assert_true (wait_until (!is_busy (window), 60));
  g_signal_handlers_disconnect_by_data (sl_window_get_session (window), &watch);
}

/* How it goes while pictures are made: for people, not for the verdict. */
static void
test_pace (void)
{
  const int size = get_number ("SAFELIGHT_LIVE_SIZE", 128);
  const int steps = get_number ("SAFELIGHT_LIVE_STEPS", 4);
  SlWindow *window = open_window (1120, 760);

  if (has_gl (window)) {
    g_assert_true (wait_until (is_ready (window), 60));
    set_number (window, "width", size);
    set_number (window, "height", size);
    set_number (window, "steps", steps);
    type_prompt (window, "a red lighthouse by the sea at dawn");
    make_one (window);
    settle (window);
    watched_run (window, size, steps);
    report_view (window);
    g_assert_cmpuint (get_stats (window).error, ==, 0);
  }
  close_window (window);
}

int
main (int argc, char **argv)
{
  isolate_folders ();
  setlocale (LC_ALL, "C.UTF-8");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/live/pixels", test_pixels);
  g_test_add_func ("/live/pace", test_pace);
  return run_in_application (g_test_run);
}
