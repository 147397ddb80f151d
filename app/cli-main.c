/* app/cli-main.c - safelight-cli: the engine on the command line, without a window. */
#include "app/cli.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static const struct {
  const char *name;
  int (*run) (int argc, char **argv);
  const char *what;
} commands[] = {
  { "generate", cli_generate, "make pictures from a prompt" },
  { "info", cli_info, "tell what a picture's metadata or a model holds" },
  { "tokenize", cli_tokenize, "print the token ids of standard input" },
  { "bench", cli_bench, "time the stages of a picture" },
};

static void
print_help (FILE *out)
{
  fputs ("Usage: safelight-cli COMMAND [OPTION...]\n\nCommands:\n", out);
  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    fprintf (out, "  %-10s %s\n", commands[i].name, commands[i].what);
  fputs (
      "\n`safelight-cli COMMAND --help` lists a command's options.\n\n"
      "Exit codes: 0 done; 1 the picture could not be made; 2 an option or a value that cannot\n"
      "be; 3 a file or model that is missing or broken, or a file that cannot be written; 4 not\n"
      "enough memory; 130 cancelled by Ctrl+C.  An error is one line on standard error.\n",
      out);
}

int
cli_fail (const GError *error)
{
  g_autofree char *line = g_strdelimit (g_strdup (error->message), "\n\r", ' ');

  fprintf (stderr, "safelight-cli: %s\n", line);
  if (error->domain != ENG_ERROR)
    return error->domain == G_OPTION_ERROR ? CLI_USAGE : CLI_FILE;
  switch (error->code) {
  case ENG_ERROR_FILE:
  case ENG_ERROR_MODEL:
    return CLI_FILE;
  case ENG_ERROR_PARAMS:
    return CLI_USAGE;
  case ENG_ERROR_MEMORY:
    return CLI_MEMORY;
  case ENG_ERROR_CANCELLED:
    return CLI_CANCELLED;
  default:
    return CLI_FAILED;
  }
}

gboolean
cli_parse (int *argc, char ***argv, const char *rest, const char *summary,
           const GOptionEntry *entries, int *code)
{
  g_autoptr (GOptionContext) context = g_option_context_new (rest);
  g_autoptr (GError) error = NULL;

  g_option_context_set_summary (context, summary);
  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, &error)) {
    *code = cli_fail (error);
    return FALSE;
  }
  if (*argc > 1 && !rest) {
    fprintf (stderr, "safelight-cli: “%s” is not an option of this command\n", (*argv)[1]);
    *code = CLI_USAGE;
    return FALSE;
  }
  return TRUE;
}

char *
cli_dup_model_path (const char *option)
{
  const char *path = option ? option : g_getenv ("SAFELIGHT_STARTER");

  return g_strdup (path && *path ? path : SL_STARTER_DIR);
}

struct loading {
  GMutex mutex;
  GCond cond;
  gboolean done;
  gboolean show;
  eng_model_info *info;
  GError *error;
};

static void
load_progress_cb (double fraction, void *data)
{
  if (((struct loading *) data)->show)
    fprintf (stderr, "\rLoading %3.0f %%", fraction * 100);
}

static void
load_done_cb (eng_model_info *info, const GError *error, void *data)
{
  struct loading *l = data;

  g_mutex_lock (&l->mutex);
  l->info = info ? eng_model_info_ref (info) : NULL;
  l->error = error ? g_error_copy (error) : NULL;
  l->done = TRUE;
  g_cond_signal (&l->cond);
  g_mutex_unlock (&l->mutex);
}

static gboolean
read_options (const struct cli_device *device, struct eng_options *options, GError **error)
{
  static const char *const names[] = { "auto", "keep", "drop", NULL };
  const char *name = device->text_encoder ? device->text_encoder : names[0];

  *options = (struct eng_options){ .device = device->kind, .threads = device->threads };
  if (device->threads < 0 || device->threads > 1024) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS, "threads is %d, expected 0 to 1024",
                 device->threads);
    return FALSE;
  }
  for (int i = 0; names[i]; i++)
    if (!strcmp (name, names[i])) {
      options->text_encoder = ENG_RESIDENCY_AUTO + i;
      return TRUE;
    }
  g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS,
               "text encoder is “%s”, expected auto, keep or drop", name);
  return FALSE;
}

eng_engine *
cli_open_engine (const struct cli_device *device, const char *model, gboolean progress,
                 eng_model_info **info, GError **error)
{
  struct eng_options options;
  g_autoptr (eng_engine) engine = NULL;
  struct loading l = { .show = progress };
  const struct eng_load_observer observer = { load_progress_cb, load_done_cb, &l };

  if (!read_options (device, &options, error) || !(engine = eng_engine_new (&options, error)))
    return NULL;
  g_mutex_init (&l.mutex);
  g_cond_init (&l.cond);
  eng_engine_load (engine, model, &observer);
  g_mutex_lock (&l.mutex);
  while (!l.done)
    g_cond_wait (&l.cond, &l.mutex);
  g_mutex_unlock (&l.mutex);
  g_mutex_clear (&l.mutex);
  g_cond_clear (&l.cond);
  if (progress)
    fputs ("\r\033[K", stderr);

  if (l.error) {
    g_propagate_error (error, l.error);
    return NULL;
  }
  *info = l.info;
  return g_steal_pointer (&engine);
}

/* What was printed may have met a full disk. */
static int
check_output (int code)
{
  if (!fflush (stdout) && !ferror (stdout))
    return code;
  fputs ("safelight-cli: standard output could not be written\n", stderr);
  return code ? code : CLI_FAILED;
}

int
main (int argc, char **argv)
{
  setlocale (LC_ALL, "");
  setlocale (LC_NUMERIC, "C"); /* numbers are written for programs, too */
  g_set_prgname ("safelight-cli");
  if (argc < 2) {
    print_help (stderr);
    return CLI_USAGE;
  }
  if (!strcmp (argv[1], "--help") || !strcmp (argv[1], "-h") || !strcmp (argv[1], "help")) {
    print_help (stdout);
    return CLI_OK;
  }
  if (!strcmp (argv[1], "--version")) {
    puts ("safelight-cli " SL_VERSION);
    return CLI_OK;
  }
  for (guint i = 0; i < G_N_ELEMENTS (commands); i++)
    if (!strcmp (argv[1], commands[i].name)) {
      g_autofree char *name = g_strconcat ("safelight-cli ", commands[i].name, NULL);
      g_set_prgname (name);
      argv[1] = argv[0];
      return check_output (commands[i].run (argc - 1, argv + 1));
    }
  fprintf (stderr, "safelight-cli: “%s” is not a command; see safelight-cli --help\n", argv[1]);
  return CLI_USAGE;
}
