#include "ui/sl-timing.h"

#include <string.h>

struct _SlTiming {
  GObject parent_instance;

  guint serial;
  char *title;
  GArray *spans;       /* of struct sl_span */
  GStringChunk *names; /* what the spans' names point into */
  guint edition;
  double counts[SL_N_COUNTS];

  gboolean running;
  double total;         /* of one that is done */
  double elapsed, left; /* as last told */
  gint64 told;          /* when that was; microseconds, monotonic */
};

struct _SlTimingItem {
  GObject parent_instance;

  SlTiming *timing; /* held */
  guint index;
};

static void list_model_init (GListModelInterface *iface);

G_DEFINE_FINAL_TYPE (SlTimingItem, sl_timing_item, G_TYPE_OBJECT)
G_DEFINE_FINAL_TYPE_WITH_CODE (SlTiming, sl_timing, G_TYPE_OBJECT,
                               G_IMPLEMENT_INTERFACE (G_TYPE_LIST_MODEL, list_model_init))

static guint changed_signal;

static void
changed (SlTiming *self, guint position, guint removed, guint added)
{
  if (removed || added)
    g_list_model_items_changed (G_LIST_MODEL (self), position, removed, added);
  g_signal_emit (self, changed_signal, 0);
}

SlTiming *
sl_timing_new (guint serial, const char *title)
{
  SlTiming *self = g_object_new (SL_TYPE_TIMING, NULL);

  self->serial = serial;
  self->title = g_strdup (title);
  return self;
}

guint
sl_timing_get_serial (SlTiming *self)
{
  return self->serial;
}

const char *
sl_timing_get_title (SlTiming *self)
{
  return self->title;
}

void
sl_timing_add (SlTiming *self, const struct sl_span *spans, guint n)
{
  const guint before = self->spans->len;

  g_return_if_fail (SL_IS_TIMING (self));

  for (guint i = 0; i < n; i++) {
    const struct sl_span span = { spans[i].lane,
                                  g_string_chunk_insert_const (self->names, spans[i].name),
                                  spans[i].start, MAX (spans[i].start, spans[i].end) };

    g_array_append_val (self->spans, span);
  }
  changed (self, before, 0, n);
}

const struct sl_span *
sl_timing_get_spans (SlTiming *self, guint *n)
{
  *n = self->spans->len;
  return (const struct sl_span *) self->spans->data;
}

guint
sl_timing_get_edition (SlTiming *self)
{
  return self->edition;
}

void
sl_timing_set_progress (SlTiming *self, double elapsed, double left)
{
  g_return_if_fail (SL_IS_TIMING (self));

  self->running = TRUE;
  self->elapsed = elapsed;
  self->left = left;
  self->told = g_get_monotonic_time ();
  changed (self, 0, 0, 0);
}

void
sl_timing_finish (SlTiming *self, SlTiming *from, double total)
{
  const guint before = self->spans->len;
  GArray *spans = self->spans;
  GStringChunk *names = self->names;

  g_return_if_fail (SL_IS_TIMING (self) && SL_IS_TIMING (from) && self != from);

  self->spans = from->spans;
  self->names = from->names;
  from->spans = spans;
  from->names = names;
  memcpy (self->counts, from->counts, sizeof self->counts);
  g_free (self->title);
  self->title = g_steal_pointer (&from->title);
  g_array_set_size (from->spans, 0);
  self->edition++;
  self->running = FALSE;
  self->total = total;
  changed (self, 0, before, self->spans->len);
}

gboolean
sl_timing_is_running (SlTiming *self)
{
  return self->running;
}

double
sl_timing_get_total (SlTiming *self)
{
  if (!self->running)
    return self->total;
  return self->elapsed + (double) (g_get_monotonic_time () - self->told) / 1e3;
}

double
sl_timing_get_expected (SlTiming *self)
{
  const double total = sl_timing_get_total (self);

  /* Before an estimate there is room for as much again. */
  if (self->running)
    return MAX (total, self->left >= 0 ? self->elapsed + self->left : 2 * total);
  return total;
}

