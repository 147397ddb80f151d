/* engine/loader.c - gathers what a network wants of its weights and puts it on the device. */
#include "engine/error.h"
#include "engine/safetensors.h"
#include "engine/weights.h"

#include <string.h>

enum {
  ALIGNMENT = 256,
  CHUNK_BYTES = 16 << 20,   /* one upload; cancel is looked at between two */
  PROGRESS_BYTES = 4 << 20, /* at least so many between two reports */
};

struct want {
  krn_tensor *target; /* borrowed */
  krn_tensor tensor;  /* what it will be; dtype and data come with the device */
  GPtrArray *pieces;  /* struct eng_tensor_info, borrowed from the weights */
  float *constant;    /* owned; NULL unless it stands for the pieces */
  gboolean permute;   /* the piece is [out, in, kh, kw] */
};

struct eng_loader {
  eng_weights *weights; /* a reference */
  char *component, *prefix;
  GArray *wants; /* struct want */
  GError *error; /* the first wrong tensor */
};

/* Host memory that the stream may still read from. */
struct stage {
  void *memory;
  krn_event *event;
};

/* One run of eng_loader_finish. */
struct job {
  const eng_loader *loader;
  struct krn_device *device;
  krn_stream *stream;
  char *block;
  struct stage stage[2]; /* used in turn */
  int turn;
  size_t stage_bytes;
  size_t done, reported, total;
  void (*progress) (size_t done, size_t total, void *data);
  void *data;
  const int *cancelled;
  krn_status status; /* the device's first refusal; GError has the rest */
};

static void
clear_want (gpointer data)
{
  struct want *want = data;

  g_clear_pointer (&want->pieces, g_ptr_array_unref);
  g_clear_pointer (&want->constant, g_free);
}

eng_loader *
eng_loader_new (const eng_weights *weights, const char *component, const char *prefix)
{
  eng_loader *loader = g_new0 (eng_loader, 1);

  loader->weights = eng_weights_ref ((eng_weights *) weights); /* only its count changes */
  loader->component = g_strdup (component);
  loader->prefix = g_strdup (prefix);
  loader->wants = g_array_new (FALSE, FALSE, sizeof (struct want));
  g_array_set_clear_func (loader->wants, clear_want);
  return loader;
}

void
eng_loader_free (eng_loader *loader)
{
  g_clear_error (&loader->error);
  g_array_unref (loader->wants);
  g_free (loader->prefix);
  g_free (loader->component);
  eng_weights_unref (loader->weights);
  g_free (loader);
}

const struct eng_tensor_info *
eng_loader_lookup (const eng_loader *loader, const char *name)
{
  g_autofree char *full = g_strconcat (loader->prefix, name, NULL);

  return eng_weights_lookup (loader->weights, full);
}

gboolean
eng_loader_has (const eng_loader *loader, const char *name)
{
  return eng_loader_lookup (loader, name) != NULL;
}

static void refuse (eng_loader *loader, const char *format, ...) G_GNUC_PRINTF (2, 3);

static void
refuse (eng_loader *loader, const char *format, ...)
{
  va_list args;

  if (loader->error)
    return;
  va_start (args, format);
  loader->error = g_error_new_valist (ENG_ERROR, ENG_ERROR_MODEL, format, args);
  va_end (args);
  g_prefix_error (&loader->error, "%s: ", loader->component);
}

/* `[64, 192]`; the caller frees it. */
static char *
dup_shape (const struct eng_tensor_info *tensor)
{
  GString *text = g_string_new ("[");

  for (int i = 0; i < MIN (tensor->n_dims, 4); i++)
    g_string_append_printf (text, "%s%" G_GINT64_FORMAT, i ? ", " : "", tensor->dim[i]);
  g_string_append (text, tensor->n_dims > 4 ? ", ...]" : "]");
  return g_string_free (text, FALSE);
}

static void
refuse_shape (eng_loader *loader, const struct eng_tensor_info *tensor, const char *expected)
{
  g_autofree char *shape = dup_shape (tensor);

  refuse (loader, "%s is %s, expected %s", tensor->name, shape, expected);
}

