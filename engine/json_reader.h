/* engine/json_reader.h - JSON in memory, read from front to back without building a tree.
 *
 * For what a tree of nodes does badly: a vocabulary of megabytes, integers of 64 bits, keys that
 * come twice, and nesting without end (depth is bounded and nothing here recurses).
 *
 *     if (eng_json_reader_enter_object (&reader))
 *       while ((key = eng_json_reader_next_member (&reader)))
 *         if (g_str_equal (key, "size"))
 *           eng_json_reader_read_int (&reader, &size);
 *         else
 *           eng_json_reader_skip (&reader);
 *     return eng_json_reader_finish (&reader, error);
 *
 * The first failure is kept, what comes after it does nothing and returns FALSE, 0 or NULL, so one
 * question at the end is enough.  One thread at a time. */
#pragma once

#include <glib.h>

enum { ENG_JSON_MAX_DEPTH = 32 };

typedef struct {    /* private */
  const char *name; /* borrowed; what messages call the text */
  const char *start, *at, *end;
  GString *key, *text;
  GError *error;                    /* the first failure */
  gboolean first;                   /* nothing was read yet in the innermost object or array */
  int depth;                        /* objects and arrays that are open */
  char closing[ENG_JSON_MAX_DEPTH]; /* '}' or ']' of each */
} eng_json_reader;

/* name and text stay the caller's and must outlive the reader. */
void eng_json_reader_init (eng_json_reader *reader, const char *name, const char *text,
                           gsize length);
void eng_json_reader_clear (eng_json_reader *reader);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (eng_json_reader, eng_json_reader_clear)
/* Demands that the text ends here.  FALSE and error when that or anything before failed. */
gboolean eng_json_reader_finish (eng_json_reader *reader, GError **error);
/* Records a failure of the caller's own: `name: ` and then the sentence.  Returns FALSE. */
gboolean eng_json_reader_fail (eng_json_reader *reader, const char *format, ...)
    G_GNUC_PRINTF (2, 3);
/* TRUE when nothing failed so far. */
gboolean eng_json_reader_ok (const eng_json_reader *reader);

/* The first character of the next value: one of `{["tfn-` or a digit; 0 at the end. */
char eng_json_reader_peek (eng_json_reader *reader);
gboolean eng_json_reader_enter_object (eng_json_reader *reader);
gboolean eng_json_reader_enter_array (eng_json_reader *reader);
/* The next member's key, borrowed until the next call; its value must be read or skipped.  NULL at
 * the end of the object, which is then left. */
const char *eng_json_reader_next_member (eng_json_reader *reader);
/* TRUE when the array has another value, which must be read or skipped; else the array is left. */
gboolean eng_json_reader_next_element (eng_json_reader *reader);

/* Borrowed until the next string is read.  Never holds NUL: such a string is refused. */
const char *eng_json_reader_read_string (eng_json_reader *reader);
/* A number written without fraction and exponent that fits. */
gboolean eng_json_reader_read_int (eng_json_reader *reader, gint64 *value);
gboolean eng_json_reader_read_boolean (eng_json_reader *reader, gboolean *value);
/* Steps over one value of any kind, checking its grammar. */
gboolean eng_json_reader_skip (eng_json_reader *reader);
