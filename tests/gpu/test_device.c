#include "tests/gpu/gpu_pair.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Conversions on the way, of more than a stream's scratch takes at once. */
static void
uploads (void)
{
  enum { N = 9 << 20 };
  static const uint16_t halves[] = { 0x3c00, 0xc000, 0x3555, 0x0001, 0x7c00 }; /* of f16 */
  static const float values[] = { 1.f, -2.f, 0.333251953125f, 0x1p-24f, INFINITY };
  float *source = malloc (N * sizeof *source), got[5];
  uint16_t *back = malloc (N * sizeof *back);
  krn_tensor y = krn_tensor_make (NULL, KRN_BF16, 1, 1, 1, N);
  krn_tensor few = krn_tensor_make (NULL, KRN_F32, 1, 1, 1, 5);
  bool same = true;

  begin ("upload, download");
  for (int i = 0; i < N; i++)
    source[i] = random_float (-4.f, 4.f);
  check_true (t.gpu->alloc (t.gpu, &y.data, N * sizeof *back) == KRN_OK, "no memory");
  check_true (t.gpu->upload (t.stream, y, source, KRN_F32) == KRN_OK &&
                  t.gpu->download (t.stream, back, y) == KRN_OK &&
                  t.gpu->stream_sync (t.stream) == KRN_OK,
              "an upload of many is refused");
  for (int i = 0; i < N; i++)
    same = same && back[i] == bf16_from_float (source[i]);
  check_true (same, "a large upload is not rounded right");

  few.data = y.data;
  check_true (t.gpu->upload (t.stream, few, halves, KRN_F16) == KRN_OK &&
                  t.gpu->download (t.stream, got, few) == KRN_OK &&
                  t.gpu->stream_sync (t.stream) == KRN_OK,
              "an upload of f16 is refused");
  check_true (memcmp (got, values, sizeof got) == 0, "f16 is not read right");
  check_true (t.gpu->upload (t.stream, few, halves, KRN_I32) == KRN_ERROR_SHAPE,
              "integers become floats");
  t.gpu->free_memory (t.gpu, y.data);
  free (source);
  free (back);
}

static void
memory (void)
{
  size_t free_bytes = 0, total = 0;
  void *host = NULL, *huge = NULL;

  begin ("memory");
  t.gpu->info (t.gpu, &free_bytes, &total);
  check_true (free_bytes > 0 && total >= free_bytes, "no memory is reported");
  check_true (t.gpu->alloc (t.gpu, &huge, total + total / 2) == KRN_ERROR_MEMORY && !huge,
              "more memory is given than there is");
  check_true (t.gpu->host_alloc (t.gpu, &host, 1 << 20) == KRN_OK && host, "no host memory");
  t.gpu->host_free (t.gpu, host);
  t.gpu->free_memory (t.gpu, NULL);
}

/* A block of each kind counts, one that was refused does not; and the driver's own figures are
 * such as a GPU has. */
static void
counters (void)
{
  const uint64_t before = krn_allocations (t.gpu);
  size_t free_bytes = 0, total = 0;
  void *device = NULL, *host = NULL, *huge = NULL;
  struct krn_sample s;
  krn_status status;

  begin ("counters");
  t.gpu->info (t.gpu, &free_bytes, &total);
  t.gpu->alloc (t.gpu, &device, 100);
  t.gpu->host_alloc (t.gpu, &host, 100);
  t.gpu->alloc (t.gpu, &huge, total + total / 2);
  check_true (krn_allocations (t.gpu) == before + 2, "allocations are not counted");
  t.gpu->free_memory (t.gpu, device);
  t.gpu->host_free (t.gpu, host);

  status = t.gpu->sample (t.gpu, &s);
  printf ("# sample: %d, %.0f %%, %.0f C, %.1f W, %.0f and %.0f MHz, %lld + %lld of %lld MiB\n",
          status, s.utilisation, s.temperature, s.power, s.sm_clock, s.memory_clock,
          (long long) s.memory_used >> 20, (long long) s.memory_free >> 20,
          (long long) s.memory_total >> 20);
  check_true (status == KRN_OK || status == KRN_ERROR_UNSUPPORTED, "a sample fails");
  if (status == KRN_OK) {
    check_true (s.utilisation >= -1. && s.utilisation <= 100., "no percentage");
    check_true (s.memory_total < 0 || (s.memory_used > 0 && s.memory_used <= s.memory_total),
                "more memory is used than there is");
    check_true (s.power < 0. || (s.power > 1. && s.power < 5000.), "no power of a GPU");
    check_true (s.sm_clock < 0. || (s.sm_clock > 50. && s.sm_clock < 10000.), "no clock of a GPU");
  }
}

