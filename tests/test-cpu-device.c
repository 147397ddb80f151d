#include "tests/test-cpu-common.h"

#include <unistd.h>

static void
test_memory (void)
{
  size_t free_bytes, total_bytes;
  void *memory;

  device->info (device, &free_bytes, &total_bytes);
  g_assert_cmpuint (free_bytes, >, 0);
  g_assert_cmpuint (total_bytes, >=, free_bytes);

  for (size_t bytes = 0; bytes < 5000; bytes += 999) {
    g_assert_cmpint (device->alloc (device, &memory, bytes), ==, KRN_OK);
    g_assert_cmpuint ((guintptr) memory % 256, ==, 0);
    memset (memory, 1, bytes);
    device->free_memory (device, memory);
  }
  g_assert_cmpint (device->host_alloc (device, &memory, 100), ==, KRN_OK);
  device->host_free (device, memory);
  device->free_memory (device, NULL);

  /* The kernel would promise these. */
  g_assert_cmpint (device->alloc (device, &memory, total_bytes + 1), ==, KRN_ERROR_MEMORY);
  g_assert_null (memory);
  g_assert_cmpint (device->alloc (device, &memory, SIZE_MAX), ==, KRN_ERROR_MEMORY);
  g_assert_cmpint (device->alloc (device, &memory, SIZE_MAX - 255), ==, KRN_ERROR_MEMORY);
}

static void
test_counts_allocations (void)
{
  const uint64_t before = krn_allocations (device);
  struct krn_sample sample;
  void *a, *b;

  g_assert_cmpint (device->alloc (device, &a, 100), ==, KRN_OK);
  g_assert_cmpint (device->host_alloc (device, &b, 100), ==, KRN_OK);
  g_assert_cmpuint (krn_allocations (device), ==, before + 2);
  device->free_memory (device, a);
  device->host_free (device, b);
  g_assert_cmpint (device->alloc (device, &a, SIZE_MAX), ==, KRN_ERROR_MEMORY);
  g_assert_cmpuint (krn_allocations (device), ==, before + 2);

  g_assert_cmpint (device->sample (device, &sample), ==, KRN_ERROR_UNSUPPORTED);
  g_assert_false (device->lost (device, KRN_ERROR_MEMORY));
}

static void
test_events (void)
{
  krn_event *a, *b;
  krn_graph *graph;
  double elapsed;

  g_assert_cmpint (device->event_new (device, &a), ==, KRN_OK);
  g_assert_cmpint (device->event_new (device, &b), ==, KRN_OK);
  g_assert_false (device->event_done (a));
  g_assert_cmpint (device->event_elapsed (&elapsed, a, b), !=, KRN_OK);
  g_assert_cmpint (device->event_record (stream, a), ==, KRN_OK);
  g_usleep (2000);
  g_assert_cmpint (device->event_record (stream, b), ==, KRN_OK);
  g_assert_true (device->event_done (a));
  g_assert_cmpint (device->event_wait (stream, a), ==, KRN_OK);
  g_assert_cmpint (device->event_sync (b), ==, KRN_OK);
  g_assert_cmpint (device->stream_sync (stream), ==, KRN_OK);
  g_assert_cmpint (device->event_elapsed (&elapsed, a, b), ==, KRN_OK);
  g_assert_cmpfloat (elapsed, >=, 2.);
  g_assert_cmpfloat (elapsed, <, 60000.);
  g_assert_cmpint (device->event_elapsed (&elapsed, b, a), ==, KRN_OK);
  g_assert_cmpfloat (elapsed, <=, -2.);
  device->event_free (a);
  device->event_free (b);
  device->event_free (NULL);
  device->stream_free (NULL);

  g_assert_cmpint (device->capture_begin (stream), ==, KRN_ERROR_UNSUPPORTED);
  g_assert_cmpint (device->capture_end (stream, &graph), ==, KRN_ERROR_UNSUPPORTED);
}

static void
test_describes_itself (void)
{
  g_assert_cmpstr (device->name, ==, "CPU, 2 threads");
  g_assert_cmpstr (device->kind, ==, "cpu");
  g_assert_cmpint (device->activation, ==, KRN_F32);
  g_assert_cmpint (device->weight, ==, KRN_F32);
  for (int status = -5; status <= 1; status++)
    g_assert_cmpuint (strlen (device->status_text (device, status)), >, 5);

  /* Every entry is there, but for OpenGL's, of which none is. */
  for (const void *const *entry = (const void *) &device->close;
       (const void *) entry < (const void *) (device + 1); entry++)
    if ((const void *) entry < (const void *) &device->gl_check ||
        (const void *) entry > (const void *) &device->gl_copy)
      g_assert_nonnull (*entry);
    else
      g_assert_null (*entry);
}

