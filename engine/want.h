/* engine/want.h - eng_loader_want for names that share a beginning. */
#pragma once

#include "engine/weights.h"

/* The tensors prefix + a, prefix + b and prefix + c, one under the other; b, or b and c, may be
 * NULL. */
static inline void
eng_want (eng_loader *loader, krn_tensor *target, int64_t rows, int64_t cols, const char *prefix,
          const char *a, const char *b, const char *c)
{
  g_autofree char *name_a = g_strconcat (prefix, a, NULL);
  g_autofree char *name_b = b ? g_strconcat (prefix, b, NULL) : NULL;
  g_autofree char *name_c = c ? g_strconcat (prefix, c, NULL) : NULL;

  eng_loader_want (loader, target, rows, cols, name_a, name_b, name_c, NULL);
}

/* A vector of n. */
static inline void
eng_want_vector (eng_loader *loader, krn_tensor *target, int64_t n, const char *prefix,
                 const char *name)
{
  eng_want (loader, target, 1, n, prefix, name, NULL, NULL);
}
