/* tests/test-tokenizer.c - Hugging Face's tokenizers wrote the ids (data/ORIGIN-tokenizer.md). */
#include "engine/error.h"
#include "engine/tokenizer.h"
#include "tests/tmp_folder.h"

#include <json-glib/json-glib.h>

static eng_tokenizer *
open_tokenizer (const char *path)
{
  g_autoptr (GError) error = NULL;
  eng_tokenizer *tokenizer = eng_tokenizer_open (path, &error);

  g_assert_no_error (error);
  return tokenizer;
}

static eng_tokenizer *
open_qwen3 (void)
{
  g_autofree char *path = g_test_build_filename (G_TEST_BUILT, "qwen3-tokenizer.json", NULL);

  return open_tokenizer (path);
}

static eng_tokenizer *
open_starter (void)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "..", "resources", "starter", "model",
                                                 "tokenizer", "tokenizer.json", NULL);

  return open_tokenizer (path);
}

/* json-glib cuts strings at NUL, so here U+E000 stands for it. */
static JsonArray *
read_golden (const char *name)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "data", name, NULL);
  g_autoptr (JsonParser) parser = json_parser_new ();
  g_autoptr (GError) error = NULL;
  g_autofree char *text = NULL;
  gsize length;

  g_file_get_contents (path, &text, &length, &error);
  g_assert_no_error (error);
  for (char *p = text; (p = strstr (p, "\\u0000"));)
    memcpy (p, "\\ue000", 6);
  json_parser_load_from_data (parser, text, length, &error);
  g_assert_no_error (error);
  return json_array_ref (json_node_get_array (json_parser_get_root (parser)));
}

static GString *
dup_with_nul (const char *text)
{
  g_auto (GStrv) parts = g_strsplit (text, "\xee\x80\x80", -1);
  GString *joined = g_string_new (NULL);

  for (int i = 0; parts[i]; i++) {
    if (i)
      g_string_append_c (joined, '\0');
    g_string_append (joined, parts[i]);
  }
  return joined;
}

/* Frees ids; i is the text's number in its file. */
static void
assert_ids (GArray *ids, JsonArray *want, guint i)
{
  g_assert_nonnull (ids);
  g_test_message ("text %u", i);
  g_assert_cmpuint (ids->len, ==, json_array_get_length (want));
  for (guint k = 0; k < ids->len; k++)
    g_assert_cmpint (g_array_index (ids, int32_t, k), ==, json_array_get_int_element (want, k));
  g_array_unref (ids);
}

static void
test_expected (void)
{
  g_autoptr (eng_tokenizer) tokenizer = open_qwen3 ();
  g_autoptr (JsonArray) cases = read_golden ("qwen3-expected.json");

  g_assert_cmpuint (json_array_get_length (cases), ==, 40);
  for (guint i = 0; i < json_array_get_length (cases); i++) {
    JsonObject *c = json_array_get_object_element (cases, i);
    GString *text = dup_with_nul (json_object_get_string_member (c, "text"));

    assert_ids (eng_tokenizer_encode (tokenizer, text->str, text->len, NULL),
                json_object_get_array_member (c, "ids"), i);
    assert_ids (eng_tokenizer_encode_chat (tokenizer, text->str, text->len, NULL),
                json_object_get_array_member (c, "chat_ids"), i);
    g_string_free (text, TRUE);
  }
}

static void
check_random (const eng_tokenizer *tokenizer, const char *golden)
{
  g_autoptr (JsonArray) cases = read_golden (golden);

  for (guint i = 0; i < json_array_get_length (cases); i++) {
    JsonArray *c = json_array_get_array_element (cases, i);
    GString *text = dup_with_nul (json_array_get_string_element (c, 0));

    assert_ids (eng_tokenizer_encode (tokenizer, text->str, text->len, NULL),
                json_array_get_array_element (c, 1), i);
    g_string_free (text, TRUE);
  }
}

static void
test_random (void)
{
  g_autoptr (eng_tokenizer) qwen3 = open_qwen3 ();
  g_autoptr (eng_tokenizer) starter = open_starter ();

  check_random (qwen3, "qwen3-random.json");
  check_random (starter, "starter-random.json");
  g_assert_cmpint (eng_tokenizer_get_vocabulary_size (qwen3), ==, 151669);
  g_assert_cmpint (eng_tokenizer_get_vocabulary_size (starter), ==, 1280);
}

