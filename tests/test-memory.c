/* Little memory, on the device of queue_device.c: the text encoder dropped, decoding in bands,
 * refusals, and what works after them. */
#include "engine/engine.h"

#include "tests/engine_fixture.h"
#include "tests/queue_device.h"

#include <gmodule.h>
#include <stdlib.h>
#include <string.h>

static const struct eng_params small = {
  .prompt = "a kite", .width = 64, .height = 64, .steps = 2
};
static const struct eng_params large = {
  .prompt = "hills", .width = 256, .height = 256, .steps = 2
};

static struct queue_control *control;

/* With that many KiB; 0: enough. */
static eng_engine *
open_engine (enum eng_residency text_encoder, int memory, GError **error)
{
  const struct eng_options options = { .device = "cuda", .text_encoder = text_encoder };
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "data", "tiny", NULL);
  struct fixture_load load;
  eng_engine *engine;

  memset (control, 0, sizeof *control);
  control->memory = memory;
  control->delay = 50;
  engine = eng_engine_new (&options, error);
  if (!engine)
    return NULL;
  fixture_load_begin (&load, engine, path);
  fixture_load_wait (&load);
  if (load.error)
    g_propagate_error (error, g_error_copy (load.error));
  fixture_load_clear (&load);
  return engine;
}

static void
close_engine (eng_engine *engine)
{
  eng_engine_free (engine);
  g_assert_cmpint (control->blocks, ==, 0);
  g_assert_cmpint (control->used, ==, 0);
}

static GBytes *
make (eng_engine *engine, const struct eng_params *params, GError **error)
{
  struct fixture_job job = { 0 };
  GBytes *rgba = NULL;

  fixture_run (&job, engine, params);
  if (job.image)
    rgba = g_bytes_ref (eng_image_get_rgba (job.image));
  if (job.error)
    g_propagate_error (error, g_error_copy (job.error));
  fixture_job_clear (&job);
  return rgba;
}

/* As far as 8 bits can tell two orders of the same sums apart. */
static void
assert_close (GBytes *a, GBytes *b)
{
  gsize n, m;
  const uint8_t *x = g_bytes_get_data (a, &n), *y = g_bytes_get_data (b, &m);

  g_assert_cmpuint (n, ==, m);
  for (gsize i = 0; i < n; i++)
    g_assert_cmpint (abs (x[i] - y[i]), <=, 1);
}

/* Three prompts, the first of them twice; KiB that were in use at most. */
static int
make_all (enum eng_residency text_encoder, GBytes **pictures)
{
  static const char *const prompts[] = { "a kite", "a boat on a lake", "hills", "a kite" };
  g_autoptr (GError) error = NULL;
  eng_engine *engine = open_engine (text_encoder, 0, &error);
  int most;

  g_assert_no_error (error);
  for (int i = 0; i < 4; i++) {
    struct eng_params params = small;

    params.prompt = prompts[i];
    pictures[i] = make (engine, &params, &error);
    g_assert_no_error (error);
  }
  most = control->most;
  close_engine (engine);
  return most;
}

/* A dropped encoder's features are bit-equal (test-qwen3.c), but the picture is decoded in bands.
 */
static void
test_dropped (void)
{
  GBytes *kept[4], *dropped[4];
  const int most = make_all (ENG_RESIDENCY_KEEP, kept);
  const int less = make_all (ENG_RESIDENCY_DROP, dropped);

  g_test_message ("kept %d KiB, dropped %d KiB", most, less);
  g_assert_cmpint (less, <, most);
  for (int i = 0; i < 4; i++) {
    assert_close (kept[i], dropped[i]);
    g_bytes_unref (kept[i]);
    g_bytes_unref (dropped[i]);
  }
}

/* KiB that a large picture takes with all the memory it wants, and the picture. */
static int
measure (GBytes **picture)
{
  g_autoptr (GError) error = NULL;
  eng_engine *engine = open_engine (ENG_RESIDENCY_KEEP, 0, &error);
  int most;

  *picture = make (engine, &large, &error);
  g_assert_no_error (error);
  most = control->most;
  close_engine (engine);
  return most;
}

/* KiB that bands save of it; the plan is for 16 bits a number, and the queue has 32. */
static int
count_saved (void)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "data", "tiny", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (eng_model_info) info = eng_model_inspect (path, &error);
  struct eng_memory memory;

  g_assert_no_error (error);
  g_assert_true (eng_model_info_plan_memory (info, large.width, large.height, &memory, &error));
  g_assert_no_error (error);
  g_assert_cmpuint (memory.decode_banded, <, memory.decode);
  return (int) ((memory.decode - memory.decode_banded) * 2 / 1024);
}

