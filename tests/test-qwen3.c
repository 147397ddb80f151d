/* tests/test-qwen3.c - the text encoder against transformers, in float32. */
#include "engine/qwen3.h"

#include "tests/net.h"

#include <fcntl.h>

static const char folder[] = "tiny/text_encoder";

struct pass {
  eng_qwen3 *model;
  krn_tensor out, ids, rope;
  const int32_t *host_ids;
};

static void
forward_cb (struct eng_run *run, void *data)
{
  const struct pass *pass = data;

  eng_qwen3_forward (run, pass->model, pass->out, pass->ids, pass->rope, pass->host_ids);
}

static eng_qwen3 *
load (struct net *net, const eng_weights *weights, const char *prefix)
{
  JsonObject *config = net_read_config (folder);
  g_autoptr (GError) error = NULL;
  eng_loader *loader = eng_loader_new (weights, "text encoder", prefix);
  eng_qwen3 *model = eng_qwen3_new (config, loader, &error);

  g_assert_no_error (error);
  net_load (net, loader);
  json_object_unref (config);
  return model;
}

static struct pass
begin (struct net *net, eng_qwen3 *model, const eng_weights *goldens, const char *ids)
{
  struct pass pass = { .model = model,
                       .ids = net_upload (net, goldens, ids),
                       .host_ids = net_find (goldens, ids)->data };
  const int n = krn_count (pass.ids), head_dim = eng_qwen3_get_head_dim (model);
  g_autofree float *rope = g_new (float, n *head_dim);

  pass.out = net_tensor (net, KRN_F32, 1, 1, n, eng_qwen3_get_width (model));
  pass.rope = net_tensor (net, KRN_F32, 1, 1, n, head_dim);
  eng_qwen3_rope (model, rope, n);
  net->device->upload (net->stream, pass.rope, rope, KRN_F32);
  return pass;
}

/* hidden_states[-2] for the token ids of one golden. */
static krn_tensor
encode (struct net *net, eng_qwen3 *model, const eng_weights *goldens, const char *ids)
{
  struct pass pass = begin (net, model, goldens, ids);

  net_run (net, forward_cb, &pass);
  return pass.out;
}

static void
test_golden (void)
{
  g_autoptr (eng_weights) goldens = net_open_weights ("golden-text.safetensors");
  g_autoptr (eng_weights) weights = net_open_weights (folder);
  struct net net;

  net_open (&net);
  eng_qwen3 *model = load (&net, weights, "");
  g_assert_cmpint (eng_qwen3_get_vocabulary_size (model), ==, 300);
  krn_tensor s = encode (&net, model, goldens, "ids.S");
  krn_tensor l = encode (&net, model, goldens, "ids.L");
  g_assert_cmpfloat (net_error (&net, s, goldens, "hidden.S"), <, NET_TOLERANCE);
  g_assert_cmpfloat (net_error (&net, l, goldens, "hidden.L"), <, NET_TOLERANCE);
  eng_qwen3_free (model);
  net_close (&net);
}

/* A file saved from Qwen3ForCausalLM: every name behind "model.", and a head that is not read. */
static void
test_prefix (void)
{
  g_autoptr (eng_weights) goldens = net_open_weights ("golden-text.safetensors");
  g_autoptr (eng_weights) weights = net_open_weights (folder);
  struct net_file file;
  struct net net;

  net_file_init (&file);
  for (guint i = 0; i < eng_weights_get_n (weights); i++) {
    const char *pieces[] = { eng_weights_get (weights, i)->name, NULL };
    g_autofree char *name = g_strconcat ("model.", pieces[0], NULL);
    net_file_add (&file, name, weights, pieces, NULL);
  }
  g_autoptr (eng_weights) prefixed = net_file_finish (&file);

  net_open (&net);
  eng_qwen3 *plain = load (&net, weights, ""), *model = load (&net, prefixed, "model.");
  net_assert_same (&net, encode (&net, plain, goldens, "ids.S"),
                   encode (&net, model, goldens, "ids.S"));
  eng_qwen3_free (plain);
  eng_qwen3_free (model);
  net_close (&net);
}

/* One whose layers come from their file with every pass. */
static eng_qwen3 *
load_fed (struct net *net, const eng_weights *weights, eng_feed **feed)
{
  JsonObject *config = net_read_config (folder);
  g_autoptr (GError) error = NULL;
  eng_loader *loader = eng_loader_new (weights, "text encoder", "");
  eng_qwen3 *model = eng_qwen3_new (config, loader, &error);

  g_assert_no_error (error);
  *feed = eng_feed_new (loader, ENG_QWEN3_FIRST_FED, net->device, &error);
  g_assert_no_error (error);
  eng_qwen3_set_feed (model, *feed);
  json_object_unref (config);
  return model;
}

