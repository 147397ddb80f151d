#include "ui/sl-timing-numbers.h"

struct row {
  GtkWidget *row; /* borrowed from the list, as what is in it */
  GtkWidget *swatch;
  GtkLabel *name, *value;
};

struct _SlTimingNumbers {
  AdwBin parent_instance;

  GtkListBox *list; /* borrowed */
  GArray *rows;     /* of struct row */
};

G_DEFINE_FINAL_TYPE (SlTimingNumbers, sl_timing_numbers, ADW_TYPE_BIN)

static GtkWidget *
label_new (GtkAccessibleRole role)
{
  return g_object_new (GTK_TYPE_LABEL, "accessible-role", role, "xalign", 0.0, "ellipsize",
                       PANGO_ELLIPSIZE_END, NULL);
}

static struct row
row_new (void)
{
  GtkWidget *box = gtk_box_new (GTK_ORIENTATION_HORIZONTAL, 8);
  struct row row = {
    .row = g_object_new (GTK_TYPE_LIST_BOX_ROW, "accessible-role", GTK_ACCESSIBLE_ROLE_ROW,
                         "activatable", FALSE, "selectable", FALSE, "child", box, NULL),
    .swatch = gtk_box_new (GTK_ORIENTATION_HORIZONTAL, 0),
  };
  GtkWidget *name = label_new (GTK_ACCESSIBLE_ROLE_ROW_HEADER);
  GtkWidget *value = label_new (GTK_ACCESSIBLE_ROLE_CELL);

  gtk_widget_set_valign (row.swatch, GTK_ALIGN_CENTER);
  gtk_widget_add_css_class (row.swatch, "swatch");
  gtk_widget_set_hexpand (name, TRUE);
  gtk_label_set_ellipsize (GTK_LABEL (value), PANGO_ELLIPSIZE_NONE);
  gtk_widget_add_css_class (value, "numeric");
  gtk_box_append (GTK_BOX (box), row.swatch);
  gtk_box_append (GTK_BOX (box), name);
  gtk_box_append (GTK_BOX (box), value);
  row.name = GTK_LABEL (name);
  row.value = GTK_LABEL (value);
  return row;
}

static void
row_set (const struct row *row, const struct sl_number *number)
{
  static const char *const classes[SL_N_PARTS] = { "text", "prepare", "step", "preview", "decode",
                                                   "copy", "host",    "png",  "other" };
  g_autofree char *text = g_strdup_printf ("%s: %s", number->name, number->value);

  gtk_label_set_text (row->name, number->name);
  gtk_label_set_text (row->value, number->value);
  for (int part = 0; part < SL_N_PARTS; part++)
    if (part == number->part)
      gtk_widget_add_css_class (row->swatch, classes[part]);
    else
      gtk_widget_remove_css_class (row->swatch, classes[part]);
  if (number->absent)
    gtk_widget_add_css_class (GTK_WIDGET (row->value), "dim-label");
  else
    gtk_widget_remove_css_class (GTK_WIDGET (row->value), "dim-label");
  gtk_accessible_update_property (GTK_ACCESSIBLE (row->row), GTK_ACCESSIBLE_PROPERTY_LABEL, text,
                                  -1);
}

void
sl_timing_numbers_set (SlTimingNumbers *self, GArray *numbers)
{
  const guint n = numbers ? numbers->len : 0;

  g_return_if_fail (SL_IS_TIMING_NUMBERS (self));

  while (self->rows->len > n) {
    gtk_list_box_remove (self->list,
                         g_array_index (self->rows, struct row, self->rows->len - 1).row);
    g_array_set_size (self->rows, self->rows->len - 1);
  }
  for (guint i = 0; i < n; i++) {
    if (i == self->rows->len) {
      const struct row row = row_new ();

      gtk_list_box_append (self->list, row.row);
      g_array_append_val (self->rows, row);
    }
    row_set (&g_array_index (self->rows, struct row, i),
             &g_array_index (numbers, struct sl_number, i));
  }
}

const char *
sl_timing_numbers_get (SlTimingNumbers *self, const char *name)
{
  for (guint i = 0; i < self->rows->len; i++) {
    const struct row *row = &g_array_index (self->rows, struct row, i);

    if (g_str_equal (gtk_label_get_text (row->name), name))
      return gtk_label_get_text (row->value);
  }
  return NULL;
}

static void
sl_timing_numbers_finalize (GObject *object)
{
  g_array_unref (SL_TIMING_NUMBERS (object)->rows);

  G_OBJECT_CLASS (sl_timing_numbers_parent_class)->finalize (object);
}

static void
sl_timing_numbers_class_init (SlTimingNumbersClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = sl_timing_numbers_finalize;
}

static void
sl_timing_numbers_init (SlTimingNumbers *self)
{
  GtkWidget *list = g_object_new (GTK_TYPE_LIST_BOX, "accessible-role", GTK_ACCESSIBLE_ROLE_TABLE,
                                  "selection-mode", GTK_SELECTION_NONE, NULL);

  self->rows = g_array_new (FALSE, FALSE, sizeof (struct row));
  self->list = GTK_LIST_BOX (list);
  gtk_widget_add_css_class (list, "numbers");
  adw_bin_set_child (ADW_BIN (self), list);
}
