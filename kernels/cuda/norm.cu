/* kernels/cuda/norm.cu - norms over rows.
 *
 * A block takes a row after the other and a thread the same columns of each.  So a row stays in
 * registers from its sum to its result, the next one is on its way meanwhile, and what every row is
 * multiplied by is worked out once.  Sums in f32. */
#include "kernels/cuda/common.cuh"

/* Threads of a block and blocks of a multiprocessor, as was fastest on an H200 for rows of 3840. */
enum {
  NORM_THREADS = 256,
  NORM_RESIDENT = 4,
  RESIDUAL_THREADS = 512,
  RESIDUAL_RESIDENT = 2,
  MOST_THREADS = 512 /* of long rows, whose threads take four chunks */
};

/* Of these, as the compiler is told: chunks in the registers leave room for fewer. */
template <int N, int THREADS, int RESIDENT>
constexpr int resident = N == 1 || (N == 2 && THREADS < MOST_THREADS) ? RESIDENT : 1;

/* What a thread has of a row: chunks of eight columns. */
template <int N> struct raw_row {
  uint4 at[N];
};

template <int N> struct float_row {
  eight at[N];
};

static __device__ size_t
column (int chunk)
{
  return 8 * (threadIdx.x + (size_t) chunk * blockDim.x);
}

/* Zeros beyond the row.  WHOLE, here and below: rows of whole chunks that start on 16 bytes. */
template <bool WHOLE, int N>
static __device__ void
load_row (raw_row<N> *to, const bf16 *row, size_t n)
{
#pragma unroll
  for (int i = 0; i < N; i++) {
    const size_t col = column (i);

    to->at[i] =
        col < n ? load_raw8 (row + col, WHOLE ? 8 : n - col, WHOLE) : make_uint4 (0u, 0u, 0u, 0u);
  }
}

template <bool WHOLE, int N>
static __device__ void
store_row (bf16 *row, const raw_row<N> &from, size_t n)
{
#pragma unroll
  for (int i = 0; i < N; i++) {
    const size_t col = column (i);

    if (col < n)
      store_raw8 (row + col, from.at[i], WHOLE ? 8 : n - col, WHOLE);
  }
}

/* 1 where weight is NULL. */
template <bool WHOLE, int N>
static __device__ void
load_weight (float_row<N> *to, const bf16 *weight, size_t n)
{
#pragma unroll
  for (int i = 0; i < N; i++) {
    const size_t col = column (i);

    to->at[i] = { { 1.f, 1.f, 1.f, 1.f, 1.f, 1.f, 1.f, 1.f } };
    if (weight && col < n)
      to->at[i] = load8 (weight + col, WHOLE ? 8 : n - col, WHOLE);
  }
}

/* Times 1 + scale; scale may be NULL. */
template <bool WHOLE, int N>
static __device__ void
multiply_scale (float_row<N> *to, const float *scale, size_t n)
{
  if (!scale)
    return;
#pragma unroll
  for (int i = 0; i < N; i++) {
    const size_t col = column (i);
    const eight s = col < n ? load8 (scale + col, WHOLE ? 8 : n - col, WHOLE) : eight{};

#pragma unroll
    for (int k = 0; k < 8; k++)
      to->at[i].v[k] *= 1.f + s.v[k];
  }
}

/* Times tanh (gate); gate may be NULL. */
template <bool WHOLE, int N>
static __device__ void
multiply_gate (float_row<N> *to, const float *gate, size_t n)
{
  if (!gate)
    return;
#pragma unroll
  for (int i = 0; i < N; i++) {
    const size_t col = column (i);
    const eight g = col < n ? load8 (gate + col, WHOLE ? 8 : n - col, WHOLE) : eight{};

#pragma unroll
    for (int k = 0; k < 8; k++)
      to->at[i].v[k] *= tanhf (g.v[k]);
  }
}

/* Of the thread's part. */
template <int N>
static __device__ float
sum_of_squares (const raw_row<N> &x)
{
  float sum = 0.f;

#pragma unroll
  for (int i = 0; i < N; i++) {
    const eight e = unpack8 (x.at[i]);

#pragma unroll
    for (int k = 0; k < 8; k++)
      sum += e.v[k] * e.v[k];
  }
  return sum;
}

