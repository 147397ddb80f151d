/* tests/test-states.c - the window's states, with an engine that does as it is told. */
#include "tests/window_fixture.h"
#include "ui/sl-sidebar.h"

#include <string.h>

static const char *
page (SlWindow *window)
{
  return sl_stage_get_page (find_type (window, SL_TYPE_STAGE));
}

static const char *
error_of (SlWindow *window)
{
  return sl_session_get_error (sl_window_get_session (window));
}

static SlResult *
shown (SlWindow *window)
{
  return sl_stage_get_shown (find_type (window, SL_TYPE_STAGE));
}

static void
load (SlWindow *window, const char *path)
{
  gtk_widget_activate_action (GTK_WIDGET (window), "win.model", "s", path);
}

/* The open message dialog, if there is one; borrowed. */
static AdwMessageDialog *
find_dialog (void)
{
  GListModel *toplevels = gtk_window_get_toplevels ();

  for (guint i = 0; i < g_list_model_get_n_items (toplevels); i++) {
    g_autoptr (GtkWindow) toplevel = g_list_model_get_item (toplevels, i);

    if (ADW_IS_MESSAGE_DIALOG (toplevel))
      return ADW_MESSAGE_DIALOG (toplevel);
  }
  return NULL;
}

static void
respond (const char *response)
{
  AdwMessageDialog *dialog;

  g_assert_true (wait_until (find_dialog (), 5));
  dialog = find_dialog ();
  adw_message_dialog_response (dialog, response);
  gtk_window_destroy (GTK_WINDOW (dialog));
  g_assert_true (wait_until (!find_dialog (), 5));
}

/* What the next test begins with. */
static void
reset_settings (SlWindow *window)
{
  adw_combo_row_set_selected (find_id (window, "rng"), 0);
  gtk_spin_button_set_value (find_id (window, "shift_spin"), 0);
  gtk_spin_button_set_value (find_id (window, "steps_spin"), 8);
  gtk_toggle_button_set_active (find_id (window, "seed_lock"), FALSE);
}

static SlWindow *
open_ready (void)
{
  SlWindow *window = open_window (1000, 700);

  g_assert_true (wait_until (is_ready (window), 5));
  return window;
}

static void
test_welcome (void)
{
  SlWindow *window = open_ready ();
  GtkWidget *examples = find_id (window, "examples");

  g_assert_cmpstr (page (window), ==, "welcome");
  g_assert_true (wait_until (gtk_widget_get_first_child (examples), 5));
  g_assert_false (gtk_revealer_get_reveal_child (find_id (window, "caption_revealer")));
  g_assert_null (error_of (window));
  close_window (window);
}

static void
test_example (void)
{
  SlWindow *window = open_ready ();
  GtkWidget *examples = find_id (window, "examples");
  g_autofree char *text = NULL;
  GtkWidget *button;

  g_assert_true (wait_until (gtk_widget_get_first_child (examples), 5));
  button = find_type (gtk_widget_get_first_child (examples), GTK_TYPE_BUTTON);
  g_signal_emit_by_name (button, "clicked");
  g_assert_true (wait_until (count_results (window) == 1, 5));
  g_object_get (find_id (window, "prompt"), "text", &text, NULL);
  g_assert_cmpstr (text, ==, gtk_widget_get_tooltip_text (button));
  g_assert_cmpstr (page (window), ==, "picture");
  close_window (window);
}

static void
test_no_engine (void)
{
  SlWindow *window;

  g_setenv ("SAFELIGHT_FAKE_NO_ENGINE", "1", TRUE);
  window = open_window (900, 600);
  g_assert_true (
      wait_until (sl_session_get_state (sl_window_get_session (window)) == SL_STATE_NO_ENGINE, 5));
  g_assert_cmpstr (page (window), ==, "no-engine");
  g_assert_nonnull (strstr (error_of (window), "driver"));
  activate (window, "win.generate"); /* off */
  g_assert_false (is_busy (window));

  g_unsetenv ("SAFELIGHT_FAKE_NO_ENGINE");
  activate (window, "win.restart-engine");
  g_assert_true (wait_until (is_ready (window), 5));
  g_assert_cmpstr (page (window), ==, "welcome");
  close_window (window);
}

