#include "kernels/cuda/nvml.h"
#include "kernels/cuda/library.h"
#include "kernels/cuda/ops.h"

#include <dlfcn.h>
#include <stdlib.h>

/* NVML's functions as its documentation gives them: its header is not part of every CUDA.  0 is
 * success. */
struct nvml_utilisation {
  unsigned gpu, memory; /* percent */
};

struct nvml_memory {
  unsigned long long total, free, used;
};

enum { NVML_TEMPERATURE_GPU = 0, NVML_CLOCK_SM = 1, NVML_CLOCK_MEMORY = 2 };

struct functions {
  int (*init) (void);
  int (*shutdown) (void);
  int (*find) (const char *bus, void **gpu);
  int (*utilisation) (void *gpu, struct nvml_utilisation *utilisation);
  int (*memory) (void *gpu, struct nvml_memory *memory);
  int (*temperature) (void *gpu, int sensor, unsigned *celsius);
  int (*power) (void *gpu, unsigned *milliwatts);
  int (*clock) (void *gpu, int which, unsigned *megahertz);
};

struct krn_nvml {
  void *library; /* owned */
  struct functions call;
  void *gpu; /* NVML's own */
};

static bool
load_symbols (struct functions *call, void *library)
{
  const struct krn_symbol symbols[] = {
    { &call->init, "nvmlInit_v2" },
    { &call->shutdown, "nvmlShutdown" },
    { &call->find, "nvmlDeviceGetHandleByPciBusId_v2" },
    { &call->utilisation, "nvmlDeviceGetUtilizationRates" },
    { &call->memory, "nvmlDeviceGetMemoryInfo" },
    { &call->temperature, "nvmlDeviceGetTemperature" },
    { &call->power, "nvmlDeviceGetPowerUsage" },
    { &call->clock, "nvmlDeviceGetClockInfo" },
  };

  return krn_library_load (library, symbols, sizeof symbols / sizeof *symbols);
}

struct krn_nvml *
krn_nvml_open (void)
{
  struct krn_nvml *self = calloc (1, sizeof *self);
  char bus[32];
  int gpu;

  if (!self)
    return NULL;
  self->library = dlopen ("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (self->library && load_symbols (&self->call, self->library) && self->call.init () == 0) {
    if (krn_cuda_status (cudaGetDevice (&gpu)) == KRN_OK &&
        krn_cuda_status (cudaDeviceGetPCIBusId (bus, sizeof bus, gpu)) == KRN_OK &&
        self->call.find (bus, &self->gpu) == 0)
      return self;
    self->call.shutdown ();
  }
  if (self->library)
    dlclose (self->library);
  free (self);
  return NULL;
}

void
krn_nvml_free (struct krn_nvml *nvml)
{
  if (!nvml)
    return;
  nvml->call.shutdown ();
  dlclose (nvml->library);
  free (nvml);
}

krn_status
krn_nvml_sample (struct krn_nvml *nvml, struct krn_sample *sample)
{
  struct nvml_utilisation utilisation;
  struct nvml_memory memory;
  unsigned number;
  bool any = false;

  *sample = (struct krn_sample){ -1., -1., -1., -1., -1., -1, -1, -1 };
  if (!nvml)
    return KRN_ERROR_UNSUPPORTED;

  if (nvml->call.utilisation (nvml->gpu, &utilisation) == 0) {
    sample->utilisation = utilisation.gpu;
    any = true;
  }
  if (nvml->call.memory (nvml->gpu, &memory) == 0) {
    sample->memory_used = (int64_t) memory.used;
    sample->memory_free = (int64_t) memory.free;
    sample->memory_total = (int64_t) memory.total;
    any = true;
  }
  if (nvml->call.temperature (nvml->gpu, NVML_TEMPERATURE_GPU, &number) == 0) {
    sample->temperature = number;
    any = true;
  }
  if (nvml->call.power (nvml->gpu, &number) == 0) {
    sample->power = number * 1e-3;
    any = true;
  }
  if (nvml->call.clock (nvml->gpu, NVML_CLOCK_SM, &number) == 0) {
    sample->sm_clock = number;
    any = true;
  }
  if (nvml->call.clock (nvml->gpu, NVML_CLOCK_MEMORY, &number) == 0) {
    sample->memory_clock = number;
    any = true;
  }
  return any ? KRN_OK : KRN_ERROR_UNSUPPORTED;
}
