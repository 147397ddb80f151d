/* kernels/cuda/library.h - libraries of others, opened at run time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct krn_symbol {
  void *to; /* a pointer to the function pointer */
  const char *name;
};

/* The first of n names that can be opened, NULL when none can.  The caller closes it with dlclose,
 * or leaves it open. */
void *krn_library_open (const char *const *names, size_t n);

/* Sets all n function pointers, up to the first that the library lacks: then false. */
bool krn_library_load (void *library, const struct krn_symbol *symbols, size_t n);
