/* engine/prompt.h - prompts on the device: tokens, the text encoder's output, the refined caption.
 *
 * A few prompts are kept, so that a job which changes only seed, size, steps or CFG encodes
 * nothing. Engine thread only. */
#pragma once

#include "engine/lanes.h"
#include "engine/model.h"

struct eng_prompt {
  char *text;           /* NULL: the slot is free */
  GArray *ids;          /* of int32_t, as encoded */
  int tokens;           /* as written, before it was cut at ENG_PROMPT_LIMIT */
  int padded;           /* rows of refined */
  krn_tensor embedding; /* act [ids->len, caption width] */
  krn_tensor refined;   /* act [padded, dim] */
  guint used;           /* when it was last asked for */
};

typedef struct eng_prompts eng_prompts;

/* Allocates the slots on the model's device.  model is borrowed. */
eng_prompts *eng_prompts_new (const eng_model *model, GError **error);
void eng_prompts_free (eng_prompts *prompts); /* NULL allowed */

/* The prompt's slot, with ids; *encoded says whether its tensors are already there.  The slot is
 * not given to another text during the two calls after this one.  Borrowed. */
struct eng_prompt *eng_prompts_get (eng_prompts *prompts, const char *text, gboolean *encoded,
                                    GError **error);
/* Encodes: fills the slot's tensors on run's stream.  Keeps host memory for the copies until the
 * next call.  A plan may use any slot whose ids are set. */
void eng_prompts_encode (eng_prompts *prompts, struct eng_run *run, struct eng_prompt *prompt);
/* The slot's tensors are not to be trusted: the run failed or was cancelled. */
void eng_prompts_forget (eng_prompts *prompts, struct eng_prompt *prompt);
