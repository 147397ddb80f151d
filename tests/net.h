/* tests/net.h - runs a network of tests/data/tiny on the CPU and compares with goldens. */
#pragma once

#include "engine/error.h"
#include "engine/json.h"
#include "engine/run.h"
#include "engine/weights.h"

#include "tests/tmp_folder.h"

#include <math.h>
#include <string.h>

/* The bar of the project: float32 torch and the engine do the same sums in another order, which
 * costs a few units of 2^-24 per operation; measured errors are 3e-7 to 2e-6. */
#define NET_TOLERANCE 1e-5

struct net {
  struct krn_device *device;
  krn_stream *stream;
  eng_arena *arena;
  GPtrArray *memory; /* of the device, freed at the end */
};

static inline void
net_open (struct net *net)
{
  g_assert_cmpint (krn_cpu_open (&net->device, 0), ==, KRN_OK);
  g_assert_cmpint (net->device->stream_new (net->device, &net->stream), ==, KRN_OK);
  net->arena = eng_arena_new ();
  net->memory = g_ptr_array_new ();
}

static inline void
net_close (struct net *net)
{
  for (guint i = 0; i < net->memory->len; i++)
    net->device->free_memory (net->device, net->memory->pdata[i]);
  g_ptr_array_unref (net->memory);
  eng_arena_free (net->arena);
  net->device->stream_free (net->stream);
  net->device->close (net->device);
}

static inline eng_weights *
net_open_weights (const char *path)
{
  g_autofree char *full = g_test_build_filename (G_TEST_DIST, "data", path, NULL);
  g_autoptr (GError) error = NULL;
  eng_weights *weights = eng_weights_open (full, &error);

  g_assert_no_error (error);
  return weights;
}

static inline JsonObject *
net_read_config (const char *path)
{
  g_autofree char *full = g_test_build_filename (G_TEST_DIST, "data", path, "config.json", NULL);
  g_autoptr (GError) error = NULL;
  JsonObject *config = eng_json_read_object (full, &error);

  g_assert_no_error (error);
  return config;
}

/* A member of config.json, the value it gets, and what the refusal says. */
struct net_refusal {
  const char *key, *value, *message;
};

/* Changes one member at a time of folder's config.  make has the loader's network read it: TRUE
 * when that is refused. */
static inline void
net_assert_refused (const char *folder, const struct net_refusal *cases, gsize n,
                    gboolean (*make) (JsonObject *config, eng_loader *loader, GError **error))
{
  g_autoptr (eng_weights) weights = net_open_weights (folder);

  for (gsize i = 0; i < n; i++) {
    JsonObject *config = net_read_config (folder);
    eng_loader *loader = eng_loader_new (weights, folder, "");
    g_autoptr (GError) error = NULL;

    json_object_set_member (config, cases[i].key, json_from_string (cases[i].value, NULL));
    g_assert_true (make (config, loader, &error));
    g_assert_true (error->domain == ENG_ERROR);
    g_test_message ("%s", error->message);
    g_assert_nonnull (strstr (error->message, cases[i].message));
    json_object_unref (config);
    eng_loader_free (loader);
  }
}

/* Puts the weights on the device and frees the loader. */
static inline void
net_load (struct net *net, eng_loader *loader)
{
  g_autoptr (GError) error = NULL;
  const struct eng_loading how = { .device = net->device, .stream = net->stream };
  void *block;

  eng_loaders_finish (&loader, 1, &block, &how, &error);
  g_assert_no_error (error);
  g_ptr_array_add (net->memory, block);
  eng_loader_free (loader);
}

static inline krn_tensor
net_tensor (struct net *net, krn_dtype dtype, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
  krn_tensor t = krn_tensor_make (NULL, dtype, d0, d1, d2, d3);

  g_assert_cmpint (
      net->device->alloc (net->device, &t.data, krn_count (t) * krn_dtype_size (dtype)), ==,
      KRN_OK);
  g_ptr_array_add (net->memory, t.data);
  return t;
}

static inline const struct eng_tensor_info *
net_find (const eng_weights *goldens, const char *name)
{
  const struct eng_tensor_info *info = eng_weights_lookup (goldens, name);

  if (!info)
    g_error ("no golden %s", name);
  return info;
}

/* A golden on the device; its sizes are the last ones of the tensor's. */
static inline krn_tensor
net_upload (struct net *net, const eng_weights *goldens, const char *name)
{
  const struct eng_tensor_info *info = net_find (goldens, name);
  const krn_dtype dtype = g_str_equal (info->on_disk, "I32") ? KRN_I32 : KRN_F32;
  g_autofree void *host = g_memdup2 (info->data, info->bytes); /* aligned */
  int64_t dim[4] = { 1, 1, 1, 1 };

  memcpy (dim + 4 - info->n_dims, info->dim, info->n_dims * sizeof dim[0]);
  krn_tensor t = net_tensor (net, dtype, dim[0], dim[1], dim[2], dim[3]);
  g_assert_cmpint (net->device->upload (net->stream, t, host, dtype), ==, KRN_OK);
  net->device->stream_sync (net->stream);
  return t;
}

