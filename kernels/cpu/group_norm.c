#include "kernels/cpu/ops.h"
#include "kernels/cpu/vector_math.h"

#include <math.h>
#include <string.h>

/* Sums are taken relative to each channel's first pixel, so that a large mean does not cancel the
 * variance: in float32 over a run of pixels, in float64 over the runs of a part and over the parts.
 * Parts do not depend on the threads, so that any number of them gives the same picture. */
enum {
  RUN = 64,        /* pixels summed in float32 */
  PARTS = 32,      /* of the pixels */
  CHANNELS = 8192, /* at most */
};

/* In the stream's panels, which only a product needs. */
struct part {
  double sum[CHANNELS], squares[CHANNELS];
};
_Static_assert(PARTS * sizeof (struct part) <= KRN_PANEL_FLOATS * sizeof (float),
               "the parts of GroupNorm do not fit");

/* In a thread's scratch. */
struct run {
  float sum[CHANNELS], squares[CHANNELS];
};
/* In the caller's scratch, once all sums are known: y = (x - mean) * factor + b. */
struct channels {
  float mean[CHANNELS], factor[CHANNELS];
};
_Static_assert(sizeof (struct run) <= KRN_SCRATCH_FLOATS * sizeof (float) &&
                   sizeof (struct channels) <= KRN_SCRATCH_FLOATS * sizeof (float),
               "GroupNorm needs more scratch than a stream has");

struct group_norm {
  krn_tensor y, x; /* of one image */
  krn_tensor w, b;
  int groups;
  float eps;
  bool silu;
  struct part *parts;        /* borrowed from the stream */
  struct channels *channels; /* borrowed from the stream */
};

static __attribute__ ((noinline)) void
add_run (struct run *run, krn_tensor x, int64_t first, int64_t end)
{
  const int64_t c = x.dim[3];
  const float *origin = x.data;

  memset (run->sum, 0, (size_t) c * sizeof (float));
  memset (run->squares, 0, (size_t) c * sizeof (float));
  for (int64_t r = first; r < end; r++) {
    const float *row = krn_row (x, r);

#pragma omp simd
    for (int64_t i = 0; i < c; i++) {
      const float v = row[i] - origin[i];

      run->sum[i] += v;
      run->squares[i] += v * v;
    }
  }
}

static void
add_part (const struct group_norm *self, int64_t p, struct run *run)
{
  const int64_t pixels = krn_rows (self->x), c = self->x.dim[3], end = (p + 1) * pixels / PARTS;
  struct part *part = &self->parts[p];

  memset (part->sum, 0, (size_t) c * sizeof (double));
  memset (part->squares, 0, (size_t) c * sizeof (double));
  for (int64_t r = p * pixels / PARTS; r < end; r += RUN) {
    add_run (run, self->x, r, r + RUN < end ? r + RUN : end);
    for (int64_t i = 0; i < c; i++) {
      part->sum[i] += (double) run->sum[i];
      part->squares[i] += (double) run->squares[i];
    }
  }
}

static void
add_parts (const void *data, int64_t first, int64_t end, float *scratch)
{
  for (int64_t p = first; p < end; p++)
    add_part (data, p, (struct run *) scratch);
}

/* Of group g. */
static void
set_channels (const struct group_norm *self, int64_t g, double mean, double variance)
{
  const int64_t size = self->x.dim[3] / self->groups;
  const double factor = 1. / sqrt (variance + (double) self->eps);
  const float *w = self->w.data;

  for (int64_t i = g * size; i < (g + 1) * size; i++) {
    self->channels->mean[i] = (float) mean;
    self->channels->factor[i] = (float) (factor * (double) w[i]);
  }
}

/* From the sums of all parts to mean and factor of each channel, or to the statistics alone. */
static void
finish (const struct group_norm *self, float *stats)
{
  const int64_t pixels = krn_rows (self->x), c = self->x.dim[3], size = c / self->groups;
  const float *origin = self->x.data;
  struct part *total = &self->parts[0];

  for (int p = 1; p < PARTS; p++)
    for (int64_t i = 0; i < c; i++) {
      total->sum[i] += self->parts[p].sum[i];
      total->squares[i] += self->parts[p].squares[i];
    }

  for (int64_t g = 0; g < self->groups; g++) {
    double mean = 0., squares = 0.;

    for (int64_t i = g * size; i < (g + 1) * size; i++)
      mean += ((double) origin[i] + total->sum[i] / (double) pixels) / (double) size;
    for (int64_t i = g * size; i < (g + 1) * size; i++) {
      const double shift = (double) origin[i] + total->sum[i] / (double) pixels - mean;

      squares += total->squares[i] - total->sum[i] * total->sum[i] / (double) pixels +
                 shift * shift * (double) pixels;
    }
    /* A NaN must not become 0 here, as fmax would make it. */
    squares = squares < 0. ? 0. : squares;
    if (stats) {
      stats[2 * g] = (float) mean;
      stats[2 * g + 1] = (float) (squares / (double) (pixels * size));
    } else {
      set_channels (self, g, mean, squares / (double) (pixels * size));
    }
  }
}

