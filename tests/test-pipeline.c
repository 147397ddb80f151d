/* Whole pictures of tests/data/tiny against diffusers' ZImagePipeline (tests/fidelity). */
#include "engine/engine.h"
#include "engine/image.h"
#include "engine/latent_file.h"
#include "engine/weights.h"

#include "tests/engine_fixture.h"
#include "tests/tmp_folder.h"

#include <math.h>
#include <string.h>

#define PROMPT_S "a red kite"
#define PROMPT_L "A small wooden boat on a calm lake below snowy mountains, evening light, 远处的山"
enum { SEED = 20260 };

/* The bar of the project for latents after 8 steps of float32 against float32 torch. */
#define LATENT_TOLERANCE 1e-4

static char *
data_path (const char *name)
{
  return g_test_build_filename (G_TEST_DIST, "data", name, NULL);
}

static eng_weights *
open_file (const char *path)
{
  g_autoptr (GError) error = NULL;
  eng_weights *weights = eng_weights_open (path, &error);

  g_assert_no_error (error);
  return weights;
}

static double
relative_error (const eng_weights *a, const char *name_a, const eng_weights *b, const char *name_b)
{
  const struct eng_tensor_info *x = eng_weights_lookup (a, name_a);
  const struct eng_tensor_info *y = eng_weights_lookup (b, name_b);
  double difference = 0, size = 0;

  g_assert_nonnull (x);
  g_assert_nonnull (y);
  g_assert_cmpuint (x->bytes, ==, y->bytes);
  for (size_t i = 0; i < x->bytes; i += 4) {
    float u, v;

    memcpy (&u, (const char *) x->data + i, 4);
    memcpy (&v, (const char *) y->data + i, 4);
    difference += ((double) u - v) * ((double) u - v);
    size += (double) v * v;
  }
  g_test_message ("%s: relative error %.2e", name_b, sqrt (difference / size));
  return sqrt (difference / size);
}

/* The picture's bytes: off by one at most, and almost nowhere. */
static void
assert_picture (eng_image *image, const eng_weights *goldens, const char *name)
{
  const struct eng_tensor_info *want = eng_weights_lookup (goldens, name);
  const uint8_t *got = g_bytes_get_data (eng_image_get_rgba (image), NULL);
  const uint8_t *rgb = want->data;
  const size_t n = want->bytes / 3;
  size_t off = 0;

  g_assert_cmpuint (g_bytes_get_size (eng_image_get_rgba (image)), ==, n * 4);
  for (size_t i = 0; i < n; i++)
    for (int c = 0; c < 3; c++) {
      const int difference = abs (got[i * 4 + c] - rgb[i * 3 + c]);

      g_assert_cmpint (difference, <=, 1);
      off += difference;
    }
  g_test_message ("%s: %zu of %zu values off by one", name, off, n * 3);
  g_assert_cmpuint (off, <, n * 3 / 200);
}

struct picture_case {
  const char *key, *prompt;
  int width, height;
  float cfg, norm_cap, truncation;
  int first; /* golden latents from this step on */
};

static const struct picture_case cases[] = {
  { "B", PROMPT_L, 160, 96, 1, 0, 0, 0 },
  { "A", PROMPT_S, 128, 64, 4, 0, 0, 0 }, /* diffusers' guidance_scale 3 */
  { "C", PROMPT_S, 128, 64, 4, 1, 0.6f, 7 },
};

static void
test_matches_diffusers (const void *data)
{
  const struct picture_case *c = data;
  g_autofree char *model = data_path ("tiny");
  g_autofree char *golden_path = data_path ("golden-pipeline.safetensors");
  g_autoptr (eng_weights) goldens = open_file (golden_path);
  g_autoptr (eng_engine) engine = fixture_engine (model);
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *dump = g_build_filename (folder, "latents.safetensors", NULL);
  const struct eng_params params = { .prompt = c->prompt,
                                     .negative = "fog",
                                     .width = c->width,
                                     .height = c->height,
                                     .cfg = c->cfg,
                                     .cfg_norm_cap = c->norm_cap,
                                     .cfg_truncation = c->truncation,
                                     .seed = SEED,
                                     .dump_latents = dump };
  struct fixture_job job = { 0 };

  fixture_run (&job, engine, &params);
  g_assert_no_error (job.error);
  g_assert_cmpint (job.steps, ==, 8);
  g_assert_cmpint (job.frames, ==, 8);

  g_autoptr (eng_weights) latents = open_file (dump);
  for (int i = c->first; i < 8; i++) {
    g_autofree char *ours = g_strdup_printf ("step_%d", i + 1);
    g_autofree char *theirs = g_strdup_printf ("%s.latent%d", c->key, i);

    g_assert_cmpfloat (relative_error (latents, ours, goldens, theirs), <, LATENT_TOLERANCE);
  }
  if (c->first == 0) {
    g_autofree char *noise = g_strconcat (c->key, ".noise", NULL);
    g_autofree char *rgb = g_strconcat (c->key, ".rgb", NULL);

    g_assert_cmpfloat (relative_error (latents, "noise", goldens, noise), ==, 0);
    assert_picture (job.image, goldens, rgb);
  }
  fixture_job_clear (&job);
}

