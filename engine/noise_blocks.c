/* engine/noise_blocks.c - compiled once without and once with the processor's fused operations,
 * which make the same numbers in a quarter of the time; Meson gives ENG_NOISE_BLOCKS, the name.
 *
 * torch evaluates logarithm, sine and cosine with the float polynomials of Moshier's Cephes library
 * (coefficients and argument reduction below are that library's), eight lanes at a time, and GCC
 * contracts products and sums into fused ones where it may.  Where it does was found by comparing
 * bits; a plain sum of products here would be wrong in the last bit. */
#include "engine/noise_blocks.h"

#include <glib.h>
#include <math.h>
#include <stdint.h>

/* Of x in [2^-24, 1]. */
static float
block_log (float x)
{
  static const float p[] = { 7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                             -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                             2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f };
  union {
    float value;
    uint32_t bits;
  } part = { x };
  const int exponent = (int) (part.bits >> 23) - 126;
  part.bits = (part.bits & 0x7fffff) | 0x3f000000; /* x = part 2^exponent, part in [0.5, 1) */
  const int low = part.value < 0.707106781186547524f;
  const float m = part.value + (low ? part.value : 0.f) - 1.f;

  const float square = m * m;
  const float e = (float) (exponent - low);
  float y = p[0];
  for (gsize i = 1; i < G_N_ELEMENTS (p); i++)
    y = fmaf (y, m, p[i]);
  y = fmaf (y * m, square, e * -2.12194440e-4f);
  y = fmaf (square, -0.5f, y);
  return fmaf (e, 0.693359375f, m + y);
}

/* Of x in [0, 2 pi]. */
static void
block_sincos (float x, float *sine, float *cosine)
{
  const int octant = ((int) (x * 1.27323954473516f) + 1) & ~1; /* times 4 / pi, rounded to even */
  const float k = (float) octant;
  float s, c;

  x = fmaf (k, -0.78515625f, x);
  x = fmaf (k, -2.4187564849853515625e-4f, x);
  x = fmaf (k, -3.77489497744594108e-8f, x);

  const float z = x * x;
  c = fmaf (2.443315711809948e-5f, z, -1.388731625493765e-3f);
  c = fmaf (c, z, 4.166664568298827e-2f);
  c = fmaf (c * z, z, -(z * 0.5f)) + 1.f;
  s = fmaf (-1.9515295891e-4f, z, 8.3321608736e-3f);
  s = fmaf (s, z, -1.6666654611e-1f);
  s = fmaf (s * z, x, x);

  const gboolean swap = octant & 2;
  *sine = (octant & 4 ? -1.f : 1.f) * (swap ? c : s);
  *cosine = ((octant + 2) & 4 ? -1.f : 1.f) * (swap ? s : c);
}

/* Box-Muller: i is paired with i + 8. */
static void
block_normal (float *block)
{
  for (int i = 0; i < 8; i++) {
    const float radius = sqrtf (-2.f * block_log (1.f - block[i]));
    float sine, cosine;

    block_sincos (6.283185307179586f * block[i + 8], &sine, &cosine);
    block[i] = radius * cosine + 0.f; /* + the mean: makes -0 a 0 */
    block[i + 8] = radius * sine + 0.f;
  }
}

void
ENG_NOISE_BLOCKS (float *values, size_t n)
{
  for (size_t i = 0; i < n; i++)
    block_normal (values + i * 16);
}
