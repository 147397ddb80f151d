/* tests/test-sampler.c - the plans against published rules, theory and diffusers' goldens. */
#include "engine/sampler.h"

#include "engine/schedule.h"

#include <math.h>

/* A network that is exact for data of mean -1 and 1 and spread 0.5 (make_sampling_goldens.py). */
static double
estimate_mixture (double x, double s)
{
  const double var = (1 - s) * (1 - s) / 4 + s * s;
  const double sign = tanh ((1 - s) * x / var);
  return sign + (1 - s) / 4 / var * (x - (1 - s) * sign);
}

/* The same for data of mean 0.7 and spread 0.3: a Gaussian's picture is known in closed form. */
static const double mean = 0.7, spread = 0.3;

static double
variance_at (double s)
{
  return (1 - s) * (1 - s) * spread * spread + s * s;
}

static double
estimate_gauss (double x, double s)
{
  return mean + (1 - s) * spread * spread / variance_at (s) * (x - (1 - s) * mean);
}

/* krn_sampler_step as kernels/device.h says it, on n values. */
struct latents {
  double x[4], base[4], history[4];
};

static void
apply (struct latents *l, const struct eng_evaluation *e, const double *noise,
       double (*estimate) (double x, double s))
{
  const struct krn_step_coefs *c = &e->coefs;

  for (int i = 0; i < 4; i++) {
    /* What the network gives is the negated velocity. */
    const double out = -(l->x[i] - estimate (l->x[i], e->sigma)) / e->sigma;
    const double denoised = c->d_x * l->x[i] + c->d_out * out;
    const double next = c->to_base * l->base[i] + c->to_x * l->x[i] + c->to_out * out +
                        c->to_d * denoised + c->to_history * l->history[i] + c->to_noise * noise[i];
    g_assert_cmpfloat_with_epsilon (denoised, estimate (l->x[i], e->sigma), 1e-5);
    if (c->keep_history != 0)
      l->history[i] = denoised;
    if (c->keep_base != 0)
      l->base[i] = next;
    l->x[i] = next;
  }
}

static struct latents
start (double a, double b, double c, double d)
{
  return (struct latents){ { a, b, c, d }, { a, b, c, d }, { 0 } };
}

static GArray *
plan_params (const struct eng_params *params)
{
  const struct eng_schedule_args args = { .schedule = params->schedule,
                                          .steps = params->steps,
                                          .shift = params->shift };
  float sigmas[1001];

  return eng_sampler_plan (params, sigmas, eng_schedule_fill (sigmas, &args));
}

static GArray *
plan (enum eng_sampler sampler, int steps, float shift)
{
  const struct eng_params params = {
    .sampler = sampler, .steps = steps, .shift = shift, .cfg = 1, .schedule = ENG_SCHEDULE_SIMPLE
  };

  return plan_params (&params);
}

/* Coefficients are rounded to float, eight steps of values up to 2: 2e-6. */
static void
test_matches_rules (void)
{
  g_autofree char *path = g_test_build_filename (G_TEST_DIST, "data", "sampler.txt", NULL);
  g_autofree char *text = NULL;

  g_assert_true (g_file_get_contents (path, &text, NULL, NULL));
  g_auto (GStrv) lines = g_strsplit (g_strchomp (text), "\n", -1);
  for (int i = 0; lines[i]; i++) {
    g_auto (GStrv) field = g_strsplit (lines[i], " ", -1);
    struct latents l = start (-1.5, -0.3, 0.4, 2.0);

    if (lines[i][0] == '#')
      continue;
    const int steps = atoi (field[1]);
    g_autoptr (GArray) evaluations =
        plan (eng_sampler_from_name (field[0]), steps, g_ascii_strtod (field[2], NULL));
    g_assert_cmpint (g_strv_length (field), ==, 3 + 4 * steps);
    for (guint k = 0; k < evaluations->len; k++) {
      const struct eng_evaluation *e = &g_array_index (evaluations, struct eng_evaluation, k);
      double noise[4];

      for (int j = 0; j < 4; j++)
        noise[j] = sin (1 + 3 * e->step + j);
      apply (&l, e, noise, estimate_mixture);
      if (k + 1 < evaluations->len && (e + 1)->step == e->step)
        continue;
      for (int j = 0; j < 4; j++)
        g_assert_cmpfloat_with_epsilon (l.x[j], g_ascii_strtod (field[3 + 4 * e->step + j], NULL),
                                        2e-6);
    }
  }
}

