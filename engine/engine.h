/* engine/engine.h - the only engine header that app/ and ui/ include.
 *
 * An engine owns one device and the one thread that drives it.  Loading a model and making a
 * picture are asked for from any thread, return at once and are done in the order asked; on a GPU
 * the next picture's text and the last one's decoding run beside a picture's steps, but what
 * happens is told to the observers one job after the other, on the engine's thread; only that a job
 * was cancelled or failed may be told while those before it go on.  An observer must be quick and
 * must not call the engine's blocking functions (eng_engine_free).
 *
 * Functions that return NULL or FALSE have set error, in domain ENG_ERROR (engine/error.h). */
#pragma once

#include "engine/error.h"

#include <glib.h>
#include <stdint.h>

typedef struct eng_engine eng_engine; /* device, model, queue; one owner */
typedef struct eng_job eng_job;       /* one picture to be made; reference counted, atomic */
typedef struct eng_image eng_image; /* one finished picture; immutable, reference counted, atomic */
typedef struct eng_model_info eng_model_info; /* what a path holds; immutable, reference counted */

/* ---- Choices.  Zero is always the model's default. ---- */

enum eng_sampler {
  ENG_SAMPLER_DEFAULT,
  ENG_SAMPLER_EULER,
  ENG_SAMPLER_EULER_ANCESTRAL,
  ENG_SAMPLER_HEUN, /* two evaluations a step */
  ENG_SAMPLER_DPMPP_2M,
  ENG_SAMPLER_RES_MULTISTEP,
  ENG_SAMPLER_LCM,
  ENG_N_SAMPLERS
};

enum eng_schedule {
  ENG_SCHEDULE_DEFAULT,
  ENG_SCHEDULE_SIMPLE, /* Z-Image's own grid */
  ENG_SCHEDULE_SGM_UNIFORM,
  ENG_SCHEDULE_NORMAL, /* stable-diffusion.cpp's "discrete" */
  ENG_SCHEDULE_BETA,
  ENG_SCHEDULE_KARRAS,
  ENG_SCHEDULE_EXPONENTIAL,
  ENG_N_SCHEDULES
};

enum eng_rng {
  ENG_RNG_CPU, /* torch's CPU generator: what ComfyUI and diffusers draw */
  ENG_RNG_CUDA /* torch's CUDA generator: what A1111 draws */
};

/* Names as people know them ("DPM++ 2M", "SGM Uniform"; not translated), and the short ones of the
 * command line ("dpm++2m", "sgm_uniform"); NULL past the last.  Static.  from_name takes either
 * spelling, ignoring case, and returns the default's 0 for an unknown name. */
const char *eng_sampler_get_name (enum eng_sampler sampler);
const char *eng_sampler_get_id (enum eng_sampler sampler);
enum eng_sampler eng_sampler_from_name (const char *name);
const char *eng_schedule_get_name (enum eng_schedule schedule);
const char *eng_schedule_get_id (enum eng_schedule schedule);
enum eng_schedule eng_schedule_from_name (const char *name);

/* ---- What a path holds ---- */

struct eng_component {
  const char *name;  /* "text encoder", "transformer", "vae" */
  const char *file;  /* path relative to the model's; may be "" */
  const char *dtype; /* the most common one on disk, such as "BF16" */
  uint64_t parameters;
  uint64_t bytes; /* on disk */
  guint tensors;
};

struct eng_defaults {
  int width, height, steps;
  float cfg, shift;
  enum eng_sampler sampler;
  enum eng_schedule schedule;
};

/* Reads headers only (milliseconds); any thread; blocking.  path: a folder or a file. */
eng_model_info *eng_model_inspect (const char *path, GError **error);
eng_model_info *eng_model_info_ref (eng_model_info *info);
void eng_model_info_unref (eng_model_info *info);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (eng_model_info, eng_model_info_unref)
const char *eng_model_info_get_path (const eng_model_info *info); /* as given, absolute */
const char *eng_model_info_get_name (
    const eng_model_info *info); /* short; a file's or folder's name, if nothing better is known */
const char *eng_model_info_get_family (const eng_model_info *info); /* "Z-Image" */
const char *
eng_model_info_get_hash (const eng_model_info *info); /* 10 hex digits; see the README */
const struct eng_component *eng_model_info_get_components (const eng_model_info *info, guint *n);
const struct eng_defaults *eng_model_info_get_defaults (const eng_model_info *info);
int eng_model_info_get_prompt_limit (const eng_model_info *info);  /* tokens, wrapper included */
int eng_model_info_get_size_multiple (const eng_model_info *info); /* pixels: 16 */

/* What a model takes of a GPU's memory, in bytes; the driver and the libraries take about 0.8 GB
 * more.  A picture's parts are for the longest prompt. */
