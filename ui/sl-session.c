#include "ui/sl-session.h"

#include "engine/engine.h"
#include "ui/sl-feed.h"
#include "ui/sl-resample.h"
#include "ui/sl-session-private.h"

#define THUMBNAIL_HEIGHT 160

struct _SlSession {
  GObject parent_instance;

  GApplication *application; /* held; NULL: none */
  eng_engine *engine;        /* made and freed on workers */
  sl_feed *feed;
  GListStore *results;
  GQueue jobs; /* of struct job, the running one first */

  SlState state;
  eng_model_info *model;
  char *wanted_path; /* asked for before there was an engine */
  guint n_loads;     /* asked for and not done */
  guint last_serial;

  int step, n_steps, picture, n_pictures;
  int width, height; /* of the pictures being made */
  double progress, left;
  GdkTexture *preview;
  char *error;
};

struct job {
  guint serial;
  eng_job *job;
};

/* What the engine's thread is given: it never sees the session. */
struct ticket {
  sl_feed *feed; /* outlives the engine */
  guint serial;

  eng_image *image; /* filled by done */
  SlResult *result;
  eng_model_info *info;
  GError *error;
};

enum {
  PROP_0,
  PROP_STATE,
  PROP_BUSY,
  PROP_PROGRESS,
  PROP_STEP,
  PROP_N_STEPS,
  PROP_PICTURE,
  PROP_N_PICTURES,
  PROP_LEFT,
  PROP_PREVIEW,
  PROP_MODEL_NAME,
  PROP_MODEL_PATH,
  PROP_MODEL_FAMILY,
  PROP_PROMPT_LIMIT,
  PROP_SIZE_MULTIPLE,
  PROP_DEVICE_NAME,
  PROP_DEVICE_REASON,
  PROP_ERROR,
  N_PROPS
};

enum { SIGNAL_RESULT, SIGNAL_LOADED, N_SIGNALS };

static GParamSpec *props[N_PROPS];
static guint signals[N_SIGNALS];

G_DEFINE_FINAL_TYPE (SlSession, sl_session, G_TYPE_OBJECT)

static void
notify (SlSession *self, int prop)
{
  g_object_notify_by_pspec (G_OBJECT (self), props[prop]);
}

static void
set_state (SlSession *self, SlState state)
{
  if (self->state == state)
    return;
  self->state = state;
  notify (self, PROP_STATE);
}

static void
set_error (SlSession *self, const char *message)
{
  g_free (self->error);
  self->error = g_strdup (message);
  notify (self, PROP_ERROR);
}

static void
ticket_free (struct ticket *ticket)
{
  g_clear_pointer (&ticket->image, eng_image_unref);
  g_clear_pointer (&ticket->info, eng_model_info_unref);
  g_clear_object (&ticket->result);
  g_clear_error (&ticket->error);
  g_free (ticket);
}

static struct ticket *
ticket_new (SlSession *self, guint serial)
{
  struct ticket *ticket = g_new0 (struct ticket, 1);

  ticket->feed = self->feed;
  ticket->serial = serial;
  return ticket;
}

/* ---- The engine's thread and the worker ---- */

static void
load_progress_cb (double fraction, void *data)
{
  const struct ticket *ticket = data;
  const struct sl_feed_progress progress = { .fraction = fraction, .left = -1 };

  sl_feed_post_progress (ticket->feed, &progress);
}

static void load_done (gpointer owner, gpointer data);
static void job_done (gpointer owner, gpointer data);

static void
load_done_cb (eng_model_info *info, const GError *error, void *data)
{
  struct ticket *ticket = data;

  ticket->info = info ? eng_model_info_ref (info) : NULL;
  ticket->error = error ? g_error_copy (error) : NULL;
  sl_feed_post_event (ticket->feed, load_done, ticket, (GDestroyNotify) ticket_free);
}

