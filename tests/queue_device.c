/* tests/queue_device.c - a device whose streams run later, each on a thread of its own, as those of
 * a GPU do; the operations are the CPU's.  Built as a module in the place of safelight-cuda.so.
 *
 * What the host gives to a copy is read when the copy's turn comes, so that memory which is used
 * again too early shows in the picture (and to ThreadSanitizer). */
#include "tests/queue_device.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_LOST = 700 };

enum kind {
  RECORD,
  WAIT,
  UPLOAD,
  DOWNLOAD,
  COPY,
  LINEAR,
  EMBEDDING,
  RMS_NORM,
  LAYER_NORM,
  RESIDUAL_NORM,
  QK_NORM_ROPE,
  ATTENTION,
  SILU_GATE,
  SILU,
  CONV2D,
  GROUP_NORM,
  GROUP_STATS,
  GROUP_APPLY,
  PATCHIFY,
  SAMPLER_STEP,
  TO_NHWC,
  TO_NCHW,
  LATENT_RGBA,
  IMAGE_RGBA,
};

struct work {
  enum kind kind;
  krn_tensor t[5];
  float a, b;
  int i;
  bool flag;
  const void *source;
  void *target;
  krn_dtype dtype;
  struct point *point; /* referenced */
  union {
    struct krn_residual_norm residual_norm;
    struct krn_qk_norm_rope qk_norm_rope;
    struct krn_attention attention;
    struct krn_conv conv;
    struct krn_sampler_step sampler_step;
  };
};

struct queue_device {
  struct krn_device table; /* first */
  struct krn_device *cpu;
};

/* What one record of an event stands for; whoever waits for it is not concerned by later ones. */
struct point {
  gatomicrefcount refs;
  GMutex mutex;
  GCond cond;
  gboolean done;
  gint64 time;
};

struct krn_event {
  struct point *point; /* of the last record, or NULL */
};

struct krn_graph {
  GArray *works;
};

struct krn_stream {
  struct queue_device *device;
  krn_stream *cpu;
  GThread *thread;
  GMutex mutex;
  GCond cond;
  GQueue works;  /* of struct work */
  gboolean busy; /* at one that was taken from works */
  gboolean quit;
  GArray *capture; /* of struct work; NULL: none */
  GRand *rand;
};

__attribute__ ((visibility ("default"))) struct queue_control queue_control;
static int running; /* streams that are at an operation, atomic */

/* ---- A stream's thread ---- */

static struct point *
point_new (void)
{
  struct point *point = g_new0 (struct point, 1);

  g_atomic_ref_count_init (&point->refs);
  g_mutex_init (&point->mutex);
  g_cond_init (&point->cond);
  return point;
}

static struct point *
point_ref (struct point *point)
{
  if (point)
    g_atomic_ref_count_inc (&point->refs);
  return point;
}

static void
point_unref (struct point *point)
{
  if (!point || !g_atomic_ref_count_dec (&point->refs))
    return;
  g_mutex_clear (&point->mutex);
  g_cond_clear (&point->cond);
  g_free (point);
}

static void
run_event (const struct work *w)
{
  struct point *point = w->point;

  if (!point) /* an event that was never recorded holds nobody up */
    return;
  g_mutex_lock (&point->mutex);
  if (w->kind == RECORD) {
    point->done = TRUE;
    point->time = g_get_monotonic_time ();
    g_cond_broadcast (&point->cond);
  }
  while (!point->done && !g_atomic_int_get (&queue_control.lost))
    g_cond_wait_until (&point->cond, &point->mutex, g_get_monotonic_time () + 1000);
  g_mutex_unlock (&point->mutex);
  point_unref (point);
}

