#include "ui/sl-timing-bars.h"

#include "ui/sl-timing-bar.h"
#include "ui/sl-timing-text.h"

#include <glib/gi18n.h>

struct _SlTimingBars {
  AdwBin parent_instance;

  GtkListView *view; /* borrowed from the template, as the next one */
  GtkSingleSelection *selection;

  GListModel *timings;
  SlTiming *newest; /* the one that may be running */
  gboolean follow;  /* the newest is selected as it comes */
  gboolean by_us;   /* the selection changes, but not by hand */
  double scale;     /* of every bar */
};

enum { PROP_0, PROP_TIMINGS, PROP_SELECTED, PROP_SCALE, N_PROPS };

static GParamSpec *props[N_PROPS];
static guint chosen_signal;

G_DEFINE_FINAL_TYPE (SlTimingBars, sl_timing_bars, ADW_TYPE_BIN)

SlTiming *
sl_timing_bars_get_selected (SlTimingBars *self)
{
  return gtk_single_selection_get_selected_item (self->selection);
}

static guint
get_n (SlTimingBars *self)
{
  return self->timings ? g_list_model_get_n_items (self->timings) : 0;
}

static void
set_selected (SlTimingBars *self, guint position)
{
  self->by_us = TRUE;
  gtk_single_selection_set_selected (self->selection, position);
  self->by_us = FALSE;
}

void
sl_timing_bars_select (SlTimingBars *self, SlTiming *timing)
{
  g_return_if_fail (SL_IS_TIMING_BARS (self));

  for (guint i = 0; i < get_n (self); i++) {
    g_autoptr (SlTiming) item = g_list_model_get_item (self->timings, i);

    if (item == timing)
      set_selected (self, i);
  }
}

/* The longest picture fills the height. */
static void
update_scale (SlTimingBars *self)
{
  double scale = 0;

  for (guint i = 0; i < get_n (self); i++) {
    g_autoptr (SlTiming) timing = g_list_model_get_item (self->timings, i);

    scale = MAX (scale, sl_timing_get_expected (timing));
  }
  if (scale == self->scale)
    return;
  self->scale = scale;
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_SCALE]);
}

static void
set_newest (SlTimingBars *self, SlTiming *timing)
{
  if (self->newest)
    g_signal_handlers_disconnect_by_func (self->newest, update_scale, self);
  g_set_object (&self->newest, timing);
  if (timing)
    g_signal_connect_swapped (timing, "changed", G_CALLBACK (update_scale), self);
}

static void
items_cb (SlTimingBars *self)
{
  const guint n = get_n (self);
  g_autoptr (SlTiming) newest = n ? g_list_model_get_item (self->timings, n - 1) : NULL;

  set_newest (self, newest);
  update_scale (self);
  if (self->follow || !sl_timing_bars_get_selected (self))
    set_selected (self, n ? n - 1 : GTK_INVALID_LIST_POSITION);
}

static void
selected_cb (SlTimingBars *self)
{
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_SELECTED]);
  if (!self->by_us && sl_timing_bars_get_selected (self))
    g_signal_emit (self, chosen_signal, 0);
}

/* By hand or from outside: the last one means "and whatever comes". */
static void
position_cb (SlTimingBars *self)
{
  const guint position = gtk_single_selection_get_selected (self->selection);

  if (position != GTK_INVALID_LIST_POSITION)
    self->follow = position + 1 >= get_n (self);
}

static void
setup_cb (SlTimingBars *self, GtkListItem *item)
{
  GtkWidget *bar = g_object_new (SL_TYPE_TIMING_BAR, NULL);

  g_object_bind_property (self, "scale", bar, "scale", G_BINDING_SYNC_CREATE);
  gtk_list_item_set_child (item, bar);
}

static void
describe_cb (GtkWidget *bar, SlTiming *timing)
{
  g_autofree char *summary = sl_timing_dup_summary (timing);
  g_autofree char *tip = g_strdup_printf ("%s\n%s", sl_timing_get_title (timing), summary);

  gtk_widget_set_tooltip_text (bar, tip);
  gtk_accessible_update_property (GTK_ACCESSIBLE (bar), GTK_ACCESSIBLE_PROPERTY_LABEL, tip, -1);
  if (gtk_widget_get_parent (bar)) /* the list's item, which has the focus */
    gtk_accessible_update_property (GTK_ACCESSIBLE (gtk_widget_get_parent (bar)),
                                    GTK_ACCESSIBLE_PROPERTY_LABEL, tip, -1);
}

