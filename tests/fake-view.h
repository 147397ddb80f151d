/* tests/fake-view.h - eng_gl_view without a GPU: frames go into textures by glTexSubImage2D, so
 * that what the window does with previews that stay on the GPU is seen on any OpenGL. */
#pragma once

#include "engine/engine.h"

enum fake_view {
  FAKE_VIEW_NONE, /* eng_gl_view_new fails, as on the CPU: the default */
  FAKE_VIEW_WORKS,
  FAKE_VIEW_BREAKS /* the third copy fails, and all after it */
};

void fake_view_set (enum fake_view view);
/* The fake engine's thread: keeps a copy of the frame.  FALSE: no view is open. */
gboolean fake_view_take (const struct eng_frame *frame);
/* Since fake_view_set: copies that were made; views and textures that are still there. */
guint fake_view_get_copies (void);
guint fake_view_get_leaks (void);
