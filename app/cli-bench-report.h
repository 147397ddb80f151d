/* app/cli-bench-report.h - what a bench measured: named series of numbers, as a table and as JSON.
 */
#pragma once

#include <glib.h>

typedef struct cli_report cli_report;

/* What a series measures.  Names are copied; a width of 0: of no size. */
struct cli_series {
  const char *name; /* "forward" */
  const char *unit; /* "ms"; static */
  int width, height;
  double flops; /* of one value in ms; 0: not counted */
};

cli_report *cli_report_new (void);
void cli_report_free (cli_report *report);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (cli_report, cli_report_free)

/* One more value of the series with that name and size, which is begun when there is none. */
void cli_report_add (cli_report *report, const struct cli_series *series, double value);
/* A sentence for the end of the table, and for the JSON. */
void cli_report_note (cli_report *report, const char *format, ...) G_GNUC_PRINTF (2, 3);
/* 0 when there is no such series. */
double cli_report_get_median (const cli_report *report, const char *name, int width, int height);
double cli_report_get_flops (const cli_report *report, const char *name, int width, int height);

/* Prints what was begun since the last call; ceiling: TFLOP/s that a share is told of, 0: none. */
void cli_report_print (cli_report *report, double ceiling);
/* {"about": {...}, "series": [{"name", "unit", "width", "height", "flops", "values"}], "notes"};
 * about: pairs of strings, a key and its value, until NULL. */
gboolean cli_report_save (const cli_report *report, const char *path, const char *const *about,
                          GError **error);
