/* tests/queue_device.h - what a test tells the device of queue_device.c, and learns from it. */
#pragma once

#include "kernels/device.h"

/* The module exports one under the name "queue_control".  Every member is atomic. */
struct queue_control {
  int delay;          /* microseconds before each operation, at most; drawn at random */
  int refuse_capture; /* capture_begin fails */
  int fail_at;        /* this operation from now on is refused with KRN_ERROR_MEMORY; 0: none */
  int lose_at;        /* at this operation from now on the device is lost; 0: never */
  int lost;           /* it is, until it is opened again */
  int overlaps;       /* operations that ran while another stream's ran */
  int launches;       /* of graphs */
  int opened;         /* times */
  int refuse_open;    /* the device cannot be opened */
  int blocks;         /* of memory that were given out and not freed */
  int memory;         /* KiB that the device has; 0: as much as the CPU */
  int used, most;     /* KiB of it now, and at once since it was cleared; not page-locked memory */
};