/* Largest distance from the exact way, from sigma 1 to 0.2 in equal steps.  (The multistep rules
 * work over log sigma; down to 0 their last steps never get small, however many there are.) */
static double
error_of (enum eng_sampler sampler, int steps)
{
  const struct eng_params params = { .sampler = sampler, .cfg = 1 };
  const double noise[4] = { 0 }, from[4] = { -2, -0.5, 1, 2.5 }, end = 0.2;
  struct latents l = start (from[0], from[1], from[2], from[3]);
  g_autofree float *sigmas = g_new (float, steps + 1);
  double worst = 0;

  for (int i = 0; i <= steps; i++)
    sigmas[i] = 1 - (1 - end) * i / steps;
  g_autoptr (GArray) evaluations = eng_sampler_plan (&params, sigmas, steps);
  for (guint k = 0; k < evaluations->len; k++)
    apply (&l, &g_array_index (evaluations, struct eng_evaluation, k), noise, estimate_gauss);
  for (int j = 0; j < 4; j++)
    worst = fmax (worst, fabs (l.x[j] - ((1 - end) * mean + sqrt (variance_at (end)) * from[j])));
  return worst;
}

/* All the way to the picture they still converge, and those of order 2 are nearer. */
static void
test_converges (void)
{
  double euler = 0;

  for (int sampler = ENG_SAMPLER_EULER; sampler < ENG_SAMPLER_LCM; sampler++) {
    g_autoptr (GArray) evaluations = plan (sampler, 150, 1);
    const double noise[4] = { 0 };
    struct latents l = start (-2, -0.5, 1, 2.5);

    if (sampler == ENG_SAMPLER_EULER_ANCESTRAL)
      continue;
    for (guint k = 0; k < evaluations->len; k++)
      apply (&l, &g_array_index (evaluations, struct eng_evaluation, k), noise, estimate_gauss);
    const double worst = fabs (l.x[3] - (mean + spread * 2.5));
    g_assert_cmpfloat (worst, <, sampler == ENG_SAMPLER_EULER ? 0.02 : euler / 4);
    euler = sampler == ENG_SAMPLER_EULER ? worst : euler;
  }
}

/* Twice the steps: half the error for a method of order 1, a quarter for order 2. */
static void
test_order (void)
{
  static const struct {
    enum eng_sampler sampler;
    double least, most; /* error (n) / error (2n) */
  } cases[] = {
    { ENG_SAMPLER_EULER, 1.9, 2.1 },
    { ENG_SAMPLER_HEUN, 3.6, 4.6 },
    { ENG_SAMPLER_DPMPP_2M, 3.6, 4.6 },
    { ENG_SAMPLER_RES_MULTISTEP, 3.6, 4.6 },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++)
    for (int n = 64; n <= 128; n *= 2) {
      const double ratio = error_of (cases[i].sampler, n) / error_of (cases[i].sampler, 2 * n);
      g_test_message ("%s, %d steps: error %g, ratio %g", eng_sampler_get_name (cases[i].sampler),
                      n, error_of (cases[i].sampler, n), ratio);
      g_assert_cmpfloat (ratio, >, cases[i].least);
      g_assert_cmpfloat (ratio, <, cases[i].most);
    }
}

/* With fresh noise the end is a new draw: its mean and variance are the data's.  The Gaussian's
 * estimate is linear, so both can be followed exactly. */
