#include "engine/sender.h"

#include "engine/error.h"
#include "engine/safetensors.h"

#include <string.h>

enum {
  CHUNK_BYTES = 4 << 20, /* one upload; cancel is looked at between two */
  MOST_THREADS = 8,
  LEAST_THREADS = 2,   /* a file that is not in memory yet is waited for */
  CHUNKS_A_THREAD = 4, /* fewer are not worth one */
};

/* Host memory that the stream may still read from. */
struct stage {
  void *memory;
  krn_event *event;
};

struct worker {
  eng_sender *sender;
  GThread *thread;
  struct stage stage[2]; /* used in turn */
  int turn;
  char *raw; /* a chunk as the file has it, to be permuted; or NULL */
};

struct eng_sender {
  struct krn_device *device; /* borrowed */
  const GArray *chunks;      /* of struct eng_chunk, borrowed */
  size_t total, stage_bytes;
  struct worker workers[MOST_THREADS];
  guint n_workers;
  const int *cancelled;

  GMutex mutex;       /* guards what follows */
  GCond cond;         /* something was sent, opened, or failed */
  krn_stream *stream; /* borrowed */
  guint next;         /* chunk */
  guint open;         /* groups that may be sent */
  guint *left;        /* chunks of each group that are not sent */
  size_t done;        /* bytes */
  gboolean stop;
  GError *error;     /* the first */
  krn_status status; /* the device's, when the error is its; else KRN_OK */
};

static const struct eng_chunk *
get_chunk (const eng_sender *sender, guint i)
{
  return &g_array_index (sender->chunks, struct eng_chunk, i);
}

/* ---- Chunks ---- */

/* Elements of one piece that go to the device at once: whole filters when they are permuted. */
static int64_t
chunk_elements (const struct eng_want *want, const struct eng_tensor_info *tensor)
{
  const int64_t n = CHUNK_BYTES / krn_dtype_size (tensor->dtype);
  const int64_t filter = want->tensor.dim[1] * want->tensor.dim[2] * want->tensor.dim[3];

  return want->permute ? MAX (n / filter, 1) * filter : n;
}

void
eng_sender_add_chunks (GArray *chunks, const eng_loader *loader, const struct eng_want *want,
                       krn_tensor tensor, guint group)
{
  struct eng_chunk chunk = { loader, want, NULL, 0, tensor, group };
  char *to = tensor.data;

  if (want->constant)
    g_array_append_val (chunks, chunk);
  for (guint i = 0; i < want->pieces->len; i++) {
    chunk.tensor = want->pieces->pdata[i];
    const int64_t n = eng_tensor_count (chunk.tensor), most = chunk_elements (want, chunk.tensor);

    for (chunk.first = 0; chunk.first < n; chunk.first += most) {
      chunk.dst = krn_tensor_make (to, tensor.dtype, 1, 1, 1, MIN (most, n - chunk.first));
      g_array_append_val (chunks, chunk);
      to += krn_count (chunk.dst) * krn_dtype_size (tensor.dtype);
    }
  }
}

static size_t
dst_bytes (const struct eng_chunk *chunk)
{
  return krn_count (chunk->dst) * krn_dtype_size (chunk->dst.dtype);
}

/* ---- A thread ---- */

static void
adopt_error (eng_sender *sender, krn_status status, GError *error)
{
  g_mutex_lock (&sender->mutex);
  if (sender->error) {
    g_error_free (error);
  } else {
    sender->error = error;
    sender->status = status;
  }
  sender->stop = TRUE;
  g_cond_broadcast (&sender->cond);
  g_mutex_unlock (&sender->mutex);
}

static gboolean
check_status (eng_sender *sender, const struct eng_chunk *chunk, krn_status status)
{
  if (status)
    adopt_error (sender, status,
                 g_error_new (ENG_ERROR, ENG_ERROR_DEVICE, "%s: %s", chunk->loader->component,
                              sender->device->status_text (sender->device, status)));
  return status == KRN_OK;
}

