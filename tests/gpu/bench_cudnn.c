/* tests/gpu/bench_cudnn.c - attention of Z-Image-Turbo and the convolutions of the Flux VAE's
 * decoder at 1024 x 1024, with cuDNN and with our own kernels side by side.
 *
 * The device of the test has cuDNN, where it is there; one more is opened without it.  Inputs are
 * random: zeros flatter.  The first call is timed by itself: it may build a plan. */
#include "tests/gpu/gpu_pair.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WARM = 2, SAMPLES = 7, PICTURE = 1024 };

/* Elements of each part of the memory, which all operations share: a picture of 2048^2 by 256.  The
 * inputs repeat so many random numbers, a count that no size is a multiple of. */
enum { ELEMENTS = 1 << 30, RANDOM = 1000003 };

/* Written are first and second, by cuDNN and by our own kernels. */
struct memory {
  void *first, *second, *x, *w;
};

/* A device and what it writes. */
struct side {
  struct krn_device *device;
  krn_stream *stream;
  void *y;
  double first, median; /* ms */
  krn_status status;
};

struct timed {
  char name[64];
  int count; /* in a picture */
  krn_status (*run) (const struct timed *self, const struct side *side);
  krn_tensor y, x, w; /* y's memory is the side's */
  struct krn_attention attention;
  struct krn_conv conv;
  bool add;
  double flops;
};

static double
milliseconds (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (double) now.tv_sec * 1e3 + (double) now.tv_nsec * 1e-6;
}

