/* tests/test-timing.c - the timing panel's parts: its data, its axis, what is drawn and chosen. */
#include "tests/window_fixture.h"
#include "ui/sl-timing-chart.h"
#include "ui/sl-timing-lanes.h"
#include "ui/sl-timing-text.h"

#include <math.h>
#include <string.h>

static void
add (SlTiming *timing, SlLane lane, const char *name, double start, double end)
{
  const struct sl_span span = { lane, name, start, end };

  sl_timing_add (timing, &span, 1);
}

/* 1000 ms: 10 of text, 5 of preparing, 8 steps of 100 with previews of 1, 100 of decoding. */
static SlTiming *
make_timing (void)
{
  g_autoptr (SlTiming) from = sl_timing_new (1, "64 × 64 · 8 steps");
  SlTiming *timing = sl_timing_new (1, "running");

  sl_timing_set_progress (timing, 0, -1);
  add (from, SL_LANE_TEXT, "encode", 0, 10);
  add (from, SL_LANE_DENOISE, "prepare", 10, 15);
  for (int i = 0; i < 8; i++) {
    g_autofree char *name = g_strdup_printf ("step %d", i + 1);

    add (from, SL_LANE_DENOISE, name, 15 + 101 * i, 115 + 101 * i);
    add (from, SL_LANE_DENOISE, "preview", 115 + 101 * i, 116 + 101 * i);
  }
  add (from, SL_LANE_DECODE, "decode", 850, 950);
  sl_timing_finish (timing, from, 1000);
  return timing;
}

/* ---- Data ---- */

static void
test_sums (void)
{
  g_autoptr (SlTiming) timing = make_timing ();
  const struct sl_timing_steps steps = sl_timing_get_steps (timing);
  guint n;

  g_assert_cmpstr (sl_timing_get_title (timing), ==, "64 × 64 · 8 steps");
  g_assert_false (sl_timing_is_running (timing));
  g_assert_cmpfloat (sl_timing_get_total (timing), ==, 1000);
  g_assert_cmpfloat (sl_timing_get_sum (timing, SL_PART_TEXT, &n), ==, 10);
  g_assert_cmpfloat (sl_timing_get_sum (timing, SL_PART_PREPARE, &n), ==, 5);
  g_assert_cmpfloat (sl_timing_get_sum (timing, SL_PART_STEPS, &n), ==, 800);
  g_assert_cmpuint (n, ==, 8);
  g_assert_cmpfloat (sl_timing_get_sum (timing, SL_PART_PREVIEW, NULL), ==, 8);
  g_assert_cmpfloat (sl_timing_get_sum (timing, SL_PART_DECODE, NULL), ==, 100);
  g_assert_cmpfloat (sl_timing_get_sum (timing, SL_PART_OTHER, NULL), ==, 0);
  g_assert_cmpuint (steps.n, ==, 8);
  g_assert_cmpfloat (steps.mean, ==, 100);
  g_assert_cmpfloat (steps.slowest, ==, 100);
  g_assert_cmpfloat_with_epsilon (steps.per_second, 8 * 1e3 / 807, 1e-9);
  g_assert_cmpfloat_with_epsilon (sl_timing_get_busy (timing), (808 + 100) / 935., 1e-9);
  g_assert_cmpfloat_with_epsilon (sl_timing_get_gaps (timing), 1000 - (10 + 5 + 808 + 100), 1e-9);
}

