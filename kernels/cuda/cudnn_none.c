/* kernels/cuda/cudnn_none.c - for a build without cuDNN's headers. */
#include "kernels/cuda/cudnn.h"

struct krn_cudnn *
krn_cudnn_open (const char *gpu)
{
  return NULL;
}

void
krn_cudnn_free (struct krn_cudnn *cudnn)
{
}

krn_status
krn_cudnn_attention (krn_stream *stream, krn_tensor o, krn_tensor q, krn_tensor k, krn_tensor v,
                     const struct krn_attention *args)
{
  return KRN_ERROR_UNSUPPORTED;
}

krn_status
krn_cudnn_transposed (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w)
{
  return KRN_ERROR_UNSUPPORTED;
}

krn_status
krn_cudnn_conv2d (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
                  const struct krn_conv *args)
{
  return KRN_ERROR_UNSUPPORTED;
}
