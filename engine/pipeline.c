#include "engine/making.h"

#include "engine/latent_file.h"
#include "engine/params.h"
#include "engine/picture.h"

eng_pipeline *
eng_pipeline_new (struct krn_device *device, GError **error)
{
  eng_lanes *lanes = eng_lanes_new (device, error);
  eng_pipeline *pipeline;

  if (!lanes)
    return NULL;
  pipeline = g_new0 (eng_pipeline, 1);
  pipeline->device = device;
  pipeline->lanes = lanes;
  return pipeline;
}

static void
drop_model (eng_pipeline *pipeline)
{
  eng_lanes_release (pipeline->lanes);
  g_clear_pointer (&pipeline->prompts, eng_prompts_free);
  g_clear_pointer (&pipeline->model, eng_model_free);
  pipeline->decode_seconds_a_pixel = 0;
}

void
eng_pipeline_free (eng_pipeline *pipeline)
{
  if (!pipeline)
    return;
  drop_model (pipeline);
  eng_lanes_free (pipeline->lanes);
  g_free (pipeline);
}

gboolean
eng_pipeline_load (eng_pipeline *pipeline, eng_model_info *info,
                   void (*progress) (double fraction, void *data), void *data, const int *cancelled,
                   GError **error)
{
  krn_stream *stream = eng_lanes_get_stream (pipeline->lanes, ENG_LANE_TEXT);

  drop_model (pipeline);
  pipeline->model =
      eng_model_load (info, pipeline->device, stream, progress, data, cancelled, error);
  pipeline->prompts = pipeline->model ? eng_prompts_new (pipeline->model, error) : NULL;
  if (!pipeline->prompts)
    drop_model (pipeline);
  return pipeline->prompts != NULL;
}

const eng_model *
eng_pipeline_get_model (eng_pipeline *pipeline)
{
  return pipeline->model;
}

double
eng_making_get_seconds (const struct eng_making *p)
{
  return (g_get_monotonic_time () - p->begin) * 1e-6;
}

void
eng_making_report (const struct eng_making *p, enum eng_stage stage, int step, double left)
{
  const struct eng_frame frame = { p->w, p->h, p->preview };
  struct eng_progress progress = {
    .stage = stage,
    .step = step,
    .n_steps = p->n_steps ? p->n_steps : p->params->steps,
    .elapsed = eng_making_get_seconds (p),
    .left = left,
    .frame = p->preview && stage == ENG_STAGE_DENOISE && step > 0 ? &frame : NULL,
  };

  eng_lanes_collect_spans (p->pipeline->lanes, p->timeline);
  progress.spans = eng_timeline_get_spans (p->timeline, &progress.n_spans);
  if (p->observer->progress)
    p->observer->progress (&progress, p->observer->data);
}

double
eng_making_estimate_decode (const struct eng_making *p)
{
  return p->pipeline->decode_seconds_a_pixel * p->params->width * p->params->height;
}

krn_tensor
eng_making_take_latent (const struct eng_making *p, struct eng_run *run)
{
  return eng_run_take (run, KRN_F32, 1, p->channels, p->h, p->w);
}

/* ---- Text ---- */

static gboolean
encode_prompt (struct eng_making *p, const char *text, struct eng_prompt **slot, GError **error)
{
  eng_pipeline *pipeline = p->pipeline;
  eng_lanes *lanes = pipeline->lanes;
  struct eng_run run;
  gboolean encoded;

  *slot = eng_prompts_get (pipeline->prompts, text, &encoded, error);
  if (!*slot || encoded)
    return *slot != NULL;

  run = eng_lanes_begin_plan (lanes, ENG_LANE_TEXT);
  eng_prompts_encode (pipeline->prompts, &run, *slot);
  eng_lanes_end_plan (lanes, ENG_LANE_TEXT);
  if (eng_lanes_reserve (lanes, "the text encoder", error)) {
    run = eng_lanes_begin_run (lanes, ENG_LANE_TEXT, p->observer->cancelled);
    eng_lanes_begin_span (lanes, ENG_LANE_TEXT, "encode");
    eng_prompts_encode (pipeline->prompts, &run, *slot);
    eng_lanes_end_span (lanes, ENG_LANE_TEXT);
    if (eng_run_ok (&run, "the text encoder", error))
      return TRUE;
  }
  eng_lanes_sync (lanes, NULL); /* copies may still read what the slot has on the host */
  eng_prompts_forget (pipeline->prompts, *slot);
  return FALSE;
}

