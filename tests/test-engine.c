/* The engine's thread: loading, queue, cancel, refusals. */
#include "engine/engine.h"

#include "tests/engine_fixture.h"
#include "tests/tmp_folder.h"

#include <gio/gio.h>
#include <math.h>
#include <string.h>

static char *
tiny_path (void)
{
  return g_test_build_filename (G_TEST_DIST, "data", "tiny", NULL);
}

static eng_engine *
tiny_engine (void)
{
  g_autofree char *path = tiny_path ();

  return fixture_engine (path);
}

/* A picture of 64x64 in two steps: what a test wants that is about something else. */
static struct eng_params
small_picture (void)
{
  return (struct eng_params){ .prompt = "a kite", .width = 64, .height = 64, .steps = 2 };
}

static void
assert_works (eng_engine *engine)
{
  const struct eng_params params = small_picture ();
  struct fixture_job job = { 0 };

  fixture_run (&job, engine, &params);
  g_assert_no_error (job.error);
  fixture_job_clear (&job);
}

static void
assert_refused (eng_engine *engine, const struct eng_params *params, enum eng_error code,
                const char *pattern)
{
  struct fixture_job job = { 0 };

  fixture_run (&job, engine, params);
  g_assert_error (job.error, ENG_ERROR, (gint) code);
  if (!g_pattern_match_simple (pattern, job.error->message))
    g_error ("“%s” does not match “%s”", job.error->message, pattern);
  fixture_job_clear (&job);
}

static void
test_impossible_params (void)
{
  g_autoptr (eng_engine) engine = tiny_engine ();
  struct eng_params p;

#define REFUSED(field, value, pattern)                                                             \
  p = small_picture ();                                                                            \
  p.field = value;                                                                                 \
  assert_refused (engine, &p, ENG_ERROR_PARAMS, pattern)
  REFUSED (width, 100, "width is 100, expected a multiple of 16*");
  REFUSED (height, -64, "height is -64*");
  REFUSED (height, 1 << 30, "height is 1073741824*");
  REFUSED (width, 16, "width is 16*");
  REFUSED (steps, -1, "steps is -1, expected 1 to 150");
  REFUSED (steps, 151, "steps is 151*");
  REFUSED (cfg, NAN, "CFG is *nan*");
  REFUSED (cfg, INFINITY, "CFG is inf*");
  REFUSED (cfg, 0.5f, "CFG is 0.5, expected 1 to 30");
  REFUSED (shift, -1, "shift is -1*");
  REFUSED (cfg_truncation, 2, "CFG truncation is 2*");
  REFUSED (cfg_norm_cap, NAN, "CFG norm cap is *nan*");
  REFUSED (sampler, ENG_N_SAMPLERS, "sampler is *");
  REFUSED (schedule, 99, "schedule is 99*");
  REFUSED (prompt,
           "ab\xff"
           "c",
           "the prompt is not UTF-8: byte 2 is 0xff*");
  REFUSED (negative, "\xc3", "the negative prompt is not UTF-8: byte 0*");
#undef REFUSED
  assert_works (engine);
}

/* A megabyte of text is cut at the model's limit, and the picture says so. */
static void
test_long_prompt (void)
{
  g_autoptr (eng_engine) engine = tiny_engine ();
  g_autofree char *text = g_malloc (1 << 20);
  struct eng_params params = small_picture ();
  struct fixture_job job = { 0 };

  for (gsize i = 0; i < (1 << 20) - 1; i++)
    text[i] = "a kite over hills, "[i % 19];
  text[(1 << 20) - 1] = '\0';
  params.prompt = text;
  g_assert_cmpint (eng_engine_count_tokens (engine, text), >, 512);
  fixture_run (&job, engine, &params);
  g_assert_no_error (job.error);
  g_assert_nonnull (strstr (eng_image_get_warning (job.image), "only the first 512"));
  fixture_job_clear (&job);

  g_assert_cmpint (eng_engine_count_tokens (engine, "a kite"), <, 40);
  g_assert_cmpint (eng_engine_count_tokens (engine, "\xff"), ==, -1);
}

static void
test_empty_prompt (void)
{
  g_autoptr (eng_engine) engine = tiny_engine ();
  struct eng_params params = small_picture ();
  struct fixture_job job = { 0 };

  params.prompt = "";
  fixture_run (&job, engine, &params);
  g_assert_no_error (job.error);
  g_assert_null (eng_image_get_warning (job.image));
  fixture_job_clear (&job);
}

