/* kernels/cpu/stream.h - a stream of the CPU: its scratch memory and its number of threads. */
#pragma once

#include "kernels/cpu/team.h"
#include "kernels/device.h"

enum {
  /* Shared by the threads: 4 MiB, which an L3 cache holds.  Weights laid out for the register tile,
   * at least one panel of KRN_GEMM_DEPTH by the widest tile; or GroupNorm's sums. */
  KRN_PANEL_FLOATS = 1 << 20,
  /* Of each thread: 512 KiB.  Attention keeps a tile of scores and its keys there, GroupNorm a sum
   * for each channel. */
  KRN_SCRATCH_FLOATS = 1 << 17,
};

struct krn_stream {
  int threads;
  krn_team *team; /* owned */
  float *panels;  /* owned, KRN_PANEL_FLOATS */
  float *scratch; /* owned, threads * KRN_SCRATCH_FLOATS */
};
