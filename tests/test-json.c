/* tests/test-json.c - the reader without a tree, and config files through json-glib. */
#include "engine/json.h"

#include "engine/error.h"
#include "engine/json_reader.h"
#include "tests/tmp_folder.h"

/* Whether text is JSON, as far as skipping it tells; message (may be NULL) gets why not. */
static gboolean
is_json (const char *text, gsize length, char **message)
{
  g_auto (eng_json_reader) reader = { 0 };
  g_autoptr (GError) error = NULL;

  eng_json_reader_init (&reader, "x", text, length);
  eng_json_reader_skip (&reader);
  if (eng_json_reader_finish (&reader, &error))
    return TRUE;
  g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
  if (message)
    *message = g_strdup (error->message);
  return FALSE;
}

static void
test_grammar (void)
{
  static const char *const good[] = {
    "null",
    "true",
    "false",
    "0",
    "-0",
    "12",
    "1.5",
    "1e5",
    "1E-5",
    "\"\"",
    "-0.1e+10",
    "[]",
    "{}",
    " [ 1 , [ ] , { } ] ",
    "{\"a\":{\"b\":[null,true]},\"c\":\"d\"}",
    "\t\r\n 1 ",
    "\"\\ud83d\\ude00\"",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
    "\"\xe4\xb8\x80\"",
  };
  static const char *const bad[] = {
    "",
    " ",
    "nul",
    "nulL",
    "tru",
    "True",
    "01",
    "-",
    "+1",
    ".5",
    "1.",
    "1e",
    "1e+",
    "0x10",
    "NaN",
    "Infinity",
    "1 2",
    "[",
    "]",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1",
    "{",
    "}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,}",
    "{a:1}",
    "{\"a\" 1}",
    "{1:2}",
    "[}",
    "{]",
    "\"",
    "\"a",
    "\"\\",
    "\"\\x\"",
    "\"\\u12\"",
    "\"\\u12g4\"",
    "\"\\ud800\"",
    "\"\\ud800\\u0041\"",
    "\"\\udc00\"",
    "\"\\u0000\"",
    "\"\n\"",
    "\"\x01\"",
    "'a'",
    "// c\n1",
    "/* c */ 1",
    "\xef\xbb\xbf"
    "1",
    "\"\xff\"",
    "\"\xed\xa0\x80\"",
  };

  for (guint i = 0; i < G_N_ELEMENTS (good); i++)
    g_assert_true (is_json (good[i], strlen (good[i]), NULL));
  for (guint i = 0; i < G_N_ELEMENTS (bad); i++)
    g_assert_false (is_json (bad[i], strlen (bad[i]), NULL));
  g_assert_false (is_json ("1\0", 2, NULL));
}

static void
test_messages (void)
{
  g_autofree char *comma = NULL, *nested = NULL, *utf8 = NULL;
  g_autofree char *deep = g_strnfill (33, '[');

  g_assert_false (is_json ("[1 2]", 5, &comma));
  g_assert_cmpstr (comma, ==, "x: broken JSON at byte 3: expected a comma or ]");
  g_assert_false (is_json (deep, 33, &nested));
  g_assert_cmpstr (nested, ==, "x: nested deeper than 32 levels");
  g_assert_false (is_json ("\"\xff\"", 3, &utf8));
  g_assert_cmpstr (utf8, ==, "x: byte 1 is not UTF-8");
}

static void
test_depth (void)
{
  char text[64];

  memset (text, '[', 32);
  memset (text + 32, ']', 32);
  g_assert_true (is_json (text, 64, NULL));
}

static void
test_integers (void)
{
  static const struct {
    const char *text;
    gint64 value;
  } good[] = { { "0", 0 },
               { "-0", 0 },
               { "-7", -7 },
               { "9223372036854775807", G_MAXINT64 },
               { "-9223372036854775807", -G_MAXINT64 } };
  static const char *const bad[] = { "9223372036854775808",
                                     "-9223372036854775809",
                                     "99999999999999999999999999999999",
                                     "1.0",
                                     "1e2",
                                     "\"1\"",
                                     "true",
                                     "" };

  for (guint i = 0; i < G_N_ELEMENTS (good) + G_N_ELEMENTS (bad); i++) {
    const gboolean is_good = i < G_N_ELEMENTS (good);
    const char *text = is_good ? good[i].text : bad[i - G_N_ELEMENTS (good)];
    g_auto (eng_json_reader) reader = { 0 };
    gint64 value = 1;

    eng_json_reader_init (&reader, "x", text, strlen (text));
    g_assert_cmpint (eng_json_reader_read_int (&reader, &value), ==, is_good);
    g_assert_cmpint (value, ==, is_good ? good[i].value : 1);
  }
}

