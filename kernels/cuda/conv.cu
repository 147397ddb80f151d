/* kernels/cuda/conv.cu - convolution as a product of pixels and weights that is never laid out.
 *
 * A block makes 128 pixels of 128 outputs, a warp 64 of 32.  The sum runs over taps and, in each,
 * 32 channels a step; four steps are under way from global to shared memory.  A pixel outside the
 * picture and a channel beyond the last are zeros. */
#include "kernels/cuda/conv.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/mma.cuh"

enum {
  PIXELS = 128,
  OUTPUTS = 128,
  CHANNELS = 32, /* of a step */
  THREADS = 256,
  STAGES = 4,
  PITCH = CHANNELS + 8, /* 16 bytes more than a row: other banks */
  STAGE = (PIXELS + OUTPUTS) * PITCH,
  SHARED_BYTES = STAGES * STAGE * 2,
  ROWS = PIXELS * CHANNELS / 8 / THREADS, /* pixels, and outputs, that a thread loads for */
  MOST_TAPS = 256,
};

struct conv {
  bf16 *y;
  const bf16 *x, *w, *bias, *add;        /* bias and add may be NULL */
  size_t y_stride, x_stride, add_stride; /* elements from a pixel to the next */
  size_t pixels;                         /* of all images of y */
  int h, w_in, h_out, w_out;             /* h and w_in: of x as it lies in memory */
  int in, out, kh, kw;
  int stride, pad, shift; /* shift 1: the input is doubled */
  bool pairs;             /* y and add may be accessed two outputs at a time */
  bool phases; /* blockIdx.z says which quarter of y's pixels; h_out and w_out are of a quarter */
};

/* A thread's share of a step: eight channels of some pixels and outputs. */
struct share {
  const bf16 *image[ROWS]; /* first pixel; NULL: this pixel of y is beyond the last */
  int top[ROWS], left[ROWS];
  const bf16 *w[ROWS]; /* NULL: beyond the last output */
  int row, channel;    /* of the first in shared memory; the others are 64 rows on */
};

static __device__ void
share_init (struct share *s, const struct conv &c, size_t pixel0, size_t out0)
{
  constexpr int chunks = CHANNELS / 8;
  /* A quarter has weights of its own; at even places its two taps begin a pixel before. */
  const bf16 *w = c.w + (c.phases ? (size_t) blockIdx.z * c.out * c.kh * c.kw * c.in : 0);
  const int pad_y = c.phases ? blockIdx.z / 2 == 0 : c.pad;
  const int pad_x = c.phases ? blockIdx.z % 2 == 0 : c.pad;

  s->row = threadIdx.x / chunks;
  s->channel = threadIdx.x % chunks * 8;
#pragma unroll
  for (int i = 0; i < ROWS; i++) {
    const size_t pixel = pixel0 + s->row + i * (THREADS / chunks);
    const size_t out = out0 + s->row + i * (THREADS / chunks);
    const size_t line = pixel / c.w_out, image = line / c.h_out;

    s->image[i] = pixel < c.pixels ? c.x + image * c.h * c.w_in * c.x_stride : NULL;
    s->top[i] = (int) (line % c.h_out) * c.stride - pad_y;
    s->left[i] = (int) (pixel % c.w_out) * c.stride - pad_x;
    s->w[i] = out < c.out ? w + out * c.kh * c.kw * c.in : NULL;
  }
}

/* Where a step is: a tap and its channels. */
struct position {
  int ky, kx, channel;
};

static __device__ void
position_next (struct position *p, const struct conv &c)
{
  p->channel += CHANNELS;
  if (p->channel >= c.in) {
    p->channel = 0;
    if (++p->kx == c.kw) {
      p->kx = 0;
      p->ky++;
    }
  }
}

/* Eight channels to shared memory; left: how many there are. */
template <bool ALIGNED>
static __device__ void
load_channels (bf16 *to, const bf16 *from, int left)
{
  if (ALIGNED) /* then the channels are a multiple of eight */
    copy_async (to, from, left > 0);
  else
    copy_few (to, from, left);
}

template <bool ALIGNED>
static __device__ void
load_step (bf16 *stage, const struct share &s, const struct conv &c, const struct position &p)
{
  const int channel = p.channel + s.channel, left = c.in - channel;
  const size_t tap = (size_t) (p.ky * c.kw + p.kx) * c.in + channel;
  bf16 *to = stage + s.row * PITCH + s.channel;

#pragma unroll
  for (int i = 0; i < ROWS; i++) {
    const int y = s.top[i] + p.ky, x = s.left[i] + p.kx;
    const bool inside =
        s.image[i] && left > 0 && y >= 0 && x >= 0 && y < c.h << c.shift && x < c.w_in << c.shift;
    const size_t pixel = inside ? (size_t) (y >> c.shift) * c.w_in + (x >> c.shift) : 0;
    const bool wanted = s.w[i] && left > 0;

    load_channels<ALIGNED> (to + i * (PIXELS / ROWS) * PITCH,
                            inside ? s.image[i] + pixel * c.x_stride + channel : c.x,
                            inside ? left : 0);
    load_channels<ALIGNED> (to + (PIXELS + i * (OUTPUTS / ROWS)) * PITCH,
                            wanted ? s.w[i] + tap : c.w, wanted ? left : 0);
  }
}

