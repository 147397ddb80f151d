#include "engine/safetensors.h"

#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_reader.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  MAX_HEADER = 100 << 20, /* the format's own limit */
  MAX_DIMS = 32,          /* more than any tensor has; a bound for the reader's buffer */
};

/* A tensor's entry in the header, before it is believed. */
struct entry {
  const char *name; /* owned by the file's names */
  int dtype;        /* index in dtypes; -1: none yet */
  int n_dims;       /* -1: no shape yet */
  guint64 dim[MAX_DIMS];
  gint64 begin, end; /* -1: no offsets yet */
};

/* What kernels cannot convert counts as bytes; a loader looks at the name. */
static const struct {
  const char *name;
  int bits;
  krn_dtype dtype;
} dtypes[] = {
  { "F32", 32, KRN_F32 },   { "BF16", 16, KRN_BF16 },     { "F16", 16, KRN_F16 },
  { "F64", 64, KRN_U8 },    { "I64", 64, KRN_U8 },        { "I32", 32, KRN_I32 },
  { "I16", 16, KRN_U8 },    { "I8", 8, KRN_U8 },          { "U64", 64, KRN_U8 },
  { "U32", 32, KRN_U8 },    { "U16", 16, KRN_U8 },        { "U8", 8, KRN_U8 },
  { "BOOL", 8, KRN_U8 },    { "F8_E4M3", 8, KRN_U8 },     { "F8_E5M2", 8, KRN_U8 },
  { "F8_E8M0", 8, KRN_U8 }, { "F8_E4M3FNUZ", 8, KRN_U8 }, { "F8_E5M2FNUZ", 8, KRN_U8 },
  { "F6_E2M3", 6, KRN_U8 }, { "F6_E3M2", 6, KRN_U8 },     { "F4", 4, KRN_U8 },
  { "C64", 64, KRN_U8 },
};

static void
read_dtype (eng_json_reader *reader, struct entry *entry)
{
  const char *name = eng_json_reader_read_string (reader);

  for (guint i = 0; name && i < G_N_ELEMENTS (dtypes); i++)
    if (g_str_equal (name, dtypes[i].name)) {
      entry->dtype = i;
      return;
    }
  if (name)
    eng_json_reader_fail (reader, "\"%s\" has the unknown dtype \"%s\"", entry->name, name);
}

static void
read_shape (eng_json_reader *reader, struct entry *entry)
{
  gint64 size;

  entry->n_dims = 0;
  if (!eng_json_reader_enter_array (reader))
    return;
  while (eng_json_reader_next_element (reader)) {
    if (!eng_json_reader_read_int (reader, &size))
      return;
    if (size < 0)
      eng_json_reader_fail (reader, "\"%s\" has the size %" G_GINT64_FORMAT, entry->name, size);
    else if (entry->n_dims == MAX_DIMS)
      eng_json_reader_fail (reader, "\"%s\" has more than %d dimensions", entry->name, MAX_DIMS);
    else
      entry->dim[entry->n_dims++] = size;
  }
}

static void
read_offsets (eng_json_reader *reader, struct entry *entry)
{
  gint64 offset[2] = { -1, -1 };
  int n = 0;

  if (!eng_json_reader_enter_array (reader))
    return;
  for (; eng_json_reader_next_element (reader); n++)
    if (!eng_json_reader_read_int (reader, &offset[MIN (n, 1)]))
      return;
  if (n != 2 || offset[0] < 0 || offset[1] < offset[0])
    eng_json_reader_fail (reader, "\"%s\" has impossible data_offsets", entry->name);
  entry->begin = offset[0];
  entry->end = offset[1];
}

/* Bytes that the shape takes; FALSE when that passes 64 bits or is no whole number of bytes. */
static gboolean
entry_bytes (const struct entry *entry, guint64 *bytes)
{
  guint64 bits = dtypes[entry->dtype].bits;

  for (int i = 0; i < entry->n_dims; i++)
    if (entry->dim[i] == 0) {
      *bytes = 0;
      return TRUE;
    }
  for (int i = 0; i < entry->n_dims; i++)
    if (!g_uint64_checked_mul (&bits, bits, entry->dim[i]))
      return FALSE;
  *bytes = bits / 8;
  return bits % 8 == 0;
}

