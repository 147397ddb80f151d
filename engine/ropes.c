#include "engine/ropes.h"

/* Three pictures in the making use two each; one more so that none of these is given away. */
enum { N_TABLES = 7 };

struct table {
  int h, w, padded;
  float *values; /* of host_alloc; NULL: none */
  guint used;
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

static gboolean
fill_table (eng_ropes *ropes, struct table *table, const struct table *want, GError **error)
{
  const eng_z_image *transformer = ropes->model->transformer;
  const struct eng_z_image_sizes *sizes = eng_z_image_get_sizes (transformer);
  struct krn_device *device = ropes->model->device;
  const int image =
      eng_z_image_pad (transformer, want->h / sizes->patch * (want->w / sizes->patch));
  const size_t bytes = (size_t) (image + want->padded) * sizes->head_dim * sizeof (float);

  device->host_free (device, table->values);
  *table = *want;
  if (device->host_alloc (device, (void **) &table->values, bytes)) {
    g_autofree char *needed = g_format_size (bytes);
    table->values = NULL;
    g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY, "the rotations need %s of host memory",
                 needed);
    return FALSE;
  }
  eng_z_image_rope (transformer, table->values, want->h, want->w, want->padded);
  return TRUE;
}

const float *
eng_ropes_get (eng_ropes *ropes, int h, int w, int padded, GError **error)
{
  const struct table want = { .h = h, .w = w, .padded = padded };
  struct table *table = NULL, *oldest = &ropes->tables[0];

  for (int i = 0; i < N_TABLES && !table; i++) {
    struct table *t = &ropes->tables[i];

    if (t->values && t->h == h && t->w == w && t->padded == padded)
      table = t;
    if (t->used < oldest->used)
      oldest = t;
  }
  if (!table) {
    if (!fill_table (ropes, oldest, &want, error))
      return NULL;
    table = oldest;
  }
  table->used = ++ropes->clock;
  return table->values;
}
