/* ui/sl-window-files.c - what the window does with files: models, pictures, dropped things. */
#include "ui/sl-window-private.h"

#include "ui/sl-starter.h"

#include <glib/gi18n.h>

void
sl_window_load_model (SlWindow *self, const char *path)
{
  g_autofree char *starter = sl_starter_dup_path ();

  sl_session_load (self->session, path && *path ? path : starter);
}

static void
starter_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  sl_window_load_model (SL_WINDOW (widget), "");
}

/* ---- Opening ---- */

static void
read_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (SlWindow) self = data;
  GError *error = NULL;
  g_autoptr (SlRecipe) recipe = sl_session_read_finish (SL_SESSION (object), result, &error);

  if (!gtk_widget_get_root (GTK_WIDGET (self)) || !self->session)
    g_clear_error (&error);
  else if (recipe)
    sl_window_offer_settings (self, recipe);
  else
    sl_session_take_error (self->session, error);
}

static void
load_file (SlWindow *self, GFile *file)
{
  g_autofree char *path = g_file_get_path (file);

  if (path)
    sl_window_load_model (self, path);
  else /* says that it is not on this computer */
    sl_session_read_async (self->session, file, read_cb, g_object_ref (self));
}

static void
info_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (SlWindow) self = data;
  GFile *file = G_FILE (object);
  GError *error = NULL;
  g_autoptr (GFileInfo) info = g_file_query_info_finish (file, result, &error);

  if (!self->session) /* closed meanwhile */
    g_clear_error (&error);
  else if (!info)
    sl_session_take_error (self->session, error);
  else if (g_strcmp0 (g_file_info_get_content_type (info), "image/png") == 0)
    sl_session_read_async (self->session, file, read_cb, g_object_ref (self));
  else
    load_file (self, file);
}

void
sl_window_open (SlWindow *self, GFile *file)
{
  g_file_query_info_async (file, G_FILE_ATTRIBUTE_STANDARD_CONTENT_TYPE, G_FILE_QUERY_INFO_NONE,
                           G_PRIORITY_DEFAULT, NULL, info_cb, g_object_ref (self));
}

static gboolean
drop_cb (SlWindow *self, const GValue *value)
{
  g_autoptr (GSList) files = gdk_file_list_get_files (g_value_get_boxed (value));

  if (!files)
    return FALSE;
  sl_window_open (self, files->data);
  return TRUE;
}

static gboolean
drop_accept_cb (SlWindow *self, GdkDrop *drop, GtkDropTarget *target)
{
  /* A picture dragged out of this window is not for this window. */
  return !gdk_drop_get_drag (drop) &&
         gdk_content_formats_match (gtk_drop_target_get_formats (target),
                                    gdk_drop_get_formats (drop));
}

void
sl_window_add_drop_target (SlWindow *self)
{
  GtkDropTarget *target = gtk_drop_target_new (GDK_TYPE_FILE_LIST, GDK_ACTION_COPY);

  /* Before the prompt's own, which would take a file's name for text. */
  gtk_event_controller_set_propagation_phase (GTK_EVENT_CONTROLLER (target), GTK_PHASE_CAPTURE);
  g_signal_connect_swapped (target, "accept", G_CALLBACK (drop_accept_cb), self);
  g_signal_connect_swapped (target, "drop", G_CALLBACK (drop_cb), self);
  gtk_widget_add_controller (GTK_WIDGET (self), GTK_EVENT_CONTROLLER (target));
}

/* ---- Dialogs ---- */

typedef void (*chosen_func) (SlWindow *self, GFile *file);

static void
response_cb (GtkNativeDialog *dialog, int response, SlWindow *self)
{
  const chosen_func chosen = (chosen_func) g_object_get_data (G_OBJECT (dialog), "chosen");

  if (response == GTK_RESPONSE_ACCEPT) {
    g_autoptr (GFile) file = gtk_file_chooser_get_file (GTK_FILE_CHOOSER (dialog));

    chosen (self, file);
  }
  g_clear_object (&self->chooser);
}

static GtkFileChooser *
choose (SlWindow *self, const char *title, GtkFileChooserAction action, chosen_func chosen)
{
  g_clear_object (&self->chooser);
  self->chooser = gtk_file_chooser_native_new (title, GTK_WINDOW (self), action, NULL, NULL);
  gtk_native_dialog_set_modal (GTK_NATIVE_DIALOG (self->chooser), TRUE);
  g_object_set_data (G_OBJECT (self->chooser), "chosen", (gpointer) chosen);
  g_signal_connect_object (self->chooser, "response", G_CALLBACK (response_cb), self, 0);
  return GTK_FILE_CHOOSER (self->chooser);
}