/* Two evaluations of a step are one step; overlaps count once. */
static void
test_evaluations (void)
{
  g_autoptr (SlTiming) timing = sl_timing_new (1, "");
  struct sl_timing_steps steps;

  for (int i = 0; i < 4; i++)
    add (timing, SL_LANE_DENOISE, i < 2 ? "step 1" : "step 2", 10 * i, 10 * i + 10);
  add (timing, SL_LANE_COPY, "preview", 5, 25);
  add (timing, SL_LANE_HOST, "png", 40, 90);
  add (timing, SL_LANE_HOST, "tables", 38, 44);
  steps = sl_timing_get_steps (timing);
  g_assert_cmpuint (steps.n, ==, 2);
  g_assert_cmpfloat (steps.mean, ==, 20);
  g_assert_cmpfloat (steps.slowest, ==, 20);
  g_assert_cmpfloat (sl_timing_get_busy (timing), ==, 1);
  sl_timing_set_progress (timing, 50, -1); /* and a moment */
  g_assert_cmpfloat_with_epsilon (sl_timing_get_gaps (timing), 6, 1);
}

static void
test_running (void)
{
  g_autoptr (SlTiming) timing = sl_timing_new (1, "");
  double before;

  sl_timing_set_progress (timing, 100, 50);
  g_assert_true (sl_timing_is_running (timing));
  before = sl_timing_get_total (timing);
  g_assert_cmpfloat (before, >=, 100);
  g_usleep (20000);
  g_assert_cmpfloat (sl_timing_get_total (timing), >=, before + 19);
  g_assert_cmpfloat (sl_timing_get_expected (timing), ==, 150);
}

/* A second PNG takes the first one's place; neither is within the total. */
static void
test_png (void)
{
  g_autoptr (SlTiming) timing = make_timing ();
  guint n;

  sl_timing_set_png (timing, 30);
  sl_timing_set_png (timing, 40);
  g_assert_cmpfloat (sl_timing_get_sum (timing, SL_PART_PNG, &n), ==, 40);
  g_assert_cmpuint (n, ==, 1);
  g_assert_cmpfloat (sl_timing_get_total (timing), ==, 1000);
  g_assert_cmpfloat_with_epsilon (sl_timing_get_gaps (timing), 77, 1e-9);
}

static const char *
find_number (GArray *numbers, const char *name, gboolean *absent)
{
  for (guint i = 0; i < numbers->len; i++) {
    const struct sl_number *number = &g_array_index (numbers, struct sl_number, i);

    if (!g_str_equal (number->name, name))
      continue;
    *absent = number->absent;
    return number->value;
  }
  g_error ("no number called %s", name);
}

static void
test_numbers (void)
{
  g_autoptr (SlTiming) timing = make_timing ();
  g_autoptr (GArray) numbers = sl_timing_dup_numbers (timing), counted = NULL;
  gboolean absent;

  g_assert_cmpstr (find_number (numbers, "Total", &absent), ==, "1000 ms");
  g_assert_cmpstr (find_number (numbers, "Steps", &absent), ==, "800.0 ms · 80.0 %");
  g_assert_cmpstr (find_number (numbers, "Gaps and waiting", &absent), ==, "77.0 ms · 7.7 %");
  g_assert_cmpstr (find_number (numbers, "Busy since first step", &absent), ==, "97.1 %");
  g_assert_cmpstr (find_number (numbers, "PNG file", &absent), ==, "not saved");
  g_assert_false (absent);
  /* What nobody counted says so; a 0 that was counted is a 0. */
  g_assert_cmpstr (find_number (numbers, "Allocator calls", &absent), ==, "not measured");
  g_assert_true (absent);
  g_assert_cmpstr (find_number (numbers, "Prompt cache", &absent), ==, "not measured");
  sl_timing_set_count (timing, SL_COUNT_ALLOCATIONS, 0);
  sl_timing_set_count (timing, SL_COUNT_PREVIEW_BYTES, 0);
  counted = sl_timing_dup_numbers (timing);
  g_assert_cmpstr (find_number (counted, "Allocator calls", &absent), ==, "0");
  g_assert_false (absent);
  g_assert_cmpstr (find_number (counted, "Previews to the host", &absent), ==, "0 bytes");
}

