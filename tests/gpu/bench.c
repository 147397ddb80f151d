#include "tests/gpu/gpu_pair.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Times on the GPU at the sizes of Z-Image-Turbo: 4160 tokens are a picture of 1024 x 1024 with 64
 * tokens of text.  Inputs are random: zeros flatter.  What moves memory takes other buffers each
 * time, for what is found in the cache flatters, too. */

enum { TOKENS = 4160, DIM = 3840, HEADS = 30, WIDE = 10240, WARM = 3, SAMPLES = 11 };

/* Uploaded once, the start of every input; the largest is a picture of 1024^2 by 256.  RANDOM of
 * them are drawn, then they repeat. */
enum {
  INPUT = 1 << 28,
  RANDOM = 1000003,
  TURNS = 3,
  TURN = INPUT / TURNS / 1024 * 1024,
  AHEAD = 1 << 26
};

struct tensors {
  krn_tensor y, x, w, b, scale, rope;
};

/* What is timed: an operation on these tensors. */
struct timed {
  const char *name;
  krn_status (*run) (const struct timed *self);
  struct tensors at;
  double flops, bytes;
  bool turns;  /* tensors of up to TURN elements, in other memory each time */
  int repeats; /* between two events; 0: one.  What an event takes is several microseconds */
};

static krn_status
run_copy (const struct timed *self)
{
  return t.gpu->copy (t.stream, self->at.y, self->at.x);
}

/* Bytes a millisecond of a large copy, which is run first. */
static double copy_rate;