/* x * factor * by */
template <int N>
static __device__ raw_row<N>
scaled (const raw_row<N> &x, float factor, const float_row<N> &by)
{
  raw_row<N> y;

#pragma unroll
  for (int i = 0; i < N; i++) {
    eight e = unpack8 (x.at[i]);

#pragma unroll
    for (int k = 0; k < 8; k++)
      e.v[k] *= factor * by.at[i].v[k];
    y.at[i] = pack8 (e);
  }
  return y;
}

/* What rms_norm and layer_norm take; absent pointers are NULL. */
struct norm {
  bf16 *y;
  const bf16 *x, *w;
  const float *scale;
  size_t rows, n, y_stride, x_stride;
  float eps;
  bool whole;
};

template <int N, bool WHOLE>
static __global__ void
__launch_bounds__ (N > 2 ? MOST_THREADS : NORM_THREADS, (resident<N, NORM_THREADS, NORM_RESIDENT>) )
    rms_norm_rows (struct norm r)
{
  float_row<N> by;
  raw_row<N> x;

  load_row<WHOLE> (&x, r.x + blockIdx.x * r.x_stride, r.n);
  load_weight<WHOLE> (&by, r.w, r.n);
  multiply_scale<WHOLE> (&by, r.scale, r.n);
  for (size_t row = blockIdx.x; row < r.rows; row += gridDim.x) {
    raw_row<N> next = x;
    float factor;

    if (row + gridDim.x < r.rows)
      load_row<WHOLE> (&next, r.x + (row + gridDim.x) * r.x_stride, r.n);
    factor = rsqrtf (block_sum (sum_of_squares (x)) / (float) r.n + r.eps);
    store_row<WHOLE> (r.y + row * r.y_stride, scaled (x, factor, by), r.n);
    x = next;
  }
}

/* Of the thread's part, (x - mean)^2, but for what lies beyond the row. */
template <int N>
static __device__ float
spread (const raw_row<N> &x, float mean, size_t n)
{
  float sum = 0.f;

#pragma unroll
  for (int i = 0; i < N; i++) {
    const eight e = unpack8 (x.at[i]);

#pragma unroll
    for (int k = 0; k < 8; k++)
      sum += column (i) + k < n ? (e.v[k] - mean) * (e.v[k] - mean) : 0.f;
  }
  return sum;
}

template <int N, bool WHOLE>
static __global__ void
__launch_bounds__ (N > 2 ? MOST_THREADS : NORM_THREADS, (resident<N, NORM_THREADS, NORM_RESIDENT>) )
    layer_norm_rows (struct norm r)
{
  float_row<N> by;

  load_weight<WHOLE> (&by, (const bf16 *) NULL, r.n);
  multiply_scale<WHOLE> (&by, r.scale, r.n);
  for (size_t row = blockIdx.x; row < r.rows; row += gridDim.x) {
    float sum = 0.f, mean, factor;
    raw_row<N> x;

    load_row<WHOLE> (&x, r.x + row * r.x_stride, r.n);
#pragma unroll
    for (int i = 0; i < N; i++) {
      const eight e = unpack8 (x.at[i]);

#pragma unroll
      for (int k = 0; k < 8; k++)
        sum += e.v[k];
    }
    mean = block_sum (sum) / (float) r.n;
    factor = rsqrtf (block_sum (spread (x, mean, r.n)) / (float) r.n + r.eps);
#pragma unroll
    for (int i = 0; i < N; i++) {
      eight e = unpack8 (x.at[i]);

#pragma unroll
      for (int k = 0; k < 8; k++)
        e.v[k] = (e.v[k] - mean) * factor * by.at[i].v[k];
      x.at[i] = pack8 (e);
    }
    store_row<WHOLE> (r.y + row * r.y_stride, x, r.n);
  }
}

/* Chunks of a thread, and the launch's sizes, for rows of n. */
struct plan {
  int chunks;
  unsigned blocks, threads;
};

/* For up to threads in a block of rows of up to two chunks a thread.  false: the rows are longer
 * than a block takes. */
static bool
plan_rows (struct plan *plan, int64_t rows, int64_t n, int64_t threads, int64_t blocks)
{
  const int64_t chunks = (n + 7) / 8;

  plan->chunks = chunks <= threads ? 1 : chunks <= 2 * threads ? 2 : 4;
  plan->blocks = (unsigned) (rows < blocks ? rows : blocks);
  plan->threads = (unsigned) ((chunks + plan->chunks * 32 - 1) / (plan->chunks * 32) * 32);
  return chunks <= 4 * MOST_THREADS;
}