/* The tensor of that name when a device can convert it, else NULL and remembered. */
static const struct eng_tensor_info *
find (eng_loader *loader, const char *name)
{
  const struct eng_tensor_info *tensor = eng_loader_lookup (loader, name);

  if (!tensor) {
    refuse (loader, "%s%s is missing", loader->prefix, name);
    return NULL;
  }
  if (tensor->dtype != KRN_F32 && tensor->dtype != KRN_F16 && tensor->dtype != KRN_BF16) {
    refuse (loader, "%s is %s, expected F32, F16 or BF16", tensor->name, tensor->on_disk);
    return NULL;
  }
  return tensor;
}

/* Elements of a tensor; its file was checked, so this is in range. */
static int64_t
count (const struct eng_tensor_info *tensor)
{
  return tensor->bytes / krn_dtype_size (tensor->dtype);
}

/* The size of a row: the last dimension, but a 1x1 convolution's kernel is not one. */
static int64_t
row_size (const struct eng_tensor_info *tensor, int64_t cols)
{
  int n = MIN (tensor->n_dims, 4);

  while (cols != 1 && n > 1 && tensor->dim[n - 1] == 1)
    n--;
  return n > 0 && tensor->n_dims <= 4 ? tensor->dim[n - 1] : 1;
}

static struct want *
add_want (eng_loader *loader, krn_tensor *target, krn_tensor tensor)
{
  const struct want want = { .target = target, .tensor = tensor, .pieces = g_ptr_array_new () };

  *target = (krn_tensor){ 0 };
  g_array_append_val (loader->wants, want);
  return &g_array_index (loader->wants, struct want, loader->wants->len - 1);
}

/* Refuses a tensor whose rows are not cols wide; with one row in all, pieces of it may be of any
 * shape. */
static gboolean
check_piece (eng_loader *loader, const struct eng_tensor_info *tensor, int64_t rows, int64_t cols,
             gboolean alone)
{
  g_autofree char *expected = NULL;

  if (rows == 1 ? !alone || count (tensor) == cols
                : row_size (tensor, cols) == cols && (!alone || count (tensor) == rows * cols))
    return TRUE;
  if (alone && rows > 1)
    expected = g_strdup_printf ("[%" G_GINT64_FORMAT ", %" G_GINT64_FORMAT "]", rows, cols);
  else
    expected =
        g_strdup_printf (alone ? "[%" G_GINT64_FORMAT "]" : "rows of %" G_GINT64_FORMAT, cols);
  refuse_shape (loader, tensor, expected);
  return FALSE;
}

void
eng_loader_want (eng_loader *loader, krn_tensor *target, int64_t rows, int64_t cols,
                 const char *name, ...)
{
  struct want *want = add_want (loader, target, krn_tensor_make (NULL, KRN_F32, 1, 1, rows, cols));
  const char *first = name;
  int64_t n, sum = 0;
  gboolean ok = TRUE;
  va_list args;

  if (rows < 1 || cols < 1 || __builtin_mul_overflow (rows, cols, &n)) {
    refuse (loader, "%s%s cannot be [%" G_GINT64_FORMAT ", %" G_GINT64_FORMAT "]", loader->prefix,
            name, rows, cols);
    return;
  }

  va_start (args, name);
  for (; name; name = va_arg (args, const char *)) {
    const struct eng_tensor_info *tensor = find (loader, name);
    if (tensor)
      g_ptr_array_add (want->pieces, (void *) tensor);
    ok &= tensor != NULL;
  }
  va_end (args);

  for (guint i = 0; ok && i < want->pieces->len; i++) {
    ok = check_piece (loader, want->pieces->pdata[i], rows, cols, want->pieces->len == 1);
    sum += count (want->pieces->pdata[i]);
  }
  if (ok && sum != n)
    refuse (loader,
            "%s%s and what follows it have %" G_GINT64_FORMAT " rows, expected %" G_GINT64_FORMAT,
            loader->prefix, first, rows == 1 ? sum : sum / MAX (cols, 1), rows == 1 ? cols : rows);
}

