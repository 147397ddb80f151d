#include "app/sl-application.h"

#include "ui/sl-image-content.h"
#include "ui/sl-window.h"

#include <glib/gi18n.h>

struct _SlApplication {
  AdwApplication parent_instance;
};

G_DEFINE_FINAL_TYPE (SlApplication, sl_application, ADW_TYPE_APPLICATION)

SlApplication *
sl_application_new (GApplicationFlags flags)
{
  return g_object_new (SL_TYPE_APPLICATION, "application-id", "io.github.safelight.Safelight",
                       "resource-base-path", "/io/github/safelight/Safelight", "flags",
                       flags | G_APPLICATION_HANDLES_OPEN, NULL);
}

static SlWindow *
present_window (GApplication *application)
{
  GtkWindow *window = gtk_application_get_active_window (GTK_APPLICATION (application));

  if (!window) {
    g_autoptr (SlSession) session = sl_session_new ();
    g_autoptr (GSettings) settings = g_settings_new ("io.github.safelight.Safelight");

    window = GTK_WINDOW (sl_window_new (GTK_APPLICATION (application), session, settings));
    sl_session_start (session);
  }
  gtk_window_present (window);
  return SL_WINDOW (window);
}

static void
sl_application_activate (GApplication *application)
{
  present_window (application);
}

static void
sl_application_open (GApplication *application, GFile **files, int n_files, const char *hint)
{
  SlWindow *window = present_window (application);

  for (int i = 0; i < n_files; i++)
    sl_window_open (window, files[i]);
}

static void
activate_action (GSimpleAction *action, GVariant *parameter, gpointer data)
{
  present_window (data);
}

static void
quit_action (GSimpleAction *action, GVariant *parameter, gpointer data)
{
  GtkWindow *window = gtk_application_get_active_window (data);

  if (window)
    gtk_window_close (window);
  else
    g_application_quit (data);
}

static char *
dup_debug_info (GtkWindow *window)
{
  g_autofree char *device = NULL, *reason = NULL, *model = NULL, *view = NULL, *view_reason = NULL;

  g_object_get (sl_window_get_session (SL_WINDOW (window)), "device-name", &device, "device-reason",
                &reason, "model-path", &model, "view", &view, "view-reason", &view_reason, NULL);
  return g_strdup_printf ("Safelight %s\nGTK %u.%u.%u\nlibadwaita %u.%u.%u\nDevice: "
                          "%s\n%s%s%sModel: %s\nView: %s%s%s\n",
                          SL_VERSION, gtk_get_major_version (), gtk_get_minor_version (),
                          gtk_get_micro_version (), adw_get_major_version (),
                          adw_get_minor_version (), adw_get_micro_version (), device,
                          *reason ? "No GPU: " : "", reason, *reason ? "\n" : "", model, view,
                          *view_reason ? "\nNot better, for: " : "", view_reason);
}

static void
about_action (GSimpleAction *action, GVariant *parameter, gpointer data)
{
  GtkWindow *window = gtk_application_get_active_window (data);
  g_autofree char *debug_info = NULL;

  if (!SL_IS_WINDOW (window))
    return;
  debug_info = dup_debug_info (window);
  adw_show_about_window (window, "application-name", "Safelight", "application-icon",
                         "io.github.safelight.Safelight", "version", SL_VERSION, "developer-name",
                         _ ("The Safelight project"), "comments",
                         _ ("Type a prompt and watch the picture develop."), "license-type",
                         GTK_LICENSE_APACHE_2_0, "debug-info", debug_info,
                         /* Translators: your names, one a line; shown in the About window. */
                         "translator-credits", _ ("translator-credits"), NULL);
}

static void
add_accels (GtkApplication *application)
{
  static const struct {
    const char *action;
    const char *keys[3];
  } accels[] = {
    { "win.generate", { "<Control>Return", "<Control>KP_Enter" } },
    { "win.save", { "<Control>s" } },
    { "win.copy", { "<Shift><Control>c" } },
    { "win.use-settings", { "<Control>u" } },
    { "win.random-seed", { "<Control>r" } },
    { "win.open-picture", { "<Control>o" } },
    { "win.open-model-folder", { "<Shift><Control>o" } },
    { "win.sidebar", { "<Control>b" } },
    { "win.timing", { "F9" } },
    { "win.live", { "<Control>e" } },
    { "win.compare", { "<Control>d" } },
    { "win.fullscreen", { "F11" } },
    { "win.zoom-fit", { "<Control>0", "<Control>KP_0" } },
    { "win.zoom-original", { "<Control>1", "<Control>KP_1" } },
    { "win.zoom-in", { "<Control>plus", "<Control>equal" } },
    { "win.zoom-out", { "<Control>minus", "<Control>KP_Subtract" } },
    { "window.close", { "<Control>w" } },
    { "app.quit", { "<Control>q" } },
  };

  for (guint i = 0; i < G_N_ELEMENTS (accels); i++)
    gtk_application_set_accels_for_action (application, accels[i].action, accels[i].keys);
}

static void
clean_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  sl_image_content_clean ();
}

static void
sl_application_startup (GApplication *application)
{
  static const GActionEntry actions[] = {
    { .name = "activate", .activate = activate_action },
    { .name = "about", .activate = about_action },
    { .name = "quit", .activate = quit_action },
  };
  g_autoptr (GTask) clean = g_task_new (NULL, NULL, NULL, NULL);

  G_APPLICATION_CLASS (sl_application_parent_class)->startup (application);
  gtk_window_set_default_icon_name ("io.github.safelight.Safelight");
  g_action_map_add_action_entries (G_ACTION_MAP (application), actions, G_N_ELEMENTS (actions),
                                   application);
  add_accels (GTK_APPLICATION (application));
  g_task_run_in_thread (clean, clean_thread);
}

static void
sl_application_class_init (SlApplicationClass *klass)
{
  GApplicationClass *application_class = G_APPLICATION_CLASS (klass);

  application_class->activate = sl_application_activate;
  application_class->open = sl_application_open;
  application_class->startup = sl_application_startup;
}

static void
sl_application_init (SlApplication *self)
{
}
