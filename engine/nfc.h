/* engine/nfc.h - Unicode's normal form C.
 *
 * GLib's own stops at NUL and takes quadratic time over a long run of combining marks. */
#pragma once

#include <glib.h>

/* Appends the normal form of length bytes of valid UTF-8, which may hold NUL. */
void eng_nfc_append (GString *to, const char *text, gsize length);
