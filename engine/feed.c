#include "engine/feed.h"

#include "engine/error.h"
#include "engine/safetensors.h"
#include "engine/sender.h"

enum { SLOTS = 2 };

struct eng_feed {
  struct krn_device *device; /* borrowed */
  eng_loader *loader;        /* owned */
  guint first, n;            /* groups */
  size_t slot_bytes;
  GArray *chunks; /* of struct eng_chunk; where they go is set by every pass */
  eng_sender *sender;
  krn_stream *stream;     /* owned; the uploads' */
  krn_event *ready;       /* owned; a group is on the device */
  krn_event *free[SLOTS]; /* owned; a slot's group is not used any more */
  void *rows;             /* host memory that the upload of rows may still read from */
  size_t rows_bytes;
  krn_event *rows_done; /* owned */
  gboolean rows_sent;   /* it was recorded */
  GError *error;        /* of the last pass; a run borrows it */
};

/* Its wants are [get_group (i), get_group (i + 1)). */
static guint
get_group (const eng_loader *loader, guint i)
{
  return i == 0 ? 0 : g_array_index (loader->groups, guint, i - 1);
}

/* Of the largest group. */
static size_t
get_slot_bytes (const eng_loader *loader, guint first, krn_dtype weight)
{
  size_t most = 0;

  for (guint i = first; i < loader->groups->len && !loader->error; i++) {
    size_t bytes = 0;

    for (guint k = get_group (loader, i); k < get_group (loader, i + 1); k++)
      bytes += eng_want_bytes (&g_array_index (loader->wants, struct eng_want, k), weight);
    most = MAX (most, bytes);
  }
  return most;
}

size_t
eng_feed_get_bytes (const eng_loader *loader, guint first, krn_dtype weight)
{
  return SLOTS * get_slot_bytes (loader, first, weight);
}

/* Sets the targets and the chunks for slots that begin at base. */
static void
place_groups (eng_feed *feed, char *base)
{
  g_array_set_size (feed->chunks, 0);
  for (guint i = 0; i < feed->n; i++) {
    const guint from = get_group (feed->loader, feed->first + i);
    const guint to = get_group (feed->loader, feed->first + i + 1);

    eng_loader_place (feed->loader, from, to - from, feed->device->weight,
                      base + i % SLOTS * feed->slot_bytes);
    for (guint k = from; k < to; k++) {
      const struct eng_want *want = &g_array_index (feed->loader->wants, struct eng_want, k);
      eng_sender_add_chunks (feed->chunks, feed->loader, want, *want->target, i);
    }
  }
}

static gboolean
make_events (eng_feed *feed)
{
  struct krn_device *device = feed->device;
  krn_status status = device->stream_new (device, &feed->stream);

  status = status ? status : device->event_new (device, &feed->ready);
  status = status ? status : device->event_new (device, &feed->rows_done);
  for (int i = 0; i < SLOTS; i++)
    status = status ? status : device->event_new (device, &feed->free[i]);
  return status == KRN_OK;
}

eng_feed *
eng_feed_new (eng_loader *loader, guint first, struct krn_device *device, GError **error)
{
  eng_feed *feed = g_new0 (eng_feed, 1);

  feed->device = device;
  feed->loader = loader;
  feed->first = first;
  feed->chunks = g_array_new (FALSE, FALSE, sizeof (struct eng_chunk));
  if (loader->error) {
    g_propagate_error (error, g_error_copy (loader->error));
    eng_feed_free (feed);
    return NULL;
  }
  feed->n = loader->groups->len - first;
  feed->slot_bytes = get_slot_bytes (loader, first, device->weight);
  if (!make_events (feed)) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE, "%s: no stream on %s", loader->component,
                 device->name);
    eng_feed_free (feed);
    return NULL;
  }
  place_groups (feed, NULL);
  feed->sender = eng_sender_new (device, feed->stream, feed->chunks);
  return feed;
}

void
eng_feed_free (eng_feed *feed)
{
  if (!feed)
    return;
  if (feed->sender)
    eng_sender_finish (feed->sender, NULL);
  eng_sender_free (feed->sender);
  for (int i = 0; i < SLOTS; i++)
    feed->device->event_free (feed->free[i]);
  feed->device->event_free (feed->rows_done);
  feed->device->event_free (feed->ready);
  feed->device->stream_free (feed->stream);
  g_array_unref (feed->chunks);
  eng_loader_free (feed->loader);
  g_clear_error (&feed->error);
  g_free (feed->rows);
  g_free (feed);
}

