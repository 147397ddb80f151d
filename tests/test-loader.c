/* tests/test-loader.c - with a device that is not there: uploads happen as late as the contract
 * allows, so that host memory which is given up too early shows. */
#include "engine/error.h"
#include "engine/weights.h"
#include "tests/tmp_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct upload {
  krn_tensor dst;
  const void *src;
  krn_dtype dtype;
};

struct fake {
  struct krn_device device;
  GMutex mutex;    /* guards what follows */
  GArray *pending; /* struct upload, from done on not yet copied */
  guint done;
  size_t free_bytes;
  int blocks, host_blocks, events; /* alive */
  int alloc_fails, host_alloc_fails;
  int uploads, refuse_upload; /* the upload of that number is refused; 0: none */
  int hook_upload;            /* at the upload of that number hook is called */
  void (*hook) (void *data);
  void *data;
};

struct krn_stream {
  struct fake *fake;
  int users; /* atomic; threads that enqueue on it: one at a time */
};

struct krn_event {
  struct fake *fake;
  guint at; /* uploads before it */
};

static float
read_element (const char *from, krn_dtype dtype, int64_t i)
{
  guint16 half;
  guint32 bits;
  float value;

  if (dtype == KRN_F32) {
    memcpy (&value, from + 4 * i, 4);
    return value;
  }
  memcpy (&half, from + 2 * i, 2); /* bf16 is the upper half of a float */
  bits = (guint32) half << 16;
  memcpy (&value, &bits, 4);
  return value;
}

static void
copy_until (struct fake *fake, guint end)
{
  g_mutex_lock (&fake->mutex);
  for (; fake->done < end; fake->done++) {
    const struct upload *u = &g_array_index (fake->pending, struct upload, fake->done);
    for (int64_t i = 0; i < krn_count (u->dst); i++)
      ((float *) u->dst.data)[i] = read_element (u->src, u->dtype, i);
  }
  g_mutex_unlock (&fake->mutex);
}

static krn_status
fake_alloc (struct krn_device *device, void **memory, size_t bytes)
{
  struct fake *fake = (struct fake *) device;

  if (fake->alloc_fails)
    return fake->alloc_fails;
  *memory = aligned_alloc (256, (bytes + 255) & ~(size_t) 255);
  fake->free_bytes -= bytes;
  fake->blocks++;
  return KRN_OK;
}

static void
fake_free (struct krn_device *device, void *memory)
{
  ((struct fake *) device)->blocks -= memory != NULL;
  free (memory);
}

static krn_status
fake_host_alloc (struct krn_device *device, void **memory, size_t bytes)
{
  struct fake *fake = (struct fake *) device;

  if (fake->host_alloc_fails)
    return fake->host_alloc_fails;
  *memory = malloc (bytes);
  g_atomic_int_inc (&fake->host_blocks);
  return KRN_OK;
}

static void
fake_host_free (struct krn_device *device, void *memory)
{
  ((struct fake *) device)->host_blocks -= memory != NULL;
  free (memory);
}

static void
fake_info (struct krn_device *device, size_t *free_bytes, size_t *total_bytes)
{
  *free_bytes = ((struct fake *) device)->free_bytes;
  *total_bytes = (size_t) 8 << 30;
}

static krn_status
fake_event_new (struct krn_device *device, krn_event **event)
{
  *event = g_new0 (krn_event, 1);
  (*event)->fake = (struct fake *) device;
  g_atomic_int_inc (&(*event)->fake->events);
  return KRN_OK;
}

static void
fake_event_free (krn_event *event)
{
  if (event)
    event->fake->events--;
  g_free (event);
}

static krn_status
fake_event_record (krn_stream *stream, krn_event *event)
{
  g_assert_cmpint (g_atomic_int_add (&stream->users, 1), ==, 0);
  event->at = stream->fake->pending->len;
  g_atomic_int_add (&stream->users, -1);
  return KRN_OK;
}

