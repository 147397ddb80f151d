/* engine/params.h - a job's parameters: checked, filled in, copied. */
#pragma once

#include "engine/model.h"

/* Limits that do not depend on the model. */
enum { ENG_MAX_STEPS = 150, ENG_MIN_SIZE = 64, ENG_MAX_SIZE = 16384, ENG_MAX_CFG = 30 };

/* A copy of params with every zero replaced by the default of info.  NULL and error when a value is
 * impossible; the message has the value and what is allowed.  Free with eng_params_free. */
struct eng_params *eng_params_resolve (const struct eng_params *params, const eng_model_info *info,
                                       GError **error);
struct eng_params *eng_params_copy (const struct eng_params *params);
void eng_params_free (struct eng_params *params); /* one of the two above; NULL allowed */

/* TRUE when the negative prompt is looked at. */
gboolean eng_params_guided (const struct eng_params *params);
