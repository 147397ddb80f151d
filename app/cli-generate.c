/* app/cli-generate.c - the main thread runs a main loop: what the engine's thread tells it arrives
 * there, and it writes a picture's PNG while the engine is at the next one. */
#include "app/cli-output.h"
#include "app/cli.h"

#include <glib-unix.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct options {
  struct cli_device device;
  char *prompt, *negative, *model, *output;
  char *sampler, *schedule, *rng;
  char *init_latents, *dump_latents, *dump_embeddings;
  char *timings, *trace, *preview_dir;
  char *seed, *cfg, *shift, *norm_cap, *truncation;
  char *width, *height, *steps;
  int count;
  gboolean quiet, json, no_metadata;
};

struct generate {
  struct options *options;
  struct eng_params params;
  GMainLoop *loop;
  GPtrArray *jobs; /* of eng_job */
  guint done;
  int code; /* of the first failure */
  gboolean bar, previews_failed;
};

/* What the observer hands to the main thread. */
struct message {
  struct generate *g;
  int number;
  struct eng_progress progress;
  uint8_t *rgba; /* a copy of the frame */
  eng_image *image;
  GError *error;
  gboolean done;
};

/* The observer's data of one job. */
struct ticket {
  struct generate *g;
  int number;
};

static void
fail (struct generate *g, const GError *error)
{
  if (g->bar)
    cli_clear_progress ();
  if (error->domain == ENG_ERROR && error->code == ENG_ERROR_CANCELLED) {
    g->code = g->code ? g->code : CLI_CANCELLED;
    return;
  }
  const int code = cli_fail (error);
  g->code = g->code ? g->code : code;
}

static gboolean
save_timelines (struct generate *g, const eng_image *image, int number, GError **error)
{
  const char *patterns[] = { g->options->timings, g->options->trace };

  for (int i = 0; i < 2; i++) {
    g_autofree char *path = NULL;

    if (!patterns[i])
      continue;
    path = cli_expand_name (patterns[i], number, g->options->count, error);
    if (!path || !eng_image_save_timeline (image, path,
                                           i ? ENG_TIMELINE_TRACE : ENG_TIMELINE_TIMINGS, error))
      return FALSE;
  }
  return TRUE;
}

static void
save (struct generate *g, const struct message *m)
{
  const enum eng_save_flags flags = g->options->no_metadata ? ENG_SAVE_NO_METADATA : 0;
  g_autoptr (GError) error = NULL;
  g_autofree char *path =
      cli_expand_name (g->options->output, m->number + 1, g->options->count, &error);
  const char *warning = eng_image_get_warning (m->image);

  if (g->bar)
    cli_clear_progress ();
  if (warning && !g->options->quiet)
    g_printerr ("safelight-cli: %s\n", warning);
  if (!path || !eng_image_save_png (m->image, path, flags, &error) ||
      !save_timelines (g, m->image, m->number + 1, &error)) {
    fail (g, error);
    return;
  }
  if (g->options->json)
    cli_print_json (m->image, path);
  else if (!g->options->quiet)
    printf ("%s: seed %" G_GUINT64_FORMAT ", %.2f s\n", path, eng_image_get_params (m->image)->seed,
            eng_image_get_seconds (m->image));
  fflush (stdout);
}

static void
save_preview (struct generate *g, const struct message *m)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *name =
      g_strdup_printf ("preview-%03d-%03d.png", m->number + 1, m->progress.step);
  g_autofree char *path = g_build_filename (g->options->preview_dir, name, NULL);
  const struct eng_frame frame = { m->progress.frame->width, m->progress.frame->height, m->rgba };

  if (!g->previews_failed && !eng_frame_save_png (&frame, path, &error)) {
    fail (g, error);
    g->previews_failed = TRUE; /* once is enough */
  }
}

static gboolean
message_cb (gpointer data)
{
  struct message *m = data;
  struct generate *g = m->g;

  if (m->image)
    save (g, m);
  else if (m->error)
    fail (g, m->error);
  else if (g->bar)
    cli_show_progress (&m->progress, m->number, g->options->count);
  if (m->rgba)
    save_preview (g, m);
  if (m->done && ++g->done == g->jobs->len)
    g_main_loop_quit (g->loop);

  g_clear_pointer (&m->image, eng_image_unref);
  g_clear_error (&m->error);
  g_free ((void *) m->progress.frame);
  g_free (m->rgba);
  g_free (m);
  return G_SOURCE_REMOVE;
}

