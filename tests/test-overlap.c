/* The engine on a device that works later (tests/queue_device.c): what runs beside what, graphs,
 * cancels, failures and a lost device.  Every picture is the CPU's, bit for bit. */
#include "engine/engine.h"

#include "tests/engine_fixture.h"
#include "tests/queue_device.h"

#include <gmodule.h>
#include <string.h>

enum { N_CASES = 6 };

static const struct eng_params cases[N_CASES] = {
  { .prompt = "a kite", .width = 64, .height = 64, .steps = 6, .seed = 1 },
  { .prompt = "a boat on a lake", .width = 96, .height = 64, .steps = 4, .seed = 2 },
  { .prompt = "a kite", .negative = "fog", .width = 64, .height = 64, .cfg = 3, .steps = 5 },
  { .prompt = "a kite", .width = 64, .height = 64, .seed = 9 },
  { .prompt = "hills", .width = 64, .height = 96, .steps = 3, .sampler = ENG_SAMPLER_HEUN },
  { .prompt = "hills",
    .width = 64,
    .height = 64,
    .steps = 5,
    .sampler = ENG_SAMPLER_EULER_ANCESTRAL,
    .cfg = 2,
    .cfg_truncation = 0.6f },
};

static struct queue_control *control;
static GBytes *want[N_CASES]; /* by the CPU */

static eng_engine *
open_engine (const char *device, enum eng_residency text_encoder)
{
  const struct eng_options options = { .device = device,
                                       .threads = 1,
                                       .text_encoder = text_encoder };
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "data", "tiny", NULL);
  g_autoptr (GError) error = NULL;
  eng_engine *engine = eng_engine_new (&options, &error);
  struct fixture_load load;

  g_assert_no_error (error);
  fixture_load_begin (&load, engine, path);
  fixture_load_wait (&load);
  g_assert_no_error (load.error);
  fixture_load_clear (&load);
  return engine;
}

static eng_engine *
open_queue (void)
{
  memset (control, 0, sizeof *control);
  return open_engine ("cuda", ENG_RESIDENCY_KEEP);
}

static void
close_queue (eng_engine *engine)
{
  eng_engine_free (engine);
  g_assert_cmpint (control->blocks, ==, 0);
}

static void
assert_case (struct fixture_job *j, int i)
{
  g_assert_no_error (j->error);
  g_assert_true (g_bytes_equal (eng_image_get_rgba (j->image), want[i]));
}

static void
assert_works (eng_engine *engine)
{
  for (int i = 0; i < 2; i++) {
    struct fixture_job job = { 0 };

    fixture_run (&job, engine, &cases[i]);
    assert_case (&job, i);
    fixture_job_clear (&job);
  }
}

/* What later ones are compared to. */
static void
make_all (eng_engine *engine)
{
  for (int i = 0; i < N_CASES; i++) {
    struct fixture_job job = { 0 };

    fixture_run (&job, engine, &cases[i]);
    g_assert_no_error (job.error);
    want[i] = g_bytes_ref (eng_image_get_rgba (job.image));
    fixture_job_clear (&job);
  }
}

/* All cases, several times over, waiting together. */
static void
run_queue (eng_engine *engine, int rounds)
{
  const int n = rounds * N_CASES;
  g_autofree struct fixture_job *jobs = g_new0 (struct fixture_job, n);

  for (int i = 0; i < n; i++)
    eng_job_unref (fixture_submit (&jobs[i], engine, &cases[i % N_CASES]));
  for (int i = 0; i < n; i++) {
    fixture_wait (&jobs[i]);
    assert_case (&jobs[i], i % N_CASES);
    fixture_job_clear (&jobs[i]);
  }
}

static void
test_queue (void)
{
  eng_engine *engine = open_queue ();

  control->delay = 200;
  run_queue (engine, 3);
  g_assert_cmpint (control->overlaps, >, 20);
  close_queue (engine);
}