static void
test_gpu_numbers (void)
{
  struct sl_gpu gpu;
  g_autoptr (GArray) numbers = NULL;
  gboolean absent;

  for (guint i = 0; i < SL_N_GPU_VALUES; i++)
    gpu.values[i] = -1;
  gpu.values[SL_GPU_TEMPERATURE] = 51;
  gpu.values[SL_GPU_MEMORY_USED] = 3.0 * (1 << 30);
  numbers = sl_gpu_dup_numbers (&gpu);
  g_assert_cmpuint (numbers->len, ==, SL_N_GPU_VALUES);
  g_assert_cmpstr (find_number (numbers, "Temperature", &absent), ==, "51 °C");
  g_assert_cmpstr (find_number (numbers, "Memory used", &absent), ==, "3.0\u00a0GiB");
  g_assert_cmpstr (find_number (numbers, "Power", &absent), ==, "not told");
  g_assert_true (absent);
}

/* The file's numbers are the spans' own, in every locale. */
static void
test_csv (void)
{
  g_autoptr (SlTiming) timing = make_timing ();
  g_autofree char *csv = NULL;
  g_auto (GStrv) lines = NULL;
  double sum = 0;
  guint n;

  add (timing, SL_LANE_HOST, "a \"name\", odd", 950, 951);
  csv = sl_timing_dup_csv (timing);
  lines = g_strsplit (csv, "\n", -1);
  sl_timing_get_spans (timing, &n);
  g_assert_cmpuint (g_strv_length (lines), ==, n + 2);
  g_assert_cmpstr (lines[0], ==, "lane,name,start_ms,length_ms,share");
  g_assert_cmpstr (lines[3], ==, "denoise,step 1,15.000000,100.000000,0.100000");
  g_assert_cmpstr (lines[n], ==, "host,\"a \"\"name\"\", odd\",950.000000,1.000000,0.001000");
  for (guint i = 1; i < n; i++) {
    g_auto (GStrv) cells = g_strsplit (lines[i], ",", -1);

    sum += g_ascii_strtod (cells[3], NULL);
  }
  g_assert_cmpfloat_with_epsilon (sum, 923, 1e-9);
}

static void
test_text (void)
{
  g_autoptr (SlTiming) timing = make_timing ();
  g_autofree char *text = sl_timing_dup_text (timing);

  g_assert_true (g_str_has_prefix (text, "64 × 64 · 8 steps\n\nTotal\t1000 ms\n"));
  g_assert_nonnull (strstr (text, "\nDenoise\tStep 8\t722.0 ms\t100.0 ms\t10.0 %\n"));
}

/* ---- Axis and lanes ---- */

static void
test_axis (void)
{
  struct sl_axis axis = SL_AXIS_INIT;

  sl_axis_set_extent (&axis, 1000);
  g_assert_cmpfloat (sl_axis_to_x (&axis, 250, 400), ==, 100);
  g_assert_cmpfloat (sl_axis_get_tick (&axis, 400, 70), ==, 200);
  sl_axis_set_extent (&axis, 2000); /* it fits, so it grows */
  g_assert_cmpfloat (axis.end, ==, 2000);

  sl_axis_zoom (&axis, 4, 500);
  g_assert_cmpfloat (axis.end - axis.start, ==, 500);
  g_assert_cmpfloat (sl_axis_to_x (&axis, 500, 400), ==, 100); /* where it was */
  sl_axis_set_extent (&axis, 3000);
  g_assert_cmpfloat (axis.end - axis.start, ==, 500);
  sl_axis_pan (&axis, 1e9);
  g_assert_cmpfloat (axis.end, ==, 3000);
  sl_axis_show (&axis, 100, 200);
  g_assert_cmpfloat (axis.start, ==, 100);
  sl_axis_zoom (&axis, 1e-9, 100);
  g_assert_true (axis.fit);
  g_assert_cmpfloat (axis.start, ==, 0);
  sl_axis_zoom (&axis, 1e99, 100); /* never nothing */
  g_assert_cmpfloat (axis.end - axis.start, >, 0);
}

