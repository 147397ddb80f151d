#include "engine/z_image_private.h"

#include <math.h>

static const krn_tensor none; /* an absent tensor */

/* The scales and gates of one block; all absent without modulation. */
struct modulation {
  krn_tensor scale_msa, gate_msa, scale_mlp, gate_mlp; /* f32 [dim] */
};

/* n blocks over x, act [rows, dim], in place. */
struct stretch {
  const struct eng_z_image_block *blocks;
  int n;
  krn_tensor x, rope, modulation; /* modulation is absent in the context refiner */
};

static struct modulation
get_modulation (const eng_z_image *model, const struct eng_z_image_block *block, krn_tensor row)
{
  const int64_t dim = model->sizes.dim, first = block->modulation;

  if (!row.data)
    return (struct modulation){ 0 };
  return (struct modulation){
    .scale_msa = krn_col_view (row, first, dim),
    .gate_msa = krn_col_view (row, first + dim, dim),
    .scale_mlp = krn_col_view (row, first + 2 * dim, dim),
    .gate_mlp = krn_col_view (row, first + 3 * dim, dim),
  };
}

/* o = attention's output projection of the normalised and scaled h, both act [n, dim]. */
static void
attention (struct eng_run *run, const eng_z_image *model, const struct eng_z_image_block *block,
           krn_tensor o, krn_tensor h, krn_tensor rope)
{
  const struct eng_z_image_sizes *s = &model->sizes;
  const krn_dtype act = run->device->activation;
  const int64_t n = krn_rows (h), dim = s->dim;
  krn_tensor qkv = eng_run_take (run, act, 1, 1, n, 3 * dim);
  krn_tensor mixed = eng_run_take (run, act, 1, 1, n, dim);
  const struct krn_qk_norm_rope norm = {
    .qkv = qkv,
    .q_weight = block->q_norm,
    .k_weight = block->k_norm,
    .rope = rope,
    .q_heads = s->heads,
    .kv_heads = s->heads,
    .head_dim = s->head_dim,
    .kind = KRN_ROPE_INTERLEAVED,
    .eps = 1e-5f, /* not norm_eps: diffusers has it fixed here */
  };
  const struct krn_attention args = {
    .batch = 1,
    .q_heads = s->heads,
    .kv_heads = s->heads,
    .head_dim = s->head_dim,
    .scale = 1.f / sqrtf (s->head_dim),
  };

  ENG_RUN (run, linear, qkv, h, block->qkv, none, false); /* [n, 3 dim] */
  ENG_RUN (run, qk_norm_rope, &norm);
  ENG_RUN (run, attention, mixed, krn_col_view (qkv, 0, dim), krn_col_view (qkv, dim, dim),
           krn_col_view (qkv, 2 * dim, dim), &args);        /* [n, dim] */
  ENG_RUN (run, linear, o, mixed, block->out, none, false); /* [n, dim] */
  eng_run_drop (run, mixed);
  eng_run_drop (run, qkv);
}

static void
feed_forward (struct eng_run *run, const eng_z_image *model, const struct eng_z_image_block *block,
              krn_tensor o, krn_tensor h)
{
  const krn_dtype act = run->device->activation;
  krn_tensor gate_up = eng_run_take (run, act, 1, 1, krn_rows (h), 2 * model->ffn);
  krn_tensor inner = eng_run_take (run, act, 1, 1, krn_rows (h), model->ffn);

  ENG_RUN (run, linear, gate_up, h, block->gate_up, none, false); /* [n, 2 ffn] */
  ENG_RUN (run, silu_gate, inner, gate_up);                       /* [n, ffn] */
  ENG_RUN (run, linear, o, inner, block->down, none, false);      /* [n, dim] */
  eng_run_drop (run, inner);
  eng_run_drop (run, gate_up);
}

/* The seams between halves of a block and between blocks, a gated residual and the next half's
 * norm, are one operation each; so every block leaves h ready for the next one. */
static void
run_blocks (struct eng_run *run, const eng_z_image *model, const struct stretch *stretch)
{
  const struct eng_z_image_block *end = stretch->blocks + stretch->n;
  const int64_t n = krn_rows (stretch->x);
  krn_tensor h = eng_run_take (run, run->device->activation, 1, 1, n, model->sizes.dim);
  krn_tensor o = eng_run_take (run, run->device->activation, 1, 1, n, model->sizes.dim);
  struct modulation m = get_modulation (model, stretch->blocks, stretch->modulation);

  ENG_RUN (run, rms_norm, h, stretch->x, stretch->blocks->norm1, m.scale_msa, model->eps);
  for (const struct eng_z_image_block *block = stretch->blocks; block < end; block++) {
    struct krn_residual_norm seam = { .x = stretch->x, .h = o, .y = h, .eps = model->eps };

    attention (run, model, block, o, h, stretch->rope);
    seam.h_weight = block->norm2;
    seam.gate = m.gate_msa;
    seam.y_weight = block->ffn_norm1;
    seam.y_scale = m.scale_mlp;
    ENG_RUN (run, residual_norm, &seam);

    feed_forward (run, model, block, o, h);
    seam.h_weight = block->ffn_norm2;
    seam.gate = m.gate_mlp;
    if (block + 1 < end) {
      m = get_modulation (model, block + 1, stretch->modulation);
      seam.y_weight = block[1].norm1;
      seam.y_scale = m.scale_msa;
    } else {
      seam.y = none;
    }
    ENG_RUN (run, residual_norm, &seam);
  }
  eng_run_drop (run, o);
  eng_run_drop (run, h);
}

