/* ui/sl-pixels.h - a GdkTexture whose pixels can be had again without a copy. */
#pragma once

#include <gdk/gdk.h>

/* pixels: [height, width, 4], sRGB, alpha 255; a reference is kept. */
GdkTexture *sl_pixels_texture_new (GBytes *pixels, int width, int height);
/* Of any texture: those it was made of, else a copy in the same layout. */
GBytes *sl_pixels_ref (GdkTexture *texture);
