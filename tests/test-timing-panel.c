/* tests/test-timing-panel.c - the timing panel in a window, with an engine that does as it is told.
 */
#include "tests/window_fixture.h"
#include "ui/sl-timing-bars.h"
#include "ui/sl-timing-numbers.h"
#include "ui/sl-timing-panel.h"

#include <string.h>

static guint
get_chosen (gpointer object)
{
  guint span;

  g_object_get (object, "span", &span, NULL);
  return span;
}

static SlWindow *
open_panel (void)
{
  SlWindow *window = open_window (1000, 760);

  g_assert_true (wait_until (is_ready (window), 5));
  if (!gtk_widget_get_visible (find_id (window, "timing")))
    activate (window, "win.timing");
  g_assert_true (wait_until (gtk_widget_get_mapped (find_id (window, "chart")), 5));
  return window;
}

static void
make_picture (SlWindow *window, const char *prompt)
{
  const guint before = count_results (window);

  type_prompt (window, prompt);
  activate (window, "win.generate");
  g_assert_true (wait_until (count_results (window) > before && !is_busy (window), 10));
}

static SlTiming *
get_selected (SlWindow *window)
{
  return sl_timing_panel_get_selected (find_id (window, "timing"));
}

static void
test_remembered (void)
{
  SlWindow *window = open_window (1000, 760);
  const char *const *keys = NULL;
  g_auto (GStrv) accels = NULL;
  int height;

  keys =
      (const char *const *) (accels = gtk_application_get_accels_for_action (
                                 gtk_window_get_application (GTK_WINDOW (window)), "win.timing"));
  g_assert_cmpstr (keys[0], ==, "F9");
  g_assert_false (gtk_widget_get_visible (find_id (window, "timing"))); /* a newcomer's window */
  activate (window, "win.timing");
  g_assert_true (wait_until (gtk_widget_get_height (find_id (window, "timing")) > 0, 5));
  wait_ms (100);
  gtk_paned_set_position (find_id (window, "paned"),
                          gtk_widget_get_height (find_id (window, "paned")) - 300);
  wait_ms (100);
  height = gtk_widget_get_height (find_id (window, "timing"));
  g_assert_cmpint (abs (height - 300), <=, 2);
  close_window (window);

  window = open_window (1000, 760);
  g_assert_true (gtk_widget_get_visible (find_id (window, "timing")));
  wait_ms (100);
  g_assert_cmpint (gtk_widget_get_height (find_id (window, "timing")), ==, height);
  activate (window, "win.timing");
  g_assert_false (gtk_widget_get_visible (find_id (window, "timing")));
  close_window (window);
}

/* It does not make a narrow window wider. */
static void
test_narrow (void)
{
  SlWindow *window = open_panel ();

  close_window (window);
  window = open_window (360, 640);
  g_assert_true (wait_until (gtk_widget_get_mapped (find_id (window, "chart")), 5));
  wait_ms (300);
  g_assert_cmpint (gtk_widget_get_width (GTK_WIDGET (window)), <=, 360);
  adw_flap_set_reveal_flap (find_id (window, "flap"), FALSE);
  make_picture (window, "a lake");
  g_assert_true (gtk_widget_get_mapped (find_id (window, "numbers"))); /* the tables, too */
  wait_ms (600); /* the caption comes into view */
  g_assert_cmpint (gtk_widget_get_width (GTK_WIDGET (window)), <=, 360);
  close_window (window);
}