/* The steps of a shape are launched once, then captured, then replayed. */
static void
test_graphs (void)
{
  eng_engine *engine = open_queue ();
  const struct eng_counters *counters;

  for (int i = 0; i < 4; i++) {
    struct fixture_job job = { 0 };

    fixture_run (&job, engine, &cases[0]);
    assert_case (&job, 0);
    counters = eng_image_get_counters (job.image);
    g_assert_cmpint (counters->evaluations, ==, 6);
    if (counters->replayed == 0)
      g_assert_cmpstr (counters->graph, ==, "launched: the first of its shape");
    else
      g_assert_cmpstr (counters->graph, ==, "replayed");
    g_assert_cmpint (counters->replayed, >=, i ? 5 : 0);
    fixture_job_clear (&job);
  }
  g_assert_cmpint (control->launches, >, 0);
  run_queue (engine, 2);
  close_queue (engine);
}

static void
test_graphs_refused (void)
{
  eng_engine *engine = open_queue ();

  control->refuse_capture = 1;
  for (int i = 0; i < 3; i++) {
    struct fixture_job job = { 0 };

    fixture_run (&job, engine, &cases[0]);
    assert_case (&job, 0);
    if (i == 2)
      g_assert_cmpstr (eng_image_get_counters (job.image)->graph, ==,
                       "launched: the queue cannot do that");
    fixture_job_clear (&job);
  }
  g_assert_cmpint (control->launches, ==, 0);
  close_queue (engine);
}

/* A picture whose like was made before asks for no memory; also when it has another prompt and
 * another number of steps. */
static void
test_no_allocations (void)
{
  eng_engine *engine = open_queue ();
  struct eng_params params = cases[0];

  run_queue (engine, 2);
  for (int i = 0; i < 6; i++) {
    struct fixture_job job = { 0 };

    params.seed = i;
    params.prompt = i % 2 ? "one more kite" : "a rather long sentence about kites and their tails";
    params.steps = 3 + i % 3;
    fixture_run (&job, engine, &params);
    g_assert_no_error (job.error);
    if (i >= 2) /* a caption of that length was there before */
      g_assert_cmpuint (eng_image_get_counters (job.image)->allocations, ==, 0);
    fixture_job_clear (&job);
  }
  close_queue (engine);
}

/* Any moment is good for a cancel; those that were not cancelled are what they should be. */
static void
cancel_at_random (eng_engine *engine, int rounds)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (7);

  for (int round = 0; round < rounds; round++) {
    struct fixture_job jobs[6] = { 0 };
    eng_job *handles[6];

    for (int i = 0; i < 6; i++)
      handles[i] = fixture_submit (&jobs[i], engine, &cases[i]);
    for (int i = 0; i < 3; i++) {
      g_usleep (g_rand_int_range (rand, 0, 6000));
      eng_job_cancel (handles[g_rand_int_range (rand, 0, 6)]);
    }
    for (int i = 0; i < 6; i++) {
      fixture_wait (&jobs[i]);
      if (jobs[i].error)
        g_assert_error (jobs[i].error, ENG_ERROR, ENG_ERROR_CANCELLED);
      else
        assert_case (&jobs[i], i);
      fixture_job_clear (&jobs[i]);
      eng_job_unref (handles[i]);
    }
  }
  assert_works (engine);
}

static void
test_cancels (void)
{
  eng_engine *engine = open_queue ();

  control->delay = 30;
  cancel_at_random (engine, 25);
  close_queue (engine);
}

/* A picture that waits for another's steps keeps its tables, whatever comes and goes behind it. */
static void
test_cancels_behind (void)
{
  enum { LENGTHS = 10 };
  const struct eng_params slow = { .prompt = "a kite", .width = 64, .height = 64, .steps = 24 };
  eng_engine *engine = open_queue ();
  struct fixture_job jobs[2] = { 0 };

  control->delay = 2000;
  eng_job_unref (fixture_submit (&jobs[0], engine, &slow));
  eng_job_unref (fixture_submit (&jobs[1], engine, &cases[0]));
  for (int i = 0; i < LENGTHS; i++) {
    g_autoptr (GString) prompt = g_string_new (NULL);
    struct eng_params params = cases[0];
    struct fixture_job job = { 0 };
    eng_job *handle;

    for (int k = 0; k < 16 * (i + 1); k++)
      g_string_append (prompt, "x ");
    params.prompt = prompt->str;
    handle = fixture_submit (&job, engine, &params);
    g_usleep (40000);
    eng_job_cancel (handle);
    fixture_wait (&job);
    g_assert_error (job.error, ENG_ERROR, ENG_ERROR_CANCELLED);
    fixture_job_clear (&job);
    eng_job_unref (handle);
  }
  control->delay = 0;
  fixture_wait (&jobs[0]);
  g_assert_no_error (jobs[0].error);
  fixture_wait (&jobs[1]);
  assert_case (&jobs[1], 0);
  for (int i = 0; i < 2; i++)
    fixture_job_clear (&jobs[i]);
  close_queue (engine);
}

