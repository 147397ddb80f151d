/* app/cli-bench-make.h - pictures for measuring: made one after another, waited for. */
#pragma once

#include "app/cli-bench-report.h"
#include "engine/engine.h"

/* What every measurement of one bench shares. */
struct cli_bench {
  eng_engine *engine;       /* borrowed */
  cli_report *report;       /* borrowed */
  struct eng_params params; /* of a picture, without prompt and size; strings borrowed */
  const char *prompt;       /* what every prompt begins with; borrowed */
  int tokens;               /* of a prompt, wrapper included; 0: as the prompt is */
  int repeats;
  int made; /* prompts so far: each gets words of its own */
};

/* A prompt that no earlier one equals; the caller frees it. */
char *cli_bench_dup_prompt (struct cli_bench *bench, int tokens);

/* Makes one picture and waits for it; NULL and error when it fails. */
eng_image *cli_bench_make (eng_engine *engine, const struct eng_params *params, GError **error);
/* Submits n pictures at once, each with a prompt of its own, and waits for all: seconds from the
 * first submit to the last picture; negative and error when one fails. */
double cli_bench_make_queue (struct cli_bench *bench, const struct eng_params *params, int n,
                             GError **error);
/* Seconds from a cancel, part of a step after the second one, to the end of the job; 0 when the
 * picture was done first; negative and error when the job failed. */
double cli_bench_cancel (eng_engine *engine, const struct eng_params *params, double part,
                         GError **error);
