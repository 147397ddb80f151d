#include "ui/sl-window-private.h"

#include "ui/sl-image-content.h"
#include "ui/sl-starter.h"

#include <glib/gi18n.h>
#include <math.h>

#define APPLY_AFTER_MS 1000
#define NOTIFICATION "done"

enum { PROP_0, PROP_SHOW_SIDEBAR, PROP_SHOW_TIMING, PROP_LIVE, PROP_PREVIEW, PROP_MODEL, N_PROPS };

static GParamSpec *props[N_PROPS];

G_DEFINE_FINAL_TYPE (SlWindow, sl_window, ADW_TYPE_APPLICATION_WINDOW)

SlSession *
sl_window_get_session (SlWindow *self)
{
  return self->session;
}

/* ---- Keeping the actions and the parts in step with the session ---- */

static void
update_actions (SlWindow *self)
{
  GtkWidget *widget = GTK_WIDGET (self);
  const SlState state = sl_session_get_state (self->session);
  const gboolean busy = sl_session_get_busy (self->session);
  const gboolean can_run = state == SL_STATE_READY || state == SL_STATE_LOADING;
  const gboolean has_picture = sl_canvas_get_has_picture (sl_stage_get_canvas (self->stage));
  SlResult *shown = sl_stage_get_shown (self->stage);
  static const char *const zooms[] = { "win.zoom-in", "win.zoom-out", "win.zoom-fit",
                                       "win.zoom-original" };

  gtk_widget_action_set_enabled (widget, "win.generate", can_run && !busy);
  gtk_widget_action_set_enabled (widget, "win.example", can_run && !busy);
  gtk_widget_action_set_enabled (widget, "win.cancel", busy);
  gtk_widget_action_set_enabled (widget, "win.follow", busy && shown);
  gtk_widget_action_set_enabled (widget, "win.save", shown != NULL);
  gtk_widget_action_set_enabled (widget, "win.copy", shown != NULL);
  gtk_widget_action_set_enabled (widget, "win.use-settings", shown && !busy);
  gtk_widget_action_set_enabled (widget, "win.compare", sl_window_can_compare (self));
  for (guint i = 0; i < G_N_ELEMENTS (zooms); i++)
    gtk_widget_action_set_enabled (widget, zooms[i], has_picture);
}

static void
update_title (SlWindow *self)
{
  const gboolean narrow = adw_flap_get_folded (self->flap);
  const gboolean alone = narrow || !adw_flap_get_reveal_flap (self->flap);

  adw_window_title_set_title (self->title, alone && !narrow ? "Safelight" : "");
  gtk_widget_set_visible (GTK_WIDGET (self->generate), alone);
  sl_stage_set_narrow (self->stage, narrow);
  gtk_widget_set_visible (GTK_WIDGET (self->copy), !narrow); /* it is in the menu, too */
  sl_window_update_timing (self);
  adw_header_bar_set_show_start_title_buttons (self->header, alone);
  /* A header bar is twice as wide as its wider side. */
  adw_header_bar_set_decoration_layout (self->header, narrow ? ":close" : NULL);
}

static void
sidebar_cb (SlWindow *self)
{
  update_title (self);
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_SHOW_SIDEBAR]);
  /* What a narrow window or the full screen hides by itself is not remembered. */
  if (self->settings && !adw_flap_get_folded (self->flap) &&
      !gtk_window_is_fullscreen (GTK_WINDOW (self)))
    g_settings_set_boolean (self->settings, "show-sidebar", adw_flap_get_reveal_flap (self->flap));
}

void
sl_window_show_result (SlWindow *self, SlResult *result)
{
  self->selecting = TRUE;
  sl_strip_select (self->strip, result);
  self->selecting = FALSE;
  sl_stage_set_shown (self->stage, result);
  update_actions (self);
}

static void
selected_cb (SlWindow *self)
{
  SlResult *result = sl_strip_get_selected (self->strip);

  if (self->selecting || !result)
    return;
  self->follow = FALSE;
  sl_stage_set_shown (self->stage, result);
  update_actions (self);
}

static void
result_cb (SlWindow *self, SlResult *result)
{
  self->n_made++;
  if (self->follow || !sl_stage_get_shown (self->stage))
    sl_window_show_result (self, result);
}

