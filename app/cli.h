/* app/cli.h - the commands of safelight-cli; each gets its own arguments and returns an exit code.
 */
#pragma once

#include "engine/engine.h"

/* Exit codes, as --help tells them. */
enum {
  CLI_OK = 0,
  CLI_FAILED = 1,      /* the picture could not be made, or standard output not written */
  CLI_USAGE = 2,       /* an option or a value that cannot be */
  CLI_FILE = 3,        /* a file or a model that is missing or broken; a file not written */
  CLI_MEMORY = 4,      /* not enough memory */
  CLI_CANCELLED = 130, /* Ctrl+C */
};

int cli_generate (int argc, char **argv);
int cli_bench (int argc, char **argv);
int cli_info (int argc, char **argv);
int cli_tokenize (int argc, char **argv);

/* Prints `safelight-cli: message` as one line on standard error and returns the exit code for it.
 */
int cli_fail (const GError *error);

/* Parses options of a command.  FALSE: it was told to the user, and *code is what to exit with.
 * rest: what the usage line says behind the options, NULL for nothing. */
gboolean cli_parse (int *argc, char ***argv, const char *rest, const char *summary,
                    const GOptionEntry *entries, int *code);

/* The model named on the command line, or else the starter model.  The caller frees it. */
char *cli_dup_model_path (const char *option);

/* What the options about the device say; NULL and 0 are the defaults. */
struct cli_device {
  char *kind, *text_encoder; /* as written */
  int threads;
};
#define CLI_TEXT_ENCODER_HELP "auto (default), keep on the GPU, or drop: read it for each prompt"

/* Opens the device and loads the model, waiting for it.  progress: shown on standard error. */
eng_engine *cli_open_engine (const struct cli_device *device, const char *model, gboolean progress,
                             eng_model_info **info, GError **error);
