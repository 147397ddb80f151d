/* tests/gpu/gpu_pair.h - what the tests of kernels/cuda/ share.
 *
 * Every tensor exists twice, on the CPU and on the GPU, with the same numbers: those of bf16
 * tensors are rounded first, and are float32 on the CPU.  An operation runs on both, and what they
 * wrote is compared.  Whatever is not an input is NaN, the gaps between rows too, so that an
 * element that is not written and one that should not have been read both show. */
#pragma once

#include "kernels/device.h"

#include <stdbool.h>
#include <stdint.h>

enum layout {
  LAYOUT_PACKED,
  LAYOUT_GAPS, /* rows apart, each aligned to 16 bytes */
  LAYOUT_ODD,  /* rows apart, nothing aligned */
  N_LAYOUTS
};

/* The devices, and what happened. */
struct gpu_test {
  struct krn_device *cpu, *gpu;
  krn_cuda_open_fn open_gpu; /* for one more device */
  krn_stream *cpu_stream, *stream;
  const char *op;     /* that is tested */
  enum layout layout; /* of tensors made from now on */
  uint64_t random;    /* state */
  struct report *report;
  const char *fault; /* path of a module that ends the context; NULL: none */
};
extern struct gpu_test t;

/* A line of the table. */
struct record {
  char op[40];
  int checks, failures;
  double worst, tolerance; /* worst in units of its own tolerance's scale */
};

/* What the tests found: in memory that outlives the process that runs them, which a fault on the
 * GPU takes along. */
struct report {
  struct record records[64];
  int n_records, failures;
  int group; /* that is run */
};

struct pair {
  krn_tensor cpu, gpu;
  void *cpu_memory, *gpu_memory; /* owned */
  int64_t shift;                 /* elements before the first */
  krn_dtype dtype;               /* on the GPU */
  bool far;                      /* rows lie gigabytes apart on the GPU */
};

int64_t random_int (int64_t from, int64_t to); /* both included */
float random_float (float from, float to);
uint16_t bf16_from_float (float value);
float float_from_bf16 (uint16_t bits);

/* Uninitialised (NaN), and with random numbers around centre; as t.layout says. */
struct pair pair_output (krn_dtype dtype, int64_t d0, int64_t d1, int64_t d2, int64_t d3);
struct pair pair_input (krn_dtype dtype, int64_t d0, int64_t d1, int64_t d2, int64_t d3,
                        float centre);
struct pair pair_vector (krn_dtype dtype, int64_t n, float centre); /* [1, n], packed */
struct pair pair_ids (int64_t n, int64_t below);
/* Rows whose last one starts past 2^31 elements on the GPU.  gpu.data NULL: no memory for that. */
struct pair pair_far (int64_t d0, int64_t d1, int64_t d2, int64_t d3, bool input);
void pair_set (struct pair *pair, int64_t row, int64_t col, float value);
void pair_send (struct pair *pair); /* what the CPU holds, to the GPU */
void pair_free (struct pair *pair);

/* Absent on both. */
extern const struct pair absent;

/* Both gave 0, and pair is the same on both: |gpu - cpu| <= tolerance * (|cpu| + root mean square
 * of cpu); bytes may differ by tolerance.  Gaps must still be NaN. */
void check (struct pair *pair, krn_status cpu, krn_status gpu, double tolerance);
void check_refused (krn_status cpu, krn_status gpu);
void check_true (bool holds, const char *what);

/* Rounding to bf16 is off by 2^-9 at most; the other half is left to the order of sums. */
#define BF16_ROUNDED 0x1p-8
/* Two roundings, of what is computed from numbers that were rounded on the way. */
#define BF16_TWICE 0x1p-7
/* Attention's weights are rounded as well, which costs 2^-9 of values that are several times their
 * weighted mean. */
#define BF16_WEIGHED 0x1p-6
#define F32_ROUNDED 1e-5

/* Counts a failure of the operation that was begun, and prints the first of each. */
void fail (const char *what);

/* Starts an operation, and prints the table of all. */
void begin (const char *op);
void print_table (void);

/* Ends the process when the GPU's context is lost: the groups to come need a new one. */
enum { LOST = 3 };

void test_device (void);
void test_rows (void);
void test_group_norm (void);
void test_linear (void);
void test_choice (void);
void test_attention (void);
void test_conv (void);
void test_latents (void);
void test_far (void);
void test_fault (void);
void test_cudnn (void);
void bench_cudnn (void);
void bench (void);