static void
assert_same_picture (eng_image *a, eng_image *b)
{
  g_assert_true (g_bytes_equal (eng_image_get_rgba (a), eng_image_get_rgba (b)));
}

static gboolean
has_span (eng_image *image, const char *name)
{
  guint n;
  const struct eng_span *spans = eng_image_get_spans (image, &n);

  for (guint i = 0; i < n; i++)
    if (g_str_equal (spans[i].name, name))
      return TRUE;
  return FALSE;
}

/* Same params, same bits; also from a prompt that was kept, and from the latents of a file. */
static void
test_repeats (void)
{
  g_autofree char *model = data_path ("tiny");
  g_autoptr (eng_engine) engine = fixture_engine (model);
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *dump = g_build_filename (folder, "a.safetensors", NULL);
  struct eng_params params = { .prompt = PROMPT_S, .width = 64, .height = 96, .seed = 5 };
  struct fixture_job first = { 0 }, second = { 0 }, third = { 0 };

  params.dump_latents = dump;
  fixture_run (&first, engine, &params);
  params.dump_latents = NULL;
  fixture_run (&second, engine, &params);
  g_assert_no_error (second.error);
  assert_same_picture (first.image, second.image);
  g_assert_true (has_span (first.image, "encode"));
  g_assert_false (has_span (second.image, "encode")); /* the prompt was kept */
  g_assert_false (eng_image_get_counters (first.image)->prompt_cached);
  g_assert_true (eng_image_get_counters (second.image)->prompt_cached);
  g_assert_cmpuint (eng_image_get_counters (second.image)->allocations, ==, 0);

  params.seed = 6;
  params.init_latents = dump;
  fixture_run (&third, engine, &params);
  g_assert_no_error (third.error);
  assert_same_picture (first.image, third.image);
  fixture_job_clear (&first);
  fixture_job_clear (&second);
  fixture_job_clear (&third);
}

/* Where a picture's time went is known to 1 %, of all from its begin to its end; what is done is
 * told while the rest is made. */
static void
test_timeline (void)
{
  g_autofree char *model = data_path ("tiny");
  g_autoptr (eng_engine) engine = fixture_engine (model);
  const struct eng_params params = { .prompt = PROMPT_S, .width = 256, .height = 256, .cfg = 3 };
  double best = 1;

  for (int i = 0; i < 5; i++) { /* another program may have taken the CPU between two spans */
    struct fixture_job job = { 0 };
    guint n;

    fixture_run (&job, engine, &params);
    g_assert_no_error (job.error);
    const struct eng_span *spans = eng_image_get_spans (job.image, &n);
    const double ms = eng_image_get_seconds (job.image) * 1000;
    best = MIN (best, fixture_gaps (spans, n, ms) / ms);
    g_assert_cmpuint (job.spans, >=, n - 3); /* not decoding, its download and the delivery */
    g_assert_cmpfloat (eng_image_get_counters (job.image)->steps_per_second, >, 0);
    g_assert_cmpint (eng_image_get_counters (job.image)->evaluations, ==, 8);
    g_assert_cmpuint (eng_image_get_counters (job.image)->preview_bytes, ==, 8 * 32 * 32 * 4);
    fixture_job_clear (&job);
  }
  g_test_message ("%.2f %% of the time is in no span", best * 100);
  g_assert_cmpfloat (best, <, 0.01);
}

