/* engine/tokenizer.h - byte-level BPE as Hugging Face's tokenizer.json describes it (Qwen's kind).
 *
 * Text is split at special tokens, normalised (NFC), cut into words by the file's regular
 * expression, written in the byte alphabet, and merged by rank.  A tokenizer is immutable and may
 * be shared between threads. */
#pragma once

#include <glib.h>
#include <stdint.h>

typedef struct eng_tokenizer eng_tokenizer;

/* path: a tokenizer.json.  NULL and error when it is missing, broken, or not of this kind (the
 * message names the part that is not understood). */
eng_tokenizer *eng_tokenizer_open (const char *path, GError **error);
void eng_tokenizer_free (eng_tokenizer *tokenizer);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (eng_tokenizer, eng_tokenizer_free)

/* Ids of length bytes of UTF-8 (which may hold NUL), as an array of int32_t that the caller frees.
 * Special tokens in the text are recognised.  NULL and error when text is not valid UTF-8 (with the
 * offset of the first bad byte). */
GArray *eng_tokenizer_encode (const eng_tokenizer *tokenizer, const char *text, gsize length,
                              GError **error);
/* The same with the chat wrapper round it: `<|im_start|>user\n` text
 * `<|im_end|>\n<|im_start|>assistant\n`. Special tokens inside a user's own text are recognised as
 * the reference does. */
GArray *eng_tokenizer_encode_chat (const eng_tokenizer *tokenizer, const char *text, gsize length,
                                   GError **error);
int eng_tokenizer_get_vocabulary_size (const eng_tokenizer *tokenizer);