static void
results_cb (SlWindow *self, guint position, guint removed)
{
  if (!removed || self->told)
    return;
  self->told = TRUE;
  adw_toast_overlay_add_toast (self->toasts,
                               adw_toast_new (_ ("The oldest pictures make room for new ones")));
}

/* With several pictures the finished one stays until the next one's first preview. */
static void
preview_cb (SlWindow *self)
{
  if (self->follow && sl_session_get_has_preview (self->session) &&
      sl_stage_get_shown (self->stage))
    sl_window_show_result (self, NULL);
  update_actions (self);
}

static void
notify_done (SlWindow *self)
{
  GApplication *application = G_APPLICATION (gtk_window_get_application (GTK_WINDOW (self)));
  GListModel *results = sl_session_get_results (self->session);
  const guint n = g_list_model_get_n_items (results);
  g_autoptr (SlResult) last = n ? g_list_model_get_item (results, n - 1) : NULL;
  g_autoptr (GNotification) notification = NULL;

  if (!self->n_made || gtk_window_is_active (GTK_WINDOW (self)) ||
      !g_application_get_dbus_connection (application))
    return;
  notification = g_notification_new (_ ("Picture ready"));
  g_notification_set_body (notification, sl_result_get_recipe (last)->prompt);
  g_notification_set_default_action (notification, "app.activate");
  g_application_send_notification (application, NOTIFICATION, notification);
}

static void
busy_cb (SlWindow *self)
{
  GtkApplication *application = gtk_window_get_application (GTK_WINDOW (self));
  const gboolean busy = sl_session_get_busy (self->session);

  /* Before the first preview, so that nothing moves when its picture comes. */
  if (busy && !gtk_window_is_fullscreen (GTK_WINDOW (self)))
    gtk_revealer_set_reveal_child (self->strip_revealer, TRUE);
  if (busy && !self->inhibit) {
    self->inhibit = gtk_application_inhibit (
        application, GTK_WINDOW (self), GTK_APPLICATION_INHIBIT_SUSPEND, _ ("Making a picture"));
  } else if (!busy && self->inhibit) {
    gtk_application_uninhibit (application, self->inhibit);
    self->inhibit = 0;
  }
  if (!busy && self->follow && !sl_stage_get_shown (self->stage))
    sl_window_keep_or_go_back (self);
  if (!busy && !sl_session_get_error (self->session))
    notify_done (self);
  gtk_button_set_label (self->generate, busy ? _ ("_Cancel") : _ ("_Generate"));
  gtk_actionable_set_action_name (GTK_ACTIONABLE (self->generate),
                                  busy ? "win.cancel" : "win.generate");
  update_actions (self);
}

static void
active_cb (SlWindow *self)
{
  GtkApplication *application = gtk_window_get_application (GTK_WINDOW (self));

  if (application && gtk_window_is_active (GTK_WINDOW (self)) &&
      g_application_get_dbus_connection (G_APPLICATION (application)))
    g_application_withdraw_notification (G_APPLICATION (application), NOTIFICATION);
}

static void
has_picture_cb (SlWindow *self)
{
  if (self->session) /* else the window goes, and the canvas with it */
    update_actions (self);
}

static void
error_cb (SlWindow *self)
{
  const char *error = sl_session_get_error (self->session);

  if (error)
    gtk_label_set_text (self->error_label, error);
  gtk_info_bar_set_revealed (self->error_bar,
                             error && sl_session_get_state (self->session) != SL_STATE_NO_ENGINE);
}

static void
model_path_cb (SlWindow *self)
{
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_MODEL]);
}

