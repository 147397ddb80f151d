/* kernels/cuda/rope.cu - norm and rotation of queries and keys, one warp a head.
 *
 * A lane owns whole pairs, so that both numbers of a pair are read before either is written. */
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

krn_status
krn_cuda_qk_norm_rope (krn_stream *stream, const struct krn_qk_norm_rope *args)
{
  const int64_t n = args->head_dim, rows = krn_rows (args->qkv);
  const int64_t heads = (int64_t) args->q_heads + 2 * (int64_t) args->kv_heads;
  enum { THREADS = 256 };
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
  norm_rotate<<<krn_blocks (r.rows * r.heads, THREADS / 32), THREADS, 0, stream->handle>>> (r);
  return krn_cuda_launched ();
}
