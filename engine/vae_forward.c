#include "engine/vae_private.h"

#include <math.h>

static const float norm_eps = 1e-6f; /* of every GroupNorm; diffusers has it fixed */

static const struct krn_conv point = { .stride = 1 };
static const struct krn_conv same = { .stride = 1, .pad_before = 1, .pad_after = 1 };
static const struct krn_conv twice = {
  .stride = 1, .pad_before = 1, .pad_after = 1, .upsample = true
};
static const struct krn_conv half = { .stride = 2, .pad_after = 1 };

/* A convolution from the taken tensor x, which is dropped, to a new one. */
static krn_tensor
conv_forward (struct eng_run *run, const struct eng_vae_conv *conv, const struct krn_conv *args,
              krn_tensor x)
{
  const int grow = args->upsample ? 2 : 1, pad = args->pad_before + args->pad_after - conv->size;
  krn_tensor y =
      eng_run_take (run, run->device->activation, 1, (x.dim[1] * grow + pad) / args->stride + 1,
                    (x.dim[2] * grow + pad) / args->stride + 1, conv->out);

  ENG_RUN (run, conv2d, y, x, conv->w, conv->bias, args);
  eng_run_drop (run, x);
  return y;
}

/* The second half of a resnet, in place: y += conv2 (norm2 (b)); b is dropped. */
static void
finish_resnet (struct eng_run *run, const eng_vae *model, const struct eng_vae_resnet *resnet,
               krn_tensor y, krn_tensor b)
{
  struct krn_conv add = same;

  ENG_RUN (run, group_norm, b, b, resnet->norm2.w, resnet->norm2.bias, model->groups, norm_eps,
           true);
  add.add = y;
  ENG_RUN (run, conv2d, y, b, resnet->conv2.w, resnet->conv2.bias, &add);
  eng_run_drop (run, b);
}

/* x is a taken tensor {1, h, w, in}; the result, {1, h, w, out}, replaces it.  With a shortcut the
 * sum begins with that, so that x itself can be normalised: in the last stage, where it is twice as
 * wide as what comes out, that saves a fifth of the decoder's memory. */
static krn_tensor
resnet_forward (struct eng_run *run, const eng_vae *model, const struct eng_vae_resnet *resnet,
                krn_tensor x)
{
  const krn_dtype act = run->device->activation;
  const int64_t h = x.dim[1], w = x.dim[2];
  const gboolean shortcut = x.dim[3] != resnet->conv1.out;
  krn_tensor y = shortcut ? eng_run_take (run, act, 1, h, w, resnet->conv1.out) : x;
  krn_tensor a = shortcut ? x : eng_run_take (run, act, 1, h, w, x.dim[3]);
  krn_tensor b = eng_run_take (run, act, 1, h, w, resnet->conv1.out);

  if (shortcut)
    ENG_RUN (run, conv2d, y, x, resnet->shortcut.w, resnet->shortcut.bias, &point);
  ENG_RUN (run, group_norm, a, x, resnet->norm1.w, resnet->norm1.bias, model->groups, norm_eps,
           true);
  ENG_RUN (run, conv2d, b, a, resnet->conv1.w, resnet->conv1.bias, &same);
  eng_run_drop (run, a);
  finish_resnet (run, model, resnet, y, b);
  return y;
}

/* x: {1, h, w, n}, in place. */
static void
attention_forward (struct eng_run *run, const eng_vae *model,
                   const struct eng_vae_attention *attention, krn_tensor x)
{
  const krn_dtype act = run->device->activation;
  const int64_t rows = krn_rows (x), n = x.dim[3];
  krn_tensor h = eng_run_take (run, act, 1, x.dim[1], x.dim[2], n);
  krn_tensor qkv = eng_run_take (run, act, 1, 1, rows, 3 * n);
  const struct krn_attention args = {
    .batch = 1, .q_heads = 1, .kv_heads = 1, .head_dim = n, .scale = 1.f / sqrtf (n)
  };

  ENG_RUN (run, group_norm, h, x, attention->norm.w, attention->norm.bias, model->groups, norm_eps,
           false);
  ENG_RUN (run, linear, qkv, h, attention->qkv, attention->qkv_bias, false); /* [h w, 3 n] */
  ENG_RUN (run, attention, h, krn_col_view (qkv, 0, n), krn_col_view (qkv, n, n),
           krn_col_view (qkv, 2 * n, n), &args);                          /* [h w, n] */
  ENG_RUN (run, linear, x, h, attention->out, attention->out_bias, true); /* [h w, n] */
  eng_run_drop (run, qkv);
  eng_run_drop (run, h);
}

static krn_tensor
mid_forward (struct eng_run *run, const eng_vae *model, const struct eng_vae_coder *coder,
             krn_tensor x)
{
  x = resnet_forward (run, model, &coder->mid[0], x);
  if (model->attention)
    attention_forward (run, model, &coder->attention, x);
  return resnet_forward (run, model, &coder->mid[1], x);
}

