#include "kernels/cuda/cache.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_RECORDS = 4096 };

/* The file: this, then the records, each a key and its value. */
struct header {
  char magic[16];
  uint64_t key_size, value_size, records;
  uint64_t hash; /* of the records */
};

static const char magic[16] = "safelight cache";

struct krn_cache {
  char *path; /* owned; NULL: memory only */
  size_t key_size, value_size, record_size;
  size_t n;
  char *records; /* owned, n times record_size */
};

/* FNV-1a. */
static uint64_t
hash_bytes (const char *bytes, size_t n)
{
  uint64_t hash = 14695981039346656037u;

  for (size_t i = 0; i < n; i++)
    hash = (hash ^ (unsigned char) bytes[i]) * 1099511628211u;
  return hash;
}

char *
krn_cache_path (const char *name)
{
  const char *base = getenv ("XDG_CACHE_HOME"), *home = getenv ("HOME");
  const bool xdg = base && base[0] == '/';
  char *path = NULL, *file;
  int length;

  if (!xdg && (!home || home[0] != '/'))
    return NULL;
  length = asprintf (&path, "%s%s/safelight/%s", xdg ? base : home, xdg ? "" : "/.cache", name);
  if (length < 0)
    return NULL;
  file = path + length - strlen (name);
  for (char *c = file; *c; c++)
    if (!isalnum ((unsigned char) *c) && *c != '.')
      *c = '-';
  for (char *slash = strchr (path + 1, '/'); slash && slash < file;
       slash = strchr (slash + 1, '/')) {
    *slash = '\0';
    mkdir (path, 0700); /* it may be there; when it cannot be made, writing says so */
    *slash = '/';
  }
  return path;
}

static const char *
find_in (const char *records, size_t n, const struct krn_cache *cache, const void *key)
{
  for (size_t i = 0; i < n; i++)
    if (memcmp (records + i * cache->record_size, key, cache->key_size) == 0)
      return records + i * cache->record_size;
  return NULL;
}

/* The file's records, which the caller frees; NULL when there are none that can be trusted. */
static char *
read_records (const struct krn_cache *cache, size_t *n)
{
  FILE *file = cache->path ? fopen (cache->path, "rbe") : NULL;
  struct header header;
  char *records = NULL;

  *n = 0;
  if (!file)
    return NULL;
  if (fread (&header, sizeof header, 1, file) == 1 &&
      memcmp (header.magic, magic, sizeof magic) == 0 && header.key_size == cache->key_size &&
      header.value_size == cache->value_size && header.records > 0 &&
      header.records <= MOST_RECORDS)
    records = malloc (header.records * cache->record_size);
  if (records && (fread (records, cache->record_size, header.records, file) != header.records ||
                  hash_bytes (records, header.records * cache->record_size) != header.hash)) {
    free (records);
    records = NULL;
  }
  if (records)
    *n = header.records;
  fclose (file);
  return records;
}

/* Makes room for one more; false: no memory, or too many. */
static char *
add_record (struct krn_cache *cache)
{
  char *records;

  if (cache->n >= MOST_RECORDS)
    return NULL;
  records = realloc (cache->records, (cache->n + 1) * cache->record_size);
  if (!records)
    return NULL;
  cache->records = records;
  return records + cache->n++ * cache->record_size;
}

static void
merge_file (struct krn_cache *cache)
{
  size_t n;
  char *records = read_records (cache, &n);

  for (size_t i = 0; i < n; i++) {
    const char *from = records + i * cache->record_size;
    char *to = find_in (cache->records, cache->n, cache, from) ? NULL : add_record (cache);

    if (to)
      memcpy (to, from, cache->record_size);
  }
  free (records);
}

/* Through a file of another name, so that a reader sees the old one or the new. */
static void
write_file (const struct krn_cache *cache)
{
  struct header header = { .key_size = cache->key_size,
                           .value_size = cache->value_size,
                           .records = cache->n };
  char *name = NULL;
  bool written;
  FILE *file;

  memcpy (header.magic, magic, sizeof magic);
  header.hash = hash_bytes (cache->records, cache->n * cache->record_size);
  if (asprintf (&name, "%s.%ld", cache->path, (long) getpid ()) < 0)
    return;
  file = fopen (name, "wbe");
  if (file) {
    written = fwrite (&header, sizeof header, 1, file) == 1 &&
              fwrite (cache->records, cache->record_size, cache->n, file) == cache->n;
    written = fclose (file) == 0 && written;
    if (!written || rename (name, cache->path) != 0)
      unlink (name);
  }
  free (name);
}

struct krn_cache *
krn_cache_open (const char *name, size_t key_size, size_t value_size)
{
  struct krn_cache *self = calloc (1, sizeof *self);

  if (!self)
    return NULL;
  self->key_size = key_size;
  self->value_size = value_size;
  self->record_size = key_size + value_size;
  self->path = krn_cache_path (name);
  merge_file (self);
  return self;
}

void
krn_cache_free (struct krn_cache *cache)
{
  if (!cache)
    return;
  free (cache->path);
  free (cache->records);
  free (cache);
}

const void *
krn_cache_find (const struct krn_cache *cache, const void *key)
{
  const char *record = find_in (cache->records, cache->n, cache, key);

  return record ? record + cache->key_size : NULL;
}

void
krn_cache_put (struct krn_cache *cache, const void *key, const void *value)
{
  char *record = (char *) find_in (cache->records, cache->n, cache, key);

  record = record ? record : add_record (cache);
  if (!record)
    return;
  memcpy (record, key, cache->key_size);
  memcpy (record + cache->key_size, value, cache->value_size);
  if (cache->path) {
    merge_file (cache);
    write_file (cache);
  }
}
