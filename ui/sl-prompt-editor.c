#include "ui/sl-prompt-editor.h"

#include <glib/gi18n.h>

#define COUNT_AFTER_MS 150 /* since the last key */
#define MAX_CHARS 8000 /* many times what any model reads; a pasted book would stall the window */

struct _SlPromptEditor {
  AdwBin parent_instance;

  GtkLabel *title; /* borrowed from the template, as the next four */
  GtkLabel *counter;
  GtkLabel *placeholder;
  GtkTextView *view;
  GtkTextBuffer *buffer;

  SlSession *session;
  GSignalGroup *session_signals;
  guint count_later; /* source id */
  GCancellable *counting;
};

enum { PROP_0, PROP_TEXT, PROP_TITLE, PROP_PLACEHOLDER, PROP_SESSION, N_PROPS };

static GParamSpec *props[N_PROPS];

G_DEFINE_FINAL_TYPE (SlPromptEditor, sl_prompt_editor, ADW_TYPE_BIN)

GtkTextView *
sl_prompt_editor_get_view (SlPromptEditor *self)
{
  return self->view;
}

static char *
dup_text (SlPromptEditor *self)
{
  GtkTextIter start, end;

  gtk_text_buffer_get_bounds (self->buffer, &start, &end);
  return gtk_text_buffer_get_text (self->buffer, &start, &end, FALSE);
}

static void
counted_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  SlPromptEditor *self = data;
  g_autoptr (GError) error = NULL;
  g_autofree char *text = NULL, *spoken = NULL;
  const int n = sl_session_count_tokens_finish (SL_SESSION (object), result, &error);
  int limit;

  if (error) /* cancelled: self may be gone */
    return;
  g_object_get (object, "prompt-limit", &limit, NULL);
  /* Translators: tokens of the prompt, and how many the model reads. */
  text = n > 0 && limit > 0 ? g_strdup_printf (_ ("%d / %d"), n, limit) : g_strdup ("");
  spoken = g_strdup_printf (ngettext ("%d token", "%d tokens", n), n);
  gtk_label_set_text (self->counter, text);
  gtk_widget_set_tooltip_text (GTK_WIDGET (self->counter),
                               limit > 0 && n > limit
                                   ? _ ("The prompt is longer than the model reads: its end is cut")
                                   : _ ("Tokens of the prompt, and how many the model reads"));
  gtk_accessible_update_property (GTK_ACCESSIBLE (self->counter), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                  spoken, -1);
  if (limit > 0 && n > limit)
    gtk_widget_add_css_class (GTK_WIDGET (self->counter), "error");
  else
    gtk_widget_remove_css_class (GTK_WIDGET (self->counter), "error");
}

static void
stop_counting (SlPromptEditor *self)
{
  g_clear_handle_id (&self->count_later, g_source_remove);
  g_cancellable_cancel (self->counting);
  g_clear_object (&self->counting);
}

static gboolean
count_cb (gpointer data)
{
  SlPromptEditor *self = data;
  g_autofree char *text = dup_text (self);

  self->count_later = 0;
  self->counting = g_cancellable_new ();
  sl_session_count_tokens_async (self->session, text, self->counting, counted_cb, self);
  return G_SOURCE_REMOVE;
}

static void
queue_count (SlPromptEditor *self)
{
  stop_counting (self);
  if (self->session)
    self->count_later = g_timeout_add (COUNT_AFTER_MS, count_cb, self);
}

static void
changed_cb (SlPromptEditor *self)
{
  gtk_widget_set_visible (GTK_WIDGET (self->placeholder),
                          gtk_text_buffer_get_char_count (self->buffer) == 0);
  queue_count (self);
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_TEXT]);
}

static void
insert_text_cb (SlPromptEditor *self, GtkTextIter *at, const char *text, int length)
{
  const glong room = MAX_CHARS - gtk_text_buffer_get_char_count (self->buffer);

  if (g_utf8_strlen (text, length) <= room)
    return;
  g_signal_stop_emission_by_name (self->buffer, "insert-text");
  if (room > 0)
    gtk_text_buffer_insert (self->buffer, at, text,
                            (int) (g_utf8_offset_to_pointer (text, room) - text));
}

