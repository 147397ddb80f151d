#include "kernels/cpu/select.h"

void
krn_cpu_select (struct krn_device *device)
{
  krn_cpu_fill_base (device);
}
