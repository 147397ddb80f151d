/* engine/bench_stream.h - a device in front of another one: counts what a forward pass does, takes
 * its fused operations apart, or allocates for each of them, so that a bench can tell what that
 * costs.
 *
 * The forward passes run on it unchanged: its table has the operations that they use and no others,
 * and its streams stand for a real one.  Engine thread or, with a stream of its own, any other. */
#pragma once

#include "kernels/device.h"

enum eng_bench_mode {
  ENG_BENCH_COUNT, /* nothing is launched */
  ENG_BENCH_PLAIN, /* element-wise operations one by one, as an eager framework runs them */
  ENG_BENCH_ALLOC, /* every operation gets device memory for its result and gives it back */
};

struct eng_bench_stream {
  struct krn_device table; /* for struct eng_run, as its device; its stream is this struct */
  struct krn_device *device;
  krn_stream *stream; /* borrowed, as device is; NULL: ENG_BENCH_COUNT only */
  enum eng_bench_mode mode;
  void *scratch; /* ENG_BENCH_PLAIN: borrowed, scratch_bytes; what is taken apart needs it */
  size_t scratch_bytes;

  double flops; /* of products, attention and convolutions */
  int operations;
};

/* In place: the struct may not move afterwards. */
void eng_bench_stream_init (struct eng_bench_stream *self, struct krn_device *device,
                            krn_stream *stream, enum eng_bench_mode mode);