static void
job_progress_cb (eng_job *job, const struct eng_progress *progress, void *data)
{
  const struct ticket *ticket = data;
  const struct sl_feed_progress now = {
    .serial = ticket->serial,
    .step = progress->step,
    .n_steps = progress->n_steps,
    .fraction = progress->n_steps ? (double) progress->step / progress->n_steps : 0,
    .elapsed = progress->elapsed,
    .left = progress->left,
  };

  sl_feed_post_progress (ticket->feed, &now);
  if (progress->frame)
    sl_feed_post_frame (ticket->feed, ticket->serial, progress->frame->width,
                        progress->frame->height, progress->frame->rgba);
}

static GdkTexture *
make_thumbnail (const uint8_t *rgba, int width, int height)
{
  const int to_height = MIN (height, THUMBNAIL_HEIGHT);
  const int to_width = MAX (1, (int) ((gint64) width * to_height / height));
  g_autoptr (GBytes) bytes = sl_resample (rgba, width, height, to_width, to_height);

  return gdk_memory_texture_new (to_width, to_height, GDK_MEMORY_R8G8B8A8_PREMULTIPLIED, bytes,
                                 (gsize) to_width * 4);
}

static void
job_done_work (sl_feed *feed, gpointer data)
{
  struct ticket *ticket = data;
  eng_image *image = ticket->image;

  if (image) {
    const int width = eng_image_get_width (image), height = eng_image_get_height (image);
    GBytes *rgba = eng_image_get_rgba (image);
    const struct sl_result_parts parts = {
      .image = eng_image_ref (image),
      .release = (GDestroyNotify) eng_image_unref,
      .recipe = sl_session_recipe_from_params (eng_image_get_params (image)),
      .texture = gdk_memory_texture_new (width, height, GDK_MEMORY_R8G8B8A8_PREMULTIPLIED, rgba,
                                         (gsize) width * 4),
      .thumbnail = make_thumbnail (g_bytes_get_data (rgba, NULL), width, height),
      .warning = g_strdup (eng_image_get_warning (image)),
      .seconds = eng_image_get_seconds (image),
    };

    ticket->result = sl_result_new (&parts);
  }
  sl_feed_post_event (feed, job_done, ticket, (GDestroyNotify) ticket_free);
}

static void
job_done_cb (eng_job *job, eng_image *image, const GError *error, void *data)
{
  struct ticket *ticket = data;

  ticket->image = image ? eng_image_ref (image) : NULL;
  ticket->error = error ? g_error_copy (error) : NULL;
  sl_feed_work (ticket->feed, job_done_work, ticket);
}

/* ---- The main thread ---- */

static void
notify_model (SlSession *self)
{
  static const int changed[] = { PROP_MODEL_NAME, PROP_MODEL_PATH, PROP_MODEL_FAMILY,
                                 PROP_PROMPT_LIMIT, PROP_SIZE_MULTIPLE };

  for (guint i = 0; i < G_N_ELEMENTS (changed); i++)
    notify (self, changed[i]);
}

/* After a failed load: only a path that could not be read at all leaves the earlier model in place,
 * and a model that counts tokens is there. */
static void
check_model_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  SlSession *self = SL_SESSION (object);

  if (sl_session_count_tokens_finish (self, result, NULL) > 0 || self->n_loads > 0 || !self->model)
    return;
  g_clear_pointer (&self->model, eng_model_info_unref);
  notify_model (self);
  set_state (self, SL_STATE_NO_MODEL);
}

static void
load_done (gpointer owner, gpointer data)
{
  SlSession *self = owner;
  struct ticket *ticket = data;

  self->n_loads--;
  if (ticket->info) {
    g_clear_pointer (&self->model, eng_model_info_unref);
    self->model = g_steal_pointer (&ticket->info);
    notify_model (self);
  } else if (self->model) {
    sl_session_count_tokens_async (self, "a", NULL, check_model_cb, NULL);
  }
  if (self->n_loads > 0)
    return;

  self->progress = 0;
  set_state (self, self->model ? SL_STATE_READY : SL_STATE_NO_MODEL);
  if (ticket->error && !g_error_matches (ticket->error, ENG_ERROR, ENG_ERROR_CANCELLED))
    set_error (self, ticket->error->message);
  else if (!ticket->error)
    g_signal_emit (self, signals[SIGNAL_LOADED], 0);
}

