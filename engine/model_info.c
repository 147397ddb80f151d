#include "engine/model.h"

#include "engine/json.h"
#include "engine/safetensors.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static const char *const part_names[ENG_N_PARTS] = { "text encoder", "transformer", "vae" };

/* How each part's tensors may be spelled: a name that only it has, behind a prefix. */
static const struct {
  enum eng_part part;
  const char *prefix, *name;
} signs[] = {
  { ENG_PART_TRANSFORMER, "", "cap_embedder.0.weight" },
  { ENG_PART_TRANSFORMER, "model.diffusion_model.", "cap_embedder.0.weight" },
  { ENG_PART_TEXT, "", "layers.0.self_attn.q_norm.weight" },
  { ENG_PART_TEXT, "model.", "layers.0.self_attn.q_norm.weight" },
  { ENG_PART_TEXT, "text_encoders.qwen3_4b.transformer.model.",
    "layers.0.self_attn.q_norm.weight" },
  { ENG_PART_VAE, "", "decoder.conv_in.weight" },
  { ENG_PART_VAE, "vae.", "decoder.conv_in.weight" },
};

static void
adopt_parts (eng_model_info *info, eng_weights *weights, const char *config)
{
  for (guint i = 0; i < G_N_ELEMENTS (signs); i++) {
    struct eng_part_source *part = &info->parts[signs[i].part];
    g_autofree char *name = g_strconcat (signs[i].prefix, signs[i].name, NULL);

    if (part->weights || !eng_weights_lookup (weights, name))
      continue;
    part->weights = eng_weights_ref (weights);
    part->prefix = signs[i].prefix;
    part->config = g_strdup (config);
  }
}

static char *
existing_file (const char *folder, const char *first, const char *second)
{
  g_autofree char *path = g_build_filename (folder, first, second, NULL);
  return g_file_test (path, G_FILE_TEST_IS_REGULAR) ? g_steal_pointer (&path) : NULL;
}

/* A component's folder of the diffusers layout; absent is no error here. */
static gboolean
adopt_folder (eng_model_info *info, const char *folder, GError **error)
{
  g_autofree char *path = g_build_filename (info->path, folder, NULL);
  g_autofree char *config = existing_file (path, "config.json", NULL);

  if (!g_file_test (path, G_FILE_TEST_IS_DIR))
    return TRUE;

  g_autoptr (eng_weights) weights = eng_weights_open (path, error);
  if (!weights)
    return FALSE;
  adopt_parts (info, weights, config);
  return TRUE;
}

static int
compare_paths (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

/* By name, so that of two that would do the choice does not depend on the disk. */
static void
adopt_files_of (eng_model_info *info, const char *folder)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  g_autoptr (GPtrArray) entries = g_ptr_array_new_with_free_func (g_free);
  const char *entry;

  while (dir && (entry = g_dir_read_name (dir)))
    if (g_str_has_suffix (entry, ".safetensors"))
      g_ptr_array_add (entries, g_build_filename (folder, entry, NULL));
  g_ptr_array_sort (entries, compare_paths);
  for (guint i = 0; i < entries->len; i++) {
    g_autoptr (eng_weights) weights = eng_weights_open (entries->pdata[i], NULL);

    if (weights)
      adopt_parts (info, weights, NULL);
  }
}

static gboolean
is_complete (const eng_model_info *info)
{
  for (guint i = 0; i < ENG_N_PARTS; i++)
    if (!info->parts[i].weights)
      return FALSE;
  return TRUE;
}

/* A single file: what it does not hold is looked for in the files beside it, then in the folders
 * that ComfyUI keeps beside diffusion_models/. */
static gboolean
adopt_file (eng_model_info *info, GError **error)
{
  static const char *const siblings[] = { "", "../text_encoders", "../clip", "../vae" };
  g_autoptr (eng_weights) weights = eng_weights_open (info->path, error);
  g_autofree char *folder = g_path_get_dirname (info->path);

  if (!weights)
    return FALSE;
  adopt_parts (info, weights, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (siblings) && !is_complete (info); i++) {
    g_autofree char *path = g_build_filename (folder, siblings[i], NULL);
    adopt_files_of (info, path);
  }
  return TRUE;
}

