/* kernels/cuda/attention.cu - attention in one pass over the keys, with a running maximum and sum.
 *
 * A block takes 128 queries of a head, a warp 16 of them: queries, scores, weights and the sum over
 * values stay in registers, and blocks of 64 keys and values pass through shared memory, the next
 * one on its way while this one is used.  Softmax in f32.  For the usual widths of a head; others
 * go to attention_wide.cu, and what cuDNN does better to it. */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/mma.cuh"

enum {
  QUERIES = 128, /* of a block, 16 a warp */
  KEYS = 64,     /* of a step */
  THREADS = 256,
  STAGES = 2,
  TILES = KEYS / 8, /* of the scores of a warp, 8 keys each */
};

/* Elements of a row in shared memory: 16 bytes more than the head, so that eight rows that are read
 * together lie in different banks. */
template <int WIDTH> constexpr int pitch = WIDTH + 8;

template <int WIDTH>
constexpr int shared_bytes = STAGES * 2 * KEYS *pitch<WIDTH> *(int) sizeof (bf16);

/* ROWS rows of a head to shared memory, zeros beyond the last. */
template <int WIDTH, int ROWS>
static __device__ void
load_rows (bf16 *to, const bf16 *from, size_t stride, int first, int rows)
{
  constexpr int chunks = WIDTH / 8;

#pragma unroll
  for (int i = threadIdx.x; i < ROWS * chunks; i += THREADS) {
    const int row = i / chunks, col = i % chunks * 8;
    const bool valid = first + row < rows;

    copy_async (to + row * pitch<WIDTH> + col,
                from + (valid ? (size_t) (first + row) : 0) * stride + col, valid);
  }
}

template <int WIDTH>
static __device__ void
block_scores (float s[TILES][4], const unsigned q[WIDTH / 16][4], const bf16 *k, int lane)
{
  const bf16 *row = k + (lane % 8 + lane / 16 * 8) * pitch<WIDTH> + lane / 8 % 2 * 8;

#pragma unroll
  for (int t = 0; t < TILES; t += 2) {
#pragma unroll
    for (int i = 0; i < 4; i++)
      s[t][i] = s[t + 1][i] = 0.f;
#pragma unroll
    for (int d = 0; d < WIDTH / 16; d++) {
      unsigned b[4];

      load_tiles (b, row + t * 8 * pitch<WIDTH> + d * 16);
      multiply (s[t], q[d], b[0], b[1]);
      multiply (s[t + 1], q[d], b[2], b[3]);
    }
  }
}

/* Turns scores into weights relative to the running maximum of rows g and g + 8, and gives back in
 * shrink by how much what was summed before must shrink.  limit: the first key that neither row may
 * see; each row sees key 0, so no maximum stays infinite. */
static __device__ void
block_weights (float s[TILES][4], float scale, const int limit[2], int key0, int lane,
               float maximum[2], float sum[2], float shrink[2])
{
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float top = maximum[half], total = 0.f;

#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
      for (int i = 0; i < 2; i++) {
        const int key = key0 + t * 8 + lane % 4 * 2 + i;
        float *at = &s[t][2 * half + i];

        *at = key < limit[half] ? *at * scale : -INFINITY;
        top = fmaxf (top, *at);
      }
    top = fmaxf (top, __shfl_xor_sync (0xffffffffu, top, 1));
    top = fmaxf (top, __shfl_xor_sync (0xffffffffu, top, 2));

#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
      for (int i = 0; i < 2; i++) {
        float *at = &s[t][2 * half + i];

        *at = exp2_fast (*at - top);
        total += *at;
      }
    shrink[half] = exp2_fast (maximum[half] - top);
    sum[half] = sum[half] * shrink[half] + total;
    maximum[half] = top;
  }
}

template <int WIDTH>
static __device__ void
block_values (float o[WIDTH / 8][4], const float s[TILES][4], const bf16 *v, const float shrink[2],
              int lane)
{
  const bf16 *row = v + lane % 16 * pitch<WIDTH> + lane / 16 * 8;

#pragma unroll
  for (int n = 0; n < WIDTH / 8; n++)
#pragma unroll
    for (int i = 0; i < 4; i++)
      o[n][i] *= shrink[i / 2];

#pragma unroll
  for (int t = 0; t < TILES; t += 2) {
    const unsigned p[4] = { pack2 (s[t][0], s[t][1]), pack2 (s[t][2], s[t][3]),
                            pack2 (s[t + 1][0], s[t + 1][1]), pack2 (s[t + 1][2], s[t + 1][3]) };

#pragma unroll
    for (int n = 0; n < WIDTH / 8; n += 2) {
      unsigned b[4];

      load_tiles_transposed (b, row + t * 8 * pitch<WIDTH> + n * 8);
      multiply (o[n], p, b[0], b[1]);
      multiply (o[n + 1], p, b[2], b[3]);
    }
  }
}

