/* app/cli-bench.c - how long the parts of a picture take, here and now. */
#include "app/cli-bench-trials.h"
#include "app/cli-output.h"
#include "app/cli.h"

#include <stdlib.h>
#include <string.h>

struct options {
  struct cli_device device;
  char *model, *prompt, *sizes, *json;
  int width, height, steps, tokens, text_tokens, repeats, threads, queue;
  double cfg;
  gboolean passes, ablations, cancel;
};

struct size {
  int width, height;
};

/* Of the time from the first step's begin to the end of decoding, the part in which no span ran on
 * either lane, in percent. */
static double
idle_share (const eng_image *image)
{
  double first = G_MAXDOUBLE, last = 0;
  guint n;
  const struct eng_span *spans = eng_image_get_spans (image, &n);

  for (guint i = 0; i < n; i++) {
    if (g_str_has_prefix (spans[i].name, "step "))
      first = MIN (first, spans[i].start);
    if (!strcmp (spans[i].lane, "decode"))
      last = MAX (last, spans[i].end);
  }
  return last > first ? eng_image_get_counters (image)->idle_ms / (last - first) * 100 : 0;
}

static void
record (const struct cli_bench *bench, const eng_image *image)
{
  const int w = eng_image_get_width (image), h = eng_image_get_height (image);
  guint n;
  const struct eng_span *spans = eng_image_get_spans (image, &n);
  struct cli_series series = { .unit = "ms", .width = w, .height = h };

#define RECORD(what, value) (series.name = (what), cli_report_add (bench->report, &series, (value)))
  RECORD ("text", cli_lane_time (image, "text"));
  RECORD ("picture", eng_image_get_seconds (image) * 1000);
  series.flops = cli_report_get_flops (bench->report, "pass: decode", w, h);
  RECORD ("decode", cli_lane_time (image, "decode"));
  series.flops = cli_report_get_flops (bench->report, "pass: forward", w, h);
  for (guint i = 0; i < n; i++)
    if (g_str_has_prefix (spans[i].name, "step "))
      RECORD ("step", spans[i].end - spans[i].start);
  series.flops = 0;
  series.unit = "%";
  RECORD ("idle within a picture", idle_share (image));
  series.unit = "";
  RECORD ("allocations", eng_image_get_counters (image)->allocations);
#undef RECORD
}

/* Each picture has a prompt of its own, so that the text encoder runs, too. */
static gboolean
measure_size (struct cli_bench *bench, struct size size, GError **error)
{
  struct eng_params params = bench->params;

  params.width = size.width;
  params.height = size.height;
  for (int i = -1; i < bench->repeats; i++) {
    g_autofree char *prompt = cli_bench_dup_prompt (bench, bench->tokens);
    g_autoptr (eng_image) image = NULL;

    params.prompt = prompt;
    image = cli_bench_make (bench->engine, &params, error);
    if (!image)
      return FALSE;
    if (i >= 0) /* the first warms up */
      record (bench, image);
  }
  return TRUE;
}

/* The encoder alone counts here, so the picture is small and has one step. */
static gboolean
measure_text (struct cli_bench *bench, int tokens, GError **error)
{
  struct eng_params params = bench->params;
  g_autofree char *name = g_strdup_printf ("text, %d tokens", tokens);
  g_autofree char *pass = g_strdup_printf ("pass: text, %d tokens", tokens);
  const struct cli_series series = { .name = name,
                                     .unit = "ms",
                                     .flops = cli_report_get_flops (bench->report, pass, 0, 0) };

  params.width = params.height = 256;
  params.steps = 1;
  for (int i = -1; i < bench->repeats; i++) {
    g_autofree char *prompt = cli_bench_dup_prompt (bench, tokens);
    g_autoptr (eng_image) image = NULL;

    params.prompt = prompt;
    image = cli_bench_make (bench->engine, &params, error);
    if (!image)
      return FALSE;
    if (i >= 0)
      cli_report_add (bench->report, &series, cli_lane_time (image, "text"));
  }
  return TRUE;
}

/* The first picture after a load: plans, algorithms and memory are found with it. */
static gboolean
measure_first (struct cli_bench *bench, struct size size, GError **error)
{
  g_autofree char *prompt = cli_bench_dup_prompt (bench, bench->tokens);
  struct eng_params params = bench->params;
  g_autoptr (eng_image) image = NULL;

  params.prompt = prompt;
  params.width = size.width;
  params.height = size.height;
  image = cli_bench_make (bench->engine, &params, error);
  if (!image)
    return FALSE;
  cli_report_add (bench->report,
                  &(struct cli_series){ "first picture", "ms", size.width, size.height },
                  eng_image_get_seconds (image) * 1000);
  return TRUE;
}

/* Ours: weights and the block that pictures are made in.  The driver's figure has libraries, plans
 * and other programs in it, too. */
