#include "engine/gl_view.h"

struct eng_gl_view {
  gatomicrefcount refs; /* the window's and the engine's */

  GMutex mutex;              /* of all below: the engine's thread takes the device away */
  struct krn_device *device; /* borrowed; NULL: gone */
  eng_preview *preview;      /* borrowed */
  krn_stream *stream;        /* owned */
  krn_gl_texture *textures[ENG_GL_VIEW_TEXTURES]; /* owned; NULL: not registered */
  struct eng_preview_frame frame;                 /* held when taken */
  gboolean taken;
  guint64 seen; /* serial of the last frame that was copied */
};

static gboolean
check (struct krn_device *device, krn_status status, const char *what, GError **error)
{
  if (!status)
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE, "%s: %s: %s", device->name, what,
               device->status_text (device, status));
  return FALSE;
}

eng_gl_view *
eng_gl_view_open (struct krn_device *device, eng_preview *preview, GError **error)
{
  eng_gl_view *view;
  krn_stream *stream;
  krn_status status;

  if (!device->gl_check) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE, "%s: its frames are in the host's memory",
                 device->name);
    return NULL;
  }
  status = device->gl_check (device);
  if (status) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE, "OpenGL does not run on %s%s%s", device->name,
                 status > 0 ? ": " : "", status > 0 ? device->status_text (device, status) : "");
    return NULL;
  }
  if (!check (device, device->stream_new (device, &stream), "no stream for the view", error))
    return NULL;
  view = g_new0 (eng_gl_view, 1);
  g_atomic_ref_count_init (&view->refs);
  g_mutex_init (&view->mutex);
  view->device = device;
  view->preview = preview;
  view->stream = stream;
  eng_preview_set_reader (preview, TRUE);
  return view;
}

static void
give_back (eng_gl_view *view)
{
  if (view->taken)
    eng_preview_release (view->preview, &view->frame);
  view->taken = FALSE;
}

eng_gl_view *
eng_gl_view_ref (eng_gl_view *view)
{
  g_atomic_ref_count_inc (&view->refs);
  return view;
}

void
eng_gl_view_unref (eng_gl_view *view)
{
  if (!g_atomic_ref_count_dec (&view->refs))
    return;
  g_mutex_clear (&view->mutex);
  g_free (view);
}

/* With the mutex held. */
static void
forget (eng_gl_view *view, guint slot)
{
  if (view->textures[slot] && view->device)
    view->device->gl_unregister (view->textures[slot]);
  view->textures[slot] = NULL;
}

void
eng_gl_view_lose (eng_gl_view *view)
{
  g_mutex_lock (&view->mutex);
  if (view->device) {
    give_back (view);
    eng_preview_set_reader (view->preview, FALSE);
    view->device->stream_free (view->stream);
    view->device = NULL;
  }
  g_mutex_unlock (&view->mutex);
}

void
eng_gl_view_free (eng_gl_view *view)
{
  if (!view)
    return;
  g_mutex_lock (&view->mutex);
  for (guint i = 0; i < ENG_GL_VIEW_TEXTURES; i++)
    forget (view, i);
  g_mutex_unlock (&view->mutex);
  eng_gl_view_lose (view);
  eng_gl_view_unref (view);
}

gboolean
eng_gl_view_next (eng_gl_view *view, int *width, int *height)
{
  gboolean taken = FALSE;

  g_mutex_lock (&view->mutex);
  if (view->device) {
    give_back (view);
    taken = view->taken = eng_preview_acquire (view->preview, view->seen, &view->frame);
  }
  if (taken) {
    *height = (int) view->frame.rgba.dim[1];
    *width = (int) view->frame.rgba.dim[2];
  }
  g_mutex_unlock (&view->mutex);
  return taken;
}

/* With the mutex held, the device there and a frame taken. */
static krn_status
copy (eng_gl_view *view, guint slot, guint name)
{
  struct krn_device *device = view->device;
  const krn_tensor rgba = view->frame.rgba;
  krn_gl_texture **texture = &view->textures[slot];
  krn_status status = KRN_OK, released;

  if (!*texture)
    status = device->gl_register (device, texture, name, (int) rgba.dim[2], (int) rgba.dim[1]);
  status = status ? status : device->event_wait (view->stream, view->frame.ready);
  if (status)
    return status;
  status = device->gl_copy (view->stream, *texture, rgba);
  /* Also after a failure: what did get on the stream may read the frame. */
  released = device->event_record (view->stream, view->frame.released);
  return status ? status : released;
}

gboolean
eng_gl_view_copy (eng_gl_view *view, guint slot, guint name, GError **error)
{
  gboolean done = FALSE;

  g_return_val_if_fail (slot < ENG_GL_VIEW_TEXTURES, FALSE);

  g_mutex_lock (&view->mutex);
  if (!view->device)
    g_set_error_literal (error, ENG_ERROR, ENG_ERROR_DEVICE, "the GPU was lost");
  else if (!view->taken)
    g_set_error_literal (error, ENG_ERROR, ENG_ERROR_DEVICE, "there is no preview to copy");
  else {
    done = check (view->device, copy (view, slot, name),
                  "a preview cannot be copied into a texture", error);
    view->seen = view->frame.serial;
    give_back (view);
  }
  g_mutex_unlock (&view->mutex);
  return done;
}

void
eng_gl_view_forget (eng_gl_view *view, guint slot)
{
  g_return_if_fail (slot < ENG_GL_VIEW_TEXTURES);

  g_mutex_lock (&view->mutex);
  forget (view, slot);
  g_mutex_unlock (&view->mutex);
}
