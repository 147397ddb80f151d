/* engine/bench.h - times single passes of a loaded model, several forms of one by turns. */
#pragma once

#include "engine/model.h"

/* As eng_engine_try (engine/engine.h), on a stream of its own. */
gboolean eng_bench_run (struct krn_device *device, const eng_model *model, struct eng_trial *trials,
                        guint n, guint rounds, double *ms, GError **error);