static void
record_memory (struct cli_bench *bench, const char *when)
{
  g_autofree char *ours = g_strdup_printf ("memory %s", when);
  g_autofree char *all = g_strdup_printf ("GPU's memory %s", when);
  struct eng_gpu_sample sample;
  const gboolean told = eng_engine_sample_gpu (bench->engine, &sample);

  cli_report_add (bench->report, &(struct cli_series){ .name = ours, .unit = "GB" },
                  (sample.weights + sample.arena) * 1e-9);
  if (told && sample.memory_used >= 0)
    cli_report_add (bench->report, &(struct cli_series){ .name = all, .unit = "GB" },
                    sample.memory_used * 1e-9);
}

static gboolean
measure_passes (struct cli_bench *bench, const struct options *o, GArray *sizes, double *ceiling,
                GError **error)
{
  *ceiling = cli_bench_ceilings (bench, FALSE, error);
  if (*ceiling <= 0)
    return FALSE;
  for (guint i = 0; i < sizes->len; i++) {
    const struct size size = g_array_index (sizes, struct size, i);
    if (!cli_bench_passes (bench, size.width, size.height, error))
      return FALSE;
  }
  return o->text_tokens <= 0 || cli_bench_text (bench, o->text_tokens, error);
}

static gboolean
measure_pictures (struct cli_bench *bench, const struct options *o, GArray *sizes, double ceiling,
                  GError **error)
{
  for (guint i = 0; i < sizes->len; i++) {
    if (!measure_size (bench, g_array_index (sizes, struct size, i), error))
      return FALSE;
    record_memory (bench, "with pictures");
    cli_report_print (bench->report, ceiling);
  }
  return o->text_tokens <= 0 || measure_text (bench, o->text_tokens, error);
}

static gboolean
measure_ablations (struct cli_bench *bench, const struct options *o, GArray *sizes, double ceiling,
                   GError **error)
{
  const struct size first = g_array_index (sizes, struct size, 0);

  for (guint i = 0; i < sizes->len; i++) {
    const struct size size = g_array_index (sizes, struct size, i);
    g_autoptr (GError) why = NULL;

    /* A device may refuse one of them; the pictures by turns are another matter. */
    if (!cli_bench_forms (bench, size.width, size.height, &why))
      cli_report_note (bench->report, "forms of a pass: %s", why->message);
  }
  cli_report_print (bench->report, ceiling);
  return cli_bench_ablations (bench, first.width, first.height, o->queue, error);
}

/* What was measured is printed as it comes, so that it stays when something later fails. */
static gboolean
measure (struct cli_bench *bench, const struct options *o, GArray *sizes, GError **error)
{
  const struct size first = g_array_index (sizes, struct size, 0);
  double ceiling = 0;

  if (!measure_first (bench, first, error) ||
      (o->passes && !measure_passes (bench, o, sizes, &ceiling, error)))
    return FALSE;
  cli_report_print (bench->report, ceiling);
  if (!measure_pictures (bench, o, sizes, ceiling, error) ||
      (o->passes && cli_bench_ceilings (bench, TRUE, error) <= 0) ||
      (o->cancel && !cli_bench_cancels (bench, first.width, first.height, error)))
    return FALSE;
  cli_report_print (bench->report, ceiling);
  if (o->ablations && !measure_ablations (bench, o, sizes, ceiling, error))
    return FALSE;
  cli_report_note (bench->report, "one picture at a time: the forward has no batch of 2 or 4");
  cli_report_print (bench->report, ceiling);
  return TRUE;
}

/* "512,768,1024x512"; without: the one of width and height, or the model's own. */
static GArray *
read_sizes (const struct options *o, const eng_model_info *info, GError **error)
{
  const struct eng_defaults *defaults = eng_model_info_get_defaults (info);
  GArray *sizes = g_array_new (FALSE, FALSE, sizeof (struct size));
  struct size size = { o->width ? o->width : defaults->width,
                       o->height ? o->height : defaults->height };
  g_auto (GStrv) parts = NULL;

  if (!o->sizes) {
    g_array_append_val (sizes, size);
    return sizes;
  }
  parts = g_strsplit (o->sizes, ",", -1);
  for (guint i = 0; parts[i]; i++) {
    char *end;

    size.width = size.height = strtol (parts[i], &end, 10);
    if (*end == 'x')
      size.height = strtol (end + 1, &end, 10);
    if (*end || size.width <= 0 || size.height <= 0) {
      g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS,
                   "sizes are “%s”, expected such as 512,768,1024x512", o->sizes);
      g_array_unref (sizes);
      return NULL;
    }
    g_array_append_val (sizes, size);
  }
  return sizes;
}