/* Also while the text encoder's layers come from their files, every time.  Such an engine decodes
 * in bands, which may round otherwise: its own first pictures count. */
static void
test_cancels_dropped (void)
{
  const struct eng_debug debug = { .no_prompt_cache = TRUE };
  GBytes *cpu[N_CASES];
  eng_engine *engine;

  memset (control, 0, sizeof *control);
  memcpy (cpu, want, sizeof cpu);
  engine = open_engine ("cuda", ENG_RESIDENCY_DROP);
  eng_engine_set_debug (engine, &debug);
  make_all (engine);
  control->delay = 30;
  cancel_at_random (engine, 15);
  close_queue (engine);
  for (int i = 0; i < N_CASES; i++)
    g_bytes_unref (want[i]);
  memcpy (want, cpu, sizeof cpu);
}

/* Whichever operation is refused, in a graph or not: an error that says so, and the jobs beside and
 * after it are not touched by it. */
static void
test_refused_operations (void)
{
  eng_engine *engine = open_queue ();

  for (int at = 1; at < 3000; at = at * 3 / 2 + 1) {
    struct fixture_job jobs[3] = { 0 };
    int failed = 0;

    for (int i = 0; i < 3; i++)
      eng_job_unref (fixture_submit (&jobs[i], engine, &cases[i]));
    g_atomic_int_set (&control->fail_at, at);
    for (int i = 0; i < 3; i++) {
      fixture_wait (&jobs[i]);
      if (jobs[i].error)
        failed++;
      else
        assert_case (&jobs[i], i);
      fixture_job_clear (&jobs[i]);
    }
    g_atomic_int_set (&control->fail_at, 0);
    g_assert_cmpint (failed, <=, 1);
    assert_works (engine);
  }
  close_queue (engine);
}

/* The jobs that were in the making say so; those after them are made on the device opened anew. */
static void
test_lost (void)
{
  eng_engine *engine = open_queue ();

  for (int at = 1; at < 2000; at = at * 2 + 3) {
    struct fixture_job jobs[5] = { 0 };
    const int opened = control->opened;

    g_atomic_int_set (&control->lose_at, at);
    for (int i = 0; i < 5; i++)
      eng_job_unref (fixture_submit (&jobs[i], engine, &cases[i]));
    for (int i = 0; i < 5; i++) {
      fixture_wait (&jobs[i]);
      if (jobs[i].error)
        g_assert_error (jobs[i].error, ENG_ERROR, ENG_ERROR_DEVICE);
      else
        assert_case (&jobs[i], i);
      fixture_job_clear (&jobs[i]);
    }
    g_atomic_int_set (&control->lose_at, 0);
    assert_works (engine);
    g_assert_cmpint (control->opened, ==, opened + 1);
    g_assert_cmpint (eng_engine_count_tokens (engine, "a kite"), >, 0);
  }
  close_queue (engine);
}

/* A load that loses the device says so; the next one is on the device opened anew. */
static void
test_lost_load (void)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "data", "tiny", NULL);
  eng_engine *engine = open_queue ();

  for (int at = 1; at < 50; at = at * 3) {
    const int opened = control->opened;
    struct fixture_load load;

    for (int again = 0; again < 2; again++) {
      g_atomic_int_set (&control->lose_at, again ? 0 : at);
      fixture_load_begin (&load, engine, path);
      fixture_load_wait (&load);
      if (again)
        g_assert_no_error (load.error);
      else
        g_assert_error (load.error, ENG_ERROR, ENG_ERROR_DEVICE);
      fixture_load_clear (&load);
    }
    g_assert_cmpint (control->opened, ==, opened + 1);
    assert_works (engine);
  }
  close_queue (engine);
}

