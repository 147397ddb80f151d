#include "ui/sl-gl-painter.h"

#include "ui/sl-gl-shader.h"
#include "ui/sl-pixels.h"

#include <epoxy/gl.h>
#include <gio/gio.h>
#include <math.h>

#define N_KEPT 4

enum { AS_IS, DECODED, N_FORMS }; /* decoded: sampling gives linear light; with mipmaps */

struct kept { /* a picture on the GPU */
  GdkTexture *picture;
  GLuint name[N_FORMS]; /* 0: not there */
  guint64 used;         /* the frame that used it last */
};

struct live {
  GLuint name;
  int width, height; /* 0: no storage yet */
};

struct sl_gl_painter {
  gboolean es;
  GLuint program, array;
  GLint max_size;
  struct kept kept[N_KEPT];
  struct live live[SL_GL_N_LIVE];
  guint64 frame, uploads;
  GLenum error;
};

/* ---- The program ---- */

static GLuint
compile (GLenum type, gboolean es, const char *source, GError **error)
{
  const char *parts[2] = { es ? "#version 300 es\nprecision highp float;\nprecision highp int;\n"
                                "precision highp sampler2D;\n"
                              : "#version 150\n",
                           source };
  GLuint shader = glCreateShader (type);
  GLint ok = GL_FALSE;
  char log[512] = "";

  glShaderSource (shader, 2, parts, NULL);
  glCompileShader (shader);
  glGetShaderiv (shader, GL_COMPILE_STATUS, &ok);
  if (ok)
    return shader;
  glGetShaderInfoLog (shader, sizeof log, NULL, log);
  g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "a shader does not compile: %s",
               g_strchomp (log));
  glDeleteShader (shader);
  return 0;
}

static GLuint
make_program (gboolean es, GError **error)
{
  GLuint program = 0, vertex, fragment = 0;
  GLint ok = GL_FALSE;
  char log[512] = "";

  vertex = compile (GL_VERTEX_SHADER, es, sl_gl_vertex_source, error);
  if (vertex)
    fragment = compile (GL_FRAGMENT_SHADER, es, sl_gl_fragment_source, error);
  if (fragment) {
    program = glCreateProgram ();
    glAttachShader (program, vertex);
    glAttachShader (program, fragment);
    glLinkProgram (program);
    glGetProgramiv (program, GL_LINK_STATUS, &ok);
    glGetProgramInfoLog (program, sizeof log, NULL, log);
  }
  glDeleteShader (vertex);
  glDeleteShader (fragment);
  if (program && !ok) {
    g_set_error (error, G_IO_ERROR, G_IO_ERROR_FAILED, "the shaders do not link: %s",
                 g_strchomp (log));
    glDeleteProgram (program);
    program = 0;
  }
  return program;
}

sl_gl_painter *
sl_gl_painter_new (gboolean es, GError **error)
{
  const GLuint program = make_program (es, error);
  sl_gl_painter *self;

  if (!program)
    return NULL;
  self = g_new0 (sl_gl_painter, 1);
  self->es = es;
  self->program = program;
  glGetIntegerv (GL_MAX_TEXTURE_SIZE, &self->max_size);
  glGenVertexArrays (1, &self->array);
  glUseProgram (program);
  glUniform1i (glGetUniformLocation (program, "image0"), 0);
  glUniform1i (glGetUniformLocation (program, "image1"), 1);
  return self;
}

static void
drop (struct kept *kept)
{
  glDeleteTextures (N_FORMS, kept->name);
  g_clear_object (&kept->picture);
  *kept = (struct kept){ 0 };
}

void
sl_gl_painter_free (sl_gl_painter *self)
{
  if (!self)
    return;
  for (int i = 0; i < N_KEPT; i++)
    drop (&self->kept[i]);
  for (int i = 0; i < SL_GL_N_LIVE; i++)
    glDeleteTextures (1, &self->live[i].name);
  glDeleteVertexArrays (1, &self->array);
  glDeleteProgram (self->program);
  g_free (self);
}

/* ---- Textures ---- */

