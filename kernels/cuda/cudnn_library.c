#include "kernels/cuda/cudnn_library.h"
#include "kernels/cuda/cudnn_plan.h"
#include "kernels/cuda/library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
load_symbols (struct cudnn_calls *call, void *library)
{
  const struct krn_symbol symbols[] = {
    { &call->version, "cudnnGetVersion" },
    { &call->create, "cudnnCreate" },
    { &call->destroy, "cudnnDestroy" },
    { &call->set_stream, "cudnnSetStream" },
    { &call->descriptor_create, "cudnnBackendCreateDescriptor" },
    { &call->descriptor_destroy, "cudnnBackendDestroyDescriptor" },
    { &call->set, "cudnnBackendSetAttribute" },
    { &call->get, "cudnnBackendGetAttribute" },
    { &call->finalize, "cudnnBackendFinalize" },
    { &call->execute, "cudnnBackendExecute" },
  };

  return krn_library_load (library, symbols, sizeof symbols / sizeof *symbols);
}

/* Stays open for the life of the process, as the module itself does.  It finds its other parts
 * beside itself. */
static void *
open_library (void)
{
  static const char *const names[] = {
    "libcudnn.so.9",
    "/usr/local/cuda/lib64/libcudnn.so.9",
    "/usr/local/cuda/lib/libcudnn.so.9",
  };
  const char *named = getenv ("SAFELIGHT_CUDNN");

  if (named && *named)
    return strcmp (named, "none") == 0 ? NULL : dlopen (named, RTLD_LAZY | RTLD_LOCAL);
  return krn_library_open (names, sizeof names / sizeof *names);
}

struct krn_cudnn *
krn_cudnn_open (const char *gpu)
{
  void *library = open_library ();
  struct krn_cudnn *self = library ? calloc (1, sizeof *self) : NULL;

  if (!self)
    return NULL;
  pthread_mutex_init (&self->lock, NULL);
  snprintf (self->gpu, sizeof self->gpu, "%s", gpu);
  if (!load_symbols (&self->call, library) ||
      self->call.create (&self->handle) != CUDNN_STATUS_SUCCESS) {
    self->handle = NULL;
    krn_cudnn_free (self);
    return NULL;
  }
  self->version = self->call.version ();
  return self;
}

void
krn_cudnn_free (struct krn_cudnn *cudnn)
{
  if (!cudnn)
    return;
  cudnn_plans_free (cudnn);
  if (cudnn->handle)
    cudnn->call.destroy (cudnn->handle);
  pthread_mutex_destroy (&cudnn->lock);
  free (cudnn);
}

cudnn_desc
cudnn_make (struct cudnn_parts *parts, cudnnBackendDescriptorType_t type)
{
  cudnn_desc desc = NULL;

  if (parts->failed || parts->n == CUDNN_MOST_PARTS ||
      parts->cudnn->call.descriptor_create (type, &desc) != CUDNN_STATUS_SUCCESS) {
    parts->failed = true;
    return NULL;
  }
  parts->part[parts->n++] = desc;
  return desc;
}

void
cudnn_set (struct cudnn_parts *parts, cudnn_desc desc, cudnnBackendAttributeName_t name,
           cudnnBackendAttributeType_t type, int64_t n, const void *values)
{
  if (!parts->failed &&
      parts->cudnn->call.set (desc, name, type, n, values) != CUDNN_STATUS_SUCCESS)
    parts->failed = true;
}

void
cudnn_set_desc (struct cudnn_parts *parts, cudnn_desc desc, cudnnBackendAttributeName_t name,
                cudnn_desc value)
{
  cudnn_set (parts, desc, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

void
cudnn_finish (struct cudnn_parts *parts, cudnn_desc desc)
{
  if (!parts->failed && parts->cudnn->call.finalize (desc) != CUDNN_STATUS_SUCCESS)
    parts->failed = true;
}

cudnn_desc
cudnn_make_tensor (struct cudnn_parts *parts, const struct cudnn_tensor *tensor)
{
  const int64_t alignment = 16; /* bytes; the callers see to it */
  const bool is_virtual = tensor->kind == CUDNN_VIRTUAL, by_value = tensor->kind == CUDNN_BY_VALUE;
  cudnn_desc desc = cudnn_make (parts, CUDNN_BACKEND_TENSOR_DESCRIPTOR);

  cudnn_set (parts, desc, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &tensor->uid);
  cudnn_set (parts, desc, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &tensor->dtype);
  cudnn_set (parts, desc, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
  cudnn_set (parts, desc, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, tensor->dim);
  cudnn_set (parts, desc, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, tensor->stride);
  cudnn_set (parts, desc, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
  cudnn_set (parts, desc, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
  cudnn_finish (parts, desc);
  return desc;
}

cudnn_desc
cudnn_make_graph (struct cudnn_parts *parts, const cudnn_desc *operations, int n)
{
  cudnn_desc graph = cudnn_make (parts, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);

  cudnn_set (parts, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1,
             &parts->cudnn->handle);
  cudnn_set (parts, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, n,
             operations);
  cudnn_finish (parts, graph);
  return graph;
}

void
cudnn_parts_free (struct cudnn_parts *parts)
{
  while (parts->n > 0)
    parts->cudnn->call.descriptor_destroy (parts->part[--parts->n]);
}