static void
test_strings (void)
{
  static const char text[] = "{\"a\\n\":[\"x\\u00e9\\ud83d\\ude00\\t\\\"\",true,-3],\"b\":{}}";
  g_auto (eng_json_reader) reader = { 0 };
  g_autoptr (GError) error = NULL;
  gboolean yes = FALSE;
  gint64 n = 0;

  eng_json_reader_init (&reader, "x", text, sizeof text - 1);
  g_assert_true (eng_json_reader_enter_object (&reader));
  g_assert_cmpstr (eng_json_reader_next_member (&reader), ==, "a\n");
  g_assert_cmpint (eng_json_reader_peek (&reader), ==, '[');
  g_assert_true (eng_json_reader_enter_array (&reader));
  g_assert_true (eng_json_reader_next_element (&reader));
  g_assert_cmpstr (eng_json_reader_read_string (&reader), ==, "x\xc3\xa9\xf0\x9f\x98\x80\t\"");
  g_assert_true (eng_json_reader_next_element (&reader));
  g_assert_true (eng_json_reader_read_boolean (&reader, &yes));
  g_assert_true (yes);
  g_assert_true (eng_json_reader_next_element (&reader));
  g_assert_true (eng_json_reader_read_int (&reader, &n));
  g_assert_cmpint (n, ==, -3);
  g_assert_false (eng_json_reader_next_element (&reader));
  g_assert_cmpstr (eng_json_reader_next_member (&reader), ==, "b");
  g_assert_true (eng_json_reader_skip (&reader));
  g_assert_null (eng_json_reader_next_member (&reader));
  g_assert_true (eng_json_reader_finish (&reader, &error));
  g_assert_no_error (error);
}

/* The first failure stays; nothing after it does anything. */
static void
test_sticky (void)
{
  g_auto (eng_json_reader) reader = { 0 };
  g_autoptr (GError) error = NULL;
  gint64 n;

  eng_json_reader_init (&reader, "x", "[1]", 3);
  g_assert_false (eng_json_reader_enter_object (&reader));
  g_assert_false (eng_json_reader_enter_array (&reader));
  g_assert_false (eng_json_reader_read_int (&reader, &n));
  g_assert_null (eng_json_reader_read_string (&reader));
  g_assert_false (eng_json_reader_skip (&reader));
  g_assert_cmpint (eng_json_reader_peek (&reader), ==, 0);
  g_assert_false (eng_json_reader_fail (&reader, "later"));
  g_assert_false (eng_json_reader_finish (&reader, &error));
  g_assert_cmpstr (error->message, ==, "x: broken JSON at byte 0: expected an object");
}

static JsonObject *
read_text (const char *text, GError **error)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *path = tmp_folder_write_text (folder, "config.json", text);

  return eng_json_read_object (path, error);
}

static void
test_getters (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (JsonObject) object =
      read_text ("{\"i\":7,\"d\":1e-6,\"b\":true,\"s\":\"text\",\"o\":{},\"a\":[1,2.5],\"n\":null,"
                 "\"ints\":[3,4]}",
                 &error);
  gboolean yes = FALSE;
  double d;
  int i, two[2];

  g_assert_no_error (error);
  g_assert_true (eng_json_has (object, "i"));
  g_assert_false (eng_json_has (object, "n"));
  g_assert_false (eng_json_has (object, "no"));
  g_assert_true (eng_json_get_int (object, "i", 1, 7, &i, &error));
  g_assert_cmpint (i, ==, 7);
  g_assert_true (eng_json_get_double (object, "d", 0, 1, &d, &error));
  g_assert_cmpfloat (d, ==, 1e-6);
  g_assert_true (eng_json_get_double (object, "i", 0, 10, &d, &error));
  g_assert_cmpfloat (d, ==, 7);
  g_assert_true (eng_json_get_boolean (object, "b", &yes, &error));
  g_assert_true (yes);
  g_assert_cmpstr (eng_json_get_string (object, "s", &error), ==, "text");
  g_assert_nonnull (eng_json_get_object (object, "o", &error));
  g_assert_cmpuint (json_array_get_length (eng_json_get_array (object, "a", &error)), ==, 2);
  g_assert_true (eng_json_get_ints (object, "ints", two, 2, &error));
  g_assert_cmpint (two[1], ==, 4);
  g_assert_no_error (error);
}

