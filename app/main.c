/* app/main.c - the window program. */
#include "app/sl-application.h"

#include <glib/gi18n.h>
#include <locale.h>

int
main (int argc, char **argv)
{
  const char *locale_dir = g_getenv ("SAFELIGHT_LOCALE_DIR"); /* run from the build folder */
  g_autoptr (SlApplication) application = NULL;

  setlocale (LC_ALL, "");
  bindtextdomain ("safelight", locale_dir ? locale_dir : SL_LOCALE_DIR);
  bind_textdomain_codeset ("safelight", "UTF-8");
  textdomain ("safelight");

  application = sl_application_new (G_APPLICATION_DEFAULT_FLAGS);
  return g_application_run (G_APPLICATION (application), argc, argv);
}
