/* engine/engine.c - the engine's thread and what waits for it. */
#include "engine/bench.h"
#include "engine/device.h"
#include "engine/gl_view.h"
#include "engine/gpu_sample.h"
#include "engine/params.h"
#include "engine/pipeline.h"

#include <string.h>

struct eng_job {
  gatomicrefcount refs;
  struct eng_params *params; /* resolved when the model was known at submit, else as given */
  struct eng_observer observer;
  struct eng_debug debug;
  guint load;         /* number of the load that it waits for; 0: none was on its way at submit */
  int cancelled;      /* atomic */
  eng_engine *engine; /* borrowed; while it is in the making */
};

struct load {
  char *path;
  guint number; /* from 1 */
  struct eng_load_observer observer;
  int cancelled; /* atomic */
};

/* What waits: one of the two. */
struct task {
  struct load *load;
  eng_job *job; /* referenced */
};

struct eng_engine {
  GRWLock device_lock; /* of what follows; writer: the engine's thread when it opens it again */
  struct krn_device *device;
  eng_gl_view *view; /* the window's last, or NULL */
  char *kind, *name, *reason;
  int threads;
  enum eng_residency text_encoder;
  GThread *thread;

  GMutex mutex;           /* guards what follows */
  GCond cond;             /* a task came, or quit */
  GQueue tasks;           /* of struct task */
  GQueue running;         /* of struct task: what the thread is at */
  struct eng_debug debug; /* of the jobs submitted next */
  guint loads;            /* waiting or running */
  guint last_load;        /* number of the last one asked for */
  eng_model_info *info;   /* of the loaded model, or NULL */
  gboolean quit;
  size_t weights, arena; /* bytes on the device */

  GRWLock tokenizer_lock;         /* writer: the engine's thread when the model changes */
  const eng_tokenizer *tokenizer; /* of the loaded model, or NULL */

  /* The engine's thread alone. */
  eng_pipeline *pipeline;
  guint loaded; /* number of the load that the model came with */
};

static void
load_free (struct load *load)
{
  g_free (load->path);
  g_free (load);
}

/* ---- Jobs ---- */

static eng_job *
job_new (struct eng_params *params, const struct eng_observer *observer)
{
  eng_job *job = g_new0 (eng_job, 1);

  g_atomic_ref_count_init (&job->refs);
  job->params = params;
  if (observer)
    job->observer = *observer;
  return job;
}

eng_job *
eng_job_ref (eng_job *job)
{
  g_atomic_ref_count_inc (&job->refs);
  return job;
}

void
eng_job_unref (eng_job *job)
{
  if (!g_atomic_ref_count_dec (&job->refs))
    return;
  eng_params_free (job->params);
  g_free (job);
}

void
eng_job_cancel (eng_job *job)
{
  g_atomic_int_set (&job->cancelled, 1);
}

/* ---- Loads ---- */

static void
load_progress_cb (double fraction, void *data)
{
  struct load *load = data;

  if (load->observer.progress)
    load->observer.progress (fraction, load->observer.data);
}

/* What other threads see of the model. */
static void
publish_model (eng_engine *engine)
{
  const eng_model *model = eng_pipeline_get_model (engine->pipeline);

  g_mutex_lock (&engine->mutex);
  g_clear_pointer (&engine->info, eng_model_info_unref);
  engine->info = model ? eng_model_info_ref (model->info) : NULL;
  g_mutex_unlock (&engine->mutex);

  g_rw_lock_writer_lock (&engine->tokenizer_lock);
  engine->tokenizer = model ? model->tokenizer : NULL;
  g_rw_lock_writer_unlock (&engine->tokenizer_lock);
}

/* The model is about to go. */
static void
hide_model (eng_engine *engine)
{
  g_rw_lock_writer_lock (&engine->tokenizer_lock);
  engine->tokenizer = NULL;
  g_rw_lock_writer_unlock (&engine->tokenizer_lock);
}

static void
close_device (eng_engine *engine)
{
  g_rw_lock_writer_lock (&engine->device_lock);
  if (engine->view)
    eng_gl_view_lose (engine->view);
  g_clear_pointer (&engine->view, eng_gl_view_unref);
  g_clear_pointer (&engine->pipeline, eng_pipeline_free);
  if (engine->device)
    engine->device->close (engine->device);
  engine->device = NULL;
  g_rw_lock_writer_unlock (&engine->device_lock);
}

/* Opens the device again when it was lost; all that was on it is gone.  The model's info stays for
 * who recovers.  A GPU that cannot be had again is not replaced by the CPU: that would be a hundred
 * times slower without a word. */
