#include "ui/sl-pixels.h"

#define KEY "sl-pixels"

GdkTexture *
sl_pixels_texture_new (GBytes *pixels, int width, int height)
{
  GdkTexture *texture = gdk_memory_texture_new (width, height, GDK_MEMORY_R8G8B8A8_PREMULTIPLIED,
                                                pixels, (gsize) width * 4);

  g_object_set_data_full (G_OBJECT (texture), KEY, g_bytes_ref (pixels),
                          (GDestroyNotify) g_bytes_unref);
  return texture;
}

GBytes *
sl_pixels_ref (GdkTexture *texture)
{
  const int width = gdk_texture_get_width (texture), height = gdk_texture_get_height (texture);
  GBytes *pixels = g_object_get_data (G_OBJECT (texture), KEY);
  const gsize n = (gsize) width * height;
  guint32 *data;

  if (pixels)
    return g_bytes_ref (pixels);
  /* Cairo's layout: 0xAARRGGBB in the machine's order. */
  data = g_new (guint32, n);
  gdk_texture_download (texture, (guchar *) data, (gsize) width * 4);
  for (gsize i = 0; i < n; i++) {
    const guint32 p = data[i];
    const guint8 rgba[4] = { (guint8) (p >> 16), (guint8) (p >> 8), (guint8) p,
                             (guint8) (p >> 24) };

    memcpy (&data[i], rgba, sizeof rgba);
  }
  return g_bytes_new_take (data, n * 4);
}
