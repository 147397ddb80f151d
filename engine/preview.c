#include "engine/preview.h"

#include "engine/error.h"

enum {
  N_SLOTS = 3,
  /* Between two frames for a reader, microseconds: twice a screen's rate.  Quicker steps would
   * leave no slot that is both new and done, and the screen would wait for those in flight. */
  REST = 8000
};

struct slot {
  void *memory;  /* on the device */
  uint8_t *host; /* of host_alloc */
  size_t size;   /* bytes of each */
  krn_event *ready, *down, *released;
  struct eng_preview_frame frame; /* serial 0: none */
  gboolean held;                  /* by the reader */
};

struct eng_preview {
  struct krn_device *device; /* borrowed */
  GMutex mutex;              /* of what follows */
  struct slot slots[N_SLOTS];
  int newest; /* < 0: none for readers */
  guint64 serial;
  guint64 cleared; /* frames up to this serial are not for readers */
  gboolean reader; /* there is one */
  gint64 began;    /* the last frame */
};

eng_preview *
eng_preview_new (struct krn_device *device, GError **error)
{
  eng_preview *preview = g_new0 (eng_preview, 1);
  krn_status status = KRN_OK;

  preview->device = device;
  preview->newest = -1;
  g_mutex_init (&preview->mutex);
  for (int i = 0; i < N_SLOTS && !status; i++) {
    struct slot *slot = &preview->slots[i];

    status = device->event_new (device, &slot->ready);
    status = status ? status : device->event_new (device, &slot->down);
    status = status ? status : device->event_new (device, &slot->released);
  }
  if (!status)
    return preview;
  g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE, "%s: no event: %s", device->name,
               device->status_text (device, status));
  eng_preview_free (preview);
  return NULL;
}

static void
free_memory (eng_preview *preview, struct slot *slot)
{
  preview->device->free_memory (preview->device, slot->memory);
  preview->device->host_free (preview->device, slot->host);
  slot->memory = NULL;
  slot->host = NULL;
  slot->size = 0;
  slot->frame.serial = 0;
}

void
eng_preview_free (eng_preview *preview)
{
  if (!preview)
    return;
  for (int i = 0; i < N_SLOTS; i++) {
    struct slot *slot = &preview->slots[i];

    free_memory (preview, slot);
    preview->device->event_free (slot->ready);
    preview->device->event_free (slot->down);
    preview->device->event_free (slot->released);
  }
  g_mutex_clear (&preview->mutex);
  g_free (preview);
}

static void
grow (eng_preview *preview, struct slot *slot, size_t size)
{
  struct krn_device *device = preview->device;

  if (slot->size >= size)
    return;
  free_memory (preview, slot);
  if (!device->alloc (device, &slot->memory, size) &&
      !device->host_alloc (device, (void **) &slot->host, size))
    slot->size = size;
  else
    free_memory (preview, slot);
}

void
eng_preview_reserve (eng_preview *preview, int width, int height)
{
  g_mutex_lock (&preview->mutex);
  for (int i = 0; i < N_SLOTS; i++)
    if (!preview->slots[i].held)
      grow (preview, &preview->slots[i], (size_t) width * height * 4);
  if (preview->newest >= 0 && !preview->slots[preview->newest].frame.serial)
    preview->newest = -1;
  g_mutex_unlock (&preview->mutex);
}

gboolean
eng_preview_fits (eng_preview *preview, int width, int height)
{
  gboolean fits = TRUE;

  g_mutex_lock (&preview->mutex);
  for (int i = 0; i < N_SLOTS; i++)
    fits =
        fits && (preview->slots[i].held || preview->slots[i].size >= (size_t) width * height * 4);
  g_mutex_unlock (&preview->mutex);
  return fits;
}

