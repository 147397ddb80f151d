#include "engine/pipeline.h"

#include "engine/latent_file.h"
#include "engine/noise.h"
#include "engine/params.h"
#include "engine/picture.h"
#include "engine/prompt.h"
#include "engine/sampler.h"
#include "engine/schedule.h"

#include <string.h>

struct eng_pipeline {
  struct krn_device *device; /* borrowed */
  eng_lanes *lanes;
  eng_model *model;              /* NULL: none is loaded */
  eng_prompts *prompts;          /* of that model */
  double decode_seconds_a_pixel; /* of the last picture; 0: none yet */
};

/* One picture in the making. */
struct picture {
  eng_pipeline *pipeline;
  const struct eng_params *params;
  const struct eng_picture_observer *observer;
  gint64 begin; /* microseconds, monotonic */

  struct eng_prompt *positive, *negative; /* negative NULL: not guided */
  GArray *evaluations;                    /* of struct eng_evaluation */
  int channels, h, w;                     /* of the latent */

  /* Host sides of copies; they stay until the picture is done. */
  float *noise; /* [1 + noisy evaluations, channels * h * w] */
  int n_noise;
  float *sinusoid; /* [evaluations, time width] */
  float *coefs;    /* [evaluations, KRN_STEP_COEFS] */
  float *rope[2];  /* of the prompt's and the negative prompt's sequence */

  uint8_t *preview; /* [h, w, 4]; NULL: no preview is wanted */
  GBytes *rgba;     /* the picture; g_bytes of width * height * 4 */
  GPtrArray *dump;  /* of struct eng_latent, for dump_latents; NULL: no dump */
};

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

static double
seconds_since (const struct picture *p)
{
  return (g_get_monotonic_time () - p->begin) * 1e-6;
}

static void
report (const struct picture *p, enum eng_stage stage, int step, double left)
{
  const struct eng_frame frame = { p->w, p->h, p->preview };
  const struct eng_progress progress = {
    .stage = stage,
    .step = step,
    .n_steps = p->params->steps,
    .elapsed = seconds_since (p),
    .left = left,
    .frame = p->preview && stage == ENG_STAGE_DENOISE && step > 0 ? &frame : NULL,
  };

  if (p->observer->progress)
    p->observer->progress (&progress, p->observer->data);
}

static double
estimate_decode (const struct picture *p)
{
  return p->pipeline->decode_seconds_a_pixel * p->params->width * p->params->height;
}

static krn_tensor
take_latent (struct eng_run *run, const struct picture *p)
{
  return eng_run_take (run, KRN_F32, 1, p->channels, p->h, p->w);
}

/* ---- Text ---- */

static gboolean
encode_prompt (struct picture *p, const char *text, struct eng_prompt **slot, GError **error)
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
  eng_prompts_forget (pipeline->prompts, *slot);
  return FALSE;
}

static gboolean
encode_text (struct picture *p, GError **error)
{
  report (p, ENG_STAGE_TEXT, 0, -1);
  return encode_prompt (p, p->params->prompt, &p->positive, error) &&
         (!eng_params_guided (p->params) ||
          encode_prompt (p, p->params->negative, &p->negative, error));
}

/* ---- What is known before the first step ---- */

static gboolean
draw_noise (struct picture *p, GError **error)
{
  const size_t size = (size_t) p->channels * p->h * p->w;
  const int64_t dim[4] = { 1, p->channels, p->h, p->w };
  struct eng_noise noise;

  p->n_noise = 1;
  for (guint i = 0; i < p->evaluations->len; i++)
    p->n_noise += g_array_index (p->evaluations, struct eng_evaluation, i).uses_noise;
  p->noise = g_try_malloc_n (p->n_noise, size * sizeof (float));
  if (!p->noise) {
    g_autofree char *needed = g_format_size (p->n_noise * size * sizeof (float));
    g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY, "the noise needs %s of host memory", needed);
    return FALSE;
  }

  eng_noise_init (&noise, p->params->rng, p->params->seed);
  for (int i = 0; i < p->n_noise; i++)
    eng_noise_fill (&noise, p->noise + i * size, size);
  return !p->params->init_latents ||
         eng_latent_read (p->params->init_latents, p->noise, dim, error);
}