static gboolean
adopt_path (eng_model_info *info, GError **error)
{
  static const char *const folders[] = { "text_encoder", "transformer", "vae" };
  g_autofree char *folder = NULL;

  if (g_file_test (info->path, G_FILE_TEST_IS_DIR)) {
    for (guint i = 0; i < G_N_ELEMENTS (folders); i++)
      if (!adopt_folder (info, folders[i], error))
        return FALSE;
    folder = g_strdup (info->path);
  } else {
    if (!adopt_file (info, error))
      return FALSE;
    folder = g_path_get_dirname (info->path);
  }

  info->tokenizer = existing_file (folder, "tokenizer", "tokenizer.json");
  if (!info->tokenizer)
    info->tokenizer = existing_file (folder, "tokenizer.json", NULL);
  if (!info->tokenizer)
    info->tokenizer = existing_file (folder, "..", "tokenizer/tokenizer.json");
  info->preview = existing_file (folder, "preview.json", NULL);
  return TRUE;
}

static const char *
most_common_dtype (const struct eng_part_source *part, uint64_t *bytes_out, uint64_t *parameters,
                   guint *tensors)
{
  g_autoptr (GHashTable) sums = g_hash_table_new (g_str_hash, g_str_equal);
  const char *best = "";
  gsize best_bytes = 0;

  for (guint i = 0; i < eng_weights_get_n (part->weights); i++) {
    const struct eng_tensor_info *t = eng_weights_get (part->weights, i);
    uint64_t count = 1;

    if (!g_str_has_prefix (t->name, part->prefix))
      continue;
    for (int d = 0; d < MIN (t->n_dims, (int) G_N_ELEMENTS (t->dim)); d++)
      count *= t->dim[d];
    *parameters += count;
    *bytes_out += t->bytes;
    *tensors += 1;
    const gsize sum = GPOINTER_TO_SIZE (g_hash_table_lookup (sums, t->on_disk)) + t->bytes;
    g_hash_table_insert (sums, (gpointer) t->on_disk, GSIZE_TO_POINTER (sum));
    if (sum > best_bytes) {
      best_bytes = sum;
      best = t->on_disk;
    }
  }
  return best;
}

static void
describe_part (eng_model_info *info, enum eng_part i)
{
  struct eng_component *component = &info->components[i];
  const char *path = eng_weights_get_path (info->parts[i].weights);

  component->name = part_names[i];
  component->dtype = g_strdup (most_common_dtype (&info->parts[i], &component->bytes,
                                                  &component->parameters, &component->tensors));
  const gsize n = strlen (info->path);

  /* A file beside a single one, or in a folder next to it, keeps its path. */
  if (strncmp (path, info->path, n) == 0 && (!path[n] || path[n] == '/'))
    path += n + (path[n] == '/');
  component->file = g_strdup (path);
}

/* Identifies the transformer without reading all of it: names, shapes and the first 4 KiB of every
 * tensor.  (A1111 hashes the whole file, which takes a minute for 20 GB.) */
static gboolean
hash_transformer (eng_model_info *info, GError **error)
{
  g_autoptr (GChecksum) sum = g_checksum_new (G_CHECKSUM_SHA256);
  const eng_weights *weights = info->parts[ENG_PART_TRANSFORMER].weights;
  guchar begin[4096];

  for (guint i = 0; i < eng_weights_get_n (weights); i++) {
    const struct eng_tensor_info *t = eng_weights_get (weights, i);

    if (!eng_weights_read (weights, t, 0, begin, MIN (t->bytes, sizeof begin), error))
      return FALSE;
    g_checksum_update (sum, (const guchar *) t->name, strlen (t->name));
    g_checksum_update (sum, (const guchar *) t->dim,
                       MIN (t->n_dims, (int) G_N_ELEMENTS (t->dim)) * sizeof t->dim[0]);
    g_checksum_update (sum, begin, MIN (t->bytes, sizeof begin));
  }
  g_strlcpy (info->hash, g_checksum_get_string (sum), sizeof info->hash);
  return TRUE;
}

static gboolean
check_complete (const eng_model_info *info, GError **error)
{
  gboolean any = FALSE;

  for (guint i = 0; i < ENG_N_PARTS; i++)
    any |= info->parts[i].weights != NULL;
  for (guint i = 0; i < ENG_N_PARTS; i++) {
    if (info->parts[i].weights)
      continue;
    if (any)
      g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "“%s” has no %s", info->path, part_names[i]);
    else
      g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "“%s” is not a model that Safelight knows",
                   info->path);
    return FALSE;
  }
  if (!info->tokenizer) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
                 "“%s” has no tokenizer.json, neither in its folder nor in tokenizer/", info->path);
    return FALSE;
  }
  return TRUE;
}

/* A single file has no scheduler of its own; Z-Image-Turbo's shift is 3. */
static gboolean
read_schedule (eng_model_info *info, GError **error)
{
  g_autofree char *path = existing_file (info->path, "scheduler", "scheduler_config.json");
  JsonObject *scheduler = NULL;
  gboolean ok;

  if (path && !(scheduler = eng_json_read_object (path, error)))
    return FALSE;
  ok = eng_schedule_config_read (&info->schedule, scheduler, error);
  if (!ok)
    g_prefix_error (error, "%s: ", path);
  if (!scheduler)
    info->schedule.shift = 3;
  g_clear_pointer (&scheduler, json_object_unref);
  return ok;
}

