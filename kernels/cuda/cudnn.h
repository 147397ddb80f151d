/* kernels/cuda/cudnn.h - attention and convolution of cuDNN, which is opened at run time if it is
 * there.  Plain C.
 *
 * Without cuDNN, or for what it refuses (KRN_ERROR_UNSUPPORTED), our own kernels do the work.  Any
 * thread may call; an operation takes a lock while it is enqueued.  The first one of a shape takes
 * long: its plan is built, and a convolution's candidates are timed unless the stream is being
 * captured.  What was found is kept in the user's cache folder. */
#pragma once

#include "kernels/cuda/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* NULL when there is none.  The environment's SAFELIGHT_CUDNN names the library's file; "none" is
 * none.  gpu: the name that cached plans are for. */
struct krn_cudnn *krn_cudnn_open (const char *gpu);
void krn_cudnn_free (struct krn_cudnn *cudnn); /* NULL allowed; graphs captured with it are gone */

/* As of the table; shapes checked by the caller.  The stream's device has a cudnn. */
krn_status krn_cudnn_attention (krn_stream *stream, krn_tensor o, krn_tensor q, krn_tensor k,
                                krn_tensor v, const struct krn_attention *args);
krn_status krn_cudnn_conv2d (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                             krn_tensor bias, const struct krn_conv *args);

/* y [n, 2h, 2w, out] = the transposed convolution of x [n, h, w, in], stride 2, padding 1, by w
 * [in, 4, 4, out], which lies at the start of the stream's scratch. */
krn_status krn_cudnn_transposed (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w);

/* Errors of cuDNN as a krn_status: above those of cuBLASLt. */
enum { KRN_CUDNN_ERROR = 20000 };

#ifdef __cplusplus
}
#endif
