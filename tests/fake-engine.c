/* tests/fake-engine.c - engine/engine.h without a network, for the states that are hard to reach
 * with a real one.
 *
 * Linked in the engine's place.  The path and the prompt say what shall happen: a model path that
 * holds "broken" fails to load, one that holds "slow" takes two seconds; a prompt that holds
 * "fail" fails at half the steps (if it holds "odd", only with an odd seed), one that holds "slow"
 * takes 150 ms a step instead of 10. */
#include "tests/fake-view.h"

#include <string.h>

struct eng_engine {
  GThread *thread;
  GAsyncQueue *queue;
  GMutex mutex;
  eng_model_info *info;
  int loading;
  int cancel_all;
};

struct eng_model_info {
  int refs;
  char *path, *name;
};

struct eng_image {
  int refs;
  GBytes *rgba;
  struct eng_params params;
  GArray *spans; /* of struct eng_span */
  double seconds;
};

struct eng_job {
  int refs, cancelled;
  struct eng_params params;
  struct eng_observer observer;
  char *load_path; /* a load is a job with a path */
  struct eng_load_observer load_observer;
  gboolean quit;
};

static const char *const samplers[] = { "Default",  "Euler",         "Euler a", "Heun",
                                        "DPM++ 2M", "Res Multistep", "LCM" };
static const char *const sampler_ids[] = { "default", "euler",         "euler_a", "heun",
                                           "dpm++2m", "res_multistep", "lcm" };
static const char *const schedules[] = { "Default", "Simple", "SGM Uniform", "Normal",
                                         "Beta",    "Karras", "Exponential" };
static const char *const schedule_ids[] = { "default", "simple", "sgm_uniform", "discrete",
                                            "beta",    "karras", "exponential" };

static const struct eng_defaults defaults = {
  256, 256, 8, 1.f, 3.f, ENG_SAMPLER_EULER, ENG_SCHEDULE_SIMPLE
};

GQuark
eng_error_quark (void)
{
  return g_quark_from_static_string ("eng-error-quark");
}

const char *
eng_sampler_get_name (enum eng_sampler sampler)
{
  return sampler < ENG_N_SAMPLERS ? samplers[sampler] : NULL;
}

const char *
eng_sampler_get_id (enum eng_sampler sampler)
{
  return sampler < ENG_N_SAMPLERS ? sampler_ids[sampler] : NULL;
}

enum eng_sampler
eng_sampler_from_name (const char *name)
{
  for (int i = 0; i < ENG_N_SAMPLERS; i++)
    if (g_ascii_strcasecmp (name, samplers[i]) == 0 ||
        g_ascii_strcasecmp (name, sampler_ids[i]) == 0)
      return i;
  return ENG_SAMPLER_DEFAULT;
}

const char *
eng_schedule_get_name (enum eng_schedule schedule)
{
  return schedule < ENG_N_SCHEDULES ? schedules[schedule] : NULL;
}

const char *
eng_schedule_get_id (enum eng_schedule schedule)
{
  return schedule < ENG_N_SCHEDULES ? schedule_ids[schedule] : NULL;
}

enum eng_schedule
eng_schedule_from_name (const char *name)
{
  for (int i = 0; i < ENG_N_SCHEDULES; i++)
    if (g_ascii_strcasecmp (name, schedules[i]) == 0 ||
        g_ascii_strcasecmp (name, schedule_ids[i]) == 0)
      return i;
  return ENG_SCHEDULE_DEFAULT;
}

eng_model_info *
eng_model_info_ref (eng_model_info *info)
{
  g_atomic_int_inc (&info->refs);
  return info;
}

void
eng_model_info_unref (eng_model_info *info)
{
  if (!g_atomic_int_dec_and_test (&info->refs))
    return;
  g_free (info->path);
  g_free (info->name);
  g_free (info);
}

const char *
eng_model_info_get_path (const eng_model_info *info)
{
  return info->path;
}

const char *
eng_model_info_get_name (const eng_model_info *info)
{
  return info->name;
}

const char *
eng_model_info_get_family (const eng_model_info *info)
{
  return "Z-Image";
}

const struct eng_defaults *
eng_model_info_get_defaults (const eng_model_info *info)
{
  return &defaults;
}

int
eng_model_info_get_prompt_limit (const eng_model_info *info)
{
  return 512;
}

int
eng_model_info_get_size_multiple (const eng_model_info *info)
{
  return 16;
}

