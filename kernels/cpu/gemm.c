#include "kernels/cpu/gemm.h"

#include <string.h>

enum { BLOCK_TILES = 16 }; /* tiles that share a panel while it is in the L2 cache */

/* The tile for nv vectors of columns.  Inlined, so that nv is a constant and acc lies in
 * registers. */
static inline __attribute__ ((always_inline)) void
tile (const struct krn_tile_rows *rows, const float *panel, int taps, int64_t channels,
      int64_t first, const int nv)
{
  krn_vector acc[KRN_TILE_ROWS][KRN_TILE_VECTORS];

#pragma GCC unroll 8
  for (int i = 0; i < KRN_TILE_ROWS; i++)
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++)
      acc[i][v] = *(const krn_vector *) (panel + v * KRN_VECTOR);

  panel += KRN_TILE_COLS;
  for (int t = 0; t < taps; t++) {
    const float *a[KRN_TILE_ROWS];

#pragma GCC unroll 8
    for (int i = 0; i < KRN_TILE_ROWS; i++)
      a[i] = rows->a[t][i];

    /* Row by row: the other way round keeps six inputs in registers, which AVX2 has not. */
    for (int64_t c = 0; c < channels; c++, panel += KRN_TILE_COLS) {
      krn_vector w[KRN_TILE_VECTORS];

#pragma GCC unroll 4
      for (int v = 0; v < nv; v++)
        w[v] = *(const krn_vector *) (panel + v * KRN_VECTOR);
#pragma GCC unroll 8
      for (int i = 0; i < KRN_TILE_ROWS; i++)
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++)
          acc[i][v] += a[i][c] * w[v];
    }
  }

  /* At the end, so that a long sum is rounded as the sum of its passes. */
  if (rows->add[0])
#pragma GCC unroll 8
    for (int i = 0; i < KRN_TILE_ROWS; i++)
#pragma GCC unroll 4
      for (int v = 0; v < nv; v++)
        acc[i][v] += *(const krn_vector *) (rows->add[i] + first + v * KRN_VECTOR);

#pragma GCC unroll 8
  for (int i = 0; i < KRN_TILE_ROWS; i++)
#pragma GCC unroll 4
    for (int v = 0; v < nv; v++)
      *(krn_vector *) (rows->y[i] + first + v * KRN_VECTOR) = acc[i][v];
}

static void
tile_vectors (const struct krn_tile_rows *rows, const float *panel, int taps, int64_t channels,
              int64_t first, int nv)
{
  switch (nv) {
  case 1:
    tile (rows, panel, taps, channels, first, 1);
    break;
  case 2:
    tile (rows, panel, taps, channels, first, 2);
    break;
  case 3:
    tile (rows, panel, taps, channels, first, KRN_TILE_VECTORS < 3 ? KRN_TILE_VECTORS : 3);
    break;
  default:
    tile (rows, panel, taps, channels, first, KRN_TILE_VECTORS);
    break;
  }
}

void
krn_cpu_tile (const struct krn_tile_rows *rows, const float *panel, int taps, int64_t channels,
              int64_t first, int cols)
{
  const int nv = (cols + KRN_VECTOR - 1) / KRN_VECTOR;
  float edge[KRN_TILE_ROWS][KRN_TILE_COLS];
  struct krn_tile_rows edges;

  if (cols == nv * KRN_VECTOR) {
    tile_vectors (rows, panel, taps, channels, first, nv);
    return;
  }

  /* The last vector is not full: work on a copy, which may be written beyond cols. */
  memset (edge, 0, sizeof edge);
  memcpy (edges.a, rows->a, (size_t) taps * sizeof edges.a[0]);
  for (int i = 0; i < KRN_TILE_ROWS; i++) {
    if (rows->add[0])
      memcpy (edge[i], rows->add[i] + first, (size_t) cols * sizeof (float));
    edges.add[i] = rows->add[0] ? edge[i] : NULL;
    edges.y[i] = edge[i];
  }
  tile_vectors (&edges, panel, taps, channels, 0, nv);
  for (int i = 0; i < KRN_TILE_ROWS; i++)
    memcpy (rows->y[i] + first, edge[i], (size_t) cols * sizeof (float));
}

/* Transposes a square: interleaving rows i and i + n/2 turns the bits of an element's address by
 * one place, and doing it for each bit of a row's number exchanges row and column. */