void
eng_z_image_caption (struct eng_run *run, const eng_z_image *model, krn_tensor refined,
                     krn_tensor embedding, krn_tensor rope)
{
  const int64_t n = krn_rows (embedding), pad = krn_rows (refined) - n;
  const int64_t width = model->sizes.caption_width;
  krn_tensor h = eng_run_take (run, run->device->activation, 1, 1, n, width);
  const struct stretch stretch = {
    .blocks = model->context, .n = model->sizes.refiners, .x = refined, .rope = rope
  };

  ENG_RUN (run, rms_norm, h, embedding, model->caption_norm, none, model->eps);
  ENG_RUN (run, linear, krn_row_view (refined, 0, n), h, model->caption_embed, model->caption_bias,
           false); /* [n, dim] */
  eng_run_drop (run, h);
  if (pad > 0)
    ENG_RUN (run, copy, krn_row_view (refined, n, pad), model->caption_pad);
  run_blocks (run, model, &stretch);
}

static void
block_modulation (struct eng_run *run, const eng_z_image *model,
                  const struct eng_z_image_block *block, krn_tensor modulation, krn_tensor time)
{
  krn_tensor part = krn_col_view (modulation, block->modulation, 4 * model->sizes.dim);

  ENG_RUN (run, linear, part, time, block->ada, block->ada_bias, false); /* [n, 4 dim] */
}

void
eng_z_image_modulation (struct eng_run *run, const eng_z_image *model, krn_tensor modulation,
                        krn_tensor sinusoid)
{
  const struct eng_z_image_sizes *s = &model->sizes;
  const int64_t n = krn_rows (sinusoid);
  krn_tensor inner = eng_run_take (run, KRN_F32, 1, 1, n, ENG_Z_IMAGE_TIME_INNER);
  krn_tensor time = eng_run_take (run, KRN_F32, 1, 1, n, model->time);
  krn_tensor final = krn_col_view (modulation, s->modulation - s->dim, s->dim);

  ENG_RUN (run, linear, inner, sinusoid, model->time1, model->time1_bias, false);
  ENG_RUN (run, silu, inner, inner);
  ENG_RUN (run, linear, time, inner, model->time2, model->time2_bias, false);
  for (int i = 0; i < s->refiners; i++)
    block_modulation (run, model, &model->noise[i], modulation, time);
  for (int i = 0; i < s->layers; i++)
    block_modulation (run, model, &model->layers[i], modulation, time);
  ENG_RUN (run, silu, time, time); /* only the final layer wants it */
  ENG_RUN (run, linear, final, time, model->final_ada, model->final_ada_bias, false);
  eng_run_drop (run, time);
  eng_run_drop (run, inner);
}

/* x: act [padded, dim], the patches of latent, embedded, and pad tokens behind them. */
static void
embed_image (struct eng_run *run, const eng_z_image *model, krn_tensor x, krn_tensor latent)
{
  const struct eng_z_image_sizes *s = &model->sizes;
  const int64_t n = latent.dim[2] / s->patch * (latent.dim[3] / s->patch);
  const int64_t pad = krn_rows (x) - n;
  krn_tensor patches =
      eng_run_take (run, run->device->activation, 1, 1, n, s->patch * s->patch * s->channels);

  ENG_RUN (run, patchify, patches, latent, s->patch); /* [n, 64] */
  ENG_RUN (run, linear, krn_row_view (x, 0, n), patches, model->x_embed, model->x_embed_bias,
           false); /* [n, dim] */
  if (pad > 0)
    ENG_RUN (run, copy, krn_row_view (x, n, pad), model->x_pad);
  eng_run_drop (run, patches);
}

void
eng_z_image_forward (struct eng_run *run, const eng_z_image *model, krn_tensor out,
                     krn_tensor latent, krn_tensor refined, krn_tensor modulation, krn_tensor rope)
{
  const struct eng_z_image_sizes *s = &model->sizes;
  const krn_dtype act = run->device->activation;
  const int64_t n = krn_rows (out), padded = eng_z_image_pad (model, n);
  krn_tensor x = eng_run_take (run, act, 1, 1, padded + krn_rows (refined), s->dim);
  krn_tensor image = krn_row_view (x, 0, padded);
  krn_tensor scale = krn_col_view (modulation, s->modulation - s->dim, s->dim);
  const struct stretch noise = {
    .blocks = model->noise,
    .n = s->refiners,
    .x = image,
    .rope = krn_row_view (rope, 0, padded),
    .modulation = modulation,
  };
  const struct stretch layers = {
    .blocks = model->layers, .n = s->layers, .x = x, .rope = rope, .modulation = modulation
  };

  embed_image (run, model, image, latent);
  run_blocks (run, model, &noise);
  ENG_RUN (run, copy, krn_row_view (x, padded, krn_rows (refined)), refined);
  run_blocks (run, model, &layers); /* image tokens first, then the caption's */

  krn_tensor h = eng_run_take (run, act, 1, 1, n, s->dim);
  ENG_RUN (run, layer_norm, h, krn_row_view (x, 0, n), scale, 1e-6f);
  ENG_RUN (run, linear, out, h, model->final_linear, model->final_bias, false); /* [n, 64] */
  eng_run_drop (run, h);
  eng_run_drop (run, x);
}