static int
bench (struct options *o)
{
  struct cli_bench b = {
    .params = { .seed = 1, .flags = ENG_FLAG_NO_PREVIEW, .steps = o->steps, .cfg = o->cfg },
    .prompt = o->prompt ? o->prompt : "rolling hills by day with clouds",
    .tokens = o->tokens,
    .repeats = o->repeats
  };
  g_autofree char *path = cli_dup_model_path (o->model);
  g_autoptr (cli_report) report = cli_report_new ();
  g_autoptr (eng_engine) engine = NULL;
  g_autoptr (eng_model_info) info = NULL;
  g_autoptr (GArray) sizes = NULL;
  g_autoptr (GError) error = NULL;
  const gint64 begin = g_get_monotonic_time ();
  gboolean ok;

  engine = cli_open_engine (&o->device, path, FALSE, &info, &error);
  sizes = engine ? read_sizes (o, info, &error) : NULL;
  if (!sizes)
    return cli_fail (error);
  b.engine = engine;
  b.report = report;
  printf ("%s, %s\n", eng_model_info_get_name (info), eng_engine_get_device_name (engine));
  if (*eng_engine_get_device_reason (engine))
    puts (eng_engine_get_device_reason (engine));
  cli_report_add (report, &(struct cli_series){ .name = "device and model opened", .unit = "ms" },
                  (g_get_monotonic_time () - begin) * 1e-3);
  record_memory (&b, "after loading");
  const char *const about[] = { "model", eng_model_info_get_name (info), "device",
                                eng_engine_get_device_name (engine), NULL };
  ok = measure (&b, o, sizes, &error);
  if (o->json && !cli_report_save (report, o->json, about, ok ? &error : NULL))
    ok = FALSE;
  if (!ok)
    return cli_fail (error);
  return CLI_OK;
}

static gboolean
check_counts (const struct options *o, GError **error)
{
  const struct {
    const char *name;
    int value, least, most;
  } counts[] = {
    { "repeats", o->repeats, 1, 1000 },
    { "queue", o->queue, 1, 1000 },
    { "tokens", o->tokens, 0, 512 },
    { "text tokens", o->text_tokens, 0, 512 },
  };

  for (guint i = 0; i < G_N_ELEMENTS (counts); i++)
    if (counts[i].value < counts[i].least || counts[i].value > counts[i].most) {
      g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS, "%s is %d, expected %d to %d",
                   counts[i].name, counts[i].value, counts[i].least, counts[i].most);
      return FALSE;
    }
  return TRUE;
}

int
cli_bench (int argc, char **argv)
{
  struct options o = { .repeats = 5, .queue = 16 };
  const GOptionEntry entries[] = {
    { "model", 'm', 0, G_OPTION_ARG_FILENAME, &o.model, "Default: the starter model", "PATH" },
    { "prompt", 'p', 0, G_OPTION_ARG_FILENAME, &o.prompt, "What the prompts begin with", "TEXT" },
    { "tokens", 0, 0, G_OPTION_ARG_INT, &o.tokens, "Of a prompt, filled up with words", "N" },
    { "text-tokens", 0, 0, G_OPTION_ARG_INT, &o.text_tokens, "Time the encoder for these", "N" },
    { "sizes", 0, 0, G_OPTION_ARG_FILENAME, &o.sizes, "Such as 512,768,1024x512", "LIST" },
    { "width", 'W', 0, G_OPTION_ARG_INT, &o.width, "Pixels", "N" },
    { "height", 'H', 0, G_OPTION_ARG_INT, &o.height, "Pixels", "N" },
    { "steps", 0, 0, G_OPTION_ARG_INT, &o.steps, "Steps", "N" },
    { "cfg-scale", 0, 0, G_OPTION_ARG_DOUBLE, &o.cfg, "Guidance; 1 is off", "X" },
    { "repeats", 'r', 0, G_OPTION_ARG_INT, &o.repeats, "Pictures after the warm-up (5)", "N" },
    { "passes", 0, 0, G_OPTION_ARG_NONE, &o.passes, "Ceilings, and each pass alone", NULL },
    { "ablations", 0, 0, G_OPTION_ARG_NONE, &o.ablations,
      "What each means of going fast is worth; pictures of the first size", NULL },
    { "queue", 0, 0, G_OPTION_ARG_INT, &o.queue, "Pictures that wait together then (16)", "N" },
    { "cancel", 0, 0, G_OPTION_ARG_NONE, &o.cancel, "Time from a cancel to its end", NULL },
    { "json", 0, 0, G_OPTION_ARG_FILENAME, &o.json, "Write every number there", "FILE" },
    { "device", 0, 0, G_OPTION_ARG_FILENAME, &o.device.kind, "auto, cpu or cuda", "NAME" },
    { "text-encoder", 0, 0, G_OPTION_ARG_FILENAME, &o.device.text_encoder, CLI_TEXT_ENCODER_HELP,
      "WHERE" },
    { "threads", 't', 0, G_OPTION_ARG_INT, &o.device.threads, "Of the CPU; default: all cores",
      "N" },
    G_OPTION_ENTRY_NULL,
  };
  g_autoptr (GError) error = NULL;
  int code;

  if (!cli_parse (&argc, &argv, NULL, "Times the parts of a picture.", entries, &code))
    return code;
  code = check_counts (&o, &error) ? bench (&o) : cli_fail (error);
  g_free (o.model);
  g_free (o.prompt);
  g_free (o.sizes);
  g_free (o.json);
  g_free (o.device.kind);
  g_free (o.device.text_encoder);
  return code;
}
