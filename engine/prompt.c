#include "engine/prompt.h"

#include <string.h>

struct eng_prompts {
  const eng_model *model; /* borrowed */
  void *block;            /* device memory of all slots */
  struct eng_prompt slots[ENG_PROMPTS_KEPT];
  guint clock;
};

static size_t
align (size_t bytes)
{
  return (bytes + 255) / 256 * 256;
}

eng_prompts *
eng_prompts_new (const eng_model *model, GError **error)
{
  const struct eng_z_image_sizes *sizes = eng_z_image_get_sizes (model->transformer);
  const int padded = eng_z_image_pad (model->transformer, ENG_PROMPT_LIMIT);
  const krn_dtype act = model->device->activation;
  const size_t embedding =
      align ((size_t) ENG_PROMPT_LIMIT * sizes->caption_width * krn_dtype_size (act));
  const size_t refined = align ((size_t) padded * sizes->dim * krn_dtype_size (act));
  eng_prompts *prompts = g_new0 (eng_prompts, 1);
  char *base;

  prompts->model = model;
  if (model->device->alloc (model->device, &prompts->block,
                            ENG_PROMPTS_KEPT * (embedding + refined))) {
    g_autofree char *needed = g_format_size (ENG_PROMPTS_KEPT * (embedding + refined));
    g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY,
                 "the prompt cache needs %s, more than is free on %s", needed, model->device->name);
    g_free (prompts);
    return NULL;
  }
  base = prompts->block;
  for (int i = 0; i < ENG_PROMPTS_KEPT; i++, base += embedding + refined) {
    prompts->slots[i].embedding.data = base;
    prompts->slots[i].refined.data = base + embedding;
  }
  return prompts;
}

static void
clear_slot (struct eng_prompt *slot)
{
  g_clear_pointer (&slot->text, g_free);
  g_clear_pointer (&slot->ids, g_array_unref);
  slot->encoded = FALSE;
}

void
eng_prompts_free (eng_prompts *prompts)
{
  if (!prompts)
    return;
  for (int i = 0; i < ENG_PROMPTS_KEPT; i++)
    clear_slot (&prompts->slots[i]);
  prompts->model->device->free_memory (prompts->model->device, prompts->block);
  g_free (prompts);
}

/* A free slot, else the one that nobody uses and was longest not asked for; NULL: all are in use.
 */
static struct eng_prompt *
find_room (eng_prompts *prompts)
{
  struct eng_prompt *best = NULL;

  for (int i = 0; i < ENG_PROMPTS_KEPT; i++) {
    struct eng_prompt *slot = &prompts->slots[i];

    if (slot->users > 0)
      continue;
    if (!slot->text)
      return slot;
    if (!best || slot->used < best->used)
      best = slot;
  }
  return best;
}

static struct eng_prompt *
find_slot (eng_prompts *prompts, const char *text)
{
  for (int i = 0; i < ENG_PROMPTS_KEPT; i++) {
    struct eng_prompt *slot = &prompts->slots[i];

    if (slot->text && slot->encoded && strcmp (slot->text, text) == 0)
      return slot;
  }
  return NULL;
}

/* The tensors' shapes follow from the number of ids. */
static void
shape_slot (const eng_model *model, struct eng_prompt *slot)
{
  const struct eng_z_image_sizes *sizes = eng_z_image_get_sizes (model->transformer);
  const krn_dtype act = model->device->activation;
  const int n = slot->ids->len;

  slot->padded = eng_z_image_pad (model->transformer, n);
  slot->embedding = krn_tensor_make (slot->embedding.data, act, 1, 1, n, sizes->caption_width);
  slot->refined = krn_tensor_make (slot->refined.data, act, 1, 1, slot->padded, sizes->dim);
}

/* Gives a slot its text and ids. */
static gboolean
fill_slot (eng_prompts *prompts, struct eng_prompt *slot, const char *text, GError **error)
{
  const eng_model *model = prompts->model;
  GArray *ids = eng_tokenizer_encode_chat (model->tokenizer, text, strlen (text), error);

  if (!ids)
    return FALSE;
  clear_slot (slot);
  slot->tokens = ids->len;
  if (ids->len > ENG_PROMPT_LIMIT)
    g_array_set_size (ids, ENG_PROMPT_LIMIT);
  slot->text = g_strdup (text);
  slot->ids = ids;
  shape_slot (model, slot);
  return TRUE;
}

