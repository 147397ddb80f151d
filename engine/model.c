#include "engine/model.h"

#include "engine/infer.h"
#include "engine/json.h"
#include "engine/memory.h"

#include <math.h>

/* Linear latent-to-RGB factors of the Flux VAE, which Z-Image shares, and the bias as a last row.
 * Numbers: ComfyUI, comfy/latent_formats.py, class Flux. */
static const float flux_preview[17 * 3] = {
  -0.0346f, 0.0244f,  0.0681f,  0.0034f,  0.0210f,  0.0687f,  0.0275f,  -0.0668f, -0.0433f,
  -0.0174f, 0.0160f,  0.0617f,  0.0859f,  0.0721f,  0.0329f,  0.0004f,  0.0383f,  0.0115f,
  0.0405f,  0.0861f,  0.0915f,  -0.0236f, -0.0185f, -0.0259f, -0.0245f, 0.0250f,  0.1180f,
  0.1008f,  0.0755f,  -0.0421f, -0.0515f, 0.0201f,  0.0011f,  0.0428f,  -0.0012f, -0.0036f,
  0.0817f,  0.0765f,  0.0749f,  -0.1264f, -0.0522f, -0.1103f, -0.0280f, -0.0881f, -0.0499f,
  -0.1262f, -0.0982f, -0.0778f, -0.0329f, -0.0718f, -0.0851f,
};

enum { LIBRARIES = 768 << 20 }; /* of the device's memory, for cuBLAS's kernels and the like */

struct load_progress {
  void (*progress) (double fraction, void *data);
  void *data;
};

static void
progress_cb (size_t done, size_t total, void *data)
{
  const struct load_progress *p = data;

  if (p->progress && total)
    p->progress ((double) done / total, p->data);
}

/* The tokenizer has 11 MB of JSON, which takes longer to read than a GB of weights: a thread of its
 * own does it meanwhile. */
struct tokenizer_load {
  const char *path; /* borrowed */
  GThread *thread;  /* NULL: it could not be had */
  eng_tokenizer *tokenizer;
  GError *error;
};

static gpointer
tokenizer_thread (gpointer data)
{
  struct tokenizer_load *load = data;

  load->tokenizer = eng_tokenizer_open (load->path, &load->error);
  return NULL;
}

static void
begin_tokenizer (struct tokenizer_load *load, const char *path)
{
  load->path = path;
  load->thread = g_thread_try_new ("tokenizer", tokenizer_thread, load, NULL);
  if (!load->thread)
    tokenizer_thread (load);
}

/* Adopts the tokenizer; FALSE and error when it cannot be read. */
static gboolean
end_tokenizer (struct tokenizer_load *load, eng_model *model, GError **error)
{
  g_clear_pointer (&load->thread, g_thread_join);
  model->tokenizer = g_steal_pointer (&load->tokenizer);
  if (load->error)
    g_propagate_error (error, g_steal_pointer (&load->error));
  return model->tokenizer != NULL;
}

/* Three numbers of a row of preview.json; FALSE when it holds anything else. */
static gboolean
read_factors (JsonNode *node, float *values)
{
  JsonArray *row = JSON_NODE_HOLDS_ARRAY (node) ? json_node_get_array (node) : NULL;

  if (!row || json_array_get_length (row) != 3)
    return FALSE;
  for (int i = 0; i < 3; i++) {
    JsonNode *number = json_array_get_element (row, i);
    const GType type = json_node_get_value_type (number);

    if (type != G_TYPE_INT64 && type != G_TYPE_DOUBLE)
      return FALSE;
    values[i] = json_node_get_double (number);
    if (!isfinite (values[i]))
      return FALSE;
  }
  return TRUE;
}

/* preview.json: {"factors": [[r, g, b] * channels], "bias": [r, g, b]}. */
static gboolean
read_preview (const char *path, float *values, int channels, GError **error)
{
  g_autoptr (JsonObject) object = eng_json_read_object (path, error);
  JsonArray *factors = object ? eng_json_get_array (object, "factors", error) : NULL;

  if (!factors)
    return FALSE;
  if ((int) json_array_get_length (factors) != channels) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "“%s” has factors of %u channels, expected %d",
                 path, json_array_get_length (factors), channels);
    return FALSE;
  }
  for (int c = 0; c < channels; c++)
    if (!read_factors (json_array_get_element (factors, c), values + c * 3)) {
      g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "“%s”: factors[%d] is not three numbers",
                   path, c);
      return FALSE;
    }
  if (eng_json_has (object, "bias") &&
      read_factors (json_object_get_member (object, "bias"), values + channels * 3))
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "“%s”: bias is not three numbers", path);
  return FALSE;
}

