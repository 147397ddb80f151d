/* engine/schedule.h - the sigmas at which a flow model is evaluated.
 *
 * sigma is the share of noise: 1 is pure noise, 0 the clean latent, x = (1 - sigma) clean + sigma
 * noise.  The model's time is 1 - sigma.  A shift s > 1 moves the evaluations towards the noise:
 * t becomes s t / (1 + (s - 1) t).  Pure functions; any thread. */
#pragma once

#include "engine/engine.h"

#include <json-glib/json-glib.h>

/* What a scheduler_config.json (diffusers' FlowMatchEulerDiscreteScheduler) says. */
struct eng_schedule_config {
  float shift;
  gboolean dynamic;             /* the shift depends on the picture's size instead */
  gboolean linear;              /* the dynamic shift is mu itself, not exp (mu) */
  double base_shift, max_shift; /* mu at base_tokens and at max_tokens, a straight line between */
  int base_tokens, max_tokens;  /* and beyond */
  float terminal;               /* last sigma before the 0, or 0 */
  enum eng_schedule interpolation; /* ENG_SCHEDULE_KARRAS, _EXPONENTIAL, _BETA, or 0 */
};

/* Missing keys get diffusers' defaults.  object NULL: all of them.  FALSE and error for a value out
 * of range or an option that no picture model uses (invert_sigmas, stochastic_sampling). */
gboolean eng_schedule_config_read (struct eng_schedule_config *config, JsonObject *object,
                                   GError **error);
/* The shift for a picture of that many image tokens (patches, without padding). */
float eng_schedule_config_get_shift (const struct eng_schedule_config *config, int tokens);

/* SIMPLE, also for DEFAULT: linspace (1, 1/n, n), shifted: Z-Image's own grid, diffusers' pipeline,
 *   and ComfyUI's "simple" where n divides 1000.
 * SGM_UNIFORM, BETA (alpha = beta = 0.6), KARRAS (rho 7), EXPONENTIAL: as ComfyUI and A1111 compute
 *   them from the model's 1000 sigmas, the least of which is the shifted 1/1000.  The last two are
 *   made for other models and spend most steps near 0.
 * NORMAL: stable-diffusion.cpp's "discrete", the default there: its last step, from 1/1000
 *   shifted to 0, is as good as wasted.
 *
 * interpolation and terminal belong to SIMPLE: diffusers' use_karras_sigmas, use_exponential_sigmas
 * and use_beta_sigmas spread between the ends of the simple grid. */
struct eng_schedule_args {
  enum eng_schedule schedule;
  int steps;                       /* 1 to 1000 */
  float shift;                     /* above 0; 0 is 1, no shift */
  float terminal;                  /* 0: off */
  enum eng_schedule interpolation; /* 0: off */
};

/* sigmas: room for steps + 1.  Fills it, falling from (about) 1 to exactly 0, and returns the
 * number of steps: args->steps, except that BETA merges equal ones, of which there are some above
 * 138 steps. */
int eng_schedule_fill (float *sigmas, const struct eng_schedule_args *args);

/* The inverse of the cumulative beta distribution: x in [0, 1] with I_x (a, b) = p.  a, b from
 * about 0.1 to 50. */
double eng_beta_quantile (double p, double a, double b);
