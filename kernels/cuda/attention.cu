/* kernels/cuda/attention.cu - attention in one pass over the keys, with a running maximum and sum.
 *
 * A block takes 64 or 128 queries of a head, each of its four warps 16 or 32 of them: scores,
 * weights and the sum over values stay in registers.  The queries stay in shared memory, where each
 * key and value that is read serves all of a warp's queries.  Blocks of 64 keys and values pass
 * through it: values are on their way during the scores, the next keys during the values.  Softmax
 * in f32.  For widths of a head up to 256; others go to attention_wide.cu, and what cuDNN does
 * better to it. */
#include "kernels/cuda/attention.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/mma.cuh"

enum {
  KEYS = 64, /* of a step */
  THREADS = 128,
  TILES = KEYS / 8, /* of the scores of 16 queries, 8 keys each */
};

/* TALL: tiles of 16 queries of a warp.  Two of a wide head do not fit into registers. */
template <int TALL> constexpr int queries = THREADS / 32 * 16 * TALL;

/* Elements of a row in shared memory: 16 bytes more than the head, so that eight rows that are read
 * together lie in different banks. */
template <int WIDTH> constexpr int pitch = WIDTH + 8;

template <int WIDTH, int TALL>
constexpr int shared_bytes = (queries<TALL> + 2 * KEYS) * pitch<WIDTH> *(int) sizeof (bf16);

/* ROWS rows of a head to shared memory, zeros beyond the last row and column. */
template <int WIDTH, int ROWS>
static __device__ void
load_rows (bf16 *to, const bf16 *from, size_t stride, int first, int rows, int width)
{
  constexpr int chunks = WIDTH / 8;

#pragma unroll
  for (int i = threadIdx.x; i < ROWS * chunks; i += THREADS) {
    const int row = i / chunks, col = i % chunks * 8;
    const bool valid = first + row < rows && col < width;

    copy_async (to + row * pitch<WIDTH> + col,
                from + (valid ? (size_t) (first + row) * stride + col : 0), valid);
  }
}

template <int WIDTH, int TALL>
static __device__ void
block_scores (float s[TALL][TILES][4], const bf16 *q, const bf16 *k, int lane)
{
  const bf16 *a_row = q + lane % 16 * pitch<WIDTH> + lane / 16 * 8;
  const bf16 *b_row = k + (lane % 8 + lane / 16 * 8) * pitch<WIDTH> + lane / 8 % 2 * 8;

#pragma unroll
  for (int m = 0; m < TALL; m++)
#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
      for (int i = 0; i < 4; i++)
        s[m][t][i] = 0.f;
#pragma unroll
  for (int d = 0; d < WIDTH; d += 16) {
    unsigned a[TALL][4];

#pragma unroll
    for (int m = 0; m < TALL; m++)
      load_tiles (a[m], a_row + m * 16 * pitch<WIDTH> + d);
#pragma unroll
    for (int t = 0; t < TILES; t += 2) {
      unsigned b[4];

      load_tiles (b, b_row + t * 8 * pitch<WIDTH> + d);
#pragma unroll
      for (int m = 0; m < TALL; m++) {
        multiply (s[m][t], a[m], b[0], b[1]);
        multiply (s[m][t + 1], a[m], b[2], b[3]);
      }
    }
  }
}

/* Hides keys from limit on of rows g and g + 8. */
static __device__ void
hide_keys (float s[TILES][4], const int limit[2], int key0, int lane)
{
#pragma unroll
  for (int t = 0; t < TILES; t++)
#pragma unroll
    for (int i = 0; i < 4; i++)
      if (key0 + t * 8 + lane % 4 * 2 + i % 2 >= limit[i / 2])
        s[t][i] = -INFINITY;
}

/* Turns scores into weights relative to the running maximum of rows g and g + 8, and shrinks what
 * was summed before to it.  Each row sees key 0, so no maximum stays infinite. */
