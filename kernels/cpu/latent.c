#include "kernels/cpu/ops.h"

#include <math.h>
#include <string.h>

/* Latents are [channels, height, width]; row (channel * height + y) of the tensor is one line. */
static float *
latent_line (krn_tensor latent, int64_t channel, int64_t y)
{
  return krn_row (latent, channel * latent.dim[2] + y);
}

static bool
is_patched (krn_tensor tokens, krn_tensor latent, int patch)
{
  const int64_t c = latent.dim[1], h = latent.dim[2], w = latent.dim[3];

  return patch > 0 && krn_is_tensor (latent, KRN_F32) && latent.dim[0] == 1 && h % patch == 0 &&
         w % patch == 0 &&
         krn_is_matrix (tokens, (h / patch) * (w / patch), (int64_t) patch * patch * c);
}

/* Two images of which one becomes the other; part i of the work is row i. */
struct layout {
  krn_tensor to, from;
  float mul, add;
  int patch;
};

static void
patchify_rows (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct layout *self = data;
  const int64_t c = self->from.dim[1], w = self->from.dim[3], patch = self->patch;

  for (int64_t y = first; y < end; y++)
    for (int64_t ch = 0; ch < c; ch++) {
      const float *line = latent_line (self->from, ch, y);

      for (int64_t x = 0; x < w; x++) {
        float *token = krn_row (self->to, y / patch * (w / patch) + x / patch);

        token[(y % patch * patch + x % patch) * c + ch] = line[x];
      }
    }
}

krn_status
krn_cpu_patchify (krn_stream *stream, krn_tensor tokens, krn_tensor latent, int patch)
{
  const struct layout self = { .to = tokens, .from = latent, .patch = patch };

  if (!is_patched (tokens, latent, patch))
    return KRN_ERROR_SHAPE;

  krn_for_rows (stream, latent.dim[2], latent.dim[1] * latent.dim[3], patchify_rows, &self);
  return KRN_OK;
}

/* The guided prediction, before its norm is capped. */
static float
guided (const float *pos, const float *neg, int64_t i, float cfg)
{
  return neg ? neg[i] + cfg * (pos[i] - neg[i]) : pos[i];
}

/* What the prediction is multiplied by so that its norm over all elements stays under the cap. */
static float
cap_factor (const struct krn_sampler_step *args, const struct krn_step_coefs *k)
{
  const int64_t tokens = krn_rows (args->pos), n = args->pos.dim[3];
  double pos_sum = 0., out_sum = 0., cap;

  if (!(k->norm_cap > 0.f))
    return 1.f;
  for (int64_t t = 0; t < tokens; t++) {
    const float *pos = krn_row (args->pos, t);
    const float *neg = args->neg.data ? krn_row (args->neg, t) : NULL;

    for (int64_t i = 0; i < n; i++) {
      const double out = (double) guided (pos, neg, i, k->cfg);

      pos_sum += (double) pos[i] * (double) pos[i];
      out_sum += out * out;
    }
  }
  cap = (double) k->norm_cap * sqrt (pos_sum);
  return sqrt (out_sum) > cap ? (float) (cap / sqrt (out_sum)) : 1.f;
}

/* The lines of one channel and row of the latent; NULL where absent. */
struct lines {
  float *x, *base, *history, *denoised;
  const float *noise;
};

static void
step_element (const struct lines *line, const struct krn_step_coefs *k, int64_t i, float out)
{
  const float x = line->x[i], denoised = k->d_x * x + k->d_out * out;
  float next = k->to_x * x + k->to_out * out + k->to_d * denoised;

  /* A coefficient of 0 means not looked at: the memory may hold anything. */
  if (line->base && k->to_base != 0.f)
    next += k->to_base * line->base[i];
  if (line->history && k->to_history != 0.f)
    next += k->to_history * line->history[i];
  if (line->noise && k->to_noise != 0.f)
    next += k->to_noise * line->noise[i];

  line->x[i] = next;
  line->denoised[i] = denoised;
  if (line->history && k->keep_history != 0.f)
    line->history[i] = denoised;
  if (line->base && k->keep_base != 0.f)
    line->base[i] = next;
}

