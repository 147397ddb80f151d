#include "engine/gpu_sample.h"

gboolean
eng_gpu_sample_read (struct krn_device *device, struct eng_gpu_sample *sample)
{
  struct krn_sample read;
  const gboolean ok = device && device->sample (device, &read) == KRN_OK;

  if (!ok)
    read = (struct krn_sample){ -1., -1., -1., -1., -1., -1, -1, -1 };
  *sample = (struct eng_gpu_sample){
    .utilisation = read.utilisation,
    .temperature = read.temperature,
    .power = read.power,
    .sm_clock = read.sm_clock,
    .memory_clock = read.memory_clock,
    .memory_used = read.memory_used,
    .memory_free = read.memory_free,
    .memory_total = read.memory_total,
  };
  return ok;
}
