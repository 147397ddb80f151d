/* engine/denoise.c - the one denoising loop. */
#include "engine/making.h"

#include "engine/latent_file.h"
#include "engine/params.h"
#include "engine/sampler.h"
#include "engine/schedule.h"

#include <math.h>
#include <string.h>

/* Device memory of the loop.  What a step looks at lies at the same addresses for any picture of
 * the same size and captions; what depends on the number of steps is in the copy lane's memory. */
struct eng_loop {
  krn_tensor x, base, history, noise, denoised; /* latents */
  krn_tensor coefs, modulation;                 /* the current step's rows */
  krn_tensor rope[2], refined[2];               /* of each caption */
  krn_tensor out[2];                            /* the network's output for each caption */
  krn_tensor all_noise;                         /* f32 [n_noise - 1, channels * h * w] */
  krn_tensor all_coefs, all_modulation;         /* f32 [evaluations, ...] */
  krn_tensor sinusoid;

  struct eng_run run;    /* its arena is as it was before the first step */
  guint i;               /* of the evaluation */
  int n_noises;          /* latents of fresh noise that were used */
  int done;              /* operations of the evaluation that are enqueued */
  int segment;           /* operations of its segments */
  struct eng_step *step; /* what is known of it; borrowed */
};

/* ---- On the host ---- */

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

/* One latent a call: a draw takes milliseconds. */
enum eng_result
eng_denoise_draw (struct eng_making *p, GError **error)
{
  const size_t size = (size_t) p->channels * p->h * p->w;
  const gint64 begin = g_get_monotonic_time ();

  if (!p->noise) {
    p->noise =
        eng_staging_take (p->staging, p->n_noise * size * sizeof (float), "the noise", error);
    if (!p->noise)
      return ENG_FAILED;
    eng_noise_init (&p->generator, p->params->rng, p->params->seed);
  }
  eng_noise_fill (&p->generator, p->noise + p->n_drawn * size, size);
  if (p->n_drawn++ == 0 && p->params->init_latents && !read_noise (p, size, error))
    return ENG_FAILED;
  eng_clock_add_host (p->clock, "noise", begin);
  return p->n_drawn < p->n_noise ? ENG_AGAIN : ENG_NEXT;
}

static const struct eng_evaluation *
get_evaluation (const struct eng_making *p, guint i)
{
  return &g_array_index (p->evaluations, struct eng_evaluation, i);
}

enum eng_result
eng_denoise_tables (struct eng_making *p, GError **error)
{
  const eng_z_image *transformer = p->pipeline->model->transformer;
  const size_t width = eng_z_image_get_sizes (transformer)->time_width;
  const struct eng_prompt *prompts[2] = { p->positive, p->negative };
  const size_t n = p->evaluations->len;
  const gint64 begin = g_get_monotonic_time ();
  g_autofree float *t = g_new (float, n);

  p->sinusoid = eng_staging_take (p->staging, n * width * sizeof (float), "the schedule", error);
  p->coefs = p->sinusoid ? eng_staging_take (p->staging, n * sizeof (struct krn_step_coefs),
                                             "the schedule", error)
                         : NULL;
  if (!p->coefs)
    return ENG_FAILED;
  for (size_t i = 0; i < n; i++) {
    const struct eng_evaluation *e = get_evaluation (p, i);

    t[i] = 1.f - e->sigma;
    memcpy (p->coefs + i * KRN_STEP_COEFS, &e->coefs, sizeof e->coefs);
  }
  eng_z_image_sinusoid (transformer, p->sinusoid, t, n);
  for (int i = 0; i < 2 && prompts[i]; i++) {
    p->rope[i] = eng_ropes_take (p->pipeline->ropes, p->h, p->w, prompts[i]->padded, error);
    if (!p->rope[i])
      return ENG_FAILED;
  }
  eng_clock_add_host (p->clock, "tables", begin);
  return ENG_NEXT;
}

