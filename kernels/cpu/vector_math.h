/* kernels/cpu/vector_math.h - functions that the compiler turns into vector code inside a loop.
 *
 * They hold no branch and no call.  Accurate to about 1e-7 relative; NaN stays NaN. */
#pragma once

#include <stdint.h>
#include <string.h>

/* e^x as 2^n e^r with |r| <= ln (2) / 2, where the Taylor polynomial of degree 7 is off by 5e-9.
 * 0 below -87.3, where the result is no longer a normal number; never infinite. */
static inline float
krn_exp (float x)
{
  const float lowest = -87.3f, highest = 88.3f;
  const float low = x < lowest ? lowest : x, t = low > highest ? highest : low;
  const float round = 12582912.f; /* 1.5 * 2^23: adding it leaves the nearest integer */
  const float shifted = t * 1.44269504f + round, n = shifted - round;
  const float r = (t - n * 0.693359375f) + n * 2.12194440e-4f; /* ln 2 in two parts */
  float p = 1.f / 5040.f, scale;
  int32_t bits;

  p = p * r + 1.f / 720.f;
  p = p * r + 1.f / 120.f;
  p = p * r + 1.f / 24.f;
  p = p * r + 1.f / 6.f;
  p = p * r + 0.5f;
  p = p * r + 1.f;
  p = p * r + 1.f;

  memcpy (&bits, &shifted, sizeof bits);
  bits = (int32_t) ((uint32_t) (bits + 127) << 23); /* n is in the low bits of shifted */
  memcpy (&scale, &bits, sizeof scale);
  return x < lowest ? 0.f : p * scale;
}

static inline float
krn_silu (float x)
{
  return x / (1.f + krn_exp (-x));
}

/* Near 0, where 1 - 2 / (e^2x + 1) cancels, Lambert's continued fraction; its error is 1e-9. */
static inline float
krn_tanh (float x)
{
  const float z = x * x, large = 1.f - 2.f / (krn_exp (2.f * x) + 1.f);
  const float small = x * (945.f + z * (105.f + z)) / (945.f + z * (420.f + z * 15.f));

  return z < 0.3f ? small : large;
}
