/* ui/sl-image-content.h - a picture for the clipboard and for dragging, encoded only when somebody
 * asks for it, on a worker: a PNG with its settings inside and, for dragging, a file. */
#pragma once

#include "ui/sl-result.h"

G_BEGIN_DECLS

#define SL_TYPE_IMAGE_CONTENT (sl_image_content_get_type ())
G_DECLARE_FINAL_TYPE (SlImageContent, sl_image_content, SL, IMAGE_CONTENT, GdkContentProvider)

GdkContentProvider *sl_image_content_new (SlResult *picture, gboolean as_file);
/* Removes the files that dragging left behind.  Blocking. */
void sl_image_content_clean (void);

G_END_DECLS
