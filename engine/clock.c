#include "engine/clock.h"

struct mark {
  enum eng_lane lane;
  char *name;
  krn_event *begin, *end; /* NULL: the device gave none */
  gboolean ended;
};

struct eng_clock {
  eng_lanes *lanes;   /* borrowed */
  eng_anchor *anchor; /* NULL: no spans of lanes */
  gint64 begin;
  GArray *marks; /* of struct mark: what is not in the timeline yet */
  eng_timeline *timeline;
};

eng_clock *
eng_clock_new (eng_lanes *lanes, gint64 begin, gboolean events)
{
  eng_clock *clock = g_new0 (eng_clock, 1);

  clock->lanes = lanes;
  clock->anchor = events ? eng_lanes_get_anchor (lanes) : NULL;
  clock->begin = begin;
  clock->marks = g_array_new (FALSE, FALSE, sizeof (struct mark));
  clock->timeline = eng_timeline_new ();
  return clock;
}

static void
clear_mark (eng_clock *clock, struct mark *mark)
{
  eng_lanes_give_back (clock->lanes, mark->begin);
  eng_lanes_give_back (clock->lanes, mark->end);
  g_free (mark->name);
}

void
eng_clock_free (eng_clock *clock)
{
  if (!clock)
    return;
  for (guint i = 0; i < clock->marks->len; i++)
    clear_mark (clock, &g_array_index (clock->marks, struct mark, i));
  g_array_unref (clock->marks);
  eng_timeline_free (clock->timeline);
  eng_anchor_unref (clock->anchor);
  g_free (clock);
}

void
eng_clock_begin (eng_clock *clock, enum eng_lane lane, const char *name)
{
  struct mark mark = { .lane = lane };

  if (!clock->anchor)
    return;
  mark.name = g_strdup (name);
  mark.begin = eng_lanes_record (clock->lanes, lane);
  g_array_append_val (clock->marks, mark);
}

void
eng_clock_end (eng_clock *clock, enum eng_lane lane)
{
  for (guint i = clock->marks->len; i-- > 0;) {
    struct mark *mark = &g_array_index (clock->marks, struct mark, i);

    if (mark->lane != lane || mark->ended)
      continue;
    mark->end = eng_lanes_record (clock->lanes, lane);
    mark->ended = TRUE;
    return;
  }
}

void
eng_clock_add_host (eng_clock *clock, const char *name, gint64 begin)
{
  eng_timeline_add (clock->timeline, ENG_TIMELINE_HOST, name, (begin - clock->begin) * 1e-3,
                    (g_get_monotonic_time () - clock->begin) * 1e-3);
}

/* FALSE while it goes on: its end was not enqueued yet, or the device is not there yet. */
static gboolean
take_mark (eng_clock *clock, struct mark *mark)
{
  double begin, end;

  if (!mark->ended || (mark->end && !eng_lanes_is_done (clock->lanes, mark->end)))
    return FALSE;
  if (mark->begin && mark->end && eng_anchor_time (clock->anchor, mark->begin, &begin) &&
      eng_anchor_time (clock->anchor, mark->end, &end))
    eng_timeline_add (clock->timeline, mark->lane, mark->name, (begin - clock->begin) * 1e-3,
                      (end - clock->begin) * 1e-3);
  return TRUE;
}

/* A lane's spans are done in their order, the lanes in any. */
eng_timeline *
eng_clock_get_timeline (eng_clock *clock)
{
  gboolean waits[ENG_N_LANES] = { FALSE };
  guint left = 0;

  for (guint i = 0; i < clock->marks->len; i++) {
    struct mark *mark = &g_array_index (clock->marks, struct mark, i);

    waits[mark->lane] = waits[mark->lane] || !take_mark (clock, mark);
    if (waits[mark->lane])
      g_array_index (clock->marks, struct mark, left++) = *mark;
    else
      clear_mark (clock, mark);
  }
  g_array_set_size (clock->marks, left);
  return clock->timeline;
}

eng_timeline *
eng_clock_steal_timeline (eng_clock *clock)
{
  eng_clock_get_timeline (clock);
  return g_steal_pointer (&clock->timeline);
}

double
eng_clock_get_seconds (const eng_clock *clock)
{
  return (g_get_monotonic_time () - clock->begin) * 1e-6;
}
