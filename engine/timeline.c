#include "engine/timeline.h"

#include <json-glib/json-glib.h>
#include <string.h>

struct eng_timeline {
  GArray *spans;       /* of struct eng_span */
  GStringChunk *names; /* what the spans' names point into */
  struct eng_counters counters;
  gboolean counted;
};

static const char *const lane_names[ENG_N_TIMELINE_LANES] = { "text", "denoise", "decode", "copy",
                                                              "host" };

eng_timeline *
eng_timeline_new (void)
{
  eng_timeline *timeline = g_new0 (eng_timeline, 1);

  timeline->spans = g_array_new (FALSE, FALSE, sizeof (struct eng_span));
  timeline->names = g_string_chunk_new (256);
  return timeline;
}

void
eng_timeline_free (eng_timeline *timeline)
{
  if (!timeline)
    return;
  g_array_unref (timeline->spans);
  g_string_chunk_free (timeline->names);
  g_free (timeline);
}

const char *
eng_timeline_lane_name (int lane)
{
  g_return_val_if_fail (lane >= 0 && lane < ENG_N_TIMELINE_LANES, "");

  return lane_names[lane];
}

void
eng_timeline_add (eng_timeline *timeline, int lane, const char *name, double start, double end)
{
  const struct eng_span span = { eng_timeline_lane_name (lane),
                                 g_string_chunk_insert_const (timeline->names, name), start,
                                 MAX (start, end) };

  g_array_append_val (timeline->spans, span);
}

const struct eng_span *
eng_timeline_get_spans (const eng_timeline *timeline, guint *n)
{
  *n = timeline->spans->len;
  return *n ? (const struct eng_span *) timeline->spans->data : NULL;
}

/* Length of name without " 12" at its end. */
static gsize
stage_length (const char *name)
{
  gsize n = strlen (name), digits = 0;

  while (digits < n && g_ascii_isdigit (name[n - digits - 1]))
    digits++;
  return digits > 0 && digits < n && name[n - digits - 1] == ' ' ? n - digits - 1 : n;
}

static gboolean
is_stage (const struct eng_span *span, const char *stage, gsize length)
{
  return strncmp (span->name, stage, length) == 0 &&
         (!span->name[length] || stage_length (span->name) == length);
}

double
eng_timeline_sum (const eng_timeline *timeline, int lane, const char *stage, guint *n)
{
  const char *on = lane >= 0 ? eng_timeline_lane_name (lane) : NULL;
  const gsize length = strlen (stage);
  double sum = 0;
  guint count = 0;

  for (guint i = 0; i < timeline->spans->len; i++) {
    const struct eng_span *span = &g_array_index (timeline->spans, struct eng_span, i);

    if ((on && span->lane != on) || !is_stage (span, stage, length))
      continue;
    sum += span->end - span->start;
    count++;
  }
  if (n)
    *n = count;
  return sum;
}

static int
compare_starts (const void *a, const void *b)
{
  const double x = ((const struct eng_span *) a)->start, y = ((const struct eng_span *) b)->start;

  return (x > y) - (x < y);
}

static gboolean
is_on (const struct eng_span *span, guint lanes)
{
  for (int i = 0; i < ENG_N_TIMELINE_LANES; i++)
    if (lane_names[i] == span->lane)
      return (lanes >> i & 1) != 0;
  return FALSE;
}

double
eng_timeline_gaps (const eng_timeline *timeline, guint lanes, double from, double to)
{
  g_autoptr (GArray) sorted = g_array_copy (timeline->spans);
  double gaps = 0, at = from;

  g_array_sort (sorted, compare_starts);
  for (guint i = 0; i < sorted->len; i++) {
    const struct eng_span *span = &g_array_index (sorted, struct eng_span, i);

    if (!is_on (span, lanes))
      continue;
    gaps += MAX (0, MIN (span->start, to) - at);
    at = MAX (at, span->end);
  }
  return gaps + MAX (0, to - at);
}

void
eng_timeline_set_counters (eng_timeline *timeline, const struct eng_counters *counters)
{
  timeline->counters = *counters;
  timeline->counted = TRUE;
}

const struct eng_counters *
eng_timeline_get_counters (const eng_timeline *timeline)
{
  return &timeline->counters;
}

/* ---- Export ---- */

static void
add_string (JsonBuilder *builder, const char *key, const char *value)
{
  json_builder_set_member_name (builder, key);
  json_builder_add_string_value (builder, value);
}

static void
add_number (JsonBuilder *builder, const char *key, double value)
{
  json_builder_set_member_name (builder, key);
  json_builder_add_double_value (builder, value);
}

static void
add_count (JsonBuilder *builder, const char *key, gint64 value)
{
  json_builder_set_member_name (builder, key);
  json_builder_add_int_value (builder, value);
}

