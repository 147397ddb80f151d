/* ui/sl-session-private.h - between the source files of SlSession. */
#pragma once

#include "engine/engine.h"
#include "ui/sl-session.h"

eng_engine *sl_session_get_engine (SlSession *self);    /* NULL while it is made, or without one */
eng_model_info *sl_session_get_model (SlSession *self); /* borrowed; NULL without one */
SlRecipe *sl_session_recipe_from_params (const struct eng_params *params);
