/* ui/sl-session-errands.c - what the session does on GLib's worker threads.  A task holds the
 * session or the picture, so the engine and the pixels stay. */
#include "ui/sl-session-private.h"

#include "ui/sl-pixels.h"
#include "ui/sl-resample.h"

#include <glib/gi18n.h>

static void
count_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  g_task_return_int (task, eng_engine_count_tokens (sl_session_get_engine (source), data));
}

void
sl_session_count_tokens_async (SlSession *self, const char *text, GCancellable *cancellable,
                               GAsyncReadyCallback callback, gpointer data)
{
  g_autoptr (GTask) task = g_task_new (self, cancellable, callback, data);

  if (!sl_session_get_engine (self)) {
    g_task_return_int (task, 0);
    return;
  }
  g_task_set_task_data (task, g_strdup (text), g_free);
  g_task_run_in_thread (task, count_thread);
}

int
sl_session_count_tokens_finish (SlSession *self, GAsyncResult *result, GError **error)
{
  return (int) g_task_propagate_int (G_TASK (result), error);
}

struct errand {
  SlResult *picture;
  char *path;
  double length; /* ms that writing took */
};

static struct errand *
errand_new (SlResult *picture, GFile *file)
{
  struct errand *errand = g_new0 (struct errand, 1);

  errand->picture = picture ? g_object_ref (picture) : NULL;
  errand->path = g_file_get_path (file);
  return errand;
}

static void
errand_free (struct errand *errand)
{
  g_clear_object (&errand->picture);
  g_free (errand->path);
  g_free (errand);
}

static gboolean
errand_check (const struct errand *errand, GError **error)
{
  if (errand->path)
    return TRUE;
  g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                       _ ("Only files on this computer can be used."));
  return FALSE;
}

static gboolean
save (SlResult *picture, const char *path, GError **error)
{
  GdkTexture *texture = sl_result_get_texture (picture);
  g_autoptr (GBytes) pixels = NULL;
  struct eng_frame frame = { gdk_texture_get_width (texture), gdk_texture_get_height (texture) };

  if (!sl_result_get_unfinished (picture))
    return eng_image_save_png (sl_result_get_image (picture), path, 0, error);
  pixels = sl_pixels_ref (texture);
  frame.rgba = g_bytes_get_data (pixels, NULL);
  return eng_frame_save_png (&frame, path, error);
}

static void
save_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  struct errand *errand = data;
  GError *error = NULL;
  const gint64 begin = g_get_monotonic_time ();
  const gboolean saved =
      errand_check (errand, &error) && save (errand->picture, errand->path, &error);

  errand->length = (double) (g_get_monotonic_time () - begin) / 1e3;
  if (saved)
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_error (task, error);
}

void
sl_session_save_async (SlSession *self, SlResult *picture, GFile *file,
                       GAsyncReadyCallback callback, gpointer data)
{
  g_autoptr (GTask) task = g_task_new (self, NULL, callback, data);

  g_task_set_task_data (task, errand_new (picture, file), (GDestroyNotify) errand_free);
  g_task_run_in_thread (task, save_thread);
}

gboolean
sl_session_save_finish (SlSession *self, GAsyncResult *result, GError **error)
{
  const struct errand *errand = g_task_get_task_data (G_TASK (result));
  const gboolean saved = g_task_propagate_boolean (G_TASK (result), error);
  SlTiming *timing = saved ? sl_session_find_timing (self, errand->picture) : NULL;

  if (timing)
    sl_timing_set_png (timing, errand->length);
  return saved;
}

static void
encode_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  GError *error = NULL;
  GBytes *bytes = sl_result_get_unfinished (source)
                      ? gdk_texture_save_to_png_bytes (sl_result_get_texture (source))
                      : eng_image_to_png (sl_result_get_image (source), 0, &error);

  if (bytes)
    g_task_return_pointer (task, bytes, (GDestroyNotify) g_bytes_unref);
  else
    g_task_return_error (task, error);
}

void
sl_session_encode_async (SlResult *picture, GAsyncReadyCallback callback, gpointer data)
{
  g_autoptr (GTask) task = g_task_new (picture, NULL, callback, data);

  g_task_run_in_thread (task, encode_thread);
}

GBytes *
sl_session_encode_finish (SlResult *picture, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}

/* ---- Keeping what was cancelled ---- */

struct kept {
  GdkTexture *preview;
  SlRecipe *recipe;
  int step, n_steps;
};

static void
kept_free (struct kept *kept)
{
  g_object_unref (kept->preview);
  sl_recipe_free (kept->recipe);
  g_free (kept);
}

static void
keep_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  const struct kept *kept = data;
  const int width = gdk_texture_get_width (kept->preview);
  const int height = gdk_texture_get_height (kept->preview);
  g_autoptr (GBytes) small = sl_pixels_ref (kept->preview);
  g_autoptr (GBytes) large = sl_resample (g_bytes_get_data (small, NULL), width, height,
                                          kept->recipe->width, kept->recipe->height);
  const struct sl_result_parts parts = {
    .recipe = sl_recipe_copy (kept->recipe),
    .texture = sl_pixels_texture_new (large, kept->recipe->width, kept->recipe->height),
    .thumbnail = g_object_ref (kept->preview),
    .warning =
        g_strdup_printf (_ ("Unfinished: stopped after step %d of %d"), kept->step, kept->n_steps),
  };

  g_task_return_pointer (task, sl_result_new (&parts), g_object_unref);
}

void
sl_session_keep_async (SlSession *self, GdkTexture *preview, GAsyncReadyCallback callback,
                       gpointer data)
{
  g_autoptr (GTask) task = g_task_new (self, NULL, callback, data);
  struct kept *kept = g_new0 (struct kept, 1);

  kept->preview = g_object_ref (preview);
  kept->recipe = self->recipe ? sl_recipe_copy (self->recipe) : sl_recipe_new ();
  kept->recipe->seed = self->last_seed;
  kept->recipe->width = self->width;
  kept->recipe->height = self->height;
  kept->step = self->last_step;
  kept->n_steps = self->last_n_steps;
  g_task_set_task_data (task, kept, (GDestroyNotify) kept_free);
  g_task_run_in_thread (task, keep_thread);
}

SlResult *
sl_session_keep_finish (SlSession *self, GAsyncResult *result)
{
  return g_task_propagate_pointer (G_TASK (result), NULL);
}

static void
read_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  const struct errand *errand = data;
  g_autoptr (eng_settings) settings = NULL;
  GError *error = NULL;

  if (errand_check (errand, &error))
    settings = eng_settings_read_png (errand->path, &error);
  if (settings)
    g_task_return_pointer (task, sl_session_recipe_from_params (&settings->params),
                           (GDestroyNotify) sl_recipe_free);
  else
    g_task_return_error (task, error);
}

void
sl_session_read_async (SlSession *self, GFile *file, GAsyncReadyCallback callback, gpointer data)
{
  g_autoptr (GTask) task = g_task_new (self, NULL, callback, data);

  g_task_set_task_data (task, errand_new (NULL, file), (GDestroyNotify) errand_free);
  g_task_run_in_thread (task, read_thread);
}

SlRecipe *
sl_session_read_finish (SlSession *self, GAsyncResult *result, GError **error)
{
  return g_task_propagate_pointer (G_TASK (result), error);
}
