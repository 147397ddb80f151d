/* engine/steps.h - what is known of a step by its shape: how long it takes, and its graphs.
 *
 * A step's graphs hold addresses of the denoise lane's memory: they are for the block that they
 * were captured in.  Engine thread only. */
#pragma once

#include "engine/lanes.h"

/* What the operations of a step and their addresses depend on, for one model. */
struct eng_step_key {
  int h, w;        /* of the latent */
  int padded[2];   /* rows of the captions; 0: there is no negative prompt */
  gboolean guided; /* this step looks at the negative prompt */
};

struct eng_step {
  struct eng_step_key key;
  struct eng_pace pace;
  int n;               /* operations */
  int segment;         /* operations in each segment but the last */
  guint launched;      /* steps that were launched operation by operation, in this block */
  GPtrArray *graphs;   /* of krn_graph, one a segment; NULL: none */
  const char *refused; /* "launched: " and why, static; NULL: not tried */
  guint used;          /* when it was last asked for */
};

typedef struct eng_steps eng_steps;

eng_steps *eng_steps_new (eng_lanes *lanes, struct krn_device *device); /* both borrowed */
void eng_steps_free (eng_steps *steps); /* while the lanes are idle; NULL allowed */
/* Borrowed until twelve other shapes were asked for. */
struct eng_step *eng_steps_get (eng_steps *steps, const struct eng_step_key *key);
/* From now on step is made of that many graphs, which are given away. */
void eng_step_set_graphs (struct eng_step *step, GPtrArray *graphs);
