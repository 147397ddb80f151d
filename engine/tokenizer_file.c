/* engine/tokenizer_file.c - reads a tokenizer.json.
 *
 * The vocabulary and the merges are most of the file and are streamed; normalizer and pre_tokenizer
 * are small and of many shapes, so they go through json-glib. */
#include "engine/tokenizer_file.h"

#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_reader.h"

#include <string.h>

enum {
  MAX_FILE = 256 << 20,
  MAX_ID = 1 << 26, /* far above any vocabulary; ids stay positive in an int */
};

/* GPT-2's own, which ByteLevel applies when use_regex is true. */
static const char gpt2_expression[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

struct reading {
  eng_json_reader reader;
  eng_tokenizer *tokenizer;
  GString *merges; /* left and right of each, every one with its NUL: the vocabulary may follow */
  guint n_merges;
};

static gboolean
note_id (struct reading *r, const char *token, gint64 id)
{
  if (id < 0 || id >= MAX_ID)
    return eng_json_reader_fail (&r->reader, "token \"%s\" has the id %" G_GINT64_FORMAT, token,
                                 id);
  r->tokenizer->max_id = MAX (r->tokenizer->max_id, id);
  return TRUE;
}

static void
read_vocabulary (struct reading *r)
{
  const char *token;

  if (!eng_json_reader_enter_object (&r->reader))
    return;
  while ((token = eng_json_reader_next_member (&r->reader))) {
    gint64 id;

    if (!eng_json_reader_read_int (&r->reader, &id) || !note_id (r, token, id))
      return;
    if (!eng_bpe_add_token (r->tokenizer->bpe, token, id))
      eng_json_reader_fail (&r->reader, "token \"%s\" comes twice", token);
  }
}

/* `"a b"`, the older way to write a merge. */
static void
read_merge_string (struct reading *r)
{
  const char *pair = eng_json_reader_read_string (&r->reader);
  const char *space = pair ? strchr (pair, ' ') : NULL;

  if (!pair)
    return;
  if (!space || space == pair || !space[1] || strchr (space + 1, ' ')) {
    eng_json_reader_fail (&r->reader, "merge \"%s\" is not two tokens", pair);
    return;
  }
  g_string_append_len (r->merges, pair, space - pair);
  g_string_append_c (r->merges, '\0');
  g_string_append_len (r->merges, space + 1, strlen (space + 1) + 1);
}

/* `["a", "b"]`. */
static void
read_merge_array (struct reading *r)
{
  int n = 0;

  if (!eng_json_reader_enter_array (&r->reader))
    return;
  for (; eng_json_reader_next_element (&r->reader); n++) {
    const char *part = eng_json_reader_read_string (&r->reader);
    if (part)
      g_string_append_len (r->merges, part, strlen (part) + 1);
  }
  if (n != 2)
    eng_json_reader_fail (&r->reader, "merge %u has %d tokens, expected 2", r->n_merges, n);
}

static void
read_merges (struct reading *r)
{
  if (!eng_json_reader_enter_array (&r->reader))
    return;
  for (; eng_json_reader_next_element (&r->reader); r->n_merges++)
    if (eng_json_reader_peek (&r->reader) == '"')
      read_merge_string (r);
    else
      read_merge_array (r);
}

/* A setting that must be off: null, false or an empty string. */
static void
expect_off (struct reading *r, const char *where, const char *key)
{
  g_autofree char *name = g_strdup (key); /* key lives in the reader */
  const char c = eng_json_reader_peek (&r->reader);
  const char *at = r->reader.at;

  if (!eng_json_reader_skip (&r->reader))
    return;
  if (c != 'n' && c != 'f' && strncmp (at, "\"\"", 2) != 0)
    eng_json_reader_fail (&r->reader, "%s: \"%s\" is set, which is not supported", where, name);
}

static void
expect_string (struct reading *r, const char *where, const char *wanted)
{
  const char *value = eng_json_reader_read_string (&r->reader);

  if (value && !g_str_equal (value, wanted))
    eng_json_reader_fail (&r->reader, "%s is \"%s\", only \"%s\" is supported", where, value,
                          wanted);
}

static void
read_model (struct reading *r)
{
  static const char *const off[] = { "dropout", "continuing_subword_prefix", "end_of_word_suffix",
                                     "byte_fallback", NULL };
  const char *key;

  if (!eng_json_reader_enter_object (&r->reader))
    return;
  while ((key = eng_json_reader_next_member (&r->reader)))
    if (g_str_equal (key, "type"))
      expect_string (r, "model", "BPE");
    else if (g_str_equal (key, "vocab"))
      read_vocabulary (r);
    else if (g_str_equal (key, "merges"))
      read_merges (r);
    else if (g_str_equal (key, "ignore_merges"))
      eng_json_reader_read_boolean (&r->reader, &r->tokenizer->ignore_merges);
    else if (g_strv_contains (off, key))
      expect_off (r, "model", key);
    else
      eng_json_reader_skip (&r->reader);
}

static void
add_added_token (struct reading *r, const char *text, gint64 id)
{
  eng_tokenizer *t = r->tokenizer;
  struct eng_added_token token;

  if (!text || !*text) {
    eng_json_reader_fail (&r->reader, "an added token has no \"content\"");
    return;
  }
  if (!note_id (r, text, id))
    return;
  token = (struct eng_added_token){ eng_bpe_keep (t->bpe, text), strlen (text), id };
  t->added_starts[(guchar) *text] = TRUE;
  g_array_append_val (t->added, token);
}

static void
read_added_token (struct reading *r)
{
  static const char *const off[] = { "lstrip", "rstrip", "single_word", "normalized", NULL };
  g_autofree char *text = NULL;
  const char *key;
  gint64 id = -1;

  if (!eng_json_reader_enter_object (&r->reader))
    return;
  while ((key = eng_json_reader_next_member (&r->reader)))
    if (g_str_equal (key, "id"))
      eng_json_reader_read_int (&r->reader, &id);
    else if (g_str_equal (key, "content")) {
      g_free (text);
      text = g_strdup (eng_json_reader_read_string (&r->reader));
    } else if (g_strv_contains (off, key))
      expect_off (r, "added_tokens", key);
    else
      eng_json_reader_skip (&r->reader);
  if (eng_json_reader_ok (&r->reader))
    add_added_token (r, text, id);
}

static void
read_added_tokens (struct reading *r)
{
  if (eng_json_reader_peek (&r->reader) == 'n') {
    eng_json_reader_skip (&r->reader);
    return;
  }
  if (!eng_json_reader_enter_array (&r->reader))
    return;
  while (eng_json_reader_next_element (&r->reader))
    read_added_token (r);
}

/* The next value as an object of json-glib's; NULL when it is null or after a failure. */
static JsonNode *
read_node (struct reading *r, const char *what)
{
  g_autofree char *text = NULL;
  const char c = eng_json_reader_peek (&r->reader);
  const char *from = r->reader.at;
  JsonNode *node;

  if (!eng_json_reader_skip (&r->reader) || c == 'n')
    return NULL;
  text = g_strndup (from, r->reader.at - from);
  node = c == '{' ? json_from_string (text, NULL) : NULL;
  if (!node)
    eng_json_reader_fail (&r->reader, "\"%s\" is not an object", what);
  return node;
}

/* The objects of a Sequence, or the one object itself. */
static GPtrArray *
list_parts (JsonObject *object, const char *key, GError **error)
{
  g_autoptr (GPtrArray) parts = g_ptr_array_new ();
  const char *type = eng_json_get_string (object, "type", error);
  JsonArray *array;

  if (!type)
    return NULL;
  if (!g_str_equal (type, "Sequence")) {
    g_ptr_array_add (parts, object);
    return g_steal_pointer (&parts);
  }
  array = eng_json_get_array (object, key, error);
  for (guint i = 0; array && i < json_array_get_length (array); i++) {
    JsonNode *node = json_array_get_element (array, i);

    if (!JSON_NODE_HOLDS_OBJECT (node)) {
      g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "\"%s\" holds what is not an object", key);
      return NULL;
    }
    g_ptr_array_add (parts, json_node_get_object (node));
  }
  return array ? g_steal_pointer (&parts) : NULL;
}