static krn_status
fake_event_sync (krn_event *event)
{
  copy_until (event->fake, event->at);
  return KRN_OK;
}

static krn_status
fake_stream_sync (krn_stream *stream)
{
  copy_until (stream->fake, stream->fake->pending->len);
  return KRN_OK;
}

static krn_status
fake_upload (krn_stream *stream, krn_tensor dst, const void *src, krn_dtype dtype)
{
  const struct upload upload = { dst, src, dtype };
  struct fake *fake = stream->fake;

  g_assert_cmpuint ((guintptr) src % krn_dtype_size (dtype), ==, 0);
  g_assert_cmpint (g_atomic_int_add (&stream->users, 1), ==, 0);
  g_mutex_lock (&fake->mutex);
  const gboolean refused = ++fake->uploads == fake->refuse_upload;
  if (fake->uploads == fake->hook_upload)
    fake->hook (fake->data);
  if (!refused)
    g_array_append_val (fake->pending, upload);
  g_mutex_unlock (&fake->mutex);
  g_atomic_int_add (&stream->users, -1);
  return refused ? KRN_ERROR_UNSUPPORTED : KRN_OK;
}

static const char *
fake_status_text (const struct krn_device *device, krn_status status)
{
  return status == KRN_ERROR_UNSUPPORTED ? "the device cannot do that" : "out of memory";
}

static struct fake
fake_new (void)
{
  return (struct fake){
    .device = { .name = "Fake",
                .kind = "fake",
                .weight = KRN_F32,
                .alloc = fake_alloc,
                .free_memory = fake_free,
                .host_alloc = fake_host_alloc,
                .host_free = fake_host_free,
                .info = fake_info,
                .event_new = fake_event_new,
                .event_free = fake_event_free,
                .event_record = fake_event_record,
                .event_sync = fake_event_sync,
                .stream_sync = fake_stream_sync,
                .upload = fake_upload,
                .status_text = fake_status_text },
    .pending = g_array_new (FALSE, FALSE, sizeof (struct upload)),
    .free_bytes = (size_t) 4 << 30,
  };
}

/* Nothing may be left behind. */
static void
fake_clear (struct fake *fake)
{
  g_assert_cmpint (fake->blocks, ==, 0);
  g_assert_cmpint (fake->host_blocks, ==, 0);
  g_assert_cmpint (fake->events, ==, 0);
  g_array_unref (fake->pending);
}

/* What most tests read: value i is i. */
struct fixture {
  tmp_folder *folder;
  char *path;
  eng_weights *weights;
  struct fake fake;
  krn_stream stream;
};

/* pad shifts the data, to make it unaligned. */
static void
open_file (struct fixture *f, int pad)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *header = NULL;
  float data[64];

  for (int i = 0; i < 64; i++)
    data[i] = i;
  header = g_strdup_printf (
      "{\"p.q\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
      "\"p.k\":{\"dtype\":\"F32\",\"shape\":[1,3],\"data_offsets\":[24,36]},"
      "\"p.bias\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[36,52]},"
      "\"p.conv\":{\"dtype\":\"F32\",\"shape\":[2,3,2,2],\"data_offsets\":[52,148]},"
      "\"p.one\":{\"dtype\":\"F32\",\"shape\":[2,3,1,1],\"data_offsets\":[148,172]},"
      "\"p.fp8\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[172,176]},"
      "\"p.bf16\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[176,180]}}%*s",
      pad, "");
  while ((strlen (header) - pad) % 8) { /* so that pad alone decides the alignment */
    char *longer = g_strconcat (header, " ", NULL);
    g_free (header);
    header = longer;
  }
  f->path = tmp_folder_write_tensors (f->folder, "model.safetensors", header, data, sizeof data);
  f->weights = eng_weights_open (f->path, &error);
  g_assert_no_error (error);
}

static void
set_up (struct fixture *f, gconstpointer data)
{
  f->folder = tmp_folder_new ();
  f->fake = fake_new ();
  open_file (f, GPOINTER_TO_INT (data));
}

