#include "app/cli-bench-trials.h"

#include "app/cli-output.h"

enum { TURNS = 5, MAX_TRIALS = 4 };

/* Runs trials by turns; each gives a series with its name. */
static gboolean
run_trials (struct cli_bench *bench, struct eng_trial *trials, const char *const *names, guint n,
            GError **error)
{
  double ms[MAX_TRIALS * 2 * TURNS];

  if (!eng_engine_try (bench->engine, trials, n, TURNS, ms, error))
    return FALSE;
  for (guint i = 0; i < n; i++)
    for (int k = 0; k < 2 * TURNS; k++)
      cli_report_add (bench->report,
                      &(struct cli_series){ .name = names[i],
                                            .unit = "ms",
                                            .width = trials[i].width,
                                            .height = trials[i].height,
                                            .flops = trials[i].flops },
                      ms[i * 2 * TURNS + k]);
  return TRUE;
}

static gboolean
is_gpu (const struct cli_bench *bench)
{
  return !*eng_engine_get_device_reason (bench->engine) &&
         !g_str_has_prefix (eng_engine_get_device_name (bench->engine), "CPU");
}

double
cli_bench_ceilings (struct cli_bench *bench, gboolean after_work, GError **error)
{
  const char *const names[] = { after_work ? "product after work" : "ceiling: product",
                                after_work ? "copy after work" : "ceiling: copy" };
  struct eng_trial trials[] = { { .kind = ENG_TRIAL_PRODUCT }, { .kind = ENG_TRIAL_COPY } };

  /* Not by turns: what a product heats up would slow the copy down. */
  for (guint i = 0; i < G_N_ELEMENTS (trials); i++)
    if (!run_trials (bench, &trials[i], &names[i], 1, error))
      return 0;
  cli_report_note (bench->report, "copy: %.2f TB/s, read and written",
                   trials[1].bytes / cli_report_get_median (bench->report, names[1], 0, 0) * 1e-9);
  return trials[0].flops / cli_report_get_median (bench->report, names[0], 0, 0) * 1e-9;
}

gboolean
cli_bench_passes (struct cli_bench *bench, int width, int height, GError **error)
{
  const int tokens = MAX (bench->tokens, 1);
  const char *const names[] = { "pass: forward", "pass: decode" };
  struct eng_trial trials[] = {
    { .kind = ENG_TRIAL_FORWARD, .width = width, .height = height, .tokens = tokens },
    { .kind = ENG_TRIAL_DECODE, .width = width, .height = height },
  };

  for (guint i = 0; i < G_N_ELEMENTS (trials); i++)
    if (!run_trials (bench, &trials[i], &names[i], 1, error))
      return FALSE;
  return TRUE;
}

gboolean
cli_bench_text (struct cli_bench *bench, int tokens, GError **error)
{
  g_autofree char *name = g_strdup_printf ("pass: text, %d tokens", tokens);
  struct eng_trial trial = { .kind = ENG_TRIAL_TEXT, .tokens = tokens };
  const char *names = name;

  return run_trials (bench, &trial, &names, 1, error);
}

/* ---- On and off ---- */

/* A thing that a picture is made with or without. */
struct choice {
  const char *name;
  gboolean preview[2]; /* with it on, with it off */
  struct eng_debug off;
  gboolean queue; /* pictures wait together */
};

/* Milliseconds of a picture (of a queue of n: of each) with the thing on or off; negative and error
 * when it fails. */
static double
make_some (struct cli_bench *bench, const struct choice *choice, gboolean on,
           const struct eng_params *base, int n, GError **error)
{
  struct eng_params params = *base;
  g_autoptr (eng_image) image = NULL;
  double seconds;

  eng_engine_set_debug (bench->engine, on ? NULL : &choice->off);
  params.flags = choice->preview[on ? 0 : 1] ? 0 : ENG_FLAG_NO_PREVIEW;
  params.seed = ++bench->made;
  if (choice->queue) {
    seconds = cli_bench_make_queue (bench, &params, n, error);
    return seconds < 0 ? seconds : seconds * 1000 / n;
  }
  image = cli_bench_make (bench->engine, &params, error);
  return image ? eng_image_get_seconds (image) * 1000 : -1;
}

