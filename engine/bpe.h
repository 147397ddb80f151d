/* engine/bpe.h - byte pair encoding over the byte alphabet: the vocabulary, the merges, a word.
 *
 * In a file a byte is written as one printable character (the byte alphabet of GPT-2), and a token
 * as a string of them.  Filled once by one thread, then immutable. */
#pragma once

#include <glib.h>
#include <stdint.h>

typedef struct eng_bpe eng_bpe;

eng_bpe *eng_bpe_new (void);
void eng_bpe_free (eng_bpe *bpe);

/* token is copied.  FALSE when it is there already. */
gboolean eng_bpe_add_token (eng_bpe *bpe, const char *token, int32_t id);
/* The id of a token as it is written in the file, or -1. */
int32_t eng_bpe_lookup (const eng_bpe *bpe, const char *token);
/* A copy of text that lives as long as bpe. */
const char *eng_bpe_keep (eng_bpe *bpe, const char *text);
guint eng_bpe_get_n_tokens (const eng_bpe *bpe);
/* Makes room for n merges; once, before the first. */
void eng_bpe_reserve (eng_bpe *bpe, guint n);
/* Tokens left and right may become one, joined; the lower rank goes first.  A pair that comes again
 * takes the later rank. */
void eng_bpe_add_merge (eng_bpe *bpe, int32_t left, int32_t right, int32_t joined, guint32 rank);
/* Demands a token for every byte; else FALSE and the first byte without one. */
gboolean eng_bpe_finish (eng_bpe *bpe, int *missing);

/* What one thread needs while it encodes; zeroed before the first word. */
struct eng_bpe_scratch {
  GArray *symbols, *heap;
};
void eng_bpe_scratch_clear (struct eng_bpe_scratch *scratch);
/* Appends the ids of a word of length bytes, in O(length * log (length)). */
void eng_bpe_encode (const eng_bpe *bpe, const char *word, gsize length,
                     struct eng_bpe_scratch *scratch, GArray *ids);
/* The id when the whole word is one token, whatever the merges say; else -1. */
int32_t eng_bpe_lookup_word (const eng_bpe *bpe, const char *word, gsize length);
