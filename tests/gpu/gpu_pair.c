#include "tests/gpu/gpu_pair.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PRINTED = 6 /* failures of an operation */ };

struct gpu_test t;
const struct pair absent;

/* splitmix64. */
static uint64_t
random_bits (void)
{
  uint64_t z = t.random += 0x9e3779b97f4a7c15u;

  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

int64_t
random_int (int64_t from, int64_t to)
{
  return from + (int64_t) (random_bits () % (uint64_t) (to - from + 1));
}

float
random_float (float from, float to)
{
  return from + (to - from) * (float) (random_bits () >> 40) * 0x1p-24f;
}

uint16_t
bf16_from_float (float value)
{
  uint32_t bits;

  memcpy (&bits, &value, sizeof bits);
  if (value != value)
    return 0x7fc0;
  return (uint16_t) ((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float
float_from_bf16 (uint16_t half)
{
  const uint32_t bits = (uint32_t) half << 16;
  float value;

  memcpy (&value, &bits, sizeof value);
  return value;
}

static void *
need (void *memory)
{
  if (!memory) {
    fprintf (stderr, "not enough host memory for the test\n");
    exit (1);
  }
  return memory;
}

/* Elements from the start of the memory to the end of the last row and its gap. */
static int64_t
held (const struct pair *p)
{
  return p->shift + krn_rows (p->cpu) * p->cpu.stride;
}

/* The number at an element of what the CPU holds; dtypes are float32, int32 or bytes there. */
static float
cpu_value (const struct pair *p, const void *memory, int64_t i)
{
  if (p->cpu.dtype == KRN_U8)
    return ((const uint8_t *) memory)[i];
  return p->cpu.dtype == KRN_I32 ? (float) ((const int32_t *) memory)[i]
                                 : ((const float *) memory)[i];
}

static struct pair
pair_make (krn_dtype dtype, const int64_t dim[4], int64_t shift, int64_t gap)
{
  struct pair p = { .dtype = dtype, .shift = shift };
  const krn_dtype on_cpu = dtype == KRN_BF16 ? KRN_F32 : dtype;
  const size_t size = krn_dtype_size (dtype), cpu_size = krn_dtype_size (on_cpu);

  p.cpu = krn_tensor_make (NULL, on_cpu, dim[0], dim[1], dim[2], dim[3]);
  p.cpu.stride += gap;
  p.gpu = p.cpu;
  p.gpu.dtype = dtype;
  p.cpu_memory = need (malloc ((size_t) held (&p) * cpu_size));
  p.cpu.data = (char *) p.cpu_memory + (size_t) shift * cpu_size;
  for (int64_t i = 0; on_cpu == KRN_F32 && i < held (&p); i++)
    ((float *) p.cpu_memory)[i] = NAN;
  if (on_cpu != KRN_F32)
    memset (p.cpu_memory, 77, (size_t) held (&p) * cpu_size);

  if (t.gpu->alloc (t.gpu, &p.gpu_memory, (size_t) held (&p) * size)) {
    printf ("# %s: no memory on the GPU\n", t.op);
    exit (LOST);
  }
  p.gpu.data = (char *) p.gpu_memory + (size_t) shift * size;
  return p;
}

/* One row as a whole memory; the same dtype on both devices or bf16 from float32. */
static void
send (krn_tensor to, const void *from, krn_dtype dtype)
{
  krn_status status = t.gpu->upload (t.stream, to, from, dtype);

  if (status == KRN_OK)
    status = t.gpu->stream_sync (t.stream);
  if (status) {
    printf ("# %s: an upload failed: %s\n", t.op, t.gpu->status_text (t.gpu, status));
    exit (LOST);
  }
}

void
pair_send (struct pair *p)
{
  if (!p->far) {
    send (krn_tensor_make (p->gpu_memory, p->dtype, 1, 1, 1, held (p)), p->cpu_memory,
          p->cpu.dtype);
    return;
  }
  for (int64_t r = 0; r < krn_rows (p->cpu); r++)
    send (krn_row_view (p->gpu, r, 1), krn_row_view (p->cpu, r, 1).data, p->cpu.dtype);
}

/* What the GPU holds, as the CPU's memory is laid out; the caller frees it. */
static void *
receive (const struct pair *p)
{
  const size_t size = krn_dtype_size (p->dtype), cpu_size = krn_dtype_size (p->cpu.dtype);
  void *raw = need (malloc ((size_t) held (p) * size));
  void *memory = need (malloc ((size_t) held (p) * cpu_size));
  krn_status status = KRN_OK;

  if (!p->far)
    status = t.gpu->download (t.stream, raw,
                              krn_tensor_make (p->gpu_memory, p->dtype, 1, 1, 1, held (p)));
  for (int64_t r = 0; p->far && r < krn_rows (p->cpu) && status == KRN_OK; r++)
    status = t.gpu->download (t.stream, (char *) raw + (size_t) (r * p->cpu.stride) * size,
                              krn_row_view (p->gpu, r, 1));
  if (status == KRN_OK)
    status = t.gpu->stream_sync (t.stream);
  if (status) {
    printf ("# %s: [%d, %d, %d, %d] layout %d: %s\n", t.op, (int) p->cpu.dim[0],
            (int) p->cpu.dim[1], (int) p->cpu.dim[2], (int) p->cpu.dim[3], t.layout,
            t.gpu->status_text (t.gpu, status));
    exit (LOST);
  }
  if (p->dtype == KRN_BF16)
    for (int64_t i = 0; i < held (p); i++)
      ((float *) memory)[i] = float_from_bf16 (((uint16_t *) raw)[i]);
  else
    memcpy (memory, raw, (size_t) held (p) * size);
  free (raw);
  return memory;
}

void
pair_set (struct pair *p, int64_t row, int64_t col, float value)
{
  const int64_t i = row * p->cpu.stride + col;

  if (p->cpu.dtype == KRN_I32)
    ((int32_t *) p->cpu.data)[i] = (int32_t) value;
  else
    ((float *) p->cpu.data)[i] =
        p->dtype == KRN_BF16 ? float_from_bf16 (bf16_from_float (value)) : value;
}

static void
fill (struct pair *p, float centre)
{
  for (int64_t r = 0; r < krn_rows (p->cpu); r++)
    for (int64_t i = 0; i < p->cpu.dim[3]; i++)
      pair_set (p, r, i, centre + random_float (-1.7f, 1.7f));
}

struct pair
pair_output (krn_dtype dtype, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
  const int64_t dim[4] = { d0, d1, d2, d3 };
  const int64_t fit = (8 - d3 % 8) % 8; /* what is missing to a multiple of 16 bytes */
  struct pair p = pair_make (dtype, dim, t.layout == LAYOUT_ODD ? 3 : 0,
                             t.layout == LAYOUT_PACKED ? 0
                             : t.layout == LAYOUT_GAPS ? 8 + fit
                                                       : 5);

  pair_send (&p);
  return p;
}

struct pair
pair_input (krn_dtype dtype, int64_t d0, int64_t d1, int64_t d2, int64_t d3, float centre)
{
  struct pair p = pair_output (dtype, d0, d1, d2, d3);

  fill (&p, centre);
  pair_send (&p);
  return p;
}

struct pair
pair_vector (krn_dtype dtype, int64_t n, float centre)
{
  const int64_t dim[4] = { 1, 1, 1, n };
  struct pair p = pair_make (dtype, dim, t.layout == LAYOUT_ODD ? 1 : 0, 0);

  fill (&p, centre);
  pair_send (&p);
  return p;
}

struct pair
pair_ids (int64_t n, int64_t below)
{
  const int64_t dim[4] = { 1, 1, 1, n };
  struct pair p = pair_make (KRN_I32, dim, 0, 0);

  for (int64_t i = 0; i < n; i++)
    pair_set (&p, 0, i, (float) random_int (0, below - 1));
  pair_send (&p);
  return p;
}

struct pair
pair_far (int64_t d0, int64_t d1, int64_t d2, int64_t d3, bool input)
{
  const int64_t dim[4] = { d0, d1, d2, d3 }, rows = d0 * d1 * d2;
  const int64_t stride = (((int64_t) 1 << 31) / (rows - 1) / 8 + 1) * 8;
  struct pair p = pair_make (KRN_BF16, dim, 0, 0);

  t.gpu->free_memory (t.gpu, p.gpu_memory);
  p.far = true;
  p.gpu.stride = stride;
  if (t.gpu->alloc (t.gpu, &p.gpu_memory, (size_t) (rows * stride) * sizeof (uint16_t)))
    p.gpu_memory = NULL;
  p.gpu.data = p.gpu_memory;
  if (input)
    fill (&p, 0.f);
  if (p.gpu.data)
    pair_send (&p);
  return p;
}

void
pair_free (struct pair *p)
{
  free (p->cpu_memory);
  if (p->gpu_memory)
    t.gpu->free_memory (t.gpu, p->gpu_memory);
  *p = absent;
}

static struct record *
record (void)
{
  struct report *report = t.report;

  for (int i = 0; i < report->n_records; i++)
    if (strcmp (report->records[i].op, t.op) == 0)
      return &report->records[i];
  if (report->n_records == sizeof report->records / sizeof *report->records)
    abort ();
  snprintf (report->records[report->n_records].op, sizeof report->records->op, "%s", t.op);
  return &report->records[report->n_records++];
}

void
begin (const char *op)
{
  t.op = op;
  record ();
}

void
fail (const char *what)
{
  t.report->failures++;
  if (record ()->failures++ < MOST_PRINTED)
    printf ("# %s: %s\n", t.op, what);
}

void
check_true (bool holds, const char *what)
{
  record ()->checks++;
  if (!holds)
    fail (what);
}

static bool
both_did (krn_status cpu, krn_status gpu)
{
  char text[256];

  if (cpu == KRN_OK && gpu == KRN_OK)
    return true;
  snprintf (text, sizeof text, "gave %d on the CPU and %d on the GPU: %s", cpu, gpu,
            t.gpu->status_text (t.gpu, gpu));
  fail (text);
  return false;
}

void
check_refused (krn_status cpu, krn_status gpu)
{
  check_true (cpu == KRN_ERROR_SHAPE && gpu == KRN_ERROR_SHAPE, "a wrong shape is not refused");
}

static double
root_mean_square (const struct pair *p)
{
  double squares = 0.;

  for (int64_t r = 0; r < krn_rows (p->cpu); r++)
    for (int64_t i = 0; i < p->cpu.dim[3]; i++) {
      const double v = cpu_value (p, p->cpu.data, r * p->cpu.stride + i);

      squares += v * v;
    }
  return sqrt (squares / (double) krn_count (p->cpu));
}

/* In a gap: as it was. */
static bool
untouched (const struct pair *p, float value)
{
  return p->cpu.dtype == KRN_F32 ? isnan (value) : p->cpu.dtype == KRN_U8 ? value == 77.f : true;
}

void
check (struct pair *p, krn_status cpu, krn_status gpu, double tolerance)
{
  const int64_t n = p->cpu.dim[3], stride = p->cpu.stride, first = p->shift;
  const double rms = p->cpu.dtype == KRN_U8 ? 0. : root_mean_square (p);
  struct record *r = record ();
  int64_t bad = 0, bad_gaps = 0;
  double worst = 0.;
  char text[320];
  void *got;

  r->checks++;
  if (!both_did (cpu, gpu))
    return;
  got = receive (p);
  for (int64_t i = first; i < held (p); i++) {
    const int64_t row = (i - first) / stride, col = (i - first) % stride;
    const double have = cpu_value (p, got, i), want = cpu_value (p, p->cpu_memory, i);
    const double scale = p->cpu.dtype == KRN_U8 ? 1. : fabs (want) + rms + 1e-30;
    const double error = fabs (have - want) / scale;

    if (col >= n) {
      bad_gaps += !p->far && !untouched (p, (float) have);
      continue;
    }
    if (!(error <= tolerance) && bad++ == 0)
      snprintf (text, sizeof text, "[%d, %d, %d, %d] layout %d: row %d column %d is %g, not %g",
                (int) p->cpu.dim[0], (int) p->cpu.dim[1], (int) p->cpu.dim[2], (int) n, t.layout,
                (int) row, (int) col, have, want);
    worst = isnan (error) ? INFINITY : fmax (worst, error);
  }
  free (got);
  if (bad > 0) {
    const size_t length = strlen (text);

    snprintf (text + length, sizeof text - length, "; %lld of %lld wrong, error %.2e",
              (long long) bad, (long long) krn_count (p->cpu), worst);
    fail (text);
  }
  if (bad_gaps > 0) {
    snprintf (text, sizeof text, "[%d, %d, %d, %d] layout %d: %lld between the rows overwritten",
              (int) p->cpu.dim[0], (int) p->cpu.dim[1], (int) p->cpu.dim[2], (int) n, t.layout,
              (long long) bad_gaps);
    fail (text);
  }
  r->worst = fmax (r->worst, worst);
  r->tolerance = fmax (r->tolerance, tolerance);
}

void
print_table (void)
{
  printf ("%-28s %7s %9s %12s %10s\n", "operation", "checks", "failures", "worst error", "allowed");
  for (int i = 0; i < t.report->n_records; i++) {
    const struct record *r = &t.report->records[i];

    printf ("%-28s %7d %9d %12.2e %10.2e\n", r->op, r->checks, r->failures, r->worst, r->tolerance);
  }
}