static gboolean
apply_normalizer (eng_tokenizer *tokenizer, JsonObject *object, GError **error)
{
  g_autoptr (GPtrArray) parts = list_parts (object, "normalizers", error);

  for (guint i = 0; parts && i < parts->len; i++) {
    const char *type = eng_json_get_string (parts->pdata[i], "type", error);

    if (!type)
      return FALSE;
    if (!g_str_equal (type, "NFC")) {
      g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "\"%s\" is not supported", type);
      return FALSE;
    }
    tokenizer->nfc = TRUE;
  }
  return parts != NULL;
}

/* TRUE when the boolean has that value, or is missing and its default is that value. */
static gboolean
expect_boolean (JsonObject *object, const char *key, gboolean fallback, gboolean wanted,
                GError **error)
{
  gboolean value = fallback;

  if (eng_json_has (object, key) && !eng_json_get_boolean (object, key, &value, error))
    return FALSE;
  if (value == wanted)
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "\"%s\" is %s, only %s is supported", key,
               value ? "true" : "false", wanted ? "true" : "false");
  return FALSE;
}

/* A Split that keeps its matches as words of their own. */
static const char *
get_split (JsonObject *split, GError **error)
{
  JsonObject *pattern = eng_json_get_object (split, "pattern", error);
  const char *behavior = pattern ? eng_json_get_string (split, "behavior", error) : NULL;

  if (!behavior || !expect_boolean (split, "invert", FALSE, FALSE, error))
    return NULL;
  if (g_str_equal (behavior, "Isolated"))
    return eng_json_get_string (pattern, "Regex", error);
  g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "behavior \"%s\" is not supported", behavior);
  return NULL;
}

