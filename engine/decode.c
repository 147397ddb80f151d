/* engine/decode.c - from the last latent to pixels on the host. */
#include "engine/making.h"

/* The picture's tensor, u8 {1, height, width, 4}; the lane has it until the next run. */
static krn_tensor
decode (const struct eng_making *p, struct eng_run *run)
{
  const int scale = eng_vae_get_sizes (p->pipeline->model->vae)->scale;
  krn_tensor rgba = eng_run_take (run, KRN_U8, 1, p->h * scale, p->w * scale, 4);
  krn_tensor own = eng_making_take_latent (p, run);
  krn_tensor image = eng_run_take (run, run->device->activation, 1, p->h * scale, p->w * scale, 3);

  ENG_RUN (run, copy, own, p->latent);
  eng_vae_decode (run, p->pipeline->model->vae, image, own, p->banded);
  ENG_RUN (run, image_rgba, rgba, image);
  eng_run_drop (run, image);
  eng_run_drop (run, own);
  eng_run_drop (run, rgba);
  return rgba;
}

void
eng_decode_plan (struct eng_making *p, struct eng_plan *plan)
{
  struct eng_run run = eng_lanes_begin_plan (p->pipeline->lanes, ENG_LANE_DECODE);

  decode (p, &run);
  p->n_decode = run.n_met;
  eng_lanes_end_plan (p->pipeline->lanes, ENG_LANE_DECODE, plan);
}

/* The work grows with the picture; the last one's pace is a first guess for this one's. */
static void
guess_pace (struct eng_making *p)
{
  eng_pipeline *pipeline = p->pipeline;
  const double pixels = (double) p->params->width * p->params->height;

  if (pipeline->decode_pixels > 0)
    pipeline->decode_pace.seconds *= pixels / pipeline->decode_pixels;
  pipeline->decode_pixels = pixels;
}

enum eng_result
eng_decode_begin (struct eng_making *p, GError **error)
{
  eng_lanes *lanes = p->pipeline->lanes;
  const size_t bytes = (size_t) p->params->width * p->params->height * 4;

  if (!eng_making_own (p, ENG_LANE_DECODE))
    return ENG_WAITS;
  p->pixels = eng_staging_take (p->staging, bytes, "the picture", error);
  if (!p->pixels)
    return ENG_FAILED;
  guess_pace (p);
  eng_making_report (p, ENG_STAGE_DECODE, p->n_steps, ENG_LANE_DENOISE, NULL);
  p->decoding = eng_lanes_begin_run (lanes, ENG_LANE_DECODE, p->observer.cancelled);
  eng_lanes_join (lanes, ENG_LANE_DECODE, ENG_LANE_DENOISE);
  eng_lanes_join (lanes, ENG_LANE_DECODE, ENG_LANE_COPY); /* the last picture is out of the way */
  eng_clock_begin (p->clock, ENG_LANE_DECODE, "decode");
  return ENG_NEXT;
}

/* The picture goes to the host; the lanes are for the next one. */
static enum eng_result
bring_down (struct eng_making *p, krn_tensor rgba, GError **error)
{
  eng_lanes *lanes = p->pipeline->lanes;
  struct eng_run run = p->decoding;

  run.stream = eng_lanes_get_stream (lanes, ENG_LANE_COPY);
  run.n_met = run.first = run.last = 0;
  eng_clock_end (p->clock, ENG_LANE_DECODE);
  eng_lanes_join (lanes, ENG_LANE_COPY, ENG_LANE_DECODE);
  eng_clock_begin (p->clock, ENG_LANE_COPY, "download");
  ENG_RUN (&run, download, p->pixels, rgba);
  eng_clock_end (p->clock, ENG_LANE_COPY);
  eng_lanes_end_segment (lanes, ENG_LANE_COPY, NULL, 0);
  p->pixels_down = eng_lanes_record (lanes, ENG_LANE_COPY);
  eng_making_disown (p, ENG_LANE_DECODE);
  return eng_making_ok (p, &run, "the picture", error) ? ENG_NEXT : ENG_FAILED;
}

/* The denoise lane is free for the next picture as soon as the latent is copied, which the first
 * operation does. */
enum eng_result
eng_decode_run (struct eng_making *p, GError **error)
{
  eng_lanes *lanes = p->pipeline->lanes;
  struct eng_run run = p->decoding;
  krn_tensor rgba;

  if (!eng_lanes_want_more (lanes, ENG_LANE_DECODE))
    return ENG_WAITS;
  run.first = p->decoded;
  run.last =
      MIN (p->decoded + eng_making_choose_segment (p, &p->pipeline->decode_pace, p->n_decode),
           p->n_decode);
  rgba = decode (p, &run);
  eng_lanes_end_segment (lanes, ENG_LANE_DECODE, &p->pipeline->decode_pace, run.last - run.first);
  if (p->decoded == 0) {
    eng_lanes_give_back (lanes, p->pipeline->latent_free);
    p->pipeline->latent_free = eng_lanes_record (lanes, ENG_LANE_DECODE);
    eng_making_disown (p, ENG_LANE_DENOISE);
  }
  p->decoded = run.last;
  p->decoding.status = run.status;
  p->decoding.failed = run.failed;
  if (!eng_making_ok (p, &run, "the VAE", error))
    return ENG_FAILED;
  return p->decoded < p->n_decode ? ENG_AGAIN : bring_down (p, rgba, error);
}
