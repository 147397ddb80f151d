/* kernels/cuda/attention_wide.cu - attention for any width of a head up to 512; attention_512.cu
 * takes that width where it can.
 *
 * The sum over values of a wide head does not fit into a warp's registers, so four warps share 16
 * queries: each takes a quarter of the keys of a step for the scores, and a quarter of the columns
 * for the values; scores and weights pass through shared memory.  A block takes 32 queries, 32 keys
 * a step; keys and then values pass through the same memory. */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/mma.cuh"

enum {
  QUERIES = 32,
  KEYS = 32,
  THREADS = 256,
  TILES = KRN_ATTENTION_WIDEST / 32, /* of 8 columns, of a warp's quarter */
  SCORES_PITCH = KEYS + 4,           /* floats */
  WEIGHTS_PITCH = KEYS + 8,          /* bf16, 16 bytes more than a row: other banks */
};

/* What lies in shared memory beside the rows of queries and keys. */
struct exchange {
  bf16 weights[QUERIES * WEIGHTS_PITCH];
  float scores[QUERIES * SCORES_PITCH];
  float shrink[QUERIES], sum[QUERIES];
};

/* A head in shared memory is filled up with zeros to a multiple of 32 columns; 16 bytes more, so
 * that eight rows that are read together lie in different banks. */
static __host__ __device__ int
padded (int width)
{
  return (width + 31) / 32 * 32;
}

static __host__ __device__ int
pitch (int width)
{
  return padded (width) + 8;
}

static size_t
shared_bytes (int width)
{
  return sizeof (struct exchange) + (size_t) (QUERIES + KEYS) * pitch (width) * sizeof (bf16);
}

/* 32 rows of a head, zeros beyond the last row and column. */
static __device__ void
load_rows (bf16 *to, const bf16 *from, size_t stride, int first, int rows, int width, bool aligned)
{
  const int chunks = padded (width) / 8;

  for (int i = threadIdx.x; i < KEYS * chunks; i += THREADS) {
    const int row = i / chunks, col = i % chunks * 8;
    const int left = first + row < rows ? width - col : 0;
    bf16 *at = to + row * pitch (width) + col;

    if (left <= 0)
      *(uint4 *) at = make_uint4 (0, 0, 0, 0);
    else if (aligned && left >= 8)
      copy_async (at, from + (size_t) (first + row) * stride + col, true);
    else
      copy_few (at, from + (size_t) (first + row) * stride + col, left);
  }
  copy_commit ();
}

/* Eight keys of a warp; two sums, so that one product does not wait for the one before. */
static __device__ void
block_scores (struct exchange *x, const bf16 *q, const bf16 *k, int width, float scale, int warp,
              int lane)
{
  const int rows = warp / 4 * 16, cols = warp % 4 * 8;
  const bf16 *a_row = q + (rows + lane % 16) * pitch (width) + lane / 16 * 8;
  const bf16 *b_row = k + (cols + lane % 8) * pitch (width) + lane / 8 * 8;
  float even[4] = {}, odd[4] = {};

  for (int d = 0; d < padded (width); d += 32) {
    unsigned a[4], b[4];

    load_tiles (b, b_row + d);
    load_tiles (a, a_row + d);
    multiply (even, a, b[0], b[1]);
    load_tiles (a, a_row + d + 16);
    multiply (odd, a, b[2], b[3]);
  }
#pragma unroll
  for (int i = 0; i < 4; i++)
    x->scores[(rows + lane / 4 + i / 2 * 8) * SCORES_PITCH + cols + lane % 4 * 2 + i % 2] =
        (even[i] + odd[i]) * scale;
}

/* Eight threads a row, four keys each.  limit: the first key that the row may not see; each sees
 * key 0, so no maximum stays infinite. */
static __device__ void
block_weights (struct exchange *x, int key0, int limit, float *maximum, float *sum)
{
  const int row = threadIdx.x / 8, col = threadIdx.x % 8 * 4;
  float s[4], top = *maximum, total = 0.f, shrink;

#pragma unroll
  for (int i = 0; i < 4; i++) {
    s[i] = key0 + col + i < limit ? x->scores[row * SCORES_PITCH + col + i] : -INFINITY;
    top = fmaxf (top, s[i]);
  }
#pragma unroll
  for (int step = 1; step < 8; step *= 2)
    top = fmaxf (top, __shfl_xor_sync (0xffffffffu, top, step));
#pragma unroll
  for (int i = 0; i < 4; i++) {
    s[i] = exp2_fast (s[i] - top);
    total += s[i];
    x->weights[row * WEIGHTS_PITCH + col + i] = __float2bfloat16_rn (s[i]);
  }
#pragma unroll
  for (int step = 1; step < 8; step *= 2)
    total += __shfl_xor_sync (0xffffffffu, total, step);

  shrink = exp2_fast (*maximum - top);
  *sum = *sum * shrink + total;
  *maximum = top;
  if (col == 0) {
    x->shrink[row] = shrink;
    x->sum[row] = *sum;
  }
}

