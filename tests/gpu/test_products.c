#include "tests/gpu/gpu_pair.h"

#include <math.h>

/* flags: 1 bias, 2 accumulate. */
static void
linear (krn_dtype dtype, int64_t rows, int64_t in, int64_t out, int flags)
{
  static const char *const names[2][4] = {
    { "linear bf16", "linear bf16, bias", "linear bf16, add", "linear bf16, bias and add" },
    { "linear f32", "linear f32, bias", "linear f32, add", "linear f32, bias and add" },
  };
  struct pair x = pair_input (dtype, 1, 1, rows, in, 0.f);
  struct pair w = pair_input (KRN_BF16, 1, 1, out, in, 0.f);
  struct pair bias = flags & 1 ? pair_vector (KRN_BF16, out, 0.f) : absent;
  struct pair y =
      flags & 2 ? pair_input (dtype, 1, 1, rows, out, 0.f) : pair_output (dtype, 1, 1, rows, out);

  begin (names[dtype == KRN_F32][flags]);
  check (&y, t.cpu->linear (t.cpu_stream, y.cpu, x.cpu, w.cpu, bias.cpu, flags & 2),
         t.gpu->linear (t.stream, y.gpu, x.gpu, w.gpu, bias.gpu, flags & 2),
         dtype == KRN_F32 ? F32_ROUNDED
         : flags & 2      ? BF16_TWICE /* cuBLASLt rounds the product before it adds */
                          : BF16_ROUNDED);
  check_refused (t.cpu->linear (t.cpu_stream, y.cpu, x.cpu, x.cpu, bias.cpu, false),
                 t.gpu->linear (t.stream, y.gpu, x.gpu, x.gpu, bias.gpu, false));
  pair_free (&x);
  pair_free (&w);
  pair_free (&bias);
  pair_free (&y);
}

void
test_linear (void)
{
  static const krn_dtype dtypes[] = { KRN_BF16, KRN_F32 };

  for (int i = 0; i < 8; i++) {
    const krn_dtype dtype = dtypes[i / 4];

    linear (dtype, 1, 256, 1024, i % 4);
    linear (dtype, 2, 37, 5, i % 4);
    linear (dtype, 19, 64, 131, i % 4);
    linear (dtype, 65, 512, 128, i % 4);
    linear (dtype, random_int (2, 80), random_int (2, 300), random_int (301, 500), i % 4);
  }
}

/* packed: q, k and v are column views of one projection. */
static void
attention (int64_t tokens, int64_t keys, struct krn_attention args, bool packed)
{
  const int64_t q_width = args.q_heads * args.head_dim, kv_width = args.kv_heads * args.head_dim;
  const int64_t rows = args.batch * tokens, kv_rows = args.batch * keys;
  struct pair qkv =
      packed ? pair_input (KRN_BF16, 1, 1, rows, q_width + 2 * kv_width, 0.f) : absent;
  struct pair q = packed ? qkv : pair_input (KRN_BF16, 1, 1, rows, q_width, 0.f);
  struct pair k = packed ? qkv : pair_input (KRN_BF16, 1, 1, kv_rows, kv_width, 0.f);
  struct pair v = packed ? qkv : pair_input (KRN_BF16, 1, 1, kv_rows, kv_width, 0.f);
  struct pair o = pair_output (KRN_BF16, 1, 1, rows, q_width);

  if (packed) {
    q.cpu = krn_col_view (qkv.cpu, 0, q_width);
    q.gpu = krn_col_view (qkv.gpu, 0, q_width);
    k.cpu = krn_col_view (qkv.cpu, q_width, kv_width);
    k.gpu = krn_col_view (qkv.gpu, q_width, kv_width);
    v.cpu = krn_col_view (qkv.cpu, q_width + kv_width, kv_width);
    v.gpu = krn_col_view (qkv.gpu, q_width + kv_width, kv_width);
  }
  begin (args.head_dim % 32 == 0 && args.head_dim <= 128 && t.layout != LAYOUT_ODD
             ? "attention"
             : "attention, any width");
  check (&o, t.cpu->attention (t.cpu_stream, o.cpu, q.cpu, k.cpu, v.cpu, &args),
         t.gpu->attention (t.stream, o.gpu, q.gpu, k.gpu, v.gpu, &args), BF16_WEIGHED);
  if (packed) {
    pair_free (&qkv);
  } else {
    pair_free (&q);
    pair_free (&k);
    pair_free (&v);
  }
  pair_free (&o);
}

void
test_attention (void)
{
  static const int widths[] = { 32, 64, 96, 128, 16, 40, 80, 13, 160, 512 };

  for (int i = 0; i < 10; i++) {
    const int width = widths[i];
    struct krn_attention args = { .batch = 1,
                                  .q_heads = 2,
                                  .kv_heads = 1,
                                  .head_dim = width,
                                  .scale = 1.f / sqrtf ((float) width) };

    attention (150, 150, args, true);
    attention (1, 1, args, false);
    attention (130, 77, args, false);
    args.q_heads = 4;
    args.kv_heads = 2;
    args.batch = 3;
    attention (random_int (2, 70), random_int (2, 200), args, false);
    args.causal = true;
    args.batch = 2;
    attention (129, 129, args, true);
    attention (64, 64, args, true);
    args.scale *= 8.f; /* one key that takes nearly all */
    attention (97, 97, args, true);
    args.q_heads = 3;
    check_refused (
        t.cpu->attention (t.cpu_stream, absent.cpu, absent.cpu, absent.cpu, absent.cpu, &args),
        t.gpu->attention (t.stream, absent.gpu, absent.gpu, absent.gpu, absent.gpu, &args));
  }
}