/* 64 pixels by 32 outputs of a warp. */
static __device__ void
multiply_step (float sum[4][4][4], const bf16 *stage, int warp, int lane)
{
  const bf16 *a_row = stage + (warp % 2 * 64 + lane % 16) * PITCH + lane / 16 * 8;
  const bf16 *b_row =
      stage + (PIXELS + warp / 2 * 32 + lane % 8 + lane / 16 * 8) * PITCH + lane / 8 % 2 * 8;

#pragma unroll
  for (int k = 0; k < CHANNELS; k += 16) {
    unsigned a[4][4], b[2][4];

#pragma unroll
    for (int i = 0; i < 4; i++)
      load_tiles (a[i], a_row + i * 16 * PITCH + k);
#pragma unroll
    for (int j = 0; j < 2; j++)
      load_tiles (b[j], b_row + j * 16 * PITCH + k);
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < 4; j++)
        multiply (sum[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
  }
}

/* Where a pixel of a quarter lies in y. */
static __device__ size_t
pixel_in_y (const struct conv &c, size_t pixel)
{
  const size_t line = pixel / c.w_out, col = pixel % c.w_out;

  return (2 * line + blockIdx.z / 2) * 2 * c.w_out + 2 * col + blockIdx.z % 2;
}

/* An output and its right neighbour.  Bias and add are taken in f32, so that the result is rounded
 * once.  y may be add: each element is read by the thread that writes it. */
static __device__ void
write_pair (const struct conv &c, size_t pixel, size_t out, float a, float b)
{
  const bool both = out + 1 < c.out;
  bf16 *to = c.y + pixel * c.y_stride + out;
  const bf16 *add = c.add ? c.add + pixel * c.add_stride + out : NULL;

  if (c.bias) {
    a += __bfloat162float (c.bias[out]);
    b += both ? __bfloat162float (c.bias[out + 1]) : 0.f;
  }
  if (both && c.pairs) {
    if (add) {
      const unsigned raw = *(const unsigned *) add;

      a += __uint_as_float (raw << 16);
      b += __uint_as_float (raw & 0xffff0000u);
    }
    *(unsigned *) to = pack2 (a, b);
    return;
  }
  to[0] = __float2bfloat16_rn (add ? a + __bfloat162float (add[0]) : a);
  if (both)
    to[1] = __float2bfloat16_rn (add ? b + __bfloat162float (add[1]) : b);
}

static __device__ void
write_sums (const struct conv &c, const float sum[4][4][4], size_t pixel0, size_t out0, int warp,
            int lane)
{
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const size_t pixel = pixel0 + warp % 2 * 64 + i * 16 + lane / 4 + half * 8;

#pragma unroll
      for (int j = 0; j < 4; j++) {
        const size_t out = out0 + warp / 2 * 32 + j * 8 + lane % 4 * 2;

        if (pixel < c.pixels && out < c.out)
          write_pair (c, c.phases ? pixel_in_y (c, pixel) : pixel, out, sum[i][j][half * 2],
                      sum[i][j][half * 2 + 1]);
      }
    }
}

template <bool ALIGNED>
static __global__ void
__launch_bounds__ (THREADS, 2) convolve (const __grid_constant__ struct conv c)
{
  extern __shared__ uint4 shared_memory[];
  bf16 *shared = (bf16 *) shared_memory;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const size_t pixel0 = (size_t) blockIdx.x * PIXELS, out0 = (size_t) blockIdx.y * OUTPUTS;
  const int steps = c.kh * c.kw * ((c.in + CHANNELS - 1) / CHANNELS);
  struct position p = {};
  float sum[4][4][4] = {};
  struct share share;

  share_init (&share, c, pixel0, out0);
  for (int i = 0; i < STAGES - 1; i++) {
    if (i < steps)
      load_step<ALIGNED> (shared + i * STAGE, share, c, p);
    position_next (&p, c);
    copy_commit ();
  }

  for (int i = 0; i < steps; i++) {
    copy_wait<STAGES - 2> ();
    __syncthreads (); /* step i is there, and the stage of step i - 1 was read */
    if (i + STAGES - 1 < steps)
      load_step<ALIGNED> (shared + (i + STAGES - 1) % STAGES * STAGE, share, c, p);
    position_next (&p, c);
    copy_commit ();
    multiply_step (sum, shared + i % STAGES * STAGE, warp, lane);
  }
  write_sums (c, sum, pixel0, out0, warp, lane);
}

krn_status
krn_cuda_conv_prepare (void)
{
  const krn_status status = krn_cuda_status (cudaFuncSetAttribute (
      convolve<true>, cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED_BYTES));

  return status ? status
                : krn_cuda_status (cudaFuncSetAttribute (
                      convolve<false>, cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED_BYTES));
}

/* Every pixel starts where a 4-byte access may; absent tensors do not matter. */
static bool
starts_even (krn_tensor t)
{
  return t.data == NULL ||
         ((uintptr_t) t.data % 4 == 0 && (krn_rows (t) == 1 || t.stride % 2 == 0));
}