static void
fill_tables (struct picture *p)
{
  const eng_z_image *transformer = p->pipeline->model->transformer;
  const struct eng_z_image_sizes *sizes = eng_z_image_get_sizes (transformer);
  const int n = p->evaluations->len;
  const int image = eng_z_image_pad (transformer, p->h / sizes->patch * (p->w / sizes->patch));
  const struct eng_prompt *prompts[2] = { p->positive, p->negative };
  g_autofree float *t = g_new (float, n);

  p->sinusoid = g_new (float, (size_t) n * sizes->time_width);
  p->coefs = g_new (float, (size_t) n *KRN_STEP_COEFS);
  for (int i = 0; i < n; i++) {
    const struct eng_evaluation *e = &g_array_index (p->evaluations, struct eng_evaluation, i);

    t[i] = 1.f - e->sigma;
    memcpy (p->coefs + (size_t) i * KRN_STEP_COEFS, &e->coefs, sizeof e->coefs);
  }
  eng_z_image_sinusoid (transformer, p->sinusoid, t, n);

  for (int i = 0; i < 2 && prompts[i]; i++) {
    p->rope[i] = g_new (float, (size_t) (image + prompts[i]->padded) * sizes->head_dim);
    eng_z_image_rope (transformer, p->rope[i], p->h, p->w, prompts[i]->padded);
  }
}

static gboolean
prepare (struct picture *p, GError **error)
{
  p->evaluations = eng_sampler_plan (p->params, error);
  if (!p->evaluations || !draw_noise (p, error))
    return FALSE;
  fill_tables (p);
  return TRUE;
}

/* ---- Denoising ---- */

/* Device memory of the loop; the addresses are the same at every step. */
struct loop {
  krn_tensor x, base, history, noise, denoised; /* latents */
  krn_tensor all_noise;                         /* f32 [n_noise - 1, channels * h * w] */
  krn_tensor all_coefs, coefs;                  /* f32 [evaluations, ...] and the current row */
  krn_tensor all_modulation, modulation;
  krn_tensor rope[2];
  krn_tensor out[2]; /* the network's output for each prompt */
  krn_tensor rgba;   /* preview */
};

static void
take_loop (struct loop *l, struct eng_run *run, const struct picture *p)
{
  const struct eng_z_image_sizes *sizes = eng_z_image_get_sizes (p->pipeline->model->transformer);
  const int tokens = p->h / sizes->patch * (p->w / sizes->patch);
  const int image = eng_z_image_pad (p->pipeline->model->transformer, tokens);
  const struct eng_prompt *prompts[2] = { p->positive, p->negative };
  const int n = p->evaluations->len;

  l->x = take_latent (run, p);
  l->base = take_latent (run, p);
  l->history = take_latent (run, p);
  l->noise = take_latent (run, p);
  l->denoised = take_latent (run, p);
  if (p->n_noise > 1)
    l->all_noise =
        eng_run_take (run, KRN_F32, 1, 1, p->n_noise - 1, (int64_t) p->channels * p->h * p->w);
  l->all_coefs = eng_run_take (run, KRN_F32, 1, 1, n, KRN_STEP_COEFS);
  l->coefs = eng_run_take (run, KRN_F32, 1, 1, 1, KRN_STEP_COEFS);
  l->all_modulation = eng_run_take (run, KRN_F32, 1, 1, n, sizes->modulation);
  l->modulation = eng_run_take (run, KRN_F32, 1, 1, 1, sizes->modulation);
  for (int i = 0; i < 2 && prompts[i]; i++) {
    l->rope[i] = eng_run_take (run, KRN_F32, 1, 1, image + prompts[i]->padded, sizes->head_dim);
    l->out[i] = eng_run_take (run, run->device->activation, 1, 1, tokens,
                              sizes->patch * sizes->patch * p->channels);
  }
  if (p->preview)
    l->rgba = eng_run_take (run, KRN_U8, 1, p->h, p->w, 4);
}