static GArray *
merge (SlTiming *timing, SlLane lane, const struct sl_axis *axis, int width)
{
  GArray *blocks = g_array_new (FALSE, FALSE, sizeof (struct sl_block));
  sl_lanes *lanes = sl_lanes_new ();

  sl_lanes_update (lanes, timing);
  sl_lanes_merge (lanes, lane, axis, width, blocks);
  sl_lanes_free (lanes);
  return blocks;
}

/* Every gap of a pixel is there; what is shorter than a pixel is one block with its neighbours. */
static void
test_blocks (void)
{
  g_autoptr (SlTiming) timing = sl_timing_new (1, "");
  struct sl_axis axis = SL_AXIS_INIT;
  g_autoptr (GArray) wide = NULL, tiny = NULL;
  const struct sl_block *block;

  add (timing, SL_LANE_DENOISE, "step 1", 0, 10);
  add (timing, SL_LANE_DENOISE, "step 2", 12, 20);
  add (timing, SL_LANE_DENOISE, "step 3", 20, 30);
  sl_axis_set_extent (&axis, 100);
  wide = merge (timing, SL_LANE_DENOISE, &axis, 100);
  g_assert_cmpuint (wide->len, ==, 3);
  block = (const struct sl_block *) wide->data;
  g_assert_cmpint (block[0].x1, ==, 10);
  g_assert_cmpint (block[1].x0, ==, 12); /* the gap */
  g_assert_cmpint (block[1].x1, ==, 19); /* and a line where there is none */
  g_assert_cmpint (block[2].x0, ==, 20);

  for (int i = 0; i < 1000; i++)
    add (timing, SL_LANE_TEXT, "encode", 50 + i * .01, 50 + i * .01 + .005);
  tiny = merge (timing, SL_LANE_TEXT, &axis, 100);
  g_assert_cmpuint (tiny->len, ==, 1);
  block = (const struct sl_block *) tiny->data;
  g_assert_cmpuint (block->n, ==, 1000);
  g_assert_cmpint (block->x0, ==, 50);
  g_assert_cmpint (block->x1, <=, 61);
  g_assert_cmpfloat_with_epsilon (block->coverage, .5, .1);
}

/* Whatever the order they came in, and while it grows. */
static void
test_lanes (void)
{
  g_autoptr (SlTiming) timing = sl_timing_new (1, ""), other = sl_timing_new (2, "");
  sl_lanes *lanes = sl_lanes_new ();
  struct sl_place place;

  add (timing, SL_LANE_TEXT, "encode", 20, 30);
  g_assert_false (sl_lanes_update (lanes, timing)); /* another timing than none */
  add (timing, SL_LANE_TEXT, "encode", 40, 50);
  g_assert_true (sl_lanes_update (lanes, timing));
  add (timing, SL_LANE_TEXT, "encode", 0, 100); /* round the others */
  g_assert_false (sl_lanes_update (lanes, timing));
  g_assert_cmpuint (sl_lanes_get_n (lanes, SL_LANE_TEXT), ==, 3);

  place = sl_lanes_find (lanes, SL_LANE_TEXT, 45, 0);
  g_assert_cmpuint (sl_lanes_get_index (lanes, &place), ==, 1); /* the inner one */
  place = sl_lanes_find (lanes, SL_LANE_TEXT, 70, 0);
  g_assert_cmpuint (sl_lanes_get_index (lanes, &place), ==, 2);
  place = sl_lanes_find (lanes, SL_LANE_TEXT, 105, 4);
  g_assert_false (place.any);
  place = sl_lanes_find (lanes, SL_LANE_TEXT, 105, 6);
  g_assert_true (place.any);
  place = sl_lanes_find (lanes, SL_LANE_DECODE, 45, 1000);
  g_assert_false (place.any);

  sl_timing_finish (timing, other, 0);
  g_assert_false (sl_lanes_update (lanes, timing));
  g_assert_cmpuint (sl_lanes_get_n (lanes, SL_LANE_TEXT), ==, 0);
  sl_lanes_free (lanes);
}

