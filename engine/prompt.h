/* engine/prompt.h - prompts on the device: tokens, the text encoder's output, the refined caption.
 *
 * A few prompts are kept, so that a job which changes only seed, size, steps or CFG encodes
 * nothing.  Engine thread only. */
#pragma once

#include "engine/lanes.h"
#include "engine/model.h"
#include "engine/staging.h"

/* Three pictures in the making use two each: prompt and negative prompt. */
enum { ENG_PROMPTS_KEPT = 8 };

struct eng_prompt {
  char *text;           /* NULL: the slot is free */
  GArray *ids;          /* of int32_t, as encoded */
  int tokens;           /* as written, before it was cut at ENG_PROMPT_LIMIT */
  int padded;           /* rows of refined */
  krn_tensor embedding; /* act [ids->len, caption width] */
  krn_tensor refined;   /* act [padded, dim] */
  gboolean encoded;     /* all that fills the tensors is enqueued on the text lane */
  guint users;          /* pictures in the making; the slot is not given to another text */
  guint used;           /* when it was last asked for */
};

/* The host side of encoding one, in a picture's staging. */
struct eng_prompt_tables {
  int32_t *ids;
  float *text_rope, *caption_rope;
};

typedef struct eng_prompts eng_prompts;

/* Allocates the slots on the model's device.  model is borrowed. */
eng_prompts *eng_prompts_new (const eng_model *model, GError **error);
void eng_prompts_free (eng_prompts *prompts); /* NULL allowed */

/* The prompt's slot, with ids, used once more.  kept FALSE: one that is not encoded, also when
 * another one is.  Six can be in use.  Borrowed until it is released. */
struct eng_prompt *eng_prompts_take (eng_prompts *prompts, const char *text, gboolean kept,
                                     GError **error);
void eng_prompts_release (eng_prompts *prompts, struct eng_prompt *prompt); /* NULL allowed */

/* Fills tables, which are taken from staging. */
gboolean eng_prompts_prepare (eng_prompts *prompts, const struct eng_prompt *prompt,
                              eng_staging *staging, struct eng_prompt_tables *tables,
                              GError **error);
/* Encodes: fills the slot's tensors on run's stream. */
void eng_prompts_encode (eng_prompts *prompts, struct eng_run *run, const struct eng_prompt *prompt,
                         const struct eng_prompt_tables *tables);
/* Plans the longest prompt. */
void eng_prompts_plan (eng_prompts *prompts, struct eng_run *run);
/* The slot's tensors are not to be trusted: the run failed or was cancelled. */
void eng_prompts_forget (eng_prompts *prompts, struct eng_prompt *prompt);