/* A sampler step; part i of it is a line of one channel. */
struct step {
  const struct krn_sampler_step *args;
  struct krn_step_coefs k;
  float factor; /* of the prediction */
};

static void
step_line (const struct step *self, int64_t ch, int64_t y)
{
  const struct krn_sampler_step *args = self->args;
  const int64_t c = args->x.dim[1], w = args->x.dim[3];
  const int patch = args->patch;
  const struct lines line = {
    .x = latent_line (args->x, ch, y),
    .base = args->base.data ? latent_line (args->base, ch, y) : NULL,
    .history = args->history.data ? latent_line (args->history, ch, y) : NULL,
    .noise = args->noise.data ? latent_line (args->noise, ch, y) : NULL,
    .denoised = latent_line (args->denoised, ch, y),
  };

  for (int64_t x = 0; x < w; x++) {
    const int64_t token = y / patch * (w / patch) + x / patch;
    const float *pos = krn_row (args->pos, token);
    const float *neg = args->neg.data ? krn_row (args->neg, token) : NULL;
    const int64_t i = (y % patch * patch + x % patch) * c + ch;

    step_element (&line, &self->k, x, self->factor * guided (pos, neg, i, self->k.cfg));
  }
}

static void
step_lines (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct step *self = data;
  const int64_t h = self->args->x.dim[2];

  for (int64_t i = first; i < end; i++)
    step_line (self, i / h, i % h);
}

static bool
may_be_latent (krn_tensor t, krn_tensor x)
{
  return t.data == NULL || krn_is_image (t, KRN_F32, x.dim[1], x.dim[2], x.dim[3]);
}

krn_status
krn_cpu_sampler_step (krn_stream *stream, const struct krn_sampler_step *args)
{
  struct step self = { .args = args };

  if (!is_patched (args->pos, args->x, args->patch) ||
      (args->neg.data && !is_patched (args->neg, args->x, args->patch)) ||
      !krn_is_vector (args->coefs, KRN_STEP_COEFS) || !may_be_latent (args->base, args->x) ||
      !may_be_latent (args->history, args->x) || !may_be_latent (args->noise, args->x) ||
      !args->denoised.data || !may_be_latent (args->denoised, args->x))
    return KRN_ERROR_SHAPE;

  memcpy (&self.k, args->coefs.data, sizeof self.k);
  self.factor = cap_factor (args, &self.k);
  krn_for_rows (stream, krn_rows (args->x), args->x.dim[3], step_lines, &self);
  return KRN_OK;
}

static void
to_nhwc_rows (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct layout *self = data;
  const int64_t c = self->to.dim[3], w = self->to.dim[2];

  for (int64_t y = first; y < end; y++)
    for (int64_t ch = 0; ch < c; ch++) {
      const float *line = latent_line (self->from, ch, y);

      for (int64_t x = 0; x < w; x++)
        krn_row (self->to, y * w + x)[ch] = line[x] * self->mul + self->add;
    }
}

krn_status
krn_cpu_to_nhwc (krn_stream *stream, krn_tensor y, krn_tensor x, float mul, float add)
{
  const struct layout self = { .to = y, .from = x, .mul = mul, .add = add };

  if (!krn_is_tensor (y, KRN_F32) || y.dim[0] != 1 ||
      !krn_is_image (x, KRN_F32, y.dim[3], y.dim[1], y.dim[2]))
    return KRN_ERROR_SHAPE;

  krn_for_rows (stream, y.dim[1], y.dim[2] * y.dim[3], to_nhwc_rows, &self);
  return KRN_OK;
}