struct eng_memory {
  uint64_t text_encoder, transformer, vae; /* weights */
  uint64_t text_encoder_dropped;           /* instead of text_encoder: what it passes through */
  uint64_t prompts;                        /* the last prompts, encoded */
  uint64_t encode, denoise, decode;        /* one picture */
  uint64_t decode_banded; /* instead of decode where that does not fit, and with the text encoder
                             dropped: a little slower */
};

/* For pictures of that size, in pixels.  Reads headers only; any thread; blocking. */
gboolean eng_model_info_plan_memory (eng_model_info *info, int width, int height,
                                     struct eng_memory *memory, GError **error);

/* ---- The engine ---- */

/* Whether the text encoder's weights stay on the device.  Dropped, they come from their files for
 * every prompt that is not remembered, layer by layer; that takes as long as reading them. */
enum eng_residency {
  ENG_RESIDENCY_AUTO, /* kept when the largest picture of the model's size leaves room for them */
  ENG_RESIDENCY_KEEP,
  ENG_RESIDENCY_DROP
};

struct eng_options {
  const char *device; /* "auto" (or NULL), "cpu", "cuda" */
  int threads;        /* of the CPU device; 0 is all cores */
  enum eng_residency text_encoder;
};

eng_engine *eng_engine_new (const struct eng_options *options, GError **error);
/* Cancels what runs and what waits (each job's done is still called), joins the thread.  NULL
 * allowed. */
void eng_engine_free (eng_engine *engine);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (eng_engine, eng_engine_free)
/* "CPU, 2 threads"; and why it is not a GPU ("" when it is one).  Borrowed. */
const char *eng_engine_get_device_name (const eng_engine *engine);
const char *eng_engine_get_device_reason (const eng_engine *engine);

/* What the driver says about the GPU at this moment, other programs' share included.  A value that
 * it does not tell is negative. */
struct eng_gpu_sample {
  double utilisation;            /* percent of the driver's last interval in which a kernel ran */
  double temperature;            /* degrees Celsius */
  double power;                  /* watts */
  double sm_clock, memory_clock; /* MHz */
  gint64 memory_used, memory_free, memory_total; /* bytes */
  gint64 weights, arena; /* bytes of ours: the loaded model's, and what pictures are made in */
};

/* FALSE, with every value but ours negative, on the CPU and where the driver does not tell.  Any
 * thread; takes up to a few milliseconds. */
gboolean eng_engine_sample_gpu (eng_engine *engine, struct eng_gpu_sample *sample);

struct eng_load_observer { /* every member may be NULL; called on the engine's thread */
  void (*progress) (double fraction, void *data);
  /* Exactly once.  info is NULL when error is set; the earlier model is then gone, too, unless the
   * path could not be read at all or the load was superseded before it began. */
  void (*done) (eng_model_info *info, const GError *error, void *data);
  void *data;
};

/* Replaces the model.  A load that has not begun is superseded by a later one (done gets
 * ENG_ERROR_CANCELLED); a load that runs is cancelled by it.  Jobs submitted later use the new
 * model and no other: when it cannot be had, a job that waited for it gets ENG_ERROR_MODEL. */
void eng_engine_load (eng_engine *engine, const char *path,
                      const struct eng_load_observer *observer);

/* Tokens of text as the loaded model counts them, chat wrapper included; 0 without a model, -1 for
 * text that is not UTF-8.  Any thread; takes time with the text's length (about 10 MB a second). */
int eng_engine_count_tokens (eng_engine *engine, const char *text);

/* ---- Jobs ---- */

enum eng_flags {
  ENG_FLAG_NO_PREVIEW = 1 << 0, /* progress without frames */
};

struct eng_params {     /* zero means the model's default, except for seed */
  const char *prompt;   /* UTF-8 */
  const char *negative; /* UTF-8; used when cfg is above 1; NULL is "" */
  int width, height;    /* pixels, multiples of eng_model_info_get_size_multiple */
  int steps;            /* 1 to 150 */
  float cfg;            /* 1 is off; above 1 costs a second pass per step; to 30 */
  uint64_t seed;        /* same seed, params and model give the same picture */
  enum eng_sampler sampler;
  enum eng_schedule schedule;
  enum eng_rng rng;
  float shift;        /* of the sigma schedule; 0.01 to 100 */
  float cfg_norm_cap; /* > 0: guided prediction's norm at most this times the positive's; to 100 */
  float cfg_truncation; /* > 0: no guidance once 1 - sigma exceeds it; to 1 */
  enum eng_flags flags;
  const char *init_latents; /* .safetensors with one f32 [1, C, H/8, W/8]: used as the noise */
  const char *dump_latents; /* .safetensors to write: noise, each step's latents, the final ones */
  const char *dump_embeddings; /* .safetensors to write: token ids and encoder output */
};

