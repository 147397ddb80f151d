/* ui/sl-session-choices.c - the engine's choices and values in the window's words. */
#include "ui/sl-session-private.h"

#include <glib/gi18n.h>
#include <math.h>

GType
sl_state_get_type (void)
{
  static gsize type = 0;

  if (g_once_init_enter (&type)) {
    static const GEnumValue values[] = {
      { SL_STATE_STARTING, "SL_STATE_STARTING", "starting" },
      { SL_STATE_NO_ENGINE, "SL_STATE_NO_ENGINE", "no-engine" },
      { SL_STATE_NO_MODEL, "SL_STATE_NO_MODEL", "no-model" },
      { SL_STATE_LOADING, "SL_STATE_LOADING", "loading" },
      { SL_STATE_READY, "SL_STATE_READY", "ready" },
      { 0 },
    };

    g_once_init_leave (&type, g_enum_register_static ("SlState", values));
  }
  return type;
}

/* By enum eng_rng.  The programs' names are not translated. */
static const struct {
  const char *name, *id;
} rngs[] = { { "CPU (ComfyUI)", "cpu" }, { "GPU (A1111)", "cuda" } };

/* So that 1.15 does not become 1.149999976 on the way from a float. */
static double
plain (float value)
{
  return round (value * 1e4) / 1e4;
}

SlRecipe *
sl_session_recipe_from_params (const struct eng_params *params)
{
  SlRecipe *recipe = g_new0 (SlRecipe, 1);
  const char *sampler = params->sampler ? eng_sampler_get_id (params->sampler) : NULL;
  const char *schedule = params->schedule ? eng_schedule_get_id (params->schedule) : NULL;

  recipe->prompt = g_strdup (params->prompt ? params->prompt : "");
  recipe->negative = g_strdup (params->negative ? params->negative : "");
  recipe->width = params->width;
  recipe->height = params->height;
  recipe->steps = params->steps;
  recipe->cfg = plain (params->cfg);
  recipe->seed = params->seed;
  recipe->has_seed = TRUE;
  recipe->sampler = g_strdup (sampler ? sampler : "");
  recipe->schedule = g_strdup (schedule ? schedule : "");
  recipe->rng = g_strdup (rngs[params->rng == ENG_RNG_CUDA].id);
  recipe->shift = plain (params->shift);
  return recipe;
}

const char *
sl_session_get_sampler (guint i, const char **id)
{
  const char *name = i < ENG_N_SAMPLERS ? eng_sampler_get_name (i) : NULL;

  if (id)
    *id = name && i ? eng_sampler_get_id (i) : "";
  return name && !i ? _ ("Model’s choice") : name;
}

const char *
sl_session_get_schedule (guint i, const char **id)
{
  const char *name = i < ENG_N_SCHEDULES ? eng_schedule_get_name (i) : NULL;

  if (id)
    *id = name && i ? eng_schedule_get_id (i) : "";
  return name && !i ? _ ("Model’s choice") : name;
}

const char *
sl_session_get_rng (guint i, const char **id)
{
  if (i >= G_N_ELEMENTS (rngs))
    return NULL;
  if (id)
    *id = rngs[i].id;
  return rngs[i].name;
}

SlRecipe *
sl_session_dup_defaults (SlSession *self)
{
  eng_model_info *model = sl_session_get_model (self);
  const struct eng_defaults *defaults;
  SlRecipe *recipe;

  if (!model)
    return NULL;
  defaults = eng_model_info_get_defaults (model);
  recipe = sl_recipe_new ();
  recipe->width = defaults->width;
  recipe->height = defaults->height;
  recipe->steps = defaults->steps;
  recipe->cfg = defaults->cfg;
  recipe->shift = defaults->shift;
  return recipe;
}
