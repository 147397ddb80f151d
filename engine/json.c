#include "engine/json.h"

#include "engine/error.h"
#include "engine/json_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_CONFIG_BYTES = 4 << 20 };

char *
eng_json_dup_label (const char *path)
{
  g_autofree char *file = g_path_get_basename (path);
  g_autofree char *folder = g_path_get_dirname (path);
  g_autofree char *parent = g_path_get_basename (folder);
  g_autofree char *label = NULL;

  if (g_str_equal (parent, ".") || g_str_equal (parent, G_DIR_SEPARATOR_S))
    return g_filename_display_name (file);
  label = g_build_filename (parent, file, NULL);
  return g_filename_display_name (label);
}

int
eng_json_open_file (const char *path, goffset *size, GError **error)
{
  g_autofree char *label = eng_json_dup_label (path);
  const int fd = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat info;

  if (fd < 0) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: %s", label, g_strerror (errno));
    return -1;
  }
  if (fstat (fd, &info) != 0 || !S_ISREG (info.st_mode)) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: not a regular file", label);
    close (fd);
    return -1;
  }
  *size = info.st_size;
  return fd;
}

gssize
eng_json_read_at (int fd, void *to, gsize length, goffset offset)
{
  gsize done = 0;

  while (done < length) {
    const gssize n = pread (fd, (char *) to + done, length - done, offset + done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -1;
    if (n == 0)
      break;
    done += n;
  }
  return done;
}

char *
eng_json_read_text (const char *path, gsize max_bytes, gsize *length, GError **error)
{
  g_autofree char *label = eng_json_dup_label (path);
  g_autofree char *text = NULL;
  goffset size;
  gssize n;
  const int fd = eng_json_open_file (path, &size, error);

  if (fd < 0)
    return NULL;
  if ((guint64) size > max_bytes) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE,
                 "%s: has %" G_GOFFSET_FORMAT " bytes, at most %zu are read", label, size,
                 max_bytes);
    close (fd);
    return NULL;
  }
  text = g_malloc (size + 1);
  n = eng_json_read_at (fd, text, size, 0);
  if (n < 0)
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: %s", label, g_strerror (errno));
  close (fd);
  if (n < 0)
    return NULL;
  text[n] = '\0';
  *length = n;
  return g_steal_pointer (&text);
}

/* json-glib recurses and is lax; what passes here is strict JSON of bounded depth. */
static gboolean
check_text (const char *label, const char *text, gsize length, GError **error)
{
  g_auto (eng_json_reader) reader = { 0 };

  eng_json_reader_init (&reader, label, text, length);
  if (eng_json_reader_ok (&reader) && eng_json_reader_peek (&reader) != '{')
    eng_json_reader_fail (&reader, "expected a JSON object");
  eng_json_reader_skip (&reader);
  return eng_json_reader_finish (&reader, error);
}

JsonObject *
eng_json_read_object (const char *path, GError **error)
{
  g_autofree char *label = eng_json_dup_label (path);
  g_autoptr (JsonParser) parser = json_parser_new_immutable ();
  g_autoptr (GError) parse_error = NULL;
  g_autofree char *text = NULL;
  gsize length;

  text = eng_json_read_text (path, MAX_CONFIG_BYTES, &length, error);
  if (!text || !check_text (label, text, length, error))
    return NULL;
  if (!json_parser_load_from_data (parser, text, length, &parse_error)) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: %s", label, parse_error->message);
    return NULL;
  }
  return json_object_ref (json_node_get_object (json_parser_get_root (parser)));
}

gboolean
eng_json_has (JsonObject *object, const char *key)
{
  JsonNode *node = json_object_get_member (object, key);

  return node && !JSON_NODE_HOLDS_NULL (node);
}

/* The member, or NULL and error when it is missing. */
static JsonNode *
get_member (JsonObject *object, const char *key, GError **error)
{
  if (!eng_json_has (object, key)) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "\"%s\" is missing", key);
    return NULL;
  }
  return json_object_get_member (object, key);
}