static krn_status
run_operation (krn_stream *stream, const struct work *w)
{
  const struct krn_device *cpu = stream->device->cpu;
  krn_stream *s = stream->cpu;
  const krn_tensor *t = w->t;

  switch (w->kind) {
  case UPLOAD:
    return cpu->upload (s, t[0], w->source, w->dtype);
  case DOWNLOAD:
    return cpu->download (s, w->target, t[0]);
  case COPY:
    return cpu->copy (s, t[0], t[1]);
  case LINEAR:
    return cpu->linear (s, t[0], t[1], t[2], t[3], w->flag);
  case EMBEDDING:
    return cpu->embedding (s, t[0], t[1], t[2]);
  case RMS_NORM:
    return cpu->rms_norm (s, t[0], t[1], t[2], t[3], w->a);
  case LAYER_NORM:
    return cpu->layer_norm (s, t[0], t[1], t[2], w->a);
  case RESIDUAL_NORM:
    return cpu->residual_norm (s, &w->residual_norm);
  case QK_NORM_ROPE:
    return cpu->qk_norm_rope (s, &w->qk_norm_rope);
  case ATTENTION:
    return cpu->attention (s, t[0], t[1], t[2], t[3], &w->attention);
  case SILU_GATE:
    return cpu->silu_gate (s, t[0], t[1]);
  case SILU:
    return cpu->silu (s, t[0], t[1]);
  case CONV2D:
    return cpu->conv2d (s, t[0], t[1], t[2], t[3], &w->conv);
  case GROUP_NORM:
    return cpu->group_norm (s, t[0], t[1], t[2], t[3], w->i, w->a, w->flag);
  case GROUP_STATS:
    return cpu->group_stats (s, t[0], t[1], w->i);
  case GROUP_APPLY:
    return cpu->group_apply (s, t[0], t[1], t[2], t[3], t[4], w->a, w->flag);
  case PATCHIFY:
    return cpu->patchify (s, t[0], t[1], w->i);
  case SAMPLER_STEP:
    return cpu->sampler_step (s, &w->sampler_step);
  case TO_NHWC:
    return cpu->to_nhwc (s, t[0], t[1], w->a, w->b);
  case TO_NCHW:
    return cpu->to_nchw (s, t[0], t[1], w->a, w->b);
  case LATENT_RGBA:
    return cpu->latent_rgba (s, t[0], t[1], t[2]);
  case IMAGE_RGBA:
    return cpu->image_rgba (s, t[0], t[1]);
  default:
    return KRN_OK;
  }
}

static void
run_work (krn_stream *stream, const struct work *w)
{
  const int delay = g_atomic_int_get (&queue_control.delay);

  if (w->kind == RECORD || w->kind == WAIT) {
    run_event (w);
    return;
  }
  if (g_atomic_int_get (&queue_control.lost))
    return;
  if (g_atomic_int_add (&running, 1) > 0)
    g_atomic_int_inc (&queue_control.overlaps);
  if (delay > 0)
    g_usleep (g_rand_int_range (stream->rand, 0, delay));
  if (run_operation (stream, w))
    abort (); /* a GPU would have refused it when it was enqueued */
  g_atomic_int_add (&running, -1);
}

static gpointer
stream_thread (gpointer data)
{
  krn_stream *stream = data;

  g_mutex_lock (&stream->mutex);
  for (;;) {
    g_autofree struct work *w = g_queue_pop_head (&stream->works);

    stream->busy = w != NULL;
    if (!w && stream->quit)
      break;
    if (!w) {
      g_cond_broadcast (&stream->cond);
      g_cond_wait (&stream->cond, &stream->mutex);
      continue;
    }
    g_mutex_unlock (&stream->mutex);
    run_work (stream, w);
    g_mutex_lock (&stream->mutex);
  }
  g_mutex_unlock (&stream->mutex);
  return NULL;
}

/* ---- Enqueueing ---- */

static gboolean
counts_down_to_one (int *counter)
{
  return g_atomic_int_get (counter) > 0 && g_atomic_int_add (counter, -1) == 1;
}