static __device__ void
block_values (float o[TILES][4], const struct exchange *x, const bf16 *v, int width, int warp,
              int lane)
{
  const int rows = warp / 4 * 16, quarter = padded (width) / 4, cols = warp % 4 * quarter;
  const bf16 *a_row = x->weights + (rows + lane % 16) * WEIGHTS_PITCH + lane / 16 * 8;
  const bf16 *b_row = v + lane * pitch (width) + cols;
  const float shrink[2] = { x->shrink[rows + lane / 4], x->shrink[rows + lane / 4 + 8] };
  unsigned low[4], high[4];

  load_tiles (low, a_row);
  load_tiles (high, a_row + 16);
#pragma unroll
  for (int n = 0; n < TILES; n++)
    if (n * 8 < quarter) {
      unsigned b[4];

      load_tiles_transposed (b, b_row + n * 8);
#pragma unroll
      for (int i = 0; i < 4; i++)
        o[n][i] *= shrink[i / 2];
      multiply (o[n], low, b[0], b[1]);
      multiply (o[n], high, b[2], b[3]);
    }
}

static __device__ void
write_rows (bf16 *to, size_t stride, const float o[TILES][4], const struct exchange *x, int first,
            int tokens, int width, int warp, int lane)
{
  const int quarter = padded (width) / 4, cols = warp % 4 * quarter + lane % 4 * 2;

#pragma unroll
  for (int n = 0; n < TILES; n++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int row = warp / 4 * 16 + lane / 4 + i / 2 * 8, col = cols + n * 8 + i % 2;

      if (n * 8 < quarter && first + row < tokens && col < width)
        to[(size_t) (first + row) * stride + col] = __float2bfloat16_rn (o[n][i] / x->sum[row]);
    }
}

static __global__ void
__launch_bounds__ (THREADS) attend_wide (struct attention_task a)
{
  extern __shared__ uint4 shared_memory[];
  bf16 *queries = (bf16 *) shared_memory, *rows = queries + QUERIES * pitch (a.width);
  struct exchange *x = (struct exchange *) (rows + KEYS * pitch (a.width));
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int first = (int) blockIdx.x * QUERIES, query = first + (int) threadIdx.x / 8;
  const int last = first + QUERIES < a.tokens ? first + QUERIES : a.tokens;
  const int keys = a.causal ? last : a.keys;
  const int limit = a.causal ? min (query + 1, keys) : keys;
  const size_t head = blockIdx.y, kv_head = head / a.group, run = blockIdx.z;
  const bf16 *q = a.q + run * a.tokens * a.q_stride + head * a.width;
  const bf16 *k = a.k + run * a.keys * a.k_stride + kv_head * a.width;
  const bf16 *v = a.v + run * a.keys * a.v_stride + kv_head * a.width;
  float maximum = -INFINITY, sum = 0.f;
  float o[TILES][4] = {};

  load_rows (queries, q, a.q_stride, first, a.tokens, a.width, a.aligned);
  for (int key0 = 0; key0 < keys; key0 += KEYS) {
    load_rows (rows, k, a.k_stride, key0, keys, a.width, a.aligned);
    copy_wait<0> ();
    __syncthreads ();
    block_scores (x, queries, rows, a.width, a.scale, warp, lane);
    __syncthreads (); /* the keys were read, the scores are there */
    load_rows (rows, v, a.v_stride, key0, keys, a.width, a.aligned);
    block_weights (x, key0, limit, &maximum, &sum);
    copy_wait<0> ();
    __syncthreads ();
    block_values (o, x, rows, a.width, warp, lane);
    __syncthreads (); /* the values were read */
  }
  write_rows (a.o + run * a.tokens * a.o_stride + head * a.width, a.o_stride, o, x, first, a.tokens,
              a.width, warp, lane);
}

krn_status
krn_cuda_attention_wide_prepare (void)
{
  return krn_cuda_status (cudaFuncSetAttribute (attend_wide,
                                                cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                (int) shared_bytes (KRN_ATTENTION_WIDEST)));
}

krn_status
krn_cuda_attention_wide (krn_stream *stream, const struct attention_task *task, int batch,
                         int heads)
{
  const dim3 grid ((unsigned) (task->tokens + QUERIES - 1) / QUERIES, (unsigned) heads,
                   (unsigned) batch);
  const krn_status status = krn_cuda_attention_512 (stream, task, batch, heads);

  if (status != KRN_ERROR_UNSUPPORTED)
    return status;

  attend_wide<<<grid, THREADS, shared_bytes (task->width), stream->handle>>> (*task);
  return krn_cuda_launched ();
}
