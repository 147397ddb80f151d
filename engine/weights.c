#include "engine/weights.h"

#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_reader.h"
#include "engine/safetensors.h"

#include <string.h>

enum { MAX_INDEX_BYTES = 64 << 20 };

struct eng_weights {
  gatomicrefcount references;
  char *path;
  GPtrArray *files;    /* eng_safetensors */
  GPtrArray *tensors;  /* struct eng_tensor_info, borrowed from the files */
  GHashTable *by_name; /* name to struct eng_tensor_info, borrowed */
};

static void
add_tensor (eng_weights *weights, const struct eng_tensor_info *tensor)
{
  g_hash_table_insert (weights->by_name, (char *) tensor->name, (void *) tensor);
  g_ptr_array_add (weights->tensors, (void *) tensor);
}

/* Adds a file's tensors; with an index, only those that it does not place in another file. */
static gboolean
add_file (eng_weights *weights, const char *path, GHashTable *index, GError **error)
{
  g_autofree char *shard = g_path_get_basename (path);
  eng_safetensors *file = eng_safetensors_open (path, error);

  if (!file)
    return FALSE;
  g_ptr_array_add (weights->files, file);
  for (guint i = 0; i < file->tensors->len; i++) {
    const struct eng_tensor_info *t = &g_array_index (file->tensors, struct eng_tensor_info, i);
    const char *place = index ? g_hash_table_lookup (index, t->name) : shard;

    if (place ? g_str_equal (place, shard) : !g_hash_table_contains (weights->by_name, t->name))
      add_tensor (weights, t);
  }
  return TRUE;
}

/* The weight_map: tensor names to shards, whose names are also listed in shards, each once. */
static void
read_weight_map (eng_json_reader *reader, GHashTable *index, GPtrArray *shards)
{
  const char *key;

  if (!eng_json_reader_enter_object (reader))
    return;
  while ((key = eng_json_reader_next_member (reader))) {
    g_autofree char *name = g_strdup (key);
    const char *shard = eng_json_reader_read_string (reader);

    if (!shard)
      return;
    if (strchr (shard, '/') || *shard == '.' || !g_str_has_suffix (shard, ".safetensors"))
      eng_json_reader_fail (reader, "\"%s\" is in \"%s\", which is no .safetensors file beside it",
                            name, shard);
    else if (g_hash_table_contains (index, name))
      eng_json_reader_fail (reader, "\"%s\" comes twice", name);
    else {
      guint at;
      if (!g_ptr_array_find_with_equal_func (shards, shard, g_str_equal, &at)) {
        at = shards->len;
        g_ptr_array_add (shards, g_strdup (shard));
      }
      g_hash_table_insert (index, g_steal_pointer (&name), shards->pdata[at]);
    }
  }
}

static gboolean
read_index (const char *path, const char *label, GHashTable *index, GPtrArray *shards,
            GError **error)
{
  g_auto (eng_json_reader) reader = { 0 };
  g_autofree char *text = NULL;
  const char *key;
  gsize length;

  text = eng_json_read_text (path, MAX_INDEX_BYTES, &length, error);
  if (!text)
    return FALSE;
  eng_json_reader_init (&reader, label, text, length);
  eng_json_reader_enter_object (&reader);
  while (eng_json_reader_ok (&reader) && (key = eng_json_reader_next_member (&reader)))
    if (g_str_equal (key, "weight_map"))
      read_weight_map (&reader, index, shards);
    else
      eng_json_reader_skip (&reader);
  if (eng_json_reader_ok (&reader) && shards->len == 0)
    eng_json_reader_fail (&reader, "\"weight_map\" is missing or empty");
  return eng_json_reader_finish (&reader, error);
}

/* Every tensor that the index promises must be there. */
static gboolean
check_index (const eng_weights *weights, const char *label, GHashTable *index, GError **error)
{
  GHashTableIter iter;
  gpointer name, shard;

  g_hash_table_iter_init (&iter, index);
  while (g_hash_table_iter_next (&iter, &name, &shard))
    if (!g_hash_table_contains (weights->by_name, name)) {
      g_set_error (error, ENG_ERROR, ENG_ERROR_FILE,
                   "%s: \"%s\" should be in %s, which does not have it", label, (char *) name,
                   (char *) shard);
      return FALSE;
    }
  return TRUE;
}

static gboolean
add_index (eng_weights *weights, const char *path, GError **error)
{
  g_autoptr (GHashTable) index = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  g_autoptr (GPtrArray) shards = g_ptr_array_new_with_free_func (g_free);
  g_autofree char *label = eng_json_dup_label (path);
  g_autofree char *folder = g_path_get_dirname (path);

  if (!read_index (path, label, index, shards, error))
    return FALSE;
  for (guint i = 0; i < shards->len; i++) {
    g_autofree char *shard = g_build_filename (folder, shards->pdata[i], NULL);
    if (!add_file (weights, shard, index, error))
      return FALSE;
  }
  return check_index (weights, label, index, error);
}