static krn_status
push (krn_stream *stream, struct work w)
{
  if (counts_down_to_one (&queue_control.lose_at))
    g_atomic_int_set (&queue_control.lost, 1);
  if (g_atomic_int_get (&queue_control.lost))
    return STATUS_LOST;
  if (counts_down_to_one (&queue_control.fail_at))
    return KRN_ERROR_MEMORY;
  if (stream->capture) {
    g_array_append_val (stream->capture, w);
    return KRN_OK;
  }
  g_mutex_lock (&stream->mutex);
  g_queue_push_tail (&stream->works, g_memdup2 (&w, sizeof w));
  g_cond_broadcast (&stream->cond);
  g_mutex_unlock (&stream->mutex);
  return KRN_OK;
}

static krn_status
q_upload (krn_stream *s, krn_tensor dst, const void *src, krn_dtype dtype)
{
  return push (s, (struct work){ .kind = UPLOAD, .t = { dst }, .source = src, .dtype = dtype });
}

static krn_status
q_download (krn_stream *s, void *dst, krn_tensor src)
{
  return push (s, (struct work){ .kind = DOWNLOAD, .t = { src }, .target = dst });
}

static krn_status
q_copy (krn_stream *s, krn_tensor dst, krn_tensor src)
{
  return push (s, (struct work){ .kind = COPY, .t = { dst, src } });
}

static krn_status
q_linear (krn_stream *s, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias, bool accumulate)
{
  return push (s, (struct work){ .kind = LINEAR, .t = { y, x, w, bias }, .flag = accumulate });
}

static krn_status
q_embedding (krn_stream *s, krn_tensor y, krn_tensor ids, krn_tensor table)
{
  return push (s, (struct work){ .kind = EMBEDDING, .t = { y, ids, table } });
}

static krn_status
q_rms_norm (krn_stream *s, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor scale, float eps)
{
  return push (s, (struct work){ .kind = RMS_NORM, .t = { y, x, w, scale }, .a = eps });
}

static krn_status
q_layer_norm (krn_stream *s, krn_tensor y, krn_tensor x, krn_tensor scale, float eps)
{
  return push (s, (struct work){ .kind = LAYER_NORM, .t = { y, x, scale }, .a = eps });
}

static krn_status
q_residual_norm (krn_stream *s, const struct krn_residual_norm *args)
{
  return push (s, (struct work){ .kind = RESIDUAL_NORM, .residual_norm = *args });
}

static krn_status
q_qk_norm_rope (krn_stream *s, const struct krn_qk_norm_rope *args)
{
  return push (s, (struct work){ .kind = QK_NORM_ROPE, .qk_norm_rope = *args });
}

static krn_status
q_attention (krn_stream *s, krn_tensor o, krn_tensor q, krn_tensor k, krn_tensor v,
             const struct krn_attention *args)
{
  return push (s, (struct work){ .kind = ATTENTION, .t = { o, q, k, v }, .attention = *args });
}

static krn_status
q_silu_gate (krn_stream *s, krn_tensor y, krn_tensor x)
{
  return push (s, (struct work){ .kind = SILU_GATE, .t = { y, x } });
}

static krn_status
q_silu (krn_stream *s, krn_tensor y, krn_tensor x)
{
  return push (s, (struct work){ .kind = SILU, .t = { y, x } });
}

static krn_status
q_conv2d (krn_stream *s, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor bias,
          const struct krn_conv *args)
{
  return push (s, (struct work){ .kind = CONV2D, .t = { y, x, w, bias }, .conv = *args });
}

static krn_status
q_group_norm (krn_stream *s, krn_tensor y, krn_tensor x, krn_tensor w, krn_tensor b, int groups,
              float eps, bool silu)
{
  return push (s,
               (struct work){
                   .kind = GROUP_NORM, .t = { y, x, w, b }, .i = groups, .a = eps, .flag = silu });
}

static krn_status
q_group_stats (krn_stream *s, krn_tensor stats, krn_tensor x, int groups)
{
  return push (s, (struct work){ .kind = GROUP_STATS, .t = { stats, x }, .i = groups });
}

static krn_status
q_group_apply (krn_stream *s, krn_tensor y, krn_tensor x, krn_tensor stats, krn_tensor w,
               krn_tensor b, float eps, bool silu)
{
  return push (
      s, (struct work){ .kind = GROUP_APPLY, .t = { y, x, stats, w, b }, .a = eps, .flag = silu });
}

