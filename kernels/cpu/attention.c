#include "kernels/cpu/gemm.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/vector_math.h"

#include <math.h>
#include <string.h>

/* Attention over blocks of keys with a running maximum and sum, so that no more than a block of
 * scores is ever held.  The sum over values grows in the output itself. */
enum {
  QUERIES = 96, /* of a task; keys and values are laid out once for so many */
  KEYS = 256,   /* of a block */
  DEPTH = 512,  /* of a head's width, laid out at a time */
};

/* A thread's scratch. */
struct attention_scratch {
  float scores[QUERIES][KEYS];
  float panel[(1 + (DEPTH > KEYS ? DEPTH : KEYS)) * KRN_TILE_COLS];
  float maximum[QUERIES], sum[QUERIES];
};
_Static_assert(sizeof (struct attention_scratch) <= KRN_SCRATCH_FLOATS * sizeof (float),
               "attention needs more scratch than a stream has");

/* Queries of one head, and what they look at.  Rows are tokens. */
struct attention_task {
  const float *q, *k, *v;
  float *o;
  int64_t q_stride, k_stride, v_stride, o_stride;
  int64_t queries, keys; /* of this task; keys that any of them may see */
  int64_t causal_from;   /* query i sees keys up to causal_from + i; < 0: all */
  int64_t width;         /* of a head */
  float scale;
};

/* Rows r to r + 5 of the tile, repeating the last. */
static int64_t
tile_row (int64_t first, int i, int64_t rows)
{
  return first + i < rows ? first + i : rows - 1;
}

static void
block_scores (struct attention_scratch *s, const struct attention_task *task, int64_t key0,
              int64_t keys)
{
  for (int64_t d = 0; d < task->width; d += DEPTH)
    for (int64_t n = 0; n < keys; n += KRN_TILE_COLS) {
      const int64_t depth = task->width - d < DEPTH ? task->width - d : DEPTH;
      const int cols = keys - n < KRN_TILE_COLS ? (int) (keys - n) : KRN_TILE_COLS;

      memset (s->panel, 0, KRN_TILE_COLS * sizeof (float));
      krn_cpu_pack_rows (s->panel + KRN_TILE_COLS,
                         task->k + (size_t) (key0 + n) * (size_t) task->k_stride + d,
                         task->k_stride, cols, depth, false);
      for (int64_t r = 0; r < task->queries; r += KRN_TILE_ROWS) {
        struct krn_tile_rows rows;

        for (int i = 0; i < KRN_TILE_ROWS; i++) {
          const int64_t row = tile_row (r, i, task->queries);

          rows.a[0][i] = task->q + (size_t) row * (size_t) task->q_stride + d;
          rows.y[i] = s->scores[row];
          rows.add[i] = d > 0 ? rows.y[i] : NULL;
        }
        krn_cpu_tile (&rows, s->panel, 1, depth, n, cols);
      }
    }
}

/* Turns a row of scores into weights relative to the running maximum, and gives back by how much
 * what was summed before must shrink.  Not inlined: in the middle of the task's function GCC 12
 * keeps branches in these loops and does not turn them into vector code. */
static __attribute__ ((noinline)) float
row_weights (float *row, int64_t keys, float scale, float *maximum, float *sum)
{
  float top = *maximum, total = 0.f, shrink;

#pragma omp simd reduction(max : top)
  for (int64_t i = 0; i < keys; i++) {
    row[i] *= scale;
    top = row[i] > top ? row[i] : top;
  }
#pragma omp simd reduction(+ : total)
  for (int64_t i = 0; i < keys; i++) {
    row[i] = krn_exp (row[i] - top);
    total += row[i];
  }
  shrink = krn_exp (*maximum - top);
  *sum = *sum * shrink + total;
  *maximum = top;
  return shrink;
}

static void
block_weights (struct attention_scratch *s, const struct attention_task *task, int64_t key0,
               int64_t keys)
{
  for (int64_t r = 0; r < task->queries; r++) {
    float *o = task->o + (size_t) r * (size_t) task->o_stride;
    const int64_t visible = task->causal_from < 0 ? keys : task->causal_from + r + 1 - key0;
    const int64_t seen = visible < 0 ? 0 : visible < keys ? visible : keys;
    const float before = s->maximum[r];
    const float shrink = row_weights (s->scores[r], seen, task->scale, &s->maximum[r], &s->sum[r]);

    for (int64_t i = seen; i < keys; i++)
      s->scores[r][i] = 0.f;
    if (key0 > 0 && before != s->maximum[r])
      for (int64_t i = 0; i < task->width; i++)
        o[i] *= shrink;
  }
}

static void
block_values (struct attention_scratch *s, const struct attention_task *task, int64_t key0,
              int64_t keys)
{
  for (int64_t n = 0; n < task->width; n += KRN_TILE_COLS) {
    const int cols = task->width - n < KRN_TILE_COLS ? (int) (task->width - n) : KRN_TILE_COLS;

    memset (s->panel, 0, KRN_TILE_COLS * sizeof (float));
    krn_cpu_pack_columns (s->panel + KRN_TILE_COLS,
                          task->v + (size_t) key0 * (size_t) task->v_stride + n, task->v_stride,
                          cols, keys);
    for (int64_t r = 0; r < task->queries; r += KRN_TILE_ROWS) {
      struct krn_tile_rows rows;

      for (int i = 0; i < KRN_TILE_ROWS; i++) {
        const int64_t row = tile_row (r, i, task->queries);

        rows.a[0][i] = s->scores[row];
        rows.y[i] = task->o + (size_t) row * (size_t) task->o_stride;
        rows.add[i] = key0 > 0 ? rows.y[i] : NULL;
      }
      krn_cpu_tile (&rows, s->panel, 1, keys, n, cols);
    }
  }
}

