/* kernels/cuda/cudnn_cache.c - plans of cuDNN, each in a file of the user's cache folder. */
#include "kernels/cuda/cache.h"
#include "kernels/cuda/cudnn_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file is this and the text.  Whatever differs, it is as if it were not there. */
struct head {
  char magic[8];
  uint64_t version; /* of cuDNN */
  char gpu[128];
  struct cudnn_key key;
  uint64_t size, check; /* of the text */
};

static const char magic[8] = "slcudnn1";
enum { MOST_BYTES = 64 << 20 }; /* of a text that is believed */

/* FNV-1a of 64 bits. */
static uint64_t
hash (const void *data, size_t size)
{
  const unsigned char *bytes = data;
  uint64_t hash = 14695981039346656037u;

  for (size_t i = 0; i < size; i++)
    hash = (hash ^ bytes[i]) * 1099511628211u;
  return hash;
}

static struct head
make_head (const struct krn_cudnn *cudnn, const struct cudnn_key *key, const char *text,
           size_t size)
{
  struct head head = { .version = cudnn->version, .key = *key, .size = size };

  memcpy (head.magic, magic, sizeof magic);
  memcpy (head.gpu, cudnn->gpu, sizeof head.gpu);
  head.check = hash (text, size);
  return head;
}

/* NULL when there is no folder. */
static char *
find_file (const struct krn_cudnn *cudnn, const struct cudnn_key *key)
{
  const struct head named = make_head (cudnn, key, NULL, 0);
  char name[64];

  snprintf (name, sizeof name, "cudnn-%016llx.plan",
            (unsigned long long) hash (&named, sizeof named));
  return krn_cache_path (name);
}

/* NULL when the file holds something else, or not all of it. */
static char *
read_text (FILE *file, const struct krn_cudnn *cudnn, const struct cudnn_key *key, size_t *size)
{
  struct head head, want;
  char *text = NULL;

  if (fread (&head, sizeof head, 1, file) == 1 && head.size > 0 && head.size <= MOST_BYTES)
    text = malloc (head.size);
  if (text && fread (text, 1, head.size, file) == head.size) {
    want = make_head (cudnn, key, text, head.size);
    *size = head.size;
    if (memcmp (&head, &want, sizeof head) == 0 && fgetc (file) == EOF)
      return text;
  }
  free (text);
  return NULL;
}

char *
cudnn_cache_read (const struct krn_cudnn *cudnn, const struct cudnn_key *key, size_t *size)
{
  char *path = find_file (cudnn, key), *text = NULL;
  FILE *file = path ? fopen (path, "rbe") : NULL;

  if (file) {
    text = read_text (file, cudnn, key, size);
    fclose (file);
  }
  free (path);
  return text;
}

void
cudnn_cache_write (const struct krn_cudnn *cudnn, const struct cudnn_key *key, const char *text,
                   size_t size)
{
  const struct head head = make_head (cudnn, key, text, size);
  char *path = find_file (cudnn, key), *part = NULL;
  FILE *file = NULL;

  if (path && asprintf (&part, "%s.%ld", path, (long) getpid ()) < 0)
    part = NULL;
  if (part)
    file = fopen (part, "wbe");
  if (file) {
    const bool written =
        fwrite (&head, sizeof head, 1, file) == 1 && fwrite (text, 1, size, file) == size;

    if (fclose (file) != 0 || !written || rename (part, path) != 0)
      unlink (part);
  }
  free (part);
  free (path);
}
