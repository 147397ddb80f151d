#include "ui/sl-timing-chart.h"

#include "ui/sl-timing-drawing.h"
#include "ui/sl-timing-text.h"

#include <glib/gi18n.h>
#include <math.h>

#define REACH 3        /* pixels: how far from a span the pointer still means it */
#define LIVE_EVERY 100 /* ms: how often a running picture is drawn anew */

struct _SlTimingChart {
  GtkWidget parent_instance;

  SlTiming *timing;
  sl_lanes *lanes;
  struct sl_axis axis;
  struct sl_place hovered, chosen;
  char *told;

  struct sl_drawing drawing; /* of these lanes on this axis */
  double drag_start;         /* of the view when a drag began */
  double zoom_start;         /* length of the view when a pinch began */
  double pointer_x;
  guint live; /* source id while a picture runs */
};

enum { PROP_0, PROP_TIMING, PROP_SPAN, PROP_TOLD, N_PROPS };

static GParamSpec *props[N_PROPS];

G_DEFINE_FINAL_TYPE (SlTimingChart, sl_timing_chart, GTK_TYPE_WIDGET)

/* ---- Where things are ---- */

static double
to_time (SlTimingChart *self, double x)
{
  return sl_axis_to_time (&self->axis, x - self->drawing.names_width,
                          sl_drawing_get_width (&self->drawing));
}

static struct sl_place
find_place (SlTimingChart *self, double x, double y)
{
  const double length = self->axis.end - self->axis.start;
  const double reach = REACH * length / sl_drawing_get_width (&self->drawing); /* in ms */

  for (int lane = 0; x >= self->drawing.names_width && lane < SL_N_LANES; lane++) {
    double top, height;

    sl_drawing_get_lane (&self->drawing, lane, &top, &height);
    if (y >= top && y < top + height)
      return sl_lanes_find (self->lanes, lane, to_time (self, x), reach);
  }
  return (struct sl_place){ 0 };
}

void
sl_timing_chart_get_view (SlTimingChart *self, double *start, double *end)
{
  *start = self->axis.start;
  *end = self->axis.end;
}

gboolean
sl_timing_chart_get_place (SlTimingChart *self, guint index, double *x, double *y)
{
  const struct sl_place place = sl_lanes_find_index (self->lanes, index);
  const struct sl_span *span = sl_lanes_get_at (self->lanes, &place);
  const double width = sl_drawing_get_width (&self->drawing);
  double top, height, along;

  if (!span)
    return FALSE;
  sl_drawing_get_lane (&self->drawing, place.lane, &top, &height);
  along = sl_axis_to_x (&self->axis, (span->start + span->end) / 2, width);
  *y = top + height / 2;
  *x = self->drawing.names_width + along;
  return along >= 0 && along < width;
}

/* ---- What is said ---- */

static void
update_told (SlTimingChart *self)
{
  const struct sl_span *span =
      sl_lanes_get_at (self->lanes, self->hovered.any ? &self->hovered : &self->chosen);
  g_autofree char *told = span ? sl_timing_dup_span_text (self->timing, span) : g_strdup ("");

  if (g_strcmp0 (told, self->told) == 0)
    return;
  g_free (self->told);
  self->told = g_steal_pointer (&told);
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_TOLD]);
}

/* A screen reader reads what is chosen, else the whole. */
static void
update_accessible (SlTimingChart *self)
{
  const struct sl_span *span = sl_lanes_get_at (self->lanes, &self->chosen);
  g_autofree char *text = NULL;

  if (span)
    text = sl_timing_dup_span_text (self->timing, span);
  else
    text = self->timing ? sl_timing_dup_summary (self->timing) : g_strdup ("");
  gtk_accessible_update_property (GTK_ACCESSIBLE (self), GTK_ACCESSIBLE_PROPERTY_DESCRIPTION, text,
                                  -1);
}

static void
choose (SlTimingChart *self, const struct sl_place *place)
{
  const struct sl_span *span = sl_lanes_get_at (self->lanes, place);

  self->chosen = *place;
  if (span)
    sl_axis_show (&self->axis, span->start, span->end);
  update_told (self);
  update_accessible (self);
  gtk_widget_queue_draw (GTK_WIDGET (self));
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_SPAN]);
}

