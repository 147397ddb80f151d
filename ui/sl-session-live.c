/* ui/sl-session-live.c - how previews come to the screen. */
#include "ui/sl-session-private.h"

#include <glib/gi18n.h>

static void
tell_view (SlSession *self, char *view, char *reason)
{
  g_free (self->view);
  g_free (self->view_reason);
  self->view = view;
  self->view_reason = reason;
  sl_session_notify (self, SL_PROP_VIEW);
  sl_session_notify (self, SL_PROP_VIEW_REASON);
}

void
sl_session_set_view (SlSession *self, gboolean gl, const char *name, const char *reason)
{
  g_return_if_fail (SL_IS_SESSION (self));

  sl_feed_set_raw (self->feed, gl);
  if (gl)
    /* Translators: how previews are shown; %s is a version and a GPU. */
    tell_view (self, g_strdup_printf (_ ("%s; each preview is uploaded"), name),
               g_strdup (reason ? reason : ""));
  else
    tell_view (self, g_strdup (_ ("GTK; each preview is uploaded")), g_strdup (reason));
}
