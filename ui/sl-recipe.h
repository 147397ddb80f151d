/* ui/sl-recipe.h - the settings of one picture, as the window knows them.
 *
 * A plain value: copied freely, main thread or not.  It reads from and writes to the application's
 * GSettings, whose keys the sidebar's controls are bound to: one truth for what the next picture
 * will be. */
#pragma once

#include <gio/gio.h>

typedef struct {
  char *prompt, *negative; /* UTF-8, never NULL */
  int width, height;       /* pixels; 0: not known */
  int steps;               /* 0: not known */
  double cfg;              /* 0: not known */
  guint64 seed;
  gboolean has_seed;
  char *sampler, *schedule; /* the engine's ids, such as "euler"; "": the model's default */
  char *rng;                /* whose noise: "cpu" or "cuda" */
  double shift;             /* of the schedule; 0: the model's default */
} SlRecipe;

#define SL_TYPE_RECIPE (sl_recipe_get_type ())
GType sl_recipe_get_type (void);

SlRecipe *sl_recipe_new (void);
SlRecipe *sl_recipe_copy (const SlRecipe *recipe);
void sl_recipe_free (SlRecipe *recipe);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (SlRecipe, sl_recipe_free)

SlRecipe *sl_recipe_new_from_settings (GSettings *settings);
/* Leaves alone what the recipe does not know. */
void sl_recipe_apply (const SlRecipe *recipe, GSettings *settings);
/* One translated line: "256 × 256 · 8 steps · seed 7". */
char *sl_recipe_dup_summary (const SlRecipe *recipe);
/* A file name from the prompt and the seed, with ".png"; safe on any file system. */
char *sl_recipe_dup_file_name (const SlRecipe *recipe);