/* The same from the statistics of equal parts, [parts, groups, 2]. */
static void
merge (const struct group_norm *self, const float *stats, int64_t parts)
{
  for (int64_t g = 0; g < self->groups; g++) {
    double mean = 0., variance = 0.;

    for (int64_t p = 0; p < parts; p++)
      mean += (double) stats[2 * (p * self->groups + g)] / (double) parts;
    for (int64_t p = 0; p < parts; p++) {
      const float *part = stats + 2 * (p * self->groups + g);
      const double shift = (double) part[0] - mean;

      variance += ((double) part[1] + shift * shift) / (double) parts;
    }
    set_channels (self, g, mean, variance);
  }
}

static void
apply_row (float *y, const float *x, const struct channels *s, const float *b, int64_t c, bool silu)
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
    apply_row (krn_row (self->y, r), krn_row (self->x, r), self->channels, self->b.data,
               self->x.dim[3], self->silu);
}

static krn_status
check (krn_tensor x, int groups)
{
  if (!krn_is_tensor (x, KRN_F32) || groups <= 0 || x.dim[3] % groups != 0)
    return KRN_ERROR_SHAPE;
  return x.dim[3] > CHANNELS ? KRN_ERROR_UNSUPPORTED : KRN_OK;
}

static bool
goes_with (krn_tensor x, krn_tensor y, krn_tensor w, krn_tensor b)
{
  return krn_is_tensor (y, KRN_F32) && x.dim[0] == y.dim[0] && x.dim[1] == y.dim[1] &&
         x.dim[2] == y.dim[2] && x.dim[3] == y.dim[3] && krn_is_vector (w, x.dim[3]) &&
         krn_is_vector (b, x.dim[3]);
}

static void
sum_parts (struct group_norm *self, krn_stream *stream)
{
  const int64_t n = krn_count (self->x);

  krn_team_run (stream->team, PARTS, 1 + PARTS * KRN_PART / n, add_parts, self);
}

krn_status
krn_cpu_group_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor b,
                    int groups, float eps, bool silu)
{
  const int64_t pixels = x.dim[1] * x.dim[2];
  const krn_status status = check (x, groups);
  struct group_norm self = { .w = w, .b = b, .groups = groups, .eps = eps, .silu = silu };

  if (status || !goes_with (x, y, w, b))
    return status ? status : KRN_ERROR_SHAPE;

  self.parts = (struct part *) stream->panels;
  self.channels = (struct channels *) stream->scratch;
  for (int64_t n = 0; n < x.dim[0]; n++) {
    self.y = krn_row_view (y, n * pixels, pixels);
    self.x = krn_row_view (x, n * pixels, pixels);
    sum_parts (&self, stream);
    finish (&self, NULL);
    krn_for_rows (stream, pixels, x.dim[3], apply_rows, &self);
  }
  return KRN_OK;
}

krn_status
krn_cpu_group_stats (krn_stream *stream, krn_tensor stats, krn_tensor x, int groups)
{
  const krn_status status = check (x, groups);
  struct group_norm self = { .x = x, .groups = groups };

  if (status)
    return status;
  if (x.dim[0] != 1 || !krn_is_tensor (stats, KRN_F32) || krn_rows (stats) != groups ||
      stats.dim[3] != 2 || stats.stride != 2)
    return KRN_ERROR_SHAPE;

  self.parts = (struct part *) stream->panels;
  sum_parts (&self, stream);
  finish (&self, stats.data);
  return KRN_OK;
}

krn_status
krn_cpu_group_apply (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor stats, krn_tensor w,
                     krn_tensor b, float eps, bool silu)
{
  const krn_status status = check (x, (int) stats.dim[2]);
  struct group_norm self = {
    .y = y, .x = x, .w = w, .b = b, .groups = (int) stats.dim[2], .eps = eps, .silu = silu
  };

  if (status)
    return status;
  if (x.dim[0] != 1 || !goes_with (x, y, w, b) || !krn_is_tensor (stats, KRN_F32) ||
      stats.dim[0] != 1 || stats.dim[3] != 2 || stats.stride != 2)
    return KRN_ERROR_SHAPE;

  self.channels = (struct channels *) stream->scratch;
  merge (&self, stats.data, stats.dim[1]);
  krn_for_rows (stream, krn_rows (x), x.dim[3], apply_rows, &self);
  return KRN_OK;
}
