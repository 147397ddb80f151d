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

/* A thread's scratch; the first thread's total is the sum over all of them. */
struct group_norm_scratch {
  double sum[CHANNELS], squares[CHANNELS];
  float run_sum[CHANNELS], run_squares[CHANNELS];
  /* Of the first thread: y = (x - mean) * factor + b. */
  float mean[CHANNELS], factor[CHANNELS];
};
_Static_assert(sizeof (struct group_norm_scratch) <= KRN_SCRATCH_FLOATS * sizeof (float),
               "GroupNorm needs more scratch than a stream has");

static void
add_run (struct group_norm_scratch *s, krn_tensor x, int64_t first, int64_t n, const float *origin)
{
  const int64_t c = x.dim[3];
  float *sum = s->run_sum, *squares = s->run_squares;

  memset (sum, 0, (size_t) c * sizeof (float));
  memset (squares, 0, (size_t) c * sizeof (float));
  for (int64_t r = first; r < first + n; r++) {
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

/* From the sums of all threads to mean and factor of each channel. */
static void
finish (krn_stream *stream, const float *origin, const float *w, int64_t pixels, int64_t c,
        int groups, float eps)
{
  struct group_norm_scratch *s = (void *) stream->scratch;
  const int64_t size = c / groups;

  for (int t = 1; t < stream->threads; t++) {
    const struct group_norm_scratch *other =
        (const void *) (stream->scratch + (size_t) t * KRN_SCRATCH_FLOATS);

    for (int64_t i = 0; i < c; i++) {
      s->sum[i] += other->sum[i];
      s->squares[i] += other->squares[i];
    }
  }

  for (int64_t g = 0; g < groups; g++) {
    double mean = 0., squares = 0., factor;

    for (int64_t i = g * size; i < (g + 1) * size; i++)
      mean += ((double) origin[i] + s->sum[i] / (double) pixels) / (double) size;
    for (int64_t i = g * size; i < (g + 1) * size; i++) {
      const double shift = (double) origin[i] + s->sum[i] / (double) pixels - mean;

      squares +=
          s->squares[i] - s->sum[i] * s->sum[i] / (double) pixels + shift * shift * (double) pixels;
    }
    factor = 1. / sqrt (fmax (squares, 0.) / (double) (pixels * size) + (double) eps);
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

/* One image of the batch; every thread of a team calls it. */
static void
normalise (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor b, int groups,
           float eps, bool silu)
{
  const int64_t pixels = krn_rows (x), c = x.dim[3], runs = (pixels + RUN - 1) / RUN;
  struct group_norm_scratch *own = (void *) krn_thread_scratch (stream);
  const struct group_norm_scratch *total = (const void *) stream->scratch;
  const float *origin = total->mean; /* y may be x, so the first pixel is kept apart */

#pragma omp single
  {
    memcpy (((struct group_norm_scratch *) stream->scratch)->mean, x.data,
            (size_t) c * sizeof (float));
    /* Fewer threads than asked for may have come. */
    for (int t = 0; t < stream->threads; t++)
      memset (stream->scratch + (size_t) t * KRN_SCRATCH_FLOATS, 0,
              offsetof (struct group_norm_scratch, run_sum));
  }

#pragma omp for schedule(static)
  for (int64_t run = 0; run < runs; run++)
    add_run (own, x, run * RUN, pixels - run * RUN < RUN ? pixels - run * RUN : RUN, origin);
#pragma omp single
  finish (stream, x.data, w.data, pixels, c, groups, eps);
#pragma omp for schedule(static)
  for (int64_t r = 0; r < pixels; r++)
    apply_row (krn_row (y, r), krn_row (x, r), total, b.data, c, silu);
}

krn_status
krn_cpu_group_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor b,
                    int groups, float eps, bool silu)
{
  const int64_t c = x.dim[3], pixels = x.dim[1] * x.dim[2];

  if (!krn_is_tensor (x, KRN_F32) || !krn_is_tensor (y, KRN_F32) || x.dim[0] != y.dim[0] ||
      x.dim[1] != y.dim[1] || x.dim[2] != y.dim[2] || y.dim[3] != c || groups <= 0 ||
      c % groups != 0 || !krn_is_vector (w, c) || !krn_is_vector (b, c))
    return KRN_ERROR_SHAPE;
  if (c > CHANNELS)
    return KRN_ERROR_UNSUPPORTED;

#pragma omp parallel num_threads(stream->threads) if (pixels * c > KRN_SERIAL)
  for (int64_t n = 0; n < x.dim[0]; n++)
    normalise (stream, krn_row_view (y, n * pixels, pixels), krn_row_view (x, n * pixels, pixels),
               w, b, groups, eps, silu);
  return KRN_OK;
}
