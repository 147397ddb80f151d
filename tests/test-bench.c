/* Trials of single passes on the CPU with the tiny model. */
#include "engine/engine.h"

#include "tests/engine_fixture.h"

#include <math.h>

/* Sizes of tests/data/tiny, as its config.json files have them. */
enum { DIM = 48, FFN = 128, LAYERS = 2, REFINERS = 1, PATCH = 64, WIDTH = 64, MLP = 88 };

static eng_engine *
tiny_engine (void)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "data", "tiny", NULL);

  return fixture_engine (path);
}

/* One trial of each kind that the CPU has, by turns: every one is timed as often as was asked. */
static void
test_all_kinds (void)
{
  g_autoptr (eng_engine) engine = tiny_engine ();
  g_autoptr (GError) error = NULL;
  struct eng_trial trials[] = {
    { .kind = ENG_TRIAL_COPY },          { .kind = ENG_TRIAL_TEXT },
    { .kind = ENG_TRIAL_FORWARD },       { .kind = ENG_TRIAL_FORWARD_PLAIN },
    { .kind = ENG_TRIAL_FORWARD_ALLOC }, { .kind = ENG_TRIAL_DECODE },
    { .kind = ENG_TRIAL_STEP },          { .kind = ENG_TRIAL_STEP_PLAIN },
    { .kind = ENG_TRIAL_STEP_HOST },
  };
  double ms[G_N_ELEMENTS (trials)][4];

  for (guint i = 0; i < G_N_ELEMENTS (trials); i++) {
    trials[i].width = 64;
    trials[i].height = 96;
    trials[i].tokens = 20;
    for (int k = 0; k < 4; k++)
      ms[i][k] = NAN;
  }
  g_assert_true (eng_engine_try (engine, trials, G_N_ELEMENTS (trials), 2, ms[0], &error));
  g_assert_no_error (error);
  for (guint i = 0; i < G_N_ELEMENTS (trials); i++)
    for (int k = 0; k < 4; k++)
      g_assert_cmpfloat (ms[i][k], >=, 0.);
}

/* Multiply and add are two.  Pads: 24 image tokens to 32, 20 of text to 32. */
static void
test_counts (void)
{
  g_autoptr (eng_engine) engine = tiny_engine ();
  g_autoptr (GError) error = NULL;
  struct eng_trial trials[] = {
    { .kind = ENG_TRIAL_FORWARD, .width = 64, .height = 96, .tokens = 20 },
    { .kind = ENG_TRIAL_TEXT, .tokens = 20 },
  };
  const double image = 32, both = 64, real = 24, block = 4. * DIM * DIM + 3. * DIM * FFN;
  const double forward = 2 * real * PATCH * DIM * 2 + REFINERS * (2 * image * block) +
                         REFINERS * (4 * image * image * DIM) + LAYERS * (2 * both * block) +
                         LAYERS * (4 * both * both * DIM);
  const double q = 4 * 24, kv = 2 * 24, n = 20; /* heads of 24; two of three layers run */
  const double layer = WIDTH * (q + 2 * kv) + q * WIDTH + 3. * WIDTH * MLP;
  const double text = 2 * (2 * n * layer + 2 * n * n * q);
  double ms[2][2];

  g_assert_true (eng_engine_try (engine, trials, 2, 1, ms[0], &error));
  g_assert_no_error (error);
  g_assert_cmpfloat (trials[0].flops, ==, forward);
  g_assert_cmpfloat (trials[1].flops, ==, text);
  g_assert_cmpint (trials[0].operations, >, 8 * (LAYERS + REFINERS));
}

static void
test_refusals (void)
{
  const struct eng_options options = { .device = "cpu" };
  g_autoptr (eng_engine) empty = eng_engine_new (&options, NULL);
  g_autoptr (eng_engine) engine = tiny_engine ();
  g_autoptr (GError) error = NULL;
  struct eng_trial trial = {
    .kind = ENG_TRIAL_FORWARD_GRAPH, .width = 64, .height = 64, .tokens = 20
  };
  double ms[2];

  g_assert_false (eng_engine_try (engine, &trial, 1, 1, ms, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_DEVICE);
  g_clear_error (&error);
  g_assert_false (eng_engine_try (empty, &trial, 1, 1, ms, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_MODEL);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/bench/all-kinds", test_all_kinds);
  g_test_add_func ("/bench/counts", test_counts);
  g_test_add_func ("/bench/refusals", test_refusals);
  return g_test_run ();
}
