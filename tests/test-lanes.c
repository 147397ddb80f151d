/* The block that the lanes share and how far ahead of the device they run, on a CPU device whose
 * events come to pass when the test says so. */
#include "engine/lanes.h"

#include "engine/error.h"

static guint64 records, done; /* of fake events: numbers of records */
static size_t memory_free = 1 << 30;
static double milliseconds; /* between any two of them */

struct krn_event {
  guint64 number;
};

static krn_status
fake_event_new (struct krn_device *device, krn_event **event)
{
  *event = g_new0 (krn_event, 1);
  return KRN_OK;
}

static void
fake_event_free (krn_event *event)
{
  g_free (event);
}

static krn_status
fake_event_record (krn_stream *stream, krn_event *event)
{
  event->number = ++records;
  return KRN_OK;
}

static krn_status
fake_event_wait (krn_stream *stream, krn_event *event)
{
  return KRN_OK;
}

static bool
fake_event_done (krn_event *event)
{
  return event->number <= done;
}

static krn_status
fake_event_elapsed (double *ms, krn_event *a, krn_event *b)
{
  *ms = milliseconds;
  return KRN_OK;
}

static void
fake_info (struct krn_device *device, size_t *free_bytes, size_t *total_bytes)
{
  *free_bytes = *total_bytes = memory_free;
}

struct fixture {
  struct krn_device *device;
  eng_lanes *lanes;
};

static void
set_up (struct fixture *f, const void *data)
{
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (krn_cpu_open (&f->device, 1), ==, KRN_OK);
  f->device->event_new = fake_event_new;
  f->device->event_free = fake_event_free;
  f->device->event_record = fake_event_record;
  f->device->event_wait = fake_event_wait;
  f->device->event_done = fake_event_done;
  f->device->event_elapsed = fake_event_elapsed;
  f->device->info = fake_info;
  records = done = 0;
  f->lanes = eng_lanes_new (f->device, &error);
  g_assert_no_error (error);
}

static void
tear_down (struct fixture *f, const void *data)
{
  eng_lanes_free (f->lanes);
  f->device->close (f->device);
}

static struct eng_plan
plan_bytes (eng_lanes *lanes, enum eng_lane lane, int64_t bytes)
{
  struct eng_run run = eng_lanes_begin_plan (lanes, lane);
  struct eng_plan plan = { 0 };

  eng_run_take (&run, KRN_U8, 1, 1, 1, bytes);
  eng_lanes_end_plan (lanes, lane, &plan);
  return plan;
}

static void *
take (eng_lanes *lanes, enum eng_lane lane, int64_t bytes)
{
  struct eng_run run = eng_lanes_begin_run (lanes, lane, NULL);

  return eng_run_take (&run, KRN_U8, 1, 1, 1, bytes).data;
}

/* What was there before keeps its place until something larger comes, and then its room. */
static void
test_block (struct fixture *f, const void *data)
{
  struct eng_plan plan = plan_bytes (f->lanes, ENG_LANE_DENOISE, 100000);
  g_autoptr (GError) error = NULL;
  const guint generation = eng_lanes_get_generation (f->lanes);

  g_assert_cmpuint (plan.bytes[ENG_LANE_DENOISE], ==, 100096); /* whole 256 bytes */
  plan.bytes[ENG_LANE_TEXT] = 512;
  g_assert_false (eng_lanes_fit (f->lanes, &plan));
  g_assert_true (eng_lanes_reserve (f->lanes, &plan, "it", &error));
  g_assert_true (eng_lanes_fit (f->lanes, &plan));
  g_assert_cmpuint (eng_lanes_get_generation (f->lanes), ==, generation + 1);
  void *text = take (f->lanes, ENG_LANE_TEXT, 512);
  void *denoise = take (f->lanes, ENG_LANE_DENOISE, 100000);
  g_assert_true ((char *) denoise >= (char *) text + 512);

  plan = plan_bytes (f->lanes, ENG_LANE_DENOISE, 50000);
  g_assert_true (eng_lanes_reserve (f->lanes, &plan, "it", &error));
  g_assert_cmpuint (eng_lanes_get_generation (f->lanes), ==, generation + 1);
  g_assert_true (take (f->lanes, ENG_LANE_DENOISE, 50000) == denoise);

  plan = plan_bytes (f->lanes, ENG_LANE_DECODE, 1000);
  g_assert_true (eng_lanes_reserve (f->lanes, &plan, "it", &error));
  g_assert_cmpuint (eng_lanes_get_generation (f->lanes), ==, generation + 2);
  g_assert_nonnull (take (f->lanes, ENG_LANE_DENOISE, 100000));
  g_assert_nonnull (take (f->lanes, ENG_LANE_TEXT, 512));
}

/* Where there is no room for what was there before, it goes; where there is too little for the
 * plan, the message has both numbers and a smaller one still has its place. */
