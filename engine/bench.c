#include "engine/bench.h"

#include "engine/bench_stream.h"
#include "engine/error.h"
#include "engine/noise.h"

#include <math.h>
#include <string.h>

enum {
  WARM = 3,                /* runs that are not timed */
  RANDOM_VALUES = 1 << 22, /* drawn once; larger tensors repeat them */
  STEPS_PLAIN = 3,         /* passes of a sampler step that is taken apart */
};

/* One trial with all that it needs on the device. */
struct trial {
  struct eng_trial *what;
  struct krn_device *device;
  const eng_model *model;
  krn_stream *stream; /* borrowed */
  krn_event *events[2];
  GPtrArray *blocks; /* device memory */
  eng_arena *arena;
  void *arena_block;
  size_t arena_bytes;
  struct eng_bench_stream front; /* of the plain and the allocating form */
  gboolean in_front;
  krn_graph *graph;

  krn_tensor y, x, w;                           /* product and copy */
  krn_tensor latent, refined, modulation, rope; /* forward */
  krn_tensor out, ids, image, coefs[STEPS_PLAIN], denoised;
  void *host[2]; /* the network's output and the latent, for a step on the host; pinned */
};

/* ---- Memory and numbers ---- */

static krn_tensor
take (struct trial *t, krn_dtype dtype, int64_t d0, int64_t d1, int64_t d2, int64_t d3,
      krn_status *status)
{
  krn_tensor tensor = krn_tensor_make (NULL, dtype, d0, d1, d2, d3);

  if (*status)
    return tensor;
  *status = t->device->alloc (t->device, &tensor.data,
                              (size_t) krn_count (tensor) * krn_dtype_size (dtype));
  if (!*status)
    g_ptr_array_add (t->blocks, tensor.data);
  return tensor;
}

/* Normal numbers with that spread; the first few million are uploaded, the rest are copies. */
static krn_status
fill (struct trial *t, krn_tensor tensor, float spread)
{
  const int64_t count = krn_count (tensor), first = MIN (count, RANDOM_VALUES);
  g_autofree float *values = g_new (float, first);
  krn_tensor flat = krn_tensor_make (tensor.data, tensor.dtype, 1, 1, 1, first);
  struct eng_noise noise;
  krn_status status;

  eng_noise_init (&noise, ENG_RNG_CPU, 1);
  eng_noise_fill (&noise, values, first);
  for (int64_t i = 0; i < first; i++)
    values[i] *= spread;
  status = t->device->upload (t->stream, flat, values, KRN_F32);
  for (int64_t done = first, n; done < count && !status; done += n) {
    char *to = (char *) tensor.data + (size_t) done * krn_dtype_size (tensor.dtype);

    n = MIN (done, count - done);
    status = t->device->copy (t->stream, krn_tensor_make (to, tensor.dtype, 1, 1, 1, n),
                              krn_tensor_make (tensor.data, tensor.dtype, 1, 1, 1, n));
  }
  return status ? status : t->device->stream_sync (t->stream);
}

/* ---- What is timed ---- */

/* On the device itself, or on what stands in front of it. */
static struct eng_run
begin_run (struct trial *t, gboolean plan)
{
  struct eng_run run = { .device = t->in_front ? &t->front.table : t->device,
                         .stream = t->in_front ? (krn_stream *) &t->front : t->stream,
                         .arena = t->arena,
                         .planning = plan };

  eng_arena_reset (t->arena, plan ? NULL : t->arena_block, plan ? 0 : t->arena_bytes);
  return run;
}

static krn_status
run_pass (struct trial *t, gboolean plan)
{
  struct eng_run run = begin_run (t, plan);

  switch (t->what->kind) {
  case ENG_TRIAL_TEXT:
    if (t->model->feed) /* reading its files would be timed */
      return KRN_ERROR_UNSUPPORTED;
    eng_qwen3_forward (&run, t->model->text, t->out, t->ids, t->rope, NULL);
    break;
  case ENG_TRIAL_DECODE:
    eng_vae_decode (&run, t->model->vae, t->image, t->latent, FALSE);
    break;
  default:
    eng_z_image_forward (&run, t->model->transformer, t->out, t->latent, t->refined, t->modulation,
                         t->rope);
  }
  return run.status;
}