static double
ancestral_error (int steps)
{
  g_autoptr (GArray) evaluations = plan (ENG_SAMPLER_EULER_ANCESTRAL, steps, 1);
  double m = 0, var = 1;

  for (guint k = 0; k < evaluations->len; k++) {
    const struct eng_evaluation *e = &g_array_index (evaluations, struct eng_evaluation, k);
    const double slope = estimate_gauss (1, e->sigma) - estimate_gauss (0, e->sigma);
    const double factor = e->coefs.to_x + e->coefs.to_d * slope;

    m = factor * m + e->coefs.to_d * estimate_gauss (0, e->sigma);
    var = factor * factor * var + e->coefs.to_noise * e->coefs.to_noise;
  }
  return fabs (m - mean) + fabs (sqrt (var) - spread);
}

static void
test_ancestral (void)
{
  g_assert_cmpfloat (ancestral_error (32), <, 0.1);
  g_assert_cmpfloat (ancestral_error (128) / ancestral_error (256), >, 1.8);
  g_assert_cmpfloat (ancestral_error (1000), <, 0.003);
}

/* LCM puts the estimate where the forward process would. */
static void
test_lcm (void)
{
  g_autoptr (GArray) evaluations = plan (ENG_SAMPLER_LCM, 4, 3);

  for (guint k = 0; k < 4; k++) {
    const struct eng_evaluation *e = &g_array_index (evaluations, struct eng_evaluation, k);
    const float next = k < 3 ? (e + 1)->sigma : 0;

    g_assert_cmpfloat_with_epsilon (e->coefs.to_noise, next, 1e-7);
    g_assert_cmpfloat_with_epsilon (e->coefs.to_d, 1 - next, 1e-7);
    g_assert_cmpint (e->uses_noise, ==, k < 3);
  }
}

/* What is at rest stays at rest: with out = 0 every deterministic rule keeps x. */
static void
test_keeps_what_is_done (void)
{
  static const enum eng_sampler samplers[] = { ENG_SAMPLER_DEFAULT, ENG_SAMPLER_EULER,
                                               ENG_SAMPLER_HEUN, ENG_SAMPLER_DPMPP_2M,
                                               ENG_SAMPLER_RES_MULTISTEP };

  for (gsize i = 0; i < G_N_ELEMENTS (samplers); i++)
    for (int steps = 1; steps <= 150; steps += 7) {
      g_autoptr (GArray) evaluations = plan (samplers[i], steps, 3);

      for (guint k = 0; k < evaluations->len; k++) {
        const struct eng_evaluation *e = &g_array_index (evaluations, struct eng_evaluation, k);
        const struct krn_step_coefs *c = &e->coefs;

        g_assert_cmpfloat_with_epsilon (c->to_base + c->to_x + c->to_d + c->to_history, 1, 1e-6);
        g_assert_false (e->uses_noise);
        g_assert_cmpfloat (c->to_noise, ==, 0);
        g_assert_cmpint (e->step, <, steps);
      }
    }
}

static void
test_counts (void)
{
  g_autoptr (GArray) euler = plan (ENG_SAMPLER_EULER, 8, 3);
  g_autoptr (GArray) heun = plan (ENG_SAMPLER_HEUN, 8, 3);

  g_assert_cmpuint (euler->len, ==, 8);
  g_assert_cmpuint (heun->len, ==, 15);
  g_assert_cmpint (g_array_index (heun, struct eng_evaluation, 1).step, ==, 0);
  g_assert_cmpint (g_array_index (heun, struct eng_evaluation, 2).step, ==, 1);
  g_assert_cmpfloat (g_array_index (heun, struct eng_evaluation, 1).sigma, ==,
                     g_array_index (heun, struct eng_evaluation, 2).sigma);
}

