/* tests/gpu/test_cudnn.c - what is left to cuDNN where it is there, and to our own kernels where it
 * is not: large attention, convolutions of whole 16-byte pixels, both in a captured graph, and the
 * plans that are kept in files. */
#include "tests/gpu/gpu_pair.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One attention on a packed projection, on both sides. */
struct attention_case {
  int64_t tokens;
  struct krn_attention args;
};

static void
attention_run (struct krn_device *device, krn_stream *stream, krn_status *status, krn_tensor o,
               krn_tensor qkv, const struct krn_attention *args)
{
  const int64_t width = args->q_heads * args->head_dim, kv = args->kv_heads * args->head_dim;

  *status =
      device->attention (stream, o, krn_col_view (qkv, 0, width), krn_col_view (qkv, width, kv),
                         krn_col_view (qkv, width + kv, kv), args);
}

static void
attention (struct attention_case c)
{
  const struct krn_attention *a = &c.args;
  const int64_t rows = a->batch * c.tokens, width = a->q_heads * a->head_dim;
  struct pair qkv = pair_input (KRN_BF16, 1, 1, rows, width + 2 * a->kv_heads * a->head_dim, 0.f);
  struct pair o = pair_output (KRN_BF16, 1, 1, rows, width);
  krn_status cpu, gpu;

  begin ("attention, large");
  attention_run (t.cpu, t.cpu_stream, &cpu, o.cpu, qkv.cpu, a);
  attention_run (t.gpu, t.stream, &gpu, o.gpu, qkv.gpu, a);
  check (&o, cpu, gpu, BF16_WEIGHED);
  pair_free (&qkv);
  pair_free (&o);
}

static void
test_attentions (void)
{
  static const int widths[] = { 40, 64, 80, 96, 128, 160, 256 };

  for (int i = 0; i < (int) (sizeof widths / sizeof *widths); i++) {
    struct krn_attention args = { .batch = 1,
                                  .q_heads = 3,
                                  .kv_heads = 3,
                                  .head_dim = widths[i],
                                  .scale = 1.f / sqrtf ((float) widths[i]) };

    attention ((struct attention_case){ 257 + 37 * i, args });
    if (widths[i] == 128) {
      attention ((struct attention_case){ 512, args });
      args.batch = 2;
      args.q_heads = 4;
      args.kv_heads = 2;
      attention ((struct attention_case){ 391, args });
      args.causal = true;
      attention ((struct attention_case){ 300, args });
      args.causal = false;
      args.scale *= 8.f; /* one key that takes nearly all */
      attention ((struct attention_case){ 333, args });
    }
  }
}

/* A convolution 3 x 3 of an image of h x w, its output also what is added. */
struct conv_case {
  struct pair x, w, bias, y;
  struct krn_conv cpu, gpu;
};

static struct conv_case
conv_make (int64_t h, int64_t w, int64_t in, int64_t out)
{
  const enum layout layout = t.layout;
  struct conv_case c = { .x = pair_input (KRN_BF16, 1, h, w, in, 0.f),
                         .y = pair_input (KRN_BF16, 1, h, w, out, 0.f) };

  t.layout = LAYOUT_PACKED; /* weights always are */
  c.w = pair_input (KRN_BF16, out, 3, 3, in, 0.f);
  c.bias = pair_vector (KRN_BF16, out, 0.f);
  t.layout = layout;
  c.cpu = (struct krn_conv){ .stride = 1, .pad_before = 1, .pad_after = 1, .add = c.y.cpu };
  c.gpu = (struct krn_conv){ .stride = 1, .pad_before = 1, .pad_after = 1, .add = c.y.gpu };
  return c;
}

static void
conv_free (struct conv_case *c)
{
  pair_free (&c->x);
  pair_free (&c->w);
  pair_free (&c->bias);
  pair_free (&c->y);
}

static krn_status
conv_run_gpu (struct krn_device *device, krn_stream *stream, const struct conv_case *c)
{
  return device->conv2d (stream, c->y.gpu, c->x.gpu, c->w.gpu, c->bias.gpu, &c->gpu);
}

static krn_status
conv_run_cpu (const struct conv_case *c)
{
  return t.cpu->conv2d (t.cpu_stream, c->y.cpu, c->x.cpu, c->w.cpu, c->bias.cpu, &c->cpu);
}

static void
test_convolutions (void)
{
  static const int sizes[][4] = {
    { 33, 47, 64, 128 }, { 64, 64, 128, 64 }, { 17, 90, 256, 16 }, { 32, 32, 512, 512 }
  };

  for (int i = 0; i < (int) (sizeof sizes / sizeof *sizes); i++) {
    struct conv_case c = conv_make (sizes[i][0], sizes[i][1], sizes[i][2], sizes[i][3]);

    begin ("conv2d, large");
    check (&c.y, conv_run_cpu (&c), conv_run_gpu (t.gpu, t.stream, &c), BF16_ROUNDED);
    conv_free (&c);
  }
}

