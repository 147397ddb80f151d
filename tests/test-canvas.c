/* tests/test-canvas.c - the canvas's OpenGL and what can go wrong with it, on the fake engine. */
#include "tests/fake-view.h"
#include "tests/live_fixture.h"

#include <stdio.h>

static SlWindow *
open_ready (void)
{
  SlWindow *window = open_window (1120, 760);

  g_assert_true (wait_until (is_ready (window), 10));
  set_number (window, "width", 256);
  set_number (window, "height", 256);
  set_number (window, "steps", 4);
  set_number (window, "count", 1);
  return window;
}

static void
make (SlWindow *window, const char *prompt)
{
  const guint before = count_results (window);

  type_prompt (window, prompt);
  g_assert_true (activate (window, "win.generate"));
  g_assert_true (wait_until (count_results (window) == before + 1 && !is_busy (window), 10));
}

static guint64
get_bytes (SlWindow *window)
{
  guint64 bytes;

  g_object_get (sl_window_get_session (window), "preview-bytes", &bytes, NULL);
  return bytes;
}

static void
close_clean (SlWindow *window)
{
  g_assert_cmpuint (get_stats (window).error, ==, 0);
  close_window (window);
  g_assert_cmpuint (fake_view_get_leaks (), ==, 0);
  fake_view_set (FAKE_VIEW_NONE);
}

static void
test_uploads (void)
{
  SlWindow *window = open_ready ();
  g_autofree char *reason = NULL;

  if (has_gl (window)) {
    make (window, "hills");
    settle (window);
    g_object_get (sl_window_get_session (window), "view-reason", &reason, NULL);
    g_assert_cmpstr (reason, ==, "the fake engine has no GPU");
    /* Four previews of 32 x 32, as they are. */
    g_assert_cmpuint (get_bytes (window), ==, 4 * 32 * 32 * 4);
    g_assert_cmpuint (get_stats (window).copies, ==, 0);
  }
  close_clean (window);
}

/* Previews that stay on the GPU are seen, and none comes through the host. */
static void
test_stays (void)
{
  SlWindow *window;
  g_autofree char *reason = NULL;
  g_autoptr (GdkTexture) live = NULL;

  fake_view_set (FAKE_VIEW_WORKS);
  window = open_ready ();
  if (has_gl (window)) {
    set_number (window, "steps", 150);
    type_prompt (window, "slow hills");
    g_assert_true (activate (window, "win.generate"));
    g_assert_true (wait_until (fake_view_get_copies () > 2, 20));
    live = sl_canvas_dup_shown (get_canvas (window));
    g_assert_nonnull (live);
    g_assert_cmpint (gdk_texture_get_width (live), ==, 32);
    g_assert_true (sl_canvas_get_has_picture (get_canvas (window)));
    g_assert_true (activate (window, "win.cancel"));
    g_assert_true (wait_until (!is_busy (window), 10));
    /* Another size: the textures are made anew. */
    set_number (window, "steps", 4);
    set_number (window, "width", 512);
    make (window, "hills");
    settle (window);
    g_object_get (sl_window_get_session (window), "view-reason", &reason, NULL);
    g_assert_cmpstr (reason, ==, "");
    g_assert_cmpuint (get_bytes (window), ==, 0);
  }
  close_clean (window);
}

/* A copy that fails in the middle of a picture: the next previews are uploaded. */
static void
test_breaks (void)
{
  SlWindow *window;
  g_autofree char *reason = NULL;

  fake_view_set (FAKE_VIEW_BREAKS);
  window = open_ready ();
  if (has_gl (window)) {
    set_number (window, "steps", 150);
    type_prompt (window, "slow hills");
    g_assert_true (activate (window, "win.generate"));
    g_assert_true (wait_until (get_bytes (window) > 0, 20));
    g_object_get (sl_window_get_session (window), "view-reason", &reason, NULL);
    g_assert_cmpstr (reason, ==, "the fake GPU fell off its bus");
    g_assert_cmpuint (fake_view_get_copies (), ==, 2);
    g_assert_true (activate (window, "win.cancel"));
    g_assert_true (wait_until (!is_busy (window), 10));
  }
  close_clean (window);
}