enum eng_stage { ENG_STAGE_TEXT, ENG_STAGE_DENOISE, ENG_STAGE_DECODE };

struct eng_frame { /* a preview, sRGB; lives for the call */
  int width, height;
  const uint8_t *rgba; /* width * 4 bytes a row, alpha 255; NULL: see eng_gl_view */
};

struct eng_span {   /* on the job's clock: milliseconds since it began */
  const char *lane; /* "text", "denoise", "decode", "copy", "host"; static */
  const char *name; /* "step 3"; borrowed */
  double start, end;
};

struct eng_progress {
  enum eng_stage stage;
  int step, n_steps;    /* steps done; in ENG_STAGE_DENOISE 0 to n_steps */
  double elapsed, left; /* seconds since the job began; estimate to its end, < 0: unknown */
  const struct eng_frame *frame; /* the denoised estimate after this step; NULL: none */
  const struct eng_span *spans;  /* what is finished so far, on the job's clock; for the call */
  guint n_spans;
};

struct eng_observer { /* every member may be NULL; called on the engine's thread */
  void (*progress) (eng_job *job, const struct eng_progress *progress, void *data);
  /* Exactly once per job, also when cancelled.  image is NULL when error is set. */
  void (*done) (eng_job *job, eng_image *image, const GError *error, void *data);
  void *data;
};

/* Switches for measuring what something is worth.  None changes a picture. */
struct eng_debug {
  gboolean no_graph;        /* steps are launched operation by operation */
  gboolean one_stream;      /* nothing runs beside anything else */
  gboolean no_timing;       /* no spans of the device's lanes */
  gboolean no_prompt_cache; /* every prompt is encoded */
};

/* For the jobs submitted later; NULL: all off.  Any thread. */
void eng_engine_set_debug (eng_engine *engine, const struct eng_debug *debug);

/* Checks params against the model, copies them, queues the job and returns a reference to it, which
 * the caller gives back.  NULL: impossible params, or no model is loaded or loading; done is then
 * not called.  What only the later model can refuse is told by done. */
eng_job *eng_engine_submit (eng_engine *engine, const struct eng_params *params,
                            const struct eng_observer *observer, GError **error);
eng_job *eng_job_ref (eng_job *job);
void eng_job_unref (eng_job *job);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (eng_job, eng_job_unref)
/* Any thread, any time; done gets ENG_ERROR_CANCELLED soon (on the CPU between two operations, on a
 * GPU when the few ms that are enqueued are done), for a job that waits when its turn comes. */
void eng_job_cancel (eng_job *job);

/* ---- Previews that stay on the GPU ---- */

/* Copies the engine's newest preview into textures of an OpenGL context on the same GPU, device to
 * device.  All of it on one thread with that context current; the host waits for nothing. */
typedef struct eng_gl_view eng_gl_view;
enum { ENG_GL_VIEW_TEXTURES = 2 };

/* From now on previews are not brought to the host: eng_frame has no rgba, until the view is freed,
 * which is to be before the engine and before another one is asked for.  NULL: this device cannot,
 * or the context is not its. */
eng_gl_view *eng_gl_view_new (eng_engine *engine, GError **error);
void eng_gl_view_free (eng_gl_view *view); /* NULL allowed */
/* Takes the newest preview that was not copied; FALSE: there is none. */
gboolean eng_gl_view_next (eng_gl_view *view, int *width, int *height);
/* Enqueues the copy of what next() took into a texture, GL_RGBA8 of that size, which is registered
 * as number slot (below ENG_GL_VIEW_TEXTURES) until it is forgotten. */
gboolean eng_gl_view_copy (eng_gl_view *view, guint slot, guint texture, GError **error);
void eng_gl_view_forget (eng_gl_view *view, guint slot); /* its storage goes */

/* ---- Pictures ---- */

struct eng_counters { /* of one picture */
  int evaluations;    /* of the network; two in a guided one are one */
  int replayed;       /* of these, from a graph */
  const char *graph;  /* "replayed", or "launched: " and why; static */
  gboolean prompt_cached;
  double steps_per_second; /* from the first step's begin to the last one's end; 0: unknown */
  double idle_ms;          /* of the denoise and decode lanes, between begin of the first step and
                              end of decoding, with no span of this picture on either */
  guint64 allocations;     /* blocks of device and page-locked memory that were asked for */
  guint64 preview_bytes;   /* of frames, brought to the host */
};

enum eng_save_flags {
  ENG_SAVE_NO_METADATA = 1 << 0,
};

