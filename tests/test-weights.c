/* tests/test-weights.c - tensors in files, good and bad. */
#include "engine/error.h"
#include "engine/weights.h"
#include "tests/tmp_folder.h"

#include <sys/stat.h>

/* Opens a file of that header and n bytes of data; every byte has its offset's value. */
static eng_weights *
open_header (const char *header, gsize n, GError **error)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree guint8 *data = g_malloc (n + 1);
  g_autofree char *path = NULL;

  for (gsize i = 0; i < n; i++)
    data[i] = i;
  path = tmp_folder_write_tensors (folder, "model.safetensors", header, data, n);
  return eng_weights_open (path, error);
}

static void
test_good (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (eng_weights) weights =
      open_header ("{\"__metadata__\":{\"format\":\"pt\",\"caf\\u00e9\":\"\\u4e00\"},"
                   "\"b\":{\"dtype\":\"BF16\",\"shape\":[2,3],\"data_offsets\":[8,20]},"
                   "\"a\":{\"shape\":[],\"data_offsets\":[4,8],\"dtype\":\"F32\",\"more\":[{}]},"
                   "\"none\":{\"dtype\":\"I64\",\"shape\":[4,0],\"data_offsets\":[8,8]},"
                   "\"f8\":{\"dtype\":\"F8_E4M3\",\"shape\":[1,1,1,1,3],\"data_offsets\":[21,24]},"
                   "\"f4\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[24,26]}}   ",
                   32, &error);
  const struct eng_tensor_info *t;
  g_autoptr (eng_weights) other = NULL;

  g_assert_no_error (error);
  other = eng_weights_ref (weights);
  g_assert_cmpuint (eng_weights_get_n (weights), ==, 5);
  g_assert_cmpstr (eng_weights_get (weights, 0)->name, ==, "a"); /* in the file's order */
  t = eng_weights_lookup (weights, "b");
  g_assert_cmpstr (t->on_disk, ==, "BF16");
  g_assert_cmpint (t->dtype, ==, KRN_BF16);
  g_assert_cmpint (t->n_dims, ==, 2);
  g_assert_cmpint (t->dim[1], ==, 3);
  g_assert_cmpuint (t->bytes, ==, 12);
  g_assert_cmpint (*(const guint8 *) t->data, ==, 8);
  g_assert_cmpint (eng_weights_lookup (weights, "a")->n_dims, ==, 0);
  g_assert_cmpint (eng_weights_lookup (weights, "f8")->n_dims, ==, 5);
  g_assert_null (eng_weights_lookup (weights, "c"));
  g_assert_cmpstr (g_hash_table_lookup (eng_weights_get_metadata (weights), "caf\xc3\xa9"), ==,
                   "\xe4\xb8\x80");
}

static void
test_empty (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (eng_weights) weights = open_header ("{}", 0, &error);

  g_assert_no_error (error);
  g_assert_cmpuint (eng_weights_get_n (weights), ==, 0);
  g_assert_cmpuint (g_hash_table_size (eng_weights_get_metadata (weights)), ==, 0);
}