static void
progress_cb (eng_job *job, const struct eng_progress *progress, void *data)
{
  const struct ticket *ticket = data;
  struct message *m = g_new0 (struct message, 1);
  const struct eng_frame *frame = ticket->g->options->preview_dir ? progress->frame : NULL;

  m->g = ticket->g;
  m->number = ticket->number;
  m->progress = *progress;
  m->progress.frame = NULL;
  if (frame) {
    m->progress.frame = g_memdup2 (frame, sizeof *frame);
    m->rgba = g_memdup2 (frame->rgba, (gsize) frame->width * frame->height * 4);
  }
  g_idle_add (message_cb, m);
}

static void
done_cb (eng_job *job, eng_image *image, const GError *error, void *data)
{
  struct ticket *ticket = data;
  struct message *m = g_new0 (struct message, 1);

  m->g = ticket->g;
  m->number = ticket->number;
  m->image = image ? eng_image_ref (image) : NULL;
  m->error = error ? g_error_copy (error) : NULL;
  m->done = TRUE;
  g_idle_add (message_cb, m);
  g_free (ticket);
}

static gboolean
interrupt_cb (gpointer data)
{
  struct generate *g = data;

  for (guint i = 0; i < g->jobs->len; i++)
    eng_job_cancel (g->jobs->pdata[i]);
  return G_SOURCE_CONTINUE;
}

/* A number written on the command line; NULL leaves *value alone.  GOption's own numbers cannot
 * tell 0 from absent, and a 0 that was written must not mean "the default". */
static gboolean
read_number (const char *name, const char *text, double min, double *value, GError **error)
{
  char *end;

  if (!text)
    return TRUE;
  *value = g_ascii_strtod (text, &end);
  if (end != text && *end == '\0' && *value >= min)
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS, "%s is “%s”, expected a number of at least %g",
               name, text, min);
  return FALSE;
}

static gboolean
read_int (const char *name, const char *text, int *value, GError **error)
{
  gint64 number;

  if (!text)
    return TRUE;
  if (!g_ascii_string_to_signed (text, 10, 1, G_MAXINT, &number, NULL)) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS, "%s is “%s”, expected a whole number from 1",
                 name, text);
    return FALSE;
  }
  *value = number;
  return TRUE;
}

static gboolean
read_seed (const char *text, uint64_t *seed, GError **error)
{
  gint64 negative;

  *seed = (uint64_t) g_random_int () << 16 ^ g_random_int (); /* short enough to write down */
  if (!text || g_ascii_string_to_signed (text, 10, G_MININT64, -1, &negative, NULL) ||
      g_ascii_string_to_unsigned (text, 10, 0, G_MAXUINT64, seed, NULL))
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS,
               "seed is “%s”, expected a whole number up to 18446744073709551615", text);
  return FALSE;
}

static gboolean
read_choices (const struct options *o, struct eng_params *p, GError **error)
{
  p->sampler = o->sampler ? eng_sampler_from_name (o->sampler) : 0;
  p->schedule = o->schedule ? eng_schedule_from_name (o->schedule) : 0;
  p->rng = o->rng && !strcmp (o->rng, "cuda") ? ENG_RNG_CUDA : ENG_RNG_CPU;
  if (o->sampler && !p->sampler)
    g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS,
                 "sampling method “%s” is not known; see --help", o->sampler);
  else if (o->schedule && !p->schedule)
    g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS, "scheduler “%s” is not known; see --help",
                 o->schedule);
  else if (o->rng && strcmp (o->rng, "cuda") && strcmp (o->rng, "cpu"))
    g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS, "rng is “%s”, expected cpu or cuda", o->rng);
  else
    return TRUE;
  return FALSE;
}

static gboolean
read_params (const struct options *o, struct eng_params *p, GError **error)
{
  double cfg = 0, shift = 0, cap = 0, truncation = 0;

  *p = (struct eng_params){ .prompt = o->prompt,
                            .negative = o->negative,
                            .init_latents = o->init_latents,
                            .flags = o->preview_dir ? 0 : ENG_FLAG_NO_PREVIEW };
  if (!read_number ("CFG", o->cfg, 1, &cfg, error) ||
      !read_number ("shift", o->shift, 0.01, &shift, error) ||
      !read_number ("CFG norm cap", o->norm_cap, 0, &cap, error) ||
      !read_number ("CFG truncation", o->truncation, 0, &truncation, error))
    return FALSE;
  p->cfg = cfg;
  p->shift = shift;
  p->cfg_norm_cap = cap;
  p->cfg_truncation = truncation;
  return read_int ("width", o->width, &p->width, error) &&
         read_int ("height", o->height, &p->height, error) &&
         read_int ("steps", o->steps, &p->steps, error) && read_seed (o->seed, &p->seed, error) &&
         read_choices (o, p, error);
}