static void
set_preview (SlSession *self, GdkTexture *preview)
{
  if (g_set_object (&self->preview, preview))
    notify (self, PROP_PREVIEW);
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
  notify (self, PROP_STEP);
  notify (self, PROP_N_STEPS);
  notify (self, PROP_LEFT);
  notify (self, PROP_PROGRESS);
}

static void
job_free (struct job *job)
{
  eng_job_unref (job->job);
  g_free (job);
}

static int
compare_serial (gconstpointer job, gconstpointer serial)
{
  return ((const struct job *) job)->serial != GPOINTER_TO_UINT (serial);
}

/* A job has left the queue. */
static void
jobs_changed (SlSession *self)
{
  const int n = (int) g_queue_get_length (&self->jobs);

  set_preview (self, NULL);
  if (n == 0)
    self->n_pictures = 0;
  self->picture = n ? self->n_pictures - n + 1 : 0;
  set_progress (self, NULL);
  if (n == 0)
    notify (self, PROP_BUSY);
  notify (self, PROP_PICTURE);
  notify (self, PROP_N_PICTURES);
}

static void
cancel_jobs (SlSession *self)
{
  for (GList *l = self->jobs.head; l; l = l->next)
    eng_job_cancel (((struct job *) l->data)->job);
}

static void
job_done (gpointer owner, gpointer data)
{
  SlSession *self = owner;
  struct ticket *ticket = data;
  GList *link =
      g_queue_find_custom (&self->jobs, GUINT_TO_POINTER (ticket->serial), compare_serial);

  if (!link) /* cancelled while it waited for a model */
    return;
  job_free (link->data);
  g_queue_delete_link (&self->jobs, link);
  if (ticket->result) {
    sl_result_append (ticket->result, self->results);
    g_signal_emit (self, signals[SIGNAL_RESULT], 0, ticket->result);
  } else if (ticket->error && !g_error_matches (ticket->error, ENG_ERROR, ENG_ERROR_CANCELLED)) {
    set_error (self, ticket->error->message);
    cancel_jobs (self); /* the others would fail the same way */
  }
  jobs_changed (self);
}

static void
progress_cb (const struct sl_feed_progress *progress, gpointer owner)
{
  SlSession *self = owner;
  const struct job *running = g_queue_peek_head (&self->jobs);

  if (progress->serial == 0 && self->n_loads > 0) {
    self->progress = progress->fraction;
    notify (self, PROP_PROGRESS);
  } else if (running && running->serial == progress->serial) {
    set_progress (self, progress);
  }
}

static void
preview_cb (guint serial, GdkTexture *texture, gpointer owner)
{
  SlSession *self = owner;
  const struct job *running = g_queue_peek_head (&self->jobs);

  if (running && running->serial == serial)
    set_preview (self, texture);
}

static void
start_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  const struct eng_options options = { .device = g_getenv ("SAFELIGHT_DEVICE") };
  GError *error = NULL;
  eng_engine *engine = eng_engine_new (&options, &error);

  if (engine)
    g_task_return_pointer (task, engine, (GDestroyNotify) eng_engine_free);
  else
    g_task_return_error (task, error);
}

static void
start_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  SlSession *self = SL_SESSION (object);
  g_autoptr (GError) error = NULL;

  self->engine = g_task_propagate_pointer (G_TASK (result), &error);
  if (!self->engine) {
    set_state (self, SL_STATE_NO_ENGINE);
    set_error (self, error->message);
    return;
  }
  notify (self, PROP_DEVICE_NAME);
  notify (self, PROP_DEVICE_REASON);
  if (self->wanted_path)
    sl_session_load (self, self->wanted_path);
  else
    set_state (self, SL_STATE_NO_MODEL);
}

