/* engine/pretokenizer.h - cuts text into words by a tokenizer's regular expression.
 *
 * PCRE2 itself rather than GRegex, which checks the whole text's UTF-8 again at every word.
 * Immutable; may be shared between threads. */
#pragma once

#include <glib.h>

typedef struct eng_pretokenizer eng_pretokenizer;

/* NULL and error when the expression is broken; the message does not name a file. */
eng_pretokenizer *eng_pretokenizer_new (const char *expression, GError **error);
void eng_pretokenizer_free (eng_pretokenizer *pretokenizer);

/* Gives every match, and what lies between two matches, to word, in order.  text is valid UTF-8 and
 * may hold NUL.  FALSE and error when the expression takes too long on it. */
gboolean eng_pretokenizer_split (const eng_pretokenizer *pretokenizer, const char *text,
                                 gsize length,
                                 void (*word) (const char *text, gsize length, void *data),
                                 void *data, GError **error);