static void
test_live (void)
{
  SlWindow *window = open_panel ();
  GListModel *timings = sl_session_get_timings (sl_window_get_session (window));
  SlTiming *timing;
  guint early, later;

  g_assert_null (get_selected (window));
  type_prompt (window, "slow");
  activate (window, "win.generate");
  g_assert_true (wait_until (get_selected (window), 5));
  timing = get_selected (window);
  g_assert_true (sl_timing_is_running (timing));
  g_assert_true (wait_until ((sl_timing_get_spans (timing, &early), early >= 2), 5));
  g_assert_true (wait_until ((sl_timing_get_spans (timing, &later), later > early), 5));
  g_assert_true (is_busy (window));
  g_assert_true (wait_until (!is_busy (window), 10));

  /* The same object, whole now. */
  g_assert_true (get_selected (window) == timing);
  g_assert_false (sl_timing_is_running (timing));
  sl_timing_get_spans (timing, &later);
  g_assert_cmpuint (later, ==, 10);
  g_assert_cmpuint (g_list_model_get_n_items (timings), ==, 1);
  g_assert_cmpuint (g_list_model_get_n_items (G_LIST_MODEL (gtk_column_view_get_model (
                        find_type (find_id (window, "spans"), GTK_TYPE_COLUMN_VIEW)))),
                    ==, 10);
  close_window (window);
}

/* A picture that was cancelled or failed has no timing; the one before is shown again. */
static void
test_cancelled (void)
{
  SlWindow *window = open_panel ();
  GListModel *timings = sl_session_get_timings (sl_window_get_session (window));
  SlTiming *first;

  make_picture (window, "a lake");
  first = get_selected (window);
  type_prompt (window, "slow");
  activate (window, "win.generate");
  g_assert_true (wait_until (get_selected (window) != first, 5));
  activate (window, "win.cancel");
  g_assert_true (wait_until (!is_busy (window), 5));
  g_assert_true (get_selected (window) == first);
  g_assert_cmpuint (g_list_model_get_n_items (timings), ==, 1);
  type_prompt (window, "this must fail");
  activate (window, "win.generate");
  g_assert_true (wait_until (!is_busy (window), 5));
  g_assert_cmpuint (g_list_model_get_n_items (timings), ==, 1);
  close_window (window);
}

/* The last twenty; choosing one shows its picture, and the other way round. */
static void
test_bars (void)
{
  SlWindow *window = open_panel ();
  SlSession *session = sl_window_get_session (window);
  GListModel *timings = sl_session_get_timings (session);
  SlTimingBars *bars = find_id (window, "bars");
  SlStage *stage = find_type (window, SL_TYPE_STAGE);
  g_autoptr (SlTiming) old = NULL;
  g_autoptr (SlResult) result = NULL;
  GtkSelectionModel *selection;

  gtk_spin_button_set_value (find_id (window, "steps_spin"), 1);
  gtk_spin_button_set_value (find_id (window, "count_spin"), 23);
  type_prompt (window, "a lake");
  activate (window, "win.generate");
  g_assert_true (wait_until (count_results (window) == 23 && !is_busy (window), 20));
  g_assert_cmpuint (g_list_model_get_n_items (timings), ==, SL_TIMINGS_MAX);
  old = g_list_model_get_item (timings, SL_TIMINGS_MAX - 1);
  g_assert_true (get_selected (window) == old); /* the newest */

  g_clear_object (&old);
  old = g_list_model_get_item (timings, 3);
  selection = gtk_list_view_get_model (find_type (bars, GTK_TYPE_LIST_VIEW));
  gtk_selection_model_select_item (selection, 3, TRUE); /* as a click does */
  g_assert_true (get_selected (window) == old);
  g_assert_cmpuint (sl_result_get_serial (sl_stage_get_shown (stage)), ==,
                    sl_timing_get_serial (old));

  result = g_list_model_get_item (sl_session_get_results (session), 15);
  sl_strip_select (find_id (window, "strip"), result);
  g_assert_true (get_selected (window) == sl_session_find_timing (session, result));
  g_assert_cmpuint (sl_timing_get_serial (get_selected (window)), ==,
                    sl_result_get_serial (result));

  /* An older one stays when another picture comes; the newest is followed. */
  g_clear_object (&result);
  gtk_spin_button_set_value (find_id (window, "count_spin"), 1);
  gtk_spin_button_set_value (find_id (window, "steps_spin"), 8);
  make_picture (window, "another lake");
  g_assert_cmpuint (sl_timing_get_serial (get_selected (window)), ==, 24);
  close_window (window);
}

