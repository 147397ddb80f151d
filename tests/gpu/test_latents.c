#include "tests/gpu/gpu_pair.h"

static void
group_norm (int64_t n, int64_t h, int64_t w, int64_t c, int groups, bool silu, float centre)
{
  struct pair x = pair_input (KRN_BF16, n, h, w, c, centre);
  struct pair y = pair_output (KRN_BF16, n, h, w, c);
  struct pair scale = pair_vector (KRN_BF16, c, 1.f), bias = pair_vector (KRN_BF16, c, 0.f);

  begin ("group_norm");
  check (&y,
         t.cpu->group_norm (t.cpu_stream, y.cpu, x.cpu, scale.cpu, bias.cpu, groups, 1e-6f, silu),
         t.gpu->group_norm (t.stream, y.gpu, x.gpu, scale.gpu, bias.gpu, groups, 1e-6f, silu),
         BF16_ROUNDED);
  check (&x,
         t.cpu->group_norm (t.cpu_stream, x.cpu, x.cpu, scale.cpu, bias.cpu, groups, 1e-6f, silu),
         t.gpu->group_norm (t.stream, x.gpu, x.gpu, scale.gpu, bias.gpu, groups, 1e-6f, silu),
         BF16_ROUNDED);
  pair_free (&x);
  pair_free (&y);
  pair_free (&scale);
  pair_free (&bias);
}

/* The image in equal parts of rows: statistics of each, then all of them for each. */
static void
group_parts (int64_t parts, int64_t rows, int64_t w, int64_t c, int groups, float centre)
{
  struct pair x = pair_input (KRN_BF16, parts, rows, w, c, centre);
  struct pair y = pair_output (KRN_BF16, parts, rows, w, c);
  struct pair stats = pair_vector (KRN_F32, parts * groups * 2, 0.f);
  struct pair scale = pair_vector (KRN_BF16, c, 1.f), bias = pair_vector (KRN_BF16, c, 0.f);
  krn_status cpu = KRN_OK, gpu = KRN_OK;

  stats.cpu = krn_tensor_make (stats.cpu.data, KRN_F32, 1, parts, groups, 2);
  stats.gpu = krn_tensor_make (stats.gpu.data, KRN_F32, 1, parts, groups, 2);
  begin ("group_stats");
  for (int64_t i = 0; i < parts; i++) {
    krn_tensor from[2] = { krn_row_view (x.cpu, i * rows * w, rows * w),
                           krn_row_view (x.gpu, i * rows * w, rows * w) };
    krn_tensor to[2] = { krn_row_view (stats.cpu, i * groups, groups),
                         krn_row_view (stats.gpu, i * groups, groups) };

    cpu = cpu ? cpu : t.cpu->group_stats (t.cpu_stream, to[0], from[0], groups);
    gpu = gpu ? gpu : t.gpu->group_stats (t.stream, to[1], from[1], groups);
  }
  check (&stats, cpu, gpu, 1e-5);
  begin ("group_apply");
  for (int64_t i = 0; i < parts; i++) {
    krn_tensor from[2] = { krn_row_view (x.cpu, i * rows * w, rows * w),
                           krn_row_view (x.gpu, i * rows * w, rows * w) };
    krn_tensor to[2] = { krn_row_view (y.cpu, i * rows * w, rows * w),
                         krn_row_view (y.gpu, i * rows * w, rows * w) };

    cpu = cpu ? cpu
              : t.cpu->group_apply (t.cpu_stream, to[0], from[0], stats.cpu, scale.cpu, bias.cpu,
                                    1e-6f, true);
    gpu = gpu ? gpu
              : t.gpu->group_apply (t.stream, to[1], from[1], stats.gpu, scale.gpu, bias.gpu, 1e-6f,
                                    true);
  }
  check (&y, cpu, gpu, BF16_ROUNDED);
  pair_free (&x);
  pair_free (&y);
  pair_free (&stats);
  pair_free (&scale);
  pair_free (&bias);
}

void
test_group_norm (void)
{
  group_parts (1, 9, 7, 128, 32, 0.f);
  group_parts (8, 16, 40, 128, 32, 0.f);
  group_parts (3, 5, 33, 96, 8, 3.f);
  group_norm (1, 1, 1, 8, 4, false, 0.f);
  group_norm (1, 5, 7, 96, 32, true, 0.f);
  group_norm (2, 9, 11, 128, 32, false, 3.f);
  group_norm (1, 40, 33, 64, 8, true, 0.f);
  group_norm (1, 6, 5, 13, 1, true, 0.f);
  group_norm (1, 3, 4, 2200, 4, false, 0.f);
  group_norm (1, 16, 16, 512, 32, true, 100.f); /* a mean far above the spread */
  for (int i = 0; i < 4; i++) {
    const int groups = (int) random_int (1, 8);

    group_norm (random_int (1, 2), random_int (1, 60), random_int (1, 60),
                groups * random_int (1, 20), groups, i % 2, 0.f);
  }
}

static void
patchify (int64_t c, int64_t h, int64_t w, int patch)
{
  struct pair x = pair_input (KRN_F32, 1, c, h, w, 0.f);
  struct pair y = pair_output (KRN_BF16, 1, 1, h / patch * (w / patch), patch * patch * c);

  begin ("patchify");
  check (&y, t.cpu->patchify (t.cpu_stream, y.cpu, x.cpu, patch),
         t.gpu->patchify (t.stream, y.gpu, x.gpu, patch), BF16_ROUNDED);
  check_refused (t.cpu->patchify (t.cpu_stream, x.cpu, x.cpu, patch),
                 t.gpu->patchify (t.stream, x.gpu, x.gpu, patch));
  pair_free (&x);
  pair_free (&y);
}

