/* kernels/cuda/elementwise.cu - SiLU, SiLU times a value, and rows of a table. */
#include "kernels/cuda/common.cuh"

enum { THREADS = 256, MOST_ROWS = 65535 /* of a grid's second size */ };

/* A thread takes eight neighbours, and the same of every gridDim.y-th row. */
static __device__ size_t
first_column (void)
{
  return 8 * (blockIdx.x * (size_t) blockDim.x + threadIdx.x);
}

static unsigned
threads_for (size_t n)
{
  const size_t chunks = (n + 7) / 8;

  return chunks < THREADS ? (unsigned) ((chunks + 31) / 32 * 32) : THREADS;
}

/* Rows of up to 2^41 elements. */
static dim3
grid_for (size_t rows, size_t n)
{
  const size_t wide = 8 * (size_t) threads_for (n);

  return dim3 ((unsigned) ((n + wide - 1) / wide),
               (unsigned) (rows < MOST_ROWS ? rows : MOST_ROWS));
}

template <class T>
static __global__ void
silu_rows (T *y, const T *x, size_t rows, size_t n, size_t y_stride, size_t x_stride, bool aligned)
{
  const size_t col = first_column ();

  if (col >= n)
    return;
  for (size_t row = blockIdx.y; row < rows; row += gridDim.y) {
    eight e = load8 (x + row * x_stride + col, n - col, aligned);

#pragma unroll
    for (int k = 0; k < 8; k++)
      e.v[k] = silu (e.v[k]);
    store8 (y + row * y_stride + col, e, n - col, aligned);
  }
}

krn_status
krn_cuda_silu (krn_stream *stream, krn_tensor y, krn_tensor x)
{
  const size_t rows = (size_t) krn_rows (y), n = (size_t) y.dim[3];
  const bool aligned = krn_is_aligned (y) && krn_is_aligned (x);

  if ((y.dtype != KRN_BF16 && y.dtype != KRN_F32) || !krn_is_tensor (y, y.dtype) ||
      !krn_is_matrix (x, y.dtype, krn_rows (y), y.dim[3]))
    return KRN_ERROR_SHAPE;

  if (y.dtype == KRN_F32)
    silu_rows<<<grid_for (rows, n), threads_for (n), 0, stream->handle>>> (
        (float *) y.data, (const float *) x.data, rows, n, (size_t) y.stride, (size_t) x.stride,
        aligned);
  else
    silu_rows<<<grid_for (rows, n), threads_for (n), 0, stream->handle>>> (
        (bf16 *) y.data, (const bf16 *) x.data, rows, n, (size_t) y.stride, (size_t) x.stride,
        aligned);
  return krn_cuda_launched ();
}

static __global__ void
silu_gate_rows (bf16 *y, const bf16 *x, size_t rows, size_t n, size_t y_stride, size_t x_stride,
                bool aligned)
{
  const size_t col = first_column ();

  if (col >= n)
    return;
  for (size_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const bf16 *from = x + row * x_stride + col;
    eight e = load8 (from, n - col, aligned);
    const eight value = load8 (from + n, n - col, aligned);

#pragma unroll
    for (int k = 0; k < 8; k++)
      e.v[k] = silu (e.v[k]) * value.v[k];
    store8 (y + row * y_stride + col, e, n - col, aligned);
  }
}

krn_status
krn_cuda_silu_gate (krn_stream *stream, krn_tensor y, krn_tensor x)
{
  const size_t rows = (size_t) krn_rows (y), n = (size_t) y.dim[3];
  /* The values start n elements after the gates. */
  const bool aligned = krn_is_aligned (y) && krn_is_aligned (x) && n % 8 == 0;

  if (!krn_is_tensor (y, KRN_BF16) || !krn_is_matrix (x, KRN_BF16, krn_rows (y), 2 * y.dim[3]))
    return KRN_ERROR_SHAPE;

  silu_gate_rows<<<grid_for (rows, n), threads_for (n), 0, stream->handle>>> (
      (bf16 *) y.data, (const bf16 *) x.data, rows, n, (size_t) y.stride, (size_t) x.stride,
      aligned);
  return krn_cuda_launched ();
}

/* An id outside the table, which the host does not read and so cannot refuse, gives zeros. */
static __global__ void
table_rows (bf16 *y, const int32_t *ids, const bf16 *table, size_t rows, size_t n, size_t y_stride,
            size_t table_stride, size_t vocabulary, bool aligned)
{
  const size_t col = first_column ();

  if (col >= n)
    return;
  for (size_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const int32_t id = ids[row];
    eight e = {};

    if (id >= 0 && (size_t) id < vocabulary)
      e = load8 (table + (size_t) id * table_stride + col, n - col, aligned);
    store8 (y + row * y_stride + col, e, n - col, aligned);
  }
}

krn_status
krn_cuda_embedding (krn_stream *stream, krn_tensor y, krn_tensor ids, krn_tensor table)
{
  const size_t rows = (size_t) krn_rows (y), n = (size_t) y.dim[3];
  const bool aligned = krn_is_aligned (y) && krn_is_aligned (table);

  if (!krn_is_tensor (y, KRN_BF16) || !krn_is_tensor (ids, KRN_I32) || !krn_is_packed (ids) ||
      krn_count (ids) != krn_rows (y) || !krn_is_tensor (table, KRN_BF16) ||
      table.dim[3] != y.dim[3])
    return KRN_ERROR_SHAPE;

  table_rows<<<grid_for (rows, n), threads_for (n), 0, stream->handle>>> (
      (bf16 *) y.data, (const int32_t *) ids.data, (const bf16 *) table.data, rows, n,
      (size_t) y.stride, (size_t) table.stride, (size_t) krn_rows (table), aligned);
  return krn_cuda_launched ();
}
