#include "engine/infer.h"

#include "engine/error.h"

static gboolean
read_size (const eng_weights *weights, const char *prefix, const char *name, int dim, int64_t *size,
           GError **error)
{
  g_autofree char *full = g_strconcat (prefix, name, NULL);
  const struct eng_tensor_info *info = eng_weights_lookup (weights, full);

  if (info && dim < info->n_dims && info->dim[dim] > 0) {
    *size = info->dim[dim];
    return TRUE;
  }
  g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "“%s” has no config.json and no usable tensor %s",
               eng_weights_get_path (weights), full);
  return FALSE;
}

static int
count_layers (const eng_weights *weights, const char *prefix)
{
  for (int n = 0;; n++) {
    g_autofree char *name = g_strdup_printf ("%slayers.%d.input_layernorm.weight", prefix, n);

    if (!eng_weights_lookup (weights, name))
      return n;
  }
}

JsonObject *
eng_infer_qwen3 (const eng_weights *weights, const char *prefix, GError **error)
{
  int64_t vocabulary, width, head_dim, q, kv, mlp;
  JsonObject *config;

  if (!read_size (weights, prefix, "embed_tokens.weight", 0, &vocabulary, error) ||
      !read_size (weights, prefix, "embed_tokens.weight", 1, &width, error) ||
      !read_size (weights, prefix, "layers.0.self_attn.q_norm.weight", 0, &head_dim, error) ||
      !read_size (weights, prefix, "layers.0.self_attn.q_proj.weight", 0, &q, error) ||
      !read_size (weights, prefix, "layers.0.self_attn.k_proj.weight", 0, &kv, error) ||
      !read_size (weights, prefix, "layers.0.mlp.gate_proj.weight", 0, &mlp, error))
    return NULL;

  config = json_object_new ();
  json_object_set_int_member (config, "vocab_size", vocabulary);
  json_object_set_int_member (config, "hidden_size", width);
  json_object_set_int_member (config, "intermediate_size", mlp);
  json_object_set_int_member (config, "num_hidden_layers", count_layers (weights, prefix));
  json_object_set_int_member (config, "head_dim", head_dim);
  json_object_set_int_member (config, "num_attention_heads", q / head_dim);
  json_object_set_int_member (config, "num_key_value_heads", kv / head_dim);
  json_object_set_double_member (config, "rms_norm_eps", 1e-6);
  json_object_set_double_member (config, "rope_theta", 1e6);
  return config;
}
