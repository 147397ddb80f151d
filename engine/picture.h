/* engine/picture.h - how the pipeline makes an eng_image. */
#pragma once

#include "engine/engine.h"
#include "engine/timeline.h"

struct eng_picture {
  struct eng_params *params; /* resolved; given away */
  eng_model_info *info;      /* borrowed, referenced */
  GBytes *rgba;              /* given away */
  eng_timeline *timeline;    /* given away */
  char *warning;             /* given away; or NULL */
  double seconds;
};

/* Takes what picture's comments say is given away. */
eng_image *eng_image_new (const struct eng_picture *picture);
