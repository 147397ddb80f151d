/* ui/sl-session-run.c - the pictures being made. */
#include "ui/sl-session-private.h"

static void
set_preview (SlSession *self, GdkTexture *preview, gboolean live)
{
  const gboolean changed = g_set_object (&self->preview, preview);

  if (changed || live || self->live) {
    self->live = live;
    sl_session_notify (self, SL_PROP_PREVIEW);
  }
}

static void
set_progress (SlSession *self, const struct sl_feed_progress *progress)
{
  const struct sl_feed_progress now =
      progress ? *progress : (struct sl_feed_progress){ .left = -1 };

  self->step = now.step;
  self->n_steps = now.n_steps;
  self->progress =
      self->n_pictures > 0 ? (self->picture - 1 + now.fraction) / self->n_pictures : now.fraction;
  self->left = now.left;
  if (now.left >= 0 && self->n_pictures > 0)
    self->left += (self->n_pictures - self->picture) * (now.left + now.elapsed);
  sl_session_notify (self, SL_PROP_STEP);
  sl_session_notify (self, SL_PROP_N_STEPS);
  sl_session_notify (self, SL_PROP_LEFT);
  sl_session_notify (self, SL_PROP_PROGRESS);
}

void
sl_session_job_free (struct sl_job *job)
{
  eng_job_unref (job->job);
  g_free (job);
}

static int
compare_serial (gconstpointer job, gconstpointer serial)
{
  return ((const struct sl_job *) job)->serial != GPOINTER_TO_UINT (serial);
}

/* A job has left the queue. */
static void
jobs_changed (SlSession *self)
{
  const int n = (int) g_queue_get_length (&self->jobs);

  set_preview (self, NULL, FALSE);
  if (self->step > 0) { /* else it was cancelled before its turn, and the one before is shown */
    self->last_step = self->step;
    self->last_n_steps = self->n_steps;
    self->last_seed = self->recipe ? self->recipe->seed + (guint64) MAX (self->picture - 1, 0) : 0;
  }
  if (n == 0)
    self->n_pictures = 0;
  self->picture = n ? self->n_pictures - n + 1 : 0;
  set_progress (self, NULL);
  if (n == 0)
    sl_session_notify (self, SL_PROP_BUSY);
  sl_session_notify (self, SL_PROP_PICTURE);
  sl_session_notify (self, SL_PROP_N_PICTURES);
}

void
sl_session_cancel_jobs (SlSession *self)
{
  for (GList *l = self->jobs.head; l; l = l->next)
    eng_job_cancel (((struct sl_job *) l->data)->job);
}

void
sl_session_job_done (gpointer owner, gpointer data)
{
  SlSession *self = owner;
  struct sl_ticket *ticket = data;
  GList *link =
      g_queue_find_custom (&self->jobs, GUINT_TO_POINTER (ticket->serial), compare_serial);

  if (!link) /* cancelled while it waited for a model */
    return;
  sl_session_job_free (link->data);
  g_queue_delete_link (&self->jobs, link);
  sl_session_take_timing (self, ticket);
  if (ticket->result && ticket->preview_ms >= 0)
    self->preview_ms = ticket->preview_ms;
  if (ticket->result && self->draft) {
    sl_session_emit_result (self, SL_SIGNAL_DRAFT, ticket->result);
  } else if (ticket->result) {
    sl_result_append (ticket->result, self->results);
    sl_session_emit_result (self, SL_SIGNAL_RESULT, ticket->result);
  } else if (ticket->error && !g_error_matches (ticket->error, ENG_ERROR, ENG_ERROR_CANCELLED)) {
    sl_session_set_error (self, ticket->error->message);
    sl_session_cancel_jobs (self); /* the others would fail the same way */
  }
  jobs_changed (self);
}

void
sl_session_take_progress (const struct sl_feed_progress *progress, gpointer owner)
{
  SlSession *self = owner;
  const struct sl_job *running = g_queue_peek_head (&self->jobs);

  if (progress->serial == 0 && self->n_loads > 0) {
    self->progress = progress->fraction;
    sl_session_notify (self, SL_PROP_PROGRESS);
  } else if (running && running->serial == progress->serial) {
    set_progress (self, progress);
  }
}

