/* engine/error.c - the quark of the engine's errors. */
#include "engine/error.h"

G_DEFINE_QUARK (eng - error - quark, eng_error)
