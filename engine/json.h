/* engine/json.h - small JSON files (config.json and the like) as json-glib's objects, safely.
 *
 * Nothing a file holds can crash or exhaust what reads it: size, nesting and grammar are checked
 * before json-glib sees the text.  The getters' messages name the key and the values
 * (`"num_heads" is 0, expected 1 to 1024`); who knows the file puts its name in front with
 * g_prefix_error. */
#pragma once

#include <json-glib/json-glib.h>

/* The end of a path as messages show it: `text_encoder/config.json`.  The caller frees it. */
char *eng_json_dup_label (const char *path);
/* Opens for reading; only regular files: a pipe would block for ever, a device never end.  -1 and
 * error on failure.  The caller closes it. */
int eng_json_open_file (const char *path, goffset *size, GError **error);
/* Reads length bytes, or fewer when the file ends before; -1 and errno on failure. */
gssize eng_json_read_at (int fd, void *to, gsize length, goffset offset);
/* Reads a regular file of at most max_bytes whole; the text has a NUL behind it.  The caller frees
 * it. */
char *eng_json_read_text (const char *path, gsize max_bytes, gsize *length, GError **error);
/* Reads a file whose root is an object.  The caller gives it back with json_object_unref. */
JsonObject *eng_json_read_object (const char *path, GError **error);

/* TRUE when object has key and its value is not null. */
gboolean eng_json_has (JsonObject *object, const char *key);
/* Each sets *value and returns TRUE, or returns FALSE and sets error: key is missing, of another
 * type or outside [min, max]. */
gboolean eng_json_get_int (JsonObject *object, const char *key, int min, int max, int *value,
                           GError **error);
/* Also takes a number written as an integer. */
gboolean eng_json_get_double (JsonObject *object, const char *key, double min, double max,
                              double *value, GError **error);
gboolean eng_json_get_boolean (JsonObject *object, const char *key, gboolean *value,
                               GError **error);
/* Borrowed from object; NULL on failure. */
const char *eng_json_get_string (JsonObject *object, const char *key, GError **error);
JsonObject *eng_json_get_object (JsonObject *object, const char *key, GError **error);
JsonArray *eng_json_get_array (JsonObject *object, const char *key, GError **error);
/* An array of exactly n integers. */
gboolean eng_json_get_ints (JsonObject *object, const char *key, int *values, int n,
                            GError **error);
