#include "engine/qwen3.h"

#include "engine/error.h"
#include "engine/json.h"
#include "engine/want.h"

#include <math.h>

struct layer {
  krn_tensor norm1;          /* [width] */
  krn_tensor qkv;            /* [(heads + 2 * kv_heads) * head_dim, width] */
  krn_tensor q_norm, k_norm; /* [head_dim] */
  krn_tensor out;            /* [width, heads * head_dim] */
  krn_tensor norm2;          /* [width] */
  krn_tensor gate_up;        /* [2 * mlp, width] */
  krn_tensor down;           /* [width, mlp] */
};

struct eng_qwen3 {
  int width, mlp, layers, heads, kv_heads, head_dim, vocabulary;
  double eps, theta;
  krn_tensor embedding;                /* [vocabulary, width] */
  struct layer *layer;                 /* layers - 1: the last one of the file is never run */
  eng_feed *feed;                      /* borrowed; NULL: all weights are on the device */
  const struct eng_tensor_info *table; /* of the embedding, in its file; borrowed */
};

/* transformers 5 moved rope_theta into rope_parameters, which older files lack. */
static gboolean
read_rope (eng_qwen3 *model, JsonObject *config, GError **error)
{
  const char *kind = "default";
  JsonObject *rope = config;

  if (eng_json_has (config, "rope_parameters"))
    rope = eng_json_get_object (config, "rope_parameters", error);
  else if (eng_json_has (config, "rope_scaling"))
    kind = "scaled";
  if (!rope || !eng_json_get_double (rope, "rope_theta", 1, 1e12, &model->theta, error))
    return FALSE;
  if (eng_json_has (rope, "rope_type") && !(kind = eng_json_get_string (rope, "rope_type", error)))
    return FALSE;
  if (g_str_equal (kind, "default"))
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "\"rope_type\" is %s, expected default", kind);
  return FALSE;
}

/* What other Qwen models may have and this code does not do. */
static gboolean
refuse_unknown (JsonObject *config, GError **error)
{
  static const char *const flags[] = { "attention_bias", "use_sliding_window" };
  const char *act;

  for (guint i = 0; i < G_N_ELEMENTS (flags); i++) {
    gboolean on = FALSE;

    if (eng_json_has (config, flags[i]) && !eng_json_get_boolean (config, flags[i], &on, error))
      return FALSE;
    if (on) {
      g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "\"%s\" is true, expected false", flags[i]);
      return FALSE;
    }
  }
  if (!eng_json_has (config, "hidden_act"))
    return TRUE;
  if (!(act = eng_json_get_string (config, "hidden_act", error)))
    return FALSE;
  if (g_str_equal (act, "silu"))
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "\"hidden_act\" is %s, expected silu", act);
  return FALSE;
}

static gboolean
read_config (eng_qwen3 *model, JsonObject *config, GError **error)
{
  if (!eng_json_get_int (config, "hidden_size", 1, 1 << 16, &model->width, error) ||
      !eng_json_get_int (config, "intermediate_size", 1, 1 << 18, &model->mlp, error) ||
      !eng_json_get_int (config, "num_hidden_layers", 1, 1 << 10, &model->layers, error) ||
      !eng_json_get_int (config, "num_attention_heads", 1, 1 << 10, &model->heads, error) ||
      !eng_json_get_int (config, "num_key_value_heads", 1, 1 << 10, &model->kv_heads, error) ||
      !eng_json_get_int (config, "vocab_size", 1, 1 << 24, &model->vocabulary, error) ||
      !eng_json_get_double (config, "rms_norm_eps", 0, 1, &model->eps, error))
    return FALSE;
  model->head_dim = model->width / model->heads;
  if (eng_json_has (config, "head_dim") &&
      !eng_json_get_int (config, "head_dim", 1, 1 << 12, &model->head_dim, error))
    return FALSE;

  if (model->heads % model->kv_heads != 0)
    g_set_error (
        error, ENG_ERROR, ENG_ERROR_MODEL,
        "\"num_attention_heads\" is %d, expected a multiple of \"num_key_value_heads\", %d",
        model->heads, model->kv_heads);
  else if (model->head_dim < 2 || model->head_dim % 2 != 0)
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
                 "\"head_dim\" is %d, expected an even number above 0", model->head_dim);
  else
    return refuse_unknown (config, error) && read_rope (model, config, error);
  return FALSE;
}