/* ---- The drawing ---- */

static GtkWindow *
show_chart (SlTimingChart **chart, SlTiming *timing)
{
  GtkWindow *window = GTK_WINDOW (gtk_window_new ());

  *chart = g_object_new (SL_TYPE_TIMING_CHART, "timing", timing, NULL);
  gtk_window_set_default_size (window, 900, 160);
  gtk_window_set_child (window, GTK_WIDGET (*chart));
  gtk_window_present (window);
  gtk_test_widget_wait_for_draw (GTK_WIDGET (window));
  return window;
}

/* The widget's pixels, as drawn by the software renderer; ms (may be NULL) gets how long it took
 * to describe the frame and to draw it. */
static guint32 *
draw (GtkWidget *widget, int *width, double ms[2])
{
  const int w = gtk_widget_get_width (widget), h = gtk_widget_get_height (widget);
  guint32 *pixels = g_new0 (guint32, (gsize) w * h);
  g_autoptr (GskRenderer) renderer = gsk_cairo_renderer_new ();
  GtkSnapshot *snapshot = gtk_snapshot_new ();
  g_autoptr (GskRenderNode) node = NULL;
  g_autoptr (GdkTexture) texture = NULL;
  gint64 begin = g_get_monotonic_time ();

  GTK_WIDGET_GET_CLASS (widget)->snapshot (widget, snapshot);
  node = gtk_snapshot_free_to_node (snapshot);
  if (ms)
    ms[0] = (double) (g_get_monotonic_time () - begin) / 1e3;
  g_assert_true (gsk_renderer_realize (renderer, NULL, NULL));
  begin = g_get_monotonic_time ();
  texture = gsk_renderer_render_texture (renderer, node, &GRAPHENE_RECT_INIT (0, 0, w, h));
  if (ms)
    ms[1] = (double) (g_get_monotonic_time () - begin) / 1e3;
  gdk_texture_download (texture, (guchar *) pixels, (gsize) w * 4);
  gsk_renderer_unrealize (renderer);
  *width = w;
  return pixels;
}

/* Red, green and blue of a place. */
static void
get_pixel (GtkWidget *widget, double x, double y, int rgb[3])
{
  int width;
  g_autofree guint32 *pixels = draw (widget, &width, NULL);
  const guint32 pixel = pixels[(int) y * width + (int) x];

  rgb[0] = pixel >> 16 & 255;
  rgb[1] = pixel >> 8 & 255;
  rgb[2] = pixel & 255;
}

static void
test_drawn (void)
{
  g_autoptr (SlTiming) timing = make_timing ();
  SlTimingChart *chart;
  GtkWindow *window = show_chart (&chart, timing);
  int step[3], decode[3];
  double x, y, gap_x, gap_y;
  guint n;

  sl_timing_get_spans (timing, &n);
  g_assert_true (sl_timing_chart_get_place (chart, 2, &x, &y));
  get_pixel (GTK_WIDGET (chart), x - 20, y, step);
  g_assert_cmpint (step[0], >, step[2] + 60); /* red */
  g_assert_true (sl_timing_chart_get_place (chart, n - 1, &gap_x, &gap_y));
  get_pixel (GTK_WIDGET (chart), gap_x - 35, gap_y, decode);
  g_assert_cmpint (decode[1], >, decode[0] + 20); /* green */
  /* Between the last step and decoding nothing is drawn in the step's lane. */
  get_pixel (GTK_WIDGET (chart), gap_x, y, decode);
  g_assert_cmpint (abs (decode[0] - decode[2]), <, 30);
  gtk_window_destroy (window);
}

