#include "engine/lanes.h"

#include "engine/error.h"

#define ALIGNMENT ((size_t) 256)
/* What a lane may have before it, in seconds.  The engine's thread looks every millisecond at most,
 * and may be held up for a few by drawing noise. */
#define AHEAD (2 * ENG_SEGMENT_SECONDS)

/* The end of a segment. */
struct fence {
  krn_event *event;
  struct eng_pace *pace; /* borrowed, or NULL */
  int n;                 /* operations */
  gboolean follows;      /* its segment was there before the one before it was done */
};

struct lane {
  krn_stream *stream;
  eng_arena *arena, *plan;
  char *base;      /* in the block */
  size_t size;     /* of its part of the block */
  GArray *fences;  /* of struct fence: what is not known to be done */
  krn_event *last; /* the fence before them: where the first one's segment may have begun */
};

struct eng_anchor {
  struct krn_device *device; /* borrowed */
  krn_event *event;
  gint64 time; /* microseconds, monotonic */
};

struct eng_lanes {
  struct krn_device *device; /* borrowed */
  struct lane lanes[ENG_N_LANES];
  gboolean one_stream;
  void *block;
  size_t size;
  guint generation;
  GPtrArray *events; /* of krn_event, not in use */
  eng_anchor *anchor;
};

eng_lanes *
eng_lanes_new (struct krn_device *device, GError **error)
{
  eng_lanes *lanes = g_new0 (eng_lanes, 1);
  krn_status status = KRN_OK;

  lanes->device = device;
  lanes->events = g_ptr_array_new_with_free_func ((GDestroyNotify) device->event_free);
  for (int i = 0; i < ENG_N_LANES; i++) {
    struct lane *lane = &lanes->lanes[i];

    lane->arena = eng_arena_new ();
    lane->plan = eng_arena_new ();
    lane->fences = g_array_new (FALSE, FALSE, sizeof (struct fence));
    status = status ? status : device->stream_new (device, &lane->stream);
  }
  if (!status)
    return lanes;
  g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE, "%s: no stream: %s", device->name,
               device->status_text (device, status));
  eng_lanes_free (lanes);
  return NULL;
}

static void
free_lane (eng_lanes *lanes, struct lane *lane)
{
  for (guint i = 0; i < lane->fences->len; i++)
    eng_lanes_give_back (lanes, g_array_index (lane->fences, struct fence, i).event);
  eng_lanes_give_back (lanes, lane->last);
  lanes->device->stream_free (lane->stream);
  eng_arena_free (lane->arena);
  eng_arena_free (lane->plan);
  g_array_unref (lane->fences);
}

void
eng_lanes_free (eng_lanes *lanes)
{
  if (!lanes)
    return;
  for (int i = 0; i < ENG_N_LANES; i++)
    free_lane (lanes, &lanes->lanes[i]);
  eng_anchor_unref (lanes->anchor);
  g_ptr_array_unref (lanes->events);
  lanes->device->free_memory (lanes->device, lanes->block);
  g_free (lanes);
}

krn_stream *
eng_lanes_get_stream (eng_lanes *lanes, enum eng_lane lane)
{
  return lanes->lanes[lanes->one_stream ? ENG_LANE_DENOISE : lane].stream;
}

void
eng_lanes_set_one_stream (eng_lanes *lanes, gboolean one)
{
  lanes->one_stream = one;
}

/* ---- Memory ---- */

struct eng_run
eng_lanes_begin_plan (eng_lanes *lanes, enum eng_lane lane)
{
  eng_arena_reset (lanes->lanes[lane].plan, NULL, 0);
  return (struct eng_run){ .device = lanes->device,
                           .arena = lanes->lanes[lane].plan,
                           .planning = TRUE };
}