struct eng_prompt *
eng_prompts_take (eng_prompts *prompts, const char *text, gboolean kept, GError **error)
{
  struct eng_prompt *slot = kept ? find_slot (prompts, text) : NULL;

  if (!slot) {
    slot = find_room (prompts);
    g_return_val_if_fail (slot, NULL); /* more pictures in the making than there may be */
    if (!fill_slot (prompts, slot, text, error))
      return NULL;
  }
  slot->users++;
  slot->used = ++prompts->clock;
  return slot;
}

void
eng_prompts_release (eng_prompts *prompts, struct eng_prompt *prompt)
{
  if (prompt)
    prompt->users--;
}

gboolean
eng_prompts_prepare (eng_prompts *prompts, const struct eng_prompt *prompt, eng_staging *staging,
                     struct eng_prompt_tables *tables, GError **error)
{
  const eng_model *model = prompts->model;
  const int n = prompt->ids->len;
  const int text_width = eng_qwen3_get_head_dim (model->text);
  const int width = eng_z_image_get_sizes (model->transformer)->head_dim;
  /* The caption's rotations do not depend on the picture: the last rows of the smallest table. */
  const int image = eng_z_image_pad (model->transformer, 1);
  const size_t ids = n * sizeof (int32_t), text = (size_t) n * text_width * sizeof (float);
  const size_t caption = (size_t) (image + prompt->padded) * width * sizeof (float);

  tables->ids = eng_staging_take (staging, ids, "the prompt", error);
  tables->text_rope = tables->ids ? eng_staging_take (staging, text, "the prompt", error) : NULL;
  tables->caption_rope =
      tables->text_rope ? eng_staging_take (staging, caption, "the prompt", error) : NULL;
  if (!tables->caption_rope)
    return FALSE;
  memcpy (tables->ids, prompt->ids->data, ids);
  eng_qwen3_rope (model->text, tables->text_rope, n);
  eng_z_image_rope (model->transformer, tables->caption_rope, 2, 2, prompt->padded);
  tables->caption_rope += (size_t) image * width;
  return TRUE;
}

void
eng_prompts_encode (eng_prompts *prompts, struct eng_run *run, const struct eng_prompt *prompt,
                    const struct eng_prompt_tables *tables)
{
  const eng_model *model = prompts->model;
  const int n = prompt->ids->len;
  krn_tensor ids = eng_run_take (run, KRN_I32, 1, 1, 1, n);
  krn_tensor text_rope = eng_run_take (run, KRN_F32, 1, 1, n, eng_qwen3_get_head_dim (model->text));
  krn_tensor rope = eng_run_take (run, KRN_F32, 1, 1, prompt->padded,
                                  eng_z_image_get_sizes (model->transformer)->head_dim);

  ENG_RUN (run, upload, ids, tables->ids, KRN_I32);
  ENG_RUN (run, upload, text_rope, tables->text_rope, KRN_F32);
  ENG_RUN (run, upload, rope, tables->caption_rope, KRN_F32);
  eng_qwen3_forward (run, model->text, prompt->embedding, ids, text_rope, tables->ids);
  eng_z_image_caption (run, model->transformer, prompt->refined, prompt->embedding, rope);
  eng_run_drop (run, rope);
  eng_run_drop (run, text_rope);
  eng_run_drop (run, ids);
}

void
eng_prompts_plan (eng_prompts *prompts, struct eng_run *run)
{
  struct eng_prompt longest = prompts->slots[0];
  const struct eng_prompt_tables none = { 0 };

  longest.ids = g_array_sized_new (FALSE, TRUE, sizeof (int32_t), ENG_PROMPT_LIMIT);
  g_array_set_size (longest.ids, ENG_PROMPT_LIMIT);
  shape_slot (prompts->model, &longest);
  eng_prompts_encode (prompts, run, &longest, &none);
  g_array_unref (longest.ids);
}

void
eng_prompts_forget (eng_prompts *prompts, struct eng_prompt *prompt)
{
  if (!prompt->encoded)
    g_clear_pointer (&prompt->text, g_free);
}