/* A file of noise with one value that is no number. */
static void
test_noise_not_finite (void)
{
  g_autofree char *model = data_path ("tiny");
  g_autoptr (eng_engine) engine = fixture_engine (model);
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *path = g_build_filename (folder, "a.safetensors", NULL);
  g_autoptr (GPtrArray) file = g_ptr_array_new_with_free_func ((GDestroyNotify) eng_latent_free);
  struct eng_latent *noise = eng_latent_new ("noise", -1, (int64_t[]){ 1, 16, 8, 8 });
  const struct eng_params params = {
    .prompt = PROMPT_S, .width = 64, .height = 64, .init_latents = path
  };
  struct fixture_job job = { 0 };

  g_ptr_array_add (file, noise);
  noise->data[7] = NAN;
  g_assert_true (eng_latent_write (path, file, NULL));
  fixture_run (&job, engine, &params);
  g_assert_error (job.error, ENG_ERROR, ENG_ERROR_FILE);
  g_assert_nonnull (strstr (job.error->message, "a.safetensors: value 7 is"));
  fixture_job_clear (&job);
}

/* Every sampler and schedule makes a picture of finite numbers, and not all the same. */
static void
test_samplers (void)
{
  g_autofree char *model = data_path ("tiny");
  g_autoptr (eng_engine) engine = fixture_engine (model);
  g_autoptr (GHashTable) seen =
      g_hash_table_new_full (g_bytes_hash, g_bytes_equal, (GDestroyNotify) g_bytes_unref, NULL);

  for (int sampler = 1; sampler < ENG_N_SAMPLERS; sampler++)
    for (int schedule = 1; schedule < ENG_N_SCHEDULES; schedule++) {
      const struct eng_params params = { .prompt = PROMPT_S,
                                         .width = 64,
                                         .height = 64,
                                         .steps = 4,
                                         .sampler = sampler,
                                         .schedule = schedule };
      struct fixture_job job = { 0 };

      fixture_run (&job, engine, &params);
      g_assert_no_error (job.error);
      g_hash_table_add (seen, g_bytes_ref (eng_image_get_rgba (job.image)));
      fixture_job_clear (&job);
    }
  g_assert_cmpuint (g_hash_table_size (seen), >, (ENG_N_SAMPLERS - 1) * (ENG_N_SCHEDULES - 1) / 2);
}

static void
test_infotext (void)
{
  g_autofree char *model = data_path ("tiny");
  g_autoptr (eng_engine) engine = fixture_engine (model);
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *path = g_build_filename (folder, "a.png", NULL);
  const struct eng_params params = { .prompt = "a kite, \"red\"\nover: hills",
                                     .negative = "fog",
                                     .cfg = 2.5f,
                                     .width = 64,
                                     .height = 96,
                                     .seed = G_MAXUINT64,
                                     .sampler = ENG_SAMPLER_DPMPP_2M,
                                     .schedule = ENG_SCHEDULE_BETA,
                                     .steps = 3 };
  struct fixture_job job = { 0 };
  g_autoptr (GError) error = NULL;

  fixture_run (&job, engine, &params);
  g_assert_no_error (job.error);
  eng_image_save_png (job.image, path, 0, &error);
  g_assert_no_error (error);
  g_autoptr (eng_settings) read = eng_settings_read_png (path, &error);
  g_assert_no_error (error);
  g_assert_cmpstr (read->params.prompt, ==, params.prompt);
  g_assert_cmpstr (read->params.negative, ==, "fog");
  g_assert_cmpfloat (read->params.cfg, ==, 2.5f);
  g_assert_cmpint (read->params.width, ==, 64);
  g_assert_cmpint (read->params.height, ==, 96);
  g_assert_cmpuint (read->params.seed, ==, G_MAXUINT64);
  g_assert_cmpint (read->params.sampler, ==, ENG_SAMPLER_DPMPP_2M);
  g_assert_cmpint (read->params.schedule, ==, ENG_SCHEDULE_BETA);
  g_assert_cmpint (read->params.rng, ==, ENG_RNG_CPU);
  g_assert_cmpint (read->params.steps, ==, 3);
  g_assert_cmpstr (read->model, ==, "tiny");

  eng_image_save_png (job.image, path, ENG_SAVE_NO_METADATA, &error);
  g_assert_no_error (error);
  g_assert_null (eng_settings_read_png (path, &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
  fixture_job_clear (&job);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *name = g_strconcat ("/pipeline/matches-diffusers/", cases[i].key, NULL);
    g_test_add_data_func (name, &cases[i], test_matches_diffusers);
  }
  g_test_add_func ("/pipeline/repeats", test_repeats);
  g_test_add_func ("/pipeline/timeline", test_timeline);
  g_test_add_func ("/pipeline/noise-not-finite", test_noise_not_finite);
  g_test_add_func ("/pipeline/samplers", test_samplers);
  g_test_add_func ("/pipeline/infotext", test_infotext);
  return g_test_run ();
}
