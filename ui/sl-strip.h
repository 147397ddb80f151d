/* ui/sl-strip.h - the pictures made since the start, in one line.
 *
 * Properties: session, selected (SlResult; NULL: none). */
#pragma once

#include "ui/sl-session.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define SL_TYPE_STRIP (sl_strip_get_type ())
G_DECLARE_FINAL_TYPE (SlStrip, sl_strip, SL, STRIP, AdwBin)

SlResult *sl_strip_get_selected (SlStrip *self); /* borrowed */
void sl_strip_select (SlStrip *self, SlResult *result);

G_END_DECLS