/* The one whose frame is oldest.  With the mutex held. */
static int
choose_slot (eng_preview *preview, size_t size)
{
  const gint64 now = g_get_monotonic_time ();
  int best = -1;

  if (preview->reader && now - preview->began < REST)
    return -1;
  preview->began = now;

  for (int i = 0; i < N_SLOTS; i++) {
    const struct slot *slot = &preview->slots[i];

    if (slot->held || i == preview->newest || slot->size < size)
      continue;
    if (best < 0 || slot->frame.serial < preview->slots[best].frame.serial)
      best = i;
  }
  return best;
}

gboolean
eng_preview_begin (eng_preview *preview, krn_stream *stream, int width, int height,
                   struct eng_preview_frame *frame)
{
  struct krn_device *device = preview->device;
  struct slot *slot;
  int i;

  g_mutex_lock (&preview->mutex);
  i = choose_slot (preview, (size_t) width * height * 4);
  if (i >= 0) {
    slot = &preview->slots[i];
    slot->frame = (struct eng_preview_frame){
      .rgba = krn_tensor_make (slot->memory, KRN_U8, 1, height, width, 4),
      .ready = slot->ready,
      .released = slot->released,
      .slot = i,
      .stays = preview->reader,
    };
    *frame = slot->frame;
  }
  g_mutex_unlock (&preview->mutex);
  /* An event that was never recorded holds nobody up. */
  return i >= 0 && !device->event_wait (stream, slot->down) &&
         !device->event_wait (stream, slot->released);
}

krn_status
eng_preview_end (eng_preview *preview, krn_stream *stream, krn_stream *copy, const void *owner,
                 struct eng_preview_frame *frame)
{
  struct krn_device *device = preview->device;
  struct slot *slot = &preview->slots[frame->slot];
  krn_status status = device->event_record (stream, slot->ready);

  if (!frame->stays) {
    status = status ? status : device->event_wait (copy, slot->ready);
    status = status ? status : device->download (copy, slot->host, frame->rgba);
    status = status ? status : device->event_record (copy, slot->down);
  }
  if (status)
    return status;
  g_mutex_lock (&preview->mutex);
  frame->owner = owner;
  frame->serial = ++preview->serial;
  slot->frame = *frame;
  preview->newest = frame->slot;
  g_mutex_unlock (&preview->mutex);
  return KRN_OK;
}

gboolean
eng_preview_is_down (eng_preview *preview, const struct eng_preview_frame *frame)
{
  return preview->device->event_done (preview->slots[frame->slot].down);
}

const uint8_t *
eng_preview_get_pixels (eng_preview *preview, const struct eng_preview_frame *frame)
{
  const struct slot *slot = &preview->slots[frame->slot];

  return frame->serial && !frame->stays && slot->frame.serial == frame->serial ? slot->host : NULL;
}

void
eng_preview_set_reader (eng_preview *preview, gboolean there)
{
  g_mutex_lock (&preview->mutex);
  preview->reader = there;
  g_mutex_unlock (&preview->mutex);
}

void
eng_preview_clear (eng_preview *preview)
{
  g_mutex_lock (&preview->mutex);
  preview->newest = -1;
  preview->cleared = preview->serial;
  g_mutex_unlock (&preview->mutex);
}

gboolean
eng_preview_acquire (eng_preview *preview, guint64 after, struct eng_preview_frame *frame)
{
  struct slot *found = NULL;

  g_mutex_lock (&preview->mutex);
  after = MAX (after, preview->cleared);
  for (int i = 0; i < N_SLOTS && preview->newest >= 0; i++) {
    struct slot *slot = &preview->slots[i];

    if (slot->frame.serial > MAX (after, found ? found->frame.serial : 0) &&
        preview->device->event_done (slot->ready))
      found = slot;
  }
  if (found) {
    found->held = TRUE;
    *frame = found->frame;
  }
  g_mutex_unlock (&preview->mutex);
  return found != NULL;
}

void
eng_preview_release (eng_preview *preview, const struct eng_preview_frame *frame)
{
  g_mutex_lock (&preview->mutex);
  preview->slots[frame->slot].held = FALSE;
  g_mutex_unlock (&preview->mutex);
}
