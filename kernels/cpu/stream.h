/* kernels/cpu/stream.h - a stream of the CPU: its scratch memory and its number of threads. */
#pragma once

#include "kernels/cpu/team.h"
#include "kernels/device.h"

enum {
  /* Weights that were laid out for the register tile, shared by the threads: 4 MiB, which an L3
   * cache holds.  At least one panel of KRN_GEMM_DEPTH by the widest tile. */
  KRN_PANEL_FLOATS = 1 << 20,
  /* Of each thread: 512 KiB.  Attention keeps a tile of scores and its keys there, GroupNorm the
   * sums of each channel. */
  KRN_SCRATCH_FLOATS = 1 << 17,
};

struct krn_stream {
  int threads;
  krn_team *team; /* owned */
  float *panels;  /* owned, KRN_PANEL_FLOATS */
  float *scratch; /* owned, threads * KRN_SCRATCH_FLOATS */
};
