#include "kernels/cpu/team.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum { SPIN_NANOSECONDS = 50000 }; /* longer than the gaps between operations of a network */

struct member {
  krn_team *team;
  float *scratch;
  pthread_t thread;
};

struct krn_team {
  _Atomic int64_t left; /* parts that nobody took; taken from the first to the last */
  _Atomic int64_t done; /* parts */

  /* The loop.  Written while no part is left and none is being done, read by those who took one. */
  krn_task task;
  const void *data;
  int64_t n, grain, parts;

  /* Who sleeps, and how they are woken. */
  pthread_mutex_t mutex;
  pthread_cond_t work, finished;
  _Atomic int sleepers;
  _Atomic bool caller_sleeps;
  _Atomic bool closing;

  float *scratch; /* borrowed; the caller's */
  int n_members;
  struct member members[];
};

static int64_t
now (void)
{
  struct timespec time;

  clock_gettime (CLOCK_MONOTONIC, &time);
  return (int64_t) time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Takes one part after another until none is left. */
static void
work (krn_team *team, float *scratch)
{
  int64_t left = atomic_load (&team->left);

  while (left > 0) {
    int64_t parts, first, end;

    if (!atomic_compare_exchange_weak (&team->left, &left, left - 1))
      continue;
    parts = team->parts;
    first = (parts - left) * team->grain;
    end = first + team->grain < team->n ? first + team->grain : team->n;
    team->task (team->data, first, end, scratch);

    if (atomic_fetch_add (&team->done, 1) + 1 == parts && atomic_load (&team->caller_sleeps)) {
      pthread_mutex_lock (&team->mutex);
      pthread_cond_signal (&team->finished);
      pthread_mutex_unlock (&team->mutex);
    }
    left = atomic_load (&team->left);
  }
}

static void
wait_for_work (krn_team *team)
{
  const int64_t start = now ();

  while (now () - start < SPIN_NANOSECONDS)
    if (atomic_load (&team->left) > 0 || atomic_load (&team->closing))
      return;

  pthread_mutex_lock (&team->mutex);
  atomic_fetch_add (&team->sleepers, 1);
  while (atomic_load (&team->left) == 0 && !atomic_load (&team->closing))
    pthread_cond_wait (&team->work, &team->mutex);
  atomic_fetch_sub (&team->sleepers, 1);
  pthread_mutex_unlock (&team->mutex);
}

static void *
member_run (void *data)
{
  struct member *self = data;

  while (!atomic_load (&self->team->closing)) {
    wait_for_work (self->team);
    work (self->team, self->scratch);
  }
  return NULL;
}

static void
wait_until_done (krn_team *team)
{
  const int64_t start = now ();

  while (atomic_load (&team->done) < team->parts)
    if (now () - start > SPIN_NANOSECONDS) {
      pthread_mutex_lock (&team->mutex);
      atomic_store (&team->caller_sleeps, true);
      while (atomic_load (&team->done) < team->parts)
        pthread_cond_wait (&team->finished, &team->mutex);
      atomic_store (&team->caller_sleeps, false);
      pthread_mutex_unlock (&team->mutex);
    }
}

static void
wake_members (krn_team *team)
{
  if (atomic_load (&team->sleepers) == 0)
    return;
  pthread_mutex_lock (&team->mutex);
  pthread_cond_broadcast (&team->work);
  pthread_mutex_unlock (&team->mutex);
}

void
krn_team_run (krn_team *team, int64_t n, int64_t grain, krn_task task, const void *data)
{
  if (n <= grain || team->n_members == 0) {
    task (data, 0, n, team->scratch);
    return;
  }
  team->task = task;
  team->data = data;
  team->n = n;
  team->grain = grain;
  team->parts = (n + grain - 1) / grain;
  atomic_store (&team->done, 0);
  atomic_store (&team->left, team->parts);
  wake_members (team);
  work (team, team->scratch);
  wait_until_done (team);
}

krn_team *
krn_team_new (int threads, float *scratch, int64_t scratch_floats)
{
  krn_team *self = calloc (1, sizeof *self + (size_t) threads * sizeof self->members[0]);
  sigset_t all, before;

  if (!self)
    return NULL;
  self->scratch = scratch;
  pthread_mutex_init (&self->mutex, NULL);
  pthread_cond_init (&self->work, NULL);
  pthread_cond_init (&self->finished, NULL);

  sigfillset (&all); /* signals are the program's business, on its own threads */
  pthread_sigmask (SIG_SETMASK, &all, &before);
  for (int i = 0; i < threads - 1; i++) {
    struct member *member = &self->members[i];

    member->team = self;
    member->scratch = scratch + (i + 1) * scratch_floats;
    if (pthread_create (&member->thread, NULL, member_run, member) != 0)
      break;
    self->n_members++;
  }
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  return self;
}

void
krn_team_free (krn_team *team)
{
  if (!team)
    return;
  pthread_mutex_lock (&team->mutex);
  atomic_store (&team->closing, true);
  pthread_cond_broadcast (&team->work);
  pthread_mutex_unlock (&team->mutex);
  for (int i = 0; i < team->n_members; i++)
    pthread_join (team->members[i].thread, NULL);
  pthread_mutex_destroy (&team->mutex);
  pthread_cond_destroy (&team->work);
  pthread_cond_destroy (&team->finished);
  free (team);
}