template <int WIDTH>
static __device__ void
block_weights (float s[TILES][4], float o[WIDTH / 8][4], float scale, float maximum[2],
               float sum[2])
{
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float top = maximum[half], total = 0.f, shrink, zero;

#pragma unroll
    for (int t = 0; t < TILES; t++)
      top = fmaxf (top, fmaxf (s[t][2 * half], s[t][2 * half + 1]));
    top = fmaxf (top, __shfl_xor_sync (0xffffffffu, top, 1));
    top = fmaxf (top, __shfl_xor_sync (0xffffffffu, top, 2));
    zero = top * scale;

#pragma unroll
    for (int t = 0; t < TILES; t++)
#pragma unroll
      for (int i = 0; i < 2; i++) {
        float *at = &s[t][2 * half + i];

        *at = exp2_fast (fmaf (*at, scale, -zero));
        total += *at;
      }
    shrink = exp2_fast (fmaf (maximum[half], scale, -zero));
    sum[half] = sum[half] * shrink + total;
    maximum[half] = top;
#pragma unroll
    for (int n = 0; n < WIDTH / 8; n++) {
      o[n][2 * half] *= shrink;
      o[n][2 * half + 1] *= shrink;
    }
  }
}

template <int WIDTH, int TALL>
static __device__ void
block_values (float o[TALL][WIDTH / 8][4], const float s[TALL][TILES][4], const bf16 *v, int lane)
{
  const bf16 *row = v + lane % 16 * pitch<WIDTH> + lane / 16 * 8;

#pragma unroll
  for (int t = 0; t < TILES; t += 2) {
    unsigned p[TALL][4];

#pragma unroll
    for (int m = 0; m < TALL; m++) {
      p[m][0] = pack2 (s[m][t][0], s[m][t][1]);
      p[m][1] = pack2 (s[m][t][2], s[m][t][3]);
      p[m][2] = pack2 (s[m][t + 1][0], s[m][t + 1][1]);
      p[m][3] = pack2 (s[m][t + 1][2], s[m][t + 1][3]);
    }
#pragma unroll
    for (int n = 0; n < WIDTH / 8; n += 2) {
      unsigned b[4];

      load_tiles_transposed (b, row + t * 8 * pitch<WIDTH> + n * 8);
#pragma unroll
      for (int m = 0; m < TALL; m++) {
        multiply (o[m][n], p[m], b[0], b[1]);
        multiply (o[m][n + 1], p[m], b[2], b[3]);
      }
    }
  }
}

/* The sum of a row lies in four lanes. */
template <int WIDTH>
static __device__ void
write_rows (const struct attention_task &a, bf16 *to, const float o[WIDTH / 8][4],
            const float sum[2], int row, int lane)
{
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float total = sum[half];

    total += __shfl_xor_sync (0xffffffffu, total, 1);
    total += __shfl_xor_sync (0xffffffffu, total, 2);
    if (row + 8 * half < a.tokens) {
      bf16 *at = to + (size_t) (row + 8 * half) * a.o_stride + lane % 4 * 2;
      const float factor = 1.f / total;

#pragma unroll
      for (int n = 0; n < WIDTH / 8; n++)
        if (n * 8 < a.width)
          *(unsigned *) (at + n * 8) = pack2 (o[n][2 * half] * factor, o[n][2 * half + 1] * factor);
    }
  }
}

