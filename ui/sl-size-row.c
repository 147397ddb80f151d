#include "ui/sl-size-row.h"

#include <glib/gi18n.h>
#include <math.h>

#define MIN_SIDE 64
#define MAX_SIDE 4096

static const struct {
  int x, y; /* landscape */
} aspects[] = { { 1, 1 }, { 4, 3 }, { 3, 2 }, { 16, 9 }, { 21, 9 } };

struct _SlSizeRow {
  AdwBin parent_instance;

  GtkBox *chips; /* borrowed from the template, as the next two */
  GtkAdjustment *width_adjustment;
  GtkAdjustment *height_adjustment;

  GtkToggleButton *chip[G_N_ELEMENTS (aspects)]; /* borrowed */
  gboolean portrait;                             /* what the chips offer */
  gboolean updating;
  int multiple;
};

enum { PROP_0, PROP_WIDTH, PROP_HEIGHT, PROP_MULTIPLE, N_PROPS };

static GParamSpec *props[N_PROPS];

G_DEFINE_FINAL_TYPE (SlSizeRow, sl_size_row, ADW_TYPE_BIN)

void
sl_size_for_aspect (int x, int y, int multiple, int *width, int *height)
{
  const double area = (double) *width * *height, aspect = (double) x / y;
  double best = G_MAXDOUBLE;

  for (int w = multiple; w <= MAX_SIDE; w += multiple)
    for (int h = MAX (multiple, (int) (w / aspect / multiple) * multiple), n = 0; n < 2;
         n++, h += multiple) {
      const double cost =
          4 * fabs (log ((double) w / h / aspect)) + fabs (log ((double) w * h / area));

      if (cost < best && h <= MAX_SIDE && w >= MIN_SIDE && h >= MIN_SIDE) {
        best = cost;
        *width = w;
        *height = h;
      }
    }
}

static int
get_width (SlSizeRow *self)
{
  return (int) gtk_adjustment_get_value (self->width_adjustment);
}

static int
get_height (SlSizeRow *self)
{
  return (int) gtk_adjustment_get_value (self->height_adjustment);
}

/* The chip of the present size, if it is one that a chip would give. */
static void
update_chips (SlSizeRow *self)
{
  const int width = get_width (self), height = get_height (self);

  if (width != height)
    self->portrait = width < height;
  self->updating = TRUE;
  for (guint i = 0; i < G_N_ELEMENTS (aspects); i++) {
    const int x = self->portrait ? aspects[i].y : aspects[i].x;
    const int y = self->portrait ? aspects[i].x : aspects[i].y;
    g_autofree char *label = g_strdup_printf ("%d:%d", x, y);
    const double off = fabs (log ((double) width / height * y / x));

    gtk_button_set_label (GTK_BUTTON (self->chip[i]), label);
    gtk_toggle_button_set_active (self->chip[i], off < 0.04);
  }
  self->updating = FALSE;
}

static void
set_size (SlSizeRow *self, int width, int height)
{
  gtk_adjustment_set_value (self->width_adjustment, width);
  gtk_adjustment_set_value (self->height_adjustment, height);
}

static void
width_changed_cb (SlSizeRow *self)
{
  update_chips (self);
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_WIDTH]);
}

static void
height_changed_cb (SlSizeRow *self)
{
  update_chips (self);
  g_object_notify_by_pspec (G_OBJECT (self), props[PROP_HEIGHT]);
}

static void
chip_toggled_cb (SlSizeRow *self, GtkToggleButton *button)
{
  int width = get_width (self), height = get_height (self);

  if (self->updating)
    return;
  for (guint i = 0; i < G_N_ELEMENTS (aspects); i++)
    if (button == self->chip[i])
      sl_size_for_aspect (self->portrait ? aspects[i].y : aspects[i].x,
                          self->portrait ? aspects[i].x : aspects[i].y, self->multiple, &width,
                          &height);
  set_size (self, width, height);
  update_chips (self); /* a click on the active one leaves it active */
}

