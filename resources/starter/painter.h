/* painter.h - paints a display list of flat shapes; one file for two compilers.
 *
 *   gcc  -x c  -O3 -ffast-math -fopenmp -shared -fPIC painter.h -o painter_cpu.so -lm
 *   nvcc -x cu -O3 -use_fast_math -shared -Xcompiler -fPIC painter.h -o painter_gpu.so
 *
 * A picture is a list of records of RECORD floats, painted in order:
 *   [0] kind   [1] opacity   [2..5] bounds x0 y0 x1 y1   [6..8] colour a   [9..11] colour b
 *   [12..24] geometry, by kind (see the functions below)
 * y runs from 0 (top) to 1 (bottom), x from 0 to width / height.  painter.py calls paint (). */
#include <math.h>
#include <stddef.h>

#ifdef __CUDACC__
#define FN static __device__ __forceinline__
#else
#define FN static inline
#endif

enum { RECORD = 25, GEOMETRY = 12 };
enum { BAND = 1, ELLIPSE, GLOW, CRESCENT, RING, POLYGON, CAPSULE, HILL, DUNE, AURORA, ROWS, RIVER };

typedef struct {
  float r, g, b;
} rgb;

FN float
clamp01 (float x)
{
  return x < 0 ? 0 : x > 1 ? 1 : x;
}

FN float
ramp (float a, float b, float x)
{
  const float t = clamp01 ((x - a) / (b - a));
  return t * t * (3 - 2 * t);
}

FN float
wave (const float *g, float x)
{
  return .5f + .36f * sinf (g[0] * x + g[1]) + .14f * sinf (g[2] * x + g[3]);
}

/* Each shape below returns how much of it covers the point and, where it has two colours,
 * how far the point is from colour a to colour b in *mix. */

/* geometry: y0, y1, opacity at y0, opacity at y1 */
FN float
band (const float *g, float y, float *mix)
{
  const float t = clamp01 ((y - g[0]) / (g[1] - g[0]));
  *mix = t;
  return g[2] + (g[3] - g[2]) * t;
}

/* geometry: centre x, centre y, radius x, radius y */
FN float
ellipse (const float *g, float x, float y)
{
  const float u = (x - g[0]) / g[2], v = (y - g[1]) / g[3];
  return u * u + v * v < 1 ? 1 : 0;
}

/* geometry: centre x, centre y, radius of the source, reach */
FN float
glow (const float *g, float x, float y)
{
  const float d = sqrtf ((x - g[0]) * (x - g[0]) + (y - g[1]) * (y - g[1])) - g[2];
  return expf (-(d > 0 ? d : 0) / g[3]);
}

/* geometry: centre x, centre y, radius, then the same of the circle that is cut out */
FN float
crescent (const float *g, float x, float y)
{
  const float d = (x - g[0]) * (x - g[0]) + (y - g[1]) * (y - g[1]);
  const float e = (x - g[3]) * (x - g[3]) + (y - g[4]) * (y - g[4]);
  return d < g[2] * g[2] && e > g[5] * g[5] ? 1 : 0;
}

/* geometry: centre x, centre y, inner radius, outer radius */
FN float
ring (const float *g, float x, float y)
{
  const float d = sqrtf ((x - g[0]) * (x - g[0]) + (y - g[1]) * (y - g[1]));
  return d > g[2] && d < g[3] ? 1 : 0;
}

/* geometry: number of corners (up to 6), then x and y of each */
FN float
polygon (const float *g, float x, float y)
{
  const int n = (int) g[0];
  int inside = 0;
  for (int i = 0, j = n - 1; i < n; j = i++) {
    const float xi = g[1 + 2 * i], yi = g[2 + 2 * i], xj = g[1 + 2 * j], yj = g[2 + 2 * j];
    if ((yi > y) != (yj > y) && x < (xj - xi) * (y - yi) / (yj - yi) + xi)
      inside = !inside;
  }
  return inside ? 1 : 0;
}

/* geometry: x0, y0, x1, y1, radius at the first end, radius at the second */
FN float
capsule (const float *g, float x, float y)
{
  const float dx = g[2] - g[0], dy = g[3] - g[1];
  const float t = clamp01 (((x - g[0]) * dx + (y - g[1]) * dy) / (dx * dx + dy * dy + 1e-9f));
  const float u = x - g[0] - t * dx, v = y - g[1] - t * dy, r = g[4] + (g[5] - g[4]) * t;
  return u * u + v * v < r * r ? 1 : 0;
}

/* geometry: base, height, two frequencies with their phases, depth of the fade, side (1 filled
 * below the crest, -1 above it, for reflections) */
FN float
hill (const float *g, float x, float y, float *mix)
{
  const float below = g[7] * (y - g[0] + g[1] * wave (g + 2, x));
  *mix = clamp01 (below / g[6]);
  return below > 0 ? 1 : 0;
}

/* geometry: crest x, crest y, height, windward width, lee width, side of the lee (1 right) */
FN float
dune (const float *g, float x, float y, float *mix)
{
  const float dx = (x - g[0]) * g[5], below = (y - g[1]) / g[2];
  const float u = clamp01 (1 - (dx > 0 ? dx / g[4] : -dx / g[3]));
  if (below < 1 - u * u)
    return 0;
  const float depth = below < 1 ? below : 1;
  *mix = dx > -g[3] * (.42f * sqrtf (depth) - .30f * depth) && dx < g[4] ? 1 : 0;
  return below < 1 ? 1 : 0;
}