static gboolean
fail_type (const char *key, JsonNode *node, const char *wanted, GError **error)
{
  g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "\"%s\" is %s, expected %s", key,
               json_node_type_name (node), wanted);
  return FALSE;
}

static gboolean
node_get_int (JsonNode *node, const char *key, int min, int max, int *value, GError **error)
{
  gint64 v;

  if (json_node_get_value_type (node) != G_TYPE_INT64)
    return fail_type (key, node, "an integer", error);
  v = json_node_get_int (node);
  if (v < min || v > max) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE,
                 "\"%s\" is %" G_GINT64_FORMAT ", expected %d to %d", key, v, min, max);
    return FALSE;
  }
  *value = v;
  return TRUE;
}

static gboolean
node_get_double (JsonNode *node, const char *key, double min, double max, double *value,
                 GError **error)
{
  const GType type = json_node_get_value_type (node);
  double v;

  if (type != G_TYPE_INT64 && type != G_TYPE_DOUBLE)
    return fail_type (key, node, "a number", error);
  v = json_node_get_double (node);
  if (!isfinite (v) || v < min || v > max) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "\"%s\" is %g, expected %g to %g", key, v, min,
                 max);
    return FALSE;
  }
  *value = v;
  return TRUE;
}

gboolean
eng_json_get_int (JsonObject *object, const char *key, int min, int max, int *value, GError **error)
{
  JsonNode *node = get_member (object, key, error);

  return node && node_get_int (node, key, min, max, value, error);
}

gboolean
eng_json_get_double (JsonObject *object, const char *key, double min, double max, double *value,
                     GError **error)
{
  JsonNode *node = get_member (object, key, error);

  return node && node_get_double (node, key, min, max, value, error);
}

gboolean
eng_json_get_boolean (JsonObject *object, const char *key, gboolean *value, GError **error)
{
  JsonNode *node = get_member (object, key, error);

  if (!node)
    return FALSE;
  if (json_node_get_value_type (node) != G_TYPE_BOOLEAN)
    return fail_type (key, node, "true or false", error);
  *value = json_node_get_boolean (node);
  return TRUE;
}

const char *
eng_json_get_string (JsonObject *object, const char *key, GError **error)
{
  JsonNode *node = get_member (object, key, error);

  if (node && json_node_get_value_type (node) != G_TYPE_STRING) {
    fail_type (key, node, "a string", error);
    return NULL;
  }
  return node ? json_node_get_string (node) : NULL;
}

JsonObject *
eng_json_get_object (JsonObject *object, const char *key, GError **error)
{
  JsonNode *node = get_member (object, key, error);

  if (node && !JSON_NODE_HOLDS_OBJECT (node)) {
    fail_type (key, node, "an object", error);
    return NULL;
  }
  return node ? json_node_get_object (node) : NULL;
}

JsonArray *
eng_json_get_array (JsonObject *object, const char *key, GError **error)
{
  JsonNode *node = get_member (object, key, error);

  if (node && !JSON_NODE_HOLDS_ARRAY (node)) {
    fail_type (key, node, "an array", error);
    return NULL;
  }
  return node ? json_node_get_array (node) : NULL;
}

/* The array, or NULL and error when it has not n elements. */
static JsonArray *
get_array_of (JsonObject *object, const char *key, int n, GError **error)
{
  JsonArray *array = eng_json_get_array (object, key, error);

  if (array && json_array_get_length (array) != (guint) n) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "\"%s\" has %u elements, expected %d", key,
                 json_array_get_length (array), n);
    return NULL;
  }
  return array;
}

gboolean
eng_json_get_ints (JsonObject *object, const char *key, int *values, int n, GError **error)
{
  JsonArray *array = get_array_of (object, key, n, error);

  for (int i = 0; array && i < n; i++)
    if (!node_get_int (json_array_get_element (array, i), key, G_MININT, G_MAXINT, values + i,
                       error))
      return FALSE;
  return array != NULL;
}