/* ---- Following the timing ---- */

static double
get_extent (SlTimingChart *self)
{
  double extent = self->timing ? sl_timing_get_expected (self->timing) : 1;

  for (int lane = 0; lane < SL_N_LANES; lane++) {
    const guint n = sl_lanes_get_n (self->lanes, lane);

    if (n)
      extent = MAX (extent, sl_lanes_get (self->lanes, lane, n - 1)->end);
  }
  return extent;
}

static gboolean
live_cb (gpointer data)
{
  SlTimingChart *self = data;

  sl_axis_set_extent (&self->axis, get_extent (self));
  gtk_widget_queue_draw (GTK_WIDGET (self));
  return G_SOURCE_CONTINUE;
}

static void
update_live (SlTimingChart *self)
{
  const gboolean live = self->timing && sl_timing_is_running (self->timing) &&
                        gtk_widget_get_mapped (GTK_WIDGET (self));

  if (live && !self->live)
    self->live = g_timeout_add (LIVE_EVERY, live_cb, self);
  else if (!live)
    g_clear_handle_id (&self->live, g_source_remove);
}

static void
changed_cb (SlTimingChart *self)
{
  const struct sl_span *span = sl_lanes_get_at (self->lanes, &self->chosen);
  const double start = span ? span->start : 0;

  if (!sl_lanes_update (self->lanes, self->timing)) {
    self->hovered.any = FALSE;
    if (self->chosen.any)
      self->chosen = sl_lanes_find (self->lanes, self->chosen.lane, start, 0);
    g_object_notify_by_pspec (G_OBJECT (self), props[PROP_SPAN]);
  }
  sl_axis_set_extent (&self->axis, get_extent (self));
  update_told (self);
  update_accessible (self);
  update_live (self);
  gtk_widget_queue_draw (GTK_WIDGET (self));
}

static void
set_timing (SlTimingChart *self, SlTiming *timing)
{
  if (timing == self->timing)
    return;
  if (self->timing)
    g_signal_handlers_disconnect_by_func (self->timing, changed_cb, self);
  sl_lanes_update (self->lanes, NULL);
  self->hovered.any = self->chosen.any = FALSE;
  g_set_object (&self->timing, timing);
  if (timing)
    g_signal_connect_swapped (timing, "changed", G_CALLBACK (changed_cb), self);
  sl_axis_fit (&self->axis);
  changed_cb (self);
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_TIMING]);
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_SPAN]);
}

/* ---- Drawing ---- */

static void
sl_timing_chart_snapshot (GtkWidget *widget, GtkSnapshot *snapshot)
{
  SlTimingChart *self = SL_TIMING_CHART (widget);
  const gboolean running = self->timing && sl_timing_is_running (self->timing);
  const struct sl_marks marks = { running ? sl_timing_get_total (self->timing) : -1, self->hovered,
                                  self->chosen };

  sl_drawing_snapshot (&self->drawing, snapshot, &marks);
}

static void
sl_timing_chart_css_changed (GtkWidget *widget, GtkCssStyleChange *change)
{
  GTK_WIDGET_CLASS (sl_timing_chart_parent_class)->css_changed (widget, change);
  sl_drawing_forget_font (&SL_TIMING_CHART (widget)->drawing);
}

static void
sl_timing_chart_measure (GtkWidget *widget, GtkOrientation orientation, int for_size, int *minimum,
                         int *natural, int *minimum_baseline, int *natural_baseline)
{
  sl_drawing_measure (orientation, minimum, natural);
}

/* ---- Zoom and pan ---- */

static void
view_changed (SlTimingChart *self)
{
  gtk_widget_queue_draw (GTK_WIDGET (self));
}

void
sl_timing_chart_zoom (SlTimingChart *self, double factor)
{
  const struct sl_span *span = sl_lanes_get_at (self->lanes, &self->chosen);
  const double middle = (self->axis.start + self->axis.end) / 2;
  const double at = span ? (span->start + span->end) / 2 : middle;

  g_return_if_fail (SL_IS_TIMING_CHART (self));

  if (factor > 0)
    sl_axis_zoom (&self->axis, factor,
                  at >= self->axis.start && at <= self->axis.end ? at : middle);
  else
    sl_axis_fit (&self->axis);
  view_changed (self);
}