void
sl_timing_set_png (SlTiming *self, double length)
{
  const struct sl_span png = { SL_LANE_HOST, "png", self->total, self->total + length };

  g_return_if_fail (SL_IS_TIMING (self) && !self->running);

  for (guint i = self->spans->len; i-- > 0;) {
    struct sl_span *span = &g_array_index (self->spans, struct sl_span, i);

    if (sl_timing_get_part (span) != SL_PART_PNG)
      continue;
    span->start = png.start;
    span->end = png.end;
    self->edition++;
    changed (self, i, 1, 1);
    return;
  }
  sl_timing_add (self, &png, 1);
}

void
sl_timing_set_count (SlTiming *self, SlCount what, double value)
{
  g_return_if_fail (SL_IS_TIMING (self) && what < SL_N_COUNTS);

  self->counts[what] = value;
}

double
sl_timing_get_count (SlTiming *self, SlCount what)
{
  return self->counts[what];
}

/* ---- What follows from the spans ---- */

/* Whether name is stage, with or without a number behind it. */
static gboolean
is_stage (const char *name, const char *stage)
{
  const gsize n = strlen (stage);

  return g_str_has_prefix (name, stage) &&
         (!name[n] || (name[n] == ' ' && g_ascii_isdigit (name[n + 1])));
}

SlPart
sl_timing_get_part (const struct sl_span *span)
{
  switch (span->lane) {
  case SL_LANE_TEXT:
    return SL_PART_TEXT;
  case SL_LANE_COPY:
    return is_stage (span->name, "preview") ? SL_PART_PREVIEW : SL_PART_COPY;
  case SL_LANE_HOST:
    return is_stage (span->name, "png") ? SL_PART_PNG : SL_PART_HOST;
  case SL_LANE_DECODE:
    return is_stage (span->name, "preview") ? SL_PART_PREVIEW : SL_PART_DECODE;
  default:
    if (is_stage (span->name, "step"))
      return SL_PART_STEPS;
    if (is_stage (span->name, "preview"))
      return SL_PART_PREVIEW;
    return is_stage (span->name, "prepare") ? SL_PART_PREPARE : SL_PART_OTHER;
  }
}

double
sl_timing_get_sum (SlTiming *self, SlPart part, guint *n)
{
  double sum = 0;
  guint count = 0;

  for (guint i = 0; i < self->spans->len; i++) {
    const struct sl_span *span = &g_array_index (self->spans, struct sl_span, i);

    if (sl_timing_get_part (span) != part)
      continue;
    sum += span->end - span->start;
    count++;
  }
  if (n)
    *n = count;
  return sum;
}

static int
compare_start (gconstpointer a, gconstpointer b)
{
  const struct sl_span *x = a, *y = b;

  return x->start < y->start ? -1 : x->start > y->start;
}

/* The time from that moment on which the spans of these lanes, bits by their numbers, cover
 * together; *end: where the last one ends. */
static double
get_covered (SlTiming *self, guint lanes, double from, double *end)
{
  g_autoptr (GArray) spans = g_array_new (FALSE, FALSE, sizeof (struct sl_span));
  double covered = 0, last = -G_MAXDOUBLE;
  gboolean sorted = TRUE;

  for (guint i = 0; i < self->spans->len; i++) {
    const struct sl_span *span = &g_array_index (self->spans, struct sl_span, i);

    if (!(lanes & 1u << span->lane) || sl_timing_get_part (span) == SL_PART_PNG)
      continue;
    sorted = sorted && span->start >= last;
    last = span->start;
    g_array_append_vals (spans, span, 1);
  }
  if (!sorted)
    g_array_sort (spans, compare_start);
  *end = from;
  for (guint i = 0; i < spans->len; i++) {
    const struct sl_span *span = &g_array_index (spans, struct sl_span, i);

    covered += MAX (0, span->end - MAX (span->start, *end));
    *end = MAX (*end, span->end);
  }
  return covered;
}

