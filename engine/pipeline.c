/* engine/pipeline.c - whose turn it is: the stages of the pictures in the making. */
#include "engine/making.h"

#include "engine/latent_file.h"
#include "engine/params.h"

#include <math.h>
#include <string.h>

/* Without any progress for so long the device is asked whether it is still there. */
#define DOUBT_US 50000

static enum eng_result begin (struct eng_making *p, GError **error);
static enum eng_result plan (struct eng_making *p, GError **error);
static enum eng_result reserve (struct eng_making *p, GError **error);
static enum eng_result end_text (struct eng_making *p, GError **error);
static enum eng_result deliver (struct eng_making *p, GError **error);

static enum eng_result (*const stages[]) (struct eng_making *p, GError **error) = {
  begin,
  eng_encode_begin,
  plan,
  reserve,
  eng_encode_run,
  eng_encode_dump,
  end_text,
  eng_denoise_draw,
  eng_denoise_tables,
  eng_denoise_begin,
  eng_denoise_run,
  eng_decode_begin,
  eng_decode_run,
  deliver,
};

/* ---- The pipeline ---- */

eng_pipeline *
eng_pipeline_new (struct krn_device *device, enum eng_residency text_encoder, GError **error)
{
  eng_pipeline *pipeline = g_new0 (eng_pipeline, 1);

  pipeline->device = device;
  pipeline->text_encoder = text_encoder;
  pipeline->at_once = strcmp (device->kind, "cpu") == 0;
  pipeline->makings = g_ptr_array_new ();
  pipeline->lanes = eng_lanes_new (device, error);
  pipeline->preview = pipeline->lanes ? eng_preview_new (device, error) : NULL;
  if (!pipeline->preview) {
    eng_pipeline_free (pipeline);
    return NULL;
  }
  for (int i = 0; i < ENG_MOST_MAKINGS; i++)
    pipeline->stagings[i] = eng_staging_new (device);
  return pipeline;
}

static void
drop_model (eng_pipeline *pipeline)
{
  eng_lanes_release (pipeline->lanes);
  g_clear_pointer (&pipeline->ropes, eng_ropes_free);
  g_clear_pointer (&pipeline->steps, eng_steps_free);
  g_clear_pointer (&pipeline->prompts, eng_prompts_free);
  g_clear_pointer (&pipeline->model, eng_model_free);
  pipeline->decode_pace.seconds = 0;
  pipeline->decode_pixels = 0;
  pipeline->decode_seconds_a_pixel = 0;
}

void
eng_pipeline_free (eng_pipeline *pipeline)
{
  if (!pipeline)
    return;
  if (pipeline->lanes) {
    drop_model (pipeline);
    eng_lanes_give_back (pipeline->lanes, pipeline->latent_free);
  }
  for (int i = 0; i < ENG_MOST_MAKINGS; i++)
    eng_staging_free (pipeline->stagings[i]);
  eng_preview_free (pipeline->preview);
  eng_lanes_free (pipeline->lanes);
  g_ptr_array_unref (pipeline->makings);
  g_free (pipeline);
}

const eng_model *
eng_pipeline_get_model (eng_pipeline *pipeline)
{
  return pipeline->model;
}

void
eng_pipeline_get_memory (eng_pipeline *pipeline, size_t *weights, size_t *arena)
{
  *weights = pipeline->model ? pipeline->model->bytes : 0;
  *arena = eng_lanes_get_size (pipeline->lanes);
}

eng_preview *
eng_pipeline_get_preview (eng_pipeline *pipeline)
{
  return pipeline->preview;
}

guint
eng_pipeline_get_n (eng_pipeline *pipeline)
{
  return pipeline->makings->len;
}

gboolean
eng_pipeline_is_lost (eng_pipeline *pipeline)
{
  return pipeline->lost != KRN_OK;
}

static struct eng_making *
get_making (eng_pipeline *pipeline, guint i)
{
  return g_ptr_array_index (pipeline->makings, i);
}

