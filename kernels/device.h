/* kernels/device.h - the operations on tensors that every model is written in.
 *
 * A device is a table of functions.  kernels/cpu/ and kernels/cuda/ each fill one; a model's
 * forward pass calls the table and never knows which.
 *
 * Rules that hold for every entry:
 *  - An operation only enqueues on its stream: it allocates nothing, waits for nothing and reads no
 *    device memory on the host.  On the CPU a stream runs its work at once, before the call
 * returns.
 *  - It returns 0, or a krn_status and has then enqueued nothing.  It checks shapes and dtypes, and
 *    does nothing else about failure: no print, no exit.
 *  - Tensors are passed by value and only live for the call; the memory belongs to the caller.
 *    Outputs come first.  An output may be an input only where the entry says so.
 *  - A tensor whose data is NULL is absent; the entry says which arguments may be absent.
 *  - "act" below is the device's activation dtype (struct krn_device), "weight" its weight dtype.
 *  - One thread at a time per stream; a device may be used from several threads on several streams.
 *
 * Plain C; no GLib, no CUDA. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { KRN_F32, KRN_BF16, KRN_F16, KRN_I32, KRN_U8 } krn_dtype;

/* 0 is success; negative values are ours; a positive value is the backend's own (a CUDA error). */
typedef int krn_status;
enum {
  KRN_OK = 0,
  KRN_ERROR_SHAPE = -1,       /* shapes or dtypes that do not go together */
  KRN_ERROR_MEMORY = -2,      /* not enough memory on the device */
  KRN_ERROR_UNSUPPORTED = -3, /* this device cannot do that (graph capture on the CPU) */
  KRN_CANCELLED = -4          /* never returned by a device: the engine's own mark */
};

/* A row-major view of device memory.  Leading sizes that are not needed are 1, so that every tensor
 * is also [rows, cols] with rows = dim[0] * dim[1] * dim[2] and cols = dim[3]. */
typedef struct {
  void *data; /* borrowed; on the device */
  krn_dtype dtype;
  int64_t dim[4];
  int64_t stride; /* elements from one row to the next; dim[3] when packed */
} krn_tensor;

typedef struct krn_stream krn_stream;         /* an ordered queue of work */
typedef struct krn_event krn_event;           /* a point in a stream, with its time */
typedef struct krn_graph krn_graph;           /* recorded work, to be launched as one */
typedef struct krn_gl_texture krn_gl_texture; /* a texture of OpenGL's that the device may write */

enum krn_rope {
  KRN_ROPE_INTERLEAVED, /* rotates (x[2i], x[2i + 1]): S3-DiT */
  KRN_ROPE_HALF         /* rotates (x[i], x[i + d/2]): Qwen3 */
};

/* x += tanh (gate) * norm (h), then y = norm (x): the seam between two halves of a block. */
struct krn_residual_norm {
  krn_tensor x;        /* act [rows, n], in and out */
  krn_tensor h;        /* act [rows, n] */
  krn_tensor h_weight; /* weight [n]; absent: h is added as it is */
  krn_tensor gate;     /* f32 [n]; absent: 1 without tanh */
  krn_tensor y;        /* act [rows, n]; absent: no second norm */
  krn_tensor y_weight; /* weight [n] */
  krn_tensor y_scale;  /* f32 [n]; y is multiplied by 1 + y_scale; absent: 0 */
  float eps;
};

/* Per-head RMSNorm of queries and keys and their rotation, in place on a packed projection. */
struct krn_qk_norm_rope {
  krn_tensor qkv;      /* act [rows, (q_heads + 2 * kv_heads) * head_dim]: all q, all k, all v */
  krn_tensor q_weight; /* weight [head_dim]; absent: no norm */
  krn_tensor k_weight; /* weight [head_dim]; absent with q_weight */
  krn_tensor rope;     /* f32 [positions, head_dim]: cos then sin of each pair, (c0, s0, c1, s1...);
                          row r of qkv uses position r % positions */
  int q_heads, kv_heads, head_dim;
  enum krn_rope kind;
  float eps;
};

/* Attention of q_heads heads over kv_heads shared ones (q_heads a multiple of kv_heads). */
struct krn_attention {
  int batch; /* rows of q, k and v are batch equal runs of tokens */
  int q_heads, kv_heads, head_dim;
  float scale; /* of the scores, usually 1 / sqrt (head_dim) */
  bool causal; /* token i sees tokens 0 to i; needs as many q as k */
};

/* A 2-D convolution, NHWC. */
struct krn_conv {
  int stride;                /* 1 or 2 */
  int pad_before, pad_after; /* zeros at top and left, at bottom and right */
  bool upsample;             /* the input is first doubled, nearest neighbour (stride 1 only) */
  krn_tensor add;            /* added to the result, shape of y; may be y; absent: nothing */
};