/* Uploads what the loop needs and computes all adaLN vectors of all steps. */
static void
start_loop (struct loop *l, struct eng_run *run, const struct picture *p)
{
  const eng_z_image *transformer = p->pipeline->model->transformer;
  const int width = eng_z_image_get_sizes (transformer)->time_width;
  const size_t size = (size_t) p->channels * p->h * p->w;
  krn_tensor sinusoid = eng_run_take (run, KRN_F32, 1, 1, p->evaluations->len, width);

  ENG_RUN (run, upload, l->x, p->noise, KRN_F32);
  ENG_RUN (run, copy, l->base, l->x);
  ENG_RUN (run, copy, l->history, l->x);
  ENG_RUN (run, copy, l->noise, l->x);
  if (p->n_noise > 1)
    ENG_RUN (run, upload, l->all_noise, p->noise + size, KRN_F32);
  ENG_RUN (run, upload, l->all_coefs, p->coefs, KRN_F32);
  ENG_RUN (run, upload, sinusoid, p->sinusoid, KRN_F32);
  for (int i = 0; i < 2 && p->rope[i]; i++)
    ENG_RUN (run, upload, l->rope[i], p->rope[i], KRN_F32);
  eng_z_image_modulation (run, transformer, l->all_modulation, sinusoid);
  eng_run_drop (run, sinusoid);
}

static void
evaluate (const struct loop *l, struct eng_run *run, const struct picture *p, gboolean guided)
{
  const eng_z_image *transformer = p->pipeline->model->transformer;
  const struct eng_prompt *prompts[2] = { p->positive, p->negative };
  const struct krn_sampler_step step = {
    .pos = l->out[0],
    .neg = guided ? l->out[1] : (krn_tensor){ 0 },
    .coefs = l->coefs,
    .x = l->x,
    .base = l->base,
    .history = l->history,
    .noise = l->noise,
    .denoised = l->denoised,
    .patch = eng_z_image_get_sizes (transformer)->patch,
  };

  for (int i = 0; i < (guided ? 2 : 1); i++)
    eng_z_image_forward (run, transformer, l->out[i], l->x, prompts[i]->refined, l->modulation,
                         l->rope[i]);
  ENG_RUN (run, sampler_step, &step);
}

static void
dump_latent (struct picture *p, struct eng_run *run, const char *name, int number,
             krn_tensor latent)
{
  const int64_t dim[4] = { 1, p->channels, p->h, p->w };
  struct eng_latent *dump;

  if (!p->dump)
    return;
  dump = eng_latent_new (name, number, dim);
  g_ptr_array_add (p->dump, dump);
  ENG_RUN (run, download, dump->data, latent);
}

static gboolean
preview (const struct loop *l, struct eng_run *run, const struct picture *p)
{
  if (!p->preview)
    return TRUE;
  ENG_RUN (run, latent_rgba, l->rgba, l->denoised, p->pipeline->model->preview);
  ENG_RUN (run, download, p->preview, l->rgba);
  return !eng_run_may_launch (run) || !run->device->stream_sync (run->stream);
}

