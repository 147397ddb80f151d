/* ui/sl-session-private.h - between the source files of SlSession. */
#pragma once

#include "engine/engine.h"
#include "ui/sl-feed.h"
#include "ui/sl-session.h"

struct _SlSession {
  GObject parent_instance;

  GApplication *application; /* held; NULL: none */
  eng_engine *engine;        /* made and freed on workers */
  sl_feed *feed;
  GListStore *results;
  GListStore *timings; /* of SlTiming, the running one last */
  GQueue jobs;         /* of struct sl_job, the running one first */

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
  gboolean live;               /* the preview is on the GPU */
  SlRecipe *recipe;            /* of the run, or NULL */
  int last_step, last_n_steps; /* of the last picture that ended and had a step */
  guint64 last_seed;
  gboolean draft; /* the run is one */
  gboolean no_previews;
  double preview_ms;

  /* sl-session-live.c */
  char *view, *view_reason;
  char *view_name; /* of what draws */
  eng_gl_view *gl; /* previews stay on the GPU; NULL: they do not */
};

struct sl_job {
  guint serial;
  eng_job *job;
};

/* What the engine's thread is given: it never sees the session. */
struct sl_ticket {
  sl_feed *feed; /* outlives the engine */
  guint serial;

  guint n_spans; /* told so far */

  eng_image *image; /* filled by done */
  SlResult *result;
  SlTiming *timing;
  double preview_ms;
  eng_model_info *info;
  GError *error;
};

enum {
  SL_PROP_0,
  SL_PROP_STATE,
  SL_PROP_BUSY,
  SL_PROP_PROGRESS,
  SL_PROP_STEP,
  SL_PROP_N_STEPS,
  SL_PROP_PICTURE,
  SL_PROP_N_PICTURES,
  SL_PROP_LEFT,
  SL_PROP_PREVIEW,
  SL_PROP_MODEL_NAME,
  SL_PROP_MODEL_PATH,
  SL_PROP_MODEL_FAMILY,
  SL_PROP_PROMPT_LIMIT,
  SL_PROP_SIZE_MULTIPLE,
  SL_PROP_DEVICE_NAME,
  SL_PROP_DEVICE_REASON,
  SL_PROP_ERROR,
  SL_PROP_VIEW,
  SL_PROP_VIEW_REASON,
  SL_PROP_PREVIEW_BYTES,
  SL_N_PROPS
};

enum { SL_SIGNAL_RESULT, SL_SIGNAL_DRAFT, SL_SIGNAL_LOADED, SL_N_SIGNALS };

/* sl-session.c */
eng_engine *sl_session_get_engine (SlSession *self);    /* NULL while it is made, or without one */
eng_model_info *sl_session_get_model (SlSession *self); /* borrowed; NULL without one */
void sl_session_notify (SlSession *self, int prop);
void sl_session_emit_result (SlSession *self, int signal, SlResult *result);
void sl_session_set_state (SlSession *self, SlState state);
void sl_session_set_error (SlSession *self, const char *message);
void sl_session_load_done (gpointer owner, gpointer data);

/* sl-session-live.c: a frame came through the host, whatever was said. */
void sl_session_tell_uploaded (SlSession *self);

/* sl-session-choices.c */
SlRecipe *sl_session_recipe_from_params (const struct eng_params *params);

/* sl-session-ticket.c: what runs on the engine's thread and on the feed's worker.  The data of each
 * is a ticket; done gives it to the main thread, which frees it. */
struct sl_ticket *sl_ticket_new (SlSession *self, guint serial);
void sl_ticket_free (struct sl_ticket *ticket);
void sl_ticket_load_progress (double fraction, void *data);
void sl_ticket_load_done (eng_model_info *info, const GError *error, void *data);
void sl_ticket_job_progress (eng_job *job, const struct eng_progress *progress, void *data);
void sl_ticket_job_done (eng_job *job, eng_image *image, const GError *error, void *data);

/* sl-session-run.c: the pictures being made.  The first three are told by the feed. */
void sl_session_take_progress (const struct sl_feed_progress *progress, gpointer owner);
void sl_session_take_preview (guint serial, GdkTexture *texture, gpointer owner);
void sl_session_job_done (gpointer owner, gpointer data);
void sl_session_cancel_jobs (SlSession *self);
void sl_session_job_free (struct sl_job *job);

/* sl-session-timing.c.  tell: the engine's thread; dup: the feed's worker, of a picture that is
 * done; take: the main thread, with what dup gave, or without a picture. */
void sl_ticket_tell_timing (struct sl_ticket *ticket, const struct eng_progress *progress);
SlTiming *sl_ticket_dup_timing (const struct sl_ticket *ticket, const SlRecipe *recipe);
void sl_session_take_timing (SlSession *self, struct sl_ticket *ticket);
