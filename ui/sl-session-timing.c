/* ui/sl-session-timing.c - where the pictures' time went, on its way from the engine to the panel;
 * and what the GPU tells of itself. */
#include "ui/sl-session-private.h"

#include <glib/gi18n.h>

/* ---- The engine's thread and the feed's worker ---- */

struct news { /* what a running picture has finished since the last time */
  guint serial;
  double elapsed, left; /* ms */
  GArray *spans;        /* of struct sl_span, whose names are owned */
};

static void
span_clear (struct sl_span *span)
{
  g_free ((char *) span->name);
}

static void
news_free (struct news *news)
{
  g_array_unref (news->spans);
  g_free (news);
}

/* The engine's lanes by their names; what is not known is the host's. */
static SlLane
get_lane (const char *name)
{
  static const char *const names[] = { "text", "denoise", "decode", "copy" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    if (g_str_equal (names[i], name))
      return i;
  return SL_LANE_HOST;
}

static void take_news (gpointer owner, gpointer data);

void
sl_ticket_tell_timing (struct sl_ticket *ticket, const struct eng_progress *progress)
{
  struct news *news = g_new0 (struct news, 1);

  news->serial = ticket->serial;
  news->elapsed = progress->elapsed * 1e3;
  news->left = progress->left * 1e3;
  news->spans = g_array_new (FALSE, FALSE, sizeof (struct sl_span));
  g_array_set_clear_func (news->spans, (GDestroyNotify) span_clear);
  for (; ticket->n_spans < progress->n_spans; ticket->n_spans++) {
    const struct eng_span *from = &progress->spans[ticket->n_spans];
    const struct sl_span span = { get_lane (from->lane), g_strdup (from->name), from->start,
                                  from->end };

    g_array_append_val (news->spans, span);
  }
  sl_feed_post_event (ticket->feed, take_news, news, (GDestroyNotify) news_free);
}

static void
take_counters (SlTiming *timing, const struct eng_counters *counters)
{
  sl_timing_set_count (timing, SL_COUNT_PROMPT_CACHED, counters->prompt_cached);
  sl_timing_set_count (timing, SL_COUNT_EVALUATIONS, counters->evaluations);
  sl_timing_set_count (timing, SL_COUNT_REPLAYS, counters->replayed);
  sl_timing_set_count (timing, SL_COUNT_ALLOCATIONS, (double) counters->allocations);
  sl_timing_set_count (timing, SL_COUNT_PREVIEW_BYTES, (double) counters->preview_bytes);
}

static int
compare_start (gconstpointer a, gconstpointer b)
{
  const struct sl_span *x = a, *y = b;

  return x->start < y->start ? -1 : x->start > y->start;
}

SlTiming *
sl_ticket_dup_timing (const struct sl_ticket *ticket, const SlRecipe *recipe)
{
  g_autofree char *title = sl_recipe_dup_summary (recipe);
  g_autoptr (GArray) spans = g_array_new (FALSE, FALSE, sizeof (struct sl_span));
  SlTiming *timing = sl_timing_new (ticket->serial, title);
  guint n;
  const struct eng_span *from = eng_image_get_spans (ticket->image, &n);

  for (guint i = 0; i < n; i++) {
    const struct sl_span span = { get_lane (from[i].lane), from[i].name, from[i].start,
                                  from[i].end };

    g_array_append_val (spans, span);
  }
  /* The engine tells of a span when it is over, and of the host's before the device's. */
  g_array_sort (spans, compare_start);
  sl_timing_add (timing, (const struct sl_span *) spans->data, spans->len);
  take_counters (timing, eng_image_get_counters (ticket->image));
  return timing;
}

/* ---- The main thread ---- */

static SlTiming *
find_timing (SlSession *self, guint serial, guint *position)
{
  GListModel *timings = G_LIST_MODEL (self->timings);

  for (*position = g_list_model_get_n_items (timings); (*position)-- > 0;) {
    g_autoptr (SlTiming) timing = g_list_model_get_item (timings, *position);

    if (sl_timing_get_serial (timing) == serial)
      return timing; /* the list holds it */
  }
  return NULL;
}

static SlTiming *
append_timing (SlSession *self, guint serial)
{
  g_autoptr (SlTiming) timing = sl_timing_new (serial, _ ("The picture being made"));
  GListModel *timings = G_LIST_MODEL (self->timings);

  sl_timing_set_progress (timing, 0, -1);
  g_list_store_append (self->timings, timing);
  if (g_list_model_get_n_items (timings) > SL_TIMINGS_MAX)
    g_list_store_remove (self->timings, 0);
  return timing;
}

/* A picture may begin before the main thread hears that the one before it is done. */
static gboolean
is_queued (SlSession *self, guint serial)
{
  for (GList *l = self->jobs.head; l; l = l->next)
    if (((const struct sl_job *) l->data)->serial == serial)
      return TRUE;
  return FALSE;
}

static void
take_news (gpointer owner, gpointer data)
{
  SlSession *self = owner;
  const struct news *news = data;
  SlTiming *timing;
  guint position;

  if (!is_queued (self, news->serial))
    return;
  timing = find_timing (self, news->serial, &position);
  if (!timing)
    timing = append_timing (self, news->serial);
  sl_timing_set_progress (timing, news->elapsed, news->left);
  if (news->spans->len)
    sl_timing_add (timing, (const struct sl_span *) news->spans->data, news->spans->len);
}

void
sl_session_take_timing (SlSession *self, struct sl_ticket *ticket)
{
  guint position;
  SlTiming *timing = find_timing (self, ticket->serial, &position);

  if (ticket->result && ticket->timing)
    sl_timing_finish (timing ? timing : append_timing (self, ticket->serial), ticket->timing,
                      sl_result_get_seconds (ticket->result) * 1e3);
  else if (timing) /* there is no such picture */
    g_list_store_remove (self->timings, position);
}

GListModel *
sl_session_get_timings (SlSession *self)
{
  return G_LIST_MODEL (self->timings);
}

SlTiming *
sl_session_find_timing (SlSession *self, SlResult *result)
{
  guint position;

  return find_timing (self, sl_result_get_serial (result), &position);
}

SlResult *
sl_session_find_result (SlSession *self, SlTiming *timing)
{
  GListModel *results = G_LIST_MODEL (self->results);

  for (guint i = g_list_model_get_n_items (results); i-- > 0;) {
    g_autoptr (SlResult) result = g_list_model_get_item (results, i);

    if (sl_result_get_serial (result) == sl_timing_get_serial (timing))
      return result; /* the list holds it */
  }
  return NULL;
}

/* ---- Files ---- */

struct export
{
  SlResult *result; /* for a trace */
  char *csv;
  char *path;
};

static void
export_free (struct export *export)
{
  g_clear_object (&export->result);
  g_free (export->csv);
  g_free (export->path);
  g_free (export);
}

static void
export_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  const struct export *export = data;
  GError *error = NULL;

  if (export->csv ? g_file_set_contents (export->path, export->csv, -1, &error)
                  : eng_image_save_timeline (sl_result_get_image (export->result), export->path,
                                             ENG_TIMELINE_TRACE, &error))
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_error (task, error);
}

