/* safelight-cli as a person or a script runs it: files, exit codes, one-line errors, Ctrl+C. */
#include "engine/image.h"
#include "engine/weights.h"

#include "tests/tmp_folder.h"

#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <signal.h>
#include <string.h>

struct outcome {
  int code;
  char *out, *err;
};

static void
outcome_clear (struct outcome *o)
{
  g_clear_pointer (&o->out, g_free);
  g_clear_pointer (&o->err, g_free);
}

static char *
tiny_path (void)
{
  return g_test_build_filename (G_TEST_DIST, "data", "tiny", NULL);
}

/* Runs safelight-cli with the words of line, in which {} stands for the folder, {model} for the
 * tiny model; input may be NULL. */
static struct outcome
run_cli (const char *folder, const char *line, const char *input)
{
  g_autofree char *model = tiny_path ();
  g_autoptr (GString) words = g_string_new (line);
  g_auto (GStrv) argv = NULL;
  g_autoptr (GError) error = NULL;
  struct outcome o = { 0 };

  g_string_replace (words, "{model}", model, 0);
  g_string_replace (words, "{}", folder, 0);
  g_string_prepend (words, " ");
  g_string_prepend (words, g_getenv ("SAFELIGHT_CLI"));
  g_shell_parse_argv (words->str, NULL, &argv, &error);
  g_assert_no_error (error);

  g_autoptr (GSubprocess) process =
      g_subprocess_newv ((const char *const *) argv,
                         G_SUBPROCESS_FLAGS_STDIN_PIPE | G_SUBPROCESS_FLAGS_STDOUT_PIPE |
                             G_SUBPROCESS_FLAGS_STDERR_PIPE,
                         &error);
  g_assert_no_error (error);
  g_subprocess_communicate_utf8 (process, input ? input : "", NULL, &o.out, &o.err, &error);
  g_assert_no_error (error);
  g_assert_true (g_subprocess_get_if_exited (process));
  o.code = g_subprocess_get_exit_status (process);
  return o;
}

static void
assert_exists (const char *folder, const char *name, gboolean exists)
{
  g_autofree char *path = g_build_filename (folder, name, NULL);

  g_assert_cmpint (g_file_test (path, G_FILE_TEST_EXISTS), ==, exists);
}

static void
test_generate (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  struct outcome o = run_cli (
      folder,
      "generate -m {model} -p 'a red kite' -n fog --cfg-scale 2 -W 64 -H 96 --steps 3 -s 7 -b 2 "
      "--sampling-method dpm++2m --scheduler beta --rng cuda --preview-dir {}/previews "
      "--dump-latents {}/l.safetensors --dump-embeddings {}/e.safetensors "
      "--timings {}/t.json --trace {}/r.json --json -o {}/p-%03d.png",
      NULL);
  g_auto (GStrv) lines = g_strsplit (o.out, "\n", -1);
  g_autofree char *previews = g_build_filename (folder, "previews", NULL);

  g_assert_cmpstr (o.err, ==, "");
  g_assert_cmpint (o.code, ==, 0);
  g_assert_cmpuint (g_strv_length (lines), ==, 3); /* two and the empty end */
  g_autoptr (JsonNode) node = json_from_string (lines[1], NULL);
  JsonObject *object = json_node_get_object (node);
  g_assert_cmpstr (json_object_get_string_member (object, "seed"), ==, "8");
  g_assert_cmpint (json_object_get_int_member (object, "height"), ==, 96);
  g_assert_cmpfloat (json_object_get_double_member (object, "denoise_ms"), >, 0);

  static const char *const files[] = { "p-001.png",         "p-002.png",
                                       "l-001.safetensors", "l-002.safetensors",
                                       "e-001.safetensors", "e-002.safetensors",
                                       "t-001.json",        "t-002.json",
                                       "r-001.json",        "r-002.json" };
  for (guint i = 0; i < G_N_ELEMENTS (files); i++)
    assert_exists (folder, files[i], TRUE);
  for (int step = 1; step <= 3; step++) {
    g_autofree char *name = g_strdup_printf ("preview-002-%03d.png", step);
    g_autofree char *path = g_build_filename (previews, name, NULL);
    int width, height;
    g_autofree uint8_t *rgb = eng_png_read_rgb (path, &width, &height, NULL);

    g_assert_nonnull (rgb);
    g_assert_cmpint (width, ==, 8);
    g_assert_cmpint (height, ==, 12);
  }
  tmp_folder_free (g_steal_pointer (&previews));
  outcome_clear (&o);
}