static inline void
transpose (krn_vector *row)
{
  krn_vector next[KRN_VECTOR];

#pragma GCC unroll 4
  for (int bit = 1; bit < KRN_VECTOR; bit *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < KRN_VECTOR / 2; i++) {
      next[2 * i] = __builtin_shufflevector (row[i], row[i + KRN_VECTOR / 2], KRN_INTERLEAVE_LOW);
      next[2 * i + 1] =
          __builtin_shufflevector (row[i], row[i + KRN_VECTOR / 2], KRN_INTERLEAVE_HIGH);
    }
#pragma GCC unroll 16
    for (int i = 0; i < KRN_VECTOR; i++)
      row[i] = next[i];
  }
}

static void
pack_square (float *panel, const float *rows, int64_t stride, bool accumulate)
{
  krn_vector square[KRN_VECTOR];

#pragma GCC unroll 16
  for (int i = 0; i < KRN_VECTOR; i++)
    square[i] = *(const krn_vector *) (rows + (size_t) i * (size_t) stride);
  transpose (square);
  for (int i = 0; i < KRN_VECTOR; i++) {
    krn_vector *to = (krn_vector *) (panel + (size_t) i * KRN_TILE_COLS);

    if (accumulate)
      square[i] += *to;
    *to = square[i];
  }
}

/* What does not fill a square: cols of KRN_VECTOR columns, k rows. */
static void
pack_edge (float *panel, const float *rows, int64_t stride, int cols, int64_t k, bool accumulate)
{
  for (int64_t r = 0; r < k; r++)
    for (int j = 0; j < KRN_VECTOR; j++) {
      const float value = j < cols ? rows[(size_t) j * (size_t) stride + (size_t) r] : 0.f;
      float *to = panel + (size_t) r * KRN_TILE_COLS + j;

      *to = accumulate ? *to + value : value;
    }
}

void
krn_cpu_pack_rows (float *panel, const float *rows, int64_t stride, int cols, int64_t k,
                   bool accumulate)
{
  for (int j = 0; j < KRN_TILE_COLS; j += KRN_VECTOR) {
    const float *from = rows + (size_t) j * (size_t) stride;
    int64_t r = 0;

    if (cols - j >= KRN_VECTOR)
      for (; r + KRN_VECTOR <= k; r += KRN_VECTOR)
        pack_square (panel + (size_t) r * KRN_TILE_COLS + j, from + r, stride, accumulate);
    if (r < k)
      pack_edge (panel + (size_t) r * KRN_TILE_COLS + j, from + r, stride, cols - j, k - r,
                 accumulate);
  }
}

void
krn_cpu_pack_columns (float *panel, const float *rows, int64_t stride, int cols, int64_t k)
{
  for (int64_t r = 0; r < k; r++, panel += KRN_TILE_COLS) {
    memcpy (panel, rows + (size_t) r * (size_t) stride, (size_t) cols * sizeof (float));
    memset (panel + cols, 0, (size_t) (KRN_TILE_COLS - cols) * sizeof (float));
  }
}

/* The part of a product that is done between two packings of weights. */
struct pass {
  const struct krn_gemm *gemm;
  float *panels;
  int64_t n0, n;      /* columns */
  int64_t c0, c;      /* channels */
  int tap0, taps;     /* taps */
  int64_t n_panels;   /* in n columns */
  size_t panel_size;  /* floats */
  int64_t block_rows; /* of a task */
  int64_t groups;     /* of panels, each a task of its own */
  bool first;         /* the sums start here */
};

