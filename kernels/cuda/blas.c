#include "kernels/cuda/blas.h"

#include <cublasLt.h>
#include <dlfcn.h>
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
};

/* What the choice of an algorithm depends on. */
struct key {
  int64_t rows, in, out;
  int64_t y_stride, x_stride, w_stride;
  uint32_t y_align, x_align, w_align, bias_align; /* bytes, a power of two; bias 0: absent */
  uint32_t accumulate;
  uint32_t unused; /* 0: keys are compared as bytes */
};

/* A product that was asked for before. */
struct plan {
  struct key key;
  bool supported;
  cublasLtMatmulDesc_t desc;
  cublasLtMatrixLayout_t y, x, w;
  cublasLtMatmulAlgo_t algo;
  struct plan *next;
};

enum { BUCKETS = 256 };

struct krn_blas {
  struct library call;
  cublasLtHandle_t handle;
  pthread_mutex_t lock; /* of what follows */
  struct plan *plans[BUCKETS];
};

static bool
load_symbols (struct library *call, void *library)
{
  const struct {
    void *to; /* a pointer to the function pointer */
    const char *name;
  } symbols[] = {
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
  };

  for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
    void *symbol = dlsym (library, symbols[i].name);

    if (!symbol)
      return false;
    memcpy (symbols[i].to, &symbol, sizeof symbol);
  }
  return true;
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

  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    void *library = dlopen (names[i], RTLD_LAZY | RTLD_LOCAL);

    if (library)
      return library;
  }
  return NULL;
}

struct krn_blas *
krn_blas_open (char *reason, size_t size)
{
  struct krn_blas *self = calloc (1, sizeof *self);
  void *library = open_library ();
  cublasStatus_t status;

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

/* Takes the algorithm that the library's own rule puts first. */
static bool
choose (struct plan *plan, const struct krn_blas *blas)
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
  cublasLtMatmulHeuristicResult_t result;
  cublasLtMatmulPreference_t preference;
  bool found = true;
  int n = 0;

  if (call->preference_create (&preference))
    return false;
  if (call->preference_set (preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                            sizeof workspace))
    found = false;
  for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++)
    if (call->preference_set (preference, alignments[i].attribute, &alignments[i].bytes,
                              sizeof alignments[i].bytes))
      found = false;
  found = found &&
          !call->heuristic (blas->handle, plan->desc, plan->w, plan->x, plan->y, plan->y,
                            preference, 1, &result, &n) &&
          n == 1 && result.state == CUBLAS_STATUS_SUCCESS;
  if (found)
    plan->algo = result.algo;
  call->preference_destroy (preference);
  return found;
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
find_plan (struct krn_blas *blas, const struct key *key, const void *bias)
{
  struct plan **bin = &blas->plans[bucket (key)], *plan;

  for (plan = *bin; plan; plan = plan->next)
    if (memcmp (&plan->key, key, sizeof *key) == 0)
      return plan;

  plan = calloc (1, sizeof *plan);
  if (!plan)
    return NULL;
  plan->key = *key;
  plan->supported = describe (plan, &blas->call, bias) && choose (plan, blas);
  plan->next = *bin;
  *bin = plan;
  return plan;
}

static krn_status
run_plan (krn_stream *stream, struct plan *plan, krn_tensor y, krn_tensor x, krn_tensor w,
          const void *bias)
{
  const struct krn_blas *blas = stream->device->blas;
  const float one = 1.f, beta = plan->key.accumulate ? 1.f : 0.f;
  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;

  if (bias)
    status =
        blas->call.desc_set (plan->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
  if (status == CUBLAS_STATUS_SUCCESS)
    status = blas->call.matmul (blas->handle, plan->desc, &one, w.data, plan->w, x.data, plan->x,
                                &beta, y.data, plan->y, y.data, plan->y, &plan->algo,
                                stream->scratch, KRN_CUDA_SCRATCH, stream->handle);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) {
    plan->supported = false;
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
  krn_status status;
  struct plan *plan;

  pthread_mutex_lock (&blas->lock);
  plan = find_plan (blas, &key, bias.data);
  if (!plan)
    status = KRN_ERROR_MEMORY;
  else if (!plan->supported)
    status = KRN_ERROR_UNSUPPORTED;
  else
    status = run_plan (stream, plan, y, x, w, bias.data);
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
