#include "tests/fake-view.h"

#include <epoxy/gl.h>

struct eng_gl_view {
  guint registered[ENG_GL_VIEW_TEXTURES]; /* names; 0: none */
  guint64 seen;
};

static struct {
  GMutex mutex;
  enum fake_view view;
  guint open, copies, textures;
  int width, height;
  GBytes *frame;
  guint64 serial;
} fake;

void
fake_view_set (enum fake_view view)
{
  fake.view = view;
  fake.copies = 0;
}

gboolean
fake_view_take (const struct eng_frame *frame)
{
  gboolean open;

  g_mutex_lock (&fake.mutex);
  open = fake.open > 0;
  if (open) {
    g_clear_pointer (&fake.frame, g_bytes_unref);
    fake.frame = g_bytes_new (frame->rgba, (gsize) frame->width * frame->height * 4);
    fake.width = frame->width;
    fake.height = frame->height;
    fake.serial++;
  }
  g_mutex_unlock (&fake.mutex);
  return open;
}

guint
fake_view_get_copies (void)
{
  return fake.copies;
}

guint
fake_view_get_leaks (void)
{
  return fake.open + fake.textures;
}

eng_gl_view *
eng_gl_view_new (eng_engine *engine, GError **error)
{
  if (fake.view == FAKE_VIEW_NONE) {
    g_set_error_literal (error, ENG_ERROR, ENG_ERROR_DEVICE, "the fake engine has no GPU");
    return NULL;
  }
  g_mutex_lock (&fake.mutex);
  fake.open++;
  g_mutex_unlock (&fake.mutex);
  return g_new0 (eng_gl_view, 1);
}

void
eng_gl_view_free (eng_gl_view *view)
{
  if (!view)
    return;
  for (guint i = 0; i < ENG_GL_VIEW_TEXTURES; i++)
    eng_gl_view_forget (view, i);
  g_mutex_lock (&fake.mutex);
  fake.open--;
  g_clear_pointer (&fake.frame, g_bytes_unref);
  g_mutex_unlock (&fake.mutex);
  g_free (view);
}

gboolean
eng_gl_view_next (eng_gl_view *view, int *width, int *height)
{
  gboolean newer;

  g_mutex_lock (&fake.mutex);
  newer = fake.frame && fake.serial > view->seen;
  *width = fake.width;
  *height = fake.height;
  g_mutex_unlock (&fake.mutex);
  return newer;
}

gboolean
eng_gl_view_copy (eng_gl_view *view, guint slot, guint texture, GError **error)
{
  if (fake.view == FAKE_VIEW_BREAKS && fake.copies == 2) {
    g_set_error_literal (error, ENG_ERROR, ENG_ERROR_DEVICE, "the fake GPU fell off its bus");
    return FALSE;
  }
  /* As CUDA would: a texture whose storage changed behind its back is lost. */
  g_assert_true (!view->registered[slot] || view->registered[slot] == texture);
  g_assert_true (glIsTexture (texture));
  fake.textures += !view->registered[slot];
  view->registered[slot] = texture;
  g_mutex_lock (&fake.mutex);
  glBindTexture (GL_TEXTURE_2D, texture);
  glTexSubImage2D (GL_TEXTURE_2D, 0, 0, 0, fake.width, fake.height, GL_RGBA, GL_UNSIGNED_BYTE,
                   g_bytes_get_data (fake.frame, NULL));
  view->seen = fake.serial;
  g_mutex_unlock (&fake.mutex);
  fake.copies++;
  return TRUE;
}

void
eng_gl_view_forget (eng_gl_view *view, guint slot)
{
  fake.textures -= view->registered[slot] != 0;
  view->registered[slot] = 0;
}
