#include "engine/vae_private.h"

#include "engine/error.h"
#include "engine/json.h"
#include "engine/want.h"

#include <string.h>

static gboolean
read_flag (JsonObject *config, const char *key, gboolean *flag, GError **error)
{
  return !eng_json_has (config, key) || eng_json_get_boolean (config, key, flag, error);
}

static gboolean
read_widths (eng_vae *model, JsonObject *config, GError **error)
{
  JsonArray *array = eng_json_get_array (config, "block_out_channels", error);

  if (!array)
    return FALSE;
  model->n_widths = json_array_get_length (array);
  if (model->n_widths < 1 || model->n_widths > ENG_VAE_MAX_STAGES) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
                 "\"block_out_channels\" has %d numbers, expected 1 to %d", model->n_widths,
                 ENG_VAE_MAX_STAGES);
    return FALSE;
  }
  if (!eng_json_get_ints (config, "block_out_channels", model->widths, model->n_widths, error))
    return FALSE;
  for (int i = 0; i < model->n_widths; i++)
    if (model->widths[i] < 1 || model->widths[i] > 1 << 14 ||
        model->widths[i] % model->groups != 0) {
      g_set_error (
          error, ENG_ERROR, ENG_ERROR_MODEL,
          "\"block_out_channels\"[%d] is %d, expected a multiple of \"norm_num_groups\", %d", i,
          model->widths[i], model->groups);
      return FALSE;
    }
  return TRUE;
}

/* What relatives of this model have and this code does not do. */
static gboolean
refuse_unknown (JsonObject *config, GError **error)
{
  static const char *const channels[] = { "in_channels", "out_channels" };

  for (guint i = 0; i < G_N_ELEMENTS (channels); i++) {
    int value = 3;

    if (eng_json_has (config, channels[i]) &&
        !eng_json_get_int (config, channels[i], 3, 3, &value, error))
      return FALSE;
  }
  if (eng_json_has (config, "latents_mean") || eng_json_has (config, "latents_std")) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
                 "\"latents_mean\" or \"latents_std\" is set, expected null");
    return FALSE;
  }
  if (eng_json_has (config, "act_fn")) {
    const char *act = eng_json_get_string (config, "act_fn", error);

    if (!act)
      return FALSE;
    if (!g_str_equal (act, "silu")) {
      g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "\"act_fn\" is %s, expected silu", act);
      return FALSE;
    }
  }
  return TRUE;
}

static gboolean
read_config (eng_vae *model, JsonObject *config, GError **error)
{
  struct eng_vae_sizes *s = &model->sizes;
  double scaling, shift = 0;

  model->quant = model->post_quant = model->attention = TRUE; /* diffusers' defaults */
  if (!eng_json_get_int (config, "latent_channels", 1, 1 << 10, &s->latent_channels, error) ||
      !eng_json_get_int (config, "layers_per_block", 1, ENG_VAE_MAX_LAYERS, &model->layers,
                         error) ||
      !eng_json_get_int (config, "norm_num_groups", 1, 1 << 10, &model->groups, error) ||
      !eng_json_get_double (config, "scaling_factor", 1e-6, 1e6, &scaling, error) ||
      (eng_json_has (config, "shift_factor") &&
       !eng_json_get_double (config, "shift_factor", -1e6, 1e6, &shift, error)) ||
      !read_flag (config, "use_quant_conv", &model->quant, error) ||
      !read_flag (config, "use_post_quant_conv", &model->post_quant, error) ||
      !read_flag (config, "mid_block_add_attention", &model->attention, error))
    return FALSE;
  s->scaling_factor = scaling;
  s->shift_factor = shift;
  return read_widths (model, config, error) && refuse_unknown (config, error);
}

