/* tests/test-infotext.c - settings to text and back, and other programs' texts (made up by us). */
#include "engine/infotext.h"

static const struct eng_params example = {
  .prompt = "a red kite over hills",
  .negative = "blur",
  .width = 1024,
  .height = 768,
  .steps = 8,
  .cfg = 4.5f,
  .seed = 7,
  .sampler = ENG_SAMPLER_EULER,
  .schedule = ENG_SCHEDULE_SIMPLE,
  .shift = 3,
};

static void
test_writes (void)
{
  struct eng_params params = example;
  g_autofree char *full =
      eng_infotext_write (&params, "z_image_turbo_bf16", "0123456789", "Safelight 0.1");

  g_assert_cmpstr (full, ==,
                   "a red kite over hills\nNegative prompt: blur\n"
                   "Steps: 8, Sampler: Euler, Schedule type: Simple, CFG scale: 4.5, Seed: 7, "
                   "Size: 1024x768, Model hash: 0123456789, Model: z_image_turbo_bf16, RNG: CPU, "
                   "Shift: 3, Version: Safelight 0.1");
  params.cfg = 1;
  params.rng = ENG_RNG_CUDA;
  params.seed = G_MAXUINT64;
  params.sampler = ENG_SAMPLER_DPMPP_2M;
  g_autofree char *least = eng_infotext_write (&params, NULL, NULL, NULL);
  g_assert_cmpstr (least, ==,
                   "a red kite over hills\nSteps: 8, Sampler: DPM++ 2M, Schedule type: Simple, "
                   "CFG scale: 1, Seed: 18446744073709551615, Size: 1024x768, Shift: 3");
}

static void
assert_same (const struct eng_params *a, const struct eng_params *b)
{
  g_assert_cmpstr (a->prompt, ==, b->prompt);
  g_assert_cmpstr (a->negative, ==, b->negative);
  g_assert_cmpint (a->width, ==, b->width);
  g_assert_cmpint (a->height, ==, b->height);
  g_assert_cmpint (a->steps, ==, b->steps);
  g_assert_cmpfloat (a->cfg, ==, b->cfg);
  g_assert_cmpuint (a->seed, ==, b->seed);
  g_assert_cmpint (a->sampler, ==, b->sampler);
  g_assert_cmpint (a->schedule, ==, b->schedule);
  g_assert_cmpint (a->rng, ==, b->rng);
  g_assert_cmpfloat (a->shift, ==, b->shift);
  g_assert_cmpfloat (a->cfg_norm_cap, ==, b->cfg_norm_cap);
  g_assert_cmpfloat (a->cfg_truncation, ==, b->cfg_truncation);
}

static void
round_trip (const struct eng_params *params, const char *model)
{
  g_autofree char *text = eng_infotext_write (params, model, "0123456789", "Safelight 0.1");
  g_autoptr (eng_infotext) infotext = eng_infotext_parse (text);
  const struct eng_params back = eng_infotext_get_params (infotext);

  assert_same (params, &back);
  g_assert_cmpstr (eng_infotext_get (infotext, "Model"), ==, model);
  g_assert_cmpstr (eng_infotext_get (infotext, "Version"), ==, "Safelight 0.1");
}

static void
test_nasty_prompts (void)
{
  static const char *const prompts[] = {
    "",
    "one\ntwo\n\nfour",
    "\"quoted\", with: colons, and \\backslashes\\",
    "Steps: 8, Sampler: Euler, Seed: 1",
    "a\nSteps: 20, Sampler: Heun, Schedule type: Beta, Seed: 1, Size: 64x64",
    "not at a line's begin: Negative prompt: blur",
    "Negative prompt: first line",
    "a\nNegative prompt: second line\n Negative prompt: third",
    "\xe7\xba\xa2\xe8\x89\xb2\xe7\x9a\x84\xe9\xa3\x8e\xe7\xad\x9d\xef\xbc\x8c"
    "\xe5\xb1\xb1\xe4\xb8\x98",
    "emoji \xf0\x9f\xaa\x81, tab\t, (weights:1.2), [a|b], <lora:x:1>",
    "{\"json\": \"like\", \"a\": 1}",
    "C:\\path\\file, http://example.org/?a=b&c=d",
    "a,b,c,,,::,\"",
  };

  for (gsize i = 0; i < G_N_ELEMENTS (prompts); i++)
    for (gsize j = 0; j < G_N_ELEMENTS (prompts); j++) {
      struct eng_params params = example;

      params.prompt = prompts[i];
      params.negative = prompts[j];
      round_trip (&params, "model");
    }
}

static void
test_nasty_models (void)
{
  static const char *const models[] = {
    "plain",       "with space",     "comma, colon: and \"quotes\"",
    "back\\slash", "new\nline\ttab", "\"",
    " spaces ",    "\"all quoted\"", "\xe6\xa8\xa1\xe5\x9e\x8b, \xf0\x9f\xaa\x81",
    "a\x01z\x7f,", "\\u0041, \\n"
  };

  for (gsize i = 0; i < G_N_ELEMENTS (models); i++)
    round_trip (&example, models[i]);
}

