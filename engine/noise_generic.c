#include "engine/noise_blocks.h"

void
eng_noise_blocks (float *values, size_t n)
{
  eng_noise_blocks_base (values, n);
}
