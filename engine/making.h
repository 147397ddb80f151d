/* engine/making.h - one picture in the making; private to pipeline.c and denoise.c. */
#pragma once

#include "engine/pipeline.h"
#include "engine/prompt.h"

struct eng_pipeline {
  struct krn_device *device; /* borrowed */
  eng_lanes *lanes;
  eng_model *model;              /* NULL: none is loaded */
  eng_prompts *prompts;          /* of that model */
  double decode_seconds_a_pixel; /* of the last picture; 0: none yet */
};

/* One picture in the making. */
struct eng_making {
  eng_pipeline *pipeline;
  const struct eng_params *params;
  const struct eng_picture_observer *observer;
  gint64 begin;           /* microseconds, monotonic */
  eng_timeline *timeline; /* of what is finished */

  struct eng_prompt *positive, *negative; /* negative NULL: not guided */
  GArray *evaluations;                    /* of struct eng_evaluation */
  int n_steps;                            /* BETA may merge some of params->steps */
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

double eng_making_get_seconds (const struct eng_making *p); /* since it began */
/* Seconds that decoding will take; 0 when it is not known yet. */
double eng_making_estimate_decode (const struct eng_making *p);
/* Tells the observer; left: seconds, < 0 is unknown.  A frame goes along after each step. */
void eng_making_report (const struct eng_making *p, enum eng_stage stage, int step, double left);

/* A latent of the picture's shape from run's arena. */
krn_tensor eng_making_take_latent (const struct eng_making *p, struct eng_run *run);

/* The evaluations, and the device memory that they take.  The first of the three: what has no room
 * is refused before any noise is drawn. */
void eng_denoise_plan (struct eng_making *p);
/* All else that is known before the first step: noise and tables, on the host. */
gboolean eng_denoise_prepare (struct eng_making *p, GError **error);
/* All steps.  *latent: the last one, in the denoise lane's memory. */
gboolean eng_denoise_run (struct eng_making *p, krn_tensor *latent, GError **error);