/* ---- Memory ---- */

/* Into plan, for captions of p->padded rows. */
static void
plan_memory (struct eng_making *p, struct eng_plan *plan)
{
  eng_pipeline *pipeline = p->pipeline;
  struct eng_run run = eng_lanes_begin_plan (pipeline->lanes, ENG_LANE_TEXT);

  *plan = pipeline->text_plan;
  if (p->params->dump_embeddings)
    eng_run_take (&run, KRN_F32, 1, 1, ENG_PROMPT_LIMIT,
                  eng_z_image_get_sizes (pipeline->model->transformer)->caption_width);
  eng_lanes_end_plan (pipeline->lanes, ENG_LANE_TEXT, plan);
  eng_denoise_plan (p, plan);
  eng_decode_plan (p, plan);
}

/* With captions as long as they can be: then the next prompt's length does not move the block. */
static void
plan_room (struct eng_making *p, gboolean guided)
{
  const int longest = eng_z_image_pad (p->pipeline->model->transformer, ENG_PROMPT_LIMIT);
  int padded[2];

  memcpy (padded, p->padded, sizeof padded);
  p->padded[0] = longest;
  p->padded[1] = guided ? longest : 0;
  plan_memory (p, &p->room);
  memcpy (p->padded, padded, sizeof padded);
}

/* Decoding gives way first when memory is short: it is seldom, and a little slower then.  Where the
 * text encoder is dropped it is short. */
static void
plan_picture (struct eng_making *p)
{
  p->banded = p->pipeline->model->feed != NULL;
  plan_room (p, p->negative != NULL);
  plan_memory (p, &p->plan);
  if (p->banded || eng_lanes_could_fit (p->pipeline->lanes, &p->plan))
    return;
  p->banded = TRUE;
  plan_room (p, p->negative != NULL);
  plan_memory (p, &p->plan);
}

static enum eng_result
plan (struct eng_making *p, GError **error)
{
  const gint64 begin = g_get_monotonic_time ();

  p->padded[0] = p->positive->padded;
  p->padded[1] = p->negative ? p->negative->padded : 0;
  eng_denoise_schedule (p);
  plan_picture (p);
  for (int i = 0; i < ENG_N_LANES; i++)
    p->room.bytes[i] = MAX (p->room.bytes[i], p->plan.bytes[i]);
  eng_clock_add_host (p->clock, "plan", begin);
  return ENG_NEXT;
}

/* The block and the ring can only move when nobody uses them. */
static enum eng_result
reserve (struct eng_making *p, GError **error)
{
  eng_pipeline *pipeline = p->pipeline;
  const gboolean previews =
      pipeline->model->preview.data && !(p->params->flags & ENG_FLAG_NO_PREVIEW);
  const gint64 begin = g_get_monotonic_time ();
  g_autofree char *what = NULL;

  if (eng_lanes_fit (pipeline->lanes, &p->plan) &&
      (!previews || eng_preview_fits (pipeline->preview, p->w, p->h)))
    return ENG_NEXT;
  if (p != get_making (pipeline, 0))
    return ENG_WAITS;
  what = g_strdup_printf ("a picture of %dx%d", p->params->width, p->params->height);
  if (!eng_lanes_fit (pipeline->lanes, &p->plan) &&
      !eng_lanes_reserve (pipeline->lanes, &p->room, what, NULL) &&
      !eng_lanes_reserve (pipeline->lanes, &p->plan, what, error))
    return ENG_FAILED;
  if (previews)
    eng_preview_reserve (pipeline->preview, p->w, p->h);
  eng_clock_add_host (p->clock, "reserve", begin);
  return ENG_NEXT;
}

static void
set_shape (struct eng_making *p)
{
  const struct eng_vae_sizes *sizes = eng_vae_get_sizes (p->pipeline->model->vae);

  p->channels = sizes->latent_channels;
  p->h = p->params->height / sizes->scale;
  p->w = p->params->width / sizes->scale;
}

