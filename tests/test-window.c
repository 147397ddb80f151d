/* tests/test-window.c - the window with the real engine and the starter model, from a prompt to a
 * saved picture and back.  It also measures how long the main thread is away from its loop. */
#include "tests/window_fixture.h"

#include <glib/gstdio.h>
#include <math.h>
#include <sys/resource.h>
#include <time.h>

/* ---- Stalls: from one poll's end to the next poll's beginning ---- */

static struct {
  GPollFunc poll;
  gint64 back;            /* when the last poll ended */
  double cpu;             /* this thread's time then, in ms */
  long waited, preempted; /* this thread's switches then */
  GArray *wall;           /* of double, ms */
  GArray *cpu_times;      /* of double, ms */
  double longest;         /* of wall, and how often the thread waited and was put aside in it */
  long longest_waited, longest_preempted;
} stalls;

static double
thread_ms (void)
{
  struct timespec now;

  clock_gettime (CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static int
watched_poll (GPollFD *fds, guint n, int timeout)
{
  struct rusage usage;
  int result;

  if (stalls.back) {
    const double wall = (double) (g_get_monotonic_time () - stalls.back) / 1e3;
    const double cpu = thread_ms () - stalls.cpu;

    getrusage (RUSAGE_THREAD, &usage);
    g_array_append_val (stalls.wall, wall);
    g_array_append_val (stalls.cpu_times, cpu);
    if (wall > stalls.longest) {
      stalls.longest = wall;
      stalls.longest_waited = usage.ru_nvcsw - stalls.waited;
      stalls.longest_preempted = usage.ru_nivcsw - stalls.preempted;
    }
  }
  result = stalls.poll (fds, n, timeout);
  stalls.back = g_get_monotonic_time ();
  stalls.cpu = thread_ms ();
  getrusage (RUSAGE_THREAD, &usage);
  stalls.waited = usage.ru_nvcsw;
  stalls.preempted = usage.ru_nivcsw;
  return result;
}

static void
watch_stalls (void)
{
  stalls.wall = g_array_new (FALSE, FALSE, sizeof (double));
  stalls.cpu_times = g_array_new (FALSE, FALSE, sizeof (double));
  stalls.back = 0;
  stalls.longest = 0;
  stalls.poll = g_main_context_get_poll_func (NULL);
  g_main_context_set_poll_func (NULL, watched_poll);
}

static int
compare_ms (gconstpointer a, gconstpointer b)
{
  const double x = *(const double *) a, y = *(const double *) b;

  return x < y ? -1 : x > y;
}

static double
percentile (GArray *times, double part)
{
  g_array_sort (times, compare_ms);
  return g_array_index (times, double, (guint) (part * (times->len - 1)));
}

/* What other processes take from this core shows in the wall time, so the limit is on the thread's
 * own time.  A sanitizer makes GTK's drawing several times slower: then this only reports. */
static void
report_stalls (const char *what)
{
  g_main_context_set_poll_func (NULL, stalls.poll);
  g_test_message (
      "%s: %u turns of the main loop; wall p50 %.2f p95 %.2f p99 %.2f max %.2f ms; "
      "cpu p50 %.2f p95 %.2f p99 %.2f max %.2f ms; in the longest it waited %ld times "
      "and was preempted %ld times",
      what, stalls.wall->len, percentile (stalls.wall, .5), percentile (stalls.wall, .95),
      percentile (stalls.wall, .99), percentile (stalls.wall, 1), percentile (stalls.cpu_times, .5),
      percentile (stalls.cpu_times, .95), percentile (stalls.cpu_times, .99),
      percentile (stalls.cpu_times, 1), stalls.longest_waited, stalls.longest_preempted);
#ifndef __SANITIZE_ADDRESS__
  g_assert_cmpfloat (percentile (stalls.cpu_times, .95), <, 20);
  g_assert_cmpfloat (percentile (stalls.wall, .5), <, 20);
#endif
  g_array_unref (stalls.wall);
  g_array_unref (stalls.cpu_times);
}

/* ---- */

static void
count_cb (guint *n)
{
  ++*n;
}

static void
type_and_run (SlWindow *window, const char *prompt)
{
  type_prompt (window, prompt);
  activate (window, "win.generate");
  g_assert_true (is_busy (window));
}

static char *
text_of (SlWindow *window)
{
  char *text = NULL;

  g_object_get (find_id (find_id (window, "sidebar"), "prompt"), "text", &text, NULL);
  return text;
}

static void
test_generate (void)
{
  SlWindow *window = open_window (1000, 700);
  SlSession *session = sl_window_get_session (window);
  GtkLabel *counter = find_id (find_id (window, "prompt"), "counter");
  g_autofree char *family = NULL;
  g_autoptr (SlResult) result = NULL;
  guint n_previews = 0;

  g_assert_true (wait_until (is_ready (window), 30));
  /* Long enough that a slow display sees some of it. */
  gtk_spin_button_set_value (find_id (window, "steps_spin"), 60);
  g_object_get (session, "model-family", &family, NULL);
  g_assert_cmpstr (family, ==, "Z-Image");

  g_signal_connect_swapped (session, "notify::preview", G_CALLBACK (count_cb), &n_previews);
  type_and_run (window, "rolling hills by day with clouds");
  g_assert_true (wait_until (count_results (window) == 1, 60));
  g_assert_true (wait_until (!is_busy (window), 5));
  g_assert_cmpuint (n_previews, >, 2); /* newest wins, but sixty steps are not one */
  g_assert_true (wait_until (*gtk_label_get_text (counter), 5));
  g_test_message ("tokens: %s", gtk_label_get_text (counter));

  result = g_list_model_get_item (sl_session_get_results (session), 0);
  g_assert_cmpstr (sl_result_get_recipe (result)->prompt, ==, "rolling hills by day with clouds");
  g_assert_cmpint (gdk_texture_get_width (sl_result_get_texture (result)), ==, 256);
  g_assert_true (sl_canvas_get_has_picture (find_type (window, SL_TYPE_CANVAS)));
  g_signal_handlers_disconnect_by_data (session, &n_previews);
  gtk_spin_button_set_value (find_id (window, "steps_spin"), 8);
  close_window (window);
}

static void
test_cancel (void)
{
  SlWindow *window = open_window (1000, 700);
  gint64 asked;

  g_assert_true (wait_until (is_ready (window), 30));
  g_object_set (find_id (window, "size"), "width", 512, "height", 512, NULL);
  gtk_spin_button_set_value (find_id (window, "steps_spin"), 150);
  type_and_run (window, "sand dunes at sunset");
  g_assert_true (wait_until (sl_session_get_preview (sl_window_get_session (window)), 60));
  asked = g_get_monotonic_time ();
  activate (window, "win.cancel");
  g_assert_true (wait_until (!is_busy (window), 10));
  g_test_message ("cancelled within %.0f ms", (double) (g_get_monotonic_time () - asked) / 1e3);
  g_assert_cmpuint (count_results (window), ==, 0);
  g_assert_null (sl_session_get_error (sl_window_get_session (window)));
  gtk_spin_button_set_value (find_id (window, "steps_spin"), 8);
  g_object_set (find_id (window, "size"), "width", 256, "height", 256, NULL);
  close_window (window);
}

/* Saves a picture, changes everything, and takes the settings back from the file. */
static void
test_save_and_take_back (void)
{
  SlWindow *window = open_window (1000, 700);
  SlSession *session = sl_window_get_session (window);
  g_autofree char *path = g_build_filename (g_get_user_cache_dir (), "saved.png", NULL);
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autofree char *text = NULL, *seed = NULL;
  AdwMessageDialog *dialog = NULL;

  g_assert_true (wait_until (is_ready (window), 30));
  gtk_spin_button_set_value (find_id (window, "steps_spin"), 3);
  type_and_run (window, "a lake, at noon");
  seed = g_strdup (gtk_editable_get_text (find_id (window, "seed")));
  g_assert_true (wait_until (count_results (window) == 1 && !is_busy (window), 60));
  sl_window_save (window, file);
  g_assert_true (wait_until (g_file_test (path, G_FILE_TEST_EXISTS), 10));

  gtk_spin_button_set_value (find_id (window, "steps_spin"), 8);
  type_prompt (window, "something else");
  activate (window, "win.random-seed");
  sl_window_open (window, file);
  for (int i = 0; i < 100 && !dialog; i++) {
    GListModel *toplevels = gtk_window_get_toplevels ();

    wait_ms (50);
    for (guint k = 0; k < g_list_model_get_n_items (toplevels); k++) {
      g_autoptr (GObject) toplevel = g_list_model_get_item (toplevels, k);

      if (ADW_IS_MESSAGE_DIALOG (toplevel))
        dialog = ADW_MESSAGE_DIALOG (toplevel);
    }
  }
  g_assert_nonnull (dialog);
  adw_message_dialog_response (dialog, "use");
  gtk_window_destroy (GTK_WINDOW (dialog));

  text = text_of (window);
  g_assert_cmpstr (text, ==, "a lake, at noon");
  g_assert_cmpstr (gtk_editable_get_text (find_id (window, "seed")), ==, seed);
  g_assert_cmpfloat (gtk_spin_button_get_value (find_id (window, "steps_spin")), ==, 3);
  g_assert_null (sl_session_get_error (session));

  /* A folder that cannot be written to. */
  {
    g_autoptr (GFile) nowhere = g_file_new_for_path ("/nowhere/at/all.png");

    sl_window_save (window, nowhere);
    g_assert_true (wait_until (sl_session_get_error (session), 10));
    g_test_message ("%s", sl_session_get_error (session));
  }
  g_unlink (path);
  gtk_toggle_button_set_active (find_id (window, "seed_lock"), FALSE);
  gtk_spin_button_set_value (find_id (window, "steps_spin"), 8);
  close_window (window);
}

static void
test_settings_survive (void)
{
  SlWindow *window = open_window (1000, 700);
  g_autofree char *text = NULL;

  g_assert_true (wait_until (is_ready (window), 30));
  type_prompt (window, "remember me");
  gtk_spin_button_set_value (find_id (window, "steps_spin"), 12);
  gtk_spin_button_set_value (find_id (window, "cfg_spin"), 3);
  g_object_set (find_id (window, "size"), "width", 384, "height", 256, NULL);
  adw_combo_row_set_selected (find_id (window, "sampler"), 2);
  adw_combo_row_set_selected (find_id (window, "rng"), 1);
  gtk_spin_button_set_value (find_id (window, "shift_spin"), 1.15);
  gtk_editable_set_text (find_id (window, "seed"), "4242");
  gtk_toggle_button_set_active (find_id (window, "seed_lock"), TRUE);
  adw_flap_set_reveal_flap (find_id (window, "flap"), FALSE);
  close_window (window);

  window = open_window (1000, 700);
  g_assert_true (wait_until (is_ready (window), 30));
  text = text_of (window);
  g_assert_cmpstr (text, ==, "remember me");
  g_assert_cmpfloat (gtk_spin_button_get_value (find_id (window, "steps_spin")), ==, 12);
  g_assert_cmpfloat (gtk_spin_button_get_value (find_id (window, "cfg_spin")), ==, 3);
  g_assert_cmpfloat (gtk_spin_button_get_value (find_id (window, "width")), ==, 384);
  g_assert_cmpuint (adw_combo_row_get_selected (find_id (window, "sampler")), ==, 2);
  g_assert_cmpuint (adw_combo_row_get_selected (find_id (window, "rng")), ==, 1);
  g_assert_cmpfloat (gtk_spin_button_get_value (find_id (window, "shift_spin")), ==, 1.15);
  g_assert_cmpstr (gtk_editable_get_text (find_id (window, "seed")), ==, "4242");
  g_assert_true (gtk_toggle_button_get_active (find_id (window, "seed_lock")));
  g_assert_false (adw_flap_get_reveal_flap (find_id (window, "flap")));

  adw_flap_set_reveal_flap (find_id (window, "flap"), TRUE);
  gtk_toggle_button_set_active (find_id (window, "seed_lock"), FALSE);
  adw_combo_row_set_selected (find_id (window, "sampler"), 0);
  adw_combo_row_set_selected (find_id (window, "rng"), 0);
  gtk_spin_button_set_value (find_id (window, "shift_spin"), 0);
  gtk_spin_button_set_value (find_id (window, "cfg_spin"), 1);
  gtk_spin_button_set_value (find_id (window, "steps_spin"), 8);
  g_object_set (find_id (window, "size"), "width", 256, "height", 256, NULL);
  close_window (window);
}

/* Copies a folder's plain files and folders. */
static void
copy_folder (const char *from, const char *to)
{
  g_autoptr (GDir) dir = g_dir_open (from, 0, NULL);
  const char *name;

  g_mkdir_with_parents (to, 0700);
  while (dir && (name = g_dir_read_name (dir))) {
    g_autofree char *source = g_build_filename (from, name, NULL);
    g_autofree char *target = g_build_filename (to, name, NULL);

    if (g_file_test (source, G_FILE_TEST_IS_DIR)) {
      copy_folder (source, target);
    } else {
      g_autoptr (GFile) a = g_file_new_for_path (source), b = g_file_new_for_path (target);

      g_assert_true (g_file_copy (a, b, 0, NULL, NULL, NULL, NULL));
    }
  }
}

static void
remove_folder (const char *path)
{
  char *argv[] = { "rm", "-rf", (char *) path, NULL };

  g_assert_true (
      g_spawn_sync (NULL, argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
}

static gboolean
is_settled (SlWindow *window)
{
  const SlState state = sl_session_get_state (sl_window_get_session (window));

  return state == SL_STATE_READY || state == SL_STATE_NO_MODEL;
}

static void
test_bad_models (void)
{
  SlWindow *window = open_window (1000, 700);
  SlSession *session = sl_window_get_session (window);
  g_autofree char *folder = g_build_filename (g_get_user_cache_dir (), "model", NULL);

  g_assert_true (wait_until (is_ready (window), 30));
  gtk_widget_activate_action (GTK_WIDGET (window), "win.model", "s", folder);
  g_assert_true (wait_until (sl_session_get_error (session), 10));
  g_test_message ("missing: %s", sl_session_get_error (session));
  g_assert_true (gtk_info_bar_get_revealed (find_id (window, "error_bar")));

  /* Taken away while it is being read: an error or a model, never a crash. */
  copy_folder (g_getenv ("SAFELIGHT_STARTER"), folder);
  gtk_widget_activate_action (GTK_WIDGET (window), "win.model", "s", folder);
  remove_folder (folder);
  g_assert_true (wait_until (is_settled (window), 30));
  g_test_message ("deleted: %s", sl_session_get_error (session));

  activate (window, "win.starter");
  g_assert_true (wait_until (is_ready (window), 30));
  type_and_run (window, "after all that, a lake");
  g_assert_true (wait_until (count_results (window) == 1 && !is_busy (window), 60));
  close_window (window);
}

static void
test_stalls (void)
{
  SlWindow *window = open_window (1280, 800);

  wait_ms (300); /* the first frames lay the window out: not what is measured */
  watch_stalls ();
  activate (window, "win.starter");
  g_assert_true (wait_until (is_ready (window), 30));
  report_stalls ("loading");

  wait_ms (300);
  watch_stalls ();
  type_and_run (window, "green northern lights over a lake");
  g_assert_true (wait_until (count_results (window) == 1 && !is_busy (window), 60));
  wait_ms (500);
  report_stalls ("generating");
  close_window (window);
}

int
main (int argc, char **argv)
{
  setlocale (LC_ALL, "C.UTF-8");
  isolate_folders ();
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/window/generate", test_generate);
  g_test_add_func ("/window/cancel", test_cancel);
  g_test_add_func ("/window/save-and-take-back", test_save_and_take_back);
  g_test_add_func ("/window/settings-survive", test_settings_survive);
  g_test_add_func ("/window/bad-models", test_bad_models);
  g_test_add_func ("/window/stalls", test_stalls);
  return run_in_application (g_test_run);
}
