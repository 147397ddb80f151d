/* engine/vae.h - AutoencoderKL of 16 (or 4) latent channels, as diffusers'; NHWC throughout. */
#pragma once

#include "engine/run.h"
#include "engine/weights.h"

#include <json-glib/json-glib.h>

typedef struct eng_vae eng_vae; /* opaque; does not own the memory its weights point to */

struct eng_vae_sizes {
  int latent_channels;
  int scale;                          /* pixels per latent element: 8 */
  float scaling_factor, shift_factor; /* latent in model space = (raw - shift) * scaling */
  gboolean has_encoder;               /* and it was asked for */
};

/* config: config.json's object, or NULL for a file with the original (Flux "ae") names, which then
 * has the Flux sizes and factors.  The encoder is asked of the loader only by eng_vae_want_encoder,
 * and only when the file has it. */
eng_vae *eng_vae_new (JsonObject *config, eng_loader *loader, GError **error);
void eng_vae_want_encoder (eng_vae *model, eng_loader *loader);
void eng_vae_free (eng_vae *model);
const struct eng_vae_sizes *eng_vae_get_sizes (const eng_vae *model);

/* image: act {1, h * scale, w * scale, 3} in about [-1, 1].  latent: f32 {1, channels, h, w} in
 * model space (scaled); the factors are applied inside.  banded: the last stage's widest images are
 * made in bands of rows, twice, which takes 40 % less memory and an eighth more work; the picture
 * differs by rounding only, since the norms' statistics are those of the whole. */
void eng_vae_decode (struct eng_run *run, const eng_vae *model, krn_tensor image, krn_tensor latent,
                     gboolean banded);
/* latent: f32 {1, channels, h, w}: the mean of the distribution, in model space.  image: act
 * {1, h * scale, w * scale, 3}. */
void eng_vae_encode (struct eng_run *run, const eng_vae *model, krn_tensor latent,
                     krn_tensor image);