void
eng_lanes_end_plan (eng_lanes *lanes, enum eng_lane lane, struct eng_plan *plan)
{
  const size_t peak = eng_arena_get_peak (lanes->lanes[lane].plan);

  plan->bytes[lane] = MAX (plan->bytes[lane], (peak + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
}

gboolean
eng_lanes_fit (const eng_lanes *lanes, const struct eng_plan *plan)
{
  for (int i = 0; i < ENG_N_LANES; i++)
    if (plan->bytes[i] > lanes->lanes[i].size)
      return FALSE;
  return TRUE;
}

static size_t
get_total (const struct eng_plan *plan)
{
  size_t total = 0;

  for (int i = 0; i < ENG_N_LANES; i++)
    total += plan->bytes[i];
  return total;
}

gboolean
eng_lanes_could_fit (const eng_lanes *lanes, const struct eng_plan *plan)
{
  size_t free_bytes, total_bytes;

  if (eng_lanes_fit (lanes, plan))
    return TRUE;
  lanes->device->info (lanes->device, &free_bytes, &total_bytes);
  return get_total (plan) <= free_bytes + lanes->size;
}

static gboolean
allocate_block (eng_lanes *lanes, const struct eng_plan *plan)
{
  struct krn_device *device = lanes->device;
  const size_t total = get_total (plan);
  size_t free_bytes, total_bytes;
  char *base;

  device->info (device, &free_bytes, &total_bytes);
  if (total > free_bytes || device->alloc (device, &lanes->block, total)) {
    lanes->block = NULL;
    return FALSE;
  }
  lanes->size = total;
  base = lanes->block;
  for (int i = 0; i < ENG_N_LANES; i++) {
    lanes->lanes[i].base = base;
    lanes->lanes[i].size = plan->bytes[i];
    base += plan->bytes[i];
  }
  return TRUE;
}

static void
refuse (eng_lanes *lanes, size_t total, const char *what, GError **error)
{
  struct krn_device *device = lanes->device;
  size_t free_bytes, total_bytes;

  device->info (device, &free_bytes, &total_bytes);
  g_autofree char *needed = g_format_size (total);
  g_autofree char *available = g_format_size (free_bytes);
  g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY,
               total > free_bytes ? "%s needs %s of memory, but only %s are free on %s"
                                  : "%s needs %s of memory, which was refused although %s are free "
                                    "on %s",
               what, needed, available, device->name);
}

gboolean
eng_lanes_reserve (eng_lanes *lanes, const struct eng_plan *plan, const char *what, GError **error)
{
  struct eng_plan largest = *plan;

  if (eng_lanes_fit (lanes, plan))
    return TRUE;
  for (int i = 0; i < ENG_N_LANES; i++)
    largest.bytes[i] = MAX (largest.bytes[i], lanes->lanes[i].size);
  eng_lanes_release (lanes);
  if (allocate_block (lanes, &largest) || allocate_block (lanes, plan))
    return TRUE;
  refuse (lanes, get_total (plan), what, error);
  return FALSE;
}

guint
eng_lanes_get_generation (const eng_lanes *lanes)
{
  return lanes->generation;
}

size_t
eng_lanes_get_size (const eng_lanes *lanes)
{
  return lanes->size;
}

void
eng_lanes_release (eng_lanes *lanes)
{
  eng_lanes_sync (lanes, NULL);
  lanes->device->free_memory (lanes->device, lanes->block);
  lanes->block = NULL;
  lanes->size = 0;
  lanes->generation++;
  for (int i = 0; i < ENG_N_LANES; i++)
    lanes->lanes[i].size = 0;
}

struct eng_run
eng_lanes_begin_run (eng_lanes *lanes, enum eng_lane lane, const int *cancelled)
{
  struct lane *l = &lanes->lanes[lane];

  eng_arena_reset (l->arena, l->base, l->size);
  return (struct eng_run){ .device = lanes->device,
                           .stream = eng_lanes_get_stream (lanes, lane),
                           .arena = l->arena,
                           .cancelled = cancelled };
}

/* ---- Order and pace ---- */

krn_event *
eng_lanes_record (eng_lanes *lanes, enum eng_lane lane)
{
  krn_event *event = NULL;

  if (lanes->events->len > 0)
    event = g_ptr_array_steal_index_fast (lanes->events, lanes->events->len - 1);
  else if (lanes->device->event_new (lanes->device, &event))
    event = NULL;
  if (event && !lanes->device->event_record (eng_lanes_get_stream (lanes, lane), event))
    return event;
  eng_lanes_give_back (lanes, event);
  lanes->device->stream_sync (eng_lanes_get_stream (lanes, lane));
  return NULL;
}

void
eng_lanes_give_back (eng_lanes *lanes, krn_event *event)
{
  if (event)
    g_ptr_array_add (lanes->events, event);
}

gboolean
eng_lanes_is_done (eng_lanes *lanes, krn_event *event)
{
  return !event || lanes->device->event_done (event);
}

/* What the device says about the pace of a segment that is done.  When the lane may have stood idle
 * before it, that is only a bound. */
static void
correct_pace (eng_lanes *lanes, const struct lane *lane, const struct fence *fence)
{
  struct eng_pace *pace = fence->pace;
  double ms, seconds;

  if (!pace || fence->n <= 0 || !lane->last ||
      lanes->device->event_elapsed (&ms, lane->last, fence->event) || ms <= 0)
    return;
  seconds = ms * 1e-3 / fence->n;
  if (fence->follows || pace->seconds <= 0 || seconds < pace->seconds)
    pace->seconds = seconds;
}

static void
drop_done (eng_lanes *lanes, struct lane *lane)
{
  guint n = 0;

  for (; n < lane->fences->len; n++) {
    const struct fence *fence = &g_array_index (lane->fences, struct fence, n);

    if (!lanes->device->event_done (fence->event))
      break;
    correct_pace (lanes, lane, fence);
    eng_lanes_give_back (lanes, lane->last);
    lane->last = fence->event;
  }
  if (n > 0)
    g_array_remove_range (lane->fences, 0, n);
}

void
eng_lanes_end_segment (eng_lanes *lanes, enum eng_lane lane, struct eng_pace *pace, int n)
{
  const gboolean follows = !eng_lanes_is_idle (lanes, lane);
  const struct fence fence = { eng_lanes_record (lanes, lane), pace, n, follows };

  if (fence.event)
    g_array_append_val (lanes->lanes[lane].fences, fence);
}

void
eng_lanes_forget_pace (eng_lanes *lanes, const struct eng_pace *pace)
{
  for (int i = 0; i < ENG_N_LANES; i++)
    for (guint k = 0; k < lanes->lanes[i].fences->len; k++) {
      struct fence *fence = &g_array_index (lanes->lanes[i].fences, struct fence, k);

      if (fence->pace == pace)
        fence->pace = NULL;
    }
}

gboolean
eng_lanes_want_more (eng_lanes *lanes, enum eng_lane lane)
{
  struct lane *l = &lanes->lanes[lane];
  double seconds = 0;

  drop_done (lanes, l);
  if (l->fences->len < 2)
    return TRUE;
  for (guint i = 0; i < l->fences->len; i++) {
    const struct fence *fence = &g_array_index (l->fences, struct fence, i);

    if (fence->pace && fence->pace->seconds <= 0)
      return FALSE; /* two segments of unknown length are enough */
    seconds += fence->pace ? fence->pace->seconds * fence->n : 0;
  }
  return seconds < AHEAD;
}

gboolean
eng_lanes_is_idle (eng_lanes *lanes, enum eng_lane lane)
{
  drop_done (lanes, &lanes->lanes[lane]);
  return lanes->lanes[lane].fences->len == 0;
}

void
eng_lanes_wait_for (eng_lanes *lanes, enum eng_lane lane, krn_event *event)
{
  if (event && lanes->device->event_wait (eng_lanes_get_stream (lanes, lane), event))
    lanes->device->event_sync (event); /* then the host does */
}

void
eng_lanes_join (eng_lanes *lanes, enum eng_lane lane, enum eng_lane other)
{
  krn_event *event;

  if (lanes->one_stream)
    return;
  event = eng_lanes_record (lanes, other);
  eng_lanes_wait_for (lanes, lane, event);
  eng_lanes_give_back (lanes, event); /* recording it again does not change what waits for it */
}

/* All of them, also after a failure: who asks is about to free what they use. */
gboolean
eng_lanes_sync (eng_lanes *lanes, GError **error)
{
  krn_status failure = KRN_OK;

  for (int i = 0; i < ENG_N_LANES; i++) {
    const krn_status status = lanes->device->stream_sync (lanes->lanes[i].stream);

    failure = failure ? failure : status;
  }
  if (!failure)
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE, "%s failed: %s", lanes->device->name,
               lanes->device->status_text (lanes->device, failure));
  return FALSE;
}

