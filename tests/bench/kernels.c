/* tests/bench/kernels.c - times the CPU's operations at the starter model's shapes.
 *
 * Prints a line for each: the median of many runs, and GFLOP/s or GB/s.
 * bench-kernels [threads] [text that a line's name must hold] */
#include "kernels/device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 400, BUDGET_MS = 400 };

struct bench {
  struct krn_device *device;
  krn_stream *stream;
  const char *filter;
};

static double
now_ms (void)
{
  struct timespec time;

  clock_gettime (CLOCK_MONOTONIC, &time);
  return (double) time.tv_sec * 1e3 + (double) time.tv_nsec * 1e-6;
}

static int
compare (const void *a, const void *b)
{
  const double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

/* Never freed: the program ends soon. */
static krn_tensor
make (const struct bench *bench, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
  krn_tensor t = krn_tensor_make (NULL, KRN_F32, d0, d1, d2, d3);
  void *memory;
  float *data;

  if (bench->device->alloc (bench->device, &memory, (size_t) krn_count (t) * sizeof (float)) != 0)
    exit (1);
  data = memory;
  for (int64_t i = 0; i < krn_count (t); i++)
    data[i] = (float) ((i * 7919) % 1009) / 1009.f - 0.5f;
  t.data = data;
  return t;
}

/* For an operation in place: other numbers would let its tensor die away to subnormal ones. */
static krn_tensor
make_ones (const struct bench *bench, int64_t rows, int64_t n)
{
  krn_tensor t = make (bench, 1, 1, rows, n);

  for (int64_t i = 0; i < rows * n; i++)
    ((float *) t.data)[i] = 1.f;
  return t;
}

/* One operation with its arguments; work is in units of 1e9 / s. */
struct job {
  const char *name;
  const char *unit;
  double work;
  krn_status (*run) (struct bench *bench, const struct job *job);
  krn_tensor y, x, w, b;
  struct krn_attention attention;
  struct krn_conv conv;
};

static void
measure (struct bench *bench, const struct job *job)
{
  double times[RUNS];
  const double start = now_ms ();
  int n = 0;

  if (bench->filter && !strstr (job->name, bench->filter))
    return;
  if (job->run (bench, job) != KRN_OK) {
    printf ("%-44s refused\n", job->name);
    return;
  }
  while (n < RUNS && (n < 5 || now_ms () - start < BUDGET_MS)) {
    const double from = now_ms ();

    job->run (bench, job);
    times[n++] = now_ms () - from;
  }
  qsort (times, (size_t) n, sizeof times[0], compare);
  printf ("%-44s %9.3f ms %8.1f %s (best %.1f)\n", job->name, times[n / 2],
          job->work / times[n / 2] * 1e-6, job->unit, job->work / times[0] * 1e-6);
}

static krn_status
run_linear (struct bench *bench, const struct job *job)
{
  return bench->device->linear (bench->stream, job->y, job->x, job->w, job->b, false);
}

static void
bench_linear (struct bench *bench, const char *name, int64_t rows, int64_t in, int64_t out)
{
  const struct job job = { .name = name,
                           .unit = "GFLOP/s",
                           .work = 2. * (double) (rows * in * out),
                           .run = run_linear,
                           .y = make (bench, 1, 1, rows, out),
                           .x = make (bench, 1, 1, rows, in),
                           .w = make (bench, 1, 1, out, in) };

  measure (bench, &job);
}

static krn_status
run_conv (struct bench *bench, const struct job *job)
{
  return bench->device->conv2d (bench->stream, job->y, job->x, job->w, job->b, &job->conv);
}

/* size of the output; k x k; the work of a doubled input is counted as if it were made. */
static void
bench_conv (struct bench *bench, const char *name, int64_t size, const int64_t *in_out_k, bool up)
{
  const int64_t in = in_out_k[0], out = in_out_k[1], k = in_out_k[2], from = up ? size / 2 : size;
  const struct job job = { .name = name,
                           .unit = "GFLOP/s",
                           .work = 2. * (double) (size * size * in * out * k * k),
                           .run = run_conv,
                           .y = make (bench, 1, size, size, out),
                           .x = make (bench, 1, from, from, in),
                           .w = make (bench, out, k, k, in),
                           .b = make (bench, 1, 1, 1, out),
                           .conv = { 1, (int) k / 2, (int) k / 2, up } };

  measure (bench, &job);
}

static krn_status
run_attention (struct bench *bench, const struct job *job)
{
  return bench->device->attention (bench->stream, job->y, job->x, job->w, job->b, &job->attention);
}

static void
bench_attention (struct bench *bench, const char *name, int64_t tokens, int heads, int width)
{
  const krn_tensor qkv = make (bench, 1, 1, tokens, 3 * heads * width);
  const struct job job = { .name = name,
                           .unit = "GFLOP/s",
                           .work = 4. * (double) (tokens * tokens * heads * width),
                           .run = run_attention,
                           .y = make (bench, 1, 1, tokens, heads * width),
                           .x = krn_col_view (qkv, 0, heads * width),
                           .w = krn_col_view (qkv, heads * width, heads * width),
                           .b = krn_col_view (qkv, 2 * heads * width, heads * width),
                           .attention = { .batch = 1,
                                          .q_heads = heads,
                                          .kv_heads = heads,
                                          .head_dim = width,
                                          .scale = 1.f / sqrtf ((float) width) } };

  measure (bench, &job);
}

static krn_status
run_group_norm (struct bench *bench, const struct job *job)
{
  return bench->device->group_norm (bench->stream, job->y, job->x, job->w, job->b, 16, 1e-6f, true);
}

static krn_status
run_rms_norm (struct bench *bench, const struct job *job)
{
  return bench->device->rms_norm (bench->stream, job->y, job->x, job->w, job->b, 1e-5f);
}

static krn_status
run_residual_norm (struct bench *bench, const struct job *job)
{
  const struct krn_residual_norm args = { .x = job->x,
                                          .h = job->y,
                                          .h_weight = job->w,
                                          .gate = job->b,
                                          .y = job->y,
                                          .y_weight = job->w,
                                          .y_scale = job->b,
                                          .eps = 1e-5f };

  return bench->device->residual_norm (bench->stream, &args);
}

static krn_status
run_qk_norm_rope (struct bench *bench, const struct job *job)
{
  const struct krn_qk_norm_rope args = { .qkv = job->x,
                                         .q_weight = job->w,
                                         .k_weight = job->w,
                                         .rope = job->y,
                                         .q_heads = 3,
                                         .kv_heads = 3,
                                         .head_dim = 64,
                                         .eps = 1e-5f };

  return bench->device->qk_norm_rope (bench->stream, &args);
}

static krn_status
run_silu_gate (struct bench *bench, const struct job *job)
{
  return bench->device->silu_gate (bench->stream, job->y, job->x);
}

static krn_status
run_upload (struct bench *bench, const struct job *job)
{
  return bench->device->upload (bench->stream, job->y, job->x.data, KRN_BF16);
}

static void
bench_rows (struct bench *bench)
{
  const struct job jobs[] = {
    { "group_norm + silu 256x256x32", "GB/s (r+r+w)", 12. * 256 * 256 * 32, run_group_norm,
      make (bench, 1, 256, 256, 32), make (bench, 1, 256, 256, 32), make (bench, 1, 1, 1, 32),
      make (bench, 1, 1, 1, 32) },
    { "group_norm + silu 256x256x64", "GB/s (r+r+w)", 12. * 256 * 256 * 64, run_group_norm,
      make (bench, 1, 256, 256, 64), make (bench, 1, 256, 256, 64), make (bench, 1, 1, 1, 64),
      make (bench, 1, 1, 1, 64) },
    { "group_norm + silu 32x32x64", "GB/s (r+r+w)", 12. * 32 * 32 * 64, run_group_norm,
      make (bench, 1, 32, 32, 64), make (bench, 1, 32, 32, 64), make (bench, 1, 1, 1, 64),
      make (bench, 1, 1, 1, 64) },
    { "rms_norm 288x192", "GB/s", 8. * 288 * 192, run_rms_norm, make (bench, 1, 1, 288, 192),
      make (bench, 1, 1, 288, 192), make (bench, 1, 1, 1, 192), make (bench, 1, 1, 1, 192) },
    { "residual_norm 288x192", "GB/s", 16. * 288 * 192, run_residual_norm,
      make (bench, 1, 1, 288, 192), make (bench, 1, 1, 288, 192), make (bench, 1, 1, 1, 192),
      make (bench, 1, 1, 1, 192) },
    { "qk_norm_rope 288x3x64", "GB/s", 16. * 288 * 192, run_qk_norm_rope,
      make_ones (bench, 288, 64), make (bench, 1, 1, 288, 576), make_ones (bench, 1, 64) },
    { "silu_gate 288x512", "GB/s", 12. * 288 * 512, run_silu_gate, make (bench, 1, 1, 288, 512),
      make (bench, 1, 1, 288, 1024) },
    { "upload bf16 8M", "GB/s", 6. * (1 << 23), run_upload, make (bench, 1, 1, 1, 1 << 23),
      make (bench, 1, 1, 1, 1 << 22) },
  };

  for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++)
    measure (bench, &jobs[i]);
}

