/* kernels/cpu/gemm.h - the one matrix product under linear, conv2d and attention.
 *
 * A register tile of KRN_TILE_ROWS rows by KRN_TILE_COLS columns is fed by one pointer for each row
 * and tap: a convolution is a product whose rows lie where the taps point, and zeros around the
 * picture are one shared row of zeros.  The weights are first laid out in panels, KRN_TILE_COLS
 * columns wide, so that the tile reads them in order. */
#pragma once

#include "kernels/cpu/level.h"
#include "kernels/cpu/stream.h"

enum {
  KRN_GEMM_TAPS = 9,    /* taps that one pass takes */
  KRN_GEMM_DEPTH = 576, /* taps times channels of one pass: 64 channels of a 3x3 convolution, whose
                           panel of 147 kB stays in an L2 cache */
};

/* Where six rows come from and go to.  A row that is not needed repeats another one, which writes
 * the same numbers to the same place. */
struct krn_tile_rows {
  const float *a[KRN_GEMM_TAPS][KRN_TILE_ROWS];
  const float *add[KRN_TILE_ROWS]; /* added to the sums; NULL in the first: nothing */
  float *y[KRN_TILE_ROWS];
};

/* y[i][j] = add[i][j] + panel bias[j] + sum over taps and channels of a[tap][i][channel] *
 * panel[tap][channel][j], for columns j in [first, first + cols), cols <= KRN_TILE_COLS.
 * panel: [1 + taps * channels, KRN_TILE_COLS], its first row the bias. */
void krn_cpu_tile (const struct krn_tile_rows *rows, const float *panel, int taps, int64_t channels,
                   int64_t first, int cols);

/* panel [k, KRN_TILE_COLS] (+)= transpose of rows [cols, k] that lie stride floats apart; columns
 * from cols on are zero. */
void krn_cpu_pack_rows (float *panel, const float *rows, int64_t stride, int cols, int64_t k,
                        bool accumulate);

/* panel [k, KRN_TILE_COLS] = cols columns of k rows that lie stride floats apart. */
void krn_cpu_pack_columns (float *panel, const float *rows, int64_t stride, int cols, int64_t k);

/* What one effective tap adds up from the taps of the weight. */
struct krn_tap {
  int n;
  int64_t offset[4]; /* floats from the start of an output's weights */
};

/* y [m, n] = sum over taps of a product with channels deep. */
struct krn_gemm {
  int64_t m, n, channels;
  const struct krn_tap *taps;
  int n_taps;
  const float *w; /* n rows, w_stride apart */
  int64_t w_stride;
  const float *bias; /* [n] or NULL */
  /* Fills a (from channel first_channel on), add and y for the rows from m on, repeating the last.
   */
  void (*rows) (const void *data, struct krn_tile_rows *rows, int64_t m, int first_tap, int n_taps,
                int64_t first_channel);
  const void *data;
};

void krn_cpu_gemm (krn_stream *stream, const struct krn_gemm *gemm);
