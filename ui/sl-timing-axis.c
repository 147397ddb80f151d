#include "ui/sl-timing-axis.h"

#include <math.h>

#define SHORTEST 0.01 /* in view at once: a tenth of the shortest kernel */

static void
set_view (struct sl_axis *axis, double start, double length)
{
  length = CLAMP (length, MIN (SHORTEST, axis->extent), axis->extent);
  axis->start = CLAMP (start, 0, axis->extent - length);
  axis->end = axis->start + length;
}

void
sl_axis_set_extent (struct sl_axis *axis, double extent)
{
  axis->extent = MAX (extent, SHORTEST);
  if (axis->fit)
    sl_axis_fit (axis);
  else
    set_view (axis, axis->start, axis->end - axis->start);
}

void
sl_axis_fit (struct sl_axis *axis)
{
  axis->fit = TRUE;
  axis->start = 0;
  axis->end = axis->extent;
}

void
sl_axis_zoom (struct sl_axis *axis, double factor, double at)
{
  const double length = (axis->end - axis->start) / factor;
  const double part = (at - axis->start) / (axis->end - axis->start);

  axis->fit = length >= axis->extent;
  set_view (axis, at - part * length, length);
}

void
sl_axis_pan (struct sl_axis *axis, double by)
{
  if (!axis->fit)
    set_view (axis, axis->start + by, axis->end - axis->start);
}

void
sl_axis_show (struct sl_axis *axis, double start, double end)
{
  if (end > axis->end)
    sl_axis_pan (axis, end - axis->end);
  if (start < axis->start)
    sl_axis_pan (axis, start - axis->start);
}

double
sl_axis_to_x (const struct sl_axis *axis, double at, double width)
{
  return (at - axis->start) / (axis->end - axis->start) * width;
}

double
sl_axis_to_time (const struct sl_axis *axis, double x, double width)
{
  return axis->start + x / MAX (width, 1) * (axis->end - axis->start);
}

double
sl_axis_get_tick (const struct sl_axis *axis, double width, double apart)
{
  const double least = (axis->end - axis->start) * apart / MAX (width, 1);
  const double power = pow (10, floor (log10 (least)));

  if (least <= power)
    return power;
  if (least <= 2 * power)
    return 2 * power;
  return least <= 5 * power ? 5 * power : 10 * power;
}