/* The kernel of so many chunks. */
template <class ARGS>
static void
launch_rows (void (*const kernels[3][2]) (ARGS), const struct plan &plan, krn_stream *stream,
             const ARGS &args)
{
  const int i = plan.chunks == 1 ? 0 : plan.chunks == 2 ? 1 : 2;

  kernels[i][args.whole]<<<plan.blocks, plan.threads, 0, stream->handle>>> (args);
}

static krn_status
launch_norm (void (*const kernels[3][2]) (struct norm), krn_stream *stream, const struct norm &r)
{
  struct plan plan;

  if (!plan_rows (&plan, (int64_t) r.rows, (int64_t) r.n, NORM_THREADS,
                  NORM_RESIDENT * (int64_t) stream->device->processors))
    return KRN_ERROR_UNSUPPORTED;
  launch_rows (kernels, plan, stream, r);
  return krn_cuda_launched ();
}

krn_status
krn_cuda_rms_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor scale,
                   float eps)
{
  static void (*const kernels[3][2]) (struct norm) = {
    { rms_norm_rows<1, false>, rms_norm_rows<1, true> },
    { rms_norm_rows<2, false>, rms_norm_rows<2, true> },
    { rms_norm_rows<4, false>, rms_norm_rows<4, true> },
  };
  const int64_t rows = krn_rows (y), n = y.dim[3];
  struct norm r = {};

  if (!krn_is_tensor (y, KRN_BF16) || !krn_is_matrix (x, KRN_BF16, rows, n) ||
      !krn_is_vector (w, KRN_BF16, n) || !krn_may_be_vector (scale, KRN_F32, n))
    return KRN_ERROR_SHAPE;

  r.y = (bf16 *) y.data;
  r.x = (const bf16 *) x.data;
  r.w = (const bf16 *) w.data;
  r.scale = (const float *) scale.data;
  r.rows = (size_t) rows;
  r.n = (size_t) n;
  r.y_stride = (size_t) y.stride;
  r.x_stride = (size_t) x.stride;
  r.eps = eps;
  r.whole = n % 8 == 0 && krn_is_aligned (y) && krn_is_aligned (x) && krn_is_aligned (w) &&
            krn_is_aligned (scale);
  return launch_norm (kernels, stream, r);
}

krn_status
krn_cuda_layer_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor scale, float eps)
{
  static void (*const kernels[3][2]) (struct norm) = {
    { layer_norm_rows<1, false>, layer_norm_rows<1, true> },
    { layer_norm_rows<2, false>, layer_norm_rows<2, true> },
    { layer_norm_rows<4, false>, layer_norm_rows<4, true> },
  };
  const int64_t rows = krn_rows (y), n = y.dim[3];
  struct norm r = {};

  if (!krn_is_tensor (y, KRN_BF16) || !krn_is_matrix (x, KRN_BF16, rows, n) ||
      !krn_may_be_vector (scale, KRN_F32, n))
    return KRN_ERROR_SHAPE;

  r.y = (bf16 *) y.data;
  r.x = (const bf16 *) x.data;
  r.scale = (const float *) scale.data;
  r.rows = (size_t) rows;
  r.n = (size_t) n;
  r.y_stride = (size_t) y.stride;
  r.x_stride = (size_t) x.stride;
  r.eps = eps;
  r.whole = n % 8 == 0 && krn_is_aligned (y) && krn_is_aligned (x) && krn_is_aligned (scale);
  return launch_norm (kernels, stream, r);
}

/* Absent pointers are NULL. */
struct residual {
  bf16 *x, *y;
  const bf16 *h, *h_weight, *y_weight;
  const float *gate, *y_scale;
  size_t rows, n, x_stride, y_stride, h_stride;
  float eps;
  bool whole;
};

/* x += h * factor * by, and the sum of squares of what x then holds, of the thread's part: the norm
 * is of the stored numbers, as if it were an operation of its own. */
template <int N>
static __device__ float
add_row (raw_row<N> *x, const raw_row<N> &h, float factor, const float_row<N> &by)
{
#pragma unroll
  for (int i = 0; i < N; i++) {
    const eight add = unpack8 (h.at[i]);
    eight e = unpack8 (x->at[i]);

#pragma unroll
    for (int k = 0; k < 8; k++)
      e.v[k] += add.v[k] * (factor * by.at[i].v[k]);
    x->at[i] = pack8 (e);
  }
  return sum_of_squares (*x);
}

