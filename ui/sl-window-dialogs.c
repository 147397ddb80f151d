/* ui/sl-window-dialogs.c - the questions that the window asks. */
#include "ui/sl-window-private.h"

#include <glib/gi18n.h>

static void
offer_response_cb (SlWindow *self, const char *response, GtkWidget *dialog)
{
  const SlRecipe *recipe = g_object_get_data (G_OBJECT (dialog), "recipe");

  if (g_strcmp0 (response, "use") == 0 && self->settings)
    sl_window_take_settings (self, recipe);
}

void
sl_window_offer_settings (SlWindow *self, const SlRecipe *recipe)
{
  GtkWidget *dialog = adw_message_dialog_new (GTK_WINDOW (self), _ ("Use These Settings?"), NULL);
  g_autofree char *summary = sl_recipe_dup_summary (recipe), *prompt = NULL, *body = NULL;

  prompt = g_utf8_strlen (recipe->prompt, -1) > 400 ? g_utf8_substring (recipe->prompt, 0, 400)
                                                    : g_strdup (recipe->prompt);
  body = g_strdup_printf ("%s\n\n%s", prompt, summary);
  adw_message_dialog_set_body (ADW_MESSAGE_DIALOG (dialog), body);
  adw_message_dialog_add_responses (ADW_MESSAGE_DIALOG (dialog), "cancel", _ ("_Cancel"), "use",
                                    _ ("_Use Settings"), NULL);
  adw_message_dialog_set_response_appearance (ADW_MESSAGE_DIALOG (dialog), "use",
                                              ADW_RESPONSE_SUGGESTED);
  adw_message_dialog_set_default_response (ADW_MESSAGE_DIALOG (dialog), "use");
  adw_message_dialog_set_close_response (ADW_MESSAGE_DIALOG (dialog), "cancel");
  g_object_set_data_full (G_OBJECT (dialog), "recipe", sl_recipe_copy (recipe),
                          (GDestroyNotify) sl_recipe_free);
  g_signal_connect_object (dialog, "response", G_CALLBACK (offer_response_cb), self,
                           G_CONNECT_SWAPPED);
  gtk_window_present (GTK_WINDOW (dialog));
}

static char *
dup_details (SlWindow *self)
{
  g_autofree char *device = NULL, *reason = NULL, *model = NULL;

  g_object_get (self->session, "device-name", &device, "device-reason", &reason, "model-path",
                &model, NULL);
  return g_strdup_printf ("%s\n\nSafelight %s\nGTK %u.%u.%u, libadwaita %u.%u.%u\n%s%s%s\n%s",
                          sl_session_get_error (self->session), SL_VERSION,
                          gtk_get_major_version (), gtk_get_minor_version (),
                          gtk_get_micro_version (), adw_get_major_version (),
                          adw_get_minor_version (), adw_get_micro_version (), device,
                          *reason ? ": " : "", reason, model);
}

static void
details_response_cb (GtkWidget *dialog, const char *response, GtkLabel *details)
{
  if (g_strcmp0 (response, "copy") == 0)
    gdk_clipboard_set_text (gtk_widget_get_clipboard (dialog), gtk_label_get_text (details));
}

void
sl_window_show_error_details (SlWindow *self)
{
  GtkWidget *dialog, *label;
  g_autofree char *details = NULL;

  if (!sl_session_get_error (self->session))
    return;
  details = g_strchomp (dup_details (self));
  dialog = adw_message_dialog_new (GTK_WINDOW (self), _ ("Something Went Wrong"), NULL);
  label = gtk_label_new (details);
  gtk_label_set_wrap (GTK_LABEL (label), TRUE);
  gtk_label_set_wrap_mode (GTK_LABEL (label), PANGO_WRAP_WORD_CHAR);
  gtk_label_set_selectable (GTK_LABEL (label), TRUE);
  gtk_label_set_xalign (GTK_LABEL (label), 0);
  gtk_label_set_max_width_chars (GTK_LABEL (label), 60);
  gtk_widget_add_css_class (label, "details");
  adw_message_dialog_set_extra_child (ADW_MESSAGE_DIALOG (dialog), label);
  adw_message_dialog_add_responses (ADW_MESSAGE_DIALOG (dialog), "copy", _ ("_Copy Details"),
                                    "close", _ ("C_lose"), NULL);
  adw_message_dialog_set_default_response (ADW_MESSAGE_DIALOG (dialog), "close");
  adw_message_dialog_set_close_response (ADW_MESSAGE_DIALOG (dialog), "close");
  g_signal_connect_object (dialog, "response", G_CALLBACK (details_response_cb), label, 0);
  gtk_window_present (GTK_WINDOW (dialog));
}
