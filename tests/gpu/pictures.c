/* Pictures on a GPU by the whole engine: the same bits whatever runs beside them, no allocation and
 * nothing but graphs once a shape is known, cancels that are soon through, and the CPU's picture.
 * Arguments: the module, a model. */
#include "engine/engine.h"

#include "tests/engine_fixture.h"

#include <math.h>
#include <stdio.h>

enum { N_CASES = 5 };

static const struct eng_params cases[N_CASES] = {
  { .prompt = "a red lighthouse by the sea", .width = 256, .height = 256, .seed = 7 },
  { .prompt = "hills by day", .width = 512, .height = 320, .seed = 8, .steps = 5 },
  { .prompt = "a kite", .negative = "fog", .width = 256, .height = 256, .cfg = 3, .seed = 9 },
  { .prompt = "a red lighthouse by the sea", .width = 512, .height = 512, .seed = 10 },
  { .prompt = "hills by night", .width = 512, .height = 512, .sampler = ENG_SAMPLER_HEUN },
};

static const char *model;
static eng_engine *engine;
static GBytes *want[N_CASES];

static eng_engine *
open_engine (const char *device, GError **error)
{
  const struct eng_options options = { .device = device };
  eng_engine *opened = eng_engine_new (&options, error);
  struct fixture_load load;

  if (!opened)
    return NULL;
  fixture_load_begin (&load, opened, model);
  fixture_load_wait (&load);
  g_assert_no_error (load.error);
  fixture_load_clear (&load);
  return opened;
}

static void
assert_case (struct fixture_job *j, int i)
{
  g_assert_no_error (j->error);
  g_assert_true (g_bytes_equal (eng_image_get_rgba (j->image), want[i]));
}

/* The first pictures; then the same again, which asks for no memory and replays every step. */
static void
test_repeats (void)
{
  for (int round = 0; round < 4; round++)
    for (int i = 0; i < N_CASES; i++) {
      struct fixture_job job = { 0 };
      const struct eng_counters *counters;

      eng_job_unref (fixture_submit (&job, engine, &cases[i]));
      fixture_wait (&job);
      g_assert_no_error (job.error);
      if (!want[i])
        want[i] = g_bytes_ref (eng_image_get_rgba (job.image));
      assert_case (&job, i);
      counters = eng_image_get_counters (job.image);
      if (round == 3) {
        g_assert_cmpuint (counters->allocations, ==, 0);
        g_assert_cmpint (counters->replayed, ==, counters->evaluations);
        g_assert_cmpstr (counters->graph, ==, "replayed");
      }
      fixture_job_clear (&job);
    }
}

static void
test_queue (void)
{
  struct fixture_job jobs[40] = { 0 };

  for (int i = 0; i < 40; i++)
    eng_job_unref (fixture_submit (&jobs[i], engine, &cases[i % N_CASES]));
  for (int i = 0; i < 40; i++) {
    fixture_wait (&jobs[i]);
    assert_case (&jobs[i], i % N_CASES);
    fixture_job_clear (&jobs[i]);
  }
}

/* Nothing that can be switched off changes a picture. */
static void
test_switches (void)
{
  static const struct eng_debug switches[] = {
    { .no_graph = TRUE },        { .one_stream = TRUE },     { .no_timing = TRUE },
    { .no_prompt_cache = TRUE }, { TRUE, TRUE, TRUE, TRUE },
  };

  for (guint i = 0; i < G_N_ELEMENTS (switches); i++) {
    eng_engine_set_debug (engine, &switches[i]);
    test_queue ();
  }
  eng_engine_set_debug (engine, NULL);
}