/* Coefficients of one sampler step; lives on the device as f32 [KRN_STEP_COEFS], so that a captured
 * step can be replayed with other numbers. */
struct krn_step_coefs {
  float cfg;        /* out = neg + cfg * (pos - neg); not looked at without neg */
  float norm_cap;   /* > 0: |out| is scaled down to at most norm_cap * |pos|; 0: off */
  float d_x, d_out; /* denoised = d_x * x + d_out * out */
  float to_base;    /* next = to_base * base + to_x * x + to_out * out + to_d * denoised */
  float to_x;       /*        + to_history * history + to_noise * noise */
  float to_out;     /* out is as the network gives it: for Z-Image the negated velocity */
  float to_d;
  float to_history;
  float to_noise;
  float keep_history; /* not 0: history = denoised afterwards */
  float keep_base;    /* not 0: base = next afterwards */
};
enum { KRN_STEP_COEFS = sizeof (struct krn_step_coefs) / sizeof (float) };

/* Unpatchify, guidance and sampler step in one.  Latents are f32 [channels, height, width] as
 * dim {1, c, h, w}; each reads and writes only its own element, so all updates are in place. */
struct krn_sampler_step {
  krn_tensor pos;      /* act [(h / patch) * (w / patch), patch * patch * c], order (ph, pw, c) */
  krn_tensor neg;      /* the same; absent: no guidance */
  krn_tensor coefs;    /* f32 [KRN_STEP_COEFS] */
  krn_tensor x;        /* in: where the network was evaluated; out: next */
  krn_tensor base;     /* start of a step of several evaluations; absent when to_base is 0 */
  krn_tensor history;  /* an earlier denoised estimate; absent when never used */
  krn_tensor noise;    /* absent when to_noise is 0 */
  krn_tensor denoised; /* out: the estimate of the clean latent */
  int patch;
};

/* What the driver tells about the whole GPU, other programs' share too.  A value that it does not
 * tell is negative. */
struct krn_sample {
  double utilisation; /* percent of the driver's last interval in which a kernel ran */
  double temperature; /* degrees Celsius */
  double power;       /* watts */
  double sm_clock;    /* MHz */
  double memory_clock;
  int64_t memory_used, memory_free, memory_total; /* bytes */
};

struct krn_device {
  char name[128];       /* "NVIDIA H200", "CPU, 2 threads" */
  const char *kind;     /* "cpu" or "cuda"; static */
  krn_dtype activation; /* dtype of activations: f32 on the CPU */
  krn_dtype weight;     /* dtype that weights are held in */
  uint64_t allocations; /* so far; read by krn_allocations */

  /* Frees the device; streams, events and graphs must be gone. */
  void (*close) (struct krn_device *device);
  /* A sentence without a full stop for any status of this device.  Static storage. */
  const char *(*status_text) (const struct krn_device *device, krn_status status);
  /* Whether status, which an operation or a wait returned, says that the device's context is gone:
   * a kernel that faulted, memory beyond repair, a GPU that fell off the bus.  Every later call
   * then fails, too.  All can still be freed and the device closed, but CUDA does not let this
   * process use the GPU again: krn_cuda_open then gives that as its reason. */
  bool (*lost) (const struct krn_device *device, krn_status status);
  /* Any thread, also while others use the device; takes up to a few milliseconds.
   * KRN_ERROR_UNSUPPORTED on the CPU and where the driver's library cannot be had. */
  krn_status (*sample) (struct krn_device *device, struct krn_sample *sample);

  /* Memory.  alloc gives at least 256-byte alignment; free_memory (NULL) is allowed.  host_alloc
   * gives host memory from which copies may run asynchronously.  info: bytes that alloc could still
   * give, and bytes in all. */
  krn_status (*alloc) (struct krn_device *device, void **memory, size_t bytes);
  void (*free_memory) (struct krn_device *device, void *memory);
  krn_status (*host_alloc) (struct krn_device *device, void **memory, size_t bytes);
  void (*host_free) (struct krn_device *device, void *memory);
  void (*info) (struct krn_device *device, size_t *free_bytes, size_t *total_bytes);

