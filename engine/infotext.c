#include "engine/infotext.h"

#include <string.h>

static const char negative_mark[] = "Negative prompt:";

/* ---- Writing ---- */

/* As JSON would: for values in which a comma or a colon would end the pair. */
static void
append_quoted (GString *text, const char *value)
{
  g_string_append_c (text, '"');
  for (const char *c = value; *c; c++) {
    if (*c == '"' || *c == '\\')
      g_string_append_c (text, '\\');
    if (*c == '\n')
      g_string_append (text, "\\n");
    else if ((guchar) *c < 0x20 || *c == 0x7f)
      g_string_append_printf (text, "\\u%04x", (guchar) *c);
    else
      g_string_append_c (text, *c);
  }
  g_string_append_c (text, '"');
}

static void
append_pair (GString *text, const char *key, const char *value)
{
  if (!value || !*value)
    return;
  if (text->len > 0 && text->str[text->len - 1] != '\n')
    g_string_append (text, ", ");
  g_string_append_printf (text, "%s: ", key);
  /* A quote or a space at an end would be taken for ours, or be lost. */
  if (strpbrk (value, ",\n:\"\\") || value[0] == ' ' || g_str_has_suffix (value, " "))
    append_quoted (text, value);
  else
    g_string_append (text, value);
}

/* The shortest decimal that gives this float again, without a trailing ".0". */
static void
append_float (GString *text, const char *key, float value)
{
  char digits[G_ASCII_DTOSTR_BUF_SIZE];

  for (int n = 1; n <= 9; n++) {
    const char format[] = { '%', '.', '0' + n, 'g', 0 };
    g_ascii_formatd (digits, sizeof digits, format, value);
    if ((float) g_ascii_strtod (digits, NULL) == value)
      break;
  }
  append_pair (text, key, digits);
}

static void
append_number (GString *text, const char *key, uint64_t value)
{
  g_autofree char *digits = g_strdup_printf ("%" G_GUINT64_FORMAT, value);
  append_pair (text, key, digits);
}

/* TRUE when line would begin a negative prompt, but for spaces before the mark. */
static gboolean
is_marked (const char *line)
{
  return g_str_has_prefix (line + strspn (line, " "), negative_mark);
}

/* A line of a prompt that looks like the mark gets a space before it, which our reader takes away
 * again and which other readers do not mind. */
static void
append_prompt (GString *text, const char *prompt)
{
  g_auto (GStrv) lines = g_strsplit (prompt, "\n", -1);

  for (int i = 0; lines[i]; i++)
    g_string_append_printf (text, "%s%s\n", is_marked (lines[i]) ? " " : "", lines[i]);
}

static void
append_prompts (GString *text, const struct eng_params *params)
{
  if (params->prompt && *params->prompt)
    append_prompt (text, params->prompt);
  if (params->cfg > 1 && params->negative && *params->negative) {
    g_string_append_printf (text, "%s ", negative_mark);
    append_prompt (text, params->negative);
  }
}

char *
eng_infotext_write (const struct eng_params *params, const char *model, const char *model_hash,
                    const char *version)
{
  GString *text = g_string_new (NULL);
  g_autofree char *size = g_strdup_printf ("%dx%d", params->width, params->height);

  append_prompts (text, params);
  append_number (text, "Steps", params->steps);
  append_pair (text, "Sampler", eng_sampler_get_name (params->sampler));
  append_pair (text, "Schedule type", eng_schedule_get_name (params->schedule));
  append_float (text, "CFG scale", params->cfg);
  append_number (text, "Seed", params->seed);
  append_pair (text, "Size", size);
  append_pair (text, "Model hash", model_hash);
  append_pair (text, "Model", model);
  if (params->rng == ENG_RNG_CPU)
    append_pair (text, "RNG", "CPU");
  if (params->shift > 0)
    append_float (text, "Shift", params->shift); /* this one and the next two are ours */
  if (params->cfg > 1 && params->cfg_norm_cap > 0)
    append_float (text, "CFG norm cap", params->cfg_norm_cap);
  if (params->cfg > 1 && params->cfg_truncation > 0)
    append_float (text, "CFG truncation", params->cfg_truncation);
  append_pair (text, "Version", version);
  return g_string_free (text, FALSE);
}

/* ---- Reading ---- */

/* The grammar that A1111 reads with, in words: a pair is a key (a word character, then more of
 * them, spaces, "-" and "/"), a colon, optional spaces, a value and a comma or the end.  A value is
 * a double-quoted string with backslash escapes, or everything up to the next comma. */

