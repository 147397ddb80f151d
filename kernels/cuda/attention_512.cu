/* kernels/cuda/attention_512.cu - attention of heads of 512 columns, as in the middle of a VAE.
 *
 * A block takes 64 queries of a head, which stay in shared memory with a step's keys and values.
 * Eight warps: for the scores each takes 16 queries and half the keys of a step; for the values
 * each takes 64 columns of all queries, whose sums stay in its registers.  Weights pass through
 * shared memory.  Values are on their way during the scores, the next keys during the values. */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/mma.cuh"

enum {
  WIDTH = KRN_ATTENTION_WIDEST,
  QUERIES = 64,
  THREADS = 256,
  COLUMNS = 64,      /* of a warp's values */
  PITCH = WIDTH + 8, /* 16 bytes more than a row: other banks */
};

/* KEYS: of a step. */
template <int KEYS> struct shared {
  bf16 q[QUERIES * PITCH], k[KEYS * PITCH], v[KEYS * PITCH];
  bf16 weights[QUERIES * (KEYS + 8)];
  float top[2][QUERIES], sum[2][QUERIES]; /* of each half of the keys */
  float shrink[QUERIES];
};

/* Of a warp's scores. */
template <int KEYS> constexpr int tiles = KEYS / 2 / 8;

template <int ROWS>
static __device__ void
load_rows (bf16 *to, const bf16 *from, size_t stride, int first, int rows)
{
  constexpr int chunks = WIDTH / 8;

#pragma unroll 4
  for (int i = threadIdx.x; i < ROWS * chunks; i += THREADS) {
    const int row = i / chunks, col = i % chunks * 8;
    const bool valid = first + row < rows;

    copy_async (to + row * PITCH + col, from + (valid ? (size_t) (first + row) : 0) * stride + col,
                valid);
  }
}

/* 16 queries by half the keys. */
template <int KEYS>
static __device__ void
block_scores (float s[tiles<KEYS>][4], const struct shared<KEYS> &x, int warp, int lane)
{
  const bf16 *a_row = x.q + (warp % 4 * 16 + lane % 16) * PITCH + lane / 16 * 8;
  const bf16 *b_row =
      x.k + (warp / 4 * (KEYS / 2) + lane % 8 + lane / 16 * 8) * PITCH + lane / 8 % 2 * 8;

#pragma unroll
  for (int t = 0; t < tiles<KEYS>; t++)
#pragma unroll
    for (int i = 0; i < 4; i++)
      s[t][i] = 0.f;
#pragma unroll 8
  for (int d = 0; d < WIDTH; d += 16) {
    unsigned a[4];

    load_tiles (a, a_row + d);
#pragma unroll
    for (int t = 0; t < tiles<KEYS>; t += 2) {
      unsigned b[4];

      load_tiles (b, b_row + t * 8 * PITCH + d);
      multiply (s[t], a, b[0], b[1]);
      multiply (s[t + 1], a, b[2], b[3]);
    }
  }
}

/* Scales the scores, hides keys beyond the last, and tells the other half's warp the largest. */
template <int KEYS>
static __device__ void
block_tops (struct shared<KEYS> &x, float s[tiles<KEYS>][4], float scale, int left, int warp,
            int lane)
{
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float top = -INFINITY;

#pragma unroll
    for (int t = 0; t < tiles<KEYS>; t++)
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int key = warp / 4 * (KEYS / 2) + t * 8 + lane % 4 * 2 + i;
        float *at = &s[t][2 * half + i];

        *at = key < left ? *at * scale : -INFINITY;
        top = fmaxf (top, *at);
      }
    top = fmaxf (top, __shfl_xor_sync (0xffffffffu, top, 1));
    top = fmaxf (top, __shfl_xor_sync (0xffffffffu, top, 2));
    if (lane % 4 == 0)
      x.top[warp / 4][warp % 4 * 16 + lane / 4 + half * 8] = top;
  }
}

/* The first step has key 0 in its first half, so no maximum stays infinite. */
template <int KEYS>
static __device__ void
block_weights (struct shared<KEYS> &x, const float s[tiles<KEYS>][4], float maximum[2],
               float sum[2], int warp, int lane)
{
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int row = warp % 4 * 16 + lane / 4 + half * 8;
    const float top = fmaxf (maximum[half], fmaxf (x.top[0][row], x.top[1][row]));
    const float shrink = exp2_fast (maximum[half] - top);
    bf16 *to = x.weights + row * (KEYS + 8) + warp / 4 * (KEYS / 2) + lane % 4 * 2;
    float total = 0.f;

#pragma unroll
    for (int t = 0; t < tiles<KEYS>; t++) {
      const float a = exp2_fast (s[t][2 * half] - top), b = exp2_fast (s[t][2 * half + 1] - top);

      total += a + b;
      *(unsigned *) (to + t * 8) = pack2 (a, b);
    }
    sum[half] = sum[half] * shrink + total;
    maximum[half] = top;
    if (warp < 4 && lane % 4 == 0)
      x.shrink[row] = shrink;
  }
}