  /* Streams, events, graphs. */
  krn_status (*stream_new) (struct krn_device *device, krn_stream **stream);
  void (*stream_free) (krn_stream *stream);       /* waits for its work; NULL allowed */
  krn_status (*stream_sync) (krn_stream *stream); /* the host waits */
  krn_status (*event_new) (struct krn_device *device, krn_event **event);
  void (*event_free) (krn_event *event); /* NULL allowed */
  krn_status (*event_record) (krn_stream *stream, krn_event *event);
  krn_status (*event_wait) (krn_stream *stream, krn_event *event); /* the stream waits */
  krn_status (*event_sync) (krn_event *event);                     /* the host waits */
  bool (*event_done) (krn_event *event);
  /* Time between two recorded events, both done; negative if b came first. */
  krn_status (*event_elapsed) (double *milliseconds, krn_event *a, krn_event *b);
  /* What is enqueued between begin and end is recorded instead of run.  A graph uses the scratch of
   * the stream it was captured on: it is launched there, or while that stream is idle.  Memory that
   * it reads on the host must be of host_alloc: else KRN_ERROR_UNSUPPORTED. */
  krn_status (*capture_begin) (krn_stream *stream);
  krn_status (*capture_end) (krn_stream *stream, krn_graph **graph);
  krn_status (*graph_launch) (krn_stream *stream, krn_graph *graph);
  void (*graph_free) (krn_graph *graph);

  /* OpenGL: frames into textures without the host.  All four are NULL on a device that knows no
   * OpenGL (the CPU).  Called on the thread on which the context is current; the host waits for
   * nothing, but the driver may for what the context still has to do.
   * check: 0 when this GPU drives the current context, KRN_ERROR_UNSUPPORTED when another one of
   * NVIDIA's does.  register: a GL_TEXTURE_2D of GL_RGBA8 whose storage stays as it is until
   * unregister (NULL allowed).  copy: all of the texture = rgba, u8 {1, height, width, 4} packed,
   * row 0 first; OpenGL sees it in whatever it is told afterwards. */
  krn_status (*gl_check) (struct krn_device *device);
  krn_status (*gl_register) (struct krn_device *device, krn_gl_texture **texture, unsigned name,
                             int width, int height);
  void (*gl_unregister) (krn_gl_texture *texture);
  krn_status (*gl_copy) (krn_stream *stream, krn_gl_texture *texture, krn_tensor rgba);

  /* Copies.  upload: n elements of host memory of any float dtype (or i32 to i32) into packed dst,
   * converting; the host memory must stay until the stream got there.  download: packed src to host
   * memory of the same dtype.  copy: dst = src, converting float dtypes; src of one row fills every
   * row of dst. */
  krn_status (*upload) (krn_stream *stream, krn_tensor dst, const void *src, krn_dtype src_dtype);
  krn_status (*download) (krn_stream *stream, void *dst, krn_tensor src);
  krn_status (*copy) (krn_stream *stream, krn_tensor dst, krn_tensor src);

  /* y [rows, out] = x [rows, in] w [out, in]^T + bias [out] (+ y when accumulate).  x, y: act, or
   * f32 both; w, bias: weight.  bias may be absent.  The product may be rounded to y's dtype before
   * it is added to y.  The first product of a shape may wait some
   * milliseconds, outside of a capture, to time several ways of doing it. */
  krn_status (*linear) (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                        krn_tensor bias, bool accumulate);
  /* y [n, width] = table [vocabulary, width] at ids [n], i32.  y: act; table: weight. */
  krn_status (*embedding) (krn_stream *stream, krn_tensor y, krn_tensor ids, krn_tensor table);
  /* y[r] = x[r] / sqrt (mean (x[r]^2) + eps) * w * (1 + scale).  x, y: act [rows, n]; w: weight
   * [n]; scale: f32 [n], may be absent; y may be x. */
  krn_status (*rms_norm) (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                          krn_tensor scale, float eps);
  /* y[r] = (x[r] - mean) / sqrt (variance + eps) * (1 + scale).  As rms_norm, without a weight. */
  krn_status (*layer_norm) (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor scale,
                            float eps);
  krn_status (*residual_norm) (krn_stream *stream, const struct krn_residual_norm *args);
  krn_status (*qk_norm_rope) (krn_stream *stream, const struct krn_qk_norm_rope *args);
  /* o [batch * tokens, q_heads * head_dim]; q likewise; k, v [batch * kv_tokens, kv_heads *
   * head_dim]. All act; q, k, v may be column views of one packed projection. */
  krn_status (*attention) (krn_stream *stream, krn_tensor o, krn_tensor q, krn_tensor k,
                           krn_tensor v, const struct krn_attention *args);
  /* y [rows, n] = silu (x[:, :n]) * x[:, n:], x [rows, 2n].  All act. */
  krn_status (*silu_gate) (krn_stream *stream, krn_tensor y, krn_tensor x);
  /* y = silu (x), same shape; y may be x.  act or f32. */
  krn_status (*silu) (krn_stream *stream, krn_tensor y, krn_tensor x);

