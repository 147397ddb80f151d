#include "ui/sl-welcome.h"

#include "ui/sl-starter.h"

#include <glib/gi18n.h>

#define N_EXAMPLES 6

struct _SlWelcome {
  AdwBin parent_instance;

  GtkFlowBox *examples; /* borrowed from the template */
  GCancellable *reading;
};

static guint example_signal;

G_DEFINE_FINAL_TYPE (SlWelcome, sl_welcome, ADW_TYPE_BIN)

static void
clicked_cb (GtkButton *button, SlWelcome *self)
{
  g_signal_emit (self, example_signal, 0, g_object_get_data (G_OBJECT (button), "recipe"));
}

static void
add_example (SlWelcome *self, const SlRecipe *recipe)
{
  GtkWidget *button = gtk_button_new ();
  GtkWidget *label = gtk_label_new (recipe->prompt);

  gtk_label_set_wrap (GTK_LABEL (label), TRUE);
  gtk_label_set_lines (GTK_LABEL (label), 2);
  gtk_label_set_ellipsize (GTK_LABEL (label), PANGO_ELLIPSIZE_END);
  gtk_label_set_justify (GTK_LABEL (label), GTK_JUSTIFY_CENTER);
  gtk_label_set_width_chars (GTK_LABEL (label), 18);
  gtk_label_set_max_width_chars (GTK_LABEL (label), 24);
  gtk_button_set_child (GTK_BUTTON (button), label);
  gtk_widget_add_css_class (button, "example");
  gtk_widget_set_tooltip_text (button, recipe->prompt);
  g_object_set_data_full (G_OBJECT (button), "recipe", sl_recipe_copy (recipe),
                          (GDestroyNotify) sl_recipe_free);
  g_signal_connect (button, "clicked", G_CALLBACK (clicked_cb), self);
  gtk_flow_box_append (self->examples, button);
  /* The button takes the focus, not the flow box's own child around it. */
  gtk_widget_set_focusable (gtk_widget_get_parent (button), FALSE);
}

static gboolean
is_chinese (const char *text)
{
  for (; *text; text = g_utf8_next_char (text))
    if (g_utf8_get_char (text) >= 0x2e80)
      return TRUE;
  return FALSE;
}

/* Mostly the reader's language, and one of the other to show that it works too. */
static void
add_examples (SlWelcome *self, GPtrArray *recipes)
{
  const gboolean chinese =
      g_str_has_prefix (pango_language_to_string (gtk_get_default_language ()), "zh") ||
      g_str_has_prefix (g_get_language_names ()[0], "zh");
  g_autofree gboolean *taken = g_new0 (gboolean, recipes->len + 1);
  const guint shares[] = { N_EXAMPLES - 1, 1, N_EXAMPLES }; /* own, other, what is left */
  guint n = 0;

  for (guint pass = 0; pass < G_N_ELEMENTS (shares); pass++)
    for (guint i = 0, from_here = 0; i < recipes->len && from_here < shares[pass]; i++) {
      const SlRecipe *recipe = g_ptr_array_index (recipes, i);
      const gboolean own = is_chinese (recipe->prompt) == chinese;

      if (taken[i] || n == N_EXAMPLES || (pass == 0 && !own) || (pass == 1 && own))
        continue;
      add_example (self, recipe);
      taken[i] = TRUE;
      from_here++;
      n++;
    }
}

static void
read_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GPtrArray) recipes = sl_starter_read_finish (result, &error);

  if (recipes) /* else cancelled, and the widget may be gone */
    add_examples (data, recipes);
}

static void
sl_welcome_dispose (GObject *object)
{
  SlWelcome *self = SL_WELCOME (object);

  g_cancellable_cancel (self->reading);
  g_clear_object (&self->reading);

  G_OBJECT_CLASS (sl_welcome_parent_class)->dispose (object);
}

static void
sl_welcome_class_init (SlWelcomeClass *klass)
{
  GtkWidgetClass *widget_class = GTK_WIDGET_CLASS (klass);

  G_OBJECT_CLASS (klass)->dispose = sl_welcome_dispose;

  example_signal = g_signal_new ("example", SL_TYPE_WELCOME, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                 G_TYPE_NONE, 1, SL_TYPE_RECIPE);

  gtk_widget_class_set_template_from_resource (widget_class,
                                               "/io/github/safelight/Safelight/sl-welcome.ui");
  gtk_widget_class_bind_template_child (widget_class, SlWelcome, examples);
}

static void
sl_welcome_init (SlWelcome *self)
{
  gtk_widget_init_template (GTK_WIDGET (self));

  self->reading = g_cancellable_new ();
  sl_starter_read_async (read_cb, self->reading, self);
}