static gboolean
is_word (char c)
{
  return g_ascii_isalnum (c) || c == '_' || (guchar) c >= 0x80;
}

/* Appends what the escape at *at (behind the backslash) stands for, and steps over it. */
static void
append_escape (GString *value, const char **at)
{
  static const char names[] = "ntrbf", codes[] = "\n\t\r\b\f";
  const char c = *(*at)++;
  const char *name = c ? strchr (names, c) : NULL;
  gunichar code = 0;

  if (name) {
    g_string_append_c (value, codes[name - names]);
    return;
  }
  if (c != 'u') {
    g_string_append_c (value, c);
    return;
  }
  for (int i = 0; i < 4 && g_ascii_isxdigit (**at); i++)
    code = code * 16 + g_ascii_xdigit_value (*(*at)++);
  /* The second half of a character beyond the basic plane. */
  if (code >= 0xd800 && code < 0xdc00 && g_str_has_prefix (*at, "\\u")) {
    gunichar low = 0;
    for (int i = 0; i < 4 && g_ascii_isxdigit ((*at)[2 + i]); i++)
      low = low * 16 + g_ascii_xdigit_value ((*at)[2 + i]);
    if (low >= 0xdc00 && low < 0xe000) {
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      *at += 6;
    }
  }
  if (code && g_unichar_validate (code))
    g_string_append_unichar (value, code);
}

/* A quoted value that begins at *at and has a comma or the end behind it; else NULL. */
static char *
read_quoted (const char **at)
{
  const char *c = *at;

  if (*c != '"')
    return NULL;
  g_autoptr (GString) value = g_string_new (NULL);
  for (c++; *c && *c != '"';) {
    if (*c == '\\' && c[1]) {
      c++;
      append_escape (value, &c);
    } else
      g_string_append_c (value, *c++);
  }
  if (*c != '"' || (c[1] && c[1] != ','))
    return NULL;
  *at = c + 1;
  return g_strdup (value->str);
}

static char *
read_plain (const char **at)
{
  const gsize n = strcspn (*at, ",");
  char *value = g_strchomp (g_strndup (*at, n));

  *at += n;
  return value;
}

/* A key that begins at *at and has a colon behind it; else NULL, and *at stays. */
static char *
read_key (const char **at)
{
  const char *c = *at;

  if (!is_word (*c))
    return NULL;
  while (is_word (*c) || (*c && strchr (" -/", *c)))
    c++;
  if (*c != ':' || c - *at < 2)
    return NULL;
  char *key = g_strchomp (g_strndup (*at, c - *at));
  for (c++; *c == ' '; c++)
    ;
  *at = c;
  return key;
}

/* The pairs of a line; what is no pair is skipped up to the next comma. */
static GHashTable *
read_pairs (const char *line, guint *n)
{
  GHashTable *pairs = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  const char *at = line;

  *n = 0;
  while (*at) {
    while (*at == ' ' || *at == ',' || *at == '\t')
      at++;
    char *key = read_key (&at);

    if (key) {
      char *value = read_quoted (&at);
      g_hash_table_insert (pairs, key, value ? value : read_plain (&at));
      (*n)++;
    }
    at += strcspn (at, ",");
  }
  return pairs;
}

/* Cuts "Karras" off "DPM++ 2M Karras" and "simple" off "euler simple". */
static void
split_sampler (GHashTable *pairs)
{
  const char *both = g_hash_table_lookup (pairs, "Sampler");
  const char *space = both ? strrchr (both, ' ') : NULL;

  if (!space || g_hash_table_contains (pairs, "Schedule type") || eng_sampler_from_name (both))
    return;
  /* "SGM Uniform" is the one name of two words. */
  for (const char *c = both; (c = strchr (c, ' ')); c++) {
    if (!eng_schedule_from_name (c + 1))
      continue;
    char *schedule = g_strdup (c + 1), *sampler = g_strndup (both, c - both);
    g_hash_table_insert (pairs, g_strdup ("Schedule type"), schedule);
    g_hash_table_insert (pairs, g_strdup ("Sampler"), sampler);
    return;
  }
}

/* text, without its settings, into prompt and negative: the first line that begins with the mark
 * begins the negative prompt. */
static void
split_prompts (eng_infotext *infotext, const char *text)
{
  g_auto (GStrv) lines = g_strsplit (text, "\n", -1);
  g_autoptr (GString) prompt = g_string_new (NULL);
  g_autoptr (GString) negative = g_string_new (NULL);
  GString *to = prompt;

  for (int i = 0; lines[i]; i++) {
    const char *line = lines[i];

    if (to == prompt && g_str_has_prefix (line, negative_mark)) {
      to = negative;
      line += strlen (negative_mark);
      line += *line == ' ';
    }
    line += is_marked (line) && *line == ' ';
    g_string_append (to, line);
    if (lines[i + 1])
      g_string_append_c (to, '\n');
  }
  infotext->prompt = g_strdup (g_strstrip (prompt->str));
  infotext->negative = g_strdup (g_strstrip (negative->str));
}

