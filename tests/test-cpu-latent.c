#include "tests/test-cpu-common.h"

static const krn_tensor absent;

/* The token element that holds channel c of latent pixel (y, x). */
static float *
token_at (krn_tensor tokens, int64_t channels, int64_t width, int patch, const int64_t *cyx)
{
  const int64_t y = cyx[1], x = cyx[2];

  return at (tokens, y / patch * (width / patch) + x / patch,
             (y % patch * patch + x % patch) * channels + cyx[0]);
}

static void
test_patchify (void)
{
  for (int patch = 1; patch <= 3; patch++) {
    const int64_t c = 5, h = 2 * patch, w = 4 * patch;
    krn_tensor latent = make_input (1, c, h, w, 2, 0.);
    krn_tensor tokens = make_output (1, 1, 8, patch * patch * c, 3);

    g_assert_cmpint (device->patchify (stream, tokens, latent, patch), ==, KRN_OK);
    for (int64_t i = 0; i < c * h * w; i++) {
      const int64_t cyx[] = { i / w / h, i / w % h, i % w };

      g_assert_cmpfloat (*token_at (tokens, c, w, patch, cyx), ==,
                         *at (latent, cyx[0] * h + cyx[1], cyx[2]));
    }
    assert_gaps_untouched (tokens);
    FREE (latent, tokens);
  }
}

/* Norms of the whole prediction decide by how much it is scaled down. */
static double
cap_factor (krn_tensor pos, krn_tensor neg, const struct krn_step_coefs *k)
{
  double p = 0., o = 0.;

  if (k->norm_cap <= 0.f)
    return 1.;
  for (int64_t r = 0; r < krn_rows (pos); r++)
    for (int64_t i = 0; i < pos.dim[3]; i++) {
      const double v = *at (pos, r, i), n = neg.data ? *at (neg, r, i) : v;

      p += v * v;
      o += (n + k->cfg * (v - n)) * (n + k->cfg * (v - n));
    }
  return MIN (1., k->norm_cap * sqrt (p / o));
}

enum { C = 4, H = 6, W = 10, PATCH = 2 };

struct step_reference {
  double next[C * H * W], denoised[C * H * W];
};

static void
step_reference (struct step_reference *want, const struct krn_sampler_step *args,
                const struct krn_step_coefs *k)
{
  const double factor = cap_factor (args->pos, args->neg, k);

  for (int64_t i = 0; i < C * H * W; i++) {
    const int64_t cyx[] = { i / W / H, i / W % H, i % W }, row = i / W;
    const double x = *at (args->x, row, i % W);
    const double p = *token_at (args->pos, C, W, PATCH, cyx);
    const double n = args->neg.data ? *token_at (args->neg, C, W, PATCH, cyx) : p;
    const double out = factor * (n + k->cfg * (p - n)), d = k->d_x * x + k->d_out * out;

    want->denoised[i] = d;
    want->next[i] = k->to_x * x + k->to_out * out + k->to_d * d;
    if (args->base.data)
      want->next[i] += (double) k->to_base * *at (args->base, row, i % W);
    if (args->history.data)
      want->next[i] += (double) k->to_history * *at (args->history, row, i % W);
    if (args->noise.data)
      want->next[i] += (double) k->to_noise * *at (args->noise, row, i % W);
  }
}

static krn_tensor
make_latent (gboolean present)
{
  return present ? make_input (1, C, H, W, 1, 0.) : absent;
}

/* flags: 1 guidance, 2 base, 4 history, 8 noise, 16 a cap that bites, 32 keep both. */
static void
check_step (int flags)
{
  struct krn_step_coefs k = { .cfg = 2.5f,
                              .norm_cap = flags & 16 ? 0.7f : 0.f,
                              .d_x = 1.f,
                              .d_out = 0.6f,
                              .to_base = 0.3f,
                              .to_x = 0.8f,
                              .to_out = -0.2f,
                              .to_d = 0.4f,
                              .to_history = -0.6f,
                              .to_noise = 0.9f,
                              .keep_history = flags & 32,
                              .keep_base = flags & 32 };
  struct krn_sampler_step args = { .patch = PATCH };
  struct step_reference want;

  args.pos = make_matrix (H * W / 4, 4 * C, 2);
  args.neg = flags & 1 ? make_matrix (H * W / 4, 4 * C, 0) : absent;
  args.coefs = krn_tensor_make (&k, KRN_F32, 1, 1, 1, KRN_STEP_COEFS);
  args.x = make_latent (TRUE);
  args.base = make_latent (flags & 2);
  args.history = make_latent (flags & 4);
  args.noise = make_latent (flags & 8);
  args.denoised = make_output (1, C, H, W, 0);
  step_reference (&want, &args, &k);

  g_assert_cmpint (device->sampler_step (stream, &args), ==, KRN_OK);
  assert_close (args.x, want.next, 2e-6);
  assert_close (args.denoised, want.denoised, 2e-6);
  if ((flags & 32) && args.base.data)
    assert_close (args.base, want.next, 2e-6);
  if ((flags & 32) && args.history.data)
    assert_close (args.history, want.denoised, 2e-6);
  FREE (args.pos, args.neg, args.x, args.base, args.history, args.noise, args.denoised);
}

static void
test_sampler_step (void)
{
  for (int flags = 0; flags < 64; flags++)
    check_step (flags);
}

