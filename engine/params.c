#include "engine/params.h"

#include <math.h>
#include <string.h>

static const struct {
  const char *name, *id;
} samplers[ENG_N_SAMPLERS] = {
  [ENG_SAMPLER_DEFAULT] = { "Default", "default" },
  [ENG_SAMPLER_EULER] = { "Euler", "euler" },
  [ENG_SAMPLER_EULER_ANCESTRAL] = { "Euler a", "euler_a" },
  [ENG_SAMPLER_HEUN] = { "Heun", "heun" },
  [ENG_SAMPLER_DPMPP_2M] = { "DPM++ 2M", "dpm++2m" },
  [ENG_SAMPLER_RES_MULTISTEP] = { "Res Multistep", "res_multistep" },
  [ENG_SAMPLER_LCM] = { "LCM", "lcm" },
}, schedules[ENG_N_SCHEDULES] = {
  [ENG_SCHEDULE_DEFAULT] = { "Default", "default" },
  [ENG_SCHEDULE_SIMPLE] = { "Simple", "simple" },
  [ENG_SCHEDULE_SGM_UNIFORM] = { "SGM Uniform", "sgm_uniform" },
  [ENG_SCHEDULE_NORMAL] = { "Normal", "discrete" },
  [ENG_SCHEDULE_BETA] = { "Beta", "beta" },
  [ENG_SCHEDULE_KARRAS] = { "Karras", "karras" },
  [ENG_SCHEDULE_EXPONENTIAL] = { "Exponential", "exponential" },
};

/* Spellings of other programs. */
static const struct {
  const char *name;
  enum eng_sampler sampler;
} sampler_aliases[] = {
  { "euler_ancestral", ENG_SAMPLER_EULER_ANCESTRAL },
  { "dpmpp_2m", ENG_SAMPLER_DPMPP_2M },
};

static gboolean
same (const char *a, const char *b)
{
  return g_ascii_strcasecmp (a, b) == 0;
}

const char *
eng_sampler_get_name (enum eng_sampler sampler)
{
  return sampler < ENG_N_SAMPLERS ? samplers[sampler].name : NULL;
}

const char *
eng_sampler_get_id (enum eng_sampler sampler)
{
  return sampler < ENG_N_SAMPLERS ? samplers[sampler].id : NULL;
}

enum eng_sampler
eng_sampler_from_name (const char *name)
{
  for (int i = 1; i < ENG_N_SAMPLERS; i++)
    if (same (name, samplers[i].name) || same (name, samplers[i].id))
      return i;
  for (guint i = 0; i < G_N_ELEMENTS (sampler_aliases); i++)
    if (same (name, sampler_aliases[i].name))
      return sampler_aliases[i].sampler;
  return ENG_SAMPLER_DEFAULT;
}

const char *
eng_schedule_get_name (enum eng_schedule schedule)
{
  return schedule < ENG_N_SCHEDULES ? schedules[schedule].name : NULL;
}

const char *
eng_schedule_get_id (enum eng_schedule schedule)
{
  return schedule < ENG_N_SCHEDULES ? schedules[schedule].id : NULL;
}

enum eng_schedule
eng_schedule_from_name (const char *name)
{
  for (int i = 1; i < ENG_N_SCHEDULES; i++)
    if (same (name, schedules[i].name) || same (name, schedules[i].id))
      return i;
  return same (name, "normal") ? ENG_SCHEDULE_NORMAL : ENG_SCHEDULE_DEFAULT;
}

static gboolean
check_text (const char *what, const char *text, GError **error)
{
  const char *end;

  if (!text || g_utf8_validate (text, -1, &end))
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS,
               "the %s is not UTF-8: byte %zu is 0x%02x, which begins no character", what,
               (size_t) (end - text), (unsigned char) *end);
  return FALSE;
}

static gboolean
check_size (const char *what, int value, GError **error)
{
  if (value >= ENG_MIN_SIZE && value <= ENG_MAX_SIZE && value % ENG_SIZE_MULTIPLE == 0)
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS,
               "%s is %d, expected a multiple of %d from %d to %d", what, value, ENG_SIZE_MULTIPLE,
               ENG_MIN_SIZE, ENG_MAX_SIZE);
  return FALSE;
}

/* NaN fails every comparison, and so this. */
static gboolean
check_number (const char *what, double value, double min, double max, GError **error)
{
  if (value >= min && value <= max)
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS, "%s is %g, expected %g to %g", what, value, min,
               max);
  return FALSE;
}

static gboolean
check_choices (const struct eng_params *p, GError **error)
{
  return check_number ("sampler", p->sampler, 1, ENG_N_SAMPLERS - 1, error) &&
         check_number ("schedule", p->schedule, 1, ENG_N_SCHEDULES - 1, error) &&
         check_number ("rng", p->rng, ENG_RNG_CPU, ENG_RNG_CUDA, error);
}

static gboolean
check_params (const struct eng_params *p, GError **error)
{
  return check_text ("prompt", p->prompt, error) &&
         check_text ("negative prompt", p->negative, error) &&
         check_size ("width", p->width, error) && check_size ("height", p->height, error) &&
         check_number ("steps", p->steps, 1, ENG_MAX_STEPS, error) &&
         check_number ("CFG", p->cfg, 1, ENG_MAX_CFG, error) &&
         check_number ("shift", p->shift, 0.01, 100, error) &&
         check_number ("CFG norm cap", p->cfg_norm_cap, 0, 100, error) &&
         check_number ("CFG truncation", p->cfg_truncation, 0, 1, error) &&
         check_choices (p, error);
}

static void
fill_defaults (struct eng_params *p, const eng_model_info *info)
{
  const struct eng_defaults *d = &info->defaults;

  p->width = p->width ? p->width : d->width;
  p->height = p->height ? p->height : d->height;
  p->steps = p->steps ? p->steps : d->steps;
  p->cfg = p->cfg == 0 ? d->cfg : p->cfg;
  if (p->shift == 0)
    p->shift = eng_model_info_get_shift (info, p->width, p->height);
  p->sampler = p->sampler ? p->sampler : d->sampler;
  p->schedule = p->schedule ? p->schedule : d->schedule;
}

struct eng_params *
eng_params_copy (const struct eng_params *params)
{
  struct eng_params *copy = g_memdup2 (params, sizeof *params);

  copy->prompt = g_strdup (params->prompt ? params->prompt : "");
  copy->negative = g_strdup (params->negative ? params->negative : "");
  copy->init_latents = g_strdup (params->init_latents);
  copy->dump_latents = g_strdup (params->dump_latents);
  copy->dump_embeddings = g_strdup (params->dump_embeddings);
  return copy;
}

struct eng_params *
eng_params_resolve (const struct eng_params *params, const eng_model_info *info, GError **error)
{
  struct eng_params filled = *params;

  fill_defaults (&filled, info);
  return check_params (&filled, error) ? eng_params_copy (&filled) : NULL;
}

void
eng_params_free (struct eng_params *params)
{
  if (!params)
    return;
  g_free ((char *) params->prompt);
  g_free ((char *) params->negative);
  g_free ((char *) params->init_latents);
  g_free ((char *) params->dump_latents);
  g_free ((char *) params->dump_embeddings);
  g_free (params);
}

gboolean
eng_params_guided (const struct eng_params *params)
{
  return params->cfg > 1;
}
