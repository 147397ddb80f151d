/* kernels/cuda/copy.cu - uploads, downloads and copies, converting between float dtypes. */
#include "kernels/cuda/common.cuh"

#include <cuda_fp16.h>

static __device__ float
to_float (float x)
{
  return x;
}

static __device__ float
to_float (bf16 x)
{
  return __bfloat162float (x);
}

static __device__ float
to_float (__half x)
{
  return __half2float (x);
}

static __device__ void
from_float (float *to, float x)
{
  *to = x;
}

static __device__ void
from_float (bf16 *to, float x)
{
  *to = __float2bfloat16_rn (x);
}

static __device__ void
from_float (__half *to, float x)
{
  *to = __float2half_rn (x);
}

/* Strides in elements; from_stride 0 repeats one row. */
template <class To, class From>
static __global__ void
convert (To *to, const From *from, size_t rows, size_t cols, size_t to_stride, size_t from_stride)
{
  const size_t step = (size_t) gridDim.x * blockDim.x;

  for (size_t i = (size_t) blockIdx.x * blockDim.x + threadIdx.x; i < rows * cols; i += step) {
    const size_t row = rows == 1 ? 0 : i / cols, col = i - row * cols; /* quotients are slow */

    from_float (to + row * to_stride + col, to_float (from[row * from_stride + col]));
  }
}

/* Elements of one size as they are. */
template <class T>
static __global__ void
copy_elements (T *to, const T *from, size_t rows, size_t cols, size_t to_stride, size_t from_stride)
{
  const size_t step = (size_t) gridDim.x * blockDim.x;

  for (size_t i = (size_t) blockIdx.x * blockDim.x + threadIdx.x; i < rows * cols; i += step) {
    const size_t row = rows == 1 ? 0 : i / cols, col = i - row * cols; /* quotients are slow */

    to[row * to_stride + col] = from[row * from_stride + col];
  }
}

/* What is copied, [rows, cols]. */
struct copying {
  void *to;
  const void *from;
  krn_dtype to_dtype, from_dtype;
  size_t rows, cols;
  size_t to_stride, from_stride; /* elements; from_stride 0 repeats one row */
};

enum { THREADS = 256 };

template <class To>
static void
launch_convert (const struct copying *c, cudaStream_t stream)
{
  const unsigned blocks = krn_blocks (c->rows * c->cols, THREADS);

  if (c->from_dtype == KRN_F32)
    convert<<<blocks, THREADS, 0, stream>>> ((To *) c->to, (const float *) c->from, c->rows,
                                             c->cols, c->to_stride, c->from_stride);
  else if (c->from_dtype == KRN_BF16)
    convert<<<blocks, THREADS, 0, stream>>> ((To *) c->to, (const bf16 *) c->from, c->rows, c->cols,
                                             c->to_stride, c->from_stride);
  else
    convert<<<blocks, THREADS, 0, stream>>> ((To *) c->to, (const __half *) c->from, c->rows,
                                             c->cols, c->to_stride, c->from_stride);
}

/* Sixteen bytes at a time where every row allows it; bytes otherwise count as elements of size. */
static void
launch_copy (const struct copying *c, size_t size, cudaStream_t stream)
{
  const size_t starts = (uintptr_t) c->to | (uintptr_t) c->from | c->to_stride * size |
                        c->from_stride * size | c->cols * size;
  const size_t unit = starts % 16 == 0 ? 16 : size, per = unit / size;
  const size_t cols = c->cols / per;
  const unsigned blocks = krn_blocks (c->rows * cols, THREADS);

  if (unit == 16)
    copy_elements<<<blocks, THREADS, 0, stream>>> ((uint4 *) c->to, (const uint4 *) c->from,
                                                   c->rows, cols, c->to_stride / per,
                                                   c->from_stride / per);
  else if (unit == 4)
    copy_elements<<<blocks, THREADS, 0, stream>>> ((uint32_t *) c->to, (const uint32_t *) c->from,
                                                   c->rows, cols, c->to_stride, c->from_stride);
  else if (unit == 2)
    copy_elements<<<blocks, THREADS, 0, stream>>> ((uint16_t *) c->to, (const uint16_t *) c->from,
                                                   c->rows, cols, c->to_stride, c->from_stride);
  else
    copy_elements<<<blocks, THREADS, 0, stream>>> ((uint8_t *) c->to, (const uint8_t *) c->from,
                                                   c->rows, cols, c->to_stride, c->from_stride);
}

