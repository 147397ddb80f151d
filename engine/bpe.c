#include "engine/bpe.h"

/* A pair that may be joined; an empty slot of the table has joined < 0. */
struct merge {
  int32_t left, right, joined;
  guint32 rank;
};

struct eng_bpe {
  GStringChunk *text;   /* the tokens */
  GHashTable *ids;      /* token to id */
  struct merge *merges; /* open addressing, a power of two of slots, at most half of them full */
  guint merge_bits;     /* log2 of the slots */
  int32_t byte_id[256];
};

/* A part of the word, in a list by position. */
struct symbol {
  int32_t id;             /* -1: became part of the one before */
  guint32 previous, next; /* next of the last is the word's length */
};

eng_bpe *
eng_bpe_new (void)
{
  eng_bpe *bpe = g_new0 (eng_bpe, 1);

  bpe->text = g_string_chunk_new (1 << 16);
  bpe->ids = g_hash_table_new (g_str_hash, g_str_equal);
  eng_bpe_reserve (bpe, 0);
  return bpe;
}

void
eng_bpe_free (eng_bpe *bpe)
{
  if (!bpe)
    return;
  g_hash_table_unref (bpe->ids);
  g_string_chunk_free (bpe->text);
  g_free (bpe->merges);
  g_free (bpe);
}

gboolean
eng_bpe_add_token (eng_bpe *bpe, const char *token, int32_t id)
{
  return g_hash_table_insert (bpe->ids, g_string_chunk_insert (bpe->text, token),
                              GINT_TO_POINTER (id));
}

int32_t
eng_bpe_lookup (const eng_bpe *bpe, const char *token)
{
  gpointer id;

  return g_hash_table_lookup_extended (bpe->ids, token, NULL, &id) ? GPOINTER_TO_INT (id) : -1;
}

const char *
eng_bpe_keep (eng_bpe *bpe, const char *text)
{
  return g_string_chunk_insert (bpe->text, text);
}

guint
eng_bpe_get_n_tokens (const eng_bpe *bpe)
{
  return g_hash_table_size (bpe->ids);
}

void
eng_bpe_reserve (eng_bpe *bpe, guint n)
{
  bpe->merge_bits = g_bit_storage (n) + 1;
  bpe->merges = g_renew (struct merge, bpe->merges, (gsize) 1 << bpe->merge_bits);
  for (gsize i = 0; i >> bpe->merge_bits == 0; i++)
    bpe->merges[i].joined = -1;
}

/* The slot that has the pair, or the empty one where it would be. */
static struct merge *
find_merge (const eng_bpe *bpe, int32_t left, int32_t right)
{
  const guint64 key = (guint64) (guint32) left << 32 | (guint32) right;
  const gsize mask = ((gsize) 1 << bpe->merge_bits) - 1;
  gsize at = key * G_GUINT64_CONSTANT (0x9e3779b97f4a7c15) >> (64 - bpe->merge_bits);

  while (bpe->merges[at].joined >= 0 &&
         (bpe->merges[at].left != left || bpe->merges[at].right != right))
    at = (at + 1) & mask;
  return &bpe->merges[at];
}

void
eng_bpe_add_merge (eng_bpe *bpe, int32_t left, int32_t right, int32_t joined, guint32 rank)
{
  *find_merge (bpe, left, right) = (struct merge){ left, right, joined, rank };
}

/* The character that stands for a byte: itself when it is printable in Latin-1, else the next free
 * one from U+0100 on. */
static gunichar
byte_character (int byte)
{
  if ((byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad))
    return byte;
  if (byte <= 0x20)
    return 0x100 + byte;
  return byte == 0xad ? 0x143 : 0x121 + byte - 0x7f;
}

gboolean
eng_bpe_finish (eng_bpe *bpe, int *missing)
{
  for (int i = 0; i < 256; i++) {
    char text[7] = { 0 };

    g_unichar_to_utf8 (byte_character (i), text);
    bpe->byte_id[i] = eng_bpe_lookup (bpe, text);
    if (bpe->byte_id[i] < 0) {
      *missing = i;
      return FALSE;
    }
  }
  return TRUE;
}