/* Three groups: as small as two matrices that belong together let them be. */
static void
want_layer (eng_qwen3 *model, eng_loader *loader, struct layer *layer, const char *prefix)
{
  const int q = model->heads * model->head_dim, kv = model->kv_heads * model->head_dim;

  eng_want_vector (loader, &layer->norm1, model->width, prefix, "input_layernorm.weight");
  eng_want (loader, &layer->qkv, q + 2 * kv, model->width, prefix, "self_attn.q_proj.weight",
            "self_attn.k_proj.weight", "self_attn.v_proj.weight");
  eng_want_vector (loader, &layer->q_norm, model->head_dim, prefix, "self_attn.q_norm.weight");
  eng_want_vector (loader, &layer->k_norm, model->head_dim, prefix, "self_attn.k_norm.weight");
  eng_want (loader, &layer->out, model->width, q, prefix, "self_attn.o_proj.weight", NULL, NULL);
  eng_loader_end_group (loader);
  eng_want_vector (loader, &layer->norm2, model->width, prefix, "post_attention_layernorm.weight");
  eng_want (loader, &layer->gate_up, 2 * model->mlp, model->width, prefix, "mlp.gate_proj.weight",
            "mlp.up_proj.weight", NULL);
  eng_loader_end_group (loader);
  eng_want (loader, &layer->down, model->width, model->mlp, prefix, "mlp.down_proj.weight", NULL,
            NULL);
  eng_loader_end_group (loader);
}

eng_qwen3 *
eng_qwen3_new (JsonObject *config, eng_loader *loader, GError **error)
{
  eng_qwen3 *model = g_new0 (eng_qwen3, 1);

  if (!read_config (model, config, error)) {
    g_prefix_error (error, "text encoder: ");
    g_free (model);
    return NULL;
  }

  model->layer = g_new0 (struct layer, model->layers);
  eng_want (loader, &model->embedding, model->vocabulary, model->width, "", "embed_tokens.weight",
            NULL, NULL);
  eng_loader_end_group (loader);
  model->table = eng_loader_lookup (loader, "embed_tokens.weight");
  for (int i = 0; i < model->layers - 1; i++) {
    g_autofree char *layer = g_strdup_printf ("layers.%d.", i);
    want_layer (model, loader, &model->layer[i], layer);
  }
  return model;
}

void
eng_qwen3_free (eng_qwen3 *model)
{
  if (!model)
    return;
  g_free (model->layer);
  g_free (model);
}

void
eng_qwen3_set_feed (eng_qwen3 *model, eng_feed *feed)
{
  model->feed = feed;
}

int
eng_qwen3_get_width (const eng_qwen3 *model)
{
  return model->width;
}

int
eng_qwen3_get_vocabulary_size (const eng_qwen3 *model)
{
  return model->vocabulary;
}

int
eng_qwen3_get_head_dim (const eng_qwen3 *model)
{
  return model->head_dim;
}

void
eng_qwen3_rope (const eng_qwen3 *model, float *table, int n)
{
  const int d = model->head_dim;

  /* Frequency and angle are rounded to f32 as transformers does: at position 500 the angle itself
   * would differ by 3e-5 otherwise. */
  for (int i = 0; i < d / 2; i++) {
    const float frequency = 1.f / powf ((float) model->theta, (float) (2 * i) / (float) d);

    for (int pos = 0; pos < n; pos++) {
      const float angle = (float) pos * frequency;

      table[(size_t) pos * d + 2 * i] = cosf (angle);
      table[(size_t) pos * d + 2 * i + 1] = sinf (angle);
    }
  }
}

