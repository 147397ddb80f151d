/* kernels/cuda/group_norm.cu - GroupNorm over [h, w, c] and SiLU, in three kernels.
 *
 * First each block sums a part of the pixels for every channel, then a block for each group adds
 * the parts up, then all is written, the last pixels first: of what was read last the cache still
 * has some.  The parts depend on the shape and the GPU only and nothing is added
 * atomically, so that runs are bit-equal.  Sums are relative to the group's first element, so that
 * a mean far from 0 does not cancel the variance; in f32 within a thread, in f64 across parts. */
#include "kernels/cuda/common.cuh"

enum {
  THREADS = 256,
  FINISHERS = 1024,  /* threads that add up a group */
  RESIDENT = 3,      /* blocks of a multiprocessor, by their registers: parts of an image */
  SUMS = 1 << 19,    /* at most, parts times channels: 4 MiB of scratch */
  PART_ROWS = 8,     /* pixels of a part at least */
  PASS = 4,          /* pixels of a thread whose reads are on their way at once */
  TILE = 2 * PASS,   /* pixels that a thread writes */
  CHANNELS = 1 << 13 /* at most */
};

/* Scratch of the stream. */
struct scratch {
  float2 sums[SUMS];         /* [parts, channels]: sum, sum of squares */
  float2 channels[CHANNELS]; /* y = x * channel.x + channel.y */
};
static_assert (sizeof (struct scratch) <= KRN_CUDA_SCRATCH, "GroupNorm needs more scratch");

/* One image. */
struct image {
  bf16 *y;
  const bf16 *x, *w, *b;
  struct scratch *scratch;
  size_t pixels, c, size; /* size: channels of a group */
  size_t y_stride, x_stride;
  unsigned parts;
  float *stats; /* [given, groups, 2]: mean and variance of equal parts of an image; or NULL */
  unsigned given;
  float eps;
  bool silu, aligned;
};

/* A thread adds up eight channels of every deep-th pixel; then the first of them add up what the
 * threads have. */
static __global__ void
__launch_bounds__ (THREADS, RESIDENT) sum_parts (struct image g)
{
  __shared__ float shared[16][THREADS];
  const unsigned chunks = (unsigned) ((g.c + 7) / 8);
  const unsigned wide = chunks < THREADS ? chunks : THREADS, deep = THREADS / wide;
  const unsigned t = threadIdx.x;
  const size_t first = blockIdx.x * g.pixels / g.parts;
  const size_t end = (blockIdx.x + (size_t) 1) * g.pixels / g.parts;

  for (unsigned chunk0 = 0; chunk0 < chunks; chunk0 += wide) {
    const size_t col = (size_t) (chunk0 + t % wide) * 8;
    const size_t left = col < g.c ? g.c - col : 0;
    float origin[8], sum[16] = {};

#pragma unroll
    for (int k = 0; k < 8; k++)
      origin[k] = k < left ? __bfloat162float (g.x[(col + k) / g.size * g.size]) : 0.f;

    if (t < wide * deep && left > 0)
#pragma unroll PASS
      for (size_t row = first + t / wide; row < end; row += deep) {
        const eight e = load8 (g.x + row * g.x_stride + col, left, g.aligned);

#pragma unroll
        for (int k = 0; k < 8; k++) {
          const float v = k < left ? e.v[k] - origin[k] : 0.f;

          sum[k] += v;
          sum[8 + k] += v * v;
        }
      }

    __syncthreads (); /* what the last chunks left was read */
#pragma unroll
    for (int k = 0; k < 16; k++)
      shared[k][t] = sum[k];
    __syncthreads ();
    if (t < wide)
#pragma unroll
      for (int k = 0; k < 8; k++) {
        float2 total = make_float2 (0.f, 0.f);

        for (unsigned d = 0; d < deep; d++) {
          total.x += shared[k][d * wide + t];
          total.y += shared[8 + k][d * wide + t];
        }
        if (k < left)
          g.scratch->sums[blockIdx.x * g.c + col + k] = total;
      }
  }
}

/* Of the block's group. */
static __device__ void
set_channels (const struct image &g, double mean, double variance)
{
  const size_t first = blockIdx.x * g.size;
  const double factor = 1. / sqrt (variance + (double) g.eps);

  for (size_t i = first + threadIdx.x; i < first + g.size; i += blockDim.x) {
    const double by = factor * (double) __bfloat162float (g.w[i]);

    g.scratch->channels[i] =
        make_float2 ((float) by, (float) ((double) __bfloat162float (g.b[i]) - mean * by));
  }
}