static void
test_no_memory (struct fixture *f, const void *data)
{
  struct eng_plan large = plan_bytes (f->lanes, ENG_LANE_DENOISE, 800000);
  struct eng_plan other = plan_bytes (f->lanes, ENG_LANE_DECODE, 700000);
  struct eng_plan small = plan_bytes (f->lanes, ENG_LANE_DECODE, 1000);
  g_autoptr (GError) error = NULL;

  memory_free = 1000000;
  g_assert_true (eng_lanes_reserve (f->lanes, &large, "it", &error));
  g_assert_true (eng_lanes_reserve (f->lanes, &other, "it", &error));
  g_assert_false (eng_lanes_fit (f->lanes, &large));
  memory_free = 600000;
  g_assert_false (eng_lanes_reserve (f->lanes, &large, "a picture of 8x8", &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_MEMORY);
  g_assert_true (g_pattern_match_simple (
      "a picture of 8x8 needs 800.*kB of memory, but only 600.*kB are free on CPU*",
      error->message));
  g_clear_error (&error);
  g_assert_true (eng_lanes_reserve (f->lanes, &small, "it", &error));
  memory_free = 1 << 30;
}

/* Two segments of unknown length, or as many as take 14 ms. */
static void
test_pace (struct fixture *f, const void *data)
{
  struct eng_pace pace = { 0 };
  int n = 0;

  eng_lanes_end_segment (f->lanes, ENG_LANE_DENOISE, NULL, 0);
  while (eng_lanes_want_more (f->lanes, ENG_LANE_DENOISE)) {
    eng_lanes_end_segment (f->lanes, ENG_LANE_DENOISE, &pace, 10);
    n++;
  }
  g_assert_cmpint (n, ==, 1); /* beside the one that takes no time */
  milliseconds = 20;
  done = records;
  g_assert_true (eng_lanes_is_idle (f->lanes, ENG_LANE_DENOISE));
  g_assert_cmpfloat_with_epsilon (pace.seconds, 0.002, 1e-9);
  g_assert_true (eng_lanes_want_more (f->lanes, ENG_LANE_DENOISE));

  for (n = 0; eng_lanes_want_more (f->lanes, ENG_LANE_DENOISE); n++)
    eng_lanes_end_segment (f->lanes, ENG_LANE_DENOISE, &pace, 1);
  g_assert_cmpint (n, ==, 7);
  g_assert_true (eng_lanes_want_more (f->lanes, ENG_LANE_DECODE));
  milliseconds = 2;
  done += 3; /* three of the seven */
  g_assert_true (eng_lanes_want_more (f->lanes, ENG_LANE_DENOISE));
  g_assert_false (eng_lanes_is_idle (f->lanes, ENG_LANE_DENOISE));
  eng_lanes_forget_pace (f->lanes, &pace);
  pace.seconds = 7;
  done = records;
  g_assert_true (eng_lanes_is_idle (f->lanes, ENG_LANE_DENOISE));
  g_assert_cmpfloat (pace.seconds, ==, 7);
}

/* Idle time before a segment is not its own: such a measure may only make a pace shorter. */
static void
test_pace_after_idle (struct fixture *f, const void *data)
{
  struct eng_pace pace = { 0 };

  for (int i = 0; i < 3; i++) {
    static const double ms[] = { 0, 30, 500 };

    milliseconds = ms[i];
    eng_lanes_end_segment (f->lanes, ENG_LANE_DECODE, &pace, 10);
    done = records;
    g_assert_true (eng_lanes_is_idle (f->lanes, ENG_LANE_DECODE));
    g_assert_cmpfloat_with_epsilon (pace.seconds, i ? 0.003 : 0, 1e-9);
  }
}

static void
test_anchor (struct fixture *f, const void *data)
{
  const gint64 before = g_get_monotonic_time ();
  eng_anchor *anchor = eng_lanes_get_anchor (f->lanes);
  krn_event *event = eng_lanes_record (f->lanes, ENG_LANE_TEXT);
  double time;

  milliseconds = 1500;
  g_assert_true (eng_anchor_time (anchor, event, &time));
  g_assert_cmpfloat (time, >=, before + 1500000);
  g_assert_cmpfloat (time, <=, g_get_monotonic_time () + 1500000);
  for (int i = 0; i < ENG_N_LANES; i++) /* no lane is idle: the last one serves */
    eng_lanes_end_segment (f->lanes, i, NULL, 0);
  eng_anchor *again = eng_lanes_get_anchor (f->lanes);
  g_assert_true (again == anchor);
  eng_lanes_give_back (f->lanes, event);
  eng_anchor_unref (anchor);
  eng_anchor_unref (again);
}

int
main (int argc, char **argv)
{
  static const struct {
    const char *path;
    void (*run) (struct fixture *f, const void *data);
  } tests[] = {
    { "/lanes/block", test_block },   { "/lanes/no-memory", test_no_memory },
    { "/lanes/pace", test_pace },     { "/lanes/pace-after-idle", test_pace_after_idle },
    { "/lanes/anchor", test_anchor },
  };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, struct fixture, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
