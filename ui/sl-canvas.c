#include "ui/sl-canvas.h"

#include "ui/sl-gl-view.h"
#include "ui/sl-pixels.h"
#include "ui/sl-resample.h"

#include <adwaita.h>
#include <math.h>

#define MARGIN 24    /* around a fitted picture */
#define REACH 16     /* from the line between two pictures, by hand */
#define CORNER 6     /* of a fitted picture, rounded */
#define FADE_MS 120  /* from one picture to the next */
#define MAX_SMOOTH 4 /* times that a small picture is enlarged */
#define MIN_ZOOM 0.05
#define MAX_ZOOM 32.0

struct layer {         /* what is in the place of a picture */
  GdkTexture *texture; /* owned; NULL: see live */
  int live;            /* 0: a blank sheet; else the view's live texture live - 1 */
  int width, height;   /* the picture's */
};

struct _SlCanvas {
  GtkWidget parent_instance;

  SlGlView *view;           /* the child; draws unless it has a reason not to */
  struct layer now, before; /* before is faded out */
  struct layer other;       /* what now is compared with; width 0: nothing */
  double split;             /* the line between the two, 0 to 1 */
  gboolean moves_line;      /* the drag does */
  AdwAnimation *fade;
  double mix; /* of now */
  gint64 shown_at;
  GCancellable *smoothing; /* of the picture to be shown, if any */

  guint scale_later; /* source id: tells of a new scale once the layout is done */
  double zoom;       /* 0: fit */
  double x, y;       /* the picture's point in the middle of the view, 0 to 1 */
  double drag_x, drag_y;
  double pointer_x, pointer_y;
  double pinch_scale;
};

enum { PROP_0, PROP_ZOOM, PROP_SCALE, PROP_HAS_PICTURE, PROP_HAS_GL, N_PROPS };

static GParamSpec *props[N_PROPS];

G_DEFINE_FINAL_TYPE (SlCanvas, sl_canvas, GTK_TYPE_WIDGET)

static gboolean
has_gl (SlCanvas *self)
{
  return self->view && gtk_widget_get_realized (GTK_WIDGET (self->view)) &&
         !sl_gl_view_get_reason (self->view);
}

static void
redraw (SlCanvas *self)
{
  if (has_gl (self))
    gtk_gl_area_queue_render (GTK_GL_AREA (self->view));
  gtk_widget_queue_draw (GTK_WIDGET (self));
}

static double
fit_scale (SlCanvas *self, const struct layer *layer)
{
  const double width = MAX (gtk_widget_get_width (GTK_WIDGET (self)) - 2 * MARGIN, 16);
  const double height = MAX (gtk_widget_get_height (GTK_WIDGET (self)) - 2 * MARGIN, 16);

  return MIN (width / layer->width, height / layer->height);
}

/* Widget units for each pixel of the picture. */
static double
layer_scale (SlCanvas *self, const struct layer *layer)
{
  if (!layer->width || !layer->height)
    return 1;
  return self->zoom > 0 ? self->zoom / gtk_widget_get_scale_factor (GTK_WIDGET (self))
                        : fit_scale (self, layer);
}

/* In widget units, and on whole pixels of the device. */
static graphene_rect_t
layer_rect (SlCanvas *self, const struct layer *layer)
{
  const double factor = gtk_widget_get_scale_factor (GTK_WIDGET (self));
  const double scale = layer_scale (self, layer);
  const double width = layer->width * scale, height = layer->height * scale;
  const double all_width = gtk_widget_get_width (GTK_WIDGET (self));
  const double all_height = gtk_widget_get_height (GTK_WIDGET (self));
  /* What fits is centred; what does not is placed by the point in the middle. */
  const double x = width <= all_width ? (all_width - width) / 2 : all_width / 2 - self->x * width;
  const double y =
      height <= all_height ? (all_height - height) / 2 : all_height / 2 - self->y * height;

  return GRAPHENE_RECT_INIT (
      (float) (round (x * factor) / factor), (float) (round (y * factor) / factor),
      (float) (round (width * factor) / factor), (float) (round (height * factor) / factor));
}