/* One block a group. */
static __global__ void
__launch_bounds__ (FINISHERS) finish_groups (struct image g)
{
  const size_t first = blockIdx.x * g.size;
  const double n = (double) g.pixels * (double) g.size;
  double sum = 0., squares = 0., mean, variance;

  for (size_t i = threadIdx.x; i < g.parts * g.size; i += blockDim.x) {
    const float2 part = g.scratch->sums[i / g.size * g.c + first + i % g.size];

    sum += part.x;
    squares += part.y;
  }
  sum = block_sum (sum);
  squares = block_sum (squares);

  mean = sum / n;
  variance = squares / n - mean * mean;
  variance = variance < 0. ? 0. : variance; /* a NaN stays one */
  mean += (double) __bfloat162float (g.x[first]);
  if (!g.stats)
    set_channels (g, mean, variance);
  else if (threadIdx.x == 0) {
    g.stats[2 * blockIdx.x] = (float) mean;
    g.stats[2 * blockIdx.x + 1] = (float) variance;
  }
}

/* The same from what group_stats left of all parts. */
static __global__ void
merge_groups (struct image g)
{
  double mean = 0., variance = 0.;

  for (unsigned i = 0; i < g.given; i++)
    mean += (double) g.stats[2 * ((size_t) i * gridDim.x + blockIdx.x)] / g.given;
  for (unsigned i = 0; i < g.given; i++) {
    const float *part = g.stats + 2 * ((size_t) i * gridDim.x + blockIdx.x);
    const double shift = (double) part[0] - mean;

    variance += ((double) part[1] + shift * shift) / g.given;
  }
  set_channels (g, mean, variance);
}

/* PASS pixels of a thread, deep apart from row on, those below end. */
static __device__ void
apply_pass (const struct image &g, const float2 by[8], size_t col, size_t row, size_t end,
            unsigned deep)
{
  const size_t left = g.c - col;
  uint4 raw[PASS];

#pragma unroll
  for (int i = 0; i < PASS; i++)
    if (row + i * deep < end)
      raw[i] = load_raw8 (g.x + (row + i * deep) * g.x_stride + col, left, g.aligned);
#pragma unroll
  for (int i = 0; i < PASS; i++)
    if (row + i * deep < end) {
      eight e = unpack8 (raw[i]);

#pragma unroll
      for (int k = 0; k < 8; k++) {
        e.v[k] = e.v[k] * by[k].x + by[k].y;
        if (g.silu)
          e.v[k] = silu (e.v[k]);
      }
      store8 (g.y + (row + i * deep) * g.y_stride + col, e, left, g.aligned);
    }
}

static __global__ void
apply (struct image g)
{
  const unsigned chunks = (unsigned) ((g.c + 7) / 8);
  const unsigned wide = chunks < THREADS ? chunks : THREADS, deep = THREADS / wide;
  const size_t first = (size_t) (gridDim.x - 1 - blockIdx.x) * (TILE * deep);
  const size_t end = first + TILE * deep < g.pixels ? first + TILE * deep : g.pixels;

  if (threadIdx.x >= wide * deep)
    return;
  for (size_t col = threadIdx.x % wide * 8; col < g.c; col += wide * 8) {
    float2 by[8];

#pragma unroll
    for (int k = 0; k < 8; k++)
      by[k] = col + k < g.c ? g.scratch->channels[col + k] : make_float2 (0.f, 0.f);
    for (size_t row = first + threadIdx.x / wide; row < end; row += PASS * deep)
      apply_pass (g, by, col, row, end, deep);
  }
}

/* Blocks of apply, as it counts them. */
static size_t
count_tiles (size_t pixels, size_t c)
{
  const size_t chunks = (c + 7) / 8, wide = chunks < THREADS ? chunks : THREADS;
  const size_t tile = TILE * (THREADS / wide);

  return (pixels + tile - 1) / tile;
}

static unsigned
count_parts (size_t pixels, size_t c, size_t processors)
{
  size_t parts = (pixels + PART_ROWS - 1) / PART_ROWS;

  parts = parts < RESIDENT * processors ? parts : RESIDENT * processors;
  parts = parts < SUMS / c ? parts : SUMS / c;
  return (unsigned) parts;
}

