#include "kernels/cuda/cudnn_plan.h"
#include "kernels/cuda/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
  MOST_CONFIGS = 64, /* that are asked for in each of the library's lists */
  MOST_TIMED = 8,    /* the best was among the first five for all of the Flux VAE's, to 3 % */
  MOST_COMPILED = 2, /* each takes the library's compiler up to two seconds */
};

struct cudnn_plan {
  struct cudnn_key key;
  cudnn_desc desc; /* owned; NULL: cuDNN has nothing */
  bool chosen;     /* false: taken as it came while a stream was captured */
  struct cudnn_plan *next;
};

/* What is known of an engine. */
struct traits {
  bool exact;    /* nothing but products of bf16 summed in f32, and the same each time */
  bool compiled; /* when a plan is made */
};

/* NULL when it cannot be made, or needs more than the scratch that is left. */
static cudnn_desc
plan_finish (const struct cudnn_problem *problem, const struct krn_cudnn *cudnn,
             cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t n,
             const void *values)
{
  struct cudnn_parts parts = { .cudnn = cudnn };
  cudnn_desc plan = cudnn_make (&parts, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  int64_t workspace = 0, count = 0;

  cudnn_set (&parts, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &cudnn->handle);
  cudnn_set (&parts, plan, name, type, n, values);
  cudnn_finish (&parts, plan);
  if (!parts.failed &&
      (cudnn->call.get (plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count,
                        &workspace) != CUDNN_STATUS_SUCCESS ||
       workspace > (int64_t) (KRN_CUDA_SCRATCH - problem->scratch_used)))
    parts.failed = true;
  if (parts.failed) {
    cudnn_parts_free (&parts);
    return NULL;
  }
  return plan; /* the only part */
}

static cudnn_desc
plan_of_config (const struct cudnn_problem *problem, const struct krn_cudnn *cudnn,
                cudnn_desc config)
{
  return plan_finish (problem, cudnn, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                      CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &config);
}

static cudnn_desc
plan_from_cache (const struct cudnn_problem *problem, const struct krn_cudnn *cudnn)
{
  size_t size = 0;
  char *text = cudnn_cache_read (cudnn, &problem->key, &size);
  cudnn_desc plan = NULL;

  if (text)
    plan = plan_finish (problem, cudnn, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                        CUDNN_TYPE_CHAR, (int64_t) size, text);
  free (text);
  return plan;
}

static void
plan_to_cache (const struct krn_cudnn *cudnn, const struct cudnn_key *key, cudnn_desc plan)
{
  int64_t size = 0;
  char *text;

  if (cudnn->call.get (plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, 0,
                       &size, NULL) != CUDNN_STATUS_SUCCESS ||
      size <= 0)
    return;
  text = malloc ((size_t) size);
  if (text && cudnn->call.get (plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                               size, &size, text) == CUDNN_STATUS_SUCCESS)
    cudnn_cache_write (cudnn, key, text, (size_t) size);
  free (text);
}

/* The library's engines for graph, best first; 0 when it has none. */
static int
list_configs (struct cudnn_parts *parts, cudnn_desc graph, cudnnBackendHeurMode_t mode,
              cudnn_desc configs[MOST_CONFIGS])
{
  cudnn_desc list = cudnn_make (parts, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  int64_t n = 0;

  cudnn_set_desc (parts, list, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  cudnn_set (parts, list, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  cudnn_finish (parts, list);
  for (int i = 0; i < MOST_CONFIGS; i++)
    configs[i] = cudnn_make (parts, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  if (parts->failed ||
      parts->cudnn->call.get (list, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                              MOST_CONFIGS, &n, configs) != CUDNN_STATUS_SUCCESS)
    return 0;
  return n < MOST_CONFIGS ? (int) n : MOST_CONFIGS;
}

static struct traits
config_traits (const struct krn_cudnn *cudnn, cudnn_desc config)
{
  cudnnBackendNumericalNote_t numeric[32];
  cudnnBackendBehaviorNote_t behavior[32];
  struct cudnn_parts parts = { .cudnn = cudnn };
  cudnn_desc engine = cudnn_make (&parts, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  struct traits traits = { .exact = true };
  int64_t n = 0, n_numeric = 0, n_behavior = 0;

  if (parts.failed ||
      cudnn->call.get (config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n,
                       &engine) ||
      cudnn->call.get (engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, 32,
                       &n_numeric, numeric) ||
      cudnn->call.get (engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, 32,
                       &n_behavior, behavior))
    traits.exact = false;
  for (int64_t i = 0; i < n_numeric && i < 32; i++)
    if (numeric[i] != CUDNN_NUMERICAL_NOTE_TENSOR_CORE &&
        numeric[i] != CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP)
      traits.exact = false;
  for (int64_t i = 0; i < n_behavior && i < 32; i++)
    if (behavior[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION)
      traits.compiled = true;
  cudnn_parts_free (&parts);
  return traits;
}

static cudnnStatus_t
execute (krn_stream *stream, cudnn_desc plan, const struct cudnn_problem *problem,
         void *const data[CUDNN_MOST_TENSORS])
{
  const struct krn_cudnn *cudnn = stream->device->cudnn;
  struct cudnn_parts parts = { .cudnn = cudnn };
  cudnn_desc pack = cudnn_make (&parts, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  void *workspace = (char *) stream->scratch + problem->scratch_used;
  cudnnStatus_t status = CUDNN_STATUS_NOT_SUPPORTED;

  cudnn_set (&parts, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, problem->n,
             problem->uid);
  cudnn_set (&parts, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, problem->n,
             data);
  cudnn_set (&parts, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
  cudnn_finish (&parts, pack);
  if (!parts.failed && cudnn->call.set_stream (cudnn->handle, stream->handle) == 0)
    status = cudnn->call.execute (cudnn->handle, plan, pack);
  cudnn_parts_free (&parts);
  return status;
}

/* What timing a candidate takes. */
struct stopwatch {
  cudaEvent_t start, stop;        /* owned */
  void *other;                    /* owned; written instead of a tensor that is also read */
  void *data[CUDNN_MOST_TENSORS]; /* of the timed operation */
};

static void
stopwatch_stop (struct stopwatch *watch)
{
  if (watch->start)
    krn_cuda_status (cudaEventDestroy (watch->start));
  if (watch->stop)
    krn_cuda_status (cudaEventDestroy (watch->stop));
  krn_cuda_status (cudaFree (watch->other));
}

/* The output is written again and again before its real turn: one that is also an input is spared.
 */
static bool
stopwatch_start (struct stopwatch *watch, const struct cudnn_problem *problem)
{
  void *output = problem->data[problem->output];
  bool read = false;

  memcpy (watch->data, problem->data, sizeof watch->data);
  for (int i = 0; i < problem->n; i++)
    read = read || (i != problem->output && problem->data[i] == output);
  if (krn_cuda_status (cudaEventCreate (&watch->start)) ||
      krn_cuda_status (cudaEventCreate (&watch->stop)))
    return false;
  if (read && krn_cuda_status (cudaMalloc (&watch->other, problem->output_bytes)))
    return false;
  if (read)
    watch->data[problem->output] = watch->other;
  return true;
}

static float
time_run (krn_stream *stream, const struct stopwatch *watch, cudnn_desc plan,
          const struct cudnn_problem *problem)
{
  float elapsed = INFINITY;
  cudnnStatus_t status;

  cudaEventRecord (watch->start, stream->handle);
  status = execute (stream, plan, problem, watch->data);
  cudaEventRecord (watch->stop, stream->handle);
  if (krn_cuda_status (cudaEventSynchronize (watch->stop)) ||
      krn_cuda_status (cudaEventElapsedTime (&elapsed, watch->start, watch->stop)))
    return INFINITY;
  return status == CUDNN_STATUS_SUCCESS ? elapsed : INFINITY;
}

/* Milliseconds, the least of a few runs after one that loads the kernel; of one run only if that
 * took far longer than others do. */
static float
time_plan (krn_stream *stream, const struct stopwatch *watch, cudnn_desc plan,
           const struct cudnn_problem *problem, float others)
{
  float best;

  time_run (stream, watch, plan, problem);
  best = time_run (stream, watch, plan, problem);
  for (int i = 0; i < 2 && best < 1.3f * others; i++) {
    const float again = time_run (stream, watch, plan, problem);

    best = again < best ? again : best;
  }
  return best;
}

/* Drops what is not exact, and engines that compile where others need not; n of those that are
 * left. */
static int
drop_configs (const struct krn_cudnn *cudnn, cudnn_desc *configs, int n)
{
  cudnn_desc compiled[MOST_COMPILED];
  int n_kept = 0, n_compiled = 0;

  for (int i = 0; i < n; i++) {
    const struct traits traits = config_traits (cudnn, configs[i]);

    if (traits.exact && !traits.compiled)
      configs[n_kept++] = configs[i];
    else if (traits.exact && n_compiled < MOST_COMPILED)
      compiled[n_compiled++] = configs[i];
  }
  if (n_kept > 0)
    return n_kept;
  memcpy (configs, compiled, (size_t) n_compiled * sizeof *configs);
  return n_compiled;
}

static cudnn_desc
first_plan (const struct cudnn_problem *problem, const struct krn_cudnn *cudnn,
            const cudnn_desc *configs, int n)
{
  cudnn_desc plan = NULL;

  for (int i = 0; i < n && !plan; i++)
    plan = plan_of_config (problem, cudnn, configs[i]);
  return plan;
}

static cudnn_desc
quickest_plan (krn_stream *stream, const struct cudnn_problem *problem, const cudnn_desc *configs,
               int n)
{
  const struct krn_cudnn *cudnn = stream->device->cudnn;
  struct stopwatch watch = { 0 };
  cudnn_desc best = NULL;
  float best_time = INFINITY;

  if (!stopwatch_start (&watch, problem)) {
    stopwatch_stop (&watch);
    return first_plan (problem, cudnn, configs, n);
  }
  for (int i = 0; i < n && i < MOST_TIMED; i++) {
    cudnn_desc plan = plan_of_config (problem, cudnn, configs[i]);
    const float time = plan ? time_plan (stream, &watch, plan, problem, best_time) : INFINITY;
    const bool better = time < best_time;
    cudnn_desc worse = better ? best : plan;

    if (better) {
      best_time = time;
      best = plan;
    }
    if (worse)
      cudnn->call.descriptor_destroy (worse);
  }
  stopwatch_stop (&watch);
  return best;
}

/* A new plan of the library's; NULL when there is none.  Its second list, of engines that take
 * nearly everything, holds some that are a thousand times slower. */
static cudnn_desc
choose_plan (krn_stream *stream, const struct cudnn_problem *problem, bool timed)
{
  static const cudnnBackendHeurMode_t modes[] = { CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK };
  const struct krn_cudnn *cudnn = stream->device->cudnn;
  struct cudnn_parts parts = { .cudnn = cudnn };
  cudnn_desc plan = NULL, graph = problem->describe (&parts, &problem->key);

  for (int i = 0; i < 2 && !parts.failed && !plan; i++) {
    struct cudnn_parts list = { .cudnn = cudnn };
    cudnn_desc configs[MOST_CONFIGS];
    int n = list_configs (&list, graph, modes[i], configs);

    n = drop_configs (cudnn, configs, n);
    plan = timed && i == 0 ? quickest_plan (stream, problem, configs, n)
                           : first_plan (problem, cudnn, configs, n);
    cudnn_parts_free (&list);
  }
  cudnn_parts_free (&parts);
  return plan;
}

/* FNV-1a. */
static unsigned
bucket (const struct cudnn_key *key)
{
  const unsigned char *bytes = (const unsigned char *) key;
  uint32_t hash = 2166136261u;

  for (size_t i = 0; i < sizeof *key; i++)
    hash = (hash ^ bytes[i]) * 16777619u;
  return hash % CUDNN_BUCKETS;
}

/* Under the lock.  NULL when there is no memory.  A plan that came as it was is replaced as soon as
 * candidates can be timed; it is kept, because a captured graph may run its kernels. */
static struct cudnn_plan *
find_plan (krn_stream *stream, const struct cudnn_problem *problem)
{
  struct krn_cudnn *cudnn = stream->device->cudnn;
  struct cudnn_plan **bin = &cudnn->plans[bucket (&problem->key)], *plan;
  enum cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  bool can_time;

  for (plan = *bin; plan; plan = plan->next)
    if (memcmp (&plan->key, &problem->key, sizeof plan->key) == 0)
      break;
  if (plan && plan->chosen)
    return plan;
  krn_cuda_status (cudaStreamIsCapturing (stream->handle, &capture));
  can_time = capture == cudaStreamCaptureStatusNone;
  if (plan && !can_time)
    return plan;

  plan = calloc (1, sizeof *plan);
  if (!plan)
    return NULL;
  plan->key = problem->key;
  plan->desc = plan_from_cache (problem, cudnn);
  plan->chosen = plan->desc || can_time || !problem->timed;
  if (!plan->desc) {
    plan->desc = choose_plan (stream, problem, problem->timed && can_time);
    if (plan->desc && plan->chosen)
      plan_to_cache (cudnn, &plan->key, plan->desc);
  }
  plan->next = *bin;
  *bin = plan;
  return plan;
}

krn_status
cudnn_run (krn_stream *stream, const struct cudnn_problem *problem)
{
  struct krn_cudnn *cudnn = stream->device->cudnn;
  krn_status status = KRN_ERROR_UNSUPPORTED;
  struct cudnn_plan *plan;

  pthread_mutex_lock (&cudnn->lock);
  plan = find_plan (stream, problem);
  if (!plan) {
    status = KRN_ERROR_MEMORY;
  } else if (plan->desc) {
    const cudnnStatus_t error = execute (stream, plan->desc, problem, problem->data);

    if (error == CUDNN_STATUS_SUCCESS)
      status = KRN_OK;
    else if (error >= CUDNN_STATUS_INTERNAL_ERROR)
      status = KRN_CUDNN_ERROR + (krn_status) error;
  }
  pthread_mutex_unlock (&cudnn->lock);
  return status;
}

void
cudnn_plans_free (struct krn_cudnn *cudnn)
{
  for (int i = 0; i < CUDNN_BUCKETS; i++)
    while (cudnn->plans[i]) {
      struct cudnn_plan *next = cudnn->plans[i]->next;

      if (cudnn->plans[i]->desc)
        cudnn->call.descriptor_destroy (cudnn->plans[i]->desc);
      free (cudnn->plans[i]);
      cudnn->plans[i] = next;
    }
}
