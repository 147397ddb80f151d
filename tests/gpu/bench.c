#include "tests/gpu/gpu_pair.h"

#include <stdio.h>
#include <stdlib.h>

/* Times on the GPU at the sizes of Z-Image-Turbo: 4160 tokens are a picture of 1024 x 1024 with 64
 * tokens of text.  Inputs are random: zeros flatter. */

enum { TOKENS = 4160, DIM = 3840, HEADS = 30, WIDE = 10240, WARM = 3, SAMPLES = 11 };

/* Uploaded once, the start of every input; the largest is a picture of 1024^2 by 256. */
enum { INPUT = 1 << 28 };

struct tensors {
  krn_tensor y, x, w, b, scale, rope;
};

/* What is timed: an operation on these tensors. */
struct timed {
  const char *name;
  krn_status (*run) (const struct timed *self);
  struct tensors at;
  struct krn_attention attention;
  struct krn_conv conv;
  double flops, bytes;
};

static int
compare (const void *a, const void *b)
{
  const double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

static void
report (const struct timed *self)
{
  double times[SAMPLES];
  krn_event *a, *b;
  krn_status status = KRN_OK;

  if (t.gpu->event_new (t.gpu, &a) || t.gpu->event_new (t.gpu, &b))
    return;
  for (int i = 0; i < WARM + SAMPLES && status == KRN_OK; i++) {
    t.gpu->event_record (t.stream, a);
    status = self->run (self);
    t.gpu->event_record (t.stream, b);
    t.gpu->event_sync (b);
    if (i >= WARM)
      t.gpu->event_elapsed (&times[i - WARM], a, b);
  }
  t.gpu->event_free (a);
  t.gpu->event_free (b);
  if (status) {
    printf ("%-34s %s\n", self->name, t.gpu->status_text (t.gpu, status));
    return;
  }
  qsort (times, SAMPLES, sizeof *times, compare);
  printf ("%-34s %9.3f ms (%.3f to %.3f)", self->name, times[SAMPLES / 2], times[0],
          times[SAMPLES - 1]);
  if (self->flops > 0.)
    printf ("  %7.1f TFLOP/s", self->flops / times[SAMPLES / 2] * 1e-9);
  if (self->bytes > 0.)
    printf ("  %7.2f TB/s", self->bytes / times[SAMPLES / 2] * 1e-9);
  printf ("\n");
}

static krn_status
run_linear (const struct timed *self)
{
  return t.gpu->linear (t.stream, self->at.y, self->at.x, self->at.w, absent.gpu, false);
}

static krn_status
run_attention (const struct timed *self)
{
  const int64_t width = (int64_t) self->attention.q_heads * self->attention.head_dim;

  return t.gpu->attention (t.stream, self->at.y, krn_col_view (self->at.x, 0, width),
                           krn_col_view (self->at.x, width, width),
                           krn_col_view (self->at.x, 2 * width, width), &self->attention);
}

static krn_status
run_conv (const struct timed *self)
{
  return t.gpu->conv2d (t.stream, self->at.y, self->at.x, self->at.w, self->at.b, &self->conv);
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
run_copy (const struct timed *self)
{
  return t.gpu->copy (t.stream, self->at.y, self->at.x);
}

static krn_tensor
matrix (void *data, int64_t rows, int64_t cols)
{
  return krn_tensor_make (data, KRN_BF16, 1, 1, rows, cols);
}

static void
bench_linear (void *y, void *x, void *w, const char *name, int64_t in, int64_t out)
{
  report (&(struct timed){
      .name = name,
      .run = run_linear,
      .at = { .y = matrix (y, TOKENS, out), .x = matrix (x, TOKENS, in), .w = matrix (w, out, in) },
      .flops = 2. * TOKENS * (double) in * (double) out });
}

static void
bench_attention (void *y, void *x, const char *name, int tokens, int heads, int width)
{
  const int64_t cols = (int64_t) heads * width;

  report (
      &(struct timed){ .name = name,
                       .run = run_attention,
                       .at = { .y = matrix (y, tokens, cols), .x = matrix (x, tokens, 3 * cols) },
                       .attention = { .batch = 1,
                                      .q_heads = heads,
                                      .kv_heads = heads,
                                      .head_dim = width,
                                      .scale = 0.1f },
                       .flops = 4. * tokens * (double) tokens * (double) cols });
}

static void
bench_conv (void *y, void *x, void *w, const char *name, int side, int in, int out, bool upsample)
{
  const int64_t to = upsample ? 2 * side : side;

  report (&(struct timed){
      .name = name,
      .run = run_conv,
      .at = { .y = krn_tensor_make (y, KRN_BF16, 1, to, to, out),
              .x = krn_tensor_make (x, KRN_BF16, 1, side, side, in),
              .w = krn_tensor_make (w, KRN_BF16, out, 3, 3, in),
              .b = matrix (w, 1, out) },
      .conv = { .stride = 1, .pad_before = 1, .pad_after = 1, .upsample = upsample },
      .flops = 18. * (double) (to * to) * in * out });
}

static void
bench_rows (void *y, void *x, void *w, krn_tensor scale, krn_tensor rope)
{
  const double row = 2. * TOKENS * DIM; /* bytes of [tokens, dim] */
  const struct tensors at = { .y = matrix (y, TOKENS, DIM),
                              .x = matrix (x, TOKENS, DIM),
                              .b = matrix (w, 1, DIM),
                              .w = matrix (w, TOKENS, DIM),
                              .scale = scale };

  report (&(struct timed){ "rms_norm * scale", run_rms_norm, .at = at, .bytes = 2 * row });
  report (&(struct timed){ "residual_norm", run_residual_norm, .at = at, .bytes = 4 * row });
  report (&(struct timed){
      "qk_norm_rope", run_rope,
      .at = { .y = matrix (y, TOKENS, 3 * DIM), .b = matrix (w, 1, 128), .rope = rope },
      .bytes = 4 * row });
  report (
      &(struct timed){ "silu_gate", run_silu_gate,
                       .at = { .y = matrix (y, TOKENS, WIDE), .x = matrix (x, TOKENS, 2 * WIDE) },
                       .bytes = 6. * TOKENS * WIDE });
  report (&(struct timed){ "group_norm + silu, 1024^2 x 128", run_group_norm,
                           .at = { .y = krn_tensor_make (y, KRN_BF16, 1, 1024, 1024, 128),
                                   .x = krn_tensor_make (x, KRN_BF16, 1, 1024, 1024, 128),
                                   .b = matrix (w, 1, 128) },
                           .bytes = 6. * 1024 * 1024 * 128 });
  report (&(struct timed){ "copy", run_copy,
                           .at = { .y = matrix (y, 1, INPUT), .x = matrix (x, 1, INPUT) },
                           .bytes = 4. * INPUT });
}

static void
bench_all (void *y, void *x, void *w, krn_tensor scale, krn_tensor rope)
{
  bench_linear (y, x, w, "linear qkv 3840 -> 11520", DIM, 3 * DIM);
  bench_linear (y, x, w, "linear out 3840 -> 3840", DIM, DIM);
  bench_linear (y, x, w, "linear w1|w3 3840 -> 20480", DIM, 2 * WIDE);
  bench_linear (y, x, w, "linear w2 10240 -> 3840", WIDE, DIM);
  bench_attention (y, x, "attention 4160, 30 heads of 128", TOKENS, HEADS, 128);
  bench_attention (y, x, "attention 1088, 30 heads of 128", 1088, HEADS, 128);
  bench_attention (y, x, "attention 16384, 1 head of 512", 16384, 1, 512);
  bench_conv (y, x, w, "conv 128^2, 512 -> 512", 128, 512, 512, false);
  bench_conv (y, x, w, "conv 128^2 doubled, 512 -> 512", 128, 512, 512, true);
  bench_conv (y, x, w, "conv 256^2, 512 -> 512", 256, 512, 512, false);
  bench_conv (y, x, w, "conv 512^2, 256 -> 256", 512, 256, 256, false);
  bench_conv (y, x, w, "conv 512^2 doubled, 256 -> 256", 512, 256, 256, true);
  bench_conv (y, x, w, "conv 1024^2, 256 -> 128", 1024, 256, 128, false);
  bench_conv (y, x, w, "conv 1024^2, 128 -> 128", 1024, 128, 128, false);
  bench_conv (y, x, w, "conv 1024^2, 128 -> 3", 1024, 128, 3, false);
  bench_rows (y, x, w, scale, rope);
}

void
bench (void)
{
  uint16_t *numbers = malloc (INPUT * sizeof *numbers);
  krn_tensor scale = krn_tensor_make (NULL, KRN_F32, 1, 1, 1, DIM);
  krn_tensor rope = krn_tensor_make (NULL, KRN_F32, 1, 1, TOKENS, 128);
  void *memory[3] = { NULL };
  krn_status status = numbers ? KRN_OK : KRN_ERROR_MEMORY;

  for (int i = 0; numbers && i < INPUT; i++)
    numbers[i] = bf16_from_float (random_float (-1.f, 1.f));
  for (int i = 0; i < 3 && status == KRN_OK; i++)
    status = t.gpu->alloc (t.gpu, &memory[i], INPUT * sizeof *numbers);
  if (status == KRN_OK)
    status = t.gpu->alloc (t.gpu, &scale.data, (size_t) krn_count (scale) * sizeof (float));
  if (status == KRN_OK)
    status = t.gpu->alloc (t.gpu, &rope.data, (size_t) krn_count (rope) * sizeof (float));
  for (int i = 0; i < 3 && status == KRN_OK; i++)
    status = t.gpu->upload (t.stream, matrix (memory[i], 1, INPUT), numbers, KRN_BF16);
  if (status == KRN_OK)
    status = t.gpu->upload (t.stream, scale, numbers, KRN_BF16);
  if (status == KRN_OK)
    status = t.gpu->upload (t.stream, rope, numbers, KRN_BF16);

  if (status == KRN_OK)
    bench_all (memory[0], memory[1], memory[2], scale, rope);
  else
    printf ("bench: %s\n", t.gpu->status_text (t.gpu, status));
  t.gpu->stream_sync (t.stream);
  for (int i = 0; i < 3; i++)
    t.gpu->free_memory (t.gpu, memory[i]);
  t.gpu->free_memory (t.gpu, scale.data);
  t.gpu->free_memory (t.gpu, rope.data);
  free (numbers);
}