/* Hidden and shown again there is another context, and the source is opened again. */
static void
test_realized_again (void)
{
  SlWindow *window;
  guint copies;

  fake_view_set (FAKE_VIEW_WORKS);
  window = open_ready ();
  if (has_gl (window)) {
    for (int i = 0; i < 3; i++) {
      gtk_widget_hide (GTK_WIDGET (window));
      gtk_widget_unrealize (GTK_WIDGET (window));
      g_assert_cmpuint (fake_view_get_leaks (), ==, 0);
      gtk_window_present (GTK_WINDOW (window));
      gtk_test_widget_wait_for_draw (GTK_WIDGET (window));
      g_assert_true (has_gl (window));
      copies = fake_view_get_copies ();
      set_number (window, "steps", 150);
      type_prompt (window, "slow hills");
      g_assert_true (activate (window, "win.generate"));
      g_assert_true (wait_until (fake_view_get_copies () > copies, 20));
      g_assert_true (activate (window, "win.cancel"));
      g_assert_true (wait_until (!is_busy (window), 10));
      settle (window);
    }
    g_assert_cmpuint (get_bytes (window), ==, 0);
  }
  close_clean (window);
}

/* Cancelled: the last preview stays, says so, and can be saved.  The pictures behind it, which end
 * before their turn, take nothing of that away. */
static void
test_unfinished (void)
{
  int step = 0, n_steps = 0;
  g_autofree char *path = g_build_filename (g_get_user_data_dir (), "unfinished.png", NULL);
  g_autofree char *content = NULL;
  g_autoptr (GFile) file = g_file_new_for_path (path);
  SlWindow *window;
  SlResult *kept;

  fake_view_set (FAKE_VIEW_WORKS);
  window = open_ready ();
  if (has_gl (window)) {
    set_number (window, "steps", 60);
    set_number (window, "count", 3);
    type_prompt (window, "slow hills");
    g_assert_true (activate (window, "win.generate"));
    g_assert_true (wait_until (fake_view_get_copies () > 1, 10));
    g_assert_true (activate (window, "win.cancel"));
    g_assert_true (wait_until (sl_stage_get_shown (get_stage (window)), 10));
    kept = sl_stage_get_shown (get_stage (window));
    g_assert_true (sl_result_get_unfinished (kept));
    g_assert_cmpint (gdk_texture_get_width (sl_result_get_texture (kept)), ==, 256);
    g_assert_cmpint (sscanf (sl_result_get_warning (kept),
                             "Unfinished: stopped after step %d of %d", &step, &n_steps),
                     ==, 2);
    g_assert_cmpint (step, >, 0);
    g_assert_cmpint (n_steps, ==, 60);
    g_assert_cmpstr (sl_result_get_recipe (kept)->prompt, ==, "slow hills");
    g_assert_cmpuint (sl_result_get_recipe (kept)->seed, ==,
                      g_settings_get_uint64 (window->settings, "seed"));
    g_assert_cmpuint (count_results (window), ==, 0);
    g_assert_cmpstr (sl_stage_get_page (get_stage (window)), ==, "picture");
    sl_window_save (window, file);
    g_assert_true (wait_until (g_file_test (path, G_FILE_TEST_EXISTS), 10));
    g_assert_true (g_file_get_contents (path, &content, NULL, NULL));
    g_assert_cmpstr (content, ==, "not a PNG of a frame");
    settle (window);
    set_number (window, "count", 1);
    make (window, "hills");
    g_assert_false (sl_result_get_unfinished (sl_stage_get_shown (get_stage (window))));
  }
  close_clean (window);
}

static void
count_cb (SlSession *session, SlResult *draft, guint *n)
{
  g_assert_cmpint (sl_result_get_recipe (draft)->steps, ==, SL_LIVE_DRAFT_STEPS);
  (*n)++;
}

