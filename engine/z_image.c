#include "engine/z_image_private.h"

#include "engine/error.h"
#include "engine/json.h"
#include "engine/want.h"

#include <math.h>

enum { MULTIPLE = 32, MAX_BLOCKS = 1 << 10 };

static gboolean
check_sizes (const eng_z_image *model, GError **error)
{
  const struct eng_z_image_sizes *s = &model->sizes;
  const int *axes = model->axes;

  if (s->dim % s->heads != 0) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
                 "\"dim\" is %d, expected a multiple of \"n_heads\", %d", s->dim, s->heads);
    return FALSE;
  }
  for (int i = 0; i < ENG_Z_IMAGE_AXES; i++)
    if (axes[i] < 2 || axes[i] > s->head_dim || axes[i] % 2 != 0) {
      g_set_error (
          error, ENG_ERROR, ENG_ERROR_MODEL,
          "\"axes_dims\"[%d] is %d, expected an even number from 2 to the size of a head, %d", i,
          axes[i], s->head_dim);
      return FALSE;
    }
  if (axes[0] + axes[1] + axes[2] == s->head_dim)
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
               "\"axes_dims\" have the sum %d, expected the size of a head, %d",
               axes[0] + axes[1] + axes[2], s->head_dim);
  return FALSE;
}

/* An array of the one integer that is understood; absent is fine. */
static gboolean
check_only (JsonObject *config, const char *key, int expected, GError **error)
{
  int value = expected;

  if (eng_json_has (config, key) && !eng_json_get_ints (config, key, &value, 1, error))
    return FALSE;
  if (value == expected)
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "\"%s\" is [%d], expected [%d]", key, value,
               expected);
  return FALSE;
}

/* What relatives of this model have and this code does not do. */
static gboolean
refuse_unknown (const eng_z_image *model, JsonObject *config, GError **error)
{
  int kv_heads = model->sizes.heads;
  gboolean qk_norm = TRUE;

  if (!check_only (config, "all_patch_size", model->sizes.patch, error) ||
      !check_only (config, "all_f_patch_size", 1, error))
    return FALSE;
  if (eng_json_has (config, "n_kv_heads") &&
      !eng_json_get_int (config, "n_kv_heads", 1, 1 << 10, &kv_heads, error))
    return FALSE;
  if (eng_json_has (config, "qk_norm") &&
      !eng_json_get_boolean (config, "qk_norm", &qk_norm, error))
    return FALSE;

  if (kv_heads != model->sizes.heads)
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
                 "\"n_kv_heads\" is %d, expected as many as \"n_heads\", %d", kv_heads,
                 model->sizes.heads);
  else if (!qk_norm)
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "\"qk_norm\" is false, expected true");
  else if (eng_json_has (config, "siglip_feat_dim"))
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
                 "\"siglip_feat_dim\" is set, expected null: image conditions are not supported");
  else
    return TRUE;
  return FALSE;
}

static gboolean
read_config (eng_z_image *model, JsonObject *config, GError **error)
{
  struct eng_z_image_sizes *s = &model->sizes;
  double t_scale;

  if (!eng_json_get_int (config, "dim", 1, 1 << 16, &s->dim, error) ||
      !eng_json_get_int (config, "n_heads", 1, 1 << 10, &s->heads, error) ||
      !eng_json_get_int (config, "n_layers", 1, MAX_BLOCKS, &s->layers, error) ||
      !eng_json_get_int (config, "n_refiner_layers", 1, MAX_BLOCKS, &s->refiners, error) ||
      !eng_json_get_int (config, "in_channels", 1, 1 << 10, &s->channels, error) ||
      !eng_json_get_int (config, "cap_feat_dim", 1, 1 << 16, &s->caption_width, error) ||
      !eng_json_get_ints (config, "axes_dims", model->axes, ENG_Z_IMAGE_AXES, error) ||
      !eng_json_get_double (config, "norm_eps", 0, 1, &model->eps, error) ||
      !eng_json_get_double (config, "rope_theta", 1, 1e12, &model->theta, error) ||
      !eng_json_get_double (config, "t_scale", 1e-3, 1e9, &t_scale, error))
    return FALSE;
  s->head_dim = s->dim / s->heads;
  s->t_scale = t_scale;
  return refuse_unknown (model, config, error) && check_sizes (model, error);
}

static int
count_blocks (const eng_loader *loader, const char *group)
{
  for (int n = 0;; n++) {
    g_autofree char *name = g_strdup_printf ("%s.%d.attention_norm1.weight", group, n);

    if (n == MAX_BLOCKS || !eng_loader_has (loader, name))
      return n;
  }
}

/* Dimension dim of a tensor that a file without a config must have. */
static gboolean
read_size (const eng_loader *loader, const char *name, int dim, int *size, GError **error)
{
  const struct eng_tensor_info *t = eng_loader_lookup (loader, name);

  if (!t || t->n_dims <= dim || t->dim[dim] < 1 || t->dim[dim] > 1 << 16) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
                 t ? "%s has an impossible shape" : "%s is missing", name);
    return FALSE;
  }
  *size = t->dim[dim];
  return TRUE;
}