  /* x: act [1, h, w, in] as dim {n, h, w, c}; w: weight [out, kh, kw, in]; bias: weight [out], may
   * be absent; y: act [n, h', w', out], h' = (h (or 2h) + pads - kh) / stride + 1. */
  krn_status (*conv2d) (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                        krn_tensor bias, const struct krn_conv *args);
  /* GroupNorm over [n, h, w, c], statistics in f32 or better, then SiLU if asked.  w, b: weight
   * [c]; y may be x. */
  krn_status (*group_norm) (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                            krn_tensor b, int groups, float eps, bool silu);
  /* The same in two parts, for an image that is never there as a whole.  stats: f32 [groups, 2],
   * mean and variance of each group of x, [1, h, w, c]. */
  krn_status (*group_stats) (krn_stream *stream, krn_tensor stats, krn_tensor x, int groups);
  /* x: a part of an image, [1, h, w, c]; stats: f32 {1, parts, groups, 2} of equal parts of it, all
   * of them.  y may be x. */
  krn_status (*group_apply) (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor stats,
                             krn_tensor w, krn_tensor b, float eps, bool silu);
  /* tokens: act [(h / patch) * (w / patch), patch * patch * c], order (ph, pw, c); latent: f32
   * {1, c, h, w}. */
  krn_status (*patchify) (krn_stream *stream, krn_tensor tokens, krn_tensor latent, int patch);
  krn_status (*sampler_step) (krn_stream *stream, const struct krn_sampler_step *args);
  /* y = x * mul + add, y: act {1, h, w, c}, x: f32 {1, c, h, w}; and back, y: f32 {1, c, h, w} from
   * the first y's c channels of x: act {1, h, w, >= c}. */
  krn_status (*to_nhwc) (krn_stream *stream, krn_tensor y, krn_tensor x, float mul, float add);
  krn_status (*to_nchw) (krn_stream *stream, krn_tensor y, krn_tensor x, float mul, float add);
  /* rgba: u8 {1, h, w, 4}, alpha 255.  latent: f32 {1, c, h, w}; factors: f32 [c + 1, 3], the last
   * row the bias; the sum is in [-1, 1] and is clamped. */
  krn_status (*latent_rgba) (krn_stream *stream, krn_tensor rgba, krn_tensor latent,
                             krn_tensor factors);
  /* rgba: u8 {1, h, w, 4}, alpha 255, round ((x + 1) * 127.5) clamped; x: act {1, h, w, 3}. */
  krn_status (*image_rgba) (krn_stream *stream, krn_tensor rgba, krn_tensor x);
};

/* Opens the CPU.  threads 0 takes every core the process may use.  The caller closes it. */
krn_status krn_cpu_open (struct krn_device **device, int threads);

/* What safelight-cuda.so exports under the name "krn_cuda_open".  On failure *device is NULL and
 * reason holds one sentence that says what is missing. */
typedef krn_status (*krn_cuda_open_fn) (struct krn_device **device, char *reason, size_t size);

/* Blocks of device memory and of host_alloc's that were given out so far, scratch of streams and of
 * a library's plans included; any thread. */
static inline uint64_t
krn_allocations (const struct krn_device *device)
{
  return __atomic_load_n (&device->allocations, __ATOMIC_RELAXED);
}

/* For the device itself: one more was given out. */
static inline void
krn_count_allocation (struct krn_device *device)
{
  __atomic_fetch_add (&device->allocations, 1, __ATOMIC_RELAXED);
}

/* Shape helpers, on the host; inline, so that both sides have them. */

static inline krn_tensor
krn_tensor_make (void *data, krn_dtype dtype, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
  return (krn_tensor){ data, dtype, { d0, d1, d2, d3 }, d3 };
}

static inline size_t
krn_dtype_size (krn_dtype dtype)
{
  return dtype == KRN_U8 ? 1 : dtype == KRN_BF16 || dtype == KRN_F16 ? 2 : 4;
}

static inline int64_t
krn_rows (krn_tensor t)
{
  return t.dim[0] * t.dim[1] * t.dim[2];
}

static inline int64_t
krn_count (krn_tensor t)
{
  return krn_rows (t) * t.dim[3];
}

/* Rows [first, first + n) of t seen as [rows, cols]. */
static inline krn_tensor
krn_row_view (krn_tensor t, int64_t first, int64_t n)
{
  char *data = (char *) t.data + (size_t) (first * t.stride) * krn_dtype_size (t.dtype);
  return (krn_tensor){ data, t.dtype, { 1, 1, n, t.dim[3] }, t.stride };
}

/* Columns [first, first + n) of t seen as [rows, cols]. */
static inline krn_tensor
krn_col_view (krn_tensor t, int64_t first, int64_t n)
{
  char *data = (char *) t.data + (size_t) first * krn_dtype_size (t.dtype);
  return (krn_tensor){ data, t.dtype, { 1, 1, krn_rows (t), n }, t.stride };
}
