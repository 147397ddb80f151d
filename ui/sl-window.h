/* ui/sl-window.h - the one window: puts the parts together and carries out the win. actions. */
#pragma once

#include "ui/sl-session.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define SL_TYPE_WINDOW (sl_window_get_type ())
G_DECLARE_FINAL_TYPE (SlWindow, sl_window, SL, WINDOW, AdwApplicationWindow)

SlWindow *sl_window_new (GtkApplication *application, SlSession *session, GSettings *settings);
/* A picture: offers its settings.  A folder or another file: loads it as a model. */
void sl_window_open (SlWindow *self, GFile *file);
/* Saves the shown picture, as the file dialog does once a name was chosen. */
void sl_window_save (SlWindow *self, GFile *file);
SlSession *sl_window_get_session (SlWindow *self);

G_END_DECLS
