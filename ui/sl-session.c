#include "ui/sl-session.h"

#include "engine/engine.h"
#include "ui/sl-feed.h"
#include "ui/sl-session-private.h"

static GParamSpec *props[SL_N_PROPS];
static guint signals[SL_N_SIGNALS];

G_DEFINE_FINAL_TYPE (SlSession, sl_session, G_TYPE_OBJECT)

void
sl_session_notify (SlSession *self, int prop)
{
  g_object_notify_by_pspec (G_OBJECT (self), props[prop]);
}

void
sl_session_emit_result (SlSession *self, int signal, SlResult *result)
{
  g_signal_emit (self, signals[signal], 0, result);
}

void
sl_session_set_state (SlSession *self, SlState state)
{
  if (self->state == state)
    return;
  self->state = state;
  sl_session_notify (self, SL_PROP_STATE);
}

void
sl_session_set_error (SlSession *self, const char *message)
{
  g_free (self->error);
  self->error = g_strdup (message);
  sl_session_notify (self, SL_PROP_ERROR);
}

static void
notify_model (SlSession *self)
{
  static const int changed[] = { SL_PROP_MODEL_NAME, SL_PROP_MODEL_PATH, SL_PROP_MODEL_FAMILY,
                                 SL_PROP_PROMPT_LIMIT, SL_PROP_SIZE_MULTIPLE };

  for (guint i = 0; i < G_N_ELEMENTS (changed); i++)
    sl_session_notify (self, changed[i]);
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
  sl_session_set_state (self, SL_STATE_NO_MODEL);
}

void
sl_session_load_done (gpointer owner, gpointer data)
{
  SlSession *self = owner;
  struct sl_ticket *ticket = data;

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
  sl_session_set_state (self, self->model ? SL_STATE_READY : SL_STATE_NO_MODEL);
  if (ticket->error && !g_error_matches (ticket->error, ENG_ERROR, ENG_ERROR_CANCELLED))
    sl_session_set_error (self, ticket->error->message);
  else if (!ticket->error)
    g_signal_emit (self, signals[SL_SIGNAL_LOADED], 0);
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
    sl_session_set_state (self, SL_STATE_NO_ENGINE);
    sl_session_set_error (self, error->message);
    return;
  }
  sl_session_notify (self, SL_PROP_DEVICE_NAME);
  sl_session_notify (self, SL_PROP_DEVICE_REASON);
  if (self->wanted_path)
    sl_session_load (self, self->wanted_path);
  else
    sl_session_set_state (self, SL_STATE_NO_MODEL);
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

  sl_session_set_state (self, SL_STATE_STARTING);
  task = g_task_new (self, NULL, start_cb, NULL);
  g_task_run_in_thread (task, start_thread);
}