/* The VAE's sample_size is only a suggestion, and some configs hold something else there. */
static gboolean
read_size (const eng_model_info *info, int *size, GError **error)
{
  g_autoptr (JsonObject) vae = NULL;

  if (info->parts[ENG_PART_VAE].config &&
      !(vae = eng_json_read_object (info->parts[ENG_PART_VAE].config, error)))
    return FALSE;
  if (!vae || !eng_json_get_int (vae, "sample_size", 64, 4096, size, NULL) ||
      *size % ENG_SIZE_MULTIPLE)
    *size = 1024;
  return TRUE;
}

static gboolean
read_defaults (eng_model_info *info, GError **error)
{
  int size;

  if (!read_schedule (info, error) || !read_size (info, &size, error))
    return FALSE;
  info->defaults = (struct eng_defaults){
    .width = size,
    .height = size,
    .steps = 8,
    .cfg = 1,
    .sampler = ENG_SAMPLER_EULER,
    .schedule = ENG_SCHEDULE_SIMPLE,
  };
  info->defaults.shift = eng_model_info_get_shift (info, size, size);
  return TRUE;
}

float
eng_model_info_get_shift (const eng_model_info *info, int width, int height)
{
  const int tokens = width / ENG_SIZE_MULTIPLE * (height / ENG_SIZE_MULTIPLE);

  return eng_schedule_config_get_shift (&info->schedule, tokens);
}

/* Where a folder says what it was loaded from (diffusers' _name_or_path), its last part: folders
 * are often called "model" or by a hash. */
static char *
dup_name (const eng_model_info *info)
{
  g_autofree char *path = existing_file (info->path, "model_index.json", NULL);
  g_autoptr (JsonObject) index = path ? eng_json_read_object (path, NULL) : NULL;
  const char *name = index ? eng_json_get_string (index, "_name_or_path", NULL) : NULL;

  return g_path_get_basename (name && *name ? name : info->path);
}

eng_model_info *
eng_model_inspect (const char *path, GError **error)
{
  g_autoptr (eng_model_info) info = g_new0 (eng_model_info, 1);

  g_atomic_ref_count_init (&info->refs);
  info->path = g_canonicalize_filename (path, NULL);
  info->name = dup_name (info);
  if (g_access (info->path, R_OK)) {
    if (errno == ENOENT)
      g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "“%s” does not exist", info->path);
    else
      g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "“%s” cannot be read: %s", info->path,
                   g_strerror (errno));
    return NULL;
  }
  if (!adopt_path (info, error) || !check_complete (info, error) || !read_defaults (info, error))
    return NULL;

  for (guint i = 0; i < ENG_N_PARTS; i++)
    describe_part (info, i);
  return hash_transformer (info, error) ? g_steal_pointer (&info) : NULL;
}

eng_model_info *
eng_model_info_ref (eng_model_info *info)
{
  g_atomic_ref_count_inc (&info->refs);
  return info;
}

void
eng_model_info_unref (eng_model_info *info)
{
  if (!g_atomic_ref_count_dec (&info->refs))
    return;
  for (guint i = 0; i < ENG_N_PARTS; i++) {
    g_clear_pointer (&info->parts[i].weights, eng_weights_unref);
    g_free (info->parts[i].config);
    g_free ((char *) info->components[i].dtype);
    g_free ((char *) info->components[i].file);
  }
  g_free (info->path);
  g_free (info->name);
  g_free (info->tokenizer);
  g_free (info->preview);
  g_free (info);
}

const char *
eng_model_info_get_path (const eng_model_info *info)
{
  return info->path;
}

const char *
eng_model_info_get_name (const eng_model_info *info)
{
  return info->name;
}

const char *
eng_model_info_get_family (const eng_model_info *info)
{
  return "Z-Image";
}

const char *
eng_model_info_get_hash (const eng_model_info *info)
{
  return info->hash;
}

const struct eng_component *
eng_model_info_get_components (const eng_model_info *info, guint *n)
{
  *n = ENG_N_PARTS;
  return info->components;
}

const struct eng_defaults *
eng_model_info_get_defaults (const eng_model_info *info)
{
  return &info->defaults;
}

int
eng_model_info_get_prompt_limit (const eng_model_info *info)
{
  return ENG_PROMPT_LIMIT;
}

int
eng_model_info_get_size_multiple (const eng_model_info *info)
{
  return ENG_SIZE_MULTIPLE;
}
