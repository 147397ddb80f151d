/* engine/denoise.c - the one denoising loop. */
#include "engine/making.h"

#include "engine/latent_file.h"
#include "engine/noise.h"
#include "engine/params.h"
#include "engine/sampler.h"
#include "engine/schedule.h"

#include <math.h>
#include <string.h>

/* The first noise from a file.  A value that is not finite would make every pixel so. */
static gboolean
read_noise (struct eng_making *p, size_t size, GError **error)
{
  const int64_t dim[4] = { 1, p->channels, p->h, p->w };
  const char *path = p->params->init_latents;

  if (!eng_latent_read (path, p->noise, dim, error))
    return FALSE;
  for (size_t i = 0; i < size; i++)
    if (!isfinite (p->noise[i])) {
      g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: value %zu is %g, expected a finite one",
                   path, i, p->noise[i]);
      return FALSE;
    }
  return TRUE;
}

static gboolean
draw_noise (struct eng_making *p, GError **error)
{
  const size_t size = (size_t) p->channels * p->h * p->w;
  struct eng_noise noise;

  p->noise = g_try_malloc_n (p->n_noise, size * sizeof (float));
  if (!p->noise) {
    g_autofree char *needed = g_format_size (p->n_noise * size * sizeof (float));
    g_set_error (error, ENG_ERROR, ENG_ERROR_MEMORY, "the noise needs %s of host memory", needed);
    return FALSE;
  }

  eng_noise_init (&noise, p->params->rng, p->params->seed);
  for (int i = 0; i < p->n_noise; i++)
    eng_noise_fill (&noise, p->noise + i * size, size);
  return !p->params->init_latents || read_noise (p, size, error);
}

static void
fill_tables (struct eng_making *p)
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

/* The schedule of params, with what only the model's own grid has. */
static void
plan_evaluations (struct eng_making *p)
{
  const struct eng_schedule_config *config = &p->pipeline->model->info->schedule;
  const gboolean own = p->params->schedule == ENG_SCHEDULE_SIMPLE;
  const struct eng_schedule_args args = {
    .schedule = p->params->schedule,
    .steps = p->params->steps,
    .shift = p->params->shift,
    .terminal = own ? config->terminal : 0,
    .interpolation = own ? config->interpolation : 0,
  };
  float sigmas[ENG_MAX_STEPS + 1];

  p->n_steps = eng_schedule_fill (sigmas, &args);
  p->evaluations = eng_sampler_plan (p->params, sigmas, p->n_steps);
  p->n_noise = 1;
  for (guint i = 0; i < p->evaluations->len; i++)
    p->n_noise += g_array_index (p->evaluations, struct eng_evaluation, i).uses_noise;
}

gboolean
eng_denoise_prepare (struct eng_making *p, GError **error)
{
  if (!draw_noise (p, error))
    return FALSE;
  fill_tables (p);
  return TRUE;
}

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
take_loop (struct loop *l, struct eng_run *run, const struct eng_making *p)
{
  const struct eng_z_image_sizes *sizes = eng_z_image_get_sizes (p->pipeline->model->transformer);
  const int tokens = p->h / sizes->patch * (p->w / sizes->patch);
  const int image = eng_z_image_pad (p->pipeline->model->transformer, tokens);
  const struct eng_prompt *prompts[2] = { p->positive, p->negative };
  const int n = p->evaluations->len;

  l->x = eng_making_take_latent (p, run);
  l->base = eng_making_take_latent (p, run);
  l->history = eng_making_take_latent (p, run);
  l->noise = eng_making_take_latent (p, run);
  l->denoised = eng_making_take_latent (p, run);
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
start_loop (struct loop *l, struct eng_run *run, const struct eng_making *p)
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
evaluate (const struct loop *l, struct eng_run *run, const struct eng_making *p, gboolean guided)
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
dump_latent (struct eng_making *p, struct eng_run *run, const char *name, int number,
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

/* The frame is on the host when this is done. */
static void
preview (const struct loop *l, struct eng_run *run, const struct eng_making *p)
{
  ENG_RUN (run, latent_rgba, l->rgba, l->denoised, p->pipeline->model->preview);
  ENG_RUN (run, download, p->preview, l->rgba);
  if (eng_run_may_launch (run) && (run->status = run->device->stream_sync (run->stream)))
    run->failed = "stream_sync";
}

/* One evaluation of the network, and, when it ends a step, what the step shows. */
static gboolean
run_evaluation (struct eng_making *p, struct loop *l, struct eng_run *run, int i, int *noises)
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
run_steps (struct eng_making *p, struct loop *l, struct eng_run *run, GError **error)
{
  eng_lanes *lanes = p->pipeline->lanes;
  const double begin = eng_making_get_seconds (p);
  int noises = 0;

  eng_making_report (p, ENG_STAGE_DENOISE, 0, -1);
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
      const double each = (eng_making_get_seconds (p) - begin) / (step + 1);
      eng_making_report (p, ENG_STAGE_DENOISE, step + 1,
                         each * (p->n_steps - step - 1) + eng_making_estimate_decode (p));
    }
  }
  return TRUE;
}

/* A plan runs one guided evaluation: all evaluations take the same memory, a guided one the most.
 */
void
eng_denoise_plan (struct eng_making *p)
{
  struct eng_run run = eng_lanes_begin_plan (p->pipeline->lanes, ENG_LANE_DENOISE);
  struct loop l = { 0 };

  plan_evaluations (p);
  take_loop (&l, &run, p);
  start_loop (&l, &run, p);
  evaluate (&l, &run, p, p->negative != NULL);
  eng_lanes_end_plan (p->pipeline->lanes, ENG_LANE_DENOISE);
}

gboolean
eng_denoise_run (struct eng_making *p, krn_tensor *latent, GError **error)
{
  eng_lanes *lanes = p->pipeline->lanes;
  struct eng_run run = eng_lanes_begin_run (lanes, ENG_LANE_DENOISE, p->observer->cancelled);
  struct loop l = { 0 };

  eng_lanes_join (lanes, ENG_LANE_DENOISE, ENG_LANE_TEXT);
  take_loop (&l, &run, p);
  eng_lanes_begin_span (lanes, ENG_LANE_DENOISE, "prepare");
  start_loop (&l, &run, p);
  eng_lanes_end_span (lanes, ENG_LANE_DENOISE);
  dump_latent (p, &run, "noise", -1, l.x);
  *latent = l.x;
  return run_steps (p, &l, &run, error);
}