template <int WIDTH, int TALL>
static __global__ void
__launch_bounds__ (THREADS, 2) attend (struct attention_task a)
{
  extern __shared__ uint4 shared_memory[];
  bf16 *shared_q = (bf16 *) shared_memory, *shared_k = shared_q + queries<TALL> * pitch<WIDTH>;
  bf16 *shared_v = shared_k + KEYS * pitch<WIDTH>;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int first = (int) blockIdx.x * queries<TALL>, row = first + warp * 16 * TALL + lane / 4;
  const int last = first + queries<TALL> < a.tokens ? first + queries<TALL> : a.tokens;
  const int keys = a.causal ? last : a.keys;
  const size_t head = blockIdx.y, kv_head = head / a.group, run = blockIdx.z;
  const bf16 *q = a.q + run * a.tokens * a.q_stride + head * a.width;
  const bf16 *k = a.k + run * a.keys * a.k_stride + kv_head * a.width;
  const bf16 *v = a.v + run * a.keys * a.v_stride + kv_head * a.width;
  bf16 *to = a.o + run * a.tokens * a.o_stride + head * a.width;
  float maximum[TALL][2], sum[TALL][2] = {}, o[TALL][WIDTH / 8][4] = {};

#pragma unroll
  for (int m = 0; m < TALL; m++)
    maximum[m][0] = maximum[m][1] = -INFINITY;
  load_rows<WIDTH, queries<TALL>> (shared_q, q, a.q_stride, first, a.tokens, a.width);
  load_rows<WIDTH, KEYS> (shared_k, k, a.k_stride, 0, keys, a.width);
  copy_commit ();

  for (int key0 = 0; key0 < keys; key0 += KEYS) {
    float s[TALL][TILES][4];

    copy_wait<0> ();
    __syncthreads (); /* the keys are there, the last values were read */
    load_rows<WIDTH, KEYS> (shared_v, v, a.v_stride, key0, keys, a.width);
    copy_commit ();
    block_scores<WIDTH, TALL> (s, shared_q + warp * 16 * TALL * pitch<WIDTH>, shared_k, lane);
    copy_wait<0> ();
    __syncthreads (); /* the values are there, the keys were read */
    if (key0 + KEYS < keys)
      load_rows<WIDTH, KEYS> (shared_k, k, a.k_stride, key0 + KEYS, keys, a.width);
    copy_commit ();
#pragma unroll
    for (int m = 0; m < TALL; m++) {
      const int above = row + m * 16 + 1;
      const int limit[2] = { a.causal ? min (above, keys) : keys,
                             a.causal ? min (above + 8, keys) : keys };

      if (key0 + KEYS > (a.causal ? first + 1 : keys))
        hide_keys (s[m], limit, key0, lane);
      block_weights<WIDTH> (s[m], o[m], a.scale, maximum[m], sum[m]);
    }
    block_values<WIDTH, TALL> (o, s, shared_v, lane);
  }
#pragma unroll
  for (int m = 0; m < TALL; m++)
    write_rows<WIDTH> (a, to, o[m], sum[m], row + m * 16, lane);
}

template <int WIDTH, int TALL>
static krn_status
launch (krn_stream *stream, const struct attention_task *task, int batch, int heads)
{
  const dim3 grid ((unsigned) (task->tokens + queries<TALL> - 1) / queries<TALL>, (unsigned) heads,
                   (unsigned) batch);

  attend<WIDTH, TALL><<<grid, THREADS, shared_bytes<WIDTH, TALL>, stream->handle>>> (*task);
  return krn_cuda_launched ();
}

/* Tall tiles, unless they leave multiprocessors without work. */
template <int WIDTH>
static krn_status
launch_fitting (krn_stream *stream, const struct attention_task *task, int batch, int heads)
{
  const size_t blocks = ((size_t) task->tokens + queries<2> - 1) / queries<2>;

  if (blocks * (size_t) heads * (size_t) batch < (size_t) stream->device->processors)
    return launch<WIDTH, 1> (stream, task, batch, heads);
  return launch<WIDTH, 2> (stream, task, batch, heads);
}

template <int WIDTH, int TALL>
static krn_status
prepare ()
{
  return krn_cuda_status (cudaFuncSetAttribute (
      attend<WIDTH, TALL>, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes<WIDTH, TALL>));
}

krn_status
krn_cuda_attention_prepare (void)
{
  krn_status status = prepare<32, 1> ();

  status = status ? status : prepare<32, 2> ();
  status = status ? status : prepare<64, 1> ();
  status = status ? status : prepare<64, 2> ();
  status = status ? status : prepare<96, 1> ();
  status = status ? status : prepare<96, 2> ();
  status = status ? status : prepare<128, 1> ();
  status = status ? status : prepare<128, 2> ();
  status = status ? status : prepare<160, 1> ();
  return status ? status : prepare<256, 1> ();
}

/* A head that is narrower than the kernel's is filled up with zeros. */
static krn_status
attend_task (krn_stream *stream, const struct attention_task *task, int batch, int heads)
{
  if (!task->aligned || task->width > 256 || !(task->scale > 0.f))
    return krn_cuda_attention_wide (stream, task, batch, heads);
  if (task->width <= 32)
    return launch_fitting<32> (stream, task, batch, heads);
  if (task->width <= 64)
    return launch_fitting<64> (stream, task, batch, heads);
  if (task->width <= 96)
    return launch_fitting<96> (stream, task, batch, heads);
  if (task->width <= 128)
    return launch_fitting<128> (stream, task, batch, heads);
  if (task->width <= 160)
    return launch<160, 1> (stream, task, batch, heads);
  return launch<256, 1> (stream, task, batch, heads);
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

  return attend_task (stream, &task, args->batch, args->q_heads);
}
