/* tests/gpu/main.c - every operation of kernels/cuda/ against its twin in kernels/cpu/.
 *
 *     test-gpu MODULE [--fault MODULE] [--only GROUP [--layout N]] [--bench] [--bench-cudnn]
 *
 * The tests run in a process of their own, so that one that ends the GPU's context does not hide
 * those after it: they go on in another.  Ends with 77, which Meson calls skipped, when there is no
 * GPU to run on.  --bench times the operations at Z-Image-Turbo's sizes instead, --bench-cudnn
 * those that cuDNN and our own kernels both do. */
#include "tests/gpu/gpu_pair.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77 };

struct options {
  const char *module, *fault, *only;
  int layout; /* the only one; N_LAYOUTS: each */
  void (*bench) (void);
};

static void
in_each_layout (void (*test) (void), int only)
{
  for (int layout = 0; layout < N_LAYOUTS; layout++) {
    t.layout = (enum layout) layout;
    if (only == N_LAYOUTS || only == layout)
      test ();
  }
}

static const struct group {
  const char *name;
  void (*test) (void);
  bool layouts; /* once in each */
} groups[] = {
  { "device", test_device, false },
  { "rows", test_rows, true },
  { "group_norm", test_group_norm, true },
  { "linear", test_linear, true },
  { "choice", test_choice, false },
  { "attention", test_attention, true },
  { "conv", test_conv, true },
  { "latents", test_latents, true },
  { "far", test_far, false },
  { "cudnn", test_cudnn, true },
  { "fault", test_fault, false }, /* last: it is meant to end the context */
};
enum { N_GROUPS = sizeof groups / sizeof *groups };

/* 0, or what the program ends with. */
static int
open_devices (const struct options *options)
{
  void *module = dlopen (options->module, RTLD_NOW | RTLD_LOCAL), *symbol;
  char reason[256] = "";

  symbol = module ? dlsym (module, "krn_cuda_open") : NULL;
  if (!symbol) {
    printf ("%s\n", dlerror ());
    return 1;
  }
  memcpy (&t.open_gpu, &symbol, sizeof symbol);
  if (t.open_gpu (&t.gpu, reason, sizeof reason)) {
    printf ("skipped: %s\n", reason);
    return SKIPPED;
  }
  if (t.gpu->stream_new (t.gpu, &t.stream) || krn_cpu_open (&t.cpu, 0) ||
      t.cpu->stream_new (t.cpu, &t.cpu_stream)) {
    printf ("no stream\n");
    return 1;
  }
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

/* The groups from t.report->group on.  What the process ends with. */
static int
run_groups (const struct options *options)
{
  const int status = open_devices (options);
  krn_status state;

  if (status)
    return status;
  if (t.report->group == 0)
    printf ("%s\n", t.gpu->name);
  for (; t.report->group < N_GROUPS; t.report->group++) {
    const struct group *group = &groups[t.report->group];

    if (options->only && strcmp (group->name, options->only) != 0)
      continue;
    t.op = group->name;
    t.random = 20;
    t.layout = LAYOUT_PACKED;
    if (group->layouts)
      in_each_layout (group->test, options->layout);
    else
      group->test ();
    state = t.gpu->stream_sync (t.stream);
    if (state) {
      t.op = group->name;
      fail (t.gpu->status_text (t.gpu, state));
      return LOST;
    }
  }
  close_devices ();
  return 0;
}

/* In processes of their own until all groups were run; a process that ended before its time counts
 * as a failure of the group that it was at. */
static int
run_all (const struct options *options)
{
  int status = 0;

  for (t.report->group = 0; t.report->group < N_GROUPS; t.report->group++) {
    pid_t child;

    fflush (stdout);
    child = fork ();
    if (child == 0)
      exit (run_groups (options));
    if (child < 0 || waitpid (child, &status, 0) < 0)
      return 1;
    if (WIFEXITED (status) && (WEXITSTATUS (status) == SKIPPED || WEXITSTATUS (status) == 1))
      return WEXITSTATUS (status);
    if (WIFEXITED (status) && WEXITSTATUS (status) == 0)
      break;
    t.op = t.report->group < N_GROUPS ? groups[t.report->group].name : "close";
    fail (WIFSIGNALED (status) ? strsignal (WTERMSIG (status)) : "the process of this group ended");
  }
  print_table ();
  printf ("%d failures\n", t.report->failures);
  return t.report->failures ? 1 : 0;
}

static bool
read_options (struct options *options, int argc, char **argv)
{
  *options = (struct options){ .module = argc > 1 ? argv[1] : NULL, .layout = N_LAYOUTS };
  for (int i = 2; i < argc; i++) {
    const bool more = i + 1 < argc;

    if (strcmp (argv[i], "--bench") == 0)
      options->bench = bench;
    else if (strcmp (argv[i], "--bench-cudnn") == 0)
      options->bench = bench_cudnn;
    else if (strcmp (argv[i], "--only") == 0 && more)
      options->only = argv[++i];
    else if (strcmp (argv[i], "--layout") == 0 && more)
      options->layout = atoi (argv[++i]);
    else if (strcmp (argv[i], "--fault") == 0 && more)
      options->fault = argv[++i];
    else
      return false;
  }
  return argc > 1;
}

/* What the products' times are kept in must not be the user's. */
static void
use_own_cache (char *folder)
{
  if (mkdtemp (folder))
    setenv ("XDG_CACHE_HOME", folder, 1);
}

static void
remove_own_cache (const char *folder)
{
  char command[256];

  snprintf (command, sizeof command, "rm -rf '%s'", folder);
  if (system (command) != 0)
    printf ("# %s is left\n", folder);
}

int
main (int argc, char **argv)
{
  char folder[] = "/tmp/test-gpu-XXXXXX";
  struct options options;
  int status;

  if (!read_options (&options, argc, argv)) {
    fprintf (stderr,
             "usage: %s MODULE [--fault MODULE] [--only GROUP [--layout N]] [--bench] "
             "[--bench-cudnn]\n",
             argv[0]);
    return 1;
  }
  t.report =
      mmap (NULL, sizeof *t.report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (t.report == MAP_FAILED)
    return 1;
  t.fault = options.fault;
  use_own_cache (folder);
  if (options.bench) {
    status = open_devices (&options);
    if (status == 0) {
      options.bench ();
      close_devices ();
    }
  } else if (options.only) {
    status = run_groups (&options);
    print_table ();
    status = status ? status : t.report->failures != 0;
  } else {
    status = run_all (&options);
  }
  remove_own_cache (folder);
  return status;
}