/* SwarmUI keeps JSON under the same key. */
static gboolean
is_json (const char *text)
{
  return text[strspn (text, " \t\r\n")] == '{' && g_str_has_suffix (text, "}");
}

eng_infotext *
eng_infotext_parse (const char *text)
{
  eng_infotext *infotext = g_new0 (eng_infotext, 1);
  g_autofree char *valid = g_strchomp (g_utf8_make_valid (text, -1));
  char *last = strrchr (valid, '\n');
  guint n;

  if (is_json (valid))
    *valid = '\0';
  infotext->pairs = read_pairs (*valid && last ? last + 1 : valid, &n);
  if (n < 3)
    g_hash_table_remove_all (infotext->pairs);
  else
    *(last ? last : valid) = '\0';
  split_sampler (infotext->pairs);
  split_prompts (infotext, valid);
  return infotext;
}

void
eng_infotext_free (eng_infotext *infotext)
{
  if (!infotext)
    return;
  g_free (infotext->prompt);
  g_free (infotext->negative);
  g_hash_table_unref (infotext->pairs);
  g_free (infotext);
}

const char *
eng_infotext_get (const eng_infotext *infotext, const char *key)
{
  return g_hash_table_lookup (infotext->pairs, key);
}

/* ---- In our terms ---- */

static guint64
get_number (const eng_infotext *infotext, const char *key, guint64 max)
{
  const char *value = eng_infotext_get (infotext, key);
  guint64 number = 0;

  return value && g_ascii_string_to_unsigned (value, 10, 0, max, &number, NULL) ? number : 0;
}

static float
get_float (const eng_infotext *infotext, const char *key, double max)
{
  const char *value = eng_infotext_get (infotext, key);
  const double number = value ? g_ascii_strtod (value, NULL) : 0;

  return number > 0 && number <= max ? number : 0; /* NaN: neither */
}

static void
get_size (const eng_infotext *infotext, int *width, int *height)
{
  const char *size = eng_infotext_get (infotext, "Size");
  g_auto (GStrv) part = g_strsplit (size ? size : "", "x", -1);
  guint64 w, h;

  if (g_strv_length (part) == 2 && g_ascii_string_to_unsigned (part[0], 10, 1, 1 << 20, &w, NULL) &&
      g_ascii_string_to_unsigned (part[1], 10, 1, 1 << 20, &h, NULL)) {
    *width = w;
    *height = h;
  }
}

static enum eng_rng
get_rng (const eng_infotext *infotext)
{
  const char *rng = eng_infotext_get (infotext, "RNG");

  if (rng)
    return g_ascii_strcasecmp (rng, "CPU") ? ENG_RNG_CUDA : ENG_RNG_CPU;
  return g_hash_table_size (infotext->pairs) > 0 ? ENG_RNG_CUDA : ENG_RNG_CPU;
}

/* DDIM without noise is Euler for a flow model. */
static enum eng_sampler
get_sampler (const eng_infotext *infotext)
{
  const char *name = eng_infotext_get (infotext, "Sampler");

  if (!name)
    return ENG_SAMPLER_DEFAULT;
  return g_ascii_strcasecmp (name, "DDIM") ? eng_sampler_from_name (name) : ENG_SAMPLER_EULER;
}

struct eng_params
eng_infotext_get_params (const eng_infotext *infotext)
{
  const char *schedule = eng_infotext_get (infotext, "Schedule type");
  struct eng_params params = {
    .prompt = infotext->prompt,
    .negative = infotext->negative,
    .steps = get_number (infotext, "Steps", 1000),
    .cfg = get_float (infotext, "CFG scale", 1000),
    .seed = get_number (infotext, "Seed", G_MAXUINT64),
    .sampler = get_sampler (infotext),
    .schedule = schedule ? eng_schedule_from_name (schedule) : ENG_SCHEDULE_DEFAULT,
    .rng = get_rng (infotext),
    .shift = get_float (infotext, "Shift", 100),
    .cfg_norm_cap = get_float (infotext, "CFG norm cap", 1000),
    .cfg_truncation = get_float (infotext, "CFG truncation", 1),
  };

  get_size (infotext, &params.width, &params.height);
  return params;
}
