/* kernels/cuda/nvml.h - what the driver says about the GPU, by its library NVML, which is opened at
 * run time.  Plain C. */
#pragma once

#include "kernels/cuda/stream.h"

/* For the GPU that the calling thread uses; NULL when the library cannot be had or does not know
 * it. */
struct krn_nvml *krn_nvml_open (void);
void krn_nvml_free (struct krn_nvml *nvml); /* NULL allowed */

/* Any thread.  nvml NULL: KRN_ERROR_UNSUPPORTED, as when not a single value could be read. */
krn_status krn_nvml_sample (struct krn_nvml *nvml, struct krn_sample *sample);
