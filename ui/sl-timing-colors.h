/* ui/sl-timing-colors.h - the theme's colours for the parts of a picture's time: style.css and
 * style-dark.css name them. */
#pragma once

#include "ui/sl-timing.h"

#include <gtk/gtk.h>

void sl_timing_get_color (GtkWidget *widget, SlPart part, GdkRGBA *color);
void sl_timing_get_foreground (GtkWidget *widget, float alpha, GdkRGBA *color);
/* Black or white, whichever can be read on it. */
void sl_timing_get_contrast (const GdkRGBA *on, GdkRGBA *color);
