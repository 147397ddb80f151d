#include "ui/sl-timing-lanes.h"

#include <math.h>

#define TELLABLE 3 /* pixels: below it a span has no gap or edge of its own */

struct entry {
  struct sl_span span;
  guint index;  /* in the timing */
  double until; /* the latest end so far: spans may overlap */
};

struct sl_lanes {
  GArray *lanes[SL_N_LANES]; /* of struct entry, by start */
  guint n_read;              /* of the timing's spans */
  gpointer timing;           /* to tell whether it is another one; never followed */
  guint edition;             /* of the timing */
};

sl_lanes *
sl_lanes_new (void)
{
  sl_lanes *lanes = g_new0 (sl_lanes, 1);

  for (int i = 0; i < SL_N_LANES; i++)
    lanes->lanes[i] = g_array_new (FALSE, FALSE, sizeof (struct entry));
  return lanes;
}

void
sl_lanes_free (sl_lanes *lanes)
{
  for (int i = 0; i < SL_N_LANES; i++)
    g_array_unref (lanes->lanes[i]);
  g_free (lanes);
}

static const struct entry *
get_entry (const sl_lanes *lanes, SlLane lane, guint i)
{
  return &g_array_index (lanes->lanes[lane], struct entry, i);
}

static int
compare_entries (gconstpointer a, gconstpointer b)
{
  const struct entry *x = a, *y = b;

  if (x->span.start != y->span.start)
    return x->span.start < y->span.start ? -1 : 1;
  return x->index < y->index ? -1 : 1;
}

static void
set_until (GArray *lane)
{
  double until = 0;

  for (guint i = 0; i < lane->len; i++) {
    struct entry *entry = &g_array_index (lane, struct entry, i);

    until = MAX (until, entry->span.end);
    entry->until = until;
  }
}

gboolean
sl_lanes_update (sl_lanes *lanes, SlTiming *timing)
{
  guint n = 0;
  const struct sl_span *spans = timing ? sl_timing_get_spans (timing, &n) : NULL;
  const guint edition = timing ? sl_timing_get_edition (timing) : 0;
  const gboolean again = lanes->timing != timing || lanes->edition != edition;
  gboolean sorted[SL_N_LANES];

  if (again)
    lanes->n_read = 0;
  for (int i = 0; i < SL_N_LANES; i++) {
    sorted[i] = TRUE;
    if (again)
      g_array_set_size (lanes->lanes[i], 0);
  }
  for (guint i = again ? 0 : lanes->n_read; i < n; i++) {
    GArray *lane = lanes->lanes[spans[i].lane];
    struct entry entry = { spans[i], i, spans[i].end };

    if (lane->len) {
      const struct entry *last = get_entry (lanes, spans[i].lane, lane->len - 1);

      entry.until = MAX (entry.until, last->until);
      if (last->span.start > entry.span.start)
        sorted[spans[i].lane] = FALSE;
    }
    g_array_append_val (lane, entry);
  }
  lanes->n_read = n;
  lanes->timing = timing;
  lanes->edition = edition;

  gboolean same = !again;
  for (int i = 0; i < SL_N_LANES; i++)
    if (!sorted[i]) {
      g_array_sort (lanes->lanes[i], compare_entries);
      set_until (lanes->lanes[i]);
      same = FALSE;
    }
  return same;
}

guint
sl_lanes_get_n (const sl_lanes *lanes, SlLane lane)
{
  return lanes->lanes[lane]->len;
}

const struct sl_span *
sl_lanes_get (const sl_lanes *lanes, SlLane lane, guint i)
{
  return &get_entry (lanes, lane, i)->span;
}

const struct sl_span *
sl_lanes_get_at (const sl_lanes *lanes, const struct sl_place *place)
{
  return place->any ? sl_lanes_get (lanes, place->lane, place->i) : NULL;
}

guint
sl_lanes_get_index (const sl_lanes *lanes, const struct sl_place *place)
{
  return place->any ? get_entry (lanes, place->lane, place->i)->index : G_MAXUINT;
}

struct sl_place
sl_lanes_find_index (const sl_lanes *lanes, guint index)
{
  for (int lane = 0; lane < SL_N_LANES; lane++)
    for (guint i = 0; i < sl_lanes_get_n (lanes, lane); i++)
      if (get_entry (lanes, lane, i)->index == index)
        return (struct sl_place){ TRUE, lane, i };
  return (struct sl_place){ 0 };
}

/* The first span before whose end, or the end of one before it, the moment lies. */
static guint
find_first (const sl_lanes *lanes, SlLane lane, double at)
{
  guint low = 0, high = sl_lanes_get_n (lanes, lane);

  while (low < high) {
    const guint middle = (low + high) / 2;

    if (get_entry (lanes, lane, middle)->until < at)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

struct sl_place
sl_lanes_find (const sl_lanes *lanes, SlLane lane, double at, double within)
{
  const guint n = sl_lanes_get_n (lanes, lane);
  struct sl_place place = { 0 };
  double nearest = within;

  for (guint i = find_first (lanes, lane, at - within); i < n; i++) {
    const struct sl_span *span = sl_lanes_get (lanes, lane, i);
    const double away = MAX (0, MAX (span->start - at, at - span->end));

    if (span->start > at + within)
      break;
    /* Of several that are there, the one that began last. */
    if (away > nearest || (place.any && away == nearest && away > 0))
      continue;
    place = (struct sl_place){ TRUE, lane, i };
    nearest = away;
  }
  return place;
}

void
sl_lanes_merge (const sl_lanes *lanes, SlLane lane, const struct sl_axis *axis, int width,
                GArray *blocks)
{
  const guint n = sl_lanes_get_n (lanes, lane), begin = blocks->len;
  double busy = 0, longest = 0;
  int last_width = 0;

  for (guint i = find_first (lanes, lane, axis->start); i < n; i++) {
    const struct sl_span *span = sl_lanes_get (lanes, lane, i);
    const double a = CLAMP (sl_axis_to_x (axis, span->start, width), -1, width + 1);
    const double b = CLAMP (sl_axis_to_x (axis, span->end, width), -1, width + 1);
    int x0 = (int) lround (a), x1 = MAX (x0 + 1, (int) lround (b));
    const int span_width = x1 - x0;
    struct sl_block *block =
        blocks->len > begin ? &g_array_index (blocks, struct sl_block, blocks->len - 1) : NULL;

    if (span->start > axis->end)
      break;
    if (span->end < axis->start)
      continue;
    if (block && x0 <= block->x1 && span_width < TELLABLE && last_width < TELLABLE) {
      block->x1 = MAX (block->x1, x1);
      block->n++;
      if (span->end - span->start > longest)
        block->part = sl_timing_get_part (span);
    } else {
      /* Neighbours without a gap get the line between them from the first; a short one before keeps
       * its pixel. */
      if (block && x0 == block->x1 && span_width >= TELLABLE && last_width >= TELLABLE)
        block->x1--;
      else if (block && x0 < block->x1 && last_width < TELLABLE && span_width > TELLABLE)
        x0 = block->x1;
      g_array_set_size (blocks, blocks->len + 1);
      block = &g_array_index (blocks, struct sl_block, blocks->len - 1);
      *block = (struct sl_block){ x0, x1, i, 1, sl_timing_get_part (span), 1 };
      busy = longest = 0;
    }
    longest = MAX (longest, span->end - span->start);
    busy += b - a;
    block->coverage = block->n == 1 ? 1 : CLAMP (busy / (block->x1 - block->x0), 0, 1);
    last_width = span_width;
  }
}