double
sl_timing_get_busy (SlTiming *self)
{
  double from = G_MAXDOUBLE, end;

  for (guint i = 0; i < self->spans->len; i++) {
    const struct sl_span *span = &g_array_index (self->spans, struct sl_span, i);

    if (sl_timing_get_part (span) == SL_PART_STEPS)
      from = MIN (from, span->start);
  }
  if (from == G_MAXDOUBLE)
    return -1;
  const double covered = get_covered (self, ~(1u << SL_LANE_HOST), from, &end);
  return end > from ? covered / (end - from) : -1;
}

double
sl_timing_get_gaps (SlTiming *self)
{
  double end;

  return MAX (0, sl_timing_get_total (self) - get_covered (self, ~0u, 0, &end));
}

struct sl_timing_steps
sl_timing_get_steps (SlTiming *self)
{
  struct sl_timing_steps steps = { 0 };
  double sum = 0, each = 0, first = 0, last = 0;
  const char *name = NULL;

  for (guint i = 0; i < self->spans->len; i++) {
    const struct sl_span *span = &g_array_index (self->spans, struct sl_span, i);

    if (sl_timing_get_part (span) != SL_PART_STEPS)
      continue;
    if (!steps.n)
      first = span->start;
    if (g_strcmp0 (name, span->name) != 0) {
      steps.n++;
      each = 0;
    }
    name = span->name;
    each += span->end - span->start;
    sum += span->end - span->start;
    last = MAX (last, span->end);
    steps.slowest = MAX (steps.slowest, each);
  }
  if (steps.n)
    steps.mean = sum / steps.n;
  if (last > first)
    steps.per_second = steps.n * 1e3 / (last - first);
  return steps;
}

/* ---- The list ---- */

static GType
get_item_type (GListModel *model)
{
  return SL_TYPE_TIMING_ITEM;
}

static guint
get_n_items (GListModel *model)
{
  return SL_TIMING (model)->spans->len;
}

static gpointer
get_item (GListModel *model, guint position)
{
  SlTiming *self = SL_TIMING (model);
  SlTimingItem *item;

  if (position >= self->spans->len)
    return NULL;
  item = g_object_new (SL_TYPE_TIMING_ITEM, NULL);
  item->timing = g_object_ref (self);
  item->index = position;
  return item;
}

static void
list_model_init (GListModelInterface *iface)
{
  iface->get_item_type = get_item_type;
  iface->get_n_items = get_n_items;
  iface->get_item = get_item;
}

guint
sl_timing_item_get_index (SlTimingItem *self)
{
  return self->index;
}

SlTiming *
sl_timing_item_get_timing (SlTimingItem *self)
{
  return self->timing;
}

static void
sl_timing_item_finalize (GObject *object)
{
  g_clear_object (&SL_TIMING_ITEM (object)->timing);

  G_OBJECT_CLASS (sl_timing_item_parent_class)->finalize (object);
}

static void
sl_timing_item_class_init (SlTimingItemClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = sl_timing_item_finalize;
}

static void
sl_timing_item_init (SlTimingItem *self)
{
}

/* ---- The object ---- */

static void
sl_timing_finalize (GObject *object)
{
  SlTiming *self = SL_TIMING (object);

  g_array_unref (self->spans);
  g_string_chunk_free (self->names);
  g_free (self->title);

  G_OBJECT_CLASS (sl_timing_parent_class)->finalize (object);
}

static void
sl_timing_class_init (SlTimingClass *klass)
{
  G_OBJECT_CLASS (klass)->finalize = sl_timing_finalize;

  changed_signal = g_signal_new ("changed", SL_TYPE_TIMING, G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
                                 G_TYPE_NONE, 0);
}

static void
sl_timing_init (SlTiming *self)
{
  self->spans = g_array_new (FALSE, FALSE, sizeof (struct sl_span));
  self->names = g_string_chunk_new (256);
  self->left = -1;
  for (guint i = 0; i < SL_N_COUNTS; i++)
    self->counts[i] = -1;
}