static void
attention (struct eng_run *run, const eng_qwen3 *model, const struct layer *layer, krn_tensor x,
           krn_tensor h, krn_tensor rope)
{
  const krn_dtype act = run->device->activation;
  const int d = model->head_dim, q = model->heads * d, kv = model->kv_heads * d;
  const int64_t n = krn_rows (x);
  krn_tensor qkv = eng_run_take (run, act, 1, 1, n, q + 2 * kv);
  krn_tensor o = eng_run_take (run, act, 1, 1, n, q);
  const struct krn_qk_norm_rope norm = {
    .qkv = qkv,
    .q_weight = layer->q_norm,
    .k_weight = layer->k_norm,
    .rope = rope,
    .q_heads = model->heads,
    .kv_heads = model->kv_heads,
    .head_dim = d,
    .kind = KRN_ROPE_HALF,
    .eps = model->eps,
  };
  const struct krn_attention args = {
    .batch = 1,
    .q_heads = model->heads,
    .kv_heads = model->kv_heads,
    .head_dim = d,
    .scale = 1.f / sqrtf ((float) d),
    .causal = true,
  };

  ENG_RUN (run, linear, qkv, h, layer->qkv, (krn_tensor){ 0 }, false); /* [n, q + 2 kv] */
  ENG_RUN (run, qk_norm_rope, &norm);
  ENG_RUN (run, attention, o, krn_col_view (qkv, 0, q), krn_col_view (qkv, q, kv),
           krn_col_view (qkv, q + kv, kv), &args);                  /* [n, q] */
  ENG_RUN (run, linear, x, o, layer->out, (krn_tensor){ 0 }, true); /* [n, width] */
  eng_run_drop (run, o);
  eng_run_drop (run, qkv);
}

/* Weights of a layer, as want_layer parts them. */
enum { ATTENTION, GATE_UP, DOWN, LAYER_GROUPS };

static void
acquire (struct eng_run *run, const eng_qwen3 *model, krn_tensor memory, int layer, int group)
{
  if (model->feed)
    eng_feed_acquire (model->feed, run, memory, layer * LAYER_GROUPS + group);
}

static void
embed (struct eng_run *run, const eng_qwen3 *model, krn_tensor out, krn_tensor ids,
       const int32_t *host_ids)
{
  if (!model->feed) {
    ENG_RUN (run, embedding, out, ids, model->embedding); /* [n, width] */
    return;
  }
  krn_tensor rows = eng_run_take (run, run->device->weight, 1, 1, krn_rows (out), model->width);
  eng_feed_rows (model->feed, run, rows, model->table, host_ids);
  ENG_RUN (run, copy, out, rows);
  eng_run_drop (run, rows);
}

static void
mlp (struct eng_run *run, const eng_qwen3 *model, krn_tensor memory, int i, krn_tensor x,
     krn_tensor h)
{
  const struct layer *layer = &model->layer[i];
  const krn_dtype act = run->device->activation;
  krn_tensor gate_up = eng_run_take (run, act, 1, 1, krn_rows (x), 2 * model->mlp);
  krn_tensor inner = eng_run_take (run, act, 1, 1, krn_rows (x), model->mlp);

  acquire (run, model, memory, i, GATE_UP);
  ENG_RUN (run, rms_norm, h, x, layer->norm2, (krn_tensor){ 0 }, model->eps);
  ENG_RUN (run, linear, gate_up, h, layer->gate_up, (krn_tensor){ 0 }, false); /* [n, 2 mlp] */
  ENG_RUN (run, silu_gate, inner, gate_up);                                    /* [n, mlp] */
  acquire (run, model, memory, i, DOWN);
  ENG_RUN (run, linear, x, inner, layer->down, (krn_tensor){ 0 }, true); /* [n, width] */
  eng_run_drop (run, inner);
  eng_run_drop (run, gate_up);
}

void
eng_qwen3_forward (struct eng_run *run, const eng_qwen3 *model, krn_tensor out, krn_tensor ids,
                   krn_tensor rope, const int32_t *host_ids)
{
  krn_tensor memory = model->feed ? eng_feed_take (model->feed, run) : (krn_tensor){ 0 };
  krn_tensor h = eng_run_take (run, run->device->activation, 1, 1, krn_rows (out), model->width);

  embed (run, model, out, ids, host_ids);
  for (int i = 0; i < model->layers - 1; i++) {
    const struct layer *layer = &model->layer[i];

    acquire (run, model, memory, i, ATTENTION);
    ENG_RUN (run, rms_norm, h, out, layer->norm1, (krn_tensor){ 0 }, model->eps);
    attention (run, model, layer, out, h, rope);
    mlp (run, model, memory, i, out, h);
  }
  eng_run_drop (run, h);
  if (model->feed)
    eng_run_drop (run, memory);
}
