#include "engine/steps.h"

#include <string.h>

/* A picture has two at most; people go back and forth between a few sizes. */
enum { MOST = 12 };

struct eng_steps {
  eng_lanes *lanes;          /* borrowed */
  struct krn_device *device; /* borrowed */
  GPtrArray *steps;          /* of struct eng_step */
  guint generation;          /* of the block that the graphs are for */
  guint clock;
};

static void
free_step (void *data)
{
  struct eng_step *step = data;

  g_clear_pointer (&step->graphs, g_ptr_array_unref);
  g_free (step);
}

eng_steps *
eng_steps_new (eng_lanes *lanes, struct krn_device *device)
{
  eng_steps *steps = g_new0 (eng_steps, 1);

  steps->lanes = lanes;
  steps->device = device;
  steps->steps = g_ptr_array_new_with_free_func (free_step);
  return steps;
}

void
eng_steps_free (eng_steps *steps)
{
  if (!steps)
    return;
  for (guint i = 0; i < steps->steps->len; i++)
    eng_lanes_forget_pace (steps->lanes,
                           &((struct eng_step *) g_ptr_array_index (steps->steps, i))->pace);
  g_ptr_array_unref (steps->steps);
  g_free (steps);
}

/* The block has moved. */
static void
drop_graphs (eng_steps *steps)
{
  for (guint i = 0; i < steps->steps->len; i++) {
    struct eng_step *step = g_ptr_array_index (steps->steps, i);

    g_clear_pointer (&step->graphs, g_ptr_array_unref);
    step->refused = NULL;
    step->launched = 0;
  }
}

static void
drop_oldest (eng_steps *steps)
{
  guint oldest = 0;

  for (guint i = 1; i < steps->steps->len; i++)
    if (((struct eng_step *) g_ptr_array_index (steps->steps, i))->used <
        ((struct eng_step *) g_ptr_array_index (steps->steps, oldest))->used)
      oldest = i;
  eng_lanes_forget_pace (steps->lanes,
                         &((struct eng_step *) g_ptr_array_index (steps->steps, oldest))->pace);
  g_ptr_array_remove_index (steps->steps, oldest);
}

static gboolean
same_key (const struct eng_step_key *a, const struct eng_step_key *b)
{
  return a->h == b->h && a->w == b->w && a->padded[0] == b->padded[0] &&
         a->padded[1] == b->padded[1] && a->guided == b->guided;
}

struct eng_step *
eng_steps_get (eng_steps *steps, const struct eng_step_key *key)
{
  struct eng_step *step = NULL;

  if (steps->generation != eng_lanes_get_generation (steps->lanes)) {
    drop_graphs (steps);
    steps->generation = eng_lanes_get_generation (steps->lanes);
  }
  for (guint i = 0; i < steps->steps->len && !step; i++)
    if (same_key (&((struct eng_step *) g_ptr_array_index (steps->steps, i))->key, key))
      step = g_ptr_array_index (steps->steps, i);
  if (!step) {
    if (steps->steps->len == MOST)
      drop_oldest (steps);
    step = g_new0 (struct eng_step, 1);
    step->key = *key;
    g_ptr_array_add (steps->steps, step);
  }
  step->used = ++steps->clock;
  return step;
}

void
eng_step_set_graphs (struct eng_step *step, GPtrArray *graphs)
{
  g_clear_pointer (&step->graphs, g_ptr_array_unref);
  step->graphs = graphs;
}