SlSession *
sl_session_new (void)
{
  return g_object_new (SL_TYPE_SESSION, NULL);
}

void
sl_session_start (SlSession *self)
{
  g_autoptr (GTask) task = NULL;

  g_return_if_fail (SL_IS_SESSION (self) && !self->engine);

  set_state (self, SL_STATE_STARTING);
  task = g_task_new (self, NULL, start_cb, NULL);
  g_task_run_in_thread (task, start_thread);
}

void
sl_session_load (SlSession *self, const char *path)
{
  struct eng_load_observer observer = { .progress = load_progress_cb, .done = load_done_cb };
  g_autofree char *copy = NULL;

  g_return_if_fail (SL_IS_SESSION (self) && path);

  copy = g_strdup (path); /* may be wanted_path */
  g_free (self->wanted_path);
  self->wanted_path = g_steal_pointer (&copy);
  if (!self->engine)
    return;

  set_error (self, NULL);
  self->n_loads++;
  observer.data = ticket_new (self, 0);
  eng_engine_load (self->engine, self->wanted_path, &observer);
  set_state (self, SL_STATE_LOADING);
}

static gboolean
submit (SlSession *self, const struct eng_params *params, GError **error)
{
  struct eng_observer observer = { .progress = job_progress_cb, .done = job_done_cb };
  g_autofree struct job *job = g_new0 (struct job, 1);

  job->serial = ++self->last_serial;
  observer.data = ticket_new (self, job->serial);
  job->job = eng_engine_submit (self->engine, params, &observer, error);
  if (!job->job) {
    ticket_free (observer.data);
    return FALSE;
  }
  g_queue_push_tail (&self->jobs, g_steal_pointer (&job));
  return TRUE;
}

gboolean
sl_session_generate (SlSession *self, const SlRecipe *recipe, int n)
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
  };

  g_return_val_if_fail (SL_IS_SESSION (self), FALSE);
  if (!self->engine || !g_queue_is_empty (&self->jobs))
    return FALSE;

  set_error (self, NULL);
  for (int i = 0; i < n && !error; i++) {
    params.seed = recipe->seed + (guint64) i;
    submit (self, &params, &error);
  }
  if (error) {
    set_error (self, error->message);
    cancel_jobs (self);
  }
  if (g_queue_is_empty (&self->jobs))
    return FALSE;

  self->width = recipe->width;
  self->height = recipe->height;
  self->picture = 1;
  self->n_pictures = (int) g_queue_get_length (&self->jobs);
  set_progress (self, NULL);
  notify (self, PROP_PICTURE);
  notify (self, PROP_N_PICTURES);
  notify (self, PROP_BUSY);
  return TRUE;
}

void
sl_session_cancel (SlSession *self)
{
  g_return_if_fail (SL_IS_SESSION (self));

  cancel_jobs (self);
  /* What waits for a model ends when its turn comes: a minute, for a large one.  Nobody has to wait
   * for that. */
  if (self->state == SL_STATE_LOADING && self->n_steps == 0 && !g_queue_is_empty (&self->jobs)) {
    g_queue_clear_full (&self->jobs, (GDestroyNotify) job_free);
    jobs_changed (self);
  }
}

SlState
sl_session_get_state (SlSession *self)
{
  return self->state;
}

gboolean
sl_session_get_busy (SlSession *self)
{
  return !g_queue_is_empty (&self->jobs);
}

GListModel *
sl_session_get_results (SlSession *self)
{
  return G_LIST_MODEL (self->results);
}

GdkTexture *
sl_session_get_preview (SlSession *self)
{
  return self->preview;
}

const char *
sl_session_get_model_path (SlSession *self)
{
  return self->model ? eng_model_info_get_path (self->model) : "";
}

const char *
sl_session_get_error (SlSession *self)
{
  return self->error;
}

void
sl_session_get_size (SlSession *self, int *width, int *height)
{
  *width = self->width;
  *height = self->height;
}

