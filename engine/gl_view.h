/* engine/gl_view.h - the newest preview, copied into textures of OpenGL's on the device.
 *
 * The window's side of eng_gl_view_* in engine/engine.h, without the engine. */
#pragma once

#include "engine/engine.h"
#include "engine/preview.h"

/* Both are borrowed, until lose.  The context must be current.  While the view is open, frames are
 * not brought to the host. */
eng_gl_view *eng_gl_view_open (struct krn_device *device, eng_preview *preview, GError **error);
/* Any thread: device and ring are about to go.  The view then has no frames and its copies fail.
 * Textures that are still registered go with the device's context: only the thread of OpenGL's
 * could give them back. */
void eng_gl_view_lose (eng_gl_view *view);
eng_gl_view *eng_gl_view_ref (eng_gl_view *view);
void eng_gl_view_unref (eng_gl_view *view);
