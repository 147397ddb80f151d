/* kernels/cuda/latent.h - where the numbers of a latent lie. */
#pragma once

#include "kernels/cuda/ops.h"

/* A latent [channels, height, width], whose lines lie stride floats apart, and the tokens that its
 * patches make, each (ph, pw, c). */
struct latent_shape {
  unsigned c, h, w, patch;
};

enum { KRN_MOST_OF_LATENT = 1 << 30 }; /* elements: 32-bit quotients are several times as fast */

static inline __host__ __device__ unsigned
latent_count (const struct latent_shape &s)
{
  return s.c * s.h * s.w;
}

/* An element: i counts along the latent's lines. */
struct latent_place {
  unsigned line, col;   /* in the latent */
  unsigned token, part; /* in the tokens */
};

static inline __device__ struct latent_place
latent_place_at (const struct latent_shape &s, unsigned i)
{
  struct latent_place p;
  unsigned channel, y;

  p.line = i / s.w;
  p.col = i % s.w;
  channel = p.line / s.h;
  y = p.line % s.h;
  p.token = y / s.patch * (s.w / s.patch) + p.col / s.patch;
  p.part = (y % s.patch * s.patch + p.col % s.patch) * s.c + channel;
  return p;
}

static inline struct latent_shape
latent_shape_of (krn_tensor latent, int patch)
{
  return { (unsigned) latent.dim[1], (unsigned) latent.dim[2], (unsigned) latent.dim[3],
           (unsigned) patch };
}

static inline bool
krn_is_patched (krn_tensor tokens, krn_tensor latent, int patch)
{
  const int64_t c = latent.dim[1], h = latent.dim[2], w = latent.dim[3];

  return patch > 0 && krn_is_tensor (latent, KRN_F32) && latent.dim[0] == 1 && h % patch == 0 &&
         w % patch == 0 &&
         krn_is_matrix (tokens, KRN_BF16, (h / patch) * (w / patch), (int64_t) patch * patch * c);
}