/* So that the first picture, which most often has the default size, finds its memory there.  If it
 * cannot be had now, the picture will say so. */
static void
reserve_default (eng_pipeline *pipeline)
{
  struct eng_making p = { .pipeline = pipeline, .banded = pipeline->model->feed != NULL };

  p.params = eng_params_resolve (&(struct eng_params){ .prompt = "" }, pipeline->model->info, NULL);
  if (!p.params)
    return;
  set_shape (&p);
  eng_denoise_schedule (&p);
  plan_room (&p, eng_params_guided (p.params));
  if (eng_lanes_reserve (pipeline->lanes, &p.room, "", NULL) && pipeline->model->preview.data)
    eng_preview_reserve (pipeline->preview, p.w, p.h);
  g_array_unref (p.evaluations);
  eng_params_free (p.params);
}

gboolean
eng_pipeline_load (eng_pipeline *pipeline, eng_model_info *info,
                   void (*progress) (double fraction, void *data), void *data, const int *cancelled,
                   GError **error)
{
  const struct eng_model_loading how = { .device = pipeline->device,
                                         .stream =
                                             eng_lanes_get_stream (pipeline->lanes, ENG_LANE_TEXT),
                                         .text_encoder = pipeline->text_encoder,
                                         .progress = progress,
                                         .data = data,
                                         .cancelled = cancelled };
  struct eng_run run;

  drop_model (pipeline);
  pipeline->model = eng_model_load (info, &how, error);
  pipeline->prompts = pipeline->model ? eng_prompts_new (pipeline->model, error) : NULL;
  if (!pipeline->prompts) {
    drop_model (pipeline);
    pipeline->lost = eng_lanes_check (pipeline->lanes);
    return FALSE;
  }
  pipeline->steps = eng_steps_new (pipeline->lanes, pipeline->device);
  pipeline->ropes = eng_ropes_new (pipeline->model);
  pipeline->text_plan = (struct eng_plan){ 0 };
  run = eng_lanes_begin_plan (pipeline->lanes, ENG_LANE_TEXT);
  eng_prompts_plan (pipeline->prompts, &run);
  eng_lanes_end_plan (pipeline->lanes, ENG_LANE_TEXT, &pipeline->text_plan);
  reserve_default (pipeline);
  return TRUE;
}

/* ---- What the stages share ---- */

double
eng_making_get_seconds (const struct eng_making *p)
{
  return eng_clock_get_seconds (p->clock);
}

gboolean
eng_making_own (struct eng_making *p, enum eng_lane lane)
{
  if (p->pipeline->owners[lane] && p->pipeline->owners[lane] != p)
    return FALSE;
  p->pipeline->owners[lane] = p;
  return TRUE;
}

void
eng_making_disown (struct eng_making *p, enum eng_lane lane)
{
  if (p->pipeline->owners[lane] == p)
    p->pipeline->owners[lane] = NULL;
}

gboolean
eng_making_ok (struct eng_making *p, const struct eng_run *run, const char *what, GError **error)
{
  eng_pipeline *pipeline = p->pipeline;

  if (run->status && pipeline->device->lost (pipeline->device, run->status))
    pipeline->lost = run->status;
  return eng_run_ok (run, what, error);
}

int
eng_making_choose_segment (const struct eng_making *p, const struct eng_pace *pace, int n)
{
  enum { MOST = 96, UNKNOWN = 16 };
  const double seconds = pace->seconds * n;
  int segments = UNKNOWN;

  if (p->pipeline->at_once)
    segments = 1;
  else if (seconds > 0)
    segments = CLAMP ((int) ceil (seconds / ENG_SEGMENT_SECONDS), 1, MOST);
  return (n + segments - 1) / segments;
}

krn_tensor
eng_making_take_latent (const struct eng_making *p, struct eng_run *run)
{
  return eng_run_take (run, KRN_F32, 1, p->channels, p->h, p->w);
}

/* ---- One picture ---- */