static void
add_counters (JsonBuilder *builder, const struct eng_counters *counters)
{
  json_builder_set_member_name (builder, "counters");
  json_builder_begin_object (builder);
  add_string (builder, "graph", counters->graph ? counters->graph : "");
  add_count (builder, "evaluations", counters->evaluations);
  add_count (builder, "replayed", counters->replayed);
  json_builder_set_member_name (builder, "prompt_cached");
  json_builder_add_boolean_value (builder, counters->prompt_cached);
  add_number (builder, "steps_per_second", counters->steps_per_second);
  add_number (builder, "idle_ms", counters->idle_ms);
  add_count (builder, "allocations", counters->allocations);
  add_count (builder, "preview_bytes", counters->preview_bytes);
  json_builder_end_object (builder);
}

/* Ends the root object and gives its text; frees builder. */
static char *
finish (JsonBuilder *builder)
{
  g_autoptr (JsonNode) root = NULL;

  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  g_object_unref (builder);
  return json_to_string (root, TRUE);
}

/* One entry for every stage of a lane, where its first span is. */
static void
add_stages (JsonBuilder *builder, const eng_timeline *timeline)
{
  g_autoptr (GHashTable) seen = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);

  for (guint i = 0; i < timeline->spans->len; i++) {
    const struct eng_span *span = &g_array_index (timeline->spans, struct eng_span, i);
    g_autofree char *stage = g_strndup (span->name, stage_length (span->name));
    int lane = 0;
    guint count;

    if (!g_hash_table_add (seen, g_strconcat (span->lane, " ", stage, NULL)))
      continue;
    while (lane_names[lane] != span->lane)
      lane++;
    const double ms = eng_timeline_sum (timeline, lane, stage, &count);
    json_builder_begin_object (builder);
    add_string (builder, "lane", span->lane);
    add_string (builder, "name", stage);
    add_count (builder, "count", count);
    add_number (builder, "ms", ms);
    json_builder_end_object (builder);
  }
}

char *
eng_timeline_to_json (const eng_timeline *timeline)
{
  JsonBuilder *builder = json_builder_new ();
  double total = 0;

  for (guint i = 0; i < timeline->spans->len; i++)
    total = MAX (total, g_array_index (timeline->spans, struct eng_span, i).end);
  json_builder_begin_object (builder);
  add_number (builder, "total_ms", total);
  if (timeline->counted)
    add_counters (builder, &timeline->counters);
  json_builder_set_member_name (builder, "stages");
  json_builder_begin_array (builder);
  add_stages (builder, timeline);
  json_builder_end_array (builder);
  json_builder_set_member_name (builder, "spans");
  json_builder_begin_array (builder);
  for (guint i = 0; i < timeline->spans->len; i++) {
    const struct eng_span *span = &g_array_index (timeline->spans, struct eng_span, i);

    json_builder_begin_object (builder);
    add_string (builder, "lane", span->lane);
    add_string (builder, "name", span->name);
    add_number (builder, "start_ms", span->start);
    add_number (builder, "end_ms", span->end);
    json_builder_end_object (builder);
  }
  json_builder_end_array (builder);
  return finish (builder);
}

/* The members that every trace event has; ends inside the object. */
static void
begin_event (JsonBuilder *builder, const char *phase, const char *name, int lane)
{
  json_builder_begin_object (builder);
  add_string (builder, "ph", phase);
  add_string (builder, "name", name);
  add_count (builder, "pid", 1);
  add_count (builder, "tid", lane + 1);
}

/* Names a lane's thread and gives it its place. */
static void
add_thread (JsonBuilder *builder, int lane)
{
  begin_event (builder, "M", "thread_name", lane);
  json_builder_set_member_name (builder, "args");
  json_builder_begin_object (builder);
  add_string (builder, "name", lane_names[lane]);
  json_builder_end_object (builder);
  json_builder_end_object (builder);
  begin_event (builder, "M", "thread_sort_index", lane);
  json_builder_set_member_name (builder, "args");
  json_builder_begin_object (builder);
  add_count (builder, "sort_index", lane);
  json_builder_end_object (builder);
  json_builder_end_object (builder);
}

char *
eng_timeline_to_trace (const eng_timeline *timeline)
{
  JsonBuilder *builder = json_builder_new ();

  json_builder_begin_object (builder);
  add_string (builder, "displayTimeUnit", "ms");
  json_builder_set_member_name (builder, "traceEvents");
  json_builder_begin_array (builder);
  for (int lane = 0; lane < ENG_N_TIMELINE_LANES; lane++) {
    add_thread (builder, lane);
    for (guint i = 0; i < timeline->spans->len; i++) {
      const struct eng_span *span = &g_array_index (timeline->spans, struct eng_span, i);

      if (span->lane != lane_names[lane])
        continue;
      begin_event (builder, "X", span->name, lane);
      add_number (builder, "ts", span->start * 1000); /* microseconds */
      add_number (builder, "dur", (span->end - span->start) * 1000);
      json_builder_end_object (builder);
    }
  }
  json_builder_end_array (builder);
  return finish (builder);
}
