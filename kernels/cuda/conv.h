/* kernels/cuda/conv.h - what the convolution kernels share. */
#pragma once

#include "kernels/cuda/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A convolution 3 x 3 of a doubled picture, seen as what the doubling makes of it: of the nine taps
 * on each pixel of y, those that read the same pixel of x are summed, which leaves four.
 *
 * KRN_ERROR_UNSUPPORTED, and nothing was enqueued: it is none, or a narrow one, or its weights do
 * not fit. */
krn_status krn_cuda_conv_doubled (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                                  krn_tensor bias, const struct krn_conv *args);
/* The four convolutions 2 x 2 of that, whose weights [4, out, 2, 2, in], for the pixels of y at
 * (even, even), (even, odd), (odd, even) and (odd, odd) lines and columns, are given. */
krn_status krn_cuda_conv_phases (krn_stream *stream, krn_tensor y, krn_tensor x, const void *w,
                                 krn_tensor bias, krn_tensor add);

/* A convolution 3 x 3 with up to eight outputs; KRN_ERROR_UNSUPPORTED for any other. */
krn_status krn_cuda_conv_few (krn_stream *stream, krn_tensor y, krn_tensor x, krn_tensor w,
                              krn_tensor bias, const struct krn_conv *args);

#ifdef __cplusplus
}
#endif
