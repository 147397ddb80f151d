#include "ui/sl-timing-drawing.h"

#include "ui/sl-timing-colors.h"
#include "ui/sl-timing-text.h"

#include <math.h>
#include <string.h>

#define AXIS_HEIGHT 20
#define LANE_MIN 15
#define LANE_NATURAL 24
#define LANE_MAX 32
#define MARGIN 6      /* beside the lanes' names */
#define TICK_APART 72 /* pixels */

void
sl_drawing_init (struct sl_drawing *self, GtkWidget *widget, const sl_lanes *lanes,
                 const struct sl_axis *axis)
{
  *self = (struct sl_drawing){ .widget = widget, .lanes = lanes, .axis = axis };
  self->blocks = g_array_new (FALSE, FALSE, sizeof (struct sl_block));
}

void
sl_drawing_clear (struct sl_drawing *self)
{
  g_array_unref (self->blocks);
  g_clear_object (&self->layout);
}

void
sl_drawing_forget_font (struct sl_drawing *self)
{
  g_clear_object (&self->layout);
}

void
sl_drawing_measure (GtkOrientation orientation, int *minimum, int *natural)
{
  const gboolean vertical = orientation == GTK_ORIENTATION_VERTICAL;

  *minimum = vertical ? AXIS_HEIGHT + SL_N_LANES * LANE_MIN : 160;
  *natural = vertical ? AXIS_HEIGHT + SL_N_LANES * LANE_NATURAL : 400;
}

double
sl_drawing_get_width (const struct sl_drawing *self)
{
  return MAX (1, gtk_widget_get_width (self->widget) - self->names_width - MARGIN);
}

void
sl_drawing_get_lane (const struct sl_drawing *self, SlLane lane, double *y, double *height)
{
  const double room = gtk_widget_get_height (self->widget) - AXIS_HEIGHT;
  const double each = floor (CLAMP (room / SL_N_LANES, LANE_MIN, LANE_MAX));

  *y = AXIS_HEIGHT + lane * each + 1;
  *height = each - 3;
}

static void
draw_text (struct sl_drawing *self, GtkSnapshot *snapshot, const graphene_point_t *at,
           const GdkRGBA *color)
{
  gtk_snapshot_save (snapshot);
  gtk_snapshot_translate (snapshot, at);
  gtk_snapshot_append_layout (snapshot, self->layout, color);
  gtk_snapshot_restore (snapshot);
}

static void
draw_axis (struct sl_drawing *self, GtkSnapshot *snapshot)
{
  const double width = sl_drawing_get_width (self);
  const double height = gtk_widget_get_height (self->widget);
  const double tick = sl_axis_get_tick (self->axis, width, TICK_APART);
  const int decimals = tick >= 1 ? 0 : (int) ceil (-log10 (tick) - 1e-9);
  GdkRGBA line, text;

  sl_timing_get_foreground (self->widget, .12f, &line);
  sl_timing_get_foreground (self->widget, .6f, &text);
  for (double i = ceil (self->axis->start / tick - 1e-9) + 0.; i * tick <= self->axis->end; i++) {
    const double x = round (self->names_width + sl_axis_to_x (self->axis, i * tick, width));
    g_autofree char *label = g_strdup_printf ("%.*f ms", decimals, i * tick);
    int text_width, text_height;

    gtk_snapshot_append_color (
        snapshot, &line,
        &GRAPHENE_RECT_INIT ((float) x, AXIS_HEIGHT - 4, 1, (float) height - AXIS_HEIGHT + 4));
    pango_layout_set_text (self->layout, label, -1);
    pango_layout_get_pixel_size (self->layout, &text_width, &text_height);
    if (x + 4 + text_width <= self->names_width + width + MARGIN)
      draw_text (self, snapshot,
                 &GRAPHENE_POINT_INIT ((float) x + 4, (float) (AXIS_HEIGHT - text_height) / 2),
                 &text);
  }
}

static void
draw_name (struct sl_drawing *self, GtkSnapshot *snapshot, SlLane lane)
{
  const gboolean used = sl_lanes_get_n (self->lanes, lane) > 0;
  double y, height;
  int text_height;
  GdkRGBA color;

  sl_drawing_get_lane (self, lane, &y, &height);
  sl_timing_get_foreground (self->widget, used ? .9f : .5f, &color);
  pango_layout_set_text (self->layout, sl_lane_get_label (lane), -1);
  pango_layout_get_pixel_size (self->layout, NULL, &text_height);
  draw_text (self, snapshot,
             &GRAPHENE_POINT_INIT (MARGIN, (float) round (y + (height - text_height) / 2)), &color);
}

/* The span's name, or its number alone, where it has room. */
static void
draw_label (struct sl_drawing *self, GtkSnapshot *snapshot, const struct sl_span *span,
            const graphene_rect_t *rect, const GdkRGBA *color)
{
  g_autofree char *label = sl_span_dup_label (span);
  const char *const texts[] = { label, strrchr (span->name, ' ') };
  GdkRGBA contrast;

  sl_timing_get_contrast (color, &contrast);
  for (guint i = 0; i < G_N_ELEMENTS (texts) && texts[i]; i++) {
    int width, height;

    pango_layout_set_text (self->layout, i ? texts[i] + 1 : texts[i], -1);
    pango_layout_get_pixel_size (self->layout, &width, &height);
    if (width + 6 > rect->size.width || height > rect->size.height + 4)
      continue;
    draw_text (
        self, snapshot,
        &GRAPHENE_POINT_INIT (roundf (rect->origin.x + (rect->size.width - (float) width) / 2),
                              roundf (rect->origin.y + (rect->size.height - (float) height) / 2)),
        &contrast);
    return;
  }
}

