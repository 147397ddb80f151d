#include "engine/tokenizer.h"

#include "engine/bpe.h"
#include "engine/error.h"
#include "engine/nfc.h"
#include "engine/pretokenizer.h"
#include "engine/tokenizer_file.h"

#include <string.h>

enum { MAX_TEXT = 256 << 20 };

/* What one call of encode carries from word to word. */
struct encoding {
  const eng_tokenizer *tokenizer;
  struct eng_bpe_scratch scratch;
  GString *normal; /* the piece between two special tokens, normalised */
  GArray *ids;
};

void
eng_tokenizer_free (eng_tokenizer *tokenizer)
{
  eng_pretokenizer_free (tokenizer->pretokenizer);
  eng_bpe_free (tokenizer->bpe);
  g_array_unref (tokenizer->added);
  g_free (tokenizer);
}

int
eng_tokenizer_get_vocabulary_size (const eng_tokenizer *tokenizer)
{
  return tokenizer->max_id + 1;
}

/* The special token that text begins with, the longest if several do, or NULL. */
static const struct eng_added_token *
match_added (const eng_tokenizer *tokenizer, const char *text, gsize length)
{
  if (!tokenizer->added_starts[(guchar) *text])
    return NULL;
  for (guint i = 0; i < tokenizer->added->len; i++) { /* the longest come first */
    const struct eng_added_token *token =
        &g_array_index (tokenizer->added, struct eng_added_token, i);

    if (token->length <= length && memcmp (token->text, text, token->length) == 0)
      return token;
  }
  return NULL;
}

static void
encode_word (const char *word, gsize length, void *data)
{
  struct encoding *encoding = data;
  const eng_tokenizer *tokenizer = encoding->tokenizer;
  int32_t id = -1;

  if (tokenizer->ignore_merges)
    id = eng_bpe_lookup_word (tokenizer->bpe, word, length);
  if (id >= 0)
    g_array_append_val (encoding->ids, id);
  else
    eng_bpe_encode (tokenizer->bpe, word, length, &encoding->scratch, encoding->ids);
}

/* Text without special tokens. */
static gboolean
encode_plain (struct encoding *encoding, const char *text, gsize length, GError **error)
{
  if (encoding->tokenizer->nfc) {
    g_string_truncate (encoding->normal, 0);
    eng_nfc_append (encoding->normal, text, length);
    text = encoding->normal->str;
    length = encoding->normal->len;
  }
  return eng_pretokenizer_split (encoding->tokenizer->pretokenizer, text, length, encode_word,
                                 encoding, error);
}

static gboolean
encode_all (struct encoding *encoding, const char *text, gsize length, GError **error)
{
  const char *const end = text + length, *from = text;

  for (const char *p = text; p < end;) {
    const struct eng_added_token *token = match_added (encoding->tokenizer, p, end - p);

    if (!token) {
      p++;
      continue;
    }
    if (!encode_plain (encoding, from, p - from, error))
      return FALSE;
    g_array_append_val (encoding->ids, token->id);
    from = p += token->length;
  }
  return encode_plain (encoding, from, end - from, error);
}

/* GLib's check takes NUL for an end, so it is made from NUL to NUL. */
static gboolean
check_text (const char *text, gsize length, GError **error)
{
  const char *const end = text + length, *p = text;

  if (length > MAX_TEXT) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS, "the text has %zu bytes, at most %d are taken",
                 length, MAX_TEXT);
    return FALSE;
  }
  while (p < end && !g_utf8_validate_len (p, end - p, &p)) {
    if (*p) {
      g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS,
                   "the text is not UTF-8: byte 0x%02x at offset %zu", (guchar) *p,
                   (size_t) (p - text));
      return FALSE;
    }
    p++;
  }
  return TRUE;
}

GArray *
eng_tokenizer_encode (const eng_tokenizer *tokenizer, const char *text, gsize length,
                      GError **error)
{
  struct encoding encoding = { .tokenizer = tokenizer };
  gboolean ok;

  if (!check_text (text, length, error))
    return NULL;
  encoding.normal = g_string_new (NULL);
  encoding.ids = g_array_new (FALSE, FALSE, sizeof (int32_t));
  ok = encode_all (&encoding, text, length, error);
  g_string_free (encoding.normal, TRUE);
  eng_bpe_scratch_clear (&encoding.scratch);
  if (!ok)
    g_clear_pointer (&encoding.ids, g_array_unref);
  return encoding.ids;
}

GArray *
eng_tokenizer_encode_chat (const eng_tokenizer *tokenizer, const char *text, gsize length,
                           GError **error)
{
  GString *chat;
  GArray *ids;

  if (!check_text (text, length, error)) /* so that the offset is the caller's */
    return NULL;
  chat = g_string_new ("<|im_start|>user\n");
  g_string_append_len (chat, text, length);
  g_string_append (chat, "<|im_end|>\n<|im_start|>assistant\n");
  ids = eng_tokenizer_encode (tokenizer, chat->str, chat->len, error);
  g_string_free (chat, TRUE);
  return ids;
}
