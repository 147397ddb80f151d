/* kernels/cuda/common.cuh - what the kernels share: eight elements at a time, and sums. */
#pragma once

#include "kernels/cuda/ops.h"

#include <cuda_bf16.h>

typedef __nv_bfloat16 bf16;

/* Neighbours in a row. */
struct eight {
  float v[8];
};

/* Two floats as bf16, a in the low half. */
static inline __device__ unsigned
pack2 (float a, float b)
{
  const __nv_bfloat162 pair = __floats2bfloat162_rn (a, b);

  return *(const unsigned *) &pair;
}

static inline __device__ eight
unpack8 (const uint4 &raw)
{
  const unsigned words[4] = { raw.x, raw.y, raw.z, raw.w };
  eight e;

#pragma unroll
  for (int i = 0; i < 4; i++) {
    e.v[2 * i] = __uint_as_float (words[i] << 16);
    e.v[2 * i + 1] = __uint_as_float (words[i] & 0xffff0000u);
  }
  return e;
}

static inline __device__ uint4
pack8 (const eight &e)
{
  return make_uint4 (pack2 (e.v[0], e.v[1]), pack2 (e.v[2], e.v[3]), pack2 (e.v[4], e.v[5]),
                     pack2 (e.v[6], e.v[7]));
}

/* Eight bf16 as they lie in memory, in one access where the row allows it; zeros beyond n. */
static inline __device__ uint4
load_raw8 (const bf16 *p, size_t n, bool aligned)
{
  unsigned words[4] = {};

  if (aligned && n >= 8)
    return *(const uint4 *) p;
#pragma unroll
  for (int i = 0; i < 8; i++)
    if (i < n)
      words[i / 2] |= (unsigned) __bfloat16_as_ushort (p[i]) << i % 2 * 16;
  return make_uint4 (words[0], words[1], words[2], words[3]);
}

static inline __device__ void
store_raw8 (bf16 *p, const uint4 &raw, size_t n, bool aligned)
{
  const unsigned words[4] = { raw.x, raw.y, raw.z, raw.w };

  if (aligned && n >= 8) {
    *(uint4 *) p = raw;
    return;
  }
#pragma unroll
  for (int i = 0; i < 8; i++)
    if (i < n)
      p[i] = __ushort_as_bfloat16 ((unsigned short) (words[i / 2] >> i % 2 * 16));
}

static inline __device__ eight
load8 (const bf16 *p, size_t n, bool aligned)
{
  return unpack8 (load_raw8 (p, n, aligned));
}

static inline __device__ eight
load8 (const float *p, size_t n, bool aligned)
{
  eight e;

  if (aligned && n >= 8) {
    const float4 low = *(const float4 *) p, high = *(const float4 *) (p + 4);

    e = { { low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w } };
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++)
      e.v[i] = i < n ? p[i] : 0.f;
  }
  return e;
}

static inline __device__ void
store8 (bf16 *p, const eight &e, size_t n, bool aligned)
{
  store_raw8 (p, pack8 (e), n, aligned);
}

static inline __device__ void
store8 (float *p, const eight &e, size_t n, bool aligned)
{
  if (aligned && n >= 8) {
    *(float4 *) p = make_float4 (e.v[0], e.v[1], e.v[2], e.v[3]);
    *(float4 *) (p + 4) = make_float4 (e.v[4], e.v[5], e.v[6], e.v[7]);
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (i < n)
        p[i] = e.v[i];
  }
}

/* The hardware's exponential and quotient, right to about 2^-21: the exact ones would take longer
 * than the memory does.  A quotient by what is too large for them is 0, as it should be. */
static inline __device__ float
silu (float x)
{
  return __fdividef (x, 1.f + __expf (-x));
}

/* Every lane gets the sum; the order is fixed, so that runs are bit-equal. */
template <class T>
static inline __device__ T
warp_sum (T v)
{
#pragma unroll
  for (int step = 16; step > 0; step /= 2)
    v += __shfl_xor_sync (0xffffffffu, v, step);
  return v;
}

/* The same over a block whose size is a multiple of 32; every thread must come. */
template <class T>
static inline __device__ T
block_sum (T v)
{
  __shared__ T part[32];
  const unsigned lane = threadIdx.x % 32, warps = blockDim.x / 32;

  v = warp_sum (v);
  __syncthreads (); /* an earlier sum was read by all */
  if (lane == 0)
    part[threadIdx.x / 32] = v;
  __syncthreads ();
  return warp_sum (lane < warps ? part[lane] : T (0));
}
