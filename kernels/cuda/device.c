#include "kernels/cuda/blas.h"
#include "kernels/cuda/cudnn.h"
#include "kernels/cuda/nvml.h"
#include "kernels/cuda/ops.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* Waiting for an event puts the thread to sleep; the time between two is kept. */
struct krn_event {
  cudaEvent_t handle;    /* owned */
  _Atomic bool recorded; /* at least once */
};

struct krn_graph {
  cudaGraphExec_t handle; /* owned */
};

krn_status
krn_cuda_status (cudaError_t error)
{
  if (error == cudaSuccess)
    return KRN_OK;
  cudaGetLastError ();
  return error == cudaErrorMemoryAllocation ? KRN_ERROR_MEMORY : (krn_status) error;
}

krn_status
krn_cuda_launched (void)
{
  return krn_cuda_status (cudaGetLastError ());
}

static const char *
cuda_status_text (const struct krn_device *device, krn_status status)
{
  switch (status) {
  case KRN_OK:
    return "no error";
  case KRN_ERROR_SHAPE:
    return "tensors whose shapes or types do not go together";
  case KRN_ERROR_MEMORY:
    return "not enough memory on the GPU";
  case KRN_ERROR_UNSUPPORTED:
    return "the GPU does not support this operation";
  case KRN_CANCELLED:
    return "cancelled";
  default:
    if (status >= KRN_CUDNN_ERROR)
      return "cuDNN failed";
    if (status >= KRN_BLAS_ERROR)
      return krn_blas_status_text (status);
    return status > 0 ? cudaGetErrorString ((cudaError_t) status) : "unknown error";
  }
}

/* Errors after which CUDA gives every call the same one. */
static bool
is_sticky (cudaError_t error)
{
  switch (error) {
  case cudaErrorECCUncorrectable:
  case cudaErrorNvlinkUncorrectable:
  case cudaErrorContained:
  case cudaErrorIllegalAddress:
  case cudaErrorLaunchTimeout:
  case cudaErrorContextIsDestroyed:
  case cudaErrorAssert:
  case cudaErrorHardwareStackError:
  case cudaErrorIllegalInstruction:
  case cudaErrorMisalignedAddress:
  case cudaErrorInvalidAddressSpace:
  case cudaErrorInvalidPc:
  case cudaErrorLaunchFailure:
  case cudaErrorExternalDevice:
  case cudaErrorDevicesUnavailable:
  case cudaErrorUnknown:
    return true;
  default:
    return false;
  }
}

/* A library's own error may be the echo of one of CUDA's, which any call then repeats. */
static bool
cuda_lost (const struct krn_device *device, krn_status status)
{
  size_t free_bytes, total_bytes;

  if (status <= 0)
    return false;
  return is_sticky ((cudaError_t) status) ||
         is_sticky ((cudaError_t) krn_cuda_status (cudaMemGetInfo (&free_bytes, &total_bytes)));
}

static krn_status
cuda_alloc (struct krn_device *device, void **memory, size_t bytes)
{
  krn_status status;

  *memory = NULL;
  status = krn_cuda_status (cudaMalloc (memory, bytes > 0 ? bytes : 1));
  if (status == KRN_OK)
    krn_count_allocation (device);
  return status;
}

static void
cuda_free_memory (struct krn_device *device, void *memory)
{
  krn_cuda_status (cudaFree (memory));
}

static krn_status
cuda_host_alloc (struct krn_device *device, void **memory, size_t bytes)
{
  krn_status status;

  *memory = NULL;
  status = krn_cuda_status (cudaHostAlloc (memory, bytes > 0 ? bytes : 1, cudaHostAllocDefault));
  if (status == KRN_OK)
    krn_count_allocation (device);
  return status;
}

static void
cuda_host_free (struct krn_device *device, void *memory)
{
  if (memory)
    krn_cuda_status (cudaFreeHost (memory));
}

static void
cuda_info (struct krn_device *device, size_t *free_bytes, size_t *total_bytes)
{
  if (krn_cuda_status (cudaMemGetInfo (free_bytes, total_bytes)))
    *free_bytes = *total_bytes = 0;
}