/* The first n stages one after another, with sample between them. */
static krn_tensor
stages_forward (struct eng_run *run, const eng_vae *model, const struct eng_vae_coder *coder,
                const struct krn_conv *sample, krn_tensor x, int n)
{
  for (int i = 0; i < n; i++) {
    const struct eng_vae_stage *stage = &coder->stages[i];

    for (int k = 0; k < stage->n; k++)
      x = resnet_forward (run, model, &stage->resnets[k], x);
    if (i < n - 1)
      x = conv_forward (run, &stage->sample, sample, x);
  }
  return x;
}

/* ---- In bands ----
 *
 * A 3x3 convolution needs a row more above and below of what it reads.  So that all bands have one
 * shape, for which a device chooses its way once, the first has both rows below it and the last
 * both above; rows next to a cut come out wrong and are not used. */

enum { BAND_ROWS = 64 }; /* at most: 1024 pixels wide they still fill a GPU */

/* Rows of a band: an even part of the height; 0 when that leaves fewer than two. */
static int64_t
choose_rows (int64_t height)
{
  for (int64_t rows = BAND_ROWS; rows >= 4; rows -= 2)
    if (height % rows == 0 && height > rows)
      return rows;
  return 0;
}

/* Where band i of an image of that height begins, with the two rows more that it reads. */
static int64_t
window_start (int64_t i, int64_t rows, int64_t height)
{
  return CLAMP (i * rows - 1, 0, height - rows - 2);
}

/* Rows [first, first + n) of an image. */
static krn_tensor
band_view (krn_tensor x, int64_t first, int64_t n)
{
  const krn_tensor rows = krn_row_view (x, first * x.dim[2], n * x.dim[2]);

  return (krn_tensor){ rows.data, x.dtype, { 1, n, x.dim[2], x.dim[3] }, x.stride };
}

/* Band i of what the last stage begins with, x doubled and convolved: its window, in u, which has
 * two rows more. */
static krn_tensor
double_band (struct eng_run *run, const struct eng_vae_conv *sample, krn_tensor x, krn_tensor u,
             int64_t i)
{
  const int64_t rows = u.dim[1] - 4, height = 2 * x.dim[1];
  const int64_t first = CLAMP (i * rows / 2 - 1, 0, x.dim[1] - rows / 2 - 2);

  ENG_RUN (run, conv2d, u, band_view (x, first, rows / 2 + 2), sample->w, sample->bias, &twice);
  return band_view (u, window_start (i, rows, height) - 2 * first, rows + 2);
}

/* b's band i from its normalised window; v: memory for as many rows. */
static void
conv_band (struct eng_run *run, const struct eng_vae_conv *conv, krn_tensor b, krn_tensor window,
           krn_tensor v, int64_t i)
{
  const int64_t rows = window.dim[1] - 2;
  const int64_t inner = i * rows - window_start (i, rows, b.dim[1]);

  ENG_RUN (run, conv2d, v, window, conv->w, conv->bias, &same);
  ENG_RUN (run, copy, band_view (b, i * rows, rows), band_view (v, inner, rows));
}

/* The doubling before the last stage and that stage's first resnet, which narrows it: what is
 * between them is never there as a whole.  x is dropped. */
static krn_tensor
narrow_in_bands (struct eng_run *run, const eng_vae *model, const struct eng_vae_conv *sample,
                 const struct eng_vae_resnet *resnet, krn_tensor x)
{
  const krn_dtype act = run->device->activation;
  const int64_t h = 2 * x.dim[1], w = 2 * x.dim[2], rows = choose_rows (h), n = h / rows;
  const int out = resnet->conv1.out;
  krn_tensor y = eng_run_take (run, act, 1, h, w, out), b = eng_run_take (run, act, 1, h, w, out);
  krn_tensor u = eng_run_take (run, act, 1, rows + 4, w, sample->out);
  krn_tensor v = eng_run_take (run, act, 1, rows + 2, w, out);
  krn_tensor stats = eng_run_take (run, KRN_F32, 1, n, model->groups, 2);

  for (int64_t i = 0; i < n; i++) {
    const krn_tensor window = double_band (run, sample, x, u, i);
    const krn_tensor inner = band_view (window, i * rows - window_start (i, rows, h), rows);

    ENG_RUN (run, group_stats, krn_row_view (stats, i * model->groups, model->groups), inner,
             model->groups);
  }
  for (int64_t i = 0; i < n; i++) {
    const krn_tensor window = double_band (run, sample, x, u, i);
    const krn_tensor inner = band_view (window, i * rows - window_start (i, rows, h), rows);

    ENG_RUN (run, conv2d, band_view (y, i * rows, rows), inner, resnet->shortcut.w,
             resnet->shortcut.bias, &point);
    ENG_RUN (run, group_apply, window, window, stats, resnet->norm1.w, resnet->norm1.bias, norm_eps,
             true);
    conv_band (run, &resnet->conv1, b, window, v, i);
  }
  eng_run_drop (run, stats);
  eng_run_drop (run, v);
  eng_run_drop (run, u);
  eng_run_drop (run, x);
  finish_resnet (run, model, resnet, y, b);
  return y;
}

