/* ui/sl-feed.h - carries what the engine's thread reports to the main thread, without ever making
 * either wait.
 *
 * Progress and previews are newest-wins slots; events (a picture is done) are kept and delivered in
 * order.  At most one call is pending and 8 ms are between two, so previews cannot pile up.
 * Previews are enlarged and pictures prepared on one worker thread, between the two.
 *
 * Post from any thread.  The owner is called on the main thread only, and not after
 * sl_feed_close(). */
#pragma once

#include <gdk/gdk.h>
#include <stdint.h>

typedef struct sl_feed sl_feed;

struct sl_feed_progress {
  guint serial; /* which picture; 0 is a model being loaded */
  int step, n_steps;
  double fraction;
  double elapsed, left; /* seconds; left < 0: unknown */
};

struct sl_feed_client { /* main thread */
  void (*progress) (const struct sl_feed_progress *progress, gpointer owner);
  /* texture NULL: the frame stayed on the GPU */
  void (*preview) (guint serial, GdkTexture *texture, gpointer owner);
};

typedef void (*sl_feed_event_cb) (gpointer owner, gpointer data);
typedef void (*sl_feed_work_cb) (sl_feed *feed, gpointer data);

sl_feed *sl_feed_new (const struct sl_feed_client *client, gpointer owner);
/* Main thread: the owner is going; nothing more reaches it. */
void sl_feed_close (sl_feed *feed);
/* After sl_feed_close(), when nobody posts any more.  Joins the worker: not on the main thread. */
void sl_feed_free (sl_feed *feed);

/* Main thread: previews come as they are; whoever shows them enlarges them. */
void sl_feed_set_raw (sl_feed *feed, gboolean raw);

void sl_feed_post_progress (sl_feed *feed, const struct sl_feed_progress *progress);
/* Copies the frame ([height, width, 4]); a frame that was not yet enlarged is dropped for it. */
void sl_feed_post_frame (sl_feed *feed, guint serial, int width, int height, const uint8_t *rgba);
/* Takes data; func runs on the main thread, or data is only destroyed. */
void sl_feed_post_event (sl_feed *feed, sl_feed_event_cb func, gpointer data,
                         GDestroyNotify destroy);
/* A frame of that picture is on the GPU; one to come replaces the notice. */
void sl_feed_post_live (sl_feed *feed, guint serial);
/* Bytes of all frames that were posted. */
guint64 sl_feed_get_frame_bytes (sl_feed *feed);
/* Runs func on the worker, after what was given to it before. */
void sl_feed_work (sl_feed *feed, sl_feed_work_cb func, gpointer data);
