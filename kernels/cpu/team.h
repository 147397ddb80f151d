/* kernels/cpu/team.h - the threads of a stream.
 *
 * Unlike OpenMP's, a loop here never waits for a thread to come: the caller works through the parts
 * itself, and threads that are awake take some of them off it.  On a desktop whose cores are busy
 * with something else a barrier of all threads costs a time slice for each operation.
 * Threads that found nothing to do for 50 us sleep. */
#pragma once

#include <stdint.h>

/* Does parts [first, end) of a loop.  scratch belongs to the calling thread. */
typedef void (*krn_task) (const void *data, int64_t first, int64_t end, float *scratch);

typedef struct krn_team krn_team;

/* A team of threads - 1 threads and the caller; scratch has scratch_floats for each.  NULL when
 * there is no memory.  Fewer threads than asked for may come. */
krn_team *krn_team_new (int threads, float *scratch, int64_t scratch_floats);
void krn_team_free (krn_team *team); /* NULL allowed */

/* Runs task over [0, n) in parts of grain and returns when all are done.  One caller at a time. */
void krn_team_run (krn_team *team, int64_t n, int64_t grain, krn_task task, const void *data);