static gboolean
check_entry (eng_json_reader *reader, const eng_safetensors *file, const struct entry *entry)
{
  guint64 bytes;

  if (entry->dtype < 0 || entry->n_dims < 0 || entry->end < 0)
    return eng_json_reader_fail (reader, "\"%s\" lacks its %s", entry->name,
                                 entry->dtype < 0    ? "dtype"
                                 : entry->n_dims < 0 ? "shape"
                                                     : "data_offsets");
  if ((guint64) entry->end > file->data_size)
    return eng_json_reader_fail (reader,
                                 "\"%s\" spans bytes %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
                                 ", but the file has %" G_GUINT64_FORMAT " bytes of data",
                                 entry->name, entry->begin, entry->end, file->data_size);
  if (!entry_bytes (entry, &bytes))
    return eng_json_reader_fail (reader, "\"%s\" has an impossible shape", entry->name);
  if (bytes != (guint64) (entry->end - entry->begin))
    return eng_json_reader_fail (
        reader, "\"%s\" has %" G_GINT64_FORMAT " bytes, but its shape takes %" G_GUINT64_FORMAT,
        entry->name, entry->end - entry->begin, bytes);
  return TRUE;
}

static void
add_entry (eng_safetensors *file, const struct entry *entry)
{
  struct eng_tensor_info info = {
    .name = entry->name,
    .dtype = dtypes[entry->dtype].dtype,
    .on_disk = dtypes[entry->dtype].name,
    .n_dims = entry->n_dims,
    .data = file->data + entry->begin,
    .bytes = entry->end - entry->begin,
  };

  for (int i = 0; i < MIN (entry->n_dims, 4); i++)
    info.dim[i] = entry->dim[i];
  g_array_append_val (file->tensors, info);
}

static gboolean
read_entry (eng_json_reader *reader, eng_safetensors *file, const char *name)
{
  struct entry entry = { .name = name, .dtype = -1, .n_dims = -1, .begin = -1, .end = -1 };
  const char *key;

  if (!eng_json_reader_enter_object (reader))
    return FALSE;
  while ((key = eng_json_reader_next_member (reader)))
    if (g_str_equal (key, "dtype"))
      read_dtype (reader, &entry);
    else if (g_str_equal (key, "shape"))
      read_shape (reader, &entry);
    else if (g_str_equal (key, "data_offsets"))
      read_offsets (reader, &entry);
    else
      eng_json_reader_skip (reader);

  if (!eng_json_reader_ok (reader) || !check_entry (reader, file, &entry))
    return FALSE;
  add_entry (file, &entry);
  return TRUE;
}

static void
read_metadata (eng_json_reader *reader, GHashTable *metadata)
{
  const char *key;

  if (!eng_json_reader_enter_object (reader))
    return;
  while ((key = eng_json_reader_next_member (reader))) {
    g_autofree char *name = g_strdup (key);
    const char *value;

    if (eng_json_reader_peek (reader) != '"')
      eng_json_reader_fail (reader, "__metadata__ \"%s\" is not a string", name);
    value = eng_json_reader_read_string (reader);
    if (value)
      g_hash_table_insert (metadata, g_steal_pointer (&name), g_strdup (value));
  }
}

static gboolean
read_header (eng_safetensors *file, const char *text, gsize length, GError **error)
{
  g_auto (eng_json_reader) reader = { 0 };
  const char *key;

  eng_json_reader_init (&reader, file->label, text, length);
  if (eng_json_reader_ok (&reader) && eng_json_reader_peek (&reader) != '{')
    eng_json_reader_fail (&reader, "the header is not a JSON object");
  eng_json_reader_enter_object (&reader);
  while (eng_json_reader_ok (&reader) && (key = eng_json_reader_next_member (&reader))) {
    const char *name = g_string_chunk_insert (file->names, key);

    if (!*name)
      eng_json_reader_fail (&reader, "a tensor has no name");
    else if (!g_hash_table_add (file->seen, (char *) name))
      eng_json_reader_fail (&reader, "\"%s\" comes twice", name);
    else if (g_str_equal (name, "__metadata__"))
      read_metadata (&reader, file->metadata);
    else
      read_entry (&reader, file, name);
  }
  return eng_json_reader_finish (&reader, error);
}

static int
compare_offsets (gconstpointer a, gconstpointer b)
{
  const struct eng_tensor_info *s = a, *t = b;

  if (s->data != t->data)
    return (const char *) s->data < (const char *) t->data ? -1 : 1;
  return (s->bytes > t->bytes) - (s->bytes < t->bytes);
}