/* A device that cannot be opened again is not replaced by the CPU: every job is told why, until it
 * can. */
static void
test_lost_for_good (void)
{
  eng_engine *engine;

  memset (control, 0, sizeof *control);
  engine = open_engine ("auto", ENG_RESIDENCY_KEEP);
  assert_works (engine);
  g_atomic_int_set (&control->refuse_open, 1);
  g_atomic_int_set (&control->lose_at, 50);
  for (int i = 0; i < 3; i++) {
    struct fixture_job job = { 0 };

    fixture_run (&job, engine, &cases[0]);
    g_assert_error (job.error, ENG_ERROR, ENG_ERROR_DEVICE);
    g_assert_true (i ? g_str_equal (job.error->message, "The queue failed earlier.")
                     : g_str_has_suffix (job.error->message, ": a kernel faulted"));
    fixture_job_clear (&job);
  }
  g_assert_cmpstr (eng_engine_get_device_name (engine), ==, "Queue");
  g_atomic_int_set (&control->refuse_open, 0);
  assert_works (engine);
  close_queue (engine);
}

/* Nothing that can be switched off changes a picture. */
static void
test_switches (void)
{
  static const struct eng_debug switches[] = {
    { .no_graph = TRUE },        { .one_stream = TRUE },     { .no_timing = TRUE },
    { .no_prompt_cache = TRUE }, { TRUE, TRUE, TRUE, TRUE }, { 0 },
  };
  eng_engine *engine = open_queue ();
  guint n;

  run_queue (engine, 1);
  for (guint i = 0; i < G_N_ELEMENTS (switches); i++) {
    struct fixture_job job = { 0 };

    eng_engine_set_debug (engine, &switches[i]);
    fixture_run (&job, engine, &cases[0]);
    assert_case (&job, 0);
    const struct eng_counters *counters = eng_image_get_counters (job.image);
    g_assert_cmpint (counters->replayed > 0, ==, !switches[i].no_graph);
    g_assert_cmpint (counters->prompt_cached, ==, !switches[i].no_prompt_cache);
    g_assert_cmpint (counters->steps_per_second > 0, ==, !switches[i].no_timing);
    eng_image_get_spans (job.image, &n);
    g_assert_cmpuint (n, >, 0); /* those of the host */
    fixture_job_clear (&job);
    run_queue (engine, 1);
  }
  close_queue (engine);
}

/* The CPU's side of all comparisons, and the module. */
static void
prepare (void)
{
  g_autofree char *path = g_test_build_filename (G_TEST_BUILT, "queue-device.so", NULL);
  GModule *module = g_module_open (path, G_MODULE_BIND_LOCAL);
  eng_engine *engine = open_engine ("cpu", ENG_RESIDENCY_KEEP);

  if (!module || !g_module_symbol (module, "queue_control", (gpointer *) &control))
    g_error ("%s", g_module_error ());
  g_setenv ("SAFELIGHT_CUDA_MODULE", path, TRUE);
  make_all (engine);
  eng_engine_free (engine);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  prepare ();
  g_test_add_func ("/overlap/queue", test_queue);
  g_test_add_func ("/overlap/graphs", test_graphs);
  g_test_add_func ("/overlap/graphs-refused", test_graphs_refused);
  g_test_add_func ("/overlap/no-allocations", test_no_allocations);
  g_test_add_func ("/overlap/cancels", test_cancels);
  g_test_add_func ("/overlap/cancels-behind", test_cancels_behind);
  g_test_add_func ("/overlap/cancels-dropped", test_cancels_dropped);
  g_test_add_func ("/overlap/refused-operations", test_refused_operations);
  g_test_add_func ("/overlap/lost", test_lost);
  g_test_add_func ("/overlap/lost-load", test_lost_load);
  g_test_add_func ("/overlap/lost-for-good", test_lost_for_good);
  g_test_add_func ("/overlap/switches", test_switches);
  return g_test_run ();
}
