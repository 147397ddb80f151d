#include "kernels/cpu/ops.h"
#include "kernels/cpu/vector_math.h"

#include <math.h>
#include <string.h>

/* Sums are taken relative to each channel's first pixel, so that a large mean does not cancel the
 * variance: in float32 over a run of pixels, in float64 over the runs. */
enum {
  RUN = 64,        /* pixels summed in float32 */
  CHANNELS = 8192, /* at most */
};

/* A thread's scratch; the first's sums become those of all. */
struct group_norm_scratch {
  double sum[CHANNELS], squares[CHANNELS];
  float run_sum[CHANNELS], run_squares[CHANNELS];
  /* Of the first thread: y = (x - mean) * factor + b. */
  float mean[CHANNELS], factor[CHANNELS];
};
_Static_assert(sizeof (struct group_norm_scratch) <= KRN_SCRATCH_FLOATS * sizeof (float),
               "GroupNorm needs more scratch than a stream has");

struct group_norm {
  krn_tensor y, x; /* of one image */
  krn_tensor w, b;
  int groups;
  float eps;
  bool silu;
  const struct group_norm_scratch *total;
};

static void
add_run (struct group_norm_scratch *s, krn_tensor x, int64_t first, int64_t end)
{
  const int64_t c = x.dim[3];
  const float *origin = x.data;
  float *sum = s->run_sum, *squares = s->run_squares;

  memset (sum, 0, (size_t) c * sizeof (float));
  memset (squares, 0, (size_t) c * sizeof (float));
  for (int64_t r = first; r < end; r++) {
    const float *row = krn_row (x, r);

#pragma omp simd
    for (int64_t i = 0; i < c; i++) {
      const float v = row[i] - origin[i];

      sum[i] += v;
      squares[i] += v * v;
    }
  }
  for (int64_t i = 0; i < c; i++) {
    s->sum[i] += (double) sum[i];
    s->squares[i] += (double) squares[i];
  }
}

static void
add_rows (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct group_norm *self = data;

  for (int64_t r = first; r < end; r += RUN)
    add_run ((struct group_norm_scratch *) scratch, self->x, r, r + RUN < end ? r + RUN : end);
}

/* From the sums of all threads to mean and factor of each channel. */
static void
finish (krn_stream *stream, const struct group_norm *self)
{
  struct group_norm_scratch *s = (struct group_norm_scratch *) stream->scratch;
  const int64_t pixels = krn_rows (self->x), c = self->x.dim[3], size = c / self->groups;
  const float *origin = self->x.data, *w = self->w.data;

  for (int t = 1; t < stream->threads; t++) {
    const struct group_norm_scratch *other =
        (const void *) (stream->scratch + (size_t) t * KRN_SCRATCH_FLOATS);

    for (int64_t i = 0; i < c; i++) {
      s->sum[i] += other->sum[i];
      s->squares[i] += other->squares[i];
    }
  }

  for (int64_t g = 0; g < self->groups; g++) {
    double mean = 0., squares = 0., factor;

    for (int64_t i = g * size; i < (g + 1) * size; i++)
      mean += ((double) origin[i] + s->sum[i] / (double) pixels) / (double) size;
    for (int64_t i = g * size; i < (g + 1) * size; i++) {
      const double shift = (double) origin[i] + s->sum[i] / (double) pixels - mean;

      squares +=
          s->squares[i] - s->sum[i] * s->sum[i] / (double) pixels + shift * shift * (double) pixels;
    }
    factor = 1. / sqrt (fmax (squares, 0.) / (double) (pixels * size) + (double) self->eps);
    for (int64_t i = g * size; i < (g + 1) * size; i++) {
      s->mean[i] = (float) mean;
      s->factor[i] = (float) (factor * (double) w[i]);
    }
  }
}

static void
apply_row (float *y, const float *x, const struct group_norm_scratch *s, const float *b, int64_t c,
           bool silu)
{
  if (silu)
#pragma omp simd
    for (int64_t i = 0; i < c; i++)
      y[i] = krn_silu ((x[i] - s->mean[i]) * s->factor[i] + b[i]);
  else
#pragma omp simd
    for (int64_t i = 0; i < c; i++)
      y[i] = (x[i] - s->mean[i]) * s->factor[i] + b[i];
}

static void
apply_rows (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct group_norm *self = data;

  for (int64_t r = first; r < end; r++)
    apply_row (krn_row (self->y, r), krn_row (self->x, r), self->total, self->b.data,
               self->x.dim[3], self->silu);
}

/* One image of the batch. */
static void
normalise (krn_stream *stream, const struct group_norm *self)
{
  const int64_t c = self->x.dim[3];

  for (int t = 0; t < stream->threads; t++) {
    struct group_norm_scratch *s =
        (struct group_norm_scratch *) (stream->scratch + (size_t) t * KRN_SCRATCH_FLOATS);

    memset (s->sum, 0, (size_t) c * sizeof s->sum[0]);
    memset (s->squares, 0, (size_t) c * sizeof s->squares[0]);
  }
  krn_for_rows (stream, krn_rows (self->x), c, add_rows, self);
  finish (stream, self);
  krn_for_rows (stream, krn_rows (self->x), c, apply_rows, self);
}

krn_status
krn_cpu_group_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor b,
                    int groups, float eps, bool silu)
{
  const int64_t c = x.dim[3], pixels = x.dim[1] * x.dim[2];
  struct group_norm self = { .w = w, .b = b, .groups = groups, .eps = eps, .silu = silu };

  if (!krn_is_tensor (x, KRN_F32) || !krn_is_tensor (y, KRN_F32) || x.dim[0] != y.dim[0] ||
      x.dim[1] != y.dim[1] || x.dim[2] != y.dim[2] || y.dim[3] != c || groups <= 0 ||
      c % groups != 0 || !krn_is_vector (w, c) || !krn_is_vector (b, c))
    return KRN_ERROR_SHAPE;
  if (c > CHANNELS)
    return KRN_ERROR_UNSUPPORTED;

  self.total = (const struct group_norm_scratch *) stream->scratch;
  for (int64_t n = 0; n < x.dim[0]; n++) {
    self.y = krn_row_view (y, n * pixels, pixels);
    self.x = krn_row_view (x, n * pixels, pixels);
    normalise (stream, &self);
  }
  return KRN_OK;
}
