/* engine/run.c - the arena's bookkeeping is on the host: a sorted list of the spans in use.  What
 * lies between them is free, so neighbours merge by themselves. */
#include "engine/run.h"

#include "engine/error.h"

#define ALIGNMENT ((size_t) 256)
/* Where a plan's memory pretends to begin: not NULL, which would read as an absent tensor. */
#define PLAN_BASE ((uintptr_t) ALIGNMENT)

struct span {
  size_t offset, size;
};

struct eng_arena {
  uintptr_t base;
  size_t size; /* SIZE_MAX / 2 in a plan */
  size_t peak;
  size_t refused; /* what the last take that failed asked for */
  GArray *used;   /* of struct span, by offset */
};

eng_arena *
eng_arena_new (void)
{
  eng_arena *arena = g_new0 (eng_arena, 1);

  arena->used = g_array_new (FALSE, FALSE, sizeof (struct span));
  eng_arena_reset (arena, NULL, 0);
  return arena;
}

void
eng_arena_free (eng_arena *arena)
{
  if (!arena)
    return;
  g_array_unref (arena->used);
  g_free (arena);
}

size_t
eng_arena_get_peak (const eng_arena *arena)
{
  return arena->peak;
}

void
eng_arena_reset (eng_arena *arena, void *base, size_t size)
{
  arena->base = base ? (uintptr_t) base : PLAN_BASE;
  arena->size = base ? size : SIZE_MAX / 2;
  arena->peak = 0;
  arena->refused = 0;
  g_array_set_size (arena->used, 0);
}

/* The first gap that holds size bytes; NULL when there is none. */
static void *
arena_take (eng_arena *arena, size_t size)
{
  size_t offset = 0;
  guint i;

  for (i = 0; i < arena->used->len; i++) {
    const struct span *next = &g_array_index (arena->used, struct span, i);
    if (next->offset - offset >= size)
      break;
    offset = next->offset + next->size;
  }
  if (arena->size < offset || arena->size - offset < size) {
    arena->refused = size;
    return NULL;
  }

  const struct span span = { offset, size };
  g_array_insert_val (arena->used, i, span);
  arena->peak = MAX (arena->peak, offset + size);
  return (void *) (arena->base + offset);
}

static void
arena_drop (eng_arena *arena, void *data)
{
  const size_t offset = (uintptr_t) data - arena->base;

  for (guint i = 0; i < arena->used->len; i++)
    if (g_array_index (arena->used, struct span, i).offset == offset) {
      g_array_remove_index (arena->used, i);
      return;
    }
  g_critical ("a tensor was dropped that is not in use");
}

gboolean
eng_run_may_launch (struct eng_run *run)
{
  const int i = run->n_met++;

  if (run->planning || run->status != KRN_OK || i < run->first || (run->last && i >= run->last))
    return FALSE;
  if (run->cancelled && g_atomic_int_get (run->cancelled)) {
    run->status = KRN_CANCELLED;
    return FALSE;
  }
  return TRUE;
}

krn_tensor
eng_run_take (struct eng_run *run, krn_dtype dtype, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
  krn_tensor tensor = krn_tensor_make (NULL, dtype, d0, d1, d2, d3);
  size_t size = krn_dtype_size (dtype);
  gboolean overflow = FALSE;

  for (int i = 0; i < 4; i++)
    overflow |= tensor.dim[i] < 0 || __builtin_mul_overflow (size, (size_t) tensor.dim[i], &size);
  overflow |= size > SIZE_MAX / 4;

  if (!overflow)
    tensor.data =
        arena_take (run->arena, MAX ((size + ALIGNMENT - 1) & ~(ALIGNMENT - 1), ALIGNMENT));
  else
    run->arena->refused = SIZE_MAX;
  if (!tensor.data && run->status == KRN_OK) {
    run->status = KRN_ERROR_MEMORY;
    run->failed = NULL; /* not an operation */
  }
  return tensor;
}

void
eng_run_drop (struct eng_run *run, krn_tensor tensor)
{
  if (tensor.data)
    arena_drop (run->arena, tensor.data);
}

gboolean
eng_run_ok (const struct eng_run *run, const char *what, GError **error)
{
  if (run->status == KRN_OK)
    return TRUE;

  if (run->cause)
    g_propagate_error (error, g_error_copy (run->cause));
  else if (run->status == KRN_CANCELLED)
    g_set_error (error, ENG_ERROR, ENG_ERROR_CANCELLED, "%s: cancelled", what);
  else if (run->status == KRN_ERROR_MEMORY && !run->failed)
    g_set_error (
        error, ENG_ERROR, ENG_ERROR_MEMORY,
        "%s: %zu more bytes do not fit into the %zu set aside, of which at most %zu were used",
        what, run->arena->refused, run->arena->size, run->arena->peak);
  else
    g_set_error (
        error, ENG_ERROR, run->status == KRN_ERROR_MEMORY ? ENG_ERROR_MEMORY : ENG_ERROR_DEVICE,
        "%s: %s: %s", what, run->failed, run->device->status_text (run->device, run->status));
  return FALSE;
}