static int
compare (const void *a, const void *b)
{
  const double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

static void
turn (krn_tensor *tensor, int i)
{
  if (tensor->data && krn_count (*tensor) > DIM)
    tensor->data = (uint16_t *) tensor->data + (size_t) (i % TURNS) * TURN;
}

/* What is timed is enqueued while this is still busy: else a short kernel's time is that of its
 * launch.  It leaves nothing of the inputs in the cache, either. */
static struct timed ahead;

static krn_status
run_repeats (const struct timed *timed, int first)
{
  krn_status status = KRN_OK;

  for (int i = 0; i < (timed->repeats ? timed->repeats : 1) && status == KRN_OK; i++) {
    struct timed self = *timed;

    if (self.turns) {
      turn (&self.at.y, first + i);
      turn (&self.at.x, first + i);
      turn (&self.at.w, first + i);
    }
    status = self.run (&self);
  }
  return status;
}

/* Repeats are launched as a graph.  Times are sorted. */
static krn_status
measure (double times[SAMPLES], const struct timed *timed)
{
  krn_event *a = NULL, *b = NULL;
  krn_graph *graph = NULL;
  krn_status status = run_repeats (timed, 0);

  if (status == KRN_OK && timed->repeats) {
    t.gpu->capture_begin (t.stream);
    run_repeats (timed, 1);
    status = t.gpu->capture_end (t.stream, &graph);
  }
  t.gpu->event_new (t.gpu, &a);
  t.gpu->event_new (t.gpu, &b);
  for (int i = 0; i < WARM + SAMPLES && status == KRN_OK; i++) {
    ahead.run (&ahead);
    t.gpu->event_record (t.stream, a);
    status = graph ? t.gpu->graph_launch (t.stream, graph) : run_repeats (timed, i);
    t.gpu->event_record (t.stream, b);
    t.gpu->event_sync (b);
    if (i >= WARM)
      t.gpu->event_elapsed (&times[i - WARM], a, b);
    if (i >= WARM && timed->repeats)
      times[i - WARM] /= timed->repeats;
  }
  t.gpu->graph_free (graph);
  t.gpu->event_free (a);
  t.gpu->event_free (b);
  qsort (times, SAMPLES, sizeof *times, compare);
  return status;
}

/* The median in milliseconds; 0: it failed. */
static double
report (const struct timed *self)
{
  double times[SAMPLES], median;
  const krn_status status = measure (times, self);

  if (status) {
    printf ("%-34s %s\n", self->name, t.gpu->status_text (t.gpu, status));
    return 0.;
  }
  median = times[SAMPLES / 2];
  printf ("%-34s %8.4f ms (%.4f to %.4f)", self->name, median, times[0], times[SAMPLES - 1]);
  if (self->flops > 0.)
    printf ("  %6.1f TFLOP/s", self->flops / median * 1e-9);
  if (self->bytes > 0.)
    printf ("  %5.2f TB/s", self->bytes / median * 1e-9);
  if (self->bytes > 0. && copy_rate > 0.)
    printf ("  %3.0f %% of a copy", 100. * self->bytes / median / copy_rate);
  printf ("\n");
  fflush (stdout);
  return median;
}

static krn_status
run_linear (const struct timed *self)
{
  return t.gpu->linear (t.stream, self->at.y, self->at.x, self->at.w, absent.gpu, false);
}

static krn_status
run_group_norm (const struct timed *self)
{
  return t.gpu->group_norm (t.stream, self->at.y, self->at.x, self->at.b, self->at.b, 32, 1e-6f,
                            true);
}

static krn_status
run_rms_norm (const struct timed *self)
{
  return t.gpu->rms_norm (t.stream, self->at.y, self->at.x, self->at.b, self->at.scale, 1e-5f);
}

static krn_status
run_layer_norm (const struct timed *self)
{
  return t.gpu->layer_norm (t.stream, self->at.y, self->at.x, self->at.scale, 1e-6f);
}

static krn_status
run_residual_norm (const struct timed *self)
{
  const struct krn_residual_norm args = { self->at.y, self->at.x, self->at.b,     self->at.scale,
                                          self->at.w, self->at.b, self->at.scale, 1e-5f };

  return t.gpu->residual_norm (t.stream, &args);
}

static krn_status
run_rope (const struct timed *self)
{
  const struct krn_qk_norm_rope args = { self->at.y, self->at.b, self->at.b, self->at.rope,
                                         HEADS,      HEADS,      128,        KRN_ROPE_INTERLEAVED,
                                         1e-5f };

  return t.gpu->qk_norm_rope (t.stream, &args);
}

static krn_status
run_silu_gate (const struct timed *self)
{
  return t.gpu->silu_gate (t.stream, self->at.y, self->at.x);
}

static krn_status
run_patchify (const struct timed *self)
{
  return t.gpu->patchify (t.stream, self->at.y, self->at.x, 2);
}

static krn_status
run_sampler_step (const struct timed *self)
{
  const struct krn_sampler_step args = {
    .pos = self->at.w, .coefs = self->at.b, .x = self->at.x, .denoised = self->at.y, .patch = 2
  };

  return t.gpu->sampler_step (t.stream, &args);
}

static krn_status
run_image_rgba (const struct timed *self)
{
  return t.gpu->image_rgba (t.stream, self->at.y, self->at.x);
}

static krn_tensor
matrix (void *data, int64_t rows, int64_t cols)
{
  return krn_tensor_make (data, KRN_BF16, 1, 1, rows, cols);
}

/* The memory of all, and a device that met the products first in a capture, where nothing can be
 * timed: it takes what cuBLASLt's own rule puts first. */
struct bench {
  void *y, *x, *w;
  void *spare; /* AHEAD elements, twice */
  krn_tensor scale, rope;
  struct krn_device *untimed;
  krn_stream *stream;
};

/* t's own device and the other by turns.  The medians, in ms. */
static krn_status
measure_both (const struct bench *bench, const struct timed *timed, double medians[2])
{
  struct krn_device *const own = t.gpu;
  krn_stream *const stream = t.stream;
  double times[2][2 * SAMPLES];
  krn_status status = KRN_OK;

  for (int i = 0; i < 4 && status == KRN_OK; i++) {
    const int other = i == 1 || i == 2; /* ABBA */

    t.gpu = other ? bench->untimed : own;
    t.stream = other ? bench->stream : stream;
    status = measure (times[other] + i / 2 * SAMPLES, timed);
  }
  t.gpu = own;
  t.stream = stream;
  for (int i = 0; i < 2; i++) {
    qsort (times[i], (size_t) 2 * SAMPLES, sizeof (double), compare);
    medians[i] = times[i][SAMPLES];
  }
  return status;
}

static void
bench_linear (const struct bench *bench, int64_t rows, int64_t in, int64_t out)
{
  const struct timed timed = {
    .run = run_linear,
    .at = { .y = matrix (bench->y, rows, out),
            .x = matrix (bench->x, rows, in),
            .w = matrix (bench->w, out, in) },
    .turns = rows * out <= TURN && rows * in <= TURN && in * out <= TURN,
    .repeats = rows * in * out < (int64_t) 1 << 35 ? 9 : 0,
  };
  const double flops = 2. * (double) (rows * in) * (double) out;
  const double bytes = 2. * (double) (rows * in + in * out + rows * out);
  krn_graph *graph = NULL;
  krn_status status;
  double medians[2];

  status = bench->untimed->capture_begin (bench->stream);
  for (int i = 0; i < TURNS && status == KRN_OK; i++) {
    struct tensors at = timed.at;

    if (timed.turns && i > 0) {
      turn (&at.y, i);
      turn (&at.x, i);
      turn (&at.w, i);
    }
    status = bench->untimed->linear (bench->stream, at.y, at.x, at.w, absent.gpu, false);
  }
  bench->untimed->capture_end (bench->stream, &graph);
  bench->untimed->graph_free (graph);
  if (status == KRN_OK)
    status = measure_both (bench, &timed, medians);
  if (status)
    printf ("linear %d, %d -> %d: %s\n", (int) rows, (int) in, (int) out,
            t.gpu->status_text (t.gpu, status));
  else
    printf ("linear %5d, %5d -> %5d  timed %8.4f ms %6.1f TFLOP/s %5.2f TB/s  first %8.4f ms"
            "  x%.3f\n",
            (int) rows, (int) in, (int) out, medians[0], flops / medians[0] * 1e-9,
            bytes / medians[0] * 1e-9, medians[1], medians[1] / medians[0]);
  fflush (stdout);
}

static void
bench_linears (const struct bench *bench)
{
  static const int rows[] = { TOKENS, 4096, 1088 };

  bench_linear (bench, 8192, 8192, 8192);
  for (int i = 0; i < 3; i++) {
    bench_linear (bench, rows[i], DIM, 3 * DIM);
    bench_linear (bench, rows[i], DIM, DIM);
    bench_linear (bench, rows[i], DIM, 2 * WIDE);
    bench_linear (bench, rows[i], WIDE, DIM);
  }
  bench_linear (bench, 96, 2560, 6144); /* the text encoder */
  bench_linear (bench, 96, 4096, 2560);
  bench_linear (bench, 96, 2560, 19456);
  bench_linear (bench, 96, 9728, 2560);
  bench_linear (bench, 4096, 64, DIM); /* the first and the last of a forward */
  bench_linear (bench, 4096, DIM, 64);
}

static void
bench_group_norm (const struct bench *bench, const char *name, int64_t side, int64_t c)
{
  report (&(struct timed){ name, run_group_norm,
                           .at = { .y = krn_tensor_make (bench->y, KRN_BF16, 1, side, side, c),
                                   .x = krn_tensor_make (bench->x, KRN_BF16, 1, side, side, c),
                                   .b = matrix (bench->w, 1, c) },
                           .bytes = 6. * (double) (side * side * c),
                           .repeats = side < 256 ? 9 : 0 });
}

static void
bench_rows (const struct bench *bench)
{
  const double row = 2. * TOKENS * DIM; /* bytes of [tokens, dim] */
  const struct tensors at = { .y = matrix (bench->y, TOKENS, DIM),
                              .x = matrix (bench->x, TOKENS, DIM),
                              .b = matrix (bench->w, 1, DIM),
                              .w = matrix (bench->w, TOKENS, DIM),
                              .scale = bench->scale };
  struct timed rope = { "qk_norm_rope", run_rope, .bytes = 4 * row, .turns = true, .repeats = 9 };
  struct timed gate = { "silu_gate", run_silu_gate, .bytes = 6. * TOKENS * WIDE, .turns = true,
                        .repeats = 9 };
  double residual, rotation, gating;

  report (&(struct timed){ "rms_norm * scale", run_rms_norm, at, .bytes = 2 * row, .turns = true,
                           .repeats = 9 });
  report (&(struct timed){ "layer_norm", run_layer_norm, at, .bytes = 2 * row, .turns = true,
                           .repeats = 9 });
  residual = report (&(struct timed){ "residual_norm", run_residual_norm, at, .bytes = 4 * row,
                                      .turns = true, .repeats = 9 });
  rope.at = (struct tensors){ .y = matrix (bench->y, TOKENS, 3 * DIM),
                              .b = matrix (bench->w, 1, 128),
                              .rope = bench->rope };
  rotation = report (&rope);
  gate.at = (struct tensors){ .y = matrix (bench->y, TOKENS, WIDE),
                              .x = matrix (bench->x, TOKENS, 2 * WIDE) };
  gating = report (&gate);
  printf ("element-wise of a forward at 1024: %.2f ms (32 blocks: 2 residual_norm, qk_norm_rope, "
          "silu_gate)\n",
          32. * (2. * residual + rotation + gating));
}

static void
bench_pictures (const struct bench *bench)
{
  const krn_tensor latent = krn_tensor_make (bench->x, KRN_F32, 1, 16, 128, 128);
  const krn_tensor tokens = matrix (bench->w, 4096, 64);
  krn_tensor denoised = latent, coefs = bench->scale;

  bench_group_norm (bench, "group_norm + silu, 1024^2 x 128", 1024, 128);
  bench_group_norm (bench, "group_norm + silu, 1024^2 x 256", 1024, 256);
  bench_group_norm (bench, "group_norm + silu, 512^2 x 512", 512, 512);
  bench_group_norm (bench, "group_norm + silu, 256^2 x 512", 256, 512);
  bench_group_norm (bench, "group_norm + silu, 128^2 x 512", 128, 512);
  denoised.data = bench->y;
  coefs.dim[3] = coefs.stride = KRN_STEP_COEFS;
  report (&(struct timed){ "patchify, 128^2 x 16", run_patchify,
                           .at = { .y = matrix (bench->y, 4096, 64), .x = latent },
                           .bytes = 6. * 16 * 128 * 128, .repeats = 9 });
  report (&(struct timed){ "sampler_step, 128^2 x 16", run_sampler_step,
                           .at = { .y = denoised, .x = latent, .w = tokens, .b = coefs },
                           .bytes = 14. * 16 * 128 * 128, .repeats = 9 });
  report (&(struct timed){ "image_rgba, 1024^2", run_image_rgba,
                           .at = { .y = krn_tensor_make (bench->y, KRN_U8, 1, 1024, 1024, 4),
                                   .x = krn_tensor_make (bench->x, KRN_BF16, 1, 1024, 1024, 3) },
                           .bytes = 10. * 1024 * 1024, .repeats = 9 });
}

static krn_status
bench_make (struct bench *bench)
{
  uint16_t *numbers = malloc (INPUT * sizeof *numbers);
  void **const parts[] = { &bench->y, &bench->x, &bench->w };
  char reason[256];
  krn_status status =
      numbers ? t.open_gpu (&bench->untimed, reason, sizeof reason) : KRN_ERROR_MEMORY;

  for (int i = 0; numbers && i < INPUT; i++)
    numbers[i] = i < RANDOM ? bf16_from_float (random_float (-1.f, 1.f)) : numbers[i - RANDOM];
  if (status == KRN_OK)
    status = bench->untimed->stream_new (bench->untimed, &bench->stream);
  for (int i = 0; i < 3 && status == KRN_OK; i++)
    status = t.gpu->alloc (t.gpu, parts[i], INPUT * sizeof *numbers);
  if (status == KRN_OK)
    status = t.gpu->alloc (t.gpu, &bench->spare, 2 * AHEAD * sizeof *numbers);
  bench->scale = krn_tensor_make (NULL, KRN_F32, 1, 1, 1, DIM);
  bench->rope = krn_tensor_make (NULL, KRN_F32, 1, 1, TOKENS, 128);
  if (status == KRN_OK)
    status = t.gpu->alloc (t.gpu, &bench->scale.data,
                           (size_t) krn_count (bench->scale) * sizeof (float));
  if (status == KRN_OK)
    status =
        t.gpu->alloc (t.gpu, &bench->rope.data, (size_t) krn_count (bench->rope) * sizeof (float));
  for (int i = 0; i < 3 && status == KRN_OK; i++)
    status = t.gpu->upload (t.stream, matrix (*parts[i], 1, INPUT), numbers, KRN_BF16);
  if (status == KRN_OK)
    status = t.gpu->upload (t.stream, bench->scale, numbers, KRN_BF16);
  if (status == KRN_OK)
    status = t.gpu->upload (t.stream, bench->rope, numbers, KRN_BF16);
  if (status == KRN_OK)
    status = t.gpu->stream_sync (t.stream);
  free (numbers);
  return status;
}

void
bench (void)
{
  struct bench bench = { 0 };
  const krn_status status = bench_make (&bench);
  double copy;

  if (status == KRN_OK) {
    ahead.run = run_copy;
    ahead.at.y = matrix (bench.spare, 1, AHEAD);
    ahead.at.x = matrix ((uint16_t *) bench.spare + AHEAD, 1, AHEAD);
    copy = report (
        &(struct timed){ "copy", run_copy,
                         .at = { .y = matrix (bench.y, 1, INPUT), .x = matrix (bench.x, 1, INPUT) },
                         .bytes = 4. * INPUT });
    copy_rate = copy > 0. ? 4. * INPUT / copy : 0.;
    bench_rows (&bench);
    bench_pictures (&bench);
    bench_linears (&bench);
  } else {
    printf ("bench: %s\n", t.gpu->status_text (t.gpu, status));
  }
  if (bench.untimed) {
    bench.untimed->stream_free (bench.stream);
    bench.untimed->close (bench.untimed);
  }
  t.gpu->free_memory (t.gpu, bench.y);
  t.gpu->free_memory (t.gpu, bench.x);
  t.gpu->free_memory (t.gpu, bench.w);
  t.gpu->free_memory (t.gpu, bench.spare);
  t.gpu->free_memory (t.gpu, bench.scale.data);
  t.gpu->free_memory (t.gpu, bench.rope.data);
}
