/* tests/tmp_folder.h - a folder of small files for one test, and .safetensors files to put in. */
#pragma once

#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef char tmp_folder; /* its path */

static inline tmp_folder *
tmp_folder_new (void)
{
  g_autoptr (GError) error = NULL;
  char *folder = g_dir_make_tmp ("safelight-XXXXXX", &error);

  g_assert_no_error (error);
  return folder;
}

/* Removes the files in it, and it. */
static inline void
tmp_folder_free (tmp_folder *folder)
{
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const char *name;

  while (dir && (name = g_dir_read_name (dir))) {
    g_autofree char *path = g_build_filename (folder, name, NULL);
    g_remove (path);
  }
  g_rmdir (folder);
  g_free (folder);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (tmp_folder, tmp_folder_free)

/* Writes a file and returns its path, which the caller frees. */
static inline char *
tmp_folder_write (const tmp_folder *folder, const char *name, const void *bytes, gsize n)
{
  g_autoptr (GError) error = NULL;
  char *path = g_build_filename (folder, name, NULL);

  g_file_set_contents_full (path, bytes, n, G_FILE_SET_CONTENTS_NONE, 0600, &error);
  g_assert_no_error (error);
  return path;
}

static inline char *
tmp_folder_write_text (const tmp_folder *folder, const char *name, const char *text)
{
  return tmp_folder_write (folder, name, text, strlen (text));
}

/* A file without a disk below it, for loops over thousands of contents; its path is *path.  The
 * caller closes the descriptor and frees path. */
static inline int
tmp_memory_open (char **path)
{
  const int fd = memfd_create ("test", MFD_CLOEXEC);

  g_assert_cmpint (fd, >=, 0);
  *path = g_strdup_printf ("/proc/self/fd/%d", fd);
  return fd;
}

static inline void
tmp_memory_set (int fd, const void *bytes, gsize n)
{
  g_assert_cmpint (ftruncate (fd, 0), ==, 0);
  g_assert_cmpint (pwrite (fd, bytes, n, 0), ==, n);
}

/* A .safetensors file of that header and n bytes of data. */
static inline char *
tmp_folder_write_tensors (const tmp_folder *folder, const char *name, const char *header,
                          const void *data, gsize n)
{
  g_autoptr (GByteArray) file = g_byte_array_new ();
  const guint64 length = GUINT64_TO_LE ((guint64) strlen (header));

  g_byte_array_append (file, (const guint8 *) &length, 8);
  g_byte_array_append (file, (const guint8 *) header, strlen (header));
  g_byte_array_append (file, data, n);
  return tmp_folder_write (folder, name, file->data, file->len);
}