static gboolean
reopen (eng_engine *engine, GError **error)
{
  g_autofree char *reason = NULL;
  struct krn_device *device;

  if (engine->pipeline && !eng_pipeline_is_lost (engine->pipeline))
    return TRUE;
  hide_model (engine);
  close_device (engine);
  device = eng_device_open (engine->kind, engine->threads, &reason, error);
  g_rw_lock_writer_lock (&engine->device_lock);
  engine->device = device;
  engine->pipeline = device ? eng_pipeline_new (device, engine->text_encoder, error) : NULL;
  g_rw_lock_writer_unlock (&engine->device_lock);
  return engine->pipeline != NULL;
}

static eng_model_info *
run_load (eng_engine *engine, struct load *load, GError **error)
{
  g_autoptr (eng_model_info) info = NULL;
  gboolean ok;

  if (g_atomic_int_get (&load->cancelled)) {
    g_set_error_literal (error, ENG_ERROR, ENG_ERROR_CANCELLED, "cancelled");
    return NULL;
  }
  info = eng_model_inspect (load->path, error);
  if (!info || !reopen (engine, error))
    return NULL;

  hide_model (engine);
  ok = eng_pipeline_load (engine->pipeline, info, load_progress_cb, load, &load->cancelled, error);
  publish_model (engine);
  if (!ok)
    return NULL;
  engine->loaded = load->number;
  return g_steal_pointer (&info);
}

/* After the device was lost: the model comes back, if there was one. */
static void
recover (eng_engine *engine, GError **error)
{
  g_autoptr (eng_model_info) info = engine->info ? eng_model_info_ref (engine->info) : NULL;

  if (!reopen (engine, error) || !info)
    return;
  eng_pipeline_load (engine->pipeline, info, NULL, NULL, NULL, error);
  publish_model (engine);
}

static void
do_load (eng_engine *engine, struct load *load)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (eng_model_info) info = run_load (engine, load, &error);

  g_mutex_lock (&engine->mutex);
  engine->loads--;
  g_mutex_unlock (&engine->mutex);
  if (load->observer.done)
    load->observer.done (info, error, load->observer.data);
}

/* ---- Pictures ---- */

static void
job_progress_cb (const struct eng_progress *progress, void *data)
{
  eng_job *job = data;

  if (job->observer.progress)
    job->observer.progress (job, progress, job->observer.data);
}

static void
task_free (struct task *task)
{
  g_clear_pointer (&task->load, load_free);
  g_clear_pointer (&task->job, eng_job_unref);
  g_free (task);
}

static void
job_done_cb (eng_image *image, const GError *error, void *data)
{
  eng_job *job = data;
  eng_engine *engine = job->engine;
  struct task *task = NULL;

  if (job->observer.done)
    job->observer.done (job, image, error, job->observer.data);
  g_mutex_lock (&engine->mutex);
  for (GList *l = engine->running.head; l && !task; l = l->next)
    if (((struct task *) l->data)->job == job)
      task = l->data;
  g_queue_remove (&engine->running, task);
  g_mutex_unlock (&engine->mutex);
  task_free (task);
}

/* The params of a job whose turn it is, checked against the model. */
static struct eng_params *
resolve_job (eng_engine *engine, eng_job *job, GError **error)
{
  const eng_model *model = engine->pipeline ? eng_pipeline_get_model (engine->pipeline) : NULL;

  if (g_atomic_int_get (&job->cancelled)) {
    g_set_error_literal (error, ENG_ERROR, ENG_ERROR_CANCELLED, "cancelled");
    return NULL;
  }
  if (!model || (job->load && job->load != engine->loaded)) {
    g_set_error_literal (error, ENG_ERROR, ENG_ERROR_MODEL,
                         job->load ? "the model that this picture waited for was not loaded"
                                   : "no model is loaded");
    return NULL;
  }
  return eng_params_resolve (job->params, model->info, error);
}

/* FALSE: its turn has not come.  What cannot be made is told after all that was asked for before.
 */
static gboolean
do_job (eng_engine *engine, eng_job *job)
{
  const struct eng_picture_observer observer = { job_progress_cb, job_done_cb, job,
                                                 &job->cancelled };
  g_autoptr (GError) error = NULL;
  struct eng_params *params;

  if (engine->pipeline && !eng_pipeline_takes (engine->pipeline, &job->debug))
    return FALSE;
  if (!engine->pipeline || eng_pipeline_is_lost (engine->pipeline))
    recover (engine, &error);
  params = error ? NULL : resolve_job (engine, job, &error);
  if (!params && engine->pipeline && eng_pipeline_get_n (engine->pipeline) > 0)
    return FALSE;
  job->engine = engine;
  if (params)
    eng_pipeline_add (engine->pipeline, params, &job->debug, &observer);
  else
    job_done_cb (NULL, error, job);
  return TRUE;
}