/* One evaluation of the network, and, when it ends a step, what the step shows. */
static gboolean
run_evaluation (struct picture *p, struct loop *l, struct eng_run *run, int i, int *noises)
{
  const struct eng_evaluation *e = &g_array_index (p->evaluations, struct eng_evaluation, i);
  const gboolean last =
      i + 1 == (int) p->evaluations->len ||
      g_array_index (p->evaluations, struct eng_evaluation, i + 1).step != e->step;
  krn_tensor row;

  ENG_RUN (run, copy, l->coefs, krn_row_view (l->all_coefs, i, 1));
  ENG_RUN (run, copy, l->modulation, krn_row_view (l->all_modulation, i, 1));
  if (e->uses_noise) {
    row = krn_row_view (l->all_noise, (*noises)++, 1);
    memcpy (row.dim, l->noise.dim, sizeof row.dim);
    row.stride = l->noise.stride;
    ENG_RUN (run, copy, l->noise, row);
  }
  evaluate (l, run, p, p->negative && e->guided);
  if (last)
    dump_latent (p, run, "step", e->step + 1, l->x);
  return last;
}

static gboolean
run_steps (struct picture *p, struct loop *l, struct eng_run *run, GError **error)
{
  eng_lanes *lanes = p->pipeline->lanes;
  const double begin = seconds_since (p);
  int noises = 0;

  report (p, ENG_STAGE_DENOISE, 0, -1);
  for (guint i = 0; i < p->evaluations->len; i++) {
    const int step = g_array_index (p->evaluations, struct eng_evaluation, i).step;
    g_autofree char *name = g_strdup_printf ("step %d", step + 1);
    gboolean last;

    eng_lanes_begin_span (lanes, ENG_LANE_DENOISE, name);
    last = run_evaluation (p, l, run, i, &noises);
    eng_lanes_end_span (lanes, ENG_LANE_DENOISE);
    if (last && p->preview) {
      eng_lanes_begin_span (lanes, ENG_LANE_DENOISE, "preview");
      preview (l, run, p);
      eng_lanes_end_span (lanes, ENG_LANE_DENOISE);
    }
    if (!eng_run_ok (run, name, error))
      return FALSE;
    if (last) {
      const double each = (seconds_since (p) - begin) / (step + 1);
      report (p, ENG_STAGE_DENOISE, step + 1,
              each * (p->params->steps - step - 1) + estimate_decode (p));
    }
  }
  return TRUE;
}

/* A plan runs one guided evaluation: all evaluations take the same memory, a guided one the most.
 */
static void
plan_denoise (struct picture *p)
{
  struct eng_run run = eng_lanes_begin_plan (p->pipeline->lanes, ENG_LANE_DENOISE);
  struct loop l = { 0 };

  take_loop (&l, &run, p);
  start_loop (&l, &run, p);
  evaluate (&l, &run, p, p->negative != NULL);
  eng_lanes_end_plan (p->pipeline->lanes, ENG_LANE_DENOISE);
}

static gboolean
denoise (struct picture *p, struct eng_run *run, krn_tensor *latent, GError **error)
{
  eng_lanes *lanes = p->pipeline->lanes;
  struct loop l = { 0 };

  eng_lanes_join (lanes, ENG_LANE_DENOISE, ENG_LANE_TEXT);
  take_loop (&l, run, p);
  eng_lanes_begin_span (lanes, ENG_LANE_DENOISE, "prepare");
  start_loop (&l, run, p);
  eng_lanes_end_span (lanes, ENG_LANE_DENOISE);
  dump_latent (p, run, "noise", -1, l.x);
  *latent = l.x;
  return run_steps (p, &l, run, error);
}

/* ---- Decoding ---- */