/* Our bound is 0.5 s in a release build; here there may be a sanitizer and a busy machine. */
static void
test_load_time (void)
{
  const gint64 start = g_get_monotonic_time ();
  g_autoptr (eng_tokenizer) tokenizer = open_qwen3 ();
  const double seconds = (g_get_monotonic_time () - start) / 1e6;

  g_test_minimized_result (seconds, "the Qwen3 tokenizer opens in %.3f s", seconds);
  g_assert_cmpfloat (seconds, <, 2.);
}

/* A megabyte of every kind that could take quadratic time or a deep stack somewhere. */
static void
test_megabyte (void)
{
  static const char *const units[] = { " ",
                                       "a",
                                       "!",
                                       "\n",
                                       "\r\n ",
                                       "e\xcc\x81\xcc\xa3",
                                       "\xcc\x81\xcc\xa3",
                                       "<",
                                       "<|im_start|>",
                                       "a cat ",
                                       "\xe4\xb8\x80",
                                       "'",
                                       "1",
                                       "\xe1\x84\x80" };
  g_autoptr (eng_tokenizer) tokenizer = open_qwen3 ();

  for (guint i = 0; i < G_N_ELEMENTS (units); i++) {
    g_autoptr (GString) text = g_string_new (NULL);
    g_autofree char *unit = g_strescape (units[i], NULL);
    g_autoptr (GArray) ids = NULL;
    gint64 start;
    double seconds;

    while (text->len < 1000000)
      g_string_append (text, units[i]);
    start = g_get_monotonic_time ();
    ids = eng_tokenizer_encode (tokenizer, text->str, text->len, NULL);
    seconds = (g_get_monotonic_time () - start) / 1e6;
    g_assert_nonnull (ids);
    g_test_message ("1 MB of \"%s\": %u ids in %.3f s", unit, ids->len, seconds);
    g_assert_cmpfloat (seconds, <, 20.); /* 0.1 to 0.5 in a release build */
  }
}

static void
test_nul (void)
{
  g_autoptr (eng_tokenizer) tokenizer = open_starter ();
  g_autoptr (GArray) ids = eng_tokenizer_encode (tokenizer, "\0\0", 2, NULL);
  g_autoptr (GArray) none = eng_tokenizer_encode (tokenizer, NULL, 0, NULL);

  g_assert_cmpuint (ids->len, ==, 2);
  g_assert_cmpuint (none->len, ==, 0);
}

