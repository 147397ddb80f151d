/* engine/settings.c - settings read back from a picture. */
#include "engine/engine.h"
#include "engine/image.h"
#include "engine/infotext.h"

eng_settings *
eng_settings_read_png (const char *path, GError **error)
{
  g_autoptr (GHashTable) texts = eng_png_read_text (path, error);
  const char *found = texts ? g_hash_table_lookup (texts, "parameters") : NULL;
  g_autoptr (eng_infotext) text = NULL;
  eng_settings *settings;

  if (!texts)
    return NULL;
  if (!found) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE,
                 "“%s” has no settings in it (no text “parameters”)", path);
    return NULL;
  }
  text = eng_infotext_parse (found);
  settings = g_new0 (eng_settings, 1);
  settings->infotext = g_strdup (found);
  settings->model = g_strdup (eng_infotext_get (text, "Model"));
  settings->params = eng_infotext_get_params (text);
  settings->params.prompt = g_strdup (settings->params.prompt);
  settings->params.negative = g_strdup (settings->params.negative);
  return settings;
}

void
eng_settings_free (eng_settings *settings)
{
  if (!settings)
    return;
  g_free ((char *) settings->params.prompt);
  g_free ((char *) settings->params.negative);
  g_free (settings->infotext);
  g_free (settings->model);
  g_free (settings);
}