int32_t
eng_bpe_lookup_word (const eng_bpe *bpe, const char *word, gsize length)
{
  g_autoptr (GString) text = g_string_sized_new (2 * length);

  for (gsize i = 0; i < length; i++)
    g_string_append_unichar (text, byte_character ((guchar) word[i]));
  return eng_bpe_lookup (bpe, text->str);
}

void
eng_bpe_scratch_clear (struct eng_bpe_scratch *scratch)
{
  g_clear_pointer (&scratch->symbols, g_array_unref);
  g_clear_pointer (&scratch->heap, g_array_unref);
}

/* The heap holds rank << 32 | position of the left part: the lowest rank first, then from the left.
 * What has become stale stays in it and is seen when it comes out. */
static void
heap_push (GArray *heap, guint64 value)
{
  guint64 *a;
  guint i = heap->len;

  g_array_append_val (heap, value);
  a = (guint64 *) heap->data;
  for (; i > 0 && a[(i - 1) / 2] > value; i = (i - 1) / 2)
    a[i] = a[(i - 1) / 2];
  a[i] = value;
}

static guint64
heap_pop (GArray *heap)
{
  guint64 *a = (guint64 *) heap->data;
  const guint64 top = a[0], last = a[heap->len - 1];
  const guint n = heap->len - 1;
  guint i = 0, child;

  for (; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && a[child + 1] < a[child])
      child++;
    if (a[child] >= last)
      break;
    a[i] = a[child];
  }
  a[i] = last;
  g_array_set_size (heap, n);
  return top;
}

/* Notes that the part at position may be joined with the next. */
static void
push_pair (const eng_bpe *bpe, struct eng_bpe_scratch *scratch, guint32 position)
{
  const struct symbol *symbols = (const struct symbol *) scratch->symbols->data;
  const guint32 next = symbols[position].next;
  const struct merge *merge;

  if (next == scratch->symbols->len)
    return;
  merge = find_merge (bpe, symbols[position].id, symbols[next].id);
  if (merge->joined >= 0)
    heap_push (scratch->heap, (guint64) merge->rank << 32 | position);
}

/* Joins the part at position with the next, if that is still what rank speaks of. */
static void
join_pair (const eng_bpe *bpe, struct eng_bpe_scratch *scratch, guint32 position, guint32 rank)
{
  struct symbol *symbols = (struct symbol *) scratch->symbols->data, *s = symbols + position;
  const guint32 n = scratch->symbols->len, next = s->next;
  const struct merge *merge;

  if (s->id < 0 || next == n)
    return;
  merge = find_merge (bpe, s->id, symbols[next].id);
  if (merge->joined < 0 || merge->rank != rank)
    return;

  s->id = merge->joined;
  s->next = symbols[next].next;
  symbols[next].id = -1;
  if (s->next < n)
    symbols[s->next].previous = position;
  if (position > 0)
    push_pair (bpe, scratch, s->previous);
  push_pair (bpe, scratch, position);
}

void
eng_bpe_encode (const eng_bpe *bpe, const char *word, gsize length, struct eng_bpe_scratch *scratch,
                GArray *ids)
{
  if (!scratch->symbols) {
    scratch->symbols = g_array_new (FALSE, FALSE, sizeof (struct symbol));
    scratch->heap = g_array_new (FALSE, FALSE, sizeof (guint64));
  }
  g_array_set_size (scratch->symbols, 0);
  for (guint32 i = 0; i < length; i++) {
    const struct symbol s = { bpe->byte_id[(guchar) word[i]], i - 1, i + 1 };
    g_array_append_val (scratch->symbols, s);
  }
  for (guint32 i = 0; i + 1 < length; i++)
    push_pair (bpe, scratch, i);
  while (scratch->heap->len) {
    const guint64 top = heap_pop (scratch->heap);
    join_pair (bpe, scratch, (guint32) top, top >> 32);
  }
  for (guint32 i = 0; i < length; i = g_array_index (scratch->symbols, struct symbol, i).next)
    g_array_append_val (ids, g_array_index (scratch->symbols, struct symbol, i).id);
}