#define TENSOR(name, dtype, shape, offsets)                                                        \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void
test_bad_headers (void)
{
  static const struct {
    const char *header, *message; /* all have 64 bytes of data */
  } cases[] = {
    { "", "the header is not a JSON object" },
    { "[]", "the header is not a JSON object" },
    { "{", "broken JSON at byte 1: expected a string" },
    { "{}}", "broken JSON at byte 2: expected the end" },
    { "{\"a\":1}", "broken JSON at byte 5: expected an object" },
    { "{\"a\xff\":1}", "byte 3 is not UTF-8" },
    { "{\"a\\u0000b\":1}", "broken JSON at byte 9: expected a character's code after \\u" },
    { "{\"\":1}", "a tensor has no name" },
    { "{\"__metadata__\":[]}", "broken JSON at byte 16: expected an object" },
    { "{\"__metadata__\":{\"a\":1}}", "__metadata__ \"a\" is not a string" },
    { "{" TENSOR ("a", "F99", "[1]", "[0,4]") "}", "\"a\" has the unknown dtype \"F99\"" },
    { "{" TENSOR ("a.weight", "F32", "[20]", "[10,90]") "}",
      "\"a.weight\" spans bytes 10 to 90, but the file has 64 bytes of data" },
    { "{" TENSOR ("a", "F32", "[2]", "[0,4]") "}", "\"a\" has 4 bytes, but its shape takes 8" },
    { "{" TENSOR ("a", "F4", "[3]", "[0,2]") "}", "\"a\" has an impossible shape" },
    { "{" TENSOR ("a", "F32", "[1]", "[8,4]") "}", "\"a\" has impossible data_offsets" },
    { "{" TENSOR ("a", "F32", "[1]", "[-4,0]") "}", "\"a\" has impossible data_offsets" },
    { "{" TENSOR ("a", "F32", "[1]", "[0,4,8]") "}", "\"a\" has impossible data_offsets" },
    { "{" TENSOR ("a", "F32", "[1]", "[4]") "}", "\"a\" has impossible data_offsets" },
    { "{" TENSOR ("a", "F32", "[-1]", "[0,4]") "}", "\"a\" has the size -1" },
    { "{" TENSOR ("a", "F32", "[1.5]", "[0,4]") "}", "1.5 is not an integer" },
    { "{" TENSOR ("a", "F32", "[1e3]", "[0,4]") "}", "1e3 is not an integer" },
    { "{" TENSOR ("a", "F32", "[9223372036854775808]", "[0,4]") "}",
      "9223372036854775808 does not fit in 64 bits" },
    { "{" TENSOR ("a", "F32", "[0]", "[0,18446744073709551620]") "}",
      "18446744073709551620 does not fit in 64 bits" },
    { "{" TENSOR ("a", "F32", "[4611686018427387904,4]", "[0,0]") "}",
      "\"a\" has an impossible shape" }, /* 2^64 elements */
    { "{" TENSOR ("a", "U8", "[4294967296,4294967296]", "[0,0]") "}",
      "\"a\" has an impossible shape" },
    { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "\"a\" lacks its data_offsets" },
    { "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", "\"a\" lacks its shape" },
    { "{\"a\":{}}", "\"a\" lacks its dtype" },
    { "{" TENSOR ("a", "F32", "[2]", "[0,8]") "," TENSOR ("b", "F32", "[1]", "[4,8]") "}",
      "\"a\" and \"b\" overlap" },
    { "{" TENSOR ("a", "F32", "[1]", "[0,4]") "," TENSOR ("b", "F32", "[1]", "[0,4]") "}",
      " overlap" },
    { "{" TENSOR ("a", "F32", "[1]", "[0,4]") "," TENSOR ("a", "F32", "[1]", "[4,8]") "}",
      "\"a\" comes twice" },
    { "{" TENSOR ("a", "F32", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]",
                  "[0,4]") "}",
      "\"a\" has more than 32 dimensions" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_null (open_header (cases[i].header, 64, &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
    g_test_message ("%s", error->message);
    g_assert_nonnull (strstr (error->message, "/model.safetensors: "));
    g_assert_true (g_str_has_suffix (error->message, cases[i].message));
  }
}

/* A megabyte of opening brackets would overflow the stack of a reader that recurses. */
static void
test_deep (void)
{
  g_autoptr (GString) header = g_string_new ("{\"a\":{\"x\":");
  g_autoptr (GError) error = NULL;

  for (int i = 0; i < 1000000; i++)
    g_string_append (header, i % 2 ? "[" : "{\"\":");
  g_assert_null (open_header (header->str, 0, &error));
  g_assert_nonnull (strstr (error->message, "nested deeper than 32 levels"));
}

/* Files whose first 8 bytes promise too much, or that have not even those. */
static void
test_lengths (void)
{
  static const struct {
    const char *bytes;
    gsize n;
    const char *message;
  } cases[] = {
    { "", 0, "has 0 bytes, too short for a safetensors file" },
    { "\2\0\0\0\0\0\0", 7, "has 7 bytes, too short for a safetensors file" },
    { "\3\0\0\0\0\0\0\0{}", 10, "the header should have 3 bytes, but the file has 10" },
    { "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10,
      "the header should have 18446744073709551615 bytes, but the file has 10" },
    { "\0\0\0\0\0\0\0\x80{}", 10,
      "the header should have 9223372036854775808 bytes, but the file has 10" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (tmp_folder) folder = tmp_folder_new ();
    g_autofree char *path = tmp_folder_write (folder, "a.safetensors", cases[i].bytes, cases[i].n);
    g_autoptr (GError) error = NULL;

    g_assert_null (eng_weights_open (path, &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
    g_assert_true (g_str_has_suffix (error->message, cases[i].message));
  }
}

/* Paths that are no files: none may block, and each is named. */
static void
test_paths (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autofree char *pipe = g_build_filename (folder, "pipe.safetensors", NULL);
  const char *const paths[] = { "/nowhere/model.safetensors", pipe, folder, "/dev/zero", "" };
  const char *const messages[] = { "nowhere/model.safetensors: No such file or directory",
                                   "pipe.safetensors: not a regular file",
                                   "pipe.safetensors: not a regular file",
                                   "dev/zero: not a regular file", "No such file or directory" };

  g_assert_cmpint (mkfifo (pipe, 0600), ==, 0);
  for (guint i = 0; i < G_N_ELEMENTS (paths); i++) {
    g_autoptr (GError) error = NULL;

    g_assert_null (eng_weights_open (paths[i], &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
    g_assert_true (g_str_has_suffix (error->message, messages[i]));
  }
}

#define SHARD(name) "{" TENSOR (name, "F32", "[1]", "[0,4]") "}"
#define INDEX(map) "{\"metadata\":{\"total_size\":8},\"weight_map\":" map "}"

/* Two shards with the tensors a and b, and an index. */
static eng_weights *
open_shards (const tmp_folder *folder, const char *index, GError **error)
{
  g_autofree char *one =
      tmp_folder_write_tensors (folder, "m-1.safetensors", SHARD ("a"), "\1\1\1\1", 4);
  g_autofree char *two = tmp_folder_write_tensors (
      folder, "m-2.safetensors",
      "{" TENSOR ("b", "F32", "[1]", "[0,4]") "," TENSOR ("extra", "F32", "[1]", "[4,8]") "}",
      "\2\2\2\2\3\3\3\3", 8);
  g_autofree char *path = tmp_folder_write_text (folder, "m.safetensors.index.json", index);

  return eng_weights_open (folder, error);
}

static void
test_shards (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autoptr (GError) error = NULL;
  g_autoptr (eng_weights) weights =
      open_shards (folder, INDEX ("{\"b\":\"m-2.safetensors\",\"a\":\"m-1.safetensors\"}"), &error);

  g_assert_no_error (error);
  g_assert_cmpstr (eng_weights_get_path (weights), ==, folder);
  g_assert_cmpuint (eng_weights_get_n (weights), ==, 3);
  g_assert_cmpint (*(const char *) eng_weights_lookup (weights, "a")->data, ==, 1);
  g_assert_cmpint (*(const char *) eng_weights_lookup (weights, "b")->data, ==, 2);
  g_assert_nonnull (eng_weights_lookup (weights, "extra")); /* more than promised is no harm */
}

static void
test_bad_index (void)
{
  static const struct {
    const char *index, *message;
  } cases[] = {
    { "", "broken JSON at byte 0: expected an object" },
    { "{}", "\"weight_map\" is missing or empty" },
    { INDEX ("{}"), "\"weight_map\" is missing or empty" },
    { INDEX ("[]"), "expected an object" },
    { INDEX ("{\"a\":1}"), "expected a string" },
    { INDEX ("{\"a\":\"m-1.safetensors\",\"a\":\"m-2.safetensors\"}"), "\"a\" comes twice" },
    { INDEX ("{\"a\":\"m-3.safetensors\"}"), "/m-3.safetensors: No such file or directory" },
    { INDEX ("{\"b\":\"m-1.safetensors\"}"),
      "\"b\" should be in m-1.safetensors, which does not have it" },
    { INDEX ("{\"a\":\"m-2.safetensors\",\"b\":\"m-1.safetensors\"}"),
      "\" should be in m-" /* one of the two */ },
    { INDEX ("{\"a\":\"../m-1.safetensors\"}"),
      "\"a\" is in \"../m-1.safetensors\", which is no .safetensors file beside it" },
    { INDEX ("{\"a\":\"/etc/passwd\"}"),
      "\"a\" is in \"/etc/passwd\", which is no .safetensors file beside it" },
    { INDEX ("{\"a\":\"\"}"), "\"a\" is in \"\", which is no .safetensors file beside it" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    g_autoptr (tmp_folder) folder = tmp_folder_new ();
    g_autoptr (GError) error = NULL;

    g_assert_null (open_shards (folder, cases[i].index, &error));
    g_assert_error (error, ENG_ERROR, ENG_ERROR_FILE);
    g_test_message ("%s", error->message);
    g_assert_nonnull (strstr (error->message, cases[i].message));
  }
}

/* Which file stands for a folder. */
static void
test_folders (void)
{
  g_autoptr (tmp_folder) folder = tmp_folder_new ();
  g_autoptr (GError) none = NULL, many = NULL, error = NULL;
  g_autoptr (eng_weights) only = NULL, usual = NULL;
  g_autofree char *one = NULL, *two = NULL, *three = NULL;

  g_assert_null (eng_weights_open (folder, &none));
  g_assert_true (g_str_has_suffix (none->message, ": has no .safetensors file"));

  one = tmp_folder_write_tensors (folder, "x.safetensors", SHARD ("x"), "1234", 4);
  only = eng_weights_open (folder, &error);
  g_assert_no_error (error);
  g_assert_nonnull (eng_weights_lookup (only, "x"));

  two = tmp_folder_write_tensors (folder, "model.fp16.safetensors", SHARD ("y"), "1234", 4);
  g_assert_null (eng_weights_open (folder, &many));
  g_assert_true (g_str_has_suffix (many->message, ": has 2 .safetensors files and no index"));

  three = tmp_folder_write_tensors (folder, "model.safetensors", SHARD ("z"), "1234", 4);
  usual = eng_weights_open (folder, &error);
  g_assert_no_error (error);
  g_assert_nonnull (eng_weights_lookup (usual, "z"));
}

static void
test_starter (void)
{
  static const struct {
    const char *part;
    guint n;
  } parts[] = { { "text_encoder", 35 }, { "transformer", 178 }, { "vae", 240 } };

  for (guint i = 0; i < G_N_ELEMENTS (parts); i++) {
    g_autofree char *path = g_test_build_filename (G_TEST_DIST, "..", "resources", "starter",
                                                   "model", parts[i].part, NULL);
    g_autoptr (GError) error = NULL;
    g_autoptr (eng_weights) weights = eng_weights_open (path, &error);

    g_assert_no_error (error);
    g_assert_cmpuint (eng_weights_get_n (weights), ==, parts[i].n);
    g_assert_cmpstr (g_hash_table_lookup (eng_weights_get_metadata (weights), "format"), ==, "pt");
  }
}

/* Reads what was believed, so that a sanitizer sees a tensor that leaves the mapping. */
static guint
sum_bytes (const eng_weights *weights)
{
  guint sum = 0;

  for (guint i = 0; i < eng_weights_get_n (weights); i++) {
    const struct eng_tensor_info *t = eng_weights_get (weights, i);
    for (gsize k = 0; k < t->bytes; k++)
      sum += ((const guint8 *) t->data)[k];
  }
  return sum;
}

/* Changes some bytes of a good file, or cuts it: it opens or it says why not. */
static void
test_garbled (void)
{
  static const char header[] =
      "{\"__metadata__\":{\"k\":\"v\"}," TENSOR ("a", "F32", "[2,2]", "[0,16]") "," TENSOR (
          "b", "BF16", "[3,4]", "[16,40]") "," TENSOR ("c", "I64", "[0]", "[40,40]") "}";
  static const char marks[] = "{}[]\",:\\0198-e.";
  g_autoptr (GRand) rand = g_rand_new_with_seed (1);
  g_autofree char *path = NULL;
  const int fd = tmp_memory_open (&path);
  int opened = 0;
  guint sum = 0;

  for (int i = 0; i < 5000; i++) {
    char file[8 + sizeof header - 1 + 40] = { sizeof header - 1 - 256 * ((sizeof header - 1) / 256),
                                              (sizeof header - 1) / 256 };
    const int n = sizeof file - (i % 4 ? 0 : g_rand_int_range (rand, 0, sizeof file));
    g_autoptr (eng_weights) weights = NULL;
    g_autoptr (GError) error = NULL;

    memcpy (file + 8, header, sizeof header - 1);
    for (int k = g_rand_int_range (rand, 1, 4); k > 0; k--)
      file[g_rand_int_range (rand, 0, sizeof file)] =
          g_rand_boolean (rand) ? g_rand_int_range (rand, 0, 256)
                                : marks[g_rand_int_range (rand, 0, sizeof marks - 1)];
    tmp_memory_set (fd, file, n);
    weights = eng_weights_open (path, &error);
    g_assert_true ((weights != NULL) != (error != NULL));
    if (weights) {
      sum += sum_bytes (weights);
      opened++;
    }
  }
  close (fd);
  g_test_message ("%d of 5000 opened, sum %u", opened, sum);
  g_assert_cmpint (opened, >, 100);
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/weights/good", test_good);
  g_test_add_func ("/weights/empty", test_empty);
  g_test_add_func ("/weights/bad-headers", test_bad_headers);
  g_test_add_func ("/weights/deep", test_deep);
  g_test_add_func ("/weights/lengths", test_lengths);
  g_test_add_func ("/weights/paths", test_paths);
  g_test_add_func ("/weights/shards", test_shards);
  g_test_add_func ("/weights/bad-index", test_bad_index);
  g_test_add_func ("/weights/folders", test_folders);
  g_test_add_func ("/weights/starter", test_starter);
  g_test_add_func ("/weights/garbled", test_garbled);
  return g_test_run ();
}
