#include "ui/sl-resample.h"

#include <math.h>

struct taps {    /* the filter for every position along one axis */
  int n;         /* taps a position */
  int *first;    /* [to]; may lie outside, clamped when read */
  float *weight; /* [to, n], each row sums to 1 */
};

/* Mitchell and Netravali's filter with B = C = 1/3; zero from 2 on. */
static float
mitchell (float x)
{
  x = fabsf (x);
  if (x < 1)
    return (7 * x * x * x - 12 * x * x + 16 / 3.f) / 6;
  if (x < 2)
    return (-7 / 3.f * x * x * x + 12 * x * x - 20 * x + 32 / 3.f) / 6;
  return 0;
}

static void
taps_init (struct taps *taps, int from, int to)
{
  const float ratio = (float) from / to, wide = MAX (ratio, 1.f);

  taps->n = 2 * (int) ceilf (2 * wide) + 1;
  taps->first = g_new (int, to);
  taps->weight = g_new (float, (size_t) to * taps->n);

  for (int i = 0; i < to; i++) {
    const float centre = (i + 0.5f) * ratio - 0.5f;
    float *weight = taps->weight + (size_t) i * taps->n, sum = 0;

    taps->first[i] = (int) floorf (centre) - taps->n / 2;
    for (int k = 0; k < taps->n; k++)
      sum += weight[k] = mitchell ((taps->first[i] + k - centre) / wide);
    for (int k = 0; k < taps->n; k++)
      weight[k] /= sum;
  }
}

static void
taps_clear (struct taps *taps)
{
  g_free (taps->first);
  g_free (taps->weight);
}

/* rows: [height, width, 4] bytes -> wide: [height, to, 3] floats */
static void
resample_rows (float *wide, const uint8_t *src, int width, int height, int to)
{
  struct taps taps;

  taps_init (&taps, width, to);
  for (int y = 0; y < height; y++)
    for (int x = 0; x < to; x++) {
      const float *weight = taps.weight + (size_t) x * taps.n;
      float r = 0, g = 0, b = 0;

      for (int k = 0; k < taps.n; k++) {
        const int from = CLAMP (taps.first[x] + k, 0, width - 1);
        const uint8_t *p = src + 4 * ((size_t) y * width + from);

        r += weight[k] * p[0];
        g += weight[k] * p[1];
        b += weight[k] * p[2];
      }
      *wide++ = r;
      *wide++ = g;
      *wide++ = b;
    }
  taps_clear (&taps);
}

GBytes *
sl_resample (const uint8_t *src, int width, int height, int to_width, int to_height)
{
  const size_t row = (size_t) to_width * 3;
  g_autofree float *wide = g_new (float, row *height);
  g_autofree float *sum = g_new (float, row);
  uint8_t *dst = g_malloc ((size_t) to_width * to_height * 4), *out = dst;
  struct taps taps;

  resample_rows (wide, src, width, height, to_width);
  taps_init (&taps, height, to_height);
  for (int y = 0; y < to_height; y++) {
    for (size_t i = 0; i < row; i++)
      sum[i] = 0.5f; /* rounds */
    for (int k = 0; k < taps.n; k++) {
      const float weight = taps.weight[(size_t) y * taps.n + k];
      const float *line = wide + row * CLAMP (taps.first[y] + k, 0, height - 1);

      if (weight != 0)
        for (size_t i = 0; i < row; i++)
          sum[i] += weight * line[i];
    }
    for (int x = 0; x < to_width; x++, out += 4) {
      out[0] = (uint8_t) CLAMP (sum[3 * x], 0.f, 255.f);
      out[1] = (uint8_t) CLAMP (sum[3 * x + 1], 0.f, 255.f);
      out[2] = (uint8_t) CLAMP (sum[3 * x + 2], 0.f, 255.f);
      out[3] = 255;
    }
  }
  taps_clear (&taps);
  return g_bytes_new_take (dst, (size_t) to_width * to_height * 4);
}
