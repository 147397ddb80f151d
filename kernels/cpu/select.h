/* kernels/cpu/select.h - takes the operations of the best level that this machine has.
 *
 * The levels are compiled apart (see level.h); Meson chooses the file for the architecture. */
#pragma once

#include "kernels/device.h"

void krn_cpu_select (struct krn_device *device);

/* Those that the architecture has: */
void krn_cpu_fill_base (struct krn_device *device);
void krn_cpu_fill_v3 (struct krn_device *device);
void krn_cpu_fill_v4 (struct krn_device *device);
