/* kernels/cuda/rope.cu - norm and rotation of queries and keys.
 *
 * Heads of 64, 128 and 256 that start on 16 bytes: a block takes a row, a lane eight numbers of a
 * head and of several heads, so that the row's angles are read once.  Others: a warp takes a head,
 * a lane whole pairs.  Both numbers of a pair are read before either is written. */
#include "kernels/cuda/common.cuh"

struct rotation {
  bf16 *qkv;
  const bf16 *q_weight, *k_weight; /* NULL: no norm */
  const float *rope;
  size_t rows, positions, qkv_stride, rope_stride;
  unsigned heads, q_heads, pairs; /* heads: of queries and keys; pairs: of a head */
  unsigned first, second;         /* pair i is at first * i and first * i + second */
  float eps;
};

enum {
  THREADS = 256,
  RESIDENT = 5, /* blocks of a multiprocessor, by their registers */
  BATCH = 2     /* heads of a lane at a time */
};

/* The cosines and sines of a lane's eight numbers: of eight pairs, or of four whole ones. */
template <bool HALF> struct angles {
  float c[HALF ? 8 : 4], s[HALF ? 8 : 4];
};

template <int LANES, bool HALF>
static __device__ void
load_angles (struct angles<HALF> *to, const float *rope, unsigned lane)
{
  const unsigned pair = HALF ? 8 * (lane % (LANES / 2)) : 4 * lane;

#pragma unroll
  for (int i = 0; i < (HALF ? 4 : 2); i++) {
    const float4 two = *(const float4 *) (rope + 2 * pair + 4 * i);

    to->c[2 * i] = two.x;
    to->s[2 * i] = two.y;
    to->c[2 * i + 1] = two.z;
    to->s[2 * i + 1] = two.w;
  }
}

/* A lane's eight numbers of a head.  Every lane of the warp must come. */
template <int LANES, bool HALF>
static __device__ uint4
turned (const uint4 &raw, const struct angles<HALF> &by, const eight &w, bool norm, float eps)
{
  const bool first = threadIdx.x % LANES < LANES / 2;
  eight e = unpack8 (raw), y;

  if (norm) {
    float sum = 0.f, factor;

#pragma unroll
    for (int k = 0; k < 8; k++)
      sum += e.v[k] * e.v[k];
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2)
      sum += __shfl_xor_sync (0xffffffffu, sum, step);
    factor = rsqrtf (sum / (float) (8 * LANES) + eps);
#pragma unroll
    for (int k = 0; k < 8; k++)
      e.v[k] *= factor * w.v[k];
  }
#pragma unroll
  for (int k = 0; k < 8; k++)
    if (HALF) { /* the partners are another lane's */
      const float partner = __shfl_xor_sync (0xffffffffu, e.v[k], LANES / 2);

      y.v[k] = e.v[k] * by.c[HALF ? k : 0] + (first ? -partner : partner) * by.s[HALF ? k : 0];
    } else {
      y.v[k] = e.v[k] * by.c[k / 2] + (k % 2 ? e.v[k - 1] : -e.v[k + 1]) * by.s[k / 2];
    }
  return pack8 (y);
}

/* Heads of LANES times eight; the block's threads are a multiple of LANES. */
template <int LANES, bool HALF>
static __global__ void
__launch_bounds__ (THREADS, RESIDENT) norm_rotate_row (struct rotation r)
{
  const unsigned lane = threadIdx.x % LANES, group = threadIdx.x / LANES;
  const unsigned groups = blockDim.x / LANES;
  const bool norm = r.q_weight != NULL;
  bf16 *x = r.qkv + blockIdx.x * r.qkv_stride + 8 * lane;
  uint4 q_raw = {}, k_raw = {};
  struct angles<HALF> by;

  if (norm) {
    q_raw = *(const uint4 *) (r.q_weight + 8 * lane);
    k_raw = *(const uint4 *) (r.k_weight + 8 * lane);
  }
  load_angles<LANES, HALF> (&by, r.rope + blockIdx.x % r.positions * r.rope_stride, lane);
  for (unsigned first = 0; first < r.heads; first += BATCH * groups) {
    uint4 raw[BATCH];

#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      const unsigned head = first + i * groups + group;

      raw[i] = make_uint4 (0u, 0u, 0u, 0u);
      if (head < r.heads)
        raw[i] = *(const uint4 *) (x + (size_t) head * (8 * LANES));
    }
#pragma unroll
    for (int i = 0; i < BATCH; i++) {
      const unsigned head = first + i * groups + group;
      const uint4 y =
          turned<LANES, HALF> (raw[i], by, unpack8 (head < r.q_heads ? q_raw : k_raw), norm, r.eps);

      if (head < r.heads)
        *(uint4 *) (x + (size_t) head * (8 * LANES)) = y;
    }
  }
}