/* The schedule of params, with what only the model's own grid has. */
void
eng_denoise_schedule (struct eng_making *p)
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

/* ---- The loop's memory ---- */

/* Of the two runs, tables is for what depends on the number of steps. */
static void
take_loop (struct eng_loop *l, struct eng_run *run, struct eng_run *tables,
           const struct eng_making *p)
{
  const struct eng_z_image_sizes *sizes = eng_z_image_get_sizes (p->pipeline->model->transformer);
  const krn_dtype act = run->device->activation;
  const int tokens = p->h / sizes->patch * (p->w / sizes->patch);
  const int image = eng_z_image_pad (p->pipeline->model->transformer, tokens);
  const int64_t latent = (int64_t) p->channels * p->h * p->w;
  const int n = p->evaluations->len;

  l->x = eng_making_take_latent (p, run);
  l->base = eng_making_take_latent (p, run);
  l->history = eng_making_take_latent (p, run);
  l->noise = eng_making_take_latent (p, run);
  l->denoised = eng_making_take_latent (p, run);
  l->coefs = eng_run_take (run, KRN_F32, 1, 1, 1, KRN_STEP_COEFS);
  l->modulation = eng_run_take (run, KRN_F32, 1, 1, 1, sizes->modulation);
  for (int i = 0; i < 2 && p->padded[i]; i++) {
    const int padded = p->padded[i];

    l->rope[i] = eng_run_take (run, KRN_F32, 1, 1, image + padded, sizes->head_dim);
    l->refined[i] = eng_run_take (run, act, 1, 1, padded, sizes->dim);
    l->out[i] = eng_run_take (run, act, 1, 1, tokens, sizes->patch * sizes->patch * p->channels);
  }
  if (p->n_noise > 1)
    l->all_noise = eng_run_take (tables, KRN_F32, 1, 1, p->n_noise - 1, latent);
  l->all_coefs = eng_run_take (tables, KRN_F32, 1, 1, n, KRN_STEP_COEFS);
  l->all_modulation = eng_run_take (tables, KRN_F32, 1, 1, n, sizes->modulation);
  l->sinusoid = eng_run_take (tables, KRN_F32, 1, 1, n, sizes->time_width);
}

/* Brings in what the loop needs and computes all adaLN vectors of all steps. */
static void
start_loop (struct eng_loop *l, struct eng_run *run, const struct eng_making *p)
{
  const struct eng_prompt *prompts[2] = { p->positive, p->negative };
  const size_t size = (size_t) p->channels * p->h * p->w;

  ENG_RUN (run, upload, l->x, p->noise, KRN_F32);
  ENG_RUN (run, copy, l->base, l->x);
  ENG_RUN (run, copy, l->history, l->x);
  ENG_RUN (run, copy, l->noise, l->x);
  if (p->n_noise > 1)
    ENG_RUN (run, upload, l->all_noise, p->noise + size, KRN_F32);
  ENG_RUN (run, upload, l->all_coefs, p->coefs, KRN_F32);
  ENG_RUN (run, upload, l->sinusoid, p->sinusoid, KRN_F32);
  for (int i = 0; i < 2 && p->padded[i]; i++) {
    ENG_RUN (run, upload, l->rope[i], p->rope[i], KRN_F32);
    ENG_RUN (run, copy, l->refined[i], prompts[i]->refined);
  }
  eng_z_image_modulation (run, p->pipeline->model->transformer, l->all_modulation, l->sinusoid);
}

/* ---- One evaluation ---- */

/* No pointer in it changes from step to step: it can be captured. */
static void
evaluate (const struct eng_loop *l, struct eng_run *run, const struct eng_making *p,
          gboolean guided)
{
  const eng_z_image *transformer = p->pipeline->model->transformer;
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
    eng_z_image_forward (run, transformer, l->out[i], l->x, l->refined[i], l->modulation,
                         l->rope[i]);
  ENG_RUN (run, sampler_step, &step);
}