static void
cuda_stream_free (krn_stream *stream)
{
  if (!stream)
    return;
  if (stream->handle) {
    krn_cuda_status (cudaStreamSynchronize (stream->handle));
    krn_cuda_status (cudaStreamDestroy (stream->handle));
  }
  krn_cuda_status (cudaFree (stream->scratch));
  free (stream);
}

/* A stream does not wait for the default stream, which nothing here uses. */
static krn_status
cuda_stream_new (struct krn_device *device, krn_stream **stream)
{
  krn_stream *self = calloc (1, sizeof *self);
  krn_status status;

  *stream = NULL;
  if (!self)
    return KRN_ERROR_MEMORY;

  self->device = (struct krn_cuda_device *) device;
  status = krn_cuda_status (cudaStreamCreateWithFlags (&self->handle, cudaStreamNonBlocking));
  if (status)
    self->handle = NULL;
  else
    status = cuda_alloc (device, &self->scratch, KRN_CUDA_SCRATCH);
  if (status) {
    cuda_stream_free (self);
    return status;
  }
  *stream = self;
  return KRN_OK;
}

static krn_status
cuda_stream_sync (krn_stream *stream)
{
  return krn_cuda_status (cudaStreamSynchronize (stream->handle));
}

static krn_status
cuda_event_new (struct krn_device *device, krn_event **event)
{
  krn_event *self = calloc (1, sizeof *self);
  krn_status status;

  *event = NULL;
  if (!self)
    return KRN_ERROR_MEMORY;
  status = krn_cuda_status (cudaEventCreateWithFlags (&self->handle, cudaEventBlockingSync));
  if (status)
    free (self);
  else
    *event = self;
  return status;
}

static void
cuda_event_free (krn_event *event)
{
  if (!event)
    return;
  krn_cuda_status (cudaEventDestroy (event->handle));
  free (event);
}

static krn_status
cuda_event_record (krn_stream *stream, krn_event *event)
{
  const krn_status status = krn_cuda_status (cudaEventRecord (event->handle, stream->handle));

  if (status == KRN_OK)
    atomic_store (&event->recorded, true);
  return status;
}

/* One that was never recorded holds nobody up. */
static krn_status
cuda_event_wait (krn_stream *stream, krn_event *event)
{
  return krn_cuda_status (cudaStreamWaitEvent (stream->handle, event->handle, 0));
}

static krn_status
cuda_event_sync (krn_event *event)
{
  return krn_cuda_status (cudaEventSynchronize (event->handle));
}

static bool
cuda_event_done (krn_event *event)
{
  return atomic_load (&event->recorded) &&
         krn_cuda_status (cudaEventQuery (event->handle)) == KRN_OK;
}

static krn_status
cuda_event_elapsed (double *milliseconds, krn_event *a, krn_event *b)
{
  float elapsed = 0.f;
  krn_status status = KRN_ERROR_UNSUPPORTED;

  if (atomic_load (&a->recorded) && atomic_load (&b->recorded))
    status = krn_cuda_status (cudaEventElapsedTime (&elapsed, a->handle, b->handle));
  *milliseconds = status ? 0. : (double) elapsed;
  return status;
}

/* Relaxed: cuBLASLt may load a kernel during the capture, which the strict modes refuse.  The
 * operations themselves do nothing that could not be captured. */
static krn_status
cuda_capture_begin (krn_stream *stream)
{
  return krn_cuda_status (cudaStreamBeginCapture (stream->handle, cudaStreamCaptureModeRelaxed));
}

/* Whether a node copies from host memory that is neither pinned nor known to CUDA: its owner may
 * have moved it by the time the graph is launched. */
static bool
reads_pageable (cudaGraphNode_t node)
{
  enum cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
  struct cudaMemcpy3DParms copy = { 0 };
  struct cudaPointerAttributes attributes = { 0 };

  if (cudaGraphNodeGetType (node, &type) || type != cudaGraphNodeTypeMemcpy)
    return false;
  return cudaGraphMemcpyNodeGetParams (node, &copy) == cudaSuccess && copy.srcPtr.ptr &&
         cudaPointerGetAttributes (&attributes, copy.srcPtr.ptr) == cudaSuccess &&
         attributes.type == cudaMemoryTypeUnregistered;
}