gboolean
eng_pipeline_takes (eng_pipeline *pipeline, const struct eng_debug *debug)
{
  const guint n = pipeline->makings->len;

  if (n == 0)
    return TRUE;
  return n < ENG_MOST_MAKINGS && !pipeline->at_once && !pipeline->lost &&
         !get_making (pipeline, 0)->debug.one_stream == !debug->one_stream;
}

static eng_staging *
take_staging (eng_pipeline *pipeline)
{
  int i = 0;

  while (pipeline->staged[i])
    i++;
  pipeline->staged[i] = TRUE;
  return pipeline->stagings[i];
}

static void
give_staging_back (eng_pipeline *pipeline, eng_staging *staging)
{
  eng_staging_reset (staging);
  for (int i = 0; i < ENG_MOST_MAKINGS; i++)
    if (pipeline->stagings[i] == staging)
      pipeline->staged[i] = FALSE;
}

void
eng_pipeline_add (eng_pipeline *pipeline, struct eng_params *params, const struct eng_debug *debug,
                  const struct eng_picture_observer *observer)
{
  struct eng_making *p = g_new0 (struct eng_making, 1);

  if (pipeline->makings->len == 0)
    eng_lanes_set_one_stream (pipeline->lanes, debug->one_stream);
  p->pipeline = pipeline;
  p->params = params;
  p->debug = *debug;
  p->observer = *observer;
  p->staging = take_staging (pipeline);
  g_queue_init (&p->reports);
  set_shape (p);
  if (params->dump_latents) {
    p->dump = g_ptr_array_new_with_free_func ((GDestroyNotify) eng_latent_free);
    p->dump_sources = g_ptr_array_new ();
  }
  g_ptr_array_add (pipeline->makings, p);
}

static enum eng_result
begin (struct eng_making *p, GError **error)
{
  if (!eng_making_own (p, ENG_LANE_TEXT))
    return ENG_WAITS;
  p->clock = eng_clock_new (p->pipeline->lanes, g_get_monotonic_time (), !p->debug.no_timing);
  p->allocations = krn_allocations (p->pipeline->device);
  return ENG_NEXT;
}

static enum eng_result
end_text (struct eng_making *p, GError **error)
{
  eng_making_disown (p, ENG_LANE_TEXT);
  return ENG_NEXT;
}

static void
free_making (struct eng_making *p)
{
  eng_lanes *lanes = p->pipeline->lanes;

  eng_making_drop_reports (p);
  eng_encode_end (p);
  eng_denoise_end (p);
  eng_lanes_give_back (lanes, p->encoded);
  eng_lanes_give_back (lanes, p->pixels_down);
  for (int i = 0; i < ENG_N_LANES; i++)
    eng_lanes_give_back (lanes, p->drains[i]);
  eng_clock_free (p->clock);
  give_staging_back (p->pipeline, p->staging);
  g_clear_pointer (&p->evaluations, g_array_unref);
  g_clear_pointer (&p->dump, g_ptr_array_unref);
  g_clear_pointer (&p->dump_sources, g_ptr_array_unref);
  g_clear_error (&p->error);
  eng_params_free (p->params);
  g_free (p);
}

/* Told when it is out of the way, so that who is told finds everything free. */
static void
end (struct eng_making *p, eng_image *image)
{
  const struct eng_picture_observer observer = p->observer;
  g_autoptr (GError) error = g_steal_pointer (&p->error);

  g_ptr_array_remove (p->pipeline->makings, p);
  if (p->pipeline->makings->len == 0)
    eng_preview_clear (p->pipeline->preview);
  free_making (p);
  observer.done (image, error, observer.data);
  if (image)
    eng_image_unref (image);
}

/* Nothing more is enqueued for it; what is there may still use its memory. */
static void
fail (struct eng_making *p, GError *error)
{
  eng_lanes *lanes = p->pipeline->lanes;

  p->error = error;
  eng_making_drop_reports (p);
  for (int i = 0; i < ENG_N_LANES; i++) {
    eng_making_disown (p, i);
    if (!p->pipeline->lost && p->clock)
      p->drains[i] = eng_lanes_record (lanes, i);
  }
}

