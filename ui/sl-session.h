/* ui/sl-session.h - the bridge between the window and the engine.
 *
 * The only type that calls the engine.  It lives on the main thread; every function returns at
 * once.  What the engine's thread reports is kept newest-wins behind a mutex and reaches the
 * properties through at most one pending idle call.  Pixels are scaled on a worker of its own. */
#pragma once

#include "ui/sl-gl-view.h"
#include "ui/sl-result.h"
#include "ui/sl-timing-text.h"

G_BEGIN_DECLS

typedef enum {
  SL_STATE_STARTING, /* the engine is being made */
  SL_STATE_NO_ENGINE,
  SL_STATE_NO_MODEL, /* none, or the last one failed to load */
  SL_STATE_LOADING,
  SL_STATE_READY,
} SlState;

#define SL_TYPE_STATE (sl_state_get_type ())
GType sl_state_get_type (void);

#define SL_TYPE_SESSION (sl_session_get_type ())
G_DECLARE_FINAL_TYPE (SlSession, sl_session, SL, SESSION, GObject)

/* Properties, all read-only and notified on the main thread:
 *   state          SlState
 *   busy           whether pictures are being made or wait
 *   progress       0 to 1 of the whole run (all pictures) while busy, of the load while loading
 *   step, n-steps  of the current picture, 0 before its first step
 *   picture, n-pictures  which of the run, from 1
 *   left           seconds until the run ends; negative while unknown
 *   preview        GdkTexture of the newest step; enlarged unless OpenGL shows it; NULL before the
 *                  first and when it stays on the GPU; notified for these, too
 *   preview-bytes  of all previews so far that came through the host; not notified
 *   model-name, model-path, model-family   of the loaded model, "" without one
 *   prompt-limit, size-multiple            its limits
 *   device-name, device-reason             as the engine says them
 *   view, view-reason        how previews come to the screen, and why not in a better way, ""
 *                            when they never leave the GPU
 *   error          the last failure in one line, NULL after it was dismissed
 * Signal "result" (SlResult): one more picture is in sl_session_get_results().
 * Signal "draft" (SlResult): a draft is done.
 * Signal "loaded": a model has been loaded; its defaults are there. */
SlSession *sl_session_new (void);

/* Makes the engine on a worker, then loads the model last asked for. */
void sl_session_start (SlSession *self);
void sl_session_load (SlSession *self, const char *path);
/* Queues n pictures with seeds from recipe->seed on.  FALSE: see the error property. */
gboolean sl_session_generate (SlSession *self, const SlRecipe *recipe, int n);
/* One picture that is not kept: it is told by "draft" alone. */
gboolean sl_session_generate_draft (SlSession *self, const SlRecipe *recipe);
void sl_session_cancel (SlSession *self);
/* Whether pictures asked for from now on have previews: they do. */
void sl_session_set_previews (SlSession *self, gboolean previews);
/* Milliseconds of the device's time that a preview took in the last picture; < 0: not known. */
double sl_session_get_preview_ms (SlSession *self);

SlState sl_session_get_state (SlSession *self);
gboolean sl_session_get_busy (SlSession *self);
GListModel *sl_session_get_results (SlSession *self);  /* of SlResult, oldest first; borrowed */
GdkTexture *sl_session_get_preview (SlSession *self);  /* borrowed */
gboolean sl_session_get_has_preview (SlSession *self); /* here or on the GPU */
const char *sl_session_get_model_path (SlSession *self);
const char *sl_session_get_error (SlSession *self);
/* Size, steps, CFG and shift that suit the loaded model; NULL without one. */
SlRecipe *sl_session_dup_defaults (SlSession *self);
/* The size in pixels of the picture being made. */
void sl_session_get_size (SlSession *self, int *width, int *height);
void sl_session_dismiss_error (SlSession *self);
/* Shows a failure of someone else's work through the same property; error may be NULL: nothing. */
void sl_session_take_error (SlSession *self, GError *error);

/* Told by what shows the previews: OpenGL, or GTK, which wants them enlarged; reason: why it is not
 * OpenGL, or NULL. */
void sl_session_set_view (SlSession *self, gboolean gl, const char *name, const char *reason);

/* Where SlGlView gets previews that stay on the GPU; its data is the session. */
const struct sl_gl_source *sl_session_get_gl_source (void);

/* What can be chosen: name is for people, id for the settings; NULL past the last; 0 is the
 * default. */
const char *sl_session_get_sampler (guint i, const char **id);
const char *sl_session_get_schedule (guint i, const char **id);
const char *sl_session_get_rng (guint i, const char **id);

void sl_session_count_tokens_async (SlSession *self, const char *text, GCancellable *cancellable,
                                    GAsyncReadyCallback callback, gpointer data);
int sl_session_count_tokens_finish (SlSession *self, GAsyncResult *result, GError **error);

/* Makes a picture of what preview shows of the one that was cancelled last: enlarged to its size,
 * not in the list of results. */
void sl_session_keep_async (SlSession *self, GdkTexture *preview, GAsyncReadyCallback callback,
                            gpointer data);
SlResult *sl_session_keep_finish (SlSession *self, GAsyncResult *result);

/* Writes the PNG with its settings inside; that of an unfinished picture has none. */
void sl_session_save_async (SlSession *self, SlResult *picture, GFile *file,
                            GAsyncReadyCallback callback, gpointer data);
gboolean sl_session_save_finish (SlSession *self, GAsyncResult *result, GError **error);

/* Where the time of the last pictures went, oldest first; the last one may be running.  A picture
 * that was not finished is not among them. */
#define SL_TIMINGS_MAX 20
GListModel *sl_session_get_timings (SlSession *self); /* of SlTiming; borrowed */
/* The same picture's; NULL when it is not kept any more.  Borrowed. */
SlTiming *sl_session_find_timing (SlSession *self, SlResult *result);
SlResult *sl_session_find_result (SlSession *self, SlTiming *timing);

typedef enum { SL_TIMING_FORMAT_TRACE, SL_TIMING_FORMAT_CSV } SlTimingFormat;
void sl_session_export_timing_async (SlSession *self, SlTiming *timing, GFile *file,
                                     SlTimingFormat format, GAsyncReadyCallback callback,
                                     gpointer data);
gboolean sl_session_export_timing_finish (SlSession *self, GAsyncResult *result, GError **error);

/* Asks the driver, on a worker.  NULL: there is no engine.  The caller frees it with g_free. */
void sl_session_sample_gpu_async (SlSession *self, GAsyncReadyCallback callback, gpointer data);
struct sl_gpu *sl_session_sample_gpu_finish (SlSession *self, GAsyncResult *result);

/* The same PNG in memory. */
void sl_session_encode_async (SlResult *picture, GAsyncReadyCallback callback, gpointer data);
GBytes *sl_session_encode_finish (SlResult *picture, GAsyncResult *result, GError **error);

/* The settings that a PNG from here or from a similar program carries. */
void sl_session_read_async (SlSession *self, GFile *file, GAsyncReadyCallback callback,
                            gpointer data);
SlRecipe *sl_session_read_finish (SlSession *self, GAsyncResult *result, GError **error);

G_END_DECLS
