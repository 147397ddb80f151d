#include "app/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static gboolean
is_png (const char *path)
{
  static const char signature[8] = "\x89PNG\r\n\x1a\n";
  char head[8] = "";
  /* To open a pipe would wait for its other end. */
  FILE *file = g_file_test (path, G_FILE_TEST_IS_REGULAR) ? fopen (path, "rb") : NULL;

  if (!file)
    return FALSE;
  const size_t got = fread (head, 1, sizeof head, file);
  fclose (file);
  return got == sizeof head && memcmp (head, signature, sizeof head) == 0;
}

static int
info_of_png (const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (eng_settings) settings = eng_settings_read_png (path, &error);

  if (!settings)
    return cli_fail (error);
  puts (settings->infotext);
  return CLI_OK;
}

/* What a GPU must have, in GB of 10^9 bytes. */
static int
print_memory (eng_model_info *info)
{
  static const int sizes[] = { 512, 768, 1024, 1536, 2048 };
  const double gb = 1e-9;
  struct eng_memory m;
  g_autoptr (GError) error = NULL;

  puts ("memory on a GPU in GB, without the 0.8 or so of driver and libraries:");
  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    if (!eng_model_info_plan_memory (info, sizes[i], sizes[i], &m, &error))
      return cli_fail (error);
    const double kept = m.text_encoder * gb, dropped = m.text_encoder_dropped * gb;
    const double rest = (m.transformer + m.vae + m.prompts + m.encode + m.denoise) * gb;

    if (i == 0)
      printf ("weights: text encoder %.2f (%.2f dropped), transformer %.2f, vae %.2f; "
              "prompts %.2f\n%-10s %8s %8s %8s %8s %14s %15s\n",
              kept, dropped, m.transformer * gb, m.vae * gb, m.prompts * gb, "size", "encode",
              "denoise", "decode", "in bands", "in all, kept", "dropped, bands");
    printf ("%4dx%-5d %8.2f %8.2f %8.2f %8.2f %14.2f %15.2f\n", sizes[i], sizes[i], m.encode * gb,
            m.denoise * gb, m.decode * gb, m.decode_banded * gb, rest + kept + m.decode * gb,
            rest + dropped + m.decode_banded * gb);
  }
  return CLI_OK;
}

static int
info_of_model (const char *path)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (eng_model_info) info = eng_model_inspect (path, &error);
  const struct eng_component *components;
  const struct eng_defaults *d;
  guint n;

  if (!info)
    return cli_fail (error);
  printf ("%s\nfamily: %s\nhash: %s\n", eng_model_info_get_path (info),
          eng_model_info_get_family (info), eng_model_info_get_hash (info));
  components = eng_model_info_get_components (info, &n);
  for (guint i = 0; i < n; i++) {
    g_autofree char *size = g_format_size (components[i].bytes);
    printf ("%s: %u tensors, %.2f M parameters, %s, %s, %s\n", components[i].name,
            components[i].tensors, components[i].parameters * 1e-6, components[i].dtype, size,
            components[i].file);
  }
  d = eng_model_info_get_defaults (info);
  printf ("defaults: %dx%d, %d steps, CFG %g, %s, %s, shift %g\n", d->width, d->height, d->steps,
          d->cfg, eng_sampler_get_name (d->sampler), eng_schedule_get_name (d->schedule), d->shift);
  printf ("prompt: at most %d tokens; sizes: multiples of %d\n",
          eng_model_info_get_prompt_limit (info), eng_model_info_get_size_multiple (info));
  return print_memory (info);
}

int
cli_info (int argc, char **argv)
{
  const GOptionEntry entries[] = { G_OPTION_ENTRY_NULL };
  int code;

  if (!cli_parse (&argc, &argv, "FILE.png|MODEL",
                  "Prints the metadata of a picture, or what a model path holds.", entries, &code))
    return code;
  if (argc != 2) {
    fprintf (stderr, "safelight-cli: info takes one path, got %d\n", argc - 1);
    return CLI_USAGE;
  }
  return is_png (argv[1]) ? info_of_png (argv[1]) : info_of_model (argv[1]);
}

static GByteArray *
read_standard_input (GError **error)
{
  g_autoptr (GByteArray) bytes = g_byte_array_new ();
  guint8 chunk[65536];
  ssize_t got;

  while ((got = read (STDIN_FILENO, chunk, sizeof chunk)) > 0)
    g_byte_array_append (bytes, chunk, got);
  if (got == 0)
    return g_steal_pointer (&bytes);
  g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "standard input could not be read: %s",
               g_strerror (errno));
  return NULL;
}

int
cli_tokenize (int argc, char **argv)
{
  g_autofree char *tokenizer = NULL;
  g_autofree char *model = NULL;
  gboolean chat = FALSE;
  const GOptionEntry entries[] = {
    { "tokenizer", 0, 0, G_OPTION_ARG_FILENAME, &tokenizer, "A tokenizer.json", "FILE" },
    { "model", 'm', 0, G_OPTION_ARG_FILENAME, &model, "A model, for its tokenizer", "PATH" },
    { "chat", 0, 0, G_OPTION_ARG_NONE, &chat, "Put the prompt's chat wrapper round the text",
      NULL },
    G_OPTION_ENTRY_NULL,
  };
  g_autoptr (GError) error = NULL;
  int code;

  if (!cli_parse (&argc, &argv, NULL, "Prints the token ids of standard input.", entries, &code))
    return code;

  g_autofree char *path = tokenizer ? g_strdup (tokenizer) : cli_dup_model_path (model);
  g_autoptr (GByteArray) text = read_standard_input (&error);
  g_autoptr (GArray) ids = text ? eng_tokenize (path, text->data ? (const char *) text->data : "",
                                                text->len, chat, &error)
                                : NULL;

  if (!ids)
    return cli_fail (error);
  for (guint i = 0; i < ids->len; i++)
    printf ("%s%d", i ? " " : "", g_array_index (ids, int32_t, i));
  puts ("");
  return CLI_OK;
}
