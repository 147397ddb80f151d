#include "app/cli-output.h"

#include <json-glib/json-glib.h>
#include <string.h>

/* The digits between % and d; -1 when it is no %d. */
static int
conversion_width (const char *percent, const char **end)
{
  const char *c = percent + 1;

  while (g_ascii_isdigit (*c))
    c++;
  if (*c != 'd' || c - percent > 3)
    return -1;
  *end = c + 1;
  return atoi (percent + 1);
}

char *
cli_expand_name (const char *pattern, int number, int count, GError **error)
{
  g_autoptr (GString) name = g_string_new (NULL);
  gboolean used = FALSE;

  for (const char *c = pattern; *c;) {
    int width;

    if (*c != '%') {
      g_string_append_c (name, *c++);
    } else if (c[1] == '%') {
      g_string_append_c (name, '%');
      c += 2;
    } else if (!used && (width = conversion_width (c, &c)) >= 0) {
      g_string_append_printf (name, "%0*d", MAX (width, 1), number);
      used = TRUE;
    } else {
      g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS,
                   "“%s” may hold one %%d and no other %% than %%%%", pattern);
      return NULL;
    }
  }
  if (!used && count > 1) {
    const char *dot = strrchr (name->str, '.');
    const char *slash = strrchr (name->str, '/');
    g_autofree char *suffix = g_strdup_printf ("-%03d", number);
    g_string_insert (name, dot && dot > slash ? dot - name->str : (gssize) name->len, suffix);
  }
  return g_string_free (g_steal_pointer (&name), FALSE);
}

void
cli_show_progress (const struct eng_progress *p, int number, int count)
{
  enum { WIDTH = 24 };
  char bar[WIDTH + 1];
  const int filled = p->n_steps ? p->step * WIDTH / p->n_steps : 0;

  if (count > 1)
    fprintf (stderr, "\r\033[K%d of %d: ", number + 1, count);
  else
    fputs ("\r\033[K", stderr);
  if (p->stage == ENG_STAGE_TEXT) {
    fputs ("Reading the prompt", stderr);
    return;
  }
  memset (bar, ' ', WIDTH);
  memset (bar, '=', filled);
  bar[WIDTH] = '\0';
  fprintf (stderr, "Step %d/%d [%s]", p->step, p->n_steps, bar);
  if (p->stage == ENG_STAGE_DECODE)
    fputs (" decoding", stderr);
  else if (p->step > 0)
    fprintf (stderr, " %.2f s/step", p->elapsed / p->step);
  if (p->left >= 0)
    fprintf (stderr, ", %.1f s left", p->left);
}

void
cli_clear_progress (void)
{
  fputs ("\r\033[K", stderr);
}

double
cli_lane_time (const eng_image *image, const char *lane)
{
  double sum = 0;
  guint n;
  const struct eng_span *spans = eng_image_get_spans (image, &n);

  for (guint i = 0; i < n; i++)
    if (strcmp (spans[i].lane, lane) == 0)
      sum += spans[i].end - spans[i].start;
  return sum;
}

static void
add_string (JsonBuilder *b, const char *key, const char *value)
{
  json_builder_set_member_name (b, key);
  json_builder_add_string_value (b, value);
}

static void
add_double (JsonBuilder *b, const char *key, double value)
{
  json_builder_set_member_name (b, key);
  json_builder_add_double_value (b, value);
}

static void
add_int (JsonBuilder *b, const char *key, gint64 value)
{
  json_builder_set_member_name (b, key);
  json_builder_add_int_value (b, value);
}

void
cli_print_json (const eng_image *image, const char *path)
{
  const struct eng_params *p = eng_image_get_params (image);
  g_autoptr (JsonBuilder) b = json_builder_new ();
  g_autofree char *seed = g_strdup_printf ("%" G_GUINT64_FORMAT, p->seed);
  g_autofree char *file = g_filename_display_name (path); /* JSON is UTF-8, a name need not be */
  const char *warning = eng_image_get_warning (image);

  json_builder_begin_object (b);
  add_string (b, "file", file);
  add_string (b, "prompt", p->prompt);
  add_string (b, "model", eng_image_get_model_name (image));
  add_int (b, "width", p->width);
  add_int (b, "height", p->height);
  add_int (b, "steps", p->steps);
  add_double (b, "cfg_scale", p->cfg);
  add_string (b, "seed", seed); /* 64 bits do not fit in a JSON number */
  add_string (b, "sampler", eng_sampler_get_id (p->sampler));
  add_string (b, "schedule", eng_schedule_get_id (p->schedule));
  add_double (b, "seconds", eng_image_get_seconds (image));
  add_double (b, "text_ms", cli_lane_time (image, "text"));
  add_double (b, "denoise_ms", cli_lane_time (image, "denoise"));
  add_double (b, "decode_ms", cli_lane_time (image, "decode"));
  if (warning)
    add_string (b, "warning", warning);
  json_builder_end_object (b);

  g_autoptr (JsonNode) root = json_builder_get_root (b);
  g_autofree char *text = json_to_string (root, FALSE);
  puts (text);
  fflush (stdout);
}