static void
test_no_model (void)
{
  SlWindow *window = open_ready ();

  load (window, "/nowhere/fake-broken");
  g_assert_true (
      wait_until (sl_session_get_state (sl_window_get_session (window)) == SL_STATE_NO_MODEL, 5));
  g_assert_cmpstr (page (window), ==, "no-model");
  g_assert_nonnull (strstr (error_of (window), "expected [3840, 3840]"));
  g_assert_true (gtk_info_bar_get_revealed (find_id (window, "error_bar")));
  g_assert_cmpstr (sl_session_get_model_path (sl_window_get_session (window)), ==, "");

  activate (window, "win.starter");
  g_assert_true (wait_until (is_ready (window), 5));
  g_assert_cmpstr (page (window), ==, "welcome");
  g_assert_false (gtk_info_bar_get_revealed (find_id (window, "error_bar")));
  close_window (window);
}

static void
test_missing_folder (void)
{
  SlWindow *window = open_ready ();

  load (window, "/nowhere/at-all");
  g_assert_true (wait_until (error_of (window), 5));
  g_assert_nonnull (strstr (error_of (window), "/nowhere/at-all"));
  close_window (window);
}

static void
test_error_details (void)
{
  SlWindow *window = open_ready ();

  type_prompt (window, "this shall fail");
  activate (window, "win.generate");
  g_assert_true (wait_until (error_of (window), 5));
  g_assert_true (wait_until (!is_busy (window), 5));
  g_assert_cmpstr (page (window), ==, "welcome");

  activate (window, "win.error-details");
  respond ("copy");

  type_prompt (window, "this shall work");
  activate (window, "win.generate");
  g_assert_null (error_of (window));
  g_assert_true (wait_until (count_results (window) == 1, 5));
  close_window (window);
}

static void
test_cancel (void)
{
  SlWindow *window = open_ready ();
  GtkButton *button = find_id (find_id (window, "sidebar"), "generate");

  type_prompt (window, "first");
  activate (window, "win.generate");
  g_assert_true (wait_until (count_results (window) == 1 && !is_busy (window), 5));

  gtk_spin_button_set_value (find_id (window, "steps_spin"), 60);
  type_prompt (window, "slow");
  activate (window, "win.generate");
  g_assert_cmpstr (gtk_actionable_get_action_name (GTK_ACTIONABLE (button)), ==, "win.cancel");
  g_assert_true (wait_until (sl_session_get_preview (sl_window_get_session (window)), 5));
  activate (window, "win.escape");
  g_assert_true (wait_until (!is_busy (window), 2));
  g_assert_cmpstr (gtk_actionable_get_action_name (GTK_ACTIONABLE (button)), ==, "win.generate");
  g_assert_null (error_of (window));
  g_assert_cmpuint (count_results (window), ==, 1);
  g_assert_true (wait_until (shown (window), 5));
  g_assert_true (sl_result_get_unfinished (shown (window)));
  reset_settings (window);
  close_window (window);
}

static void
test_several (void)
{
  SlWindow *window = open_ready ();
  SlSession *session = sl_window_get_session (window);
  g_autoptr (SlResult) first = NULL, second = NULL;
  int picture = 0, n_pictures = 0;

  gtk_adjustment_set_value (gtk_spin_button_get_adjustment (find_id (window, "count_spin")), 3);
  type_prompt (window, "three of them");
  activate (window, "win.generate");
  g_object_get (session, "picture", &picture, "n-pictures", &n_pictures, NULL);
  g_assert_cmpint (picture, ==, 1);
  g_assert_cmpint (n_pictures, ==, 3);
  g_assert_true (wait_until (!is_busy (window), 5));
  g_assert_cmpuint (count_results (window), ==, 3);

  first = g_list_model_get_item (sl_session_get_results (session), 0);
  second = g_list_model_get_item (sl_session_get_results (session), 1);
  g_assert_cmpuint (sl_result_get_recipe (second)->seed, ==,
                    sl_result_get_recipe (first)->seed + 1);
  gtk_adjustment_set_value (gtk_spin_button_get_adjustment (find_id (window, "count_spin")), 1);
  close_window (window);
}