static void
test_guidance (void)
{
  struct eng_params params = {
    .sampler = ENG_SAMPLER_EULER, .steps = 8, .shift = 3, .cfg = 4, .cfg_norm_cap = 1.5f
  };
  g_autoptr (GArray) all = plan_params (&params);

  params.cfg_truncation = 0.5f; /* sigma .5 is not past it, .3 is */
  g_autoptr (GArray) truncated = plan_params (&params);
  params.cfg = 1;
  g_autoptr (GArray) none = plan_params (&params);

  for (guint i = 0; i < 8; i++) {
    const struct eng_evaluation *e = &g_array_index (truncated, struct eng_evaluation, i);

    g_assert_true (g_array_index (all, struct eng_evaluation, i).guided);
    g_assert_cmpfloat (g_array_index (all, struct eng_evaluation, i).coefs.cfg, ==, 4);
    g_assert_cmpfloat (g_array_index (all, struct eng_evaluation, i).coefs.norm_cap, ==, 1.5f);
    g_assert_false (g_array_index (none, struct eng_evaluation, i).guided);
    g_assert_cmpint (e->guided, ==, i < 7);
    g_assert_cmpfloat (e->coefs.cfg, ==, i < 7 ? 4 : 1);
    g_assert_cmpfloat (e->coefs.norm_cap, ==, i < 7 ? 1.5f : 0);
  }
}

static void
test_finite (void)
{
  for (int sampler = 0; sampler < ENG_N_SAMPLERS; sampler++)
    for (int schedule = 0; schedule < ENG_N_SCHEDULES; schedule++)
      for (int steps = 1; steps <= 1000; steps = steps * 3 - 1 + (steps == 1)) {
        const struct eng_params params = {
          .sampler = sampler, .schedule = schedule, .steps = steps, .shift = 3, .cfg = 1
        };
        g_autoptr (GArray) evaluations = plan_params (&params);

        for (guint k = 0; k < evaluations->len; k++) {
          const struct eng_evaluation *e = &g_array_index (evaluations, struct eng_evaluation, k);
          const float *c = (const float *) &e->coefs;

          g_assert_cmpfloat (e->sigma, >, 0);
          for (int i = 0; i < KRN_STEP_COEFS; i++)
            g_assert_true (isfinite (c[i]) && fabsf (c[i]) < 100);
        }
      }
}

/* At the ends of what a job may ask for. */
static void
test_shifts (void)
{
  static const float shifts[] = { 0.01f, 0.3f, 1, 12, 100 };

  for (int sampler = 1; sampler < ENG_N_SAMPLERS; sampler++)
    for (int schedule = 1; schedule < ENG_N_SCHEDULES; schedule++)
      for (guint i = 0; i < G_N_ELEMENTS (shifts); i++)
        for (int steps = 1; steps <= 150; steps++) {
          const struct eng_params params = {
            .sampler = sampler, .schedule = schedule, .steps = steps, .shift = shifts[i], .cfg = 1
          };
          g_autoptr (GArray) evaluations = plan_params (&params);

          for (guint k = 0; k < evaluations->len; k++) {
            const struct eng_evaluation *e = &g_array_index (evaluations, struct eng_evaluation, k);
            const float *c = (const float *) &e->coefs;

            for (int n = 0; n < KRN_STEP_COEFS; n++)
              if (!isfinite (c[n]))
                g_error ("%s, %s, shift %g, %d steps: coefficient %d of step %d is %g",
                         eng_sampler_get_name (sampler), eng_schedule_get_name (schedule),
                         shifts[i], steps, n, e->step, c[n]);
          }
        }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/sampler/matches-rules", test_matches_rules);
  g_test_add_func ("/sampler/order", test_order);
  g_test_add_func ("/sampler/converges", test_converges);
  g_test_add_func ("/sampler/ancestral", test_ancestral);
  g_test_add_func ("/sampler/lcm", test_lcm);
  g_test_add_func ("/sampler/keeps-what-is-done", test_keeps_what_is_done);
  g_test_add_func ("/sampler/counts", test_counts);
  g_test_add_func ("/sampler/guidance", test_guidance);
  g_test_add_func ("/sampler/finite", test_finite);
  g_test_add_func ("/sampler/shifts", test_shifts);
  return g_test_run ();
}
