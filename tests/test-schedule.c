/* tests/test-schedule.c - sigma grids against diffusers, ComfyUI's rules and scipy. */
#include "engine/schedule.h"

#include <math.h>

/* Lines of a golden file; free with g_strfreev. */
static char **
read_lines (const char *name)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "data", name, NULL);
  g_autofree char *text = NULL;
  g_autoptr (GError) error = NULL;

  g_file_get_contents (path, &text, NULL, &error);
  g_assert_no_error (error);
  return g_strsplit (g_strchomp (text), "\n", -1);
}

static JsonNode *
parse (const char *text)
{
  g_autoptr (GError) error = NULL;
  JsonNode *node = json_from_string (text, &error);

  g_assert_no_error (error);
  return node;
}

/* The shift for tokens, read from a config as diffusers would write it. */
static float
dynamic_shift (const char *type, int tokens)
{
  g_autofree char *text = g_strdup_printf (
      "{\"use_dynamic_shifting\": true, \"shift\": 3.0, \"time_shift_type\": \"%s\"}", type);
  g_autoptr (JsonNode) node = parse (text);
  g_autoptr (GError) error = NULL;
  struct eng_schedule_config config;

  eng_schedule_config_read (&config, json_node_get_object (node), &error);
  g_assert_no_error (error);
  return eng_schedule_config_get_shift (&config, tokens);
}

/* A few float roundings of numbers up to 1 in the reference, none of which ours repeats: 1e-6. */
static void
test_matches_references (void)
{
  g_auto (GStrv) lines = read_lines ("schedule.txt");

  for (int i = 0; lines[i]; i++) {
    g_auto (GStrv) field = g_strsplit (lines[i], " ", -1);
    float sigmas[400];

    if (lines[i][0] == '#')
      continue;
    const int tokens = atoi (field[5]);
    const struct eng_schedule_args args = {
      .schedule = eng_schedule_from_name (field[0]),
      .interpolation = tokens ? ENG_SCHEDULE_DEFAULT : eng_schedule_from_name (field[1]),
      .steps = atoi (field[2]),
      .shift = tokens ? dynamic_shift (field[1], tokens) : g_ascii_strtod (field[3], NULL),
      .terminal = g_ascii_strtod (field[4], NULL),
    };
    const int n = eng_schedule_fill (sigmas, &args);
    g_assert_cmpint (n + 1, ==, g_strv_length (field) - 6);
    for (int k = 0; k <= n; k++)
      g_assert_cmpfloat_with_epsilon (sigmas[k], g_ascii_strtod (field[6 + k], NULL), 1e-6);
  }
}

static void
test_z_image (void)
{
  const float want[] = { 1, 0.9545454545, 0.9, 0.8333333333, 0.75, 0.6428571429, 0.5, 0.3, 0 };
  const struct eng_schedule_args args = { .steps = 8, .shift = 3 };
  float sigmas[9];

  g_assert_cmpint (eng_schedule_fill (sigmas, &args), ==, 8);
  for (int i = 0; i <= 8; i++)
    g_assert_cmpfloat_with_epsilon (sigmas[i], want[i], 1e-7);
}

static void
test_always_falls (void)
{
  float sigmas[1001];

  for (int schedule = 0; schedule < ENG_N_SCHEDULES; schedule++)
    for (int steps = 1; steps <= 1000; steps = steps < 160 ? steps + 1 : steps * 2 - 13)
      for (int k = -2; k <= 2; k++) {
        const struct eng_schedule_args args = { .schedule = schedule,
                                                .steps = steps,
                                                .shift = powf (3, k) };
        const int n = eng_schedule_fill (sigmas, &args);
        g_assert_cmpint (n, <=, steps);
        if (steps <= 138 || schedule != ENG_SCHEDULE_BETA)
          g_assert_cmpint (n, ==, steps);
        g_assert_cmpfloat_with_epsilon (sigmas[0], 1, 1e-6);
        for (int i = 0; i < n; i++)
          g_assert_cmpfloat (sigmas[i], >, sigmas[i + 1]);
        g_assert_cmpfloat (sigmas[n], ==, 0);
      }
}

/* 1e-12: scipy's own accuracy near the ends of the interval. */
static void
test_beta_quantile (void)
{
  g_auto (GStrv) lines = read_lines ("beta-quantile.txt");

  for (int i = 0; lines[i]; i++) {
    g_auto (GStrv) field = g_strsplit (lines[i], " ", -1);

    if (lines[i][0] == '#')
      continue;
    const double p = g_ascii_strtod (field[0], NULL), a = g_ascii_strtod (field[1], NULL);
    const double b = g_ascii_strtod (field[2], NULL), x = g_ascii_strtod (field[3], NULL);
    g_assert_cmpint (g_strv_length (field), ==, 4);
    const double ours = eng_beta_quantile (p, a, b);
    g_assert_cmpfloat (fabs (ours - x), <=, 1e-12);
    g_assert_cmpfloat (fabs (ours - x), <=, 1e-9 * x);
  }
  g_assert_cmpfloat (eng_beta_quantile (0, 0.6, 0.6), ==, 0);
  g_assert_cmpfloat (eng_beta_quantile (1, 0.6, 0.6), ==, 1);
}

static void
test_config (void)
{
  g_autoptr (JsonNode) node =
      parse ("{\"shift\": 3, \"shift_terminal\": null, \"use_beta_sigmas\": true}");
  g_autoptr (GError) error = NULL;
  struct eng_schedule_config config;

  eng_schedule_config_read (&config, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpfloat (eng_schedule_config_get_shift (&config, 1024), ==, 1);
  eng_schedule_config_read (&config, json_node_get_object (node), &error);
  g_assert_no_error (error);
  g_assert_cmpfloat (eng_schedule_config_get_shift (&config, 1024), ==, 3);
  g_assert_cmpint (config.interpolation, ==, ENG_SCHEDULE_BETA);
  g_assert_cmpfloat (config.terminal, ==, 0);
}

static void
test_config_refuses (void)
{
  static const struct {
    const char *text, *message;
  } cases[] = {
    { "{\"invert_sigmas\": true}", "\"invert_sigmas\" is true, expected false" },
    { "{\"time_shift_type\": \"cubic\"}",
      "\"time_shift_type\" is \"cubic\", expected \"exponential\" or \"linear\"" },
    { "{\"max_image_seq_len\": 256}",
      "\"max_image_seq_len\" is 256, expected more than \"base_image_seq_len\", 256" },
    { "{\"shift\": 0}", NULL },
    { "{\"shift\": \"3\"}", NULL },
    { "{\"use_karras_sigmas\": 1}", NULL },
    { "{\"shift_terminal\": 1}", NULL },
    { "{\"base_image_seq_len\": -1}", NULL },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (JsonNode) node = parse (cases[i].text);
    g_autoptr (GError) error = NULL;
    struct eng_schedule_config config;

    g_assert_false (eng_schedule_config_read (&config, json_node_get_object (node), &error));
    g_assert_nonnull (error);
    if (cases[i].message)
      g_assert_cmpstr (error->message, ==, cases[i].message);
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/schedule/matches-references", test_matches_references);
  g_test_add_func ("/schedule/z-image", test_z_image);
  g_test_add_func ("/schedule/always-falls", test_always_falls);
  g_test_add_func ("/schedule/beta-quantile", test_beta_quantile);
  g_test_add_func ("/schedule/config", test_config);
  g_test_add_func ("/schedule/config-refuses", test_config_refuses);
  return g_test_run ();
}
