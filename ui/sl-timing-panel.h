/* ui/sl-timing-panel.h - the panel that shows where the milliseconds went: a timeline, the last
 * pictures side by side, and the same in tables; what the GPU tells of itself; export.
 *
 * Signal "chosen" (SlTiming): a picture was chosen here by hand. */
#pragma once

#include "ui/sl-session.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define SL_TYPE_TIMING_PANEL (sl_timing_panel_get_type ())
G_DECLARE_FINAL_TYPE (SlTimingPanel, sl_timing_panel, SL, TIMING_PANEL, AdwBin)

void sl_timing_panel_bind (SlTimingPanel *self, SlSession *session); /* once */
SlTiming *sl_timing_panel_get_selected (SlTimingPanel *self);        /* borrowed; NULL: none */
void sl_timing_panel_select (SlTimingPanel *self, SlTiming *timing);
/* The tables below the drawing instead of beside it, as it begins; fewer buttons. */
void sl_timing_panel_set_narrow (SlTimingPanel *self, gboolean narrow);
/* What the menu does once a file is chosen. */
void sl_timing_panel_export (SlTimingPanel *self, GFile *file, SlTimingFormat format);

G_END_DECLS
