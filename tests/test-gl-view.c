/* tests/test-gl-view.c - previews into textures, on a device whose OpenGL is made of memory. */
#include "engine/gl_view.h"

#include <string.h>

enum { WIDTH = 4, HEIGHT = 2, BYTES = WIDTH * HEIGHT * 4 };

struct krn_gl_texture {
  int width, height;
};

static struct {
  krn_status check, copy;
  guint registered;        /* textures */
  guint8 pixels[2][BYTES]; /* of textures named 7 and 8 */
  krn_gl_texture texture[2];
} gl;

static krn_status
fake_check (struct krn_device *device)
{
  return gl.check;
}

static krn_status
fake_register (struct krn_device *device, krn_gl_texture **texture, unsigned name, int width,
               int height)
{
  g_assert_true (name == 7 || name == 8);
  gl.registered++;
  *texture = &gl.texture[name - 7];
  **texture = (krn_gl_texture){ width, height };
  return KRN_OK;
}

static void
fake_unregister (krn_gl_texture *texture)
{
  gl.registered--;
}

static krn_status
fake_copy (krn_stream *stream, krn_gl_texture *texture, krn_tensor rgba)
{
  g_assert_cmpint (rgba.dim[2], ==, texture->width);
  g_assert_cmpint (rgba.dim[1], ==, texture->height);
  if (!gl.copy)
    memcpy (gl.pixels[texture - gl.texture], rgba.data, BYTES);
  return gl.copy;
}

struct fixture {
  struct krn_device *device; /* the CPU's, with OpenGL */
  krn_stream *stream;
  eng_preview *preview;
};

static void
set_up (struct fixture *f, gconstpointer data)
{
  g_autoptr (GError) error = NULL;

  memset (&gl, 0, sizeof gl);
  g_assert_cmpint (krn_cpu_open (&f->device, 1), ==, KRN_OK);
  g_assert_null (f->device->gl_check);
  f->preview = eng_preview_new (f->device, &error);
  g_assert_no_error (error);
  f->device->gl_check = fake_check;
  f->device->gl_register = fake_register;
  f->device->gl_unregister = fake_unregister;
  f->device->gl_copy = fake_copy;
  g_assert_cmpint (f->device->stream_new (f->device, &f->stream), ==, KRN_OK);
  eng_preview_reserve (f->preview, WIDTH, HEIGHT);
}

static void
tear_down (struct fixture *f, gconstpointer data)
{
  g_assert_cmpuint (gl.registered, ==, 0);
  eng_preview_free (f->preview);
  f->device->stream_free (f->stream);
  f->device->close (f->device);
}

/* A frame full of value; FALSE: left out. */
static gboolean
write_frame (struct fixture *f, int value)
{
  struct eng_preview_frame frame;

  g_usleep (9000); /* a reader is given a frame each 8 ms at most */
  if (!eng_preview_begin (f->preview, f->stream, WIDTH, HEIGHT, &frame))
    return FALSE;
  memset (frame.rgba.data, value, BYTES);
  g_assert_cmpint (eng_preview_end (f->preview, f->stream, f->stream, NULL, &frame), ==, KRN_OK);
  g_assert_true (frame.stays == (eng_preview_get_pixels (f->preview, &frame) == NULL));
  return TRUE;
}

static eng_gl_view *
open_view (struct fixture *f)
{
  g_autoptr (GError) error = NULL;
  eng_gl_view *view = eng_gl_view_open (f->device, f->preview, &error);

  g_assert_no_error (error);
  return view;
}

static void
test_copies_newest (struct fixture *f, gconstpointer data)
{
  eng_gl_view *view = open_view (f);
  g_autoptr (GError) error = NULL;
  int width, height;

  g_assert_false (eng_gl_view_next (view, &width, &height));
  g_assert_true (write_frame (f, 1));
  g_assert_true (write_frame (f, 2));
  g_assert_true (eng_gl_view_next (view, &width, &height));
  g_assert_cmpint (width, ==, WIDTH);
  g_assert_cmpint (height, ==, HEIGHT);
  g_assert_true (eng_gl_view_copy (view, 0, 7, &error));
  g_assert_no_error (error);
  g_assert_cmpint (gl.pixels[0][BYTES - 1], ==, 2);
  /* Nothing new; nothing was taken. */
  g_assert_false (eng_gl_view_next (view, &width, &height));
  g_assert_false (eng_gl_view_copy (view, 0, 7, &error));
  g_clear_error (&error);
  g_assert_true (write_frame (f, 3));
  g_assert_true (eng_gl_view_next (view, &width, &height));
  g_assert_true (eng_gl_view_copy (view, 1, 8, NULL));
  g_assert_cmpint (gl.pixels[1][0], ==, 3);
  g_assert_cmpuint (gl.registered, ==, 2);
  eng_gl_view_forget (view, 0);
  g_assert_cmpuint (gl.registered, ==, 1);
  eng_gl_view_free (view);
}

