/* The ring of frames: newest wins, a reader's frame is left alone, memory that fits. */
#include "engine/preview.h"

#include <string.h>

enum { W = 8, H = 4 };

struct fixture {
  struct krn_device *device;
  krn_stream *stream;
  eng_preview *preview;
};

static void
set_up (struct fixture *f, const void *data)
{
  g_autoptr (GError) error = NULL;

  g_assert_cmpint (krn_cpu_open (&f->device, 1), ==, KRN_OK);
  g_assert_cmpint (f->device->stream_new (f->device, &f->stream), ==, KRN_OK);
  f->preview = eng_preview_new (f->device, &error);
  g_assert_no_error (error);
  g_assert_false (eng_preview_fits (f->preview, W, H));
  eng_preview_reserve (f->preview, W, H);
  g_assert_true (eng_preview_fits (f->preview, W, H));
}

static void
tear_down (struct fixture *f, const void *data)
{
  eng_preview_free (f->preview);
  f->device->stream_free (f->stream);
  f->device->close (f->device);
}

/* A frame of one value; FALSE: it was left out. */
static gboolean
write_frame (struct fixture *f, int value, struct eng_preview_frame *frame)
{
  if (!eng_preview_begin (f->preview, f->stream, W, H, frame))
    return FALSE;
  memset (frame->rgba.data, value, W * H * 4);
  g_assert_cmpint (eng_preview_end (f->preview, f->stream, f->stream, f, frame), ==, KRN_OK);
  return TRUE;
}

static void
test_pixels (struct fixture *f, const void *data)
{
  struct eng_preview_frame frames[5];
  const uint8_t *pixels;

  for (int i = 0; i < 5; i++) {
    g_assert_true (write_frame (f, 10 + i, &frames[i]));
    g_assert_true (eng_preview_is_down (f->preview, &frames[i]));
    g_assert_cmpuint (frames[i].serial, ==, i + 1);
    pixels = eng_preview_get_pixels (f->preview, &frames[i]);
    g_assert_cmpint (pixels[0], ==, 10 + i);
    g_assert_cmpint (pixels[W * H * 4 - 1], ==, 10 + i);
  }
  g_assert_null (eng_preview_get_pixels (f->preview, &frames[0])); /* written over */
  g_assert_nonnull (eng_preview_get_pixels (f->preview, &frames[3]));
}

/* However many frames come, the one that is read stays, and there is always a slot to write. */
static void
test_reader (struct fixture *f, const void *data)
{
  struct eng_preview_frame frame, held, newer;

  g_assert_false (eng_preview_acquire (f->preview, 0, &held));
  g_assert_true (write_frame (f, 1, &frame));
  g_assert_true (eng_preview_acquire (f->preview, 0, &held));
  g_assert_cmpuint (held.serial, ==, 1);
  g_assert_true (held.owner == f);
  for (int i = 2; i < 9; i++) {
    g_assert_true (write_frame (f, i, &frame));
    g_assert_cmpint (frame.slot, !=, held.slot);
  }
  g_assert_cmpint (*(uint8_t *) held.rgba.data, ==, 1);
  eng_preview_release (f->preview, &held);
  g_assert_true (eng_preview_acquire (f->preview, held.serial, &newer));
  g_assert_cmpuint (newer.serial, ==, 8);
  g_assert_cmpint (*(uint8_t *) newer.rgba.data, ==, 8);
  eng_preview_release (f->preview, &newer);
  g_assert_false (eng_preview_acquire (f->preview, newer.serial, &held));
  eng_preview_clear (f->preview);
  g_assert_false (eng_preview_acquire (f->preview, 0, &held));
}

static krn_event *undone;

static bool
is_done (krn_event *event)
{
  return event != undone;
}

/* While the next picture's first frame is not done, nobody gets the last one's instead. */
static void
test_clear (struct fixture *f, const void *data)
{
  struct eng_preview_frame frame, held;

  f->device->event_done = is_done;
  g_assert_true (write_frame (f, 1, &frame));
  g_assert_true (write_frame (f, 2, &frame));
  eng_preview_clear (f->preview);
  g_assert_true (write_frame (f, 3, &frame));
  undone = frame.ready;
  g_assert_false (eng_preview_acquire (f->preview, 0, &held));
  undone = NULL;
  g_assert_true (eng_preview_acquire (f->preview, 0, &held));
  g_assert_cmpuint (held.serial, ==, 3);
  eng_preview_release (f->preview, &held);
}

/* With a reader nothing comes to the host, and no more frames than a screen shows. */
static void
test_stays (struct fixture *f, const void *data)
{
  struct eng_preview_frame frame;

  eng_preview_set_reader (f->preview, TRUE);
  g_assert_true (write_frame (f, 1, &frame));
  g_assert_true (frame.stays);
  g_assert_false (write_frame (f, 2, &frame)); /* at once */
  g_usleep (10000);
  g_assert_true (write_frame (f, 3, &frame));
  eng_preview_set_reader (f->preview, FALSE);
  g_assert_true (write_frame (f, 4, &frame));
  g_assert_false (frame.stays);
}

/* A slot that is read does not grow under its reader; the others serve. */
static void
test_grow (struct fixture *f, const void *data)
{
  struct eng_preview_frame frame, held;

  g_assert_true (write_frame (f, 7, &frame));
  g_assert_true (eng_preview_acquire (f->preview, 0, &held));
  g_assert_false (eng_preview_begin (f->preview, f->stream, W * 2, H, &frame));
  eng_preview_reserve (f->preview, W * 2, H);
  g_assert_cmpint (*(uint8_t *) held.rgba.data, ==, 7);
  for (int i = 0; i < 4; i++) {
    g_assert_true (eng_preview_begin (f->preview, f->stream, W * 2, H, &frame));
    g_assert_cmpint (frame.slot, !=, held.slot);
    memset (frame.rgba.data, i, W * 2 * H * 4);
    g_assert_cmpint (eng_preview_end (f->preview, f->stream, f->stream, f, &frame), ==, KRN_OK);
  }
  eng_preview_release (f->preview, &held);
  g_assert_false (eng_preview_fits (f->preview, W * 2, H));
  eng_preview_reserve (f->preview, W * 2, H);
  g_assert_true (eng_preview_fits (f->preview, W * 2, H));
}

int
main (int argc, char **argv)
{
  static const struct {
    const char *path;
    void (*run) (struct fixture *f, const void *data);
  } tests[] = {
    { "/preview/pixels", test_pixels }, { "/preview/reader", test_reader },
    { "/preview/clear", test_clear },   { "/preview/stays", test_stays },
    { "/preview/grow", test_grow },
  };

  g_test_init (&argc, &argv, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add (tests[i].path, struct fixture, NULL, set_up, tests[i].run, tear_down);
  return g_test_run ();
}