void
sl_session_export_timing_async (SlSession *self, SlTiming *timing, GFile *file,
                                SlTimingFormat format, GAsyncReadyCallback callback, gpointer data)
{
  g_autoptr (GTask) task = g_task_new (self, NULL, callback, data);
  struct export *export = g_new0 (struct export, 1);
  SlResult *result = sl_session_find_result (self, timing);

  g_task_set_task_data (task, export, (GDestroyNotify) export_free);
  export->path = g_file_get_path (file);
  if (format == SL_TIMING_FORMAT_CSV)
    export->csv = sl_timing_dup_csv (timing);
  else if (result)
    export->result = g_object_ref (result);
  if (!export->path)
    g_task_return_new_error (task, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "%s",
                             _ ("Only files on this computer can be used."));
  else if (!export->csv && !export->result)
    g_task_return_new_error (task, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "%s",
                             _ ("The picture is not kept any more, and its trace with it."));
  else
    g_task_run_in_thread (task, export_thread);
}

gboolean
sl_session_export_timing_finish (SlSession *self, GAsyncResult *result, GError **error)
{
  return g_task_propagate_boolean (G_TASK (result), error);
}

/* ---- The GPU ---- */

static void
sample_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  eng_engine *engine = sl_session_get_engine (source);
  struct eng_gpu_sample sample;
  struct sl_gpu *gpu;

  if (!engine) {
    g_task_return_pointer (task, NULL, NULL);
    return;
  }
  eng_engine_sample_gpu (engine, &sample); /* what it is not told is below 0 */
  gpu = g_new (struct sl_gpu, 1);
  gpu->values[SL_GPU_UTILISATION] = sample.utilisation;
  gpu->values[SL_GPU_MEMORY_USED] = (double) sample.memory_used;
  gpu->values[SL_GPU_MEMORY_FREE] = (double) sample.memory_free;
  gpu->values[SL_GPU_WEIGHTS] = (double) sample.weights;
  gpu->values[SL_GPU_ARENA] = (double) sample.arena;
  gpu->values[SL_GPU_TEMPERATURE] = sample.temperature;
  gpu->values[SL_GPU_POWER] = sample.power;
  gpu->values[SL_GPU_CLOCK] = sample.sm_clock;
  gpu->values[SL_GPU_MEMORY_CLOCK] = sample.memory_clock;
  g_task_return_pointer (task, gpu, g_free);
}

void
sl_session_sample_gpu_async (SlSession *self, GAsyncReadyCallback callback, gpointer data)
{
  g_autoptr (GTask) task = g_task_new (self, NULL, callback, data);

  g_task_run_in_thread (task, sample_thread);
}

struct sl_gpu *
sl_session_sample_gpu_finish (SlSession *self, GAsyncResult *result)
{
  return g_task_propagate_pointer (G_TASK (result), NULL);
}