/* Keeps the edges of a large picture from leaving the view. */
static void
clamp_view (SlCanvas *self)
{
  const double scale = layer_scale (self, &self->now);
  const double half_x = gtk_widget_get_width (GTK_WIDGET (self)) / 2.0 / scale;
  const double half_y = gtk_widget_get_height (GTK_WIDGET (self)) / 2.0 / scale;
  const double room_x = MIN (half_x / MAX (self->now.width, 1), 0.5);
  const double room_y = MIN (half_y / MAX (self->now.height, 1), 0.5);

  self->x = CLAMP (self->x, room_x, 1 - room_x);
  self->y = CLAMP (self->y, room_y, 1 - room_y);
}

static void
view_changed (SlCanvas *self)
{
  clamp_view (self);
  gtk_widget_set_cursor_from_name (GTK_WIDGET (self), sl_canvas_get_can_pan (self) ? "grab" : NULL);
  redraw (self);
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_SCALE]);
}

static GdkRGBA
get_paper (SlCanvas *self)
{
  GdkRGBA paper;

  gtk_style_context_get_color (gtk_widget_get_style_context (GTK_WIDGET (self)), &paper);
  paper.alpha *= 0.06f;
  return paper;
}

/* ---- Drawing by OpenGL ---- */

static struct sl_gl_layer
gl_layer (SlCanvas *self, const struct layer *layer)
{
  const float factor = (float) gtk_widget_get_scale_factor (GTK_WIDGET (self));
  graphene_rect_t rect;

  if (!layer->width)
    return (struct sl_gl_layer){ 0 };
  rect = layer_rect (self, layer);
  return (struct sl_gl_layer){
    .texture = layer->texture,
    .live = layer->live,
    .x = roundf (rect.origin.x * factor),
    .y = roundf (rect.origin.y * factor),
    .width = roundf (rect.size.width * factor),
    .height = roundf (rect.size.height * factor),
    .soft =
        layer->live || (layer->texture && gdk_texture_get_width (layer->texture) < layer->width),
  };
}

static void
fill_scene (struct sl_gl_scene *scene, gpointer data)
{
  SlCanvas *self = data;
  const GdkRGBA paper = get_paper (self);
  const int factor = gtk_widget_get_scale_factor (GTK_WIDGET (self));

  scene->now = gl_layer (self, &self->now);
  scene->radius = self->zoom > 0 ? 0 : (float) (CORNER * factor);
  memcpy (scene->paper, (float[]){ paper.red, paper.green, paper.blue, paper.alpha },
          sizeof scene->paper);
  if (self->other.width) {
    scene->before = gl_layer (self, &self->other);
    scene->split = roundf (scene->now.x + (float) self->split * scene->now.width) + .5f;
  } else if (self->before.width) {
    scene->before = gl_layer (self, &self->before);
    scene->mix = (float) self->mix;
  }
}

/* ---- Drawing by GTK ---- */

static void
append_layer (SlCanvas *self, GtkSnapshot *snapshot, const struct layer *layer)
{
  const graphene_rect_t rect = layer_rect (self, layer);
  const GdkRGBA paper = get_paper (self);
  GskRoundedRect rounded;

  gsk_rounded_rect_init_from_rect (&rounded, &rect, self->zoom > 0 ? 0 : CORNER);
  gtk_snapshot_push_rounded_clip (snapshot, &rounded);
  if (layer->texture) {
    gtk_snapshot_append_texture (snapshot, layer->texture, &rect);
  } else { /* the blank sheet in the tray */
    gtk_snapshot_append_color (snapshot, &paper, &rect);
  }
  gtk_snapshot_pop (snapshot);
}