void
eng_loader_want_conv (eng_loader *loader, krn_tensor *target, int out, int in, int kh, int kw,
                      const char *name)
{
  struct want *want = add_want (loader, target, krn_tensor_make (NULL, KRN_F32, out, kh, kw, in));
  const struct eng_tensor_info *tensor = find (loader, name);
  const int64_t expected[4] = { out, in, kh, kw };
  const int n_dims = kh == 1 && kw == 1 ? 2 : 4; /* a 1x1 kernel may be written as a matrix */
  g_autofree char *text = NULL;

  if (!tensor)
    return;
  g_ptr_array_add (want->pieces, (void *) tensor);
  want->permute = kh > 1 || kw > 1;
  if ((tensor->n_dims == 4 || tensor->n_dims == n_dims) &&
      memcmp (tensor->dim, expected, tensor->n_dims * sizeof *expected) == 0)
    return;
  text = g_strdup_printf ("[%d, %d, %d, %d]", out, in, kh, kw);
  refuse_shape (loader, tensor, text);
}

void
eng_loader_want_constant (eng_loader *loader, krn_tensor *target, int64_t rows, int64_t cols,
                          const float *values)
{
  struct want *want = add_want (loader, target, krn_tensor_make (NULL, KRN_F32, 1, 1, rows, cols));

  want->constant = g_memdup2 (values, rows * cols * sizeof *values);
}

/* Bytes of everything on the device, SIZE_MAX when a size_t cannot hold them; offsets (may be NULL)
 * gets where each want begins. */
static size_t
plan (const eng_loader *loader, krn_dtype dtype, size_t *offsets)
{
  size_t total = 0;

  for (guint i = 0; i < loader->wants->len; i++) {
    const struct want *want = &g_array_index (loader->wants, struct want, i);
    size_t bytes = krn_dtype_size (want->constant ? KRN_F32 : dtype);

    if (!g_size_checked_mul (&bytes, bytes, krn_count (want->tensor)) ||
        !g_size_checked_add (&bytes, bytes, ALIGNMENT - 1))
      return SIZE_MAX;
    if (offsets)
      offsets[i] = total;
    if (!g_size_checked_add (&total, total, bytes & ~(size_t) (ALIGNMENT - 1)))
      return SIZE_MAX;
  }
  return total;
}

size_t
eng_loader_get_bytes (const eng_loader *loader)
{
  return loader->error ? 0 : plan (loader, KRN_F32, NULL);
}

/* The file is whole and nobody cancelled. */
static gboolean
may_go_on (const struct job *job, const struct eng_tensor_info *tensor, GError **error)
{
  if (job->cancelled && g_atomic_int_get (job->cancelled)) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_CANCELLED, "%s: cancelled", job->loader->component);
    return FALSE;
  }
  return !tensor || eng_weights_check (job->loader->weights, tensor, error);
}

static void
report (struct job *job, size_t bytes)
{
  job->done += bytes;
  if (job->progress && (job->done - job->reported >= PROGRESS_BYTES || job->done == job->total)) {
    job->progress (job->done, job->total, job->data);
    job->reported = job->done;
  }
}

/* A staging buffer that the stream has finished with; NULL when the device refused. */
static struct stage *
next_stage (struct job *job)
{
  struct stage *stage = &job->stage[job->turn++ % 2];

  if (stage->memory) {
    job->status = job->device->event_sync (stage->event);
    return job->status ? NULL : stage;
  }
  if (!stage->event && (job->status = job->device->event_new (job->device, &stage->event)))
    return NULL;
  if ((job->status = job->device->host_alloc (job->device, &stage->memory, job->stage_bytes)))
    return NULL;
  return stage;
}

/* Writes rows of [in, positions] as [positions, in]; elements have size bytes, source any
 * alignment. */
