/* tests/test-nfc.c - against GLib's own normal form, which is right where it is not slow. */
#include "engine/nfc.h"

#include <string.h>

static void
assert_as_glib (const GString *text)
{
  g_autofree char *want = g_utf8_normalize (text->str, text->len, G_NORMALIZE_DEFAULT_COMPOSE);
  g_autoptr (GString) got = g_string_new (NULL);

  eng_nfc_append (got, text->str, text->len);
  g_assert_cmpmem (got->str, got->len, want, strlen (want));
}

/* A character that has something to do with normal forms, or any other. */
static gunichar
draw (GRand *rand)
{
  static const struct {
    guint from, to;
  } ranges[] = {
    { 0x41, 0x7b },     { 0xc0, 0x250 },      { 0x300, 0x36f },     { 0x300, 0x330 },
    { 0x340, 0x346 },   { 0x5b0, 0x5d0 },     { 0x900, 0x9ff },     { 0xb40, 0xe50 },
    { 0xf40, 0xfb0 },   { 0x1100, 0x11ff },   { 0x1b00, 0x1b40 },   { 0x1e00, 0x2000 },
    { 0x2126, 0x212c }, { 0x2adc, 0x2add },   { 0x3040, 0x3100 },   { 0xac00, 0xd7a4 },
    { 0xf900, 0xfb50 }, { 0x11090, 0x11135 }, { 0x1d150, 0x1d170 }, { 0x2f800, 0x2fa00 },
  };
  const guint i = g_rand_int_range (rand, 0, G_N_ELEMENTS (ranges));

  return g_rand_int_range (rand, ranges[i].from, ranges[i].to);
}

static void
test_random (void)
{
  g_autoptr (GRand) rand = g_rand_new_with_seed (1);

  for (int i = 0; i < 20000; i++) {
    g_autoptr (GString) text = g_string_new (NULL);

    for (int n = g_rand_int_range (rand, 0, 12); n > 0; n--)
      g_string_append_unichar (text, draw (rand));
    assert_as_glib (text);
  }
}

/* Each character alone and behind a letter. */
static void
test_every (void)
{
  for (gunichar c = 1; c < 0x30000; c++) {
    g_autoptr (GString) text = g_string_new (NULL);

    if (c >= 0xd800 && c < 0xe000)
      continue;
    g_string_append_unichar (text, c);
    g_string_append_c (text, 'a');
    g_string_append_unichar (text, c);
    assert_as_glib (text);
  }
}

static void
test_nul (void)
{
  static const char text[] = "e\xcc\x81\0\xcc\x81"
                             "e\xcc\x81";
  g_autoptr (GString) got = g_string_new ("x");

  eng_nfc_append (got, text, sizeof text - 1);
  g_assert_cmpmem (got->str, got->len, "x\xc3\xa9\0\xcc\x81\xc3\xa9", 8);
}

/* Half a million marks in the wrong order: minutes if the sort were quadratic. */
static void
test_many_marks (void)
{
  g_autoptr (GString) text = g_string_new ("q"), got = g_string_new (NULL);

  for (int i = 0; i < 250000; i++)
    g_string_append (text, "\xcc\x81\xcc\xa3"); /* above, below: in order it is the reverse */
  eng_nfc_append (got, text->str, text->len);
  g_assert_cmpuint (got->len, ==, text->len);
  g_assert_cmpmem (got->str + 1, 4, "\xcc\xa3\xcc\xa3", 4);
  g_assert_cmpmem (got->str + got->len - 4, 4, "\xcc\x81\xcc\x81", 4);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/nfc/random", test_random);
  g_test_add_func ("/nfc/every", test_every);
  g_test_add_func ("/nfc/nul", test_nul);
  g_test_add_func ("/nfc/many-marks", test_many_marks);
  return g_test_run ();
}
