#include "tests/gpu/gpu_pair.h"

#include <stdio.h>

/* Offsets past 2^31 elements, where 32 bits of an index are not enough: a few rows that lie
 * gigabytes apart.  Left out where the GPU has no such memory. */

static bool
have_memory (const struct pair *a, const struct pair *b)
{
  if (a->gpu_memory && b->gpu_memory)
    return true;
  printf ("# %s: not enough memory for rows that are far apart\n", t.op);
  return false;
}

static void
rows (void)
{
  struct pair x = pair_far (1, 1, 3, 192, true), y = pair_far (1, 1, 3, 96, false);
  struct pair w = pair_vector (KRN_BF16, 192, 1.f);

  begin ("far rows");
  if (have_memory (&x, &y)) {
    check (&y, t.cpu->silu_gate (t.cpu_stream, y.cpu, x.cpu),
           t.gpu->silu_gate (t.stream, y.gpu, x.gpu), BF16_ROUNDED);
    check (&x, t.cpu->rms_norm (t.cpu_stream, x.cpu, x.cpu, w.cpu, absent.cpu, 1e-5f),
           t.gpu->rms_norm (t.stream, x.gpu, x.gpu, w.gpu, absent.gpu, 1e-5f), BF16_ROUNDED);
    check (&x, t.cpu->layer_norm (t.cpu_stream, x.cpu, x.cpu, absent.cpu, 1e-5f),
           t.gpu->layer_norm (t.stream, x.gpu, x.gpu, absent.gpu, 1e-5f), BF16_TWICE);
  }
  pair_free (&x);
  pair_free (&y);
  pair_free (&w);
}

static void
products (void)
{
  const struct krn_attention args = {
    .batch = 1, .q_heads = 2, .kv_heads = 2, .head_dim = 64, .scale = 0.125f
  };
  const struct krn_attention wide = {
    .batch = 1, .q_heads = 1, .kv_heads = 1, .head_dim = 128, .scale = 0.088f
  };
  struct pair x = pair_far (1, 1, 5, 128, true), y = pair_far (1, 1, 5, 128, false);
  struct pair w = pair_input (KRN_BF16, 1, 1, 128, 128, 0.f);

  begin ("far products");
  if (have_memory (&x, &y)) {
    check (&y, t.cpu->linear (t.cpu_stream, y.cpu, x.cpu, w.cpu, absent.cpu, false),
           t.gpu->linear (t.stream, y.gpu, x.gpu, w.gpu, absent.gpu, false), BF16_ROUNDED);
    check (&y, t.cpu->attention (t.cpu_stream, y.cpu, x.cpu, x.cpu, x.cpu, &args),
           t.gpu->attention (t.stream, y.gpu, x.gpu, x.gpu, x.gpu, &args), BF16_WEIGHED);
    check (&y, t.cpu->attention (t.cpu_stream, y.cpu, x.cpu, x.cpu, x.cpu, &wide),
           t.gpu->attention (t.stream, y.gpu, x.gpu, x.gpu, x.gpu, &wide), BF16_WEIGHED);
  }
  pair_free (&x);
  pair_free (&y);
  pair_free (&w);
}

static void
pictures (void)
{
  const struct krn_conv args = { .stride = 1, .pad_before = 1, .pad_after = 1 };
  struct pair x = pair_far (1, 4, 5, 16, true), y = pair_far (1, 4, 5, 16, false);
  struct pair w = pair_input (KRN_BF16, 16, 3, 3, 16, 0.f), scale = pair_vector (KRN_BF16, 16, 1.f);

  begin ("far pixels");
  if (have_memory (&x, &y)) {
    check (&y, t.cpu->conv2d (t.cpu_stream, y.cpu, x.cpu, w.cpu, absent.cpu, &args),
           t.gpu->conv2d (t.stream, y.gpu, x.gpu, w.gpu, absent.gpu, &args), BF16_ROUNDED);
    check (&y, t.cpu->group_norm (t.cpu_stream, y.cpu, x.cpu, scale.cpu, scale.cpu, 4, 1e-6f, true),
           t.gpu->group_norm (t.stream, y.gpu, x.gpu, scale.gpu, scale.gpu, 4, 1e-6f, true),
           BF16_ROUNDED);
  }
  pair_free (&x);
  pair_free (&y);
  pair_free (&w);
  pair_free (&scale);
}

void
test_far (void)
{
  t.layout = LAYOUT_PACKED;
  rows ();
  products ();
  pictures ();
}
