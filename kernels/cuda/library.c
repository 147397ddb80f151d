#include "kernels/cuda/library.h"

#include <dlfcn.h>
#include <string.h>

void *
krn_library_open (const char *const *names, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    void *library = dlopen (names[i], RTLD_LAZY | RTLD_LOCAL);

    if (library)
      return library;
  }
  return NULL;
}

bool
krn_library_load (void *library, const struct krn_symbol *symbols, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    void *symbol = dlsym (library, symbols[i].name);

    if (!symbol)
      return false;
    memcpy (symbols[i].to, &symbol, sizeof symbol);
  }
  return true;
}