/* Without a file of its own a 16-channel model is taken for Flux's VAE; others have no preview. */
static gboolean
want_preview (eng_model *model, eng_loader *loader, GError **error)
{
  const int channels = eng_vae_get_sizes (model->vae)->latent_channels;
  g_autofree float *values = g_new (float, (channels + 1) * 3);

  if (model->info->preview) {
    if (!read_preview (model->info->preview, values, channels, error))
      return FALSE;
    eng_loader_want_constant (loader, &model->preview, channels + 1, 3, values);
  } else if (channels == 16) {
    eng_loader_want_constant (loader, &model->preview, channels + 1, 3, flux_preview);
  }
  return TRUE;
}

static gboolean
check_sizes (const eng_model *model, GError **error)
{
  const struct eng_z_image_sizes *sizes = eng_z_image_get_sizes (model->transformer);
  const int text = eng_qwen3_get_width (model->text);
  const int channels = eng_vae_get_sizes (model->vae)->latent_channels;
  const int multiple = eng_vae_get_sizes (model->vae)->scale * sizes->patch;
  const char *path = model->info->path;

  if (text != sizes->caption_width)
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
                 "“%s”: the text encoder is %d wide, but the transformer expects %d", path, text,
                 sizes->caption_width);
  else if (channels != sizes->channels)
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
                 "“%s”: the VAE has %d latent channels, but the transformer %d", path, channels,
                 sizes->channels);
  else if (ENG_SIZE_MULTIPLE % multiple != 0)
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
                 "“%s”: a token stands for %d pixels, expected %d or a part of it", path, multiple,
                 ENG_SIZE_MULTIPLE);
  else
    return TRUE;
  return FALSE;
}

static gboolean
check_vocabulary (const eng_model *model, GError **error)
{
  const int ids = eng_tokenizer_get_vocabulary_size (model->tokenizer);
  const int rows = eng_qwen3_get_vocabulary_size (model->text);

  if (ids <= rows)
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
               "“%s”: the tokenizer has %d ids, but the text encoder only %d", model->info->path,
               ids, rows);
  return FALSE;
}

/* config.json's object; NULL without error when the part goes without one. */
static gboolean
read_config (const struct eng_part_source *part, gboolean is_text, JsonObject **config,
             GError **error)
{
  if (part->config)
    *config = eng_json_read_object (part->config, error);
  else if (is_text)
    *config = eng_infer_qwen3 (part->weights, part->prefix, error);
  else
    return TRUE;
  return *config != NULL;
}

static gboolean
describe_network (eng_model *model, enum eng_part part, eng_loader *loader, GError **error)
{
  const struct eng_part_source *source = &model->info->parts[part];
  JsonObject *config = NULL;
  gboolean ok = FALSE;

  if (!read_config (source, part == ENG_PART_TEXT, &config, error))
    return FALSE;
  switch (part) {
  case ENG_PART_TEXT:
    ok = (model->text = eng_qwen3_new (config, loader, error)) != NULL;
    break;
  case ENG_PART_TRANSFORMER:
    ok = (model->transformer = eng_z_image_new (config, loader, error)) != NULL;
    break;
  default:
    ok = (model->vae = eng_vae_new (config, loader, error)) != NULL;
  }
  if (!ok)
    g_prefix_error (
        error, "%s: ", source->config ? source->config : eng_weights_get_path (source->weights));
  g_clear_pointer (&config, json_object_unref);
  return ok;
}

/* Creates the three networks, which tell their loaders what they want. */
static gboolean
describe_networks (eng_model *model, eng_loader **loaders, GError **error)
{
  for (guint i = 0; i < ENG_N_PARTS; i++)
    if (!describe_network (model, i, loaders[i], error))
      return FALSE;
  return want_preview (model, loaders[ENG_PART_VAE], error) && check_sizes (model, error);
}

