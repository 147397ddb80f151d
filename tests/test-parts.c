/* tests/test-parts.c - what the window's parts compute, without a window. */
#include "ui/sl-feed.h"
#include "ui/sl-recipe.h"
#include "ui/sl-resample.h"
#include "ui/sl-result.h"
#include "ui/sl-size-row.h"

#include <math.h>
#include <string.h>

static void
fill (uint8_t *rgba, int n, int r, int g, int b)
{
  for (int i = 0; i < n; i++, rgba += 4) {
    rgba[0] = (uint8_t) r;
    rgba[1] = (uint8_t) g;
    rgba[2] = (uint8_t) b;
    rgba[3] = 255;
  }
}

static void
test_resample_flat (void)
{
  static const int sizes[][2] = { { 32, 32 }, { 256, 200 }, { 5, 3 }, { 1, 1 } };
  uint8_t from[32 * 32 * 4];

  fill (from, 32 * 32, 200, 7, 255);
  for (guint k = 0; k < G_N_ELEMENTS (sizes); k++) {
    g_autoptr (GBytes) to = sl_resample (from, 32, 32, sizes[k][0], sizes[k][1]);
    gsize size;
    const uint8_t *p = g_bytes_get_data (to, &size);

    g_assert_cmpuint (size, ==, (gsize) sizes[k][0] * sizes[k][1] * 4);
    for (gsize i = 0; i < size; i += 4) {
      g_assert_cmpint (p[i], ==, 200);
      g_assert_cmpint (p[i + 1], ==, 7);
      g_assert_cmpint (p[i + 2], ==, 255);
      g_assert_cmpint (p[i + 3], ==, 255);
    }
  }
}

/* A ramp stays a ramp, and does not move: the middle of the picture is the middle still. */
static void
test_resample_ramp (void)
{
  uint8_t from[32 * 4 * 4];
  g_autoptr (GBytes) to = NULL;
  const uint8_t *p;

  for (int y = 0; y < 4; y++)
    for (int x = 0; x < 32; x++)
      fill (from + 4 * (y * 32 + x), 1, 8 * x, 8 * x, 255 - 8 * x);
  to = sl_resample (from, 32, 4, 256, 32);
  p = g_bytes_get_data (to, NULL);
  for (int x = 16; x < 240; x++) /* the edge repeats its last pixel: flat there */
    g_assert_cmpfloat_with_epsilon (p[4 * x], 8 * ((x + 0.5) / 8 - 0.5), 1.01);
  for (int x = 1; x < 256; x++)
    g_assert_cmpint (p[4 * x], >=, p[4 * (x - 1)]);
}

static void
test_sizes (void)
{
  static const int aspects[][2] = { { 1, 1 }, { 4, 3 }, { 3, 2 }, { 16, 9 }, { 21, 9 }, { 2, 3 } };
  static const int areas[] = { 256, 512, 1024 };

  for (guint a = 0; a < G_N_ELEMENTS (areas); a++)
    for (guint i = 0; i < G_N_ELEMENTS (aspects); i++) {
      int width = areas[a], height = areas[a];

      sl_size_for_aspect (aspects[i][0], aspects[i][1], 16, &width, &height);
      g_test_message ("%d:%d at %d is %d x %d", aspects[i][0], aspects[i][1], areas[a], width,
                      height);
      g_assert_cmpint (width % 16, ==, 0);
      g_assert_cmpint (height % 16, ==, 0);
      g_assert_cmpfloat (fabs (log ((double) width / height * aspects[i][1] / aspects[i][0])), <,
                         0.04);
      g_assert_cmpfloat (fabs (log ((double) width * height / areas[a] / areas[a])), <, 0.2);
      /* And back again. */
      sl_size_for_aspect (1, 1, 16, &width, &height);
      g_assert_cmpint (abs (width - areas[a]), <=, areas[a] / 16);
    }
}

