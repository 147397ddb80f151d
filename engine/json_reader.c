#include "engine/json_reader.h"

#include "engine/error.h"

#include <string.h>

void
eng_json_reader_init (eng_json_reader *reader, const char *name, const char *text, gsize length)
{
  const char *bad;

  *reader = (eng_json_reader){ .name = name, .start = text, .at = text, .end = text + length };
  reader->key = g_string_new (NULL);
  reader->text = g_string_new (NULL);

  if (!g_utf8_validate_len (text, length, &bad))
    eng_json_reader_fail (reader, "byte %zu is not UTF-8", (size_t) (bad - text));
}

void
eng_json_reader_clear (eng_json_reader *reader)
{
  g_string_free (reader->key, TRUE);
  g_string_free (reader->text, TRUE);
  g_clear_error (&reader->error);
}

gboolean
eng_json_reader_fail (eng_json_reader *reader, const char *format, ...)
{
  if (!reader->error) {
    va_list args;

    va_start (args, format);
    reader->error = g_error_new_valist (ENG_ERROR, ENG_ERROR_FILE, format, args);
    va_end (args);
    g_prefix_error (&reader->error, "%s: ", reader->name);
  }
  return FALSE;
}

/* The text is not JSON: wanted is what should stand here. */
static gboolean
fail_here (eng_json_reader *reader, const char *wanted)
{
  return eng_json_reader_fail (reader, "broken JSON at byte %zu: expected %s",
                               (size_t) (reader->at - reader->start), wanted);
}

gboolean
eng_json_reader_ok (const eng_json_reader *reader)
{
  return reader->error == NULL;
}

gboolean
eng_json_reader_finish (eng_json_reader *reader, GError **error)
{
  if (!reader->error && (eng_json_reader_peek (reader) || reader->at < reader->end))
    fail_here (reader, "the end");
  if (!reader->error)
    return TRUE;
  g_propagate_error (error, g_steal_pointer (&reader->error));
  return FALSE;
}

char
eng_json_reader_peek (eng_json_reader *reader)
{
  if (reader->error)
    return 0;
  while (reader->at < reader->end &&
         (*reader->at == ' ' || *reader->at == '\n' || *reader->at == '\r' || *reader->at == '\t'))
    reader->at++;
  return reader->at < reader->end ? *reader->at : 0;
}

static gboolean
enter (eng_json_reader *reader, char opening, char closing)
{
  if (eng_json_reader_peek (reader) != opening)
    return fail_here (reader, opening == '{' ? "an object" : "an array");
  if (reader->depth == ENG_JSON_MAX_DEPTH)
    return eng_json_reader_fail (reader, "nested deeper than %d levels", ENG_JSON_MAX_DEPTH);

  reader->at++;
  reader->closing[reader->depth++] = closing;
  reader->first = TRUE;
  return TRUE;
}

gboolean
eng_json_reader_enter_object (eng_json_reader *reader)
{
  return enter (reader, '{', '}');
}

gboolean
eng_json_reader_enter_array (eng_json_reader *reader)
{
  return enter (reader, '[', ']');
}

/* Steps over a comma to the next item; at the closing mark leaves and says FALSE. */
static gboolean
next (eng_json_reader *reader, char closing)
{
  const char c = eng_json_reader_peek (reader);

  if (reader->error)
    return FALSE;
  g_assert (reader->depth > 0 && reader->closing[reader->depth - 1] == closing);
  if (c == closing) {
    reader->at++;
    reader->depth--;
    reader->first = FALSE;
    return FALSE;
  }
  if (!reader->first) {
    if (c != ',')
      return fail_here (reader, closing == '}' ? "a comma or }" : "a comma or ]");
    reader->at++;
  }
  reader->first = FALSE;
  return TRUE;
}

gboolean
eng_json_reader_next_element (eng_json_reader *reader)
{
  return next (reader, ']');
}

/* Four hexadecimal digits; -1 when they are not. */
static int
read_hex (eng_json_reader *reader)
{
  int value = 0;

  if (reader->end - reader->at < 4)
    return -1;
  for (int i = 0; i < 4; i++) {
    const int digit = g_ascii_xdigit_value (*reader->at++);
    if (digit < 0)
      return -1;
    value = value * 16 + digit;
  }
  return value;
}

/* \uXXXX, or two of them that are a surrogate pair; at stands behind the u. */
static gboolean
read_unicode (eng_json_reader *reader, GString *text)
{
  int c = read_hex (reader);

  if (c >= 0xd800 && c < 0xdc00) {
    int low = -1;
    if (reader->end - reader->at > 2 && reader->at[0] == '\\' && reader->at[1] == 'u') {
      reader->at += 2;
      low = read_hex (reader);
    }
    c = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00) : -1;
  }
  if (c <= 0 || (c >= 0xdc00 && c < 0xe000)) /* also NUL: our strings end with it */
    return fail_here (reader, "a character's code after \\u");
  g_string_append_unichar (text, c);
  return TRUE;
}