static krn_status
run_step (struct trial *t, int part)
{
  const struct krn_sampler_step step = { .pos = t->out,
                                         .coefs = t->coefs[part],
                                         .x = t->latent,
                                         .denoised = t->denoised,
                                         .patch =
                                             eng_z_image_get_sizes (t->model->transformer)->patch };

  return t->device->sampler_step (t->stream, &step);
}

/* What a program does that keeps its latents on the host. */
static krn_status
run_host_step (struct trial *t)
{
  const int patch = eng_z_image_get_sizes (t->model->transformer)->patch;
  const int c = t->latent.dim[1], h = t->latent.dim[2], w = t->latent.dim[3];
  const uint16_t *half = t->host[0];
  const float *full = t->host[0];
  float *x = t->host[1];
  krn_status status = t->device->download (t->stream, t->host[0], t->out);

  if (!status)
    status = t->device->stream_sync (t->stream);
  for (int k = 0; k < c && !status; k++)
    for (int i = 0; i < h; i++)
      for (int j = 0; j < w; j++) {
        const size_t token = (size_t) (i / patch) * (w / patch) + j / patch;
        const size_t at = (token * patch * patch + (i % patch) * patch + j % patch) * c + k;
        union {
          uint32_t bits;
          float value;
        } out = { .bits = (uint32_t) half[at] << 16 };

        if (t->out.dtype == KRN_F32)
          out.value = full[at];
        x[((size_t) k * h + i) * w + j] += 0.1f * out.value;
      }
  return status ? status : t->device->upload (t->stream, t->latent, x, KRN_F32);
}

static krn_status
run_once (struct trial *t)
{
  krn_status status = KRN_OK;

  switch (t->what->kind) {
  case ENG_TRIAL_PRODUCT:
    return t->device->linear (t->stream, t->y, t->x, t->w, (krn_tensor){ 0 }, false);
  case ENG_TRIAL_COPY:
    return t->device->copy (t->stream, t->y, t->x);
  case ENG_TRIAL_FORWARD_GRAPH:
    return t->device->graph_launch (t->stream, t->graph);
  case ENG_TRIAL_STEP:
    return run_step (t, STEPS_PLAIN - 1);
  case ENG_TRIAL_STEP_PLAIN:
    for (int i = 0; i < STEPS_PLAIN && !status; i++)
      status = run_step (t, i);
    return status;
  case ENG_TRIAL_STEP_HOST:
    return run_host_step (t);
  default:
    return run_pass (t, FALSE);
  }
}

/* ---- Setting up ---- */

static krn_status
prepare_ceiling (struct trial *t)
{
  const gboolean gpu = g_str_equal (t->device->kind, "cuda"); /* a CPU would take minutes */
  const gboolean product = t->what->kind == ENG_TRIAL_PRODUCT;
  const int64_t side = gpu ? 8192 : 512, rows = product ? side : gpu ? 1 << 18 : 1 << 10;
  krn_status status = KRN_OK;

  t->y = take (t, t->device->activation, 1, 1, rows, side, &status);
  t->x = take (t, t->device->activation, 1, 1, rows, side, &status);
  if (product)
    t->w = take (t, t->device->weight, 1, 1, side, side, &status);
  if (!status)
    status = fill (t, t->x, 1.f);
  if (!status && product)
    status = fill (t, t->w, 1.f);
  t->what->flops = product ? 2. * (double) side * (double) side * (double) side : 0;
  t->what->bytes =
      product ? 0 : 2. * (double) krn_count (t->y) * (double) krn_dtype_size (t->y.dtype);
  return status;
}

static krn_status
prepare_latent (struct trial *t)
{
  const struct eng_vae_sizes *s = eng_vae_get_sizes (t->model->vae);
  const int h = t->what->height / s->scale, w = t->what->width / s->scale;
  krn_status status = KRN_OK;

  t->latent = take (t, KRN_F32, 1, s->latent_channels, h, w, &status);
  return status ? status : fill (t, t->latent, 1.f);
}

