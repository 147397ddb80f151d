#include "ui/sl-timing-text.h"

#include <glib/gi18n.h>
#include <math.h>
#include <string.h>

const char *
sl_lane_get_label (SlLane lane)
{
  switch (lane) {
  case SL_LANE_TEXT:
    return C_ ("lane", "Text");
  case SL_LANE_DENOISE:
    return C_ ("lane", "Denoise");
  case SL_LANE_DECODE:
    return C_ ("lane", "Decode");
  case SL_LANE_COPY:
    return C_ ("lane", "Copy");
  default:
    return C_ ("lane", "Host");
  }
}

const char *
sl_part_get_label (SlPart part)
{
  switch (part) {
  case SL_PART_TEXT:
    return C_ ("part of a picture's time", "Prompt");
  case SL_PART_PREPARE:
    return _ ("Preparing");
  case SL_PART_STEPS:
    return _ ("Steps");
  case SL_PART_PREVIEW:
    return _ ("Previews");
  case SL_PART_DECODE:
    return _ ("Decoding");
  case SL_PART_COPY:
    return _ ("Copying");
  case SL_PART_HOST:
    return _ ("On the host");
  case SL_PART_PNG:
    return _ ("PNG file");
  default:
    return _ ("Other work");
  }
}

/* The number at a name's end; -1: none. */
static int
get_number (const char *name)
{
  const char *space = strrchr (name, ' ');

  return space && g_ascii_isdigit (space[1]) ? atoi (space + 1) : -1;
}

char *
sl_span_dup_label (const struct sl_span *span)
{
  static const struct {
    const char *name, *label;
  } known[] = {
    { "encode", NC_ ("span", "Prompt") },    { "prepare", NC_ ("span", "Preparing") },
    { "preview", NC_ ("span", "Preview") },  { "decode", NC_ ("span", "Decoding") },
    { "download", NC_ ("span", "Picture") }, { "tokens", NC_ ("span", "Tokens") },
    { "plan", NC_ ("span", "Planning") },    { "reserve", NC_ ("span", "Memory") },
    { "noise", NC_ ("span", "Noise") },      { "tables", NC_ ("span", "Tables") },
    { "capture", NC_ ("span", "Graph") },    { "deliver", NC_ ("span", "Handing over") },
    { "png", NC_ ("span", "PNG file") },
  };

  if (sl_timing_get_part (span) == SL_PART_STEPS && get_number (span->name) >= 0)
    return g_strdup_printf (_ ("Step %d"), get_number (span->name));
  for (guint i = 0; i < G_N_ELEMENTS (known); i++)
    if (g_str_equal (known[i].name, span->name))
      return g_strdup (g_dpgettext2 (NULL, "span", known[i].label));
  return g_strdup (span->name);
}

char *
sl_dup_ms (double ms)
{
  if (ms >= 10000)
    return g_strdup_printf ("%.2f s", ms / 1e3);
  if (ms >= 1000)
    return g_strdup_printf ("%.0f ms", ms);
  return g_strdup_printf (ms >= 1 ? "%.1f ms" : "%.3f ms", ms);
}

char *
sl_timing_dup_share (SlTiming *self, double ms)
{
  const double total = sl_timing_get_total (self);

  if (sl_timing_is_running (self) || total <= 0)
    return g_strdup ("…");
  return g_strdup_printf (_ ("%.1f %%"), 100 * ms / total);
}

char *
sl_timing_dup_span_text (SlTiming *self, const struct sl_span *span)
{
  g_autofree char *label = sl_span_dup_label (span), *start = sl_dup_ms (span->start);
  g_autofree char *length = sl_dup_ms (span->end - span->start);
  g_autofree char *share = sl_timing_dup_share (self, span->end - span->start);

  if (sl_timing_get_part (span) == SL_PART_PNG)
    /* Translators: what, how long. */
    return g_strdup_printf (_ ("%s: after the picture, lasts %s"), label, length);
  if (sl_timing_is_running (self))
    /* Translators: what, when it starts, how long it lasts. */
    return g_strdup_printf (_ ("%s: from %s, lasts %s"), label, start, length);
  /* Translators: what, when it starts, how long it lasts, its part of the whole. */
  return g_strdup_printf (_ ("%s: from %s, lasts %s, share %s"), label, start, length, share);
}

char *
sl_timing_dup_summary (SlTiming *self)
{
  const struct sl_timing_steps steps = sl_timing_get_steps (self);
  g_autofree char *total = sl_dup_ms (sl_timing_get_total (self));

  if (sl_timing_is_running (self))
    return g_strdup_printf (_ ("%s so far"), total);
  if (steps.per_second <= 0)
    return g_strdup_printf (_ ("%s in all"), total);
  return g_strdup_printf (_ ("%s in all, %.2f steps per second"), total, steps.per_second);
}