static void
append_compared (SlCanvas *self, GtkSnapshot *snapshot)
{
  const graphene_rect_t rect = layer_rect (self, &self->now);
  const float height = (float) gtk_widget_get_height (GTK_WIDGET (self));
  const float width = (float) gtk_widget_get_width (GTK_WIDGET (self));
  const float split = roundf (rect.origin.x + (float) self->split * rect.size.width);
  const GdkRGBA white = { 1, 1, 1, .85f };

  append_layer (self, snapshot, &self->now);
  gtk_snapshot_push_clip (snapshot, &GRAPHENE_RECT_INIT (0, 0, CLAMP (split, 0, width), height));
  append_layer (self, snapshot, &self->other);
  gtk_snapshot_pop (snapshot);
  gtk_snapshot_append_color (snapshot, &white,
                             &GRAPHENE_RECT_INIT (split - 1, rect.origin.y, 2, rect.size.height));
}

static void
sl_canvas_snapshot (GtkWidget *widget, GtkSnapshot *snapshot)
{
  SlCanvas *self = SL_CANVAS (widget);
  const graphene_rect_t all =
      GRAPHENE_RECT_INIT (0, 0, gtk_widget_get_width (widget), gtk_widget_get_height (widget));

  if (!self->now.width)
    return;
  if (has_gl (self)) {
    gtk_widget_snapshot_child (widget, GTK_WIDGET (self->view), snapshot);
    return;
  }
  gtk_snapshot_push_clip (snapshot, &all);
  if (self->other.width) {
    append_compared (self, snapshot);
  } else if (self->before.width) {
    gtk_snapshot_push_cross_fade (snapshot, self->mix);
    append_layer (self, snapshot, &self->before);
    gtk_snapshot_pop (snapshot);
    append_layer (self, snapshot, &self->now);
    gtk_snapshot_pop (snapshot);
  } else {
    append_layer (self, snapshot, &self->now);
  }
  gtk_snapshot_pop (snapshot);
}

static void
mix_cb (double value, gpointer data)
{
  SlCanvas *self = data;

  self->mix = value;
  redraw (self);
}

static void
faded_cb (SlCanvas *self)
{
  g_clear_object (&self->before.texture);
  self->before = (struct layer){ 0 };
  redraw (self);
}

static gboolean
is_blank (const struct layer *layer)
{
  return !layer->texture && !layer->live;
}

static void
show_layer (SlCanvas *self, GdkTexture *texture, int live, int width, int height)
{
  const gint64 now = g_get_monotonic_time ();
  /* Previews that come quickly are a film already; fading would only blur it. */
  const gboolean fade = (texture || live) && self->now.width &&
                        now - self->shown_at > FADE_MS * 1000 &&
                        adw_get_enable_animations (GTK_WIDGET (self));
  const gboolean was_blank = is_blank (&self->now);

  adw_animation_skip (self->fade);
  g_clear_object (&self->before.texture);
  self->before = fade ? self->now : (struct layer){ 0 };
  if (!fade)
    g_clear_object (&self->now.texture);

  self->now.texture = texture ? g_object_ref (texture) : NULL;
  self->now.live = live;
  self->now.width = width;
  self->now.height = height;
  self->shown_at = now;
  if (fade)
    adw_animation_play (self->fade);
  view_changed (self);
  if (was_blank != is_blank (&self->now))
    g_object_notify_by_pspec (G_OBJECT (self), props[PROP_HAS_PICTURE]);
}

void
sl_canvas_show (SlCanvas *self, GdkTexture *texture, int width, int height)
{
  g_return_if_fail (SL_IS_CANVAS (self));

  g_cancellable_cancel (self->smoothing);
  g_clear_object (&self->smoothing);
  show_layer (self, texture, 0, width, height);
}