/* A timeline of 60,000 spans, alone in the frame: 8 ms. */
static void
test_many (void)
{
  g_autoptr (SlTiming) timing = sl_timing_new (1, "");
  g_autofree struct sl_span *spans = g_new (struct sl_span, 60000);
  const double views[] = { 0, 20, 400, 1e5 };
  SlTimingChart *chart;
  GtkWindow *window;

  for (int i = 0; i < 60000; i++) /* with gaps; lengths that differ; every lane */
    spans[i] = (struct sl_span){ i % SL_N_LANES, "step 1", i * .1, i * .1 + .02 * (1 + i % 7) };
  sl_timing_add (timing, spans, 60000);
  window = show_chart (&chart, timing);
  for (guint i = 0; i < G_N_ELEMENTS (views); i++) {
    double best[2] = { G_MAXDOUBLE, G_MAXDOUBLE };

    sl_timing_chart_zoom (chart, 0);
    if (views[i] > 0)
      sl_timing_chart_zoom (chart, views[i]);
    for (int k = 0; k < 5; k++) {
      double ms[2];
      int width;

      g_free (draw (GTK_WIDGET (chart), &width, ms));
      best[0] = MIN (best[0], ms[0]);
      best[1] = MIN (best[1], ms[1]);
    }
    g_test_message ("60,000 spans, zoom %g: %.2f ms to describe a frame, %.2f ms to draw it",
                    views[i], best[0], best[1]);
#ifndef __SANITIZE_ADDRESS__
    g_assert_cmpfloat (best[0] + best[1], <, 8);
#endif
  }
  gtk_window_destroy (window);
}

/* A span more does not read all others again. */
static void
test_grows (void)
{
  g_autoptr (SlTiming) timing = sl_timing_new (1, "");
  g_autoptr (GArray) numbers = NULL;
  sl_lanes *lanes = sl_lanes_new ();
  gint64 begin = g_get_monotonic_time ();

  for (int i = 0; i < 60000; i++) {
    add (timing, SL_LANE_DENOISE, "step 1", i, i + 1);
    sl_lanes_update (lanes, timing);
  }
  g_test_message ("60,000 spans one after the other: %.1f ms",
                  (double) (g_get_monotonic_time () - begin) / 1e3);
  g_assert_cmpint (g_get_monotonic_time () - begin, <, 5 * G_USEC_PER_SEC);
  sl_lanes_free (lanes);

  begin = g_get_monotonic_time ();
  numbers = sl_timing_dup_numbers (timing);
  g_test_message ("their numbers: %.1f ms", (double) (g_get_monotonic_time () - begin) / 1e3);
  g_assert_cmpuint (numbers->len, >, 10);
}

/* ---- Keyboard, pointer, screen reader ---- */

static void
press (GtkWidget *widget, guint key, GdkModifierType modifiers)
{
  g_autoptr (GListModel) controllers = gtk_widget_observe_controllers (widget);

  /* What GTK does with a key that reaches the widget: its class' bindings. */
  for (guint i = 0; i < g_list_model_get_n_items (controllers); i++) {
    g_autoptr (GObject) controller = g_list_model_get_item (controllers, i);

    if (!GTK_IS_SHORTCUT_CONTROLLER (controller))
      continue;
    for (guint k = 0; k < g_list_model_get_n_items (G_LIST_MODEL (controller)); k++) {
      g_autoptr (GtkShortcut) shortcut = g_list_model_get_item (G_LIST_MODEL (controller), k);
      GtkShortcutTrigger *trigger = gtk_shortcut_get_trigger (shortcut);

      if (GTK_IS_KEYVAL_TRIGGER (trigger) &&
          gtk_keyval_trigger_get_keyval (GTK_KEYVAL_TRIGGER (trigger)) == key &&
          gtk_keyval_trigger_get_modifiers (GTK_KEYVAL_TRIGGER (trigger)) == modifiers)
        gtk_shortcut_action_activate (gtk_shortcut_get_action (shortcut), 0, widget,
                                      gtk_shortcut_get_arguments (shortcut));
    }
  }
}