/* The parts must be a Split and then a ByteLevel, or a ByteLevel alone. */
static gboolean
check_pretokenizers (const GPtrArray *parts, GError **error)
{
  for (guint i = 0; i < parts->len; i++) {
    const char *wanted = i + 1 < parts->len ? "Split" : "ByteLevel";
    const char *type = eng_json_get_string (parts->pdata[i], "type", error);

    if (!type)
      return FALSE;
    if (parts->len > 2 || !g_str_equal (type, wanted)) {
      g_set_error (error, ENG_ERROR, ENG_ERROR_FILE,
                   "part %u of %u is \"%s\": only a Split and a ByteLevel, or a ByteLevel, are "
                   "supported",
                   i + 1, parts->len, type);
      return FALSE;
    }
  }
  if (parts->len > 0)
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "it has no parts");
  return FALSE;
}

/* With a Split the expression is the Split's, without one it is ByteLevel's own. */
static gboolean
apply_pretokenizer (eng_tokenizer *tokenizer, JsonObject *object, GError **error)
{
  g_autoptr (GPtrArray) parts = list_parts (object, "pretokenizers", error);
  const char *expression = gpt2_expression;

  if (!parts || !check_pretokenizers (parts, error))
    return FALSE;
  object = parts->pdata[parts->len - 1];
  if (!expect_boolean (object, "add_prefix_space", TRUE, FALSE, error) ||
      !expect_boolean (object, "use_regex", TRUE, parts->len == 1, error))
    return FALSE;
  if (parts->len == 2)
    expression = get_split (parts->pdata[0], error);
  if (!expression)
    return FALSE;
  tokenizer->pretokenizer = eng_pretokenizer_new (expression, error);
  return tokenizer->pretokenizer != NULL;
}

/* Reads one of the small parts and hands it to apply. */
static void
read_part (struct reading *r, const char *what,
           gboolean (*apply) (eng_tokenizer *tokenizer, JsonObject *object, GError **error))
{
  g_autoptr (JsonNode) node = read_node (r, what);
  g_autoptr (GError) error = NULL;

  if (node && !apply (r->tokenizer, json_node_get_object (node), &error))
    eng_json_reader_fail (&r->reader, "%s: %s", what, error->message);
}

