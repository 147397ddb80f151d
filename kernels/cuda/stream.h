/* kernels/cuda/stream.h - what a device and a stream of it hold.  Plain C. */
#pragma once

#include "kernels/device.h"

#include <cuda_runtime_api.h>

enum {
  /* Of each stream, used by one operation at a time (the stream puts them in order): the workspace
   * of a cuBLASLt product, which wants 32 MiB on Hopper; the raw numbers of an upload that is
   * converted; partial sums of GroupNorm and of the norm of a prediction. */
  KRN_CUDA_SCRATCH = 32 << 20,
};

struct krn_blas;
struct krn_cudnn;
struct krn_nvml;

struct krn_cuda_device {
  struct krn_device table; /* first: the device is a pointer to it */
  struct krn_blas *blas;   /* owned */
  struct krn_cudnn *cudnn; /* owned; NULL: not to be had */
  struct krn_nvml *nvml;   /* owned; NULL: not to be had */
  int processors;          /* multiprocessors of the GPU */
};

struct krn_stream {
  struct krn_cuda_device *device; /* borrowed */
  cudaStream_t handle;            /* owned */
  void *scratch;                  /* owned, on the device, KRN_CUDA_SCRATCH bytes */
};
