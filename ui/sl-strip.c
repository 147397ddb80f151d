#include "ui/sl-strip.h"

#include "ui/sl-image-content.h"

#include <glib/gi18n.h>

struct _SlStrip {
  AdwBin parent_instance;

  GtkScrolledWindow *scroller; /* borrowed from the template, as the next two */
  GtkListView *view;
  GtkSingleSelection *selection;

  SlSession *session;
  guint scroll_later; /* source id: a new row has to be laid out before it can be scrolled to */
};

enum { PROP_0, PROP_SESSION, PROP_SELECTED, N_PROPS };

static GParamSpec *props[N_PROPS];

G_DEFINE_FINAL_TYPE (SlStrip, sl_strip, ADW_TYPE_BIN)

static gboolean
scroll_later_cb (gpointer data)
{
  SlStrip *self = data;
  const guint position = gtk_single_selection_get_selected (self->selection);

  self->scroll_later = 0;
  if (position != GTK_INVALID_LIST_POSITION)
    gtk_widget_activate_action (GTK_WIDGET (self->view), "list.scroll-to-item", "u", position);
  return G_SOURCE_REMOVE;
}

SlResult *
sl_strip_get_selected (SlStrip *self)
{
  return gtk_single_selection_get_selected_item (self->selection);
}

void
sl_strip_select (SlStrip *self, SlResult *result)
{
  guint position = GTK_INVALID_LIST_POSITION;

  if (result)
    g_list_store_find (G_LIST_STORE (sl_session_get_results (self->session)), result, &position);
  gtk_single_selection_set_selected (self->selection, position);
  if (position != GTK_INVALID_LIST_POSITION && !self->scroll_later)
    self->scroll_later = g_timeout_add (50, scroll_later_cb, self);
}

static GdkContentProvider *
drag_prepare_cb (GtkDragSource *source, double x, double y, GtkListItem *item)
{
  SlResult *result = gtk_list_item_get_item (item);

  return result ? sl_image_content_new (result, TRUE) : NULL;
}

static void
drag_begin_cb (GtkDragSource *source, GdkDrag *drag, GtkListItem *item)
{
  SlResult *result = gtk_list_item_get_item (item);

  gtk_drag_source_set_icon (source, GDK_PAINTABLE (sl_result_get_thumbnail (result)), 0, 0);
}

static void
setup_cb (SlStrip *self, GtkListItem *item)
{
  GtkWidget *picture = gtk_picture_new ();
  GtkDragSource *source = gtk_drag_source_new ();

  gtk_widget_set_size_request (picture, -1, 72);
  gtk_widget_set_overflow (picture, GTK_OVERFLOW_HIDDEN);
  gtk_widget_add_css_class (picture, "thumbnail");
  g_signal_connect (source, "prepare", G_CALLBACK (drag_prepare_cb), item);
  g_signal_connect (source, "drag-begin", G_CALLBACK (drag_begin_cb), item);
  gtk_widget_add_controller (picture, GTK_EVENT_CONTROLLER (source));
  gtk_list_item_set_child (item, picture);
}

static void
bind_cb (SlStrip *self, GtkListItem *item)
{
  GtkWidget *picture = gtk_list_item_get_child (item);
  SlResult *result = gtk_list_item_get_item (item);
  const SlRecipe *recipe = sl_result_get_recipe (result);
  GdkTexture *thumbnail = sl_result_get_thumbnail (result);
  g_autofree char *summary = sl_recipe_dup_summary (recipe);
  g_autofree char *tip = g_strdup_printf ("%s\n%s", recipe->prompt, summary);
  const int width =
      72 * gdk_texture_get_width (thumbnail) / MAX (1, gdk_texture_get_height (thumbnail));

  gtk_picture_set_paintable (GTK_PICTURE (picture), GDK_PAINTABLE (thumbnail));
  gtk_picture_set_alternative_text (GTK_PICTURE (picture), tip);
  gtk_widget_set_size_request (picture, CLAMP (width, 36, 200), 72);
  gtk_widget_set_tooltip_text (picture, tip);
}

static void
selected_cb (SlStrip *self)
{
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_SELECTED]);
}

/* A mouse wheel turns up and down, the strip goes left and right. */
static gboolean
scroll_cb (GtkEventControllerScroll *controller, double dx, double dy, SlStrip *self)
{
  GtkAdjustment *adjustment = gtk_scrolled_window_get_hadjustment (self->scroller);

  if (dx != 0 || dy == 0)
    return GDK_EVENT_PROPAGATE;
  if (gtk_event_controller_scroll_get_unit (controller) == GDK_SCROLL_UNIT_WHEEL)
    dy *= 80;
  gtk_adjustment_set_value (adjustment, gtk_adjustment_get_value (adjustment) + dy);
  return GDK_EVENT_STOP;
}

static void
sl_strip_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  SlStrip *self = SL_STRIP (object);

  switch (id) {
  case PROP_SESSION:
    if (g_set_object (&self->session, g_value_get_object (value)))
      gtk_single_selection_set_model (self->selection, sl_session_get_results (self->session));
    break;
  case PROP_SELECTED:
    sl_strip_select (self, g_value_get_object (value));
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_strip_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  SlStrip *self = SL_STRIP (object);

  switch (id) {
  case PROP_SESSION:
    g_value_set_object (value, self->session);
    break;
  case PROP_SELECTED:
    g_value_set_object (value, sl_strip_get_selected (self));
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_strip_dispose (GObject *object)
{
  SlStrip *self = SL_STRIP (object);

  g_clear_handle_id (&self->scroll_later, g_source_remove);
  g_clear_object (&self->session);

  G_OBJECT_CLASS (sl_strip_parent_class)->dispose (object);
}

static void
sl_strip_class_init (SlStripClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  object_class->dispose = sl_strip_dispose;
  object_class->set_property = sl_strip_set_property;
  object_class->get_property = sl_strip_get_property;

  props[PROP_SESSION] = g_param_spec_object ("session", NULL, NULL, SL_TYPE_SESSION, flags);
  props[PROP_SELECTED] =
      g_param_spec_object ("selected", NULL, NULL, SL_TYPE_RESULT, flags | G_PARAM_EXPLICIT_NOTIFY);
  g_object_class_install_properties (object_class, N_PROPS, props);

  gtk_widget_class_set_template_from_resource (widget_class,
                                               "/io/github/safelight/Safelight/sl-strip.ui");
  gtk_widget_class_bind_template_child (widget_class, SlStrip, scroller);
  gtk_widget_class_bind_template_child (widget_class, SlStrip, view);
  gtk_widget_class_bind_template_child (widget_class, SlStrip, selection);
  gtk_widget_class_bind_template_callback (widget_class, setup_cb);
  gtk_widget_class_bind_template_callback (widget_class, bind_cb);
  gtk_widget_class_bind_template_callback (widget_class, selected_cb);
  gtk_widget_class_bind_template_callback (widget_class, scroll_cb);
}

static void
sl_strip_init (SlStrip *self)
{
  gtk_widget_init_template (GTK_WIDGET (self));
}