static void
test_fed (void)
{
  static const char *const ids[] = { "ids.S", "ids.L", "ids.S" };
  g_autoptr (eng_weights) goldens = net_open_weights ("golden-text.safetensors");
  g_autoptr (eng_weights) weights = net_open_weights (folder);
  eng_feed *feed;
  struct net net;

  net_open (&net);
  eng_qwen3 *kept = load (&net, weights, ""), *fed = load_fed (&net, weights, &feed);
  for (guint i = 0; i < G_N_ELEMENTS (ids); i++)
    net_assert_same (&net, encode (&net, kept, goldens, ids[i]),
                     encode (&net, fed, goldens, ids[i]));
  eng_feed_free (feed);
  eng_qwen3_free (kept);
  eng_qwen3_free (fed);
  net_close (&net);
}

/* As net_run, for a pass that fails. */
static void
run_failing (struct net *net, struct pass *pass, const int *cancelled, GError **error)
{
  struct eng_run run = {
    .device = net->device, .stream = net->stream, .arena = net->arena, .cancelled = cancelled
  };
  krn_tensor block = net_tensor (net, KRN_U8, 1, 1, 1, 1 << 24);

  eng_arena_reset (net->arena, block.data, 1 << 24);
  forward_cb (&run, pass);
  g_assert_false (eng_run_ok (&run, "text", error));
}

/* The file is cut short between two passes, and made whole again. */
static void
test_fed_fails (void)
{
  g_autoptr (eng_weights) goldens = net_open_weights ("golden-text.safetensors");
  g_autofree char *source =
      g_test_build_filename (G_TEST_DIST, "data", folder, "model.safetensors", NULL);
  g_autoptr (tmp_folder) tmp = tmp_folder_new ();
  g_autofree char *bytes = NULL;
  g_autoptr (GError) error = NULL;
  const int cancelled = 1;
  eng_feed *feed;
  struct net net;
  gsize n;

  g_file_get_contents (source, &bytes, &n, &error);
  g_assert_no_error (error);
  g_autofree char *path = tmp_folder_write (tmp, "model.safetensors", bytes, n);
  g_autoptr (eng_weights) weights = eng_weights_open (path, &error);
  g_assert_no_error (error);

  net_open (&net);
  eng_qwen3 *model = load_fed (&net, weights, &feed);
  struct pass pass = begin (&net, model, goldens, "ids.S");
  g_assert_cmpint (truncate (path, n / 2), ==, 0);
  run_failing (&net, &pass, NULL, &error);
  g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
  g_assert_nonnull (strstr (error->message, "became shorter while it was read"));
  g_clear_error (&error);

  const int fd = g_open (path, O_WRONLY, 0);
  g_assert_cmpint (pwrite (fd, bytes, n, 0), ==, n);
  close (fd);
  run_failing (&net, &pass, &cancelled, &error);
  g_assert_error (error, ENG_ERROR, ENG_ERROR_CANCELLED);
  net_run (&net, forward_cb, &pass);
  g_assert_cmpfloat (net_error (&net, pass.out, goldens, "hidden.S"), <, NET_TOLERANCE);
  eng_feed_free (feed);
  eng_qwen3_free (model);
  net_close (&net);
}

static gboolean
is_refused (JsonObject *config, eng_loader *loader, GError **error)
{
  return eng_qwen3_new (config, loader, error) == NULL;
}

static void
test_refuses (void)
{
  static const struct net_refusal cases[] = {
    { "num_key_value_heads", "3", "\"num_attention_heads\" is 4, expected a multiple of" },
    { "head_dim", "7", "\"head_dim\" is 7, expected an even number" },
    { "attention_bias", "true", "\"attention_bias\" is true, expected false" },
    { "hidden_act", "\"gelu\"", "\"hidden_act\" is gelu, expected silu" },
    { "num_hidden_layers", "0", "num_hidden_layers" },
    { "hidden_size", "\"wide\"", "hidden_size" },
    { "rope_parameters", "{\"rope_theta\": 1e6, \"rope_type\": \"yarn\"}", "yarn" },
    { "rope_parameters", "null", "rope_theta" },
  };

  net_assert_refused (folder, cases, G_N_ELEMENTS (cases), is_refused);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/qwen3/golden", test_golden);
  g_test_add_func ("/qwen3/prefix", test_prefix);
  g_test_add_func ("/qwen3/fed", test_fed);
  g_test_add_func ("/qwen3/fed-fails", test_fed_fails);
  g_test_add_func ("/qwen3/refuses", test_refuses);
  return g_test_run ();
}