int
main (int argc, char **argv)
{
  struct bench bench = { .filter = argc > 2 ? argv[2] : NULL };

  setvbuf (stdout, NULL, _IOLBF, 0);
  if (krn_cpu_open (&bench.device, argc > 1 ? atoi (argv[1]) : 0) != KRN_OK ||
      bench.device->stream_new (bench.device, &bench.stream) != KRN_OK)
    return 1;
  printf ("%s\n", bench.device->name);

  bench_linear (&bench, "linear 288 x 192 -> 576 (qkv)", 288, 192, 576);
  bench_linear (&bench, "linear 288 x 192 -> 192 (attention out)", 288, 192, 192);
  bench_linear (&bench, "linear 288 x 192 -> 1024 (mlp in)", 288, 192, 1024);
  bench_linear (&bench, "linear 288 x 512 -> 192 (mlp out)", 288, 512, 192);
  bench_linear (&bench, "linear 40 x 192 -> 512 (text qkv)", 40, 192, 512);
  bench_linear (&bench, "linear 1 x 192 -> 768 (modulation)", 1, 192, 768);
  bench_linear (&bench, "linear 8 x 192 -> 8448 (all modulations)", 8, 192, 8448);
  bench_linear (&bench, "linear 1024 x 3840 -> 3840 (Z-Image)", 1024, 3840, 3840);
  bench_attention (&bench, "attention 288 tokens, 3 heads of 64", 288, 3, 64);
  bench_attention (&bench, "attention 40 tokens, 4 heads of 64", 40, 4, 64);
  bench_attention (&bench, "attention 1024 tokens, 1 head of 64", 1024, 1, 64);
  bench_attention (&bench, "attention 1024 tokens, 1 head of 512", 1024, 1, 512);
  bench_attention (&bench, "attention 4096 tokens, 3 heads of 64", 4096, 3, 64);
  bench_conv (&bench, "conv 32x32 16 -> 64", 32, (int64_t[]){ 16, 64, 3 }, false);
  bench_conv (&bench, "conv 32x32 64 -> 64", 32, (int64_t[]){ 64, 64, 3 }, false);
  bench_conv (&bench, "conv 64x64 64 -> 64", 64, (int64_t[]){ 64, 64, 3 }, false);
  bench_conv (&bench, "conv 128x128 64 -> 64", 128, (int64_t[]){ 64, 64, 3 }, false);
  bench_conv (&bench, "conv 64x64 64 -> 64 doubled", 64, (int64_t[]){ 64, 64, 3 }, true);
  bench_conv (&bench, "conv 256x256 64 -> 64 doubled", 256, (int64_t[]){ 64, 64, 3 }, true);
  bench_conv (&bench, "conv 256x256 64 -> 32", 256, (int64_t[]){ 64, 32, 3 }, false);
  bench_conv (&bench, "conv 256x256 32 -> 32", 256, (int64_t[]){ 32, 32, 3 }, false);
  bench_conv (&bench, "conv 256x256 64 -> 32 1x1", 256, (int64_t[]){ 64, 32, 1 }, false);
  bench_conv (&bench, "conv 256x256 32 -> 3", 256, (int64_t[]){ 32, 3, 3 }, false);
  bench_conv (&bench, "conv 64x64 512 -> 512", 64, (int64_t[]){ 512, 512, 3 }, false);
  bench_rows (&bench);

  bench.device->stream_free (bench.stream);
  bench.device->close (bench.device);
  return 0;
}
