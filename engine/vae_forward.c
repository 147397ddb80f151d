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
  struct krn_conv add = same;

  if (shortcut)
    ENG_RUN (run, conv2d, y, x, resnet->shortcut.w, resnet->shortcut.bias, &point);
  ENG_RUN (run, group_norm, a, x, resnet->norm1.w, resnet->norm1.bias, model->groups, norm_eps,
           true);
  ENG_RUN (run, conv2d, b, a, resnet->conv1.w, resnet->conv1.bias, &same);
  eng_run_drop (run, a);
  ENG_RUN (run, group_norm, b, b, resnet->norm2.w, resnet->norm2.bias, model->groups, norm_eps,
           true);
  add.add = y;
  ENG_RUN (run, conv2d, y, b, resnet->conv2.w, resnet->conv2.bias, &add);
  eng_run_drop (run, b);
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

/* The stages one after another, with sample between them. */
static krn_tensor
stages_forward (struct eng_run *run, const eng_vae *model, const struct eng_vae_coder *coder,
                const struct krn_conv *sample, krn_tensor x)
{
  for (int i = 0; i < model->n_widths; i++) {
    const struct eng_vae_stage *stage = &coder->stages[i];

    for (int k = 0; k < stage->n; k++)
      x = resnet_forward (run, model, &stage->resnets[k], x);
    if (i < model->n_widths - 1)
      x = conv_forward (run, &stage->sample, sample, x);
  }
  return x;
}

void
eng_vae_decode (struct eng_run *run, const eng_vae *model, krn_tensor image, krn_tensor latent)
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
  x = stages_forward (run, model, coder, &twice, x);
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
  x = stages_forward (run, model, coder, &half, x);
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
