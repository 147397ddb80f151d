#include "engine/pretokenizer.h"

#include "engine/error.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

struct eng_pretokenizer {
  pcre2_code *code;
};

static void
set_error (GError **error, int number, const char *what)
{
  char text[256];

  pcre2_get_error_message (number, (PCRE2_UCHAR *) text, sizeof text);
  g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: %s", what, text);
}

/* Oniguruma, for which these files are written, takes \s for Unicode's White_Space.  PCRE2 adds
 * U+180E, which has not been white since Unicode 6.3, so \s and \S are written out. */
static char *
translate (const char *expression)
{
  static const char white[] = "\\p{Z}\\x{9}-\\x{d}\\x{85}";
  GString *to = g_string_new (NULL);
  gboolean class = FALSE; /* between [ and ] */

  for (const char *p = expression; *p; p++) {
    if (*p == '\\' && p[1]) {
      p++;
      if (*p == 's' && class)
        g_string_append (to, white);
      else if ((*p == 's' || *p == 'S') && !class)
        g_string_append_printf (to, "[%s%s]", *p == 'S' ? "^" : "", white);
      else
        g_string_append_printf (to, "\\%c", *p);
      continue;
    }
    class = class ? *p != ']' : *p == '[';
    g_string_append_c (to, *p);
  }
  return g_string_free (to, FALSE);
}

eng_pretokenizer *
eng_pretokenizer_new (const char *expression, GError **error)
{
  g_autofree char *translated = translate (expression);
  const guint32 options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  eng_pretokenizer *pretokenizer;
  PCRE2_SIZE offset;
  int number;
  pcre2_code *code = pcre2_compile ((PCRE2_SPTR) translated, PCRE2_ZERO_TERMINATED, options,
                                    &number, &offset, NULL);

  if (!code) {
    set_error (error, number, "the regular expression is broken");
    return NULL;
  }
  pcre2_jit_compile (code, PCRE2_JIT_COMPLETE); /* without it matching is only slower */
  pretokenizer = g_new (eng_pretokenizer, 1);
  pretokenizer->code = code;
  return pretokenizer;
}

void
eng_pretokenizer_free (eng_pretokenizer *pretokenizer)
{
  if (!pretokenizer)
    return;
  pcre2_code_free (pretokenizer->code);
  g_free (pretokenizer);
}

gboolean
eng_pretokenizer_split (const eng_pretokenizer *pretokenizer, const char *text, gsize length,
                        void (*word) (const char *text, gsize length, void *data), void *data,
                        GError **error)
{
  pcre2_match_data *match = pcre2_match_data_create_from_pattern (pretokenizer->code, NULL);
  const PCRE2_SIZE *span = pcre2_get_ovector_pointer (match);
  const guint32 options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
  gsize done = 0; /* everything before was given */
  int found = 1;

  while (done < length) {
    found = pcre2_match (pretokenizer->code, (PCRE2_SPTR) text, length, done, options, match, NULL);
    if (found < 0 || span[1] <= span[0] || span[0] < done) /* \K can turn a span round */
      break;
    if (span[0] > done)
      word (text + done, span[0] - done, data);
    word (text + span[0], span[1] - span[0], data);
    done = span[1];
  }
  pcre2_match_data_free (match);
  if (found < 0 && found != PCRE2_ERROR_NOMATCH) {
    set_error (error, found, "the tokenizer's regular expression failed");
    return FALSE;
  }
  if (done < length)
    word (text + done, length - done, data);
  return TRUE;
}