/* geometry: base, height, two frequencies with their phases, height of the curtain */
FN float
aurora (const float *g, float x, float y, float *mix)
{
  const float up = (g[0] - g[1] * wave (g + 2, x) - y) / g[6];
  *mix = clamp01 (up);
  return up < 0 ? ramp (-.12f, 0, up) : expf (-2.2f * up) * (1 - ramp (.5f, 1.3f, up));
}

/* geometry: vanishing point x and y, spacing of the rows at the bottom, share of colour a */
FN float
rows (const float *g, float x, float y, float *mix)
{
  const float depth = (y - g[1]) / (1 - g[1]);
  const float u = (x - g[0]) / (g[2] * (depth + .10f)) + .5f * g[3], f = u - floorf (u);
  *mix = f < g[3] ? 0 : ramp (0, .14f, depth);
  return 1;
}

/* geometry: source x and y, sway, half width at the bottom, bends, phase */
FN float
river (const float *g, float x, float y, float *mix)
{
  const float q = clamp01 ((y - g[1]) / (1 - g[1])), s = sqrtf (q);
  const float centre = g[0] + g[2] * (.15f + .85f * q) * (sinf (g[4] * s + g[5]) - sinf (g[5]));
  const float half = g[3] * (.035f + .30f * q + .68f * q * q);
  *mix = q;
  return fabsf (x - centre) < half ? 1 : 0;
}

FN float
cover (const float *rec, float x, float y, float *mix)
{
  const float *g = rec + GEOMETRY;
  switch ((int) rec[0]) {
  case BAND:
    return band (g, y, mix);
  case ELLIPSE:
    return ellipse (g, x, y);
  case GLOW:
    return glow (g, x, y);
  case CRESCENT:
    return crescent (g, x, y);
  case RING:
    return ring (g, x, y);
  case POLYGON:
    return polygon (g, x, y);
  case CAPSULE:
    return capsule (g, x, y);
  case HILL:
    return hill (g, x, y, mix);
  case DUNE:
    return dune (g, x, y, mix);
  case AURORA:
    return aurora (g, x, y, mix);
  case ROWS:
    return rows (g, x, y, mix);
  case RIVER:
    return river (g, x, y, mix);
  }
  return 0;
}

FN rgb
shade (const float *list, int n, float x, float y)
{
  rgb c = { 0, 0, 0 };
  for (int i = 0; i < n; i++) {
    const float *rec = list + (size_t) i * RECORD;
    if (x < rec[2] || y < rec[3] || x > rec[4] || y > rec[5])
      continue;
    float mix = 0;
    const float a = rec[1] * cover (rec, x, y, &mix);
    if (a <= 0)
      continue;
    c.r += (rec[6] + (rec[9] - rec[6]) * mix - c.r) * a;
    c.g += (rec[7] + (rec[10] - rec[7]) * mix - c.g) * a;
    c.b += (rec[8] + (rec[11] - rec[8]) * mix - c.b) * a;
  }
  return c;
}

/* One pixel, the mean of ss x ss points. */
FN void
pixel (const float *list, int n, float *out, int plane, int px, int py, int height, int ss)
{
  float r = 0, g = 0, b = 0;
  for (int j = 0; j < ss; j++)
    for (int i = 0; i < ss; i++) {
      const rgb c = shade (list, n, (px + (i + .5f) / ss) / height, (py + (j + .5f) / ss) / height);
      r += c.r, g += c.g, b += c.b;
    }
  const float k = 1.f / (ss * ss);
  out[0] = r * k, out[plane] = g * k, out[2 * plane] = b * k;
}

/* out: [count][3][height][width] in 0..1; picture k is records first[k] .. first[k + 1] of recs. */
#ifdef __CUDACC__
__global__ void
paint_kernel (const float *recs, const int *first, float *out, int height, int width, int ss)
{
  extern __shared__ float list[];
  const int k = blockIdx.y, n = first[k + 1] - first[k];
  for (int i = threadIdx.x; i < n * RECORD; i += blockDim.x)
    list[i] = recs[(size_t) first[k] * RECORD + i];
  __syncthreads ();
  const int p = blockIdx.x * blockDim.x + threadIdx.x, plane = height * width;
  if (p < plane)
    pixel (list, n, out + (size_t) k * 3 * plane + p, plane, p % width, p / width, height, ss);
}

extern "C" int
paint (const float *recs, const int *first, float *out, int count, int longest, int height,
       int width, int ss, void *stream)
{
  const size_t bytes = (size_t) longest * RECORD * sizeof (float);
  cudaFuncSetAttribute (paint_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int) bytes);
  paint_kernel<<<dim3 ((height * width + 127) / 128, count), 128, bytes, (cudaStream_t) stream>>> (
      recs, first, out, height, width, ss);
  return (int) cudaGetLastError ();
}
#else
int
paint (const float *recs, const int *first, float *out, int count, int longest, int height,
       int width, int ss, void *stream)
{
  const int plane = height * width;
  (void) longest, (void) stream;
#pragma omp parallel for schedule(dynamic, 4) collapse(2)
  for (int k = 0; k < count; k++)
    for (int y = 0; y < height; y++)
      for (int x = 0; x < width; x++)
        pixel (recs + (size_t) first[k] * RECORD, first[k + 1] - first[k],
               out + (size_t) k * 3 * plane + (size_t) y * width + x, plane, x, y, height, ss);
  return 0;
}
#endif
