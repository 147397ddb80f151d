/* tests/test-timeline.c - spans, sums and the two exports. */
#include "engine/timeline.h"

#include <json-glib/json-glib.h>

static eng_timeline *
example (void)
{
  eng_timeline *timeline = eng_timeline_new ();

  eng_timeline_add (timeline, ENG_TIMELINE_TEXT, "encode", 0, 50);
  eng_timeline_add (timeline, ENG_TIMELINE_DENOISE, "step 1", 50, 60.5);
  eng_timeline_add (timeline, ENG_TIMELINE_DENOISE, "preview", 60.5, 61);
  eng_timeline_add (timeline, ENG_TIMELINE_DENOISE, "step 2", 61, 71);
  eng_timeline_add (timeline, ENG_TIMELINE_DENOISE, "step 10", 71, 81);
  eng_timeline_add (timeline, ENG_TIMELINE_DECODE, "decode", 81, 100);
  eng_timeline_add (timeline, ENG_TIMELINE_HOST, "step 3", 100, 107);
  return timeline;
}

static JsonObject *
parse (const char *text, JsonNode **node)
{
  g_autoptr (GError) error = NULL;

  *node = json_from_string (text, &error);
  g_assert_no_error (error);
  return json_node_get_object (*node);
}

static void
test_spans (void)
{
  g_autoptr (eng_timeline) timeline = eng_timeline_new ();
  char name[] = "step 1";
  guint n;

  g_assert_null (eng_timeline_get_spans (timeline, &n));
  g_assert_cmpuint (n, ==, 0);
  eng_timeline_add (timeline, ENG_TIMELINE_COPY, name, 3, 2);
  name[5] = '9'; /* the name was copied */
  const struct eng_span *spans = eng_timeline_get_spans (timeline, &n);
  g_assert_cmpuint (n, ==, 1);
  g_assert_cmpstr (spans[0].lane, ==, "copy");
  g_assert_cmpstr (spans[0].name, ==, "step 1");
  g_assert_cmpfloat (spans[0].start, ==, 3);
  g_assert_cmpfloat (spans[0].end, ==, 3);
}

static void
test_sums (void)
{
  g_autoptr (eng_timeline) timeline = example ();
  guint n;

  g_assert_cmpfloat (eng_timeline_sum (timeline, ENG_TIMELINE_DENOISE, "step", &n), ==, 30.5);
  g_assert_cmpuint (n, ==, 3);
  g_assert_cmpfloat (eng_timeline_sum (timeline, -1, "step", NULL), ==, 37.5);
  g_assert_cmpfloat (eng_timeline_sum (timeline, -1, "step 1", &n), ==, 10.5);
  g_assert_cmpuint (n, ==, 1);
  g_assert_cmpfloat (eng_timeline_sum (timeline, ENG_TIMELINE_DENOISE, "ste", &n), ==, 0);
  g_assert_cmpuint (n, ==, 0);
}

static void
test_gaps (void)
{
  g_autoptr (eng_timeline) timeline = example ();
  const guint steps = 1 << ENG_TIMELINE_DENOISE, decode = 1 << ENG_TIMELINE_DECODE;

  g_assert_cmpfloat (eng_timeline_gaps (timeline, steps, 50, 81), ==, 0);
  g_assert_cmpfloat (eng_timeline_gaps (timeline, steps, 40, 90), ==, 19);
  g_assert_cmpfloat (eng_timeline_gaps (timeline, steps | decode, 40, 90), ==, 10);
  eng_timeline_add (timeline, ENG_TIMELINE_DENOISE, "early", 41, 44);
  g_assert_cmpfloat (eng_timeline_gaps (timeline, steps | decode, 40, 90), ==, 7);
  g_assert_cmpfloat (eng_timeline_gaps (timeline, steps, 42, 43), ==, 0);
}

static void
test_counters (void)
{
  g_autoptr (eng_timeline) timeline = example ();
  const struct eng_counters counters = { .graph = "replayed", .replayed = 7, .allocations = 3 };
  g_autoptr (JsonNode) node = NULL;

  g_assert_null (eng_timeline_get_counters (timeline)->graph);
  eng_timeline_set_counters (timeline, &counters);
  g_assert_cmpint (eng_timeline_get_counters (timeline)->replayed, ==, 7);
  g_autofree char *text = eng_timeline_to_json (timeline);
  JsonObject *told = json_object_get_object_member (parse (text, &node), "counters");
  g_assert_cmpstr (json_object_get_string_member (told, "graph"), ==, "replayed");
  g_assert_cmpint (json_object_get_int_member (told, "allocations"), ==, 3);
}