/* Told on every device. */
static void
test_memory_of_ours (void)
{
  g_autoptr (eng_engine) engine = tiny_engine ();
  struct eng_params params = small_picture ();
  struct fixture_job job = { 0 };
  struct eng_gpu_sample sample;

  fixture_run (&job, engine, &params);
  g_assert_no_error (job.error);
  fixture_job_clear (&job);
  eng_engine_sample_gpu (engine, &sample);
  g_test_message ("weights %" G_GINT64_FORMAT ", arena %" G_GINT64_FORMAT " bytes", sample.weights,
                  sample.arena);
  g_assert_cmpint (sample.weights, >, 0);
  g_assert_cmpint (sample.arena, >, 0);
}

/* Refused with what it needs and what is free; a smaller one then works. */
static void
test_no_memory (void)
{
  g_autoptr (eng_engine) engine = tiny_engine ();
  struct eng_params params = small_picture ();

  params.width = params.height = 16384;
  assert_refused (engine, &params, ENG_ERROR_MEMORY,
                  "a picture of 16384x16384 needs * of memory, but only * are free on CPU*");
  assert_works (engine);
}

static void
test_cancel (void)
{
  g_autoptr (eng_engine) engine = tiny_engine ();
  struct eng_params params = small_picture ();

  params.steps = 100;
  for (int at = 1; at <= 5; at++) {
    struct fixture_job job = { .cancel_at = at };

    fixture_run (&job, engine, &params);
    g_assert_error (job.error, ENG_ERROR, ENG_ERROR_CANCELLED);
    g_assert_cmpint (job.steps, ==, at);
    fixture_job_clear (&job);
  }
  assert_works (engine);
}

/* Jobs that wait when the engine goes are told so, each once. */
static void
test_free_with_a_queue (void)
{
  eng_engine *engine = tiny_engine ();
  struct eng_params params = small_picture ();
  struct fixture_job jobs[5] = { 0 };

  params.steps = 150;
  for (int i = 0; i < 5; i++) {
    const struct eng_observer observer = { NULL, fixture_done_cb, &jobs[i] };
    g_autoptr (GError) error = NULL;

    g_mutex_init (&jobs[i].mutex);
    g_cond_init (&jobs[i].cond);
    g_autoptr (eng_job) job = eng_engine_submit (engine, &params, &observer, &error);
    g_assert_no_error (error);
  }
  eng_engine_free (engine);
  for (int i = 0; i < 5; i++) {
    g_assert_true (jobs[i].done);
    g_assert_error (jobs[i].error, ENG_ERROR, ENG_ERROR_CANCELLED);
    fixture_job_clear (&jobs[i]);
  }
}

static void
test_no_model (void)
{
  const struct eng_options options = { .device = "cpu", .threads = 1 };
  g_autoptr (GError) error = NULL;
  g_autoptr (eng_engine) engine = eng_engine_new (&options, &error);
  const struct eng_params params = small_picture ();
  struct eng_gpu_sample sample;

  g_assert_no_error (error);
  g_assert_cmpstr (eng_engine_get_device_reason (engine), ==, "");
  g_assert_false (eng_engine_sample_gpu (engine, &sample)); /* the CPU */
  g_assert_cmpfloat (sample.utilisation, <, 0.);
  g_assert_cmpint (sample.memory_total, <, 0);
  g_assert_cmpint (sample.weights, ==, 0);
  g_assert_cmpint (eng_engine_count_tokens (engine, "a kite"), ==, 0);
  assert_refused (engine, &params, ENG_ERROR_MODEL, "no model is loaded");
}