void
sl_session_take_preview (guint serial, GdkTexture *texture, gpointer owner)
{
  SlSession *self = owner;
  const struct sl_job *running = g_queue_peek_head (&self->jobs);

  if (running && running->serial == serial)
    set_preview (self, texture, texture == NULL);
  if (texture)
    sl_session_tell_uploaded (self);
}

static gboolean
submit (SlSession *self, const struct eng_params *params, GError **error)
{
  struct eng_observer observer = { .progress = sl_ticket_job_progress, .done = sl_ticket_job_done };
  g_autofree struct sl_job *job = g_new0 (struct sl_job, 1);

  job->serial = ++self->last_serial;
  observer.data = sl_ticket_new (self, job->serial);
  job->job = eng_engine_submit (self->engine, params, &observer, error);
  if (!job->job) {
    sl_ticket_free (observer.data);
    return FALSE;
  }
  g_queue_push_tail (&self->jobs, g_steal_pointer (&job));
  return TRUE;
}

static gboolean
generate (SlSession *self, const SlRecipe *recipe, int n)
{
  g_autoptr (GError) error = NULL;
  struct eng_params params = {
    .prompt = recipe->prompt,
    .negative = recipe->negative,
    .width = recipe->width,
    .height = recipe->height,
    .steps = recipe->steps,
    .cfg = (float) recipe->cfg,
    .sampler = eng_sampler_from_name (recipe->sampler),
    .schedule = eng_schedule_from_name (recipe->schedule),
    .rng = g_str_equal (recipe->rng, "cuda") ? ENG_RNG_CUDA : ENG_RNG_CPU,
    .shift = (float) recipe->shift,
    .flags = self->no_previews ? ENG_FLAG_NO_PREVIEW : 0,
  };

  if (!self->engine || !g_queue_is_empty (&self->jobs))
    return FALSE;

  sl_session_set_error (self, NULL);
  for (int i = 0; i < n && !error; i++) {
    params.seed = recipe->seed + (guint64) i;
    submit (self, &params, &error);
  }
  if (error) {
    sl_session_set_error (self, error->message);
    sl_session_cancel_jobs (self);
  }
  if (g_queue_is_empty (&self->jobs))
    return FALSE;

  g_clear_pointer (&self->recipe, sl_recipe_free);
  self->recipe = sl_recipe_copy (recipe);
  self->width = recipe->width;
  self->height = recipe->height;
  self->picture = 1;
  self->n_pictures = (int) g_queue_get_length (&self->jobs);
  set_progress (self, NULL);
  sl_session_notify (self, SL_PROP_PICTURE);
  sl_session_notify (self, SL_PROP_N_PICTURES);
  sl_session_notify (self, SL_PROP_BUSY);
  return TRUE;
}

gboolean
sl_session_generate (SlSession *self, const SlRecipe *recipe, int n)
{
  g_return_val_if_fail (SL_IS_SESSION (self), FALSE);

  self->draft = self->draft && sl_session_get_busy (self);
  return generate (self, recipe, n);
}

gboolean
sl_session_generate_draft (SlSession *self, const SlRecipe *recipe)
{
  g_return_val_if_fail (SL_IS_SESSION (self), FALSE);

  if (sl_session_get_busy (self))
    return FALSE;
  self->draft = TRUE;
  return generate (self, recipe, 1);
}

void
sl_session_set_previews (SlSession *self, gboolean previews)
{
  g_return_if_fail (SL_IS_SESSION (self));

  self->no_previews = !previews;
}

double
sl_session_get_preview_ms (SlSession *self)
{
  return self->preview_ms;
}

void
sl_session_cancel (SlSession *self)
{
  g_return_if_fail (SL_IS_SESSION (self));

  sl_session_cancel_jobs (self);
  /* What waits for a model ends when its turn comes: a minute, for a large one.  Nobody has to wait
   * for that. */
  if (self->state == SL_STATE_LOADING && self->n_steps == 0 && !g_queue_is_empty (&self->jobs)) {
    g_queue_clear_full (&self->jobs, (GDestroyNotify) sl_session_job_free);
    jobs_changed (self);
  }
}