static void
to_nchw_rows (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct layout *self = data;
  const int64_t c = self->to.dim[1], w = self->to.dim[3];

  for (int64_t y = first; y < end; y++)
    for (int64_t ch = 0; ch < c; ch++) {
      float *line = latent_line (self->to, ch, y);

      for (int64_t x = 0; x < w; x++)
        line[x] = krn_row (self->from, y * w + x)[ch] * self->mul + self->add;
    }
}

krn_status
krn_cpu_to_nchw (krn_stream *stream, krn_tensor y, krn_tensor x, float mul, float add)
{
  const struct layout self = { .to = y, .from = x, .mul = mul, .add = add };

  if (!krn_is_tensor (y, KRN_F32) || y.dim[0] != 1 || x.dim[3] < y.dim[1] ||
      !krn_is_image (x, KRN_F32, y.dim[2], y.dim[3], x.dim[3]))
    return KRN_ERROR_SHAPE;

  krn_for_rows (stream, y.dim[2], y.dim[1] * y.dim[3], to_nchw_rows, &self);
  return KRN_OK;
}

/* [-1, 1] to a byte; NaN gives 0. */
static uint8_t
to_byte (float x)
{
  const float v = (x + 1.f) * 127.5f;

  return v > 0.f ? (uint8_t) rintf (v < 255.f ? v : 255.f) : 0;
}

static uint8_t *
rgba_pixel (krn_tensor rgba, int64_t row)
{
  return (uint8_t *) rgba.data + (size_t) row * (size_t) rgba.stride;
}

/* Pictures as bytes. */
struct rgba {
  krn_tensor rgba, from, factors;
};

static void
latent_rgba_pixels (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct rgba *self = data;
  const int64_t c = self->from.dim[1], w = self->from.dim[3];
  const float *bias = krn_row (self->factors, c);

  for (int64_t i = first; i < end; i++) {
    float sum[3] = { bias[0], bias[1], bias[2] };
    uint8_t *pixel = rgba_pixel (self->rgba, i);

    for (int64_t ch = 0; ch < c; ch++) {
      const float value = latent_line (self->from, ch, i / w)[i % w];
      const float *by = krn_row (self->factors, ch);

      for (int k = 0; k < 3; k++)
        sum[k] += value * by[k];
    }
    for (int k = 0; k < 3; k++)
      pixel[k] = to_byte (sum[k]);
    pixel[3] = 255;
  }
}

krn_status
krn_cpu_latent_rgba (krn_stream *stream, krn_tensor rgba, krn_tensor latent, krn_tensor factors)
{
  const struct rgba self = { rgba, latent, factors };
  const int64_t c = latent.dim[1], h = latent.dim[2], w = latent.dim[3];

  if (!krn_is_tensor (latent, KRN_F32) || latent.dim[0] != 1 ||
      !krn_is_image (rgba, KRN_U8, h, w, 4) || !krn_is_matrix (factors, c + 1, 3))
    return KRN_ERROR_SHAPE;

  krn_for_rows (stream, h * w, 3 * c, latent_rgba_pixels, &self);
  return KRN_OK;
}

static void
image_rgba_pixels (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct rgba *self = data;

  for (int64_t i = first; i < end; i++) {
    const float *from = krn_row (self->from, i);
    uint8_t *to = rgba_pixel (self->rgba, i);

    for (int k = 0; k < 3; k++)
      to[k] = to_byte (from[k]);
    to[3] = 255;
  }
}

krn_status
krn_cpu_image_rgba (krn_stream *stream, krn_tensor rgba, krn_tensor x)
{
  const struct rgba self = { .rgba = rgba, .from = x };

  if (!krn_is_image (x, KRN_F32, x.dim[1], x.dim[2], 3) ||
      !krn_is_image (rgba, KRN_U8, x.dim[1], x.dim[2], 4))
    return KRN_ERROR_SHAPE;

  krn_for_rows (stream, krn_rows (x), 3, image_rgba_pixels, &self);
  return KRN_OK;
}
