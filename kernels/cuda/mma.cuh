/* kernels/cuda/mma.cuh - the tensor cores' instructions as every architecture since sm_80 has them.
 *
 * Fragments of m16n8k16: with g = lane / 4 and t = lane % 4, A holds rows g and g + 8, columns 2t
 * and 2t + 8; B holds rows (k) 2t and 2t + 8 of column g; the sum holds rows g (0, 1) and g + 8 (2,
 * 3), columns 2t and 2t + 1. */
#pragma once

#include "kernels/cuda/common.cuh"

static inline __device__ unsigned
shared_address (const void *p)
{
  return (unsigned) __cvta_generic_to_shared (p);
}

/* Four 8x8 tiles; lanes 8i to 8i + 7 give the rows of tile i, each 16-byte aligned. */
static inline __device__ void
load_tiles (unsigned r[4], const bf16 *row)
{
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address (row))
               : "memory");
}

static inline __device__ void
load_tiles_transposed (unsigned r[4], const bf16 *row)
{
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address (row))
               : "memory");
}

static inline __device__ void
multiply (float c[4], const unsigned a[4], unsigned b0, unsigned b1)
{
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
               "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* 16 bytes to shared memory while the thread goes on; zeros when not valid (from is not read then,
 * but must be an address of the tensor). */
static inline __device__ void
copy_async (bf16 *to, const bf16 *from, bool valid)
{
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(shared_address (to)), "l"(__cvta_generic_to_global (from)), "r"(valid ? 16 : 0)
               : "memory");
}

static inline __device__ void
copy_commit ()
{
  asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Waits until no more than left of this thread's groups are under way. */
template <int left>
static inline __device__ void
copy_wait ()
{
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

/* Up to eight elements to shared memory, zeros after them, however they lie. */
static inline __device__ void
copy_few (bf16 *to, const bf16 *from, int n)
{
  unsigned short half[8];

#pragma unroll
  for (int i = 0; i < 8; i++)
    half[i] = i < n ? ((const unsigned short *) from)[i] : 0;
  *(uint4 *) to =
      make_uint4 (half[0] | (unsigned) half[1] << 16, half[2] | (unsigned) half[3] << 16,
                  half[4] | (unsigned) half[5] << 16, half[6] | (unsigned) half[7] << 16);
}

/* 2^x to about 2 units in the last place, in one instruction; 0 for minus infinity. */
static inline __device__ float
exp2_fast (float x)
{
  float y;

  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
