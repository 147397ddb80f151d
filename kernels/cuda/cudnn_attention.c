/* kernels/cuda/cudnn_attention.c - attention as cuDNN's one operation for it. */
#include "kernels/cuda/cudnn_plan.h"
#include "kernels/cuda/ops.h"

enum { Q = 1, K, V, O, SCALE }; /* names in the graph */

/* Numbers of the key. */
enum {
  KIND,
  BATCH,
  TOKENS,
  KEYS,
  Q_HEADS,
  KV_HEADS,
  WIDTH,
  Q_STRIDE,
  K_STRIDE,
  V_STRIDE,
  O_STRIDE
};

/* Rows are tokens, a head's columns lie together; strides are of rows. */
static cudnn_desc
make_heads (struct cudnn_parts *parts, int64_t uid, const int64_t *key, int64_t heads,
            int64_t tokens, int64_t stride)
{
  const struct cudnn_tensor tensor = {
    .uid = uid,
    .dtype = CUDNN_DATA_BFLOAT16,
    .dim = { key[BATCH], heads, tokens, key[WIDTH] },
    .stride = { tokens * stride, key[WIDTH], stride, 1 },
  };

  return cudnn_make_tensor (parts, &tensor);
}

static cudnn_desc
describe (struct cudnn_parts *parts, const struct cudnn_key *numbers)
{
  static const struct cudnn_tensor scalar = { .uid = SCALE,
                                              .dtype = CUDNN_DATA_FLOAT,
                                              .kind = CUDNN_BY_VALUE,
                                              .dim = { 1, 1, 1, 1 },
                                              .stride = { 1, 1, 1, 1 } };
  const int64_t *key = numbers->number;
  cudnn_desc q = make_heads (parts, Q, key, key[Q_HEADS], key[TOKENS], key[Q_STRIDE]);
  cudnn_desc k = make_heads (parts, K, key, key[KV_HEADS], key[KEYS], key[K_STRIDE]);
  cudnn_desc v = make_heads (parts, V, key, key[KV_HEADS], key[KEYS], key[V_STRIDE]);
  cudnn_desc o = make_heads (parts, O, key, key[Q_HEADS], key[TOKENS], key[O_STRIDE]);
  cudnn_desc scale = cudnn_make_tensor (parts, &scalar);
  cudnn_desc operation = cudnn_make (parts, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);

  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, q);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, k);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, v);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, o);
  cudnn_set_desc (parts, operation, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, scale);
  cudnn_finish (parts, operation);
  return cudnn_make_graph (parts, &operation, 1);
}

/* cuDNN has no causal mask for this operation, and below a few hundred tokens a plan is not worth
 * the wait for it: our own kernel is as quick there. */
static bool
is_worth_it (krn_tensor q, krn_tensor k, const struct krn_attention *args)
{
  enum { LEAST_TOKENS = 512, WIDEST = 256 };

  return !args->causal && args->head_dim % 8 == 0 && args->head_dim <= WIDEST &&
         krn_rows (q) / args->batch >= LEAST_TOKENS && krn_rows (k) / args->batch >= LEAST_TOKENS;
}

krn_status
krn_cudnn_attention (krn_stream *stream, krn_tensor o, krn_tensor q, krn_tensor k, krn_tensor v,
                     const struct krn_attention *args)
{
  float scale = args->scale;
  const struct cudnn_problem problem = {
    .key.number = { [KIND] = CUDNN_KEY_ATTENTION,
                    [BATCH] = args->batch,
                    [TOKENS] = krn_rows (q) / args->batch,
                    [KEYS] = krn_rows (k) / args->batch,
                    [Q_HEADS] = args->q_heads,
                    [KV_HEADS] = args->kv_heads,
                    [WIDTH] = args->head_dim,
                    [Q_STRIDE] = q.stride,
                    [K_STRIDE] = k.stride,
                    [V_STRIDE] = v.stride,
                    [O_STRIDE] = o.stride },
    .describe = describe,
    .n = 5,
    .uid = { Q, K, V, O, SCALE },
    .data = { q.data, k.data, v.data, o.data, &scale },
  };

  if (!is_worth_it (q, k, args) || !krn_is_aligned (o) || !krn_is_aligned (q) ||
      !krn_is_aligned (k) || !krn_is_aligned (v))
    return KRN_ERROR_UNSUPPORTED;
  return cudnn_run (stream, &problem);
}