static krn_status
q_patchify (krn_stream *s, krn_tensor tokens, krn_tensor latent, int patch)
{
  return push (s, (struct work){ .kind = PATCHIFY, .t = { tokens, latent }, .i = patch });
}

static krn_status
q_sampler_step (krn_stream *s, const struct krn_sampler_step *args)
{
  return push (s, (struct work){ .kind = SAMPLER_STEP, .sampler_step = *args });
}

static krn_status
q_to_nhwc (krn_stream *s, krn_tensor y, krn_tensor x, float mul, float add)
{
  return push (s, (struct work){ .kind = TO_NHWC, .t = { y, x }, .a = mul, .b = add });
}

static krn_status
q_to_nchw (krn_stream *s, krn_tensor y, krn_tensor x, float mul, float add)
{
  return push (s, (struct work){ .kind = TO_NCHW, .t = { y, x }, .a = mul, .b = add });
}

static krn_status
q_latent_rgba (krn_stream *s, krn_tensor rgba, krn_tensor latent, krn_tensor factors)
{
  return push (s, (struct work){ .kind = LATENT_RGBA, .t = { rgba, latent, factors } });
}

static krn_status
q_image_rgba (krn_stream *s, krn_tensor rgba, krn_tensor x)
{
  return push (s, (struct work){ .kind = IMAGE_RGBA, .t = { rgba, x } });
}

/* ---- Streams, events, graphs ---- */

static krn_status
q_stream_new (struct krn_device *device, krn_stream **stream)
{
  krn_stream *self = g_new0 (krn_stream, 1);

  self->device = (struct queue_device *) device;
  if (self->device->cpu->stream_new (self->device->cpu, &self->cpu))
    abort ();
  g_mutex_init (&self->mutex);
  g_cond_init (&self->cond);
  self->rand = g_rand_new_with_seed (1);
  self->thread = g_thread_new ("stream", stream_thread, self);
  *stream = self;
  return KRN_OK;
}

static void
q_stream_free (krn_stream *stream)
{
  if (!stream)
    return;
  g_mutex_lock (&stream->mutex);
  stream->quit = TRUE;
  g_cond_broadcast (&stream->cond);
  g_mutex_unlock (&stream->mutex);
  g_thread_join (stream->thread);
  stream->device->cpu->stream_free (stream->cpu);
  g_rand_free (stream->rand);
  g_mutex_clear (&stream->mutex);
  g_cond_clear (&stream->cond);
  g_free (stream);
}

static krn_status
q_stream_sync (krn_stream *stream)
{
  g_mutex_lock (&stream->mutex);
  while (!g_queue_is_empty (&stream->works) || stream->busy)
    g_cond_wait (&stream->cond, &stream->mutex);
  g_mutex_unlock (&stream->mutex);
  return g_atomic_int_get (&queue_control.lost) ? STATUS_LOST : KRN_OK;
}

static krn_status
q_event_new (struct krn_device *device, krn_event **event)
{
  *event = g_new0 (krn_event, 1);
  return KRN_OK;
}

static void
q_event_free (krn_event *event)
{
  if (!event)
    return;
  point_unref (event->point);
  g_free (event);
}

static krn_status
push_event (krn_stream *stream, enum kind kind, krn_event *event)
{
  const struct work w = { .kind = kind, .point = point_ref (event->point) };
  const krn_status status = push (stream, w);

  if (status)
    point_unref (w.point);
  return status;
}

static krn_status
q_event_record (krn_stream *stream, krn_event *event)
{
  struct point *before = event->point;
  krn_status status;

  event->point = point_new ();
  status = push_event (stream, RECORD, event);
  if (status) {
    point_unref (event->point);
    event->point = before;
  } else {
    point_unref (before);
  }
  return status;
}

static krn_status
q_event_wait (krn_stream *stream, krn_event *event)
{
  return push_event (stream, WAIT, event);
}

