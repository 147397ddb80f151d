/* ui/sl-size-row.h - a picture's width and height, with the common aspects one click away.
 *
 * Properties: width, height (pixels, multiples of multiple), multiple. */
#pragma once

#include <adwaita.h>

G_BEGIN_DECLS

#define SL_TYPE_SIZE_ROW (sl_size_row_get_type ())
G_DECLARE_FINAL_TYPE (SlSizeRow, sl_size_row, SL, SIZE_ROW, AdwBin)

/* The size near the area of width x height (pixels) whose aspect is nearest to x : y; both sides
 * are multiples of multiple. */
void sl_size_for_aspect (int x, int y, int multiple, int *width, int *height);

G_END_DECLS
