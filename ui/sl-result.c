#include "ui/sl-result.h"

struct _SlResult {
  GObject parent_instance;

  struct sl_result_parts parts; /* owned */
};

G_DEFINE_FINAL_TYPE (SlResult, sl_result, G_TYPE_OBJECT)

SlResult *
sl_result_new (const struct sl_result_parts *parts)
{
  SlResult *self = g_object_new (SL_TYPE_RESULT, NULL);

  self->parts = *parts;
  return self;
}

gboolean
sl_result_get_unfinished (SlResult *self)
{
  return self->parts.image == NULL;
}

gpointer
sl_result_get_image (SlResult *self)
{
  return self->parts.image;
}

const SlRecipe *
sl_result_get_recipe (SlResult *self)
{
  return self->parts.recipe;
}

GdkTexture *
sl_result_get_texture (SlResult *self)
{
  return self->parts.texture;
}

GdkTexture *
sl_result_get_thumbnail (SlResult *self)
{
  return self->parts.thumbnail;
}

const char *
sl_result_get_warning (SlResult *self)
{
  return self->parts.warning;
}

double
sl_result_get_seconds (SlResult *self)
{
  return self->parts.seconds;
}

guint
sl_result_get_serial (SlResult *self)
{
  return self->parts.serial;
}

static gsize
get_bytes (SlResult *self)
{
  GdkTexture *texture = self->parts.texture;

  return (gsize) gdk_texture_get_width (texture) * gdk_texture_get_height (texture) * 4;
}

void
sl_result_append (SlResult *self, GListStore *list)
{
  GListModel *model = G_LIST_MODEL (list);
  guint n = g_list_model_get_n_items (model), n_kept = 0;
  gsize bytes = get_bytes (self);

  /* From the newest back, as long as there is room. */
  for (gboolean room = TRUE; room && n_kept < n && n_kept + 1 < SL_RESULTS_MAX;) {
    g_autoptr (SlResult) result = g_list_model_get_item (model, n - n_kept - 1);

    bytes += get_bytes (result);
    room = bytes <= SL_RESULTS_MAX_BYTES;
    n_kept += room ? 1 : 0;
  }
  if (n_kept < n)
    g_list_store_splice (list, 0, n - n_kept, NULL, 0);
  g_list_store_append (list, self);
}

static void
sl_result_finalize (GObject *object)
{
  SlResult *self = SL_RESULT (object);

  g_clear_pointer (&self->parts.image, self->parts.release);
  g_clear_pointer (&self->parts.recipe, sl_recipe_free);
  g_clear_object (&self->parts.texture);
  g_clear_object (&self->parts.thumbnail);
  g_free (self->parts.warning);

  G_OBJECT_CLASS (sl_result_parent_class)->finalize (object);
}

static void
sl_result_class_init (SlResultClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = sl_result_finalize;
}

static void
sl_result_init (SlResult *self)
{
}
