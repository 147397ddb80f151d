#include "kernels/cpu/select.h"
#include "kernels/cpu/stream.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum {
  ALIGNMENT = 256,
  HUGE_PAGE = 2 << 20, /* on x86-64; elsewhere it is only an alignment */
};

struct cpu_device {
  struct krn_device table; /* first: the device is a pointer to it */
  int threads;
};

struct krn_event {
  _Atomic int64_t time; /* CLOCK_MONOTONIC in nanoseconds; 0: never recorded */
};

static void
cpu_close (struct krn_device *device)
{
  free (device);
}

static const char *
cpu_status_text (const struct krn_device *device, krn_status status)
{
  switch (status) {
  case KRN_OK:
    return "no error";
  case KRN_ERROR_SHAPE:
    return "tensors whose shapes or types do not go together";
  case KRN_ERROR_MEMORY:
    return "not enough memory";
  case KRN_ERROR_UNSUPPORTED:
    return "the CPU does not support this operation";
  case KRN_CANCELLED:
    return "cancelled";
  default:
    return "unknown error";
  }
}

static bool
cpu_lost (const struct krn_device *device, krn_status status)
{
  return false;
}

static krn_status
cpu_sample (struct krn_device *device, struct krn_sample *sample)
{
  return KRN_ERROR_UNSUPPORTED;
}

/* MemAvailable counts what the kernel would give up for us; free pages alone would not. */
static void
cpu_info (struct krn_device *device, size_t *free_bytes, size_t *total_bytes)
{
  FILE *file = fopen ("/proc/meminfo", "re");
  char line[128];

  *free_bytes = *total_bytes = 0;
  while (file && fgets (line, sizeof line, file)) {
    size_t kilobytes;

    if (sscanf (line, "MemTotal: %zu", &kilobytes) == 1)
      *total_bytes = kilobytes * 1024;
    else if (sscanf (line, "MemAvailable: %zu", &kilobytes) == 1)
      *free_bytes = kilobytes * 1024;
  }
  if (file)
    fclose (file);
}

/* The kernel promises more memory than there is and kills the process that uses it, so a request
 * beyond what is available is refused here. */
static krn_status
cpu_alloc (struct krn_device *device, void **memory, size_t bytes)
{
  const size_t alignment = bytes < 2 * HUGE_PAGE ? ALIGNMENT : HUGE_PAGE;
  size_t available, total;

  *memory = NULL;
  cpu_info (device, &available, &total);
  if (bytes > SIZE_MAX - HUGE_PAGE || (total > 0 && bytes > available))
    return KRN_ERROR_MEMORY;

  *memory = aligned_alloc (alignment, (bytes / alignment + 1) * alignment);
  if (*memory && alignment == HUGE_PAGE) /* only advice: where it is not taken, nothing is lost */
    madvise (*memory, bytes, MADV_HUGEPAGE);
  if (*memory)
    krn_count_allocation (device);
  return *memory ? KRN_OK : KRN_ERROR_MEMORY;
}

static void
cpu_free (struct krn_device *device, void *memory)
{
  free (memory);
}

static void
cpu_stream_free (krn_stream *stream)
{
  if (!stream)
    return;
  krn_team_free (stream->team);
  free (stream->panels);
  free (stream->scratch);
  free (stream);
}

static krn_status
cpu_stream_new (struct krn_device *device, krn_stream **stream)
{
  const int threads = ((struct cpu_device *) device)->threads;
  const size_t scratch = (size_t) threads * KRN_SCRATCH_FLOATS * sizeof (float);
  krn_stream *self = calloc (1, sizeof *self);

  *stream = NULL;
  if (!self)
    return KRN_ERROR_MEMORY;

  self->threads = threads;
  if (cpu_alloc (device, (void **) &self->panels, KRN_PANEL_FLOATS * sizeof (float)) == KRN_OK &&
      cpu_alloc (device, (void **) &self->scratch, scratch) == KRN_OK)
    self->team = krn_team_new (threads, self->scratch, KRN_SCRATCH_FLOATS);
  if (!self->team) {
    cpu_stream_free (self);
    return KRN_ERROR_MEMORY;
  }
  *stream = self;
  return KRN_OK;
}