/* The second of twenty fails, as every other would: the first stays, the rest is cancelled. */
static void
test_failure_in_the_middle (void)
{
  SlWindow *window = open_ready ();

  gtk_editable_set_text (find_id (window, "seed"), "2");
  gtk_toggle_button_set_active (find_id (window, "seed_lock"), TRUE);
  gtk_spin_button_set_value (find_id (window, "count_spin"), 20);
  type_prompt (window, "odd ones fail");
  activate (window, "win.generate");
  g_assert_true (wait_until (!is_busy (window), 5));
  g_assert_cmpuint (count_results (window), >=, 1);
  g_assert_cmpuint (count_results (window), <, 10); /* ten without it; some before it is heard of */
  g_assert_nonnull (error_of (window));
  g_assert_true (gtk_info_bar_get_revealed (find_id (window, "error_bar")));
  g_assert_nonnull (shown (window));
  gtk_info_bar_response (find_id (window, "error_bar"), GTK_RESPONSE_CLOSE);
  g_assert_null (error_of (window));
  g_assert_false (gtk_info_bar_get_revealed (find_id (window, "error_bar")));
  gtk_spin_button_set_value (find_id (window, "count_spin"), 1);
  reset_settings (window);
  close_window (window);
}

/* So quick that no preview comes first: the picture can still be zoomed. */
static void
test_single_step (void)
{
  SlWindow *window = open_ready ();

  gtk_spin_button_set_value (find_id (window, "steps_spin"), 1);
  type_prompt (window, "at once");
  activate (window, "win.generate");
  g_assert_true (wait_until (count_results (window) == 1 && !is_busy (window), 5));
  g_assert_true (wait_until (gtk_widget_get_visible (find_id (window, "zoom_box")), 5));
  g_assert_true (gtk_widget_get_sensitive (find_id (window, "zoom")));
  activate (window, "win.zoom-original");
  g_assert_cmpfloat (sl_canvas_get_scale (find_type (window, SL_TYPE_CANVAS)), ==, 1);
  reset_settings (window);
  close_window (window);
}

/* A picture chosen by hand stays while another one is made, until one asks to watch. */
static void
test_choose_while_running (void)
{
  SlWindow *window = open_ready ();
  SlStrip *strip = find_type (window, SL_TYPE_STRIP);
  g_autoptr (SlResult) first = NULL;

  type_prompt (window, "first");
  activate (window, "win.generate");
  g_assert_true (wait_until (count_results (window) == 1 && !is_busy (window), 5));
  first = g_list_model_get_item (sl_session_get_results (sl_window_get_session (window)), 0);
  g_assert_true (shown (window) == first);

  gtk_spin_button_set_value (find_id (window, "steps_spin"), 20);
  type_prompt (window, "slow");
  activate (window, "win.generate");
  g_assert_true (shown (window) == first);         /* the last picture stays ... */
  g_assert_true (wait_until (!shown (window), 5)); /* ... until the first preview */
  sl_strip_select (strip, first);
  g_assert_true (shown (window) == first);
  wait_ms (400);
  g_assert_true (shown (window) == first);
  activate (window, "win.follow");
  g_assert_null (shown (window));
  g_assert_true (wait_until (count_results (window) == 2, 20));
  g_assert_true (shown (window) != first);
  reset_settings (window);
  close_window (window);
}

static void
test_use_settings (void)
{
  SlWindow *window = open_ready ();
  g_autofree char *text = NULL;

  type_prompt (window, "take me back");
  activate (window, "win.generate");
  g_assert_true (wait_until (count_results (window) == 1 && !is_busy (window), 5));
  type_prompt (window, "something else");
  activate (window, "win.use-settings");
  g_object_get (find_id (window, "prompt"), "text", &text, NULL);
  g_assert_cmpstr (text, ==, "take me back");
  g_assert_true (gtk_toggle_button_get_active (find_id (window, "seed_lock")));
  gtk_toggle_button_set_active (find_id (window, "seed_lock"), FALSE);
  close_window (window);
}