/* A native file has no config: sizes are its tensors', the rest is Z-Image's.  A head's axes keep
 * the proportions 1 : 1.5 : 1.5 of 32, 48, 48. */
static gboolean
read_tensors (eng_z_image *model, const eng_loader *loader, GError **error)
{
  struct eng_z_image_sizes *s = &model->sizes;
  int patch_width;

  if (!read_size (loader, "x_embedder.weight", 0, &s->dim, error) ||
      !read_size (loader, "x_embedder.weight", 1, &patch_width, error) ||
      !read_size (loader, "cap_embedder.0.weight", 0, &s->caption_width, error) ||
      !read_size (loader, "layers.0.attention.q_norm.weight", 0, &s->head_dim, error))
    return FALSE;
  s->layers = count_blocks (loader, "layers");
  s->refiners = count_blocks (loader, "noise_refiner");
  if (!s->layers || !s->refiners) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "%s.0.attention_norm1.weight is missing",
                 s->layers ? "noise_refiner" : "layers");
    return FALSE;
  }
  if (s->dim < s->head_dim || patch_width % (s->patch * s->patch) || s->head_dim % 16) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
                 "width %d, heads of %d and patches of %d do not go together", s->dim, s->head_dim,
                 patch_width);
    return FALSE;
  }
  s->heads = s->dim / s->head_dim;
  s->channels = patch_width / (s->patch * s->patch);
  s->t_scale = 1000;
  model->axes[0] = s->head_dim / 4;
  model->axes[1] = model->axes[2] = s->head_dim / 8 * 3;
  model->eps = 1e-5;
  model->theta = 256;
  return check_sizes (model, error);
}

static void
want_block (eng_z_image *model, eng_loader *loader, struct eng_z_image_block *block,
            const char *prefix)
{
  const int dim = model->sizes.dim, head_dim = model->sizes.head_dim, ffn = model->ffn;
  const gboolean native = model->native;

  eng_want_vector (loader, &block->norm1, dim, prefix, "attention_norm1.weight");
  if (native)
    eng_want (loader, &block->qkv, 3 * dim, dim, prefix, "attention.qkv.weight", NULL, NULL);
  else
    eng_want (loader, &block->qkv, 3 * dim, dim, prefix, "attention.to_q.weight",
              "attention.to_k.weight", "attention.to_v.weight");
  eng_want_vector (loader, &block->q_norm, head_dim, prefix,
                   native ? "attention.q_norm.weight" : "attention.norm_q.weight");
  eng_want_vector (loader, &block->k_norm, head_dim, prefix,
                   native ? "attention.k_norm.weight" : "attention.norm_k.weight");
  eng_want (loader, &block->out, dim, dim, prefix,
            native ? "attention.out.weight" : "attention.to_out.0.weight", NULL, NULL);
  eng_want_vector (loader, &block->norm2, dim, prefix, "attention_norm2.weight");
  eng_want_vector (loader, &block->ffn_norm1, dim, prefix, "ffn_norm1.weight");
  eng_want (loader, &block->gate_up, 2 * ffn, dim, prefix, "feed_forward.w1.weight",
            "feed_forward.w3.weight", NULL);
  eng_want (loader, &block->down, dim, ffn, prefix, "feed_forward.w2.weight", NULL, NULL);
  eng_want_vector (loader, &block->ffn_norm2, dim, prefix, "ffn_norm2.weight");
}

static struct eng_z_image_block *
want_blocks (eng_z_image *model, eng_loader *loader, const char *group, int n, gboolean modulated)
{
  const int dim = model->sizes.dim;
  struct eng_z_image_block *blocks = g_new0 (struct eng_z_image_block, n);

  for (int i = 0; i < n; i++) {
    g_autofree char *prefix = g_strdup_printf ("%s.%d.", group, i);

    want_block (model, loader, &blocks[i], prefix);
    if (!modulated)
      continue;
    eng_want (loader, &blocks[i].ada, 4 * dim, model->time, prefix, "adaLN_modulation.0.weight",
              NULL, NULL);
    eng_want_vector (loader, &blocks[i].ada_bias, 4 * dim, prefix, "adaLN_modulation.0.bias");
    blocks[i].modulation = model->sizes.modulation;
    model->sizes.modulation += 4 * dim;
  }
  return blocks;
}

