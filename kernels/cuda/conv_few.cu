/* kernels/cuda/conv_few.cu - convolution 3 x 3 with few outputs: a VAE's last, which makes three
 * colours of 128 channels and is bound by reading those.
 *
 * A block makes 8 lines of 32 pixels, a warp one of them.  Its pixels and their border pass through
 * shared memory once, 32 channels at a time, and are used by all nine taps; the weights are so few
 * that they stay in the cache.  A pixel outside the picture is zeros. */
#include "kernels/cuda/conv.h"
#include "kernels/cuda/mma.cuh"

enum {
  LINES = 8,
  COLUMNS = 32,
  CHANNELS = 32, /* of a step */
  THREADS = LINES * 32,
  STAGES = 2,
  PITCH = CHANNELS + 8, /* 16 bytes more than a pixel: other banks */
  WIDTH = COLUMNS + 2,
  STAGE = (LINES + 2) * WIDTH * PITCH,
  SHARED_BYTES = STAGES * STAGE * 2,
  MOST_OUTPUTS = 8,
};

struct few {
  bf16 *y;
  const bf16 *x, *w, *bias, *add; /* bias and add may be NULL */
  size_t y_stride, x_stride, add_stride;
  int h, width, in, out;
};

static __device__ void
load_step (bf16 *stage, const struct few &c, const bf16 *image, int line0, int col0, int channel)
{
  constexpr int chunks = CHANNELS / 8;

  for (int i = threadIdx.x; i < (LINES + 2) * WIDTH * chunks; i += THREADS) {
    const int pixel = i / chunks, at = channel + i % chunks * 8;
    const int line = line0 + pixel / WIDTH - 1, col = col0 + pixel % WIDTH - 1;
    const bool inside = line >= 0 && col >= 0 && line < c.h && col < c.width;

    copy_async (stage + pixel * PITCH + i % chunks * 8,
                inside ? image + ((size_t) line * c.width + col) * c.x_stride + at : image, inside);
  }
}

/* Two tiles of 16 pixels by eight outputs. */
static __device__ void
multiply_step (float sum[2][4], const bf16 *stage, const struct few &c, int channel, int warp,
               int lane)
{
  const int out = lane / 4;
  const bf16 *w = c.w + (size_t) (out < c.out ? out : 0) * 9 * c.in + channel + lane % 4 * 2;
  const bf16 *row = stage + (warp * WIDTH + lane % 16) * PITCH + lane / 16 * 8;

#pragma unroll
  for (int tap = 0; tap < 9; tap++)
#pragma unroll
    for (int k = 0; k < CHANNELS; k += 16) {
      const unsigned *b = (const unsigned *) (w + tap * c.in + k);
      const unsigned b0 = out < c.out ? b[0] : 0, b1 = out < c.out ? b[4] : 0;

#pragma unroll
      for (int m = 0; m < 2; m++) {
        unsigned a[4];

        load_tiles (a, row + (tap / 3 * WIDTH + tap % 3 + m * 16) * PITCH + k);
        multiply (sum[m], a, b0, b1);
      }
    }
}

static __global__ void
__launch_bounds__ (THREADS) convolve_few (struct few c)
{
  extern __shared__ uint4 shared_memory[];
  bf16 *shared = (bf16 *) shared_memory;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int line0 = (int) blockIdx.y * LINES, col0 = (int) blockIdx.x * COLUMNS;
  const int line = line0 + warp, steps = c.in / CHANNELS;
  const size_t first = (size_t) blockIdx.z * c.h * c.width;
  const bf16 *image = c.x + first * c.x_stride;
  float sum[2][4] = {};

  load_step (shared, c, image, line0, col0, 0);
  copy_commit ();
  for (int i = 0; i < steps; i++) {
    if (i + 1 < steps)
      load_step (shared + (i + 1) % STAGES * STAGE, c, image, line0, col0, (i + 1) * CHANNELS);
    copy_commit (); /* maybe of nothing, so that the count below holds */
    copy_wait<1> ();
    __syncthreads ();
    multiply_step (sum, shared + i % STAGES * STAGE, c, i * CHANNELS, warp, lane);
    __syncthreads (); /* the stage is overwritten next */
  }

#pragma unroll
  for (int m = 0; m < 2; m++)
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const int col = col0 + m * 16 + lane / 4 + i / 2 * 8, out = lane % 4 * 2 + i % 2;
      const size_t pixel = first + (size_t) line * c.width + col;

      if (line < c.h && col < c.width && out < c.out) {
        float value = sum[m][i];

        value += c.bias ? __bfloat162float (c.bias[out]) : 0.f;
        value += c.add ? __bfloat162float (c.add[pixel * c.add_stride + out]) : 0.f;
        c.y[pixel * c.y_stride + out] = __float2bfloat16_rn (value);
      }
    }
}

krn_status
krn_cuda_conv_few (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
                   const struct krn_conv *args)
{
  enum { MOST_BLOCKS = 65535 }; /* of a grid's second and third size */
  const size_t blocks = ((size_t) x.dim[1] + LINES - 1) / LINES;
  struct few c = {};
  krn_status status;

  if (args->upsample || args->stride != 1 || args->pad_before != 1 || args->pad_after != 1 ||
      w.dim[1] != 3 || w.dim[2] != 3 || y.dim[3] > MOST_OUTPUTS || x.dim[3] % CHANNELS ||
      !krn_is_aligned (x) || !krn_is_aligned (w) || blocks > MOST_BLOCKS || x.dim[0] > MOST_BLOCKS)
    return KRN_ERROR_UNSUPPORTED;

  c.y = (bf16 *) y.data;
  c.x = (const bf16 *) x.data;
  c.w = (const bf16 *) w.data;
  c.bias = (const bf16 *) bias.data;
  c.add = (const bf16 *) args->add.data;
  c.y_stride = (size_t) y.stride;
  c.x_stride = (size_t) x.stride;
  c.add_stride = (size_t) args->add.stride;
  c.h = (int) x.dim[1];
  c.width = (int) x.dim[2];
  c.in = (int) x.dim[3];
  c.out = (int) y.dim[3];

  const dim3 grid ((unsigned) ((x.dim[2] + COLUMNS - 1) / COLUMNS), (unsigned) blocks,
                   (unsigned) x.dim[0]);
  status = krn_cuda_status (cudaFuncSetAttribute (
      convolve_few, cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED_BYTES));
  if (status)
    return status;
  convolve_few<<<grid, THREADS, SHARED_BYTES, stream->handle>>> (c);
  return krn_cuda_launched ();
}