/* bfloat16 and half numbers worked by hand; the last two are subnormal. */
static void
test_upload_converts (void)
{
  static const uint16_t bf16[] = { 0x3f80, 0xc040, 0x0000, 0x8000, 0x7f80, 0x4049, 0x0001 };
  static const float from_bf16[] = { 1.f, -3.f, 0.f, -0.f, INFINITY, 3.140625f, 0x1p-133f };
  static const uint16_t f16[] = { 0x3c00, 0xc200, 0x0000, 0x7bff, 0xfc00, 0x0001, 0x83ff };
  static const float from_f16[] = { 1.f, -3.f, 0.f, 65504.f, -INFINITY, 0x1p-24f, -0x1.ff8p-15f };
  krn_tensor y = make_output (1, 1, 1, 7, 0);

  g_assert_cmpint (device->upload (stream, y, bf16, KRN_BF16), ==, KRN_OK);
  g_assert_cmpmem (y.data, sizeof from_bf16, from_bf16, sizeof from_bf16);
  g_assert_cmpint (device->upload (stream, y, f16, KRN_F16), ==, KRN_OK);
  g_assert_cmpmem (y.data, sizeof from_f16, from_f16, sizeof from_f16);
  g_assert_cmpint (device->upload (stream, y, f16, KRN_I32), ==, KRN_ERROR_SHAPE);
  y.stride = 9;
  y.dim[2] = 2;
  g_assert_cmpint (device->upload (stream, y, f16, KRN_F16), ==, KRN_ERROR_SHAPE);
  FREE (y);
}

/* Every half number survives the way to float32 and back; so does every bfloat16. */
static void
test_copy_round_trip (void)
{
  static uint16_t all[65536], back[65536];
  krn_tensor wide = make_output (1, 1, 256, 256, 3);

  for (int i = 0; i < 65536; i++)
    all[i] = (uint16_t) i;
  for (krn_dtype dtype = KRN_BF16; dtype <= KRN_F16; dtype++) {
    const krn_tensor from = krn_tensor_make (all, dtype, 1, 1, 256, 256);
    const krn_tensor to = krn_tensor_make (back, dtype, 1, 1, 256, 256);

    g_assert_cmpint (device->copy (stream, wide, from), ==, KRN_OK);
    g_assert_cmpint (device->copy (stream, to, wide), ==, KRN_OK);
    for (int i = 0; i < 65536; i++)
      if (!isnan (*at (wide, i / 256, i % 256)))
        g_assert_cmphex (back[i], ==, all[i]);
  }
  FREE (wide);
}

static void
test_narrowing_rounds (void)
{
  /* Half way between two numbers goes to the even one. */
  static const float from[] = { 1.f + 0x1p-11f, 1.f + 0x3p-11f, 65519.f, 65520.f, 0x1p-25f, NAN };
  static const uint16_t f16[] = { 0x3c00, 0x3c02, 0x7bff, 0x7c00, 0x0000, 0x7e00 };
  static const uint16_t bf16[] = { 0x3f80, 0x3f80, 0x4780, 0x4780, 0x3300, 0x7fc0 };
  uint16_t got[6];
  krn_tensor to = krn_tensor_make (got, KRN_F16, 1, 1, 1, 6);

  g_assert_cmpint (device->upload (stream, to, from, KRN_F32), ==, KRN_OK);
  g_assert_cmpmem (got, sizeof got, f16, sizeof f16);
  to.dtype = KRN_BF16;
  g_assert_cmpint (device->upload (stream, to, from, KRN_F32), ==, KRN_OK);
  g_assert_cmpmem (got, sizeof got, bf16, sizeof bf16);
}

static void
test_copies (void)
{
  krn_tensor all = make_matrix (300, 70, 0), part = krn_col_view (all, 3, 33);
  krn_tensor y = make_output (1, 1, 300, 33, 2), packed = make_output (1, 1, 300, 70, 0);
  int32_t ids[] = { 1, -2, 3 }, got[3];
  krn_tensor id = krn_tensor_make (got, KRN_I32, 1, 1, 1, 3);

  g_assert_cmpint (device->copy (stream, y, part), ==, KRN_OK);
  for (int64_t r = 0; r < 300; r++)
    g_assert_cmpmem (at (y, r, 0), 132, at (part, r, 0), 132);
  assert_gaps_untouched (y);

  g_assert_cmpint (device->copy (stream, y, krn_row_view (part, 7, 1)), ==, KRN_OK);
  for (int64_t r = 0; r < 300; r++)
    g_assert_cmpmem (at (y, r, 0), 132, at (part, 7, 0), 132);

  g_assert_cmpint (device->download (stream, packed.data, all), ==, KRN_OK);
  g_assert_cmpmem (packed.data, 84000, all.data, 84000);
  g_assert_cmpint (device->download (stream, packed.data, part), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->copy (stream, y, all), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->copy (stream, y, krn_row_view (part, 0, 2)), ==, KRN_ERROR_SHAPE);

  g_assert_cmpint (device->upload (stream, id, ids, KRN_I32), ==, KRN_OK);
  g_assert_cmpmem (got, sizeof got, ids, sizeof ids);
  FREE (all, y, packed);
}

