/* ui/sl-timing-text.h - a timing in words and numbers: what the panel's tables, its labels and the
 * exported texts say.  Main thread; what dup gives, the caller frees. */
#pragma once

#include "ui/sl-timing.h"

/* ---- Names, translated; static unless dup ---- */
const char *sl_lane_get_label (SlLane lane);
const char *sl_part_get_label (SlPart part);
char *sl_span_dup_label (const struct sl_span *span); /* "Step 3" */

/* "81.2 ms", from ten seconds on "12.35 s". */
char *sl_dup_ms (double ms);
/* Of the picture's total: "6.7 %"; while it runs "…". */
char *sl_timing_dup_share (SlTiming *self, double ms);
/* "Step 3: from 14.6 ms, lasts 25.3 ms, share 6.7 %". */
char *sl_timing_dup_span_text (SlTiming *self, const struct sl_span *span);
/* One line for the whole picture: "380 ms in all, 42.1 steps a second". */
char *sl_timing_dup_summary (SlTiming *self);

/* ---- A table of names and values ---- */

struct sl_number {
  const char *name; /* translated, static */
  char *value;      /* translated; says so when there is none */
  int part;         /* SlPart whose colour stands beside it; -1: none */
  gboolean absent;
};

void sl_number_clear (struct sl_number *number);
/* What there is to say of a picture, always the same rows in the same order: an array of struct
 * sl_number. */
GArray *sl_timing_dup_numbers (SlTiming *self);

/* What a GPU tells of itself; below 0: it does not. */
typedef enum {
  SL_GPU_UTILISATION,  /* percent */
  SL_GPU_MEMORY_USED,  /* bytes, by everyone */
  SL_GPU_MEMORY_FREE,  /* bytes */
  SL_GPU_WEIGHTS,      /* bytes, ours */
  SL_GPU_ARENA,        /* bytes, ours */
  SL_GPU_TEMPERATURE,  /* degrees Celsius */
  SL_GPU_POWER,        /* watts */
  SL_GPU_CLOCK,        /* MHz, of the multiprocessors */
  SL_GPU_MEMORY_CLOCK, /* MHz */
  SL_N_GPU_VALUES
} SlGpuValue;

struct sl_gpu {
  double values[SL_N_GPU_VALUES];
};

GArray *sl_gpu_dup_numbers (const struct sl_gpu *gpu);

/* ---- Files and the clipboard ---- */

/* "lane,name,start_ms,length_ms,share": a line for every span, numbers with a point, names as the
 * engine calls them; share is the part of the total, "" beyond it. */
char *sl_timing_dup_csv (SlTiming *self);
/* The picture's numbers and its spans, a line each, columns by tabs. */
char *sl_timing_dup_text (SlTiming *self);