void
sl_session_dismiss_error (SlSession *self)
{
  set_error (self, NULL);
}

void
sl_session_take_error (SlSession *self, GError *error)
{
  if (error && !g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    set_error (self, error->message);
  g_clear_error (&error);
}

eng_engine *
sl_session_get_engine (SlSession *self)
{
  return self->engine;
}

eng_model_info *
sl_session_get_model (SlSession *self)
{
  return self->model;
}

/* ---- The object ---- */

struct remains {
  eng_engine *engine;
  sl_feed *feed;
};

static void
free_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  struct remains *remains = data;

  eng_engine_free (remains->engine);
  sl_feed_free (remains->feed);
  g_task_return_boolean (task, TRUE);
}

static void
freed_cb (GObject *application, GAsyncResult *result, gpointer data)
{
  if (application)
    g_application_release (G_APPLICATION (application)); /* see init */
}

/* Joining the engine's thread may take a moment: the window goes at once. */
static void
free_in_background (SlSession *self)
{
  struct remains *remains = g_new0 (struct remains, 1);
  g_autoptr (GTask) task = g_task_new (self->application, NULL, freed_cb, NULL);

  remains->engine = g_steal_pointer (&self->engine);
  remains->feed = g_steal_pointer (&self->feed);
  g_task_set_task_data (task, remains, g_free);
  g_task_run_in_thread (task, free_thread);
}

static void
sl_session_finalize (GObject *object)
{
  SlSession *self = SL_SESSION (object);

  cancel_jobs (self);
  sl_feed_close (self->feed);
  g_queue_clear_full (&self->jobs, (GDestroyNotify) job_free);
  free_in_background (self);
  g_clear_object (&self->results);
  g_clear_object (&self->preview);
  g_clear_pointer (&self->model, eng_model_info_unref);
  g_clear_object (&self->application);
  g_free (self->wanted_path);
  g_free (self->error);

  G_OBJECT_CLASS (sl_session_parent_class)->finalize (object);
}

static void
get_model_property (SlSession *self, guint id, GValue *value)
{
  eng_model_info *model = self->model;

  switch (id) {
  case PROP_MODEL_NAME:
    g_value_set_string (value, model ? eng_model_info_get_name (model) : "");
    break;
  case PROP_MODEL_PATH:
    g_value_set_string (value, model ? eng_model_info_get_path (model) : "");
    break;
  case PROP_MODEL_FAMILY:
    g_value_set_string (value, model ? eng_model_info_get_family (model) : "");
    break;
  case PROP_PROMPT_LIMIT:
    g_value_set_int (value, model ? eng_model_info_get_prompt_limit (model) : 0);
    break;
  case PROP_SIZE_MULTIPLE:
    g_value_set_int (value, model ? eng_model_info_get_size_multiple (model) : 16);
    break;
  }
}

static void
sl_session_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  SlSession *self = SL_SESSION (object);

  switch (id) {
  case PROP_STATE:
    g_value_set_enum (value, self->state);
    break;
  case PROP_BUSY:
    g_value_set_boolean (value, sl_session_get_busy (self));
    break;
  case PROP_PROGRESS:
    g_value_set_double (value, self->progress);
    break;
  case PROP_STEP:
    g_value_set_int (value, self->step);
    break;
  case PROP_N_STEPS:
    g_value_set_int (value, self->n_steps);
    break;
  case PROP_PICTURE:
    g_value_set_int (value, self->picture);
    break;
  case PROP_N_PICTURES:
    g_value_set_int (value, self->n_pictures);
    break;
  case PROP_LEFT:
    g_value_set_double (value, self->left);
    break;
  case PROP_PREVIEW:
    g_value_set_object (value, self->preview);
    break;
  case PROP_DEVICE_NAME:
    g_value_set_string (value, self->engine ? eng_engine_get_device_name (self->engine) : "");
    break;
  case PROP_DEVICE_REASON:
    g_value_set_string (value, self->engine ? eng_engine_get_device_reason (self->engine) : "");
    break;
  case PROP_ERROR:
    g_value_set_string (value, self->error);
    break;
  case PROP_MODEL_NAME:
  case PROP_MODEL_PATH:
  case PROP_MODEL_FAMILY:
  case PROP_PROMPT_LIMIT:
  case PROP_SIZE_MULTIPLE:
    get_model_property (self, id, value);
    break;
  default:
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  }
}