void
sl_canvas_show_live (SlCanvas *self, int width, int height)
{
  const int live = self->now.live == 1 ? 2 : 1; /* the one that is shown may have to fade */

  g_return_if_fail (SL_IS_CANVAS (self) && has_gl (self));

  if (!sl_gl_view_take_live (self->view, live - 1))
    return;
  g_cancellable_cancel (self->smoothing);
  g_clear_object (&self->smoothing);
  show_layer (self, NULL, live, width, height);
}

GdkTexture *
sl_canvas_dup_shown (SlCanvas *self)
{
  if (self->now.texture)
    return g_object_ref (self->now.texture);
  return has_gl (self) && self->now.live ? sl_gl_view_read_live (self->view, self->now.live - 1)
                                         : NULL;
}

static void
smooth_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  GdkTexture *texture = data;
  const int width = gdk_texture_get_width (texture), height = gdk_texture_get_height (texture);
  const int factor = GPOINTER_TO_INT (g_object_get_data (G_OBJECT (task), "factor"));
  const gsize stride = (gsize) width * 4;
  g_autofree guchar *bgra = NULL;
  g_autoptr (GBytes) bytes = NULL;

  if (factor == 1) {
    g_task_return_pointer (task, g_object_ref (texture), g_object_unref);
    return;
  }
  /* Cairo's order of bytes, in and out: the filter treats all channels alike. */
  bgra = g_malloc (stride * height);
  gdk_texture_download (texture, bgra, stride);
  bytes = sl_resample (bgra, width, height, width * factor, height * factor);
  g_task_return_pointer (task,
                         gdk_memory_texture_new (width * factor, height * factor,
                                                 GDK_MEMORY_DEFAULT, bytes, stride * factor),
                         g_object_unref);
}

static void
smooth_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  SlCanvas *self = SL_CANVAS (object);
  g_autoptr (GdkTexture) smooth = g_task_propagate_pointer (G_TASK (result), NULL);
  GdkTexture *texture = g_task_get_task_data (G_TASK (result));

  if (smooth)
    show_layer (self, smooth, 0, gdk_texture_get_width (texture), gdk_texture_get_height (texture));
}

void
sl_canvas_show_picture (SlCanvas *self, GdkTexture *texture)
{
  g_autoptr (GTask) task = NULL;
  struct layer layer = { texture };
  int factor;

  g_return_if_fail (SL_IS_CANVAS (self) && GDK_IS_TEXTURE (texture));

  g_cancellable_cancel (self->smoothing);
  g_clear_object (&self->smoothing);
  if (has_gl (self)) {
    show_layer (self, texture, 0, gdk_texture_get_width (texture),
                gdk_texture_get_height (texture));
    return;
  }
  self->smoothing = g_cancellable_new ();
  task = g_task_new (self, self->smoothing, smooth_cb, NULL);
  /* About as large as it is shown: what is much larger is slow to draw without a GPU. */
  layer.width = gdk_texture_get_width (texture);
  layer.height = gdk_texture_get_height (texture);
  factor = (int) ceil (fit_scale (self, &layer) * gtk_widget_get_scale_factor (GTK_WIDGET (self)) -
                       0.25);
  g_object_set_data (G_OBJECT (task), "factor", GINT_TO_POINTER (CLAMP (factor, 1, MAX_SMOOTH)));
  g_task_set_task_data (task, g_object_ref (texture), g_object_unref);
  g_task_run_in_thread (task, smooth_thread);
}

gboolean
sl_canvas_get_has_picture (SlCanvas *self)
{
  return !is_blank (&self->now);
}

double
sl_canvas_get_zoom (SlCanvas *self)
{
  return self->zoom;
}

double
sl_canvas_get_scale (SlCanvas *self)
{
  return layer_scale (self, &self->now) * gtk_widget_get_scale_factor (GTK_WIDGET (self));
}

gboolean
sl_canvas_get_can_pan (SlCanvas *self)
{
  graphene_rect_t rect;

  if (is_blank (&self->now) || self->zoom <= 0)
    return FALSE;
  rect = layer_rect (self, &self->now);
  return rect.size.width > gtk_widget_get_width (GTK_WIDGET (self)) ||
         rect.size.height > gtk_widget_get_height (GTK_WIDGET (self));
}