/* ---- Numbers ---- */

void
sl_number_clear (struct sl_number *number)
{
  g_free (number->value);
}

static GArray *
numbers_new (void)
{
  GArray *numbers = g_array_new (FALSE, FALSE, sizeof (struct sl_number));

  g_array_set_clear_func (numbers, (GDestroyNotify) sl_number_clear);
  return numbers;
}

/* Takes value; NULL: absent. */
static void
add (GArray *numbers, const char *name, char *value, int part)
{
  const struct sl_number number = { name, value ? value : g_strdup (_ ("not measured")), part,
                                    !value };

  g_array_append_val (numbers, number);
}

static char *
dup_with_share (SlTiming *timing, double ms)
{
  g_autofree char *length = sl_dup_ms (ms), *share = sl_timing_dup_share (timing, ms);

  return sl_timing_is_running (timing) ? g_steal_pointer (&length)
                                       : g_strdup_printf ("%s · %s", length, share);
}

static void
add_part (GArray *numbers, SlTiming *timing, SlPart part)
{
  guint n;
  const double sum = sl_timing_get_sum (timing, part, &n);

  add (numbers, sl_part_get_label (part), n ? dup_with_share (timing, sum) : g_strdup (_ ("none")),
       part);
}

static void
add_steps (GArray *numbers, SlTiming *timing)
{
  const struct sl_timing_steps steps = sl_timing_get_steps (timing);
  g_autofree char *mean = sl_dup_ms (steps.mean), *slowest = sl_dup_ms (steps.slowest);
  const gboolean any = steps.n > 0;

  add_part (numbers, timing, SL_PART_STEPS);
  add (numbers, _ ("Number of steps"), any ? g_strdup_printf ("%u", steps.n) : NULL, -1);
  add (numbers, _ ("Mean step"), any ? g_steal_pointer (&mean) : NULL, -1);
  add (numbers, _ ("Slowest step"), any ? g_steal_pointer (&slowest) : NULL, -1);
  add (numbers, _ ("Steps per second"), any ? g_strdup_printf ("%.2f", steps.per_second) : NULL,
       -1);
}

static char *
dup_size (double bytes)
{
  return g_format_size_full ((guint64) bytes, G_FORMAT_SIZE_IEC_UNITS);
}

/* NULL: nobody counted. */
static char *
dup_count (SlTiming *timing, SlCount what)
{
  const double count = sl_timing_get_count (timing, what);

  if (count < 0)
    return NULL;
  return what == SL_COUNT_PREVIEW_BYTES ? dup_size (count) : g_strdup_printf ("%.0f", count);
}

static char *
dup_prompt_cached (SlTiming *timing)
{
  const double cached = sl_timing_get_count (timing, SL_COUNT_PROMPT_CACHED);

  if (cached < 0)
    return NULL;
  return g_strdup (cached > 0 ? C_ ("prompt cache", "hit") : C_ ("prompt cache", "missed"));
}

static char *
dup_replays (SlTiming *timing)
{
  const double replays = sl_timing_get_count (timing, SL_COUNT_REPLAYS);
  const double evaluations = sl_timing_get_count (timing, SL_COUNT_EVALUATIONS);

  if (replays < 0 || evaluations < 0)
    return NULL;
  /* Translators: how many of how many. */
  return g_strdup_printf (_ ("%.0f of %.0f"), replays, evaluations);
}

static void
add_counts (GArray *numbers, SlTiming *timing)
{
  add (numbers, _ ("Prompt cache"), dup_prompt_cached (timing), -1);
  add (numbers, _ ("Graph replays"), dup_replays (timing), -1);
  add (numbers, _ ("Allocator calls"), dup_count (timing, SL_COUNT_ALLOCATIONS), -1);
  add (numbers, _ ("Previews to the host"), dup_count (timing, SL_COUNT_PREVIEW_BYTES), -1);
}

GArray *
sl_timing_dup_numbers (SlTiming *self)
{
  const double busy = sl_timing_get_busy (self);
  GArray *numbers = numbers_new ();
  guint n_png;
  g_autofree char *png = sl_dup_ms (sl_timing_get_sum (self, SL_PART_PNG, &n_png));

  add (numbers, _ ("Total"), sl_dup_ms (sl_timing_get_total (self)), -1);
  add_part (numbers, self, SL_PART_TEXT);
  add_part (numbers, self, SL_PART_PREPARE);
  add_steps (numbers, self);
  add_part (numbers, self, SL_PART_PREVIEW);
  add_part (numbers, self, SL_PART_DECODE);
  add_part (numbers, self, SL_PART_COPY);
  add_part (numbers, self, SL_PART_HOST);
  add_part (numbers, self, SL_PART_OTHER);
  add (numbers, _ ("Gaps and waiting"), dup_with_share (self, sl_timing_get_gaps (self)), -1);
  add (numbers, _ ("Busy since first step"),
       busy >= 0 ? g_strdup_printf (_ ("%.1f %%"), 100 * busy) : NULL, -1);
  add (numbers, sl_part_get_label (SL_PART_PNG),
       n_png ? g_steal_pointer (&png) : g_strdup (_ ("not saved")), SL_PART_PNG);
  add_counts (numbers, self);
  return numbers;
}