static void
transpose_rows (char *to, const char *from, int64_t rows, int64_t in, int64_t positions,
                size_t size)
{
  for (int64_t r = 0; r < rows; r++)
    for (int64_t p = 0; p < positions; p++)
      for (int64_t i = 0; i < in; i++) {
        const char *source = from + ((r * in + i) * positions + p) * size;
        char *target = to + ((r * positions + p) * in + i) * size;
        if (size == 2)
          memcpy (target, source, 2);
        else
          memcpy (target, source, 4);
      }
}

/* Sends n elements of tensor, from element first on, to dst. */
static gboolean
send_chunk (struct job *job, const struct want *want, krn_tensor dst,
            const struct eng_tensor_info *tensor, int64_t first)
{
  const size_t size = krn_dtype_size (tensor->dtype);
  const char *from = (const char *) tensor->data + first * size;
  const int64_t n = krn_count (dst), in = want->tensor.dim[3];
  const int64_t positions = want->tensor.dim[1] * want->tensor.dim[2];
  struct stage *stage;

  /* What needs no change goes straight from the mapping. */
  if (!want->permute && (guintptr) from % size == 0) {
    job->status = job->device->upload (job->stream, dst, from, tensor->dtype);
    return job->status == KRN_OK;
  }
  if (!(stage = next_stage (job)))
    return FALSE;
  if (want->permute)
    transpose_rows (stage->memory, from, n / (in * positions), in, positions, size);
  else
    memcpy (stage->memory, from, n * size);
  job->status = job->device->upload (job->stream, dst, stage->memory, tensor->dtype);
  if (job->status == KRN_OK)
    job->status = job->device->event_record (job->stream, stage->event);
  return job->status == KRN_OK;
}

/* Elements of one piece that go to the device at once: whole filters when they are permuted. */
static int64_t
chunk_elements (const struct want *want, const struct eng_tensor_info *tensor)
{
  const int64_t n = CHUNK_BYTES / krn_dtype_size (tensor->dtype);
  const int64_t filter = want->tensor.dim[1] * want->tensor.dim[2] * want->tensor.dim[3];

  return want->permute ? MAX (n / filter, 1) * filter : n;
}

static gboolean
send_piece (struct job *job, const struct want *want, char *to, krn_dtype dtype,
            const struct eng_tensor_info *tensor, GError **error)
{
  const int64_t n = count (tensor), chunk = chunk_elements (want, tensor);
  const size_t size = krn_dtype_size (dtype);

  for (int64_t first = 0; first < n; first += chunk) {
    const int64_t part = MIN (chunk, n - first);
    const krn_tensor dst = krn_tensor_make (to + first * size, dtype, 1, 1, 1, part);

    if (!may_go_on (job, tensor, error) || !send_chunk (job, want, dst, tensor, first))
      return FALSE;
    report (job, part * size);
  }
  return TRUE;
}

static gboolean
send_want (struct job *job, const struct want *want, krn_tensor tensor, GError **error)
{
  char *to = tensor.data;

  if (want->constant) {
    if (!may_go_on (job, NULL, error))
      return FALSE;
    job->status = job->device->upload (job->stream, tensor, want->constant, KRN_F32);
    report (job, krn_count (tensor) * sizeof (float));
    return job->status == KRN_OK;
  }
  for (guint i = 0; i < want->pieces->len; i++) {
    const struct eng_tensor_info *piece = want->pieces->pdata[i];

    if (!send_piece (job, want, to, tensor.dtype, piece, error))
      return FALSE;
    to += count (piece) * krn_dtype_size (tensor.dtype);
  }
  return TRUE;
}

/* Turns the device's refusal into an error; needed bytes were asked for. */
static void
set_device_error (const struct job *job, size_t needed, GError **error)
{
  g_autofree char *needed_text = g_format_size (needed);
  g_autofree char *free_text = NULL;
  size_t free_bytes, total_bytes;

  if (job->status != KRN_ERROR_MEMORY) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE, "%s: %s", job->loader->component,
                 job->device->status_text (job->device, job->status));
    return;
  }
  job->device->info (job->device, &free_bytes, &total_bytes);
  free_text = g_format_size (free_bytes);
  g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY, "%s: needs %s, %s free on %s",
               job->loader->component, needed_text, free_text, job->device->name);
}