krn_status
eng_lanes_check (eng_lanes *lanes)
{
  krn_event *event = NULL;
  krn_status status;

  if (lanes->events->len == 0)
    eng_lanes_give_back (lanes, eng_lanes_record (lanes, ENG_LANE_COPY));
  if (lanes->events->len > 0)
    event = g_ptr_array_index (lanes->events, lanes->events->len - 1);
  if (!event)
    status = lanes->device->stream_sync (lanes->lanes[ENG_LANE_COPY].stream);
  else
    status = lanes->device->event_record (lanes->lanes[ENG_LANE_COPY].stream, event);
  return lanes->device->lost (lanes->device, status) ? status : KRN_OK;
}

/* ---- Time ---- */

/* On an idle stream an event comes to pass as soon as it is recorded. */
static eng_anchor *
drop_anchor (eng_lanes *lanes, enum eng_lane lane)
{
  const gint64 now = g_get_monotonic_time ();
  krn_event *event = NULL;
  eng_anchor *anchor;

  if (lanes->device->event_new (lanes->device, &event))
    return NULL;
  if (lanes->device->event_record (eng_lanes_get_stream (lanes, lane), event)) {
    lanes->device->event_free (event);
    return NULL;
  }
  anchor = g_rc_box_new0 (eng_anchor);
  *anchor = (eng_anchor){ lanes->device, event, now };
  return anchor;
}

eng_anchor *
eng_lanes_get_anchor (eng_lanes *lanes)
{
  eng_anchor *anchor = NULL;

  for (int i = ENG_N_LANES; i-- > 0 && !anchor;)
    if (eng_lanes_is_idle (lanes, lanes->one_stream ? ENG_LANE_DENOISE : i))
      anchor = drop_anchor (lanes, i);
  if (anchor) {
    eng_anchor_unref (lanes->anchor);
    lanes->anchor = anchor;
  }
  return lanes->anchor ? g_rc_box_acquire (lanes->anchor) : NULL;
}

static void
clear_anchor (void *data)
{
  eng_anchor *anchor = data;

  anchor->device->event_free (anchor->event);
}

void
eng_anchor_unref (eng_anchor *anchor)
{
  if (anchor)
    g_rc_box_release_full (anchor, clear_anchor);
}

gboolean
eng_anchor_time (const eng_anchor *anchor, krn_event *event, double *time)
{
  double ms;

  if (anchor->device->event_elapsed (&ms, anchor->event, event))
    return FALSE;
  *time = anchor->time + ms * 1000;
  return TRUE;
}
