/* kernels/cuda/cudnn_cache.c - plans of cuDNN in files: $XDG_CACHE_HOME/safelight/cudnn-HASH.plan.
 */
#include "kernels/cuda/cudnn_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

/* The folder's path, made if make; FALSE when there is no home. */
static bool
find_folder (char *path, size_t size, bool make)
{
  const char *cache = getenv ("XDG_CACHE_HOME"), *home = getenv ("HOME");
  char parent[3072];

  if (cache && *cache == '/')
    snprintf (parent, sizeof parent, "%s", cache);
  else if (home && *home == '/')
    snprintf (parent, sizeof parent, "%s/.cache", home);
  else
    return false;
  if (make)
    mkdir (parent, 0700); /* the next one fails if this does */
  snprintf (path, size, "%s/safelight", parent);
  if (make)
    mkdir (path, 0700);
  return true;
}

static bool
find_file (char *path, size_t size, const struct krn_cudnn *cudnn, const struct cudnn_key *key,
           bool make)
{
  struct head named = make_head (cudnn, key, NULL, 0);
  char folder[3200];

  if (!find_folder (folder, sizeof folder, make))
    return false;
  return snprintf (path, size, "%s/cudnn-%016llx.plan", folder,
                   (unsigned long long) hash (&named, sizeof named)) < (int) size;
}

char *
cudnn_cache_read (const struct krn_cudnn *cudnn, const struct cudnn_key *key, size_t *size)
{
  struct head head, want;
  char path[4096], *text = NULL;
  FILE *file;

  if (!find_file (path, sizeof path, cudnn, key, false))
    return NULL;
  file = fopen (path, "rbe");
  if (!file)
    return NULL;
  if (fread (&head, sizeof head, 1, file) == 1 && head.size > 0 && head.size <= MOST_BYTES)
    text = malloc (head.size);
  if (text && fread (text, 1, head.size, file) == head.size) {
    want = make_head (cudnn, key, text, head.size);
    *size = head.size;
    if (memcmp (&head, &want, sizeof head) == 0 && fgetc (file) == EOF) {
      fclose (file);
      return text;
    }
  }
  free (text);
  fclose (file);
  return NULL;
}

void
cudnn_cache_write (const struct krn_cudnn *cudnn, const struct cudnn_key *key, const char *text,
                   size_t size)
{
  const struct head head = make_head (cudnn, key, text, size);
  char path[4096], part[4112];
  bool written;
  FILE *file;

  if (!find_file (path, sizeof path, cudnn, key, true))
    return;
  snprintf (part, sizeof part, "%s.%ld", path, (long) getpid ());
  file = fopen (part, "wbe");
  if (!file)
    return;
  written = fwrite (&head, sizeof head, 1, file) == 1 && fwrite (text, 1, size, file) == size;
  if (fclose (file) != 0 || !written || rename (part, path) != 0)
    unlink (part);
}
