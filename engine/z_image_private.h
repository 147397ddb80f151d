/* engine/z_image_private.h - the weights of S3-DiT: z_image.c asks for them, z_image_forward.c
 * runs. */
#pragma once

#include "engine/z_image.h"

enum {
  ENG_Z_IMAGE_TIME_WIDTH = 256, /* of the sinusoid, and the most that the time vector has */
  ENG_Z_IMAGE_TIME_INNER = 1024,
  ENG_Z_IMAGE_AXES = 3, /* caption position or image, row, column */
};

struct eng_z_image_block {
  krn_tensor norm1;          /* [dim], before attention */
  krn_tensor qkv;            /* [3 * dim, dim] */
  krn_tensor q_norm, k_norm; /* [head_dim] */
  krn_tensor out;            /* [dim, dim] */
  krn_tensor norm2;          /* [dim], after attention */
  krn_tensor ffn_norm1;      /* [dim] */
  krn_tensor gate_up;        /* [2 * ffn, dim]: w1, w3 */
  krn_tensor down;           /* [dim, ffn]: w2 */
  krn_tensor ffn_norm2;      /* [dim] */
  krn_tensor ada, ada_bias;  /* [4 * dim, time]; absent in the context refiner */
  int64_t modulation;        /* where the block's four vectors begin in a row of modulation */
};

struct eng_z_image {
  struct eng_z_image_sizes sizes;
  int ffn, time; /* widths: of the MLP, of the time vector */
  int axes[ENG_Z_IMAGE_AXES];
  double eps, theta;
  gboolean native; /* the spelling of names on disk */

  krn_tensor x_embed, x_embed_bias;                   /* [dim, patch * patch * channels] */
  krn_tensor x_pad, caption_pad;                      /* [dim] */
  krn_tensor caption_norm;                            /* [caption_width] */
  krn_tensor caption_embed, caption_bias;             /* [dim, caption_width] */
  krn_tensor time1, time1_bias;                       /* [time_inner, time_width] */
  krn_tensor time2, time2_bias;                       /* [time, time_inner] */
  krn_tensor final_ada, final_ada_bias;               /* [dim, time] */
  krn_tensor final_linear, final_bias;                /* [patch * patch * channels, dim] */
  struct eng_z_image_block *noise, *context, *layers; /* sizes.refiners of the first two */
};