/* A shape of a convolution; the outputs' height and width follow. */
struct shape {
  int64_t n, h, w, in, out, kh, kw;
  int stride, before, after;
  bool upsample;
};

enum { ADD_NONE, ADD_OTHER, ADD_SELF };

static void
conv (struct shape s, int add, bool with_bias)
{
  const int64_t scale = s.upsample ? 2 : 1;
  const int64_t h = (s.h * scale + s.before + s.after - s.kh) / s.stride + 1;
  const int64_t width = (s.w * scale + s.before + s.after - s.kw) / s.stride + 1;
  const enum layout layout = t.layout;
  /* Sums of weights are rounded, where there are many of them. */
  const bool folded = s.upsample && s.in * s.out >= 128 * 128;
  struct pair x = pair_input (KRN_BF16, s.n, s.h, s.w, s.in, 0.f), w;
  struct pair y = add == ADD_SELF ? pair_input (KRN_BF16, s.n, h, width, s.out, 0.f)
                                  : pair_output (KRN_BF16, s.n, h, width, s.out);
  struct pair other = add == ADD_OTHER ? pair_input (KRN_BF16, s.n, h, width, s.out, 0.f) : absent;
  struct pair bias = with_bias ? pair_vector (KRN_BF16, s.out, 0.f) : absent;
  struct krn_conv cpu = { s.stride, s.before, s.after, s.upsample,
                          add == ADD_SELF ? y.cpu : other.cpu };
  struct krn_conv gpu = { s.stride, s.before, s.after, s.upsample,
                          add == ADD_SELF ? y.gpu : other.gpu };

  t.layout = LAYOUT_PACKED; /* weights always are */
  w = pair_input (KRN_BF16, s.out, s.kh, s.kw, s.in, 0.f);
  t.layout = layout;
  begin ("conv2d");
  check (&y, t.cpu->conv2d (t.cpu_stream, y.cpu, x.cpu, w.cpu, bias.cpu, &cpu),
         t.gpu->conv2d (t.stream, y.gpu, x.gpu, w.gpu, bias.gpu, &gpu),
         folded ? BF16_WEIGHED : BF16_ROUNDED);
  cpu.pad_after++;
  gpu.pad_after++;
  if (s.stride == 1)
    check_refused (t.cpu->conv2d (t.cpu_stream, y.cpu, x.cpu, w.cpu, bias.cpu, &cpu),
                   t.gpu->conv2d (t.stream, y.gpu, x.gpu, w.gpu, bias.gpu, &gpu));
  pair_free (&x);
  pair_free (&w);
  pair_free (&y);
  pair_free (&other);
  pair_free (&bias);
}

void
test_conv (void)
{
  static const struct shape shapes[] = {
    { 1, 1, 1, 8, 1, 1, 1, 1, 0, 0, false },     { 1, 9, 13, 64, 64, 3, 3, 1, 1, 1, false },
    { 1, 12, 7, 3, 40, 3, 3, 1, 1, 1, false },   { 1, 11, 5, 16, 130, 3, 3, 1, 1, 1, false },
    { 1, 17, 19, 72, 3, 3, 3, 1, 1, 1, false },  { 2, 6, 10, 40, 33, 1, 1, 1, 0, 0, false },
    { 1, 10, 12, 32, 48, 3, 3, 2, 0, 1, false }, { 1, 11, 9, 24, 16, 3, 3, 2, 1, 1, false },
    { 1, 7, 6, 96, 64, 3, 3, 1, 1, 1, true },    { 2, 5, 4, 20, 24, 3, 3, 1, 1, 1, true },
    { 1, 6, 9, 8, 16, 5, 2, 1, 3, 0, false },    { 1, 19, 37, 64, 3, 3, 3, 1, 1, 1, false },
    { 2, 9, 33, 32, 8, 3, 3, 1, 1, 1, false },   { 1, 5, 64, 128, 5, 3, 3, 1, 1, 1, false },
    { 2, 17, 9, 40, 136, 3, 3, 1, 1, 1, true },  { 1, 7, 6, 160, 104, 3, 3, 1, 1, 1, true },
    { 2, 5, 9, 133, 141, 3, 3, 1, 1, 1, true },  { 2, 10, 3, 128, 128, 3, 3, 1, 1, 1, true },
  };

  for (int i = 0; i < (int) (sizeof shapes / sizeof *shapes); i++) {
    conv (shapes[i], ADD_NONE, true);
    conv (shapes[i], ADD_OTHER, true);
    conv (shapes[i], ADD_SELF, false);
  }
  for (int i = 0; i < 6; i++) {
    const bool upsample = i % 3 == 0;
    const struct shape s = { random_int (1, 2),
                             random_int (3, 14),
                             random_int (3, 14),
                             random_int (1, 90),
                             random_int (1, 150),
                             3,
                             3,
                             upsample ? 1 : (int) random_int (1, 2),
                             (int) random_int (0, 1),
                             (int) random_int (0, 2),
                             upsample };

    conv (s, (int) random_int (0, 2), i % 2);
  }
}
