#include "ui/sl-starter.h"

#include <json-glib/json-glib.h>

static const char *const fallback[] = {
  "rolling hills by day with clouds",
  "sand dunes at sunset",
  "大海，日落",
  "green northern lights over a lake",
  "in shades of teal, a desert canyon",
  "a calm lake at noon",
  "misty hills at dawn",
  "a lavender field at dusk",
};

char *
sl_starter_dup_path (void)
{
  const char *path = g_getenv ("SAFELIGHT_STARTER");

  /* As the engine names it. */
  return g_canonicalize_filename (path && *path ? path : SL_STARTER_DIR, NULL);
}

static SlRecipe *
read_example (JsonObject *object)
{
  SlRecipe *recipe = sl_recipe_new ();

  g_free (recipe->prompt);
  recipe->prompt = g_strdup (json_object_get_string_member_with_default (object, "prompt", ""));
  recipe->width = (int) json_object_get_int_member_with_default (object, "width", 0);
  recipe->height = (int) json_object_get_int_member_with_default (object, "height", 0);
  recipe->has_seed = json_object_has_member (object, "seed");
  recipe->seed = (guint64) json_object_get_int_member_with_default (object, "seed", 0);
  return recipe;
}

static void
read_examples (GPtrArray *examples, const char *path)
{
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonArray *array;

  if (!json_parser_load_from_file (parser, path, NULL) ||
      !JSON_NODE_HOLDS_ARRAY (json_parser_get_root (parser)))
    return;
  array = json_node_get_array (json_parser_get_root (parser));
  for (guint i = 0; i < json_array_get_length (array); i++) {
    JsonNode *node = json_array_get_element (array, i);

    if (JSON_NODE_HOLDS_OBJECT (node))
      g_ptr_array_add (examples, read_example (json_node_get_object (node)));
  }
}

static void
read_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  GPtrArray *examples = g_ptr_array_new_with_free_func ((GDestroyNotify) sl_recipe_free);
  g_autofree char *folder = sl_starter_dup_path ();
  g_autofree char *path = g_build_filename (folder, "examples.json", NULL);

  read_examples (examples, path);
  for (guint i = 0; examples->len == i && i < G_N_ELEMENTS (fallback); i++) {
    SlRecipe *recipe = sl_recipe_new ();

    g_free (recipe->prompt);
    recipe->prompt = g_strdup (fallback[i]);
    g_ptr_array_add (examples, recipe);
  }
  g_task_return_pointer (task, examples, (GDestroyNotify) g_ptr_array_unref);
}

void
sl_starter_read_async (GAsyncReadyCallback callback, GCancellable *cancellable, gpointer data)
{
  g_autoptr (GTask) task = g_task_new (NULL, cancellable, callback, data);

  g_task_run_in_thread (task, read_thread);
}

GPtrArray *
sl_starter_read_finish (GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}
