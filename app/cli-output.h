/* app/cli-output.h - file names by pattern, the progress line, and what is printed of a picture. */
#pragma once

#include "engine/engine.h"

#include <stdio.h>

/* pattern with its one %d (or %03d: any width to 99) replaced by number.  Without one: pattern
 * itself when count is 1, else with "-" and the number before the ending.  "%%" is a percent sign.
 * NULL and error for any other use of %.  The caller frees it. */
char *cli_expand_name (const char *pattern, int number, int count, GError **error);

/* `Step 3/8 [======    ] 0.12 s/step, 0.7 s left`, over the last one, on standard error. */
void cli_show_progress (const struct eng_progress *progress, int number, int count);
void cli_clear_progress (void);

/* A line of JSON with what a picture was made with and how long each stage took. */
void cli_print_json (const eng_image *image, const char *path);

/* Milliseconds of all spans on lane. */
double cli_lane_time (const eng_image *image, const char *lane);
