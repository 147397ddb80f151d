/* kernels/cuda/conv_doubled.cu - a convolution 3 x 3 of a picture that is first doubled, in 4/9 of
 * the work.
 *
 * Along an axis, a pixel of y at an even place reads x[i - 1] with the first weight and x[i] with
 * the sum of the others; at an odd place x[i] with the sum of the first two and x[i + 1] with the
 * last.  The sums are rounded to bf16 as weights are.  cuDNN takes them as one transposed
 * convolution 4 x 4, our own kernel as four of 2 x 2.  Narrow convolutions are quick anyhow and are
 * spared the rounding. */
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/conv.h"
#include "kernels/cuda/cudnn.h"

enum { THREADS = 256, TILE = 32, LEAST_WEIGHTS = 128 * 128 /* of a tap */ };

/* The sum of the weights at lines y0 to y1 and columns x0 to x1 of one output and channel, whose
 * first is at w and each next step further on. */
static __device__ float
sum_taps (const bf16 *w, size_t step, int y0, int y1, int x0, int x1)
{
  float sum = 0.f;

  for (int y = y0; y <= y1; y++)
    for (int x = x0; x <= x1; x++)
      sum += __bfloat162float (w[(y * 3 + x) * step]);
  return sum;
}

/* to [4, out, 2, 2, in] from w [out, 3, 3, in]. */
static __global__ void
fold_phases (bf16 *to, const bf16 *w, size_t out, size_t in)
{
  const size_t n = 16 * out * in;

  for (size_t i = (size_t) blockIdx.x * THREADS + threadIdx.x; i < n;
       i += (size_t) gridDim.x * THREADS) {
    const size_t channel = i % in, o = i / in / 4 % out;
    const int phase = (int) (i / in / 4 / out), tap = (int) (i / in % 4);
    const int odd_y = phase / 2, odd_x = phase % 2, a = tap / 2, b = tap % 2;
    /* At an even place the first tap reads one weight, at an odd place two. */
    const float sum = sum_taps (w + o * 9 * in + channel, in, a ? 1 + odd_y : 0, a ? 2 : odd_y,
                                b ? 1 + odd_x : 0, b ? 2 : odd_x);

    to[i] = __float2bfloat16_rn (sum);
  }
}

/* to [in, 4, 4, out] from w [out, 3, 3, in], by tiles, so that both are accessed along their rows.
 * Along an axis the weights are w2, w1 + w2, w0 + w1, w0. */
static __global__ void
fold_transposed (bf16 *to, const bf16 *w, size_t out, size_t in)
{
  __shared__ float tile[TILE][TILE + 1];
  const int y = blockIdx.z / 4, x = blockIdx.z % 4;
  const int y0 = y == 0 ? 2 : y == 1 ? 1 : 0, y1 = y < 2 ? 2 : 3 - y;
  const int x0 = x == 0 ? 2 : x == 1 ? 1 : 0, x1 = x < 2 ? 2 : 3 - x;
  const size_t in0 = (size_t) blockIdx.x * TILE, out0 = (size_t) blockIdx.y * TILE;

  for (int i = threadIdx.y; i < TILE; i += blockDim.y)
    if (in0 + threadIdx.x < in && out0 + i < out)
      tile[i][threadIdx.x] =
          sum_taps (w + (out0 + i) * 9 * in + in0 + threadIdx.x, in, y0, y1, x0, x1);
  __syncthreads ();
  for (int i = threadIdx.y; i < TILE; i += blockDim.y)
    if (in0 + i < in && out0 + threadIdx.x < out)
      to[((in0 + i) * 16 + blockIdx.z) * out + out0 + threadIdx.x] =
          __float2bfloat16_rn (tile[threadIdx.x][i]);
}

/* y [rows, n] += bias [n], eight at a time. */
static __global__ void
add_bias (bf16 *y, const bf16 *bias, size_t rows, size_t n, size_t stride)
{
  const size_t chunks = n / 8;

  for (size_t i = (size_t) blockIdx.x * THREADS + threadIdx.x; i < rows * chunks;
       i += (size_t) gridDim.x * THREADS) {
    const size_t row = i / chunks, col = i % chunks * 8;
    uint4 *at = (uint4 *) (y + row * stride + col);
    const uint4 a = *at, b = *(const uint4 *) (bias + col);
    const unsigned x[4] = { a.x, a.y, a.z, a.w }, z[4] = { b.x, b.y, b.z, b.w };
    unsigned sum[4];

#pragma unroll
    for (int k = 0; k < 4; k++)
      sum[k] = pack2 (__uint_as_float (x[k] << 16) + __uint_as_float (z[k] << 16),
                      __uint_as_float (x[k] & 0xffff0000u) + __uint_as_float (z[k] & 0xffff0000u));
    *at = make_uint4 (sum[0], sum[1], sum[2], sum[3]);
  }
}

static krn_status
run_transposed (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias)
{
  const size_t in = (size_t) x.dim[3], out = (size_t) y.dim[3], pixels = (size_t) krn_rows (y);
  const krn_tensor folded = krn_tensor_make (stream->scratch, KRN_BF16, x.dim[3], 4, 4, y.dim[3]);
  const dim3 grid ((unsigned) ((in + TILE - 1) / TILE), (unsigned) ((out + TILE - 1) / TILE), 16);
  krn_status status;

  if (in % 8 || out % 8 || !krn_is_aligned (bias))
    return KRN_ERROR_UNSUPPORTED;
  fold_transposed<<<grid, dim3 (TILE, 8), 0, stream->handle>>> ((bf16 *) stream->scratch,
                                                                (const bf16 *) w.data, out, in);
  status = krn_cuda_launched ();
  status = status ? status : krn_cudnn_transposed (stream, y, x, folded);
  if (status || !bias.data)
    return status;
  add_bias<<<krn_blocks (pixels * (out / 8), THREADS), THREADS, 0, stream->handle>>> (
      (bf16 *) y.data, (const bf16 *) bias.data, pixels, out, (size_t) y.stride);
  return krn_cuda_launched ();
}

krn_status
krn_cuda_conv_doubled (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                       krn_tensor bias, const struct krn_conv *args)
{
  const size_t weights = (size_t) x.dim[3] * (size_t) y.dim[3], n = 16 * weights;
  krn_status status;

  /* Half of the scratch is cuDNN's. */
  if (!args->upsample || w.dim[1] != 3 || w.dim[2] != 3 || args->pad_before != 1 ||
      args->pad_after != 1 || weights < LEAST_WEIGHTS || n > KRN_CUDA_SCRATCH / 2 / sizeof (bf16))
    return KRN_ERROR_UNSUPPORTED;

  if (stream->device->cudnn && !args->add.data) {
    status = run_transposed (stream, y, x, w, bias);
    if (status != KRN_ERROR_UNSUPPORTED)
      return status;
  }
  fold_phases<<<krn_blocks (n, THREADS), THREADS, 0, stream->handle>>> (
      (bf16 *) stream->scratch, (const bf16 *) w.data, (size_t) y.dim[3], (size_t) x.dim[3]);
  status = krn_cuda_launched ();
  return status ? status : krn_cuda_conv_phases (stream, y, x, stream->scratch, bias, args->add);
}
