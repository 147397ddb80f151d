/* ui/sl-prompt-editor.h - several lines of text with a title and, given a session, a count of the
 * model's tokens.
 *
 * Properties: text, title (with a mnemonic), placeholder, session. */
#pragma once

#include "ui/sl-session.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define SL_TYPE_PROMPT_EDITOR (sl_prompt_editor_get_type ())
G_DECLARE_FINAL_TYPE (SlPromptEditor, sl_prompt_editor, SL, PROMPT_EDITOR, AdwBin)

GtkTextView *sl_prompt_editor_get_view (SlPromptEditor *self);

G_END_DECLS
