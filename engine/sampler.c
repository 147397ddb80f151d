#include "engine/sampler.h"

#include <math.h>

/* One step from sigma s to next; before is the sigma of the step before, 0 in the first. */
struct step {
  double before, s, next;
};

/* x + (next - s) * velocity, and the network's output is the negated velocity. */
static void
euler (struct krn_step_coefs *c, const struct step *t)
{
  c->to_x = 1;
  c->to_out = t->s - t->next;
}

/* Explicit exponential integrators of second order keep x' = q x + a denoised + b history.  q is
 * next / s, h = -log q; the first order rule, a = 1 - q, is Euler's. */
static void
exponential (struct krn_step_coefs *c, double q, double to_d, double to_history)
{
  c->to_x = q;
  c->to_d = to_d;
  c->to_history = to_history;
}

/* DPM-Solver++ (2M), arXiv 2211.01095, over -log sigma as k-diffusion has it. */
static void
dpmpp_2m (struct krn_step_coefs *c, const struct step *t)
{
  const double q = t->next / t->s;

  if (t->before == 0 || t->next == 0) {
    exponential (c, q, 1 - q, 0);
    return;
  }
  const double h = log (t->s / t->next), h_before = log (t->before / t->s);
  const double half = h / h_before / 2;
  exponential (c, q, (1 - q) * (1 + half), -(1 - q) * half);
}

/* The RES multistep rule, arXiv 2308.02157, without noise, as ComfyUI has it:
 * q x + h (phi1 - phi2 / c) denoised + h phi2 / c history, c = -h_before / h,
 * where h phi1 (-h) = 1 - q and h phi2 (-h) = 1 - (1 - q) / h. */
static void
res_multistep (struct krn_step_coefs *c, const struct step *t)
{
  const double q = t->next / t->s;

  if (t->before == 0 || t->next == 0) {
    exponential (c, q, 1 - q, 0);
    return;
  }
  const double h = log (t->s / t->next), h_before = log (t->before / t->s);
  const double to_history = -(1 + expm1 (-h) / h) * h / h_before;
  exponential (c, q, 1 - q - to_history, to_history);
}

/* Jumps to the estimate and puts fresh noise on it. */
static void
lcm (struct krn_step_coefs *c, const struct step *t)
{
  c->to_d = 1 - t->next;
  c->to_noise = t->next;
}

/* ComfyUI's ancestral step for rectified flow with eta 1: Euler down to less noise than next has,
 * then fresh noise, with the scale of the picture kept. */
static void
euler_ancestral (struct krn_step_coefs *c, const struct step *t)
{
  if (t->next == 0) {
    c->to_d = 1;
    return;
  }
  const double down = t->next * t->next / t->s, q = down / t->s;
  const double keep = (1 - t->next) / (1 - down);
  const double noise = t->next * t->next - down * down * keep * keep;

  c->to_x = keep * q;
  c->to_d = keep * (1 - q);
  c->to_noise = sqrt (MAX (noise, 0));
}

/* What every evaluation has in common: denoised = x + sigma out, and guidance. */
static struct eng_evaluation
evaluation_at (const struct eng_params *params, float sigma, int step)
{
  const gboolean truncated = params->cfg_truncation > 0 && 1.f - sigma > params->cfg_truncation;
  const gboolean guided = params->cfg > 1 && !truncated;

  return (struct eng_evaluation){ .sigma = sigma,
                                  .step = step,
                                  .guided = guided,
                                  .coefs = { .cfg = guided ? params->cfg : 1,
                                             .norm_cap = guided ? params->cfg_norm_cap : 0,
                                             .d_x = 1,
                                             .d_out = sigma } };
}

/* Heun's step: Euler to next, then with the mean of both slopes from the start: as Euler's x is
 * base + (next - s) v1, the mean is (base + x) / 2 + (next - s) / 2 v2. */
static void
add_heun (GArray *plan, const struct eng_params *params, const struct step *t, int step)
{
  struct eng_evaluation first = evaluation_at (params, t->s, step);
  struct eng_evaluation second = evaluation_at (params, t->next, step);

  euler (&first.coefs, t);
  g_array_append_val (plan, first);
  if (t->next == 0)
    return;
  second.coefs.to_base = second.coefs.to_x = 0.5f;
  second.coefs.to_out = (t->s - t->next) / 2;
  second.coefs.keep_base = 1;
  g_array_append_val (plan, second);
}

static void
add_step (GArray *plan, const struct eng_params *params, const struct step *t, int step)
{
  static void (*const rules[ENG_N_SAMPLERS]) (struct krn_step_coefs *, const struct step *) = {
    [ENG_SAMPLER_DEFAULT] = euler,
    [ENG_SAMPLER_EULER] = euler,
    [ENG_SAMPLER_EULER_ANCESTRAL] = euler_ancestral,
    [ENG_SAMPLER_DPMPP_2M] = dpmpp_2m,
    [ENG_SAMPLER_RES_MULTISTEP] = res_multistep,
    [ENG_SAMPLER_LCM] = lcm,
  };
  struct eng_evaluation e = evaluation_at (params, t->s, step);

  if (params->sampler == ENG_SAMPLER_HEUN) {
    add_heun (plan, params, t, step);
    return;
  }
  rules[params->sampler](&e.coefs, t);
  e.uses_noise = e.coefs.to_noise != 0;
  e.coefs.keep_history =
      params->sampler == ENG_SAMPLER_DPMPP_2M || params->sampler == ENG_SAMPLER_RES_MULTISTEP;
  g_array_append_val (plan, e);
}

GArray *
eng_sampler_plan (const struct eng_params *params, const float *sigmas, int steps)
{
  GArray *plan = g_array_new (FALSE, FALSE, sizeof (struct eng_evaluation));

  for (int i = 0; i < steps; i++) {
    const struct step t = { i ? sigmas[i - 1] : 0, sigmas[i], sigmas[i + 1] };
    add_step (plan, params, &t, i);
  }
  return plan;
}
