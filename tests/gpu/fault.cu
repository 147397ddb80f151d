/* tests/gpu/fault.cu - ends the GPU's context for the whole process, as a bug in a kernel would.
 *
 * Opened by test-gpu, which calls gpu_fault; or preloaded into a program, with SAFELIGHT_TEST_FAULT
 * saying after how many milliseconds:
 *
 *     LD_PRELOAD=gpu-fault.so SAFELIGHT_TEST_FAULT=1500 safelight-cli generate ... */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

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

static void *
fault_later (void *milliseconds)
{
  usleep ((useconds_t) (uintptr_t) milliseconds * 1000);
  gpu_fault ();
  return NULL;
}

static __attribute__ ((constructor)) void
begin (void)
{
  const char *after = getenv ("SAFELIGHT_TEST_FAULT");
  pthread_t thread;

  if (after && pthread_create (&thread, NULL, fault_later, (void *) (uintptr_t) atoi (after)) == 0)
    pthread_detach (thread);
}