/* Sorts the tensors by offset; FALSE and error when two share a byte. */
static gboolean
sort_tensors (eng_safetensors *file, GError **error)
{
  const struct eng_tensor_info *t;

  g_array_sort (file->tensors, compare_offsets);
  t = (const void *) file->tensors->data;
  for (guint i = 1; i < file->tensors->len; i++)
    if ((const char *) t[i - 1].data + t[i - 1].bytes > (const char *) t[i].data) {
      g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: \"%s\" and \"%s\" overlap", file->label,
                   t[i - 1].name, t[i].name);
      return FALSE;
    }
  return TRUE;
}

/* Maps the file and sets data and data_size; the header is copied out, so that a file which is cut
 * short while it is opened does no harm.  NULL and error when it is shorter than it says. */
static char *
map_file (eng_safetensors *file, goffset size, gsize *header_size, GError **error)
{
  g_autofree char *header = NULL;
  g_autoptr (GError) why = NULL;
  guint64 length;

  if (size < 8 || eng_json_read_at (file->fd, &length, 8, 0) != 8) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE,
                 "%s: has %" G_GOFFSET_FORMAT " bytes, too short for a safetensors file",
                 file->label, size);
    return NULL;
  }
  length = GUINT64_FROM_LE (length);
  if (length > MAX_HEADER || length > (guint64) size - 8) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE,
                 "%s: the header should have %" G_GUINT64_FORMAT
                 " bytes, but the file has %" G_GOFFSET_FORMAT,
                 file->label, length, size);
    return NULL;
  }
  header = g_malloc (length + 1);
  file->mapping = g_mapped_file_new_from_fd (file->fd, FALSE, &why);
  if (!file->mapping) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: %s", file->label, why->message);
    return NULL;
  }
  if (eng_json_read_at (file->fd, header, length, 8) != (gssize) length ||
      g_mapped_file_get_length (file->mapping) < (gsize) size) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: became shorter while it was opened",
                 file->label);
    return NULL;
  }
  file->data = g_mapped_file_get_contents (file->mapping) + 8 + length;
  file->data_size = size - 8 - length;
  *header_size = length;
  return g_steal_pointer (&header);
}

eng_safetensors *
eng_safetensors_open (const char *path, GError **error)
{
  g_autoptr (eng_safetensors) file = g_new0 (eng_safetensors, 1);
  g_autofree char *header = NULL;
  gsize header_size;
  goffset size;

  file->label = eng_json_dup_label (path);
  file->tensors = g_array_new (FALSE, FALSE, sizeof (struct eng_tensor_info));
  file->names = g_string_chunk_new (16384);
  file->seen = g_hash_table_new (g_str_hash, g_str_equal);
  file->metadata = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);

  file->fd = eng_json_open_file (path, &size, error);
  if (file->fd < 0)
    return NULL;
  header = map_file (file, size, &header_size, error);
  if (!header || !read_header (file, header, header_size, error) || !sort_tensors (file, error))
    return NULL;
  return g_steal_pointer (&file);
}

void
eng_safetensors_free (eng_safetensors *file)
{
  g_clear_pointer (&file->mapping, g_mapped_file_unref);
  if (file->fd >= 0)
    close (file->fd);
  g_hash_table_unref (file->metadata);
  g_hash_table_unref (file->seen);
  g_string_chunk_free (file->names);
  g_array_unref (file->tensors);
  g_free (file->label);
  g_free (file);
}

gboolean
eng_safetensors_read (const eng_safetensors *file, const struct eng_tensor_info *tensor,
                      size_t from, void *to, size_t bytes, GError **error)
{
  const char *contents = g_mapped_file_get_contents (file->mapping);
  const goffset begin = (const char *) tensor->data - contents;
  const gssize n = eng_json_read_at (file->fd, to, bytes, begin + from);
  struct stat info = { 0 };

  if (n == (gssize) bytes)
    return TRUE;
  if (n < 0) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: \"%s\" could not be read: %s", file->label,
                 tensor->name, g_strerror (errno));
    return FALSE;
  }
  fstat (file->fd, &info);
  g_set_error (error, ENG_ERROR, ENG_ERROR_FILE,
               "%s: became shorter while it was read: \"%s\" ends at byte %" G_GOFFSET_FORMAT
               ", but the file has %" G_GOFFSET_FORMAT,
               file->label, tensor->name, begin + (goffset) tensor->bytes, (goffset) info.st_size);
  return FALSE;
}