static krn_status
check_graph (cudaGraph_t graph)
{
  size_t n = 0;
  cudaGraphNode_t *nodes;
  krn_status status = krn_cuda_status (cudaGraphGetNodes (graph, NULL, &n));

  if (status || n == 0)
    return status;
  nodes = calloc (n, sizeof *nodes);
  status = nodes ? krn_cuda_status (cudaGraphGetNodes (graph, nodes, &n)) : KRN_ERROR_MEMORY;
  for (size_t i = 0; i < n && status == KRN_OK; i++)
    if (reads_pageable (nodes[i]))
      status = KRN_ERROR_UNSUPPORTED;
  free (nodes);
  return status;
}

static krn_status
cuda_capture_end (krn_stream *stream, krn_graph **graph)
{
  krn_graph *self = calloc (1, sizeof *self);
  cudaGraph_t recorded = NULL;
  krn_status status = krn_cuda_status (cudaStreamEndCapture (stream->handle, &recorded));

  *graph = NULL;
  if (status == KRN_OK && !self)
    status = KRN_ERROR_MEMORY;
  if (status == KRN_OK)
    status = check_graph (recorded);
  if (status == KRN_OK)
    status = krn_cuda_status (cudaGraphInstantiate (&self->handle, recorded, 0));
  if (recorded)
    krn_cuda_status (cudaGraphDestroy (recorded));
  if (status)
    free (self);
  else
    *graph = self;
  return status;
}

static krn_status
cuda_graph_launch (krn_stream *stream, krn_graph *graph)
{
  return krn_cuda_status (cudaGraphLaunch (graph->handle, stream->handle));
}

static void
cuda_graph_free (krn_graph *graph)
{
  if (!graph)
    return;
  krn_cuda_status (cudaGraphExecDestroy (graph->handle));
  free (graph);
}

static krn_status
cuda_sample (struct krn_device *device, struct krn_sample *sample)
{
  return krn_nvml_sample (((struct krn_cuda_device *) device)->nvml, sample);
}

/* A fault ends CUDA for the whole process: with driver 580 neither a reset, nor releasing the
 * primary context, nor a context of one's own brings it back.  So this is the process's, too. */
static _Atomic bool context_lost;

static void
cuda_close (struct krn_device *device)
{
  struct krn_cuda_device *self = (struct krn_cuda_device *) device;
  size_t free_bytes, total_bytes;

  krn_blas_free (self->blas);
  krn_cudnn_free (self->cudnn);
  krn_nvml_free (self->nvml);
  if (is_sticky ((cudaError_t) krn_cuda_status (cudaMemGetInfo (&free_bytes, &total_bytes)))) {
    atomic_store (&context_lost, true);
    krn_cuda_status (cudaDeviceReset ()); /* what is left of our memory is others' again */
  }
  free (self);
}

/* The first GPU, which CUDA_VISIBLE_DEVICES can choose: a thread that was told nothing uses it, so
 * that no operation has to say which. */