static bool
q_event_done (krn_event *event)
{
  bool done;

  if (!event->point)
    return false;
  g_mutex_lock (&event->point->mutex);
  done = event->point->done && !g_atomic_int_get (&queue_control.lost);
  g_mutex_unlock (&event->point->mutex);
  return done;
}

static krn_status
q_event_sync (krn_event *event)
{
  while (!q_event_done (event) && !g_atomic_int_get (&queue_control.lost))
    g_usleep (100);
  return g_atomic_int_get (&queue_control.lost) ? STATUS_LOST : KRN_OK;
}

static krn_status
q_event_elapsed (double *milliseconds, krn_event *a, krn_event *b)
{
  krn_event *const events[2] = { a, b };
  gint64 times[2];

  for (int i = 0; i < 2; i++) {
    if (!q_event_done (events[i]))
      return KRN_ERROR_UNSUPPORTED;
    g_mutex_lock (&events[i]->point->mutex);
    times[i] = events[i]->point->time;
    g_mutex_unlock (&events[i]->point->mutex);
  }
  *milliseconds = (times[1] - times[0]) * 1e-3;
  return KRN_OK;
}

static krn_status
q_capture_begin (krn_stream *stream)
{
  if (g_atomic_int_get (&queue_control.refuse_capture))
    return KRN_ERROR_UNSUPPORTED;
  stream->capture = g_array_new (FALSE, FALSE, sizeof (struct work));
  return KRN_OK;
}

static krn_status
q_capture_end (krn_stream *stream, krn_graph **graph)
{
  *graph = g_new0 (krn_graph, 1);
  (*graph)->works = g_steal_pointer (&stream->capture);
  return KRN_OK;
}

static krn_status
q_graph_launch (krn_stream *stream, krn_graph *graph)
{
  krn_status status = KRN_OK;

  g_atomic_int_inc (&queue_control.launches);
  for (guint i = 0; i < graph->works->len && !status; i++)
    status = push (stream, g_array_index (graph->works, struct work, i));
  return status;
}

static void
q_graph_free (krn_graph *graph)
{
  if (!graph)
    return;
  g_array_unref (graph->works);
  g_free (graph);
}

/* ---- The device ---- */

/* In front of a block of the device's memory. */
enum { HEAD = 256 };

static krn_status
q_alloc (struct krn_device *device, void **memory, size_t bytes)
{
  struct krn_device *cpu = ((struct queue_device *) device)->cpu;
  const int limit = g_atomic_int_get (&queue_control.memory), kib = (int) (bytes / 1024) + 1;
  krn_status status = KRN_ERROR_MEMORY;
  char *block;

  *memory = NULL;
  if (limit == 0 || g_atomic_int_get (&queue_control.used) + kib <= limit)
    status = cpu->alloc (cpu, (void **) &block, bytes + HEAD);
  if (!status) {
    const int used = g_atomic_int_add (&queue_control.used, kib) + kib;

    *(int *) block = kib;
    *memory = block + HEAD;
    g_atomic_int_set (&queue_control.most, MAX (used, g_atomic_int_get (&queue_control.most)));
    krn_count_allocation (device);
    g_atomic_int_inc (&queue_control.blocks);
  }
  return status;
}

static void
q_free (struct krn_device *device, void *memory)
{
  struct krn_device *cpu = ((struct queue_device *) device)->cpu;
  char *block = memory ? (char *) memory - HEAD : NULL;

  if (block) {
    g_atomic_int_add (&queue_control.blocks, -1);
    g_atomic_int_add (&queue_control.used, -*(int *) block);
  }
  cpu->free_memory (cpu, block);
}

static krn_status
q_host_alloc (struct krn_device *device, void **memory, size_t bytes)
{
  struct krn_device *cpu = ((struct queue_device *) device)->cpu;
  const krn_status status = cpu->host_alloc (cpu, memory, bytes);

  if (!status) {
    krn_count_allocation (device);
    g_atomic_int_inc (&queue_control.blocks);
  }
  return status;
}

