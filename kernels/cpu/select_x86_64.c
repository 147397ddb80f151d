#include "kernels/cpu/select.h"

/* GCC 11 and clang 14 do not know the names of the levels here, so the features that set them apart
 * are asked for one by one. */
void
krn_cpu_select (struct krn_device *device)
{
  const bool v3 = __builtin_cpu_supports ("avx2") && __builtin_cpu_supports ("fma") &&
                  __builtin_cpu_supports ("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports ("avx512f") && __builtin_cpu_supports ("avx512bw") &&
                  __builtin_cpu_supports ("avx512cd") && __builtin_cpu_supports ("avx512dq") &&
                  __builtin_cpu_supports ("avx512vl");

  if (v4)
    krn_cpu_fill_v4 (device);
  else if (v3)
    krn_cpu_fill_v3 (device);
  else
    krn_cpu_fill_base (device);
}