/* A staging buffer that the stream has finished with; NULL after a failure. */
static struct stage *
next_stage (struct worker *worker, const struct eng_chunk *chunk)
{
  struct krn_device *device = worker->sender->device;
  const size_t bytes = worker->sender->stage_bytes;
  struct stage *stage = &worker->stage[worker->turn++ % 2];

  if (stage->memory)
    return check_status (worker->sender, chunk, device->event_sync (stage->event)) ? stage : NULL;
  if (!stage->event &&
      !check_status (worker->sender, chunk, device->event_new (device, &stage->event)))
    return NULL;
  if (device->host_alloc (device, &stage->memory, bytes)) {
    g_autofree char *size = g_format_size (bytes);
    stage->memory = NULL;
    adopt_error (worker->sender, KRN_OK,
                 g_error_new (ENG_ERROR, ENG_ERROR_MEMORY,
                              "%s: needs %s of host memory to copy from, which %s refused",
                              chunk->loader->component, size, device->name));
    return NULL;
  }
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

/* Fills to with what the device converts. */
static gboolean
read_chunk (struct worker *worker, const struct eng_chunk *chunk, void *to)
{
  const struct eng_want *want = chunk->want;
  const size_t size = krn_dtype_size (chunk->tensor->dtype);
  const int64_t n = krn_count (chunk->dst), in = want->tensor.dim[3];
  const int64_t positions = want->tensor.dim[1] * want->tensor.dim[2];
  GError *error = NULL;

  if (want->permute && !worker->raw)
    worker->raw = g_malloc (worker->sender->stage_bytes);
  if (!eng_weights_read (chunk->loader->weights, chunk->tensor, chunk->first * size,
                         want->permute ? worker->raw : to, n * size, &error)) {
    adopt_error (worker->sender, KRN_OK, error);
    return FALSE;
  }
  if (want->permute)
    transpose_rows (to, worker->raw, n / (in * positions), in, positions, size);
  return TRUE;
}

/* Uploads src; event is recorded behind it. */
static gboolean
enqueue (eng_sender *sender, const struct eng_chunk *chunk, const void *src, krn_event *event)
{
  const krn_dtype dtype = chunk->tensor ? chunk->tensor->dtype : KRN_F32;
  krn_status status;

  g_mutex_lock (&sender->mutex);
  status = sender->device->upload (sender->stream, chunk->dst, src, dtype);
  if (!status && event)
    status = sender->device->event_record (sender->stream, event);
  if (!status) {
    sender->left[chunk->group]--;
    sender->done += dst_bytes (chunk);
    g_cond_broadcast (&sender->cond);
  }
  g_mutex_unlock (&sender->mutex);
  return check_status (sender, chunk, status);
}

static gboolean
send_chunk (struct worker *worker, const struct eng_chunk *chunk)
{
  struct stage *stage;

  if (!chunk->tensor)
    return enqueue (worker->sender, chunk, chunk->want->constant, NULL);
  stage = next_stage (worker, chunk);
  return stage && read_chunk (worker, chunk, stage->memory) &&
         enqueue (worker->sender, chunk, stage->memory, stage->event);
}

static const struct eng_chunk *
take_chunk (eng_sender *sender)
{
  const struct eng_chunk *chunk = NULL;

  g_mutex_lock (&sender->mutex);
  while (!sender->stop && sender->next < sender->chunks->len &&
         get_chunk (sender, sender->next)->group >= sender->open)
    g_cond_wait (&sender->cond, &sender->mutex);
  if (!sender->stop && sender->next < sender->chunks->len)
    chunk = get_chunk (sender, sender->next++);
  g_mutex_unlock (&sender->mutex);

  if (!chunk || !sender->cancelled || !g_atomic_int_get (sender->cancelled))
    return chunk;
  adopt_error (
      sender, KRN_OK,
      g_error_new (ENG_ERROR, ENG_ERROR_CANCELLED, "%s: cancelled", chunk->loader->component));
  return NULL;
}

static gpointer
worker_thread (gpointer data)
{
  struct worker *worker = data;
  const struct eng_chunk *chunk;

  while ((chunk = take_chunk (worker->sender)) && send_chunk (worker, chunk))
    ;
  return NULL;
}

/* ---- The owner ---- */

eng_sender *
eng_sender_new (struct krn_device *device, krn_stream *stream, const GArray *chunks)
{
  eng_sender *sender = g_new0 (eng_sender, 1);
  const guint cores = CLAMP (g_get_num_processors (), LEAST_THREADS, MOST_THREADS);
  guint groups = 0;

  sender->device = device;
  sender->stream = stream;
  sender->chunks = chunks;
  sender->n_workers = MIN (cores, chunks->len / CHUNKS_A_THREAD + 1);
  for (guint i = 0; i < chunks->len; i++) {
    const struct eng_chunk *chunk = get_chunk (sender, i);

    sender->total += dst_bytes (chunk);
    groups = chunk->group + 1;
    if (chunk->tensor)
      sender->stage_bytes =
          MAX (sender->stage_bytes, krn_count (chunk->dst) * krn_dtype_size (chunk->tensor->dtype));
  }
  sender->left = g_new0 (guint, groups + 1);
  g_mutex_init (&sender->mutex);
  g_cond_init (&sender->cond);
  return sender;
}

void
eng_sender_free (eng_sender *sender)
{
  if (!sender)
    return;
  for (guint i = 0; i < sender->n_workers; i++) {
    for (int s = 0; s < 2; s++) {
      sender->device->host_free (sender->device, sender->workers[i].stage[s].memory);
      sender->device->event_free (sender->workers[i].stage[s].event);
    }
    g_free (sender->workers[i].raw);
  }
  g_clear_error (&sender->error);
  g_mutex_clear (&sender->mutex);
  g_cond_clear (&sender->cond);
  g_free (sender->left);
  g_free (sender);
}

size_t
eng_sender_get_total (const eng_sender *sender)
{
  return sender->total;
}

void
eng_sender_start (eng_sender *sender, guint open, const int *cancelled)
{
  guint started = 0;

  sender->cancelled = cancelled;
  sender->next = 0;
  sender->open = open;
  sender->done = 0;
  sender->stop = FALSE;
  sender->status = KRN_OK;
  for (guint i = 0; i < sender->chunks->len; i++)
    sender->left[get_chunk (sender, i)->group] = 0;
  for (guint i = 0; i < sender->chunks->len; i++)
    sender->left[get_chunk (sender, i)->group]++;

  for (guint i = 0; i < sender->n_workers; i++) {
    g_autoptr (GError) why = NULL;
    struct worker *worker = &sender->workers[i];

    worker->sender = sender;
    worker->thread = g_thread_try_new ("load", worker_thread, worker, &why);
    started += worker->thread != NULL;
    if (why && i == sender->n_workers - 1 && started == 0)
      adopt_error (
          sender, KRN_OK,
          g_error_new (ENG_ERROR, ENG_ERROR_DEVICE, "no thread for loading: %s", why->message));
  }
}

size_t
eng_sender_wait_bytes (eng_sender *sender, size_t more_than)
{
  size_t done;

  g_mutex_lock (&sender->mutex);
  while (!sender->stop && sender->done <= more_than && sender->done < sender->total)
    g_cond_wait (&sender->cond, &sender->mutex);
  done = sender->done;
  g_mutex_unlock (&sender->mutex);
  return done;
}

gboolean
eng_sender_wait_group (eng_sender *sender, guint group, krn_event *event)
{
  krn_status status = KRN_OK;
  gboolean ok;

  g_mutex_lock (&sender->mutex);
  while (!sender->stop && sender->left[group] > 0)
    g_cond_wait (&sender->cond, &sender->mutex);
  ok = sender->left[group] == 0;
  if (ok)
    status = sender->device->event_record (sender->stream, event);
  g_mutex_unlock (&sender->mutex);
  return ok && check_status (sender, get_chunk (sender, 0), status);
}

void
eng_sender_open_group (eng_sender *sender, krn_event *event)
{
  krn_status status;

  g_mutex_lock (&sender->mutex);
  status = sender->device->event_wait (sender->stream, event);
  sender->open += !status;
  g_cond_broadcast (&sender->cond);
  g_mutex_unlock (&sender->mutex);
  check_status (sender, get_chunk (sender, 0), status);
}

gboolean
eng_sender_finish (eng_sender *sender, GError **error)
{
  krn_status status;

  g_mutex_lock (&sender->mutex);
  if (sender->done < sender->total) {
    sender->stop = TRUE;
    if (!sender->error)
      sender->error = g_error_new (ENG_ERROR, ENG_ERROR_CANCELLED, "%s: cancelled",
                                   get_chunk (sender, 0)->loader->component);
  }
  g_cond_broadcast (&sender->cond);
  g_mutex_unlock (&sender->mutex);
  for (guint i = 0; i < sender->n_workers; i++)
    g_clear_pointer (&sender->workers[i].thread, g_thread_join);

  /* Also after a failure: the stream may still read from the staging buffers. */
  status = sender->device->stream_sync (sender->stream);
  if (!sender->error && sender->chunks->len > 0)
    check_status (sender, get_chunk (sender, 0), status);
  if (!sender->error)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&sender->error));
  return FALSE;
}

krn_status
eng_sender_get_status (const eng_sender *sender)
{
  return sender->status;
}
