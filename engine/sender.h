/* engine/sender.h - threads that read pieces of tensors and put them on a device.  Private to the
 * loader.
 *
 * Each thread has two staging buffers, so that it reads the next piece while its last one is on its
 * way; all enqueue on one stream, one at a time.  The functions are for one thread, the owner. */
#pragma once

#include "engine/loader.h"

/* What is read and uploaded at once. */
struct eng_chunk {
  const eng_loader *loader;             /* borrowed */
  const struct eng_want *want;          /* borrowed from the loader */
  const struct eng_tensor_info *tensor; /* NULL: the want's constant */
  int64_t first;                        /* element of tensor */
  krn_tensor dst;
  guint group; /* of the chunks that are waited for together; never falls */
};

typedef struct eng_sender eng_sender;

/* Adds the chunks of a want that will be at tensor. */
void eng_sender_add_chunks (GArray *chunks, const eng_loader *loader, const struct eng_want *want,
                            krn_tensor tensor, guint group);

/* chunks: of struct eng_chunk, borrowed; their number stays, where they go may change while nothing
 * runs.  The stream is borrowed.  Allocates nothing on the device. */
eng_sender *eng_sender_new (struct krn_device *device, krn_stream *stream, const GArray *chunks);
void eng_sender_free (eng_sender *sender);              /* not while it runs; NULL allowed */
size_t eng_sender_get_total (const eng_sender *sender); /* bytes of all chunks on the device */

/* Begins to send groups 0 to open - 1.  cancelled (atomic, may be NULL) is looked at before every
 * chunk. */
void eng_sender_start (eng_sender *sender, guint open, const int *cancelled);
/* Returns when more than so many bytes were sent, or all, or when it failed: bytes sent. */
size_t eng_sender_wait_bytes (eng_sender *sender, size_t more_than);
/* FALSE: it failed.  TRUE: all of the group is on its way, and event, recorded behind it. */
gboolean eng_sender_wait_group (eng_sender *sender, guint group, krn_event *event);
/* One group more may be sent, once the stream is past event. */
void eng_sender_open_group (eng_sender *sender, krn_event *event);
/* Ends what was started and waits for the threads and the stream.  FALSE and error: what failed
 * first, or ENG_ERROR_CANCELLED because not all was sent. */
gboolean eng_sender_finish (eng_sender *sender, GError **error);
/* After finish: how the device refused, if that is why it failed. */
krn_status eng_sender_get_status (const eng_sender *sender);
