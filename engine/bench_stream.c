#include "engine/bench_stream.h"

/* The stream that an operation gets is the struct itself. */
static struct eng_bench_stream *
get (krn_stream *stream)
{
  return (struct eng_bench_stream *) stream;
}

/* Before an operation whose result is y: the memory that a program without an arena would ask for.
 * It is not used: the result goes where the arena says, so that both runs compute the same. */
static krn_status
begin (struct eng_bench_stream *self, krn_tensor y, void **memory)
{
  self->operations++;
  *memory = NULL;
  if (self->mode != ENG_BENCH_ALLOC)
    return KRN_OK;
  return self->device->alloc (self->device, memory,
                              (size_t) krn_count (y) * krn_dtype_size (y.dtype));
}

static krn_status
end (struct eng_bench_stream *self, void *memory, krn_status status)
{
  if (self->mode == ENG_BENCH_ALLOC)
    self->device->free_memory (self->device, memory);
  return status;
}

#define FORWARD(self, y, call)                                                                     \
  do {                                                                                             \
    void *memory;                                                                                  \
    const krn_status status = begin (self, y, &memory);                                            \
                                                                                                   \
    if (status || (self)->mode == ENG_BENCH_COUNT)                                                 \
      return status;                                                                               \
    return end (self, memory, (self)->device->call);                                               \
  } while (0)

static krn_status
bench_copy (krn_stream *stream, krn_tensor dst, krn_tensor src)
{
  struct eng_bench_stream *self = get (stream);

  FORWARD (self, dst, copy (self->stream, dst, src));
}

static krn_status
bench_linear (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
              bool accumulate)
{
  struct eng_bench_stream *self = get (stream);

  self->flops += 2. * (double) krn_count (y) * (double) x.dim[3];
  FORWARD (self, y, linear (self->stream, y, x, w, bias, accumulate));
}

static krn_status
bench_embedding (krn_stream *stream, krn_tensor y, krn_tensor ids, krn_tensor table)
{
  struct eng_bench_stream *self = get (stream);

  FORWARD (self, y, embedding (self->stream, y, ids, table));
}

static krn_status
bench_rms_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor scale,
                float eps)
{
  struct eng_bench_stream *self = get (stream);

  FORWARD (self, y, rms_norm (self->stream, y, x, w, scale, eps));
}

static krn_status
bench_layer_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor scale, float eps)
{
  struct eng_bench_stream *self = get (stream);

  FORWARD (self, y, layer_norm (self->stream, y, x, scale, eps));
}

/* A packed tensor in the scratch memory, of t's type. */
static krn_tensor
scratch (const struct eng_bench_stream *self, krn_tensor t, int64_t rows, int64_t cols)
{
  return krn_tensor_make (self->scratch, t.dtype, 1, 1, rows, cols);
}

static bool
fits (const struct eng_bench_stream *self, krn_tensor t)
{
  return (size_t) krn_count (t) * krn_dtype_size (t.dtype) <= self->scratch_bytes;
}

/* Norm of h, gated sum, norm of x: three passes where the fused one makes one. */
static krn_status
plain_residual_norm (struct eng_bench_stream *self, const struct krn_residual_norm *args)
{
  struct krn_device *device = self->device;
  const krn_tensor none = { 0 };
  krn_tensor h = scratch (self, args->h, krn_rows (args->h), args->h.dim[3]);
  struct krn_residual_norm sum = {
    .x = args->x, .h = args->h, .gate = args->gate, .eps = args->eps
  };
  krn_status status = KRN_OK;

  if (!fits (self, h))
    return KRN_ERROR_MEMORY;
  if (args->h_weight.data) {
    status = device->rms_norm (self->stream, h, args->h, args->h_weight, none, args->eps);
    sum.h = h;
  }
  if (!status)
    status = device->residual_norm (self->stream, &sum);
  if (!status && args->y.data)
    status =
        device->rms_norm (self->stream, args->y, args->x, args->y_weight, args->y_scale, args->eps);
  return status;
}

static krn_status
bench_residual_norm (krn_stream *stream, const struct krn_residual_norm *args)
{
  struct eng_bench_stream *self = get (stream);

  if (self->mode == ENG_BENCH_PLAIN)
    return plain_residual_norm (self, args);
  FORWARD (self, args->y.data ? args->y : args->x, residual_norm (self->stream, args));
}

/* Norm of the queries, norm of the keys, rotation.  The norms run over as many numbers in scratch
 * memory: no entry of the table normalises heads inside a packed projection, and the time is the
 * same. */
