/* engine/infotext.h - a picture's settings as the `parameters` text that A1111 began and others
 * read.
 *
 *     a red kite over hills
 *     Negative prompt: blur
 *     Steps: 8, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Seed: 7, Size: 1024x1024, ...
 *
 * Pure functions; any thread. */
#pragma once

#include "engine/engine.h"

/* params: resolved.  model, model_hash and version ("Safelight 0.1.0") may be NULL: their pair is
 * left out.  The negative prompt is written only when it had a say, that is with cfg above 1.  The
 * caller frees the text. */
char *eng_infotext_write (const struct eng_params *params, const char *model,
                          const char *model_hash, const char *version);

/* A text as somebody wrote it. */
typedef struct {
  char *prompt, *negative; /* never NULL; invalid UTF-8 is replaced */
  GHashTable *pairs;       /* key to value, both char *, quotes removed; never NULL */
} eng_infotext;
/* Never fails: a text whose last line has fewer than three pairs is all prompt.  Also splits what
 * older files put together, "Sampler: DPM++ 2M Karras" and stable-diffusion.cpp's "Sampler: euler
 * simple", into Sampler and Schedule type. */
eng_infotext *eng_infotext_parse (const char *text);
void eng_infotext_free (eng_infotext *infotext); /* NULL allowed */
G_DEFINE_AUTOPTR_CLEANUP_FUNC (eng_infotext, eng_infotext_free)

/* What the pairs say in our terms; zero where nothing or nonsense was said, and for samplers that
 * we do not have.  Strings are borrowed from infotext.  A missing RNG is A1111's default, CUDA, and
 * stable-diffusion.cpp's, too; other programs' files (no Version, "Version: ComfyUI") are taken by
 * the same rule. */
struct eng_params eng_infotext_get_params (const eng_infotext *infotext);
/* Borrowed; NULL when there is none. */
const char *eng_infotext_get (const eng_infotext *infotext, const char *key);
