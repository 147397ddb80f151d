#include "app/cli-bench-make.h"

#include <string.h>

/* The observer's data of several jobs. */
struct wait {
  GMutex mutex;
  GCond cond;
  int left;         /* jobs that are not done */
  int step;         /* the last one told */
  double elapsed;   /* seconds, when it was told */
  eng_image *image; /* of the last job */
  GError *error;    /* the first */
};

static void
wait_init (struct wait *w, int jobs)
{
  *w = (struct wait){ .left = jobs };
  g_mutex_init (&w->mutex);
  g_cond_init (&w->cond);
}

static void
wait_clear (struct wait *w)
{
  g_mutex_clear (&w->mutex);
  g_cond_clear (&w->cond);
  g_clear_pointer (&w->image, eng_image_unref);
  g_clear_error (&w->error);
}

static void
done_cb (eng_job *job, eng_image *image, const GError *error, void *data)
{
  struct wait *w = data;

  g_mutex_lock (&w->mutex);
  g_clear_pointer (&w->image, eng_image_unref);
  w->image = image ? eng_image_ref (image) : NULL;
  if (error && !w->error)
    w->error = g_error_copy (error);
  w->left--;
  g_cond_signal (&w->cond);
  g_mutex_unlock (&w->mutex);
}

static void
progress_cb (eng_job *job, const struct eng_progress *progress, void *data)
{
  struct wait *w = data;

  g_mutex_lock (&w->mutex);
  if (progress->stage == ENG_STAGE_DENOISE) {
    w->step = progress->step;
    w->elapsed = progress->elapsed;
  }
  g_cond_signal (&w->cond);
  g_mutex_unlock (&w->mutex);
}

static void
wait_for_all (struct wait *w)
{
  g_mutex_lock (&w->mutex);
  while (w->left > 0)
    g_cond_wait (&w->cond, &w->mutex);
  g_mutex_unlock (&w->mutex);
}

char *
cli_bench_dup_prompt (struct cli_bench *bench, int tokens)
{
  static const char *const words[] = { "hill",  "sea",   "cloud", "boat",  "moon",
                                       "tree",  "house", "river", "stone", "light",
                                       "grass", "road",  "bird",  "snow",  "sand" };
  GString *prompt = g_string_new (bench->prompt);
  int number = bench->made++;

  /* The number first, in words: as many tokens for every one. */
  for (int i = 0; i < 3; i++, number /= G_N_ELEMENTS (words))
    g_string_append_printf (prompt, " %s", words[number % G_N_ELEMENTS (words)]);
  for (int i = 0; eng_engine_count_tokens (bench->engine, prompt->str) < tokens; i++)
    g_string_append_printf (prompt, " %s", words[i % G_N_ELEMENTS (words)]);
  return g_string_free (prompt, FALSE);
}

eng_image *
cli_bench_make (eng_engine *engine, const struct eng_params *params, GError **error)
{
  struct wait w;
  const struct eng_observer observer = { .done = done_cb, .data = &w };
  g_autoptr (eng_job) job = NULL;
  eng_image *image;

  wait_init (&w, 1);
  job = eng_engine_submit (engine, params, &observer, error);
  if (job)
    wait_for_all (&w);
  if (w.error)
    g_propagate_error (error, g_steal_pointer (&w.error));
  image = g_steal_pointer (&w.image);
  wait_clear (&w);
  return image;
}

/* Waits for the jobs that were submitted before one was refused. */
static void
wait_for_some (struct wait *w, int refused)
{
  g_mutex_lock (&w->mutex);
  w->left -= refused;
  g_mutex_unlock (&w->mutex);
  wait_for_all (w);
}

double
cli_bench_make_queue (struct cli_bench *bench, const struct eng_params *params, int n,
                      GError **error)
{
  const gint64 begin = g_get_monotonic_time ();
  struct wait w;
  const struct eng_observer observer = { .done = done_cb, .data = &w };
  g_autoptr (GError) refusal = NULL;
  double seconds;

  wait_init (&w, n);
  for (int i = 0; i < n && !refusal; i++) {
    g_autofree char *prompt = cli_bench_dup_prompt (bench, bench->tokens);
    struct eng_params own = *params;
    eng_job *job;

    own.prompt = prompt;
    job = eng_engine_submit (bench->engine, &own, &observer, &refusal);
    if (job)
      eng_job_unref (job);
    else
      wait_for_some (&w, n - i);
  }
  wait_for_all (&w);
  seconds = (g_get_monotonic_time () - begin) * 1e-6;
  if (refusal || w.error) {
    g_propagate_error (error, refusal ? g_steal_pointer (&refusal) : g_steal_pointer (&w.error));
    seconds = -1;
  }
  wait_clear (&w);
  return seconds;
}

double
cli_bench_cancel (eng_engine *engine, const struct eng_params *params, double part, GError **error)
{
  struct wait w;
  const struct eng_observer observer = { progress_cb, done_cb, &w };
  g_autoptr (eng_job) job = NULL;
  gint64 begin;
  double seconds = -1, each;

  wait_init (&w, 1);
  job = eng_engine_submit (engine, params, &observer, error);
  if (!job) {
    wait_clear (&w);
    return -1;
  }
  g_mutex_lock (&w.mutex);
  while (w.left > 0 && w.step < 2)
    g_cond_wait (&w.cond, &w.mutex);
  each = w.step > 0 ? w.elapsed / w.step : 0;
  g_mutex_unlock (&w.mutex);
  g_usleep ((gulong) (each * part * 1e6));
  begin = g_get_monotonic_time ();
  eng_job_cancel (job);
  wait_for_all (&w);
  if (g_error_matches (w.error, ENG_ERROR, ENG_ERROR_CANCELLED))
    seconds = (g_get_monotonic_time () - begin) * 1e-6;
  else if (w.error)
    g_propagate_error (error, g_steal_pointer (&w.error));
  else
    seconds = 0;
  wait_clear (&w);
  return seconds;
}