eng_image *eng_image_ref (eng_image *image);
void eng_image_unref (eng_image *image);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (eng_image, eng_image_unref)
int eng_image_get_width (const eng_image *image);
int eng_image_get_height (const eng_image *image);
GBytes *eng_image_get_rgba (const eng_image *image); /* width * 4 bytes a row; borrowed */
/* The settings it was made with, every default filled in; strings borrowed. */
const struct eng_params *eng_image_get_params (const eng_image *image);
const char *eng_image_get_model_name (const eng_image *image);
const char *eng_image_get_infotext (const eng_image *image); /* A1111 `parameters`; borrowed */
/* A sentence when the prompt was cut at the model's limit, else NULL. */
const char *eng_image_get_warning (const eng_image *image);
const struct eng_span *eng_image_get_spans (const eng_image *image, guint *n);
double eng_image_get_seconds (const eng_image *image);                      /* from begin to done */
const struct eng_counters *eng_image_get_counters (const eng_image *image); /* borrowed */

/* Writes a PNG atomically; any thread but the engine's; blocking.  An older file stays whole when
 * something fails. */
gboolean eng_image_save_png (const eng_image *image, const char *path, enum eng_save_flags flags,
                             GError **error);
/* PNG in memory, for the clipboard and for dragging. */
GBytes *eng_image_to_png (const eng_image *image, enum eng_save_flags flags, GError **error);

/* Writes the picture's timeline: "timings" as {"total_ms", "counters": {...}, "stages":
 * [...], "spans": [...]}, "trace" for Chrome's tracing page (engine/timeline.h has both in full).
 * Any thread; blocking. */
enum eng_timeline_format { ENG_TIMELINE_TIMINGS, ENG_TIMELINE_TRACE };
gboolean eng_image_save_timeline (const eng_image *image, const char *path,
                                  enum eng_timeline_format format, GError **error);

/* Writes a preview as it is, without metadata; any thread; blocking. */
gboolean eng_frame_save_png (const struct eng_frame *frame, const char *path, GError **error);

/* What a PNG's `parameters` say.  Strings belong to the settings; free with eng_settings_free. */
typedef struct {
  struct eng_params params; /* what was found; zero where nothing was */
  char *infotext;           /* the text itself */
  char *model;              /* or NULL */
} eng_settings;
eng_settings *eng_settings_read_png (const char *path, GError **error);
void eng_settings_free (eng_settings *settings);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (eng_settings, eng_settings_free)

/* ---- Trials: what single passes take, for safelight-cli bench ---- */

enum eng_trial_kind {
  ENG_TRIAL_PRODUCT,       /* of matrices in the activations' type; on a GPU 8192^3 */
  ENG_TRIAL_COPY,          /* in device memory; on a GPU 4 GB */
  ENG_TRIAL_TEXT,          /* the text encoder over tokens */
  ENG_TRIAL_FORWARD,       /* the transformer once, operation by operation */
  ENG_TRIAL_FORWARD_GRAPH, /* the same captured and replayed */
  ENG_TRIAL_FORWARD_PLAIN, /* with its fused element-wise operations taken apart */
  ENG_TRIAL_FORWARD_ALLOC, /* with device memory allocated and freed round every operation */
  ENG_TRIAL_DECODE,        /* the VAE */
  ENG_TRIAL_STEP,          /* unpatchify, Euler step and denoised estimate in one operation */
  ENG_TRIAL_STEP_PLAIN,    /* the same in three */
  ENG_TRIAL_STEP_HOST,     /* on the host: down, computed, up */
};

struct eng_trial {
  enum eng_trial_kind kind;
  int width, height; /* of the picture; where the kind has one */
  int tokens;        /* of the text; 1 or more where the kind has text */
  double flops;      /* out: of one run, counted; 0 where there is no product */
  double bytes;      /* out: read and written by a copy; else 0 */
  int operations;    /* out: that a pass enqueues; else 0 */
};

/* Runs n trials by turns on a stream of their own, A B C and then C B A, rounds times each way
 * after a warm-up.  ms: [n, 2 * rounds] milliseconds by the device's clock, what the host held up
 * included.  Inputs are random.  Blocking; a model must be loaded, and no job or load may run or be
 * asked for meanwhile.  FALSE: a trial is impossible here (no graphs on the CPU). */
gboolean eng_engine_try (eng_engine *engine, struct eng_trial *trials, guint n, guint rounds,
                         double *ms, GError **error);

/* ---- Without an engine ---- */

/* Ids (int32_t) of length bytes of UTF-8, by the tokenizer at path: a tokenizer.json or a model.
 * chat puts the prompt's wrapper round it.  The caller frees the array.  Any thread; blocking. */
GArray *eng_tokenize (const char *path, const char *text, gsize length, gboolean chat,
                      GError **error);