/* A model that is new here brings the settings that suit it. */
static void
loaded_cb (SlWindow *self)
{
  g_autofree char *starter = sl_starter_dup_path (), *tuned = NULL;
  g_autoptr (SlRecipe) defaults = sl_session_dup_defaults (self->session);
  g_autoptr (GStrvBuilder) builder = g_strv_builder_new ();
  g_auto (GStrv) recent = g_settings_get_strv (self->settings, "recent-models"), now = NULL;
  const char *path = sl_session_get_model_path (self->session);
  const gboolean is_starter = g_strcmp0 (path, starter) == 0;
  const char *key = is_starter ? "" : path;

  g_settings_set_string (self->settings, "model", key);
  tuned = g_settings_get_string (self->settings, "tuned-for");
  if (g_strcmp0 (tuned, key) != 0) {
    g_settings_set_string (self->settings, "tuned-for", key);
    g_settings_set_int (self->settings, "steps", defaults->steps);
    g_settings_set_double (self->settings, "cfg", MAX (defaults->cfg, 1));
    g_settings_set_int (self->settings, "width", defaults->width);
    g_settings_set_int (self->settings, "height", defaults->height);
    g_settings_set_double (self->settings, "shift", 0);
  }
  if (is_starter)
    return;
  g_strv_builder_add (builder, path);
  for (guint i = 0, n = 1; recent[i] && n < 8; i++)
    if (g_strcmp0 (recent[i], path) != 0) {
      g_strv_builder_add (builder, recent[i]);
      n++;
    }
  now = g_strv_builder_end (builder);
  g_settings_set_strv (self->settings, "recent-models", (const char *const *) now);
}

/* ---- Actions ---- */

static void
generate (SlWindow *self, gboolean keep_seed)
{
  g_autoptr (SlRecipe) recipe = NULL;

  if (sl_session_get_busy (self->session))
    return;
  if (!keep_seed && !g_settings_get_boolean (self->settings, "seed-locked"))
    gtk_widget_activate_action (GTK_WIDGET (self), "win.random-seed", NULL);
  recipe = sl_recipe_new_from_settings (self->settings);
  if (adw_flap_get_folded (self->flap)) /* it covers the canvas */
    adw_flap_set_reveal_flap (self->flap, FALSE);
  self->follow = TRUE;
  self->n_made = 0;
  sl_session_generate (self->session, recipe, g_settings_get_int (self->settings, "count"));
}

static void
generate_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  generate (SL_WINDOW (widget), FALSE);
}

static void
cancel_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  sl_session_cancel (SL_WINDOW (widget)->session);
}

static void
random_seed_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  /* Up to ten digits: enough pictures, and people can still read them out. */
  g_settings_set_uint64 (SL_WINDOW (widget)->settings, "seed", g_random_int ());
}

static void
example_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  SlWindow *self = SL_WINDOW (widget);
  g_autoptr (SlRecipe) recipe = sl_recipe_new ();

  g_free (recipe->prompt);
  g_variant_get (parameter, "(siibt)", &recipe->prompt, &recipe->width, &recipe->height,
                 &recipe->has_seed, &recipe->seed);
  sl_recipe_apply (recipe, self->settings);
  generate (self, recipe->has_seed);
}

static void
follow_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  SlWindow *self = SL_WINDOW (widget);

  self->follow = TRUE;
  sl_window_show_result (self, NULL);
}

void
sl_window_take_settings (SlWindow *self, const SlRecipe *recipe)
{
  g_autoptr (SlRecipe) defaults = sl_session_dup_defaults (self->session);
  g_autoptr (SlRecipe) taken = sl_recipe_copy (recipe);

  /* A picture says every number; the model's own one stays the model's to choose. */
  if (defaults && fabs (taken->shift - defaults->shift) < 1e-3)
    taken->shift = 0;
  sl_recipe_apply (taken, self->settings);
  g_settings_set_boolean (self->settings, "seed-locked", TRUE);
  adw_flap_set_reveal_flap (self->flap, TRUE);
}

static void
use_settings_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  SlWindow *self = SL_WINDOW (widget);
  SlResult *shown = sl_stage_get_shown (self->stage);

  if (!shown)
    return;
  sl_window_take_settings (self, sl_result_get_recipe (shown));
  sl_sidebar_focus_prompt (self->sidebar);
}

static void
copy_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  SlWindow *self = SL_WINDOW (widget);
  g_autoptr (GdkContentProvider) content = NULL;

  if (!sl_stage_get_shown (self->stage))
    return;
  content = sl_image_content_new (sl_stage_get_shown (self->stage), FALSE);
  gdk_clipboard_set_content (gtk_widget_get_clipboard (widget), content);
  adw_toast_overlay_add_toast (self->toasts, adw_toast_new (_ ("Picture copied")));
}

