#include "kernels/cuda/blas.h"
#include "kernels/cuda/cache.h"
#include "kernels/cuda/library.h"
#include "kernels/cuda/ops.h"

#include <cublasLt.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The functions that are used, by the types of the header. */
struct library {
  __typeof__ (cublasLtCreate) *create;
  __typeof__ (cublasLtDestroy) *destroy;
  __typeof__ (cublasLtMatmul) *matmul;
  __typeof__ (cublasLtMatmulAlgoGetHeuristic) *heuristic;
  __typeof__ (cublasLtMatmulDescCreate) *desc_create;
  __typeof__ (cublasLtMatmulDescDestroy) *desc_destroy;
  __typeof__ (cublasLtMatmulDescSetAttribute) *desc_set;
  __typeof__ (cublasLtMatrixLayoutCreate) *layout_create;
  __typeof__ (cublasLtMatrixLayoutDestroy) *layout_destroy;
  __typeof__ (cublasLtMatmulPreferenceCreate) *preference_create;
  __typeof__ (cublasLtMatmulPreferenceDestroy) *preference_destroy;
  __typeof__ (cublasLtMatmulPreferenceSetAttribute) *preference_set;
  __typeof__ (cublasLtMatmulAlgoCheck) *check;
  __typeof__ (cublasLtGetVersion) *version;
};

/* What the choice of an algorithm depends on. */
struct key {
  int64_t rows, in, out;
  int64_t y_stride, x_stride, w_stride;
  uint32_t y_align, x_align, w_align, bias_align; /* bytes, a power of two; bias 0: absent */
  uint32_t accumulate;
  uint32_t unused; /* 0: keys are compared as bytes */
};

enum {
  BUCKETS = 256,
  CANDIDATES = 16, /* of the library's own rule, that are timed */
  FINALISTS = 4,   /* of them, that are timed more than once */
  ROUNDS = 7,
};

/* A product that was asked for before.  Its algorithm stays as it was first chosen, so that what it
 * gives is the same bits for the life of the device. */
struct plan {
  struct key key;
  bool supported;
  cublasLtMatmulDesc_t desc;
  cublasLtMatrixLayout_t y, x, w;
  cublasLtMatmulAlgo_t algo;
  struct plan *next;
};

/* One product, to be timed with one algorithm or another. */
struct product {
  struct plan *plan;
  krn_tensor y, x, w;
  size_t workspace; /* bytes of the stream's scratch, from its start */
};

struct krn_blas {
  struct library call;
  cublasLtHandle_t handle;
  pthread_mutex_t lock; /* of what follows */
  struct plan *plans[BUCKETS];
  struct krn_cache *cache; /* owned, or NULL; algorithms of earlier runs by key */
};

static bool
load_symbols (struct library *call, void *library)
{
  const struct krn_symbol symbols[] = {
    { &call->create, "cublasLtCreate" },
    { &call->destroy, "cublasLtDestroy" },
    { &call->matmul, "cublasLtMatmul" },
    { &call->heuristic, "cublasLtMatmulAlgoGetHeuristic" },
    { &call->desc_create, "cublasLtMatmulDescCreate" },
    { &call->desc_destroy, "cublasLtMatmulDescDestroy" },
    { &call->desc_set, "cublasLtMatmulDescSetAttribute" },
    { &call->layout_create, "cublasLtMatrixLayoutCreate" },
    { &call->layout_destroy, "cublasLtMatrixLayoutDestroy" },
    { &call->preference_create, "cublasLtMatmulPreferenceCreate" },
    { &call->preference_destroy, "cublasLtMatmulPreferenceDestroy" },
    { &call->preference_set, "cublasLtMatmulPreferenceSetAttribute" },
    { &call->check, "cublasLtMatmulAlgoCheck" },
    { &call->version, "cublasLtGetVersion" },
  };

  return krn_library_load (library, symbols, sizeof symbols / sizeof *symbols);
}