static void
draw_lane (struct sl_drawing *self, GtkSnapshot *snapshot, SlLane lane)
{
  const double scale = gtk_widget_get_scale_factor (self->widget);
  const double width = sl_drawing_get_width (self);
  double y, height;
  GdkRGBA track;

  sl_drawing_get_lane (self, lane, &y, &height);
  sl_timing_get_foreground (self->widget, .06f, &track);
  gtk_snapshot_append_color (
      snapshot, &track,
      &GRAPHENE_RECT_INIT ((float) self->names_width, (float) y, (float) width, (float) height));

  g_array_set_size (self->blocks, 0);
  sl_lanes_merge (self->lanes, lane, self->axis, (int) (width * scale), self->blocks);
  for (guint i = 0; i < self->blocks->len; i++) {
    const struct sl_block *block = &g_array_index (self->blocks, struct sl_block, i);
    const graphene_rect_t rect =
        GRAPHENE_RECT_INIT ((float) (self->names_width + block->x0 / scale), (float) y,
                            (float) ((block->x1 - block->x0) / scale), (float) height);
    GdkRGBA color;

    sl_timing_get_color (self->widget, block->part, &color);
    color.alpha *= (float) (.35 + .65 * block->coverage);
    gtk_snapshot_append_color (snapshot, &color, &rect);
    if (block->n == 1 && rect.size.width > 12)
      draw_label (self, snapshot, sl_lanes_get (self->lanes, lane, block->first), &rect, &color);
  }
}

static void
draw_mark (struct sl_drawing *self, GtkSnapshot *snapshot, const struct sl_place *place,
           float alpha)
{
  const struct sl_span *span = sl_lanes_get_at (self->lanes, place);
  const double width = sl_drawing_get_width (self);
  double y, height, x0, x1;
  GskRoundedRect outline;
  GdkRGBA color;

  if (!span)
    return;
  sl_drawing_get_lane (self, place->lane, &y, &height);
  x0 = floor (self->names_width + sl_axis_to_x (self->axis, span->start, width));
  x1 = ceil (self->names_width + sl_axis_to_x (self->axis, span->end, width));
  x0 = CLAMP (x0, self->names_width - 10, self->names_width + width + 10);
  x1 = CLAMP (MAX (x1, x0 + 3), self->names_width - 10, self->names_width + width + 10);
  sl_timing_get_foreground (self->widget, alpha, &color);
  gsk_rounded_rect_init_from_rect (&outline,
                                   &GRAPHENE_RECT_INIT ((float) x0 - 1, (float) y - 1,
                                                        (float) (x1 - x0) + 2, (float) height + 2),
                                   2);
  gtk_snapshot_append_border (snapshot, &outline, (const float[4]){ 2, 2, 2, 2 },
                              (const GdkRGBA[4]){ color, color, color, color });
}

/* Up to where a running picture has come. */
static void
draw_now (struct sl_drawing *self, GtkSnapshot *snapshot, double now)
{
  const double height = gtk_widget_get_height (self->widget);
  const double x = self->names_width + sl_axis_to_x (self->axis, now, sl_drawing_get_width (self));
  GdkRGBA color;

  sl_timing_get_color (self->widget, SL_PART_STEPS, &color);
  gtk_snapshot_append_color (snapshot, &color,
                             &GRAPHENE_RECT_INIT ((float) round (x), AXIS_HEIGHT - 6, 2,
                                                  (float) height - AXIS_HEIGHT + 6));
}

static void
prepare_text (struct sl_drawing *self)
{
  if (self->layout)
    return;
  self->layout = gtk_widget_create_pango_layout (self->widget, NULL);
  self->names_width = 0;
  for (int lane = 0; lane < SL_N_LANES; lane++) {
    int width;

    pango_layout_set_text (self->layout, sl_lane_get_label (lane), -1);
    pango_layout_get_pixel_size (self->layout, &width, NULL);
    self->names_width = MAX (self->names_width, width + 2 * MARGIN);
  }
}

void
sl_drawing_snapshot (struct sl_drawing *self, GtkSnapshot *snapshot, const struct sl_marks *marks)
{
  const float height = (float) gtk_widget_get_height (self->widget);

  prepare_text (self);
  draw_axis (self, snapshot);
  for (int lane = 0; lane < SL_N_LANES; lane++)
    draw_name (self, snapshot, lane);
  gtk_snapshot_push_clip (snapshot,
                          &GRAPHENE_RECT_INIT ((float) self->names_width, 0,
                                               (float) sl_drawing_get_width (self), height));
  for (int lane = 0; lane < SL_N_LANES; lane++)
    draw_lane (self, snapshot, lane);
  if (marks->now >= 0)
    draw_now (self, snapshot, marks->now);
  draw_mark (self, snapshot, &marks->hovered, .45f);
  draw_mark (self, snapshot, &marks->chosen, .9f);
  gtk_snapshot_pop (snapshot);
}
