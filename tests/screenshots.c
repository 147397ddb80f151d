/* tests/screenshots.c - shows the window in every state and takes its picture.
 *
 * screenshots FOLDER PREFIX WIDTH HEIGHT STATES; run by screenshots.sh.  Built twice, with the real
 * engine and with the fake one, which can be slow or fail. */
#include "tests/window_fixture.h"

#include <gdk/x11/gdkx.h>
#include <libintl.h>
#include <string.h>

static struct {
  const char *folder, *prefix, *states;
  int width, height;
} args;

static gboolean
wanted (const char *state)
{
  g_auto (GStrv) states = g_strsplit (args.states, ",", -1);

  return g_strv_contains ((const char *const *) states, state);
}

static char *
dup_path (const char *state)
{
  return g_strdup_printf ("%s/%s-%s.png", args.folder, args.prefix, state);
}

/* The window alone, its corners transparent. */
static void
capture (SlWindow *window, const char *state)
{
  g_autoptr (GdkPaintable) paintable = NULL;
  g_autoptr (GskRenderNode) node = NULL;
  g_autoptr (GdkTexture) texture = NULL;
  g_autoptr (GskRenderer) renderer = gsk_cairo_renderer_new ();
  GtkSnapshot *snapshot = gtk_snapshot_new ();
  g_autofree char *path = dup_path (state);
  const int width = gtk_widget_get_width (GTK_WIDGET (window));
  const int height = gtk_widget_get_height (GTK_WIDGET (window));

  wait_ms (400);
  gtk_test_widget_wait_for_draw (GTK_WIDGET (window));
  paintable = gtk_widget_paintable_new (GTK_WIDGET (window));
  gdk_paintable_snapshot (paintable, snapshot, width, height);
  node = gtk_snapshot_free_to_node (snapshot);
  g_assert_true (gsk_renderer_realize (renderer, NULL, NULL));
  texture = gsk_renderer_render_texture (renderer, node, &GRAPHENE_RECT_INIT (0, 0, width, height));
  g_assert_true (gdk_texture_save_to_png (texture, path));
  gsk_renderer_unrealize (renderer);
  g_print ("%s\n", path);
}

static void
run_command (const char *command)
{
  g_autoptr (GError) error = NULL;

  if (!g_spawn_command_line_sync (command, NULL, NULL, NULL, &error))
    g_error ("%s: %s", command, error->message);
}

static GtkWindow *
find_other (SlWindow *window)
{
  GListModel *toplevels = gtk_window_get_toplevels ();

  for (guint i = 0; i < g_list_model_get_n_items (toplevels); i++) {
    g_autoptr (GtkWindow) toplevel = g_list_model_get_item (toplevels, i);

    if (toplevel != GTK_WINDOW (window) && gtk_widget_get_mapped (GTK_WIDGET (toplevel)))
      return toplevel;
  }
  return NULL;
}

/* The whole screen, with a dialog in the middle of the window: no window manager does it here. */
static void
capture_with_dialog (SlWindow *window, const char *state)
{
  g_autofree char *path = dup_path (state), *move = NULL, *import = NULL;
  GtkWindow *dialog;
  GdkSurface *surface;

  g_assert_true (wait_until (find_other (window), 5));
  dialog = find_other (window);
  surface = gtk_native_get_surface (GTK_NATIVE (dialog));
  wait_ms (300);
  move = g_strdup_printf ("xdotool windowmove %lu %d %d", gdk_x11_surface_get_xid (surface),
                          MAX (0, (args.width - gdk_surface_get_width (surface)) / 2),
                          MAX (0, (args.height - gdk_surface_get_height (surface)) / 2));
  run_command (move);
  wait_ms (500);
  import = g_strdup_printf ("import -window root '%s'", path);
  run_command (import);
  g_print ("%s\n", path);
  gtk_window_destroy (dialog);
  wait_ms (200);
}

/* With its popovers, which are windows of their own. */
static void
capture_screen (const char *state)
{
  g_autofree char *path = dup_path (state);
  g_autofree char *import = g_strdup_printf ("import -window root '%s'", path);

  wait_ms (700);
  run_command (import);
  g_print ("%s\n", path);
}

static gboolean
match_menu_button (GtkWidget *widget, gconstpointer data)
{
  return GTK_IS_MENU_BUTTON (widget) &&
         gtk_menu_button_get_primary (GTK_MENU_BUTTON (widget)) == GPOINTER_TO_INT (data);
}