/* flags: 1 guidance, 2 base, 4 history, 8 noise, 16 a cap that is reached. */
static void
sampler_step (int64_t c, int64_t h, int64_t w, int patch, int flags)
{
  static const float numbers[KRN_STEP_COEFS] = { 4.f,  0.f,   1.f,   0.7f, 0.3f, 0.5f,
                                                 0.2f, 0.25f, -0.5f, 0.1f, 1.f,  1.f };
  const int64_t tokens = h / patch * (w / patch), width = patch * patch * c;
  struct pair pos = pair_input (KRN_BF16, 1, 1, tokens, width, 0.f);
  struct pair neg = flags & 1 ? pair_input (KRN_BF16, 1, 1, tokens, width, 0.f) : absent;
  struct pair coefs = pair_vector (KRN_F32, KRN_STEP_COEFS, 0.f);
  struct pair x = pair_input (KRN_F32, 1, c, h, w, 0.f);
  struct pair base = flags & 2 ? pair_input (KRN_F32, 1, c, h, w, 0.f) : absent;
  struct pair history = flags & 4 ? pair_input (KRN_F32, 1, c, h, w, 0.f) : absent;
  struct pair noise = flags & 8 ? pair_input (KRN_F32, 1, c, h, w, 0.f) : absent;
  struct pair denoised = pair_output (KRN_F32, 1, c, h, w);
  const struct krn_sampler_step cpu = { pos.cpu,     neg.cpu,   coefs.cpu,    x.cpu, base.cpu,
                                        history.cpu, noise.cpu, denoised.cpu, patch };
  const struct krn_sampler_step gpu = { pos.gpu,     neg.gpu,   coefs.gpu,    x.gpu, base.gpu,
                                        history.gpu, noise.gpu, denoised.gpu, patch };
  krn_status on_cpu, on_gpu;

  for (int i = 0; i < KRN_STEP_COEFS; i++)
    pair_set (&coefs, 0, i, i == 1 && flags & 16 ? 0.6f : numbers[i]);
  pair_send (&coefs);
  begin ("sampler_step");
  on_cpu = t.cpu->sampler_step (t.cpu_stream, &cpu);
  on_gpu = t.gpu->sampler_step (t.stream, &gpu);
  check (&x, on_cpu, on_gpu, F32_ROUNDED);
  check (&denoised, on_cpu, on_gpu, F32_ROUNDED);
  if (flags & 2)
    check (&base, on_cpu, on_gpu, F32_ROUNDED);
  if (flags & 4)
    check (&history, on_cpu, on_gpu, F32_ROUNDED);
  pair_free (&pos);
  pair_free (&neg);
  pair_free (&coefs);
  pair_free (&x);
  pair_free (&base);
  pair_free (&history);
  pair_free (&noise);
  pair_free (&denoised);
}

static void
channels (int64_t c, int64_t h, int64_t w)
{
  struct pair planes = pair_input (KRN_F32, 1, c, h, w, 0.f);
  struct pair pixels = pair_output (KRN_BF16, 1, h, w, c);
  struct pair wide = pair_input (KRN_BF16, 1, h, w, c + 2, 0.f);
  struct pair back = pair_output (KRN_F32, 1, c, h, w);

  begin ("to_nhwc");
  check (&pixels, t.cpu->to_nhwc (t.cpu_stream, pixels.cpu, planes.cpu, 2.77f, 0.1159f),
         t.gpu->to_nhwc (t.stream, pixels.gpu, planes.gpu, 2.77f, 0.1159f), BF16_ROUNDED);
  begin ("to_nchw");
  check (&back, t.cpu->to_nchw (t.cpu_stream, back.cpu, wide.cpu, 0.36f, -0.1f),
         t.gpu->to_nchw (t.stream, back.gpu, wide.gpu, 0.36f, -0.1f), F32_ROUNDED);
  pair_free (&planes);
  pair_free (&pixels);
  pair_free (&wide);
  pair_free (&back);
}

static void
pictures (int64_t c, int64_t h, int64_t w)
{
  struct pair latent = pair_input (KRN_F32, 1, c, h, w, 0.f);
  struct pair factors = pair_input (KRN_F32, 1, 1, c + 1, 3, 0.f);
  struct pair image = pair_input (KRN_BF16, 1, h, w, 3, 0.f);
  struct pair preview = pair_output (KRN_U8, 1, h, w, 4), rgba = pair_output (KRN_U8, 1, h, w, 4);

  begin ("latent_rgba"); /* a sum that lies between two bytes may go to either */
  check (&preview, t.cpu->latent_rgba (t.cpu_stream, preview.cpu, latent.cpu, factors.cpu),
         t.gpu->latent_rgba (t.stream, preview.gpu, latent.gpu, factors.gpu), 1.);
  begin ("image_rgba");
  check (&rgba, t.cpu->image_rgba (t.cpu_stream, rgba.cpu, image.cpu),
         t.gpu->image_rgba (t.stream, rgba.gpu, image.gpu), 1.);
  pair_free (&latent);
  pair_free (&factors);
  pair_free (&image);
  pair_free (&preview);
  pair_free (&rgba);
}

void
test_latents (void)
{
  patchify (16, 24, 20, 2);
  patchify (3, 9, 6, 3);
  patchify (4, 5, 7, 1);
  for (int flags = 0; flags < 32; flags++)
    sampler_step (flags % 2 ? 16 : 3, 12, 20, 2, flags);
  sampler_step (16, 64, 96, 2, 31);
  channels (16, 12, 9);
  channels (3, 33, 17);
  pictures (16, 12, 9);
  pictures (4, 31, 40);
}