static void
test_negative_prompt (void)
{
  SlWindow *window = open_ready ();
  GtkRevealer *revealer = find_id (window, "negative_revealer");
  GtkSpinButton *cfg = find_id (window, "cfg_spin");

  g_assert_false (gtk_revealer_get_reveal_child (revealer));
  gtk_spin_button_set_value (cfg, 4.25);
  g_assert_true (gtk_revealer_get_reveal_child (revealer));
  gtk_widget_grab_focus (GTK_WIDGET (cfg));
  sl_sidebar_focus_prompt (find_id (window, "sidebar"));
  g_assert_cmpfloat (gtk_spin_button_get_value (cfg), ==, 4.25);
  g_assert_cmpstr (gtk_editable_get_text (GTK_EDITABLE (cfg)), ==, "4.25");
  gtk_spin_button_set_value (cfg, 1);
  g_assert_false (gtk_revealer_get_reveal_child (revealer));
  close_window (window);
}

static void
test_long_prompt (void)
{
  SlWindow *window = open_ready ();
  g_autofree char *book = g_strnfill (1 << 20, 'x'), *text = NULL;
  const gint64 before = g_get_monotonic_time ();

  type_prompt (window, book);
  gtk_test_widget_wait_for_draw (GTK_WIDGET (window));
  g_object_get (find_id (window, "prompt"), "text", &text, NULL);
  g_test_message ("a megabyte of text took %.1f ms, drawn",
                  (double) (g_get_monotonic_time () - before) / 1e3);
  g_assert_cmpuint (strlen (text), ==, 8000);
  wait_ms (300);
  type_prompt (window, "");
  close_window (window);
}

static void
test_seed (void)
{
  SlWindow *window = open_ready ();
  GtkEditable *seed = find_id (window, "seed");
  g_autofree char *before = NULL;

  gtk_editable_set_text (seed, "18446744073709551615");
  g_assert_false (gtk_widget_has_css_class (GTK_WIDGET (seed), "error"));
  gtk_editable_set_text (seed, "seven");
  g_assert_true (gtk_widget_has_css_class (GTK_WIDGET (seed), "error"));
  gtk_editable_set_text (seed, "7");
  g_assert_false (gtk_widget_has_css_class (GTK_WIDGET (seed), "error"));
  activate (window, "win.random-seed");
  g_assert_cmpstr (gtk_editable_get_text (seed), !=, "7");

  gtk_toggle_button_set_active (find_id (window, "seed_lock"), TRUE);
  before = g_strdup (gtk_editable_get_text (seed));
  activate (window, "win.generate");
  g_assert_cmpstr (gtk_editable_get_text (seed), ==, before);
  g_assert_true (wait_until (!is_busy (window), 5));
  gtk_toggle_button_set_active (find_id (window, "seed_lock"), FALSE);
  activate (window, "win.generate");
  g_assert_cmpstr (gtk_editable_get_text (seed), !=, before);
  g_assert_true (wait_until (!is_busy (window), 5));
  close_window (window);
}

static void
test_close_while_running (void)
{
  SlWindow *window = open_ready ();

  gtk_spin_button_set_value (find_id (window, "steps_spin"), 60);
  type_prompt (window, "slow");
  activate (window, "win.generate");
  g_assert_true (wait_until (sl_session_get_preview (sl_window_get_session (window)), 5));
  reset_settings (window);
  close_window (window);
}

static void
test_close_while_loading (void)
{
  SlWindow *window = open_ready ();

  load (window, "/nowhere/fake-slow");
  wait_ms (250);
  g_assert_cmpint (sl_session_get_state (sl_window_get_session (window)), ==, SL_STATE_LOADING);
  close_window (window);
  /* It was not loaded, so it is not what the next start loads. */
  window = open_ready ();
  g_assert_null (strstr (sl_session_get_model_path (sl_window_get_session (window)), "slow"));
  close_window (window);
}

static void
test_generate_while_loading (void)
{
  SlWindow *window = open_ready ();

  load (window, "/nowhere/fake-slow");
  type_prompt (window, "patience");
  activate (window, "win.generate");
  g_assert_true (is_busy (window));
  g_assert_true (wait_until (count_results (window) == 1, 8));
  activate (window, "win.starter");
  g_assert_true (wait_until (is_ready (window), 5));
  close_window (window);
}