static void
test_not_utf8 (void)
{
  g_autoptr (eng_tokenizer) tokenizer = open_starter ();
  static const struct {
    const char *text;
    int length;
    const char *message;
  } cases[] = {
    { "abc\xff", 4, "the text is not UTF-8: byte 0xff at offset 3" },
    { "\0\0\xc3", 3, "the text is not UTF-8: byte 0xc3 at offset 2" },
    { "\xed\xa0\x80", 3, "the text is not UTF-8: byte 0xed at offset 0" }, /* a surrogate */
    { "a\xc0\x80", 3, "the text is not UTF-8: byte 0xc0 at offset 1" },    /* overlong NUL */
    { "\xf4\x90\x80\x80", 4, "the text is not UTF-8: byte 0xf4 at offset 0" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL, chat_error = NULL;

    g_assert_null (eng_tokenizer_encode (tokenizer, cases[i].text, cases[i].length, &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_PARAMS);
    g_assert_cmpstr (error->message, ==, cases[i].message);
    g_assert_null (
        eng_tokenizer_encode_chat (tokenizer, cases[i].text, cases[i].length, &chat_error));
    g_assert_cmpstr (chat_error->message, ==, cases[i].message);
  }
}

/* The 256 bytes as a vocabulary's members, ids 0 to 255, by the rule of GPT-2. */
static char *
dup_bytes (void)
{
  GString *text = g_string_new (NULL);
  int next = 256;

  for (int i = 0; i < 256; i++) {
    const gboolean printable =
        (i >= '!' && i <= '~') || (i >= 0xa1 && i <= 0xac) || (i >= 0xae && i <= 0xff);

    g_string_append (text, i ? ",\"" : "\"");
    if (i == '"' || i == '\\')
      g_string_append_c (text, '\\');
    g_string_append_unichar (text, printable ? i : next++);
    g_string_append_printf (text, "\":%d", i);
  }
  return g_string_free (text, FALSE);
}

#define SPLIT                                                                                      \
  "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\s*[a-z]+\"},\"behavior\":\"Isolated\"}"
#define BYTES "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define OWN "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}"
#define WORDS "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[" SPLIT "," BYTES "]}"
#define VOCAB "\"vocab\":{%s,\"ab\":256,\"abc\":257,\"bc\":258}"
#define MODEL "\"model\":{\"type\":\"BPE\"," VOCAB ",\"merges\":[\"b c\",[\"a\",\"b\"]]}"

/* A file's text, in which %s is to be the vocabulary of bytes. */
static char *
dup_file (const char *text)
{
  g_autofree char *bytes = dup_bytes ();
  g_auto (GStrv) parts = g_strsplit (text, "%s", -1);

  return g_strjoinv (bytes, parts);
}

static eng_tokenizer *
open_text (const char *text, GError **error)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *whole = dup_file (text);
  g_autofree char *path = tmp_folder_write_text (folder, "tokenizer.json", whole);

  return eng_tokenizer_open (path, error);
}

static void
assert_encodes (const char *file, const char *text, const char *want)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (eng_tokenizer) tokenizer = open_text (file, &error);
  g_autoptr (GString) got = g_string_new (NULL);
  g_autoptr (GArray) ids = NULL;

  g_assert_no_error (error);
  ids = eng_tokenizer_encode (tokenizer, text, strlen (text), &error);
  g_assert_no_error (error);
  for (guint i = 0; i < ids->len; i++)
    g_string_append_printf (got, i ? " %d" : "%d", g_array_index (ids, int32_t, i));
  g_assert_cmpstr (got->str, ==, want);
}

static void
test_small (void)
{
  /* Merges by rank, written both ways; the vocabulary may stand behind the merges. */
  assert_encodes ("{" WORDS "," MODEL "}", "abc ab", "97 258 32 256");
  assert_encodes ("{" WORDS ",\"model\":{\"merges\":[[\"a\",\"b\"],\"b c\",\"ab c\"]," VOCAB "}}",
                  "abcab", "257 256");
  /* A whole word that is a token. */
  assert_encodes ("{" WORDS ",\"model\":{\"ignore_merges\":true," VOCAB ",\"merges\":[]}}",
                  "abc ab", "257 32 97 98");
  /* Without a normalizer nothing is composed; with one it is. */
  assert_encodes ("{" WORDS "," MODEL "}", "e\xcc\x81", "101 204 129");
  assert_encodes ("{\"normalizer\":{\"type\":\"NFC\"}," WORDS "," MODEL "}", "e\xcc\x81",
                  "195 169");
  /* The longest added token wins, and needs no place in the vocabulary. */
  assert_encodes ("{\"added_tokens\":[{\"id\":300,\"content\":\"<x\",\"normalized\":false},"
                  "{\"id\":301,\"content\":\"<x>\",\"special\":true}]," WORDS "," MODEL "}",
                  "ab<x<x>>", "256 300 301 62");
  /* GPT-2's own expression: numbers are words, a space goes with the word behind it. */
  assert_encodes ("{\"pre_tokenizer\":" OWN "," MODEL "}", "ab 1", "256 32 49");
}

