/* ui/sl-timing-bars.h - the last pictures' times side by side, to compare settings; click or arrow
 * keys choose one.
 *
 * Properties: timings (GListModel of SlTiming, oldest first), selected (SlTiming; NULL: none).  The
 * newest one is selected as it comes, unless an older one was.
 * Signal "chosen": the selection changed by hand. */
#pragma once

#include "ui/sl-timing.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define SL_TYPE_TIMING_BARS (sl_timing_bars_get_type ())
G_DECLARE_FINAL_TYPE (SlTimingBars, sl_timing_bars, SL, TIMING_BARS, AdwBin)

SlTiming *sl_timing_bars_get_selected (SlTimingBars *self); /* borrowed */
void sl_timing_bars_select (SlTimingBars *self, SlTiming *timing);

G_END_DECLS