static gboolean
is_drained (struct eng_making *p)
{
  for (int i = 0; i < ENG_N_LANES && !p->pipeline->lost; i++)
    if (!eng_lanes_is_done (p->pipeline->lanes, p->drains[i]))
      return FALSE;
  return TRUE;
}

static gboolean
write_dump (struct eng_making *p, GError **error)
{
  if (!p->dump)
    return TRUE;
  for (guint i = 0; i < p->dump->len; i++) {
    struct eng_latent *latent = g_ptr_array_index (p->dump, i);
    const int64_t *dim = latent->dim;

    memcpy (latent->data, g_ptr_array_index (p->dump_sources, i),
            (size_t) (dim[0] * dim[1] * dim[2] * dim[3]) * sizeof (float));
  }
  return eng_latent_write (p->params->dump_latents, p->dump, error);
}

/* The device is done with it when its pixels are there, as they come last. */
static enum eng_result
deliver (struct eng_making *p, GError **error)
{
  GBytes *rgba;
  gint64 begin;

  if (!eng_lanes_is_done (p->pipeline->lanes, p->pixels_down) || !g_queue_is_empty (&p->reports))
    return ENG_WAITS;
  begin = g_get_monotonic_time ();
  rgba = g_bytes_new (p->pixels, (size_t) p->params->width * p->params->height * 4);
  if (!write_dump (p, error)) {
    g_bytes_unref (rgba);
    return ENG_FAILED;
  }
  eng_clock_add_host (p->clock, "deliver", begin);
  end (p, eng_making_finish (p, rgba));
  return ENG_NEXT;
}

/* FALSE: it waits. */
static gboolean
advance (struct eng_making *p)
{
  const gboolean last = p->stage + 1 == G_N_ELEMENTS (stages);
  GError *error = NULL;

  if (p->error && !is_drained (p))
    return FALSE;
  if (p->error) {
    end (p, NULL);
    return TRUE;
  }
  if (g_atomic_int_get (p->observer.cancelled)) {
    fail (p, g_error_new_literal (ENG_ERROR, ENG_ERROR_CANCELLED, "cancelled"));
    return TRUE;
  }
  switch (stages[p->stage](p, &error)) {
  case ENG_FAILED:
    fail (p, error);
    return TRUE;
  case ENG_WAITS:
    return FALSE;
  case ENG_NEXT:
    if (!last) /* else p is gone */
      p->stage++;
    return TRUE;
  default:
    return TRUE;
  }
}

static void
fail_all (eng_pipeline *pipeline)
{
  struct krn_device *device = pipeline->device;

  eng_lanes_sync (pipeline->lanes, NULL); /* fails, but then nothing runs any more */
  while (pipeline->makings->len > 0) {
    struct eng_making *p = get_making (pipeline, 0);

    if (!p->error)
      fail (p, g_error_new (ENG_ERROR, ENG_ERROR_DEVICE, "%s was lost: %s", device->name,
                            device->status_text (device, pipeline->lost)));
    end (p, NULL);
  }
}

gboolean
eng_pipeline_advance (eng_pipeline *pipeline)
{
  const gint64 now = g_get_monotonic_time ();
  gboolean some = FALSE;

  if (!pipeline->lost && pipeline->makings->len > 0)
    some = eng_making_tell (get_making (pipeline, 0));
  for (guint i = 0; i < pipeline->makings->len && !some && !pipeline->lost; i++)
    some = advance (get_making (pipeline, i));
  if (!some && !pipeline->lost && pipeline->makings->len > 0 &&
      now - pipeline->progressed > DOUBT_US) {
    pipeline->lost = eng_lanes_check (pipeline->lanes);
    pipeline->progressed = now;
  }
  if (pipeline->lost && pipeline->makings->len > 0) {
    fail_all (pipeline);
    some = TRUE;
  }
  if (some)
    pipeline->progressed = now;
  return some;
}
