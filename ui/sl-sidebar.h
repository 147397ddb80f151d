/* ui/sl-sidebar.h - everything that says what the next picture will be, and the button that makes
 * it.  Its controls are bound to the settings; what they do goes through window actions. */
#pragma once

#include "ui/sl-session.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define SL_TYPE_SIDEBAR (sl_sidebar_get_type ())
G_DECLARE_FINAL_TYPE (SlSidebar, sl_sidebar, SL, SIDEBAR, AdwBin)

/* Once, after construction. */
void sl_sidebar_bind (SlSidebar *self, SlSession *session, GSettings *settings);
void sl_sidebar_focus_prompt (SlSidebar *self);

G_END_DECLS