static void
tear_down (struct fixture *f, gconstpointer data)
{
  f->stream.fake = NULL;
  fake_clear (&f->fake);
  eng_weights_unref (f->weights);
  g_free (f->path);
  tmp_folder_free (f->folder);
}

static void *
finish (struct fixture *f, eng_loader *loader, GError **error)
{
  const struct eng_loading how = { .device = &f->fake.device, .stream = &f->stream };
  void *block;

  f->stream.fake = &f->fake;
  g_assert_true (eng_loaders_finish (&loader, 1, &block, &how, error) == (block != NULL));
  return block;
}

static void
assert_values (krn_tensor t, const float *want, int n)
{
  g_assert_cmpint (krn_count (t), ==, n);
  g_assert_cmpint (t.dtype, ==, KRN_F32);
  g_assert_cmpint (t.stride, ==, t.dim[3]);
  g_assert_cmpuint ((guintptr) t.data % 256, ==, 0);
  for (int i = 0; i < n; i++)
    g_assert_cmpfloat (((float *) t.data)[i], ==, want[i]);
}

static void
test_values (struct fixture *f, gconstpointer data)
{
  const float constant[] = { 7.f, 8.f };
  const float qk[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8 }, bias[] = { 9, 10, 11, 12 };
  const float two[] = { 9, 10, 11, 12, 9, 10, 11, 12 };
  const float one[] = { 37, 38, 39, 40, 41, 42 };
  const float conv[] = { 13, 17, 21, 14, 18, 22, 15, 19, 23, 16, 20, 24,
                         25, 29, 33, 26, 30, 34, 27, 31, 35, 28, 32, 36 };
  g_autoptr (eng_loader) loader = eng_loader_new (f->weights, "part", "p.");
  g_autoptr (GError) error = NULL;
  krn_tensor t[7];
  void *block;

  g_assert_true (eng_loader_has (loader, "q"));
  g_assert_false (eng_loader_has (loader, "p.q"));
  eng_loader_want (loader, &t[0], 3, 3, "q", "k", NULL);
  eng_loader_want (loader, &t[1], 1, 4, "bias", NULL);
  eng_loader_want (loader, &t[2], 1, 8, "bias", "bias", NULL);
  eng_loader_want_conv (loader, &t[3], 2, 3, 2, 2, "conv");
  eng_loader_want_constant (loader, &t[4], 1, 2, constant);
  eng_loader_want (loader, &t[5], 2, 3, "one", NULL);    /* a 1x1 convolution as a matrix */
  eng_loader_want_conv (loader, &t[6], 2, 3, 1, 1, "q"); /* and the reverse */
  g_assert_cmpuint (eng_loader_get_bytes (loader, KRN_F32), ==, 7 * 256);

  block = finish (f, loader, &error);
  g_assert_no_error (error);
  assert_values (t[0], qk, 9);
  g_assert_cmpint (t[0].dim[2], ==, 3);
  assert_values (t[1], bias, 4);
  assert_values (t[2], two, 8);
  assert_values (t[3], conv, 24);
  g_assert_cmpint (t[3].dim[0], ==, 2);
  g_assert_cmpint (t[3].dim[3], ==, 3);
  assert_values (t[4], constant, 2);
  assert_values (t[5], one, 6);
  assert_values (t[6], qk, 6);
  f->fake.device.free_memory (&f->fake.device, block);
}