static void
sl_session_class_init (SlSessionClass *klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  const GParamFlags flags = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS | G_PARAM_EXPLICIT_NOTIFY;

  object_class->finalize = sl_session_finalize;
  object_class->get_property = sl_session_get_property;

  props[PROP_STATE] =
      g_param_spec_enum ("state", NULL, NULL, SL_TYPE_STATE, SL_STATE_STARTING, flags);
  props[PROP_BUSY] = g_param_spec_boolean ("busy", NULL, NULL, FALSE, flags);
  props[PROP_PROGRESS] = g_param_spec_double ("progress", NULL, NULL, 0, 1, 0, flags);
  props[PROP_STEP] = g_param_spec_int ("step", NULL, NULL, 0, G_MAXINT, 0, flags);
  props[PROP_N_STEPS] = g_param_spec_int ("n-steps", NULL, NULL, 0, G_MAXINT, 0, flags);
  props[PROP_PICTURE] = g_param_spec_int ("picture", NULL, NULL, 0, G_MAXINT, 0, flags);
  props[PROP_N_PICTURES] = g_param_spec_int ("n-pictures", NULL, NULL, 0, G_MAXINT, 0, flags);
  props[PROP_LEFT] = g_param_spec_double ("left", NULL, NULL, -1, G_MAXDOUBLE, -1, flags);
  props[PROP_PREVIEW] = g_param_spec_object ("preview", NULL, NULL, GDK_TYPE_TEXTURE, flags);
  props[PROP_MODEL_NAME] = g_param_spec_string ("model-name", NULL, NULL, "", flags);
  props[PROP_MODEL_PATH] = g_param_spec_string ("model-path", NULL, NULL, "", flags);
  props[PROP_MODEL_FAMILY] = g_param_spec_string ("model-family", NULL, NULL, "", flags);
  props[PROP_PROMPT_LIMIT] = g_param_spec_int ("prompt-limit", NULL, NULL, 0, G_MAXINT, 0, flags);
  props[PROP_SIZE_MULTIPLE] = g_param_spec_int ("size-multiple", NULL, NULL, 1, 256, 16, flags);
  props[PROP_DEVICE_NAME] = g_param_spec_string ("device-name", NULL, NULL, "", flags);
  props[PROP_DEVICE_REASON] = g_param_spec_string ("device-reason", NULL, NULL, "", flags);
  props[PROP_ERROR] = g_param_spec_string ("error", NULL, NULL, NULL, flags);
  g_object_class_install_properties (object_class, N_PROPS, props);

  signals[SIGNAL_RESULT] = g_signal_new ("result", SL_TYPE_SESSION, G_SIGNAL_RUN_LAST, 0, NULL,
                                         NULL, NULL, G_TYPE_NONE, 1, SL_TYPE_RESULT);
  signals[SIGNAL_LOADED] = g_signal_new ("loaded", SL_TYPE_SESSION, G_SIGNAL_RUN_LAST, 0, NULL,
                                         NULL, NULL, G_TYPE_NONE, 0);
}

static void
sl_session_init (SlSession *self)
{
  static const struct sl_feed_client client = { progress_cb, preview_cb };

  /* The application stays until the engine's thread is gone, and with it what was still being saved
   * or started when the window closed. */
  g_set_object (&self->application, g_application_get_default ());
  if (self->application)
    g_application_hold (self->application);
  self->left = -1;
  self->results = g_list_store_new (SL_TYPE_RESULT);
  self->feed = sl_feed_new (&client, self);
  g_queue_init (&self->jobs);
}
