#include "ui/sl-sidebar.h"

#include "ui/sl-prompt-editor.h"
#include "ui/sl-size-row.h"
#include "ui/sl-starter.h"

#include <glib/gi18n.h>
#include <math.h>

struct _SlSidebar {
  AdwBin parent_instance;

  /* Borrowed from the template. */
  SlPromptEditor *prompt;
  SlPromptEditor *negative;
  GtkRevealer *negative_revealer;
  AdwActionRow *model_row;
  GtkMenuButton *model_button;
  SlSizeRow *size;
  GtkAdjustment *steps;
  GtkAdjustment *cfg;
  GtkAdjustment *count;
  AdwEntryRow *seed;
  GtkToggleButton *seed_lock;
  AdwComboRow *sampler;
  AdwComboRow *schedule;
  AdwComboRow *rng;
  GtkAdjustment *shift;
  GtkButton *generate;

  SlSession *session;
  GSettings *settings;
};

G_DEFINE_FINAL_TYPE (SlSidebar, sl_sidebar, ADW_TYPE_BIN)

typedef const char *(*choice_func) (guint i, const char **id);

static gboolean
choice_from_settings (GValue *value, GVariant *variant, gpointer func)
{
  const char *wanted = g_variant_get_string (variant, NULL), *id;

  for (guint i = 0; ((choice_func) func) (i, &id); i++)
    if (g_strcmp0 (id, wanted) == 0)
      g_value_set_uint (value, i);
  return TRUE;
}

static GVariant *
choice_to_settings (const GValue *value, const GVariantType *type, gpointer func)
{
  const char *id = "";

  ((choice_func) func) (g_value_get_uint (value), &id);
  return g_variant_new_string (id);
}

static void
bind_choice (SlSidebar *self, const char *key, AdwComboRow *row, choice_func func)
{
  g_autoptr (GtkStringList) names = gtk_string_list_new (NULL);
  const char *name;

  for (guint i = 0; (name = func (i, NULL)); i++)
    gtk_string_list_append (names, name);
  adw_combo_row_set_model (row, G_LIST_MODEL (names));
  g_settings_bind_with_mapping (self->settings, key, row, "selected", G_SETTINGS_BIND_DEFAULT,
                                choice_from_settings, choice_to_settings, func, NULL);
}

static gboolean
parse_seed (const char *text, guint64 *seed)
{
  g_autofree char *copy = g_strstrip (g_strdup (text));

  return g_ascii_string_to_unsigned (copy, 10, 0, G_MAXUINT64, seed, NULL);
}

static gboolean
seed_from_settings (GValue *value, GVariant *variant, gpointer data)
{
  SlSidebar *self = data;
  const guint64 seed = g_variant_get_uint64 (variant);
  guint64 shown;

  /* What is being typed ("007") stays as typed. */
  if (parse_seed (gtk_editable_get_text (GTK_EDITABLE (self->seed)), &shown) && shown == seed)
    g_value_set_string (value, gtk_editable_get_text (GTK_EDITABLE (self->seed)));
  else
    g_value_take_string (value, g_strdup_printf ("%" G_GUINT64_FORMAT, seed));
  return TRUE;
}

static GVariant *
seed_to_settings (const GValue *value, const GVariantType *type, gpointer data)
{
  SlSidebar *self = data;
  guint64 seed;
  const gboolean good = parse_seed (g_value_get_string (value), &seed);

  if (good)
    gtk_widget_remove_css_class (GTK_WIDGET (self->seed), "error");
  else
    gtk_widget_add_css_class (GTK_WIDGET (self->seed), "error");
  gtk_accessible_update_state (GTK_ACCESSIBLE (self->seed), GTK_ACCESSIBLE_STATE_INVALID,
                               good ? GTK_ACCESSIBLE_INVALID_FALSE : GTK_ACCESSIBLE_INVALID_TRUE,
                               -1);
  return good ? g_variant_new_uint64 (seed) : NULL;
}

static void
update_lock_cb (SlSidebar *self)
{
  const gboolean locked = gtk_toggle_button_get_active (self->seed_lock);

  gtk_button_set_icon_name (GTK_BUTTON (self->seed_lock),
                            locked ? "sl-lock-symbolic" : "sl-unlock-symbolic");
  gtk_widget_set_tooltip_text (GTK_WIDGET (self->seed_lock),
                               locked ? _ ("The seed is kept for the next picture (Ctrl+L)")
                                      : _ ("Every picture gets a new seed (Ctrl+L)"));
}

