/* app/sl-application.h - the process: one session, one window, the app. actions and the keys. */
#pragma once

#include <adwaita.h>

G_BEGIN_DECLS

#define SL_TYPE_APPLICATION (sl_application_get_type ())
G_DECLARE_FINAL_TYPE (SlApplication, sl_application, SL, APPLICATION, AdwApplication)

SlApplication *sl_application_new (GApplicationFlags flags);

G_END_DECLS
