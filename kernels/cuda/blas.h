/* kernels/cuda/blas.h - products of cuBLASLt, which is opened at run time.  Plain C.
 *
 * Which of the library's algorithms a product takes is settled when its shape is first met: by the
 * file of earlier runs (kernels/cuda/cache.h), else by timing some of them on the stream, else,
 * during a capture and for small products, by the library's own rule.
 *
 * Any thread may call; a product takes a lock while it is enqueued or timed. */
#pragma once

#include "kernels/cuda/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

/* NULL, and a sentence in reason, when the library is missing or too old.  gpu: its name. */
struct krn_blas *krn_blas_open (const char *gpu, char *reason, size_t size);
void krn_blas_free (struct krn_blas *blas); /* NULL allowed */

/* y = x w^T + bias (+ y), all bf16, shapes checked by the caller; bias may be absent.
 * KRN_ERROR_UNSUPPORTED: cuBLASLt has nothing for this shape. */
krn_status krn_blas_linear (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                            krn_tensor bias, bool accumulate);

/* Errors of cuBLASLt as a krn_status: above those of CUDA. */
enum { KRN_BLAS_ERROR = 10000 };
const char *krn_blas_status_text (krn_status status);

#ifdef __cplusplus
}
#endif
