#include "ui/sl-timing-spans.h"

#include "ui/sl-timing-text.h"

#include <glib/gi18n.h>

struct _SlTimingSpans {
  AdwBin parent_instance;

  GtkColumnView *view; /* borrowed from the template, as the next one */
  GtkSingleSelection *selection;

  SlTiming *timing;
};

enum { PROP_0, PROP_TIMING, PROP_SPAN, N_PROPS };

static GParamSpec *props[N_PROPS];

G_DEFINE_FINAL_TYPE (SlTimingSpans, sl_timing_spans, ADW_TYPE_BIN)

static const struct sl_span *
get_span (GtkListItem *item, SlTiming **timing)
{
  SlTimingItem *row = gtk_list_item_get_item (item);
  guint n;
  const struct sl_span *spans;

  *timing = sl_timing_item_get_timing (row);
  spans = sl_timing_get_spans (*timing, &n);
  return sl_timing_item_get_index (row) < n ? &spans[sl_timing_item_get_index (row)] : NULL;
}

static void
setup_name_cb (SlTimingSpans *self, GtkListItem *item)
{
  gtk_list_item_set_child (
      item, g_object_new (GTK_TYPE_LABEL, "xalign", 0.0, "ellipsize", PANGO_ELLIPSIZE_END, NULL));
}

static void
setup_number_cb (SlTimingSpans *self, GtkListItem *item)
{
  GtkWidget *label = g_object_new (GTK_TYPE_LABEL, "xalign", 1.0, NULL);

  gtk_widget_add_css_class (label, "numeric");
  gtk_list_item_set_child (item, label);
}

/* Takes text. */
static void
set_text (GtkListItem *item, char *text)
{
  gtk_label_set_text (GTK_LABEL (gtk_list_item_get_child (item)), text);
  g_free (text);
}

/* GTK 4.8 gives a row no name of its own; a screen reader reads the whole line of it. */
static void
name_row (GtkWidget *cell, const char *name)
{
  while (cell &&
         gtk_accessible_get_accessible_role (GTK_ACCESSIBLE (cell)) != GTK_ACCESSIBLE_ROLE_ROW)
    cell = gtk_widget_get_parent (cell);
  if (cell)
    gtk_accessible_update_property (GTK_ACCESSIBLE (cell), GTK_ACCESSIBLE_PROPERTY_LABEL, name, -1);
}

static void
bind_name_cb (SlTimingSpans *self, GtkListItem *item)
{
  SlTiming *timing;
  const struct sl_span *span = get_span (item, &timing);
  g_autofree char *text = span ? sl_timing_dup_span_text (timing, span) : NULL;

  if (!span)
    return;
  gtk_widget_set_tooltip_text (gtk_list_item_get_child (item), text);
  name_row (gtk_list_item_get_child (item), text);
  set_text (item, sl_span_dup_label (span));
}

static void
bind_start_cb (SlTimingSpans *self, GtkListItem *item)
{
  SlTiming *timing;
  const struct sl_span *span = get_span (item, &timing);

  if (span)
    set_text (item, sl_timing_get_part (span) == SL_PART_PNG ? g_strdup (_ ("after"))
                                                             : sl_dup_ms (span->start));
}

static void
bind_length_cb (SlTimingSpans *self, GtkListItem *item)
{
  SlTiming *timing;
  const struct sl_span *span = get_span (item, &timing);

  if (span)
    set_text (item, sl_dup_ms (span->end - span->start));
}

static void
bind_share_cb (SlTimingSpans *self, GtkListItem *item)
{
  SlTiming *timing;
  const struct sl_span *span = get_span (item, &timing);

  if (span)
    set_text (item, sl_timing_get_part (span) == SL_PART_PNG
                        ? g_strdup ("")
                        : sl_timing_dup_share (timing, span->end - span->start));
}

static void
selected_cb (SlTimingSpans *self)
{
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_SPAN]);
}

static void
select_span (SlTimingSpans *self, guint span)
{
  const guint n = self->timing ? g_list_model_get_n_items (G_LIST_MODEL (self->timing)) : 0;
  GtkWidget *list = gtk_widget_get_last_child (GTK_WIDGET (self->view));

  span = span < n ? span : GTK_INVALID_LIST_POSITION;
  if (span == gtk_single_selection_get_selected (self->selection))
    return;
  gtk_single_selection_set_selected (self->selection, span);
  if (span != GTK_INVALID_LIST_POSITION && list)
    gtk_widget_activate_action (list, "list.scroll-to-item", "u", span);
}

static void
sl_timing_spans_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  SlTimingSpans *self = SL_TIMING_SPANS (object);

  switch (id) {
  case PROP_TIMING:
    if (g_set_object (&self->timing, g_value_get_object (value)))
      gtk_single_selection_set_model (self->selection, G_LIST_MODEL (self->timing));
    break;
  case PROP_SPAN:
    select_span (self, g_value_get_uint (value));
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_timing_spans_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  SlTimingSpans *self = SL_TIMING_SPANS (object);

  switch (id) {
  case PROP_TIMING:
    g_value_set_object (value, self->timing);
    break;
  case PROP_SPAN: /* GTK_INVALID_LIST_POSITION is G_MAXUINT */
    g_value_set_uint (value, gtk_single_selection_get_selected (self->selection));
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_timing_spans_dispose (GObject *object)
{
  g_clear_object (&SL_TIMING_SPANS (object)->timing);

  G_OBJECT_CLASS (sl_timing_spans_parent_class)->dispose (object);
}

static void
sl_timing_spans_class_init (SlTimingSpansClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  object_class->dispose = sl_timing_spans_dispose;
  object_class->set_property = sl_timing_spans_set_property;
  object_class->get_property = sl_timing_spans_get_property;

  props[PROP_TIMING] = g_param_spec_object ("timing", NULL, NULL, SL_TYPE_TIMING, flags);
  props[PROP_SPAN] = g_param_spec_uint ("span", NULL, NULL, 0, G_MAXUINT, G_MAXUINT,
                                        flags | G_PARAM_EXPLICIT_NOTIFY);
  g_object_class_install_properties (object_class, N_PROPS, props);

  gtk_widget_class_set_template_from_resource (widget_class,
                                               "/io/github/safelight/Safelight/sl-timing-spans.ui");
  gtk_widget_class_bind_template_child (widget_class, SlTimingSpans, view);
  gtk_widget_class_bind_template_child (widget_class, SlTimingSpans, selection);
  gtk_widget_class_bind_template_callback (widget_class, setup_name_cb);
  gtk_widget_class_bind_template_callback (widget_class, setup_number_cb);
  gtk_widget_class_bind_template_callback (widget_class, bind_name_cb);
  gtk_widget_class_bind_template_callback (widget_class, bind_start_cb);
  gtk_widget_class_bind_template_callback (widget_class, bind_length_cb);
  gtk_widget_class_bind_template_callback (widget_class, bind_share_cb);
  gtk_widget_class_bind_template_callback (widget_class, selected_cb);
}

static void
sl_timing_spans_init (SlTimingSpans *self)
{
  gtk_widget_init_template (GTK_WIDGET (self));
}
