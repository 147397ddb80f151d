#include "app/cli-bench-report.h"

#include "engine/engine.h"

#include <json-glib/json-glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct series {
  struct cli_series what; /* its name is owned */
  GArray *values;         /* of double */
};

struct cli_report {
  GPtrArray *series; /* of struct series */
  GPtrArray *notes;  /* of char * */
  guint n_printed, n_notes_printed;
};

static void
series_free (gpointer data)
{
  struct series *series = data;

  g_free ((char *) series->what.name);
  g_array_unref (series->values);
  g_free (series);
}

cli_report *
cli_report_new (void)
{
  cli_report *report = g_new0 (cli_report, 1);

  report->series = g_ptr_array_new_with_free_func (series_free);
  report->notes = g_ptr_array_new_with_free_func (g_free);
  return report;
}

void
cli_report_free (cli_report *report)
{
  if (!report)
    return;
  g_ptr_array_unref (report->series);
  g_ptr_array_unref (report->notes);
  g_free (report);
}

static struct series *
find (const cli_report *report, const char *name, int width, int height)
{
  for (guint i = 0; i < report->series->len; i++) {
    struct series *series = report->series->pdata[i];

    if (!strcmp (series->what.name, name) && series->what.width == width &&
        series->what.height == height)
      return series;
  }
  return NULL;
}

void
cli_report_add (cli_report *report, const struct cli_series *what, double value)
{
  struct series *series = find (report, what->name, what->width, what->height);

  if (!series) {
    series = g_new (struct series, 1);
    series->what = *what;
    series->what.name = g_strdup (what->name);
    series->values = g_array_new (FALSE, FALSE, sizeof (double));
    g_ptr_array_add (report->series, series);
  }
  g_array_append_val (series->values, value);
}

void
cli_report_note (cli_report *report, const char *format, ...)
{
  va_list args;

  va_start (args, format);
  g_ptr_array_add (report->notes, g_strdup_vprintf (format, args));
  va_end (args);
}

static int
compare (const void *a, const void *b)
{
  const double x = *(const double *) a, y = *(const double *) b;

  return (x > y) - (x < y);
}

/* Sorted; the caller frees it. */
static double *
dup_sorted (const struct series *series)
{
  double *values = g_memdup2 (series->values->data, series->values->len * sizeof (double));

  qsort (values, series->values->len, sizeof (double), compare);
  return values;
}

static double
median_of (const double *sorted, guint n)
{
  return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double
cli_report_get_median (const cli_report *report, const char *name, int width, int height)
{
  const struct series *series = find (report, name, width, height);

  if (!series)
    return 0;
  g_autofree double *sorted = dup_sorted (series);
  return median_of (sorted, series->values->len);
}

double
cli_report_get_flops (const cli_report *report, const char *name, int width, int height)
{
  const struct series *series = find (report, name, width, height);

  return series ? series->what.flops : 0;
}

static void
print_series (const struct series *series, double ceiling)
{
  const guint n = series->values->len;
  g_autofree double *sorted = dup_sorted (series);
  const double median = median_of (sorted, n);
  char size[32] = "";

  if (series->what.width)
    g_snprintf (size, sizeof size, "%dx%d", series->what.width, series->what.height);
  printf ("%-28s %-10s %10.3f %10.3f %10.3f %-4s", series->what.name, size, median, sorted[0],
          sorted[n - 1], series->what.unit);
  if (series->what.flops > 0) {
    const double rate = series->what.flops / median * 1e-9;

    printf (" %8.1f TFLOP/s", rate);
    if (ceiling > 0)
      printf (" %5.1f %%", rate / ceiling * 100);
  }
  putchar ('\n');
}

void
cli_report_print (cli_report *report, double ceiling)
{
  if (report->n_printed == 0)
    printf ("%-28s %-10s %10s %10s %10s\n", "", "size", "median", "least", "most");
  for (; report->n_printed < report->series->len; report->n_printed++)
    print_series (report->series->pdata[report->n_printed], ceiling);
  for (; report->n_notes_printed < report->notes->len; report->n_notes_printed++)
    printf ("(%s)\n", (char *) report->notes->pdata[report->n_notes_printed]);
  fflush (stdout);
}

/* ---- JSON ---- */

static void
build_series (JsonBuilder *b, const struct series *series)
{
  json_builder_begin_object (b);
  json_builder_set_member_name (b, "name");
  json_builder_add_string_value (b, series->what.name);
  json_builder_set_member_name (b, "unit");
  json_builder_add_string_value (b, series->what.unit);
  json_builder_set_member_name (b, "width");
  json_builder_add_int_value (b, series->what.width);
  json_builder_set_member_name (b, "height");
  json_builder_add_int_value (b, series->what.height);
  json_builder_set_member_name (b, "flops");
  json_builder_add_double_value (b, series->what.flops);
  json_builder_set_member_name (b, "values");
  json_builder_begin_array (b);
  for (guint i = 0; i < series->values->len; i++)
    json_builder_add_double_value (b, g_array_index (series->values, double, i));
  json_builder_end_array (b);
  json_builder_end_object (b);
}

static JsonNode *
build (const cli_report *report, const char *const *about)
{
  g_autoptr (JsonBuilder) b = json_builder_new ();

  json_builder_begin_object (b);
  json_builder_set_member_name (b, "about");
  json_builder_begin_object (b);
  for (; *about; about += 2) {
    json_builder_set_member_name (b, about[0]);
    json_builder_add_string_value (b, about[1]);
  }
  json_builder_end_object (b);
  json_builder_set_member_name (b, "series");
  json_builder_begin_array (b);
  for (guint i = 0; i < report->series->len; i++)
    build_series (b, report->series->pdata[i]);
  json_builder_end_array (b);
  json_builder_set_member_name (b, "notes");
  json_builder_begin_array (b);
  for (guint i = 0; i < report->notes->len; i++)
    json_builder_add_string_value (b, report->notes->pdata[i]);
  json_builder_end_array (b);
  json_builder_end_object (b);
  return json_builder_get_root (b);
}

gboolean
cli_report_save (const cli_report *report, const char *path, const char *const *about,
                 GError **error)
{
  g_autoptr (JsonNode) root = build (report, about);
  g_autofree char *text = json_to_string (root, TRUE);
  g_autoptr (GError) why = NULL;

  if (g_file_set_contents (path, text, -1, &why))
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: %s", path, why->message);
  return FALSE;
}