static krn_status
cpu_stream_sync (krn_stream *stream)
{
  return KRN_OK;
}

static krn_status
cpu_event_new (struct krn_device *device, krn_event **event)
{
  *event = calloc (1, sizeof **event);
  return *event ? KRN_OK : KRN_ERROR_MEMORY;
}

static void
cpu_event_free (krn_event *event)
{
  free (event);
}

static krn_status
cpu_event_record (krn_stream *stream, krn_event *event)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  atomic_store (&event->time, (int64_t) now.tv_sec * 1000000000 + now.tv_nsec);
  return KRN_OK;
}

/* An event that was recorded is done, and one that was not holds nobody up, as with CUDA. */
static krn_status
cpu_event_wait (krn_stream *stream, krn_event *event)
{
  return KRN_OK;
}

static krn_status
cpu_event_sync (krn_event *event)
{
  return KRN_OK;
}

static bool
cpu_event_done (krn_event *event)
{
  return atomic_load (&event->time) != 0;
}

static krn_status
cpu_event_elapsed (double *milliseconds, krn_event *a, krn_event *b)
{
  const int64_t from = atomic_load (&a->time), to = atomic_load (&b->time);

  *milliseconds = 0.;
  if (from == 0 || to == 0)
    return KRN_ERROR_UNSUPPORTED;
  *milliseconds = (double) (to - from) * 1e-6;
  return KRN_OK;
}

static krn_status
cpu_capture_begin (krn_stream *stream)
{
  return KRN_ERROR_UNSUPPORTED;
}

static krn_status
cpu_capture_end (krn_stream *stream, krn_graph **graph)
{
  *graph = NULL;
  return KRN_ERROR_UNSUPPORTED;
}

static krn_status
cpu_graph_launch (krn_stream *stream, krn_graph *graph)
{
  return KRN_ERROR_UNSUPPORTED;
}

static void
cpu_graph_free (krn_graph *graph)
{
}

/* The cores that this process may use, of which a container may have fewer than the machine. */
static int
usable_cores (void)
{
  cpu_set_t set;

  return sched_getaffinity (0, sizeof set, &set) == 0 ? CPU_COUNT (&set) : 1;
}

krn_status
krn_cpu_open (struct krn_device **device, int threads)
{
  struct cpu_device *self = calloc (1, sizeof *self);

  *device = NULL;
  if (!self)
    return KRN_ERROR_MEMORY;

  self->threads = threads > 0 ? threads : usable_cores ();
  self->table = (struct krn_device){
    .kind = "cpu",
    .activation = KRN_F32,
    .weight = KRN_F32,
    .close = cpu_close,
    .status_text = cpu_status_text,
    .lost = cpu_lost,
    .sample = cpu_sample,
    .alloc = cpu_alloc,
    .free_memory = cpu_free,
    .host_alloc = cpu_alloc,
    .host_free = cpu_free,
    .info = cpu_info,
    .stream_new = cpu_stream_new,
    .stream_free = cpu_stream_free,
    .stream_sync = cpu_stream_sync,
    .event_new = cpu_event_new,
    .event_free = cpu_event_free,
    .event_record = cpu_event_record,
    .event_wait = cpu_event_wait,
    .event_sync = cpu_event_sync,
    .event_done = cpu_event_done,
    .event_elapsed = cpu_event_elapsed,
    .capture_begin = cpu_capture_begin,
    .capture_end = cpu_capture_end,
    .graph_launch = cpu_graph_launch,
    .graph_free = cpu_graph_free,
  };
  snprintf (self->table.name, sizeof self->table.name, "CPU, %d thread%s", self->threads,
            self->threads == 1 ? "" : "s");
  krn_cpu_select (&self->table);
  *device = &self->table;
  return KRN_OK;
}