/* What waits for a model is gone at once when it is cancelled, and does not come back. */
static void
test_cancel_while_loading (void)
{
  SlWindow *window = open_ready ();

  load (window, "/nowhere/fake-slow");
  gtk_spin_button_set_value (find_id (window, "count_spin"), 3);
  type_prompt (window, "never mind");
  activate (window, "win.generate");
  g_assert_true (is_busy (window));
  activate (window, "win.escape");
  g_assert_false (is_busy (window));
  g_assert_false (is_ready (window));

  gtk_spin_button_set_value (find_id (window, "count_spin"), 1);
  type_prompt (window, "rather this");
  activate (window, "win.generate");
  g_assert_true (wait_until (!is_busy (window), 10));
  g_assert_cmpuint (count_results (window), ==, 1);
  g_assert_cmpstr (sl_result_get_recipe (shown (window))->prompt, ==, "rather this");
  g_assert_null (error_of (window));
  activate (window, "win.starter");
  g_assert_true (wait_until (is_ready (window), 5));
  close_window (window);
}

/* The line below the picture speaks of the picture until that is done. */
static void
test_load_while_running (void)
{
  SlWindow *window = open_ready ();
  SlSession *session = sl_window_get_session (window);
  GtkLabel *status = find_id (find_id (window, "stage"), "status");

  gtk_spin_button_set_value (find_id (window, "steps_spin"), 20);
  type_prompt (window, "slow");
  activate (window, "win.generate");
  g_assert_true (wait_until (sl_session_get_preview (session), 5));
  load (window, "/nowhere/fake-slow");
  g_assert_cmpint (sl_session_get_state (session), ==, SL_STATE_LOADING);
  g_assert_true (is_busy (window));
  g_assert_true (g_str_has_prefix (gtk_label_get_text (status), "Step "));
  activate (window, "win.cancel");
  g_assert_true (wait_until (!is_busy (window), 5));
  g_assert_true (wait_until (is_ready (window), 10));
  g_assert_true (g_str_has_suffix (sl_session_get_model_path (session), "fake-slow"));
  reset_settings (window);
  activate (window, "win.starter");
  g_assert_true (wait_until (is_ready (window), 5));
  close_window (window);
}

/* The beginning of a picture: the fake engine reads no further. */
static char *
write_png (const char *name)
{
  static const guchar png[] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0, 0, 13 };
  char *path = g_build_filename (g_get_user_cache_dir (), name, NULL);

  g_mkdir_with_parents (g_get_user_cache_dir (), 0700);
  g_assert_true (g_file_set_contents (path, (const char *) png, sizeof png, NULL));
  return path;
}

static gboolean
is_marked (GtkWidget *widget, gconstpointer data)
{
  gboolean active = FALSE;

  if (g_str_equal (G_OBJECT_TYPE_NAME (widget), "GtkModelButton"))
    g_object_get (widget, "active", &active, NULL);
  return active;
}

static void
test_drop_picture (void)
{
  SlWindow *window = open_ready ();
  g_autofree char *path = write_png ("dropped.png");
  g_autoptr (GFile) file = g_file_new_for_path (path);
  g_autofree char *text = NULL;

  sl_window_open (window, file);
  respond ("use");
  g_object_get (find_id (window, "prompt"), "text", &text, NULL);
  g_assert_cmpstr (text, ==, "a lake at dusk");
  g_assert_cmpfloat (gtk_spin_button_get_value (find_id (window, "steps_spin")), ==, 12);
  /* Another program's noise and shift come along, ... */
  g_assert_cmpuint (adw_combo_row_get_selected (find_id (window, "rng")), ==, 1);
  g_assert_cmpfloat (gtk_spin_button_get_value (find_id (window, "shift_spin")), ==, 1.15);

  /* ... and reach the picture, and come back from it. */
  activate (window, "win.generate");
  g_assert_true (wait_until (count_results (window) == 1 && !is_busy (window), 5));
  g_assert_cmpstr (sl_result_get_recipe (shown (window))->rng, ==, "cuda");
  g_assert_cmpfloat (sl_result_get_recipe (shown (window))->shift, ==, 1.15);
  adw_combo_row_set_selected (find_id (window, "rng"), 0);
  gtk_spin_button_set_value (find_id (window, "shift_spin"), 0);
  activate (window, "win.use-settings");
  g_assert_cmpuint (adw_combo_row_get_selected (find_id (window, "rng")), ==, 1);
  g_assert_cmpfloat (gtk_spin_button_get_value (find_id (window, "shift_spin")), ==, 1.15);
  reset_settings (window);
  close_window (window);
}

