/* engine/memory.h - what a model will need of a device's memory, before anything is loaded. */
#pragma once

#include "engine/model.h"

/* Fills memory for a picture of that size, in pixels, and a prompt as long as it may be, on a
 * device of those dtypes.  The networks have told the loaders what they want. */
void eng_memory_plan (struct eng_memory *memory, const eng_model *model,
                      eng_loader *const loaders[ENG_N_PARTS], int width, int height);
/* Everything at once, with the text encoder kept. */
size_t eng_memory_get_kept (const struct eng_memory *memory);