static gboolean
is_guided (const struct eng_making *p, guint i)
{
  return p->negative && get_evaluation (p, i)->guided;
}

/* The segment of operations [first, last) of the evaluation; last 0: to its end. */
static void
run_segment (struct eng_making *p, int first, int last, const int *cancelled)
{
  struct eng_loop *l = p->loop;
  struct eng_run run = l->run;

  run.n_met = 0;
  run.first = first;
  run.last = last;
  run.cancelled = cancelled;
  evaluate (l, &run, p, is_guided (p, l->i));
  l->run.status = run.status;
  l->run.failed = run.failed;
}

/* What changes from step to step comes to where the step looks for it. */
static void
set_step (struct eng_making *p)
{
  struct eng_loop *l = p->loop;
  struct eng_run *run = &l->run;
  krn_tensor row;

  ENG_RUN (run, copy, l->coefs, krn_row_view (l->all_coefs, l->i, 1));
  ENG_RUN (run, copy, l->modulation, krn_row_view (l->all_modulation, l->i, 1));
  if (!get_evaluation (p, l->i)->uses_noise)
    return;
  row = krn_row_view (l->all_noise, l->n_noises++, 1);
  memcpy (row.dim, l->noise.dim, sizeof row.dim);
  row.stride = l->noise.stride;
  ENG_RUN (run, copy, l->noise, row);
}

/* ---- Graphs ---- */

static krn_status
capture_segment (struct eng_making *p, int first, int last, GPtrArray *graphs)
{
  struct krn_device *device = p->pipeline->device;
  krn_stream *stream = p->loop->run.stream;
  krn_graph *graph = NULL;
  krn_status status = device->capture_begin (stream), end;

  if (status)
    return status;
  run_segment (p, first, last, NULL);
  end = device->capture_end (stream, &graph);
  status = p->loop->run.status ? p->loop->run.status : end;
  if (graph)
    g_ptr_array_add (graphs, graph);
  return status;
}

/* What cannot be captured is launched, and a failure while it was tried is not the picture's. */
static void
capture (struct eng_making *p, struct eng_step *step)
{
  struct krn_device *device = p->pipeline->device;
  GPtrArray *graphs = g_ptr_array_new_with_free_func ((GDestroyNotify) device->graph_free);
  const gint64 begin = g_get_monotonic_time ();
  krn_status status = KRN_OK;

  for (int i = 0; i < step->n && !status; i += step->segment)
    status = capture_segment (p, i, MIN (i + step->segment, step->n), graphs);
  p->loop->run.status = KRN_OK;
  p->loop->run.failed = NULL;
  if (!status) {
    eng_step_set_graphs (step, graphs);
    eng_clock_add_host (p->clock, "capture", begin);
    return;
  }
  g_ptr_array_unref (graphs);
  g_autofree char *why = g_strconcat ("launched: ", device->status_text (device, status), NULL);
  step->refused = g_intern_string (why);
}

/* A shape's first step is launched, so that libraries choose how to do it and its pace is seen. */
static void
begin_evaluation (struct eng_making *p)
{
  struct eng_loop *l = p->loop;
  const gboolean guided = is_guided (p, l->i);
  const struct eng_step_key key = {
    .h = p->h,
    .w = p->w,
    .padded = { p->padded[0], p->padded[1] },
    .guided = guided,
  };
  g_autofree char *name = g_strdup_printf ("step %d", get_evaluation (p, l->i)->step + 1);

  l->step = eng_steps_get (p->pipeline->steps, &key);
  l->step->n = p->n_ops[guided];
  eng_clock_begin (p->clock, ENG_LANE_DENOISE, name);
  set_step (p);
  if (!l->step->graphs) {
    l->step->segment = eng_making_choose_segment (p, &l->step->pace, l->step->n);
    if (!l->run.status && !p->pipeline->at_once && !p->debug.no_graph && !l->step->refused &&
        l->step->launched > 0 && l->step->pace.seconds > 0)
      capture (p, l->step);
  }
  l->segment = l->step->segment;
}