/* Stays open for the life of the process, as the module itself does. */
static void *
open_library (void)
{
  static const char *const names[] = {
    "libcublasLt.so.13",
    "libcublasLt.so.12",
    "/usr/local/cuda/lib64/libcublasLt.so.13",
    "/usr/local/cuda/lib64/libcublasLt.so.12",
  };

  return krn_library_open (names, sizeof names / sizeof *names);
}

struct krn_blas *
krn_blas_open (const char *gpu, char *reason, size_t size)
{
  struct krn_blas *self = calloc (1, sizeof *self);
  void *library = open_library ();
  cublasStatus_t status;
  char name[192];

  if (!self) {
    snprintf (reason, size, "There is not enough memory to open the GPU.");
    return NULL;
  }
  pthread_mutex_init (&self->lock, NULL);
  if (!library || !load_symbols (&self->call, library)) {
    snprintf (reason, size, "The library cuBLASLt is %s (libcublasLt.so.13 or .12, of CUDA).",
              library ? "incomplete" : "missing");
    memset (&self->call, 0, sizeof self->call);
    krn_blas_free (self);
    return NULL;
  }
  status = self->call.create (&self->handle);
  if (status != CUBLAS_STATUS_SUCCESS) {
    snprintf (reason, size, "The library cuBLASLt could not be started (error %d).", (int) status);
    self->handle = NULL;
    krn_blas_free (self);
    return NULL;
  }
  snprintf (name, sizeof name, "cublaslt-%s-%zu", gpu, self->call.version ());
  self->cache = krn_cache_open (name, sizeof (struct key), sizeof (cublasLtMatmulAlgo_t));
  return self;
}

static void
plan_free (const struct library *call, struct plan *plan)
{
  if (plan->desc)
    call->desc_destroy (plan->desc);
  if (plan->y)
    call->layout_destroy (plan->y);
  if (plan->x)
    call->layout_destroy (plan->x);
  if (plan->w)
    call->layout_destroy (plan->w);
  free (plan);
}

void
krn_blas_free (struct krn_blas *blas)
{
  if (!blas)
    return;
  for (int i = 0; i < BUCKETS; i++)
    while (blas->plans[i]) {
      struct plan *next = blas->plans[i]->next;

      plan_free (&blas->call, blas->plans[i]);
      blas->plans[i] = next;
    }
  if (blas->handle)
    blas->call.destroy (blas->handle);
  krn_cache_free (blas->cache);
  pthread_mutex_destroy (&blas->lock);
  free (blas);
}

/* Column-major, as cuBLASLt has it, a row-major matrix is its transpose: y^T [out, rows] =
 * (w^T)^T x^T.  The bias runs along the rows of y^T, which is what the epilogue adds. */
static bool
describe (struct plan *plan, const struct library *call, const void *bias)
{
  const struct key *k = &plan->key;
  const cublasOperation_t transposed = CUBLAS_OP_T, plain = CUBLAS_OP_N;
  const cublasLtEpilogue_t epilogue = bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;

  if (call->desc_create (&plan->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F) ||
      call->layout_create (&plan->w, CUDA_R_16BF, (uint64_t) k->in, (uint64_t) k->out,
                           k->w_stride) ||
      call->layout_create (&plan->x, CUDA_R_16BF, (uint64_t) k->in, (uint64_t) k->rows,
                           k->x_stride) ||
      call->layout_create (&plan->y, CUDA_R_16BF, (uint64_t) k->out, (uint64_t) k->rows,
                           k->y_stride))
    return false;
  if (call->desc_set (plan->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed) ||
      call->desc_set (plan->desc, CUBLASLT_MATMUL_DESC_TRANSB, &plain, sizeof plain) ||
      call->desc_set (plan->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue))
    return false;
  return !bias ||
         !call->desc_set (plan->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
}

/* What the library's own rule puts first, up to CANDIDATES; the number. */
static int
find_candidates (cublasLtMatmulHeuristicResult_t *results, const struct plan *plan,
                 const struct krn_blas *blas)
{
  const struct library *call = &blas->call;
  const struct {
    cublasLtMatmulPreferenceAttributes_t attribute;
    uint32_t bytes;
  } alignments[] = {
    { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, plan->key.w_align },
    { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, plan->key.x_align },
    { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, plan->key.y_align },
    { CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, plan->key.y_align },
  };
  const uint64_t workspace = KRN_CUDA_SCRATCH;
  /* A sum in parts is rounded before its bias is added; and in bf16, which the library would do as
   * well, every part is. */
  const uint32_t reductions = plan->key.bias_align ? CUBLASLT_REDUCTION_SCHEME_NONE
                                                   : CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  cublasLtMatmulPreference_t preference;
  bool ok = true;
  int n = 0;

  if (call->preference_create (&preference))
    return 0;
  if (call->preference_set (preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                            sizeof workspace) ||
      call->preference_set (preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                            sizeof reductions))
    ok = false;
  for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++)
    if (call->preference_set (preference, alignments[i].attribute, &alignments[i].bytes,
                              sizeof alignments[i].bytes))
      ok = false;
  if (!ok || call->heuristic (blas->handle, plan->desc, plan->w, plan->x, plan->y, plan->y,
                              preference, CANDIDATES, results, &n))
    n = 0;
  call->preference_destroy (preference);
  while (n > 0 && results[n - 1].state != CUBLAS_STATUS_SUCCESS)
    n--;
  return n > 0 && results[0].state == CUBLAS_STATUS_SUCCESS ? n : 0;
}

