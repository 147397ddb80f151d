/* engine/error.c - the quark of the engine's errors.  Written out: clang-format takes the dashes in
 * G_DEFINE_QUARK's argument for minus signs. */
#include "engine/error.h"

GQuark
eng_error_quark (void)
{
  return g_quark_from_static_string ("eng-error-quark");
}