static void
count_evaluation (struct eng_making *p, gboolean replayed)
{
  struct eng_step *step = p->loop->step;

  p->counters.evaluations++;
  if (replayed)
    p->counters.replayed++;
  else
    step->launched++;
  if (p->pipeline->at_once)
    p->counters.graph = "launched: the CPU has no graphs";
  else if (p->debug.no_graph)
    p->counters.graph = "launched: switched off";
  else
    p->counters.graph = step->refused ? step->refused : "launched: the first of its shape";
}

/* ---- What a step shows ---- */

static gboolean
dump_latent (struct eng_making *p, const char *name, int number, krn_tensor latent, GError **error)
{
  const int64_t dim[4] = { 1, p->channels, p->h, p->w };
  struct eng_run *run = &p->loop->run;
  void *source;

  if (!p->dump)
    return TRUE;
  source = eng_staging_take (p->staging, krn_count (latent) * sizeof (float), "the dump", error);
  if (!source)
    return FALSE;
  g_ptr_array_add (p->dump, eng_latent_new (name, number, dim));
  g_ptr_array_add (p->dump_sources, source);
  ENG_RUN (run, download, source, latent);
  return TRUE;
}

/* Leaves a frame out where the ring has no slot for it. */
static void
show (struct eng_making *p, struct eng_preview_frame *frame)
{
  eng_pipeline *pipeline = p->pipeline;
  struct eng_run *run = &p->loop->run;
  krn_stream *copy = eng_lanes_get_stream (pipeline->lanes, ENG_LANE_COPY);

  if (!pipeline->model->preview.data || (p->params->flags & ENG_FLAG_NO_PREVIEW) ||
      !eng_preview_begin (pipeline->preview, run->stream, p->w, p->h, frame))
    return;
  eng_clock_begin (p->clock, ENG_LANE_DENOISE, "preview");
  ENG_RUN (run, latent_rgba, frame->rgba, p->loop->denoised, pipeline->model->preview);
  eng_clock_end (p->clock, ENG_LANE_DENOISE);
  eng_lanes_join (pipeline->lanes, ENG_LANE_COPY, ENG_LANE_DENOISE); /* not a part of the span */
  eng_clock_begin (p->clock, ENG_LANE_COPY, "preview");
  if (!run->status && (run->status = eng_preview_end (pipeline->preview, run->stream, copy,
                                                      p->observer.data, frame)))
    run->failed = "preview";
  eng_clock_end (p->clock, ENG_LANE_COPY);
  if (!frame->stays)
    p->counters.preview_bytes += krn_count (frame->rgba);
}

static gboolean
end_evaluation (struct eng_making *p, GError **error)
{
  struct eng_loop *l = p->loop;
  const int step = get_evaluation (p, l->i)->step;
  const gboolean last =
      l->i + 1 == p->evaluations->len || get_evaluation (p, l->i + 1)->step != step;
  g_autofree char *name = g_strdup_printf ("step %d", step + 1);
  struct eng_preview_frame frame = { 0 };

  eng_clock_end (p->clock, ENG_LANE_DENOISE);
  l->i++;
  if (last && !dump_latent (p, "step", step + 1, l->x, error))
    return FALSE;
  if (last)
    show (p, &frame);
  if (!eng_making_ok (p, &l->run, name, error))
    return FALSE;
  if (last)
    eng_making_report (p, ENG_STAGE_DENOISE, step + 1, ENG_LANE_DENOISE, &frame);
  return TRUE;
}

/* ---- The stages ---- */

/* Operations of an evaluation, in a plan. */
static int
count_operations (const struct eng_loop *l, const struct eng_run *run, const struct eng_making *p,
                  gboolean guided)
{
  struct eng_run counting = *run;

  counting.n_met = 0;
  evaluate (l, &counting, p, guided);
  return counting.n_met;
}