static gboolean
encode_text (struct eng_making *p, GError **error)
{
  eng_making_report (p, ENG_STAGE_TEXT, 0, -1);
  return encode_prompt (p, p->params->prompt, &p->positive, error) &&
         (!eng_params_guided (p->params) ||
          encode_prompt (p, p->params->negative, &p->negative, error));
}

/* ---- Decoding ---- */

static void
decode (struct eng_making *p, struct eng_run *run, krn_tensor latent, uint8_t *pixels)
{
  const int scale = eng_vae_get_sizes (p->pipeline->model->vae)->scale;
  krn_tensor own = eng_making_take_latent (p, run);
  krn_tensor image = eng_run_take (run, run->device->activation, 1, p->h * scale, p->w * scale, 3);

  ENG_RUN (run, copy, own, latent);
  eng_vae_decode (run, p->pipeline->model->vae, image, own);
  krn_tensor rgba = eng_run_take (run, KRN_U8, 1, p->h * scale, p->w * scale, 4);
  ENG_RUN (run, image_rgba, rgba, image);
  ENG_RUN (run, download, pixels, rgba);
  eng_run_drop (run, rgba);
  eng_run_drop (run, image);
  eng_run_drop (run, own);
}

static void
plan_decode (struct eng_making *p)
{
  struct eng_run run = eng_lanes_begin_plan (p->pipeline->lanes, ENG_LANE_DECODE);

  decode (p, &run, (krn_tensor){ 0 }, NULL);
  eng_lanes_end_plan (p->pipeline->lanes, ENG_LANE_DECODE);
}

static gboolean
run_decode (struct eng_making *p, krn_tensor latent, GError **error)
{
  eng_lanes *lanes = p->pipeline->lanes;
  const size_t bytes = (size_t) p->params->width * p->params->height * 4;
  struct eng_run run = eng_lanes_begin_run (lanes, ENG_LANE_DECODE, p->observer->cancelled);
  uint8_t *pixels = g_try_malloc (bytes);
  const double begin = eng_making_get_seconds (p), left = eng_making_estimate_decode (p);

  if (!pixels) {
    g_autofree char *needed = g_format_size (bytes);
    g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY, "the picture needs %s of host memory", needed);
    return FALSE;
  }
  p->rgba = g_bytes_new_take (pixels, bytes);
  eng_making_report (p, ENG_STAGE_DECODE, p->n_steps, left > 0 ? left : -1);
  eng_lanes_join (lanes, ENG_LANE_DECODE, ENG_LANE_DENOISE);
  eng_lanes_begin_span (lanes, ENG_LANE_DECODE, "decode");
  decode (p, &run, latent, pixels);
  eng_lanes_end_span (lanes, ENG_LANE_DECODE);
  if (!eng_run_ok (&run, "the VAE", error) || !eng_lanes_sync (lanes, error))
    return FALSE;
  p->pipeline->decode_seconds_a_pixel =
      (eng_making_get_seconds (p) - begin) / ((double) p->params->width * p->params->height);
  return TRUE;
}

/* ---- One picture ---- */

/* After the text lane's plan, if there was one: one block holds all three. */
static gboolean
reserve (struct eng_making *p, GError **error)
{
  g_autofree char *what =
      g_strdup_printf ("a picture of %dx%d", p->params->width, p->params->height);
  eng_lanes *lanes = p->pipeline->lanes;

  eng_denoise_plan (p);
  plan_decode (p);
  return eng_lanes_reserve (lanes, what, error);
}