static void
new_loaders (const eng_model_info *info, eng_loader **loaders)
{
  for (guint i = 0; i < ENG_N_PARTS; i++)
    loaders[i] =
        eng_loader_new (info->parts[i].weights, info->components[i].name, info->parts[i].prefix);
}

static void
free_loaders (eng_loader **loaders)
{
  for (guint i = 0; i < ENG_N_PARTS; i++)
    g_clear_pointer (&loaders[i], eng_loader_free);
}

/* Automatic: it stays when it leaves room for a picture of the model's size, and for what libraries
 * take. */
static gboolean
keeps_text (const eng_model *model, eng_loader *const *loaders, enum eng_residency residency)
{
  const struct eng_defaults *defaults = &model->info->defaults;
  size_t free_bytes, total_bytes;
  struct eng_memory memory;

  if (residency != ENG_RESIDENCY_AUTO)
    return residency == ENG_RESIDENCY_KEEP;
  eng_memory_plan (&memory, model, loaders, defaults->width, defaults->height);
  model->device->info (model->device, &free_bytes, &total_bytes);
  return eng_memory_get_kept (&memory) + LIBRARIES <= free_bytes;
}

/* May take over some of the loaders. */
static gboolean
load_parts (eng_model *model, eng_loader **loaders, const struct eng_model_loading *how,
            GError **error)
{
  struct load_progress progress = { how->progress, how->data };
  const struct eng_loading loading = { how->device, how->stream, progress_cb, &progress,
                                       how->cancelled };
  const int first = keeps_text (model, loaders, how->text_encoder) ? 0 : ENG_PART_TEXT + 1;
  gboolean ok;

  for (int i = first; i < ENG_N_PARTS; i++)
    model->bytes += eng_loader_get_bytes (loaders[i], how->device->weight);
  ok = eng_loaders_finish (loaders + first, ENG_N_PARTS - first, model->blocks + first, &loading,
                           error);
  if (ok && first > 0) {
    model->feed = eng_feed_new (g_steal_pointer (&loaders[ENG_PART_TEXT]), ENG_QWEN3_FIRST_FED,
                                how->device, error);
    eng_qwen3_set_feed (model->text, model->feed);
    ok = model->feed != NULL;
  }
  return ok;
}

eng_model *
eng_model_load (eng_model_info *info, const struct eng_model_loading *how, GError **error)
{
  g_autoptr (eng_model) model = g_new0 (eng_model, 1);
  struct tokenizer_load tokenizer = { 0 };
  eng_loader *loaders[ENG_N_PARTS];
  gboolean ok;

  model->info = eng_model_info_ref (info);
  model->device = how->device;
  begin_tokenizer (&tokenizer, info->tokenizer);
  new_loaders (info, loaders);
  ok = describe_networks (model, loaders, error) && load_parts (model, loaders, how, error);
  ok =
      end_tokenizer (&tokenizer, model, ok ? error : NULL) && ok && check_vocabulary (model, error);
  free_loaders (loaders);
  return ok ? g_steal_pointer (&model) : NULL;
}

gboolean
eng_model_info_plan_memory (eng_model_info *info, int width, int height, struct eng_memory *memory,
                            GError **error)
{
  struct krn_device gpu = { .activation = KRN_BF16, .weight = KRN_BF16 }; /* only asked for these */
  g_autoptr (eng_model) model = g_new0 (eng_model, 1);
  eng_loader *loaders[ENG_N_PARTS];
  gboolean ok;

  model->info = eng_model_info_ref (info);
  model->device = &gpu;
  new_loaders (info, loaders);
  ok = describe_networks (model, loaders, error);
  if (ok)
    eng_memory_plan (memory, model, loaders, width, height);
  free_loaders (loaders);
  model->device = NULL;
  return ok;
}

void
eng_model_free (eng_model *model)
{
  if (!model)
    return;
  g_clear_pointer (&model->feed, eng_feed_free);
  for (guint i = 0; i < ENG_N_PARTS && model->device; i++)
    model->device->free_memory (model->device, model->blocks[i]);
  g_clear_pointer (&model->tokenizer, eng_tokenizer_free);
  g_clear_pointer (&model->text, eng_qwen3_free);
  g_clear_pointer (&model->transformer, eng_z_image_free);
  g_clear_pointer (&model->vae, eng_vae_free);
  eng_model_info_unref (model->info);
  g_free (model);
}
