#include "ui/sl-feed.h"

#include "ui/sl-pixels.h"
#include "ui/sl-resample.h"

#define REST_MS 8 /* between two deliveries: twice a frame of a usual screen */

struct event {
  sl_feed_event_cb func;
  gpointer data;
  GDestroyNotify destroy;
};

struct work {
  sl_feed_work_cb func; /* NULL ends the worker */
  gpointer data;
};

struct frame { /* raw, as the engine gave it */
  guint serial;
  int width, height;
  uint8_t *rgba; /* owned; NULL: none waits */
  size_t room;   /* bytes allocated, kept for the next one */
};

struct sl_feed {
  struct sl_feed_client client;
  GThread *worker;
  GAsyncQueue *work; /* of struct work */

  GMutex mutex; /* everything below */
  gpointer owner;
  guint idle; /* source id; 0: none pending */
  gint64 delivered;
  GQueue events;
  struct sl_feed_progress progress;
  gboolean has_progress;
  struct frame frame;
  gboolean has_frame;
  GdkTexture *preview; /* owned; enlarged, not yet delivered */
  guint preview_serial;
  gboolean raw;        /* previews are not enlarged */
  guint live_serial;   /* 0: no frame on the GPU to be told of */
  guint64 frame_bytes; /* that came through the host */
};

static void
event_free (struct event *event)
{
  if (event->destroy)
    event->destroy (event->data);
  g_free (event);
}

static gboolean
deliver (gpointer data)
{
  sl_feed *self = data;
  struct sl_feed_progress progress;
  g_autoptr (GdkTexture) preview = NULL;
  gboolean has_progress;
  guint preview_serial, live_serial;
  gpointer owner;
  GQueue events;
  struct event *event;

  g_mutex_lock (&self->mutex);
  self->idle = 0;
  self->delivered = g_get_monotonic_time ();
  owner = self->owner;
  events = self->events;
  g_queue_init (&self->events);
  progress = self->progress;
  has_progress = self->has_progress;
  self->has_progress = FALSE;
  preview = g_steal_pointer (&self->preview);
  preview_serial = self->preview_serial;
  live_serial = self->live_serial;
  self->live_serial = 0;
  g_mutex_unlock (&self->mutex);

  /* The owner may go while it is told something: it holds itself. */
  g_object_ref (owner);
  while ((event = g_queue_pop_head (&events))) {
    event->func (owner, event->data);
    event_free (event);
  }
  if (has_progress)
    self->client.progress (&progress, owner);
  if (preview)
    self->client.preview (preview_serial, preview, owner);
  if (live_serial)
    self->client.preview (live_serial, NULL, owner);
  g_object_unref (owner);
  return G_SOURCE_REMOVE;
}

/* With the mutex held.  After input, before a redraw: where drawing is slow, something would always
 * be drawn first.  But not at once again, or many quick steps would keep everything from being
 * drawn. */
static void
wake (sl_feed *self)
{
  const gint64 wait = self->delivered + REST_MS * 1000 - g_get_monotonic_time ();

  if (self->idle || !self->owner)
    return;
  if (wait > 0)
    self->idle = g_timeout_add_full (GDK_PRIORITY_REDRAW - 5, (guint) (wait / 1000 + 1), deliver,
                                     self, NULL);
  else
    self->idle = g_idle_add_full (GDK_PRIORITY_REDRAW - 5, deliver, self, NULL);
}

static void
enlarge_frame (sl_feed *self, gpointer data)
{
  g_autofree uint8_t *rgba = NULL;
  g_autoptr (GBytes) bytes = NULL;
  g_autoptr (GdkTexture) texture = NULL, old = NULL;
  struct frame frame;
  gboolean raw;
  int factor;

  g_mutex_lock (&self->mutex);
  frame = self->frame;
  rgba = g_steal_pointer (&self->frame.rgba);
  self->frame.room = 0;
  self->has_frame = FALSE;
  raw = self->raw;
  g_mutex_unlock (&self->mutex);

  /* Eight makes a latent's preview as large as its picture; a large one needs less. */
  factor = raw ? 1 : MAX (frame.width, frame.height) > 64 ? 4 : 8;
  if (raw)
    bytes = g_bytes_new_take (g_steal_pointer (&rgba), (gsize) frame.width * frame.height * 4);
  else
    bytes =
        sl_resample (rgba, frame.width, frame.height, frame.width * factor, frame.height * factor);
  texture = sl_pixels_texture_new (bytes, frame.width * factor, frame.height * factor);

  g_mutex_lock (&self->mutex);
  old = self->preview;
  self->preview = g_steal_pointer (&texture);
  self->preview_serial = frame.serial;
  wake (self);
  g_mutex_unlock (&self->mutex);
}