static krn_status
plain_qk_norm_rope (struct eng_bench_stream *self, const struct krn_qk_norm_rope *args)
{
  struct krn_qk_norm_rope rope = *args;
  const int64_t rows = krn_rows (args->qkv);
  krn_tensor q = scratch (self, args->qkv, rows * args->q_heads, args->head_dim);
  krn_tensor k = scratch (self, args->qkv, rows * args->kv_heads, args->head_dim);
  const krn_tensor none = { 0 };
  krn_status status = KRN_OK;

  if (!fits (self, q))
    return KRN_ERROR_MEMORY;
  if (args->q_weight.data) {
    status = self->device->rms_norm (self->stream, q, q, args->q_weight, none, args->eps);
    if (!status)
      status = self->device->rms_norm (self->stream, k, k, args->k_weight, none, args->eps);
  }
  rope.q_weight = rope.k_weight = none;
  return status ? status : self->device->qk_norm_rope (self->stream, &rope);
}

static krn_status
bench_qk_norm_rope (krn_stream *stream, const struct krn_qk_norm_rope *args)
{
  struct eng_bench_stream *self = get (stream);

  if (self->mode == ENG_BENCH_PLAIN)
    return plain_qk_norm_rope (self, args);
  FORWARD (self, args->qkv, qk_norm_rope (self->stream, args));
}

static krn_status
bench_attention (krn_stream *stream, krn_tensor o, krn_tensor q, krn_tensor k, krn_tensor v,
                 const struct krn_attention *args)
{
  struct eng_bench_stream *self = get (stream);
  const double tokens = (double) krn_rows (k) / args->batch;

  /* Both products; half of them when causal. */
  self->flops += (args->causal ? 2. : 4.) * (double) krn_count (q) * tokens;
  FORWARD (self, o, attention (self->stream, o, q, k, v, args));
}

/* SiLU of the one half, then a pass that reads two tensors and writes one, as the product with the
 * other half would (the table has a sum). */
static krn_status
plain_silu_gate (struct eng_bench_stream *self, krn_tensor y, krn_tensor x)
{
  krn_tensor gate = scratch (self, y, krn_rows (y), y.dim[3]);
  const struct krn_residual_norm sum = { .x = y, .h = gate, .eps = 1e-5f };
  krn_status status;

  if (!fits (self, gate))
    return KRN_ERROR_MEMORY;
  status = self->device->silu (self->stream, gate, gate);
  return status ? status : self->device->residual_norm (self->stream, &sum);
}

static krn_status
bench_silu_gate (krn_stream *stream, krn_tensor y, krn_tensor x)
{
  struct eng_bench_stream *self = get (stream);

  if (self->mode == ENG_BENCH_PLAIN)
    return plain_silu_gate (self, y, x);
  FORWARD (self, y, silu_gate (self->stream, y, x));
}

static krn_status
bench_silu (krn_stream *stream, krn_tensor y, krn_tensor x)
{
  struct eng_bench_stream *self = get (stream);

  FORWARD (self, y, silu (self->stream, y, x));
}

static krn_status
bench_conv2d (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
              const struct krn_conv *args)
{
  struct eng_bench_stream *self = get (stream);

  self->flops += 2. * (double) krn_count (y) * (double) (w.dim[1] * w.dim[2] * w.dim[3]);
  FORWARD (self, y, conv2d (self->stream, y, x, w, bias, args));
}

static krn_status
bench_group_norm (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor b,
                  int groups, float eps, bool silu)
{
  struct eng_bench_stream *self = get (stream);

  FORWARD (self, y, group_norm (self->stream, y, x, w, b, groups, eps, silu));
}

static krn_status
bench_patchify (krn_stream *stream, krn_tensor tokens, krn_tensor latent, int patch)
{
  struct eng_bench_stream *self = get (stream);

  FORWARD (self, tokens, patchify (self->stream, tokens, latent, patch));
}

static krn_status
bench_to_nhwc (krn_stream *stream, krn_tensor y, krn_tensor x, float mul, float add)
{
  struct eng_bench_stream *self = get (stream);

  FORWARD (self, y, to_nhwc (self->stream, y, x, mul, add));
}

void
eng_bench_stream_init (struct eng_bench_stream *self, struct krn_device *device, krn_stream *stream,
                       enum eng_bench_mode mode)
{
  *self = (struct eng_bench_stream){
    .table = { .kind = device->kind,
               .activation = device->activation,
               .weight = device->weight,
               .copy = bench_copy,
               .linear = bench_linear,
               .embedding = bench_embedding,
               .rms_norm = bench_rms_norm,
               .layer_norm = bench_layer_norm,
               .residual_norm = bench_residual_norm,
               .qk_norm_rope = bench_qk_norm_rope,
               .attention = bench_attention,
               .silu_gate = bench_silu_gate,
               .silu = bench_silu,
               .conv2d = bench_conv2d,
               .group_norm = bench_group_norm,
               .patchify = bench_patchify,
               .to_nhwc = bench_to_nhwc },
    .device = device,
    .stream = stream,
    .mode = mode,
  };
}