static void
events (void)
{
  struct pair x = pair_input (KRN_F32, 1, 1, 64, 256, 0.f), y = x;
  krn_event *a = NULL, *b = NULL;
  krn_stream *other = NULL;
  double elapsed = 0., backwards = 0.;

  begin ("events");
  check_true (t.gpu->event_new (t.gpu, &a) == KRN_OK && t.gpu->event_new (t.gpu, &b) == KRN_OK &&
                  t.gpu->stream_new (t.gpu, &other) == KRN_OK,
              "no events");
  check_true (!t.gpu->event_done (a), "an event is done before it was recorded");
  check_true (t.gpu->event_elapsed (&elapsed, a, b) != KRN_OK, "a time of nothing");
  t.gpu->event_record (t.stream, a);
  for (int i = 0; i < 10; i++)
    t.gpu->silu (t.stream, y.gpu, x.gpu);
  t.gpu->event_record (t.stream, b);
  check_true (t.gpu->event_wait (other, b) == KRN_OK, "a stream cannot wait");
  check_true (t.gpu->stream_sync (other) == KRN_OK, "a stream that waits does not end");
  check_true (t.gpu->event_sync (b) == KRN_OK && t.gpu->event_done (b), "an event is not done");
  check_true (t.gpu->event_elapsed (&elapsed, a, b) == KRN_OK && elapsed > 0., "no time passed");
  check_true (t.gpu->event_elapsed (&backwards, b, a) == KRN_OK && backwards == -elapsed,
              "time does not run backwards");
  t.gpu->event_free (a);
  t.gpu->event_free (b);
  t.gpu->event_free (NULL);
  t.gpu->stream_free (other);
  t.gpu->stream_free (NULL);
  pair_free (&x);
}

/* Twice through everything that adds up: the same bits each time. */
static void
repeats (void)
{
  const struct krn_attention args = {
    .batch = 1, .q_heads = 4, .kv_heads = 2, .head_dim = 64, .scale = 0.125f
  };
  struct pair x = pair_input (KRN_BF16, 1, 20, 20, 256, 0.f);
  struct pair w = pair_input (KRN_BF16, 1, 1, 512, 256, 0.f),
              scale = pair_vector (KRN_BF16, 512, 0.f);
  struct pair y[2], o[2];
  uint16_t *bits[2];

  begin ("the same twice");
  for (int i = 0; i < 2; i++) {
    y[i] = pair_output (KRN_BF16, 1, 20, 20, 512);
    o[i] = pair_output (KRN_BF16, 1, 20, 20, 256);
    bits[i] = malloc (400 * 256 * sizeof *bits[i]);
    t.gpu->linear (t.stream, y[i].gpu, x.gpu, w.gpu, scale.gpu, false);
    t.gpu->group_norm (t.stream, y[i].gpu, y[i].gpu, scale.gpu, scale.gpu, 32, 1e-6f, true);
    t.gpu->attention (t.stream, o[i].gpu, krn_col_view (y[i].gpu, 0, 256),
                      krn_col_view (y[i].gpu, 256, 128), krn_col_view (y[i].gpu, 384, 128), &args);
    check_true (t.gpu->download (t.stream, bits[i], o[i].gpu) == KRN_OK &&
                    t.gpu->stream_sync (t.stream) == KRN_OK,
                "an operation failed");
  }
  check_true (memcmp (bits[0], bits[1], 400 * 256 * sizeof *bits[0]) == 0, "other bits");
  for (int i = 0; i < 2; i++) {
    pair_free (&y[i]);
    pair_free (&o[i]);
    free (bits[i]);
  }
  pair_free (&x);
  pair_free (&w);
  pair_free (&scale);
}

