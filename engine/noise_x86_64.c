#include "engine/noise_blocks.h"

void
eng_noise_blocks (float *values, size_t n)
{
  if (__builtin_cpu_supports ("avx2") && __builtin_cpu_supports ("fma"))
    eng_noise_blocks_fma (values, n);
  else
    eng_noise_blocks_base (values, n);
}