/* The two tables say what the drawing shows. */
static void
test_tables (void)
{
  SlWindow *window = open_panel ();
  SlTimingNumbers *numbers = find_id (window, "numbers");
  g_autofree char *total = NULL;
  GtkWidget *row;

  make_picture (window, "a lake");
  total = sl_dup_ms (sl_timing_get_total (get_selected (window)));
  g_assert_cmpstr (sl_timing_numbers_get (numbers, "Total"), ==, total);
  g_assert_cmpstr (sl_timing_numbers_get (numbers, "Number of steps"), ==, "8");
  g_assert_cmpstr (sl_timing_numbers_get (numbers, "Graph replays"), ==, "0 of 8");
  g_assert_cmpstr (sl_timing_numbers_get (numbers, "Previews to the host"), ==, "4.0\u00a0KiB");
  row = find_type (numbers, GTK_TYPE_LIST_BOX_ROW);
  gtk_test_accessible_assert_role (GTK_ACCESSIBLE (row), GTK_ACCESSIBLE_ROLE_ROW);
  g_clear_pointer (&total, g_free);
  total = g_strdup_printf ("Total: %s", sl_timing_numbers_get (numbers, "Total"));
  gtk_test_accessible_assert_property (GTK_ACCESSIBLE (row), GTK_ACCESSIBLE_PROPERTY_LABEL, total);

  /* Chosen here, chosen there. */
  g_object_set (find_id (window, "chart"), "span", 3, NULL);
  g_assert_cmpuint (get_chosen (find_id (window, "spans")), ==, 3);
  g_object_set (find_id (window, "spans"), "span", 5, NULL);
  g_assert_cmpuint (get_chosen (find_id (window, "chart")), ==, 5);
  close_window (window);
}

static void
test_gpu (void)
{
  SlWindow *window = open_panel ();
  SlTimingNumbers *gpu = find_id (window, "gpu");
  GtkLabel *no_gpu = find_id (window, "no_gpu");

  gtk_stack_set_visible_child_name (find_id (find_id (window, "timing"), "pages"), "gpu");
  g_assert_true (wait_until (gtk_widget_get_visible (GTK_WIDGET (no_gpu)), 5));
  g_assert_cmpstr (gtk_label_get_text (no_gpu), ==, "No GPU is in use: no NVIDIA driver");
  g_assert_null (sl_timing_numbers_get (gpu, "Power"));
  close_window (window);

  g_setenv ("SAFELIGHT_FAKE_GPU", "1", TRUE);
  window = open_panel ();
  gpu = find_id (window, "gpu");
  gtk_stack_set_visible_child_name (find_id (find_id (window, "timing"), "pages"), "gpu");
  g_assert_true (
      wait_until (g_strcmp0 (sl_timing_numbers_get (gpu, "Temperature"), "51 °C") == 0, 5));
  g_assert_cmpstr (sl_timing_numbers_get (gpu, "Utilisation"), ==, "37 %");
  g_assert_cmpstr (sl_timing_numbers_get (gpu, "Power"), ==, "not told");
  g_assert_cmpstr (sl_timing_numbers_get (gpu, "Our weights"), ==, "1.0\u00a0GiB");
  close_window (window);
  g_unsetenv ("SAFELIGHT_FAKE_GPU");
}

/* Closed while it samples, and while a picture runs. */
static void
test_closed (void)
{
  SlWindow *window;

  g_setenv ("SAFELIGHT_FAKE_GPU", "1", TRUE);
  window = open_panel ();
  type_prompt (window, "slow");
  activate (window, "win.generate");
  g_assert_true (wait_until (get_selected (window), 5));
  gtk_stack_set_visible_child_name (find_id (find_id (window, "timing"), "pages"), "gpu");
  close_window (window);
  g_unsetenv ("SAFELIGHT_FAKE_GPU");
}

