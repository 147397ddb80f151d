/* ui/sl-live.h - live mode: while it is on, the picture is made again when what it depends on
 * changes.
 *
 * What runs is cancelled at once.  When the hand pauses, a few steps show where it goes; when it
 * rests, the picture is made with all of them.  Main thread. */
#pragma once

#include "ui/sl-session.h"

typedef struct sl_live sl_live;

#define SL_LIVE_DRAFT_STEPS 3

/* settings: the window's; their key "live" turns it on and off.  starting: a picture is about to be
 * asked for. */
sl_live *sl_live_new (SlSession *session, GSettings *settings, void (*starting) (gpointer data),
                      gpointer data);
void sl_live_free (sl_live *self);
gboolean sl_live_get_on (sl_live *self);