/* A picture names the shift it was made with; the model's own stays the model's choice. */
static void
test_own_shift (void)
{
  SlWindow *window = open_ready ();
  g_autofree char *path = write_png ("own-shift.png");
  g_autoptr (GFile) file = g_file_new_for_path (path);

  sl_window_open (window, file);
  respond ("use");
  g_assert_cmpfloat (gtk_spin_button_get_value (find_id (window, "shift_spin")), ==, 0);
  reset_settings (window);
  close_window (window);
}

/* Which of the model menu's entries is marked; borrowed. */
static const char *
marked_model (SlWindow *window)
{
  GtkMenuButton *button = find_id (window, "model_button");
  GtkWidget *entry;
  const char *text = NULL;

  gtk_menu_button_popup (button);
  wait_ms (100);
  entry = find_widget (GTK_WIDGET (gtk_menu_button_get_popover (button)), is_marked, NULL);
  if (entry) {
    g_autofree char *copy = NULL;

    g_object_get (entry, "text", &copy, NULL);
    text = g_intern_string (copy);
  }
  gtk_menu_button_popdown (button);
  return text;
}

static void
test_marked_model (void)
{
  SlWindow *window = open_ready ();

  g_assert_cmpstr (marked_model (window), ==, "Starter");
  load (window, "/nowhere/fake-other");
  g_assert_true (wait_until (
      g_str_has_suffix (sl_session_get_model_path (sl_window_get_session (window)), "other"), 5));
  g_assert_cmpstr (marked_model (window), ==, "fake-other");
  activate (window, "win.starter");
  g_assert_true (wait_until (
      g_str_has_suffix (sl_session_get_model_path (sl_window_get_session (window)), "starter"), 5));
  g_assert_cmpstr (marked_model (window), ==, "Starter");
  close_window (window);
}

static void
test_zoom (void)
{
  SlWindow *window = open_ready ();
  SlCanvas *canvas = find_type (window, SL_TYPE_CANVAS);
  double fit;

  type_prompt (window, "slow");
  activate (window, "win.generate");
  g_assert_true (wait_until (sl_session_get_preview (sl_window_get_session (window)), 5));
  wait_ms (400); /* the line below and the strip have come */
  fit = sl_canvas_get_scale (canvas);
  g_assert_true (wait_until (count_results (window) == 1, 5));
  wait_ms (400);
  g_assert_cmpfloat (sl_canvas_get_scale (canvas), ==, fit); /* nothing jumped */

  activate (window, "win.zoom-original");
  g_assert_cmpfloat (sl_canvas_get_scale (canvas), ==, 1);
  activate (window, "win.zoom-in");
  g_assert_cmpfloat (sl_canvas_get_scale (canvas), ==, 1.25);
  for (int i = 0; i < 12; i++)
    activate (window, "win.zoom-in");
  g_assert_true (sl_canvas_get_can_pan (canvas));
  activate (window, "win.zoom-fit");
  g_assert_cmpfloat (sl_canvas_get_scale (canvas), ==, fit);
  g_assert_false (sl_canvas_get_can_pan (canvas));
  close_window (window);
}