static gboolean
read_escape (eng_json_reader *reader, GString *text)
{
  static const char written[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
  const char c = reader->at < reader->end ? *reader->at : 0;
  const char *found = c ? strchr (written, c) : NULL;

  if (c == 'u') {
    reader->at++;
    return read_unicode (reader, text);
  }
  if (!found)
    return fail_here (reader, "an escape");
  reader->at++;
  g_string_append_c (text, meant[found - written]);
  return TRUE;
}

static gboolean
read_string (eng_json_reader *reader, GString *text)
{
  if (eng_json_reader_peek (reader) != '"')
    return fail_here (reader, "a string");

  reader->at++;
  g_string_truncate (text, 0);
  for (;;) {
    const char *run = reader->at;

    while (reader->at < reader->end && (guchar) *reader->at >= ' ' && *reader->at != '"' &&
           *reader->at != '\\')
      reader->at++;
    g_string_append_len (text, run, reader->at - run);
    if (reader->at == reader->end || (guchar) *reader->at < ' ')
      return fail_here (reader, "the end of a string");
    if (*reader->at++ == '"')
      return TRUE;
    if (!read_escape (reader, text))
      return FALSE;
  }
}

const char *
eng_json_reader_next_member (eng_json_reader *reader)
{
  if (!next (reader, '}') || !read_string (reader, reader->key))
    return NULL;
  if (eng_json_reader_peek (reader) != ':') {
    fail_here (reader, "a colon");
    return NULL;
  }
  reader->at++;
  return reader->key->str;
}

const char *
eng_json_reader_read_string (eng_json_reader *reader)
{
  return read_string (reader, reader->text) ? reader->text->str : NULL;
}

static gboolean
skip_digits (eng_json_reader *reader)
{
  const char *from = reader->at;

  while (reader->at < reader->end && g_ascii_isdigit (*reader->at))
    reader->at++;
  return reader->at > from;
}

static gboolean
skip_char (eng_json_reader *reader, const char *any_of)
{
  if (reader->at == reader->end || !*reader->at || !strchr (any_of, *reader->at))
    return FALSE;
  reader->at++;
  return TRUE;
}

/* Steps over a number by JSON's grammar; says whether it is written as an integer. */
static gboolean
skip_number (eng_json_reader *reader, gboolean *integer)
{
  const char c = eng_json_reader_peek (reader);

  if (c != '-' && !g_ascii_isdigit (c))
    return fail_here (reader, "a number");
  skip_char (reader, "-");
  if (!skip_char (reader, "0") && !skip_digits (reader))
    return fail_here (reader, "a digit");
  *integer = TRUE;
  if (skip_char (reader, ".")) {
    *integer = FALSE;
    if (!skip_digits (reader))
      return fail_here (reader, "a digit");
  }
  if (skip_char (reader, "eE")) {
    *integer = FALSE;
    skip_char (reader, "+-");
    if (!skip_digits (reader))
      return fail_here (reader, "a digit");
  }
  return TRUE;
}

gboolean
eng_json_reader_read_int (eng_json_reader *reader, gint64 *value)
{
  const char *from;
  gboolean integer, negative;
  guint64 sum = 0;

  eng_json_reader_peek (reader); /* to where the number begins */
  from = reader->at;
  if (!skip_number (reader, &integer))
    return FALSE;
  if (!integer)
    return eng_json_reader_fail (reader, "%.*s is not an integer",
                                 (int) MIN (reader->at - from, 40), from);

  negative = *from == '-';
  for (const char *p = from + negative; p < reader->at; p++)
    if (!g_uint64_checked_mul (&sum, sum, 10) || !g_uint64_checked_add (&sum, sum, *p - '0') ||
        sum > G_MAXINT64)
      return eng_json_reader_fail (reader, "%.*s does not fit in 64 bits",
                                   (int) MIN (reader->at - from, 40), from);
  *value = negative ? -(gint64) sum : (gint64) sum;
  return TRUE;
}

static gboolean
skip_word (eng_json_reader *reader, const char *word)
{
  const gsize length = strlen (word);

  eng_json_reader_peek (reader);
  if (reader->error || (gsize) (reader->end - reader->at) < length ||
      memcmp (reader->at, word, length) != 0)
    return fail_here (reader, "a value");
  reader->at += length;
  return TRUE;
}

gboolean
eng_json_reader_read_boolean (eng_json_reader *reader, gboolean *value)
{
  const char c = eng_json_reader_peek (reader);

  if (c != 't' && c != 'f')
    return fail_here (reader, "true or false");
  *value = c == 't';
  return skip_word (reader, *value ? "true" : "false");
}

/* Steps over a value without members, or into one that has some. */
static gboolean
skip_start (eng_json_reader *reader)
{
  gboolean integer;

  switch (eng_json_reader_peek (reader)) {
  case '{':
    return eng_json_reader_enter_object (reader);
  case '[':
    return eng_json_reader_enter_array (reader);
  case '"':
    return read_string (reader, reader->text);
  case 't':
    return skip_word (reader, "true");
  case 'f':
    return skip_word (reader, "false");
  case 'n':
    return skip_word (reader, "null");
  default:
    return skip_number (reader, &integer);
  }
}

gboolean
eng_json_reader_skip (eng_json_reader *reader)
{
  const int depth = reader->depth;

  skip_start (reader);
  while (!reader->error && reader->depth > depth) {
    const gboolean more = reader->closing[reader->depth - 1] == '}'
                              ? eng_json_reader_next_member (reader) != NULL
                              : eng_json_reader_next_element (reader);
    if (more)
      skip_start (reader);
  }
  return !reader->error;
}
