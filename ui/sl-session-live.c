/* ui/sl-session-live.c - how previews come to the screen. */
#include "ui/sl-session-private.h"

#include <glib/gi18n.h>

static void
tell_view (SlSession *self, const char *how, const char *reason)
{
  g_free (self->view);
  /* Translators: what draws, and how previews come to it ("GTK; each preview is uploaded"). */
  self->view =
      self->view_name ? g_strdup_printf (_ ("%s; %s"), self->view_name, how) : g_strdup ("");
  if (self->view_reason != reason) {
    g_free (self->view_reason);
    self->view_reason = g_strdup (reason);
  }
  sl_session_notify (self, SL_PROP_VIEW);
  sl_session_notify (self, SL_PROP_VIEW_REASON);
}

void
sl_session_set_view (SlSession *self, gboolean gl, const char *name, const char *reason)
{
  g_return_if_fail (SL_IS_SESSION (self));

  sl_feed_set_raw (self->feed, gl);
  g_free (self->view_name);
  self->view_name = g_strdup (name);
  if (self->gl)
    tell_view (self, _ ("previews stay on the GPU"), "");
  else
    tell_view (self, _ ("each preview is uploaded"), reason ? reason : self->view_reason);
}

void
sl_session_tell_uploaded (SlSession *self)
{
  if (self->gl && self->view_reason && !*self->view_reason)
    tell_view (self, _ ("each preview is uploaded"), _ ("The GPU was lost and opened again."));
}

/* ---- The source of frames ---- */

static gboolean
open_source (gpointer data)
{
  SlSession *self = data;
  g_autoptr (GError) error = NULL;

  if (!self->engine)
    return FALSE; /* asked for again once it is there */
  if (g_strcmp0 (g_getenv ("SAFELIGHT_VIEW"), "upload") == 0)
    error = g_error_new_literal (ENG_ERROR, ENG_ERROR_DEVICE, "SAFELIGHT_VIEW is “upload”");
  else
    self->gl = eng_gl_view_new (self->engine, &error);
  if (self->gl)
    tell_view (self, _ ("previews stay on the GPU"), "");
  else
    tell_view (self, _ ("each preview is uploaded"), error->message);
  return self->gl != NULL;
}

static gboolean
next_frame (gpointer data, int *width, int *height)
{
  return eng_gl_view_next (((SlSession *) data)->gl, width, height);
}

static void
forget_texture (gpointer data, int live)
{
  eng_gl_view_forget (((SlSession *) data)->gl, (guint) live);
}

static void
close_source (gpointer data)
{
  SlSession *self = data;

  g_clear_pointer (&self->gl, eng_gl_view_free);
}

static gboolean
copy_frame (gpointer data, int live, guint texture)
{
  SlSession *self = data;
  g_autoptr (GError) error = NULL;

  if (eng_gl_view_copy (self->gl, (guint) live, texture, &error))
    return TRUE;
  close_source (self);
  tell_view (self, _ ("each preview is uploaded"), error->message);
  return FALSE;
}

const struct sl_gl_source *
sl_session_get_gl_source (void)
{
  static const struct sl_gl_source source = {
    .open = open_source,
    .next = next_frame,
    .copy = copy_frame,
    .forget = forget_texture,
    .close = close_source,
  };

  return &source;
}