static void
attend (struct attention_scratch *s, const struct attention_task *task)
{
  for (int64_t r = 0; r < task->queries; r++) {
    s->maximum[r] = -INFINITY;
    s->sum[r] = 0.f;
  }

  for (int64_t key0 = 0; key0 < task->keys; key0 += KEYS) {
    const int64_t keys = task->keys - key0 < KEYS ? task->keys - key0 : KEYS;

    block_scores (s, task, key0, keys);
    block_weights (s, task, key0, keys);
    block_values (s, task, key0, keys);
  }

  for (int64_t r = 0; r < task->queries; r++) {
    float *o = task->o + (size_t) r * (size_t) task->o_stride;
    const float scale = 1.f / s->sum[r];

    for (int64_t i = 0; i < task->width; i++)
      o[i] *= scale;
  }
}

/* A call; part i of it is a head and a tile of its queries. */
struct attention {
  krn_tensor o, q, k, v;
  const struct krn_attention *args;
  int64_t tokens, keys;    /* of a run */
  int64_t tiles, per_tile; /* of the queries of a run */
};

static void
attend_parts (const void *data, int64_t first, int64_t end, float *scratch)
{
  const struct attention *self = data;
  const struct krn_attention *args = self->args;
  const int64_t width = args->head_dim;

  for (int64_t i = first; i < end; i++) {
    const int64_t b = i / self->tiles / args->q_heads, head = i / self->tiles % args->q_heads;
    const int64_t kv_col = head / (args->q_heads / args->kv_heads) * width;
    const int64_t token = i % self->tiles * self->per_tile, left = self->tokens - token;
    const int64_t queries = left < self->per_tile ? left : self->per_tile;
    const int64_t row = b * self->tokens + token;
    const struct attention_task task = {
      .q = krn_row (self->q, row) + head * width,
      .k = krn_row (self->k, b * self->keys) + kv_col,
      .v = krn_row (self->v, b * self->keys) + kv_col,
      .o = krn_row (self->o, row) + head * width,
      .q_stride = self->q.stride,
      .k_stride = self->k.stride,
      .v_stride = self->v.stride,
      .o_stride = self->o.stride,
      .queries = queries,
      .keys = args->causal ? token + queries : self->keys,
      .causal_from = args->causal ? token : -1,
      .width = width,
      .scale = args->scale,
    };

    if (queries > 0)
      attend ((struct attention_scratch *) scratch, &task);
  }
}

static bool
attention_fits (const struct attention *self)
{
  const struct krn_attention *args = self->args;
  const int64_t rows = krn_rows (self->q), kv_rows = krn_rows (self->k);

  if (args->batch <= 0 || args->head_dim <= 0 || args->q_heads <= 0 || args->kv_heads <= 0 ||
      args->q_heads % args->kv_heads != 0)
    return false;
  return krn_is_matrix (self->o, rows, (int64_t) args->q_heads * args->head_dim) &&
         krn_is_matrix (self->q, rows, (int64_t) args->q_heads * args->head_dim) &&
         krn_is_matrix (self->k, kv_rows, (int64_t) args->kv_heads * args->head_dim) &&
         krn_is_matrix (self->v, kv_rows, (int64_t) args->kv_heads * args->head_dim) &&
         rows % args->batch == 0 && kv_rows % args->batch == 0 &&
         (!args->causal || rows == kv_rows);
}

/* How many tiles the queries of a run are cut into, so that a few tasks come out even: nine tasks
 * of two threads would take as long as ten. */
static int64_t
tiles_of (int64_t tokens, int64_t heads, int threads)
{
  const int64_t fewest = (tokens + QUERIES - 1) / QUERIES;

  for (int64_t tiles = fewest; tiles < fewest + threads; tiles++)
    if (tiles * heads % threads == 0 && tiles * KRN_TILE_ROWS <= tokens)
      return tiles;
  return fewest;
}

krn_status
krn_cpu_attention (krn_stream *stream, krn_tensor o, krn_tensor q, krn_tensor k, krn_tensor v,
                   const struct krn_attention *args)
{
  struct attention self = { .o = o, .q = q, .k = k, .v = v, .args = args };

  if (!attention_fits (&self))
    return KRN_ERROR_SHAPE;

  self.tokens = krn_rows (q) / args->batch;
  self.keys = krn_rows (k) / args->batch;
  self.tiles = tiles_of (self.tokens, (int64_t) args->batch * args->q_heads, stream->threads);
  self.per_tile = (self.tokens + self.tiles - 1) / self.tiles;
  krn_team_run (stream->team, args->batch * args->q_heads * self.tiles, 1, attend_parts, &self);
  return KRN_OK;
}
