#include "ui/sl-recipe.h"

#include <glib/gi18n.h>

G_DEFINE_BOXED_TYPE (SlRecipe, sl_recipe, sl_recipe_copy, sl_recipe_free)

SlRecipe *
sl_recipe_new (void)
{
  SlRecipe *self = g_new0 (SlRecipe, 1);

  self->prompt = g_strdup ("");
  self->negative = g_strdup ("");
  self->sampler = g_strdup ("");
  self->schedule = g_strdup ("");
  self->rng = g_strdup ("cpu");
  return self;
}

SlRecipe *
sl_recipe_copy (const SlRecipe *recipe)
{
  SlRecipe *self = g_memdup2 (recipe, sizeof *recipe);

  self->prompt = g_strdup (recipe->prompt);
  self->negative = g_strdup (recipe->negative);
  self->sampler = g_strdup (recipe->sampler);
  self->schedule = g_strdup (recipe->schedule);
  self->rng = g_strdup (recipe->rng);
  return self;
}

void
sl_recipe_free (SlRecipe *self)
{
  g_free (self->prompt);
  g_free (self->negative);
  g_free (self->sampler);
  g_free (self->schedule);
  g_free (self->rng);
  g_free (self);
}

SlRecipe *
sl_recipe_new_from_settings (GSettings *settings)
{
  SlRecipe *self = g_new0 (SlRecipe, 1);

  self->prompt = g_settings_get_string (settings, "prompt");
  self->negative = g_settings_get_string (settings, "negative");
  self->width = g_settings_get_int (settings, "width");
  self->height = g_settings_get_int (settings, "height");
  self->steps = g_settings_get_int (settings, "steps");
  self->cfg = g_settings_get_double (settings, "cfg");
  self->seed = g_settings_get_uint64 (settings, "seed");
  self->has_seed = TRUE;
  self->sampler = g_settings_get_string (settings, "sampler");
  self->schedule = g_settings_get_string (settings, "schedule");
  self->rng = g_settings_get_string (settings, "rng");
  self->shift = g_settings_get_double (settings, "shift");
  return self;
}

void
sl_recipe_apply (const SlRecipe *self, GSettings *settings)
{
  g_settings_set_string (settings, "prompt", self->prompt);
  g_settings_set_string (settings, "negative", self->negative);
  if (self->width && self->height) {
    g_settings_set_int (settings, "width", CLAMP (self->width, 64, 4096));
    g_settings_set_int (settings, "height", CLAMP (self->height, 64, 4096));
  }
  if (self->steps)
    g_settings_set_int (settings, "steps", CLAMP (self->steps, 1, 150));
  if (self->cfg > 0)
    g_settings_set_double (settings, "cfg", CLAMP (self->cfg, 1, 30));
  if (self->has_seed)
    g_settings_set_uint64 (settings, "seed", self->seed);
  g_settings_set_string (settings, "sampler", self->sampler);
  g_settings_set_string (settings, "schedule", self->schedule);
  g_settings_set_string (settings, "rng", self->rng);
  g_settings_set_double (settings, "shift", CLAMP (self->shift, 0, 100));
}

char *
sl_recipe_dup_summary (const SlRecipe *self)
{
  g_autoptr (GString) text = g_string_new (NULL);

  if (self->width && self->height)
    /* Translators: a picture's width and height in pixels. */
    g_string_append_printf (text, _ ("%d × %d"), self->width, self->height);
  if (self->steps) {
    g_string_append (text, text->len ? " · " : "");
    g_string_append_printf (text, ngettext ("%d step", "%d steps", self->steps), self->steps);
  }
  if (self->cfg > 1) {
    g_string_append (text, text->len ? " · " : "");
    /* Translators: the guidance scale, a number such as 4.5. */
    g_string_append_printf (text, _ ("CFG %.1f"), self->cfg);
  }
  if (self->has_seed) {
    g_autofree char *seed = g_strdup_printf ("%" G_GUINT64_FORMAT, self->seed);

    g_string_append (text, text->len ? " · " : "");
    g_string_append_printf (text, _ ("seed %s"), seed);
  }
  return g_string_free (g_steal_pointer (&text), FALSE);
}

char *
sl_recipe_dup_file_name (const SlRecipe *self)
{
  g_autoptr (GString) name = g_string_new (NULL);

  for (const char *p = self->prompt; *p && name->len < 60; p = g_utf8_next_char (p)) {
    const gunichar c = g_utf8_get_char (p);

    if (g_unichar_isalnum (c))
      g_string_append_unichar (name, c);
    else if (name->len && name->str[name->len - 1] != '-')
      g_string_append_c (name, '-');
  }
  if (name->len && name->str[name->len - 1] != '-')
    g_string_append_c (name, '-');
  g_string_append_printf (name, "%" G_GUINT64_FORMAT ".png", self->seed);
  return g_string_free (g_steal_pointer (&name), FALSE);
}