static void
test_info (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  struct outcome o =
      run_cli (folder,
               "generate -q -m {model} -p 'a red kite, at dusk' -W 64 -H 64 --steps 1 "
               "-s 3 -o {}/p.png",
               NULL);

  g_assert_cmpint (o.code, ==, 0);
  g_assert_cmpstr (o.out, ==, "");
  g_assert_cmpstr (o.err, ==, "");
  outcome_clear (&o);

  o = run_cli (folder, "info {}/p.png", NULL);
  g_assert_cmpint (o.code, ==, 0);
  g_assert_true (g_str_has_prefix (o.out, "a red kite, at dusk\nSteps: 1, Sampler: Euler, "));
  g_assert_nonnull (strstr (o.out, "Seed: 3, Size: 64x64"));
  g_assert_nonnull (strstr (o.out, "RNG: CPU"));
  outcome_clear (&o);

  o = run_cli (folder, "info {model}", NULL);
  g_assert_cmpint (o.code, ==, 0);
  g_assert_nonnull (strstr (o.out, "family: Z-Image"));
  g_assert_nonnull (strstr (o.out, "transformer: "));
  g_assert_nonnull (strstr (o.out, "8 steps, CFG 1, Euler, Simple, shift 3"));
  outcome_clear (&o);

  o = run_cli (folder,
               "generate -q --no-metadata -m {model} -p a -W 64 -H 64 --steps 1 -o {}/p.png", NULL);
  g_assert_cmpint (o.code, ==, 0);
  outcome_clear (&o);
  o = run_cli (folder, "info {}/p.png", NULL);
  g_assert_cmpint (o.code, ==, 3);
  outcome_clear (&o);
}

static void
test_tokenize (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  struct outcome plain = run_cli (folder, "tokenize -m {model}", "a red kite");
  struct outcome file =
      run_cli (folder, "tokenize --tokenizer {model}/tokenizer/tokenizer.json", "a red kite");
  struct outcome chat = run_cli (folder, "tokenize -m {model} --chat", "a red kite");

  g_assert_cmpint (plain.code, ==, 0);
  g_assert_cmpstr (plain.out, ==, file.out);
  g_assert_nonnull (strstr (chat.out, g_strchomp (plain.out)));
  g_assert_cmpuint (strlen (chat.out), >, strlen (plain.out));
  outcome_clear (&plain);
  outcome_clear (&file);
  outcome_clear (&chat);
}

static void
test_errors (void)
{
  static const struct {
    const char *line;
    int code;
    const char *pattern;
  } errors[] = {
    { "", 2, "Usage: *" },
    { "paint", 2, "*“paint” is not a command*" },
    { "generate -m {model}", 2, "*no prompt*" },
    { "generate -m {model} -p a --sideways", 2, "*--sideways*" },
    { "generate -m {model} -p a leftover", 2, "*“leftover”*" },
    { "generate -m {model} -p a --steps 0", 2, "*steps is “0”*from 1*" },
    { "generate -m {model} -p a --steps 151", 2, "*steps is 151, expected 1 to 150*" },
    { "generate -m {model} -p a --cfg-scale nan", 2, "*CFG is “nan”*" },
    { "generate -m {model} -p a --cfg-scale 0.5", 2, "*CFG is “0.5”*" },
    { "generate -m {model} -p a -W 100", 2, "*width is 100, expected a multiple of 16*" },
    { "generate -m {model} -p a -W 1e9", 2, "*width is “1e9”*" },
    { "generate -m {model} -p a -s 18446744073709551616", 2, "*seed is “18446744073709551616”*" },
    { "generate -m {model} -p a -b 0", 2, "*batch count is 0*" },
    { "generate -m {model} -p a -t 1025", 2, "*threads is 1025, expected 0 to 1024*" },
    { "bench -m {model} -t -1", 2, "*threads is -1*" },
    { "bench -m {model} -r 0", 2, "*repeats is 0, expected 1 to 1000*" },
    { "bench -m {model} --queue 0", 2, "*queue is 0, expected 1 to 1000*" },
    { "bench -m {model} --tokens 513", 2, "*tokens is 513, expected 0 to 512*" },
    { "bench -m {model} --sizes 64,6x", 2, "*sizes are “64,6x”*" },
    { "generate -m {model} -p a --rng dice", 2, "*rng is “dice”, expected cpu or cuda*" },
    { "generate -m {model} -p a --sampling-method best", 2, "*“best” is not known*" },
    { "generate -m {model} -p a --scheduler best", 2, "*“best” is not known*" },
    { "generate -m {model} -p a --device abacus", 2, "*“abacus”*" },
    { "generate -m {model} -p a -o %s.png", 2, "*“%s.png” may hold one %d*" },
    { "generate -m {model} -p a -o %d-%d.png", 2, "*may hold one %d*" },
    { "generate -m {model} -p a --timings %s.json", 2, "*“%s.json” may hold one %d*" },
    { "generate -m {model} -p a --dump-latents %x", 2, "*“%x” may hold one %d*" },
    { "generate -m {model} -p a -W 64 -H 64 --steps 1 --trace {}/none/r.json -o {}/p.png", 3,
      "*/none/r.json*" },
    { "generate -m {model} -p a -W 64 -H 64 --steps 1 -o /dev/full", 3, "*/dev/full*" },
    { "generate -m {model} -p a -W 16384 -H 16384", 4, "*16384x16384 needs * but only * free*" },
    { "generate -m {}/none -p a", 3, "*{}/none* does not exist*" },
    { "generate -m {} -p a", 3, "*is not a model*" },
    { "generate -m {model} -p a -W 64 -H 64 --steps 1 -o {}/none/p.png", 3, "*/none/*" },
    { "generate -m {model} -p a -W 64 -H 64 --init-latents {}/none", 3, "*/none*" },
    { "info", 2, "*takes one path*" },
    { "info {}/none", 3, "*/none*" },
    { "info '{}/two\nlines'", 3, "*/two lines*" },
    { "tokenize --tokenizer {}/none.json", 3, "*none.json*" },
  };
  g_autoptr (tmp_folder) folder = tmp_folder_new ();

  for (guint i = 0; i < G_N_ELEMENTS (errors); i++) {
    struct outcome o = run_cli (folder, errors[i].line, NULL);
    g_autoptr (GString) pattern = g_string_new (errors[i].pattern);

    g_string_replace (pattern, "{}", folder, 0);
    if (o.code != errors[i].code || !g_pattern_match_simple (pattern->str, o.err))
      g_error ("%s: exit %d: %s", errors[i].line, o.code, o.err);
    if (i > 0)
      g_assert_cmpuint (g_strrstr (o.err, "\n") - o.err, ==, strlen (o.err) - 1); /* one line */
    if (i > 0)
      g_assert_true (strchr (o.err, '\n') == g_strrstr (o.err, "\n"));
    outcome_clear (&o);
  }
}

