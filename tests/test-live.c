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
  guint n;
};

static void
previewed_cb (SlSession *session, GParamSpec *pspec, struct watch *watch)
{
  if (sl_session_get_has_preview (session) && !watch->first)
    watch->first = g_get_monotonic_time ();
}

/* How it goes while many pictures are made: for people, not for the verdict. */
static void
test_pace (void)
{
  const int size = g_getenv ("SAFELIGHT_LIVE_SIZE") ? atoi (g_getenv ("SAFELIGHT_LIVE_SIZE")) : 128;
  const int steps =
      g_getenv ("SAFELIGHT_LIVE_STEPS") ? atoi (g_getenv ("SAFELIGHT_LIVE_STEPS")) : 4;
  SlWindow *window = open_window (1120, 760);
  struct watch watch = { 0 };
  struct sl_gl_stats before, after;
  gint64 end, told;

  if (!has_gl (window)) {
    close_window (window);
    return;
  }
  g_assert_true (wait_until (is_ready (window), 60));
  set_number (window, "width", size);
  set_number (window, "height", size);
  set_number (window, "steps", steps);
  type_prompt (window, "a red lighthouse by the sea at dawn");
  make_one (window);
  settle (window);

  g_signal_connect (sl_window_get_session (window), "notify::preview", G_CALLBACK (previewed_cb),
                    &watch);
  before = get_stats (window);
  watch.begin = g_get_monotonic_time ();
  make_one (window);
  end = g_get_monotonic_time ();
  settle (window);
  after = get_stats (window);
  g_test_message ("%d x %d, %d steps: %.1f ms, first preview after %.1f ms, %.1f draws a second",
                  size, size, steps, (double) (end - watch.begin) / 1e3,
                  (double) (watch.first - watch.begin) / 1e3,
                  (double) (after.draws - before.draws) * 1e6 / (double) (end - watch.begin));
  g_test_message ("slowest draw %.1f ms, %" G_GUINT64_FORMAT " uploads, %" G_GUINT64_FORMAT
                  " copies",
                  after.slowest_ms, after.uploads - before.uploads, after.copies - before.copies);

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
  report_view (window);
  g_assert_cmpuint (get_stats (window).error, ==, 0);
  g_signal_handlers_disconnect_by_data (sl_window_get_session (window), &watch);
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