static __device__ float
head_factor (const struct rotation &r, const bf16 *x, unsigned lane)
{
  float sum = 0.f;

  for (unsigned i = lane; i < r.pairs; i += 32) {
    const float a = __bfloat162float (x[r.first * i]);
    const float b = __bfloat162float (x[r.first * i + r.second]);

    sum += a * a + b * b;
  }
  return rsqrtf (warp_sum (sum) / (float) (2 * r.pairs) + r.eps);
}

static __global__ void
norm_rotate (struct rotation r)
{
  const size_t warps = (size_t) gridDim.x * (blockDim.x / 32);
  const unsigned lane = threadIdx.x % 32;

  for (size_t i = (size_t) blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; i < r.rows * r.heads;
       i += warps) {
    const size_t row = i / r.heads;
    const unsigned head = (unsigned) (i % r.heads);
    const bf16 *w = head < r.q_heads ? r.q_weight : r.k_weight;
    const float *rope = r.rope + row % r.positions * r.rope_stride;
    bf16 *x = r.qkv + row * r.qkv_stride + (size_t) head * (2 * r.pairs);
    const float factor = w ? head_factor (r, x, lane) : 1.f;

    for (unsigned p = lane; p < r.pairs; p += 32) {
      const unsigned at = r.first * p, other = at + r.second;
      const float c = rope[2 * p], s = rope[2 * p + 1];
      float a = __bfloat162float (x[at]), b = __bfloat162float (x[other]);

      if (w) {
        a *= factor * __bfloat162float (w[at]);
        b *= factor * __bfloat162float (w[other]);
      }
      x[at] = __float2bfloat16_rn (a * c - b * s);
      x[other] = __float2bfloat16_rn (b * c + a * s);
    }
  }
}

template <int LANES>
static krn_status
launch_rows (krn_stream *stream, const struct rotation &r, bool half)
{
  const unsigned most = (r.heads * LANES + 31) / 32 * 32;
  const unsigned threads = most < THREADS ? most : THREADS;

  if (half)
    norm_rotate_row<LANES, true><<<(unsigned) r.rows, threads, 0, stream->handle>>> (r);
  else
    norm_rotate_row<LANES, false><<<(unsigned) r.rows, threads, 0, stream->handle>>> (r);
  return krn_cuda_launched ();
}

krn_status
krn_cuda_qk_norm_rope (krn_stream *stream, const struct krn_qk_norm_rope *args)
{
  const int64_t n = args->head_dim, rows = krn_rows (args->qkv);
  const int64_t heads = (int64_t) args->q_heads + 2 * (int64_t) args->kv_heads;
  struct rotation r = {};

  if (n <= 0 || n % 2 != 0 || args->q_heads <= 0 || args->kv_heads <= 0 ||
      (args->kind != KRN_ROPE_INTERLEAVED && args->kind != KRN_ROPE_HALF) ||
      !krn_is_matrix (args->qkv, KRN_BF16, rows, heads * n) ||
      !krn_is_matrix (args->rope, KRN_F32, krn_rows (args->rope), n) ||
      !krn_may_be_vector (args->q_weight, KRN_BF16, n) ||
      !krn_may_be_vector (args->k_weight, KRN_BF16, n) ||
      !args->q_weight.data != !args->k_weight.data)
    return KRN_ERROR_SHAPE;

  r.qkv = (bf16 *) args->qkv.data;
  r.q_weight = (const bf16 *) args->q_weight.data;
  r.k_weight = (const bf16 *) args->k_weight.data;
  r.rope = (const float *) args->rope.data;
  r.rows = (size_t) rows;
  r.positions = (size_t) krn_rows (args->rope);
  r.qkv_stride = (size_t) args->qkv.stride;
  r.rope_stride = (size_t) args->rope.stride;
  r.q_heads = (unsigned) args->q_heads;
  r.heads = (unsigned) args->q_heads + (unsigned) args->kv_heads;
  r.pairs = (unsigned) (n / 2);
  r.first = args->kind == KRN_ROPE_HALF ? 1 : 2;
  r.second = args->kind == KRN_ROPE_HALF ? (unsigned) (n / 2) : 1;
  r.eps = args->eps;
  if (krn_is_aligned (args->qkv) && krn_is_aligned (args->q_weight) &&
      krn_is_aligned (args->k_weight) && krn_is_aligned (args->rope) && rows <= INT32_MAX) {
    if (n == 64)
      return launch_rows<8> (stream, r, args->kind == KRN_ROPE_HALF);
    if (n == 128)
      return launch_rows<16> (stream, r, args->kind == KRN_ROPE_HALF);
    if (n == 256)
      return launch_rows<32> (stream, r, args->kind == KRN_ROPE_HALF);
  }
  norm_rotate<<<krn_blocks (r.rows * r.heads, THREADS / 32), THREADS, 0, stream->handle>>> (r);
  return krn_cuda_launched ();
}