static void
test_file_names (void)
{
  static const struct {
    const char *prompt, *name;
  } cases[] = {
    { "a calm lake, at noon", "a-calm-lake-at-noon-7.png" },
    { "../../etc/passwd", "etc-passwd-7.png" },
    { "大海，日落", "大海-日落-7.png" },
    { "", "7.png" },
    { "   ...", "7.png" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (SlRecipe) recipe = sl_recipe_new ();
    g_autofree char *name = NULL;

    g_free (recipe->prompt);
    recipe->prompt = g_strdup (cases[i].prompt);
    recipe->seed = 7;
    name = sl_recipe_dup_file_name (recipe);
    g_assert_cmpstr (name, ==, cases[i].name);
  }
}

static void
test_long_file_name (void)
{
  g_autoptr (SlRecipe) recipe = sl_recipe_new ();
  g_autofree char *name = NULL;

  g_free (recipe->prompt);
  recipe->prompt = g_strnfill (10000, 'x');
  recipe->seed = G_MAXUINT64;
  name = sl_recipe_dup_file_name (recipe);
  g_assert_cmpuint (strlen (name), <, 120);
  g_assert_true (g_str_has_suffix (name, "18446744073709551615.png"));
}

/* ---- The results: so many, and no more ---- */

static void
append_result (GListStore *list, int side, GBytes *pixels)
{
  const struct sl_result_parts parts = {
    .texture = gdk_memory_texture_new (side, side, GDK_MEMORY_R8G8B8A8_PREMULTIPLIED, pixels,
                                       (gsize) side * 4),
    .seconds = g_list_model_get_n_items (G_LIST_MODEL (list)),
  };
  g_autoptr (SlResult) result = sl_result_new (&parts);

  sl_result_append (result, list);
}

static void
test_results (void)
{
  const gsize size = (gsize) 4096 * 4096 * 4; /* all share it, and nobody reads it */
  g_autoptr (GBytes) pixels = g_bytes_new_take (g_malloc0 (size), size);
  g_autoptr (GListStore) list = g_list_store_new (SL_TYPE_RESULT);
  g_autoptr (SlResult) first = NULL;
  GListModel *model = G_LIST_MODEL (list);

  for (int i = 0; i < SL_RESULTS_MAX; i++)
    append_result (list, 16, pixels);
  g_assert_cmpuint (g_list_model_get_n_items (model), ==, SL_RESULTS_MAX);
  append_result (list, 16, pixels);
  g_assert_cmpuint (g_list_model_get_n_items (model), ==, SL_RESULTS_MAX);
  first = g_list_model_get_item (model, 0);
  g_assert_cmpfloat (sl_result_get_seconds (first), ==, 1); /* the oldest went */

  for (int i = 0; i < 9; i++)
    append_result (list, 4096, pixels);
  g_assert_cmpuint (g_list_model_get_n_items (model), ==, 8);
  append_result (list, 16, pixels);
  g_assert_cmpuint (g_list_model_get_n_items (model), ==, 8);
}

/* ---- The feed: many reports, few deliveries, the newest always ---- */

struct heard {
  guint n_progress, n_previews, last_step;
};

static struct heard heard;

static void
heard_progress (const struct sl_feed_progress *progress, gpointer owner)
{
  heard.n_progress++;
  heard.last_step = (guint) progress->step;
}

static void
heard_preview (guint serial, GdkTexture *texture, gpointer owner)
{
  heard.n_previews++;
  g_assert_cmpint (gdk_texture_get_width (texture), ==, 256);
}

static void
append_event (gpointer owner, gpointer data)
{
  g_string_append (g_object_get_data (owner, "events"), data);
}

static void
test_feed (void)
{
  static const struct sl_feed_client client = { heard_progress, heard_preview };
  g_autoptr (GObject) owner = g_object_new (G_TYPE_OBJECT, NULL);
  g_autoptr (GString) events = g_string_new (NULL);
  sl_feed *feed = sl_feed_new (&client, owner);
  uint8_t frame[32 * 32 * 4] = { 0 };

  g_object_set_data (owner, "events", events);
  for (int i = 1; i <= 1000; i++) {
    const struct sl_feed_progress progress = { .serial = 1, .step = i };

    sl_feed_post_progress (feed, &progress);
    sl_feed_post_frame (feed, 1, 32, 32, frame);
  }
  sl_feed_post_event (feed, append_event, g_strdup ("a"), g_free);
  sl_feed_post_event (feed, append_event, g_strdup ("b"), g_free);
  while (heard.n_previews == 0 || heard.last_step < 1000)
    g_main_context_iteration (NULL, TRUE);
  g_assert_cmpuint (heard.n_progress, <, 10);
  g_assert_cmpuint (heard.n_previews, <, 10);
  g_assert_cmpstr (events->str, ==, "ab");

  /* After the close nothing comes, and what waits is freed. */
  sl_feed_close (feed);
  sl_feed_post_event (feed, append_event, g_strdup ("c"), g_free);
  sl_feed_post_frame (feed, 1, 32, 32, frame);
  while (g_main_context_iteration (NULL, FALSE))
    ;
  g_assert_cmpstr (events->str, ==, "ab");
  sl_feed_free (feed);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/parts/resample-flat", test_resample_flat);
  g_test_add_func ("/parts/resample-ramp", test_resample_ramp);
  g_test_add_func ("/parts/sizes", test_sizes);
  g_test_add_func ("/parts/file-names", test_file_names);
  g_test_add_func ("/parts/long-file-name", test_long_file_name);
  g_test_add_func ("/parts/results", test_results);
  g_test_add_func ("/parts/feed", test_feed);
  return g_test_run ();
}