/* Angles do not matter to the time, so the rotation's table is random, too. */
static krn_status
prepare_forward (struct trial *t)
{
  const eng_z_image *transformer = t->model->transformer;
  const struct eng_z_image_sizes *s = eng_z_image_get_sizes (transformer);
  const int caption = eng_z_image_pad (transformer, t->what->tokens);
  krn_status status = prepare_latent (t);
  const int tokens = t->latent.dim[2] / s->patch * (t->latent.dim[3] / s->patch);
  const int image = eng_z_image_pad (transformer, tokens);

  t->refined = take (t, t->device->activation, 1, 1, caption, s->dim, &status);
  t->modulation = take (t, KRN_F32, 1, 1, 1, s->modulation, &status);
  t->rope = take (t, KRN_F32, 1, 1, image + caption, s->head_dim, &status);
  t->out =
      take (t, t->device->activation, 1, 1, tokens, s->patch * s->patch * s->channels, &status);
  if (!status)
    status = fill (t, t->refined, 1.f);
  if (!status)
    status = fill (t, t->modulation, 0.3f);
  if (!status)
    status = fill (t, t->rope, 0.7f);
  return status;
}

static krn_status
prepare_step (struct trial *t)
{
  /* Denoised estimate, the scaled sum, its keeping: then all of it at once. */
  const struct krn_step_coefs coefs[STEPS_PLAIN] = {
    { .d_x = 1.f, .d_out = 0.5f, .to_x = 1.f },
    { .to_x = 1.f, .to_out = 0.1f },
    { .d_x = 1.f, .d_out = 0.5f, .to_x = 1.f, .to_out = 0.1f },
  };
  krn_status status = prepare_forward (t);
  const size_t bytes = sizeof (float) * (size_t) krn_count (t->latent);

  t->denoised = take (t, KRN_F32, 1, t->latent.dim[1], t->latent.dim[2], t->latent.dim[3], &status);
  for (int i = 0; i < STEPS_PLAIN; i++) {
    t->coefs[i] = take (t, KRN_F32, 1, 1, 1, KRN_STEP_COEFS, &status);
    if (!status)
      status = t->device->upload (t->stream, t->coefs[i], &coefs[i], KRN_F32);
    if (!status)
      status = t->device->stream_sync (t->stream);
  }
  if (!status)
    status = fill (t, t->out, 1.f);
  for (int i = 0; i < 2 && !status; i++)
    status = t->device->host_alloc (t->device, &t->host[i], bytes); /* out is no larger */
  if (!status)
    memset (t->host[1], 0, bytes);
  return status;
}

static krn_status
prepare_text (struct trial *t)
{
  const eng_qwen3 *text = t->model->text;
  const int n = t->what->tokens, d = eng_qwen3_get_head_dim (text);
  g_autofree int32_t *ids = g_new (int32_t, n);
  g_autofree float *rope = g_new (float, (size_t) n *d);
  krn_status status = KRN_OK;

  for (int i = 0; i < n; i++)
    ids[i] = (int64_t) i * 7919 % eng_qwen3_get_vocabulary_size (text);
  eng_qwen3_rope (text, rope, n);
  t->ids = take (t, KRN_I32, 1, 1, 1, n, &status);
  t->rope = take (t, KRN_F32, 1, 1, n, d, &status);
  t->out = take (t, t->device->activation, 1, 1, n, eng_qwen3_get_width (text), &status);
  if (!status)
    status = t->device->upload (t->stream, t->ids, ids, KRN_I32);
  if (!status)
    status = t->device->upload (t->stream, t->rope, rope, KRN_F32);
  return status ? status : t->device->stream_sync (t->stream);
}

static krn_status
prepare_decode (struct trial *t)
{
  krn_status status = prepare_latent (t);

  t->image = take (t, t->device->activation, 1, t->what->height, t->what->width, 3, &status);
  return status;
}

/* Counts the pass, sizes the arena and allocates it; captures what is to be replayed. */
static krn_status
prepare_pass (struct trial *t)
{
  const enum eng_trial_kind kind = t->what->kind;
  krn_status status;

  t->arena = eng_arena_new ();
  status = run_pass (t, TRUE);
  t->arena_bytes = eng_arena_get_peak (t->arena);
  t->arena_block = take (t, KRN_U8, 1, 1, 1, MAX (t->arena_bytes, 1), &status).data;
  if (status)
    return status;

  t->in_front = TRUE;
  eng_bench_stream_init (&t->front, t->device, t->stream, ENG_BENCH_COUNT);
  status = run_pass (t, FALSE);
  t->what->flops = t->front.flops;
  t->what->operations = t->front.operations;
  t->in_front = kind == ENG_TRIAL_FORWARD_PLAIN || kind == ENG_TRIAL_FORWARD_ALLOC;
  t->front.mode = kind == ENG_TRIAL_FORWARD_PLAIN ? ENG_BENCH_PLAIN : ENG_BENCH_ALLOC;
  if (kind == ENG_TRIAL_FORWARD_PLAIN) {
    /* The most that is taken apart is the gate of the MLP, twice as wide as three times dim. */
    t->front.scratch_bytes = t->arena_bytes;
    t->front.scratch = take (t, KRN_U8, 1, 1, 1, t->arena_bytes, &status).data;
  }
  if (kind != ENG_TRIAL_FORWARD_GRAPH || status)
    return status;
  status = run_pass (t, FALSE); /* plans and algorithms are found outside of the capture */
  if (!status)
    status = t->device->stream_sync (t->stream);
  if (!status)
    status = t->device->capture_begin (t->stream);
  if (status)
    return status;
  status = run_pass (t, FALSE);
  const krn_status ended = t->device->capture_end (t->stream, &t->graph);
  return status ? status : ended;
}

