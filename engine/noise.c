#include "engine/noise.h"

#include <math.h>
#include <string.h>

/* ---- The CPU generator: MT19937 (Matsumoto and Nishimura, 1998) ---- */

static void
mt_seed (struct eng_noise *noise, uint32_t seed)
{
  uint32_t *mt = noise->mt;

  mt[0] = seed;
  for (uint32_t i = 1; i < ENG_NOISE_MT_WORDS; i++)
    mt[i] = 1812433253u * (mt[i - 1] ^ (mt[i - 1] >> 30)) + i;
  noise->mt_used = ENG_NOISE_MT_WORDS;
}

static void
mt_renew (struct eng_noise *noise)
{
  const int n = ENG_NOISE_MT_WORDS;
  uint32_t *mt = noise->mt;

  for (int i = 0; i < n; i++) {
    const uint32_t y = (mt[i] & 0x80000000u) | (mt[(i + 1) % n] & 0x7fffffffu);
    mt[i] = mt[(i + 397) % n] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
  }
  noise->mt_used = 0;
}

static uint32_t
mt_next (struct eng_noise *noise)
{
  if (noise->mt_used == ENG_NOISE_MT_WORDS)
    mt_renew (noise);

  uint32_t y = noise->mt[noise->mt_used++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

/* In [0, 1), from the low 24 bits. */
static float
mt_uniform (struct eng_noise *noise)
{
  return (float) (mt_next (noise) & 0xffffff) * 0x1p-24f;
}

/* In [0, 1), from the low 53 bits of two words, the high word first. */
static double
mt_uniform_double (struct eng_noise *noise)
{
  const uint64_t high = mt_next (noise);
  const uint64_t low = mt_next (noise);
  return (double) ((high << 32 | low) & ((UINT64_C (1) << 53) - 1)) * 0x1p-53;
}

/* ---- Its normals in blocks of 16 ----
 *
 * torch evaluates logarithm, sine and cosine with the float polynomials of Moshier's Cephes library
 * (coefficients and argument reduction below are that library's), eight lanes at a time, and GCC
 * contracts products and sums into fused ones where it may.  Where it does was found by comparing
 * bits; a plain sum of products here would be wrong in the last bit. */

/* Of x in [2^-24, 1]. */
static float
block_log (float x)
{
  static const float p[] = { 7.0376836292e-2f,  -1.1514610310e-1f, 1.1676998740e-1f,
                             -1.2420140846e-1f, 1.4249322787e-1f,  -1.6668057665e-1f,
                             2.0000714765e-1f,  -2.4999993993e-1f, 3.3333331174e-1f };
  int exponent;
  float m = frexpf (x, &exponent);

  if (m < 0.707106781186547524f) {
    exponent--;
    m = m + m;
  }
  m -= 1.f;

  const float square = m * m;
  const float e = (float) exponent;
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

/* Box-Muller in place: 16 uniforms become 16 normals, i paired with i + 8. */
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

static void
fill_blocks (struct eng_noise *noise, float *out, size_t n)
{
  for (size_t i = 0; i < n; i++)
    out[i] = mt_uniform (noise);
  for (size_t i = 0; i + 16 <= n; i += 16)
    block_normal (out + i);

  if (n % 16 != 0) { /* the last 16 values are drawn anew, over some that are normals by now */
    float *last = out + n - 16;
    for (int i = 0; i < 16; i++)
      last[i] = mt_uniform (noise);
    block_normal (last);
  }
}

/* ---- Its normals one by one ---- */

static float
next_normal (struct eng_noise *noise)
{
  if (noise->has_left) {
    noise->has_left = FALSE;
    return (float) noise->left;
  }

  const double u1 = mt_uniform_double (noise);
  const double u2 = mt_uniform_double (noise);
  const double radius = sqrt (-2.0 * log1p (-u2));
  const double theta = 2.0 * G_PI * u1;

  noise->left = radius * sin (theta) + 0.0;
  noise->has_left = TRUE;
  return (float) (radius * cos (theta) + 0.0);
}

/* ---- The CUDA generator: Philox 4x32-10 (Salmon and others, 2011) ---- */

static void
philox (uint32_t word[4], uint64_t seed)
{
  uint32_t key0 = (uint32_t) seed, key1 = (uint32_t) (seed >> 32);

  for (int round = 0; round < 10; round++) {
    const uint64_t a = UINT64_C (0xd2511f53) * word[0];
    const uint64_t b = UINT64_C (0xcd9e8d57) * word[2];

    word[0] = (uint32_t) (b >> 32) ^ word[1] ^ key0;
    word[1] = (uint32_t) b;
    word[2] = (uint32_t) (a >> 32) ^ word[3] ^ key1;
    word[3] = (uint32_t) a;
    key0 += 0x9e3779b9u;
    key1 += 0xbb67ae85u;
  }
}

/* Normal number part (0 to 3) of the four that thread's curand_normal4 gives at offset: Box-Muller
 * of words 0 and 1 or 2 and 3, sine first.  The uniforms are formed in float32 as cuRAND's
 * _curand_box_muller does (curand_normal.h): x 2^-32 + 2^-33. */
static float
cuda_normal (uint64_t seed, uint64_t offset, uint64_t thread, int part)
{
  const float to_turn = 0x1p-32f * 6.2831855f;
  uint32_t word[4] = { (uint32_t) offset, (uint32_t) (offset >> 32), (uint32_t) thread,
                       (uint32_t) (thread >> 32) };

  philox (word, seed);

  const float u = fmaf ((float) word[part & 2], 0x1p-32f, 0x1p-33f);
  const float v = fmaf ((float) word[(part & 2) + 1], to_turn, to_turn / 2);
  const float radius = sqrtf (-2.f * (float) log (u));
  return radius * (float) (part & 1 ? cos (v) : sin (v));
}

/* torch's distribution kernel: blocks of 256 threads, at most as many as the device holds at once,
 * and then rounds in which every thread makes four values, a whole grid apart. */
static void
fill_cuda (struct eng_noise *noise, float *out, size_t n)
{
  const uint64_t most = noise->max_threads / 256 * 256;
  uint64_t threads = (n + 255) / 256 * 256;

  if (most != 0 && threads > most)
    threads = most;
  for (size_t i = 0; i < n; i++) {
    const uint64_t run = i / threads;
    out[i] = cuda_normal (noise->seed, noise->offset + run / 4, i % threads, (int) (run % 4));
  }
  if (n > 0)
    noise->offset += (n - 1) / (threads * 4) + 1;
}

void
eng_noise_init (struct eng_noise *noise, enum eng_rng rng, uint64_t seed)
{
  memset (noise, 0, sizeof *noise);
  noise->rng = rng;
  noise->seed = seed;
  mt_seed (noise, (uint32_t) seed);
}

void
eng_noise_fill (struct eng_noise *noise, float *out, size_t n)
{
  if (noise->rng == ENG_RNG_CUDA)
    fill_cuda (noise, out, n);
  else if (n >= 16)
    fill_blocks (noise, out, n);
  else
    for (size_t i = 0; i < n; i++)
      out[i] = next_normal (noise);
}