/* While one is held the writer has two others; the held one does not change. */
static void
test_holds_one (struct fixture *f, gconstpointer data)
{
  eng_gl_view *view = open_view (f);
  int width, height;

  g_assert_true (write_frame (f, 1));
  g_assert_true (eng_gl_view_next (view, &width, &height));
  for (int i = 2; i < 8; i++)
    g_assert_true (write_frame (f, i));
  g_assert_true (eng_gl_view_copy (view, 0, 7, NULL));
  g_assert_cmpint (gl.pixels[0][0], ==, 1);
  g_assert_true (eng_gl_view_next (view, &width, &height));
  g_assert_true (eng_gl_view_copy (view, 0, 7, NULL));
  g_assert_cmpint (gl.pixels[0][0], ==, 7);
  eng_gl_view_free (view);
}

static void
test_refused (struct fixture *f, gconstpointer data)
{
  g_autoptr (GError) none = NULL, other = NULL, broken = NULL;
  eng_gl_view *view;
  int width, height;

  f->device->gl_check = NULL;
  g_assert_null (eng_gl_view_open (f->device, f->preview, &none));
  g_assert_error (none, ENG_ERROR, ENG_ERROR_DEVICE);
  f->device->gl_check = fake_check;
  gl.check = KRN_ERROR_UNSUPPORTED;
  g_assert_null (eng_gl_view_open (f->device, f->preview, &other));
  g_assert_nonnull (strstr (other->message, "OpenGL does not run on"));
  gl.check = KRN_OK;
  view = open_view (f);
  gl.copy = KRN_ERROR_MEMORY;
  g_assert_true (write_frame (f, 1));
  g_assert_true (eng_gl_view_next (view, &width, &height));
  g_assert_false (eng_gl_view_copy (view, 0, 7, &broken));
  g_assert_error (broken, ENG_ERROR, ENG_ERROR_DEVICE);
  eng_gl_view_free (view);
  /* Without a reader frames come to the host again. */
  g_assert_true (write_frame (f, 2));
}

/* The engine takes the device away while the window holds a frame. */
static void
test_lost (struct fixture *f, gconstpointer data)
{
  eng_gl_view *view = open_view (f);
  g_autoptr (GError) error = NULL;
  int width, height;

  g_assert_true (write_frame (f, 1));
  g_assert_true (eng_gl_view_next (view, &width, &height));
  g_assert_true (eng_gl_view_copy (view, 0, 7, NULL));
  g_assert_true (write_frame (f, 2));
  g_assert_true (eng_gl_view_next (view, &width, &height));
  eng_gl_view_lose (eng_gl_view_ref (view));
  f->device->gl_copy = NULL; /* who calls it now falls */
  f->device->gl_unregister = NULL;
  gl.registered = 0; /* went with the device */
  g_assert_false (eng_gl_view_copy (view, 0, 7, &error));
  g_assert_cmpstr (error->message, ==, "the GPU was lost");
  g_assert_false (eng_gl_view_next (view, &width, &height));
  eng_gl_view_free (view);
  eng_gl_view_unref (view);
}

int
main (int argc, char **argv)
{
  const struct {
    const char *name;
    void (*func) (struct fixture *, gconstpointer);
  } tests[] = { { "/gl-view/copies-newest", test_copies_newest },
                { "/gl-view/holds-one", test_holds_one },
                { "/gl-view/refused", test_refused },
                { "/gl-view/lost", test_lost } };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].name, struct fixture, NULL, set_up, tests[i].func, tear_down);
  return g_test_run ();
}
