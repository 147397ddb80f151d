/* engine/tokenizer_file.h - a tokenizer as tokenizer_file.c reads it and tokenizer.c uses it. */
#pragma once

#include "engine/bpe.h"
#include "engine/pretokenizer.h"
#include "engine/tokenizer.h"

/* Taken out of the text before anything else. */
struct eng_added_token {
  const char *text; /* owned by the tokenizer's bpe */
  gsize length;
  int32_t id;
};

struct eng_tokenizer {
  eng_bpe *bpe;
  eng_pretokenizer *pretokenizer;
  GArray *added;              /* struct eng_added_token, the longest first */
  gboolean added_starts[256]; /* whether one begins with that byte */
  gboolean nfc;
  gboolean ignore_merges;
  int32_t max_id;
};