/* Both operations in a graph, which runs once; warm: they ran before, on something else. */
static void
test_captured (int64_t tokens, bool warm)
{
  const struct krn_attention args = {
    .batch = 1, .q_heads = 4, .kv_heads = 4, .head_dim = 128, .scale = 0.09f
  };
  struct pair qkv = pair_input (KRN_BF16, 1, 1, tokens, 3 * 512, 0.f);
  struct pair o = pair_output (KRN_BF16, 1, 1, tokens, 512);
  struct conv_case c = conv_make (tokens / 16, 24, 64, 64), other;
  krn_status cpu, gpu = KRN_OK, conv_status, capture;
  krn_graph *graph = NULL;

  begin ("attention and conv2d, graph");
  other = conv_make (tokens / 16, 24, 64, 64);
  if (warm) {
    attention_run (t.gpu, t.stream, &gpu, o.gpu, qkv.gpu, &args);
    check_true (gpu == KRN_OK && conv_run_gpu (t.gpu, t.stream, &other) == KRN_OK,
                "what is to be captured does not run");
  }
  capture = t.gpu->capture_begin (t.stream);
  attention_run (t.gpu, t.stream, &gpu, o.gpu, qkv.gpu, &args);
  conv_status = conv_run_gpu (t.gpu, t.stream, &c);
  capture = capture ? capture : t.gpu->capture_end (t.stream, &graph);
  check_true (capture == KRN_OK, "the capture failed");
  if (graph)
    capture = t.gpu->graph_launch (t.stream, graph);
  attention_run (t.cpu, t.cpu_stream, &cpu, o.cpu, qkv.cpu, &args);
  check (&o, cpu, gpu ? gpu : capture, BF16_WEIGHED);
  check (&c.y, conv_run_cpu (&c), conv_status ? conv_status : capture, BF16_ROUNDED);
  t.gpu->stream_sync (t.stream);
  t.gpu->graph_free (graph);
  conv_free (&other);
  conv_free (&c);
  pair_free (&qkv);
  pair_free (&o);
}

/* Calls visit with every file in folder. */
static int
each_file (const char *folder, void (*visit) (const char *path))
{
  DIR *dir = opendir (folder);
  struct dirent *entry;
  char path[4096];
  int n = 0;

  while (dir && (entry = readdir (dir)))
    if (entry->d_name[0] != '.') {
      snprintf (path, sizeof path, "%s/%s", folder, entry->d_name);
      if (visit)
        visit (path);
      n++;
    }
  if (dir)
    closedir (dir);
  return n;
}

static void
cut_file (const char *path)
{
  check_true (truncate (path, 900) == 0, "a plan's file cannot be cut");
}

/* Changes a byte near the end. */
static void
spoil_file (const char *path)
{
  FILE *file = fopen (path, "r+b");

  if (file) {
    fseek (file, -40, SEEK_END);
    fputc ('#', file);
    fclose (file);
  }
}

static void
remove_file (const char *path)
{
  unlink (path);
}

/* A new device reads the plans of another, or finds them spoilt and makes them again. */
static void
run_on_new_device (const char *what)
{
  struct conv_case c = conv_make (40, 24, 64, 64);
  struct krn_device *device = NULL;
  krn_stream *stream = NULL;
  char reason[256];
  krn_status status = t.open_gpu (&device, reason, sizeof reason);

  if (status == KRN_OK)
    status = device->stream_new (device, &stream);
  if (status == KRN_OK)
    status = conv_run_gpu (device, stream, &c);
  if (status == KRN_OK)
    status = device->stream_sync (stream);
  check_true (status == KRN_OK, what);
  check (&c.y, conv_run_cpu (&c), status, BF16_ROUNDED);
  if (device) {
    device->stream_free (stream);
    device->close (device);
  }
  conv_free (&c);
}

static void
test_files (void)
{
  char home[] = "/tmp/test-cudnn-XXXXXX", folder[64];
  const char *before = getenv ("XDG_CACHE_HOME");
  char *kept = before ? strdup (before) : NULL;
  int n;

  begin ("plans in files");
  if (!mkdtemp (home))
    return;
  snprintf (folder, sizeof folder, "%s/safelight", home);
  setenv ("XDG_CACHE_HOME", home, 1);
  run_on_new_device ("a new device fails");
  n = each_file (folder, NULL); /* 0 without cuDNN */
  run_on_new_device ("a plan from a file fails");
  check_true (each_file (folder, NULL) == n, "a plan is not found again");
  each_file (folder, cut_file);
  run_on_new_device ("a file that is too short fails");
  each_file (folder, spoil_file);
  run_on_new_device ("a spoilt file fails");
  check_true (each_file (folder, NULL) == n, "files are left over");
  each_file (folder, remove_file);
  rmdir (folder);
  rmdir (home);
  if (kept)
    setenv ("XDG_CACHE_HOME", kept, 1);
  else
    unsetenv ("XDG_CACHE_HOME");
  free (kept);
}

void
test_cudnn (void)
{
  test_attentions ();
  test_convolutions ();
  if (t.layout == LAYOUT_PACKED) {
    test_captured (272, false);
    test_captured (272, true);
    test_captured (400, true);
    test_files ();
  }
}