/* What is recorded and launched twice gives the bits that the operations give. */
static void
replays (void)
{
  enum { BYTES = 400 * 512 * 2 };
  struct pair x = pair_input (KRN_BF16, 1, 20, 20, 256, 0.f);
  struct pair w = pair_input (KRN_BF16, 1, 1, 512, 256, 0.f),
              scale = pair_vector (KRN_BF16, 512, 1.f), y = pair_output (KRN_BF16, 1, 20, 20, 512);
  uint16_t *bits[3];
  krn_graph *graph = NULL;

  begin ("a replay's bits");
  for (int i = 0; i < 3; i++) {
    bits[i] = calloc (1, BYTES);
    if (i == 1)
      t.gpu->capture_begin (t.stream);
    if (i < 2) {
      t.gpu->linear (t.stream, y.gpu, x.gpu, w.gpu, scale.gpu, false);
      t.gpu->group_norm (t.stream, y.gpu, y.gpu, scale.gpu, scale.gpu, 32, 1e-6f, true);
      t.gpu->rms_norm (t.stream, y.gpu, y.gpu, scale.gpu, absent.gpu, 1e-5f);
    }
    if (i == 1)
      check_true (t.gpu->capture_end (t.stream, &graph) == KRN_OK, "a capture fails");
    if (graph)
      check_true (t.gpu->graph_launch (t.stream, graph) == KRN_OK, "a launch fails");
    check_true (t.gpu->download (t.stream, bits[i], y.gpu) == KRN_OK &&
                    t.gpu->stream_sync (t.stream) == KRN_OK,
                "a download fails");
  }
  check_true (memcmp (bits[0], bits[1], BYTES) == 0 && memcmp (bits[0], bits[2], BYTES) == 0,
              "other bits");
  t.gpu->graph_free (graph);
  for (int i = 0; i < 3; i++)
    free (bits[i]);
  pair_free (&x);
  pair_free (&w);
  pair_free (&scale);
  pair_free (&y);
}

/* A graph would read host memory when it is launched: what may have moved by then is refused. */
static void
host_memory (void)
{
  static const float numbers[64];
  struct pair y = pair_output (KRN_F32, 1, 1, 1, 64);
  krn_graph *graph = NULL;
  void *host = NULL;
  krn_status status;

  begin ("graphs of uploads");
  t.gpu->host_alloc (t.gpu, &host, sizeof numbers);
  memcpy (host, numbers, sizeof numbers);
  for (int pinned = 0; pinned < 2; pinned++) {
    t.gpu->capture_begin (t.stream);
    status = t.gpu->upload (t.stream, y.gpu, pinned ? host : numbers, KRN_F32);
    if (t.gpu->capture_end (t.stream, &graph) && !status)
      status = KRN_ERROR_UNSUPPORTED;
    t.gpu->graph_free (graph);
    check_true (pinned ? status == KRN_OK : status != KRN_OK,
                pinned ? "pinned memory is refused" : "a graph reads memory that may move");
  }
  t.gpu->host_free (t.gpu, host);
  check_true (t.gpu->stream_sync (t.stream) == KRN_OK, "the stream is broken after a refusal");
  pair_free (&y);
}

/* Recorded once and replayed with other numbers in the same memory. */
static void
graphs (void)
{
  struct pair x = pair_input (KRN_BF16, 1, 1, 40, 64, 0.f);
  struct pair w = pair_input (KRN_BF16, 1, 1, 96, 64, 0.f),
              y = pair_output (KRN_BF16, 1, 1, 40, 96);
  krn_graph *graph = NULL;
  krn_status status;

  begin ("graphs");
  t.gpu->linear (t.stream, y.gpu, x.gpu, w.gpu, absent.gpu, false);
  t.gpu->stream_sync (t.stream);
  check_true (t.gpu->capture_begin (t.stream) == KRN_OK, "a capture cannot begin");
  status = t.gpu->linear (t.stream, y.gpu, x.gpu, w.gpu, absent.gpu, false);
  if (status == KRN_OK)
    status = t.gpu->silu (t.stream, y.gpu, y.gpu);
  check_true (status == KRN_OK, "an operation cannot be captured");
  check_true (t.gpu->capture_end (t.stream, &graph) == KRN_OK && graph, "a capture cannot end");

  for (int i = 0; graph && i < 3; i++) {
    for (int64_t r = 0; r < 40; r++)
      for (int64_t c = 0; c < 64; c++)
        pair_set (&x, r, c, random_float (-1.f, 1.f));
    pair_send (&x);
    status = t.cpu->linear (t.cpu_stream, y.cpu, x.cpu, w.cpu, absent.cpu, false);
    if (status == KRN_OK)
      status = t.cpu->silu (t.cpu_stream, y.cpu, y.cpu);
    check (&y, status, t.gpu->graph_launch (t.stream, graph), BF16_TWICE);
  }
  t.gpu->graph_free (graph);
  t.gpu->graph_free (NULL);
  pair_free (&x);
  pair_free (&w);
  pair_free (&y);
}

void
test_device (void)
{
  t.layout = LAYOUT_PACKED;
  memory ();
  counters ();
  uploads ();
  events ();
  graphs ();
  replays ();
  host_memory ();
  repeats ();
}
