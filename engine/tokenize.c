/* engine/tokenize.c - the tokenizer alone, for the command line. */
#include "engine/engine.h"
#include "engine/model.h"
#include "engine/tokenizer.h"

GArray *
eng_tokenize (const char *path, const char *text, gsize length, gboolean chat, GError **error)
{
  g_autoptr (eng_model_info) info = NULL;
  g_autoptr (eng_tokenizer) tokenizer = NULL;

  if (g_str_has_suffix (path, ".json")) {
    tokenizer = eng_tokenizer_open (path, error);
  } else {
    info = eng_model_inspect (path, error);
    tokenizer = info ? eng_tokenizer_open (info->tokenizer, error) : NULL;
  }
  if (!tokenizer)
    return NULL;
  return chat ? eng_tokenizer_encode_chat (tokenizer, text, length, error)
              : eng_tokenizer_encode (tokenizer, text, length, error);
}
