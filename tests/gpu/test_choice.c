/* tests/gpu/test_choice.c - products large enough that several ways of doing them are timed, which
 * must show in nothing but the time. */
#include "tests/gpu/gpu_pair.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 520, IN = 640, OUT = 768, BYTES = ROWS * OUT * 2 };

static bool
download (struct krn_device *gpu, krn_stream *stream, uint16_t *bits, krn_tensor y)
{
  return gpu->download (stream, bits, y) == KRN_OK && gpu->stream_sync (stream) == KRN_OK;
}

/* flags: 1 bias, 2 accumulate.  What is timed may not be added more than once. */
static void
right (int64_t rows, int flags)
{
  struct pair x = pair_input (KRN_BF16, 1, 1, rows, IN, 0.f);
  struct pair w = pair_input (KRN_BF16, 1, 1, OUT, IN, 0.f);
  struct pair bias = flags & 1 ? pair_vector (KRN_BF16, OUT, 0.f) : absent;
  struct pair y = flags & 2 ? pair_input (KRN_BF16, 1, 1, rows, OUT, 0.f)
                            : pair_output (KRN_BF16, 1, 1, rows, OUT);

  begin ("linear, timed");
  check (&y, t.cpu->linear (t.cpu_stream, y.cpu, x.cpu, w.cpu, bias.cpu, flags & 2),
         t.gpu->linear (t.stream, y.gpu, x.gpu, w.gpu, bias.gpu, flags & 2),
         flags & 2 ? BF16_TWICE : BF16_ROUNDED);
  pair_free (&x);
  pair_free (&w);
  pair_free (&bias);
  pair_free (&y);
}

/* The second time, in a graph, and by a device that finds the choice in the file, even though it is
 * recording and could not have timed anything: the same bits. */
static void
kept (void)
{
  struct pair x = pair_input (KRN_BF16, 1, 1, ROWS, IN, 0.f);
  struct pair w = pair_input (KRN_BF16, 1, 1, OUT, IN, 0.f);
  struct pair y = pair_output (KRN_BF16, 1, 1, ROWS, OUT);
  uint16_t *bits[3] = { calloc (1, BYTES), calloc (1, BYTES), calloc (1, BYTES) };
  struct krn_device *other = NULL;
  krn_stream *stream = NULL;
  krn_graph *graph = NULL;
  char reason[256];

  begin ("linear, kept choice");
  for (int i = 0; i < 2; i++)
    check_true (t.gpu->linear (t.stream, y.gpu, x.gpu, w.gpu, absent.gpu, false) == KRN_OK &&
                    download (t.gpu, t.stream, bits[i], y.gpu),
                "a product fails");
  check_true (memcmp (bits[0], bits[1], BYTES) == 0, "other bits the second time");

  check_true (t.open_gpu (&other, reason, sizeof reason) == KRN_OK &&
                  other->stream_new (other, &stream) == KRN_OK,
              "no second device");
  other->capture_begin (stream);
  other->linear (stream, y.gpu, x.gpu, w.gpu, absent.gpu, false);
  check_true (other->capture_end (stream, &graph) == KRN_OK &&
                  other->graph_launch (stream, graph) == KRN_OK &&
                  download (other, stream, bits[2], y.gpu),
              "a product of a second device fails");
  check_true (memcmp (bits[0], bits[2], BYTES) == 0, "other bits on a second device");
  other->graph_free (graph);
  other->stream_free (stream);
  other->close (other);
  for (int i = 0; i < 3; i++)
    free (bits[i]);
  pair_free (&x);
  pair_free (&w);
  pair_free (&y);
}

void
test_choice (void)
{
  for (int flags = 0; flags < 4; flags++) {
    right (ROWS, flags);
    right (ROWS + 100, flags); /* as many tiles */
    right (250, flags);
  }
  kept ();
}
