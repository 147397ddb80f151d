/* kernels/cuda/gl.c - frames into OpenGL textures, without the host. */
#include "kernels/cuda/ops.h"

#include <cuda_gl_interop.h>
#include <stdlib.h>

struct krn_gl_texture {
  struct cudaGraphicsResource *handle; /* owned */
  size_t width, height;
};

/* With a context that is not NVIDIA's the call itself fails. */
krn_status
krn_cuda_gl_check (struct krn_device *device)
{
  unsigned n = 0;
  int gpus[16], own = -1;
  krn_status status = krn_cuda_status (cudaGetDevice (&own));

  if (!status)
    status = krn_cuda_status (cudaGLGetDevices (&n, gpus, 16, cudaGLDeviceListAll));
  if (status)
    return status;
  for (unsigned i = 0; i < n && i < 16; i++)
    if (gpus[i] == own)
      return KRN_OK;
  return KRN_ERROR_UNSUPPORTED;
}

krn_status
krn_cuda_gl_register (struct krn_device *device, krn_gl_texture **texture, unsigned name, int width,
                      int height)
{
  krn_gl_texture *self = calloc (1, sizeof *self);
  krn_status status;

  *texture = NULL;
  if (!self)
    return KRN_ERROR_MEMORY;
  status = krn_cuda_status (cudaGraphicsGLRegisterImage (&self->handle, name, GL_TEXTURE_2D,
                                                         cudaGraphicsRegisterFlagsWriteDiscard));
  if (status) {
    free (self);
    return status;
  }
  self->width = (size_t) width;
  self->height = (size_t) height;
  *texture = self;
  return KRN_OK;
}

void
krn_cuda_gl_unregister (krn_gl_texture *texture)
{
  if (!texture)
    return;
  krn_cuda_status (cudaGraphicsUnregisterResource (texture->handle));
  free (texture);
}

/* Mapping puts the copy after what OpenGL was told before, unmapping puts what it is told later
 * after the copy: on the device, both. */
krn_status
krn_cuda_gl_copy (krn_stream *stream, krn_gl_texture *texture, krn_tensor rgba)
{
  const size_t row = texture->width * 4;
  cudaArray_t array = NULL;
  krn_status status, unmapped;

  if (rgba.dtype != KRN_U8 || rgba.dim[0] != 1 || rgba.dim[1] != (int64_t) texture->height ||
      rgba.dim[2] != (int64_t) texture->width || rgba.dim[3] != 4 || rgba.stride != 4)
    return KRN_ERROR_SHAPE;
  status = krn_cuda_status (cudaGraphicsMapResources (1, &texture->handle, stream->handle));
  if (status)
    return status;
  status = krn_cuda_status (cudaGraphicsSubResourceGetMappedArray (&array, texture->handle, 0, 0));
  if (!status)
    status = krn_cuda_status (cudaMemcpy2DToArrayAsync (array, 0, 0, rgba.data, row, row,
                                                        texture->height, cudaMemcpyDeviceToDevice,
                                                        stream->handle));
  unmapped = krn_cuda_status (cudaGraphicsUnmapResources (1, &texture->handle, stream->handle));
  return status ? status : unmapped;
}