static krn_status
launch (const struct copying *c, cudaStream_t stream)
{
  if (c->to_dtype == c->from_dtype)
    launch_copy (c, krn_dtype_size (c->to_dtype), stream);
  else if (c->to_dtype == KRN_F32)
    launch_convert<float> (c, stream);
  else if (c->to_dtype == KRN_BF16)
    launch_convert<bf16> (c, stream);
  else
    launch_convert<__half> (c, stream);
  return krn_cuda_launched ();
}

static bool
is_float (krn_dtype dtype)
{
  return dtype == KRN_F32 || dtype == KRN_BF16 || dtype == KRN_F16;
}

static bool
converts (krn_dtype to, krn_dtype from)
{
  return to == from || (is_float (to) && is_float (from));
}

/* Converted numbers pass through the stream's scratch, a piece after the other: the stream keeps
 * a piece from overwriting one that is not converted yet. */
static krn_status
upload_converting (krn_stream *stream, krn_tensor dst, const void *src, krn_dtype src_dtype)
{
  const size_t from_size = krn_dtype_size (src_dtype), to_size = krn_dtype_size (dst.dtype);
  const size_t n = (size_t) krn_count (dst), most = KRN_CUDA_SCRATCH / from_size;

  for (size_t first = 0; first < n; first += most) {
    const size_t count = n - first < most ? n - first : most;
    struct copying piece = {};
    krn_status status = krn_cuda_status (
        cudaMemcpyAsync (stream->scratch, (const char *) src + first * from_size, count * from_size,
                         cudaMemcpyHostToDevice, stream->handle));

    piece.to = (char *) dst.data + first * to_size;
    piece.from = stream->scratch;
    piece.to_dtype = dst.dtype;
    piece.from_dtype = src_dtype;
    piece.rows = 1;
    piece.cols = count;
    if (!status)
      status = launch (&piece, stream->handle);
    if (status)
      return status;
  }
  return KRN_OK;
}

krn_status
krn_cuda_upload (krn_stream *stream, krn_tensor dst, const void *src, krn_dtype src_dtype)
{
  if (!krn_is_packed (dst) || !src || !converts (dst.dtype, src_dtype))
    return KRN_ERROR_SHAPE;

  if (dst.dtype != src_dtype)
    return upload_converting (stream, dst, src, src_dtype);
  return krn_cuda_status (cudaMemcpyAsync (dst.data, src,
                                           (size_t) krn_count (dst) * krn_dtype_size (dst.dtype),
                                           cudaMemcpyHostToDevice, stream->handle));
}

krn_status
krn_cuda_download (krn_stream *stream, void *dst, krn_tensor src)
{
  if (!krn_is_packed (src) || !dst)
    return KRN_ERROR_SHAPE;

  return krn_cuda_status (cudaMemcpyAsync (dst, src.data,
                                           (size_t) krn_count (src) * krn_dtype_size (src.dtype),
                                           cudaMemcpyDeviceToHost, stream->handle));
}

krn_status
krn_cuda_copy (krn_stream *stream, krn_tensor dst, krn_tensor src)
{
  struct copying all = {};

  if (!krn_is_tensor (dst, dst.dtype) || !krn_is_tensor (src, src.dtype) ||
      src.dim[3] != dst.dim[3] || (krn_rows (src) != krn_rows (dst) && krn_rows (src) != 1) ||
      !converts (dst.dtype, src.dtype))
    return KRN_ERROR_SHAPE;

  all.to = dst.data;
  all.from = src.data;
  all.to_dtype = dst.dtype;
  all.from_dtype = src.dtype;
  all.rows = (size_t) krn_rows (dst);
  all.cols = (size_t) dst.dim[3];
  all.to_stride = krn_rows (dst) == 1 ? 0 : (size_t) dst.stride;
  all.from_stride = krn_rows (src) == 1 ? 0 : (size_t) src.stride;
  if (krn_is_packed (dst) && krn_is_packed (src) && krn_rows (src) == krn_rows (dst)) {
    all.cols *= all.rows;
    all.rows = 1;
    all.to_stride = all.from_stride = 0;
  }
  return launch (&all, stream->handle);
}