static gboolean
is_unnamed (GtkWidget *widget, gconstpointer data)
{
  const gboolean button = GTK_IS_BUTTON (widget) || GTK_IS_MENU_BUTTON (widget);
  const char *label = GTK_IS_BUTTON (widget) ? gtk_button_get_label (GTK_BUTTON (widget)) : NULL;
  GtkWidget *parent = gtk_widget_get_parent (widget);

  if (!gtk_widget_get_visible (widget) || GTK_IS_WINDOW_CONTROLS (widget) ||
      (parent && (GTK_IS_WINDOW_CONTROLS (parent) || GTK_IS_MENU_BUTTON (parent) ||
                  GTK_IS_SPIN_BUTTON (parent) || GTK_IS_INFO_BAR (parent))))
    return FALSE;
  if (!button && !GTK_IS_SPIN_BUTTON (widget) && !GTK_IS_TEXT_VIEW (widget) &&
      !GTK_IS_PROGRESS_BAR (widget) && !SL_IS_CANVAS (widget))
    return FALSE;
  if (GTK_IS_MENU_BUTTON (widget))
    label = gtk_menu_button_get_label (GTK_MENU_BUTTON (widget));
  if (label && *label)
    return FALSE;
  if (GTK_IS_BUTTON (widget) && GTK_IS_LABEL (gtk_button_get_child (GTK_BUTTON (widget))))
    return FALSE;
  if (gtk_test_accessible_has_property (GTK_ACCESSIBLE (widget), GTK_ACCESSIBLE_PROPERTY_LABEL) ||
      gtk_test_accessible_has_relation (GTK_ACCESSIBLE (widget),
                                        GTK_ACCESSIBLE_RELATION_LABELLED_BY))
    return FALSE;
  g_test_message ("without a name: %s %s", G_OBJECT_TYPE_NAME (widget),
                  gtk_buildable_get_buildable_id (GTK_BUILDABLE (widget)));
  return TRUE;
}

static void
test_names (void)
{
  SlWindow *window = open_ready ();

  type_prompt (window, "a picture");
  activate (window, "win.generate");
  g_assert_true (wait_until (count_results (window) == 1 && !is_busy (window), 5));
  g_assert_null (find_widget (GTK_WIDGET (window), is_unnamed, NULL));
  gtk_test_accessible_assert_role (GTK_ACCESSIBLE (find_type (window, SL_TYPE_CANVAS)),
                                   GTK_ACCESSIBLE_ROLE_IMG);
  gtk_test_accessible_assert_property (GTK_ACCESSIBLE (find_type (window, SL_TYPE_CANVAS)),
                                       GTK_ACCESSIBLE_PROPERTY_LABEL, "a picture");
  close_window (window);
}

/* Counts mnemonics that two visible labels of different words share. */
static int
count_clashes (GtkWidget *widget, GHashTable *seen)
{
  int n = 0;

  if (GTK_IS_LABEL (widget) && gtk_widget_get_mapped (widget)) {
    const guint key = gdk_keyval_to_lower (gtk_label_get_mnemonic_keyval (GTK_LABEL (widget)));
    const char *text = gtk_label_get_text (GTK_LABEL (widget));
    const char *other = g_hash_table_lookup (seen, GUINT_TO_POINTER (key));

    if (key != GDK_KEY_VoidSymbol && other && !g_str_equal (other, text)) {
      g_test_message ("Alt+%s: %s, %s", gdk_keyval_name (key), text, other);
      n++;
    } else if (key != GDK_KEY_VoidSymbol) {
      g_hash_table_insert (seen, GUINT_TO_POINTER (key), g_strdup (text));
    }
  }
  for (GtkWidget *child = gtk_widget_get_first_child (widget); child;
       child = gtk_widget_get_next_sibling (child))
    n += count_clashes (child, seen);
  return n;
}

static void
assert_mnemonics (gpointer window)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (NULL, NULL, NULL, g_free);

  wait_ms (500); /* what is revealed comes into view */
  g_assert_cmpint (count_clashes (window, seen), ==, 0);
  g_assert_cmpuint (g_hash_table_size (seen), >, 1);
}