/* ---- The thread ---- */

/* How long the device is left alone when it has enough to do: short beside what is enqueued
 * ahead, long beside a look at a few events. */
#define LOOK_AGAIN_US 500

/* Begins the task that is first, unless it must wait.  With the mutex held, which is free
 * meanwhile.
 */
static gboolean
begin_task (eng_engine *engine)
{
  struct task *task = g_queue_peek_head (&engine->tasks);
  const gboolean is_load = task && task->load;
  gboolean begun = TRUE;

  if (!task || (is_load && !g_queue_is_empty (&engine->running)))
    return FALSE;
  g_queue_pop_head (&engine->tasks);
  g_queue_push_tail (&engine->running, task);
  g_mutex_unlock (&engine->mutex);
  if (is_load)
    do_load (engine, task->load);
  else
    begun = do_job (engine, task->job); /* a job that is done is gone with its task */
  g_mutex_lock (&engine->mutex);
  if (is_load) {
    g_queue_remove (&engine->running, task);
    task_free (task);
  } else if (!begun) {
    g_queue_remove (&engine->running, task);
    g_queue_push_head (&engine->tasks, task);
  }
  return begun;
}

static gpointer
engine_thread (gpointer data)
{
  eng_engine *engine = data;
  gboolean busy;

  g_mutex_lock (&engine->mutex);
  for (;;) {
    if (begin_task (engine))
      continue;
    engine->weights = engine->arena = 0;
    if (engine->pipeline) /* a lost device may not have come back */
      eng_pipeline_get_memory (engine->pipeline, &engine->weights, &engine->arena);
    busy = !g_queue_is_empty (&engine->running);
    if (!busy && engine->quit)
      break;
    if (!busy) {
      g_cond_wait (&engine->cond, &engine->mutex);
      continue;
    }
    g_mutex_unlock (&engine->mutex);
    const gboolean some = eng_pipeline_advance (engine->pipeline);
    g_mutex_lock (&engine->mutex);
    if (!some)
      g_cond_wait_until (&engine->cond, &engine->mutex, g_get_monotonic_time () + LOOK_AGAIN_US);
  }
  g_mutex_unlock (&engine->mutex);
  return NULL;
}

/* With the mutex held. */
static void
push_task (eng_engine *engine, struct task task)
{
  g_queue_push_tail (&engine->tasks, g_memdup2 (&task, sizeof task));
  g_cond_signal (&engine->cond);
}

static void
cancel_task (const struct task *task, gboolean jobs)
{
  if (task->load)
    g_atomic_int_set (&task->load->cancelled, 1);
  else if (task->job && jobs)
    eng_job_cancel (task->job);
}

/* With the mutex held. */
static void
cancel_tasks (eng_engine *engine, gboolean jobs)
{
  for (GList *l = engine->running.head; l; l = l->next)
    cancel_task (l->data, jobs);
  for (GList *l = engine->tasks.head; l; l = l->next)
    cancel_task (l->data, jobs);
}

eng_engine *
eng_engine_new (const struct eng_options *options, GError **error)
{
  const struct eng_options defaults = { 0 };
  eng_engine *engine = g_new0 (eng_engine, 1);
  g_autoptr (GError) why = NULL;

  options = options ? options : &defaults;
  g_mutex_init (&engine->mutex);
  g_cond_init (&engine->cond);
  g_rw_lock_init (&engine->tokenizer_lock);
  g_rw_lock_init (&engine->device_lock);
  g_queue_init (&engine->tasks);
  g_queue_init (&engine->running);
  engine->kind = g_strdup (options->device);
  engine->threads = options->threads;
  engine->text_encoder = options->text_encoder;
  engine->device = eng_device_open (options->device, options->threads, &engine->reason, error);
  engine->name = g_strdup (engine->device ? engine->device->name : "");
  if (engine->device && !g_str_equal (engine->device->kind, "cpu")) {
    g_free (engine->kind); /* "auto" found it */
    engine->kind = g_strdup ("cuda");
  }
  if (engine->device)
    engine->pipeline = eng_pipeline_new (engine->device, engine->text_encoder, error);
  if (engine->pipeline)
    engine->thread = g_thread_try_new ("engine", engine_thread, engine, &why);
  if (why)
    g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE, "no thread for the engine: %s", why->message);
  if (!engine->thread)
    g_clear_pointer (&engine, eng_engine_free);
  return engine;
}