static gboolean
scroll_cb (SlTimingChart *self, double dx, double dy, GtkEventControllerScroll *controller)
{
  const GdkModifierType state =
      gtk_event_controller_get_current_event_state (GTK_EVENT_CONTROLLER (controller));
  const double length = self->axis.end - self->axis.start;
  const gboolean wheel = gtk_event_controller_scroll_get_unit (controller) == GDK_SCROLL_UNIT_WHEEL;

  if (state & GDK_CONTROL_MASK)
    sl_axis_zoom (&self->axis, pow (1.25, -dy / (wheel ? 1 : 40)), to_time (self, self->pointer_x));
  else
    sl_axis_pan (&self->axis, (dx ? dx : dy) * length *
                                  (wheel ? .1 : 1 / sl_drawing_get_width (&self->drawing)));
  view_changed (self);
  return GDK_EVENT_STOP;
}

static void
drag_begin_cb (SlTimingChart *self)
{
  self->drag_start = self->axis.start;
}

static void
drag_update_cb (SlTimingChart *self, double dx)
{
  const double by =
      dx / sl_drawing_get_width (&self->drawing) * (self->axis.end - self->axis.start);

  sl_axis_pan (&self->axis, self->drag_start - by - self->axis.start);
  view_changed (self);
}

static void
pinch_begin_cb (SlTimingChart *self)
{
  self->zoom_start = self->axis.end - self->axis.start;
}

static void
pinch_cb (SlTimingChart *self, double scale, GtkGesture *pinch)
{
  double x, y;

  if (!gtk_gesture_get_bounding_box_center (pinch, &x, &y) || scale <= 0)
    return;
  sl_axis_zoom (&self->axis, (self->axis.end - self->axis.start) * scale / self->zoom_start,
                to_time (self, x));
  view_changed (self);
}

/* ---- Pointer and keys ---- */

static void
hover (SlTimingChart *self, const struct sl_place *place)
{
  if (place->any == self->hovered.any && place->lane == self->hovered.lane &&
      place->i == self->hovered.i)
    return;
  self->hovered = *place;
  update_told (self);
  gtk_widget_queue_draw (GTK_WIDGET (self));
}

static void
motion_cb (SlTimingChart *self, double x, double y)
{
  const struct sl_place place = find_place (self, x, y);

  self->pointer_x = x;
  hover (self, &place);
}

static void
leave_cb (SlTimingChart *self)
{
  hover (self, &(struct sl_place){ 0 });
}

static void
pressed_cb (SlTimingChart *self, int n, double x, double y)
{
  const struct sl_place place = find_place (self, x, y);

  gtk_widget_grab_focus (GTK_WIDGET (self));
  choose (self, &place);
}

/* Along the lane; from nowhere to the first span there is. */
static void
move (SlTimingChart *self, int by)
{
  struct sl_place place = self->chosen;

  if (!place.any) {
    while (place.lane < SL_N_LANES && !sl_lanes_get_n (self->lanes, place.lane))
      place.lane++;
    place.any = place.lane < SL_N_LANES;
    place.i = 0;
  } else {
    const gint64 last = (gint64) sl_lanes_get_n (self->lanes, place.lane) - 1;

    place.i = (guint) CLAMP ((gint64) place.i + by, 0, last);
  }
  choose (self, &place);
}

static gboolean
move_cb (GtkWidget *widget, GVariant *args, gpointer data)
{
  int by;

  g_variant_get (args, "(i)", &by);
  move (SL_TIMING_CHART (widget), by);
  return TRUE;
}

/* To the nearest span of the next lane that has any. */
static gboolean
move_lane_cb (GtkWidget *widget, GVariant *args, gpointer data)
{
  SlTimingChart *self = SL_TIMING_CHART (widget);
  const struct sl_span *span = sl_lanes_get_at (self->lanes, &self->chosen);

  int by;

  g_variant_get (args, "(i)", &by);
  if (!span)
    move (self, 0);
  for (int lane = (int) self->chosen.lane + by; span && lane >= 0 && lane < SL_N_LANES;
       lane += by) {
    const struct sl_place place = sl_lanes_find (self->lanes, lane, span->start, self->axis.extent);

    if (place.any) {
      choose (self, &place);
      break;
    }
  }
  return TRUE;
}

