/* kernels/cuda/cudnn_library.h - the opened cuDNN, and how its descriptors are made.  Plain C;
 * only for cudnn_*.c. */
#pragma once

#include "kernels/cuda/cudnn.h"

#include <stdbool.h> /* which cuDNN's headers forget */

#include <cudnn_graph.h>
#include <pthread.h>

/* The functions that are used, by the types of the header. */
struct cudnn_calls {
  __typeof__ (cudnnGetVersion) *version;
  __typeof__ (cudnnCreate) *create;
  __typeof__ (cudnnDestroy) *destroy;
  __typeof__ (cudnnSetStream) *set_stream;
  __typeof__ (cudnnBackendCreateDescriptor) *descriptor_create;
  __typeof__ (cudnnBackendDestroyDescriptor) *descriptor_destroy;
  __typeof__ (cudnnBackendSetAttribute) *set;
  __typeof__ (cudnnBackendGetAttribute) *get;
  __typeof__ (cudnnBackendFinalize) *finalize;
  __typeof__ (cudnnBackendExecute) *execute;
};

/* What a plan depends on; unused numbers are 0, keys are compared as bytes. */
enum { CUDNN_KEY_NUMBERS = 24 };
struct cudnn_key {
  int64_t number[CUDNN_KEY_NUMBERS]; /* the first says which operation */
};
enum { CUDNN_KEY_ATTENTION = 1, CUDNN_KEY_CONV = 2, CUDNN_KEY_TRANSPOSED = 3 };

enum { CUDNN_BUCKETS = 256 };
struct krn_cudnn {
  struct cudnn_calls call;
  char gpu[128];
  size_t version;                          /* of cuDNN: 91900 is 9.19.0 */
  cudnnHandle_t handle;                    /* owned */
  pthread_mutex_t lock;                    /* of the handle, and of what follows */
  struct cudnn_plan *plans[CUDNN_BUCKETS]; /* owned */
};

typedef cudnnBackendDescriptor_t cudnn_desc;

/* Descriptors that are made together and freed together.  After the first failure nothing more is
 * done, so that only the end asks for it. */
enum { CUDNN_MOST_PARTS = 192 };
struct cudnn_parts {
  const struct krn_cudnn *cudnn;
  bool failed;
  int n;
  cudnn_desc part[CUDNN_MOST_PARTS]; /* owned */
};

enum cudnn_tensor_kind { CUDNN_IN_MEMORY, CUDNN_VIRTUAL, CUDNN_BY_VALUE };

/* A tensor of four sizes, strides in elements; uid: its name in the graph. */
struct cudnn_tensor {
  int64_t uid;
  cudnnDataType_t dtype;
  enum cudnn_tensor_kind kind;
  int64_t dim[4], stride[4];
};

cudnn_desc cudnn_make (struct cudnn_parts *parts, cudnnBackendDescriptorType_t type);
void cudnn_set (struct cudnn_parts *parts, cudnn_desc desc, cudnnBackendAttributeName_t name,
                cudnnBackendAttributeType_t type, int64_t n, const void *values);
void cudnn_set_desc (struct cudnn_parts *parts, cudnn_desc desc, cudnnBackendAttributeName_t name,
                     cudnn_desc value);
void cudnn_finish (struct cudnn_parts *parts, cudnn_desc desc);
cudnn_desc cudnn_make_tensor (struct cudnn_parts *parts, const struct cudnn_tensor *tensor);
cudnn_desc cudnn_make_graph (struct cudnn_parts *parts, const cudnn_desc *operations, int n);
void cudnn_parts_free (struct cudnn_parts *parts);
