/* engine/making.h - one picture in the making; private to pipeline.c and the stages of a picture,
 * encode.c, denoise.c and decode.c.
 *
 * A picture is a row of stages.  A stage does what it can do at once, which is mostly to enqueue,
 * and says how it went; it never waits for the device. */
#pragma once

#include "engine/clock.h"
#include "engine/noise.h"
#include "engine/pipeline.h"
#include "engine/preview.h"
#include "engine/prompt.h"
#include "engine/ropes.h"
#include "engine/staging.h"
#include "engine/steps.h"

/* Three: one's text, one's steps, one's decoding. */
enum { ENG_MOST_MAKINGS = 3 };

struct eng_making;
struct eng_loop; /* device memory of the denoising loop */

struct eng_pipeline {
  struct krn_device *device; /* borrowed */
  gboolean at_once;          /* the device does all before a call returns: nothing to overlap */
  krn_status lost;           /* not 0: the device's context is gone */
  eng_lanes *lanes;
  eng_preview *preview;

  enum eng_residency text_encoder; /* of the models loaded */
  eng_model *model;                /* NULL: none is loaded */
  eng_prompts *prompts;
  eng_steps *steps;
  eng_ropes *ropes;
  struct eng_plan text_plan;   /* of the longest prompt */
  struct eng_pace decode_pace; /* at decode_pixels */
  double decode_pixels;
  double decode_seconds_a_pixel; /* of the last picture; 0: none yet */

  GPtrArray *makings;                     /* of struct eng_making, the oldest first */
  struct eng_making *owners[ENG_N_LANES]; /* who enqueues on a lane; NULL: nobody */
  eng_staging *stagings[ENG_MOST_MAKINGS];
  gboolean staged[ENG_MOST_MAKINGS]; /* that staging is in use */
  krn_event *latent_free;            /* the last latent was copied for decoding; NULL: it is */
  gint64 progressed;                 /* when something went on, microseconds */
};

enum eng_result {
  ENG_FAILED, /* error is set */
  ENG_WAITS,  /* for the device or for another picture */
  ENG_AGAIN,  /* something was done, and there is more */
  ENG_NEXT    /* the stage is through */
};

/* What is to be told when event has come to pass. */
struct eng_report {
  enum eng_stage stage;
  int step;
  krn_event *event;               /* owned; NULL: at once */
  struct eng_preview_frame frame; /* serial 0: none */
};

struct eng_making {
  eng_pipeline *pipeline;
  struct eng_params *params; /* resolved, owned */
  struct eng_picture_observer observer;
  struct eng_debug debug;
  eng_staging *staging; /* of the pipeline */
  eng_clock *clock;     /* NULL: it has not begun */
  guint stage;          /* number of its stage */
  GQueue reports;       /* of struct eng_report */
  double denoise_begin; /* seconds since it began, when the first step was told */
  double decode_begin;
  GError *error;                  /* it failed; it ends when the device has done its work */
  krn_event *drains[ENG_N_LANES]; /* owned */
  struct eng_counters counters;
  guint64 allocations; /* of the device, when it began */

  struct eng_prompt *positive, *negative; /* negative NULL: not guided */
  krn_event *encoded;                     /* owned; both are */
  int padded[2];                          /* their captions' rows */
  struct eng_plan plan, room;             /* what it needs; with the longest captions */
  GArray *evaluations;                    /* of struct eng_evaluation */
  int n_steps;                            /* BETA may merge some of params->steps */
  int channels, h, w;                     /* of the latent */
  int n_ops[2];                           /* operations of an evaluation, plain and guided */
  int n_decode;                           /* operations of decoding */
  gboolean banded;                        /* decoding is done in bands of rows: memory is short */

  /* Host sides of copies, in staging. */
  float *noise; /* [n_noise, channels * h * w] */
  int n_noise;
  int n_drawn; /* latents of it */
  struct eng_noise generator;
  float *sinusoid;      /* [evaluations, time width] */
  float *coefs;         /* [evaluations, KRN_STEP_COEFS] */
  const float *rope[2]; /* of the prompt's and the negative prompt's sequence; of the pipeline */
  uint8_t *pixels;      /* the picture, [height, width, 4] */

  struct eng_loop *loop;
  krn_tensor latent;       /* the last one, in the denoise lane's memory */
  struct eng_run decoding; /* of the decode lane */
  int decoded;             /* operations of decoding that are enqueued */
  krn_event *pixels_down;  /* owned; all of pixels is there */

  GPtrArray *dump;         /* of struct eng_latent, for dump_latents; NULL: no dump */
  GPtrArray *dump_sources; /* of float, in staging: what is copied into dump at the end */
};

/* ---- pipeline.c ---- */

double eng_making_get_seconds (const struct eng_making *p); /* since it began */
/* Makes p the one who enqueues on lane.  FALSE: another picture is. */
gboolean eng_making_own (struct eng_making *p, enum eng_lane lane);
void eng_making_disown (struct eng_making *p, enum eng_lane lane);
/* As eng_run_ok.  FALSE also when the device was lost, which the pipeline then knows. */
gboolean eng_making_ok (struct eng_making *p, const struct eng_run *run, const char *what,
                        GError **error);

/* Operations a segment of n of that pace: so many that the segments take as long as they should;
 * all of them where nothing is gained by segments, few where the pace is not known. */
int eng_making_choose_segment (const struct eng_making *p, const struct eng_pace *pace, int n);

/* ---- report.c ---- */

/* Seconds that decoding will take; 0 when it is not known yet. */
double eng_making_estimate_decode (const struct eng_making *p);
/* Tells the observer, in order, when the lane has done what was enqueued so far and every older
 * picture is done.  lane < 0: at once.  frame may be NULL. */
void eng_making_report (struct eng_making *p, enum eng_stage stage, int step, int lane,
                        const struct eng_preview_frame *frame);
void eng_making_drop_reports (struct eng_making *p);
/* One report.  FALSE: there is none whose time has come. */
gboolean eng_making_tell (struct eng_making *p);
/* The picture, with all that is said about it; takes rgba. */
eng_image *eng_making_finish (struct eng_making *p, GBytes *rgba);

/* ---- The stages ---- */

/* Both prompts, and their dump. */
enum eng_result eng_encode_begin (struct eng_making *p, GError **error);
enum eng_result eng_encode_run (struct eng_making *p, GError **error);
enum eng_result eng_encode_dump (struct eng_making *p, GError **error);
/* What p uses of the prompt cache is given back. */
void eng_encode_end (struct eng_making *p);

void eng_denoise_schedule (struct eng_making *p); /* the evaluations */
/* The device memory that they take with captions of p->padded rows.  Before any noise is drawn, so
 * that what has no room is refused at once. */
void eng_denoise_plan (struct eng_making *p, struct eng_plan *plan);
enum eng_result eng_denoise_draw (struct eng_making *p, GError **error); /* noise */
enum eng_result eng_denoise_tables (struct eng_making *p, GError **error);
enum eng_result eng_denoise_begin (struct eng_making *p, GError **error);
enum eng_result eng_denoise_run (struct eng_making *p, GError **error); /* a segment */
void eng_denoise_end (struct eng_making *p);

void eng_decode_plan (struct eng_making *p, struct eng_plan *plan);
enum eng_result eng_decode_begin (struct eng_making *p, GError **error);
enum eng_result eng_decode_run (struct eng_making *p, GError **error); /* a segment */

/* A latent of the picture's shape from run's arena. */
krn_tensor eng_making_take_latent (const struct eng_making *p, struct eng_run *run);