void
sl_canvas_set_zoom (SlCanvas *self, double zoom)
{
  g_return_if_fail (SL_IS_CANVAS (self));

  if (zoom <= 0)
    self->x = self->y = 0.5;
  self->zoom = zoom > 0 ? CLAMP (zoom, MIN_ZOOM, MAX_ZOOM) : 0;
  view_changed (self);
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_ZOOM]);
}

/* Zooms so that the picture's point under (x, y) stays there. */
static void
zoom_at (SlCanvas *self, double factor, double x, double y)
{
  const double from = layer_scale (self, &self->now);
  const double dx = x - gtk_widget_get_width (GTK_WIDGET (self)) / 2.0;
  const double dy = y - gtk_widget_get_height (GTK_WIDGET (self)) / 2.0;
  double to;

  if (is_blank (&self->now))
    return;
  self->zoom = CLAMP (sl_canvas_get_scale (self) * factor, MIN_ZOOM, MAX_ZOOM);
  to = layer_scale (self, &self->now);
  self->x += dx / self->now.width * (1 / from - 1 / to);
  self->y += dy / self->now.height * (1 / from - 1 / to);
  view_changed (self);
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_ZOOM]);
}

/* ---- What the view tells, and the picture beside the picture ---- */

static void
view_cb (SlCanvas *self)
{
  gtk_widget_queue_draw (GTK_WIDGET (self));
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_HAS_GL]);
}

gboolean
sl_canvas_get_has_gl (SlCanvas *self)
{
  return has_gl (self);
}

SlGlView *
sl_canvas_get_view (SlCanvas *self)
{
  return self->view;
}

void
sl_canvas_compare (SlCanvas *self, GdkTexture *other)
{
  g_return_if_fail (SL_IS_CANVAS (self));

  g_set_object (&self->other.texture, other);
  self->other.width = other ? gdk_texture_get_width (other) : 0;
  self->other.height = other ? gdk_texture_get_height (other) : 0;
  view_changed (self);
}

gboolean
sl_canvas_get_comparing (SlCanvas *self)
{
  return self->other.width > 0;
}

double
sl_canvas_get_split (SlCanvas *self)
{
  return self->split;
}

void
sl_canvas_set_split (SlCanvas *self, double split)
{
  self->split = CLAMP (split, 0, 1);
  redraw (self);
}

/* ---- By hand ---- */

/* A wheel turns in clicks, a touchpad in pixels. */
static gboolean
scroll_cb (SlCanvas *self, double dx, double dy, GtkEventControllerScroll *controller)
{
  const double clicks =
      gtk_event_controller_scroll_get_unit (controller) == GDK_SCROLL_UNIT_WHEEL ? dy : dy / 40;

  zoom_at (self, pow (1.2, -clicks), self->pointer_x, self->pointer_y);
  return GDK_EVENT_STOP;
}

static void
motion_cb (SlCanvas *self, double x, double y)
{
  self->pointer_x = x;
  self->pointer_y = y;
}

static void
pinch_begin_cb (SlCanvas *self)
{
  self->pinch_scale = 1;
}

static void
pinch_cb (SlCanvas *self, double scale, GtkGesture *gesture)
{
  double x, y;

  if (gtk_gesture_get_bounding_box_center (gesture, &x, &y))
    zoom_at (self, scale / self->pinch_scale, x, y);
  self->pinch_scale = scale;
}

