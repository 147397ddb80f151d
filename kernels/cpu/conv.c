#include "kernels/cpu/gemm.h"
#include "kernels/cpu/ops.h"

/* A convolution is a product of pixels and weights; see gemm.h.  A doubled input is not made: where
 * the kernel is 3x3, each of the four output pixels over one input pixel sees only 2x2 different
 * inputs, so that it is a 2x2 convolution with summed weights: 4/9 of the work. */

enum { CONV_TAPS = 256 }; /* up to 16x16; 48 bytes each on the stack */

/* Read in place of a pixel outside the picture. */
static const float zeros[KRN_GEMM_DEPTH];

struct conv {
  krn_tensor y, x, w, bias;
  const struct krn_conv *args;
  int64_t kh, kw;            /* taps that the rows point at */
  int64_t rows, cols;        /* output pixels that a product covers */
  int64_t step;              /* from one of them to the next in y */
  int64_t y0, x0;            /* the first one in y */
  int64_t top, left;         /* input pixel of tap 0 of the first one */
  int shift;                 /* 1: input pixels are halved */
  int64_t offset[CONV_TAPS]; /* floats from tap 0 to a tap, where none is outside */
};

/* An output pixel of a product. */
struct pixel {
  int64_t image, y, x;
};

static void
conv_border (const struct conv *self, struct krn_tile_rows *rows, int i, const struct pixel *pixel,
             int first_tap, int n_taps, int64_t first_channel)
{
  const int64_t h = self->x.dim[1] << self->shift, w = self->x.dim[2] << self->shift;

  for (int t = 0; t < n_taps; t++) {
    const int64_t iy = pixel->y * self->args->stride + self->top + (first_tap + t) / self->kw;
    const int64_t ix = pixel->x * self->args->stride + self->left + (first_tap + t) % self->kw;
    const int64_t row = (pixel->image * self->x.dim[1] + (iy >> self->shift)) * self->x.dim[2] +
                        (ix >> self->shift);
    const bool inside = iy >= 0 && iy < h && ix >= 0 && ix < w;

    rows->a[t][i] = inside ? krn_row (self->x, row) + first_channel : zeros;
  }
}

static void
conv_rows (const void *data, struct krn_tile_rows *rows, int64_t m, int first_tap, int n_taps,
           int64_t first_channel)
{
  const struct conv *self = data;
  struct pixel p = { m / self->cols / self->rows, m / self->cols % self->rows, m % self->cols };

  for (int i = 0; i < KRN_TILE_ROWS; i++) {
    const int64_t iy = p.y * self->args->stride + self->top;
    const int64_t ix = p.x * self->args->stride + self->left;
    const int64_t out = (p.image * self->y.dim[1] + p.y * self->step + self->y0) * self->y.dim[2] +
                        p.x * self->step + self->x0;

    rows->y[i] = krn_row (self->y, out);
    rows->add[i] = self->args->add.data ? krn_row (self->args->add, out) : NULL;

    if (self->shift == 0 && iy >= 0 && iy + self->kh <= self->x.dim[1] && ix >= 0 &&
        ix + self->kw <= self->x.dim[2]) {
      const int64_t row = (p.image * self->x.dim[1] + iy) * self->x.dim[2] + ix;
      const float *from = krn_row (self->x, row) + first_channel;

      for (int t = 0; t < n_taps; t++)
        rows->a[t][i] = from + self->offset[first_tap + t];
    } else {
      conv_border (self, rows, i, &p, first_tap, n_taps, first_channel);
    }

    if (p.x + 1 < self->cols)
      p.x++;
    else if (p.y + 1 < self->rows)
      p = (struct pixel){ p.image, p.y + 1, 0 };
    else if (p.image + 1 < self->y.dim[0])
      p = (struct pixel){ p.image + 1, 0, 0 };
  }
}