/* Two soft hills under a sky: enough to see that something develops. */
static void
paint (uint8_t *rgba, int width, int height, uint64_t seed, double sharp)
{
  for (int y = 0; y < height; y++)
    for (int x = 0; x < width; x++) {
      const double u = (double) x / width, v = (double) y / height;
      const double hill = 0.55 + 0.3 * (u - 0.5) * (u - 0.5) * ((seed & 3) + 1.0);
      const double noise =
          (1 - sharp) * (g_str_hash (&"abcdefgh"[(x * 7 + y * 13 + seed) & 7]) & 63);
      uint8_t *p = rgba + 4 * ((size_t) y * width + x);

      p[0] = CLAMP (noise + (v < hill ? 240 - 60 * v : 60), 0, 255);
      p[1] = CLAMP (noise + (v < hill ? 150 + 60 * v : 90 - 40 * v), 0, 255);
      p[2] = CLAMP (noise + (v < hill ? 110 + (seed & 63) : 80), 0, 255);
      p[3] = 255;
    }
}

static void
load (eng_engine *self, eng_job *job)
{
  const gboolean broken = strstr (job->load_path, "broken") != NULL;
  g_autoptr (GError) error = NULL;
  eng_model_info *info = NULL;

  if (!g_file_test (job->load_path, G_FILE_TEST_EXISTS) && !strstr (job->load_path, "fake"))
    g_set_error (&error, ENG_ERROR, ENG_ERROR_FILE, "%s: no such file or folder", job->load_path);
  for (int i = 0; i <= 20 && !error; i++) {
    if (strstr (job->load_path, "slow"))
      g_usleep (100000);
    if (job->load_observer.progress)
      job->load_observer.progress (i / 20.0, job->load_observer.data);
    if (broken && i == 10)
      g_set_error (&error, ENG_ERROR, ENG_ERROR_MODEL,
                   "%s: blocks.3.attn.q.weight is [3072, 3072], expected [3840, 3840]",
                   job->load_path);
    if (g_atomic_int_get (&self->cancel_all) || g_atomic_int_get (&job->cancelled))
      g_set_error (&error, ENG_ERROR, ENG_ERROR_CANCELLED, "cancelled");
  }

  g_mutex_lock (&self->mutex);
  g_clear_pointer (&self->info, eng_model_info_unref);
  if (!error) {
    info = g_new0 (eng_model_info, 1);
    info->refs = 1;
    info->path = g_strdup (job->load_path);
    info->name = g_path_get_basename (job->load_path);
    self->info = eng_model_info_ref (info);
  }
  g_mutex_unlock (&self->mutex);
  g_atomic_int_add (&self->loading, -1);

  if (job->load_observer.done)
    job->load_observer.done (info, error, job->load_observer.data);
  if (info)
    eng_model_info_unref (info);
}

static double
get_ms (gint64 begin)
{
  return (double) (g_get_monotonic_time () - begin) / 1e3;
}

/* From the last one's end to now. */
static void
add_span (GArray *spans, gint64 begin, const char *lane, const char *name)
{
  const double start = spans->len ? g_array_index (spans, struct eng_span, spans->len - 1).end : 0;
  const struct eng_span span = { lane, g_intern_string (name), start, get_ms (begin) };

  g_array_append_val (spans, span);
}

static void
run (eng_engine *self, eng_job *job)
{
  const struct eng_params *params = &job->params;
  const int width = params->width, height = params->height, n = params->steps;
  g_autofree uint8_t *small = g_malloc ((size_t) width / 8 * (height / 8) * 4);
  g_autoptr (GArray) spans = g_array_new (FALSE, FALSE, sizeof (struct eng_span));
  const gint64 begin = g_get_monotonic_time ();
  g_autoptr (GError) error = NULL;
  eng_image *image = NULL;

  add_span (spans, begin, "text", "encode");
  for (int i = 0; i <= n && !error; i++) {
    g_autofree char *name = g_strdup_printf ("step %d", i + 1);
    struct eng_frame frame = { width / 8, height / 8, small };
    const double step = strstr (params->prompt, "slow") ? 0.15 : 0.01;
    const struct eng_progress progress = { .stage = ENG_STAGE_DENOISE,
                                           .step = i,
                                           .n_steps = n,
                                           .elapsed = get_ms (begin) / 1e3,
                                           .left = (n - i) * step,
                                           .frame = i && !(params->flags & ENG_FLAG_NO_PREVIEW)
                                                        ? &frame
                                                        : NULL,
                                           .spans = (const struct eng_span *) spans->data,
                                           .n_spans = spans->len };

    paint (small, width / 8, height / 8, params->seed, (double) i / n);
    if (progress.frame && fake_view_take (&frame))
      frame.rgba = NULL;
    if (job->observer.progress)
      job->observer.progress (job, &progress, job->observer.data);
    g_usleep ((gulong) (step * 1e6));
    if (i < n)
      add_span (spans, begin, "denoise", name);
    if (strstr (params->prompt, "fail") && i >= n / 2 &&
        (params->seed % 2 || !strstr (params->prompt, "odd")))
      g_set_error (&error, ENG_ERROR, ENG_ERROR_MEMORY,
                   "a picture of %d x %d needs 9.1 GiB, 5.7 GiB are free", width, height);
    if (!error && (g_atomic_int_get (&job->cancelled) || g_atomic_int_get (&self->cancel_all)))
      g_set_error (&error, ENG_ERROR, ENG_ERROR_CANCELLED, "cancelled");
  }

  if (!error) {
    uint8_t *rgba = g_malloc ((size_t) width * height * 4);

    paint (rgba, width, height, params->seed, 1.0);
    image = g_new0 (eng_image, 1);
    image->refs = 1;
    image->params = *params;
    image->params.prompt = g_strdup (params->prompt);
    image->params.negative = g_strdup (params->negative);
    image->params.shift = params->shift > 0 ? params->shift : defaults.shift;
    image->rgba = g_bytes_new_take (rgba, (size_t) width * height * 4);
    add_span (spans, begin, "decode", "decode");
    image->spans = g_steal_pointer (&spans);
    image->seconds = get_ms (begin) / 1e3;
  }
  if (job->observer.done)
    job->observer.done (job, image, error, job->observer.data);
  if (image)
    eng_image_unref (image);
}