static void
drag_begin_cb (SlCanvas *self, double x, double y, GtkGesture *gesture)
{
  const graphene_rect_t rect = layer_rect (self, &self->now);
  const double line = rect.origin.x + self->split * rect.size.width;

  gtk_widget_grab_focus (GTK_WIDGET (self));
  self->moves_line = self->other.width && fabs (x - line) <= REACH;
  if (self->moves_line) {
    self->drag_x = self->split;
    return;
  }
  if (!sl_canvas_get_can_pan (self)) {
    gtk_gesture_set_state (gesture, GTK_EVENT_SEQUENCE_DENIED);
    return;
  }
  self->drag_x = self->x;
  self->drag_y = self->y;
}

static void
drag_update_cb (SlCanvas *self, double dx, double dy)
{
  const double scale = layer_scale (self, &self->now);

  if (self->moves_line) {
    sl_canvas_set_split (self, self->drag_x + dx / scale / MAX (self->now.width, 1));
    return;
  }
  self->x = self->drag_x - dx / scale / self->now.width;
  self->y = self->drag_y - dy / scale / self->now.height;
  view_changed (self);
}

static void
double_click_cb (SlCanvas *self, int n_press, double x, double y)
{
  if (n_press != 2 || is_blank (&self->now))
    return;
  if (self->zoom > 0)
    sl_canvas_set_zoom (self, 0);
  else
    zoom_at (self, MAX (2.0, 1 / sl_canvas_get_scale (self)), x, y);
}

static gboolean
pan_cb (GtkWidget *widget, GVariant *args, gpointer data)
{
  SlCanvas *self = SL_CANVAS (widget);
  int dx, dy;

  g_variant_get (args, "(ii)", &dx, &dy);
  if (self->other.width && dx) {
    sl_canvas_set_split (self, self->split + dx * 0.02);
    return TRUE;
  }
  if (!sl_canvas_get_can_pan (self))
    return FALSE;
  self->x += dx * 60 / layer_scale (self, &self->now) / self->now.width;
  self->y += dy * 60 / layer_scale (self, &self->now) / self->now.height;
  view_changed (self);
  return TRUE;
}

static gboolean
scale_later_cb (gpointer data)
{
  SlCanvas *self = data;

  self->scale_later = 0;
  view_changed (self);
  return G_SOURCE_REMOVE;
}

/* Who listens to the scale changes labels, and must not do so within an allocation. */
static void
sl_canvas_size_allocate (GtkWidget *widget, int width, int height, int baseline)
{
  SlCanvas *self = SL_CANVAS (widget);

  if (self->view)
    gtk_widget_allocate (GTK_WIDGET (self->view), width, height, -1, NULL);
  clamp_view (self);
  if (!self->scale_later)
    self->scale_later = g_idle_add (scale_later_cb, self);
}

static void
sl_canvas_measure (GtkWidget *widget, GtkOrientation orientation, int for_size, int *minimum,
                   int *natural, int *minimum_baseline, int *natural_baseline)
{
  *minimum = 120;
  *natural = 400;
}

