#include "engine/lanes.h"

#include "engine/error.h"

#define ALIGNMENT ((size_t) 256)

struct lane {
  krn_stream *stream;
  eng_arena *arena;
  size_t need; /* bytes, by the plans so far */
  char *base;  /* in the block */
  size_t size; /* of its part of the block */
};

struct mark {
  enum eng_lane lane;
  char *name;
  krn_event *begin, *end; /* NULL: the device gave none */
  gboolean ended;
};

struct eng_lanes {
  struct krn_device *device; /* borrowed */
  struct lane lanes[ENG_N_LANES];
  void *block;
  size_t size;
  GPtrArray *events; /* of krn_event, all that were ever made; used again by every picture */
  guint n_events;    /* in use since start_clock */
  GArray *marks;     /* of struct mark, since start_clock */
  guint n_collected; /* of them, the first are spans already */
  krn_event *start;
};

static void
clear_mark (void *data)
{
  g_free (((struct mark *) data)->name);
}

eng_lanes *
eng_lanes_new (struct krn_device *device, GError **error)
{
  eng_lanes *lanes = g_new0 (eng_lanes, 1);
  krn_status status = KRN_OK;

  lanes->device = device;
  lanes->events = g_ptr_array_new_with_free_func ((GDestroyNotify) device->event_free);
  lanes->marks = g_array_new (FALSE, FALSE, sizeof (struct mark));
  g_array_set_clear_func (lanes->marks, clear_mark);
  for (int i = 0; i < ENG_N_LANES && !status; i++) {
    lanes->lanes[i].arena = eng_arena_new ();
    status = device->stream_new (device, &lanes->lanes[i].stream);
  }
  if (!status)
    return lanes;
  g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE, "%s: no stream: %s", device->name,
               device->status_text (device, status));
  eng_lanes_free (lanes);
  return NULL;
}

void
eng_lanes_free (eng_lanes *lanes)
{
  if (!lanes)
    return;
  for (int i = 0; i < ENG_N_LANES; i++) {
    lanes->device->stream_free (lanes->lanes[i].stream);
    eng_arena_free (lanes->lanes[i].arena);
  }
  g_array_unref (lanes->marks);
  g_ptr_array_unref (lanes->events);
  lanes->device->free_memory (lanes->device, lanes->block);
  g_free (lanes);
}

krn_stream *
eng_lanes_get_stream (eng_lanes *lanes, enum eng_lane lane)
{
  return lanes->lanes[lane].stream;
}

struct eng_run
eng_lanes_begin_plan (eng_lanes *lanes, enum eng_lane lane)
{
  eng_arena_reset (lanes->lanes[lane].arena, NULL, 0);
  return (struct eng_run){ .device = lanes->device,
                           .arena = lanes->lanes[lane].arena,
                           .planning = TRUE };
}

void
eng_lanes_end_plan (eng_lanes *lanes, enum eng_lane lane)
{
  struct lane *l = &lanes->lanes[lane];
  const size_t peak = (eng_arena_get_peak (l->arena) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

  l->need = MAX (l->need, peak);
}

void
eng_lanes_clear_plans (eng_lanes *lanes)
{
  for (int i = 0; i < ENG_N_LANES; i++)
    lanes->lanes[i].need = 0;
}

static gboolean
allocate_block (eng_lanes *lanes, size_t total, const char *what, GError **error)
{
  struct krn_device *device = lanes->device;
  size_t free_bytes, total_bytes;
  krn_status status;

  eng_lanes_release (lanes);
  device->info (device, &free_bytes, &total_bytes);
  status = total > free_bytes ? KRN_ERROR_MEMORY : device->alloc (device, &lanes->block, total);
  if (!status) {
    lanes->size = total;
    return TRUE;
  }

  g_autofree char *needed = g_format_size (total);
  g_autofree char *available = g_format_size (free_bytes);
  g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY,
               total > free_bytes ? "%s needs %s of memory, but only %s are free on %s"
                                  : "%s needs %s of memory, which was refused although %s are free "
                                    "on %s",
               what, needed, available, device->name);
  lanes->block = NULL;
  return FALSE;
}

