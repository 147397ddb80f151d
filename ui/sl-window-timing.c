/* ui/sl-window-timing.c - the window's timing panel: shown or hidden, how high, and of which
 * picture. */
#include "ui/sl-window-private.h"

#define LOW 600 /* pixels: below it the panel's bars take the strip's place */

/* A paned knows its height only when it is laid out; then the panel gets the one it had.  Before
 * that a narrow window is not known to be one, and would not become one with one button more. */
void
sl_window_update_timing (SlWindow *self)
{
  const int height = gtk_widget_get_height (GTK_WIDGET (self->paned));
  const gboolean visible = gtk_widget_get_visible (GTK_WIDGET (self->timing));

  if (height <= 0)
    return;
  gtk_widget_set_visible (GTK_WIDGET (self->timing_button), !adw_flap_get_folded (self->flap));
  sl_timing_panel_set_narrow (self->timing, adw_flap_get_folded (self->flap));
  gtk_widget_set_visible (GTK_WIDGET (self->strip_revealer), !visible || height >= LOW);
  if (!visible || !self->timing_unplaced)
    return;
  self->timing_unplaced = FALSE;
  gtk_paned_set_position (self->paned,
                          MAX (0, height - g_settings_get_int (self->settings, "timing-height")));
}

static gboolean
laid_out_cb (gpointer data)
{
  SlWindow *self = data;

  self->timing_later = 0;
  sl_window_update_timing (self);
  return G_SOURCE_REMOVE;
}

/* Within an allocation nothing may be shown or hidden. */
static void
height_cb (SlWindow *self)
{
  if (!self->timing_later)
    self->timing_later = g_idle_add_full (G_PRIORITY_HIGH_IDLE, laid_out_cb, self, NULL);
}

void
sl_window_remember_timing (SlWindow *self)
{
  const int height =
      gtk_widget_get_height (GTK_WIDGET (self->paned)) - gtk_paned_get_position (self->paned);

  if (height > 0 && !self->timing_unplaced && gtk_widget_get_mapped (GTK_WIDGET (self->timing)))
    g_settings_set_int (self->settings, "timing-height", height);
}

static void
update_visible (SlWindow *self)
{
  const gboolean shown = g_settings_get_boolean (self->settings, "show-timing");
  const gboolean visible = shown && !gtk_window_is_fullscreen (GTK_WINDOW (self));

  if (visible == gtk_widget_get_visible (GTK_WIDGET (self->timing)))
    return;
  sl_window_remember_timing (self);
  self->timing_unplaced = TRUE;
  gtk_widget_set_visible (GTK_WIDGET (self->timing), visible);
  sl_window_update_timing (self);
}

static void
setting_cb (SlWindow *self)
{
  update_visible (self);
  g_object_notify (G_OBJECT (self), "show-timing"); /* the action's state */
}

/* The strip's picture and the panel's are the same, as far as both have it. */
static void
strip_cb (SlWindow *self)
{
  GListModel *timings = sl_session_get_timings (self->session);
  const guint n = g_list_model_get_n_items (timings);
  SlResult *result = sl_strip_get_selected (self->strip);

  if (result) {
    SlTiming *timing = sl_session_find_timing (self->session, result);

    if (timing)
      sl_timing_panel_select (self->timing, timing);
  } else if (n && sl_session_get_busy (self->session)) {
    g_autoptr (SlTiming) running = g_list_model_get_item (timings, n - 1);

    sl_timing_panel_select (self->timing, running);
  }
}

static void
chosen_cb (SlWindow *self, SlTiming *timing)
{
  SlResult *result = timing ? sl_session_find_result (self->session, timing) : NULL;

  if (result)
    sl_strip_select (self->strip, result);
}

void
sl_window_bind_timing (SlWindow *self)
{
  sl_timing_panel_bind (self->timing, self->session);
  g_signal_connect_object (self->settings, "changed::show-timing", G_CALLBACK (setting_cb), self,
                           G_CONNECT_SWAPPED);
  g_signal_connect_object (self, "notify::fullscreened", G_CALLBACK (update_visible), self,
                           G_CONNECT_SWAPPED);
  g_signal_connect_object (self->strip, "notify::selected", G_CALLBACK (strip_cb), self,
                           G_CONNECT_SWAPPED);
  g_signal_connect_object (self->timing, "chosen", G_CALLBACK (chosen_cb), self, G_CONNECT_SWAPPED);
  g_signal_connect_object (self->paned, "notify::max-position", G_CALLBACK (height_cb), self,
                           G_CONNECT_SWAPPED);
  update_visible (self);
}
