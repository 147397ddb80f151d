/* engine/gpu_sample.h - what the driver says about a device. */
#pragma once

#include "engine/engine.h"
#include "kernels/device.h"

/* As eng_engine_sample_gpu; the device, which may be NULL, must stay open meanwhile. */
gboolean eng_gpu_sample_read (struct krn_device *device, struct eng_gpu_sample *sample);
