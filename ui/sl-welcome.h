/* ui/sl-welcome.h - the empty canvas: what this is, and a few prompts to begin with.
 *
 * Signal "example" (SlRecipe): one was chosen. */
#pragma once

#include <adwaita.h>

G_BEGIN_DECLS

#define SL_TYPE_WELCOME (sl_welcome_get_type ())
G_DECLARE_FINAL_TYPE (SlWelcome, sl_welcome, SL, WELCOME, AdwBin)

G_END_DECLS