/* The Flux autoencoder, which Z-Image shares. */
static void
set_flux (eng_vae *model)
{
  static const int widths[] = { 128, 256, 512, 512 };

  memcpy (model->widths, widths, sizeof widths);
  model->n_widths = G_N_ELEMENTS (widths);
  model->layers = 2;
  model->groups = 32;
  model->attention = TRUE;
  model->sizes.latent_channels = 16;
  model->sizes.scaling_factor = 0.3611f;
  model->sizes.shift_factor = 0.1159f;
}

static void
want_norm (eng_loader *loader, struct eng_vae_norm *norm, int n, const char *prefix,
           const char *name)
{
  g_autofree char *full = g_strconcat (prefix, name, NULL);

  eng_want_vector (loader, &norm->w, n, full, ".weight");
  eng_want_vector (loader, &norm->bias, n, full, ".bias");
}

static void
want_conv (eng_loader *loader, struct eng_vae_conv *conv, int out, int in, int size,
           const char *name)
{
  g_autofree char *weight = g_strconcat (name, ".weight", NULL);

  conv->out = out;
  conv->size = size;
  eng_loader_want_conv (loader, &conv->w, out, in, size, size, weight);
  eng_want_vector (loader, &conv->bias, out, name, ".bias");
}

static void
want_resnet (eng_vae *model, eng_loader *loader, struct eng_vae_resnet *resnet, int in, int out,
             const char *prefix)
{
  g_autofree char *conv1 = g_strconcat (prefix, ".conv1", NULL);
  g_autofree char *conv2 = g_strconcat (prefix, ".conv2", NULL);
  g_autofree char *shortcut =
      g_strconcat (prefix, model->original ? ".nin_shortcut" : ".conv_shortcut", NULL);

  want_norm (loader, &resnet->norm1, in, prefix, ".norm1");
  want_conv (loader, &resnet->conv1, out, in, 3, conv1);
  want_norm (loader, &resnet->norm2, out, prefix, ".norm2");
  want_conv (loader, &resnet->conv2, out, out, 3, conv2);
  if (in != out)
    want_conv (loader, &resnet->shortcut, out, in, 1, shortcut);
}

/* In the original file the four matrices are 1x1 convolutions, which the loader flattens. */
static void
want_attention (eng_vae *model, eng_loader *loader, struct eng_vae_attention *attention, int n,
                const char *side)
{
  const gboolean original = model->original;
  g_autofree char *prefix =
      g_strconcat (side, original ? ".mid.attn_1." : ".mid_block.attentions.0.", NULL);

  want_norm (loader, &attention->norm, n, prefix, original ? "norm" : "group_norm");
  eng_want (loader, &attention->qkv, 3 * n, n, prefix, original ? "q.weight" : "to_q.weight",
            original ? "k.weight" : "to_k.weight", original ? "v.weight" : "to_v.weight");
  eng_want (loader, &attention->qkv_bias, 1, 3 * n, prefix, original ? "q.bias" : "to_q.bias",
            original ? "k.bias" : "to_k.bias", original ? "v.bias" : "to_v.bias");
  eng_want (loader, &attention->out, n, n, prefix, original ? "proj_out.weight" : "to_out.0.weight",
            NULL, NULL);
  eng_want_vector (loader, &attention->out_bias, n, prefix,
                   original ? "proj_out.bias" : "to_out.0.bias");
}

static void
want_mid (eng_vae *model, eng_loader *loader, struct eng_vae_coder *coder, int n, const char *side)
{
  for (int i = 0; i < 2; i++) {
    g_autofree char *prefix = model->original
                                  ? g_strdup_printf ("%s.mid.block_%d", side, i + 1)
                                  : g_strdup_printf ("%s.mid_block.resnets.%d", side, i);
    want_resnet (model, loader, &coder->mid[i], n, n, prefix);
  }
  if (model->attention)
    want_attention (model, loader, &coder->attention, n, side);
}

