/* tests/gpu/fault.cu - ends the GPU's context for the whole process, as a bug in a kernel would. */

static __global__ void
write_nowhere (int *nowhere)
{
  *nowhere = 1;
}

/* The module's context is the process's own, so its streams fail from now on, too.  0: it is
 * done. */
extern "C" __attribute__ ((visibility ("default"))) int
gpu_fault (void)
{
  write_nowhere<<<1, 1>>> ((int *) 64);
  return cudaDeviceSynchronize () == cudaSuccess;
}