static void
swap_cb (SlSizeRow *self)
{
  const int width = get_width (self), height = get_height (self);

  if (width == height)
    self->portrait = !self->portrait;
  set_size (self, height, width);
  update_chips (self);
}

/* A typed size goes to the nearest one that the model can make. */
static gboolean
input_cb (GtkSpinButton *button, double *value, SlSizeRow *self)
{
  const double typed = g_strtod (gtk_editable_get_text (GTK_EDITABLE (button)), NULL);

  *value = CLAMP (round (typed / self->multiple) * self->multiple, MIN_SIDE, MAX_SIDE);
  return TRUE;
}

static void
sl_size_row_set_property (GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
  SlSizeRow *self = SL_SIZE_ROW (object);

  switch (id) {
  case PROP_WIDTH:
    gtk_adjustment_set_value (self->width_adjustment, g_value_get_int (value));
    break;
  case PROP_HEIGHT:
    gtk_adjustment_set_value (self->height_adjustment, g_value_get_int (value));
    break;
  case PROP_MULTIPLE:
    self->multiple = MAX (1, g_value_get_int (value));
    gtk_adjustment_set_step_increment (self->width_adjustment, self->multiple);
    gtk_adjustment_set_step_increment (self->height_adjustment, self->multiple);
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_size_row_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  SlSizeRow *self = SL_SIZE_ROW (object);

  switch (id) {
  case PROP_WIDTH:
    g_value_set_int (value, get_width (self));
    break;
  case PROP_HEIGHT:
    g_value_set_int (value, get_height (self));
    break;
  case PROP_MULTIPLE:
    g_value_set_int (value, self->multiple);
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_size_row_class_init (SlSizeRowClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);
  const GParamFlags flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;

  object_class->set_property = sl_size_row_set_property;
  object_class->get_property = sl_size_row_get_property;

  props[PROP_WIDTH] = g_param_spec_int ("width", NULL, NULL, MIN_SIDE, MAX_SIDE, 256,
                                        flags | G_PARAM_EXPLICIT_NOTIFY);
  props[PROP_HEIGHT] = g_param_spec_int ("height", NULL, NULL, MIN_SIDE, MAX_SIDE, 256,
                                         flags | G_PARAM_EXPLICIT_NOTIFY);
  props[PROP_MULTIPLE] = g_param_spec_int ("multiple", NULL, NULL, 1, 256, 16, flags);
  g_object_class_install_properties (object_class, N_PROPS, props);

  gtk_widget_class_set_template_from_resource (widget_class,
                                               "/io/github/safelight/Safelight/sl-size-row.ui");
  gtk_widget_class_bind_template_child (widget_class, SlSizeRow, chips);
  gtk_widget_class_bind_template_child (widget_class, SlSizeRow, width_adjustment);
  gtk_widget_class_bind_template_child (widget_class, SlSizeRow, height_adjustment);
  gtk_widget_class_bind_template_callback (widget_class, width_changed_cb);
  gtk_widget_class_bind_template_callback (widget_class, height_changed_cb);
  gtk_widget_class_bind_template_callback (widget_class, swap_cb);
  gtk_widget_class_bind_template_callback (widget_class, input_cb);
}

static void
sl_size_row_init (SlSizeRow *self)
{
  self->multiple = 16;
  gtk_widget_init_template (GTK_WIDGET (self));

  for (guint i = 0; i < G_N_ELEMENTS (aspects); i++) {
    self->chip[i] = GTK_TOGGLE_BUTTON (gtk_toggle_button_new ());
    gtk_widget_set_hexpand (GTK_WIDGET (self->chip[i]), TRUE);
    gtk_widget_add_css_class (GTK_WIDGET (self->chip[i]), "chip");
    gtk_widget_add_css_class (GTK_WIDGET (self->chip[i]), "numeric");
    gtk_box_append (self->chips, GTK_WIDGET (self->chip[i]));
    g_signal_connect_swapped (self->chip[i], "toggled", G_CALLBACK (chip_toggled_cb), self);
  }
  update_chips (self);
}