/* Two parts of an upload are converted by different threads. */
static void
test_large_upload (void)
{
  const int64_t n = 300001;
  g_autofree uint16_t *half = g_new (uint16_t, n);
  krn_tensor y = make_output (1, 1, 1, n, 0);

  for (int64_t i = 0; i < n; i++)
    half[i] = (uint16_t) (0x3c00 + i % 1024);
  g_assert_cmpint (device->upload (stream, y, half, KRN_F16), ==, KRN_OK);
  for (int64_t i = 0; i < n; i++)
    g_assert_cmpfloat (*at (y, 0, i), ==, 1.f + (float) (i % 1024) / 1024.f);
  FREE (y);
}

/* One after the other on a device of its own, so that each reads what the one before wrote. */
static krn_tensor
run_on_threads (int threads, krn_tensor x, krn_tensor w, krn_tensor bias)
{
  const struct krn_conv conv = { .stride = 1, .pad_before = 1, .pad_after = 1 };
  const struct krn_attention heads = {
    .batch = 1, .q_heads = 2, .kv_heads = 2, .head_dim = 12, .scale = 0.3f
  };
  krn_tensor a = make_output (1, 19, 23, 24, 0), b = make_output (1, 1, 437, 24, 0);
  struct krn_device *own;
  krn_stream *own_stream;

  g_assert_cmpint (krn_cpu_open (&own, threads), ==, KRN_OK);
  g_assert_cmpint (own->stream_new (own, &own_stream), ==, KRN_OK);
  g_assert_cmpint (own->conv2d (own_stream, a, x, w, bias, &conv), ==, KRN_OK);
  g_assert_cmpint (own->group_norm (own_stream, a, a, bias, bias, 3, 1e-6f, true), ==, KRN_OK);
  g_assert_cmpint (own->attention (own_stream, b, krn_col_view (a, 0, 24), krn_col_view (a, 0, 24),
                                   krn_col_view (a, 0, 24), &heads),
                   ==, KRN_OK);
  g_assert_cmpint (own->silu (own_stream, b, b), ==, KRN_OK);
  own->stream_free (own_stream);
  own->close (own);
  FREE (a);
  return b;
}

/* The same seed gives the same picture on another machine of the same kind. */
static void
test_threads_change_nothing (void)
{
  krn_tensor x = make_input (1, 19, 23, 24, 0, 1.), w = make_input (24, 3, 3, 24, 0, 0.);
  krn_tensor bias = make_vector (24), want = run_on_threads (1, x, w, bias);

  for (int i = 0; i < 40; i++) {
    krn_tensor got = run_on_threads (2 + i % 4, x, w, bias);

    g_assert_cmpmem (got.data, 437 * 24 * sizeof (float), want.data, 437 * 24 * sizeof (float));
    FREE (got);
  }
  FREE (x, w, bias, want);
}

/* A desktop shares the cores: threads that have nothing to do must sleep. */
static void
test_sleeps_when_idle (void)
{
  krn_tensor x = make_matrix (288, 192, 0), y = make_output (1, 1, 288, 192, 0);
  struct timespec before, after;

  g_assert_cmpint (device->silu (stream, y, x), ==, KRN_OK);
  clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &before);
  g_usleep (300000);
  clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &after);
  g_assert_cmpfloat ((double) (after.tv_sec - before.tv_sec) +
                         (double) (after.tv_nsec - before.tv_nsec) * 1e-9,
                     <, 0.03);
  FREE (x, y);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/device/memory", test_memory);
  g_test_add_func ("/cpu/device/counts-allocations", test_counts_allocations);
  g_test_add_func ("/cpu/device/events", test_events);
  g_test_add_func ("/cpu/device/describes-itself", test_describes_itself);
  g_test_add_func ("/cpu/device/upload-converts", test_upload_converts);
  g_test_add_func ("/cpu/device/copy-round-trip", test_copy_round_trip);
  g_test_add_func ("/cpu/device/narrowing-rounds", test_narrowing_rounds);
  g_test_add_func ("/cpu/device/copies", test_copies);
  g_test_add_func ("/cpu/device/large-upload", test_large_upload);
  g_test_add_func ("/cpu/device/threads-change-nothing", test_threads_change_nothing);
  g_test_add_func ("/cpu/device/sleeps-when-idle", test_sleeps_when_idle);
  return run_tests ();
}