/* Less and less memory: the longest prompt is not provided for any more, then the picture is
 * decoded in bands, then it is refused, and a smaller one is made. */
static void
test_short (void)
{
  enum { STEP = 256 };
  GBytes *want, *got = NULL;
  const int most = measure (&want), saved = count_saved ();
  g_autoptr (GError) error = NULL;
  int memory = most;

  for (; !error; memory -= STEP) {
    eng_engine *engine = open_engine (ENG_RESIDENCY_KEEP, memory, &error);

    g_assert_no_error (error);
    if ((got = make (engine, &large, &error)))
      assert_close (want, got);
    g_clear_pointer (&got, g_bytes_unref);
    if (error) {
      g_assert_error (error, ENG_ERROR, ENG_ERROR_MEMORY);
      g_assert_nonnull (strstr (error->message, "a picture of 256x256 needs"));
      g_assert_nonnull (strstr (error->message, "free"));
      got = make (engine, &small, NULL);
      g_assert_nonnull (got);
      g_bytes_unref (got);
    }
    close_engine (engine);
  }
  g_test_message ("%d KiB, %d saved by bands, refused with %d: %s", most, saved, memory + STEP,
                  error->message);
  g_assert_cmpint (saved, >, 4 * STEP);
  g_assert_cmpint (memory + 2 * STEP, <=, most - saved);
  g_bytes_unref (want);
}

static void
test_load_refused (void)
{
  g_autoptr (GError) error = NULL;
  eng_engine *engine = open_engine (ENG_RESIDENCY_KEEP, 16, &error);

  g_assert_error (error, ENG_ERROR, ENG_ERROR_MEMORY);
  g_test_message ("%s", error->message);
  g_assert_nonnull (strstr (error->message, "needs"));
  g_assert_nonnull (strstr (error->message, "free on"));
  g_clear_error (&error);
  g_assert_null (make (engine, &small, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_MODEL);
  close_engine (engine);
}

/* Cancelled while the encoder's layers come, again and again. */
static void
test_cancelled (void)
{
  g_autoptr (GError) error = NULL;
  eng_engine *engine = open_engine (ENG_RESIDENCY_DROP, 0, &error);

  g_assert_no_error (error);
  for (int i = 0; i < 40; i++) {
    g_autofree char *prompt = g_strdup_printf ("number %d", i);
    struct eng_params params = small;
    g_autoptr (eng_job) job = NULL;

    params.prompt = prompt;
    job = eng_engine_submit (engine, &params, NULL, &error);
    g_assert_no_error (error);
    g_usleep (i * 100);
    eng_job_cancel (job);
  }
  GBytes *got = make (engine, &small, &error);
  g_assert_no_error (error);
  g_bytes_unref (got);
  close_engine (engine);
}

/* The device is lost, or refuses an operation, while layers come; the next picture is made. */
static void
test_refused (void)
{
  g_autoptr (GError) error = NULL;
  eng_engine *engine = open_engine (ENG_RESIDENCY_DROP, 0, &error);
  int lost = 0;

  g_assert_no_error (error);
  for (int at = 1; at < 200; at = at * 5 / 4 + 1) {
    struct eng_params params = small;
    g_autofree char *prompt = g_strdup_printf ("number %d", at);
    GBytes *got;

    params.prompt = prompt;
    g_atomic_int_set (at % 2 ? &control->lose_at : &control->fail_at, at);
    got = make (engine, &params, &error);
    if (!got)
      g_assert_true (error->domain == ENG_ERROR);
    lost += !got && at % 2;
    g_clear_pointer (&got, g_bytes_unref);
    g_clear_error (&error);
    g_atomic_int_set (&control->lose_at, 0);
    g_atomic_int_set (&control->fail_at, 0);
    got = make (engine, &small, &error);
    g_assert_no_error (error);
    g_bytes_unref (got);
  }
  g_assert_cmpint (lost, >, 3);
  close_engine (engine);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);

  g_autofree char *path = g_test_build_filename (G_TEST_BUILT, "queue-device.so", NULL);
  GModule *module = g_module_open (path, G_MODULE_BIND_LOCAL);
  if (!module || !g_module_symbol (module, "queue_control", (gpointer *) &control))
    g_error ("%s", g_module_error ());
  g_setenv ("SAFELIGHT_CUDA_MODULE", path, TRUE);
  g_test_add_func ("/memory/dropped", test_dropped);
  g_test_add_func ("/memory/short", test_short);
  g_test_add_func ("/memory/load-refused", test_load_refused);
  g_test_add_func ("/memory/cancelled", test_cancelled);
  g_test_add_func ("/memory/refused", test_refused);
  return g_test_run ();
}