static void
set_int (SlWindow *window, const char *id, double value)
{
  gtk_spin_button_set_value (find_id (window, id), value);
}

static void
run_and_wait (SlWindow *window, const char *prompt, guint64 seed)
{
  const guint before = count_results (window);
  g_autofree char *text = g_strdup_printf ("%" G_GUINT64_FORMAT, seed);

  gtk_editable_set_text (find_id (window, "seed"), text);
  type_prompt (window, prompt);
  activate (window, "win.generate");
  g_assert_true (wait_until (count_results (window) > before && !is_busy (window), 120));
}

static void
capture_running (SlWindow *window)
{
  int step = 0;

  type_prompt (window, strstr (args.prefix, "zh") ? "大海，日落" : "a red sunset over the sea");
  set_int (window, "steps_spin", 20);
  set_int (window, "count_spin", 4);
  activate (window, "win.generate");
  g_assert_true (wait_until (
      (g_object_get (sl_window_get_session (window), "step", &step, NULL), step >= 9), 60));
  capture (window, "running");
  activate (window, "win.cancel");
  g_assert_true (wait_until (!is_busy (window), 30));
  set_int (window, "steps_spin", 8);
  set_int (window, "count_spin", 1);
}

static void
capture_pictures (SlWindow *window)
{
  static const struct {
    const char *prompt;
    guint64 seed;
    int width, height;
  } runs[] = {
    { "a lavender field at dusk with a full moon", 8, 256, 256 },
    { "a yellow flower field by day with mountains and clouds", 1, 384, 256 },
    { "夜晚的湖泊，绿色极光", 2, 384, 256 },
    { "春天的丘陵，樱花，清晨", 1, 256, 256 },
    { "a canyon at sunset with cacti", 2, 384, 256 },
    { "a pine forest by day with clouds", 2, 256, 256 },
    { "日落时的群山，松树，太阳", 8, 384, 256 },
    { "a lake at sunset with pine trees and a red sailboat", 12, 384, 256 },
  };

  gtk_toggle_button_set_active (find_id (window, "seed_lock"), TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (runs); i++) {
    g_object_set (find_id (window, "size"), "width", runs[i].width, "height", runs[i].height, NULL);
    run_and_wait (window, runs[i].prompt, runs[i].seed);
  }
  if (wanted ("pictures"))
    capture (window, "pictures");
}

/* The timing panel: its three tables, a span pointed at from the keyboard, and while it runs. */
static void
capture_timing (SlWindow *window)
{
  static const char *const pages[] = { "numbers", "spans", "gpu" };
  int step = 0;

  activate (window, "win.timing");
  for (guint i = 0; i < G_N_ELEMENTS (pages); i++) {
    g_autofree char *state = g_strdup_printf ("timing-%s", pages[i]);

    gtk_stack_set_visible_child_name (find_id (find_id (window, "timing"), "pages"), pages[i]);
    if (i == 1)
      g_object_set (find_id (window, "chart"), "span", 8, NULL);
    capture (window, state);
  }
  gtk_stack_set_visible_child_name (find_id (find_id (window, "timing"), "pages"), pages[0]);
  set_int (window, "steps_spin", 60);
  activate (window, "win.generate");
  g_assert_true (wait_until (
      (g_object_get (sl_window_get_session (window), "step", &step, NULL), step >= 9), 60));
  capture (window, "timing-running");
  g_assert_true (wait_until (!is_busy (window), 30));
  set_int (window, "steps_spin", 8);
  activate (window, "win.timing");
}

static void
capture_views (SlWindow *window)
{
  GtkMenuButton *button;

  if (wanted ("zoomed")) {
    activate (window, "win.zoom-original");
    for (int i = 0; i < 8; i++)
      activate (window, "win.zoom-in");
    capture (window, "zoomed");
    activate (window, "win.zoom-fit");
  }
  if (wanted ("guided")) {
    set_int (window, "cfg_spin", 4);
    g_object_set (find_id (find_id (window, "sidebar"), "negative"), "text", "fog, clouds", NULL);
    capture (window, "guided");
    set_int (window, "cfg_spin", 1);
    wait_ms (300);
  }
  if (wanted ("advanced")) { /* the sidebar's end */
    gtk_widget_grab_focus (find_id (window, "rng"));
    capture (window, "advanced");
    gtk_widget_grab_focus (find_id (find_id (window, "prompt"), "view"));
  }
  if (wanted ("menu")) {
    button = GTK_MENU_BUTTON (
        find_widget (GTK_WIDGET (window), match_menu_button, GINT_TO_POINTER (TRUE)));
    gtk_menu_button_popup (button);
    capture_screen ("menu");
    gtk_menu_button_popdown (button);
  }
  if (wanted ("model-menu")) {
    button = find_id (window, "model_button");
    gtk_menu_button_popup (button);
    capture_screen ("model-menu");
    gtk_menu_button_popdown (button);
  }
  if (wanted ("shortcuts")) {
    activate (window, "win.show-help-overlay");
    capture_with_dialog (window, "shortcuts");
  }
  if (wanted ("about")) {
    activate (window, "app.about");
    capture_with_dialog (window, "about");
  }
  if (wanted ("hidden")) {
    adw_flap_set_reveal_flap (find_id (window, "flap"), FALSE);
    capture (window, "hidden");
    adw_flap_set_reveal_flap (find_id (window, "flap"), TRUE);
  }
}

