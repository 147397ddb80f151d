#include "engine/schedule.h"

#include "engine/json.h"

#include <math.h>

/* Everything here is computed in double and rounded once; other programs round to float on the way,
 * which moves a sigma by 1e-7. */

static const double alpha = 0.6; /* of "Beta Sampling is All You Need", arXiv 2407.12173 */
static const double rho = 7;     /* of Karras and others, arXiv 2206.00364 */

static double
shifted (double t, double shift)
{
  return shift * t / (1 + (shift - 1) * t);
}

/* Entry i, 0 to 999, of the table of sigmas that a flow model is said to be trained on. */
static double
table (double i, double shift)
{
  return shifted ((i + 1) / 1000, shift);
}

/* i of n points from a to b, both included; a alone when n is 1. */
static double
linspace (double a, double b, int n, int i)
{
  return n > 1 ? a + (b - a) * i / (n - 1) : a;
}

/* Point i of n between two sigmas, in the manner of interpolation. */
static double
interpolate (enum eng_schedule interpolation, double max, double min, int n, int i)
{
  switch (interpolation) {
  case ENG_SCHEDULE_KARRAS:
    return pow (linspace (pow (max, 1 / rho), pow (min, 1 / rho), n, i), rho);
  case ENG_SCHEDULE_EXPONENTIAL:
    return exp (linspace (log (max), log (min), n, i));
  default:
    return min + eng_beta_quantile (linspace (1, 0, n, i), alpha, alpha) * (max - min);
  }
}

static void
fill_simple (float *sigmas, const struct eng_schedule_args *args, double shift)
{
  const int n = args->steps;
  const double max = 1, min = shifted (1.0 / n, shift);
  /* Stretched so that the last one is terminal; one alone stays where it is. */
  const double stretch = args->terminal > 0 && n > 1 ? (1 - args->terminal) / (1 - min) : 1;
  const double last = 1 - (1 - min) * stretch;

  for (int i = 0; i < n; i++) {
    const double plain = shifted (linspace (1, 1.0 / n, n, i), shift);
    sigmas[i] = args->interpolation ? interpolate (args->interpolation, max, last, n, i)
                                    : 1 - (1 - plain) * stretch;
  }
}

/* Rounds to the table, drops what falls on the one before. */
static int
fill_beta (float *sigmas, int n, double shift)
{
  double before = -1;
  int used = 0;

  for (int i = 0; i < n; i++) {
    const double at = rint (eng_beta_quantile (1 - (double) i / n, alpha, alpha) * 999);
    if (at != before)
      sigmas[used++] = table (at, shift);
    before = at;
  }
  return used;
}

int
eng_schedule_fill (float *sigmas, const struct eng_schedule_args *args)
{
  const int n = args->steps;
  const double shift = args->shift > 0 ? args->shift : 1;
  const double least = table (0, shift);
  int used = n;

  switch (args->schedule) {
  case ENG_SCHEDULE_BETA:
    used = fill_beta (sigmas, n, shift);
    break;
  case ENG_SCHEDULE_SGM_UNIFORM: /* the last of n + 1 is left out; the end is shifted twice there */
    for (int i = 0; i < n; i++)
      sigmas[i] = shifted (linspace (1, least, n + 1, i), shift);
    break;
  case ENG_SCHEDULE_NORMAL:
    for (int i = 0; i < n; i++)
      sigmas[i] = table (linspace (999, 0, n, i), shift);
    break;
  case ENG_SCHEDULE_KARRAS:
  case ENG_SCHEDULE_EXPONENTIAL:
    for (int i = 0; i < n; i++)
      sigmas[i] = interpolate (args->schedule, 1, least, n, i);
    break;
  default:
    fill_simple (sigmas, args, shift);
  }

  sigmas[used] = 0;
  return used;
}

