/* tests/test-z-image.c - the transformer against diffusers, in float32. */
#include "engine/latent_file.h"
#include "engine/z_image.h"

#include "tests/net.h"

static const char folder[] = "tiny/transformer";

/* One of the goldens' two pictures. */
struct picture {
  const char *latent, *hidden, *refined, *out;
  int i; /* of t */
};

static const struct picture pictures[] = {
  { "latent.A", "hidden.S", "caption_refined.A", "out.A", 0 }, /* 32 tokens, caption of 23 */
  { "latent.B", "hidden.L", "caption_refined.B", "out.B", 0 }, /* 60 tokens, caption of 61 */
  { "latent.B", "hidden.L", "caption_refined.B", "out1.B", 1 },
};

struct pass {
  eng_z_image *model;
  krn_tensor sinusoid, modulation; /* [2, time_width], [2, modulation] */
  krn_tensor latent, embedding, refined, rope, out;
  int i; /* of the time step */
};

static void
forward_cb (struct eng_run *run, void *data)
{
  const struct pass *p = data;
  const int64_t padded = krn_rows (p->refined);

  eng_z_image_modulation (run, p->model, p->modulation, p->sinusoid);
  eng_z_image_caption (run, p->model, p->refined, p->embedding,
                       krn_row_view (p->rope, krn_rows (p->rope) - padded, padded));
  eng_z_image_forward (run, p->model, p->out, p->latent, p->refined,
                       krn_row_view (p->modulation, p->i, 1), p->rope);
}

static eng_z_image *
load (struct net *net, const eng_weights *weights, const char *prefix, gboolean with_config)
{
  JsonObject *config = net_read_config (folder);
  g_autoptr (GError) error = NULL;
  eng_loader *loader = eng_loader_new (weights, "transformer", prefix);
  eng_z_image *model = eng_z_image_new (with_config ? config : NULL, loader, &error);

  g_assert_no_error (error);
  net_load (net, loader);
  json_object_unref (config);
  return model;
}

/* Everything from goldens and time to the network's output. */
static struct pass
run_picture (struct net *net, eng_z_image *model, const struct picture *picture)
{
  g_autoptr (eng_weights) goldens = net_open_weights ("golden-z-image.safetensors");
  g_autoptr (eng_weights) text = net_open_weights ("golden-text.safetensors");
  const struct eng_z_image_sizes *s = eng_z_image_get_sizes (model);
  struct pass p = { .model = model, .i = picture->i };
  g_autofree float *t = g_memdup2 (net_find (goldens, "t")->data, 2 * sizeof (float));
  g_autofree float *sinusoid = g_new (float, 2 * s->time_width);

  p.latent = net_upload (net, goldens, picture->latent);
  p.embedding = net_upload (net, text, picture->hidden);
  const int h = p.latent.dim[2], w = p.latent.dim[3], n = h / 2 * (w / 2);
  const int caption = eng_z_image_pad (model, krn_rows (p.embedding));
  const int rows = eng_z_image_pad (model, n) + caption;
  g_autofree float *rope = g_new (float, rows * s->head_dim);

  p.sinusoid = net_tensor (net, KRN_F32, 1, 1, 2, s->time_width);
  p.modulation = net_tensor (net, KRN_F32, 1, 1, 2, s->modulation);
  p.refined = net_tensor (net, KRN_F32, 1, 1, caption, s->dim);
  p.rope = net_tensor (net, KRN_F32, 1, 1, rows, s->head_dim);
  p.out = net_tensor (net, KRN_F32, 1, 1, n, s->patch * s->patch * s->channels);
  eng_z_image_sinusoid (model, sinusoid, t, 2);
  /* One ulp of expf moves an angle of 360 by 4e-5. */
  g_assert_cmpfloat (net_host_error (sinusoid, goldens, "sinusoid"), <, NET_TOLERANCE);
  eng_z_image_rope (model, rope, h, w, caption);
  net->device->upload (net->stream, p.sinusoid, sinusoid, KRN_F32);
  net->device->upload (net->stream, p.rope, rope, KRN_F32);
  net_run (net, forward_cb, &p);
  return p;
}

