/* tests/engine_fixture.h - an engine with a model, and jobs that are waited for. */
#pragma once

#include "engine/engine.h"

#include <stdlib.h>

struct fixture_job {
  GMutex mutex;
  GCond cond;
  gboolean done;
  eng_image *image;
  GError *error;
  int steps, frames; /* progress calls of the denoise stage, with a frame */
  guint spans;       /* that the last progress call brought */
  int cancel_at;     /* the job is cancelled after this step; 0: never */
};

struct fixture_load {
  GMutex mutex;
  GCond cond;
  gboolean done;
  eng_model_info *info;
  GError *error;
};

static inline void
fixture_load_done_cb (eng_model_info *info, const GError *error, void *data)
{
  struct fixture_load *l = data;

  g_mutex_lock (&l->mutex);
  g_assert_false (l->done);
  g_assert_true ((info == NULL) == (error != NULL));
  l->info = info ? eng_model_info_ref (info) : NULL;
  l->error = error ? g_error_copy (error) : NULL;
  l->done = TRUE;
  g_cond_signal (&l->cond);
  g_mutex_unlock (&l->mutex);
}

static inline void
fixture_load_begin (struct fixture_load *l, eng_engine *engine, const char *path)
{
  const struct eng_load_observer observer = { .done = fixture_load_done_cb, .data = l };

  *l = (struct fixture_load){ 0 };
  g_mutex_init (&l->mutex);
  g_cond_init (&l->cond);
  eng_engine_load (engine, path, &observer);
}

static inline void
fixture_load_wait (struct fixture_load *l)
{
  g_mutex_lock (&l->mutex);
  while (!l->done)
    g_cond_wait (&l->cond, &l->mutex);
  g_mutex_unlock (&l->mutex);
}

static inline void
fixture_load_clear (struct fixture_load *l)
{
  g_clear_pointer (&l->info, eng_model_info_unref);
  g_clear_error (&l->error);
  g_mutex_clear (&l->mutex);
  g_cond_clear (&l->cond);
}

/* A CPU engine with the model at path loaded. */
static inline eng_engine *
fixture_engine (const char *path)
{
  const struct eng_options options = { .device = "cpu" };
  g_autoptr (GError) error = NULL;
  eng_engine *engine = eng_engine_new (&options, &error);
  struct fixture_load load;

  g_assert_no_error (error);
  fixture_load_begin (&load, engine, path);
  fixture_load_wait (&load);
  g_assert_no_error (load.error);
  fixture_load_clear (&load);
  return engine;
}

static inline void
fixture_progress_cb (eng_job *job, const struct eng_progress *progress, void *data)
{
  struct fixture_job *j = data;

  g_assert_cmpuint (progress->n_spans, >=, j->spans);
  j->spans = progress->n_spans;
  for (guint i = 0; i < j->spans; i++)
    g_assert_cmpfloat (progress->spans[i].end, <=,
                       progress->elapsed * 1000 + 1); /* by another clock on a GPU */
  if (progress->stage != ENG_STAGE_DENOISE || progress->step == 0)
    return;
  g_assert_cmpint (progress->step, ==, j->steps + 1);
  j->steps++;
  j->frames += progress->frame != NULL;
  if (j->cancel_at == progress->step)
    eng_job_cancel (job);
}

static inline void
fixture_done_cb (eng_job *job, eng_image *image, const GError *error, void *data)
{
  struct fixture_job *j = data;

  g_mutex_lock (&j->mutex);
  g_assert_false (j->done);
  g_assert_true ((image == NULL) == (error != NULL));
  j->image = image ? eng_image_ref (image) : NULL;
  j->error = error ? g_error_copy (error) : NULL;
  j->done = TRUE;
  g_cond_signal (&j->cond);
  g_mutex_unlock (&j->mutex);
}

/* Must not be refused.  The caller unrefs the job, and waits for j before it is cleared. */
static inline eng_job *
fixture_submit (struct fixture_job *j, eng_engine *engine, const struct eng_params *params)
{
  const struct eng_observer observer = { fixture_progress_cb, fixture_done_cb, j };
  g_autoptr (GError) error = NULL;
  eng_job *job;

  g_mutex_init (&j->mutex);
  g_cond_init (&j->cond);
  job = eng_engine_submit (engine, params, &observer, &error);
  g_assert_no_error (error);
  return job;
}

static inline void
fixture_wait (struct fixture_job *j)
{
  const gint64 end = g_get_monotonic_time () + 110 * G_TIME_SPAN_SECOND;

  g_mutex_lock (&j->mutex);
  while (!j->done)
    if (!g_cond_wait_until (&j->cond, &j->mutex, end))
      g_error ("a job hangs");
  g_mutex_unlock (&j->mutex);
}

/* Submits and waits; a refusal at submit ends in j->error, too. */
static inline void
fixture_run (struct fixture_job *j, eng_engine *engine, const struct eng_params *params)
{
  const struct eng_observer observer = { fixture_progress_cb, fixture_done_cb, j };
  g_autoptr (eng_job) job = NULL;

  g_mutex_init (&j->mutex);
  g_cond_init (&j->cond);
  job = eng_engine_submit (engine, params, &observer, &j->error);
  if (job)
    fixture_wait (j);
}

static inline void
fixture_job_clear (struct fixture_job *j)
{
  g_clear_pointer (&j->image, eng_image_unref);
  g_clear_error (&j->error);
  g_mutex_clear (&j->mutex);
  g_cond_clear (&j->cond);
}

static inline int
fixture_compare_starts (const void *a, const void *b)
{
  const double x = ((const struct eng_span *) a)->start, y = ((const struct eng_span *) b)->start;

  return (x > y) - (x < y);
}

/* Milliseconds from 0 to `to` that no span covers. */
static inline double
fixture_gaps (const struct eng_span *spans, guint n, double to)
{
  g_autofree struct eng_span *sorted = g_memdup2 (spans, n * sizeof *spans);
  double at = 0, gaps = 0;

  qsort (sorted, n, sizeof *sorted, fixture_compare_starts);
  for (guint i = 0; i < n; i++) {
    gaps += MAX (0, sorted[i].start - at);
    at = MAX (at, sorted[i].end);
  }
  return gaps + MAX (0, to - at);
}