static GLuint
make_texture (GLenum minify)
{
  GLuint name;

  glGenTextures (1, &name);
  glBindTexture (GL_TEXTURE_2D, name);
  glTexParameteri (GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, (GLint) minify);
  glTexParameteri (GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, GL_LINEAR);
  glTexParameteri (GL_TEXTURE_2D, GL_TEXTURE_WRAP_S, GL_CLAMP_TO_EDGE);
  glTexParameteri (GL_TEXTURE_2D, GL_TEXTURE_WRAP_T, GL_CLAMP_TO_EDGE);
  return name;
}

static GLuint
upload (sl_gl_painter *self, GdkTexture *picture, int form)
{
  const int width = gdk_texture_get_width (picture), height = gdk_texture_get_height (picture);
  g_autoptr (GBytes) pixels = sl_pixels_ref (picture);
  const GLuint name = make_texture (form == DECODED ? GL_LINEAR_MIPMAP_LINEAR : GL_LINEAR);

  glPixelStorei (GL_UNPACK_ALIGNMENT, 4);
  glPixelStorei (GL_UNPACK_ROW_LENGTH, 0);
  glTexImage2D (GL_TEXTURE_2D, 0, form == DECODED ? GL_SRGB8_ALPHA8 : GL_RGBA8, width, height, 0,
                GL_RGBA, GL_UNSIGNED_BYTE, g_bytes_get_data (pixels, NULL));
  if (form == DECODED)
    glGenerateMipmap (GL_TEXTURE_2D);
  self->uploads++;
  return name;
}

static GLuint
find_texture (sl_gl_painter *self, GdkTexture *picture, int form)
{
  struct kept *kept = &self->kept[0];

  for (int i = 0; i < N_KEPT; i++) {
    if (self->kept[i].picture == picture) {
      kept = &self->kept[i];
      break;
    }
    if (self->kept[i].used < kept->used)
      kept = &self->kept[i];
  }
  if (kept->picture != picture) {
    drop (kept);
    kept->picture = g_object_ref (picture);
  }
  kept->used = self->frame;
  if (!kept->name[form])
    kept->name[form] = upload (self, picture, form);
  return kept->name[form];
}

guint
sl_gl_painter_get_live (sl_gl_painter *self, int live)
{
  return self->live[live].name;
}

gboolean
sl_gl_painter_live_fits (sl_gl_painter *self, int live, int width, int height)
{
  return self->live[live].width == width && self->live[live].height == height;
}

void
sl_gl_painter_resize_live (sl_gl_painter *self, int live, int width, int height)
{
  struct live *texture = &self->live[live];

  glDeleteTextures (1, &texture->name);
  texture->name = make_texture (GL_LINEAR);
  texture->width = width;
  texture->height = height;
  glTexImage2D (GL_TEXTURE_2D, 0, GL_RGBA8, width, height, 0, GL_RGBA, GL_UNSIGNED_BYTE, NULL);
}

GdkTexture *
sl_gl_painter_read_live (sl_gl_painter *self, int live)
{
  const struct live *texture = &self->live[live];
  const gsize size = (gsize) texture->width * texture->height * 4;
  g_autoptr (GBytes) pixels = NULL;
  GLuint buffer;
  GLint bound;
  void *data;

  if (!texture->width)
    return NULL;
  /* Through a framebuffer: OpenGL ES cannot read a texture. */
  data = g_malloc (size);
  glGetIntegerv (GL_FRAMEBUFFER_BINDING, &bound);
  glGenFramebuffers (1, &buffer);
  glBindFramebuffer (GL_FRAMEBUFFER, buffer);
  glFramebufferTexture2D (GL_FRAMEBUFFER, GL_COLOR_ATTACHMENT0, GL_TEXTURE_2D, texture->name, 0);
  glPixelStorei (GL_PACK_ALIGNMENT, 4);
  glReadPixels (0, 0, texture->width, texture->height, GL_RGBA, GL_UNSIGNED_BYTE, data);
  glBindFramebuffer (GL_FRAMEBUFFER, (GLuint) bound);
  glDeleteFramebuffers (1, &buffer);
  pixels = g_bytes_new_take (data, size);
  return sl_pixels_texture_new (pixels, texture->width, texture->height);
}

