/* tests/test-vae.c - the autoencoder against diffusers, in float32. */
#include "engine/vae.h"

#include "tests/net.h"

static const char folder[] = "tiny/vae";

struct pass {
  eng_vae *model;
  krn_tensor image, latent;
  gboolean banded;
};

static void
decode_cb (struct eng_run *run, void *data)
{
  const struct pass *p = data;

  eng_vae_decode (run, p->model, p->image, p->latent, p->banded);
}

static void
encode_cb (struct eng_run *run, void *data)
{
  const struct pass *p = data;

  eng_vae_encode (run, p->model, p->latent, p->image);
}

static eng_vae *
load (struct net *net, const eng_weights *weights, JsonObject *config)
{
  g_autoptr (GError) error = NULL;
  eng_loader *loader = eng_loader_new (weights, "vae", "");
  eng_vae *model = eng_vae_new (config, loader, &error);

  g_assert_no_error (error);
  eng_vae_want_encoder (model, loader);
  net_load (net, loader);
  json_object_unref (config);
  return model;
}

static krn_tensor
decode (struct net *net, eng_vae *model, krn_tensor latent)
{
  const int scale = eng_vae_get_sizes (model)->scale;
  struct pass p = { .model = model, .latent = latent };

  p.image = net_tensor (net, KRN_F32, 1, latent.dim[2] * scale, latent.dim[3] * scale, 3);
  net_run (net, decode_cb, &p);
  return p.image;
}

/* Values in [-1, 1). */
static krn_tensor
make_latent (struct net *net, int64_t c, int64_t h, int64_t w)
{
  krn_tensor t = net_tensor (net, KRN_F32, 1, c, h, w);
  guint32 state = 1;

  for (int64_t i = 0; i < krn_count (t); i++) {
    state = state * 1664525u + 1013904223u;
    ((float *) t.data)[i] = (float) (state >> 8) / (1 << 23) - 1.f;
  }
  return t;
}

/* In bands the picture is the same but for rounding, and takes less memory. */
static void
test_banded (void)
{
  static const int sizes[][2] = { { 2, 3 }, { 8, 5 }, { 24, 9 }, { 67, 3 } }; /* of the latent */
  g_autoptr (eng_weights) weights = net_open_weights (folder);
  struct net net;

  net_open (&net);
  eng_vae *model = load (&net, weights, net_read_config (folder));
  const struct eng_vae_sizes *s = eng_vae_get_sizes (model);
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    const int h = sizes[i][0], w = sizes[i][1];
    struct pass p = { .model = model, .latent = make_latent (&net, s->latent_channels, h, w) };
    size_t peak[2];
    krn_tensor image[2];

    for (p.banded = 0; p.banded < 2; p.banded++) {
      image[p.banded] = p.image = net_tensor (&net, KRN_F32, 1, h * s->scale, w * s->scale, 3);
      net_run (&net, decode_cb, &p);
      peak[p.banded] = eng_arena_get_peak (net.arena);
    }
    const float *a = image[0].data, *b = image[1].data;
    float worst = 0;
    for (int64_t k = 0; k < krn_count (p.image); k++)
      worst = MAX (worst, fabsf (a[k] - b[k]));
    g_test_message ("%dx%d: differs by %.1e; %zu and %zu bytes", h, w, worst, peak[0], peak[1]);
    g_assert_cmpfloat (worst, <, 2e-6); /* of pictures in [-1, 1]; measured 5e-7 */
    if (h >= 24)
      g_assert_cmpuint (peak[1] * 4, <, peak[0] * 3);
  }
  eng_vae_free (model);
  net_close (&net);
}

static krn_tensor
encode (struct net *net, eng_vae *model, krn_tensor image)
{
  const struct eng_vae_sizes *s = eng_vae_get_sizes (model);
  struct pass p = { .model = model, .image = image };

  p.latent = net_tensor (net, KRN_F32, 1, s->latent_channels, image.dim[1] / s->scale,
                         image.dim[2] / s->scale);
  net_run (net, encode_cb, &p);
  return p.latent;
}

static void
test_golden (void)
{
  g_autoptr (eng_weights) goldens = net_open_weights ("golden-vae.safetensors");
  g_autoptr (eng_weights) weights = net_open_weights (folder);
  struct net net;

  net_open (&net);
  eng_vae *model = load (&net, weights, net_read_config (folder));
  g_assert_cmpint (eng_vae_get_sizes (model)->scale, ==, 8);
  g_assert_true (eng_vae_get_sizes (model)->has_encoder);
  krn_tensor image = decode (&net, model, net_upload (&net, goldens, "latent"));
  krn_tensor mean = encode (&net, model, net_upload (&net, goldens, "photo"));
  g_assert_cmpfloat (net_error (&net, image, goldens, "image"), <, NET_TOLERANCE);
  g_assert_cmpfloat (net_error (&net, mean, goldens, "mean"), <, NET_TOLERANCE);
  eng_vae_free (model);
  net_close (&net);
}