static void
decode (struct picture *p, struct eng_run *run, krn_tensor latent, uint8_t *pixels)
{
  const int scale = eng_vae_get_sizes (p->pipeline->model->vae)->scale;
  krn_tensor own = take_latent (run, p);
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
plan_decode (struct picture *p)
{
  struct eng_run run = eng_lanes_begin_plan (p->pipeline->lanes, ENG_LANE_DECODE);

  decode (p, &run, (krn_tensor){ 0 }, NULL);
  eng_lanes_end_plan (p->pipeline->lanes, ENG_LANE_DECODE);
}

static gboolean
run_decode (struct picture *p, krn_tensor latent, GError **error)
{
  eng_lanes *lanes = p->pipeline->lanes;
  const size_t bytes = (size_t) p->params->width * p->params->height * 4;
  struct eng_run run = eng_lanes_begin_run (lanes, ENG_LANE_DECODE, p->observer->cancelled);
  uint8_t *pixels = g_try_malloc (bytes);
  const double begin = seconds_since (p);

  if (!pixels) {
    g_autofree char *needed = g_format_size (bytes);
    g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY, "the picture needs %s of host memory", needed);
    return FALSE;
  }
  p->rgba = g_bytes_new_take (pixels, bytes);
  report (p, ENG_STAGE_DECODE, p->params->steps, estimate_decode (p));
  eng_lanes_join (lanes, ENG_LANE_DECODE, ENG_LANE_DENOISE);
  eng_lanes_begin_span (lanes, ENG_LANE_DECODE, "decode");
  decode (p, &run, latent, pixels);
  eng_lanes_end_span (lanes, ENG_LANE_DECODE);
  if (!eng_run_ok (&run, "the VAE", error) || !eng_lanes_sync (lanes, error))
    return FALSE;
  p->pipeline->decode_seconds_a_pixel =
      (seconds_since (p) - begin) / ((double) p->params->width * p->params->height);
  return TRUE;
}

/* ---- One picture ---- */

/* After the text lane's plan, if there was one: one block holds all three. */
static gboolean
reserve (struct picture *p, GError **error)
{
  g_autofree char *what =
      g_strdup_printf ("a picture of %dx%d", p->params->width, p->params->height);
  eng_lanes *lanes = p->pipeline->lanes;

  plan_denoise (p);
  plan_decode (p);
  return eng_lanes_reserve (lanes, what, error);
}

static gboolean
dump_embeddings (struct picture *p, GError **error)
{
  const struct eng_prompt *prompts[2] = { p->positive, p->negative };
  static const char *const names[2][2] = { { "input_ids", "prompt_embeds" },
                                           { "negative_input_ids", "negative_prompt_embeds" } };
  g_autoptr (GPtrArray) dump = g_ptr_array_new_with_free_func ((GDestroyNotify) eng_latent_free);
  struct eng_run run =
      eng_lanes_begin_run (p->pipeline->lanes, ENG_LANE_TEXT, p->observer->cancelled);

  if (!p->params->dump_embeddings)
    return TRUE;
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
make (struct picture *p, GError **error)
{
  struct eng_run run;
  krn_tensor latent;

  if (!encode_text (p, error) || !dump_embeddings (p, error) || !prepare (p, error) ||
      !reserve (p, error))
    return FALSE;
  run = eng_lanes_begin_run (p->pipeline->lanes, ENG_LANE_DENOISE, p->observer->cancelled);
  return denoise (p, &run, &latent, error) && run_decode (p, latent, error) &&
         (!p->dump || eng_latent_write (p->params->dump_latents, p->dump, error));
}

static char *
warn_if_cut (const struct picture *p)
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
finish (struct picture *p)
{
  eng_timeline *timeline = eng_timeline_new ();

  eng_lanes_collect_spans (p->pipeline->lanes, timeline);
  return eng_image_new (&(struct eng_picture){
      .params = eng_params_copy (p->params),
      .info = p->pipeline->model->info,
      .rgba = g_steal_pointer (&p->rgba),
      .timeline = timeline,
      .warning = warn_if_cut (p),
      .seconds = seconds_since (p),
  });
}

eng_image *
eng_pipeline_run (eng_pipeline *pipeline, const struct eng_params *params,
                  const struct eng_picture_observer *observer, GError **error)
{
  const int scale = eng_vae_get_sizes (pipeline->model->vae)->scale;
  struct picture p = {
    .pipeline = pipeline,
    .params = params,
    .observer = observer,
    .begin = g_get_monotonic_time (),
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
  g_free (p.noise);
  g_free (p.sinusoid);
  g_free (p.coefs);
  g_free (p.rope[0]);
  g_free (p.rope[1]);
  g_free (p.preview);
  return image;
}
