/* engine/model.h - a model: what a path holds, and the same on a device. */
#pragma once

#include "engine/engine.h"
#include "engine/qwen3.h"
#include "engine/schedule.h"
#include "engine/tokenizer.h"
#include "engine/vae.h"
#include "engine/z_image.h"

enum eng_part { ENG_PART_TEXT, ENG_PART_TRANSFORMER, ENG_PART_VAE, ENG_N_PARTS };

/* Where one component's tensors and settings are. */
struct eng_part_source {
  eng_weights *weights; /* owned */
  const char *prefix;   /* of its tensors' names; static */
  char *config;         /* path of its config.json, or NULL */
};

struct eng_model_info {
  gatomicrefcount refs;
  char *path, *name;
  char hash[11];
  struct eng_component components[ENG_N_PARTS]; /* strings owned */
  struct eng_part_source parts[ENG_N_PARTS];
  char *tokenizer; /* path of tokenizer.json */
  char *preview;   /* path of preview.json, or NULL */
  struct eng_schedule_config schedule;
  struct eng_defaults defaults; /* shift is for that size; see schedule */
};

/* Tokens that a prompt may have, chat wrapper included: diffusers' max_sequence_length for Z-Image.
 */
enum { ENG_PROMPT_LIMIT = 512 };
/* Sizes are multiples of this many pixels: VAE scale 8 times patch 2. */
enum { ENG_SIZE_MULTIPLE = 16 };

/* The schedule's shift for a picture of that size, in pixels. */
float eng_model_info_get_shift (const eng_model_info *info, int width, int height);

typedef struct {
  eng_model_info *info; /* owned */
  eng_tokenizer *tokenizer;
  eng_qwen3 *text;
  eng_feed *feed; /* of the text encoder's weights; NULL: they are kept on the device */
  eng_z_image *transformer;
  eng_vae *vae;
  krn_tensor
      preview; /* f32 [channels + 1, 3]: latent to RGB, the last row the bias; no data: none */
  struct krn_device *device; /* borrowed */
  void *blocks[ENG_N_PARTS]; /* device memory of the weights, owned */
  size_t bytes;              /* of these blocks */
} eng_model;

struct eng_model_loading {
  struct krn_device *device; /* borrowed by the model */
  krn_stream *stream;        /* borrowed; of the uploads */
  enum eng_residency text_encoder;
  void (*progress) (double fraction, void *data); /* on this thread; may be NULL */
  void *data;
  const int *cancelled; /* atomic; may be NULL */
};

/* Blocking; on the engine's thread.  Takes a reference to info. */
eng_model *eng_model_load (eng_model_info *info, const struct eng_model_loading *how,
                           GError **error);
void eng_model_free (eng_model *model); /* NULL allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (eng_model, eng_model_free)