static void
sl_canvas_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  SlCanvas *self = SL_CANVAS (object);

  switch (id) {
  case PROP_ZOOM:
    g_value_set_double (value, self->zoom);
    break;
  case PROP_SCALE:
    g_value_set_double (value, sl_canvas_get_scale (self));
    break;
  case PROP_HAS_PICTURE:
    g_value_set_boolean (value, sl_canvas_get_has_picture (self));
    break;
  case PROP_HAS_GL:
    g_value_set_boolean (value, has_gl (self));
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_canvas_dispose (GObject *object)
{
  SlCanvas *self = SL_CANVAS (object);

  g_clear_handle_id (&self->scale_later, g_source_remove);
  g_cancellable_cancel (self->smoothing);
  g_clear_object (&self->smoothing);
  if (self->fade)
    adw_animation_reset (self->fade);
  g_clear_object (&self->fade);
  g_clear_object (&self->now.texture);
  g_clear_object (&self->before.texture);
  g_clear_object (&self->other.texture);
  if (self->view)
    gtk_widget_unparent (GTK_WIDGET (self->view));
  self->view = NULL;

  G_OBJECT_CLASS (sl_canvas_parent_class)->dispose (object);
}

static void
sl_canvas_class_init (SlCanvasClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);
  const struct {
    guint key;
    int dx, dy;
  } pans[] = {
    { GDK_KEY_Left, -1, 0 }, { GDK_KEY_Right, 1, 0 }, { GDK_KEY_Up, 0, -1 }, { GDK_KEY_Down, 0, 1 }
  };

  object_class->dispose = sl_canvas_dispose;
  object_class->get_property = sl_canvas_get_property;
  widget_class->snapshot = sl_canvas_snapshot;
  widget_class->size_allocate = sl_canvas_size_allocate;
  widget_class->measure = sl_canvas_measure;

  props[PROP_ZOOM] = g_param_spec_double ("zoom", NULL, NULL, 0, MAX_ZOOM, 0,
                                          G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  props[PROP_SCALE] = g_param_spec_double ("scale", NULL, NULL, 0, G_MAXDOUBLE, 1,
                                           G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  props[PROP_HAS_PICTURE] =
      g_param_spec_boolean ("has-picture", NULL, NULL, FALSE,
                            G_PARAM_READABLE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
  props[PROP_HAS_GL] =
      g_param_spec_boolean ("has-gl", NULL, NULL, FALSE,
                            G_PARAM_READABLE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
  g_object_class_install_properties (object_class, N_PROPS, props);

  gtk_widget_class_set_css_name (widget_class, "canvas");
  gtk_widget_class_set_accessible_role (widget_class, GTK_ACCESSIBLE_ROLE_IMG);
  for (guint i = 0; i < G_N_ELEMENTS (pans); i++)
    gtk_widget_class_add_binding (widget_class, pans[i].key, 0, pan_cb, "(ii)", pans[i].dx,
                                  pans[i].dy);
}

static void
add_controller (SlCanvas *self, gpointer controller, const char *signal, GCallback callback)
{
  g_signal_connect_swapped (controller, signal, callback, self);
  gtk_widget_add_controller (GTK_WIDGET (self), controller);
}

static void
sl_canvas_init (SlCanvas *self)
{
  GtkGesture *pinch = gtk_gesture_zoom_new ();
  GtkGesture *drag = gtk_gesture_drag_new ();

  self->x = self->y = self->split = 0.5;
  self->view = sl_gl_view_new (fill_scene, self);
  gtk_widget_set_parent (GTK_WIDGET (self->view), GTK_WIDGET (self));
  g_signal_connect_swapped (self->view, "notify::reason", G_CALLBACK (view_cb), self);
  g_signal_connect_swapped (self->view, "realize", G_CALLBACK (view_cb), self);
  g_signal_connect_swapped (self->view, "unrealize", G_CALLBACK (view_cb), self);
  self->fade = g_object_ref_sink (adw_timed_animation_new (
      GTK_WIDGET (self), 0, 1, FADE_MS, adw_callback_animation_target_new (mix_cb, self, NULL)));
  g_signal_connect_swapped (self->fade, "done", G_CALLBACK (faded_cb), self);
  gtk_widget_set_focusable (GTK_WIDGET (self), TRUE);

  add_controller (self, gtk_event_controller_scroll_new (GTK_EVENT_CONTROLLER_SCROLL_VERTICAL),
                  "scroll", G_CALLBACK (scroll_cb));
  add_controller (self, gtk_event_controller_motion_new (), "motion", G_CALLBACK (motion_cb));
  g_signal_connect_swapped (pinch, "begin", G_CALLBACK (pinch_begin_cb), self);
  add_controller (self, pinch, "scale-changed", G_CALLBACK (pinch_cb));
  g_signal_connect_swapped (drag, "drag-begin", G_CALLBACK (drag_begin_cb), self);
  add_controller (self, drag, "drag-update", G_CALLBACK (drag_update_cb));
  add_controller (self, gtk_gesture_click_new (), "pressed", G_CALLBACK (double_click_cb));
}