krn_tensor
eng_feed_take (const eng_feed *feed, struct eng_run *run)
{
  return eng_run_take (run, KRN_U8, 1, 1, SLOTS, feed->slot_bytes);
}

/* The run fails with feed->error, which is set, and with the device's status, if it was that. */
static void
fail (eng_feed *feed, struct eng_run *run, krn_status status)
{
  if (status)
    run->status = status;
  else if (g_error_matches (feed->error, ENG_ERROR, ENG_ERROR_CANCELLED))
    run->status = KRN_CANCELLED;
  else
    run->status = KRN_ERROR_UNSUPPORTED;
  run->failed = "eng_feed";
  run->cause = feed->error;
}

static gboolean
check (struct eng_run *run, krn_status status, const char *what)
{
  if (!status)
    return TRUE;
  run->status = status;
  run->failed = what;
  return FALSE;
}

/* Ends a pass that was not ended, and begins to read. */
static gboolean
begin (eng_feed *feed, struct eng_run *run, char *base)
{
  eng_sender_finish (feed->sender, NULL);
  g_clear_error (&feed->error);
  /* What used this memory before is not in the way. */
  if (!check (run, run->device->event_record (run->stream, feed->free[0]), "event_record") ||
      !check (run, run->device->event_wait (feed->stream, feed->free[0]), "event_wait"))
    return FALSE;
  place_groups (feed, base);
  eng_sender_start (feed->sender, SLOTS, run->cancelled);
  return TRUE;
}

void
eng_feed_acquire (eng_feed *feed, struct eng_run *run, krn_tensor memory, guint i)
{
  krn_event *free = feed->free[(i + SLOTS - 1) % SLOTS];

  if (!eng_run_may_launch (run))
    return;
  if (i == 0 && !begin (feed, run, memory.data))
    return;
  if (i > 0) {
    if (!check (run, run->device->event_record (run->stream, free), "event_record"))
      return;
    eng_sender_open_group (feed->sender, free);
  }

  if (eng_sender_wait_group (feed->sender, i, feed->ready))
    check (run, run->device->event_wait (run->stream, feed->ready), "event_wait");
  else if (!eng_sender_finish (feed->sender, &feed->error))
    fail (feed, run, eng_sender_get_status (feed->sender));
  if (i == feed->n - 1 && !run->status && !eng_sender_finish (feed->sender, &feed->error))
    fail (feed, run, eng_sender_get_status (feed->sender));
}

void
eng_feed_stop (eng_feed *feed)
{
  eng_sender_finish (feed->sender, NULL);
}

/* Host memory of that size which no upload reads any more. */
static gboolean
reserve_rows (eng_feed *feed, struct eng_run *run, size_t bytes)
{
  if (feed->rows_sent && !check (run, feed->device->event_sync (feed->rows_done), "event_sync"))
    return FALSE;
  if (bytes > feed->rows_bytes) {
    feed->rows = g_realloc (feed->rows, bytes);
    feed->rows_bytes = bytes;
  }
  return TRUE;
}

void
eng_feed_rows (eng_feed *feed, struct eng_run *run, krn_tensor dst,
               const struct eng_tensor_info *matrix, const int32_t *ids)
{
  const size_t row = dst.dim[3] * krn_dtype_size (matrix->dtype);

  if (!eng_run_may_launch (run) || !reserve_rows (feed, run, krn_rows (dst) * row))
    return;
  g_clear_error (&feed->error);
  for (int64_t i = 0; i < krn_rows (dst); i++)
    if (!eng_weights_read (feed->loader->weights, matrix, ids[i] * row,
                           (char *) feed->rows + i * row, row, &feed->error)) {
      fail (feed, run, KRN_OK);
      return;
    }
  if (check (run, run->device->upload (run->stream, dst, feed->rows, matrix->dtype), "upload") &&
      check (run, run->device->event_record (run->stream, feed->rows_done), "event_record"))
    feed->rows_sent = TRUE;
}
