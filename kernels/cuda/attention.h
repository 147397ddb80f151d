/* kernels/cuda/attention.h - what the two attention kernels are given. */
#pragma once

#include "kernels/cuda/ops.h"

#include <cuda_bf16.h>

/* Rows are tokens; head h starts at column h * width, key and value head h / group likewise.
 * Strides in elements. */
struct attention_task {
  __nv_bfloat16 *o;
  const __nv_bfloat16 *q, *k, *v;
  size_t o_stride, q_stride, k_stride, v_stride;
  int tokens, keys; /* of a run */
  int group;        /* query heads that share a key head */
  int width;        /* of a head */
  float scale;      /* of the scores, times log2 (e): weights are powers of two */
  bool causal;
  bool aligned; /* every head of every row may be read 16 bytes at a time */
};

/* Any width up to KRN_ATTENTION_WIDEST, any alignment; slower. */
enum { KRN_ATTENTION_WIDEST = 512 };
krn_status krn_cuda_attention_wide (krn_stream *stream, const struct attention_task *task,
                                    int batch, int heads);
/* Only the width 512, aligned, not causal, where a block may have the shared memory; else
 * KRN_ERROR_UNSUPPORTED. */
krn_status krn_cuda_attention_512 (krn_stream *stream, const struct attention_task *task, int batch,
                                   int heads);
