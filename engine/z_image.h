/* engine/z_image.h - the S3-DiT of Z-Image, as diffusers' ZImageTransformer2DModel.
 *
 * One picture is: caption once a prompt, modulation once a schedule, forward once a step. */
#pragma once

#include "engine/run.h"
#include "engine/weights.h"

#include <json-glib/json-glib.h>

typedef struct eng_z_image eng_z_image; /* opaque; does not own the memory its weights point to */

struct eng_z_image_sizes {
  int dim, heads, head_dim, layers, refiners;
  int channels, patch; /* of the latent; patch is 2 */
  int caption_width;   /* of the text encoder's output */
  int time_width;      /* sinusoid: 256 */
  int modulation;      /* floats that one time step needs in all blocks together */
  int multiple;        /* token runs are padded to a multiple of this: 32 */
  float t_scale;       /* 1000 */
};

/* config: config.json's object, or NULL for a native single file, whose sizes are then read from
 * its tensors (spelling, diffusers or native, is found by eng_loader_has). */
eng_z_image *eng_z_image_new (JsonObject *config, eng_loader *loader, GError **error);
void eng_z_image_free (eng_z_image *model);
const struct eng_z_image_sizes *eng_z_image_get_sizes (const eng_z_image *model);

/* Host: rounds up to the multiple. */
int eng_z_image_pad (const eng_z_image *model, int tokens);
/* Host: fills table, f32 [pad (h / patch * w / patch) + caption, head_dim], for a latent of h x w
 * and a padded caption of that many tokens: image rows, image pad rows, caption rows. */
void eng_z_image_rope (const eng_z_image *model, float *table, int h, int w, int caption);
/* Host: fills sinusoid, f32 [n, time_width], for n values of t = 1 - sigma. */
void eng_z_image_sinusoid (const eng_z_image *model, float *sinusoid, const float *t, int n);

/* refined: act [padded, dim], the context refiner's output for embedding, act [n, caption_width];
 * padded is eng_z_image_pad (n).  rope: the last `padded` rows of the table. */
void eng_z_image_caption (struct eng_run *run, const eng_z_image *model, krn_tensor refined,
                          krn_tensor embedding, krn_tensor rope);
/* modulation: f32 [n, sizes.modulation], every adaLN vector of n time steps (gates before tanh).
 * sinusoid: f32 [n, time_width]. */
void eng_z_image_modulation (struct eng_run *run, const eng_z_image *model, krn_tensor modulation,
                             krn_tensor sinusoid);
/* out: act [h / patch * w / patch, patch * patch * channels], the network's output before
 * unpatchify (the negated velocity).  latent: f32 {1, channels, h, w}.  modulation: f32 [1,
 * sizes.modulation]. */
void eng_z_image_forward (struct eng_run *run, const eng_z_image *model, krn_tensor out,
                          krn_tensor latent, krn_tensor refined, krn_tensor modulation,
                          krn_tensor rope);