/* At any moment of a picture of 1024; told within 100 ms. */
static void
test_cancels (void)
{
  const struct eng_params params = {
    .prompt = "a boat", .width = 1024, .height = 1024, .steps = 40
  };
  g_autoptr (GRand) rand = g_rand_new_with_seed (7);
  double worst = 0;

  for (int i = 0; i < 60; i++) {
    struct fixture_job cancelled = { 0 }, next = { 0 };
    g_autoptr (eng_job) job = fixture_submit (&cancelled, engine, &params);

    eng_job_unref (fixture_submit (&next, engine, &cases[i % N_CASES]));
    g_usleep (g_rand_int_range (rand, 0, 80000));
    const gint64 begin = g_get_monotonic_time ();
    eng_job_cancel (job);
    fixture_wait (&cancelled);
    if (cancelled.error) {
      g_assert_error (cancelled.error, ENG_ERROR, ENG_ERROR_CANCELLED);
      if (i > 0) /* the first one meets a new shape, whose kernels are chosen by time */
        worst = MAX (worst, (g_get_monotonic_time () - begin) * 1e-3);
    }
    fixture_wait (&next);
    assert_case (&next, i % N_CASES);
    fixture_job_clear (&cancelled);
    fixture_job_clear (&next);
  }
  g_test_message ("cancelled in at most %.1f ms", worst);
  g_assert_cmpfloat (worst, <, 100);
}

/* Little of the time from the first step to the end of decoding is in no span of either lane. */
static void
test_idle (void)
{
  const struct eng_params params = { .prompt = "a boat", .width = 1024, .height = 1024 };
  double share = 1, untold = 1;

  for (int i = 0; i < 4; i++) {
    struct fixture_job job = { 0 };
    guint n;

    eng_job_unref (fixture_submit (&job, engine, &params));
    fixture_wait (&job);
    g_assert_no_error (job.error);
    const struct eng_span *spans = eng_image_get_spans (job.image, &n);
    const double ms = eng_image_get_seconds (job.image) * 1000;
    share = MIN (share, eng_image_get_counters (job.image)->idle_ms / ms);
    untold = MIN (untold, fixture_gaps (spans, n, ms) / ms);
    fixture_job_clear (&job);
  }
  g_test_message ("%.2f %% idle; %.2f %% of a picture's time in no span", share * 100,
                  untold * 100);
  g_assert_cmpfloat (share, <, 0.02);
}

/* The project's bar is 45 dB. */
static void
test_like_the_cpu (void)
{
  g_autoptr (eng_engine) cpu = open_engine ("cpu", NULL);
  struct fixture_job job = { 0 };
  const uint8_t *a, *b = g_bytes_get_data (want[0], NULL);
  gsize n;
  double sum = 0;

  fixture_run (&job, cpu, &cases[0]);
  g_assert_no_error (job.error);
  a = g_bytes_get_data (eng_image_get_rgba (job.image), &n);
  for (gsize i = 0; i < n; i++)
    if (i % 4 != 3)
      sum += (a[i] - b[i]) * (a[i] - b[i]);
  const double psnr = 10 * log10 (255. * 255. / (sum / (n / 4 * 3)));
  g_test_message ("%.2f dB", psnr);
  g_assert_cmpfloat (psnr, >, 45);
  fixture_job_clear (&job);
}

int
main (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  int code;

  g_test_init (&argc, &argv, NULL);
  if (argc != 3) {
    fprintf (stderr, "usage: test-pictures MODULE MODEL\n");
    return 2;
  }
  g_setenv ("SAFELIGHT_CUDA_MODULE", argv[1], TRUE);
  model = argv[2];
  engine = open_engine ("cuda", &error);
  if (!engine) {
    printf ("1..0 # SKIP %s\n", error->message);
    return 0; /* which Meson reads as a skip */
  }
  g_test_add_func ("/pictures/repeats", test_repeats);
  g_test_add_func ("/pictures/queue", test_queue);
  g_test_add_func ("/pictures/switches", test_switches);
  g_test_add_func ("/pictures/cancels", test_cancels);
  g_test_add_func ("/pictures/idle", test_idle);
  g_test_add_func ("/pictures/like-the-cpu", test_like_the_cpu);
  code = g_test_run ();
  eng_engine_free (engine);
  return code;
}
