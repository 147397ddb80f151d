/* engine/write_file.h - puts a file on disk whole, or not at all. */
#pragma once

#include <glib.h>

/* Writes to a temporary file in path's folder, syncs it, renames it over path and syncs the folder:
 * whatever goes wrong, and should the power fail, path holds either all of bytes or what it held
 * before.  A new file gets the permissions that umask leaves, an older one's are kept, a symbolic
 * link to a file is followed.  What is no file (/dev/stdout, a pipe) is written to as it is.  FALSE
 * and error (ENG_ERROR_FILE) name path and the reason.  Blocking; any thread. */
gboolean eng_write_file (const char *path, const void *bytes, gsize n, GError **error);