static int
compare (const void *a, const void *b)
{
  const double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

static krn_status
run_attention (const struct timed *self, const struct side *side)
{
  const int64_t width = (int64_t) self->attention.q_heads * self->attention.head_dim;
  const int64_t kv = (int64_t) self->attention.kv_heads * self->attention.head_dim;
  krn_tensor y = self->y;

  y.data = side->y;
  return side->device->attention (side->stream, y, krn_col_view (self->x, 0, width),
                                  krn_col_view (self->x, width, kv),
                                  krn_col_view (self->x, width + kv, kv), &self->attention);
}

static krn_status
run_conv (const struct timed *self, const struct side *side)
{
  const krn_tensor bias = krn_tensor_make (self->w.data, KRN_BF16, 1, 1, 1, self->y.dim[3]);
  struct krn_conv args = self->conv;
  krn_tensor y = self->y;

  y.data = side->y;
  if (self->add) {
    args.add = self->y; /* of the same shape; the numbers do not matter */
    args.add.data = self->x.data;
  }
  return side->device->conv2d (side->stream, y, self->x, self->w, bias, &args);
}

static void
measure (const struct timed *self, struct side *side)
{
  const struct krn_device *device = side->device;
  double times[SAMPLES], start = milliseconds ();
  krn_event *a = NULL, *b = NULL;

  side->status = self->run (self, side);
  device->stream_sync (side->stream);
  side->first = milliseconds () - start;
  device->event_new (side->device, &a);
  device->event_new (side->device, &b);
  for (int i = 0; i < WARM + SAMPLES && side->status == KRN_OK; i++) {
    device->event_record (side->stream, a);
    side->status = self->run (self, side);
    device->event_record (side->stream, b);
    device->event_sync (b);
    if (i >= WARM)
      device->event_elapsed (&times[i - WARM], a, b);
  }
  device->event_free (a);
  device->event_free (b);
  qsort (times, SAMPLES, sizeof *times, compare);
  side->median = times[SAMPLES / 2];
}

/* The largest difference among the first and the last numbers, relative to the number and their
 * root mean square. */
static double
difference (const struct timed *self, const struct side *a, const struct side *b)
{
  enum { MOST = 1 << 21 };
  const int64_t count = krn_count (self->y), n = count < MOST ? count : MOST;
  uint16_t *x = malloc ((size_t) n * 2), *y = malloc ((size_t) n * 2);
  double worst = 0.;

  for (int end = 0; x && y && end < 2; end++) {
    const size_t skip = end ? (size_t) (count - n) * 2 : 0;
    double squares = 0., rms;

    t.gpu->download (t.stream, x, krn_tensor_make ((char *) a->y + skip, KRN_BF16, 1, 1, 1, n));
    t.gpu->download (t.stream, y, krn_tensor_make ((char *) b->y + skip, KRN_BF16, 1, 1, 1, n));
    t.gpu->stream_sync (t.stream);
    for (int64_t i = 0; i < n; i++)
      squares += (double) float_from_bf16 (x[i]) * (double) float_from_bf16 (x[i]);
    rms = sqrt (squares / (double) n);
    for (int64_t i = 0; i < n; i++) {
      const double one = float_from_bf16 (x[i]), other = float_from_bf16 (y[i]);
      const double error = fabs (one - other) / (fabs (one) + rms + 1e-30);

      worst = error <= worst ? worst : error;
    }
  }
  free (x);
  free (y);
  return worst;
}

/* ms of all that were reported, times their counts. */
static double total_cudnn, total_own, total_best;

static void
report (const struct timed *self, struct side *cudnn, struct side *own)
{
  measure (self, cudnn);
  measure (self, own);
  if (cudnn->status || own->status) {
    printf ("%-36s %s / %s\n", self->name, t.gpu->status_text (t.gpu, cudnn->status),
            t.gpu->status_text (t.gpu, own->status));
    return;
  }
  printf ("%-36s %2d x  %8.3f ms %6.1f TFLOP/s (first %7.1f)   own %8.3f ms %6.1f   differ %.4f\n",
          self->name, self->count, cudnn->median, self->flops / cudnn->median * 1e-9, cudnn->first,
          own->median, self->flops / own->median * 1e-9, difference (self, cudnn, own));
  fflush (stdout);
  total_cudnn += self->count * cudnn->median;
  total_own += self->count * own->median;
  total_best += self->count * (own->median < cudnn->median ? own->median : cudnn->median);
}

static void
print_totals (const char *of)
{
  printf ("%s: %.2f ms, own %.2f ms, the better of each %.2f ms\n", of, total_cudnn, total_own,
          total_best);
  total_cudnn = total_own = total_best = 0.;
}

static void
bench_attention (const struct memory *m, struct side *cudnn, struct side *own, int64_t tokens,
                 struct krn_attention args)
{
  const int64_t width = (int64_t) args.q_heads * args.head_dim;
  const int64_t kv = (int64_t) args.kv_heads * args.head_dim;
  struct timed timed = { .count = 1, .run = run_attention, .attention = args };

  snprintf (timed.name, sizeof timed.name, "attention %d, %d/%d heads of %d%s", (int) tokens,
            args.q_heads, args.kv_heads, args.head_dim, args.causal ? ", causal" : "");
  timed.attention.batch = 1;
  timed.attention.scale = 0.1f;
  timed.y = krn_tensor_make (NULL, KRN_BF16, 1, 1, tokens, width);
  timed.x = krn_tensor_make (m->x, KRN_BF16, 1, 1, tokens, width + 2 * kv);
  timed.flops = (args.causal ? 2. : 4.) * (double) tokens * (double) tokens * (double) width;
  report (&timed, cudnn, own);
}

static void
bench_attentions (const struct memory *m, struct side *cudnn, struct side *own)
{
  static const int tokens[] = { 4160, 4096, 1088, 2368, 16448, 64, 96, 128, 256, 512 };
  const struct krn_attention heads = { .q_heads = 30, .kv_heads = 30, .head_dim = 128 };
  const struct krn_attention text = {
    .q_heads = 32, .kv_heads = 8, .head_dim = 128, .causal = true
  };
  const struct krn_attention middle = { .q_heads = 1, .kv_heads = 1, .head_dim = 512 };
  const struct krn_attention small = { .q_heads = 8, .kv_heads = 8, .head_dim = 40 };

  for (int i = 0; i < (int) (sizeof tokens / sizeof *tokens); i++)
    bench_attention (m, cudnn, own, tokens[i], heads);
  bench_attention (m, cudnn, own, 64, text);
  bench_attention (m, cudnn, own, 128, text);
  bench_attention (m, cudnn, own, 512, text);
  bench_attention (m, cudnn, own, 4096, small);
  total_cudnn = total_own = total_best = 0.;
  bench_attention (m, cudnn, own, (PICTURE / 8) * (PICTURE / 8), middle);
}

/* size: 3 or 1; kinds of the struct below. */
enum { PLAIN, ADD, UPSAMPLE };

struct shape {
  int side, in, out, size, kind, count;
};

static void
bench_conv (const struct memory *m, struct side *cudnn, struct side *own, const struct shape *s)
{
  const int64_t to = s->kind == UPSAMPLE ? 2 * s->side : s->side;
  struct timed timed = { .count = s->count, .run = run_conv, .add = s->kind == ADD };

  snprintf (timed.name, sizeof timed.name, "conv %dx%d %d^2%s %d -> %d%s", s->size, s->size,
            s->side, s->kind == UPSAMPLE ? " doubled" : "", s->in, s->out,
            s->kind == ADD ? " + add" : "");
  timed.conv.stride = 1;
  timed.conv.pad_before = timed.conv.pad_after = s->size / 2;
  timed.conv.upsample = s->kind == UPSAMPLE;
  timed.y = krn_tensor_make (NULL, KRN_BF16, 1, to, to, s->out);
  timed.x = krn_tensor_make (m->x, KRN_BF16, 1, s->side, s->side, s->in);
  timed.w = krn_tensor_make (m->w, KRN_BF16, s->out, s->size, s->size, s->in);
  timed.flops = 2. * (double) (to * to) * s->in * s->out * s->size * s->size;
  report (&timed, cudnn, own);
}

/* Of a picture of 2048 x 2048: past 2^31 bytes. */
static void
bench_large (const struct memory *m, struct side *cudnn, struct side *own)
{
  static const struct shape shapes[] = {
    { 1024, 256, 256, 3, UPSAMPLE, 1 },
    { 2048, 256, 128, 3, PLAIN, 1 },
    { 2048, 128, 128, 3, ADD, 3 },
    { 2048, 128, 3, 3, PLAIN, 1 },
  };

  for (int i = 0; i < (int) (sizeof shapes / sizeof *shapes); i++)
    bench_conv (m, cudnn, own, &shapes[i]);
}

/* In the order of the decoder. */
static void
bench_convs (const struct memory *m, struct side *cudnn, struct side *own)
{
  static const struct shape shapes[] = {
    { 128, 16, 512, 3, PLAIN, 1 },     { 128, 512, 512, 3, PLAIN, 5 },
    { 128, 512, 512, 3, ADD, 5 },      { 128, 512, 512, 3, UPSAMPLE, 1 },
    { 256, 512, 512, 3, PLAIN, 3 },    { 256, 512, 512, 3, ADD, 3 },
    { 256, 512, 512, 3, UPSAMPLE, 1 }, { 512, 512, 256, 3, PLAIN, 1 },
    { 512, 512, 256, 1, PLAIN, 1 },    { 512, 256, 256, 3, PLAIN, 2 },
    { 512, 256, 256, 3, ADD, 3 },      { 512, 256, 256, 3, UPSAMPLE, 1 },
    { 1024, 256, 128, 3, PLAIN, 1 },   { 1024, 256, 128, 1, PLAIN, 1 },
    { 1024, 128, 128, 3, PLAIN, 2 },   { 1024, 128, 128, 3, ADD, 3 },
    { 1024, 128, 3, 3, PLAIN, 1 },
  };

  for (int i = 0; i < (int) (sizeof shapes / sizeof *shapes); i++)
    bench_conv (m, cudnn, own, &shapes[i]);
  print_totals ("VAE decode 1024^2, middle attention and convolutions");
}

static krn_status
memory_make (struct memory *m)
{
  uint16_t *numbers = malloc (RANDOM * sizeof *numbers);
  void **const parts[] = { &m->first, &m->second, &m->x, &m->w };
  krn_status status = numbers ? KRN_OK : KRN_ERROR_MEMORY;

  for (int i = 0; numbers && i < RANDOM; i++)
    numbers[i] = bf16_from_float (random_float (-1.f, 1.f));
  for (int i = 0; i < 4 && status == KRN_OK; i++)
    status = t.gpu->alloc (t.gpu, parts[i], ELEMENTS * sizeof *numbers);
  for (int i = 2; i < 4; i++)
    for (int64_t at = 0; at < ELEMENTS && status == KRN_OK; at += RANDOM) {
      const int64_t n = ELEMENTS - at < RANDOM ? ELEMENTS - at : RANDOM;

      status = t.gpu->upload (t.stream,
                              krn_tensor_make ((uint16_t *) *parts[i] + at, KRN_BF16, 1, 1, 1, n),
                              numbers, KRN_BF16);
    }
  t.gpu->stream_sync (t.stream);
  free (numbers);
  return status;
}

void
bench_cudnn (void)
{
  struct memory m = { 0 };
  struct side cudnn = { .device = t.gpu, .stream = t.stream }, own = { 0 };
  char reason[256];
  krn_status status;

  setenv ("SAFELIGHT_CUDNN", "none", 1);
  status = t.open_gpu (&own.device, reason, sizeof reason);
  if (status == KRN_OK)
    status = own.device->stream_new (own.device, &own.stream);
  if (status == KRN_OK)
    status = memory_make (&m);
  cudnn.y = m.first;
  own.y = m.second;
  if (status == KRN_OK) {
    bench_attentions (&m, &cudnn, &own);
    bench_convs (&m, &cudnn, &own);
    bench_large (&m, &cudnn, &own);
  } else {
    printf ("bench: %s\n", t.gpu->status_text (t.gpu, status));
  }
  t.gpu->free_memory (t.gpu, m.first);
  t.gpu->free_memory (t.gpu, m.second);
  t.gpu->free_memory (t.gpu, m.x);
  t.gpu->free_memory (t.gpu, m.w);
  if (own.device) {
    own.device->stream_free (own.stream);
    own.device->close (own.device);
  }
}