/* Live mode: a draft when the hand pauses, the picture when it rests, nothing in between. */
static void
test_live (void)
{
  static const char *const typed[] = { "slow h", "slow hi", "slow hil", "slow hill", "hills" };
  SlWindow *window = open_ready ();
  guint drafts = 0;

  if (has_gl (window)) {
    g_signal_connect (sl_window_get_session (window), "draft", G_CALLBACK (count_cb), &drafts);
    set_number (window, "steps", 10);
    g_assert_true (activate (window, "win.live"));
    g_assert_true (wait_until (count_results (window) == 1 && !is_busy (window), 10));
    g_assert_cmpuint (drafts, ==, 1);
    for (guint i = 0; i < G_N_ELEMENTS (typed); i++) {
      type_prompt (window, typed[i]);
      wait_ms (120); /* a draft begins, and is not done when the next letter comes */
    }
    g_assert_true (wait_until (count_results (window) == 2 && !is_busy (window), 10));
    g_assert_cmpuint (drafts, >=, 2);
    g_assert_cmpstr (sl_result_get_recipe (sl_stage_get_shown (get_stage (window)))->prompt, ==,
                     "hills");
    g_assert_cmpint (sl_result_get_recipe (sl_stage_get_shown (get_stage (window)))->steps, ==, 10);
    wait_ms (700);
    g_assert_false (is_busy (window));
    g_assert_cmpuint (count_results (window), ==, 2);
    drafts = 0;
    g_assert_true (activate (window, "win.live"));
    type_prompt (window, "more hills");
    wait_ms (300);
    g_assert_false (is_busy (window));
    g_assert_cmpuint (drafts, ==, 0);
  }
  close_clean (window);
}

/* The other one left of the line, the one shown right of it, to the pixel. */
static void
test_compare (void)
{
  SlWindow *window = open_ready ();
  SlCanvas *canvas = get_canvas (window);

  if (has_gl (window)) {
    GListModel *results = sl_session_get_results (sl_window_get_session (window));
    g_autoptr (SlResult) first = NULL, second = NULL;

    make (window, "hills");
    g_assert_false (activate (window, "win.compare") && sl_canvas_get_comparing (canvas));
    make (window, "other hills");
    first = g_list_model_get_item (results, 0);
    second = g_list_model_get_item (results, 1);
    g_assert_true (activate (window, "win.zoom-original"));
    g_assert_true (activate (window, "win.compare"));
    g_assert_true (sl_canvas_get_comparing (canvas));
    sl_canvas_set_split (canvas, 0.25);
    settle (window);
    g_assert_cmpint (count_wrong (window, sl_result_get_texture (first), 0, 62), ==, 0);
    g_assert_cmpint (count_wrong (window, sl_result_get_texture (second), 66, 256), ==, 0);
    g_assert_cmpint (count_wrong (window, sl_result_get_texture (second), 0, 62), >, 0);
    g_assert_true (activate (window, "win.compare"));
    settle (window);
    g_assert_cmpint (count_wrong (window, sl_result_get_texture (second), 0, 256), ==, 0);
  }
  close_clean (window);
}

/* Off: nothing before the picture. */
static void
test_off (void)
{
  SlWindow *window = open_ready ();

  if (has_gl (window)) {
    g_assert_true (gtk_widget_activate_action (GTK_WIDGET (window), "win.preview", "s", "off"));
    make (window, "hills");
    g_assert_cmpuint (get_bytes (window), ==, 0);
    g_assert_true (gtk_widget_activate_action (GTK_WIDGET (window), "win.preview", "s", "linear"));
    make (window, "hills");
    g_assert_cmpuint (get_bytes (window), >, 0);
  }
  close_clean (window);
}

static GdkGLContext *
refuse_cb (GtkGLArea *area)
{
  g_autoptr (GError) error =
      g_error_new_literal (GDK_GL_ERROR, GDK_GL_ERROR_NOT_AVAILABLE, "refused by the test");

  gtk_gl_area_set_error (area, error);
  return NULL;
}

static void
test_refused (void)
{
  GtkApplication *application = GTK_APPLICATION (g_application_get_default ());
  g_autoptr (SlSession) session = sl_session_new ();
  g_autoptr (GSettings) settings = g_settings_new ("io.github.safelight.Safelight");
  SlWindow *window = sl_window_new (application, session, settings);
  g_autofree char *reason = NULL, *view = NULL;

  g_signal_connect (get_view (window), "create-context", G_CALLBACK (refuse_cb), NULL);
  sl_session_start (session);
  gtk_window_present (GTK_WINDOW (window));
  g_assert_true (wait_until (is_ready (window), 10));
  g_assert_true (wait_until (gtk_widget_get_realized (GTK_WIDGET (get_view (window))), 10));
  g_assert_false (sl_canvas_get_has_gl (get_canvas (window)));
  make (window, "hills");
  g_assert_true (wait_until (sl_canvas_get_has_picture (get_canvas (window)), 10));
  settle (window);
  g_object_get (session, "view-reason", &reason, "view", &view, NULL);
  g_assert_cmpstr (reason, ==, "refused by the test");
  g_assert_true (g_str_has_prefix (view, "GTK"));
  g_assert_cmpuint (get_stats (window).draws, ==, 0);
  g_clear_object (&session);
  close_window (window);
}