/* The sum of a row lies in four lanes. */
template <int WIDTH>
static __device__ void
write_rows (bf16 *to, size_t stride, const float o[WIDTH / 8][4], float sum[2], int row, int rows,
            int lane)
{
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float total = sum[half];

    total += __shfl_xor_sync (0xffffffffu, total, 1);
    total += __shfl_xor_sync (0xffffffffu, total, 2);
    if (row + 8 * half < rows) {
      bf16 *at = to + (size_t) (row + 8 * half) * stride + lane % 4 * 2;
      const float factor = 1.f / total;

#pragma unroll
      for (int n = 0; n < WIDTH / 8; n++)
        *(unsigned *) (at + n * 8) = pack2 (o[n][2 * half] * factor, o[n][2 * half + 1] * factor);
    }
  }
}

/* The block's queries pass through the first stage, where they fit exactly, into registers. */
template <int WIDTH>
static __device__ void
load_queries (unsigned q[WIDTH / 16][4], bf16 *stage, const bf16 *from, size_t stride, int first,
              int rows, int warp, int lane)
{
  static_assert (QUERIES <= STAGES * 2 * KEYS, "the queries do not fit");
  const bf16 *row = stage + (warp * 16 + lane % 16) * pitch<WIDTH> + lane / 16 * 8;

  load_rows<WIDTH, QUERIES> (stage, from, stride, first, rows);
  copy_commit ();
  copy_wait<0> ();
  __syncthreads ();
#pragma unroll
  for (int d = 0; d < WIDTH / 16; d++)
    load_tiles (q[d], row + d * 16);
  __syncthreads ();
}

template <int WIDTH>
static __global__ void
__launch_bounds__ (THREADS) attend (struct attention_task a)
{
  extern __shared__ uint4 shared_memory[];
  bf16 *shared = (bf16 *) shared_memory;
  constexpr int stage_size = 2 * KEYS * pitch<WIDTH>; /* keys, then values */
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int first = (int) blockIdx.x * QUERIES, row = first + warp * 16 + lane / 4;
  const int last = first + QUERIES < a.tokens ? first + QUERIES : a.tokens;
  const int keys = a.causal ? last : a.keys, steps = (keys + KEYS - 1) / KEYS;
  const int limit[2] = { a.causal ? min (row + 1, keys) : keys,
                         a.causal ? min (row + 9, keys) : keys };
  const size_t head = blockIdx.y, kv_head = head / a.group, run = blockIdx.z;
  const bf16 *q = a.q + run * a.tokens * a.q_stride + head * WIDTH;
  const bf16 *k = a.k + run * a.keys * a.k_stride + kv_head * WIDTH;
  const bf16 *v = a.v + run * a.keys * a.v_stride + kv_head * WIDTH;
  float maximum[2] = { -INFINITY, -INFINITY }, sum[2] = { 0.f, 0.f };
  float o[WIDTH / 8][4] = {};
  unsigned queries[WIDTH / 16][4];

  load_queries<WIDTH> (queries, shared, q, a.q_stride, first, a.tokens, warp, lane);
  load_rows<WIDTH, KEYS> (shared, k, a.k_stride, 0, keys);
  load_rows<WIDTH, KEYS> (shared + stage_size / 2, v, a.v_stride, 0, keys);
  copy_commit ();

  for (int i = 0; i < steps; i++) {
    bf16 *stage = shared + i % STAGES * stage_size, *next = shared + (i + 1) % STAGES * stage_size;
    float s[TILES][4], shrink[2];

    if (i + 1 < steps) {
      load_rows<WIDTH, KEYS> (next, k, a.k_stride, (i + 1) * KEYS, keys);
      load_rows<WIDTH, KEYS> (next + stage_size / 2, v, a.v_stride, (i + 1) * KEYS, keys);
    }
    copy_commit (); /* maybe of nothing, so that the count below holds at the end too */
    copy_wait<1> ();
    __syncthreads ();

    block_scores<WIDTH> (s, queries, stage, lane);
    block_weights (s, a.scale, limit, i * KEYS, lane, maximum, sum, shrink);
    block_values<WIDTH> (o, s, stage + stage_size / 2, shrink, lane);
    __syncthreads (); /* the stage is overwritten next */
  }
  write_rows<WIDTH> (a.o + run * a.tokens * a.o_stride + head * WIDTH, a.o_stride, o, sum, row,
                     a.tokens, lane);
}