static guint
get_chosen (gpointer object)
{
  guint span;

  g_object_get (object, "span", &span, NULL);
  return span;
}

static void
test_keyboard (void)
{
  g_autoptr (SlTiming) timing = make_timing ();
  SlTimingChart *chart;
  GtkWindow *window = show_chart (&chart, timing);
  GtkWidget *widget = GTK_WIDGET (chart);
  g_autofree char *told = NULL;
  double start, end;

  g_assert_true (gtk_widget_get_focusable (widget));
  g_object_set (chart, "span", G_MAXUINT, NULL);
  press (widget, GDK_KEY_Right, 0); /* from nowhere: the first */
  g_assert_cmpuint (get_chosen (chart), ==, 0);
  press (widget, GDK_KEY_Down, 0); /* to the next lane, near in time */
  g_assert_cmpuint (get_chosen (chart), ==, 1);
  press (widget, GDK_KEY_Right, 0);
  g_assert_cmpuint (get_chosen (chart), ==, 2);
  g_object_get (chart, "told", &told, NULL);
  g_assert_cmpstr (told, ==, "Step 1: from 15.0 ms, lasts 100.0 ms, share 10.0 %");
  gtk_test_accessible_assert_property (GTK_ACCESSIBLE (chart), GTK_ACCESSIBLE_PROPERTY_DESCRIPTION,
                                       told);
  press (widget, GDK_KEY_End, 0);
  g_assert_cmpuint (get_chosen (chart), ==, 17);
  press (widget, GDK_KEY_Right, 0); /* no further */
  g_assert_cmpuint (get_chosen (chart), ==, 17);

  press (widget, GDK_KEY_plus, 0);
  sl_timing_chart_get_view (chart, &start, &end);
  g_assert_cmpfloat (end - start, <, 700);
  press (widget, GDK_KEY_Home, 0); /* the view comes along */
  sl_timing_chart_get_view (chart, &start, &end);
  g_assert_cmpfloat (start, <=, 10);
  press (widget, GDK_KEY_Page_Down, 0);
  sl_timing_chart_get_view (chart, &start, &end);
  g_assert_cmpfloat (end, ==, 1000);
  press (widget, GDK_KEY_0, 0);
  sl_timing_chart_get_view (chart, &start, &end);
  g_assert_cmpfloat (end - start, ==, 1000);
  gtk_window_destroy (window);
}

static gpointer
find_controller (GtkWidget *widget, GType type)
{
  g_autoptr (GListModel) controllers = gtk_widget_observe_controllers (widget);

  for (guint i = 0; i < g_list_model_get_n_items (controllers); i++) {
    g_autoptr (GObject) controller = g_list_model_get_item (controllers, i);

    if (G_OBJECT_TYPE (controller) == type)
      return controller; /* the widget holds it */
  }
  g_error ("no %s", g_type_name (type));
}

static void
assert_told (SlTimingChart *chart, const char *start)
{
  g_autofree char *told = NULL;

  g_object_get (chart, "told", &told, NULL);
  g_assert_true (g_str_has_prefix (told, start));
}