gboolean
eng_lanes_reserve (eng_lanes *lanes, const char *what, GError **error)
{
  size_t total = 0;
  char *base;

  for (int i = 0; i < ENG_N_LANES; i++)
    total += lanes->lanes[i].need;
  if (total > lanes->size && !allocate_block (lanes, total, what, error))
    return FALSE;

  base = lanes->block;
  for (int i = 0; i < ENG_N_LANES; i++) {
    lanes->lanes[i].base = base;
    lanes->lanes[i].size = lanes->lanes[i].need;
    base += lanes->lanes[i].need;
  }
  return TRUE;
}

void
eng_lanes_release (eng_lanes *lanes)
{
  for (int i = 0; i < ENG_N_LANES; i++)
    lanes->device->stream_sync (lanes->lanes[i].stream);
  lanes->device->free_memory (lanes->device, lanes->block);
  lanes->block = NULL;
  lanes->size = 0;
}

struct eng_run
eng_lanes_begin_run (eng_lanes *lanes, enum eng_lane lane, const int *cancelled)
{
  struct lane *l = &lanes->lanes[lane];

  eng_arena_reset (l->arena, l->base, l->size);
  return (struct eng_run){
    .device = lanes->device, .stream = l->stream, .arena = l->arena, .cancelled = cancelled
  };
}

/* NULL when the device gives no event; the span is then left out. */
static krn_event *
record_event (eng_lanes *lanes, enum eng_lane lane)
{
  krn_event *event = NULL;

  if (lanes->n_events == lanes->events->len) {
    if (lanes->device->event_new (lanes->device, &event))
      return NULL;
    g_ptr_array_add (lanes->events, event);
  }
  event = g_ptr_array_index (lanes->events, lanes->n_events++);
  return lanes->device->event_record (lanes->lanes[lane].stream, event) ? NULL : event;
}

void
eng_lanes_start_clock (eng_lanes *lanes)
{
  g_array_set_size (lanes->marks, 0);
  lanes->n_events = 0;
  lanes->n_collected = 0;
  lanes->start = record_event (lanes, ENG_LANE_TEXT);
}

void
eng_lanes_begin_span (eng_lanes *lanes, enum eng_lane lane, const char *name)
{
  const struct mark mark = { lane, g_strdup (name), record_event (lanes, lane), NULL, FALSE };
  g_array_append_val (lanes->marks, mark);
}

void
eng_lanes_end_span (eng_lanes *lanes, enum eng_lane lane)
{
  for (guint i = lanes->marks->len; i-- > 0;) {
    struct mark *mark = &g_array_index (lanes->marks, struct mark, i);

    if (mark->lane != lane || mark->ended)
      continue;
    mark->end = record_event (lanes, lane);
    mark->ended = TRUE;
    return;
  }
}

/* Still going on: its end was not yet enqueued, or the device is not there yet. */
static gboolean
mark_is_open (const eng_lanes *lanes, const struct mark *mark)
{
  return !mark->ended || (mark->begin && mark->end && !lanes->device->event_done (mark->end));
}

void
eng_lanes_collect_spans (eng_lanes *lanes, eng_timeline *timeline)
{
  for (; lanes->n_collected < lanes->marks->len && lanes->start; lanes->n_collected++) {
    const struct mark *mark = &g_array_index (lanes->marks, struct mark, lanes->n_collected);
    double begin, end;

    if (mark_is_open (lanes, mark))
      return;
    if (mark->begin && mark->end &&
        !lanes->device->event_elapsed (&begin, lanes->start, mark->begin) &&
        !lanes->device->event_elapsed (&end, lanes->start, mark->end))
      eng_timeline_add (timeline, mark->lane, mark->name, begin, end);
  }
}

void
eng_lanes_join (eng_lanes *lanes, enum eng_lane lane, enum eng_lane other)
{
  krn_event *event = record_event (lanes, other);

  if (event)
    lanes->device->event_wait (lanes->lanes[lane].stream, event);
  else
    lanes->device->stream_sync (lanes->lanes[other].stream);
}

gboolean
eng_lanes_sync (eng_lanes *lanes, GError **error)
{
  for (int i = 0; i < ENG_N_LANES; i++) {
    const krn_status status = lanes->device->stream_sync (lanes->lanes[i].stream);

    if (!status)
      continue;
    g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE, "%s failed: %s", lanes->device->name,
                 lanes->device->status_text (lanes->device, status));
    return FALSE;
  }
  return TRUE;
}
