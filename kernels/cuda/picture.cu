/* kernels/cuda/picture.cu - between channels first and channels last, and to bytes. */
#include "kernels/cuda/common.cuh"

enum { THREADS = 256 };

/* Pixel i is in line i / w of a channel, whose lines lie stride floats apart. */
struct planes {
  size_t c, h, w, stride;
};

static __device__ size_t
plane_at (const struct planes &p, size_t channel, size_t pixel)
{
  return (channel * p.h + pixel / p.w) * p.stride + pixel % p.w;
}

static struct planes
planes_of (krn_tensor t)
{
  return { (size_t) t.dim[1], (size_t) t.dim[2], (size_t) t.dim[3], (size_t) t.stride };
}

static __global__ void
planes_to_pixels (bf16 *y, const float *x, struct planes planes, size_t y_stride, float mul,
                  float add)
{
  const size_t n = planes.c * planes.h * planes.w, step = (size_t) gridDim.x * blockDim.x;

  for (size_t i = (size_t) blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
    const size_t pixel = i / planes.c, channel = i % planes.c;

    y[pixel * y_stride + channel] =
        __float2bfloat16_rn (x[plane_at (planes, channel, pixel)] * mul + add);
  }
}

krn_status
krn_cuda_to_nhwc (krn_stream *stream, krn_tensor y, krn_tensor x, float mul, float add)
{
  if (!krn_is_tensor (y, KRN_BF16) || y.dim[0] != 1 ||
      !krn_is_image (x, KRN_F32, y.dim[3], y.dim[1], y.dim[2]))
    return KRN_ERROR_SHAPE;

  planes_to_pixels<<<krn_blocks ((size_t) krn_count (x), THREADS), THREADS, 0, stream->handle>>> (
      (bf16 *) y.data, (const float *) x.data, planes_of (x), (size_t) y.stride, mul, add);
  return krn_cuda_launched ();
}

static __global__ void
pixels_to_planes (float *y, const bf16 *x, struct planes planes, size_t x_stride, float mul,
                  float add)
{
  const size_t pixels = planes.h * planes.w, step = (size_t) gridDim.x * blockDim.x;

  for (size_t i = (size_t) blockIdx.x * blockDim.x + threadIdx.x; i < planes.c * pixels;
       i += step) {
    const size_t channel = i / pixels, pixel = i % pixels;

    y[plane_at (planes, channel, pixel)] =
        __bfloat162float (x[pixel * x_stride + channel]) * mul + add;
  }
}

krn_status
krn_cuda_to_nchw (krn_stream *stream, krn_tensor y, krn_tensor x, float mul, float add)
{
  if (!krn_is_tensor (y, KRN_F32) || y.dim[0] != 1 || x.dim[3] < y.dim[1] ||
      !krn_is_image (x, KRN_BF16, y.dim[2], y.dim[3], x.dim[3]))
    return KRN_ERROR_SHAPE;

  pixels_to_planes<<<krn_blocks ((size_t) krn_count (y), THREADS), THREADS, 0, stream->handle>>> (
      (float *) y.data, (const bf16 *) x.data, planes_of (y), (size_t) x.stride, mul, add);
  return krn_cuda_launched ();
}

/* [-1, 1] to a byte; NaN gives 0. */
static __device__ uint8_t
to_byte (float x)
{
  const float v = (x + 1.f) * 127.5f;

  return v > 0.f ? (uint8_t) rintf (v < 255.f ? v : 255.f) : 0;
}

/* Alpha 255; whole: pixels start where a 4-byte access may. */
static __device__ void
store_pixel (uint8_t *pixel, float r, float g, float b, bool whole)
{
  const uchar4 bytes = make_uchar4 (to_byte (r), to_byte (g), to_byte (b), 255);

  if (whole) {
    *(uchar4 *) pixel = bytes;
    return;
  }
  pixel[0] = bytes.x;
  pixel[1] = bytes.y;
  pixel[2] = bytes.z;
  pixel[3] = bytes.w;
}

static bool
starts_whole (krn_tensor rgba)
{
  return (uintptr_t) rgba.data % 4 == 0 && rgba.stride % 4 == 0;
}

static __global__ void
latent_to_bytes (uint8_t *rgba, const float *latent, const float *factors, struct planes planes,
                 size_t rgba_stride, size_t factor_stride, bool whole)
{
  const size_t n = planes.h * planes.w, step = (size_t) gridDim.x * blockDim.x;
  const float *bias = factors + planes.c * factor_stride;

  for (size_t i = (size_t) blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
    float sum[3] = { bias[0], bias[1], bias[2] };

    for (size_t channel = 0; channel < planes.c; channel++) {
      const float value = latent[plane_at (planes, channel, i)];

#pragma unroll
      for (int k = 0; k < 3; k++)
        sum[k] += value * factors[channel * factor_stride + k];
    }
    store_pixel (rgba + i * rgba_stride, sum[0], sum[1], sum[2], whole);
  }
}

krn_status
krn_cuda_latent_rgba (krn_stream *stream, krn_tensor rgba, krn_tensor latent, krn_tensor factors)
{
  const int64_t c = latent.dim[1], h = latent.dim[2], w = latent.dim[3];

  if (!krn_is_tensor (latent, KRN_F32) || latent.dim[0] != 1 ||
      !krn_is_image (rgba, KRN_U8, h, w, 4) || !krn_is_matrix (factors, KRN_F32, c + 1, 3))
    return KRN_ERROR_SHAPE;

  latent_to_bytes<<<krn_blocks ((size_t) (h * w), THREADS), THREADS, 0, stream->handle>>> (
      (uint8_t *) rgba.data, (const float *) latent.data, (const float *) factors.data,
      planes_of (latent), (size_t) rgba.stride, (size_t) factors.stride, starts_whole (rgba));
  return krn_cuda_launched ();
}

static __global__ void
pixels_to_bytes (uint8_t *rgba, const bf16 *x, size_t n, size_t rgba_stride, size_t x_stride,
                 bool whole)
{
  const size_t step = (size_t) gridDim.x * blockDim.x;

  for (size_t i = (size_t) blockIdx.x * blockDim.x + threadIdx.x; i < n; i += step) {
    const bf16 *from = x + i * x_stride;

    store_pixel (rgba + i * rgba_stride, __bfloat162float (from[0]), __bfloat162float (from[1]),
                 __bfloat162float (from[2]), whole);
  }
}

krn_status
krn_cuda_image_rgba (krn_stream *stream, krn_tensor rgba, krn_tensor x)
{
  if (!krn_is_image (x, KRN_BF16, x.dim[1], x.dim[2], 3) ||
      !krn_is_image (rgba, KRN_U8, x.dim[1], x.dim[2], 4))
    return KRN_ERROR_SHAPE;

  pixels_to_bytes<<<krn_blocks ((size_t) krn_rows (x), THREADS), THREADS, 0, stream->handle>>> (
      (uint8_t *) rgba.data, (const bf16 *) x.data, (size_t) krn_rows (x), (size_t) rgba.stride,
      (size_t) x.stride, starts_whole (rgba));
  return krn_cuda_launched ();
}