/* The only file in folder whose name ends with suffix; *n of them there are. */
static char *
find_only (const char *folder, const char *suffix, int *n)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  g_autofree char *found = NULL;
  const char *name;

  *n = 0;
  while (dir && (name = g_dir_read_name (dir)))
    if (*name != '.' && g_str_has_suffix (name, suffix) && ++*n == 1)
      found = g_build_filename (folder, name, NULL);
  return *n == 1 ? g_steal_pointer (&found) : NULL;
}

/* The file that stands for a folder: the usual names first (a folder may also hold variants), then
 * the only one there is. */
static char *
find_in_folder (const char *folder, GError **error)
{
  static const char *usual[] = { "model.safetensors", "diffusion_pytorch_model.safetensors",
                                 "model.safetensors.index.json",
                                 "diffusion_pytorch_model.safetensors.index.json" };
  g_autofree char *label = NULL;
  char *found;
  int n;

  for (guint i = 0; i < G_N_ELEMENTS (usual); i++) {
    found = g_build_filename (folder, usual[i], NULL);
    if (g_file_test (found, G_FILE_TEST_EXISTS))
      return found;
    g_free (found);
  }
  if ((found = find_only (folder, ".safetensors.index.json", &n)))
    return found;
  if ((found = find_only (folder, ".safetensors", &n)))
    return found;

  label = eng_json_dup_label (folder);
  g_set_error (error, ENG_ERROR, ENG_ERROR_FILE,
               n ? "%s: has %d .safetensors files and no index" : "%s: has no .safetensors file",
               label, n);
  return NULL;
}

eng_weights *
eng_weights_open (const char *path, GError **error)
{
  g_autoptr (eng_weights) weights = g_new0 (eng_weights, 1);
  g_autofree char *file = NULL;
  gboolean ok;

  g_atomic_ref_count_init (&weights->references);
  weights->path = g_strdup (path);
  weights->files = g_ptr_array_new_with_free_func ((GDestroyNotify) eng_safetensors_free);
  weights->tensors = g_ptr_array_new ();
  weights->by_name = g_hash_table_new (g_str_hash, g_str_equal);

  file = g_file_test (path, G_FILE_TEST_IS_DIR) ? find_in_folder (path, error) : g_strdup (path);
  if (!file)
    return NULL;
  ok = g_str_has_suffix (file, ".index.json") ? add_index (weights, file, error)
                                              : add_file (weights, file, NULL, error);
  return ok ? g_steal_pointer (&weights) : NULL;
}

eng_weights *
eng_weights_ref (eng_weights *weights)
{
  g_atomic_ref_count_inc (&weights->references);
  return weights;
}

void
eng_weights_unref (eng_weights *weights)
{
  if (!g_atomic_ref_count_dec (&weights->references))
    return;
  g_hash_table_unref (weights->by_name);
  g_ptr_array_unref (weights->tensors);
  g_ptr_array_unref (weights->files);
  g_free (weights->path);
  g_free (weights);
}

const struct eng_tensor_info *
eng_weights_lookup (const eng_weights *weights, const char *name)
{
  return g_hash_table_lookup (weights->by_name, name);
}

guint
eng_weights_get_n (const eng_weights *weights)
{
  return weights->tensors->len;
}

const struct eng_tensor_info *
eng_weights_get (const eng_weights *weights, guint i)
{
  g_return_val_if_fail (i < weights->tensors->len, NULL);

  return weights->tensors->pdata[i];
}

const char *
eng_weights_get_path (const eng_weights *weights)
{
  return weights->path;
}

GHashTable *
eng_weights_get_metadata (const eng_weights *weights)
{
  return ((eng_safetensors *) weights->files->pdata[0])->metadata;
}

gboolean
eng_weights_read (const eng_weights *weights, const struct eng_tensor_info *tensor, size_t from,
                  void *to, size_t bytes, GError **error)
{
  for (guint i = 0; i < weights->files->len; i++) {
    const eng_safetensors *file = weights->files->pdata[i];
    const guint64 offset = (guintptr) tensor->data - (guintptr) file->data;

    if ((guintptr) tensor->data >= (guintptr) file->data && offset <= file->data_size &&
        g_hash_table_contains (file->seen, tensor->name))
      return eng_safetensors_read (file, tensor, from, to, bytes, error);
  }
  g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: \"%s\" is in no file", weights->path,
               tensor->name);
  return FALSE;
}
