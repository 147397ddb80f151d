/* ui/sl-timing-bar.h - one picture's time as a stack of its parts.
 *
 * Properties: timing (SlTiming), scale (milliseconds that the full height stands for). */
#pragma once

#include "ui/sl-timing.h"

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define SL_TYPE_TIMING_BAR (sl_timing_bar_get_type ())
G_DECLARE_FINAL_TYPE (SlTimingBar, sl_timing_bar, SL, TIMING_BAR, GtkWidget)

G_END_DECLS