static void
test_broken (void)
{
  static const struct {
    const char *text, *message; /* the message's end */
  } cases[] = {
    { "", "expected an object" },
    { "[]", "expected an object" },
    { "{", "expected a string" },
    { "{}", "\"model\" has no \"vocab\"" },
    { "{} x", "expected the end" },
    { "{\"model\":{\"type\":\"WordPiece\"}}", "model is \"WordPiece\", only \"BPE\" is supported" },
    { "{\"model\":{\"vocab\":[]}}", "expected an object" },
    { "{\"model\":{\"vocab\":{\"a\":-1}}}", "token \"a\" has the id -1" },
    { "{\"model\":{\"vocab\":{\"a\":4294967296}}}", "token \"a\" has the id 4294967296" },
    { "{\"model\":{\"vocab\":{\"a\":1.5}}}", "1.5 is not an integer" },
    { "{\"model\":{\"vocab\":{\"a\":1,\"a\":2}}}", "token \"a\" comes twice" },
    { "{\"model\":{\"vocab\":{\"a\":1}}}", "\"pre_tokenizer\" is missing" },
    { "{" WORDS ",\"model\":{\"vocab\":{\"a\":1}}}", "the vocabulary has no token for byte 0x00" },
    { "{" WORDS ",\"model\":{" VOCAB ",\"merges\":[\"ab\"]}}", "merge \"ab\" is not two tokens" },
    { "{" WORDS ",\"model\":{" VOCAB ",\"merges\":[[\"a\"]]}}",
      "merge 0 has 1 tokens, expected 2" },
    { "{" WORDS ",\"model\":{" VOCAB ",\"merges\":[\"a xy\"]}}",
      "merge 0: token \"xy\" is not in the vocabulary" },
    { "{" WORDS ",\"model\":{" VOCAB ",\"merges\":[\"a c\"]}}",
      "merge 0: token \"ac\" is not in the vocabulary" },
    { "{\"model\":{\"dropout\":0.1}}", "model: \"dropout\" is set, which is not supported" },
    { "{\"model\":{\"end_of_word_suffix\":\"</w>\"}}",
      "model: \"end_of_word_suffix\" is set, which is not supported" },
    { "{\"normalizer\":{\"type\":\"Lowercase\"}}", "normalizer: \"Lowercase\" is not supported" },
    { "{\"normalizer\":[]}", "\"normalizer\" is not an object" },
    { "{\"normalizer\":{\"type\":1}}", "normalizer: \"type\" is Integer, expected a string" },
    { "{\"pre_tokenizer\":{\"type\":\"Whitespace\"}}",
      "pre_tokenizer: part 1 of 1 is \"Whitespace\": only a Split and a ByteLevel, or a ByteLevel, "
      "are supported" },
    { "{\"pre_tokenizer\":" BYTES "}",
      "pre_tokenizer: \"use_regex\" is false, only true is supported" },
    { "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[]}}",
      "pre_tokenizer: it has no parts" },
    { "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[7]}}",
      "pre_tokenizer: \"pretokenizers\" holds what is not an object" },
    { "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
      "\"pattern\":"
      "{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}," BYTES "]}}",
      "pre_tokenizer: the regular expression is broken: missing closing parenthesis" },
    { "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
      "\"pattern\":"
      "{\"Regex\":\"a\"},\"behavior\":\"Removed\"}," BYTES "]}}",
      "pre_tokenizer: behavior \"Removed\" is not supported" },
    { "{\"added_tokens\":[{\"id\":3,\"content\":\"x\",\"lstrip\":true}]}",
      "added_tokens: \"lstrip\" is set, which is not supported" },
    { "{\"added_tokens\":[{\"id\":3}]}", "an added token has no \"content\"" },
    { "{\"added_tokens\":[{\"content\":\"x\"}]}", "token \"x\" has the id -1" },
    { "{\"added_tokens\":[{\"id\":3,\"content\":\"\"}]}", "an added token has no \"content\"" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_null (open_text (cases[i].text, &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
    g_test_message ("%s", error->message);
    g_assert_nonnull (strstr (error->message, "/tokenizer.json: "));
    g_assert_true (g_str_has_suffix (error->message, cases[i].message));
  }
}

/* An expression that backtracks without end is stopped. */
static void
test_slow_expression (void)
{
  static const char file[] =
      "{\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
      "\"pattern\":"
      "{\"Regex\":\"(a+)+b\"},\"behavior\":\"Isolated\"}," BYTES "]}," MODEL "}";
  g_autofree char *text = g_strnfill (60, 'a');
  g_autoptr (GError) error = NULL;
  g_autoptr (eng_tokenizer) tokenizer = open_text (file, &error);

  g_assert_no_error (error);
  text[59] = 'b'; /* without it PCRE2 sees at once that nothing can match */
  text[58] = 'c';
  g_assert_null (eng_tokenizer_encode (tokenizer, text, 60, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
  g_assert_cmpstr (error->message, ==,
                   "the tokenizer's regular expression failed: match limit exceeded");
}

static void
test_missing (void)
{
  g_autoptr (GError) error = NULL;

  g_assert_null (eng_tokenizer_open ("/nowhere/tokenizer/tokenizer.json", &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
  g_assert_cmpstr (error->message, ==, "tokenizer/tokenizer.json: No such file or directory");
}

static void
test_deep (void)
{
  g_autoptr (GString) text = g_string_new ("{\"normalizer\":");
  g_autoptr (GError) error = NULL;

  for (int i = 0; i < 1000000; i++)
    g_string_append_c (text, '[');
  g_assert_null (open_text (text->str, &error));
  g_assert_nonnull (strstr (error->message, "nested deeper than 32 levels"));
}

/* Changes a byte or two of a good file: it opens or it says why not, and nothing else happens. */
static void
test_garbled (void)
{
  static const char marks[] = "{}[]\",:\\0a ";
  g_autofree char *good = dup_file ("{\"added_tokens\":[{\"id\":301,\"content\":\"<x>\"}],"
                                    "\"normalizer\":{\"type\":\"NFC\"}," WORDS "," MODEL "}");
  g_autoptr (GRand) rand = g_rand_new_with_seed (1);
  g_autofree char *path = NULL;
  const int fd = tmp_memory_open (&path), length = strlen (good);
  int opened = 0;

  for (int i = 0; i < 4000; i++) {
    g_autofree char *text = g_strdup (good);
    g_autoptr (eng_tokenizer) tokenizer = NULL;
    g_autoptr (GError) error = NULL;

    for (int n = g_rand_int_range (rand, 1, 3); n > 0; n--)
      text[g_rand_int_range (rand, 0, length)] =
          g_rand_boolean (rand) ? g_rand_int_range (rand, 0, 256)
                                : marks[g_rand_int_range (rand, 0, sizeof marks - 1)];
    tmp_memory_set (fd, text, length);
    tokenizer = eng_tokenizer_open (path, &error);
    g_assert_true ((tokenizer != NULL) != (error != NULL));
    if (tokenizer) {
      g_autoptr (GArray) ids = eng_tokenizer_encode (tokenizer, "abc <x> \n\xc3\xa9", 11, NULL);
      opened++;
    }
  }
  close (fd);
  g_assert_cmpint (opened, >, 0);
}

static gpointer
encode_often (gpointer data)
{
  static const char text[] = "the quick brown fox jumps over the lazy dog, 一只猫 <|im_end|>";
  guint sum = 0;

  for (int i = 0; i < 300; i++) {
    g_autoptr (GArray) ids = eng_tokenizer_encode (data, text, sizeof text - 1, NULL);
    for (guint k = 0; k < ids->len; k++)
      sum = sum * 31 + g_array_index (ids, int32_t, k);
  }
  return GUINT_TO_POINTER (sum);
}

static void
test_threads (void)
{
  g_autoptr (eng_tokenizer) tokenizer = open_starter ();
  const gpointer want = encode_often (tokenizer);
  GThread *threads[4];

  for (int i = 0; i < 4; i++)
    threads[i] = g_thread_new ("encode", encode_often, tokenizer);
  for (int i = 0; i < 4; i++)
    g_assert_true (g_thread_join (threads[i]) == want);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/tokenizer/expected", test_expected);
  g_test_add_func ("/tokenizer/random", test_random);
  g_test_add_func ("/tokenizer/load-time", test_load_time);
  g_test_add_func ("/tokenizer/megabyte", test_megabyte);
  g_test_add_func ("/tokenizer/nul", test_nul);
  g_test_add_func ("/tokenizer/not-utf8", test_not_utf8);
  g_test_add_func ("/tokenizer/small", test_small);
  g_test_add_func ("/tokenizer/broken", test_broken);
  g_test_add_func ("/tokenizer/slow-expression", test_slow_expression);
  g_test_add_func ("/tokenizer/missing", test_missing);
  g_test_add_func ("/tokenizer/deep", test_deep);
  g_test_add_func ("/tokenizer/garbled", test_garbled);
  g_test_add_func ("/tokenizer/threads", test_threads);
  return g_test_run ();
}