template <int WIDTH>
static void
launch (const struct attention_task *task, int batch, int heads, cudaStream_t stream)
{
  const dim3 grid ((unsigned) (task->tokens + QUERIES - 1) / QUERIES, (unsigned) heads,
                   (unsigned) batch);

  attend<WIDTH><<<grid, THREADS, shared_bytes<WIDTH>, stream>>> (*task);
}

template <int WIDTH>
static krn_status
prepare ()
{
  return krn_cuda_status (cudaFuncSetAttribute (
      attend<WIDTH>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes<WIDTH>));
}

krn_status
krn_cuda_attention_prepare (void)
{
  krn_status status = prepare<32> ();

  status = status ? status : prepare<64> ();
  status = status ? status : prepare<96> ();
  return status ? status : prepare<128> ();
}

static bool
attention_fits (krn_tensor o, krn_tensor q, krn_tensor k, krn_tensor v,
                const struct krn_attention *args)
{
  const int64_t rows = krn_rows (q), kv_rows = krn_rows (k);
  const int64_t width = (int64_t) args->q_heads * args->head_dim;
  const int64_t kv_width = (int64_t) args->kv_heads * args->head_dim;

  if (args->batch <= 0 || args->head_dim <= 0 || args->q_heads <= 0 || args->kv_heads <= 0 ||
      args->q_heads % args->kv_heads != 0)
    return false;
  return krn_is_matrix (o, KRN_BF16, rows, width) && krn_is_matrix (q, KRN_BF16, rows, width) &&
         krn_is_matrix (k, KRN_BF16, kv_rows, kv_width) &&
         krn_is_matrix (v, KRN_BF16, kv_rows, kv_width) && rows % args->batch == 0 &&
         kv_rows % args->batch == 0 && (!args->causal || rows == kv_rows);
}

krn_status
krn_cuda_attention (krn_stream *stream, krn_tensor o, krn_tensor q, krn_tensor k, krn_tensor v,
                    const struct krn_attention *args)
{
  enum { MOST_TOKENS = 1 << 30, MOST_BLOCKS = 65535 }; /* of a grid's second and third size */
  struct attention_task task = {};

  if (!attention_fits (o, q, k, v, args))
    return KRN_ERROR_SHAPE;
  if (krn_rows (q) / args->batch > MOST_TOKENS || krn_rows (k) / args->batch > MOST_TOKENS ||
      args->q_heads > MOST_BLOCKS || args->batch > MOST_BLOCKS ||
      args->head_dim > KRN_ATTENTION_WIDEST)
    return KRN_ERROR_UNSUPPORTED;
  if (stream->device->cudnn) {
    const krn_status status = krn_cudnn_attention (stream, o, q, k, v, args);

    if (status != KRN_ERROR_UNSUPPORTED)
      return status;
  }

  task.o = (bf16 *) o.data;
  task.q = (const bf16 *) q.data;
  task.k = (const bf16 *) k.data;
  task.v = (const bf16 *) v.data;
  task.o_stride = (size_t) o.stride;
  task.q_stride = (size_t) q.stride;
  task.k_stride = (size_t) k.stride;
  task.v_stride = (size_t) v.stride;
  task.tokens = (int) (krn_rows (q) / args->batch);
  task.keys = (int) (krn_rows (k) / args->batch);
  task.group = args->q_heads / args->kv_heads;
  task.width = args->head_dim;
  task.scale = args->scale * 1.44269504f;
  task.causal = args->causal;
  task.aligned = krn_is_aligned (o) && krn_is_aligned (q) && krn_is_aligned (k) &&
                 krn_is_aligned (v) && args->head_dim % 8 == 0;

  if (task.aligned && task.width == 32)
    launch<32> (&task, args->batch, args->q_heads, stream->handle);
  else if (task.aligned && task.width == 64)
    launch<64> (&task, args->batch, args->q_heads, stream->handle);
  else if (task.aligned && task.width == 96)
    launch<96> (&task, args->batch, args->q_heads, stream->handle);
  else if (task.aligned && task.width == 128)
    launch<128> (&task, args->batch, args->q_heads, stream->handle);
  else
    return krn_cuda_attention_wide (stream, &task, args->batch, args->q_heads);
  return krn_cuda_launched ();
}
