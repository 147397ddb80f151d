/* ui/sl-window-live.c - what the window does with pictures in the making: live mode, how previews
 * are made, what stays of one that was cancelled; and two pictures side by side. */
#include "ui/sl-window-private.h"

#include <glib/gi18n.h>

/* ---- Live mode ---- */

static void
starting_cb (gpointer data)
{
  SlWindow *self = data;

  self->follow = TRUE;
  self->n_made = 0;
}

static void
live_cb (SlWindow *self)
{
  g_object_notify (G_OBJECT (self), "live");
}

static void
draft_cb (SlWindow *self, SlResult *draft)
{
  if (!self->follow)
    return;
  sl_window_show_result (self, NULL);
  sl_stage_show_draft (self->stage, draft);
}

/* ---- Previews ---- */

static void
preview_method_cb (SlWindow *self)
{
  g_autofree char *method = g_settings_get_string (self->settings, "preview");

  sl_session_set_previews (self->session, !g_str_equal (method, "off"));
  g_object_notify (G_OBJECT (self), "preview");
}

/* What one costs stands in the menu, once it is known. */
static void
cost_cb (SlWindow *self)
{
  const double ms = sl_session_get_preview_ms (self->session);
  g_autofree char *label = NULL;
  g_autoptr (GMenuItem) item = NULL;

  if (ms < 0)
    return;
  /* Translators: a way to make previews, and how long one takes. */
  label = g_strdup_printf (_ ("_Linear (%.2f ms each)"), ms);
  item = g_menu_item_new (label, "win.preview::linear");
  g_menu_remove (self->preview_menu, 0);
  g_menu_insert_item (self->preview_menu, 0, item);
}

void
sl_window_bind_live (SlWindow *self)
{
  self->live = sl_live_new (self->session, self->settings, starting_cb, self);
  g_signal_connect_object (self->session, "draft", G_CALLBACK (draft_cb), self, G_CONNECT_SWAPPED);
  g_signal_connect_object (self->session, "result", G_CALLBACK (cost_cb), self, G_CONNECT_SWAPPED);
  g_signal_connect_object (self->settings, "changed::preview", G_CALLBACK (preview_method_cb), self,
                           G_CONNECT_SWAPPED);
  g_signal_connect_object (self->settings, "changed::live", G_CALLBACK (live_cb), self,
                           G_CONNECT_SWAPPED);
  preview_method_cb (self);
}

/* ---- What was cancelled ---- */

static void
kept_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (SlWindow) self = data;
  g_autoptr (SlResult) kept = sl_session_keep_finish (SL_SESSION (object), result);

  if (self->session && !sl_session_get_busy (self->session) && !sl_stage_get_shown (self->stage))
    sl_window_show_result (self, kept);
}

void
sl_window_keep_or_go_back (SlWindow *self)
{
  GListModel *results = sl_session_get_results (self->session);
  const guint n = g_list_model_get_n_items (results);
  g_autoptr (SlResult) last = n ? g_list_model_get_item (results, n - 1) : NULL;
  g_autoptr (GdkTexture) preview = NULL;

  if (!sl_session_get_error (self->session)) {
    if (sl_live_get_on (self->live)) /* the next one is on its way, or this one is a draft */
      return;
    preview = sl_canvas_dup_shown (sl_stage_get_canvas (self->stage));
  }
  if (preview && last && preview == sl_result_get_texture (last)) /* no frame had come yet */
    g_clear_object (&preview);
  if (preview)
    sl_session_keep_async (self->session, preview, kept_cb, g_object_ref (self));
  else if (last)
    sl_window_show_result (self, last);
}

/* ---- Side by side ---- */

/* The one made before the one that is shown; of the first, the one after. */
static SlResult *
dup_other (SlWindow *self)
{
  SlResult *shown = sl_stage_get_shown (self->stage);
  GListModel *results = sl_session_get_results (self->session);
  const guint n = g_list_model_get_n_items (results);
  guint position = n;

  if (!shown || n == 0)
    return NULL;
  g_list_store_find (G_LIST_STORE (results), shown, &position);
  return g_list_model_get_item (results, position > 0 ? position - 1 : 1);
}

gboolean
sl_window_can_compare (SlWindow *self)
{
  g_autoptr (SlResult) other = dup_other (self);

  return other != NULL;
}

static void
compare_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  SlWindow *self = SL_WINDOW (widget);
  SlCanvas *canvas = sl_stage_get_canvas (self->stage);
  g_autoptr (SlResult) other = sl_canvas_get_comparing (canvas) ? NULL : dup_other (self);

  sl_canvas_compare (canvas, other ? sl_result_get_texture (other) : NULL);
  if (other)
    gtk_widget_grab_focus (GTK_WIDGET (canvas)); /* the arrow keys move the line */
}

void
sl_window_install_live_actions (GtkWidgetClass *widget_class)
{
  gtk_widget_class_install_action (widget_class, "win.compare", NULL, compare_action);
}
