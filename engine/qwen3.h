/* engine/qwen3.h - the Qwen3 text encoder up to hidden_states[-2], as transformers' Qwen3Model. */
#pragma once

#include "engine/feed.h"
#include "engine/run.h"
#include "engine/weights.h"

#include <json-glib/json-glib.h>

typedef struct eng_qwen3 eng_qwen3; /* opaque; does not own the memory its weights point to */

/* Reads config.json's object and asks loader for every tensor that is used; the loader's prefix is
 * what stands before "embed_tokens" and "layers", such as "model." of a Qwen3ForCausalLM.  NULL and
 * error when the config lacks a key or holds an impossible value.  The result must outlive
 * eng_loader_finish.
 */
eng_qwen3 *eng_qwen3_new (JsonObject *config, eng_loader *loader, GError **error);
void eng_qwen3_free (eng_qwen3 *model);
int eng_qwen3_get_width (const eng_qwen3 *model);           /* hidden size */
int eng_qwen3_get_vocabulary_size (const eng_qwen3 *model); /* rows of the embedding */
int eng_qwen3_get_head_dim (const eng_qwen3 *model);

/* Host: fills table, f32 [n, head_dim], cos and sin of each pair, for positions 0 to n - 1. */
void eng_qwen3_rope (const eng_qwen3 *model, float *table, int n);

/* The loader's groups: the embedding's table, then several of each layer. */
enum { ENG_QWEN3_FIRST_FED = 1 };
/* From now on weights come by feed, which has that group and those behind it, and is borrowed; the
 * table stays in its file.  Instead of eng_loaders_finish. */
void eng_qwen3_set_feed (eng_qwen3 *model, eng_feed *feed);

/* out: act [n, width], the output of the last layer but one.  ids: i32 [n] as dim {1, 1, 1, n}, all
 * below the vocabulary size; host_ids: the same, on the host, which only a feed reads.  rope: f32
 * [n, head_dim], on the device. */
void eng_qwen3_forward (struct eng_run *run, const eng_qwen3 *model, krn_tensor out, krn_tensor ids,
                        krn_tensor rope, const int32_t *host_ids);