static void
test_all_values (void)
{
  static const float numbers[] = { 1.1f, 1.0001f, 3.14159274f, 7, 29.9999981f, 0.1f + 1 };

  for (int sampler = 1; sampler < ENG_N_SAMPLERS; sampler++)
    for (int schedule = 1; schedule < ENG_N_SCHEDULES; schedule++)
      for (int rng = 0; rng < 2; rng++) {
        struct eng_params params = example;

        params.sampler = sampler;
        params.schedule = schedule;
        params.rng = rng;
        params.seed = G_MAXUINT64 - sampler;
        params.cfg = numbers[schedule - 1];
        params.shift = numbers[sampler - 1];
        params.cfg_norm_cap = rng ? 1.3f : 0;
        params.cfg_truncation = rng ? 0.7f : 0;
        round_trip (&params, "m");
      }
}

static void
test_a1111 (void)
{
  g_autoptr (eng_infotext) i = eng_infotext_parse (
      "harbour at dusk, (lanterns:1.3)\nfishing boats\nNegative prompt: people, text\nwatermark\n"
      "Steps: 25, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 3141592653, Size: 832x1216, "
      "Model hash: 89abcdef01, Model: made_up_v2, Clip skip: 2, "
      "Lora hashes: \"first: 0a1b2c3d4e5f, second: 5f4e3d2c1b0a\", Version: v1.6.0");
  const struct eng_params params = eng_infotext_get_params (i);

  g_assert_cmpstr (params.prompt, ==, "harbour at dusk, (lanterns:1.3)\nfishing boats");
  g_assert_cmpstr (params.negative, ==, "people, text\nwatermark");
  g_assert_cmpint (params.steps, ==, 25);
  g_assert_cmpint (params.sampler, ==, ENG_SAMPLER_DPMPP_2M);
  g_assert_cmpint (params.schedule, ==, ENG_SCHEDULE_KARRAS);
  g_assert_cmpfloat (params.cfg, ==, 6.5);
  g_assert_cmpuint (params.seed, ==, 3141592653);
  g_assert_cmpint (params.width, ==, 832);
  g_assert_cmpint (params.height, ==, 1216);
  g_assert_cmpint (params.rng, ==, ENG_RNG_CUDA);
  g_assert_cmpstr (eng_infotext_get (i, "Lora hashes"), ==,
                   "first: 0a1b2c3d4e5f, second: 5f4e3d2c1b0a");
  g_assert_cmpstr (eng_infotext_get (i, "Clip skip"), ==, "2");
  g_assert_null (eng_infotext_get (i, "first"));
}

static void
test_sdcpp (void)
{
  g_autoptr (eng_infotext) i = eng_infotext_parse (
      "a lighthouse\r\nNegative prompt: fog\r\nSteps: 9, CFG scale: 1.000000, Guidance: 3.500000, "
      "Eta: 0.000000, Seed: 42, Size: 512x512, Model: zimage-q8.gguf, RNG: cuda, "
      "Sampler: euler simple, TE: qwen.gguf, Version: stable-diffusion.cpp\n");
  const struct eng_params params = eng_infotext_get_params (i);

  g_assert_cmpstr (params.prompt, ==, "a lighthouse");
  g_assert_cmpstr (params.negative, ==, "fog");
  g_assert_cmpint (params.sampler, ==, ENG_SAMPLER_EULER);
  g_assert_cmpint (params.schedule, ==, ENG_SCHEDULE_SIMPLE);
  g_assert_cmpint (params.rng, ==, ENG_RNG_CUDA);
  g_assert_cmpfloat (params.cfg, ==, 1);
}

/* One settings line under one prompt; what its sampler and schedule are to us. */
static void
test_names (void)
{
  static const struct {
    const char *text;
    enum eng_sampler sampler;
    enum eng_schedule schedule;
  } cases[] = {
    { "Euler a", ENG_SAMPLER_EULER_ANCESTRAL, ENG_SCHEDULE_DEFAULT },
    { "euler_a discrete", ENG_SAMPLER_EULER_ANCESTRAL, ENG_SCHEDULE_NORMAL },
    { "dpm++2m sgm_uniform", ENG_SAMPLER_DPMPP_2M, ENG_SCHEDULE_SGM_UNIFORM },
    { "Euler SGM Uniform", ENG_SAMPLER_EULER, ENG_SCHEDULE_SGM_UNIFORM },
    { "DPM++ 2M SDE Karras", ENG_SAMPLER_DEFAULT, ENG_SCHEDULE_KARRAS },
    { "DDIM", ENG_SAMPLER_EULER, ENG_SCHEDULE_DEFAULT },
    { "Heun, Schedule type: Automatic", ENG_SAMPLER_HEUN, ENG_SCHEDULE_DEFAULT },
    { "LCM, Schedule type: beta", ENG_SAMPLER_LCM, ENG_SCHEDULE_BETA },
  };

  for (gsize i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autofree char *text =
        g_strdup_printf ("x\nSteps: 8, Seed: 1, Sampler: %s, Size: 64x64", cases[i].text);
    g_autoptr (eng_infotext) infotext = eng_infotext_parse (text);
    const struct eng_params params = eng_infotext_get_params (infotext);

    g_assert_cmpint (params.sampler, ==, cases[i].sampler);
    g_assert_cmpint (params.schedule, ==, cases[i].schedule);
  }
}