static gpointer
engine_thread (gpointer data)
{
  eng_engine *self = data;
  gboolean quit = FALSE;

  while (!quit) {
    eng_job *job = g_async_queue_pop (self->queue);

    quit = job->quit;
    if (job->load_path)
      load (self, job);
    else if (!job->quit)
      run (self, job);
    eng_job_unref (job);
  }
  return NULL;
}

static eng_job *
job_new (void)
{
  eng_job *job = g_new0 (eng_job, 1);

  job->refs = 1;
  return job;
}

eng_engine *
eng_engine_new (const struct eng_options *options, GError **error)
{
  eng_engine *self;

  if (g_getenv ("SAFELIGHT_FAKE_NO_ENGINE")) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE, "no device: the driver is 535, 550 is needed");
    return NULL;
  }

  self = g_new0 (eng_engine, 1);
  self->queue = g_async_queue_new ();
  g_mutex_init (&self->mutex);
  self->thread = g_thread_new ("fake-engine", engine_thread, self);
  return self;
}

void
eng_engine_free (eng_engine *self)
{
  eng_job *job;

  if (!self)
    return;
  g_atomic_int_set (&self->cancel_all, 1);
  job = job_new ();
  job->quit = TRUE;
  g_async_queue_push (self->queue, job);
  g_thread_join (self->thread);
  g_clear_pointer (&self->info, eng_model_info_unref);
  g_async_queue_unref (self->queue);
  g_mutex_clear (&self->mutex);
  g_free (self);
}

const char *
eng_engine_get_device_name (const eng_engine *self)
{
  return g_getenv ("SAFELIGHT_FAKE_GPU") ? "NVIDIA Fake" : "CPU, 2 threads";
}

/* SAFELIGHT_FAKE_GPU: it says that it has one, which does not tell its power. */
const char *
eng_engine_get_device_reason (const eng_engine *self)
{
  return g_getenv ("SAFELIGHT_FAKE_GPU") ? "" : "no NVIDIA driver";
}

gboolean
eng_engine_sample_gpu (eng_engine *self, struct eng_gpu_sample *sample)
{
  *sample = (struct eng_gpu_sample){ .utilisation = 37,
                                     .temperature = 51,
                                     .power = -1,
                                     .sm_clock = 1980,
                                     .memory_clock = -1,
                                     .memory_used = 3 * (gint64) (1 << 30),
                                     .memory_free = 5 * (gint64) (1 << 30),
                                     .memory_total = 8 * (gint64) (1 << 30),
                                     .weights = 1 << 30,
                                     .arena = 1 << 20 };
  return g_getenv ("SAFELIGHT_FAKE_GPU") != NULL;
}

void
eng_engine_load (eng_engine *self, const char *path, const struct eng_load_observer *observer)
{
  eng_job *job = job_new ();

  job->load_path = g_strdup (path);
  job->load_observer = *observer;
  g_atomic_int_inc (&self->loading);
  g_async_queue_push (self->queue, job);
}

int
eng_engine_count_tokens (eng_engine *self, const char *text)
{
  int n;

  g_mutex_lock (&self->mutex);
  n = self->info ? 11 + (int) strlen (text) / 5 : 0;
  g_mutex_unlock (&self->mutex);
  return n;
}