/* Frees error. */
static void
assert_message (GError *error, const char *want)
{
  g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
  g_assert_cmpstr (error->message, ==, want);
  g_error_free (error);
}

static void
test_getters_fail (void)
{
  g_autoptr (JsonObject) object = read_text (
      "{\"i\":0,\"big\":99999999999999999999,\"d\":-1.5,\"s\":\"x\",\"a\":[1,\"x\"]}", NULL);
  GError *errors[9] = { NULL };
  gboolean b;
  int values[3], i;
  double d;

  g_assert_false (eng_json_get_int (object, "no", 0, 9, &i, &errors[0]));
  g_assert_false (eng_json_get_int (object, "i", 1, 1024, &i, &errors[1]));
  g_assert_false (eng_json_get_int (object, "d", 0, 9, &i, &errors[2]));
  g_assert_false (eng_json_get_double (object, "d", 0, 1, &d, &errors[3]));
  g_assert_false (eng_json_get_boolean (object, "s", &b, &errors[4]));
  g_assert_null (eng_json_get_object (object, "a", &errors[5]));
  g_assert_false (eng_json_get_ints (object, "a", values, 3, &errors[6]));
  g_assert_false (eng_json_get_ints (object, "a", values, 2, &errors[7]));
  g_assert_false (eng_json_get_int (object, "big", 0, 9, &i, &errors[8]));
  assert_message (errors[0], "\"no\" is missing");
  assert_message (errors[1], "\"i\" is 0, expected 1 to 1024");
  assert_message (errors[2], "\"d\" is Floating Point, expected an integer");
  assert_message (errors[3], "\"d\" is -1.5, expected 0 to 1");
  assert_message (errors[4], "\"s\" is String, expected true or false");
  assert_message (errors[5], "\"a\" is JsonArray, expected an object");
  assert_message (errors[6], "\"a\" has 2 elements, expected 3");
  assert_message (errors[7], "\"a\" is String, expected an integer");
  g_clear_error (&errors[8]); /* json-glib saturates: out of range either way */
}

static void
test_files (void)
{
  static const char *const bad[] = {
    "", "[]", "7", "{", "{\"a\":1}x", "{\"a\":[1,]}", "{\"a\":\"\xff\"}", "{a:1}"
  };
  g_autofree char *deep = g_strnfill (1000000, '[');
  g_autofree char *deep_object = g_strconcat ("{\"a\":", deep, NULL);
  g_autofree char *large = g_strnfill (5 << 20, ' ');
  g_autofree char *label = eng_json_dup_label ("/a/text_encoder/config.json");
  g_autoptr (GError) deep_error = NULL, large_error = NULL, missing = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_null (read_text (bad[i], &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
    g_assert_nonnull (strstr (error->message, "/config.json: "));
  }
  g_assert_null (read_text (deep_object, &deep_error));
  g_assert_nonnull (strstr (deep_error->message, "nested deeper than 32 levels"));
  g_assert_null (read_text (large, &large_error));
  g_assert_nonnull (strstr (large_error->message, "has 5242880 bytes, at most 4194304 are read"));
  g_assert_null (eng_json_read_object ("/nowhere/config.json", &missing));
  g_assert_cmpstr (missing->message, ==, "nowhere/config.json: No such file or directory");
  g_assert_cmpstr (label, ==, "text_encoder/config.json");
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/json/grammar", test_grammar);
  g_test_add_func ("/json/messages", test_messages);
  g_test_add_func ("/json/depth", test_depth);
  g_test_add_func ("/json/integers", test_integers);
  g_test_add_func ("/json/strings", test_strings);
  g_test_add_func ("/json/sticky", test_sticky);
  g_test_add_func ("/json/getters", test_getters);
  g_test_add_func ("/json/getters-fail", test_getters_fail);
  g_test_add_func ("/json/files", test_files);
  return g_test_run ();
}