static void
conv_product (krn_stream *stream, struct conv *self, const struct krn_tap *taps)
{
  const struct krn_gemm gemm = { .m = self->y.dim[0] * self->rows * self->cols,
                                 .n = self->y.dim[3],
                                 .channels = self->x.dim[3],
                                 .taps = taps,
                                 .n_taps = (int) (self->kh * self->kw),
                                 .w = self->w.data,
                                 .w_stride = self->w.dim[1] * self->w.dim[2] * self->w.dim[3],
                                 .bias = self->bias.data,
                                 .rows = conv_rows,
                                 .data = self };

  for (int t = 0; t < gemm.n_taps; t++)
    self->offset[t] = (t / self->kw * self->x.dim[2] + t % self->kw) * self->x.stride;
  krn_cpu_gemm (stream, &gemm);
}

/* The two output pixels (parity 0 and 1) over an input pixel i, per axis: parity 0 sees i - 1
 * through weight 0 and i through 1 and 2, parity 1 sees i through 0 and 1 and i + 1 through 2. */
static void
conv_doubled (krn_stream *stream, struct conv *self)
{
  static const int first[2][2] = { { 0, 1 }, { 0, 2 } }, count[2][2] = { { 1, 2 }, { 2, 1 } };

  self->kh = self->kw = 2;
  self->rows = self->x.dim[1];
  self->cols = self->x.dim[2];
  self->step = 2;
  self->shift = 0;

  for (int parity = 0; parity < 4; parity++) {
    const int py = parity / 2, px = parity % 2;
    struct krn_tap taps[4] = { 0 };

    for (int t = 0; t < 4; t++)
      for (int ky = 0; ky < count[py][t / 2]; ky++)
        for (int kx = 0; kx < count[px][t % 2]; kx++) {
          const int tap = (first[py][t / 2] + ky) * 3 + first[px][t % 2] + kx;

          taps[t].offset[taps[t].n++] = tap * self->x.dim[3];
        }
    self->y0 = py;
    self->x0 = px;
    self->top = py - 1;
    self->left = px - 1;
    conv_product (stream, self, taps);
  }
}

static void
conv_plain (krn_stream *stream, struct conv *self)
{
  struct krn_tap taps[CONV_TAPS];
  const int n_taps = (int) (self->kh * self->kw);

  for (int t = 0; t < n_taps; t++)
    taps[t] = (struct krn_tap){ 1, { t * self->x.dim[3] } };
  conv_product (stream, self, taps);
}

static bool
conv_fits (const struct conv *self)
{
  const struct krn_conv *args = self->args;
  const krn_tensor y = self->y, x = self->x, w = self->w;

  if ((args->stride != 1 && args->stride != 2) || args->pad_before < 0 || args->pad_after < 0 ||
      (args->upsample && args->stride != 1))
    return false;
  if (!krn_is_tensor (y, KRN_F32) || !krn_is_tensor (x, KRN_F32) || !krn_is_tensor (w, KRN_F32) ||
      !krn_may_be_vector (self->bias, y.dim[3]))
    return false;
  if (args->add.data && (!krn_is_tensor (args->add, KRN_F32) || args->add.dim[0] != y.dim[0] ||
                         args->add.dim[1] != y.dim[1] || args->add.dim[2] != y.dim[2] ||
                         args->add.dim[3] != y.dim[3]))
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

krn_status
krn_cpu_conv2d (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
                const struct krn_conv *args)
{
  struct conv self = { .y = y, .x = x, .w = w, .bias = bias, .args = args };

  if (!conv_fits (&self))
    return KRN_ERROR_SHAPE;
  self.kh = w.dim[1];
  self.kw = w.dim[2];
  if (self.kh * self.kw > CONV_TAPS)
    return KRN_ERROR_UNSUPPORTED;

  self.rows = y.dim[1];
  self.cols = y.dim[2];
  self.step = 1;
  self.top = self.left = -args->pad_before;
  self.shift = args->upsample;

  if (args->upsample && self.kh == 3 && self.kw == 3 && args->pad_before == 1 &&
      args->pad_after == 1)
    conv_doubled (stream, &self);
  else
    conv_plain (stream, &self);
  return KRN_OK;
}