static inline int64_t
least (int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static inline int64_t
ceil_div (int64_t a, int64_t b)
{
  return (a + b - 1) / b;
}

static void
pack_panel (const struct pass *pass, int64_t p)
{
  const struct krn_gemm *gemm = pass->gemm;
  const int64_t n = pass->n0 + p * KRN_TILE_COLS;
  const int cols = (int) least (KRN_TILE_COLS, gemm->n - n);
  const float *w = gemm->w + (size_t) n * (size_t) gemm->w_stride + (size_t) pass->c0;
  float *panel = pass->panels + (size_t) p * pass->panel_size;

  for (int j = 0; j < KRN_TILE_COLS; j++)
    panel[j] = pass->first && gemm->bias && j < cols ? gemm->bias[n + j] : 0.f;
  panel += KRN_TILE_COLS;

  for (int t = 0; t < pass->taps; t++, panel += pass->c * KRN_TILE_COLS) {
    const struct krn_tap *tap = &gemm->taps[pass->tap0 + t];

    for (int i = 0; i < tap->n; i++)
      krn_cpu_pack_rows (panel, w + tap->offset[i], gemm->w_stride, cols, pass->c, i > 0);
  }
}

static void
pack_panels (const void *data, int64_t first, int64_t end, float *scratch)
{
  for (int64_t p = first; p < end; p++)
    pack_panel (data, p);
}

/* Asks for what a tile reads that the one before did not: of a convolution, its lowest row. */
static void
prefetch_tile (const struct krn_tile_rows *rows, const struct pass *pass)
{
  enum { LINE = 16 }; /* floats in a cache line */
  const int last = pass->taps - 1;

  for (int i = 0; i < KRN_TILE_ROWS; i++)
    for (int64_t c = 0; c < pass->c; c += LINE)
      __builtin_prefetch (rows->a[last][i] + c);
}

static void
run_block (const struct pass *pass, int64_t block, int64_t group)
{
  const struct krn_gemm *gemm = pass->gemm;
  const int64_t m0 = block * pass->block_rows, m1 = least (m0 + pass->block_rows, gemm->m);
  const int64_t p0 = group * pass->n_panels / pass->groups;
  const int64_t p1 = (group + 1) * pass->n_panels / pass->groups;
  struct krn_tile_rows rows[BLOCK_TILES];
  int tiles = 0;

  for (int64_t m = m0; m < m1; m += KRN_TILE_ROWS, tiles++) {
    gemm->rows (gemm->data, &rows[tiles], m, pass->tap0, pass->taps, pass->c0);
    if (!pass->first)
      memcpy (rows[tiles].add, rows[tiles].y, sizeof rows[tiles].add);
  }

  for (int64_t p = p0; p < p1; p++) {
    const float *panel = pass->panels + (size_t) p * pass->panel_size;
    const int64_t n = pass->n0 + p * KRN_TILE_COLS;
    const int cols = (int) least (KRN_TILE_COLS, gemm->n - n);

    for (int t = 0; t < tiles; t++) {
      if (p == p0 && t + 1 < tiles)
        prefetch_tile (&rows[t + 1], pass);
      krn_cpu_tile (&rows[t], panel, pass->taps, pass->c, n, cols);
    }
  }
}

static void
run_blocks (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct pass *pass = data;

  for (int64_t task = first; task < end; task++)
    run_block (pass, task / pass->groups, task % pass->groups);
}

static void
run_pass (krn_stream *stream, struct pass *pass)
{
  int64_t blocks;

  pass->n_panels = ceil_div (pass->n, KRN_TILE_COLS);
  pass->panel_size = (size_t) (1 + pass->taps * pass->c) * KRN_TILE_COLS;

  /* At least four tasks a thread, so that one that is held up does not hold up the others: first
   * smaller blocks, then fewer panels. */
  pass->block_rows = KRN_TILE_ROWS * BLOCK_TILES;
  while (pass->block_rows > 4 * KRN_TILE_ROWS &&
         ceil_div (pass->gemm->m, pass->block_rows) < 4 * stream->threads)
    pass->block_rows -= KRN_TILE_ROWS;
  blocks = ceil_div (pass->gemm->m, pass->block_rows);
  pass->groups = least (pass->n_panels, ceil_div (4 * stream->threads, blocks));

  krn_team_run (stream->team, pass->n_panels, 1, pack_panels, pass);
  krn_team_run (stream->team, blocks * pass->groups, 1, run_blocks, pass);
}

void
krn_cpu_gemm (krn_stream *stream, const struct krn_gemm *gemm)
{
  const int64_t group_taps = least (gemm->n_taps, KRN_GEMM_TAPS);
  const int64_t depth = least (gemm->channels, KRN_GEMM_DEPTH / group_taps);
  const int64_t width =
      KRN_PANEL_FLOATS / ((1 + group_taps * depth) * KRN_TILE_COLS) * KRN_TILE_COLS;

  for (int64_t n = 0; n < gemm->n; n += width)
    for (int64_t tap = 0; tap < gemm->n_taps; tap += group_taps)
      for (int64_t c = 0; c < gemm->channels; c += depth) {
        struct pass pass = { .gemm = gemm,
                             .panels = stream->panels,
                             .n0 = n,
                             .n = least (width, gemm->n - n),
                             .c0 = c,
                             .c = least (depth, gemm->channels - c),
                             .tap0 = (int) tap,
                             .taps = (int) least (group_taps, gemm->n_taps - tap),
                             .first = tap == 0 && c == 0 };

        run_pass (stream, &pass);
      }
}