static krn_status
prepare (struct trial *t)
{
  krn_status status = KRN_OK;

  for (int i = 0; i < 2 && !status; i++)
    status = t->device->event_new (t->device, &t->events[i]);
  if (status)
    return status;
  switch (t->what->kind) {
  case ENG_TRIAL_PRODUCT:
  case ENG_TRIAL_COPY:
    return prepare_ceiling (t);
  case ENG_TRIAL_STEP:
  case ENG_TRIAL_STEP_PLAIN:
  case ENG_TRIAL_STEP_HOST:
    return prepare_step (t);
  case ENG_TRIAL_TEXT:
    status = prepare_text (t);
    break;
  case ENG_TRIAL_DECODE:
    status = prepare_decode (t);
    break;
  default:
    status = prepare_forward (t);
  }
  return status ? status : prepare_pass (t);
}

static void
clear (struct trial *t)
{
  t->device->stream_sync (t->stream);
  t->device->graph_free (t->graph);
  for (int i = 0; i < 2; i++) {
    t->device->event_free (t->events[i]);
    t->device->host_free (t->device, t->host[i]);
  }
  for (guint i = 0; i < t->blocks->len; i++)
    t->device->free_memory (t->device, t->blocks->pdata[i]);
  g_ptr_array_unref (t->blocks);
  eng_arena_free (t->arena);
}

/* ---- By turns ---- */

static krn_status
time_once (struct trial *t, double *ms)
{
  krn_status status = t->device->event_record (t->stream, t->events[0]);

  if (!status)
    status = run_once (t);
  if (!status)
    status = t->device->event_record (t->stream, t->events[1]);
  if (!status)
    status = t->device->event_sync (t->events[1]);
  return status ? status : t->device->event_elapsed (ms, t->events[0], t->events[1]);
}

/* A B C C B A: what drifts with time weighs on all alike. */
static krn_status
run_turns (struct trial *trials, guint n, guint rounds, double *ms)
{
  krn_status status = KRN_OK;
  double unused;

  for (guint i = 0; i < n * WARM && !status; i++)
    status = time_once (&trials[i % n], &unused);
  for (guint r = 0; r < 2 * rounds; r++)
    for (guint i = 0; i < n && !status; i++) {
      const guint k = r % 2 ? n - 1 - i : i;

      status = time_once (&trials[k], &ms[k * 2 * rounds + r]);
    }
  return status;
}

gboolean
eng_bench_run (struct krn_device *device, const eng_model *model, struct eng_trial *trials, guint n,
               guint rounds, double *ms, GError **error)
{
  g_autofree struct trial *ts = g_new0 (struct trial, n);
  krn_stream *stream = NULL;
  krn_status status = device->stream_new (device, &stream);

  for (guint i = 0; i < n; i++) {
    ts[i].what = &trials[i];
    ts[i].device = device;
    ts[i].model = model;
    ts[i].stream = stream;
    ts[i].blocks = g_ptr_array_new ();
  }
  for (guint i = 0; i < n && !status; i++)
    status = prepare (&ts[i]);
  if (!status)
    status = run_turns (ts, n, rounds, ms);
  for (guint i = 0; i < n && stream; i++)
    clear (&ts[i]);
  device->stream_free (stream);
  if (!status)
    return TRUE;
  g_set_error (error, ENG_ERROR, status == KRN_ERROR_MEMORY ? ENG_ERROR_MEMORY : ENG_ERROR_DEVICE,
               "a trial on %s failed: %s", device->name, device->status_text (device, status));
  return FALSE;
}