/* After the first picture is there, Ctrl+C ends the batch and keeps it. */
static void
test_interrupt (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *model = tiny_path ();
  g_autofree char *pattern = g_build_filename (folder, "p-%d.png", NULL);
  g_autoptr (GError) error = NULL;
  g_autoptr (GSubprocess) process =
      g_subprocess_new (G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_PIPE, &error,
                        g_getenv ("SAFELIGHT_CLI"), "generate", "-m", model, "-p", "a kite", "-W",
                        "64", "-H", "64", "--steps", "50", "-b", "10000", "-o", pattern, NULL);
  g_autoptr (GDataInputStream) out = NULL;
  g_autofree char *line = NULL;

  g_assert_no_error (error);
  out = g_data_input_stream_new (g_subprocess_get_stdout_pipe (process));
  line = g_data_input_stream_read_line (out, NULL, NULL, &error);
  g_assert_no_error (error);
  g_assert_nonnull (strstr (line, "p-1.png: seed "));
  g_subprocess_send_signal (process, SIGINT);
  /* What is still printed must not block the process. */
  for (char *more; (more = g_data_input_stream_read_line (out, NULL, NULL, NULL));)
    g_free (more);
  g_subprocess_wait (process, NULL, &error);
  g_assert_no_error (error);
  g_assert_cmpint (g_subprocess_get_exit_status (process), ==, 130);
  assert_exists (folder, "p-1.png", TRUE);
  assert_exists (folder, "p-10000.png", FALSE);
}

static void
test_help (void)
{
  static const char *const lines[] = { "--help",          "generate --help", "info --help",
                                       "tokenize --help", "bench --help",    "--version" };

  for (guint i = 0; i < G_N_ELEMENTS (lines); i++) {
    struct outcome o = run_cli ("", lines[i], NULL);

    g_assert_cmpint (o.code, ==, 0);
    g_assert_cmpuint (strlen (o.out), >, 10);
    if (i == 0)
      g_assert_nonnull (strstr (o.out, "130 cancelled by Ctrl+C"));
    outcome_clear (&o);
  }
}

/* Two sizes, all that a bench can tell; the numbers are in the file, too. */
static void
test_bench (void)
{
  static const char *const names[] = { "decode",
                                       "first picture",
                                       "text, 40 tokens",
                                       "ceiling: product",
                                       "pass: forward",
                                       "forward: unfused",
                                       "sampler step: on the host",
                                       "graph: off",
                                       "event timing: on",
                                       "three streams, a queue: off" };
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *path = g_build_filename (folder, "b.json", NULL);
  g_autofree char *json = NULL;
  struct outcome o = run_cli (folder,
                              "bench -m {model} --sizes 64,96x64 --steps 8 -r 1 --tokens 30 "
                              "--text-tokens 40 --passes --cancel --ablations --queue 2 "
                              "--device cpu --json {}/b.json",
                              NULL);

  if (o.code)
    g_error ("exit %d: %s", o.code, o.err);
  g_assert_true (g_file_get_contents (path, &json, NULL, NULL));
  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    g_autofree char *quoted = g_strdup_printf ("\"%s\"", names[i]);

    g_assert_nonnull (strstr (o.out, names[i]));
    g_assert_nonnull (strstr (json, quoted));
  }
  g_assert_nonnull (strstr (o.out, "96x64"));
  outcome_clear (&o);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cli/generate", test_generate);
  g_test_add_func ("/cli/info", test_info);
  g_test_add_func ("/cli/tokenize", test_tokenize);
  g_test_add_func ("/cli/errors", test_errors);
  g_test_add_func ("/cli/interrupt", test_interrupt);
  g_test_add_func ("/cli/help", test_help);
  g_test_add_func ("/cli/bench", test_bench);
  return g_test_run ();
}