static void
add_filter (GtkFileChooser *chooser, const char *name, const char *const *suffixes)
{
  g_autoptr (GtkFileFilter) filter = gtk_file_filter_new ();

  gtk_file_filter_set_name (filter, name);
  for (; *suffixes; suffixes++)
    gtk_file_filter_add_suffix (filter, *suffixes);
  gtk_file_chooser_add_filter (chooser, filter);
}

static void
open_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  static const char *const models[] = { "safetensors", "gguf", NULL };
  static const char *const pictures[] = { "png", NULL };
  SlWindow *self = SL_WINDOW (widget);
  GtkFileChooser *chooser;

  if (g_str_equal (name, "win.open-model-folder")) {
    choose (self, _ ("Open Model Folder"), GTK_FILE_CHOOSER_ACTION_SELECT_FOLDER, load_file);
  } else if (g_str_equal (name, "win.open-model-file")) {
    chooser = choose (self, _ ("Open Model File"), GTK_FILE_CHOOSER_ACTION_OPEN, load_file);
    add_filter (chooser, _ ("Models"), models);
  } else {
    chooser =
        choose (self, _ ("Open Picture’s Settings"), GTK_FILE_CHOOSER_ACTION_OPEN, sl_window_open);
    add_filter (chooser, _ ("PNG Pictures"), pictures);
  }
  gtk_native_dialog_show (GTK_NATIVE_DIALOG (self->chooser));
}

/* ---- Saving ---- */

struct saving {
  SlWindow *window; /* owned */
  GFile *file;      /* owned */
};

static void
saved_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autofree struct saving *saving = data;
  g_autoptr (SlWindow) self = saving->window;
  g_autoptr (GFile) file = saving->file;
  g_autofree char *name = g_file_get_basename (file), *title = NULL, *uri = g_file_get_uri (file);
  GError *error = NULL;
  AdwToast *toast;

  if (!sl_session_save_finish (SL_SESSION (object), result, &error)) {
    if (self->session)
      sl_session_take_error (self->session, error);
    else
      g_error_free (error);
    return;
  }
  if (!self->session)
    return;
  /* Translators: the name of a file. */
  title = g_strdup_printf (_ ("Saved as “%s”"), name);
  toast = adw_toast_new (title);
  adw_toast_set_button_label (toast, _ ("_Open"));
  adw_toast_set_action_name (toast, "win.show-file");
  adw_toast_set_action_target (toast, "s", uri);
  adw_toast_overlay_add_toast (self->toasts, toast);
}

void
sl_window_save (SlWindow *self, GFile *file)
{
  SlResult *shown = sl_stage_get_shown (self->stage);
  g_autoptr (GFile) folder = g_file_get_parent (file);
  struct saving *saving;

  if (!shown)
    return;
  if (folder) {
    g_autofree char *uri = g_file_get_uri (folder);

    g_settings_set_string (self->settings, "save-folder", uri);
  }
  saving = g_new0 (struct saving, 1);
  saving->window = g_object_ref (self);
  saving->file = g_object_ref (file);
  sl_session_save_async (self->session, shown, file, saved_cb, saving);
}

static void
save_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  SlWindow *self = SL_WINDOW (widget);
  SlResult *shown = sl_stage_get_shown (self->stage);
  g_autofree char *uri = g_settings_get_string (self->settings, "save-folder");
  const char *pictures = g_get_user_special_dir (G_USER_DIRECTORY_PICTURES);
  g_autoptr (GFile) folder = NULL;
  g_autofree char *file_name = NULL;
  GtkFileChooser *chooser;

  if (!shown)
    return;
  folder = *uri ? g_file_new_for_uri (uri)
                : g_file_new_for_path (pictures ? pictures : g_get_home_dir ());
  file_name = sl_recipe_dup_file_name (sl_result_get_recipe (shown));
  chooser = choose (self, _ ("Save Picture"), GTK_FILE_CHOOSER_ACTION_SAVE, sl_window_save);
  gtk_file_chooser_set_current_folder (chooser, folder, NULL);
  gtk_file_chooser_set_current_name (chooser, file_name);
  gtk_native_dialog_show (GTK_NATIVE_DIALOG (self->chooser));
}

static void
show_file_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  gtk_show_uri (GTK_WINDOW (widget), g_variant_get_string (parameter, NULL), GDK_CURRENT_TIME);
}

void
sl_window_install_file_actions (GtkWidgetClass *widget_class)
{
  gtk_widget_class_install_action (widget_class, "win.starter", NULL, starter_action);
  gtk_widget_class_install_action (widget_class, "win.open-model-folder", NULL, open_action);
  gtk_widget_class_install_action (widget_class, "win.open-model-file", NULL, open_action);
  gtk_widget_class_install_action (widget_class, "win.open-picture", NULL, open_action);
  gtk_widget_class_install_action (widget_class, "win.save", NULL, save_action);
  gtk_widget_class_install_action (widget_class, "win.show-file", "s", show_file_action);
}