static cublasStatus_t
multiply (krn_stream *stream, const struct product *p, const cublasLtMatmulAlgo_t *algo)
{
  const struct krn_blas *blas = stream->device->blas;
  const struct plan *plan = p->plan;
  const float one = 1.f, beta = plan->key.accumulate ? 1.f : 0.f;

  return blas->call.matmul (blas->handle, plan->desc, &one, p->w.data, plan->w, p->x.data, plan->x,
                            &beta, p->y.data, plan->y, p->y.data, plan->y, algo, stream->scratch,
                            p->workspace, stream->handle);
}

/* Milliseconds of one run, its weights not in the cache if clearing the scratch can help it;
 * negative: it failed. */
static float
time_once (krn_stream *stream, const struct product *p, const cublasLtMatmulAlgo_t *algo,
           const cudaEvent_t events[2])
{
  float elapsed = -1.f;

  if (cudaMemsetAsync (stream->scratch, 0, KRN_CUDA_SCRATCH, stream->handle) ||
      cudaEventRecord (events[0], stream->handle) || multiply (stream, p, algo) ||
      cudaEventRecord (events[1], stream->handle) || cudaEventSynchronize (events[1]) ||
      cudaEventElapsedTime (&elapsed, events[0], events[1]))
    return -1.f;
  return elapsed;
}

static int
compare_floats (const void *a, const void *b)
{
  const float x = *(const float *) a, y = *(const float *) b;

  return (x > y) - (x < y);
}

/* Times all once, after a run that only loads their kernels, which takes longer than they do; gives
 * the time that the FINALISTS fastest have at most. */
static float
time_all (float times[CANDIDATES][ROUNDS], krn_stream *stream, const struct product *p,
          const cublasLtMatmulHeuristicResult_t *candidates, int n, const cudaEvent_t events[2])
{
  float sorted[CANDIDATES];
  int good = 0;

  for (int i = 0; i < n; i++)
    time_once (stream, p, &candidates[i].algo, events);
  for (int i = 0; i < n; i++) {
    times[i][0] = time_once (stream, p, &candidates[i].algo, events);
    if (times[i][0] >= 0.f)
      sorted[good++] = times[i][0];
  }
  qsort (sorted, (size_t) good, sizeof *sorted, compare_floats);
  return good == 0 ? 0.f : sorted[good < FINALISTS ? good - 1 : FINALISTS - 1];
}

/* The fastest of the finalists by the median of several rounds.  The library's own first choice is
 * one of them and stays when it is within 1 % of the best. */