static void
zoom_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  SlCanvas *canvas = sl_stage_get_canvas (SL_WINDOW (widget)->stage);
  const double scale = sl_canvas_get_scale (canvas);

  if (g_str_equal (name, "win.zoom-in"))
    sl_canvas_set_zoom (canvas, scale * 1.25);
  else if (g_str_equal (name, "win.zoom-out"))
    sl_canvas_set_zoom (canvas, scale / 1.25);
  else
    sl_canvas_set_zoom (canvas, g_str_equal (name, "win.zoom-original") ? 1 : 0);
}

static void
fullscreen_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  if (gtk_window_is_fullscreen (GTK_WINDOW (widget)))
    gtk_window_unfullscreen (GTK_WINDOW (widget));
  else
    gtk_window_fullscreen (GTK_WINDOW (widget));
}

/* Escape: stop what runs, else leave the full screen. */
static void
escape_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  if (sl_session_get_busy (SL_WINDOW (widget)->session))
    sl_session_cancel (SL_WINDOW (widget)->session);
  else if (gtk_window_is_fullscreen (GTK_WINDOW (widget)))
    gtk_window_unfullscreen (GTK_WINDOW (widget));
}

static void
fullscreened_cb (SlWindow *self)
{
  const gboolean full = gtk_window_is_fullscreen (GTK_WINDOW (self));
  const gboolean any = g_list_model_get_n_items (sl_session_get_results (self->session)) > 0;

  if (full)
    self->sidebar_before = adw_flap_get_reveal_flap (self->flap);
  adw_flap_set_reveal_flap (self->flap, full ? FALSE : self->sidebar_before);
  gtk_widget_set_visible (GTK_WIDGET (self->header), !full);
  gtk_revealer_set_reveal_child (self->strip_revealer, !full && any);
  sl_stage_set_bare (self->stage, full);
}

static void
error_details_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  sl_window_show_error_details (SL_WINDOW (widget));
}

static void
restart_engine_action (GtkWidget *widget, const char *name, GVariant *parameter)
{
  SlWindow *self = SL_WINDOW (widget);

  if (sl_session_get_state (self->session) == SL_STATE_NO_ENGINE)
    sl_session_start (self->session);
}

static void
dismiss_error_cb (SlWindow *self)
{
  sl_session_dismiss_error (self->session);
}

/* ---- The window ---- */

static gboolean
apply_cb (gpointer data)
{
  SlWindow *self = data;

  self->apply_later = 0;
  g_settings_apply (self->settings);
  return G_SOURCE_REMOVE;
}

static void
unapplied_cb (SlWindow *self)
{
  if (!self->apply_later && g_settings_get_has_unapplied (self->settings))
    self->apply_later = g_timeout_add (APPLY_AFTER_MS, apply_cb, self);
}

static gboolean
sl_window_close_request (GtkWindow *window)
{
  SlWindow *self = SL_WINDOW (window);
  int width, height;

  gtk_window_get_default_size (window, &width, &height);
  if (!gtk_window_is_fullscreen (window)) {
    g_settings_set_int (self->settings, "window-width", width);
    g_settings_set_int (self->settings, "window-height", height);
    g_settings_set_boolean (self->settings, "maximized", gtk_window_is_maximized (window));
  }
  sl_window_remember_timing (self);
  g_settings_apply (self->settings);
  sl_session_cancel (self->session);
  return GTK_WINDOW_CLASS (sl_window_parent_class)->close_request (window);
}

static void
connect_session (SlWindow *self)
{
  const struct {
    const char *signal;
    GCallback callback;
  } watch[] = { { "notify::state", G_CALLBACK (update_actions) },
                { "notify::busy", G_CALLBACK (busy_cb) },
                { "notify::preview", G_CALLBACK (preview_cb) },
                { "notify::error", G_CALLBACK (error_cb) },
                { "notify::model-path", G_CALLBACK (model_path_cb) },
                { "result", G_CALLBACK (result_cb) },
                { "loaded", G_CALLBACK (loaded_cb) } };

  for (guint i = 0; i < G_N_ELEMENTS (watch); i++)
    g_signal_connect_object (self->session, watch[i].signal, watch[i].callback, self,
                             G_CONNECT_SWAPPED);
}