/* Packed float32 values of t on the host; the caller frees them. */
static inline float *
net_download (struct net *net, krn_tensor t)
{
  float *host = g_new (float, krn_count (t));

  g_assert_cmpint (net->device->download (net->stream, host, t), ==, KRN_OK);
  net->device->stream_sync (net->stream);
  return host;
}

/* |out - golden| / |golden| */
static inline double
net_host_error (const float *out, const eng_weights *goldens, const char *name)
{
  const struct eng_tensor_info *info = net_find (goldens, name);
  g_autofree float *golden = g_memdup2 (info->data, info->bytes);
  double difference = 0, size = 0;

  for (size_t i = 0; i < info->bytes / sizeof (float); i++) {
    difference += (out[i] - (double) golden[i]) * (out[i] - (double) golden[i]);
    size += (double) golden[i] * golden[i];
  }
  g_test_message ("%s: relative error %.2e", name, sqrt (difference / size));
  return sqrt (difference / size);
}

static inline double
net_error (struct net *net, krn_tensor out, const eng_weights *goldens, const char *name)
{
  g_autofree float *host = net_download (net, out);

  g_assert_cmpint (krn_count (out) * sizeof (float), ==, net_find (goldens, name)->bytes);
  return net_host_error (host, goldens, name);
}

static inline void
net_assert_same (struct net *net, krn_tensor a, krn_tensor b)
{
  g_autofree float *host_a = net_download (net, a);
  g_autofree float *host_b = net_download (net, b);

  g_assert_cmpmem (host_a, krn_count (a) * sizeof (float), host_b, krn_count (b) * sizeof (float));
}

/* Plans the pass, then runs it in a block of exactly the planned size. */
static inline void
net_run (struct net *net, void (*pass) (struct eng_run *run, void *data), void *data)
{
  struct eng_run run = { .device = net->device, .arena = net->arena, .planning = TRUE };
  g_autoptr (GError) error = NULL;

  eng_arena_reset (net->arena, NULL, 0);
  pass (&run, data);
  const size_t size = eng_arena_get_peak (net->arena);
  krn_tensor block = net_tensor (net, KRN_U8, 1, 1, 1, size);

  eng_arena_reset (net->arena, block.data, size);
  run.stream = net->stream;
  run.planning = FALSE;
  pass (&run, data);
  net->device->stream_sync (net->stream);
  eng_run_ok (&run, "network", &error);
  g_assert_no_error (error);
  g_assert_cmpuint (eng_arena_get_peak (net->arena), ==, size);
}

/* A safetensors file in the making: the same tensors under other names. */
struct net_file {
  GString *header;
  GByteArray *data;
};

static inline void
net_file_init (struct net_file *file)
{
  file->header = g_string_new ("{");
  file->data = g_byte_array_new ();
}

/* Tensors whose rows are put one under the other; dims: sizes to write, or NULL for as they are. */
static inline void
net_file_add (struct net_file *file, const char *name, const eng_weights *from,
              const char *const *pieces, const char *dims)
{
  const guint begin = file->data->len;
  int64_t rows = 0;
  const struct eng_tensor_info *t = NULL;
  g_autoptr (GString) shape = g_string_new (dims);

  for (; *pieces; pieces++) {
    t = net_find (from, *pieces);
    g_byte_array_append (file->data, t->data, t->bytes);
    rows += t->dim[0];
  }
  if (!dims) {
    g_string_append_printf (shape, "%" G_GINT64_FORMAT, rows);
    for (int i = 1; i < t->n_dims; i++)
      g_string_append_printf (shape, ",%" G_GINT64_FORMAT, t->dim[i]);
  }
  g_string_append_printf (file->header,
                          "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%u,%u]}",
                          begin ? "," : "", name, t->on_disk, shape->str, begin, file->data->len);
}

/* Writes the file, opens it, and deletes it again: the mapping keeps it. */
static inline eng_weights *
net_file_finish (struct net_file *file)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *path = NULL;
  g_autoptr (GError) error = NULL;

  g_string_append_c (file->header, '}');
  path = tmp_folder_write_tensors (folder, "model.safetensors", file->header->str, file->data->data,
                                   file->data->len);
  eng_weights *weights = eng_weights_open (path, &error);
  g_assert_no_error (error);
  g_string_free (file->header, TRUE);
  g_byte_array_unref (file->data);
  return weights;
}
