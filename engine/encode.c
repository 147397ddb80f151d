/* engine/encode.c - the text of a picture: its prompts, encoded unless they are known. */
#include "engine/making.h"

#include "engine/latent_file.h"
#include "engine/params.h"

enum eng_result
eng_encode_begin (struct eng_making *p, GError **error)
{
  eng_prompts *prompts = p->pipeline->prompts;
  const gboolean kept = !p->debug.no_prompt_cache;
  const gint64 begin = g_get_monotonic_time ();

  eng_making_report (p, ENG_STAGE_TEXT, 0, -1, NULL);
  p->positive = eng_prompts_take (prompts, p->params->prompt, kept, error);
  if (p->positive && eng_params_guided (p->params))
    p->negative = eng_prompts_take (prompts, p->params->negative, kept, error);
  if (!p->positive || (eng_params_guided (p->params) && !p->negative))
    return ENG_FAILED;
  p->counters.prompt_cached = p->positive->encoded && (!p->negative || p->negative->encoded);
  eng_clock_add_host (p->clock, "tokens", begin);
  return ENG_NEXT;
}

static gboolean
encode (struct eng_making *p, struct eng_prompt *prompt, GError **error)
{
  eng_pipeline *pipeline = p->pipeline;
  struct eng_prompt_tables tables;
  struct eng_run run;

  if (!prompt || prompt->encoded)
    return TRUE;
  if (!eng_prompts_prepare (pipeline->prompts, prompt, p->staging, &tables, error))
    return FALSE;
  run = eng_lanes_begin_run (pipeline->lanes, ENG_LANE_TEXT, p->observer.cancelled);
  eng_clock_begin (p->clock, ENG_LANE_TEXT, "encode");
  eng_prompts_encode (pipeline->prompts, &run, prompt, &tables);
  eng_clock_end (p->clock, ENG_LANE_TEXT);
  eng_lanes_end_segment (pipeline->lanes, ENG_LANE_TEXT, NULL, 0);
  if (run.status && pipeline->model->feed)
    eng_feed_stop (pipeline->model->feed);
  prompt->encoded = eng_making_ok (p, &run, "the text encoder", error);
  return prompt->encoded;
}

/* Both have the lane's whole memory, one after the other. */
enum eng_result
eng_encode_run (struct eng_making *p, GError **error)
{
  if (!encode (p, p->positive, error) || !encode (p, p->negative, error))
    return ENG_FAILED;
  p->encoded = eng_lanes_record (p->pipeline->lanes, ENG_LANE_TEXT);
  return ENG_NEXT;
}

void
eng_encode_end (struct eng_making *p)
{
  struct eng_prompt *prompts[2] = { p->positive, p->negative };

  for (int i = 0; i < 2 && prompts[i]; i++) {
    eng_prompts_forget (p->pipeline->prompts, prompts[i]);
    eng_prompts_release (p->pipeline->prompts, prompts[i]);
  }
  p->positive = p->negative = NULL;
}

/* ---- The dump ---- */

static const char *const names[2][2] = { { "input_ids", "prompt_embeds" },
                                         { "negative_input_ids", "negative_prompt_embeds" } };

static struct eng_latent *
dump_ids (const struct eng_prompt *prompt, const char *name)
{
  struct eng_latent *ids = eng_latent_new (name, -1, (int64_t[]){ 1, 1, 1, prompt->ids->len });

  for (guint i = 0; i < prompt->ids->len; i++)
    ids->data[i] = g_array_index (prompt->ids, int32_t, i);
  return ids;
}

/* A debugging aid: it waits for the device. */
enum eng_result
eng_encode_dump (struct eng_making *p, GError **error)
{
  const struct eng_prompt *prompts[2] = { p->positive, p->negative };
  g_autoptr (GPtrArray) dump = NULL;
  struct eng_run run;

  if (!p->params->dump_embeddings)
    return ENG_NEXT;
  dump = g_ptr_array_new_with_free_func ((GDestroyNotify) eng_latent_free);
  for (int i = 0; i < 2 && prompts[i]; i++) {
    const krn_tensor e = prompts[i]->embedding;
    struct eng_latent *embeds = eng_latent_new (names[i][1], -1, e.dim);

    g_ptr_array_add (dump, dump_ids (prompts[i], names[i][0]));
    g_ptr_array_add (dump, embeds);
    run = eng_lanes_begin_run (p->pipeline->lanes, ENG_LANE_TEXT, p->observer.cancelled);
    krn_tensor f32 = eng_run_take (&run, KRN_F32, 1, 1, krn_rows (e), e.dim[3]);
    ENG_RUN (&run, copy, f32, e);
    ENG_RUN (&run, download, embeds->data, f32);
    if (!eng_making_ok (p, &run, "the text encoder", error) ||
        !eng_lanes_sync (p->pipeline->lanes, error))
      return ENG_FAILED;
  }
  return eng_latent_write (p->params->dump_embeddings, dump, error) ? ENG_NEXT : ENG_FAILED;
}
