/* app/cli-bench-trials.h - single passes, ceilings, and what each means of going fast is worth. */
#pragma once

#include "app/cli-bench-make.h"

/* A product and a copy: what the device can do at most, in TFLOP/s; 0 and error on failure.  A GPU
 * that was at work for a while is slower: it may draw so much power and no more. */
double cli_bench_ceilings (struct cli_bench *bench, gboolean after_work, GError **error);
/* One forward and one decode of that size, operation by operation, or the encoder over tokens: the
 * series "pass: forward", "pass: decode" and "pass: text, N tokens". */
gboolean cli_bench_passes (struct cli_bench *bench, int width, int height, GError **error);
gboolean cli_bench_text (struct cli_bench *bench, int tokens, GError **error);

/* A forward and a sampler step in their several forms, by turns. */
gboolean cli_bench_forms (struct cli_bench *bench, int width, int height, GError **error);
/* Pictures with each thing on and off by turns, ABBA, in this process.  queue: pictures that wait
 * together. */
gboolean cli_bench_ablations (struct cli_bench *bench, int width, int height, int queue,
                              GError **error);
/* From a cancel to the job's end. */
gboolean cli_bench_cancels (struct cli_bench *bench, int width, int height, GError **error);