static void
test_no_settings (void)
{
  static const char *const texts[] = { "", "only a prompt", "a prompt\nSteps: 8, Seed: 1",
                                       "(red:1.2), (blue:1.3), (green:1.1)", "::::,,,,::" };

  for (gsize i = 0; i < G_N_ELEMENTS (texts); i++) {
    g_autoptr (eng_infotext) infotext = eng_infotext_parse (texts[i]);
    const struct eng_params params = eng_infotext_get_params (infotext);

    g_assert_cmpstr (infotext->prompt, ==, texts[i]);
    g_assert_cmpuint (g_hash_table_size (infotext->pairs), ==, 0);
    g_assert_cmpint (params.steps, ==, 0);
    g_assert_cmpint (params.rng, ==, ENG_RNG_CPU);
  }
}

static void
test_nonsense (void)
{
  g_autoptr (eng_infotext) i = eng_infotext_parse (
      "x\nSteps: many, CFG scale: nan, Seed: -1, Size: 12, Sampler: \"unclosed, Model: \\u00, "
      "RNG: \"\\ud83e\\ude81\\ud83e\\q\\\"");
  struct eng_params params = eng_infotext_get_params (i);

  g_assert_cmpint (params.steps, ==, 0);
  g_assert_cmpfloat (params.cfg, ==, 0);
  g_assert_cmpuint (params.seed, ==, 0);
  g_assert_cmpint (params.width, ==, 0);
  g_assert_cmpstr (eng_infotext_get (i, "Sampler"), ==, "\"unclosed");

  g_autoptr (eng_infotext) sizes =
      eng_infotext_parse ("Steps: 99999999999999999999, Size: -1x9999999999, CFG scale: 1e99");
  params = eng_infotext_get_params (sizes);
  g_assert_cmpint (params.steps, ==, 0);
  g_assert_cmpint (params.width, ==, 0);
  g_assert_cmpfloat (params.cfg, ==, 0);
  g_assert_cmpstr (sizes->prompt, ==, "");

  g_autoptr (eng_infotext) json = eng_infotext_parse ("{\"sui_image_params\": {\"seed\": 1}}\n");
  g_assert_cmpstr (json->prompt, ==, "");
  g_autoptr (eng_infotext) invalid = eng_infotext_parse ("\xff\xfe\nSteps: 8\xff, A\xe7: 2, Bc: 3");
  g_assert_true (g_utf8_validate (invalid->prompt, -1, NULL));
}

/* Random texts from the pieces that the grammar knows: nothing crashes, ends are found. */
static void
test_random (void)
{
  static const char *const pieces[] = {
    "\"",  "\\",   ",", ":", " ", "\n",   "Negative prompt:", "Steps", "8",
    "\\u", "d83e", "x", "/", "-", "\xe7", "Size: 1x2"
  };

  for (int i = 0; i < 20000; i++) {
    g_autoptr (GString) text = g_string_new (NULL);

    for (int n = g_test_rand_int_range (0, 30); n > 0; n--)
      g_string_append (text, pieces[g_test_rand_int_range (0, G_N_ELEMENTS (pieces))]);
    g_autoptr (eng_infotext) infotext = eng_infotext_parse (text->str);
    eng_infotext_get_params (infotext);
    g_assert_true (g_utf8_validate (infotext->prompt, -1, NULL));
    g_assert_true (g_utf8_validate (infotext->negative, -1, NULL));
  }
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/infotext/writes", test_writes);
  g_test_add_func ("/infotext/nasty-prompts", test_nasty_prompts);
  g_test_add_func ("/infotext/nasty-models", test_nasty_models);
  g_test_add_func ("/infotext/all-values", test_all_values);
  g_test_add_func ("/infotext/a1111", test_a1111);
  g_test_add_func ("/infotext/sdcpp", test_sdcpp);
  g_test_add_func ("/infotext/names", test_names);
  g_test_add_func ("/infotext/no-settings", test_no_settings);
  g_test_add_func ("/infotext/nonsense", test_nonsense);
  g_test_add_func ("/infotext/random", test_random);
  return g_test_run ();
}