static void
test_json (void)
{
  g_autoptr (eng_timeline) timeline = example ();
  g_autofree char *text = eng_timeline_to_json (timeline);
  g_autoptr (JsonNode) node = NULL;
  JsonObject *root = parse (text, &node);
  JsonArray *stages = json_object_get_array_member (root, "stages");
  JsonObject *step = json_array_get_object_element (stages, 1);
  JsonObject *span =
      json_array_get_object_element (json_object_get_array_member (root, "spans"), 1);

  g_assert_cmpfloat (json_object_get_double_member (root, "total_ms"), ==, 107);
  g_assert_cmpuint (json_array_get_length (stages), ==, 5);
  g_assert_cmpstr (json_object_get_string_member (step, "name"), ==, "step");
  g_assert_cmpstr (json_object_get_string_member (step, "lane"), ==, "denoise");
  g_assert_cmpint (json_object_get_int_member (step, "count"), ==, 3);
  g_assert_cmpfloat (json_object_get_double_member (step, "ms"), ==, 30.5);
  g_assert_cmpstr (json_object_get_string_member (span, "name"), ==, "step 1");
  g_assert_cmpfloat (json_object_get_double_member (span, "start_ms"), ==, 50);
  g_assert_cmpfloat (json_object_get_double_member (span, "end_ms"), ==, 60.5);
}

static void
test_trace (void)
{
  g_autoptr (eng_timeline) timeline = example ();
  g_autofree char *text = eng_timeline_to_trace (timeline);
  g_autoptr (JsonNode) node = NULL;
  JsonArray *events = json_object_get_array_member (parse (text, &node), "traceEvents");
  guint spans = 0, threads = 0;

  for (guint i = 0; i < json_array_get_length (events); i++) {
    JsonObject *event = json_array_get_object_element (events, i);
    const char *phase = json_object_get_string_member (event, "ph");
    const char *name = json_object_get_string_member (event, "name");

    if (g_str_equal (phase, "X") && g_str_equal (name, "step 2")) {
      g_assert_cmpint (json_object_get_int_member (event, "tid"), ==, 1 + ENG_TIMELINE_DENOISE);
      g_assert_cmpfloat (json_object_get_double_member (event, "ts"), ==, 61000);
      g_assert_cmpfloat (json_object_get_double_member (event, "dur"), ==, 10000);
    }
    spans += g_str_equal (phase, "X");
    threads += g_str_equal (name, "thread_name");
  }
  g_assert_cmpuint (spans, ==, 7);
  g_assert_cmpuint (threads, ==, ENG_N_TIMELINE_LANES);
}

static void
test_escapes (void)
{
  g_autoptr (eng_timeline) timeline = eng_timeline_new ();
  const char *name = "a \"quoted\" \\ name\n\t\x01 \xe7\xba\xa2";
  guint n;

  eng_timeline_add (timeline, ENG_TIMELINE_HOST, name, 0, 1);
  for (int i = 0; i < 2; i++) {
    g_autofree char *text = i ? eng_timeline_to_trace (timeline) : eng_timeline_to_json (timeline);
    g_autoptr (JsonNode) node = NULL;
    JsonArray *array =
        json_object_get_array_member (parse (text, &node), i ? "traceEvents" : "spans");
    JsonObject *last = json_array_get_object_element (array, json_array_get_length (array) - 1);

    g_assert_cmpstr (json_object_get_string_member (last, "name"), ==, name);
  }
  g_assert_cmpstr (eng_timeline_get_spans (timeline, &n)->name, ==, name);
}

static void
test_empty (void)
{
  g_autoptr (eng_timeline) timeline = eng_timeline_new ();
  g_autofree char *json = eng_timeline_to_json (timeline);
  g_autofree char *trace = eng_timeline_to_trace (timeline);
  g_autoptr (JsonNode) a = NULL;
  g_autoptr (JsonNode) b = NULL;

  g_assert_cmpfloat (json_object_get_double_member (parse (json, &a), "total_ms"), ==, 0);
  parse (trace, &b);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/timeline/spans", test_spans);
  g_test_add_func ("/timeline/sums", test_sums);
  g_test_add_func ("/timeline/gaps", test_gaps);
  g_test_add_func ("/timeline/counters", test_counters);
  g_test_add_func ("/timeline/json", test_json);
  g_test_add_func ("/timeline/trace", test_trace);
  g_test_add_func ("/timeline/escapes", test_escapes);
  g_test_add_func ("/timeline/empty", test_empty);
  return g_test_run ();
}
