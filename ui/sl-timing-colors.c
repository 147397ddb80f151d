#include "ui/sl-timing-colors.h"

void
sl_timing_get_foreground (GtkWidget *widget, float alpha, GdkRGBA *color)
{
  gtk_style_context_get_color (gtk_widget_get_style_context (widget), color);
  color->alpha *= alpha;
}

void
sl_timing_get_color (GtkWidget *widget, SlPart part, GdkRGBA *color)
{
  static const char *const names[SL_N_PARTS] = {
    "timing_text_color",    "timing_prepare_color", "timing_step_color",
    "timing_preview_color", "timing_decode_color",  "timing_copy_color",
    "timing_host_color",    "timing_png_color",     "timing_other_color",
  };

  if (!gtk_style_context_lookup_color (gtk_widget_get_style_context (widget), names[part], color))
    sl_timing_get_foreground (widget, .6f, color);
}

void
sl_timing_get_contrast (const GdkRGBA *on, GdkRGBA *color)
{
  const float luma = .299f * on->red + .587f * on->green + .114f * on->blue;

  *color = luma > .45f ? (GdkRGBA){ 0, 0, 0, .87f } : (GdkRGBA){ 1, 1, 1, 1 };
}
