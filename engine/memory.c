#include "engine/memory.h"

#include "engine/prompt.h"

/* What the denoising loop holds beside the network's own activations, in latents: the noise, the
 * latent and the copies of it that samplers with a history keep. */
enum { LATENTS = 6, STEPS = 8 };

static struct eng_run
begin_plan (const eng_model *model, eng_arena *arena)
{
  eng_arena_reset (arena, NULL, 0);
  return (struct eng_run){ .device = model->device, .arena = arena, .planning = TRUE };
}

/* Of prompts as long as they may be, encoded and refined. */
static size_t
count_prompts (const eng_model *model)
{
  const struct eng_z_image_sizes *sizes = eng_z_image_get_sizes (model->transformer);
  const size_t padded = eng_z_image_pad (model->transformer, ENG_PROMPT_LIMIT);

  return ENG_PROMPTS_KEPT * krn_dtype_size (model->device->activation) *
         ((size_t) ENG_PROMPT_LIMIT * sizes->caption_width + padded * sizes->dim);
}

static size_t
plan_text (const eng_model *model, eng_arena *arena)
{
  const struct eng_z_image_sizes *sizes = eng_z_image_get_sizes (model->transformer);
  const krn_dtype act = model->device->activation;
  const int n = ENG_PROMPT_LIMIT, padded = eng_z_image_pad (model->transformer, n);
  struct eng_run run = begin_plan (model, arena);
  const krn_tensor embedding = krn_tensor_make (NULL, act, 1, 1, n, sizes->caption_width);
  const krn_tensor refined = krn_tensor_make (NULL, act, 1, 1, padded, sizes->dim);
  const krn_tensor ids = eng_run_take (&run, KRN_I32, 1, 1, 1, n);
  const krn_tensor text_rope =
      eng_run_take (&run, KRN_F32, 1, 1, n, eng_qwen3_get_head_dim (model->text));
  const krn_tensor rope = eng_run_take (&run, KRN_F32, 1, 1, padded, sizes->head_dim);

  eng_qwen3_forward (&run, model->text, embedding, ids, text_rope, NULL);
  eng_z_image_caption (&run, model->transformer, refined, embedding, rope);
  return eng_arena_get_peak (arena);
}

/* h, w: of the latent. */
static size_t
plan_denoise (const eng_model *model, eng_arena *arena, int h, int w)
{
  const struct eng_z_image_sizes *sizes = eng_z_image_get_sizes (model->transformer);
  const krn_dtype act = model->device->activation;
  const int tokens = h / sizes->patch * (w / sizes->patch);
  const int caption = eng_z_image_pad (model->transformer, ENG_PROMPT_LIMIT);
  const int rows = eng_z_image_pad (model->transformer, tokens) + caption;
  struct eng_run run = begin_plan (model, arena);
  const krn_tensor refined = krn_tensor_make (NULL, act, 1, 1, caption, sizes->dim);
  const krn_tensor latent = eng_run_take (&run, KRN_F32, LATENTS, sizes->channels, h, w);
  const krn_tensor one = krn_tensor_make (latent.data, KRN_F32, 1, sizes->channels, h, w);
  const krn_tensor modulation = eng_run_take (&run, KRN_F32, 1, 1, STEPS, sizes->modulation);
  const krn_tensor rope = eng_run_take (&run, KRN_F32, 1, 1, rows, sizes->head_dim);
  const krn_tensor out = eng_run_take (&run, act, 1, 1, tokens,
                                       (int64_t) sizes->patch * sizes->patch * sizes->channels);

  eng_z_image_forward (&run, model->transformer, out, one, refined, krn_row_view (modulation, 0, 1),
                       rope);
  return eng_arena_get_peak (arena);
}

static size_t
plan_decode (const eng_model *model, eng_arena *arena, int h, int w, gboolean banded)
{
  const struct eng_vae_sizes *sizes = eng_vae_get_sizes (model->vae);
  const int64_t height = (int64_t) h * sizes->scale, width = (int64_t) w * sizes->scale;
  struct eng_run run = begin_plan (model, arena);
  const krn_tensor latent = eng_run_take (&run, KRN_F32, 1, sizes->latent_channels, h, w);
  const krn_tensor image = eng_run_take (&run, model->device->activation, 1, height, width, 3);

  eng_vae_decode (&run, model->vae, image, latent, banded);
  eng_run_take (&run, KRN_U8, 1, height, width, 4);
  return eng_arena_get_peak (arena);
}

void
eng_memory_plan (struct eng_memory *memory, const eng_model *model,
                 eng_loader *const loaders[ENG_N_PARTS], int width, int height)
{
  const krn_dtype weight = model->device->weight;
  const int scale = eng_vae_get_sizes (model->vae)->scale;
  eng_arena *arena = eng_arena_new ();

  *memory = (struct eng_memory){
    .text_encoder = eng_loader_get_bytes (loaders[ENG_PART_TEXT], weight),
    .text_encoder_dropped =
        eng_feed_get_bytes (loaders[ENG_PART_TEXT], ENG_QWEN3_FIRST_FED, weight),
    .transformer = eng_loader_get_bytes (loaders[ENG_PART_TRANSFORMER], weight),
    .vae = eng_loader_get_bytes (loaders[ENG_PART_VAE], weight),
    .prompts = count_prompts (model),
    .encode = plan_text (model, arena),
    .denoise = plan_denoise (model, arena, height / scale, width / scale),
    .decode = plan_decode (model, arena, height / scale, width / scale, FALSE),
    .decode_banded = plan_decode (model, arena, height / scale, width / scale, TRUE),
  };
  eng_arena_free (arena);
}

size_t
eng_memory_get_kept (const struct eng_memory *memory)
{
  return memory->text_encoder + memory->transformer + memory->vae + memory->prompts +
         memory->encode + memory->denoise + memory->decode;
}