/* On, off, off, on; before that one of each that is not counted. */
static gboolean
run_choice (struct cli_bench *bench, const struct choice *choice, const struct eng_params *params,
            int queue, GError **error)
{
  const int rounds = choice->queue ? 1 : bench->repeats;
  struct cli_series series = { .unit = "ms", .width = params->width, .height = params->height };

  for (int i = -2; i < 4 * rounds; i++) {
    const gboolean on = (i & 3) == 0 || (i & 3) == 3;
    const double ms = make_some (bench, choice, on, params, i < 0 ? 1 : queue, error);
    g_autofree char *name = g_strdup_printf ("%s: %s", choice->name, on ? "on" : "off");

    eng_engine_set_debug (bench->engine, NULL);
    if (ms < 0)
      return FALSE;
    series.name = name;
    if (i >= 0)
      cli_report_add (bench->report, &series, ms);
  }
  return TRUE;
}

static gboolean
run_forwards (struct cli_bench *bench, int width, int height, GError **error)
{
  const char *const names[MAX_TRIALS] = { "forward: launches", "forward: unfused",
                                          "forward: cudaMalloc each", "forward: graph" };
  const enum eng_trial_kind kinds[MAX_TRIALS] = { ENG_TRIAL_FORWARD, ENG_TRIAL_FORWARD_PLAIN,
                                                  ENG_TRIAL_FORWARD_ALLOC,
                                                  ENG_TRIAL_FORWARD_GRAPH };
  const guint n = is_gpu (bench) ? MAX_TRIALS : MAX_TRIALS - 1; /* a CPU has no graphs */
  struct eng_trial trials[MAX_TRIALS];

  for (guint i = 0; i < n; i++)
    trials[i] = (struct eng_trial){
      .kind = kinds[i], .width = width, .height = height, .tokens = MAX (bench->tokens, 1)
    };
  if (!run_trials (bench, trials, names, n, error))
    return FALSE;
  cli_report_note (bench->report, "a forward at %dx%d is %d operations", width, height,
                   trials[0].operations);
  return TRUE;
}

static gboolean
run_steps (struct cli_bench *bench, int width, int height, GError **error)
{
  const char *const names[] = { "sampler step: fused", "sampler step: in three",
                                "sampler step: on the host" };
  struct eng_trial trials[] = {
    { .kind = ENG_TRIAL_STEP },
    { .kind = ENG_TRIAL_STEP_PLAIN },
    { .kind = ENG_TRIAL_STEP_HOST },
  };

  for (guint i = 0; i < G_N_ELEMENTS (trials); i++) {
    trials[i].width = width;
    trials[i].height = height;
    trials[i].tokens = 32;
  }
  return run_trials (bench, trials, names, G_N_ELEMENTS (trials), error);
}

gboolean
cli_bench_forms (struct cli_bench *bench, int width, int height, GError **error)
{
  return run_forwards (bench, width, height, error) && run_steps (bench, width, height, error);
}

gboolean
cli_bench_ablations (struct cli_bench *bench, int width, int height, int queue, GError **error)
{
  static const struct choice choices[] = {
    { .name = "graph", .off = { .no_graph = TRUE } },
    { .name = "prompt cache", .off = { .no_prompt_cache = TRUE } },
    { .name = "event timing", .off = { .no_timing = TRUE } },
    { .name = "preview of each step", .preview = { TRUE, FALSE } },
    { .name = "three streams, a queue", .off = { .one_stream = TRUE }, .queue = TRUE },
  };
  g_autofree char *prompt = cli_bench_dup_prompt (bench, bench->tokens);
  struct eng_params params = bench->params;

  params.prompt = prompt;
  params.width = width;
  params.height = height;
  for (guint i = 0; i < G_N_ELEMENTS (choices); i++)
    if (!run_choice (bench, &choices[i], &params, queue, error))
      return FALSE;
  cli_report_note (bench->report, "the queue holds %d pictures, each with a prompt of its own",
                   queue);
  return TRUE;
}

gboolean
cli_bench_cancels (struct cli_bench *bench, int width, int height, GError **error)
{
  struct eng_params params = bench->params;

  params.width = width;
  params.height = height;
  for (int i = 0; i < bench->repeats; i++) {
    g_autofree char *prompt = cli_bench_dup_prompt (bench, bench->tokens);
    double seconds;

    params.prompt = prompt;
    seconds = cli_bench_cancel (bench->engine, &params, (double) i / bench->repeats, error);
    if (seconds < 0)
      return FALSE;
    if (seconds > 0)
      cli_report_add (bench->report, &(struct cli_series){ "cancel to idle", "ms", width, height },
                      seconds * 1000);
    else
      cli_report_note (bench->report, "a picture was done before its cancel was seen");
  }
  return TRUE;
}
