/* app/cli-bench.c - the same picture again and again: medians of each stage. */
#include "app/cli-output.h"
#include "app/cli.h"

#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 5 }; /* text, denoise, a step, decode, total; milliseconds */

struct bench {
  GMutex mutex;
  GCond cond;
  gboolean done;
  eng_image *image;
  GError *error;
};

static void
done_cb (eng_job *job, eng_image *image, const GError *error, void *data)
{
  struct bench *b = data;

  g_mutex_lock (&b->mutex);
  b->image = image ? eng_image_ref (image) : NULL;
  b->error = error ? g_error_copy (error) : NULL;
  b->done = TRUE;
  g_cond_signal (&b->cond);
  g_mutex_unlock (&b->mutex);
}

static eng_image *
make_picture (eng_engine *engine, const struct eng_params *params, GError **error)
{
  struct bench b = { 0 };
  const struct eng_observer observer = { .done = done_cb, .data = &b };
  g_autoptr (eng_job) job = NULL;

  g_mutex_init (&b.mutex);
  g_cond_init (&b.cond);
  job = eng_engine_submit (engine, params, &observer, error);
  g_mutex_lock (&b.mutex);
  while (job && !b.done)
    g_cond_wait (&b.cond, &b.mutex);
  g_mutex_unlock (&b.mutex);
  g_mutex_clear (&b.mutex);
  g_cond_clear (&b.cond);
  if (b.error)
    g_propagate_error (error, b.error);
  return b.image;
}

static int
compare (const void *a, const void *b)
{
  const double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

static void
print_row (const char *name, double *values, int n)
{
  qsort (values, n, sizeof *values, compare);
  printf ("%-10s %10.1f %10.1f %10.1f\n", name, values[n / 2], values[0], values[n - 1]);
}

/* Each picture has a prompt of its own, so that the text encoder runs, too. */
static int
run (eng_engine *engine, struct eng_params params, int repeats)
{
  static const char *const names[COLUMNS] = { "text", "denoise", "step", "decode", "total" };
  g_autofree double *times = g_new (double, (gsize) COLUMNS *repeats);
  g_autoptr (GError) error = NULL;

  for (int i = -1; i < repeats; i++) {
    g_autofree char *prompt = g_strdup_printf ("%s, number %d", params.prompt, i + 2);
    struct eng_params own = params;
    g_autoptr (eng_image) image = NULL;

    own.prompt = prompt;
    image = make_picture (engine, &own, &error);
    if (!image)
      return cli_fail (error);
    if (i < 0)
      continue; /* warm-up */
    const double denoise = cli_lane_time (image, "denoise");
    const double row[COLUMNS] = { cli_lane_time (image, "text"), denoise,
                                  denoise / eng_image_get_params (image)->steps,
                                  cli_lane_time (image, "decode"),
                                  eng_image_get_seconds (image) * 1000 };
    for (int c = 0; c < COLUMNS; c++)
      times[c * repeats + i] = row[c];
  }
  printf ("%-10s %10s %10s %10s\n", "stage", "median ms", "least", "most");
  for (int c = 0; c < COLUMNS; c++)
    print_row (names[c], times + (gsize) c * repeats, repeats);
  return CLI_OK;
}

int
cli_bench (int argc, char **argv)
{
  g_autofree char *model = NULL;
  g_autofree char *device = NULL;
  g_autofree char *prompt = NULL;
  struct eng_params params = { .seed = 1, .flags = ENG_FLAG_NO_PREVIEW };
  int threads = 0, repeats = 5;
  double cfg = 0;
  const GOptionEntry entries[] = {
    { "model", 'm', 0, G_OPTION_ARG_FILENAME, &model, "Default: the starter model", "PATH" },
    { "prompt", 'p', 0, G_OPTION_ARG_FILENAME, &prompt, "What the pictures show", "TEXT" },
    { "width", 'W', 0, G_OPTION_ARG_INT, &params.width, "Pixels", "N" },
    { "height", 'H', 0, G_OPTION_ARG_INT, &params.height, "Pixels", "N" },
    { "steps", 0, 0, G_OPTION_ARG_INT, &params.steps, "Steps", "N" },
    { "cfg-scale", 0, 0, G_OPTION_ARG_DOUBLE, &cfg, "Guidance; 1 is off", "X" },
    { "repeats", 'r', 0, G_OPTION_ARG_INT, &repeats, "Pictures after the warm-up (5)", "N" },
    { "device", 0, 0, G_OPTION_ARG_FILENAME, &device, "auto, cpu or cuda", "NAME" },
    { "threads", 't', 0, G_OPTION_ARG_INT, &threads, "Of the CPU; default: all cores", "N" },
    G_OPTION_ENTRY_NULL,
  };
  g_autoptr (eng_engine) engine = NULL;
  g_autoptr (eng_model_info) info = NULL;
  g_autoptr (GError) error = NULL;
  int code;

  if (!cli_parse (&argc, &argv, NULL, "Times the stages of a picture.", entries, &code))
    return code;
  if (repeats < 1 || repeats > 1000) {
    fprintf (stderr, "safelight-cli: repeats is %d, expected 1 to 1000\n", repeats);
    return CLI_USAGE;
  }
  g_autofree char *path = cli_dup_model_path (model);
  engine = cli_open_engine (device, threads, path, FALSE, &info, &error);
  if (!engine)
    return cli_fail (error);
  params.prompt = prompt ? prompt : "rolling hills by day with clouds";
  params.cfg = cfg;
  const struct eng_defaults *defaults = eng_model_info_get_defaults (info);
  const char *reason = eng_engine_get_device_reason (engine);
  printf ("%s, %s, %dx%d, %d steps\n", eng_model_info_get_name (info),
          eng_engine_get_device_name (engine), params.width ? params.width : defaults->width,
          params.height ? params.height : defaults->height,
          params.steps ? params.steps : defaults->steps);
  if (*reason)
    puts (reason);
  return run (engine, params, repeats);
}