void
eng_engine_free (eng_engine *engine)
{
  if (!engine)
    return;
  if (engine->thread) {
    g_mutex_lock (&engine->mutex);
    engine->quit = TRUE;
    cancel_tasks (engine, TRUE);
    g_cond_signal (&engine->cond);
    g_mutex_unlock (&engine->mutex);
    g_thread_join (engine->thread);
  }
  close_device (engine);
  g_clear_pointer (&engine->info, eng_model_info_unref);
  g_mutex_clear (&engine->mutex);
  g_cond_clear (&engine->cond);
  g_rw_lock_clear (&engine->tokenizer_lock);
  g_rw_lock_clear (&engine->device_lock);
  g_free (engine->kind);
  g_free (engine->name);
  g_free (engine->reason);
  g_free (engine);
}

const char *
eng_engine_get_device_name (const eng_engine *engine)
{
  return engine->name;
}

const char *
eng_engine_get_device_reason (const eng_engine *engine)
{
  return engine->reason;
}

eng_gl_view *
eng_gl_view_new (eng_engine *engine, GError **error)
{
  eng_gl_view *view = NULL;

  g_rw_lock_writer_lock (&engine->device_lock);
  if (!engine->pipeline)
    g_set_error_literal (error, ENG_ERROR, ENG_ERROR_DEVICE, "there is no device");
  else
    view = eng_gl_view_open (engine->device, eng_pipeline_get_preview (engine->pipeline), error);
  if (view) {
    g_clear_pointer (&engine->view, eng_gl_view_unref);
    engine->view = eng_gl_view_ref (view);
  }
  g_rw_lock_writer_unlock (&engine->device_lock);
  return view;
}

gboolean
eng_engine_sample_gpu (eng_engine *engine, struct eng_gpu_sample *sample)
{
  gboolean told;

  g_rw_lock_reader_lock (&engine->device_lock);
  told = eng_gpu_sample_read (engine->device, sample);
  g_rw_lock_reader_unlock (&engine->device_lock);
  g_mutex_lock (&engine->mutex);
  sample->weights = (gint64) engine->weights;
  sample->arena = (gint64) engine->arena;
  g_mutex_unlock (&engine->mutex);
  return told;
}

gboolean
eng_engine_try (eng_engine *engine, struct eng_trial *trials, guint n, guint rounds, double *ms,
                GError **error)
{
  const eng_model *model = engine->pipeline ? eng_pipeline_get_model (engine->pipeline) : NULL;

  if (model)
    return eng_bench_run (engine->device, model, trials, n, rounds, ms, error);
  g_set_error_literal (error, ENG_ERROR, ENG_ERROR_MODEL, "no model is loaded");
  return FALSE;
}

void
eng_engine_load (eng_engine *engine, const char *path, const struct eng_load_observer *observer)
{
  struct load *load = g_new0 (struct load, 1);

  load->path = g_strdup (path);
  if (observer)
    load->observer = *observer;
  g_mutex_lock (&engine->mutex);
  cancel_tasks (engine, FALSE);
  engine->loads++;
  load->number = ++engine->last_load;
  push_task (engine, (struct task){ .load = load });
  g_mutex_unlock (&engine->mutex);
}

int
eng_engine_count_tokens (eng_engine *engine, const char *text)
{
  g_autoptr (GArray) ids = NULL;
  int n = 0;

  g_rw_lock_reader_lock (&engine->tokenizer_lock);
  if (engine->tokenizer) {
    ids = eng_tokenizer_encode_chat (engine->tokenizer, text, strlen (text), NULL);
    n = ids ? (int) ids->len : -1;
  }
  g_rw_lock_reader_unlock (&engine->tokenizer_lock);
  return n;
}

void
eng_engine_set_debug (eng_engine *engine, const struct eng_debug *debug)
{
  g_mutex_lock (&engine->mutex);
  engine->debug = debug ? *debug : (struct eng_debug){ 0 };
  g_mutex_unlock (&engine->mutex);
}

eng_job *
eng_engine_submit (eng_engine *engine, const struct eng_params *params,
                   const struct eng_observer *observer, GError **error)
{
  struct eng_params *copy = NULL;
  eng_job *job = NULL;

  g_mutex_lock (&engine->mutex);
  if (engine->loads > 0)
    copy = eng_params_copy (params); /* checked when its turn comes, against that model */
  else if (engine->info)
    copy = eng_params_resolve (params, engine->info, error);
  else
    g_set_error_literal (error, ENG_ERROR, ENG_ERROR_MODEL, "no model is loaded");
  if (copy) {
    job = job_new (copy, observer);
    job->load = engine->loads > 0 ? engine->last_load : 0;
    job->debug = engine->debug;
    push_task (engine, (struct task){ .job = eng_job_ref (job) });
  }
  g_mutex_unlock (&engine->mutex);
  return job;
}