static krn_status
find_gpu (struct krn_cuda_device *self, char *reason, size_t size)
{
  struct krn_device *table = &self->table;
  struct cudaDeviceProp gpu;
  int driver = 0, runtime = 0, n = 0;
  cudaError_t error;
  krn_status status;

  error = cudaGetDeviceCount (&n);
  if (error == cudaErrorInsufficientDriver) {
    cudaDriverGetVersion (&driver);
    cudaRuntimeGetVersion (&runtime);
    if (driver == 0)
      snprintf (reason, size, "There is no NVIDIA driver.");
    else
      snprintf (reason, size,
                "The NVIDIA driver is too old: it supports CUDA %d.%d, and %d.%d is needed.",
                driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    return krn_cuda_status (error);
  }
  if (error == cudaErrorNoDevice || (error == cudaSuccess && n == 0)) {
    snprintf (reason, size, "There is no NVIDIA GPU.");
    return krn_cuda_status (cudaErrorNoDevice);
  }
  if (error == cudaSuccess)
    error = cudaGetDeviceProperties (&gpu, 0);
  if (error == cudaSuccess)
    error = cudaFree (NULL); /* makes the context, which tells whether the GPU can be used */
  if (error != cudaSuccess &&
      (atomic_load (&context_lost) || error != cudaErrorDevicesUnavailable) && is_sticky (error)) {
    snprintf (
        reason, size,
        "The GPU %s failed earlier and this process cannot use it again: start Safelight anew.",
        gpu.name);
    return krn_cuda_status (error);
  }
  if (error != cudaSuccess) {
    snprintf (reason, size, "The GPU cannot be used: %s.", cudaGetErrorString (error));
    return krn_cuda_status (error);
  }
  if (gpu.major < 8) {
    snprintf (reason, size,
              "The GPU %s is too old: it has compute capability %d.%d, and 8.0 is needed.",
              gpu.name, gpu.major, gpu.minor);
    return KRN_ERROR_UNSUPPORTED;
  }
  status = krn_cuda_attention_prepare ();
  status = status ? status : krn_cuda_attention_wide_prepare ();
  status = status ? status : krn_cuda_conv_prepare ();
  if (status) {
    snprintf (reason, size, "This build cannot use the GPU %s (compute capability %d.%d): %s.",
              gpu.name, gpu.major, gpu.minor, cuda_status_text (table, status));
    return status;
  }
  snprintf (table->name, sizeof table->name, "%.127s", gpu.name);
  self->processors = gpu.multiProcessorCount;
  return KRN_OK;
}

static const struct krn_device cuda_table = {
  .kind = "cuda",
  .activation = KRN_BF16,
  .weight = KRN_BF16,
  .close = cuda_close,
  .status_text = cuda_status_text,
  .lost = cuda_lost,
  .sample = cuda_sample,
  .alloc = cuda_alloc,
  .free_memory = cuda_free_memory,
  .host_alloc = cuda_host_alloc,
  .host_free = cuda_host_free,
  .info = cuda_info,
  .stream_new = cuda_stream_new,
  .stream_free = cuda_stream_free,
  .stream_sync = cuda_stream_sync,
  .event_new = cuda_event_new,
  .event_free = cuda_event_free,
  .event_record = cuda_event_record,
  .event_wait = cuda_event_wait,
  .event_sync = cuda_event_sync,
  .event_done = cuda_event_done,
  .event_elapsed = cuda_event_elapsed,
  .capture_begin = cuda_capture_begin,
  .capture_end = cuda_capture_end,
  .graph_launch = cuda_graph_launch,
  .graph_free = cuda_graph_free,
  .gl_check = krn_cuda_gl_check,
  .gl_register = krn_cuda_gl_register,
  .gl_unregister = krn_cuda_gl_unregister,
  .gl_copy = krn_cuda_gl_copy,
  .upload = krn_cuda_upload,
  .download = krn_cuda_download,
  .copy = krn_cuda_copy,
  .linear = krn_cuda_linear,
  .embedding = krn_cuda_embedding,
  .rms_norm = krn_cuda_rms_norm,
  .layer_norm = krn_cuda_layer_norm,
  .residual_norm = krn_cuda_residual_norm,
  .qk_norm_rope = krn_cuda_qk_norm_rope,
  .attention = krn_cuda_attention,
  .silu_gate = krn_cuda_silu_gate,
  .silu = krn_cuda_silu,
  .conv2d = krn_cuda_conv2d,
  .group_norm = krn_cuda_group_norm,
  .group_stats = krn_cuda_group_stats,
  .group_apply = krn_cuda_group_apply,
  .patchify = krn_cuda_patchify,
  .sampler_step = krn_cuda_sampler_step,
  .to_nhwc = krn_cuda_to_nhwc,
  .to_nchw = krn_cuda_to_nchw,
  .latent_rgba = krn_cuda_latent_rgba,
  .image_rgba = krn_cuda_image_rgba,
};

krn_status
krn_cuda_open (struct krn_device **device, char *reason, size_t size)
{
  struct krn_cuda_device *self = calloc (1, sizeof *self);
  krn_status status;

  *device = NULL;
  if (!self) {
    snprintf (reason, size, "There is not enough memory to open the GPU.");
    return KRN_ERROR_MEMORY;
  }
  self->table = cuda_table;
  status = find_gpu (self, reason, size);
  if (status == KRN_OK) {
    self->blas = krn_blas_open (self->table.name, reason, size);
    status = self->blas ? KRN_OK : KRN_ERROR_UNSUPPORTED;
    self->cudnn = self->blas ? krn_cudnn_open (self->table.name) : NULL;
  }
  if (status) {
    free (self);
    return status;
  }
  self->nvml = krn_nvml_open ();
  *device = &self->table;
  return KRN_OK;
}