template <int KEYS>
static __device__ void
block_values (float o[4][COLUMNS / 8][4], const struct shared<KEYS> &x, int warp, int lane)
{
  const bf16 *a_row = x.weights + lane % 16 * (KEYS + 8) + lane / 16 * 8;
  const bf16 *b_row = x.v + lane % 16 * PITCH + warp * COLUMNS + lane / 16 * 8;

#pragma unroll
  for (int m = 0; m < 4; m++) {
    const float shrink[2] = { x.shrink[m * 16 + lane / 4], x.shrink[m * 16 + lane / 4 + 8] };

    /* Rarely after the first steps. */
    if (__any_sync (0xffffffffu, shrink[0] != 1.f || shrink[1] != 1.f))
#pragma unroll
      for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
          o[m][n][i] *= shrink[i / 2];
  }
#pragma unroll
  for (int k = 0; k < KEYS; k += 16) {
    unsigned a[4][4];

#pragma unroll
    for (int m = 0; m < 4; m++)
      load_tiles (a[m], a_row + m * 16 * (KEYS + 8) + k);
#pragma unroll
    for (int n = 0; n < COLUMNS / 8; n += 2) {
      unsigned b[4];

      load_tiles_transposed (b, b_row + k * PITCH + n * 8);
#pragma unroll
      for (int m = 0; m < 4; m++) {
        multiply (o[m][n], a[m], b[0], b[1]);
        multiply (o[m][n + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/* Sums lie in four lanes of both halves' warps. */
template <int KEYS>
static __device__ void
write_rows (bf16 *to, size_t stride, struct shared<KEYS> &x, const float o[4][COLUMNS / 8][4],
            const float sum[2], int rows, int warp, int lane)
{
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float total = sum[half];

    total += __shfl_xor_sync (0xffffffffu, total, 1);
    total += __shfl_xor_sync (0xffffffffu, total, 2);
    if (lane % 4 == 0)
      x.sum[warp / 4][warp % 4 * 16 + lane / 4 + half * 8] = total;
  }
  __syncthreads ();
#pragma unroll
  for (int m = 0; m < 4; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = m * 16 + lane / 4 + half * 8;
      const float factor = 1.f / (x.sum[0][row] + x.sum[1][row]);
      bf16 *at = to + (size_t) row * stride + warp * COLUMNS + lane % 4 * 2;

      if (row < rows)
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++)
          *(unsigned *) (at + n * 8) =
              pack2 (o[m][n][2 * half] * factor, o[m][n][2 * half + 1] * factor);
    }
}

template <int KEYS>
static __global__ void
__launch_bounds__ (THREADS, 1) attend_512 (struct attention_task a)
{
  extern __shared__ uint4 shared_memory[];
  struct shared<KEYS> &x = *(struct shared<KEYS> *) shared_memory;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, first = (int) blockIdx.x * QUERIES;
  const size_t head = blockIdx.y, kv_head = head / a.group, run = blockIdx.z;
  const bf16 *k = a.k + run * a.keys * a.k_stride + kv_head * WIDTH;
  const bf16 *v = a.v + run * a.keys * a.v_stride + kv_head * WIDTH;
  float maximum[2] = { -INFINITY, -INFINITY }, sum[2] = { 0.f, 0.f };
  float o[4][COLUMNS / 8][4] = {};

  load_rows<QUERIES> (x.q, a.q + run * a.tokens * a.q_stride + head * WIDTH, a.q_stride, first,
                      a.tokens);
  load_rows<KEYS> (x.k, k, a.k_stride, 0, a.keys);
  copy_commit ();
  for (int key0 = 0; key0 < a.keys; key0 += KEYS) {
    float s[tiles<KEYS>][4];

    copy_wait<0> ();
    __syncthreads (); /* the keys are there, the last values were read */
    load_rows<KEYS> (x.v, v, a.v_stride, key0, a.keys);
    copy_commit ();
    block_scores<KEYS> (s, x, warp, lane);
    block_tops<KEYS> (x, s, a.scale, a.keys - key0, warp, lane);
    __syncthreads (); /* the keys were read */
    if (key0 + KEYS < a.keys)
      load_rows<KEYS> (x.k, k, a.k_stride, key0 + KEYS, a.keys);
    copy_commit (); /* maybe of nothing, so that the count below holds */
    block_weights<KEYS> (x, s, maximum, sum, warp, lane);
    copy_wait<1> ();
    __syncthreads (); /* values and weights are there */
    block_values<KEYS> (o, x, warp, lane);
  }
  write_rows<KEYS> (a.o + (run * a.tokens + first) * a.o_stride + head * WIDTH, a.o_stride, x, o,
                    sum, a.tokens - first, warp, lane);
}

/* The larger step needs Hopper's shared memory, the smaller one that of sm_80. */
template <int KEYS>
static krn_status
launch (krn_stream *stream, const struct attention_task *task, int batch, int heads)
{
  const dim3 grid ((unsigned) (task->tokens + QUERIES - 1) / QUERIES, (unsigned) heads,
                   (unsigned) batch);
  const int bytes = (int) sizeof (struct shared<KEYS>);
  const krn_status status = krn_cuda_status (
      cudaFuncSetAttribute (attend_512<KEYS>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));

  if (status)
    return KRN_ERROR_UNSUPPORTED; /* the GPU has less */
  attend_512<KEYS><<<grid, THREADS, bytes, stream->handle>>> (*task);
  return krn_cuda_launched ();
}

krn_status
krn_cuda_attention_512 (krn_stream *stream, const struct attention_task *task, int batch, int heads)
{
  krn_status status;

  if (task->width != WIDTH || !task->aligned || task->causal)
    return KRN_ERROR_UNSUPPORTED;
  status = launch<64> (stream, task, batch, heads);
  return status == KRN_ERROR_UNSUPPORTED ? launch<32> (stream, task, batch, heads) : status;
}
