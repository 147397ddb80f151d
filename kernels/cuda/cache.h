/* kernels/cuda/cache.h - what was found out about this GPU and is worth keeping for the next start:
 * records of a key and a value, both of fixed sizes, in one file of the user's cache folder
 * ($XDG_CACHE_HOME or ~/.cache, then safelight/).
 *
 * Only a cache: a file that is missing, broken or of other sizes counts as empty and is replaced,
 * and where no file can be written the records live as long as the process.  One thread at a time.
 * Plain C. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct krn_cache;

/* Makes the folder, and gives the path of name in it, which the caller frees; NULL: there is none.
 * What is no letter, digit, dot or dash in name becomes a dash. */
char *krn_cache_path (const char *name);

/* name: of the file, as above.  NULL: no memory. */
struct krn_cache *krn_cache_open (const char *name, size_t key_size, size_t value_size);
void krn_cache_free (struct krn_cache *cache); /* NULL allowed */

/* The value of a key, borrowed until the next put; NULL: not there. */
const void *krn_cache_find (const struct krn_cache *cache, const void *key);
/* Adds or replaces a record and writes the file anew, with what other processes wrote meanwhile. */
void krn_cache_put (struct krn_cache *cache, const void *key, const void *value);
