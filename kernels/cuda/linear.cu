/* kernels/cuda/linear.cu - products with a weight: cuBLASLt's where it has one, else our own.
 *
 * Our own is for the modulation, whose x and y are f32 and of a few rows, and for what cuBLASLt
 * refuses.  A warp takes one column of y and eight rows: each weight is read once for them. */
#include "kernels/cuda/blas.h"
#include "kernels/cuda/common.cuh"

enum {
  ROWS = 8, /* of a warp */
  THREADS = 256,
  MOST_ROW_BLOCKS = 65535, /* of a grid's second size */
};

static __device__ float
load1 (const float *p)
{
  return *p;
}

static __device__ float
load1 (const bf16 *p)
{
  return __bfloat162float (*p);
}

static __device__ void
store1 (float *p, float x)
{
  *p = x;
}

static __device__ void
store1 (bf16 *p, float x)
{
  *p = __float2bfloat16_rn (x);
}

template <class T>
static __global__ void
linear_rows (T *y, const T *x, const bf16 *w, const bf16 *bias, size_t rows, size_t in, size_t out,
             size_t y_stride, size_t x_stride, size_t w_stride, bool accumulate, bool aligned)
{
  const size_t col = (size_t) blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  const unsigned lane = threadIdx.x % 32;

  if (col >= out) /* the whole warp */
    return;

  for (size_t row = (size_t) blockIdx.y * ROWS; row < rows; row += (size_t) gridDim.y * ROWS) {
    float sum[ROWS] = {};

    for (size_t i = 8 * lane; i < in; i += 8 * 32) {
      const eight b = load8 (w + col * w_stride + i, in - i, aligned);

#pragma unroll
      for (int r = 0; r < ROWS; r++)
        if (row + r < rows) {
          const eight a = load8 (x + (row + r) * x_stride + i, in - i, aligned);

#pragma unroll
          for (int k = 0; k < 8; k++)
            sum[r] += a.v[k] * b.v[k];
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      const float total = warp_sum (sum[r]) + (bias ? load1 (bias + col) : 0.f);

      if (lane == 0 && row + r < rows) {
        T *to = y + (row + r) * y_stride + col;

        store1 (to, total + (accumulate ? load1 (to) : 0.f));
      }
    }
  }
}

template <class T>
static krn_status
launch (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
        bool accumulate)
{
  const size_t rows = (size_t) krn_rows (y), row_blocks = (rows + ROWS - 1) / ROWS;
  const size_t col_blocks = ((size_t) y.dim[3] + THREADS / 32 - 1) / (THREADS / 32);
  const bool aligned = krn_is_aligned (x) && krn_is_aligned (w);
  const dim3 grid ((unsigned) col_blocks,
                   (unsigned) (row_blocks < MOST_ROW_BLOCKS ? row_blocks : MOST_ROW_BLOCKS));

  if (col_blocks > INT32_MAX)
    return KRN_ERROR_UNSUPPORTED;

  linear_rows<<<grid, THREADS, 0, stream->handle>>> (
      (T *) y.data, (const T *) x.data, (const bf16 *) w.data, (const bf16 *) bias.data, rows,
      (size_t) x.dim[3], (size_t) y.dim[3], (size_t) y.stride, (size_t) x.stride, (size_t) w.stride,
      accumulate, aligned);
  return krn_cuda_launched ();
}

krn_status
krn_cuda_linear (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
                 bool accumulate)
{
  krn_status status;

  if ((y.dtype != KRN_BF16 && y.dtype != KRN_F32) || !krn_is_tensor (y, y.dtype) ||
      !krn_is_matrix (x, y.dtype, krn_rows (y), x.dim[3]) ||
      !krn_is_matrix (w, KRN_BF16, y.dim[3], x.dim[3]) ||
      !krn_may_be_vector (bias, KRN_BF16, y.dim[3]))
    return KRN_ERROR_SHAPE;

  if (y.dtype == KRN_F32)
    return launch<float> (stream, y, x, w, bias, accumulate);
  status = krn_blas_linear (stream, y, x, w, bias, accumulate);
  return status == KRN_ERROR_UNSUPPORTED ? launch<bf16> (stream, y, x, w, bias, accumulate)
                                         : status;
}
