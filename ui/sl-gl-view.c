#include "ui/sl-gl-view.h"

#include <epoxy/gl.h>
#include <glib/gi18n.h>

struct _SlGlView {
  GtkGLArea parent_instance;

  sl_gl_scene_func fill;
  gpointer fill_data;
  sl_gl_painter *painter; /* lives with the context */
  char *reason, *name;

  const struct sl_gl_source *source;
  gpointer source_data;
  gboolean source_open;

  struct sl_gl_stats stats;
};

enum { PROP_0, PROP_REASON, N_PROPS };

static GParamSpec *props[N_PROPS];

G_DEFINE_FINAL_TYPE (SlGlView, sl_gl_view, GTK_TYPE_GL_AREA)

static void
set_reason (SlGlView *self, const char *reason)
{
  if (g_strcmp0 (self->reason, reason) == 0)
    return;
  g_free (self->reason);
  self->reason = g_strdup (reason);
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_REASON]);
}

/* ---- The context ---- */

static GdkGLContext *
chain_create_context (GtkGLArea *area)
{
  return GTK_GL_AREA_CLASS (sl_gl_view_parent_class)->create_context (area);
}

/* Newer GTKs prefer OpenGL ES, which CUDA does not know; older ones have no such property. */
static void
allow_es (GtkGLArea *area, gboolean es)
{
  if (g_object_class_find_property (G_OBJECT_GET_CLASS (area), "allowed-apis"))
    g_object_set (area, "allowed-apis", es ? GDK_GL_API_GL | GDK_GL_API_GLES : GDK_GL_API_GL, NULL);
}

static GdkGLContext *
sl_gl_view_create_context (GtkGLArea *area)
{
  GtkNative *native = gtk_widget_get_native (GTK_WIDGET (area));
  GskRenderer *renderer = gtk_native_get_renderer (native);
  const char *view = g_getenv ("SAFELIGHT_VIEW");
  g_autoptr (GError) error = NULL;
  GdkGLContext *context = NULL;

  /* A renderer without GL would bring every frame back to the host. */
  if (g_strcmp0 (view, "snapshot") == 0)
    error = g_error_new_literal (GDK_GL_ERROR, GDK_GL_ERROR_NOT_AVAILABLE,
                                 "SAFELIGHT_VIEW is “snapshot”");
  else if (!renderer || strstr (G_OBJECT_TYPE_NAME (renderer), "Cairo"))
    error = g_error_new_literal (GDK_GL_ERROR, GDK_GL_ERROR_NOT_AVAILABLE,
                                 _ ("GTK itself draws without OpenGL."));
  if (!error) {
    allow_es (area, FALSE);
    context = chain_create_context (area);
  }
  if (!error && !context) {
    gtk_gl_area_set_error (area, NULL);
    allow_es (area, TRUE);
    context = chain_create_context (area);
  }
  if (error)
    gtk_gl_area_set_error (area, error);
  return context;
}

static gboolean
open_source (SlGlView *self)
{
  if (!self->source_open && self->source && self->painter)
    self->source_open = self->source->open (self->source_data);
  return self->source_open;
}

static void
close_source (SlGlView *self)
{
  if (self->source_open)
    self->source->close (self->source_data);
  self->source_open = FALSE;
}

static void
sl_gl_view_realize (GtkWidget *widget)
{
  SlGlView *self = SL_GL_VIEW (widget);
  GtkGLArea *area = GTK_GL_AREA (widget);
  g_autoptr (GError) error = NULL;
  GdkGLContext *context;

  GTK_WIDGET_CLASS (sl_gl_view_parent_class)->realize (widget);

  gtk_gl_area_make_current (area);
  context = gtk_gl_area_get_context (area);
  if (context && !gtk_gl_area_get_error (area))
    self->painter = sl_gl_painter_new (gdk_gl_context_get_use_es (context), &error);
  else
    error = gtk_gl_area_get_error (area)
                ? g_error_copy (gtk_gl_area_get_error (area))
                : g_error_new_literal (GDK_GL_ERROR, GDK_GL_ERROR_NOT_AVAILABLE,
                                       _ ("There is no OpenGL context."));
  if (self->painter) {
    g_free (self->name);
    self->name = g_strdup_printf (
        "%s %s, %s", gdk_gl_context_get_use_es (context) ? "OpenGL ES" : "OpenGL",
        (const char *) glGetString (GL_VERSION), (const char *) glGetString (GL_RENDERER));
  }
  set_reason (self, error ? error->message : NULL);
  open_source (self);
}

static void
sl_gl_view_unrealize (GtkWidget *widget)
{
  SlGlView *self = SL_GL_VIEW (widget);

  if (self->painter) {
    gtk_gl_area_make_current (GTK_GL_AREA (widget));
    close_source (self);
    self->stats.uploads += sl_gl_painter_get_uploads (self->painter);
    self->stats.error =
        self->stats.error ? self->stats.error : sl_gl_painter_get_error (self->painter);
    g_clear_pointer (&self->painter, sl_gl_painter_free);
  }
  GTK_WIDGET_CLASS (sl_gl_view_parent_class)->unrealize (widget);
}

