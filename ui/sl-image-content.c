#include "ui/sl-image-content.h"

#include "ui/sl-session.h"

#include <glib/gstdio.h>
#include <string.h>

struct _SlImageContent {
  GdkContentProvider parent_instance;

  SlResult *picture;
  gboolean as_file;
};

G_DEFINE_FINAL_TYPE (SlImageContent, sl_image_content, GDK_TYPE_CONTENT_PROVIDER)

struct request {
  GOutputStream *stream;
  int priority;
  gboolean uri;
  GBytes *bytes;
};

static void
request_free (struct request *request)
{
  g_object_unref (request->stream);
  g_clear_pointer (&request->bytes, g_bytes_unref);
  g_free (request);
}

static char *
dup_folder (void)
{
  return g_build_filename (g_get_user_cache_dir (), "safelight", "dragged", NULL);
}

GdkContentProvider *
sl_image_content_new (SlResult *picture, gboolean as_file)
{
  SlImageContent *self = g_object_new (SL_TYPE_IMAGE_CONTENT, NULL);

  self->picture = g_object_ref (picture);
  self->as_file = as_file;
  return GDK_CONTENT_PROVIDER (self);
}

void
sl_image_content_clean (void)
{
  g_autofree char *folder = dup_folder ();
  g_autoptr (GDir) dir = g_dir_open (folder, 0, NULL);
  const char *name;

  while (dir && (name = g_dir_read_name (dir))) {
    g_autofree char *path = g_build_filename (folder, name, NULL);

    g_unlink (path);
  }
}

/* Writes the PNG into the cache and puts the file's address in its place. */
static gboolean
store_file (GBytes **bytes, const SlRecipe *recipe, GError **error)
{
  g_autofree char *folder = dup_folder (), *name = sl_recipe_dup_file_name (recipe);
  g_autofree char *path = g_build_filename (folder, name, NULL);
  g_autofree char *uri = NULL, *line = NULL;

  g_mkdir_with_parents (folder, 0700);
  if (!g_file_set_contents (path, g_bytes_get_data (*bytes, NULL),
                            (gssize) g_bytes_get_size (*bytes), error))
    return FALSE;
  uri = g_filename_to_uri (path, NULL, error);
  if (!uri)
    return FALSE;
  line = g_strconcat (uri, "\r\n", NULL);
  g_bytes_unref (*bytes);
  *bytes = g_bytes_new (line, strlen (line));
  return TRUE;
}

static void
store_thread (GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
  struct request *request = g_task_get_task_data (data);
  GError *error = NULL;

  if (store_file (&request->bytes, sl_result_get_recipe (SL_IMAGE_CONTENT (source)->picture),
                  &error))
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_error (task, error);
}

static void
written_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  g_autoptr (GTask) task = data;
  GError *error = NULL;

  if (g_output_stream_write_all_finish (G_OUTPUT_STREAM (object), result, NULL, &error))
    g_task_return_boolean (task, TRUE);
  else
    g_task_return_error (task, error);
}

static void
write_bytes (GTask *task)
{
  const struct request *request = g_task_get_task_data (task);

  g_output_stream_write_all_async (request->stream, g_bytes_get_data (request->bytes, NULL),
                                   g_bytes_get_size (request->bytes), request->priority,
                                   g_task_get_cancellable (task), written_cb, task);
}

static void
stored_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  GTask *task = data;
  GError *error = NULL;

  if (g_task_propagate_boolean (G_TASK (result), &error)) {
    write_bytes (task);
  } else {
    g_task_return_error (task, error);
    g_object_unref (task);
  }
}

static void
encoded_cb (GObject *object, GAsyncResult *result, gpointer data)
{
  GTask *task = data;
  struct request *request = g_task_get_task_data (task);
  GError *error = NULL;

  request->bytes = sl_session_encode_finish (SL_RESULT (object), result, &error);
  if (!request->bytes) {
    g_task_return_error (task, error);
    g_object_unref (task);
  } else if (request->uri) {
    g_autoptr (GTask) store = g_task_new (g_task_get_source_object (task), NULL, stored_cb, task);

    g_task_set_task_data (store, task, NULL);
    g_task_run_in_thread (store, store_thread);
  } else {
    write_bytes (task);
  }
}

static void
sl_image_content_write_mime_type_async (GdkContentProvider *provider, const char *mime_type,
                                        GOutputStream *stream, int io_priority,
                                        GCancellable *cancellable, GAsyncReadyCallback callback,
                                        gpointer data)
{
  SlImageContent *self = SL_IMAGE_CONTENT (provider);
  GTask *task = g_task_new (self, cancellable, callback, data);
  struct request *request = g_new0 (struct request, 1);

  request->stream = g_object_ref (stream);
  request->priority = io_priority;
  request->uri = g_strcmp0 (mime_type, "text/uri-list") == 0;
  g_task_set_task_data (task, request, (GDestroyNotify) request_free);
  sl_session_encode_async (self->picture, encoded_cb, task);
}

static gboolean
sl_image_content_write_mime_type_finish (GdkContentProvider *provider, GAsyncResult *result,
                                         GError **error)
{
  return g_task_propagate_boolean (G_TASK (result), error);
}

static GdkContentFormats *
sl_image_content_ref_formats (GdkContentProvider *provider)
{
  static const char *types[] = { "image/png", "text/uri-list" };

  return gdk_content_formats_new (types, SL_IMAGE_CONTENT (provider)->as_file ? 2 : 1);
}

static void
sl_image_content_finalize (GObject *object)
{
  g_clear_object (&SL_IMAGE_CONTENT (object)->picture);

  G_OBJECT_CLASS (sl_image_content_parent_class)->finalize (object);
}

static void
sl_image_content_class_init (SlImageContentClass *klass)
{
  GdkContentProviderClass *provider_class = GDK_CONTENT_PROVIDER_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = sl_image_content_finalize;
  provider_class->ref_formats = sl_image_content_ref_formats;
  provider_class->write_mime_type_async = sl_image_content_write_mime_type_async;
  provider_class->write_mime_type_finish = sl_image_content_write_mime_type_finish;
}

static void
sl_image_content_init (SlImageContent *self)
{
}