/* What the three have in common; x is checked. */
static struct image
describe (krn_stream *stream, krn_tensor x, int groups)
{
  struct image g = {};

  g.x = (const bf16 *) x.data;
  g.scratch = (struct scratch *) stream->scratch;
  g.pixels = (size_t) (x.dim[1] * x.dim[2]);
  g.c = (size_t) x.dim[3];
  g.size = (size_t) (x.dim[3] / groups);
  g.x_stride = (size_t) x.stride;
  g.parts = count_parts (g.pixels, g.c, (size_t) stream->device->processors);
  g.aligned = krn_is_aligned (x);
  return g;
}

static krn_status
check (krn_tensor x, int groups)
{
  if (!krn_is_tensor (x, KRN_BF16) || groups <= 0 || x.dim[3] % groups != 0)
    return KRN_ERROR_SHAPE;
  return x.dim[3] > CHANNELS || x.dim[1] * x.dim[2] > INT32_MAX ? KRN_ERROR_UNSUPPORTED : KRN_OK;
}

/* How y comes from x once the channels are known. */
static krn_status
add_output (struct image *g, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor b)
{
  if (!krn_is_tensor (y, KRN_BF16) || !krn_same_shape (x, y) ||
      !krn_is_vector (w, KRN_BF16, x.dim[3]) || !krn_is_vector (b, KRN_BF16, x.dim[3]))
    return KRN_ERROR_SHAPE;
  g->y = (bf16 *) y.data;
  g->w = (const bf16 *) w.data;
  g->b = (const bf16 *) b.data;
  g->y_stride = (size_t) y.stride;
  g->aligned = g->aligned && krn_is_aligned (y);
  return KRN_OK;
}

static void
launch_apply (const struct image &g, krn_stream *stream)
{
  apply<<<(unsigned) count_tiles (g.pixels, g.c), THREADS, 0, stream->handle>>> (g);
}

krn_status
krn_cuda_group_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor b,
                     int groups, float eps, bool silu)
{
  krn_status status = check (x, groups);
  struct image g;

  if (status)
    return status;
  g = describe (stream, x, groups);
  status = add_output (&g, y, x, w, b);
  if (status)
    return status;

  g.eps = eps;
  g.silu = silu;
  for (int64_t n = 0; n < x.dim[0]; n++) {
    g.x = (const bf16 *) x.data + (size_t) n * g.pixels * g.x_stride;
    g.y = (bf16 *) y.data + (size_t) n * g.pixels * g.y_stride;
    sum_parts<<<g.parts, THREADS, 0, stream->handle>>> (g);
    finish_groups<<<(unsigned) groups, FINISHERS, 0, stream->handle>>> (g);
    launch_apply (g, stream);
  }
  return krn_cuda_launched ();
}

krn_status
krn_cuda_group_stats (krn_stream *stream, krn_tensor stats, krn_tensor x, int groups)
{
  const krn_status status = check (x, groups);
  struct image g;

  if (status)
    return status;
  if (x.dim[0] != 1 || !krn_is_packed (stats) || !krn_is_matrix (stats, KRN_F32, groups, 2))
    return KRN_ERROR_SHAPE;

  g = describe (stream, x, groups);
  g.stats = (float *) stats.data;
  sum_parts<<<g.parts, THREADS, 0, stream->handle>>> (g);
  finish_groups<<<(unsigned) groups, FINISHERS, 0, stream->handle>>> (g);
  return krn_cuda_launched ();
}

krn_status
krn_cuda_group_apply (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor stats,
                      krn_tensor w, krn_tensor b, float eps, bool silu)
{
  const int groups = (int) stats.dim[2];
  krn_status status = check (x, groups);
  struct image g;

  if (status)
    return status;
  if (x.dim[0] != 1 || !krn_is_packed (stats) || stats.dtype != KRN_F32 || stats.dim[0] != 1 ||
      stats.dim[3] != 2)
    return KRN_ERROR_SHAPE;
  g = describe (stream, x, groups);
  status = add_output (&g, y, x, w, b);
  if (status)
    return status;

  g.stats = (float *) stats.data;
  g.given = (unsigned) stats.dim[1];
  g.eps = eps;
  g.silu = silu;
  merge_groups<<<(unsigned) groups, 32, 0, stream->handle>>> (g);
  launch_apply (g, stream);
  return krn_cuda_launched ();
}
