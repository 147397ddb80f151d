/* engine/report.c - what a picture's observer is told, and what is said about the whole of it. */
#include "engine/making.h"

#include "engine/picture.h"

#include <string.h>

void
eng_making_report (struct eng_making *p, enum eng_stage stage, int step, int lane,
                   const struct eng_preview_frame *frame)
{
  struct eng_report *report = g_new0 (struct eng_report, 1);

  report->stage = stage;
  report->step = step;
  if (lane >= 0)
    report->event = eng_lanes_record (p->pipeline->lanes, lane);
  if (frame)
    report->frame = *frame;
  g_queue_push_tail (&p->reports, report);
}

static void
drop_report (struct eng_making *p)
{
  struct eng_report *report = g_queue_pop_head (&p->reports);

  eng_lanes_give_back (p->pipeline->lanes, report->event);
  g_free (report);
}

void
eng_making_drop_reports (struct eng_making *p)
{
  while (!g_queue_is_empty (&p->reports))
    drop_report (p);
}

double
eng_making_estimate_decode (const struct eng_making *p)
{
  return p->pipeline->decode_seconds_a_pixel * p->params->width * p->params->height;
}

/* Seconds to the picture's end; < 0: unknown. */
static double
estimate_left (struct eng_making *p, const struct eng_report *report)
{
  const double now = eng_making_get_seconds (p), decode = eng_making_estimate_decode (p);

  if (report->stage == ENG_STAGE_DECODE)
    return decode > 0 ? decode : -1;
  if (report->stage == ENG_STAGE_TEXT)
    return -1;
  if (report->step == 0) {
    p->denoise_begin = now;
    return -1;
  }
  return (now - p->denoise_begin) / report->step * (p->n_steps - report->step) + decode;
}

static void
tell (struct eng_making *p, const struct eng_report *report, const uint8_t *pixels)
{
  const gboolean stays = report->frame.serial && report->frame.stays;
  const struct eng_frame frame = { p->w, p->h, pixels };
  struct eng_progress progress = {
    .stage = report->stage,
    .step = report->step,
    .n_steps = p->n_steps ? p->n_steps : p->params->steps,
    .left = estimate_left (p, report),
    .frame = pixels || stays ? &frame : NULL,
  };

  progress.spans = eng_timeline_get_spans (eng_clock_get_timeline (p->clock), &progress.n_spans);
  progress.elapsed = eng_making_get_seconds (p);
  if (p->observer.progress)
    p->observer.progress (&progress, p->observer.data);
}

/* The report after the first may be told, too. */
static gboolean
is_late (struct eng_making *p)
{
  const struct eng_report *next = g_queue_peek_nth (&p->reports, 1);

  return next && eng_lanes_is_done (p->pipeline->lanes, next->event);
}

/* A frame that has not come down yet is waited for, but not when the next step is done as well. */
gboolean
eng_making_tell (struct eng_making *p)
{
  eng_preview *preview = p->pipeline->preview;
  const struct eng_report *report = g_queue_peek_head (&p->reports);
  const uint8_t *pixels;

  if (!report || p->error || !eng_lanes_is_done (p->pipeline->lanes, report->event))
    return FALSE;
  pixels = eng_preview_get_pixels (preview, &report->frame);
  if (pixels && !eng_preview_is_down (preview, &report->frame)) {
    if (!is_late (p))
      return FALSE;
    pixels = NULL;
  }
  tell (p, report, pixels);
  drop_report (p);
  return TRUE;
}

/* ---- The end ---- */

static char *
warn_if_cut (const struct eng_making *p)
{
  const struct eng_prompt *prompts[2] = { p->positive, p->negative };

  for (int i = 0; i < 2 && prompts[i]; i++)
    if (prompts[i]->tokens > ENG_PROMPT_LIMIT)
      return g_strdup_printf ("The %s has %d tokens; only the first %d were used.",
                              i ? "negative prompt" : "prompt", prompts[i]->tokens,
                              ENG_PROMPT_LIMIT);
  return NULL;
}

/* What the spans say. */
static void
count_time (const struct eng_making *p, const eng_timeline *timeline, struct eng_counters *counters)
{
  double from = -1, steps = 0, to = 0;
  const struct eng_span *spans;
  guint n;

  spans = eng_timeline_get_spans (timeline, &n);
  for (guint i = 0; i < n; i++) {
    const gboolean step = g_str_has_prefix (spans[i].name, "step ");

    if (step && (from < 0 || spans[i].start < from))
      from = spans[i].start;
    if (step)
      steps = MAX (steps, spans[i].end);
    if (g_str_equal (spans[i].name, "decode"))
      to = MAX (to, spans[i].end);
  }
  if (from < 0 || steps <= from)
    return;
  counters->steps_per_second = p->n_steps / (steps - from) * 1000;
  counters->idle_ms =
      eng_timeline_gaps (timeline, 1 << ENG_TIMELINE_DENOISE | 1 << ENG_TIMELINE_DECODE, from, to);
}

eng_image *
eng_making_finish (struct eng_making *p, GBytes *rgba)
{
  eng_pipeline *pipeline = p->pipeline;
  const double pixels = (double) p->params->width * p->params->height;
  eng_timeline *timeline = eng_clock_steal_timeline (p->clock);
  const double decode = eng_timeline_sum (timeline, ENG_TIMELINE_DECODE, "decode", NULL);

  if (decode > 0)
    pipeline->decode_seconds_a_pixel = decode * 1e-3 / pixels;
  if (p->counters.replayed > 0)
    p->counters.graph = "replayed";
  p->counters.allocations = krn_allocations (pipeline->device) - p->allocations;
  count_time (p, timeline, &p->counters);
  eng_timeline_set_counters (timeline, &p->counters);
  return eng_image_new (&(struct eng_picture){
      .params = g_steal_pointer (&p->params),
      .info = pipeline->model->info,
      .rgba = rgba,
      .timeline = timeline,
      .warning = warn_if_cut (p),
      .seconds = eng_making_get_seconds (p),
  });
}