static void
update_negative_cb (SlSidebar *self)
{
  gtk_revealer_set_reveal_child (self->negative_revealer,
                                 gtk_adjustment_get_value (self->cfg) > 1.0);
}

/* As many decimals as it has.  What is shown is what is read back when the focus leaves: with fewer
 * a picture's CFG of 4.25 would be another one after a Tab. */
static gboolean
output_cb (GtkSpinButton *spin)
{
  const double value = gtk_spin_button_get_value (spin);
  g_autofree char *text = NULL;
  int digits = 0;

  /* Up to the digits that the button reads; it would refuse more, and then be empty. */
  for (double n = value; fabs (n - round (n)) > 1e-5 && digits < 4; n *= 10)
    digits++;
  text = g_strdup_printf ("%.*f", digits, value);
  if (g_strcmp0 (text, gtk_editable_get_text (GTK_EDITABLE (spin))) != 0)
    gtk_editable_set_text (GTK_EDITABLE (spin), text);
  return TRUE;
}

static void
append_model (GMenu *menu, const char *label, const char *path)
{
  g_autoptr (GMenuItem) item = g_menu_item_new (label, NULL);

  g_menu_item_set_action_and_target (item, "win.model", "s", path);
  g_menu_append_item (menu, item);
}

static char *
dup_model_label (const char *path, const char *starter)
{
  return g_strcmp0 (path, starter) == 0 ? g_strdup (_ ("Starter")) : g_path_get_basename (path);
}

static void
update_model_menu_cb (SlSidebar *self)
{
  g_autoptr (GMenu) menu = g_menu_new (), models = g_menu_new (), open = g_menu_new ();
  g_auto (GStrv) recent = g_settings_get_strv (self->settings, "recent-models");
  g_autofree char *starter = sl_starter_dup_path ();

  append_model (models, _ ("Starter"), starter);
  for (guint i = 0; recent[i]; i++) {
    g_autofree char *label = dup_model_label (recent[i], starter);

    if (g_strcmp0 (recent[i], starter) != 0)
      append_model (models, label, recent[i]);
  }
  g_menu_append (open, _ ("Open Model _Folder…"), "win.open-model-folder");
  g_menu_append (open, _ ("Open Model F_ile…"), "win.open-model-file");
  g_menu_append_section (menu, NULL, G_MENU_MODEL (models));
  g_menu_append_section (menu, NULL, G_MENU_MODEL (open));
  gtk_menu_button_set_menu_model (self->model_button, G_MENU_MODEL (menu));
}

static void
update_model_cb (SlSidebar *self)
{
  g_autofree char *starter = sl_starter_dup_path (), *label = NULL, *family = NULL, *device = NULL;
  g_autofree char *subtitle = NULL, *reason = NULL, *tip = NULL;
  const char *path = sl_session_get_model_path (self->session);

  g_object_get (self->session, "model-family", &family, "device-name", &device, "device-reason",
                &reason, NULL);
  label = *path ? dup_model_label (path, starter) : NULL;
  if (sl_session_get_state (self->session) == SL_STATE_LOADING)
    subtitle = g_strdup (_ ("Loading…"));
  else if (label)
    /* Translators: the kind of model, and what it runs on ("Z-Image on CPU, 2 threads"). */
    subtitle = g_strdup_printf (_ ("%s on %s"), family, device);
  gtk_menu_button_set_label (self->model_button, label ? label : _ ("Choose…"));
  adw_action_row_set_subtitle (self->model_row, subtitle ? subtitle : "");
  /* Whole, where the line is cut; and why it is not a GPU. */
  tip = g_strjoin ("\n", subtitle ? subtitle : "", *reason ? reason : NULL, NULL);
  gtk_widget_set_tooltip_text (GTK_WIDGET (self->model_row), *tip ? tip : NULL);
}

static void
update_busy_cb (SlSidebar *self)
{
  const gboolean busy = sl_session_get_busy (self->session);

  gtk_button_set_label (self->generate, busy ? _ ("_Cancel") : _ ("_Generate"));
  gtk_widget_set_tooltip_text (GTK_WIDGET (self->generate),
                               busy ? _ ("Cancel (Escape)") : _ ("Generate (Ctrl+Enter)"));
  gtk_actionable_set_action_name (GTK_ACTIONABLE (self->generate),
                                  busy ? "win.cancel" : "win.generate");
  if (busy)
    gtk_widget_remove_css_class (GTK_WIDGET (self->generate), "suggested-action");
  else
    gtk_widget_add_css_class (GTK_WIDGET (self->generate), "suggested-action");
}