/* Every picture writes files of its own. */
static gboolean
expand_dump (const struct options *o, const char *pattern, int i, char **name, GError **error)
{
  *name = pattern ? cli_expand_name (pattern, i + 1, o->count, error) : NULL;
  return !pattern || *name;
}

static gboolean
submit (struct generate *g, eng_engine *engine, int i, GError **error)
{
  struct ticket *ticket = g_new (struct ticket, 1);
  const struct eng_observer observer = { progress_cb, done_cb, ticket };
  const struct options *o = g->options;
  struct eng_params params = g->params;
  g_autofree char *latents = NULL;
  g_autofree char *embeddings = NULL;
  eng_job *job = NULL;

  *ticket = (struct ticket){ g, i };
  params.seed += i;
  if (expand_dump (o, o->dump_latents, i, &latents, error) &&
      expand_dump (o, o->dump_embeddings, i, &embeddings, error)) {
    params.dump_latents = latents;
    params.dump_embeddings = embeddings;
    job = eng_engine_submit (engine, &params, &observer, error);
  }
  if (job)
    g_ptr_array_add (g->jobs, job);
  else
    g_free (ticket);
  return job != NULL;
}

static gboolean
submit_all (struct generate *g, eng_engine *engine, GError **error)
{
  for (int i = 0; i < g->options->count; i++)
    if (!submit (g, engine, i, error))
      return FALSE;
  return TRUE;
}

/* A name that cannot be is told before anything takes time. */
static gboolean
check_names (const struct options *o, GError **error)
{
  const char *const patterns[] = { o->output, o->timings, o->trace, o->dump_latents,
                                   o->dump_embeddings };

  for (guint i = 0; i < G_N_ELEMENTS (patterns); i++) {
    g_autofree char *name = patterns[i] ? cli_expand_name (patterns[i], 1, o->count, error) : NULL;

    if (patterns[i] && !name)
      return FALSE;
  }
  return TRUE;
}

static int
generate (struct options *o)
{
  struct generate g = { .options = o, .bar = !o->quiet && isatty (STDERR_FILENO) };
  g_autofree char *model = cli_dup_model_path (o->model);
  g_autoptr (eng_engine) engine = NULL;
  g_autoptr (eng_model_info) info = NULL;
  g_autoptr (GError) error = NULL;
  guint signals[2];

  if (!read_params (o, &g.params, &error) || !check_names (o, &error) ||
      !(engine = cli_open_engine (&o->device, model, g.bar, &info, &error)))
    return cli_fail (error);
  if (o->preview_dir && g_mkdir_with_parents (o->preview_dir, 0777)) {
    g_set_error (&error, ENG_ERROR, ENG_ERROR_FILE, "“%s” could not be made: %s", o->preview_dir,
                 g_strerror (errno));
    return cli_fail (error);
  }

  g.loop = g_main_loop_new (NULL, FALSE);
  g.jobs = g_ptr_array_new_with_free_func ((GDestroyNotify) eng_job_unref);
  signals[0] = g_unix_signal_add (SIGINT, interrupt_cb, &g);
  signals[1] = g_unix_signal_add (SIGTERM, interrupt_cb, &g);
  if (!submit_all (&g, engine, &error)) {
    interrupt_cb (&g);
    fail (&g, error);
  }
  if (g.jobs->len > 0)
    g_main_loop_run (g.loop);
  g_source_remove (signals[0]);
  g_source_remove (signals[1]);
  g_ptr_array_unref (g.jobs);
  g_main_loop_unref (g.loop);
  return g.code;
}

static void
options_clear (struct options *o)
{
  char *const strings[] = { o->prompt,
                            o->negative,
                            o->model,
                            o->device.kind,
                            o->device.text_encoder,
                            o->output,
                            o->sampler,
                            o->schedule,
                            o->rng,
                            o->init_latents,
                            o->dump_latents,
                            o->dump_embeddings,
                            o->timings,
                            o->trace,
                            o->preview_dir,
                            o->seed,
                            o->cfg,
                            o->shift,
                            o->norm_cap,
                            o->truncation,
                            o->width,
                            o->height,
                            o->steps };

  for (guint i = 0; i < G_N_ELEMENTS (strings); i++)
    g_free (strings[i]);
}

