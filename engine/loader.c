/* engine/loader.c - gathers what a network wants of its weights. */
#include "engine/loader.h"

#include "engine/error.h"

#include <string.h>

enum { ALIGNMENT = 256 }; /* of every tensor in the block */

static void
clear_want (gpointer data)
{
  struct eng_want *want = data;

  g_clear_pointer (&want->pieces, g_ptr_array_unref);
  g_clear_pointer (&want->constant, g_free);
}

eng_loader *
eng_loader_new (const eng_weights *weights, const char *component, const char *prefix)
{
  eng_loader *loader = g_new0 (eng_loader, 1);

  loader->weights = eng_weights_ref ((eng_weights *) weights); /* only its count changes */
  loader->component = g_strdup (component);
  loader->prefix = g_strdup (prefix);
  loader->wants = g_array_new (FALSE, FALSE, sizeof (struct eng_want));
  g_array_set_clear_func (loader->wants, clear_want);
  loader->groups = g_array_new (FALSE, FALSE, sizeof (guint));
  return loader;
}

void
eng_loader_free (eng_loader *loader)
{
  g_clear_error (&loader->error);
  g_array_unref (loader->groups);
  g_array_unref (loader->wants);
  g_free (loader->prefix);
  g_free (loader->component);
  eng_weights_unref (loader->weights);
  g_free (loader);
}

const struct eng_tensor_info *
eng_loader_lookup (const eng_loader *loader, const char *name)
{
  g_autofree char *full = g_strconcat (loader->prefix, name, NULL);

  return eng_weights_lookup (loader->weights, full);
}

gboolean
eng_loader_has (const eng_loader *loader, const char *name)
{
  return eng_loader_lookup (loader, name) != NULL;
}

static void refuse (eng_loader *loader, const char *format, ...) G_GNUC_PRINTF (2, 3);

static void
refuse (eng_loader *loader, const char *format, ...)
{
  va_list args;

  if (loader->error)
    return;
  va_start (args, format);
  loader->error = g_error_new_valist (ENG_ERROR, ENG_ERROR_MODEL, format, args);
  va_end (args);
  g_prefix_error (&loader->error, "%s: ", loader->component);
}

/* `[64, 192]`; the caller frees it. */
static char *
dup_shape (const struct eng_tensor_info *tensor)
{
  GString *text = g_string_new ("[");

  for (int i = 0; i < MIN (tensor->n_dims, 4); i++)
    g_string_append_printf (text, "%s%" G_GINT64_FORMAT, i ? ", " : "", tensor->dim[i]);
  g_string_append (text, tensor->n_dims > 4 ? ", ...]" : "]");
  return g_string_free (text, FALSE);
}

static void
refuse_shape (eng_loader *loader, const struct eng_tensor_info *tensor, const char *expected)
{
  g_autofree char *shape = dup_shape (tensor);

  refuse (loader, "%s is %s, expected %s", tensor->name, shape, expected);
}

/* The tensor of that name when a device can convert it, else NULL and remembered. */
static const struct eng_tensor_info *
find (eng_loader *loader, const char *name)
{
  const struct eng_tensor_info *tensor = eng_loader_lookup (loader, name);

  if (!tensor) {
    refuse (loader, "%s%s is missing", loader->prefix, name);
    return NULL;
  }
  if (tensor->dtype != KRN_F32 && tensor->dtype != KRN_F16 && tensor->dtype != KRN_BF16) {
    refuse (loader, "%s is %s, expected F32, F16 or BF16", tensor->name, tensor->on_disk);
    return NULL;
  }
  return tensor;
}

/* The size of a row: the last dimension, but a 1x1 convolution's kernel is not one. */
static int64_t
row_size (const struct eng_tensor_info *tensor, int64_t cols)
{
  int n = MIN (tensor->n_dims, 4);

  while (cols != 1 && n > 1 && tensor->dim[n - 1] == 1)
    n--;
  return n > 0 && tensor->n_dims <= 4 ? tensor->dim[n - 1] : 1;
}

static struct eng_want *
add_want (eng_loader *loader, krn_tensor *target, krn_tensor tensor)
{
  const struct eng_want want = { .target = target, .tensor = tensor, .pieces = g_ptr_array_new () };

  *target = (krn_tensor){ 0 };
  g_array_append_val (loader->wants, want);
  return &g_array_index (loader->wants, struct eng_want, loader->wants->len - 1);
}

/* Refuses a tensor whose rows are not cols wide; with one row in all, pieces of it may be of any
 * shape. */
