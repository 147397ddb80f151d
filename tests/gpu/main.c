/* tests/gpu/main.c - every operation of kernels/cuda/ against its twin in kernels/cpu/.
 *
 * The module's path is the first argument.  Ends with 77, which Meson calls skipped, when there is
 * no GPU to run on.  --bench also times the operations at Z-Image-Turbo's sizes, --bench-cudnn
 * only what cuDNN does against our own kernels. */
#include "tests/gpu/gpu_pair.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

enum { SKIPPED = 77 };

/* 0, or what the program ends with. */
static int
open_devices (const char *path)
{
  void *module = dlopen (path, RTLD_NOW | RTLD_LOCAL), *symbol;
  krn_cuda_open_fn open_cuda;
  char reason[256] = "";

  symbol = module ? dlsym (module, "krn_cuda_open") : NULL;
  if (!symbol) {
    fprintf (stderr, "%s\n", dlerror ());
    return 1;
  }
  memcpy (&open_cuda, &symbol, sizeof symbol);
  t.open_gpu = open_cuda;
  if (open_cuda (&t.gpu, reason, sizeof reason)) {
    printf ("skipped: %s\n", reason);
    return SKIPPED;
  }
  if (t.gpu->stream_new (t.gpu, &t.stream) || krn_cpu_open (&t.cpu, 0) ||
      t.cpu->stream_new (t.cpu, &t.cpu_stream)) {
    fprintf (stderr, "no stream\n");
    return 1;
  }
  printf ("%s\n", t.gpu->name);
  return 0;
}

static void
close_devices (void)
{
  t.gpu->stream_free (t.stream);
  t.gpu->close (t.gpu);
  t.cpu->stream_free (t.cpu_stream);
  t.cpu->close (t.cpu);
}

int
main (int argc, char **argv)
{
  const bool with_bench = argc == 3 && strcmp (argv[2], "--bench") == 0;
  const bool only_cudnn = argc == 3 && strcmp (argv[2], "--bench-cudnn") == 0;
  int status;

  if (argc < 2 || (argc > 2 && !with_bench && !only_cudnn)) {
    fprintf (stderr, "usage: %s MODULE [--bench | --bench-cudnn]\n", argv[0]);
    return 1;
  }
  status = open_devices (argv[1]);
  if (status)
    return status;

  t.random = 20;
  t.op = "start";
  if (only_cudnn) {
    bench_cudnn ();
    close_devices ();
    return 0;
  }
  test_device ();
  for (int layout = 0; layout < N_LAYOUTS; layout++) {
    t.layout = (enum layout) layout;
    test_rows ();
    test_group_norm ();
    test_linear ();
    test_attention ();
    test_conv ();
    test_cudnn ();
    test_latents ();
  }
  test_far ();
  print_table ();
  if (with_bench)
    bench ();
  close_devices ();
  return t.failures ? 1 : 0;
}