static void
test_sizes (void)
{
  static const int sizes[][2] = { { 1, 1 }, { 8000, 400 }, { 700, 2000 }, { 1120, 760 } };
  SlWindow *window = open_ready ();

  if (has_gl (window)) {
    make (window, "hills");
    for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
      /* GTK keeps a window within the screen unless it cannot. */
      gtk_widget_set_size_request (GTK_WIDGET (window), sizes[i][0] > 1280 ? sizes[i][0] : -1, -1);
      gtk_window_set_default_size (GTK_WINDOW (window), sizes[i][0], sizes[i][1]);
      settle (window);
      if (sizes[i][0] == 8000)
        g_assert_cmpint (gtk_widget_get_width (GTK_WIDGET (window)), >,
                         7900); /* its shadow is not counted */
      make (window, "hills again");
      g_assert_cmpuint (get_stats (window).error, ==, 0);
    }
  }
  close_clean (window);
}

/* Not the full screen: libadwaita 1.2.2 loses a finished animation of AdwFlap's, now and then, when
 * that is entered and left in the middle of something. */
static SlWindow *
do_something (SlWindow *window, GRand *random)
{
  static const char *const actions[] = { "win.generate",      "win.generate", "win.generate",
                                         "win.cancel",        "win.cancel",   "win.zoom-in",
                                         "win.zoom-original", "win.zoom-fit", "win.escape",
                                         "win.compare",       "win.live" };
  static const char *const prompts[] = { "hills", "slow hills", "hills that fail" };
  const int what = g_rand_int_range (random, 0, 22);

  if (what < 12) {
    activate (window, actions[g_rand_int_range (random, 0, G_N_ELEMENTS (actions))]);
  } else if (what < 15) {
    gtk_window_set_default_size (GTK_WINDOW (window), g_rand_int_range (random, 1, 1400),
                                 g_rand_int_range (random, 1, 1000));
  } else if (what < 18) {
    set_number (window, "width", 64 * g_rand_int_range (random, 1, 9));
    type_prompt (window, prompts[g_rand_int_range (random, 0, G_N_ELEMENTS (prompts))]);
  } else if (what < 20) {
    sl_session_dismiss_error (sl_window_get_session (window));
  } else if (what == 20) {
    g_assert_cmpuint (get_stats (window).error, ==, 0);
    close_window (window);
    g_assert_cmpuint (fake_view_get_leaks (), ==, 0);
    fake_view_set ((enum fake_view) g_rand_int_range (random, 0, 3));
    window =
        open_window (g_rand_int_range (random, 360, 1280), g_rand_int_range (random, 300, 900));
    set_number (window, "steps", 4);
  }
  wait_ms ((guint) g_rand_int_range (random, 0, 60));
  return window;
}

/* G_TEST_SEED, which a failure prints, runs the same again. */
static void
test_anything (void)
{
  g_autoptr (GRand) random = g_rand_new_with_seed ((guint32) g_test_rand_int ());
  const gint64 end = g_get_monotonic_time () + 60 * G_USEC_PER_SEC;
  SlWindow *window;
  int n = 0;

  fake_view_set (FAKE_VIEW_WORKS);
  window = open_ready ();
  if (has_gl (window))
    for (; n < 200 && g_get_monotonic_time () < end; n++)
      window = do_something (window, random);
  g_test_message ("%d things done", n);
  close_clean (window);
}

int
main (int argc, char **argv)
{
  isolate_folders ();
  setlocale (LC_ALL, "C.UTF-8");
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/canvas/uploads", test_uploads);
  g_test_add_func ("/canvas/stays", test_stays);
  g_test_add_func ("/canvas/breaks", test_breaks);
  g_test_add_func ("/canvas/realized-again", test_realized_again);
  g_test_add_func ("/canvas/unfinished", test_unfinished);
  g_test_add_func ("/canvas/live", test_live);
  g_test_add_func ("/canvas/compare", test_compare);
  g_test_add_func ("/canvas/off", test_off);
  g_test_add_func ("/canvas/refused", test_refused);
  g_test_add_func ("/canvas/sizes", test_sizes);
  g_test_add_func ("/canvas/anything", test_anything);
  return run_in_application (g_test_run);
}