static void
test_golden (void)
{
  g_autoptr (eng_weights) goldens = net_open_weights ("golden-z-image.safetensors");
  g_autoptr (eng_weights) weights = net_open_weights (folder);
  struct net net;

  net_open (&net);
  eng_z_image *model = load (&net, weights, "", TRUE);
  for (guint i = 0; i < G_N_ELEMENTS (pictures); i++) {
    struct pass p = run_picture (&net, model, &pictures[i]);

    g_assert_cmpfloat (net_error (&net, p.modulation, goldens, "modulation"), <, NET_TOLERANCE);
    g_assert_cmpfloat (net_error (&net, p.refined, goldens, pictures[i].refined), <, NET_TOLERANCE);
    g_assert_cmpfloat (net_error (&net, p.out, goldens, pictures[i].out), <, NET_TOLERANCE);
  }
  eng_z_image_free (model);
  net_close (&net);
}

/* An arena that is too small at any point is an error with both values, and nothing is touched. */
static void
test_small_arena (void)
{
  g_autoptr (eng_weights) weights = net_open_weights (folder);
  struct net net;

  net_open (&net);
  eng_z_image *model = load (&net, weights, "", TRUE);
  struct pass p = run_picture (&net, model, &pictures[1]);
  const size_t size = eng_arena_get_peak (net.arena);
  krn_tensor block = net_tensor (&net, KRN_U8, 1, 1, 1, size);

  for (size_t small = 0; small < size; small += 4096) {
    struct eng_run run = { .device = net.device, .stream = net.stream, .arena = net.arena };
    g_autoptr (GError) error = NULL;

    eng_arena_reset (net.arena, block.data, small);
    forward_cb (&run, &p);
    g_assert_false (eng_run_ok (&run, "transformer", &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_MEMORY);
  }
  eng_z_image_free (model);
  net_close (&net);
}

static char *
replace (const char *text, const char *from, const char *to)
{
  g_auto (GStrv) parts = g_strsplit (text, from, -1);

  return g_strjoinv (to, parts);
}

/* The name in a native file of a diffusers tensor, and what is fused into it; NULL: is fused into
 * another. */
static char *
native_name (const char *name, char *pieces[4])
{
  static const char *const map[][2] = {
    { "all_x_embedder.2-1.", "x_embedder." },     { "all_final_layer.2-1.", "final_layer." },
    { "attention.to_out.0.", "attention.out." },  { "attention.norm_q.", "attention.q_norm." },
    { "attention.norm_k.", "attention.k_norm." }, { "attention.to_q.", "attention.qkv." },
  };

  pieces[0] = g_strdup (name);
  if (strstr (name, ".to_k.") || strstr (name, ".to_v."))
    return NULL;
  if (strstr (name, ".to_q.")) {
    pieces[1] = replace (name, ".to_q.", ".to_k.");
    pieces[2] = replace (name, ".to_q.", ".to_v.");
  }
  for (guint i = 0; i < G_N_ELEMENTS (map); i++)
    if (strstr (name, map[i][0]))
      return replace (name, map[i][0], map[i][1]);
  return g_strdup (name);
}

static eng_weights *
make_native (const eng_weights *weights, const char *prefix)
{
  struct net_file file;

  net_file_init (&file);
  for (guint i = 0; i < eng_weights_get_n (weights); i++) {
    char *pieces[4] = { NULL };
    g_autofree char *name = native_name (eng_weights_get (weights, i)->name, pieces);
    g_autofree char *full = g_strconcat (prefix, name, NULL);

    if (name)
      net_file_add (&file, full, weights, (const char *const *) pieces, NULL);
    for (int k = 0; k < 3; k++)
      g_free (pieces[k]);
  }
  return net_file_finish (&file);
}

/* The same weights in a native single file, with and without its usual prefix, sizes taken from the
 * tensors: the same bits come out. */
static void
test_native (void)
{
  static const char *const prefixes[] = { "", "model.diffusion_model." };
  g_autoptr (eng_weights) weights = net_open_weights (folder);
  struct net net;

  net_open (&net);
  eng_z_image *model = load (&net, weights, "", TRUE);
  struct pass plain = run_picture (&net, model, &pictures[2]);

  for (guint i = 0; i < G_N_ELEMENTS (prefixes); i++) {
    g_autoptr (eng_weights) native = make_native (weights, prefixes[i]);
    eng_z_image *other = load (&net, native, prefixes[i], FALSE);

    g_assert_cmpmem (eng_z_image_get_sizes (model), sizeof (struct eng_z_image_sizes),
                     eng_z_image_get_sizes (other), sizeof (struct eng_z_image_sizes));
    struct pass p = run_picture (&net, other, &pictures[2]);
    net_assert_same (&net, plain.out, p.out);
    eng_z_image_free (other);
  }
  eng_z_image_free (model);
  net_close (&net);
}

static gboolean
is_refused (JsonObject *config, eng_loader *loader, GError **error)
{
  return eng_z_image_new (config, loader, error) == NULL;
}

static void
test_refuses (void)
{
  static const struct net_refusal cases[] = {
    { "n_heads", "5", "\"n_kv_heads\" is 3, expected as many as \"n_heads\", 5" },
    { "dim", "50", "\"dim\" is 50, expected a multiple of \"n_heads\", 3" },
    { "axes_dims", "[4, 6, 8]", "\"axes_dims\" have the sum 18, expected the size of a head, 16" },
    { "axes_dims", "[5, 5, 6]", "\"axes_dims\"[0] is 5, expected an even number from 2" },
    { "axes_dims", "[4, 12]", "axes_dims" },
    { "axes_dims", "[-4, 8, 12]", "\"axes_dims\"[0] is -4, expected an even number from 2" },
    { "axes_dims", "[2147483646, 2147483646, 20]", "the size of a head, 16" },
    { "all_patch_size", "[4]", "\"all_patch_size\" is [4], expected [2]" },
    { "qk_norm", "false", "\"qk_norm\" is false, expected true" },
    { "siglip_feat_dim", "1152", "siglip_feat_dim" },
    { "in_channels", "0", "in_channels" },
    { "rope_theta", "\"high\"", "rope_theta" },
    { "n_layers", "99999999999", "n_layers" },
  };

  net_assert_refused (folder, cases, G_N_ELEMENTS (cases), is_refused);
}

/* A file that is no native transformer, read without a config. */
static void
test_refuses_native (void)
{
  g_autoptr (eng_weights) weights = net_open_weights ("tiny/vae");
  eng_loader *loader = eng_loader_new (weights, "transformer", "");
  g_autoptr (GError) error = NULL;

  g_assert_null (eng_z_image_new (NULL, loader, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_MODEL);
  g_assert_cmpstr (error->message, ==, "transformer: x_embedder.weight is missing");
  eng_loader_free (loader);
}

/* The tensors that tell the sizes, and not one block. */
static void
test_refuses_no_blocks (void)
{
  static const struct {
    const char *name;
    int64_t dim[4];
  } tensors[] = { { "x_embedder.weight", { 64, 64, 1, 1 } },
                  { "cap_embedder.0.weight", { 32, 1, 1, 1 } },
                  { "layers.0.attention.q_norm.weight", { 16, 1, 1, 1 } },
                  { "layers.0.attention_norm1.weight", { 64, 1, 1, 1 } } };
  g_autoptr (tmp_folder) where = tmp_folder_new ();
  g_autofree char *path = g_build_filename (where, "native.safetensors", NULL);
  g_autoptr (GPtrArray) file = g_ptr_array_new_with_free_func ((GDestroyNotify) eng_latent_free);

  for (guint i = 0; i < G_N_ELEMENTS (tensors); i++) {
    g_autoptr (GError) error = NULL;

    g_ptr_array_add (file, eng_latent_new (tensors[i].name, -1, tensors[i].dim));
    g_assert_true (eng_latent_write (path, file, NULL));
    g_autoptr (eng_weights) weights = eng_weights_open (path, NULL);
    eng_loader *loader = eng_loader_new (weights, "transformer", "");
    g_assert_null (eng_z_image_new (NULL, loader, &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_MODEL);
    if (i == 2)
      g_assert_nonnull (strstr (error->message, "layers.0.attention_norm1.weight is missing"));
    if (i == 3)
      g_assert_nonnull (strstr (error->message, "noise_refiner.0.attention_norm1.weight"));
    eng_loader_free (loader);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/z-image/golden", test_golden);
  g_test_add_func ("/z-image/small-arena", test_small_arena);
  g_test_add_func ("/z-image/native", test_native);
  g_test_add_func ("/z-image/refuses", test_refuses);
  g_test_add_func ("/z-image/refuses-native", test_refuses_native);
  g_test_add_func ("/z-image/refuses-no-blocks", test_refuses_no_blocks);
  return g_test_run ();
}
