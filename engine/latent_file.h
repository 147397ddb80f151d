/* engine/latent_file.h - tensors as .safetensors, for comparison with other programs. */
#pragma once

#include <glib.h>
#include <stdint.h>

struct eng_latent {
  char *name;
  int64_t dim[4]; /* leading ones are written, too */
  float *data;    /* on the host */
};

/* A tensor of that shape, its data not yet set.  Its name gets "_" and number behind it, unless
 * number is below 0. */
struct eng_latent *eng_latent_new (const char *name, int number, const int64_t dim[4]);
void eng_latent_free (struct eng_latent *latent);

/* Writes an array of struct eng_latent as f32, atomically. */
gboolean eng_latent_write (const char *path, const GPtrArray *latents, GError **error);
/* Reads the file's only tensor, or else the one called "noise" or "latents"; any float dtype.  Its
 * shape must be dim, where leading ones may be left out; the message has both shapes. */
gboolean eng_latent_read (const char *path, float *data, const int64_t dim[4], GError **error);