static void
test_wrong (struct fixture *f, gconstpointer data)
{
  static const struct {
    int64_t rows, cols;
    const char *name, *second, *message;
  } cases[] = {
    { 2, 4, "q", NULL, "part: p.q is [2, 3], expected [2, 4]" },
    { 3, 2, "q", NULL, "part: p.q is [2, 3], expected [3, 2]" },
    { 1, 5, "bias", NULL, "part: p.bias is [4], expected [5]" },
    { 4, 3, "q", "k", "part: p.q and what follows it have 3 rows, expected 4" },
    { 3, 3, "q", "bias", "part: p.bias is [4], expected rows of 3" },
    { 1, 4, "nothing", NULL, "part: p.nothing is missing" },
    { 1, 4, "fp8", NULL, "part: p.fp8 is F8_E4M3, expected F32, F16 or BF16" },
    { G_MAXINT64, 3, "q", NULL, "part: p.q cannot be [9223372036854775807, 3]" },
    { -1, 3, "q", NULL, "part: p.q cannot be [-1, 3]" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (eng_loader) loader = eng_loader_new (f->weights, "part", "p.");
    g_autoptr (GError) error = NULL;
    krn_tensor first, second;

    eng_loader_want (loader, &first, cases[i].rows, cases[i].cols, cases[i].name, cases[i].second,
                     NULL);
    eng_loader_want (loader, &second, 1, 1, "later", NULL); /* the first one is told */
    g_assert_null (finish (f, loader, &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_MODEL);
    g_assert_cmpstr (error->message, ==, cases[i].message);
    g_assert_null (first.data);
  }
}

static void
test_wrong_conv (struct fixture *f, gconstpointer data)
{
  g_autoptr (eng_loader) loader = eng_loader_new (f->weights, "vae", "");
  g_autoptr (GError) error = NULL;
  krn_tensor t;

  eng_loader_want_conv (loader, &t, 2, 3, 3, 3, "p.conv");
  g_assert_null (finish (f, loader, &error));
  g_assert_cmpstr (error->message, ==, "vae: p.conv is [2, 3, 2, 2], expected [2, 3, 3, 3]");
}

static void
test_memory (struct fixture *f, gconstpointer data)
{
  static const char *const messages[] = { "part: needs 256", "part: needs 256",
                                          "part: needs 96 bytes of host memory to copy from" };
  g_autoptr (eng_loader) loader = eng_loader_new (f->weights, "part", "p.");
  krn_tensor t;

  eng_loader_want_conv (loader, &t, 2, 3, 2, 2, "conv");
  for (int i = 0; i < 3; i++) {
    g_autoptr (GError) error = NULL;

    f->fake.free_bytes = i == 0 ? 100 : 4000;
    f->fake.alloc_fails = i == 1 ? KRN_ERROR_MEMORY : 0;
    f->fake.host_alloc_fails = i == 2 ? KRN_ERROR_MEMORY : 0;
    g_assert_null (finish (f, loader, &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_MEMORY);
    g_assert_true (g_str_has_prefix (error->message, messages[i]));
    g_assert_true (g_str_has_suffix (error->message, i < 2 ? "free on Fake" : "Fake refused"));
    g_assert_cmpint (f->fake.blocks, ==, 0);
    g_assert_null (t.data);
  }
}

/* The second of two has no room: the first is given back, and what is smaller loads. */
static void
test_memory_of_two (struct fixture *f, gconstpointer data)
{
  g_autoptr (eng_loader) first = eng_loader_new (f->weights, "first", "p.");
  g_autoptr (eng_loader) second = eng_loader_new (f->weights, "second", "p.");
  eng_loader *const loaders[] = { first, second };
  const struct eng_loading how = { .device = &f->fake.device, .stream = &f->stream };
  g_autoptr (GError) error = NULL;
  void *blocks[2];
  krn_tensor t[3];

  eng_loader_want (first, &t[0], 1, 4, "bias", NULL);
  eng_loader_want (second, &t[1], 2, 3, "q", NULL);
  eng_loader_want (second, &t[2], 1, 4, "bias", NULL);
  f->stream.fake = &f->fake;
  f->fake.free_bytes = 600;
  g_assert_false (eng_loaders_finish (loaders, 2, blocks, &how, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_MEMORY);
  g_assert_nonnull (strstr (error->message, "second: needs 512"));
  g_assert_nonnull (strstr (error->message, "344"));
  g_assert_cmpint (f->fake.blocks, ==, 0);
  g_assert_null (t[0].data);
  g_clear_error (&error);

  f->fake.free_bytes = 600;
  g_assert_true (eng_loaders_finish (loaders, 1, blocks, &how, &error));
  g_assert_no_error (error);
  g_assert_cmpfloat (((float *) t[0].data)[3], ==, 12.f);
  f->fake.device.free_memory (&f->fake.device, blocks[0]);
}

static void
test_refused (struct fixture *f, gconstpointer data)
{
  g_autoptr (eng_loader) loader = eng_loader_new (f->weights, "part", "p.");
  g_autoptr (GError) error = NULL;
  krn_tensor t[3];

  for (int i = 0; i < 3; i++)
    eng_loader_want_conv (loader, &t[i], 2, 3, 2, 2, "conv");
  f->fake.refuse_upload = 3;
  g_assert_null (finish (f, loader, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_DEVICE);
  g_assert_cmpstr (error->message, ==, "part: the device cannot do that");
  g_assert_cmpint (f->fake.blocks, ==, 0);
  g_assert_null (t[0].data);
}

static void
test_shrunk (struct fixture *f, gconstpointer data)
{
  g_autoptr (eng_loader) loader = eng_loader_new (f->weights, "part", "p.");
  g_autoptr (GError) error = NULL;
  krn_tensor t;

  eng_loader_want (loader, &t, 2, 3, "q", NULL);
  g_assert_cmpint (truncate (f->path, 20), ==, 0);
  g_assert_null (finish (f, loader, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
  g_assert_nonnull (strstr (error->message, "became shorter while it was read: \"p.q\" ends at"));
}

/* The mapping outlives the name. */
static void
test_deleted (struct fixture *f, gconstpointer data)
{
  g_autoptr (eng_loader) loader = eng_loader_new (f->weights, "part", "p.");
  g_autoptr (GError) error = NULL;
  krn_tensor t;
  void *block;

  eng_loader_want (loader, &t, 1, 4, "bias", NULL);
  g_assert_cmpint (g_remove (f->path), ==, 0);
  block = finish (f, loader, &error);
  g_assert_no_error (error);
  g_assert_cmpfloat (((float *) t.data)[3], ==, 12.f);
  f->fake.device.free_memory (&f->fake.device, block);
}

struct watch {
  size_t last;
  int cancelled; /* atomic */
};

static void
watch_cb (size_t done, size_t total, void *data)
{
  struct watch *watch = data;

  g_assert_cmpuint (done, >, watch->last);
  g_assert_cmpuint (done, <=, total);
  watch->last = done;
}

/* A convolution and a matrix of 39 MB each: more than all staging buffers hold. */
enum { OUT = 75, IN = 14563, BYTES = OUT * IN * 9 * 4 };

struct large {
  tmp_folder *folder;
  char *path;
  float *values;
  eng_weights *weights;
  eng_loader *loaders[2];
  struct fake fake;
  krn_stream stream;
  struct watch watch;
  krn_tensor conv, matrix;
};

static void
set_up_large (struct large *l, gconstpointer data)
{
  g_autofree char *header = NULL;
  g_autoptr (GError) error = NULL;

  l->folder = tmp_folder_new ();
  l->fake = fake_new ();
  l->values = g_malloc (BYTES);
  for (int i = 0; i < BYTES / 4; i++)
    l->values[i] = i % 16777213;
  header = g_strdup_printf ("{\"w\":{\"dtype\":\"F32\",\"shape\":[%d,%d,3,3],"
                            "\"data_offsets\":[0,%d]}}",
                            OUT, IN, BYTES);
  l->path = tmp_folder_write_tensors (l->folder, "model.safetensors", header, l->values, BYTES);
  l->weights = eng_weights_open (l->path, &error);
  g_assert_no_error (error);
  l->loaders[0] = eng_loader_new (l->weights, "vae", "");
  l->loaders[1] = eng_loader_new (l->weights, "text", "");
  eng_loader_want_conv (l->loaders[0], &l->conv, OUT, IN, 3, 3, "w");
  eng_loader_want (l->loaders[1], &l->matrix, 1, (int64_t) OUT * IN * 9, "w", NULL);
}

static void
tear_down_large (struct large *l, gconstpointer data)
{
  fake_clear (&l->fake);
  for (int i = 0; i < 2; i++)
    eng_loader_free (l->loaders[i]);
  eng_weights_unref (l->weights);
  g_free (l->values);
  g_free (l->path);
  tmp_folder_free (l->folder);
}

static gboolean
finish_large (struct large *l, void **blocks, GError **error)
{
  const struct eng_loading how = { .device = &l->fake.device,
                                   .stream = &l->stream,
                                   .progress = watch_cb,
                                   .data = &l->watch,
                                   .cancelled = &l->watch.cancelled };

  l->stream.fake = &l->fake;
  return eng_loaders_finish (l->loaders, 2, blocks, &how, error);
}

static void
test_large (struct large *l, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  void *blocks[2];

  g_assert_true (finish_large (l, blocks, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (l->watch.last, ==, 2 * (size_t) BYTES);
  for (int64_t o = 0; o < OUT; o += 7)
    for (int64_t p = 0; p < 9; p++)
      for (int64_t i = 0; i < IN; i += 11)
        g_assert_cmpfloat (((float *) l->conv.data)[(o * 9 + p) * IN + i], ==,
                           l->values[(o * IN + i) * 9 + p]);
  g_assert_cmpint (memcmp (l->matrix.data, l->values, BYTES), ==, 0);
  for (int i = 0; i < 2; i++)
    l->fake.device.free_memory (&l->fake.device, blocks[i]);
}

static void
cancel_cb (void *data)
{
  g_atomic_int_set (&((struct large *) data)->watch.cancelled, 1);
}

static void
test_cancelled (struct large *l, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  void *blocks[2];

  l->fake.hook_upload = 3;
  l->fake.hook = cancel_cb;
  l->fake.data = l;
  g_assert_false (finish_large (l, blocks, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_CANCELLED);
  g_assert_cmpint (l->fake.uploads, <, 3 + 8); /* what the threads were at */
  g_assert_cmpint (l->fake.blocks, ==, 0);
  g_assert_null (l->conv.data);
}

static void
cut_cb (void *data)
{
  g_assert_cmpint (truncate (((struct large *) data)->path, 1000), ==, 0);
}

static void
test_cut (struct large *l, gconstpointer data)
{
  g_autoptr (GError) error = NULL;
  void *blocks[2];

  l->fake.hook_upload = 3;
  l->fake.hook = cut_cb;
  l->fake.data = l;
  g_assert_false (finish_large (l, blocks, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
  g_assert_nonnull (strstr (error->message, "became shorter while it was read"));
  g_assert_cmpint (l->fake.blocks, ==, 0);
}

static void
add_large (const char *path, void (*test) (struct large *, gconstpointer))
{
  g_test_add (path, struct large, NULL, set_up_large, test, tear_down_large);
}

static void
add (const char *path, int pad, void (*test) (struct fixture *, gconstpointer))
{
  g_test_add (path, struct fixture, GINT_TO_POINTER (pad), set_up, test, tear_down);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  add ("/loader/values", 0, test_values);
  add ("/loader/values-unaligned", 3, test_values);
  add ("/loader/wrong", 0, test_wrong);
  add ("/loader/wrong-conv", 0, test_wrong_conv);
  add ("/loader/memory", 0, test_memory);
  add ("/loader/memory-of-two", 0, test_memory_of_two);
  add ("/loader/refused", 0, test_refused);
  add ("/loader/shrunk", 0, test_shrunk);
  add ("/loader/deleted", 0, test_deleted);
  add_large ("/loader/large", test_large);
  add_large ("/loader/cancelled", test_cancelled);
  add_large ("/loader/cut", test_cut);
  return g_test_run ();
}