static void
want_ends (eng_z_image *model, eng_loader *loader)
{
  const char *x = model->native ? "x_embedder." : "all_x_embedder.2-1.";
  const char *final = model->native ? "final_layer." : "all_final_layer.2-1.";
  const struct eng_z_image_sizes *s = &model->sizes;
  const int patch_width = s->patch * s->patch * s->channels;

  eng_want (loader, &model->x_embed, s->dim, patch_width, x, "weight", NULL, NULL);
  eng_want_vector (loader, &model->x_embed_bias, s->dim, x, "bias");
  eng_want_vector (loader, &model->x_pad, s->dim, "", "x_pad_token");
  eng_want_vector (loader, &model->caption_pad, s->dim, "", "cap_pad_token");
  eng_want_vector (loader, &model->caption_norm, s->caption_width, "", "cap_embedder.0.weight");
  eng_want (loader, &model->caption_embed, s->dim, s->caption_width, "", "cap_embedder.1.weight",
            NULL, NULL);
  eng_want_vector (loader, &model->caption_bias, s->dim, "", "cap_embedder.1.bias");
  eng_want (loader, &model->time1, ENG_Z_IMAGE_TIME_INNER, ENG_Z_IMAGE_TIME_WIDTH,
            "t_embedder.mlp.", "0.weight", NULL, NULL);
  eng_want_vector (loader, &model->time1_bias, ENG_Z_IMAGE_TIME_INNER, "t_embedder.mlp.", "0.bias");
  eng_want (loader, &model->time2, model->time, ENG_Z_IMAGE_TIME_INNER, "t_embedder.mlp.",
            "2.weight", NULL, NULL);
  eng_want_vector (loader, &model->time2_bias, model->time, "t_embedder.mlp.", "2.bias");
  eng_want (loader, &model->final_ada, s->dim, model->time, final, "adaLN_modulation.1.weight",
            NULL, NULL);
  eng_want_vector (loader, &model->final_ada_bias, s->dim, final, "adaLN_modulation.1.bias");
  eng_want (loader, &model->final_linear, patch_width, s->dim, final, "linear.weight", NULL, NULL);
  eng_want_vector (loader, &model->final_bias, patch_width, final, "linear.bias");
}

eng_z_image *
eng_z_image_new (JsonObject *config, eng_loader *loader, GError **error)
{
  eng_z_image *model = g_new0 (eng_z_image, 1);
  struct eng_z_image_sizes *s = &model->sizes;

  s->patch = 2;
  s->multiple = MULTIPLE;
  s->time_width = ENG_Z_IMAGE_TIME_WIDTH;
  model->native = eng_loader_has (loader, "x_embedder.weight");
  if (!(config ? read_config (model, config, error) : read_tensors (model, loader, error))) {
    g_prefix_error (error, "transformer: ");
    g_free (model);
    return NULL;
  }
  model->time = MIN (s->dim, ENG_Z_IMAGE_TIME_WIDTH);
  model->ffn = (int) (s->dim / 3.0 * 8.0);

  want_ends (model, loader);
  model->noise = want_blocks (model, loader, "noise_refiner", s->refiners, TRUE);
  model->context = want_blocks (model, loader, "context_refiner", s->refiners, FALSE);
  model->layers = want_blocks (model, loader, "layers", s->layers, TRUE);
  s->modulation += s->dim; /* the final layer's scale */
  return model;
}

void
eng_z_image_free (eng_z_image *model)
{
  if (!model)
    return;
  g_free (model->noise);
  g_free (model->context);
  g_free (model->layers);
  g_free (model);
}

const struct eng_z_image_sizes *
eng_z_image_get_sizes (const eng_z_image *model)
{
  return &model->sizes;
}

int
eng_z_image_pad (const eng_z_image *model, int tokens)
{
  return (tokens + MULTIPLE - 1) / MULTIPLE * MULTIPLE;
}

/* One row of the table: cos and sin of every pair, for a position on each axis. */
static void
rope_row (const eng_z_image *model, float *row, int p0, int p1, int p2)
{
  const int position[ENG_Z_IMAGE_AXES] = { p0, p1, p2 };

  for (int axis = 0; axis < ENG_Z_IMAGE_AXES; axis++)
    for (int k = 0; k < model->axes[axis]; k += 2) {
      const double frequency = 1.0 / pow (model->theta, (double) k / model->axes[axis]);
      const float angle = position[axis] * frequency; /* rounded as diffusers does */

      *row++ = cosf (angle);
      *row++ = sinf (angle);
    }
}

void
eng_z_image_rope (const eng_z_image *model, float *table, int h, int w, int caption)
{
  const int rows = h / model->sizes.patch, cols = w / model->sizes.patch;
  const int head_dim = model->sizes.head_dim, padded = eng_z_image_pad (model, rows * cols);

  for (int i = 0; i < rows * cols; i++, table += head_dim)
    rope_row (model, table, caption + 1, i / cols, i % cols);
  for (int i = rows * cols; i < padded; i++, table += head_dim)
    rope_row (model, table, 0, 0, 0);
  for (int i = 0; i < caption; i++, table += head_dim)
    rope_row (model, table, 1 + i, 0, 0); /* its pad tokens go on counting */
}

void
eng_z_image_sinusoid (const eng_z_image *model, float *sinusoid, const float *t, int n)
{
  const int half = ENG_Z_IMAGE_TIME_WIDTH / 2;

  /* In f32 throughout, as diffusers: with t * 1000 an exact angle would differ by 6e-5. */
  for (int i = 0; i < n; i++)
    for (int k = 0; k < half; k++) {
      const float frequency = expf (-(float) log (10000) * (float) k / (float) half);
      const float angle = t[i] * model->sizes.t_scale * frequency;

      sinusoid[i * ENG_Z_IMAGE_TIME_WIDTH + k] = cosf (angle);
      sinusoid[i * ENG_Z_IMAGE_TIME_WIDTH + half + k] = sinf (angle);
    }
}