#define TEXT(name, letter, field, what, arg)                                                       \
  {                                                                                                \
    name, letter, 0, G_OPTION_ARG_FILENAME, &o.field, what, arg                                    \
  }

int
cli_generate (int argc, char **argv)
{
  struct options o = { .count = 1 };
  const GOptionEntry entries[] = {
    TEXT ("prompt", 'p', prompt, "What the picture shows", "TEXT"),
    TEXT ("negative", 'n', negative, "What it does not show; used when CFG is above 1", "TEXT"),
    TEXT ("model", 'm', model, "A model folder or file; default: the starter model", "PATH"),
    TEXT ("output", 'o', output, "PNG to write, with %d or %03d for its number (out-%03d.png)",
          "FILE"),
    TEXT ("width", 'W', width, "Pixels, a multiple of 16; default: the model's", "N"),
    TEXT ("height", 'H', height, "Pixels, a multiple of 16; default: the model's", "N"),
    TEXT ("steps", 0, steps, "1 to 150; default: the model's", "N"),
    TEXT ("cfg-scale", 0, cfg, "Guidance; 1 is off, to 30; default: the model's", "X"),
    TEXT ("seed", 's', seed, "0 or more; default, or below 0: random", "N"),
    { "batch-count", 'b', 0, G_OPTION_ARG_INT, &o.count, "Pictures, seeds counting up (1)", "N" },
    TEXT ("sampling-method", 0, sampler, "euler, euler_a, heun, dpm++2m, res_multistep, lcm",
          "NAME"),
    TEXT ("scheduler", 0, schedule, "simple, sgm_uniform, discrete, beta, karras, exponential",
          "NAME"),
    TEXT ("shift", 0, shift, "Of the schedule; default: the model's", "X"),
    TEXT ("cfg-norm-cap", 0, norm_cap, "Guided norm at most X times the prompt's; 0: off", "X"),
    TEXT ("cfg-truncation", 0, truncation, "No guidance once 1 - sigma exceeds X; 0: off", "X"),
    TEXT ("rng", 0, rng, "Noise of torch's cpu (default) or cuda generator", "NAME"),
    TEXT ("device", 0, device.kind, "auto (default), cpu or cuda", "NAME"),
    TEXT ("text-encoder", 0, device.text_encoder, CLI_TEXT_ENCODER_HELP, "WHERE"),
    { "threads", 't', 0, G_OPTION_ARG_INT, &o.device.threads, "Of the CPU; default: all cores",
      "N" },
    TEXT ("init-latents", 0, init_latents, "Start from this tensor instead of noise", "FILE"),
    TEXT ("dump-latents", 0, dump_latents, "Write noise and latents of every step", "FILE"),
    TEXT ("dump-embeddings", 0, dump_embeddings, "Write token ids and encoder output", "FILE"),
    TEXT ("timings", 0, timings, "Write the time of every stage and step as JSON", "FILE"),
    TEXT ("trace", 0, trace, "The same for Chrome's tracing page", "FILE"),
    TEXT ("preview-dir", 0, preview_dir, "Write every step's preview there", "DIR"),
    { "no-metadata", 0, 0, G_OPTION_ARG_NONE, &o.no_metadata, "Leave the settings out of the PNG",
      NULL },
    { "quiet", 'q', 0, G_OPTION_ARG_NONE, &o.quiet, "Print errors only", NULL },
    { "json", 0, 0, G_OPTION_ARG_NONE, &o.json, "Print a line of JSON for each picture", NULL },
    G_OPTION_ENTRY_NULL,
  };
  int code = CLI_USAGE;

  if (!cli_parse (&argc, &argv, NULL, "Makes pictures from a prompt.", entries, &code)) {
    options_clear (&o);
    return code;
  }
  if (!o.output)
    o.output = g_strdup ("out-%03d.png");
  if (!o.prompt)
    fputs ("safelight-cli: no prompt; use -p \"what the picture shows\"\n", stderr);
  else if (o.count < 1 || o.count > 10000)
    fprintf (stderr, "safelight-cli: batch count is %d, expected 1 to 10000\n", o.count);
  else
    code = generate (&o);
  options_clear (&o);
  return code;
}
