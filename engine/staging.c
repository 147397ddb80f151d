#include "engine/staging.h"

#include "engine/error.h"

enum {
  ALIGNMENT = 64,
  LEAST = 1 << 20,  /* of a block */
  KEPT = 256 << 20, /* more than a picture of 2048x2048 needs */
};

struct block {
  char *memory;
  size_t size, used;
};

struct eng_staging {
  struct krn_device *device;
  GArray *blocks; /* of struct block; the last one is given out from */
};

eng_staging *
eng_staging_new (struct krn_device *device)
{
  eng_staging *staging = g_new0 (eng_staging, 1);

  staging->device = device;
  staging->blocks = g_array_new (FALSE, FALSE, sizeof (struct block));
  return staging;
}

static void
free_blocks (eng_staging *staging)
{
  for (guint i = 0; i < staging->blocks->len; i++)
    staging->device->host_free (staging->device,
                                g_array_index (staging->blocks, struct block, i).memory);
  g_array_set_size (staging->blocks, 0);
}

void
eng_staging_free (eng_staging *staging)
{
  if (!staging)
    return;
  free_blocks (staging);
  g_array_unref (staging->blocks);
  g_free (staging);
}

static struct block *
add_block (eng_staging *staging, size_t size)
{
  struct block block = { NULL, MAX (size, (size_t) LEAST), 0 };

  if (staging->device->host_alloc (staging->device, (void **) &block.memory, block.size))
    return NULL;
  g_array_append_val (staging->blocks, block);
  return &g_array_index (staging->blocks, struct block, staging->blocks->len - 1);
}

void *
eng_staging_take (eng_staging *staging, size_t bytes, const char *what, GError **error)
{
  const size_t size = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  struct block *block = NULL;

  if (staging->blocks->len > 0)
    block = &g_array_index (staging->blocks, struct block, staging->blocks->len - 1);
  if (size >= bytes && (!block || block->size - block->used < size))
    block = add_block (staging, size);
  if (size < bytes || !block) {
    g_autofree char *needed = g_format_size (bytes);
    g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY, "%s needs %s of host memory", what, needed);
    return NULL;
  }
  block->used += size;
  return block->memory + block->used - size;
}

/* Several blocks become one that holds as much, so that the next picture like this one finds all it
 * needs. */
void
eng_staging_reset (eng_staging *staging)
{
  size_t total = 0;

  for (guint i = 0; i < staging->blocks->len; i++) {
    struct block *block = &g_array_index (staging->blocks, struct block, i);

    total += block->size;
    block->used = 0;
  }
  if (staging->blocks->len < 2 && total <= KEPT)
    return;
  free_blocks (staging);
  if (total <= KEPT)
    add_block (staging, total);
}