static gpointer
worker_thread (gpointer data)
{
  sl_feed *self = data;

  for (;;) {
    g_autofree struct work *work = g_async_queue_pop (self->work);

    if (!work->func)
      return NULL;
    work->func (self, work->data);
  }
}

sl_feed *
sl_feed_new (const struct sl_feed_client *client, gpointer owner)
{
  sl_feed *self = g_new0 (sl_feed, 1);

  self->client = *client;
  self->owner = owner;
  self->work = g_async_queue_new ();
  g_mutex_init (&self->mutex);
  g_queue_init (&self->events);
  self->worker = g_thread_new ("sl-feed", worker_thread, self);
  return self;
}

void
sl_feed_close (sl_feed *self)
{
  g_mutex_lock (&self->mutex);
  self->owner = NULL;
  g_clear_handle_id (&self->idle, g_source_remove);
  g_mutex_unlock (&self->mutex);
}

void
sl_feed_free (sl_feed *self)
{
  sl_feed_work (self, NULL, NULL);
  g_thread_join (self->worker);
  g_async_queue_unref (self->work);
  g_queue_clear_full (&self->events, (GDestroyNotify) event_free);
  g_clear_object (&self->preview);
  g_free (self->frame.rgba);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

void
sl_feed_set_raw (sl_feed *self, gboolean raw)
{
  g_mutex_lock (&self->mutex);
  self->raw = raw;
  g_mutex_unlock (&self->mutex);
}

void
sl_feed_post_progress (sl_feed *self, const struct sl_feed_progress *progress)
{
  g_mutex_lock (&self->mutex);
  self->progress = *progress;
  self->has_progress = TRUE;
  wake (self);
  g_mutex_unlock (&self->mutex);
}

void
sl_feed_post_frame (sl_feed *self, guint serial, int width, int height, const uint8_t *rgba)
{
  const size_t size = (size_t) width * height * 4;
  gboolean queued;

  g_mutex_lock (&self->mutex);
  if (self->frame.room < size) {
    self->frame.rgba = g_realloc (self->frame.rgba, size);
    self->frame.room = size;
  }
  memcpy (self->frame.rgba, rgba, size);
  self->frame_bytes += size;
  self->frame.serial = serial;
  self->frame.width = width;
  self->frame.height = height;
  queued = self->has_frame;
  self->has_frame = TRUE;
  g_mutex_unlock (&self->mutex);

  if (!queued)
    sl_feed_work (self, enlarge_frame, NULL);
}

void
sl_feed_post_live (sl_feed *self, guint serial)
{
  g_mutex_lock (&self->mutex);
  self->live_serial = serial;
  wake (self);
  g_mutex_unlock (&self->mutex);
}

guint64
sl_feed_get_frame_bytes (sl_feed *self)
{
  guint64 bytes;

  g_mutex_lock (&self->mutex);
  bytes = self->frame_bytes;
  g_mutex_unlock (&self->mutex);
  return bytes;
}

void
sl_feed_post_event (sl_feed *self, sl_feed_event_cb func, gpointer data, GDestroyNotify destroy)
{
  struct event *event = g_new0 (struct event, 1);

  event->func = func;
  event->data = data;
  event->destroy = destroy;

  g_mutex_lock (&self->mutex);
  g_queue_push_tail (&self->events, event);
  wake (self);
  g_mutex_unlock (&self->mutex);
}

void
sl_feed_work (sl_feed *self, sl_feed_work_cb func, gpointer data)
{
  struct work *work = g_new0 (struct work, 1);

  work->func = func;
  work->data = data;
  g_async_queue_push (self->work, work);
}