/* ---- Drawing ---- */

enum { BLANK, TEXELS, ENLARGED, REDUCED };

struct bound { /* a layer as the shader gets it */
  int how;
  GLuint texture;
  float bc[2];
};

static struct bound
bind_layer (sl_gl_painter *self, const struct sl_gl_layer *layer)
{
  struct bound b = { .how = BLANK };
  int width = 0, height = 0;

  if (layer->texture) {
    width = gdk_texture_get_width (layer->texture);
    height = gdk_texture_get_height (layer->texture);
  } else if (layer->live) {
    width = self->live[layer->live - 1].width;
    height = self->live[layer->live - 1].height;
  }
  if (width == 0 || MAX (width, height) > self->max_size)
    return b;

  if (layer->width == (float) width && layer->height == (float) height)
    b.how = TEXELS;
  else if (layer->width < (float) width && layer->texture)
    b.how = REDUCED;
  else
    b.how = ENLARGED;
  b.texture = layer->texture
                  ? find_texture (self, layer->texture, b.how == REDUCED ? DECODED : AS_IS)
                  : self->live[layer->live - 1].name;
  /* Mitchell's own choice is soft, and does not ring round what a preview only hints at.  A
   * picture keeps its edges (Catmull and Rom's), and at 1:1 nothing jumps. */
  b.bc[0] = layer->soft ? 1 / 3.f : 0;
  b.bc[1] = layer->soft ? 1 / 3.f : .5f;
  return b;
}

static void
set_layer (sl_gl_painter *self, int i, const struct sl_gl_layer *layer, const struct bound *b)
{
  static const char *const names[2][3] = { { "rect0", "how0", "bc0" }, { "rect1", "how1", "bc1" } };
  const GLuint program = self->program;

  glUniform4f (glGetUniformLocation (program, names[i][0]), layer->x, layer->y, layer->width,
               layer->height);
  glUniform1i (glGetUniformLocation (program, names[i][1]), b->how);
  glUniform2f (glGetUniformLocation (program, names[i][2]), b->bc[0], b->bc[1]);
  glActiveTexture (i ? GL_TEXTURE1 : GL_TEXTURE0);
  glBindTexture (GL_TEXTURE_2D, b->texture);
}

void
sl_gl_painter_draw (sl_gl_painter *self, const struct sl_gl_scene *scene, int width, int height)
{
  const gboolean both = scene->mix < 1 || scene->split > 0;
  struct bound now, before = { 0 };
  GLenum error;

  self->frame++;
  now = bind_layer (self, &scene->now);
  if (both)
    before = bind_layer (self, &scene->before);

  glViewport (0, 0, width, height);
  glClearColor (0, 0, 0, 0);
  glClear (GL_COLOR_BUFFER_BIT);
  glDisable (GL_BLEND);
  glDisable (GL_DEPTH_TEST);
  glDisable (GL_SCISSOR_TEST);
  glUseProgram (self->program);
  glUniform1f (glGetUniformLocation (self->program, "height"), (float) height);
  glUniform1f (glGetUniformLocation (self->program, "mix_now"), both ? scene->mix : 1);
  glUniform1f (glGetUniformLocation (self->program, "split"), scene->split);
  glUniform1f (glGetUniformLocation (self->program, "radius"), scene->radius);
  glUniform4fv (glGetUniformLocation (self->program, "paper"), 1, scene->paper);
  set_layer (self, 1, &scene->before, &before);
  set_layer (self, 0, &scene->now, &now);
  glBindVertexArray (self->array);
  if (scene->now.width > 0)
    glDrawArrays (GL_TRIANGLES, 0, 3);
  glBindVertexArray (0);
  glUseProgram (0);

  error = SL_CHECK_GL ? glGetError () : GL_NO_ERROR;
  if (error != GL_NO_ERROR) {
    self->error = self->error ? self->error : error;
    g_warning ("OpenGL error 0x%x while drawing", error);
  }
}

guint64
sl_gl_painter_get_uploads (sl_gl_painter *self)
{
  return self->uploads;
}

guint
sl_gl_painter_get_error (sl_gl_painter *self)
{
  return self->error;
}