static eng_weights *
rename_tensors (const eng_weights *weights, char *(*rename) (const char *name, char **dims))
{
  struct net_file file;

  net_file_init (&file);
  for (guint i = 0; i < eng_weights_get_n (weights); i++) {
    const char *pieces[] = { eng_weights_get (weights, i)->name, NULL };
    g_autofree char *dims = NULL;
    g_autofree char *name = rename (pieces[0], &dims);

    if (name)
      net_file_add (&file, name, weights, pieces, dims);
  }
  return net_file_finish (&file);
}

/* The original's name for one of diffusers'. */
static char *
original_cb (const char *name, char **dims)
{
  static const char *const map[][2] = {
    { ".mid_block.resnets.0.", ".mid.block_1." },
    { ".mid_block.resnets.1.", ".mid.block_2." },
    { ".mid_block.attentions.0.group_norm.", ".mid.attn_1.norm." },
    { ".mid_block.attentions.0.to_q.", ".mid.attn_1.q." },
    { ".mid_block.attentions.0.to_k.", ".mid.attn_1.k." },
    { ".mid_block.attentions.0.to_v.", ".mid.attn_1.v." },
    { ".mid_block.attentions.0.to_out.0.", ".mid.attn_1.proj_out." },
    { "decoder.up_blocks.0.", "decoder.up.3." },
    { "decoder.up_blocks.1.", "decoder.up.2." },
    { "decoder.up_blocks.2.", "decoder.up.1." },
    { "decoder.up_blocks.3.", "decoder.up.0." },
    { "encoder.down_blocks.", "encoder.down." },
    { ".resnets.", ".block." },
    { ".upsamplers.0.conv.", ".upsample.conv." },
    { ".downsamplers.0.conv.", ".downsample.conv." },
    { ".conv_shortcut.", ".nin_shortcut." },
    { ".conv_norm_out.", ".norm_out." },
  };
  char *result = g_strdup (name);

  if (strstr (name, ".attentions.0.to_") && g_str_has_suffix (name, ".weight"))
    *dims = g_strdup ("32,32,1,1"); /* a convolution there */
  for (guint i = 0; i < G_N_ELEMENTS (map); i++) {
    g_auto (GStrv) parts = g_strsplit (result, map[i][0], 2);

    g_free (result);
    result = g_strjoinv (map[i][1], parts);
  }
  return result;
}

static void
test_original_names (void)
{
  g_autoptr (eng_weights) goldens = net_open_weights ("golden-vae.safetensors");
  g_autoptr (eng_weights) weights = net_open_weights (folder);
  g_autoptr (eng_weights) original = rename_tensors (weights, original_cb);
  struct net net;

  net_open (&net);
  eng_vae *a = load (&net, weights, net_read_config (folder));
  eng_vae *b = load (&net, original, net_read_config (folder));
  krn_tensor latent = net_upload (&net, goldens, "latent");
  krn_tensor photo = net_upload (&net, goldens, "photo");
  net_assert_same (&net, decode (&net, a, latent), decode (&net, b, latent));
  net_assert_same (&net, encode (&net, a, photo), encode (&net, b, photo));
  eng_vae_free (a);
  eng_vae_free (b);
  net_close (&net);
}

static char *
decoder_only_cb (const char *name, char **dims)
{
  return g_str_has_prefix (name, "decoder.") ? g_strdup (name) : NULL;
}

static void
test_decoder_only (void)
{
  g_autoptr (eng_weights) goldens = net_open_weights ("golden-vae.safetensors");
  g_autoptr (eng_weights) weights = net_open_weights (folder);
  g_autoptr (eng_weights) half = rename_tensors (weights, decoder_only_cb);
  struct net net;

  net_open (&net);
  eng_vae *model = load (&net, half, net_read_config (folder));
  g_assert_false (eng_vae_get_sizes (model)->has_encoder);
  krn_tensor image = decode (&net, model, net_upload (&net, goldens, "latent"));
  g_assert_cmpfloat (net_error (&net, image, goldens, "image"), <, NET_TOLERANCE);
  eng_vae_free (model);
  net_close (&net);
}

static gboolean
is_refused (JsonObject *config, eng_loader *loader, GError **error)
{
  return eng_vae_new (config, loader, error) == NULL;
}

static void
test_refuses (void)
{
  static const struct net_refusal cases[] = {
    { "norm_num_groups", "3", "\"block_out_channels\"[0] is 8, expected a multiple of" },
    { "block_out_channels", "[]", "\"block_out_channels\" has 0 numbers, expected 1 to 8" },
    { "block_out_channels", "[8, 16, -16, 32]", "\"block_out_channels\"[2] is -16" },
    { "latents_mean", "[0]", "latents_mean" },
    { "act_fn", "\"relu\"", "\"act_fn\" is relu, expected silu" },
    { "out_channels", "4", "out_channels" },
    { "scaling_factor", "0", "scaling_factor" },
    { "layers_per_block", "100", "layers_per_block" },
  };

  net_assert_refused (folder, cases, G_N_ELEMENTS (cases), is_refused);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/vae/golden", test_golden);
  g_test_add_func ("/vae/original-names", test_original_names);
  g_test_add_func ("/vae/decoder-only", test_decoder_only);
  g_test_add_func ("/vae/banded", test_banded);
  g_test_add_func ("/vae/refuses", test_refuses);
  return g_test_run ();
}
