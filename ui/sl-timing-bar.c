#include "ui/sl-timing-bar.h"

#include "ui/sl-timing-colors.h"

#include <math.h>

struct _SlTimingBar {
  GtkWidget parent_instance;

  SlTiming *timing;
  double scale;
};

enum { PROP_0, PROP_TIMING, PROP_SCALE, N_PROPS };

static GParamSpec *props[N_PROPS];

G_DEFINE_FINAL_TYPE (SlTimingBar, sl_timing_bar, GTK_TYPE_WIDGET)

static void
sl_timing_bar_snapshot (GtkWidget *widget, GtkSnapshot *snapshot)
{
  SlTimingBar *self = SL_TIMING_BAR (widget);
  const double width = gtk_widget_get_width (widget), height = gtk_widget_get_height (widget);
  const double dots = gtk_widget_get_scale_factor (widget);
  double at = 0, y = height, top;
  GdkRGBA color;

  if (!self->timing || self->scale <= 0)
    return;
  /* What no part accounts for stays in the ground's colour. */
  top = height - MAX (1, height * sl_timing_get_total (self->timing) / self->scale);
  top = round (MAX (0, top) * dots) / dots;
  sl_timing_get_foreground (widget, .14f, &color);
  gtk_snapshot_append_color (
      snapshot, &color,
      &GRAPHENE_RECT_INIT (0, (float) top, (float) width, (float) (height - top)));
  for (int part = 0; part < SL_N_PARTS; part++) {
    double next;

    if (part == SL_PART_PNG)
      continue;
    at += sl_timing_get_sum (self->timing, part, NULL);
    next = MAX (top, round (height * (1 - at / self->scale) * dots) / dots);
    if (next >= y)
      continue;
    sl_timing_get_color (widget, part, &color);
    gtk_snapshot_append_color (
        snapshot, &color, &GRAPHENE_RECT_INIT (0, (float) next, (float) width, (float) (y - next)));
    y = next;
  }
}

static void
sl_timing_bar_measure (GtkWidget *widget, GtkOrientation orientation, int for_size, int *minimum,
                       int *natural, int *minimum_baseline, int *natural_baseline)
{
  *minimum = *natural = orientation == GTK_ORIENTATION_VERTICAL ? 30 : 14;
}

static void
set_timing (SlTimingBar *self, SlTiming *timing)
{
  if (self->timing)
    g_signal_handlers_disconnect_by_func (self->timing, gtk_widget_queue_draw, self);
  g_set_object (&self->timing, timing);
  if (timing)
    g_signal_connect_swapped (timing, "changed", G_CALLBACK (gtk_widget_queue_draw), self);
  gtk_widget_queue_draw (GTK_WIDGET (self));
}

static void
sl_timing_bar_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  SlTimingBar *self = SL_TIMING_BAR (object);

  switch (id) {
  case PROP_TIMING:
    set_timing (self, g_value_get_object (value));
    break;
  case PROP_SCALE:
    self->scale = g_value_get_double (value);
    gtk_widget_queue_draw (GTK_WIDGET (self));
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_timing_bar_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  SlTimingBar *self = SL_TIMING_BAR (object);

  switch (id) {
  case PROP_TIMING:
    g_value_set_object (value, self->timing);
    break;
  case PROP_SCALE:
    g_value_set_double (value, self->scale);
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_timing_bar_dispose (GObject *object)
{
  set_timing (SL_TIMING_BAR (object), NULL);

  G_OBJECT_CLASS (sl_timing_bar_parent_class)->dispose (object);
}

static void
sl_timing_bar_class_init (SlTimingBarClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  object_class->dispose = sl_timing_bar_dispose;
  object_class->set_property = sl_timing_bar_set_property;
  object_class->get_property = sl_timing_bar_get_property;
  widget_class->snapshot = sl_timing_bar_snapshot;
  widget_class->measure = sl_timing_bar_measure;

  props[PROP_TIMING] = g_param_spec_object ("timing", NULL, NULL, SL_TYPE_TIMING, flags);
  props[PROP_SCALE] = g_param_spec_double ("scale", NULL, NULL, 0, G_MAXDOUBLE, 0, flags);
  g_object_class_install_properties (object_class, N_PROPS, props);

  gtk_widget_class_set_css_name (widget_class, "timing-bar");
  gtk_widget_class_set_accessible_role (widget_class, GTK_ACCESSIBLE_ROLE_IMG);
}

static void
sl_timing_bar_init (SlTimingBar *self)
{
}