void
sl_sidebar_focus_prompt (SlSidebar *self)
{
  gtk_widget_grab_focus (GTK_WIDGET (sl_prompt_editor_get_view (self->prompt)));
}

static void
bind_settings (SlSidebar *self)
{
  const struct {
    const char *key;
    gpointer object;
    const char *property;
  } plain[] = {
    { "prompt", self->prompt, "text" }, { "negative", self->negative, "text" },
    { "width", self->size, "width" },   { "height", self->size, "height" },
    { "steps", self->steps, "value" },  { "cfg", self->cfg, "value" },
    { "count", self->count, "value" },  { "seed-locked", self->seed_lock, "active" },
    { "shift", self->shift, "value" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (plain); i++)
    g_settings_bind (self->settings, plain[i].key, plain[i].object, plain[i].property,
                     G_SETTINGS_BIND_DEFAULT);
  g_settings_bind_with_mapping (self->settings, "seed", self->seed, "text", G_SETTINGS_BIND_DEFAULT,
                                seed_from_settings, seed_to_settings, self, NULL);
  bind_choice (self, "sampler", self->sampler, sl_session_get_sampler);
  bind_choice (self, "schedule", self->schedule, sl_session_get_schedule);
  bind_choice (self, "rng", self->rng, sl_session_get_rng);
}

void
sl_sidebar_bind (SlSidebar *self, SlSession *session, GSettings *settings)
{
  g_return_if_fail (SL_IS_SIDEBAR (self) && !self->session);

  self->session = g_object_ref (session);
  self->settings = g_object_ref (settings);
  bind_settings (self);
  g_object_set (self->prompt, "session", session, NULL);
  g_object_set (self->negative, "session", session, NULL);
  g_object_bind_property (session, "size-multiple", self->size, "multiple", G_BINDING_SYNC_CREATE);

  g_signal_connect_object (session, "notify::busy", G_CALLBACK (update_busy_cb), self,
                           G_CONNECT_SWAPPED);
  g_signal_connect_object (session, "notify::state", G_CALLBACK (update_model_cb), self,
                           G_CONNECT_SWAPPED);
  g_signal_connect_object (session, "notify::model-path", G_CALLBACK (update_model_cb), self,
                           G_CONNECT_SWAPPED);
  g_signal_connect_object (settings, "changed::recent-models", G_CALLBACK (update_model_menu_cb),
                           self, G_CONNECT_SWAPPED);
  update_busy_cb (self);
  update_model_cb (self);
  update_model_menu_cb (self);
  update_negative_cb (self);
  update_lock_cb (self);
}

static void
sl_sidebar_dispose (GObject *object)
{
  SlSidebar *self = SL_SIDEBAR (object);

  g_clear_object (&self->session);
  g_clear_object (&self->settings);

  G_OBJECT_CLASS (sl_sidebar_parent_class)->dispose (object);
}

static void
sl_sidebar_class_init (SlSidebarClass *klass)
{
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);

  G_OBJECT_CLASS (klass)->dispose = sl_sidebar_dispose;

  g_type_ensure (SL_TYPE_PROMPT_EDITOR);
  g_type_ensure (SL_TYPE_SIZE_ROW);
  gtk_widget_class_set_template_from_resource (widget_class,
                                               "/io/github/safelight/Safelight/sl-sidebar.ui");
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, prompt);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, negative);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, negative_revealer);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, model_row);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, model_button);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, size);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, steps);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, cfg);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, count);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, seed);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, seed_lock);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, sampler);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, schedule);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, rng);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, shift);
  gtk_widget_class_bind_template_child (widget_class, SlSidebar, generate);
  gtk_widget_class_bind_template_callback (widget_class, update_negative_cb);
  gtk_widget_class_bind_template_callback (widget_class, update_lock_cb);
  gtk_widget_class_bind_template_callback (widget_class, output_cb);
}

static void
sl_sidebar_init (SlSidebar *self)
{
  gtk_widget_init_template (GTK_WIDGET (self));
}
