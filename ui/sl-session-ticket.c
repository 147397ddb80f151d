/* ui/sl-session-ticket.c - the session's side of the engine's thread. */
#include "ui/sl-session-private.h"

#include "ui/sl-pixels.h"
#include "ui/sl-resample.h"

#define THUMBNAIL_HEIGHT 160

void
sl_ticket_free (struct sl_ticket *ticket)
{
  g_clear_pointer (&ticket->image, eng_image_unref);
  g_clear_pointer (&ticket->info, eng_model_info_unref);
  g_clear_object (&ticket->result);
  g_clear_object (&ticket->timing);
  g_clear_error (&ticket->error);
  g_free (ticket);
}

struct sl_ticket *
sl_ticket_new (SlSession *self, guint serial)
{
  struct sl_ticket *ticket = g_new0 (struct sl_ticket, 1);

  ticket->feed = self->feed;
  ticket->serial = serial;
  return ticket;
}

void
sl_ticket_load_progress (double fraction, void *data)
{
  const struct sl_ticket *ticket = data;
  const struct sl_feed_progress progress = { .fraction = fraction, .left = -1 };

  sl_feed_post_progress (ticket->feed, &progress);
}

void
sl_ticket_load_done (eng_model_info *info, const GError *error, void *data)
{
  struct sl_ticket *ticket = data;

  ticket->info = info ? eng_model_info_ref (info) : NULL;
  ticket->error = error ? g_error_copy (error) : NULL;
  sl_feed_post_event (ticket->feed, sl_session_load_done, ticket, (GDestroyNotify) sl_ticket_free);
}

void
sl_ticket_job_progress (eng_job *job, const struct eng_progress *progress, void *data)
{
  struct sl_ticket *ticket = data;
  const struct sl_feed_progress now = {
    .serial = ticket->serial,
    .step = progress->step,
    .n_steps = progress->n_steps,
    .fraction = progress->n_steps ? (double) progress->step / progress->n_steps : 0,
    .elapsed = progress->elapsed,
    .left = progress->left,
  };

  sl_ticket_tell_timing (ticket, progress);
  sl_feed_post_progress (ticket->feed, &now);
  if (progress->frame && !progress->frame->rgba)
    sl_feed_post_live (ticket->feed, ticket->serial);
  else if (progress->frame)
    sl_feed_post_frame (ticket->feed, ticket->serial, progress->frame->width,
                        progress->frame->height, progress->frame->rgba);
}

static GdkTexture *
make_thumbnail (const uint8_t *rgba, int width, int height)
{
  const int to_height = MIN (height, THUMBNAIL_HEIGHT);
  const int to_width = MAX (1, (int) ((gint64) width * to_height / height));
  g_autoptr (GBytes) bytes = sl_resample (rgba, width, height, to_width, to_height);

  return gdk_memory_texture_new (to_width, to_height, GDK_MEMORY_R8G8B8A8_PREMULTIPLIED, bytes,
                                 (gsize) to_width * 4);
}

/* The device's milliseconds of one preview, < 0 without any. */
static double
get_preview_ms (const eng_image *image)
{
  const struct eng_span *spans;
  double sum = 0;
  guint n, n_previews = 0;

  spans = eng_image_get_spans (image, &n);
  for (guint i = 0; i < n; i++)
    if (g_str_equal (spans[i].lane, "denoise") && g_str_equal (spans[i].name, "preview")) {
      sum += spans[i].end - spans[i].start;
      n_previews++;
    }
  return n_previews ? sum / n_previews : -1;
}

static void
job_done_work (sl_feed *feed, gpointer data)
{
  struct sl_ticket *ticket = data;
  eng_image *image = ticket->image;

  if (image) {
    const int width = eng_image_get_width (image), height = eng_image_get_height (image);
    GBytes *rgba = eng_image_get_rgba (image);
    const struct sl_result_parts parts = {
      .image = eng_image_ref (image),
      .release = (GDestroyNotify) eng_image_unref,
      .recipe = sl_session_recipe_from_params (eng_image_get_params (image)),
      .texture = sl_pixels_texture_new (rgba, width, height),
      .thumbnail = make_thumbnail (g_bytes_get_data (rgba, NULL), width, height),
      .warning = g_strdup (eng_image_get_warning (image)),
      .seconds = eng_image_get_seconds (image),
      .serial = ticket->serial,
    };

    ticket->timing = sl_ticket_dup_timing (ticket, parts.recipe);
    ticket->preview_ms = get_preview_ms (image);
    ticket->result = sl_result_new (&parts);
  }
  sl_feed_post_event (feed, sl_session_job_done, ticket, (GDestroyNotify) sl_ticket_free);
}

void
sl_ticket_job_done (eng_job *job, eng_image *image, const GError *error, void *data)
{
  struct sl_ticket *ticket = data;

  ticket->image = image ? eng_image_ref (image) : NULL;
  ticket->error = error ? g_error_copy (error) : NULL;
  sl_feed_work (ticket->feed, job_done_work, ticket);
}