static gboolean
check_piece (eng_loader *loader, const struct eng_tensor_info *tensor, int64_t rows, int64_t cols,
             gboolean alone)
{
  g_autofree char *expected = NULL;

  if (rows == 1
          ? !alone || eng_tensor_count (tensor) == cols
          : row_size (tensor, cols) == cols && (!alone || eng_tensor_count (tensor) == rows * cols))
    return TRUE;
  if (alone && rows > 1)
    expected = g_strdup_printf ("[%" G_GINT64_FORMAT ", %" G_GINT64_FORMAT "]", rows, cols);
  else
    expected =
        g_strdup_printf (alone ? "[%" G_GINT64_FORMAT "]" : "rows of %" G_GINT64_FORMAT, cols);
  refuse_shape (loader, tensor, expected);
  return FALSE;
}

void
eng_loader_want (eng_loader *loader, krn_tensor *target, int64_t rows, int64_t cols,
                 const char *name, ...)
{
  struct eng_want *want =
      add_want (loader, target, krn_tensor_make (NULL, KRN_F32, 1, 1, rows, cols));
  const char *first = name;
  int64_t n, sum = 0;
  gboolean ok = TRUE;
  va_list args;

  if (rows < 1 || cols < 1 || __builtin_mul_overflow (rows, cols, &n)) {
    refuse (loader, "%s%s cannot be [%" G_GINT64_FORMAT ", %" G_GINT64_FORMAT "]", loader->prefix,
            name, rows, cols);
    return;
  }

  va_start (args, name);
  for (; name; name = va_arg (args, const char *)) {
    const struct eng_tensor_info *tensor = find (loader, name);
    if (tensor)
      g_ptr_array_add (want->pieces, (void *) tensor);
    ok &= tensor != NULL;
  }
  va_end (args);

  for (guint i = 0; ok && i < want->pieces->len; i++) {
    ok = check_piece (loader, want->pieces->pdata[i], rows, cols, want->pieces->len == 1);
    sum += eng_tensor_count (want->pieces->pdata[i]);
  }
  if (ok && sum != n)
    refuse (loader,
            "%s%s and what follows it have %" G_GINT64_FORMAT " rows, expected %" G_GINT64_FORMAT,
            loader->prefix, first, rows == 1 ? sum : sum / MAX (cols, 1), rows == 1 ? cols : rows);
}

void
eng_loader_want_conv (eng_loader *loader, krn_tensor *target, int out, int in, int kh, int kw,
                      const char *name)
{
  struct eng_want *want =
      add_want (loader, target, krn_tensor_make (NULL, KRN_F32, out, kh, kw, in));
  const struct eng_tensor_info *tensor = find (loader, name);
  const int64_t expected[4] = { out, in, kh, kw };
  const int n_dims = kh == 1 && kw == 1 ? 2 : 4; /* a 1x1 kernel may be written as a matrix */
  g_autofree char *text = NULL;

  if (!tensor)
    return;
  g_ptr_array_add (want->pieces, (void *) tensor);
  want->permute = kh > 1 || kw > 1;
  if ((tensor->n_dims == 4 || tensor->n_dims == n_dims) &&
      memcmp (tensor->dim, expected, tensor->n_dims * sizeof *expected) == 0)
    return;
  text = g_strdup_printf ("[%d, %d, %d, %d]", out, in, kh, kw);
  refuse_shape (loader, tensor, text);
}

void
eng_loader_want_constant (eng_loader *loader, krn_tensor *target, int64_t rows, int64_t cols,
                          const float *values)
{
  struct eng_want *want =
      add_want (loader, target, krn_tensor_make (NULL, KRN_F32, 1, 1, rows, cols));

  want->constant = g_memdup2 (values, rows * cols * sizeof *values);
}

void
eng_loader_end_group (eng_loader *loader)
{
  g_array_append_val (loader->groups, loader->wants->len);
}

size_t
eng_want_bytes (const struct eng_want *want, krn_dtype dtype)
{
  size_t bytes = krn_dtype_size (want->constant ? KRN_F32 : dtype);

  if (!g_size_checked_mul (&bytes, bytes, krn_count (want->tensor)) ||
      !g_size_checked_add (&bytes, bytes, ALIGNMENT - 1))
    return SIZE_MAX;
  return bytes & ~(size_t) (ALIGNMENT - 1);
}

size_t
eng_loader_get_bytes (const eng_loader *loader, krn_dtype dtype)
{
  size_t total = 0;

  for (guint i = 0; i < loader->wants->len && !loader->error; i++)
    if (!g_size_checked_add (
            &total, total,
            eng_want_bytes (&g_array_index (loader->wants, struct eng_want, i), dtype)))
      return SIZE_MAX;
  return total;
}
