/* tests/window_fixture.h - whole windows within a test program.
 *
 * The test runs inside the application's activate, so the application, its resources, keys and
 * actions are the real ones. */
#pragma once

#include "app/sl-application.h"
#include "ui/sl-canvas.h"
#include "ui/sl-stage.h"
#include "ui/sl-strip.h"
#include "ui/sl-window.h"

#include <locale.h>
#include <stdio.h>

struct wait {
  gboolean timed_out;
};

static inline gboolean
wait_over_cb (gpointer data)
{
  ((struct wait *) data)->timed_out = TRUE;
  return G_SOURCE_REMOVE;
}

/* Runs the main loop until condition holds; FALSE after so many seconds. */
#define wait_until(condition, seconds)                                                             \
  ({                                                                                               \
    struct wait wait_ = { FALSE };                                                                 \
    guint wait_id_ = g_timeout_add ((guint) ((seconds) *1000), wait_over_cb, &wait_);              \
    while (!(condition) && !wait_.timed_out)                                                       \
      g_main_context_iteration (NULL, TRUE);                                                       \
    if (!wait_.timed_out)                                                                          \
      g_source_remove (wait_id_);                                                                  \
    !wait_.timed_out;                                                                              \
  })

static inline void
wait_ms (guint ms)
{
  (void) wait_until (FALSE, ms / 1000.0);
}

/* The first widget below root, itself included, for which match says TRUE. */
typedef gboolean (*widget_match) (GtkWidget *widget, gconstpointer data);

static inline GtkWidget *
find_widget (GtkWidget *root, widget_match match, gconstpointer data)
{
  if (match (root, data))
    return root;
  for (GtkWidget *child = gtk_widget_get_first_child (root); child;
       child = gtk_widget_get_next_sibling (child)) {
    GtkWidget *found = find_widget (child, match, data);

    if (found)
      return found;
  }
  return NULL;
}

static inline gboolean
match_type (GtkWidget *widget, gconstpointer data)
{
  return g_type_is_a (G_OBJECT_TYPE (widget), GPOINTER_TO_SIZE (data));
}

static inline gpointer
find_type (gpointer root, GType type)
{
  return find_widget (root, match_type, GSIZE_TO_POINTER (type));
}

static inline gboolean
match_id (GtkWidget *widget, gconstpointer data)
{
  return g_strcmp0 (gtk_buildable_get_buildable_id (GTK_BUILDABLE (widget)), data) == 0;
}

/* By the id that it has in its .ui file. */
static inline gpointer
find_id (gpointer root, const char *id)
{
  GtkWidget *widget = find_widget (root, match_id, id);

  if (!widget)
    g_error ("no widget called %s", id);
  return widget;
}

static inline gpointer
get_object (gpointer object, const char *property)
{
  GObject *value = NULL;

  g_object_get (object, property, &value, NULL);
  if (value)
    g_object_unref (value);
  return value;
}

static inline gboolean
activate (gpointer window, const char *action)
{
  return gtk_widget_activate_action (window, action, NULL);
}

/* A window with a session of its own, shown and drawn. */
static inline SlWindow *
open_window (int width, int height)
{
  GtkApplication *application = GTK_APPLICATION (g_application_get_default ());
  g_autoptr (SlSession) session = sl_session_new ();
  g_autoptr (GSettings) settings = g_settings_new ("io.github.safelight.Safelight");
  SlWindow *window;

  g_settings_set_int (settings, "window-width", width);
  g_settings_set_int (settings, "window-height", height);
  window = sl_window_new (application, session, settings);
  sl_session_start (session);
  gtk_window_present (GTK_WINDOW (window));
  gtk_test_widget_wait_for_draw (GTK_WIDGET (window));
  return window;
}

/* Closes it as the user would, and proves that nothing holds it any more. */
static inline void
close_window (SlWindow *window)
{
  SlSession *session = sl_window_get_session (window);

  g_object_add_weak_pointer (G_OBJECT (window), (gpointer *) &window);
  g_object_add_weak_pointer (G_OBJECT (session), (gpointer *) &session);
  gtk_window_close (GTK_WINDOW (window));
  g_assert_true (wait_until (!window, 20));
  g_assert_true (wait_until (!session, 20));
}

static inline gboolean
is_ready (SlWindow *window)
{
  return sl_session_get_state (sl_window_get_session (window)) == SL_STATE_READY;
}

static inline gboolean
is_busy (SlWindow *window)
{
  return sl_session_get_busy (sl_window_get_session (window));
}

static inline guint
count_results (SlWindow *window)
{
  return g_list_model_get_n_items (sl_session_get_results (sl_window_get_session (window)));
}

static inline void
type_prompt (SlWindow *window, const char *text)
{
  GtkTextView *view = find_id (find_id (window, "prompt"), "view");

  gtk_text_buffer_set_text (gtk_text_view_get_buffer (view), text, -1);
}

/* Before anything else in main().  (GLib's own option would hide the system's list of file types,
 * without which no icon loads.) */
static inline void
isolate_folders (void)
{
  g_autofree char *folder = g_dir_make_tmp ("safelight-test-XXXXXX", NULL);
  static const char *const names[] = { "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME",
                                       "XDG_STATE_HOME" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    g_setenv (names[i], folder, TRUE);
}

struct fixture_run {
  int (*func) (void);
  int result;
};

static inline void
fixture_activate_cb (GApplication *application, struct fixture_run *run)
{
  g_signal_stop_emission_by_name (application, "activate"); /* no window but the test's */
  g_application_hold (application);
  run->result = run->func ();
  g_application_release (application);
}

/* main() of a test program: func is g_test_run, or what makes the pictures. */
static inline int
run_in_application (int (*func) (void))
{
  char *remove[] = { "rm", "-r", (char *) g_get_user_config_dir (), NULL };
  struct fixture_run run = { func, 1 };
  g_autoptr (SlApplication) application = NULL;

  if (!gtk_init_check ()) {
    puts ("1..0 # SKIP no display");
    return 0;
  }
  application = sl_application_new (G_APPLICATION_NON_UNIQUE);
  g_signal_connect (application, "activate", G_CALLBACK (fixture_activate_cb), &run);
  g_application_run (G_APPLICATION (application), 0, NULL);
  g_spawn_sync (NULL, remove, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL);
  return run.result;
}