SlWindow *
sl_window_new (GtkApplication *application, SlSession *session, GSettings *settings)
{
  SlWindow *self = g_object_new (SL_TYPE_WINDOW, "application", application, NULL);
  g_autofree char *path = g_settings_get_string (settings, "model");

  self->session = g_object_ref (session);
  self->settings = g_object_ref (settings);
  sl_sidebar_bind (self->sidebar, session, settings);
  sl_stage_bind (self->stage, session);
  g_object_set (self->strip, "session", session, NULL);
  sl_window_bind_timing (self);
  connect_session (self);
  sl_window_bind_live (self);
  g_signal_connect_object (sl_session_get_results (session), "items-changed",
                           G_CALLBACK (results_cb), self, G_CONNECT_SWAPPED);
  g_signal_connect_swapped (sl_stage_get_canvas (self->stage), "notify::has-picture",
                            G_CALLBACK (has_picture_cb), self);
  update_actions (self);
  error_cb (self);

  gtk_window_set_default_size (GTK_WINDOW (self), g_settings_get_int (settings, "window-width"),
                               g_settings_get_int (settings, "window-height"));
  if (g_settings_get_boolean (settings, "maximized"))
    gtk_window_maximize (GTK_WINDOW (self));
  adw_flap_set_reveal_flap (self->flap, g_settings_get_boolean (settings, "show-sidebar"));
  g_settings_delay (settings);
  g_signal_connect_object (settings, "notify::has-unapplied", G_CALLBACK (unapplied_cb), self,
                           G_CONNECT_SWAPPED);
  update_title (self);
  sl_sidebar_focus_prompt (self->sidebar);
  sl_window_load_model (self, path);
  return self;
}

static void
sl_window_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  if (id == PROP_SHOW_SIDEBAR)
    adw_flap_set_reveal_flap (SL_WINDOW (object)->flap, g_value_get_boolean (value));
  else if (id == PROP_SHOW_TIMING)
    g_settings_set_boolean (SL_WINDOW (object)->settings, "show-timing",
                            g_value_get_boolean (value));
  else if (id == PROP_LIVE)
    g_settings_set_boolean (SL_WINDOW (object)->settings, "live", g_value_get_boolean (value));
  else if (id == PROP_PREVIEW)
    g_settings_set_string (SL_WINDOW (object)->settings, "preview", g_value_get_string (value));
  else if (id == PROP_MODEL)
    sl_window_load_model (SL_WINDOW (object), g_value_get_string (value));
  else
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
}

static void
sl_window_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  SlWindow *self = SL_WINDOW (object);

  /* All are asked for while the actions are set up, too. */
  if (id == PROP_SHOW_SIDEBAR)
    g_value_set_boolean (value, !self->flap || adw_flap_get_reveal_flap (self->flap));
  else if (id == PROP_SHOW_TIMING)
    g_value_set_boolean (value,
                         self->settings && g_settings_get_boolean (self->settings, "show-timing"));
  else if (id == PROP_LIVE)
    g_value_set_boolean (value, self->settings && g_settings_get_boolean (self->settings, "live"));
  else if (id == PROP_PREVIEW)
    g_value_take_string (value, self->settings ? g_settings_get_string (self->settings, "preview")
                                               : g_strdup ("linear"));
  else if (id == PROP_MODEL)
    g_value_set_string (value, self->session ? sl_session_get_model_path (self->session) : "");
  else
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
}

static void
sl_window_dispose (GObject *object)
{
  SlWindow *self = SL_WINDOW (object);
  GtkApplication *application = gtk_window_get_application (GTK_WINDOW (self));

  if (self->inhibit && application)
    gtk_application_uninhibit (application, self->inhibit);
  self->inhibit = 0;
  g_clear_handle_id (&self->apply_later, g_source_remove);
  g_clear_handle_id (&self->timing_later, g_source_remove);
  g_clear_object (&self->chooser);
  g_clear_pointer (&self->live, sl_live_free);
  g_clear_object (&self->session);
  g_clear_object (&self->settings);

  G_OBJECT_CLASS (sl_window_parent_class)->dispose (object);
}