static gboolean
zoom_cb (GtkWidget *widget, GVariant *args, gpointer data)
{
  double factor;

  g_variant_get (args, "(d)", &factor);
  sl_timing_chart_zoom (SL_TIMING_CHART (widget), factor);
  return TRUE;
}

static gboolean
pan_cb (GtkWidget *widget, GVariant *args, gpointer data)
{
  SlTimingChart *self = SL_TIMING_CHART (widget);
  double by;

  g_variant_get (args, "(d)", &by);
  sl_axis_pan (&self->axis, by * (self->axis.end - self->axis.start));
  view_changed (self);
  return TRUE;
}

static void
focus_cb (SlTimingChart *self)
{
  if (!self->chosen.any)
    move (self, 0);
}

/* ---- The object ---- */

static void
sl_timing_chart_map (GtkWidget *widget)
{
  GTK_WIDGET_CLASS (sl_timing_chart_parent_class)->map (widget);
  update_live (SL_TIMING_CHART (widget));
}

static void
sl_timing_chart_unmap (GtkWidget *widget)
{
  GTK_WIDGET_CLASS (sl_timing_chart_parent_class)->unmap (widget);
  update_live (SL_TIMING_CHART (widget));
}

static void
sl_timing_chart_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  SlTimingChart *self = SL_TIMING_CHART (object);
  struct sl_place place;

  switch (id) {
  case PROP_TIMING:
    set_timing (self, g_value_get_object (value));
    break;
  case PROP_SPAN:
    place = sl_lanes_find_index (self->lanes, g_value_get_uint (value));
    if (place.any != self->chosen.any || place.lane != self->chosen.lane ||
        place.i != self->chosen.i)
      choose (self, &place);
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_timing_chart_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  SlTimingChart *self = SL_TIMING_CHART (object);

  switch (id) {
  case PROP_TIMING:
    g_value_set_object (value, self->timing);
    break;
  case PROP_SPAN:
    g_value_set_uint (value, sl_lanes_get_index (self->lanes, &self->chosen));
    break;
  case PROP_TOLD:
    g_value_set_string (value, self->told);
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_timing_chart_dispose (GObject *object)
{
  SlTimingChart *self = SL_TIMING_CHART (object);

  g_clear_handle_id (&self->live, g_source_remove);
  if (self->timing)
    g_signal_handlers_disconnect_by_func (self->timing, changed_cb, self);
  g_clear_object (&self->timing);

  G_OBJECT_CLASS (sl_timing_chart_parent_class)->dispose (object);
}

static void
sl_timing_chart_finalize (GObject *object)
{
  SlTimingChart *self = SL_TIMING_CHART (object);

  sl_drawing_clear (&self->drawing);
  sl_lanes_free (self->lanes);
  g_free (self->told);

  G_OBJECT_CLASS (sl_timing_chart_parent_class)->finalize (object);
}

static void
add_keys (GtkWidgetClass *widget_class)
{
  static const struct {
    guint key;
    GdkModifierType modifiers;
    int span, lane;   /* to move by, */
    double zoom, pan; /* or to do; the first that is not 0 */
  } keys[] = {
    { GDK_KEY_Left, 0, .span = -1 },
    { GDK_KEY_Right, 0, .span = 1 },
    { GDK_KEY_Home, 0, .span = -G_MAXINT },
    { GDK_KEY_End, 0, .span = G_MAXINT },
    { GDK_KEY_Up, 0, .lane = -1 },
    { GDK_KEY_Down, 0, .lane = 1 },
    { GDK_KEY_plus, 0, .zoom = 1.5 },
    { GDK_KEY_equal, 0, .zoom = 1.5 },
    { GDK_KEY_KP_Add, 0, .zoom = 1.5 },
    { GDK_KEY_minus, 0, .zoom = 1 / 1.5 },
    { GDK_KEY_KP_Subtract, 0, .zoom = 1 / 1.5 },
    { GDK_KEY_Left, GDK_SHIFT_MASK, .pan = -.2 },
    { GDK_KEY_Right, GDK_SHIFT_MASK, .pan = .2 },
    { GDK_KEY_Page_Up, 0, .pan = -.9 },
    { GDK_KEY_Page_Down, 0, .pan = .9 },
    { GDK_KEY_0, 0 },
    { GDK_KEY_KP_0, 0 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (keys); i++)
    if (keys[i].span)
      gtk_widget_class_add_binding (widget_class, keys[i].key, keys[i].modifiers, move_cb, "(i)",
                                    keys[i].span);
    else if (keys[i].lane)
      gtk_widget_class_add_binding (widget_class, keys[i].key, keys[i].modifiers, move_lane_cb,
                                    "(i)", keys[i].lane);
    else if (keys[i].pan != 0)
      gtk_widget_class_add_binding (widget_class, keys[i].key, keys[i].modifiers, pan_cb, "(d)",
                                    keys[i].pan);
    else
      gtk_widget_class_add_binding (widget_class, keys[i].key, keys[i].modifiers, zoom_cb, "(d)",
                                    keys[i].zoom);
}

static void
sl_timing_chart_class_init (SlTimingChartClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);

  object_class->dispose = sl_timing_chart_dispose;
  object_class->finalize = sl_timing_chart_finalize;
  object_class->set_property = sl_timing_chart_set_property;
  object_class->get_property = sl_timing_chart_get_property;
  widget_class->snapshot = sl_timing_chart_snapshot;
  widget_class->measure = sl_timing_chart_measure;
  widget_class->css_changed = sl_timing_chart_css_changed;
  widget_class->map = sl_timing_chart_map;
  widget_class->unmap = sl_timing_chart_unmap;

  props[PROP_TIMING] =
      g_param_spec_object ("timing", NULL, NULL, SL_TYPE_TIMING,
                           G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
  props[PROP_SPAN] =
      g_param_spec_uint ("span", NULL, NULL, 0, G_MAXUINT, G_MAXUINT,
                         G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
  props[PROP_TOLD] =
      g_param_spec_string ("told", NULL, NULL, "", G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  g_object_class_install_properties (object_class, N_PROPS, props);

  gtk_widget_class_set_css_name (widget_class, "timing-chart");
  gtk_widget_class_set_accessible_role (widget_class, GTK_ACCESSIBLE_ROLE_IMG);
  add_keys (widget_class);
}

static void
add_controller (SlTimingChart *self, gpointer controller, const char *signal, GCallback callback)
{
  g_signal_connect_swapped (controller, signal, callback, self);
  gtk_widget_add_controller (GTK_WIDGET (self), controller);
}

static void
sl_timing_chart_init (SlTimingChart *self)
{
  GtkEventController *motion = gtk_event_controller_motion_new ();
  GtkGesture *drag = gtk_gesture_drag_new (), *pinch = gtk_gesture_zoom_new ();

  self->lanes = sl_lanes_new ();
  self->axis = (struct sl_axis) SL_AXIS_INIT;
  sl_drawing_init (&self->drawing, GTK_WIDGET (self), self->lanes, &self->axis);
  self->told = g_strdup ("");
  gtk_widget_set_focusable (GTK_WIDGET (self), TRUE);
  gtk_accessible_update_property (GTK_ACCESSIBLE (self), GTK_ACCESSIBLE_PROPERTY_LABEL,
                                  _ ("Timeline"), -1);

  add_controller (self, gtk_event_controller_scroll_new (GTK_EVENT_CONTROLLER_SCROLL_BOTH_AXES),
                  "scroll", G_CALLBACK (scroll_cb));
  g_signal_connect_swapped (motion, "leave", G_CALLBACK (leave_cb), self);
  add_controller (self, motion, "motion", G_CALLBACK (motion_cb));
  g_signal_connect_swapped (drag, "drag-begin", G_CALLBACK (drag_begin_cb), self);
  add_controller (self, drag, "drag-update", G_CALLBACK (drag_update_cb));
  g_signal_connect_swapped (pinch, "begin", G_CALLBACK (pinch_begin_cb), self);
  add_controller (self, pinch, "scale-changed", G_CALLBACK (pinch_cb));
  add_controller (self, gtk_gesture_click_new (), "pressed", G_CALLBACK (pressed_cb));
  add_controller (self, gtk_event_controller_focus_new (), "enter", G_CALLBACK (focus_cb));
}
