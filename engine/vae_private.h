/* engine/vae_private.h - the weights of the autoencoder: vae.c asks for them, vae_forward.c runs.
 */
#pragma once

#include "engine/vae.h"

enum { ENG_VAE_MAX_STAGES = 8, ENG_VAE_MAX_LAYERS = 8 };

struct eng_vae_conv {
  krn_tensor w, bias; /* [out, size, size, in], [out] */
  int out, size;      /* set before the weights are there */
};

struct eng_vae_norm {
  krn_tensor w, bias; /* [channels] */
};

struct eng_vae_resnet {
  struct eng_vae_norm norm1, norm2;
  struct eng_vae_conv conv1, conv2;
  struct eng_vae_conv shortcut; /* absent when in and out are as wide */
};

/* One head over all pixels, as wide as the image. */
struct eng_vae_attention {
  struct eng_vae_norm norm;
  krn_tensor qkv, qkv_bias; /* [3 * width, width] */
  krn_tensor out, out_bias; /* [width, width] */
};

/* Resnets of one resolution, then a change of it. */
struct eng_vae_stage {
  struct eng_vae_resnet resnets[ENG_VAE_MAX_LAYERS + 1];
  int n;
  struct eng_vae_conv sample; /* half or double size; absent in the last stage */
};

/* The encoder or the decoder. */
struct eng_vae_coder {
  struct eng_vae_conv in, out;
  struct eng_vae_stage stages[ENG_VAE_MAX_STAGES];
  struct eng_vae_resnet mid[2];
  struct eng_vae_attention attention; /* absent in some */
  struct eng_vae_norm norm_out;
  struct eng_vae_conv quant; /* 1x1, behind the encoder or before the decoder; absent in Flux's */
};

struct eng_vae {
  struct eng_vae_sizes sizes;
  int widths[ENG_VAE_MAX_STAGES], n_widths, layers, groups;
  gboolean quant, post_quant, attention;
  gboolean original; /* names as in the file that Flux and Stable Diffusion were released with */
  struct eng_vae_coder encoder, decoder;
};
