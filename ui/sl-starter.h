/* ui/sl-starter.h - the model that ships with the program, and its example prompts. */
#pragma once

#include "ui/sl-recipe.h"

/* The installed folder, or $SAFELIGHT_STARTER. */
char *sl_starter_dup_path (void);
/* Reads examples.json beside the model on a worker thread: a GPtrArray of SlRecipe.  Without the
 * file a few prompts that are compiled in. */
void sl_starter_read_async (GAsyncReadyCallback callback, GCancellable *cancellable, gpointer data);
GPtrArray *sl_starter_read_finish (GAsyncResult *result, GError **error);
