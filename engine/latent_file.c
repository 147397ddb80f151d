#include "engine/latent_file.h"

#include "engine/error.h"
#include "engine/safetensors.h"
#include "engine/write_file.h"

#include <json-glib/json-glib.h>
#include <string.h>

static gsize
count (const int64_t dim[4])
{
  return (gsize) dim[0] * dim[1] * dim[2] * dim[3];
}

static gsize
latent_bytes (const struct eng_latent *latent)
{
  return count (latent->dim) * sizeof (float);
}

struct eng_latent *
eng_latent_new (const char *name, int number, const int64_t dim[4])
{
  struct eng_latent *latent = g_new0 (struct eng_latent, 1);

  latent->name = number < 0 ? g_strdup (name) : g_strdup_printf ("%s_%d", name, number);
  memcpy (latent->dim, dim, sizeof latent->dim);
  latent->data = g_new0 (float, count (dim));
  return latent;
}

void
eng_latent_free (struct eng_latent *latent)
{
  if (!latent)
    return;
  g_free (latent->name);
  g_free (latent->data);
  g_free (latent);
}

/* ---- Writing ---- */

static void
add_pair (JsonBuilder *builder, const char *key, const int64_t *values, int n)
{
  json_builder_set_member_name (builder, key);
  json_builder_begin_array (builder);
  for (int i = 0; i < n; i++)
    json_builder_add_int_value (builder, values[i]);
  json_builder_end_array (builder);
}

/* The format's header: {"name": {"dtype": "F32", "shape": [...], "data_offsets": [from, to]}}. */
static char *
make_header (const GPtrArray *latents)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  g_autoptr (JsonNode) root = NULL;
  int64_t offsets[2] = { 0, 0 };

  json_builder_begin_object (builder);
  for (guint i = 0; i < latents->len; i++) {
    const struct eng_latent *latent = g_ptr_array_index (latents, i);

    offsets[0] = offsets[1];
    offsets[1] += latent_bytes (latent);
    json_builder_set_member_name (builder, latent->name);
    json_builder_begin_object (builder);
    json_builder_set_member_name (builder, "dtype");
    json_builder_add_string_value (builder, "F32");
    add_pair (builder, "shape", latent->dim, 4);
    add_pair (builder, "data_offsets", offsets, 2);
    json_builder_end_object (builder);
  }
  json_builder_end_object (builder);
  root = json_builder_get_root (builder);
  return json_to_string (root, FALSE);
}

gboolean
eng_latent_write (const char *path, const GPtrArray *latents, GError **error)
{
  g_autofree char *header = make_header (latents);
  g_autofree char *file = NULL;
  const gsize used = strlen (header);
  const gsize length = (used + 7) / 8 * 8; /* spaces fill up, so that the data are aligned */
  const guint64 prefix = GUINT64_TO_LE (length);
  gsize size = sizeof prefix + length, at = size;

  for (guint i = 0; i < latents->len; i++)
    size += latent_bytes (g_ptr_array_index (latents, i));
  if (!(file = g_try_malloc (size))) {
    g_autofree char *needed = g_format_size (size);
    g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY, "%s needs %s of host memory", path, needed);
    return FALSE;
  }
  memcpy (file, &prefix, sizeof prefix);
  memset (file + sizeof prefix, ' ', length);
  memcpy (file + sizeof prefix, header, used);
  for (guint i = 0; i < latents->len; i++) {
    const struct eng_latent *latent = g_ptr_array_index (latents, i);

    memcpy (file + at, latent->data, latent_bytes (latent));
    at += latent_bytes (latent);
  }
  return eng_write_file (path, file, size, error);
}

/* ---- Reading ---- */

static char *
shape_text (const int64_t *dim, int n)
{
  GString *text = g_string_new ("[");

  for (int i = 0; i < MIN (n, 4); i++)
    g_string_append_printf (text, "%s%" G_GINT64_FORMAT, i ? ", " : "", dim[i]);
  if (n > 4)
    g_string_append (text, ", ...");
  return g_string_free (g_string_append_c (text, ']'), FALSE);
}

static const struct eng_tensor_info *
choose (const eng_weights *file)
{
  const struct eng_tensor_info *info = eng_weights_lookup (file, "noise");

  if (eng_weights_get_n (file) == 1)
    return eng_weights_get (file, 0);
  return info ? info : eng_weights_lookup (file, "latents");
}

/* The same sizes, but for ones at the front. */
static gboolean
has_shape (const struct eng_tensor_info *info, const int64_t dim[4])
{
  int i = info->n_dims - 1, k = 3;

  if (info->n_dims > (int) G_N_ELEMENTS (info->dim)) /* only the first four are known */
    return FALSE;
  while (i >= 0 && k >= 0 && info->dim[i] == dim[k])
    i--, k--;
  while (k >= 0 && dim[k] == 1)
    k--;
  while (i >= 0 && info->dim[i] == 1)
    i--;
  return i < 0 && k < 0;
}

static float
half_to_float (guint16 half)
{
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const float sign = half & 0x8000 ? -1 : 1;

  if (exponent == 0)
    return sign * mantissa * 0x1p-24f;
  if (exponent == 31)
    return sign * (mantissa ? __builtin_nanf ("") : __builtin_inff ());
  return sign * __builtin_ldexpf (1024 + mantissa, exponent - 25);
}

/* n numbers of 16 bits, which lie in the second half of to's memory, become f32. */
static void
widen (float *to, krn_dtype dtype, gsize n)
{
  const char *from = (const char *) to + 2 * n;

  for (gsize i = 0; i < n; i++) {
    guint16 bits;

    memcpy (&bits, from + 2 * i, sizeof bits);
    if (dtype == KRN_F16)
      to[i] = half_to_float (bits);
    else {
      const guint32 word = (guint32) bits << 16;
      memcpy (&to[i], &word, sizeof word);
    }
  }
}

static gboolean
check (const char *path, const struct eng_tensor_info *info, const int64_t dim[4], GError **error)
{
  g_autofree char *expected = shape_text (dim, 4);

  if (!info) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE,
                 "%s has several tensors and none of them is called \"noise\" or \"latents\"",
                 path);
    return FALSE;
  }
  g_autofree char *found = shape_text (info->dim, info->n_dims);
  if (!has_shape (info, dim))
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: %s is %s, expected %s", path, info->name,
                 found, expected);
  else if (info->bytes != count (dim) * krn_dtype_size (info->dtype) ||
           (info->dtype != KRN_F32 && info->dtype != KRN_F16 && info->dtype != KRN_BF16))
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: %s is %s, expected F32, F16 or BF16", path,
                 info->name, info->on_disk);
  else
    return TRUE;
  return FALSE;
}

gboolean
eng_latent_read (const char *path, float *data, const int64_t dim[4], GError **error)
{
  g_autoptr (eng_weights) file = eng_weights_open (path, error);
  const struct eng_tensor_info *info;

  if (!file)
    return FALSE;
  info = choose (file);
  if (!check (path, info, dim, error))
    return FALSE;
  const gsize behind = count (dim) * sizeof (float) - info->bytes;
  if (!eng_weights_read (file, info, 0, (char *) data + behind, info->bytes, error))
    return FALSE;
  if (info->dtype != KRN_F32)
    widen (data, info->dtype, count (dim));
  return TRUE;
}