void
sl_session_load (SlSession *self, const char *path)
{
  struct eng_load_observer observer = { .progress = sl_ticket_load_progress,
                                        .done = sl_ticket_load_done };
  g_autofree char *copy = NULL;

  g_return_if_fail (SL_IS_SESSION (self) && path);

  copy = g_strdup (path); /* may be wanted_path */
  g_free (self->wanted_path);
  self->wanted_path = g_steal_pointer (&copy);
  if (!self->engine)
    return;

  sl_session_set_error (self, NULL);
  self->n_loads++;
  observer.data = sl_ticket_new (self, 0);
  eng_engine_load (self->engine, self->wanted_path, &observer);
  sl_session_set_state (self, SL_STATE_LOADING);
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

gboolean
sl_session_get_has_preview (SlSession *self)
{
  return self->live || self->preview;
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
  sl_session_set_error (self, NULL);
}

void
sl_session_take_error (SlSession *self, GError *error)
{
  if (error && !g_error_matches (error, G_IO_ERROR, G_IO_ERROR_CANCELLED))
    sl_session_set_error (self, error->message);
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

  sl_session_cancel_jobs (self);
  sl_feed_close (self->feed);
  g_queue_clear_full (&self->jobs, (GDestroyNotify) sl_session_job_free);
  free_in_background (self);
  g_clear_object (&self->results);
  g_clear_object (&self->timings);
  g_clear_object (&self->preview);
  g_clear_pointer (&self->model, eng_model_info_unref);
  g_clear_object (&self->application);
  g_free (self->wanted_path);
  g_free (self->error);
  g_free (self->view);
  g_free (self->view_reason);
  g_free (self->view_name);
  g_clear_pointer (&self->recipe, sl_recipe_free);

  G_OBJECT_CLASS (sl_session_parent_class)->finalize (object);
}

static void
get_model_property (SlSession *self, guint id, GValue *value)
{
  eng_model_info *model = self->model;

  switch (id) {
  case SL_PROP_MODEL_NAME:
    g_value_set_string (value, model ? eng_model_info_get_name (model) : "");
    break;
  case SL_PROP_MODEL_PATH:
    g_value_set_string (value, model ? eng_model_info_get_path (model) : "");
    break;
  case SL_PROP_MODEL_FAMILY:
    g_value_set_string (value, model ? eng_model_info_get_family (model) : "");
    break;
  case SL_PROP_PROMPT_LIMIT:
    g_value_set_int (value, model ? eng_model_info_get_prompt_limit (model) : 0);
    break;
  case SL_PROP_SIZE_MULTIPLE:
    g_value_set_int (value, model ? eng_model_info_get_size_multiple (model) : 16);
    break;
  }
}

static void
sl_session_get_property (GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
  SlSession *self = SL_SESSION (object);

  switch (id) {
  case SL_PROP_STATE:
    g_value_set_enum (value, self->state);
    break;
  case SL_PROP_BUSY:
    g_value_set_boolean (value, sl_session_get_busy (self));
    break;
  case SL_PROP_PROGRESS:
    g_value_set_double (value, self->progress);
    break;
  case SL_PROP_STEP:
    g_value_set_int (value, self->step);
    break;
  case SL_PROP_N_STEPS:
    g_value_set_int (value, self->n_steps);
    break;
  case SL_PROP_PICTURE:
    g_value_set_int (value, self->picture);
    break;
  case SL_PROP_N_PICTURES:
    g_value_set_int (value, self->n_pictures);
    break;
  case SL_PROP_LEFT:
    g_value_set_double (value, self->left);
    break;
  case SL_PROP_PREVIEW:
    g_value_set_object (value, self->preview);
    break;
  case SL_PROP_DEVICE_NAME:
    g_value_set_string (value, self->engine ? eng_engine_get_device_name (self->engine) : "");
    break;
  case SL_PROP_DEVICE_REASON:
    g_value_set_string (value, self->engine ? eng_engine_get_device_reason (self->engine) : "");
    break;
  case SL_PROP_ERROR:
    g_value_set_string (value, self->error);
    break;
  case SL_PROP_VIEW:
    g_value_set_string (value, self->view ? self->view : "");
    break;
  case SL_PROP_VIEW_REASON:
    g_value_set_string (value, self->view_reason ? self->view_reason : "");
    break;
  case SL_PROP_PREVIEW_BYTES:
    g_value_set_uint64 (value, sl_feed_get_frame_bytes (self->feed));
    break;
  case SL_PROP_MODEL_NAME:
  case SL_PROP_MODEL_PATH:
  case SL_PROP_MODEL_FAMILY:
  case SL_PROP_PROMPT_LIMIT:
  case SL_PROP_SIZE_MULTIPLE:
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

  props[SL_PROP_STATE] =
      g_param_spec_enum ("state", NULL, NULL, SL_TYPE_STATE, SL_STATE_STARTING, flags);
  props[SL_PROP_BUSY] = g_param_spec_boolean ("busy", NULL, NULL, FALSE, flags);
  props[SL_PROP_PROGRESS] = g_param_spec_double ("progress", NULL, NULL, 0, 1, 0, flags);
  props[SL_PROP_STEP] = g_param_spec_int ("step", NULL, NULL, 0, G_MAXINT, 0, flags);
  props[SL_PROP_N_STEPS] = g_param_spec_int ("n-steps", NULL, NULL, 0, G_MAXINT, 0, flags);
  props[SL_PROP_PICTURE] = g_param_spec_int ("picture", NULL, NULL, 0, G_MAXINT, 0, flags);
  props[SL_PROP_N_PICTURES] = g_param_spec_int ("n-pictures", NULL, NULL, 0, G_MAXINT, 0, flags);
  props[SL_PROP_LEFT] = g_param_spec_double ("left", NULL, NULL, -1, G_MAXDOUBLE, -1, flags);
  props[SL_PROP_PREVIEW] = g_param_spec_object ("preview", NULL, NULL, GDK_TYPE_TEXTURE, flags);
  props[SL_PROP_MODEL_NAME] = g_param_spec_string ("model-name", NULL, NULL, "", flags);
  props[SL_PROP_MODEL_PATH] = g_param_spec_string ("model-path", NULL, NULL, "", flags);
  props[SL_PROP_MODEL_FAMILY] = g_param_spec_string ("model-family", NULL, NULL, "", flags);
  props[SL_PROP_PROMPT_LIMIT] =
      g_param_spec_int ("prompt-limit", NULL, NULL, 0, G_MAXINT, 0, flags);
  props[SL_PROP_SIZE_MULTIPLE] = g_param_spec_int ("size-multiple", NULL, NULL, 1, 256, 16, flags);
  props[SL_PROP_DEVICE_NAME] = g_param_spec_string ("device-name", NULL, NULL, "", flags);
  props[SL_PROP_DEVICE_REASON] = g_param_spec_string ("device-reason", NULL, NULL, "", flags);
  props[SL_PROP_ERROR] = g_param_spec_string ("error", NULL, NULL, NULL, flags);
  props[SL_PROP_VIEW] = g_param_spec_string ("view", NULL, NULL, "", flags);
  props[SL_PROP_VIEW_REASON] = g_param_spec_string ("view-reason", NULL, NULL, "", flags);
  props[SL_PROP_PREVIEW_BYTES] =
      g_param_spec_uint64 ("preview-bytes", NULL, NULL, 0, G_MAXUINT64, 0, flags);
  g_object_class_install_properties (object_class, SL_N_PROPS, props);

  signals[SL_SIGNAL_RESULT] = g_signal_new ("result", SL_TYPE_SESSION, G_SIGNAL_RUN_LAST, 0, NULL,
                                            NULL, NULL, G_TYPE_NONE, 1, SL_TYPE_RESULT);
  signals[SL_SIGNAL_DRAFT] = g_signal_new ("draft", SL_TYPE_SESSION, G_SIGNAL_RUN_LAST, 0, NULL,
                                           NULL, NULL, G_TYPE_NONE, 1, SL_TYPE_RESULT);
  signals[SL_SIGNAL_LOADED] = g_signal_new ("loaded", SL_TYPE_SESSION, G_SIGNAL_RUN_LAST, 0, NULL,
                                            NULL, NULL, G_TYPE_NONE, 0);
}

static void
sl_session_init (SlSession *self)
{
  static const struct sl_feed_client client = { sl_session_take_progress, sl_session_take_preview };

  /* The application stays until the engine's thread is gone, and with it what was still being saved
   * or started when the window closed. */
  g_set_object (&self->application, g_application_get_default ());
  if (self->application)
    g_application_hold (self->application);
  self->left = self->preview_ms = -1;
  self->results = g_list_store_new (SL_TYPE_RESULT);
  self->timings = g_list_store_new (SL_TYPE_TIMING);
  self->feed = sl_feed_new (&client, self);
  g_queue_init (&self->jobs);
}