static bool
conv_fits (krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias, const struct krn_conv *args)
{
  if ((args->stride != 1 && args->stride != 2) || args->pad_before < 0 || args->pad_after < 0 ||
      (args->upsample && args->stride != 1))
    return false;
  if (!krn_is_tensor (y, KRN_BF16) || !krn_is_tensor (x, KRN_BF16) ||
      !krn_is_tensor (w, KRN_BF16) || !krn_may_be_vector (bias, KRN_BF16, y.dim[3]))
    return false;
  if (args->add.data && (!krn_is_tensor (args->add, KRN_BF16) || !krn_same_shape (args->add, y)))
    return false;
  if (x.dim[0] != y.dim[0] || w.dim[0] != y.dim[3] || w.dim[3] != x.dim[3] || w.stride != w.dim[3])
    return false;

  for (int axis = 1; axis <= 2; axis++) {
    const int64_t size =
        x.dim[axis] * (args->upsample ? 2 : 1) + args->pad_before + args->pad_after - w.dim[axis];

    if (size < 0 || size / args->stride + 1 != y.dim[axis])
      return false;
  }
  return true;
}

/* What cuDNN and the kernels for certain shapes do not take. */
static krn_status
special (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
         const struct krn_conv *args)
{
  krn_status status;

  if (args->upsample)
    return krn_cuda_conv_doubled (stream, y, x, w, bias, args);
  status = krn_cuda_conv_few (stream, y, x, w, bias, args);
  if (status == KRN_ERROR_UNSUPPORTED && stream->device->cudnn)
    status = krn_cudnn_conv2d (stream, y, x, w, bias, args);
  return status;
}

static krn_status
launch (krn_stream *stream, const struct conv *c, bool aligned)
{
  const size_t pixel_blocks = (c->pixels + PIXELS - 1) / PIXELS;
  const size_t out_blocks = ((size_t) c->out + OUTPUTS - 1) / OUTPUTS;
  const dim3 grid ((unsigned) pixel_blocks, (unsigned) out_blocks, c->phases ? 4 : 1);

  if (pixel_blocks > INT32_MAX)
    return KRN_ERROR_UNSUPPORTED;
  if (aligned)
    convolve<true><<<grid, THREADS, SHARED_BYTES, stream->handle>>> (*c);
  else
    convolve<false><<<grid, THREADS, SHARED_BYTES, stream->handle>>> (*c);
  return krn_cuda_launched ();
}

static struct conv
make_conv (krn_tensor y, krn_tensor x, krn_tensor bias, krn_tensor add)
{
  struct conv c = {};

  c.y = (bf16 *) y.data;
  c.x = (const bf16 *) x.data;
  c.bias = (const bf16 *) bias.data;
  c.add = (const bf16 *) add.data;
  c.y_stride = (size_t) y.stride;
  c.x_stride = (size_t) x.stride;
  c.add_stride = (size_t) add.stride;
  c.pixels = (size_t) krn_rows (y);
  c.h = (int) x.dim[1];
  c.w_in = (int) x.dim[2];
  c.h_out = (int) y.dim[1];
  c.w_out = (int) y.dim[2];
  c.in = (int) x.dim[3];
  c.out = (int) y.dim[3];
  c.stride = 1;
  c.pairs = starts_even (y) && starts_even (add);
  return c;
}

krn_status
krn_cuda_conv_phases (krn_stream *stream, krn_tensor y, krn_tensor x, const void *w,
                      krn_tensor bias, krn_tensor add)
{
  struct conv c = make_conv (y, x, bias, add);

  c.w = (const bf16 *) w;
  c.pixels = (size_t) krn_rows (x);
  c.h_out = c.h;
  c.w_out = c.w_in;
  c.kh = c.kw = 2;
  c.phases = true;
  return launch (stream, &c, c.in % 8 == 0 && krn_is_aligned (x));
}

krn_status
krn_cuda_conv2d (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
                 const struct krn_conv *args)
{
  enum { MOST = 1 << 24 }; /* of each size, so that sums of two fit an int */
  struct conv c;
  krn_status status;

  if (!conv_fits (y, x, w, bias, args))
    return KRN_ERROR_SHAPE;
  if (w.dim[1] * w.dim[2] > MOST_TAPS || x.dim[1] > MOST || x.dim[2] > MOST ||
      x.dim[3] > MOST / 4 || y.dim[3] > MOST / 4 || args->pad_before > MOST ||
      args->pad_after > MOST)
    return KRN_ERROR_UNSUPPORTED;
  status = special (stream, y, x, w, bias, args);
  if (status != KRN_ERROR_UNSUPPORTED)
    return status;

  c = make_conv (y, x, bias, args->add);
  c.w = (const bf16 *) w.data;
  c.kh = (int) w.dim[1];
  c.kw = (int) w.dim[2];
  c.stride = args->stride;
  c.pad = args->pad_before;
  c.shift = args->upsample;
  return launch (stream, &c, c.in % 8 == 0 && krn_is_aligned (x) && krn_is_aligned (w));
}