static void
q_host_free (struct krn_device *device, void *memory)
{
  struct krn_device *cpu = ((struct queue_device *) device)->cpu;

  if (memory)
    g_atomic_int_add (&queue_control.blocks, -1);
  cpu->host_free (cpu, memory);
}

static void
q_info (struct krn_device *device, size_t *free_bytes, size_t *total_bytes)
{
  struct krn_device *cpu = ((struct queue_device *) device)->cpu;

  cpu->info (cpu, free_bytes, total_bytes);
  if (g_atomic_int_get (&queue_control.memory) > 0) {
    *total_bytes = (size_t) g_atomic_int_get (&queue_control.memory) * 1024;
    *free_bytes = *total_bytes - (size_t) g_atomic_int_get (&queue_control.used) * 1024;
  }
}

static krn_status
q_sample (struct krn_device *device, struct krn_sample *sample)
{
  return KRN_ERROR_UNSUPPORTED;
}

static bool
q_lost (const struct krn_device *device, krn_status status)
{
  return status == STATUS_LOST;
}

static const char *
q_status_text (const struct krn_device *device, krn_status status)
{
  return status == STATUS_LOST             ? "a kernel faulted"
         : status == KRN_ERROR_MEMORY      ? "not enough memory on the queue"
         : status == KRN_ERROR_UNSUPPORTED ? "the queue cannot do that"
                                           : "an error of the queue";
}

static void
q_close (struct krn_device *device)
{
  struct queue_device *self = (struct queue_device *) device;

  g_atomic_int_set (&queue_control.lost, 0);
  self->cpu->close (self->cpu);
  g_free (self);
}

static const struct krn_device table = {
  .name = "Queue",
  .kind = "queue",
  .activation = KRN_F32,
  .weight = KRN_F32,
  .close = q_close,
  .status_text = q_status_text,
  .lost = q_lost,
  .sample = q_sample,
  .alloc = q_alloc,
  .free_memory = q_free,
  .host_alloc = q_host_alloc,
  .host_free = q_host_free,
  .info = q_info,
  .stream_new = q_stream_new,
  .stream_free = q_stream_free,
  .stream_sync = q_stream_sync,
  .event_new = q_event_new,
  .event_free = q_event_free,
  .event_record = q_event_record,
  .event_wait = q_event_wait,
  .event_sync = q_event_sync,
  .event_done = q_event_done,
  .event_elapsed = q_event_elapsed,
  .capture_begin = q_capture_begin,
  .capture_end = q_capture_end,
  .graph_launch = q_graph_launch,
  .graph_free = q_graph_free,
  .upload = q_upload,
  .download = q_download,
  .copy = q_copy,
  .linear = q_linear,
  .embedding = q_embedding,
  .rms_norm = q_rms_norm,
  .layer_norm = q_layer_norm,
  .residual_norm = q_residual_norm,
  .qk_norm_rope = q_qk_norm_rope,
  .attention = q_attention,
  .silu_gate = q_silu_gate,
  .silu = q_silu,
  .conv2d = q_conv2d,
  .group_norm = q_group_norm,
  .group_stats = q_group_stats,
  .group_apply = q_group_apply,
  .patchify = q_patchify,
  .sampler_step = q_sampler_step,
  .to_nhwc = q_to_nhwc,
  .to_nchw = q_to_nchw,
  .latent_rgba = q_latent_rgba,
  .image_rgba = q_image_rgba,
};

__attribute__ ((visibility ("default"))) krn_status krn_cuda_open (struct krn_device **device,
                                                                   char *reason, size_t size);

krn_status
krn_cuda_open (struct krn_device **device, char *reason, size_t size)
{
  struct queue_device *self;

  *device = NULL;
  if (g_atomic_int_get (&queue_control.refuse_open)) {
    g_strlcpy (reason, "The queue failed earlier.", size);
    return STATUS_LOST;
  }
  self = g_new0 (struct queue_device, 1);
  self->table = table;
  if (krn_cpu_open (&self->cpu, 1))
    abort ();
  g_atomic_int_inc (&queue_control.opened);
  *device = &self->table;
  return KRN_OK;
}
