/* engine/loader_send.c - puts gathered tensors on a device: one block for each loader. */
#include "engine/error.h"
#include "engine/loader.h"
#include "engine/sender.h"

enum { PROGRESS_BYTES = 4 << 20 }; /* at least so many between two reports */

static gboolean
set_memory_error (const eng_loader *loader, struct krn_device *device, size_t needed,
                  GError **error)
{
  g_autofree char *needed_text = g_format_size (needed);
  g_autofree char *free_text = NULL;
  size_t free_bytes, total_bytes;

  device->info (device, &free_bytes, &total_bytes);
  free_text = g_format_size (free_bytes);
  g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY, "%s: needs %s, %s free on %s", loader->component,
               needed_text, free_text, device->name);
  return FALSE;
}

/* The block for everything of a loader.  Asks before it takes: a host would promise more than it
 * has. */
static gboolean
alloc_block (const eng_loader *loader, struct krn_device *device, size_t bytes, void **block,
             GError **error)
{
  size_t free_bytes, total_bytes;
  krn_status status;

  device->info (device, &free_bytes, &total_bytes);
  status = bytes > free_bytes ? KRN_ERROR_MEMORY : device->alloc (device, block, MAX (bytes, 1));
  if (status == KRN_OK)
    return TRUE;
  *block = NULL;
  if (status == KRN_ERROR_MEMORY)
    return set_memory_error (loader, device, bytes, error);
  g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE, "%s: %s", loader->component,
               device->status_text (device, status));
  return FALSE;
}

void
eng_loader_place (const eng_loader *loader, guint first, guint n, krn_dtype dtype, char *base)
{
  size_t offset = 0;

  for (guint i = first; i < first + n; i++) {
    const struct eng_want *want = &g_array_index (loader->wants, struct eng_want, i);

    *want->target = want->tensor;
    want->target->data = base + offset;
    want->target->dtype = want->constant ? KRN_F32 : dtype;
    offset += eng_want_bytes (want, dtype);
  }
}

static void
report_until_done (eng_sender *sender, const struct eng_loading *how)
{
  const size_t total = eng_sender_get_total (sender);
  size_t reported = 0, done;

  while (reported < total) {
    done = eng_sender_wait_bytes (sender, MIN (reported + PROGRESS_BYTES, total) - 1);
    if (done <= reported || (done < total && done < reported + PROGRESS_BYTES))
      return; /* it failed */
    if (how->progress && !(how->cancelled && g_atomic_int_get (how->cancelled)))
      how->progress (done, total, how->data);
    reported = done;
  }
}

static gboolean
send_all (eng_loader *const *loaders, int n, const struct eng_loading *how, GError **error)
{
  g_autoptr (GArray) chunks = g_array_new (FALSE, FALSE, sizeof (struct eng_chunk));
  eng_sender *sender;
  gboolean ok;

  for (int i = 0; i < n; i++)
    for (guint k = 0; k < loaders[i]->wants->len; k++) {
      const struct eng_want *want = &g_array_index (loaders[i]->wants, struct eng_want, k);
      eng_sender_add_chunks (chunks, loaders[i], want, *want->target, 0);
    }

  sender = eng_sender_new (how->device, how->stream, chunks);
  eng_sender_start (sender, 1, how->cancelled);
  report_until_done (sender, how);
  ok = eng_sender_finish (sender, error);
  eng_sender_free (sender);
  return ok;
}

/* What was wrong when the wants were gathered; or cancelled before anything is done. */
static gboolean
may_begin (eng_loader *const *loaders, int n, const struct eng_loading *how, GError **error)
{
  for (int i = 0; i < n; i++)
    if (loaders[i]->error) {
      g_propagate_error (error, g_error_copy (loaders[i]->error));
      return FALSE;
    }
  if (n == 0 || !how->cancelled || !g_atomic_int_get (how->cancelled))
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_CANCELLED, "%s: cancelled", loaders[0]->component);
  return FALSE;
}

gboolean
eng_loaders_finish (eng_loader *const *loaders, int n, void **blocks, const struct eng_loading *how,
                    GError **error)
{
  const krn_dtype dtype = how->device->weight;
  gboolean ok = may_begin (loaders, n, how, error);

  for (int i = 0; i < n; i++)
    blocks[i] = NULL;
  for (int i = 0; i < n && ok; i++) {
    ok = alloc_block (loaders[i], how->device, eng_loader_get_bytes (loaders[i], dtype), &blocks[i],
                      error);
    if (ok)
      eng_loader_place (loaders[i], 0, loaders[i]->wants->len, dtype, blocks[i]);
  }
  if (ok && send_all (loaders, n, how, error))
    return TRUE;

  for (int i = 0; i < n; i++) {
    how->device->free_memory (how->device, g_steal_pointer (&blocks[i]));
    for (guint k = 0; k < loaders[i]->wants->len; k++)
      *g_array_index (loaders[i]->wants, struct eng_want, k).target = (krn_tensor){ 0 };
  }
  return FALSE;
}