static gboolean
dump_embeddings (struct eng_making *p, GError **error)
{
  const struct eng_prompt *prompts[2] = { p->positive, p->negative };
  static const char *const names[2][2] = { { "input_ids", "prompt_embeds" },
                                           { "negative_input_ids", "negative_prompt_embeds" } };
  g_autoptr (GPtrArray) dump = g_ptr_array_new_with_free_func ((GDestroyNotify) eng_latent_free);
  struct eng_run run;

  if (!p->params->dump_embeddings)
    return TRUE;
  run = eng_lanes_begin_run (p->pipeline->lanes, ENG_LANE_TEXT, p->observer->cancelled);
  for (int i = 0; i < 2 && prompts[i]; i++) {
    const krn_tensor e = prompts[i]->embedding;
    struct eng_latent *ids = eng_latent_new (names[i][0], -1, (int64_t[]){ 1, 1, 1, e.dim[2] });
    struct eng_latent *embeds = eng_latent_new (names[i][1], -1, e.dim);
    krn_tensor copy = e;

    for (int64_t j = 0; j < e.dim[2]; j++)
      ids->data[j] = g_array_index (prompts[i]->ids, int32_t, j);
    copy.dtype = KRN_F32;
    g_ptr_array_add (dump, ids);
    g_ptr_array_add (dump, embeds);
    ENG_RUN (&run, download, embeds->data, copy);
  }
  return eng_run_ok (&run, "the text encoder", error) &&
         eng_lanes_sync (p->pipeline->lanes, error) &&
         eng_latent_write (p->params->dump_embeddings, dump, error);
}

static gboolean
make (struct eng_making *p, GError **error)
{
  krn_tensor latent;

  return encode_text (p, error) && dump_embeddings (p, error) && reserve (p, error) &&
         eng_denoise_prepare (p, error) && eng_denoise_run (p, &latent, error) &&
         run_decode (p, latent, error) &&
         (!p->dump || eng_latent_write (p->params->dump_latents, p->dump, error));
}

static char *
warn_if_cut (const struct eng_making *p)
{
  const struct eng_prompt *prompts[2] = { p->positive, p->negative };

  for (int i = 0; i < 2 && prompts[i]; i++)
    if (prompts[i]->tokens > ENG_PROMPT_LIMIT)
      return g_strdup_printf ("The %s has %d tokens; only the first %d were used.",
                              i ? "negative prompt" : "prompt", prompts[i]->tokens,
                              ENG_PROMPT_LIMIT);
  return NULL;
}

static eng_image *
finish (struct eng_making *p)
{
  eng_lanes_collect_spans (p->pipeline->lanes, p->timeline);
  return eng_image_new (&(struct eng_picture){
      .params = eng_params_copy (p->params),
      .info = p->pipeline->model->info,
      .rgba = g_steal_pointer (&p->rgba),
      .timeline = g_steal_pointer (&p->timeline),
      .warning = warn_if_cut (p),
      .seconds = eng_making_get_seconds (p),
  });
}

eng_image *
eng_pipeline_run (eng_pipeline *pipeline, const struct eng_params *params,
                  const struct eng_picture_observer *observer, GError **error)
{
  const int scale = eng_vae_get_sizes (pipeline->model->vae)->scale;
  struct eng_making p = {
    .pipeline = pipeline,
    .params = params,
    .observer = observer,
    .begin = g_get_monotonic_time (),
    .timeline = eng_timeline_new (),
    .channels = eng_vae_get_sizes (pipeline->model->vae)->latent_channels,
    .h = params->height / scale,
    .w = params->width / scale,
  };
  eng_image *image = NULL;

  if (pipeline->model->preview.data && !(params->flags & ENG_FLAG_NO_PREVIEW))
    p.preview = g_malloc ((size_t) p.h * p.w * 4);
  if (params->dump_latents)
    p.dump = g_ptr_array_new_with_free_func ((GDestroyNotify) eng_latent_free);
  eng_lanes_clear_plans (pipeline->lanes);
  eng_lanes_start_clock (pipeline->lanes);
  if (make (&p, error))
    image = finish (&p);
  else
    eng_lanes_sync (pipeline->lanes, NULL); /* copies may still read the host memory freed below */

  g_clear_pointer (&p.evaluations, g_array_unref);
  g_clear_pointer (&p.dump, g_ptr_array_unref);
  g_clear_pointer (&p.rgba, g_bytes_unref);
  g_clear_pointer (&p.timeline, eng_timeline_free);
  g_free (p.noise);
  g_free (p.sinusoid);
  g_free (p.coefs);
  g_free (p.rope[0]);
  g_free (p.rope[1]);
  g_free (p.preview);
  return image;
}