static void
install_actions (GtkWidgetClass *widget_class)
{
  static const struct {
    const char *name, *type;
    GtkWidgetActionActivateFunc activate;
  } actions[] = {
    { "win.generate", NULL, generate_action },
    { "win.cancel", NULL, cancel_action },
    { "win.random-seed", NULL, random_seed_action },
    { "win.example", "(siibt)", example_action },
    { "win.follow", NULL, follow_action },
    { "win.use-settings", NULL, use_settings_action },
    { "win.copy", NULL, copy_action },
    { "win.zoom-in", NULL, zoom_action },
    { "win.zoom-out", NULL, zoom_action },
    { "win.zoom-fit", NULL, zoom_action },
    { "win.zoom-original", NULL, zoom_action },
    { "win.fullscreen", NULL, fullscreen_action },
    { "win.escape", NULL, escape_action },
    { "win.error-details", NULL, error_details_action },
    { "win.restart-engine", NULL, restart_engine_action },
  };

  for (guint i = 0; i < G_N_ELEMENTS (actions); i++)
    gtk_widget_class_install_action (widget_class, actions[i].name, actions[i].type,
                                     actions[i].activate);
}

static void
sl_window_class_init (SlWindowClass *klass)
{
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);
  GObjectClass *object_class = G_OBJECT_CLASS (klass);

  object_class->dispose = sl_window_dispose;
  object_class->set_property = sl_window_set_property;
  object_class->get_property = sl_window_get_property;
  GTK_WINDOW_CLASS (klass)->close_request = sl_window_close_request;

  props[PROP_SHOW_SIDEBAR] =
      g_param_spec_boolean ("show-sidebar", NULL, NULL, TRUE,
                            G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
  props[PROP_SHOW_TIMING] =
      g_param_spec_boolean ("show-timing", NULL, NULL, FALSE,
                            G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
  props[PROP_LIVE] =
      g_param_spec_boolean ("live", NULL, NULL, FALSE,
                            G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
  props[PROP_PREVIEW] =
      g_param_spec_string ("preview", NULL, NULL, "linear",
                           G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
  props[PROP_MODEL] =
      g_param_spec_string ("model", NULL, NULL, "",
                           G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
  g_object_class_install_properties (object_class, N_PROPS, props);

  g_type_ensure (SL_TYPE_SIDEBAR);
  g_type_ensure (SL_TYPE_STAGE);
  g_type_ensure (SL_TYPE_STRIP);
  g_type_ensure (SL_TYPE_TIMING_PANEL);
  gtk_widget_class_set_template_from_resource (widget_class,
                                               "/io/github/safelight/Safelight/sl-window.ui");
  gtk_widget_class_bind_template_child (widget_class, SlWindow, flap);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, preview_menu);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, sidebar);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, header);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, title);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, generate);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, copy);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, timing_button);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, error_bar);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, error_label);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, toasts);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, stage);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, strip_revealer);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, strip);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, paned);
  gtk_widget_class_bind_template_child (widget_class, SlWindow, timing);
  gtk_widget_class_bind_template_callback (widget_class, update_title);
  gtk_widget_class_bind_template_callback (widget_class, sidebar_cb);
  gtk_widget_class_bind_template_callback (widget_class, selected_cb);
  gtk_widget_class_bind_template_callback (widget_class, fullscreened_cb);
  gtk_widget_class_bind_template_callback (widget_class, active_cb);
  gtk_widget_class_bind_template_callback (widget_class, dismiss_error_cb);

  install_actions (widget_class);
  gtk_widget_class_install_property_action (widget_class, "win.sidebar", "show-sidebar");
  gtk_widget_class_install_property_action (widget_class, "win.timing", "show-timing");
  gtk_widget_class_install_property_action (widget_class, "win.live", "live");
  gtk_widget_class_install_property_action (widget_class, "win.preview", "preview");
  /* Its state is the loaded model: the menu puts a mark there. */
  gtk_widget_class_install_property_action (widget_class, "win.model", "model");
  sl_window_install_file_actions (widget_class);
  sl_window_install_live_actions (widget_class);
}

static void
sl_window_init (SlWindow *self)
{
  gtk_widget_init_template (GTK_WIDGET (self));
  sl_window_add_drop_target (self);
}