static void
test_pointer (void)
{
  g_autoptr (SlTiming) timing = make_timing ();
  SlTimingChart *chart;
  GtkWindow *window = show_chart (&chart, timing);
  gpointer motion = find_controller (GTK_WIDGET (chart), GTK_TYPE_EVENT_CONTROLLER_MOTION);
  gpointer click = find_controller (GTK_WIDGET (chart), GTK_TYPE_GESTURE_CLICK);
  gpointer drag = find_controller (GTK_WIDGET (chart), GTK_TYPE_GESTURE_DRAG);
  double x, y, start, end, left;
  gboolean stopped;

  g_object_set (chart, "span", G_MAXUINT, NULL);
  g_assert_true (sl_timing_chart_get_place (chart, 6, &x, &y));
  g_signal_emit_by_name (motion, "motion", x, y);
  assert_told (chart, "Step 3: from 217.0 ms, lasts 100.0 ms");
  g_signal_emit_by_name (motion, "motion", x, y - 500);
  g_signal_emit_by_name (motion, "motion", x, y);
  g_signal_emit_by_name (motion, "leave");
  g_assert_cmpuint (get_chosen (chart), ==, G_MAXUINT);
  g_signal_emit_by_name (click, "pressed", 1, x, y);
  g_assert_cmpuint (get_chosen (chart), ==, 6);
  assert_told (chart, "Step 3");
  g_signal_emit_by_name (click, "pressed", 1, x, y - 500); /* beside everything */
  g_assert_cmpuint (get_chosen (chart), ==, G_MAXUINT);

  sl_timing_chart_zoom (chart, 4);
  sl_timing_chart_get_view (chart, &left, &end);
  g_signal_emit_by_name (drag, "drag-begin", 100., 50.);
  g_signal_emit_by_name (drag, "drag-update", -200., 0.); /* time comes along with the hand */
  sl_timing_chart_get_view (chart, &start, &end);
  g_assert_cmpfloat (start, >, left);
  g_signal_emit_by_name (find_controller (GTK_WIDGET (chart), GTK_TYPE_EVENT_CONTROLLER_SCROLL),
                         "scroll", 0., -100., &stopped);
  sl_timing_chart_get_view (chart, &start, &end);
  g_assert_true (stopped);
  g_assert_cmpfloat (start, ==, 0);
  gtk_window_destroy (window);
}

/* The chosen span stays chosen when the picture is done and its spans are read again. */
static void
test_kept (void)
{
  g_autoptr (SlTiming) timing = sl_timing_new (1, ""), done = make_timing ();
  SlTimingChart *chart;
  GtkWindow *window;
  g_autofree char *told = NULL;
  guint n;
  const struct sl_span *spans = sl_timing_get_spans (done, &n);

  sl_timing_set_progress (timing, 0, -1);
  sl_timing_add (timing, spans, 5);
  window = show_chart (&chart, timing);
  g_object_set (chart, "span", 4, NULL);
  sl_timing_finish (timing, done, 1000);
  g_assert_cmpuint (get_chosen (chart), ==, 4);
  g_object_get (chart, "told", &told, NULL);
  g_assert_cmpstr (told, ==, "Step 2: from 116.0 ms, lasts 100.0 ms, share 10.0 %");
  gtk_window_destroy (window);
}

int
main (int argc, char **argv)
{
  setlocale (LC_ALL, "C.UTF-8");
  isolate_folders ();
  g_test_init (&argc, &argv, NULL);

  g_test_add_func ("/timing/sums", test_sums);
  g_test_add_func ("/timing/evaluations", test_evaluations);
  g_test_add_func ("/timing/running", test_running);
  g_test_add_func ("/timing/png", test_png);
  g_test_add_func ("/timing/numbers", test_numbers);
  g_test_add_func ("/timing/gpu-numbers", test_gpu_numbers);
  g_test_add_func ("/timing/csv", test_csv);
  g_test_add_func ("/timing/text", test_text);
  g_test_add_func ("/timing/axis", test_axis);
  g_test_add_func ("/timing/blocks", test_blocks);
  g_test_add_func ("/timing/lanes", test_lanes);
  g_test_add_func ("/timing/drawn", test_drawn);
  g_test_add_func ("/timing/many", test_many);
  g_test_add_func ("/timing/grows", test_grows);
  g_test_add_func ("/timing/keyboard", test_keyboard);
  g_test_add_func ("/timing/pointer", test_pointer);
  g_test_add_func ("/timing/kept", test_kept);
  return run_in_application (g_test_run);
}