static int
time_candidates (krn_stream *stream, const struct product *p,
                 const cublasLtMatmulHeuristicResult_t *candidates, int n,
                 const cudaEvent_t events[2])
{
  float times[CANDIDATES][ROUNDS];
  const float limit = time_all (times, stream, p, candidates, n, events);
  float best = INFINITY;
  int first = 0;

  for (int round = 1; round < ROUNDS; round++)
    for (int i = 0; i < n; i++) {
      const bool behind = i > 0 && !(times[i][0] >= 0.f && times[i][0] <= limit);

      times[i][round] = behind ? -1.f : time_once (stream, p, &candidates[i].algo, events);
    }
  for (int i = 0; i < n; i++) {
    const float percent = 0.01f * best, least = 0.001f;
    const float handicap = first > 0 || best == INFINITY ? 0.f : percent > least ? percent : least;

    qsort (times[i], ROUNDS, sizeof (float), compare_floats);
    if (times[i][0] >= 0.f && times[i][ROUNDS / 2] < best - handicap) {
      best = times[i][ROUNDS / 2];
      first = i;
    }
  }
  return first;
}

/* Nothing can be timed while it is recorded; and what is over in a moment need not be. */
static bool
may_time (krn_stream *stream, const struct key *key)
{
  enum cudaStreamCaptureStatus capture = cudaStreamCaptureStatusActive;

  return (double) key->rows * (double) key->in * (double) key->out >= 1e8 &&
         cudaStreamIsCapturing (stream->handle, &capture) == cudaSuccess &&
         capture == cudaStreamCaptureStatusNone;
}

/* What is added to y would be added each time: then the end of the scratch is written instead, if y
 * fits there. */
static bool
prepare_timing (krn_stream *stream, struct product *p)
{
  const struct key *key = &p->plan->key;
  const size_t bytes = (size_t) (key->rows * key->y_stride) * 2, most = KRN_CUDA_SCRATCH / 2;

  if (!may_time (stream, key))
    return false;
  if (!key->accumulate)
    return true;
  if (bytes > most)
    return false;
  p->y.data = (char *) stream->scratch + most;
  p->workspace = most;
  return true;
}

/* The key in the file: many rows are rounded up to whole tiles, so that not every length of a
 * prompt is timed by itself. */
static struct key
cached_key (const struct key *key)
{
  enum { FEW = 512, TILE = 128 };
  struct key cached = *key;

  if (key->rows > FEW)
    cached.rows = (key->rows + TILE - 1) / TILE * TILE;
  return cached;
}

/* An algorithm for the plan: an earlier run's, or the fastest of the candidates, or the first. */
static bool
choose (krn_stream *stream, struct product p)
{
  struct krn_blas *blas = stream->device->blas;
  struct plan *plan = p.plan;
  cublasLtMatmulHeuristicResult_t candidates[CANDIDATES], checked;
  const struct key key = cached_key (&plan->key);
  const cublasLtMatmulAlgo_t *earlier = blas->cache ? krn_cache_find (blas->cache, &key) : NULL;
  cudaEvent_t events[2] = { NULL };
  int n;

  if (earlier &&
      !blas->call.check (blas->handle, plan->desc, plan->w, plan->x, plan->y, plan->y, earlier,
                         &checked) &&
      checked.state == CUBLAS_STATUS_SUCCESS && checked.workspaceSize <= KRN_CUDA_SCRATCH) {
    plan->algo = *earlier;
    return true;
  }
  n = find_candidates (candidates, plan, blas);
  if (n == 0)
    return false;
  plan->algo = candidates[0].algo;
  if (!prepare_timing (stream, &p))
    return true;
  if (!cudaEventCreate (&events[0]) && !cudaEventCreate (&events[1])) {
    plan->algo = candidates[time_candidates (stream, &p, candidates, n, events)].algo;
    if (blas->cache && cudaPeekAtLastError () == cudaSuccess)
      krn_cache_put (blas->cache, &key, &plan->algo);
  }
  for (int i = 0; i < 2; i++)
    if (events[i])
      cudaEventDestroy (events[i]);
  cudaGetLastError (); /* what could not be timed is no failure */
  return true;
}