void
eng_denoise_plan (struct eng_making *p, struct eng_plan *plan)
{
  eng_lanes *lanes = p->pipeline->lanes;
  struct eng_run run = eng_lanes_begin_plan (lanes, ENG_LANE_DENOISE);
  struct eng_run tables = eng_lanes_begin_plan (lanes, ENG_LANE_COPY);
  struct eng_loop l = { 0 };

  take_loop (&l, &run, &tables, p);
  start_loop (&l, &run, p);
  p->n_ops[0] = count_operations (&l, &run, p, FALSE);
  p->n_ops[1] = p->padded[1] ? count_operations (&l, &run, p, TRUE) : 0;
  eng_lanes_end_plan (lanes, ENG_LANE_DENOISE, plan);
  eng_lanes_end_plan (lanes, ENG_LANE_COPY, plan);
}

enum eng_result
eng_denoise_begin (struct eng_making *p, GError **error)
{
  eng_lanes *lanes = p->pipeline->lanes;
  struct eng_run tables;
  struct eng_loop *l;

  if (!eng_making_own (p, ENG_LANE_DENOISE))
    return ENG_WAITS;
  p->loop = l = g_new0 (struct eng_loop, 1);
  l->run = eng_lanes_begin_run (lanes, ENG_LANE_DENOISE, p->observer.cancelled);
  tables = eng_lanes_begin_run (lanes, ENG_LANE_COPY, NULL);
  eng_lanes_wait_for (lanes, ENG_LANE_DENOISE, p->encoded);
  /* The picture before this one is decoded from a copy of its own. */
  eng_lanes_wait_for (lanes, ENG_LANE_DENOISE, p->pipeline->latent_free);
  eng_lanes_give_back (lanes, g_steal_pointer (&p->pipeline->latent_free));

  take_loop (l, &l->run, &tables, p);
  if (tables.status)
    l->run.status = tables.status;
  eng_clock_begin (p->clock, ENG_LANE_DENOISE, "prepare");
  start_loop (l, &l->run, p);
  eng_clock_end (p->clock, ENG_LANE_DENOISE);
  if (!dump_latent (p, "noise", -1, l->x, error) ||
      !eng_making_ok (p, &l->run, "the schedule", error))
    return ENG_FAILED;
  p->latent = l->x;
  eng_lanes_end_segment (lanes, ENG_LANE_DENOISE, NULL, 0);
  eng_making_report (p, ENG_STAGE_DENOISE, 0, ENG_LANE_DENOISE, NULL);
  return ENG_NEXT;
}

enum eng_result
eng_denoise_run (struct eng_making *p, GError **error)
{
  struct eng_loop *l = p->loop;
  eng_lanes *lanes = p->pipeline->lanes;
  gboolean replayed;
  int end;

  if (!eng_lanes_want_more (lanes, ENG_LANE_DENOISE))
    return ENG_WAITS;
  if (l->done == 0)
    begin_evaluation (p);
  end = MIN (l->done + l->segment, l->step->n);
  replayed = l->step->graphs != NULL && !p->debug.no_graph;
  if (replayed)
    ENG_RUN (&l->run, graph_launch, g_ptr_array_index (l->step->graphs, l->done / l->segment));
  else
    run_segment (p, l->done, end, p->observer.cancelled);
  eng_lanes_end_segment (lanes, ENG_LANE_DENOISE, &l->step->pace, end - l->done);
  l->done = end;
  if (l->done < l->step->n)
    return eng_making_ok (p, &l->run, "a step", error) ? ENG_AGAIN : ENG_FAILED;

  count_evaluation (p, replayed);
  l->done = 0;
  if (!end_evaluation (p, error))
    return ENG_FAILED;
  return l->i < p->evaluations->len ? ENG_AGAIN : ENG_NEXT;
}

void
eng_denoise_end (struct eng_making *p)
{
  for (int i = 0; i < 2; i++)
    eng_ropes_release (p->pipeline->ropes, g_steal_pointer (&p->rope[i]));
  g_clear_pointer (&p->loop, g_free);
}
