/* engine/sampler.h - a sampler and its sigmas as a list of network evaluations.
 *
 * For a flow model the way from noise to picture is dx/dsigma = (x - denoised) / sigma with
 * denoised = x - sigma velocity, the same equation that k-diffusion's samplers solve, so their
 * rules hold unchanged.  Each rule is linear in what is at hand (x, the network's output, the last
 * denoised estimate, the start of the step, fresh noise), so it is turned into coefficients once,
 * in double, and one operation (krn_sampler_step) applies them all.  Pure functions; any thread.
 *
 * DDIM without noise is Euler for flow models (ComfyUI runs it as Euler), so it is no sampler of
 * its own here. */
#pragma once

#include "engine/engine.h"
#include "kernels/device.h"

struct eng_evaluation {
  float sigma;     /* the network is evaluated here; its time is 1 - sigma */
  int step;        /* from 0; Heun's steps have two evaluations, the last one has one */
  gboolean guided; /* cfg applies: the negative prompt is needed, too */
  gboolean
      uses_noise; /* wants a latent of fresh noise, drawn in this order after the first noise */
  struct krn_step_coefs coefs;
};

/* The evaluations of a picture.  params are resolved; cfg, cfg_norm_cap, cfg_truncation and sampler
 * are looked at.  sigmas fall, steps + 1 of them; the last is 0 for a whole picture.  The array is
 * of struct eng_evaluation; the caller gives it back with g_array_unref.
 *
 * The buffers of base, history and noise must hold finite numbers when the first evaluation runs,
 * as a coefficient of 0 does not hide a NaN; base must hold the first noise. */
GArray *eng_sampler_plan (const struct eng_params *params, const float *sigmas, int steps);