static void
test_no_such_device (void)
{
  const struct eng_options options = { .device = "abacus" };
  g_autoptr (GError) error = NULL;

  g_assert_null (eng_engine_new (&options, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_PARAMS);
  g_assert_nonnull (strstr (error->message, "abacus"));
}

static void
assert_load_fails (eng_engine *engine, const char *path, const char *pattern)
{
  struct fixture_load load;

  fixture_load_begin (&load, engine, path);
  fixture_load_wait (&load);
  g_assert_nonnull (load.error);
  if (!g_pattern_match_simple (pattern, load.error->message))
    g_error ("“%s” does not match “%s”", load.error->message, pattern);
  fixture_load_clear (&load);
}

/* A path that is no model leaves the model that is loaded. */
static void
test_load_failures (void)
{
  g_autoptr (eng_engine) engine = tiny_engine ();
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *text = tmp_folder_write_text (folder, "a.safetensors", "not a model at all");

  assert_load_fails (engine, "/nonexistent/model", "*/nonexistent/model* does not exist");
  assert_load_fails (engine, folder, "*is not a model that Safelight knows*");
  assert_load_fails (engine, text, "*a.safetensors*");
  assert_works (engine);
}

static void
copy_tree (const char *from, const char *to)
{
  g_autoptr (GDir) dir = g_dir_open (from, 0, NULL);
  const char *name;

  g_mkdir_with_parents (to, 0700);
  while ((name = g_dir_read_name (dir))) {
    g_autofree char *source = g_build_filename (from, name, NULL);
    g_autofree char *target = g_build_filename (to, name, NULL);

    if (g_file_test (source, G_FILE_TEST_IS_DIR)) {
      copy_tree (source, target);
      continue;
    }
    g_autoptr (GFile) a = g_file_new_for_path (source);
    g_autoptr (GFile) b = g_file_new_for_path (target);
    g_autoptr (GError) error = NULL;
    g_file_copy (a, b, G_FILE_COPY_OVERWRITE, NULL, NULL, NULL, &error);
    g_assert_no_error (error);
  }
}

static void
remove_tree (const char *path)
{
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;

  while (dir && (name = g_dir_read_name (dir))) {
    g_autofree char *child = g_build_filename (path, name, NULL);
    remove_tree (child);
  }
  g_remove (path);
}

static void
write_text (const char *folder, const char *name, const char *text)
{
  g_autofree char *path = g_build_filename (folder, name, NULL);
  g_autoptr (GError) error = NULL;

  g_file_set_contents (path, text, -1, &error);
  g_assert_no_error (error);
}

/* One broken file at a time in a copy of the model. */
static void
test_broken_models (void)
{
  static const struct {
    const char *file, *text, *pattern;
  } breaks[] = {
    { "transformer/config.json", "{", "*config.json*" },
    { "transformer/config.json", "{\"dim\": 48}", "*" },
    { "transformer/config.json", "[]", "*config.json*" },
    { "text_encoder/config.json", "{\"hidden_size\": -1}", "*hidden_size*" },
    { "vae/config.json", "{\"latent_channels\": 1e99}", "*" },
    { "scheduler/scheduler_config.json", "{\"shift\": \"three\"}", "*shift*" },
    { "scheduler/scheduler_config.json", "{\"shift\": -3}", "*shift*" },
    { "tokenizer/tokenizer.json", "{\"model\": {}}", "*tokenizer.json*" },
    { "tokenizer/tokenizer.json", "", "*tokenizer.json*" },
    { "vae/diffusion_pytorch_model.safetensors", "\x08", "*diffusion_pytorch_model.safetensors*" },
    { "preview.json", "{\"factors\": [[1, 2, 3]], \"bias\": [0, 0, 0]}", "*1*16*" },
    { "preview.json", "{\"factors\": 3}", "*factors*" },
    { "preview.json",
      "{\"factors\": [[1, 2, {}], 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16], "
      "\"bias\": [0, 0, 0]}",
      "*factors?0? is not three numbers" },
    { "vae/config.json",
      "{\"latent_channels\": 16, \"layers_per_block\": 1, \"norm_num_groups\": 1, "
      "\"scaling_factor\": 1, \"block_out_channels\": [4, 4, 4, 4, 4]}",
      "*stands for 32 pixels, expected 16*" },
  };
  g_autofree char *tiny = tiny_path ();

  for (guint i = 0; i < G_N_ELEMENTS (breaks); i++) {
    g_autoptr (eng_engine) engine = tiny_engine ();
    g_autofree char *folder = g_dir_make_tmp ("safelight-XXXXXX", NULL);
    struct fixture_load load;

    copy_tree (tiny, folder);
    write_text (folder, breaks[i].file, breaks[i].text);
    assert_load_fails (engine, folder, breaks[i].pattern);
    fixture_load_begin (&load, engine, tiny);
    fixture_load_wait (&load);
    g_assert_no_error (load.error);
    fixture_load_clear (&load);
    assert_works (engine);
    remove_tree (folder);
  }
}

/* The folder goes away at any moment: a picture or an error, never a crash. */
static void
test_model_deleted_while_loading (void)
{
  g_autofree char *tiny = tiny_path ();

  for (int i = 0; i < 8; i++) {
    g_autofree char *folder = g_dir_make_tmp ("safelight-XXXXXX", NULL);
    g_autoptr (eng_engine) engine = tiny_engine ();
    struct fixture_load load;

    copy_tree (tiny, folder);
    fixture_load_begin (&load, engine, folder);
    g_usleep (i * 500);
    remove_tree (folder);
    fixture_load_wait (&load);
    if (!load.error)
      assert_works (engine);
    fixture_load_clear (&load);
  }
}

/* Of several loads the last one wins; jobs submitted meanwhile wait for it. */
static void
test_load_supersedes (void)
{
  g_autofree char *tiny = tiny_path ();
  g_autoptr (eng_engine) engine = tiny_engine ();
  struct fixture_load loads[4];

  for (int i = 0; i < 4; i++)
    fixture_load_begin (&loads[i], engine, tiny);
  assert_works (engine);
  for (int i = 0; i < 4; i++) {
    fixture_load_wait (&loads[i]);
    if (loads[i].error)
      g_assert_error (loads[i].error, ENG_ERROR, ENG_ERROR_CANCELLED);
  }
  g_assert_nonnull (loads[3].info);
  for (int i = 0; i < 4; i++)
    fixture_load_clear (&loads[i]);
}

struct progress {
  struct fixture_load load; /* first: its done is the observer's */
  double last;
};

static void
rising_progress_cb (double fraction, void *data)
{
  struct progress *p = data;

  g_assert_cmpfloat (fraction, >=, p->last);
  p->last = fraction;
}

/* From somewhere to exactly 1. */
static void
test_load_progress (void)
{
  g_autofree char *tiny = tiny_path ();
  g_autoptr (eng_engine) engine = tiny_engine ();
  struct progress p = { 0 };
  const struct eng_load_observer observer = { rising_progress_cb, fixture_load_done_cb, &p };

  g_mutex_init (&p.load.mutex);
  g_cond_init (&p.load.cond);
  eng_engine_load (engine, tiny, &observer);
  fixture_load_wait (&p.load);
  g_assert_no_error (p.load.error);
  g_assert_cmpfloat (p.last, ==, 1);
  fixture_load_clear (&p.load);
}

/* Holds the engine's thread in a job's progress until it is let go. */
struct gate {
  GMutex mutex;
  GCond cond;
  gboolean entered, open;
};

static void
gate_progress_cb (eng_job *job, const struct eng_progress *progress, void *data)
{
  struct gate *gate = data;

  g_mutex_lock (&gate->mutex);
  gate->entered = TRUE;
  g_cond_broadcast (&gate->cond);
  while (!gate->open)
    g_cond_wait (&gate->cond, &gate->mutex);
  g_mutex_unlock (&gate->mutex);
}

/* A job that waits for a model which then cannot be had is not made with another one. */
static void
test_load_that_a_job_waits_for_fails (void)
{
  g_autoptr (eng_engine) engine = tiny_engine ();
  const struct eng_params params = small_picture ();
  struct gate gate = { 0 };
  const struct eng_observer holder = { gate_progress_cb, NULL, &gate };
  g_autoptr (eng_job) held = eng_engine_submit (engine, &params, &holder, NULL);
  struct fixture_job job = { 0 };
  const struct eng_observer observer = { NULL, fixture_done_cb, &job };
  struct fixture_load load;

  g_mutex_lock (&gate.mutex);
  while (!gate.entered)
    g_cond_wait (&gate.cond, &gate.mutex);
  fixture_load_begin (&load, engine, "/nonexistent/model");
  g_autoptr (eng_job) waiting = eng_engine_submit (engine, &params, &observer, NULL);
  gate.open = TRUE;
  g_cond_broadcast (&gate.cond);
  g_mutex_unlock (&gate.mutex);

  fixture_load_wait (&load);
  assert_works (engine); /* after the job; with the model that is still there */
  g_assert_true (job.done);
  g_assert_error (job.error, ENG_ERROR, ENG_ERROR_MODEL);
  fixture_load_clear (&load);
  g_clear_error (&job.error);
}

static void
test_inspect (void)
{
  g_autofree char *tiny = tiny_path ();
  g_autoptr (GError) error = NULL;
  g_autoptr (eng_model_info) info = eng_model_inspect (tiny, &error);
  const struct eng_component *components;
  guint n;

  g_assert_no_error (error);
  g_assert_cmpstr (eng_model_info_get_name (info), ==, "tiny");
  g_assert_cmpuint (strlen (eng_model_info_get_hash (info)), ==, 10);
  components = eng_model_info_get_components (info, &n);
  g_assert_cmpuint (n, ==, 3);
  g_assert_cmpstr (components[0].name, ==, "text encoder");
  g_assert_cmpuint (components[1].tensors, >, 20);
  g_assert_cmpfloat (eng_model_info_get_defaults (info)->shift, ==, 3);
}

static void
copy_file (const char *from, const char *folder, const char *name)
{
  g_autofree char *target = g_build_filename (folder, name, NULL);
  g_autofree char *parent = g_path_get_dirname (target);
  g_autoptr (GFile) a = g_file_new_for_path (from);
  g_autoptr (GFile) b = g_file_new_for_path (target);
  g_autoptr (GError) error = NULL;

  g_mkdir_with_parents (parent, 0700);
  g_file_copy (a, b, G_FILE_COPY_NONE, NULL, NULL, NULL, &error);
  g_assert_no_error (error);
}

/* A folder's own word for its name counts more than what the folder is called. */
static void
test_name (void)
{
  g_autofree char *tiny = tiny_path ();
  g_autofree char *folder = g_dir_make_tmp ("safelight-XXXXXX", NULL);
  g_autoptr (GError) error = NULL;

  copy_tree (tiny, folder);
  write_text (folder, "model_index.json", "{\"_name_or_path\": \"somebody/kites-turbo\"}");
  g_autoptr (eng_model_info) info = eng_model_inspect (folder, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (eng_model_info_get_name (info), ==, "kites-turbo");
  remove_tree (folder);
}

/* Single files in the folders of ComfyUI: the parts are found by their tensors, whatever their
 * names. */
static void
test_inspect_single_file (void)
{
  static const char *const files[][2] = {
    { "transformer/diffusion_pytorch_model.safetensors", "diffusion_models/z.safetensors" },
    { "text_encoder/model.safetensors", "text_encoders/anything.safetensors" },
    { "vae/diffusion_pytorch_model.safetensors", "vae/ae.safetensors" },
  };
  g_autofree char *tiny = tiny_path ();
  g_autofree char *folder = g_dir_make_tmp ("safelight-XXXXXX", NULL);
  g_autofree char *tokenizer = g_build_filename (tiny, "tokenizer", "tokenizer.json", NULL);
  g_autofree char *path = g_build_filename (folder, files[0][1], NULL);
  g_autoptr (GError) error = NULL;
  const struct eng_component *components;
  guint n;

  for (guint i = 0; i < G_N_ELEMENTS (files); i++) {
    g_autofree char *from = g_build_filename (tiny, files[i][0], NULL);
    copy_file (from, folder, files[i][1]);
  }
  g_assert_null (eng_model_inspect (path, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_MODEL);
  g_assert_nonnull (strstr (error->message, "tokenizer.json"));
  g_clear_error (&error);

  copy_file (tokenizer, folder, "tokenizer/tokenizer.json");
  g_autoptr (eng_model_info) info = eng_model_inspect (path, &error);
  g_assert_no_error (error);
  components = eng_model_info_get_components (info, &n);
  g_assert_cmpuint (n, ==, 3);
  for (guint i = 0; i < n; i++)
    g_assert_cmpuint (components[i].tensors, >, 20);
  g_assert_cmpint (eng_model_info_get_defaults (info)->width, ==, 1024);
  remove_tree (folder);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/engine/impossible-params", test_impossible_params);
  g_test_add_func ("/engine/long-prompt", test_long_prompt);
  g_test_add_func ("/engine/empty-prompt", test_empty_prompt);
  g_test_add_func ("/engine/memory-of-ours", test_memory_of_ours);
  g_test_add_func ("/engine/no-memory", test_no_memory);
  g_test_add_func ("/engine/cancel", test_cancel);
  g_test_add_func ("/engine/free-with-a-queue", test_free_with_a_queue);
  g_test_add_func ("/engine/no-model", test_no_model);
  g_test_add_func ("/engine/no-such-device", test_no_such_device);
  g_test_add_func ("/engine/load-failures", test_load_failures);
  g_test_add_func ("/engine/broken-models", test_broken_models);
  g_test_add_func ("/engine/model-deleted-while-loading", test_model_deleted_while_loading);
  g_test_add_func ("/engine/load-supersedes", test_load_supersedes);
  g_test_add_func ("/engine/load-progress", test_load_progress);
  g_test_add_func ("/engine/load-that-a-job-waits-for-fails", test_load_that_a_job_waits_for_fails);
  g_test_add_func ("/engine/inspect", test_inspect);
  g_test_add_func ("/engine/name", test_name);
  g_test_add_func ("/engine/inspect-single-file", test_inspect_single_file);
  return g_test_run ();
}