/* With the fake engine. */
static void
capture_failures (SlWindow *window)
{
  if (wanted ("loading")) {
    gtk_widget_activate_action (GTK_WIDGET (window), "win.model", "s", "/models/fake-slow");
    wait_ms (700);
    capture (window, "loading");
    g_assert_true (wait_until (is_ready (window), 5));
    gtk_widget_activate_action (GTK_WIDGET (window), "win.starter", NULL);
    g_assert_true (wait_until (is_ready (window), 5));
  }
  if (wanted ("no-model")) {
    gtk_widget_activate_action (GTK_WIDGET (window), "win.model", "s", "/models/fake-broken");
    wait_ms (1000);
    capture (window, "no-model");
    activate (window, "win.error-details");
    capture_with_dialog (window, "details");
    activate (window, "win.starter");
    g_assert_true (wait_until (is_ready (window), 5));
  }
  if (wanted ("error")) {
    run_and_wait (window, "a lake", 1);
    type_prompt (window, "this must fail");
    activate (window, "win.generate");
    g_assert_true (wait_until (!is_busy (window), 5));
    capture (window, "error");
  }
}

static int
make_pictures (void)
{
  SlWindow *window;
  AdwFlap *flap;

  g_object_set (gtk_settings_get_default (), "gtk-font-name", "Cantarell 11",
                "gtk-decoration-layout", ":close", "gtk-hint-font-metrics", TRUE, "gtk-xft-hinting",
                1, "gtk-xft-hintstyle", "hintslight", NULL);
  if (wanted ("no-engine"))
    g_setenv ("SAFELIGHT_FAKE_NO_ENGINE", "1", TRUE);
  window = open_window (args.width, args.height);
  /* What GTK does under a window manager that lets it draw a shadow. */
  gtk_widget_remove_css_class (GTK_WIDGET (window), "solid-csd");
  gtk_widget_add_css_class (GTK_WIDGET (window), "csd");
  if (wanted ("no-engine")) {
    wait_ms (800);
    capture (window, "no-engine");
    g_unsetenv ("SAFELIGHT_FAKE_NO_ENGINE");
    activate (window, "win.restart-engine");
  }
  g_assert_true (wait_until (is_ready (window), 60));
  wait_ms (500);
  flap = find_id (window, "flap");
  if (adw_flap_get_folded (flap)) {
    capture (window, "folded");
    adw_flap_set_reveal_flap (flap, FALSE);
    wait_ms (400);
  }
  if (wanted ("welcome"))
    capture (window, "welcome");
  if (wanted ("pictures") || wanted ("zoomed"))
    capture_pictures (window);
  if (wanted ("running"))
    capture_running (window);
  if (wanted ("timing"))
    capture_timing (window);
  capture_views (window);
  capture_failures (window);
  gtk_window_close (GTK_WINDOW (window));
  return 0;
}

int
main (int argc, char **argv)
{
  if (argc != 6) {
    g_printerr ("usage: screenshots FOLDER PREFIX WIDTH HEIGHT STATE,STATE...\n");
    return 2;
  }
  args.folder = argv[1];
  args.prefix = argv[2];
  args.width = atoi (argv[3]);
  args.height = atoi (argv[4]);
  args.states = argv[5];
  setlocale (LC_ALL, "");
  bindtextdomain ("safelight", g_getenv ("SAFELIGHT_LOCALE_DIR"));
  bind_textdomain_codeset ("safelight", "UTF-8");
  textdomain ("safelight");
  isolate_folders ();
  return run_in_application (make_pictures);
}