static uint32_t
alignment (const void *p)
{
  const uintptr_t lowest = (uintptr_t) p & -(uintptr_t) p;

  return lowest == 0 ? 0 : lowest < 256 ? (uint32_t) lowest : 256;
}

/* FNV-1a. */
static unsigned
bucket (const struct key *key)
{
  const unsigned char *bytes = (const unsigned char *) key;
  uint32_t hash = 2166136261u;

  for (size_t i = 0; i < sizeof *key; i++)
    hash = (hash ^ bytes[i]) * 16777619u;
  return hash % BUCKETS;
}

/* Under the lock.  NULL when there is no memory. */
static struct plan *
find_plan (krn_stream *stream, const struct key *key, struct product *p, const void *bias)
{
  struct krn_blas *blas = stream->device->blas;
  struct plan **bin = &blas->plans[bucket (key)], *plan;

  for (plan = *bin; plan; plan = plan->next)
    if (memcmp (&plan->key, key, sizeof *key) == 0)
      return plan;

  plan = calloc (1, sizeof *plan);
  if (!plan)
    return NULL;
  plan->key = *key;
  p->plan = plan;
  plan->supported = describe (plan, &blas->call, bias) && choose (stream, *p);
  plan->next = *bin;
  *bin = plan;
  return plan;
}

static krn_status
run_plan (krn_stream *stream, const struct product *p, const void *bias)
{
  const struct krn_blas *blas = stream->device->blas;
  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;

  if (bias)
    status =
        blas->call.desc_set (p->plan->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
  if (status == CUBLAS_STATUS_SUCCESS)
    status = multiply (stream, p, &p->plan->algo);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) {
    p->plan->supported = false;
    return KRN_ERROR_UNSUPPORTED;
  }
  return status == CUBLAS_STATUS_SUCCESS ? KRN_OK : KRN_BLAS_ERROR + (krn_status) status;
}

/* The stride of a single row is free; cuBLASLt wants one that is no less than the row. */
static int64_t
row_stride (krn_tensor t)
{
  return krn_rows (t) == 1 ? t.dim[3] : t.stride;
}

krn_status
krn_blas_linear (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
                 bool accumulate)
{
  struct krn_blas *blas = stream->device->blas;
  const struct key key = {
    .rows = krn_rows (y),
    .in = x.dim[3],
    .out = y.dim[3],
    .y_stride = row_stride (y),
    .x_stride = row_stride (x),
    .w_stride = row_stride (w),
    .y_align = alignment (y.data),
    .x_align = alignment (x.data),
    .w_align = alignment (w.data),
    .bias_align = alignment (bias.data),
    .accumulate = accumulate,
  };
  struct product product = { .y = y, .x = x, .w = w, .workspace = KRN_CUDA_SCRATCH };
  krn_status status;

  pthread_mutex_lock (&blas->lock);
  product.plan = find_plan (stream, &key, &product, bias.data);
  if (!product.plan)
    status = KRN_ERROR_MEMORY;
  else if (!product.plan->supported)
    status = KRN_ERROR_UNSUPPORTED;
  else
    status = run_plan (stream, &product, bias.data);
  pthread_mutex_unlock (&blas->lock);
  return status;
}

const char *
krn_blas_status_text (krn_status status)
{
  switch (status - KRN_BLAS_ERROR) {
  case CUBLAS_STATUS_NOT_INITIALIZED:
    return "cuBLASLt is not initialized";
  case CUBLAS_STATUS_ALLOC_FAILED:
    return "cuBLASLt could not allocate memory";
  case CUBLAS_STATUS_INVALID_VALUE:
    return "cuBLASLt was given an invalid value";
  case CUBLAS_STATUS_ARCH_MISMATCH:
    return "cuBLASLt does not support this GPU";
  case CUBLAS_STATUS_EXECUTION_FAILED:
    return "a product of cuBLASLt failed on the GPU";
  case CUBLAS_STATUS_INTERNAL_ERROR:
    return "cuBLASLt had an internal error";
  default:
    return "cuBLASLt failed";
  }
}
