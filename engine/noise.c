#include "engine/noise.h"

#include "engine/noise_blocks.h"

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

/* ---- Its normals in blocks of 16 (engine/noise_blocks.c) ---- */

static void
fill_blocks (struct eng_noise *noise, float *out, size_t n)
{
  for (size_t i = 0; i < n; i++)
    out[i] = mt_uniform (noise);
  eng_noise_blocks (out, n / 16);

  if (n % 16 != 0) { /* the last 16 values are drawn anew, over some that are normals by now */
    float *last = out + n - 16;
    for (int i = 0; i < 16; i++)
      last[i] = mt_uniform (noise);
    eng_noise_blocks (last, 1);
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
