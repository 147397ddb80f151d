#include "engine/prompt.h"

#include <string.h>

/* Two are in use at a time: prompt and negative prompt. */
enum { N_SLOTS = 8 };

struct eng_prompts {
  const eng_model *model; /* borrowed */
  void *block;            /* device memory of all slots */
  struct eng_prompt slots[N_SLOTS];
  guint clock;
  float *tables; /* host side of the last encode's copies */
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
  if (model->device->alloc (model->device, &prompts->block, N_SLOTS * (embedding + refined))) {
    g_autofree char *needed = g_format_size (N_SLOTS * (embedding + refined));
    g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY,
                 "the prompt cache needs %s, more than is free on %s", needed, model->device->name);
    g_free (prompts);
    return NULL;
  }
  base = prompts->block;
  for (int i = 0; i < N_SLOTS; i++, base += embedding + refined) {
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
}

void
eng_prompts_free (eng_prompts *prompts)
{
  if (!prompts)
    return;
  for (int i = 0; i < N_SLOTS; i++)
    clear_slot (&prompts->slots[i]);
  prompts->model->device->free_memory (prompts->model->device, prompts->block);
  g_free (prompts->tables);
  g_free (prompts);
}

static struct eng_prompt *
find_slot (eng_prompts *prompts, const char *text, gboolean *found)
{
  struct eng_prompt *oldest = &prompts->slots[0];

  for (int i = 0; i < N_SLOTS; i++) {
    struct eng_prompt *slot = &prompts->slots[i];

    if (slot->text && strcmp (slot->text, text) == 0) {
      *found = TRUE;
      return slot;
    }
    if (!slot->text || (oldest->text && slot->used < oldest->used))
      oldest = slot;
  }
  *found = FALSE;
  return oldest;
}

/* Gives an empty slot its text and ids; the tensors' shapes follow from them. */
static gboolean
fill_slot (eng_prompts *prompts, struct eng_prompt *slot, const char *text, GError **error)
{
  const eng_model *model = prompts->model;
  const struct eng_z_image_sizes *sizes = eng_z_image_get_sizes (model->transformer);
  const krn_dtype act = model->device->activation;
  GArray *ids = eng_tokenizer_encode_chat (model->tokenizer, text, strlen (text), error);

  if (!ids)
    return FALSE;
  clear_slot (slot);
  slot->tokens = ids->len;
  if (ids->len > ENG_PROMPT_LIMIT)
    g_array_set_size (ids, ENG_PROMPT_LIMIT);
  slot->text = g_strdup (text);
  slot->ids = ids;
  slot->padded = eng_z_image_pad (model->transformer, ids->len);
  slot->embedding =
      krn_tensor_make (slot->embedding.data, act, 1, 1, ids->len, sizes->caption_width);
  slot->refined = krn_tensor_make (slot->refined.data, act, 1, 1, slot->padded, sizes->dim);
  return TRUE;
}

struct eng_prompt *
eng_prompts_get (eng_prompts *prompts, const char *text, gboolean *encoded, GError **error)
{
  struct eng_prompt *slot = find_slot (prompts, text, encoded);

  if (!*encoded && !fill_slot (prompts, slot, text, error))
    return NULL;
  slot->used = ++prompts->clock;
  return slot;
}

void
eng_prompts_encode (eng_prompts *prompts, struct eng_run *run, struct eng_prompt *prompt)
{
  const eng_model *model = prompts->model;
  const int n = prompt->ids->len;
  const int text_width = eng_qwen3_get_head_dim (model->text);
  const int width = eng_z_image_get_sizes (model->transformer)->head_dim;
  /* The caption's rotations do not depend on the picture: the last rows of the smallest table. */
  const int image = eng_z_image_pad (model->transformer, 1);
  krn_tensor ids = eng_run_take (run, KRN_I32, 1, 1, 1, n);
  krn_tensor text_rope = eng_run_take (run, KRN_F32, 1, 1, n, text_width);
  krn_tensor rope = eng_run_take (run, KRN_F32, 1, 1, prompt->padded, width);

  if (eng_run_may_launch (run)) {
    /* The copies of the call before may still read them. */
    if ((run->status = run->device->stream_sync (run->stream)))
      run->failed = "stream_sync";
    prompts->tables = g_renew (float, prompts->tables,
                               (size_t) n *text_width + (size_t) (image + prompt->padded) * width);
    eng_qwen3_rope (model->text, prompts->tables, n);
    eng_z_image_rope (model->transformer, prompts->tables + (size_t) n * text_width, 2, 2,
                      prompt->padded);
  }
  const float *caption_table =
      prompts->tables ? prompts->tables + (size_t) n * text_width + (size_t) image * width : NULL;

  ENG_RUN (run, upload, ids, prompt->ids->data, KRN_I32);
  ENG_RUN (run, upload, text_rope, prompts->tables, KRN_F32);
  ENG_RUN (run, upload, rope, caption_table, KRN_F32);
  eng_qwen3_forward (run, model->text, prompt->embedding, ids, text_rope);
  eng_z_image_caption (run, model->transformer, prompt->refined, prompt->embedding, rope);
  eng_run_drop (run, rope);
  eng_run_drop (run, text_rope);
  eng_run_drop (run, ids);
}

void
eng_prompts_forget (eng_prompts *prompts, struct eng_prompt *prompt)
{
  clear_slot (prompt);
}