/* The block for everything.  Asks before it takes: a host would promise more than it has. */
static gboolean
alloc_block (struct job *job, size_t bytes)
{
  size_t free_bytes, total_bytes;
  void *block = NULL;

  job->device->info (job->device, &free_bytes, &total_bytes);
  job->status = bytes > free_bytes
                    ? KRN_ERROR_MEMORY
                    : job->device->alloc (job->device, &block, MAX (bytes, ALIGNMENT));
  job->block = block;
  return job->status == KRN_OK;
}

/* A permuted filter must fit into a staging buffer whole. */
static size_t
find_stage_bytes (const eng_loader *loader)
{
  size_t bytes = CHUNK_BYTES;

  for (guint i = 0; i < loader->wants->len; i++) {
    const struct want *want = &g_array_index (loader->wants, struct want, i);
    if (want->permute && want->pieces->len && want->tensor.dim[0] > 0)
      bytes = MAX (bytes, ((struct eng_tensor_info *) want->pieces->pdata[0])->bytes /
                              want->tensor.dim[0]);
  }
  return bytes;
}

/* Where want will be on the device. */
static krn_tensor
place (const struct job *job, const struct want *want, size_t offset)
{
  krn_tensor tensor = want->tensor;

  tensor.data = job->block + offset;
  tensor.dtype = want->constant ? KRN_F32 : job->device->weight;
  return tensor;
}

static gboolean
send_all (struct job *job, const size_t *offsets, GError **error)
{
  const GArray *wants = job->loader->wants;

  for (guint i = 0; i < wants->len; i++) {
    const struct want *want = &g_array_index (wants, struct want, i);
    const krn_tensor tensor = place (job, want, offsets[i]);

    job->total += krn_count (tensor) * krn_dtype_size (tensor.dtype);
  }
  for (guint i = 0; i < wants->len; i++) {
    const struct want *want = &g_array_index (wants, struct want, i);

    if (!send_want (job, want, place (job, want, offsets[i]), error))
      return FALSE;
  }
  return TRUE;
}

/* Waits, also after a failure: the stream may still read from the staging buffers. */
static void
finish_job (struct job *job)
{
  const krn_status status = job->device->stream_sync (job->stream);

  if (!job->status)
    job->status = status;
  for (int i = 0; i < 2; i++) {
    if (job->stage[i].memory)
      job->device->host_free (job->device, job->stage[i].memory);
    job->device->event_free (job->stage[i].event);
  }
}

/* Everything on the device, or nothing, and error set. */
static gboolean
run_job (struct job *job, size_t bytes, const size_t *offsets, GError **error)
{
  g_autoptr (GError) failure = NULL;

  if (alloc_block (job, bytes)) {
    send_all (job, offsets, &failure);
    finish_job (job);
  }
  if (!failure && job->status)
    set_device_error (job, bytes, &failure);
  if (!failure)
    return TRUE;
  job->device->free_memory (job->device, job->block);
  g_propagate_error (error, g_steal_pointer (&failure));
  return FALSE;
}

void *
eng_loader_finish (eng_loader *loader, struct krn_device *device, krn_stream *stream,
                   void (*progress) (size_t done, size_t total, void *data), void *data,
                   const int *cancelled, GError **error)
{
  g_autofree size_t *offsets = g_new (size_t, loader->wants->len + 1);
  struct job job = { .loader = loader,
                     .device = device,
                     .stream = stream,
                     .stage_bytes = CHUNK_BYTES,
                     .progress = progress,
                     .data = data,
                     .cancelled = cancelled };

  if (loader->error) {
    g_propagate_error (error, g_error_copy (loader->error));
    return NULL;
  }
  job.stage_bytes = find_stage_bytes (loader);
  if (!may_go_on (&job, NULL, error) ||
      !run_job (&job, plan (loader, device->weight, offsets), offsets, error))
    return NULL;
  for (guint i = 0; i < loader->wants->len; i++) {
    const struct want *want = &g_array_index (loader->wants, struct want, i);
    *want->target = place (&job, want, offsets[i]);
  }
  return job.block;
}