/* Stage i in running order; direction is "down" or "up". */
static void
want_stage (eng_vae *model, eng_loader *loader, struct eng_vae_stage *stage, int i, int in, int out,
            const char *direction)
{
  const gboolean up = g_str_equal (direction, "up");
  const int last = model->n_widths - 1;
  /* The original numbers stages by resolution, so that its decoder runs from high to low. */
  g_autofree char *prefix =
      model->original
          ? g_strdup_printf ("%s.%s.%d", up ? "decoder" : "encoder", direction, up ? last - i : i)
          : g_strdup_printf ("%s.%s_blocks.%d", up ? "decoder" : "encoder", direction, i);
  g_autofree char *sample = g_strdup_printf (
      model->original ? "%s.%ssample.conv" : "%s.%ssamplers.0.conv", prefix, direction);

  stage->n = model->layers + up;
  for (int k = 0; k < stage->n; k++) {
    g_autofree char *resnet =
        g_strdup_printf ("%s.%s.%d", prefix, model->original ? "block" : "resnets", k);
    want_resnet (model, loader, &stage->resnets[k], k ? out : in, out, resnet);
  }
  if (i < last)
    want_conv (loader, &stage->sample, out, out, 3, sample);
}

static void
want_encoder (eng_vae *model, eng_loader *loader)
{
  struct eng_vae_coder *coder = &model->encoder;
  const int n = model->n_widths, *widths = model->widths;
  const int channels = 2 * model->sizes.latent_channels; /* mean and variance */

  want_conv (loader, &coder->in, widths[0], 3, 3, "encoder.conv_in");
  for (int i = 0; i < n; i++)
    want_stage (model, loader, &coder->stages[i], i, widths[MAX (i - 1, 0)], widths[i], "down");
  want_mid (model, loader, coder, widths[n - 1], "encoder");
  want_norm (loader, &coder->norm_out, widths[n - 1], "encoder.",
             model->original ? "norm_out" : "conv_norm_out");
  want_conv (loader, &coder->out, channels, widths[n - 1], 3, "encoder.conv_out");
  if (model->quant)
    want_conv (loader, &coder->quant, channels, channels, 1, "quant_conv");
}

static void
want_decoder (eng_vae *model, eng_loader *loader)
{
  struct eng_vae_coder *coder = &model->decoder;
  const int n = model->n_widths, *widths = model->widths;
  const int channels = model->sizes.latent_channels;

  if (model->post_quant)
    want_conv (loader, &coder->quant, channels, channels, 1, "post_quant_conv");
  want_conv (loader, &coder->in, widths[n - 1], channels, 3, "decoder.conv_in");
  want_mid (model, loader, coder, widths[n - 1], "decoder");
  for (int i = 0; i < n; i++)
    want_stage (model, loader, &coder->stages[i], i, widths[MIN (n - i, n - 1)], widths[n - 1 - i],
                "up");
  want_norm (loader, &coder->norm_out, widths[0], "decoder.",
             model->original ? "norm_out" : "conv_norm_out");
  want_conv (loader, &coder->out, 3, widths[0], 3, "decoder.conv_out");
}

eng_vae *
eng_vae_new (JsonObject *config, eng_loader *loader, GError **error)
{
  eng_vae *model = g_new0 (eng_vae, 1);

  model->original = eng_loader_has (loader, "decoder.mid.block_1.norm1.weight");
  if (!config) {
    set_flux (model);
  } else if (!read_config (model, config, error)) {
    g_prefix_error (error, "vae: ");
    g_free (model);
    return NULL;
  }
  model->sizes.scale = 1 << (model->n_widths - 1);
  want_decoder (model, loader);
  return model;
}

void
eng_vae_want_encoder (eng_vae *model, eng_loader *loader)
{
  model->sizes.has_encoder = eng_loader_has (loader, "encoder.conv_in.weight");
  if (model->sizes.has_encoder)
    want_encoder (model, loader);
}

void
eng_vae_free (eng_vae *model)
{
  g_free (model);
}

const struct eng_vae_sizes *
eng_vae_get_sizes (const eng_vae *model)
{
  return &model->sizes;
}
