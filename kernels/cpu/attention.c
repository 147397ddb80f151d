#include "kernels/cpu/gemm.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/vector_math.h"

#include <math.h>
#include <string.h>

/* Attention over blocks of keys with a running maximum and sum, so that no more than a block of
 * scores is ever held.  The sum over values grows in the output itself. */
enum {
  QUERIES = 96,             /* of a task; keys and values are laid out once for so many */
  KEYS = 2 * KRN_TILE_COLS, /* of a block */
  DEPTH = 512,              /* of a head's width, laid out at a time */
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

krn_status
krn_cpu_attention (krn_stream *stream, krn_tensor o, krn_tensor q, krn_tensor k, krn_tensor v,
                   const struct krn_attention *args)
{
  const int64_t width = args->head_dim, q_heads = args->q_heads, batch = args->batch;
  int64_t tokens, kv_tokens, tiles, per_tile;

  if (batch <= 0 || width <= 0 || q_heads <= 0 || args->kv_heads <= 0 ||
      q_heads % args->kv_heads != 0 || krn_rows (q) % batch != 0 || krn_rows (k) % batch != 0)
    return KRN_ERROR_SHAPE;
  if (!krn_is_matrix (o, krn_rows (q), q_heads * width) ||
      !krn_is_matrix (q, krn_rows (q), q_heads * width) ||
      !krn_is_matrix (k, krn_rows (k), args->kv_heads * width) ||
      !krn_is_matrix (v, krn_rows (k), args->kv_heads * width) ||
      (args->causal && krn_rows (q) != krn_rows (k)))
    return KRN_ERROR_SHAPE;

  tokens = krn_rows (q) / batch;
  kv_tokens = krn_rows (k) / batch;
  tiles = (tokens + QUERIES - 1) / QUERIES;
  per_tile = (tokens + tiles - 1) / tiles;
  per_tile = (per_tile + KRN_TILE_ROWS - 1) / KRN_TILE_ROWS * KRN_TILE_ROWS;

#pragma omp parallel for num_threads(stream->threads) schedule(dynamic)
  for (int64_t i = 0; i < batch * q_heads * tiles; i++) {
    const int64_t b = i / tiles / q_heads, head = i / tiles % q_heads;
    const int64_t kv_head = head / (q_heads / args->kv_heads);
    const int64_t first = i % tiles * per_tile;
    const int64_t end = first + per_tile < tokens ? first + per_tile : tokens;
    const struct attention_task task = {
      .q = krn_row (q, b * tokens + first) + head * width,
      .k = krn_row (k, b * kv_tokens) + kv_head * width,
      .v = krn_row (v, b * kv_tokens) + kv_head * width,
      .o = krn_row (o, b * tokens + first) + head * width,
      .q_stride = q.stride,
      .k_stride = k.stride,
      .v_stride = v.stride,
      .o_stride = o.stride,
      .queries = end - first,
      .keys = args->causal ? end : kv_tokens,
      .causal_from = args->causal ? first : -1,
      .width = width,
      .scale = args->scale,
    };

    if (first < tokens)
      attend ((void *) krn_thread_scratch (stream), &task);
  }
  return KRN_OK;
}
