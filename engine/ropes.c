#include "engine/ropes.h"

/* Three pictures in the making use two each; one more for a size that may come back. */
enum { N_TABLES = 7 };

struct table {
  int h, w, padded;
  float *values; /* of host_alloc; NULL: none */
  size_t size;   /* bytes that values has room for */
  guint users;   /* pictures in the making; it is not given to another size */
  guint used;    /* when it was last asked for */
};

struct eng_ropes {
  const eng_model *model; /* borrowed */
  struct table tables[N_TABLES];
  guint clock;
};

eng_ropes *
eng_ropes_new (const eng_model *model)
{
  eng_ropes *ropes = g_new0 (eng_ropes, 1);

  ropes->model = model;
  return ropes;
}

void
eng_ropes_free (eng_ropes *ropes)
{
  if (!ropes)
    return;
  for (int i = 0; i < N_TABLES; i++)
    ropes->model->device->host_free (ropes->model->device, ropes->tables[i].values);
  g_free (ropes);
}

static size_t
table_bytes (const eng_ropes *ropes, int h, int w, int padded)
{
  const eng_z_image *transformer = ropes->model->transformer;
  const struct eng_z_image_sizes *sizes = eng_z_image_get_sizes (transformer);
  const int image = eng_z_image_pad (transformer, h / sizes->patch * (w / sizes->patch));

  return (size_t) (image + padded) * sizes->head_dim * sizeof (float);
}

/* Room for the longest caption, so that the next one of that size can have it. */
static gboolean
grow_table (eng_ropes *ropes, struct table *table, int h, int w, GError **error)
{
  const int longest = eng_z_image_pad (ropes->model->transformer, ENG_PROMPT_LIMIT);
  struct krn_device *device = ropes->model->device;
  const size_t bytes = table_bytes (ropes, h, w, longest);

  device->host_free (device, table->values);
  *table = (struct table){ 0 };
  if (!device->host_alloc (device, (void **) &table->values, bytes)) {
    table->size = bytes;
    return TRUE;
  }
  table->values = NULL;
  g_autofree char *needed = g_format_size (bytes);
  g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY, "the rotations need %s of host memory", needed);
  return FALSE;
}

/* The one of that size, else the one that nobody uses and was longest not asked for; NULL: all are
 * in use. */
static struct table *
find_table (eng_ropes *ropes, int h, int w, int padded)
{
  struct table *oldest = NULL;

  for (int i = 0; i < N_TABLES; i++) {
    struct table *t = &ropes->tables[i];

    if (t->values && t->h == h && t->w == w && t->padded == padded)
      return t;
    if (t->users == 0 && (!oldest || t->used < oldest->used))
      oldest = t;
  }
  return oldest;
}

const float *
eng_ropes_take (eng_ropes *ropes, int h, int w, int padded, GError **error)
{
  struct table *table = find_table (ropes, h, w, padded);

  g_return_val_if_fail (table, NULL); /* more pictures in the making than there may be */
  if (!table->values || table->h != h || table->w != w || table->padded != padded) {
    if (table->size < table_bytes (ropes, h, w, padded) && !grow_table (ropes, table, h, w, error))
      return NULL;
    table->h = h;
    table->w = w;
    table->padded = padded;
    eng_z_image_rope (ropes->model->transformer, table->values, h, w, padded);
  }
  table->users++;
  table->used = ++ropes->clock;
  return table->values;
}

void
eng_ropes_release (eng_ropes *ropes, const float *values)
{
  for (int i = 0; i < N_TABLES && values; i++)
    if (ropes->tables[i].values == values)
      ropes->tables[i].users--;
}