static char *
dup_gpu_value (SlGpuValue what, double value)
{
  if (value < 0)
    return g_strdup (_ ("not told"));
  switch (what) {
  case SL_GPU_UTILISATION:
    return g_strdup_printf (_ ("%.0f %%"), value);
  case SL_GPU_TEMPERATURE:
    return g_strdup_printf ("%.0f °C", value);
  case SL_GPU_POWER:
    return g_strdup_printf ("%.0f W", value);
  case SL_GPU_CLOCK:
  case SL_GPU_MEMORY_CLOCK:
    return g_strdup_printf ("%.0f MHz", value);
  default:
    return dup_size (value);
  }
}

GArray *
sl_gpu_dup_numbers (const struct sl_gpu *gpu)
{
  const char *const names[SL_N_GPU_VALUES] = {
    _ ("Utilisation"), _ ("Memory used"), _ ("Memory free"), _ ("Our weights"), _ ("Our arena"),
    _ ("Temperature"), _ ("Power"),       _ ("Clock"),       _ ("Memory clock")
  };
  GArray *numbers = numbers_new ();

  for (guint i = 0; i < SL_N_GPU_VALUES; i++) {
    const struct sl_number number = { names[i], dup_gpu_value (i, gpu->values[i]), -1,
                                      gpu->values[i] < 0 };

    g_array_append_val (numbers, number);
  }
  return numbers;
}

/* ---- Files and the clipboard ---- */

static void
append_number (GString *text, double value)
{
  char digits[G_ASCII_DTOSTR_BUF_SIZE];

  g_string_append (text, g_ascii_formatd (digits, sizeof digits, "%.6f", value));
}

static void
append_name (GString *text, const char *name)
{
  if (!strpbrk (name, ",\"\n")) {
    g_string_append (text, name);
    return;
  }
  g_string_append_c (text, '"');
  for (const char *c = name; *c; c++)
    g_string_append_printf (text, *c == '"' ? "\"%c" : "%c", *c);
  g_string_append_c (text, '"');
}

char *
sl_timing_dup_csv (SlTiming *self)
{
  static const char *const lanes[SL_N_LANES] = { "text", "denoise", "decode", "copy", "host" };
  const double total = sl_timing_get_total (self);
  GString *text = g_string_new ("lane,name,start_ms,length_ms,share\n");
  guint n;
  const struct sl_span *spans = sl_timing_get_spans (self, &n);

  for (guint i = 0; i < n; i++) {
    const double length = spans[i].end - spans[i].start;

    g_string_append_printf (text, "%s,", lanes[spans[i].lane]);
    append_name (text, spans[i].name);
    g_string_append_c (text, ',');
    append_number (text, spans[i].start);
    g_string_append_c (text, ',');
    append_number (text, length);
    g_string_append_c (text, ',');
    if (total > 0 && sl_timing_get_part (&spans[i]) != SL_PART_PNG)
      append_number (text, length / total);
    g_string_append_c (text, '\n');
  }
  return g_string_free (text, FALSE);
}

char *
sl_timing_dup_text (SlTiming *self)
{
  g_autoptr (GArray) numbers = sl_timing_dup_numbers (self);
  GString *text = g_string_new (sl_timing_get_title (self));
  guint n;
  const struct sl_span *spans = sl_timing_get_spans (self, &n);

  g_string_append (text, "\n\n");
  for (guint i = 0; i < numbers->len; i++) {
    const struct sl_number *number = &g_array_index (numbers, struct sl_number, i);

    g_string_append_printf (text, "%s\t%s\n", number->name, number->value);
  }
  g_string_append_printf (text, "\n%s\t%s\t%s\t%s\t%s\n", _ ("Lane"), _ ("Span"), _ ("Start"),
                          _ ("Length"), _ ("Share"));
  for (guint i = 0; i < n; i++) {
    const double ms = spans[i].end - spans[i].start;
    g_autofree char *label = sl_span_dup_label (&spans[i]), *start = sl_dup_ms (spans[i].start);
    g_autofree char *length = sl_dup_ms (ms), *share = sl_timing_dup_share (self, ms);

    g_string_append_printf (text, "%s\t%s\t%s\t%s\t%s\n", sl_lane_get_label (spans[i].lane), label,
                            start, length, share);
  }
  return g_string_free (text, FALSE);
}
