/* ui/sl-timing-numbers.h - a small table of names and values. */
#pragma once

#include "ui/sl-timing-text.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define SL_TYPE_TIMING_NUMBERS (sl_timing_numbers_get_type ())
G_DECLARE_FINAL_TYPE (SlTimingNumbers, sl_timing_numbers, SL, TIMING_NUMBERS, AdwBin)

/* An array of struct sl_number; NULL: empty.  Rows that are there already only change their words,
 * so what is focused or read aloud stays. */
void sl_timing_numbers_set (SlTimingNumbers *self, GArray *numbers);
/* What stands beside a name; NULL: no such row.  Borrowed. */
const char *sl_timing_numbers_get (SlTimingNumbers *self, const char *name);

G_END_DECLS