static void
test_mnemonics (void)
{
  SlWindow *window = open_ready ();

  gtk_spin_button_set_value (find_id (window, "cfg_spin"), 4); /* the negative prompt */
  type_prompt (window, "a picture");
  activate (window, "win.generate");
  g_assert_true (wait_until (count_results (window) == 1 && !is_busy (window), 5));
  type_prompt (window, "this shall fail");
  activate (window, "win.generate");
  g_assert_true (wait_until (error_of (window) && !is_busy (window), 5));
  assert_mnemonics (window);
  activate (window, "win.error-details");
  g_assert_true (wait_until (find_dialog (), 5));
  assert_mnemonics (find_dialog ());
  respond ("close");
  gtk_spin_button_set_value (find_id (window, "cfg_spin"), 1);
  close_window (window);

  window = open_ready ();
  load (window, "/nowhere/fake-broken");
  g_assert_true (wait_until (g_str_equal (page (window), "no-model"), 5));
  assert_mnemonics (window);
  close_window (window);
}

static void
test_narrow (void)
{
  SlWindow *window = open_window (360, 600);
  AdwFlap *flap = find_id (window, "flap");

  g_assert_true (wait_until (is_ready (window), 5));
  wait_ms (300);
  for (GtkWidget *w = find_type (window, SL_TYPE_STAGE); w; w = gtk_widget_get_parent (w)) {
    int minimum;

    gtk_widget_measure (w, GTK_ORIENTATION_HORIZONTAL, -1, &minimum, NULL, NULL, NULL);
    g_test_message ("%s needs %d", G_OBJECT_TYPE_NAME (w), minimum);
  }
  g_assert_cmpint (gtk_widget_get_width (GTK_WIDGET (window)), <=, 360);
  g_assert_true (adw_flap_get_folded (flap));
  close_window (window);
}

/* A hundred previews a second: each may come, none may pile up. */
static void
test_many_previews (void)
{
  SlWindow *window = open_ready ();

  gtk_spin_button_set_value (find_id (window, "steps_spin"), 100);
  type_prompt (window, "quick");
  activate (window, "win.generate");
  g_assert_true (wait_until (!is_busy (window), 10));
  g_assert_cmpuint (count_results (window), ==, 1);
  gtk_spin_button_set_value (find_id (window, "steps_spin"), 8);
  close_window (window);
}

int
main (int argc, char **argv)
{
  setlocale (LC_ALL, "C.UTF-8");
  isolate_folders ();
  g_test_init (&argc, &argv, NULL);
  g_setenv ("SAFELIGHT_STARTER", "/nowhere/fake-starter", TRUE);

  g_test_add_func ("/states/welcome", test_welcome);
  g_test_add_func ("/states/example", test_example);
  g_test_add_func ("/states/no-engine", test_no_engine);
  g_test_add_func ("/states/no-model", test_no_model);
  g_test_add_func ("/states/missing-folder", test_missing_folder);
  g_test_add_func ("/states/error-details", test_error_details);
  g_test_add_func ("/states/cancel", test_cancel);
  g_test_add_func ("/states/several", test_several);
  g_test_add_func ("/states/failure-in-the-middle", test_failure_in_the_middle);
  g_test_add_func ("/states/single-step", test_single_step);
  g_test_add_func ("/states/choose-while-running", test_choose_while_running);
  g_test_add_func ("/states/use-settings", test_use_settings);
  g_test_add_func ("/states/negative-prompt", test_negative_prompt);
  g_test_add_func ("/states/long-prompt", test_long_prompt);
  g_test_add_func ("/states/seed", test_seed);
  g_test_add_func ("/states/close-while-running", test_close_while_running);
  g_test_add_func ("/states/close-while-loading", test_close_while_loading);
  g_test_add_func ("/states/generate-while-loading", test_generate_while_loading);
  g_test_add_func ("/states/cancel-while-loading", test_cancel_while_loading);
  g_test_add_func ("/states/load-while-running", test_load_while_running);
  g_test_add_func ("/states/drop-picture", test_drop_picture);
  g_test_add_func ("/states/own-shift", test_own_shift);
  g_test_add_func ("/states/marked-model", test_marked_model);
  g_test_add_func ("/states/zoom", test_zoom);
  g_test_add_func ("/states/names", test_names);
  g_test_add_func ("/states/mnemonics", test_mnemonics);
  g_test_add_func ("/states/narrow", test_narrow);
  g_test_add_func ("/states/many-previews", test_many_previews);
  return run_in_application (g_test_run);
}
