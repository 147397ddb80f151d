/* ui/sl-stage.h - the middle of the window: the canvas, or what stands in its place while there is
 * no picture, and the line below it that says what one sees.
 *
 * It shows a finished picture (shown) or the one being made (shown is NULL); bare is the picture
 * alone, for the full screen. */
#pragma once

#include "ui/sl-canvas.h"
#include "ui/sl-session.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define SL_TYPE_STAGE (sl_stage_get_type ())
G_DECLARE_FINAL_TYPE (SlStage, sl_stage, SL, STAGE, AdwBin)

/* Once, after construction. */
void sl_stage_bind (SlStage *self, SlSession *session);
SlCanvas *sl_stage_get_canvas (SlStage *self);
void sl_stage_set_shown (SlStage *self, SlResult *result);
SlResult *sl_stage_get_shown (SlStage *self);
/* A picture that is not kept, in the place of the one being made. */
void sl_stage_show_draft (SlStage *self, SlResult *draft);
void sl_stage_set_bare (SlStage *self, gboolean bare);
/* There is little room: leaves out what the keyboard and the mouse wheel do as well. */
void sl_stage_set_narrow (SlStage *self, gboolean narrow);
/* "welcome", "picture", "no-model" or "no-engine" */
const char *sl_stage_get_page (SlStage *self);

G_END_DECLS
