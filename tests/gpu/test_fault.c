#include "tests/gpu/gpu_pair.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Launches what breaks the context; false: it cannot be had. */
static bool
break_context (void)
{
  void *module = t.fault ? dlopen (t.fault, RTLD_NOW | RTLD_LOCAL) : NULL;
  void *symbol = module ? dlsym (module, "gpu_fault") : NULL;
  int (*fault) (void);

  if (!symbol)
    return false;
  memcpy (&fault, &symbol, sizeof symbol);
  return fault () == 0;
}

/* A product, and what a graph recorded of it. */
static bool
works (struct krn_device *gpu, krn_stream *stream)
{
  const uint16_t ones[64] = { 0x3f80 };
  krn_tensor x = krn_tensor_make (NULL, KRN_BF16, 1, 1, 8, 8), y = x;
  krn_graph *graph = NULL;
  uint16_t back[64] = { 0 };
  bool ok;

  ok = gpu->alloc (gpu, &x.data, sizeof ones) == KRN_OK &&
       gpu->alloc (gpu, &y.data, sizeof ones) == KRN_OK &&
       gpu->upload (stream, x, ones, KRN_BF16) == KRN_OK &&
       gpu->linear (stream, y, x, x, absent.gpu, false) == KRN_OK &&
       gpu->stream_sync (stream) == KRN_OK && gpu->capture_begin (stream) == KRN_OK;
  ok = ok && gpu->linear (stream, y, x, x, absent.gpu, false) == KRN_OK &&
       gpu->capture_end (stream, &graph) == KRN_OK && gpu->graph_launch (stream, graph) == KRN_OK &&
       gpu->download (stream, back, y) == KRN_OK && gpu->stream_sync (stream) == KRN_OK;
  gpu->graph_free (graph);
  gpu->free_memory (gpu, x.data);
  gpu->free_memory (gpu, y.data);
  return ok && back[0] == 0x3f80;
}

/* The fault is reported as what it is and everything can be freed.  The driver lets the process use
 * the GPU no more, which opening it again says; the CPU goes on. */
void
test_fault (void)
{
  struct krn_device *again = NULL;
  void *memory = NULL, *host = NULL;
  krn_event *event = NULL;
  char reason[256] = "";
  krn_status status;

  begin ("a lost context");
  if (!t.fault)
    return;
  check_true (works (t.gpu, t.stream), "a product fails before the fault");
  check_true (t.gpu->alloc (t.gpu, &memory, 1 << 20) == KRN_OK &&
                  t.gpu->host_alloc (t.gpu, &host, 1 << 20) == KRN_OK &&
                  t.gpu->event_new (t.gpu, &event) == KRN_OK,
              "no memory before the fault");
  check_true (!t.gpu->lost (t.gpu, KRN_ERROR_MEMORY), "a context without a fault is lost");
  check_true (break_context (), "no fault to be had");
  status = t.gpu->event_record (t.stream, event);
  status = status ? status : t.gpu->stream_sync (t.stream);
  printf ("# after a fault: %d, %s\n", status, t.gpu->status_text (t.gpu, status));
  check_true (status > 0 && t.gpu->lost (t.gpu, status), "the fault is not seen");
  check_true (!works (t.gpu, t.stream), "a product works after the fault");

  t.gpu->event_free (event);
  t.gpu->host_free (t.gpu, host);
  t.gpu->free_memory (t.gpu, memory);
  t.gpu->stream_free (t.stream);
  t.gpu->close (t.gpu);
  status = t.open_gpu (&again, reason, sizeof reason);
  printf ("# opened again: %d, %s\n", status, reason);
  if (status == KRN_OK) /* a driver that can: then all must work */
    check_true (again->stream_new (again, &t.stream) == KRN_OK && works (again, t.stream),
                "a product fails after the device was opened again");
  else
    check_true (!again && strstr (reason, "failed earlier"), "the reason is not the fault");
  fflush (stdout);
  _exit (0); /* there is no device to close; the report has what was found */
}