/* ---- Drawing ---- */

static gboolean
sl_gl_view_render (GtkGLArea *area, GdkGLContext *context)
{
  SlGlView *self = SL_GL_VIEW (area);
  const int factor = gtk_widget_get_scale_factor (GTK_WIDGET (area));
  const gint64 begin = g_get_monotonic_time ();
  struct sl_gl_scene scene = { .mix = 1 };

  if (!self->painter)
    return TRUE;
  self->fill (&scene, self->fill_data);
  sl_gl_painter_draw (self->painter, &scene, gtk_widget_get_width (GTK_WIDGET (area)) * factor,
                      gtk_widget_get_height (GTK_WIDGET (area)) * factor);
  self->stats.draws++;
  self->stats.slowest_ms =
      MAX (self->stats.slowest_ms, (double) (g_get_monotonic_time () - begin) / 1000.);
  return TRUE;
}

/* ---- What the canvas calls ---- */

const char *
sl_gl_view_get_reason (SlGlView *self)
{
  return self->reason;
}

const char *
sl_gl_view_get_name (SlGlView *self)
{
  return self->name ? self->name : "";
}

gboolean
sl_gl_view_set_source (SlGlView *self, const struct sl_gl_source *source, gpointer data)
{
  if (self->painter)
    gtk_gl_area_make_current (GTK_GL_AREA (self));
  if (self->source != source || self->source_data != data)
    close_source (self);
  self->source = source;
  self->source_data = data;
  return open_source (self);
}

gboolean
sl_gl_view_take_live (SlGlView *self, int live)
{
  int width, height;

  if (!self->source_open)
    return FALSE;
  gtk_gl_area_make_current (GTK_GL_AREA (self));
  if (!self->source->next (self->source_data, &width, &height))
    return FALSE;
  if (!sl_gl_painter_live_fits (self->painter, live, width, height)) {
    self->source->forget (self->source_data, live);
    sl_gl_painter_resize_live (self->painter, live, width, height);
  }
  self->source_open =
      self->source->copy (self->source_data, live, sl_gl_painter_get_live (self->painter, live));
  self->stats.copies += self->source_open;
  return self->source_open;
}

GdkTexture *
sl_gl_view_read_live (SlGlView *self, int live)
{
  if (!self->painter)
    return NULL;
  gtk_gl_area_make_current (GTK_GL_AREA (self));
  return sl_gl_painter_read_live (self->painter, live);
}

void
sl_gl_view_get_stats (SlGlView *self, struct sl_gl_stats *stats)
{
  *stats = self->stats;
  if (self->painter) {
    stats->uploads += sl_gl_painter_get_uploads (self->painter);
    stats->error = stats->error ? stats->error : sl_gl_painter_get_error (self->painter);
  }
}

/* ---- The object ---- */

SlGlView *
sl_gl_view_new (sl_gl_scene_func fill, gpointer data)
{
  SlGlView *self = g_object_new (SL_TYPE_GL_VIEW, NULL);

  self->fill = fill;
  self->fill_data = data;
  return self;
}

static void
sl_gl_view_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  if (id == PROP_REASON)
    g_value_set_string (value, SL_GL_VIEW (object)->reason);
  else
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
}

static void
sl_gl_view_finalize (GObject *object)
{
  SlGlView *self = SL_GL_VIEW (object);

  g_free (self->reason);
  g_free (self->name);

  G_OBJECT_CLASS (sl_gl_view_parent_class)->finalize (object);
}

static void
sl_gl_view_class_init (SlGlViewClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);
  GtkGLAreaClass *area_class = GTK_GL_AREA_CLASS (klass);

  object_class->finalize = sl_gl_view_finalize;
  object_class->get_property = sl_gl_view_get_property;
  widget_class->realize = sl_gl_view_realize;
  widget_class->unrealize = sl_gl_view_unrealize;
  area_class->create_context = sl_gl_view_create_context;
  area_class->render = sl_gl_view_render;

  props[PROP_REASON] =
      g_param_spec_string ("reason", NULL, NULL, NULL,
                           G_PARAM_READABLE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY);
  g_object_class_install_properties (object_class, N_PROPS, props);
  /* The canvas is the picture; this is only how it is drawn. */
  gtk_widget_class_set_accessible_role (widget_class, GTK_ACCESSIBLE_ROLE_PRESENTATION);
}

static void
sl_gl_view_init (SlGlView *self)
{
  gtk_gl_area_set_auto_render (GTK_GL_AREA (self), FALSE);
  gtk_widget_set_can_target (GTK_WIDGET (self), FALSE);
}
