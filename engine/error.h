/* engine/error.h - what can go wrong, for GError. */
#pragma once

#include <glib.h>

#define ENG_ERROR (eng_error_quark ())
GQuark eng_error_quark (void);

enum eng_error {
  ENG_ERROR_FILE,      /* a file is missing, truncated, garbled or not what it should be */
  ENG_ERROR_MODEL,     /* a model lacks a part, or a tensor has the wrong shape */
  ENG_ERROR_PARAMS,    /* a job's parameters are impossible */
  ENG_ERROR_MEMORY,    /* not enough memory; the message has needed and free */
  ENG_ERROR_DEVICE,    /* the device refused or was lost */
  ENG_ERROR_CANCELLED, /* asked for; the window does not show it */
};