template <int N, bool WHOLE>
static __global__ void
__launch_bounds__ (RESIDUAL_THREADS, (resident<N, RESIDUAL_THREADS, RESIDUAL_RESIDENT>) )
    residual_norm_rows (struct residual r)
{
  float_row<N> gate, by;
  raw_row<N> x, h;

  load_row<WHOLE> (&h, r.h + blockIdx.x * r.h_stride, r.n);
  load_row<WHOLE> (&x, r.x + blockIdx.x * r.x_stride, r.n);
  load_weight<WHOLE> (&gate, r.h_weight, r.n);
  multiply_gate<WHOLE> (&gate, r.gate, r.n);
  load_weight<WHOLE> (&by, r.y_weight, r.n);
  multiply_scale<WHOLE> (&by, r.y_scale, r.n);
  for (size_t row = blockIdx.x; row < r.rows; row += gridDim.x) {
    raw_row<N> next_x = x, next_h = h;
    float factor = 1.f, sum;

    if (row + gridDim.x < r.rows) {
      load_row<WHOLE> (&next_h, r.h + (row + gridDim.x) * r.h_stride, r.n);
      load_row<WHOLE> (&next_x, r.x + (row + gridDim.x) * r.x_stride, r.n);
    }
    if (r.h_weight)
      factor = rsqrtf (block_sum (sum_of_squares (h)) / (float) r.n + r.eps);
    sum = add_row (&x, h, factor, gate);
    store_row<WHOLE> (r.x + row * r.x_stride, x, r.n);
    if (r.y) {
      factor = rsqrtf (block_sum (sum) / (float) r.n + r.eps);
      store_row<WHOLE> (r.y + row * r.y_stride, scaled (x, factor, by), r.n);
    }
    x = next_x;
    h = next_h;
  }
}

static krn_status
launch_residual_norm (krn_stream *stream, const struct residual &r)
{
  static void (*const kernels[3][2]) (struct residual) = {
    { residual_norm_rows<1, false>, residual_norm_rows<1, true> },
    { residual_norm_rows<2, false>, residual_norm_rows<2, true> },
    { residual_norm_rows<4, false>, residual_norm_rows<4, true> },
  };
  struct plan plan;

  if (!plan_rows (&plan, (int64_t) r.rows, (int64_t) r.n, RESIDUAL_THREADS,
                  RESIDUAL_RESIDENT * (int64_t) stream->device->processors))
    return KRN_ERROR_UNSUPPORTED;
  launch_rows (kernels, plan, stream, r);
  return krn_cuda_launched ();
}

krn_status
krn_cuda_residual_norm (krn_stream *stream, const struct krn_residual_norm *args)
{
  const int64_t rows = krn_rows (args->x), n = args->x.dim[3];
  struct residual r = {};

  if (!krn_is_tensor (args->x, KRN_BF16) || !krn_is_matrix (args->h, KRN_BF16, rows, n) ||
      !krn_may_be_vector (args->h_weight, KRN_BF16, n) ||
      !krn_may_be_vector (args->gate, KRN_F32, n))
    return KRN_ERROR_SHAPE;
  if (args->y.data && (!krn_is_matrix (args->y, KRN_BF16, rows, n) ||
                       !krn_is_vector (args->y_weight, KRN_BF16, n) ||
                       !krn_may_be_vector (args->y_scale, KRN_F32, n)))
    return KRN_ERROR_SHAPE;

  r.x = (bf16 *) args->x.data;
  r.h = (const bf16 *) args->h.data;
  r.h_weight = (const bf16 *) args->h_weight.data;
  r.gate = (const float *) args->gate.data;
  r.rows = (size_t) rows;
  r.n = (size_t) n;
  r.x_stride = (size_t) args->x.stride;
  r.h_stride = (size_t) args->h.stride;
  r.eps = args->eps;
  r.whole = n % 8 == 0 && krn_is_aligned (args->x) && krn_is_aligned (args->h) &&
            krn_is_aligned (args->h_weight) && krn_is_aligned (args->gate);
  if (args->y.data) {
    r.y = (bf16 *) args->y.data;
    r.y_weight = (const bf16 *) args->y_weight.data;
    r.y_scale = (const float *) args->y_scale.data;
    r.y_stride = (size_t) args->y.stride;
    r.whole = r.whole && krn_is_aligned (args->y) && krn_is_aligned (args->y_weight) &&
              krn_is_aligned (args->y_scale);
  }
  return launch_residual_norm (stream, r);
}