static void
read_root (struct reading *r)
{
  const char *key;

  if (!eng_json_reader_enter_object (&r->reader))
    return;
  while ((key = eng_json_reader_next_member (&r->reader)))
    if (g_str_equal (key, "model"))
      read_model (r);
    else if (g_str_equal (key, "added_tokens"))
      read_added_tokens (r);
    else if (g_str_equal (key, "normalizer"))
      read_part (r, "normalizer", apply_normalizer);
    else if (g_str_equal (key, "pre_tokenizer") && !r->tokenizer->pretokenizer)
      read_part (r, "pre_tokenizer", apply_pretokenizer);
    else
      eng_json_reader_skip (&r->reader);
}

/* Turns the merges' words into ids. */
static void
resolve_merges (struct reading *r)
{
  g_autoptr (GString) joined = g_string_new (NULL);
  const char *left = r->merges->str;
  eng_bpe *bpe = r->tokenizer->bpe;

  eng_bpe_reserve (bpe, r->n_merges);
  for (guint i = 0; i < r->n_merges; i++) {
    const char *right = left + strlen (left) + 1;
    const int32_t a = eng_bpe_lookup (bpe, left), b = eng_bpe_lookup (bpe, right);
    int32_t ab;

    g_string_assign (joined, left);
    g_string_append (joined, right);
    ab = eng_bpe_lookup (bpe, joined->str);
    if (a < 0 || b < 0 || ab < 0) {
      eng_json_reader_fail (&r->reader, "merge %u: token \"%s\" is not in the vocabulary", i,
                            a < 0   ? left
                            : b < 0 ? right
                                    : joined->str);
      return;
    }
    eng_bpe_add_merge (bpe, a, b, ab, i);
    left = right + strlen (right) + 1;
  }
}

static int
compare_lengths (gconstpointer a, gconstpointer b)
{
  const struct eng_added_token *s = a, *t = b;

  return (s->length < t->length) - (s->length > t->length);
}

/* What can only be said when all was read. */
static void
complete (struct reading *r)
{
  int missing;

  if (eng_bpe_get_n_tokens (r->tokenizer->bpe) == 0)
    eng_json_reader_fail (&r->reader, "\"model\" has no \"vocab\"");
  else if (!r->tokenizer->pretokenizer)
    eng_json_reader_fail (&r->reader, "\"pre_tokenizer\" is missing");
  else if (!eng_bpe_finish (r->tokenizer->bpe, &missing))
    eng_json_reader_fail (&r->reader, "the vocabulary has no token for byte 0x%02x", missing);
  else
    resolve_merges (r);
  g_array_sort (r->tokenizer->added, compare_lengths);
}

eng_tokenizer *
eng_tokenizer_open (const char *path, GError **error)
{
  g_autofree char *label = eng_json_dup_label (path);
  g_autofree char *text = NULL;
  g_autoptr (eng_tokenizer) tokenizer = NULL;
  struct reading r = { 0 };
  gsize length;
  gboolean ok;

  text = eng_json_read_text (path, MAX_FILE, &length, error);
  if (!text)
    return NULL;
  tokenizer = g_new0 (eng_tokenizer, 1);
  tokenizer->bpe = eng_bpe_new ();
  tokenizer->added = g_array_new (FALSE, FALSE, sizeof (struct eng_added_token));
  r.tokenizer = tokenizer;
  r.merges = g_string_new (NULL);
  eng_json_reader_init (&r.reader, label, text, length);
  read_root (&r);
  ok = eng_json_reader_finish (&r.reader, error);
  if (ok) {
    complete (&r);
    ok = eng_json_reader_finish (&r.reader, error);
  }
  eng_json_reader_clear (&r.reader);
  g_string_free (r.merges, TRUE);
  return ok ? g_steal_pointer (&tokenizer) : NULL;
}
