#include "engine/device.h"

#include "engine/error.h"

#include <gmodule.h>

/* The CUDA half is a module of its own, so that a machine without CUDA's libraries still starts. It
 * stays open for the life of the process: CUDA does not survive being unloaded. */
static struct krn_device *
open_cuda (char **reason)
{
  const char *path = g_getenv ("SAFELIGHT_CUDA_MODULE");
  g_autofree char *installed = g_build_filename (SAFELIGHT_MODULE_DIR, "safelight-cuda.so", NULL);
  struct krn_device *device = NULL;
  krn_cuda_open_fn open_fn;
  char why[256] = "";
  GModule *module;

  if (!path)
    path = installed;
  if (!g_file_test (path, G_FILE_TEST_EXISTS)) {
    *reason = g_strdup ("This build of Safelight has no GPU support.");
    return NULL;
  }
  module = g_module_open (path, G_MODULE_BIND_LAZY | G_MODULE_BIND_LOCAL);
  if (!module || !g_module_symbol (module, "krn_cuda_open", (gpointer *) &open_fn)) {
    *reason = g_strdup_printf ("GPU support could not be loaded: %s.", g_module_error ());
    return NULL;
  }
  g_module_make_resident (module);
  if (open_fn (&device, why, sizeof why))
    *reason = g_strdup (why);
  return device;
}

struct krn_device *
eng_device_open (const char *kind, int threads, char **reason, GError **error)
{
  const gboolean automatic = !kind || g_str_equal (kind, "auto");
  const gboolean cuda = kind && g_str_equal (kind, "cuda");
  struct krn_device *device = NULL;
  krn_status status;

  *reason = NULL;
  if (!automatic && !cuda && !g_str_equal (kind, "cpu")) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_PARAMS, "device is “%s”, expected auto, cpu or cuda",
                 kind);
    return NULL;
  }
  if (automatic || cuda)
    device = open_cuda (reason);
  if (!device && cuda) {
    g_set_error_literal (error, ENG_ERROR, ENG_ERROR_DEVICE, *reason);
    g_clear_pointer (reason, g_free);
    return NULL;
  }
  if (!device && (status = krn_cpu_open (&device, threads))) {
    g_set_error (error, ENG_ERROR, ENG_ERROR_DEVICE,
                 "the CPU with %d threads could not be opened (%d)", threads, status);
    g_clear_pointer (reason, g_free);
    return NULL;
  }
  if (!*reason)
    *reason = g_strdup ("");
  return device;
}