static void
test_export (void)
{
  SlWindow *window = open_panel ();
  SlSession *session = sl_window_get_session (window);
  g_autofree char *path = g_build_filename (g_get_user_cache_dir (), "timings.csv", NULL);
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autoptr (GFile) nowhere = g_file_new_for_path ("/nowhere/at/all.json");
  g_autofree char *want = NULL, *got = NULL;

  make_picture (window, "a lake");
  want = sl_timing_dup_csv (get_selected (window));
  sl_timing_panel_export (find_id (window, "timing"), file, SL_TIMING_FORMAT_CSV);
  g_assert_true (wait_until (g_file_get_contents (path, &got, NULL, NULL), 5));
  g_assert_cmpstr (got, ==, want);
  remove (path);

  sl_timing_panel_export (find_id (window, "timing"), nowhere, SL_TIMING_FORMAT_TRACE);
  g_assert_true (wait_until (sl_session_get_error (session), 5));
  g_assert_nonnull (strstr (sl_session_get_error (session), "/nowhere/at/all.json"));
  close_window (window);
}

static void
text_cb (GObject *clipboard, GAsyncResult *result, gpointer data)
{
  *(char **) data = gdk_clipboard_read_text_finish (GDK_CLIPBOARD (clipboard), result, NULL);
}

static void
test_copied (void)
{
  SlWindow *window = open_panel ();
  GtkWidget *panel = find_id (window, "timing");
  g_autofree char *want = NULL, *got = NULL;

  gtk_widget_activate_action (panel, "timing.copy", NULL); /* off: there is nothing */
  make_picture (window, "a lake");
  want = sl_timing_dup_text (get_selected (window));
  g_assert_true (gtk_widget_activate_action (panel, "timing.copy", NULL));
  g_assert_cmpstr (gtk_label_get_text (find_id (panel, "status")), ==, "Timings copied");
  gdk_clipboard_read_text_async (gtk_widget_get_clipboard (panel), NULL, text_cb, &got);
  g_assert_true (wait_until (got, 5));
  g_assert_cmpstr (got, ==, want);
  close_window (window);
}

/* Saving adds the file's time. */
static void
test_saved (void)
{
  SlWindow *window = open_panel ();
  g_autofree char *path = g_build_filename (g_get_user_cache_dir (), "saved.png", NULL);
  g_autoptr (GFile) file = g_file_new_for_path (path);
  guint n = 0;

  make_picture (window, "a lake");
  sl_window_save (window, file);
  g_assert_true (
      wait_until ((sl_timing_get_sum (get_selected (window), SL_PART_PNG, &n), n == 1), 5));
  g_assert_cmpstr (sl_timing_numbers_get (find_id (window, "numbers"), "PNG file"), !=,
                   "not saved");
  remove (path);
  close_window (window);
}

int
main (int argc, char **argv)
{
  setlocale (LC_ALL, "C.UTF-8");
  isolate_folders ();
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/timing-panel/remembered", test_remembered);
  g_test_add_func ("/timing-panel/narrow", test_narrow);
  g_test_add_func ("/timing-panel/live", test_live);
  g_test_add_func ("/timing-panel/cancelled", test_cancelled);
  g_test_add_func ("/timing-panel/bars", test_bars);
  g_test_add_func ("/timing-panel/tables", test_tables);
  g_test_add_func ("/timing-panel/gpu", test_gpu);
  g_test_add_func ("/timing-panel/closed", test_closed);
  g_test_add_func ("/timing-panel/export", test_export);
  g_test_add_func ("/timing-panel/copied", test_copied);
  g_test_add_func ("/timing-panel/saved", test_saved);
  return run_in_application (g_test_run);
}