static void
bind_cb (SlTimingBars *self, GtkListItem *item)
{
  GtkWidget *bar = gtk_list_item_get_child (item);
  SlTiming *timing = gtk_list_item_get_item (item);

  g_object_set (bar, "timing", timing, NULL);
  describe_cb (bar, timing);
  g_signal_connect_object (timing, "changed", G_CALLBACK (describe_cb), bar, G_CONNECT_SWAPPED);
}

static void
unbind_cb (SlTimingBars *self, GtkListItem *item)
{
  GtkWidget *bar = gtk_list_item_get_child (item);

  g_signal_handlers_disconnect_by_func (gtk_list_item_get_item (item), describe_cb, bar);
  g_object_set (bar, "timing", NULL, NULL);
}

static void
set_timings (SlTimingBars *self, GListModel *timings)
{
  if (self->timings)
    g_signal_handlers_disconnect_by_func (self->timings, items_cb, self);
  g_set_object (&self->timings, timings);
  gtk_single_selection_set_model (self->selection, timings);
  /* After the selection, which follows the list by itself. */
  if (timings)
    g_signal_connect_swapped (timings, "items-changed", G_CALLBACK (items_cb), self);
  items_cb (self);
}

static void
sl_timing_bars_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  SlTimingBars *self = SL_TIMING_BARS (object);

  switch (id) {
  case PROP_TIMINGS:
    set_timings (self, g_value_get_object (value));
    break;
  case PROP_SELECTED:
    sl_timing_bars_select (self, g_value_get_object (value));
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_timing_bars_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  SlTimingBars *self = SL_TIMING_BARS (object);

  switch (id) {
  case PROP_TIMINGS:
    g_value_set_object (value, self->timings);
    break;
  case PROP_SELECTED:
    g_value_set_object (value, sl_timing_bars_get_selected (self));
    break;
  case PROP_SCALE:
    g_value_set_double (value, self->scale);
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_timing_bars_dispose (GObject *object)
{
  SlTimingBars *self = SL_TIMING_BARS (object);

  set_newest (self, NULL);
  if (self->timings)
    g_signal_handlers_disconnect_by_func (self->timings, items_cb, self);
  g_clear_object (&self->timings);

  G_OBJECT_CLASS (sl_timing_bars_parent_class)->dispose (object);
}

static void
sl_timing_bars_class_init (SlTimingBarsClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  object_class->dispose = sl_timing_bars_dispose;
  object_class->set_property = sl_timing_bars_set_property;
  object_class->get_property = sl_timing_bars_get_property;

  props[PROP_TIMINGS] = g_param_spec_object ("timings", NULL, NULL, G_TYPE_LIST_MODEL, flags);
  props[PROP_SELECTED] =
      g_param_spec_object ("selected", NULL, NULL, SL_TYPE_TIMING, flags | G_PARAM_EXPLICIT_NOTIFY);
  props[PROP_SCALE] = g_param_spec_double ("scale", NULL, NULL, 0, G_MAXDOUBLE, 0,
                                           G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  g_object_class_install_properties (object_class, N_PROPS, props);
  chosen_signal = g_signal_new ("chosen", SL_TYPE_TIMING_BARS, G_SIGNAL_RUN_LAST, 0, NULL, NULL,
                                NULL, G_TYPE_NONE, 0);

  gtk_widget_class_set_template_from_resource (widget_class,
                                               "/io/github/safelight/Safelight/sl-timing-bars.ui");
  gtk_widget_class_bind_template_child (widget_class, SlTimingBars, view);
  gtk_widget_class_bind_template_child (widget_class, SlTimingBars, selection);
  gtk_widget_class_bind_template_callback (widget_class, setup_cb);
  gtk_widget_class_bind_template_callback (widget_class, bind_cb);
  gtk_widget_class_bind_template_callback (widget_class, unbind_cb);
  gtk_widget_class_bind_template_callback (widget_class, selected_cb);
  gtk_widget_class_bind_template_callback (widget_class, position_cb);
}

static void
sl_timing_bars_init (SlTimingBars *self)
{
  self->follow = TRUE;
  gtk_widget_init_template (GTK_WIDGET (self));
}