eng_job *
eng_engine_submit (eng_engine *self, const struct eng_params *params,
                   const struct eng_observer *observer, GError **error)
{
  eng_job *job;
  gboolean has_model;

  g_mutex_lock (&self->mutex);
  has_model = self->info || g_atomic_int_get (&self->loading) > 0;
  g_mutex_unlock (&self->mutex);
  if (!has_model || params->width % 16 || params->height % 16) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS,
                 has_model ? "%d x %d is not a multiple of 16" : "no model is loaded",
                 params->width, params->height);
    return NULL;
  }

  job = job_new ();
  job->params = *params;
  job->params.prompt = g_strdup (params->prompt);
  job->params.negative = g_strdup (params->negative);
  if (!job->params.steps)
    job->params.steps = 8;
  if (!job->params.sampler)
    job->params.sampler = ENG_SAMPLER_EULER;
  if (!job->params.schedule)
    job->params.schedule = ENG_SCHEDULE_SIMPLE;
  job->observer = *observer;
  g_async_queue_push (self->queue, eng_job_ref (job));
  return job;
}

eng_job *
eng_job_ref (eng_job *job)
{
  g_atomic_int_inc (&job->refs);
  return job;
}

void
eng_job_unref (eng_job *job)
{
  if (!g_atomic_int_dec_and_test (&job->refs))
    return;
  g_free ((char *) job->params.prompt);
  g_free ((char *) job->params.negative);
  g_free (job->load_path);
  g_free (job);
}

void
eng_job_cancel (eng_job *job)
{
  g_atomic_int_set (&job->cancelled, 1);
}

eng_image *
eng_image_ref (eng_image *image)
{
  g_atomic_int_inc (&image->refs);
  return image;
}

void
eng_image_unref (eng_image *image)
{
  if (!g_atomic_int_dec_and_test (&image->refs))
    return;
  g_bytes_unref (image->rgba);
  g_array_unref (image->spans);
  g_free ((char *) image->params.prompt);
  g_free ((char *) image->params.negative);
  g_free (image);
}

int
eng_image_get_width (const eng_image *image)
{
  return image->params.width;
}

int
eng_image_get_height (const eng_image *image)
{
  return image->params.height;
}

GBytes *
eng_image_get_rgba (const eng_image *image)
{
  return image->rgba;
}

const struct eng_params *
eng_image_get_params (const eng_image *image)
{
  return &image->params;
}

const char *
eng_image_get_model_name (const eng_image *image)
{
  return "fake";
}

const char *
eng_image_get_warning (const eng_image *image)
{
  return strlen (image->params.prompt) > 2000 ? "The prompt was cut at 512 tokens." : NULL;
}

double
eng_image_get_seconds (const eng_image *image)
{
  return image->seconds;
}

const struct eng_span *
eng_image_get_spans (const eng_image *image, guint *n)
{
  *n = image->spans->len;
  return (const struct eng_span *) image->spans->data;
}

const struct eng_counters *
eng_image_get_counters (const eng_image *image)
{
  static const struct eng_counters counters = { .evaluations = 8,
                                                .graph = "",
                                                .preview_bytes = 4096 };

  return &counters;
}

gboolean
eng_image_save_timeline (const eng_image *image, const char *path, enum eng_timeline_format format,
                         GError **error)
{
  return g_file_set_contents (path, "{}", -1, error);
}

gboolean
eng_image_save_png (const eng_image *image, const char *path, enum eng_save_flags flags,
                    GError **error)
{
  return g_file_set_contents (path, "not a PNG", -1, error);
}

GBytes *
eng_image_to_png (const eng_image *image, enum eng_save_flags flags, GError **error)
{
  return g_bytes_new_static ("not a PNG", 9);
}

eng_settings *
eng_settings_read_png (const char *path, GError **error)
{
  eng_settings *settings;

  if (!g_str_has_suffix (path, ".png")) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_FILE, "%s: not a PNG file", path);
    return NULL;
  }
  settings = g_new0 (eng_settings, 1);
  settings->params =
      (struct eng_params){ .prompt = g_strdup ("a lake at dusk"),
                           .steps = 12,
                           .seed = 77,
                           .rng = ENG_RNG_CUDA,
                           .shift = strstr (path, "own-shift") ? defaults.shift : 1.15f };
  settings->infotext = g_strdup ("a lake at dusk\nSteps: 12, Sampler: Euler, Seed: 77");
  return settings;
}

void
eng_settings_free (eng_settings *settings)
{
  g_free ((char *) settings->params.prompt);
  g_free ((char *) settings->params.negative);
  g_free (settings->infotext);
  g_free (settings->model);
  g_free (settings);
}

gboolean
eng_frame_save_png (const struct eng_frame *frame, const char *path, GError **error)
{
  return g_file_set_contents (path, "not a PNG of a frame", -1, error);
}
