#include "engine/nfc.h"

#include <stdlib.h>

struct mark {
  gunichar c;
  int class; /* canonical combining class; 0 is a starter */
};

/* Nothing below U+0300 decomposes for good or composes with what follows it. */
static gboolean
is_normal (const char *text, gsize length)
{
  for (gsize i = 0; i < length; i++)
    if ((guchar) text[i] >= 0xcc) /* leads U+0300 and above */
      return FALSE;
  return TRUE;
}

/* Stable, by merging: order within a class is part of the text. */
static int
compare_classes (gconstpointer a, gconstpointer b, gpointer data)
{
  return ((const struct mark *) a)->class - ((const struct mark *) b)->class;
}

/* Puts the marks behind each starter in order. */
static void
sort_marks (GArray *marks)
{
  struct mark *mark = (struct mark *) marks->data;

  for (guint i = 0, end; i < marks->len; i = end) {
    gboolean sorted = TRUE;

    for (end = i + 1; end < marks->len && mark[end].class; end++)
      sorted &= mark[end - 1].class <= mark[end].class;
    if (!sorted)
      g_qsort_with_data (mark + i, end - i, sizeof *mark, compare_classes, NULL);
  }
}

static GArray *
decompose (const char *text, gsize length)
{
  GArray *marks = g_array_sized_new (FALSE, FALSE, sizeof (struct mark), length);
  gunichar parts[G_UNICHAR_MAX_DECOMPOSITION_LENGTH];

  for (const char *p = text; p < text + length; p = g_utf8_next_char (p)) {
    const gsize n =
        g_unichar_fully_decompose (g_utf8_get_char (p), FALSE, parts, G_N_ELEMENTS (parts));
    for (gsize i = 0; i < n; i++) {
      const struct mark mark = { parts[i], g_unichar_combining_class (parts[i]) };
      g_array_append_val (marks, mark);
    }
  }
  return marks;
}

/* Joins each starter with the marks that are not blocked by one of the same or a higher class. */
static void
compose (GArray *marks)
{
  struct mark *mark = (struct mark *) marks->data, *starter = NULL;
  int last = 0; /* class of what was kept last behind the starter; 0: nothing */
  guint n = 0;

  for (guint i = 0; i < marks->len; i++) {
    gunichar joined;

    if (starter && (last == 0 || last < mark[i].class) &&
        g_unichar_compose (starter->c, mark[i].c, &joined)) {
      starter->c = joined;
      continue;
    }
    last = mark[i].class;
    mark[n] = mark[i];
    if (last == 0)
      starter = mark + n;
    n++;
  }
  g_array_set_size (marks, n);
}

void
eng_nfc_append (GString *to, const char *text, gsize length)
{
  g_autoptr (GArray) marks = NULL;

  if (is_normal (text, length)) {
    g_string_append_len (to, text, length);
    return;
  }
  marks = decompose (text, length);
  sort_marks (marks);
  compose (marks);
  for (guint i = 0; i < marks->len; i++)
    g_string_append_unichar (to, g_array_index (marks, struct mark, i).c);
}