/* A resnet as wide as what it reads, in place: what is normalised for the first convolution is
 * never there as a whole. */
static void
resnet_in_bands (struct eng_run *run, const eng_vae *model, const struct eng_vae_resnet *resnet,
                 krn_tensor x)
{
  const krn_dtype act = run->device->activation;
  const int64_t h = x.dim[1], w = x.dim[2], c = x.dim[3], rows = choose_rows (h);
  krn_tensor b = eng_run_take (run, act, 1, h, w, c);
  krn_tensor a = eng_run_take (run, act, 1, rows + 2, w, c);
  krn_tensor v = eng_run_take (run, act, 1, rows + 2, w, c);
  krn_tensor stats = eng_run_take (run, KRN_F32, 1, 1, model->groups, 2);

  ENG_RUN (run, group_stats, stats, x, model->groups);
  for (int64_t i = 0; i < h / rows; i++) {
    const krn_tensor window = band_view (x, window_start (i, rows, h), rows + 2);

    ENG_RUN (run, group_apply, a, window, stats, resnet->norm1.w, resnet->norm1.bias, norm_eps,
             true);
    conv_band (run, &resnet->conv1, b, a, v, i);
  }
  eng_run_drop (run, stats);
  eng_run_drop (run, v);
  eng_run_drop (run, a);
  finish_resnet (run, model, resnet, x, b);
}

/* All stages of the decoder, the last one in bands. */
static krn_tensor
stages_in_bands (struct eng_run *run, const eng_vae *model, krn_tensor x)
{
  const struct eng_vae_coder *coder = &model->decoder;
  const int last = model->n_widths - 1;
  const struct eng_vae_stage *stage = &coder->stages[last];

  x = stages_forward (run, model, coder, &twice, x, last);
  x = narrow_in_bands (run, model, &coder->stages[last - 1].sample, &stage->resnets[0], x);
  for (int k = 1; k < stage->n; k++)
    resnet_in_bands (run, model, &stage->resnets[k], x);
  return x;
}

/* What the last stage begins with is wider than what it ends with, and high enough. */
static gboolean
has_bands (const eng_vae *model, krn_tensor image)
{
  const int last = model->n_widths - 1;

  return last > 0 && model->widths[0] != model->widths[1] && choose_rows (image.dim[1]) > 0;
}

void
eng_vae_decode (struct eng_run *run, const eng_vae *model, krn_tensor image, krn_tensor latent,
                gboolean banded)
{
  const struct eng_vae_sizes *s = &model->sizes;
  const struct eng_vae_coder *coder = &model->decoder;
  krn_tensor x = eng_run_take (run, run->device->activation, 1, latent.dim[2], latent.dim[3],
                               s->latent_channels);

  ENG_RUN (run, to_nhwc, x, latent, 1.f / s->scaling_factor, s->shift_factor);
  if (model->post_quant)
    x = conv_forward (run, &coder->quant, &point, x);
  x = conv_forward (run, &coder->in, &same, x);
  x = mid_forward (run, model, coder, x);
  x = banded && has_bands (model, image)
          ? stages_in_bands (run, model, x)
          : stages_forward (run, model, coder, &twice, x, model->n_widths);
  ENG_RUN (run, group_norm, x, x, coder->norm_out.w, coder->norm_out.bias, model->groups, norm_eps,
           true);
  ENG_RUN (run, conv2d, image, x, coder->out.w, coder->out.bias, &same);
  eng_run_drop (run, x);
}

void
eng_vae_encode (struct eng_run *run, const eng_vae *model, krn_tensor latent, krn_tensor image)
{
  const struct eng_vae_sizes *s = &model->sizes;
  const struct eng_vae_coder *coder = &model->encoder;
  krn_tensor x =
      eng_run_take (run, run->device->activation, 1, image.dim[1], image.dim[2], coder->in.out);

  ENG_RUN (run, conv2d, x, image, coder->in.w, coder->in.bias, &same);
  x = stages_forward (run, model, coder, &half, x, model->n_widths);
  x = mid_forward (run, model, coder, x);
  ENG_RUN (run, group_norm, x, x, coder->norm_out.w, coder->norm_out.bias, model->groups, norm_eps,
           true);
  x = conv_forward (run, &coder->out, &same, x);
  if (model->quant)
    x = conv_forward (run, &coder->quant, &point, x);
  /* The first half of the channels is the mean. */
  ENG_RUN (run, to_nchw, latent, x, s->scaling_factor, -s->shift_factor * s->scaling_factor);
  eng_run_drop (run, x);
}
