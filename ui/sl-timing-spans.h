/* ui/sl-timing-spans.h - a timing's spans as a table, a line each.
 *
 * Properties: timing (SlTiming; NULL: empty), span (which line is selected; G_MAXUINT: none). */
#pragma once

#include "ui/sl-timing.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define SL_TYPE_TIMING_SPANS (sl_timing_spans_get_type ())
G_DECLARE_FINAL_TYPE (SlTimingSpans, sl_timing_spans, SL, TIMING_SPANS, AdwBin)

G_END_DECLS
