/* tests/test-run.c - the arena and the sticky failure of a run, on a device that only counts. */
#include "engine/run.h"

#include "engine/error.h"

static int calls;            /* of the operation below */
static krn_status next_call; /* what it returns */

static krn_status
count_silu (krn_stream *stream, krn_tensor y, krn_tensor x)
{
  calls++;
  return next_call;
}

static const char *
text (const struct krn_device *device, krn_status status)
{
  return "shapes do not match";
}

static struct krn_device device = { .silu = count_silu, .status_text = text };
static char memory[4096] __attribute__ ((aligned (256)));

static void
test_first_fit (void)
{
  eng_arena *arena = eng_arena_new ();
  struct eng_run run = { .device = &device, .arena = arena };

  eng_arena_reset (arena, memory, sizeof memory);
  krn_tensor a = eng_run_take (&run, KRN_F32, 1, 1, 1, 64);  /* 256 bytes at 0 */
  krn_tensor b = eng_run_take (&run, KRN_BF16, 1, 1, 1, 10); /* rounded up to 256, at 256 */
  krn_tensor c = eng_run_take (&run, KRN_F32, 1, 2, 2, 32);  /* 512 at 512 */
  g_assert_true (a.data == memory && b.data == memory + 256 && c.data == memory + 512);
  g_assert_cmpint (b.stride, ==, 10);
  g_assert_cmpint (c.dim[2], ==, 2);
  g_assert_cmpuint (eng_arena_get_peak (arena), ==, 1024);

  eng_run_drop (&run, a);
  eng_run_drop (&run, b); /* the two holes are one now */
  krn_tensor d = eng_run_take (&run, KRN_F32, 1, 1, 1, 128);
  g_assert_true (d.data == memory);
  krn_tensor e = eng_run_take (&run, KRN_U8, 1, 1, 1, 1);
  g_assert_true (e.data == memory + 1024);
  g_assert_cmpuint (eng_arena_get_peak (arena), ==, 1280);
  eng_arena_free (arena);
}

/* The same takes and drops as a plan give the size that the real run then needs, to the byte. */
static gboolean
play (eng_arena *arena, void *base, size_t size, gboolean planning)
{
  struct eng_run run = { .device = &device, .arena = arena, .planning = planning };
  krn_tensor t[8];

  eng_arena_reset (arena, base, size);
  for (int i = 0; i < 8; i++)
    t[i] = eng_run_take (&run, KRN_U8, 1, 1, 1, 100 + 97 * i);
  for (int i = 0; i < 8; i += 2)
    eng_run_drop (&run, t[i]);
  for (int i = 6; i >= 0; i -= 2)
    t[i] = eng_run_take (&run, KRN_U8, 1, 1, 1, 120 + 90 * i);
  return run.status == KRN_OK;
}

static void
test_plan_is_enough (void)
{
  eng_arena *arena = eng_arena_new ();

  g_assert_true (play (arena, NULL, 0, TRUE));
  const size_t peak = eng_arena_get_peak (arena);
  g_autofree char *block = g_malloc (peak + 256);
  void *aligned = (void *) (((uintptr_t) block + 255) & ~(uintptr_t) 255);

  g_assert_true (play (arena, aligned, peak, FALSE));
  g_assert_false (play (arena, aligned, peak - 1, FALSE));
  eng_arena_free (arena);
}

static void
test_full (void)
{
  g_autoptr (GError) error = NULL;
  eng_arena *arena = eng_arena_new ();
  struct eng_run run = { .device = &device, .arena = arena };

  eng_arena_reset (arena, memory, sizeof memory);
  krn_tensor a = eng_run_take (&run, KRN_F32, 1, 1, 1, 4096);
  g_assert_null (a.data);
  eng_run_drop (&run, a); /* harmless */
  calls = 0;
  ENG_RUN (&run, silu, a, a);
  g_assert_cmpint (calls, ==, 0);
  g_assert_false (eng_run_ok (&run, "decoder", &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_MEMORY);
  g_assert_nonnull (strstr (error->message, "16384"));
  g_assert_nonnull (strstr (error->message, "4096"));
  eng_arena_free (arena);
}

static void
test_absurd (void)
{
  eng_arena *arena = eng_arena_new ();

  for (int i = 0; i < 2; i++) {
    struct eng_run run = { .device = &device, .arena = arena, .planning = TRUE };
    const int64_t big = i ? (int64_t) 1 << 40 : -1;
    g_assert_null (eng_run_take (&run, KRN_F32, 1, big, big, big).data);
    g_assert_cmpint (run.status, ==, KRN_ERROR_MEMORY);
  }
  eng_arena_free (arena);
}

static void
test_first_failure_stays (void)
{
  g_autoptr (GError) error = NULL;
  eng_arena *arena = eng_arena_new ();
  struct eng_run run = { .device = &device, .arena = arena };
  krn_tensor a = { 0 };

  calls = 0;
  next_call = KRN_ERROR_SHAPE;
  ENG_RUN (&run, silu, a, a);
  next_call = KRN_OK;
  ENG_RUN (&run, silu, a, a); /* skipped */
  g_assert_cmpint (calls, ==, 1);
  g_assert_false (eng_run_ok (&run, "text encoder", &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_DEVICE);
  g_assert_cmpstr (error->message, ==, "text encoder: silu: shapes do not match");
  eng_arena_free (arena);
}

static void
test_plan_and_cancel (void)
{
  g_autoptr (GError) error = NULL;
  eng_arena *arena = eng_arena_new ();
  int cancelled = 1;
  struct eng_run plan = { .device = &device, .arena = arena, .planning = TRUE };
  struct eng_run run = { .device = &device, .arena = arena, .cancelled = &cancelled };
  krn_tensor a = eng_run_take (&plan, KRN_F32, 1, 1, 1, 1);

  calls = 0;
  ENG_RUN (&plan, silu, a, a);
  g_assert_true (eng_run_ok (&plan, "plan", &error));
  ENG_RUN (&run, silu, a, a);
  g_assert_cmpint (calls, ==, 0);
  g_assert_false (eng_run_ok (&run, "denoise", &error));
  g_assert_error (error, ENG_ERROR, ENG_ERROR_CANCELLED);
  eng_arena_free (arena);
}

/* Each of three segments launches its own two operations and takes the same memory. */
static void
test_segments (void)
{
  eng_arena *arena = eng_arena_new ();

  eng_arena_reset (arena, memory, sizeof memory);
  for (int segment = 0; segment < 3; segment++) {
    struct eng_run run = {
      .device = &device, .arena = arena, .first = segment * 2, .last = segment * 2 + 2
    };

    calls = 0;
    for (int i = 0; i < 6; i++) {
      krn_tensor a = eng_run_take (&run, KRN_F32, 1, 1, 1, 1);

      g_assert_true (a.data == memory);
      ENG_RUN (&run, silu, a, a);
      g_assert_cmpint (calls, ==, CLAMP (i + 1 - segment * 2, 0, 2));
      eng_run_drop (&run, a);
    }
    g_assert_cmpint (run.n_met, ==, 6);
  }
  eng_arena_free (arena);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/run/first-fit", test_first_fit);
  g_test_add_func ("/run/plan-is-enough", test_plan_is_enough);
  g_test_add_func ("/run/full", test_full);
  g_test_add_func ("/run/absurd", test_absurd);
  g_test_add_func ("/run/first-failure-stays", test_first_failure_stays);
  g_test_add_func ("/run/segments", test_segments);
  g_test_add_func ("/run/plan-and-cancel", test_plan_and_cancel);
  return g_test_run ();
}