static void
set_text (SlPromptEditor *self, const char *text)
{
  g_autofree char *old = dup_text (self);

  /* Bound both ways: setting what is there already would move the cursor while typing. */
  if (g_strcmp0 (old, text ? text : "") != 0)
    gtk_text_buffer_set_text (self->buffer, text ? text : "", -1);
}

static void
sl_prompt_editor_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  SlPromptEditor *self = SL_PROMPT_EDITOR (object);

  switch (id) {
  case PROP_TEXT:
    set_text (self, g_value_get_string (value));
    break;
  case PROP_TITLE:
    gtk_label_set_label (self->title, g_value_get_string (value));
    break;
  case PROP_PLACEHOLDER:
    gtk_label_set_label (self->placeholder, g_value_get_string (value));
    break;
  case PROP_SESSION:
    g_set_object (&self->session, g_value_get_object (value));
    g_signal_group_set_target (self->session_signals, self->session);
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_prompt_editor_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  SlPromptEditor *self = SL_PROMPT_EDITOR (object);

  switch (id) {
  case PROP_TEXT:
    g_value_take_string (value, dup_text (self));
    break;
  case PROP_TITLE:
    g_value_set_string (value, gtk_label_get_label (self->title));
    break;
  case PROP_PLACEHOLDER:
    g_value_set_string (value, gtk_label_get_label (self->placeholder));
    break;
  case PROP_SESSION:
    g_value_set_object (value, self->session);
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_prompt_editor_dispose (GObject *object)
{
  SlPromptEditor *self = SL_PROMPT_EDITOR (object);

  stop_counting (self);
  g_clear_object (&self->session_signals);
  g_clear_object (&self->session);

  G_OBJECT_CLASS (sl_prompt_editor_parent_class)->dispose (object);
}

static void
sl_prompt_editor_class_init (SlPromptEditorClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  object_class->dispose = sl_prompt_editor_dispose;
  object_class->set_property = sl_prompt_editor_set_property;
  object_class->get_property = sl_prompt_editor_get_property;

  props[PROP_TEXT] = g_param_spec_string ("text", NULL, NULL, "", flags | G_PARAM_EXPLICIT_NOTIFY);
  props[PROP_TITLE] = g_param_spec_string ("title", NULL, NULL, "", flags);
  props[PROP_PLACEHOLDER] = g_param_spec_string ("placeholder", NULL, NULL, "", flags);
  props[PROP_SESSION] = g_param_spec_object ("session", NULL, NULL, SL_TYPE_SESSION, flags);
  g_object_class_install_properties (object_class, N_PROPS, props);

  gtk_widget_class_set_template_from_resource (
      widget_class, "/io/github/safelight/Safelight/sl-prompt-editor.ui");
  gtk_widget_class_bind_template_child (widget_class, SlPromptEditor, title);
  gtk_widget_class_bind_template_child (widget_class, SlPromptEditor, counter);
  gtk_widget_class_bind_template_child (widget_class, SlPromptEditor, placeholder);
  gtk_widget_class_bind_template_child (widget_class, SlPromptEditor, view);
  gtk_widget_class_bind_template_child (widget_class, SlPromptEditor, buffer);
  gtk_widget_class_bind_template_callback (widget_class, changed_cb);
  gtk_widget_class_bind_template_callback (widget_class, insert_text_cb);
}

static void
sl_prompt_editor_init (SlPromptEditor *self)
{
  gtk_widget_init_template (GTK_WIDGET (self));

  /* Another model counts otherwise. */
  self->session_signals = g_signal_group_new (SL_TYPE_SESSION);
  g_signal_group_connect_swapped (self->session_signals, "notify::model-path",
                                  G_CALLBACK (queue_count), self);
}