/* Memory behind a coefficient of 0 may hold anything. */
static void
test_sampler_ignores_unused (void)
{
  struct krn_step_coefs k = { .to_x = 1.f, .d_x = 1.f };
  struct krn_sampler_step args = { .patch = PATCH };

  args.pos = make_matrix (H * W / 4, 4 * C, 0);
  args.coefs = krn_tensor_make (&k, KRN_F32, 1, 1, 1, KRN_STEP_COEFS);
  args.x = make_latent (TRUE);
  args.base = make_output (1, C, H, W, 0);
  args.history = make_output (1, C, H, W, 0);
  args.noise = make_output (1, C, H, W, 0);
  args.denoised = make_output (1, C, H, W, 0);
  g_assert_cmpint (device->sampler_step (stream, &args), ==, KRN_OK);
  for (int64_t i = 0; i < C * H * W; i++) {
    g_assert_false (isnan (*at (args.x, i / W, i % W)));
    g_assert_true (isnan (*at (args.base, i / W, i % W)));
  }
  FREE (args.pos, args.x, args.base, args.history, args.noise, args.denoised);
}

static void
test_layouts (void)
{
  const int64_t c = 5, h = 7, w = 6;
  krn_tensor x = make_input (1, c, h, w, 1, 0.), y = make_output (1, h, w, c, 2);
  krn_tensor wide = make_input (1, h, w, c + 3, 0, 0.), back = make_output (1, c, h, w, 1);

  g_assert_cmpint (device->to_nhwc (stream, y, x, 2.f, 0.5f), ==, KRN_OK);
  g_assert_cmpint (device->to_nchw (stream, back, wide, 0.5f, -1.f), ==, KRN_OK);
  for (int64_t i = 0; i < c * h * w; i++) {
    const int64_t ch = i / w / h, row = i / w % h, col = i % w;

    g_assert_cmpfloat (*at (y, row * w + col, ch), ==, *at (x, ch * h + row, col) * 2.f + 0.5f);
    g_assert_cmpfloat (*at (back, ch * h + row, col), ==,
                       *at (wide, row * w + col, ch) * 0.5f - 1.f);
  }
  assert_gaps_untouched (y);
  assert_gaps_untouched (back);
  FREE (x, y, wide, back);
}

static int
to_byte (double x)
{
  return (int) rint (CLAMP ((x + 1.) * 127.5, 0., 255.));
}

static void
test_rgba (void)
{
  const int64_t c = 4, h = 5, w = 9;
  krn_tensor latent = make_input (1, c, h, w, 1, 0.), factors = make_matrix (c + 1, 3, 1);
  krn_tensor image = make_input (1, h, w, 3, 2, 0.);
  g_autofree uint8_t *bytes = g_malloc0 ((gsize) (h * w * 4));
  const krn_tensor rgba = krn_tensor_make (bytes, KRN_U8, 1, h, w, 4);

  g_assert_cmpint (device->latent_rgba (stream, rgba, latent, factors), ==, KRN_OK);
  for (int64_t i = 0; i < h * w; i++) {
    for (int k = 0; k < 3; k++) {
      double sum = *at (factors, c, k);

      for (int64_t ch = 0; ch < c; ch++)
        sum += (double) *at (latent, ch * h + i / w, i % w) * *at (factors, ch, k);
      g_assert_cmpint (abs (bytes[i * 4 + k] - to_byte (sum)), <=, 1); /* ties may fall apart */
    }
    g_assert_cmpint (bytes[i * 4 + 3], ==, 255);
  }

  *at (image, 0, 0) = NAN;
  *at (image, 0, 1) = INFINITY;
  *at (image, 0, 2) = -INFINITY;
  g_assert_cmpint (device->image_rgba (stream, rgba, image), ==, KRN_OK);
  for (int64_t i = 1; i < h * w; i++)
    for (int k = 0; k < 4; k++)
      g_assert_cmpint (bytes[i * 4 + k], ==, k == 3 ? 255 : to_byte ((double) (*at (image, i, k))));
  g_assert_cmpint (bytes[0], ==, 0);
  g_assert_cmpint (bytes[1], ==, 255);
  g_assert_cmpint (bytes[2], ==, 0);
  FREE (latent, factors, image);
}

static void
test_refuses (void)
{
  krn_tensor latent = make_input (1, 4, 6, 6, 0, 0.), tokens = make_matrix (9, 16, 0);
  krn_tensor nhwc = make_input (1, 6, 6, 4, 0, 0.), three = make_input (1, 6, 6, 3, 0, 0.);
  krn_tensor rgba = krn_tensor_make (latent.data, KRN_U8, 1, 6, 6, 4);
  struct krn_sampler_step args = { .pos = tokens, .x = latent, .patch = 2 };

  g_assert_cmpint (device->patchify (stream, tokens, latent, 2), ==, KRN_OK);
  g_assert_cmpint (device->patchify (stream, tokens, latent, 4), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->patchify (stream, tokens, latent, 0), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->patchify (stream, latent, tokens, 2), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->sampler_step (stream, &args), ==, KRN_ERROR_SHAPE); /* no coefs */
  g_assert_cmpint (device->to_nhwc (stream, latent, latent, 1.f, 0.f), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->to_nchw (stream, latent, three, 1.f, 0.f), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->to_nchw (stream, latent, nhwc, 1.f, 0.f), ==, KRN_OK);
  g_assert_cmpint (device->image_rgba (stream, rgba, nhwc), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->image_rgba (stream, nhwc, three), ==, KRN_ERROR_SHAPE);
  g_assert_cmpint (device->latent_rgba (stream, rgba, latent, tokens), ==, KRN_ERROR_SHAPE);
  FREE (latent, tokens, nhwc, three);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cpu/latent/patchify", test_patchify);
  g_test_add_func ("/cpu/latent/sampler-step", test_sampler_step);
  g_test_add_func ("/cpu/latent/sampler-ignores-unused", test_sampler_ignores_unused);
  g_test_add_func ("/cpu/latent/layouts", test_layouts);
  g_test_add_func ("/cpu/latent/rgba", test_rgba);
  g_test_add_func ("/cpu/latent/refuses", test_refuses);
  return run_tests ();
}
