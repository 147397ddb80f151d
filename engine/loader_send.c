/* engine/loader_send.c - puts gathered tensors on a device: one block, staging buffers in turn. */
#include "engine/error.h"
#include "engine/loader.h"
#include "engine/safetensors.h"

#include <string.h>

enum {
  CHUNK_BYTES = 16 << 20,   /* one upload; cancel is looked at between two */
  PROGRESS_BYTES = 4 << 20, /* at least so many between two reports */
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
  char *raw; /* a piece as the file has it, to be permuted; stage_bytes, or NULL */
  size_t stage_bytes;
  size_t done, reported, total;
  void (*progress) (size_t done, size_t total, void *data);
  void *data;
  const int *cancelled;
  krn_status status; /* the device's first refusal; GError has the rest */
};

static gboolean
may_go_on (const struct job *job, GError **error)
{
  if (!job->cancelled || !g_atomic_int_get (job->cancelled))
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_CANCELLED, "%s: cancelled", job->loader->component);
  return FALSE;
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

/* Writes rows of [in, positions] as [positions, in]; elements have size bytes. */
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
send_chunk (struct job *job, const struct eng_want *want, krn_tensor dst,
            const struct eng_tensor_info *tensor, int64_t first, GError **error)
{
  const size_t size = krn_dtype_size (tensor->dtype);
  const int64_t n = krn_count (dst), in = want->tensor.dim[3];
  const int64_t positions = want->tensor.dim[1] * want->tensor.dim[2];
  struct stage *stage = next_stage (job);
  char *to;

  if (!stage)
    return FALSE;
  if (want->permute && !job->raw)
    job->raw = g_malloc (job->stage_bytes);
  to = want->permute ? job->raw : stage->memory;
  if (!eng_weights_read (job->loader->weights, tensor, first * size, to, n * size, error))
    return FALSE;
  if (want->permute)
    transpose_rows (stage->memory, to, n / (in * positions), in, positions, size);
  job->status = job->device->upload (job->stream, dst, stage->memory, tensor->dtype);
  if (job->status == KRN_OK)
    job->status = job->device->event_record (job->stream, stage->event);
  return job->status == KRN_OK;
}

/* Elements of one piece that go to the device at once: whole filters when they are permuted. */
static int64_t
chunk_elements (const struct eng_want *want, const struct eng_tensor_info *tensor)
{
  const int64_t n = CHUNK_BYTES / krn_dtype_size (tensor->dtype);
  const int64_t filter = want->tensor.dim[1] * want->tensor.dim[2] * want->tensor.dim[3];

  return want->permute ? MAX (n / filter, 1) * filter : n;
}

static gboolean
send_piece (struct job *job, const struct eng_want *want, char *to, krn_dtype dtype,
            const struct eng_tensor_info *tensor, GError **error)
{
  const int64_t n = eng_tensor_count (tensor), chunk = chunk_elements (want, tensor);
  const size_t size = krn_dtype_size (dtype);

  for (int64_t first = 0; first < n; first += chunk) {
    const int64_t part = MIN (chunk, n - first);
    const krn_tensor dst = krn_tensor_make (to + first * size, dtype, 1, 1, 1, part);

    if (!may_go_on (job, error) || !send_chunk (job, want, dst, tensor, first, error))
      return FALSE;
    report (job, part * size);
  }
  return TRUE;
}

static gboolean
send_want (struct job *job, const struct eng_want *want, krn_tensor tensor, GError **error)
{
  char *to = tensor.data;

  if (want->constant) {
    if (!may_go_on (job, error))
      return FALSE;
    job->status = job->device->upload (job->stream, tensor, want->constant, KRN_F32);
    report (job, krn_count (tensor) * sizeof (float));
    return job->status == KRN_OK;
  }
  for (guint i = 0; i < want->pieces->len; i++) {
    const struct eng_tensor_info *piece = want->pieces->pdata[i];

    if (!send_piece (job, want, to, tensor.dtype, piece, error))
      return FALSE;
    to += eng_tensor_count (piece) * krn_dtype_size (tensor.dtype);
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
  job->status = bytes > free_bytes ? KRN_ERROR_MEMORY
                                   : job->device->alloc (job->device, &block, MAX (bytes, 1));
  job->block = block;
  return job->status == KRN_OK;
}

/* A permuted filter must fit into a staging buffer whole. */
static size_t
find_stage_bytes (const eng_loader *loader)
{
  size_t bytes = CHUNK_BYTES;

  for (guint i = 0; i < loader->wants->len; i++) {
    const struct eng_want *want = &g_array_index (loader->wants, struct eng_want, i);
    if (want->permute && want->pieces->len && want->tensor.dim[0] > 0)
      bytes = MAX (bytes, ((struct eng_tensor_info *) want->pieces->pdata[0])->bytes /
                              want->tensor.dim[0]);
  }
  return bytes;
}

/* Where want will be on the device. */
static krn_tensor
place (const struct job *job, const struct eng_want *want, size_t offset)
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
    const struct eng_want *want = &g_array_index (wants, struct eng_want, i);
    const krn_tensor tensor = place (job, want, offsets[i]);

    job->total += krn_count (tensor) * krn_dtype_size (tensor.dtype);
  }
  for (guint i = 0; i < wants->len; i++) {
    const struct eng_want *want = &g_array_index (wants, struct eng_want, i);

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
  g_free (job->raw);
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
  if (!may_go_on (&job, error) ||
      !run_job (&job, eng_loader_plan (loader, device->weight, offsets), offsets, error))
    return NULL;
  for (guint i = 0; i < loader->wants->len; i++) {
    const struct eng_want *want = &g_array_index (loader->wants, struct eng_want, i);
    *want->target = place (&job, want, offsets[i]);
  }
  return job.block;
}