float
eng_schedule_config_get_shift (const struct eng_schedule_config *config, int tokens)
{
  if (!config->dynamic)
    return config->shift;

  const double slope =
      (config->max_shift - config->base_shift) / (config->max_tokens - config->base_tokens);
  const double mu = config->base_shift + slope * (tokens - config->base_tokens);
  return config->linear ? mu : exp (mu);
}

/* ---- scheduler_config.json ---- */

static gboolean
read_double (JsonObject *object, const char *key, double min, double max, double *value,
             GError **error)
{
  return !eng_json_has (object, key) || eng_json_get_double (object, key, min, max, value, error);
}

static gboolean
read_int (JsonObject *object, const char *key, int *value, GError **error)
{
  return !eng_json_has (object, key) || eng_json_get_int (object, key, 1, 1 << 20, value, error);
}

static gboolean
read_boolean (JsonObject *object, const char *key, gboolean *value, GError **error)
{
  return !eng_json_has (object, key) || eng_json_get_boolean (object, key, value, error);
}

static gboolean
refuse (JsonObject *object, const char *key, GError **error)
{
  gboolean value = FALSE;

  if (!read_boolean (object, key, &value, error))
    return FALSE;
  if (value)
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL, "\"%s\" is true, expected false", key);
  return !value;
}

static gboolean
read_interpolation (JsonObject *object, enum eng_schedule *interpolation, GError **error)
{
  gboolean karras = FALSE, exponential = FALSE, beta = FALSE;

  if (!read_boolean (object, "use_karras_sigmas", &karras, error) ||
      !read_boolean (object, "use_exponential_sigmas", &exponential, error) ||
      !read_boolean (object, "use_beta_sigmas", &beta, error))
    return FALSE;
  *interpolation = karras        ? ENG_SCHEDULE_KARRAS
                   : exponential ? ENG_SCHEDULE_EXPONENTIAL
                   : beta        ? ENG_SCHEDULE_BETA
                                 : ENG_SCHEDULE_DEFAULT;
  return TRUE;
}

static gboolean
read_shift_type (JsonObject *object, gboolean *linear, GError **error)
{
  const char *type = "exponential";

  if (eng_json_has (object, "time_shift_type") &&
      !(type = eng_json_get_string (object, "time_shift_type", error)))
    return FALSE;
  *linear = g_str_equal (type, "linear");
  if (*linear || g_str_equal (type, "exponential"))
    return TRUE;
  g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
               "\"time_shift_type\" is \"%s\", expected \"exponential\" or \"linear\"", type);
  return FALSE;
}

gboolean
eng_schedule_config_read (struct eng_schedule_config *config, JsonObject *object, GError **error)
{
  struct eng_schedule_config c = {
    .shift = 1, .base_shift = 0.5, .max_shift = 1.15, .base_tokens = 256, .max_tokens = 4096
  };
  double shift = 1, terminal = 0;

  if (object &&
      (!read_double (object, "shift", 0.01, 100, &shift, error) ||
       !read_double (object, "shift_terminal", 0, 0.99, &terminal, error) ||
       !read_double (object, "base_shift", -10, 10, &c.base_shift, error) ||
       !read_double (object, "max_shift", -10, 10, &c.max_shift, error) ||
       !read_int (object, "base_image_seq_len", &c.base_tokens, error) ||
       !read_int (object, "max_image_seq_len", &c.max_tokens, error) ||
       !read_boolean (object, "use_dynamic_shifting", &c.dynamic, error) ||
       !read_shift_type (object, &c.linear, error) ||
       !read_interpolation (object, &c.interpolation, error) ||
       !refuse (object, "invert_sigmas", error) || !refuse (object, "stochastic_sampling", error)))
    return FALSE;
  if (c.base_tokens >= c.max_tokens) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_MODEL,
                 "\"max_image_seq_len\" is %d, expected more than \"base_image_seq_len\", %d",
                 c.max_tokens, c.base_tokens);
    return FALSE;
  }
  c.shift = shift;
  c.terminal = terminal;
  *config = c;
  return TRUE;
}
