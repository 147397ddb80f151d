#include "engine/write_file.h"

#include "engine/error.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static gboolean
fail (const char *path, int code, GError **error)
{
  g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s could not be written: %s", path,
               g_strerror (code));
  return FALSE;
}

/* 0, or errno. */
static int
write_all (int fd, const char *bytes, gsize n)
{
  while (n > 0) {
    const gssize written = write (fd, bytes, MIN (n, 1 << 30));

    if (written < 0 && errno == EINTR)
      continue;
    if (written < 0)
      return errno;
    bytes += written;
    n -= written;
  }
  return 0;
}

/* 0, or errno.  Some file systems cannot sync, which is no failure. */
static int
sync_fd (int fd)
{
  while (fsync (fd))
    if (errno != EINTR)
      return errno == EINVAL || errno == ENOSYS || errno == EROFS ? 0 : errno;
  return 0;
}

/* Best effort: the file itself is whole by now. */
static void
sync_folder (const char *folder)
{
  const int fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

  if (fd < 0)
    return;
  sync_fd (fd);
  close (fd);
}

/* Fills and closes fd, which is open on the temporary file.  0, or errno. */
static int
fill (int fd, const void *bytes, gsize n, const struct stat *older)
{
  int code = write_all (fd, bytes, n);

  if (!code && older && fchmod (fd, older->st_mode & 0777))
    code = errno;
  if (!code)
    code = sync_fd (fd);
  if (close (fd) && !code)
    code = errno;
  return code;
}

static int
write_special (const char *path, const void *bytes, gsize n)
{
  const int fd = open (path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
  int code;

  if (fd < 0)
    return errno;
  code = write_all (fd, bytes, n);
  if (close (fd) && !code)
    code = errno;
  return code;
}

/* target: path without symbolic links.  0, or errno. */
static int
replace (const char *target, const void *bytes, gsize n, const struct stat *older)
{
  g_autofree char *folder = g_path_get_dirname (target);
  g_autofree char *temporary = g_build_filename (folder, ".safelight-XXXXXX", NULL);
  const int fd = g_mkstemp_full (temporary, O_WRONLY | O_CLOEXEC, 0666);
  int code;

  if (fd < 0)
    return errno;
  code = fill (fd, bytes, n, older);
  if (!code && g_rename (temporary, target))
    code = errno;
  if (code)
    g_unlink (temporary);
  else
    sync_folder (folder);
  return code;
}

gboolean
eng_write_file (const char *path, const void *bytes, gsize n, GError **error)
{
  struct stat older;
  const gboolean exists = stat (path, &older) == 0;
  int code;

  if (exists && S_ISDIR (older.st_mode))
    code = EISDIR;
  else if (exists && !S_ISREG (older.st_mode))
    code = write_special (path, bytes, n);
  else {
    /* realpath allocates with malloc. */
    char *target = exists ? realpath (path, NULL) : NULL;

    code = replace (target ? target : path, bytes, n, exists ? &older : NULL);
    free (target);
  }
  return code ? fail (path, code, error) : TRUE;
}
