/* kernels/cuda/common.cuh - what the kernels share: eight elements at a time, and sums. */
#pragma once

#include "kernels/cuda/ops.h"

#include <cuda_bf16.h>

typedef __nv_bfloat16 bf16;

/* Neighbours in a row, one 16-byte access in bf16. */
struct eight {
  float v[8];
};

static inline __device__ eight
load8 (const bf16 *p, size_t n, bool aligned)
{
  eight e;

  if (aligned && n >= 8) {
    const uint4 raw = *(const uint4 *) p;
    const unsigned words[4] = { raw.x, raw.y, raw.z, raw.w };

#pragma unroll
    for (int i = 0; i < 4; i++) {
      e.v[2 * i] = __uint_as_float (words[i] << 16);
      e.v[2 * i + 1] = __uint_as_float (words[i] & 0xffff0000u);
    }
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++)
      e.v[i] = i < n ? __bfloat162float (p[i]) : 0.f;
  }
  return e;
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

/* Two floats as bf16, a in the low half. */
static inline __device__ unsigned
pack2 (float a, float b)
{
  const __nv_bfloat162 pair = __floats2bfloat162_rn (a, b);

  return *(const unsigned *) &pair;
}

static inline __device__ void
store8 (bf16 *p, const eight &e, size_t n, bool aligned)
{
  if (aligned && n >= 8) {
    *(uint4 *) p = make_uint4 (pack2 (e.v[0], e.v[1]), pack2 (e.v[2], e.v[3]),
                               pack2 (e.v[4], e.v[5]), pack2 (e.v[6], e.v[7]));
  } else {
#pragma unroll
    for (int i = 0; i < 8; i++)
      if (i < n)
        p[i] = __float2bfloat16_rn (e.v[i]);
  }
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

/* The value that a float has once it was stored as bf16. */
static inline __device__ float
rounded (float x)
{
  return __bfloat162float (__float2bfloat16_rn (x));
}

static inline __device__ float
silu (float x)
{
  return x / (1.f + expf (-x));
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
