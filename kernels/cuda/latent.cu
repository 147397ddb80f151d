/* kernels/cuda/latent.cu - latents to tokens, and from the network's answer to the next latent. */
#include "kernels/cuda/common.cuh"
#include "kernels/cuda/latent.h"

enum {
  THREADS = 256,
  PARTS = 256, /* blocks that add up a norm; each block of the step adds their sums again */
};
static_assert (PARTS == THREADS, "a thread takes one part");

static __global__ void
make_tokens (bf16 *tokens, const float *latent, struct latent_shape shape, size_t token_stride,
             size_t latent_stride)
{
  const unsigned step = gridDim.x * blockDim.x;

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < latent_count (shape); i += step) {
    const struct latent_place at = latent_place_at (shape, i);

    tokens[(size_t) at.token * token_stride + at.part] =
        __float2bfloat16_rn (latent[(size_t) at.line * latent_stride + at.col]);
  }
}

krn_status
krn_cuda_patchify (krn_stream *stream, krn_tensor tokens, krn_tensor latent, int patch)
{
  struct latent_shape shape;

  if (!krn_is_patched (tokens, latent, patch))
    return KRN_ERROR_SHAPE;
  if (krn_count (latent) > KRN_MOST_OF_LATENT)
    return KRN_ERROR_UNSUPPORTED;

  shape = latent_shape_of (latent, patch);
  make_tokens<<<krn_blocks (latent_count (shape), THREADS), THREADS, 0, stream->handle>>> (
      (bf16 *) tokens.data, (const float *) latent.data, shape, (size_t) tokens.stride,
      (size_t) latent.stride);
  return krn_cuda_launched ();
}

/* A latent, and how far its lines lie apart. */
struct lines {
  float *data; /* NULL: absent */
  size_t stride;
};

struct step {
  const bf16 *pos, *neg; /* neg may be NULL */
  size_t pos_stride, neg_stride;
  const struct krn_step_coefs *coefs; /* on the device */
  struct lines x, base, history, noise, denoised;
  struct latent_shape shape;
  double2 *parts; /* [PARTS] in the stream's scratch: sums of pos^2 and of out^2 */
};

/* The guided prediction, before its norm is capped. */
static __device__ float
guided (const struct step &s, float cfg, size_t token, unsigned part)
{
  const float pos = __bfloat162float (s.pos[token * s.pos_stride + part]);
  float neg;

  if (!s.neg)
    return pos;
  neg = __bfloat162float (s.neg[token * s.neg_stride + part]);
  return neg + cfg * (pos - neg);
}

/* Sums in f64 and in a fixed order, so that runs are bit-equal; nothing when there is no cap. */
static __global__ void
add_norms (struct step s)
{
  const unsigned step = gridDim.x * blockDim.x;
  const float cfg = s.coefs->cfg;
  double pos_sum = 0., out_sum = 0.;

  if (!(s.coefs->norm_cap > 0.f))
    return;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < latent_count (s.shape); i += step) {
    const struct latent_place at = latent_place_at (s.shape, i);
    const double pos =
        (double) __bfloat162float (s.pos[(size_t) at.token * s.pos_stride + at.part]);
    const double out = (double) guided (s, cfg, at.token, at.part);

    pos_sum += pos * pos;
    out_sum += out * out;
  }
  pos_sum = block_sum (pos_sum);
  out_sum = block_sum (out_sum);
  if (threadIdx.x == 0)
    s.parts[blockIdx.x] = make_double2 (pos_sum, out_sum);
}

/* What the prediction is multiplied by; every thread of the block must come. */
static __device__ float
cap_factor (const struct step &s, float norm_cap)
{
  double pos, out, cap;

  if (!(norm_cap > 0.f))
    return 1.f;
  pos = sqrt (block_sum (s.parts[threadIdx.x].x));
  out = sqrt (block_sum (s.parts[threadIdx.x].y));
  cap = (double) norm_cap * pos;
  return out > cap ? (float) (cap / out) : 1.f;
}

static __device__ float *
element (const struct lines &lines, const struct latent_place &at)
{
  return lines.data + (size_t) at.line * lines.stride + at.col;
}

static __global__ void
sampler_step (struct step s)
{
  const unsigned step = gridDim.x * blockDim.x;
  const struct krn_step_coefs k = *s.coefs;
  const float factor = cap_factor (s, k.norm_cap);

  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < latent_count (s.shape); i += step) {
    const struct latent_place at = latent_place_at (s.shape, i);
    const float out = factor * guided (s, k.cfg, at.token, at.part);
    const float x = *element (s.x, at), denoised = k.d_x * x + k.d_out * out;
    float next = k.to_x * x + k.to_out * out + k.to_d * denoised;

    /* A coefficient of 0 means not looked at: the memory may hold anything. */
    if (s.base.data && k.to_base != 0.f)
      next += k.to_base * *element (s.base, at);
    if (s.history.data && k.to_history != 0.f)
      next += k.to_history * *element (s.history, at);
    if (s.noise.data && k.to_noise != 0.f)
      next += k.to_noise * *element (s.noise, at);

    *element (s.x, at) = next;
    *element (s.denoised, at) = denoised;
    if (s.history.data && k.keep_history != 0.f)
      *element (s.history, at) = denoised;
    if (s.base.data && k.keep_base != 0.f)
      *element (s.base, at) = next;
  }
}

static bool
may_be_latent (krn_tensor t, krn_tensor x)
{
  return t.data == NULL || krn_is_image (t, KRN_F32, x.dim[1], x.dim[2], x.dim[3]);
}

static struct lines
lines_of (krn_tensor t)
{
  return { (float *) t.data, (size_t) t.stride };
}

krn_status
krn_cuda_sampler_step (krn_stream *stream, const struct krn_sampler_step *args)
{
  struct step s = {};

  if (!krn_is_patched (args->pos, args->x, args->patch) ||
      (args->neg.data && !krn_is_patched (args->neg, args->x, args->patch)) ||
      !krn_is_vector (args->coefs, KRN_F32, KRN_STEP_COEFS) ||
      !may_be_latent (args->base, args->x) || !may_be_latent (args->history, args->x) ||
      !may_be_latent (args->noise, args->x) || !args->denoised.data ||
      !may_be_latent (args->denoised, args->x))
    return KRN_ERROR_SHAPE;
  if (krn_count (args->x) > KRN_MOST_OF_LATENT)
    return KRN_ERROR_UNSUPPORTED;

  s.pos = (const bf16 *) args->pos.data;
  s.neg = (const bf16 *) args->neg.data;
  s.pos_stride = (size_t) args->pos.stride;
  s.neg_stride = (size_t) args->neg.stride;
  s.coefs = (const struct krn_step_coefs *) args->coefs.data;
  s.x = lines_of (args->x);
  s.base = lines_of (args->base);
  s.history = lines_of (args->history);
  s.noise = lines_of (args->noise);
  s.denoised = lines_of (args->denoised);
  s.shape = latent_shape_of (args->x, args->patch);
  s.parts = (double2 *) stream->scratch;
  add_norms<<<PARTS, THREADS, 0, stream->handle>>> (s);
  sampler_step<<<krn_blocks (latent_count (s.shape), THREADS), THREADS, 0, stream->handle>>> (s);
  return krn_cuda_launched ();
}
