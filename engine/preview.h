/* engine/preview.h - the ring of preview frames on the device, and their way to the host.
 *
 * The engine's thread writes a frame after each step and never waits for anyone who shows them: of
 * three slots one holds the newest frame, one may be held by a reader, and one is free to write.
 * A reader (the window's main thread) takes the newest frame with acquire, makes its own stream
 * wait for `ready`, copies the frame, records `released` on that stream and gives the frame back;
 * the slot is then not written before `released` on the device.  One reader at a time.
 *
 * Functions with "writer" are for the engine's thread; acquire and release for any other; the ring
 * must outlive both. */
#pragma once

#include "kernels/device.h"

#include <glib.h>

typedef struct eng_preview eng_preview;

struct eng_preview_frame {
  const void *owner;   /* what the writer called it by; only for comparisons */
  krn_tensor rgba;     /* u8 {1, height, width, 4}, on the device */
  krn_event *ready;    /* borrowed; recorded when rgba is enqueued */
  krn_event *released; /* borrowed; recorded by the reader after its last use of rgba */
  guint64 serial;      /* of the frame, from 1; rises */
  gboolean stays;      /* on the device: it is not brought to the host */
  int slot;
};

/* Writer.  device is borrowed.  NULL and error when the device gives no events. */
eng_preview *eng_preview_new (struct krn_device *device, GError **error);
void eng_preview_free (eng_preview *preview); /* NULL allowed */
/* Writer.  Makes the slots that no reader holds large enough; while the device is idle.  Where
 * there is no memory for that, frames of that size are left out. */
void eng_preview_reserve (eng_preview *preview, int width, int height);
/* Writer.  Whether reserve would do nothing. */
gboolean eng_preview_fits (eng_preview *preview, int width, int height);
/* Writer.  Chooses a slot, which stream may write to what is enqueued next.  FALSE: there is none;
 * the frame is left out. */
gboolean eng_preview_begin (eng_preview *preview, krn_stream *stream, int width, int height,
                            struct eng_preview_frame *frame);
/* Writer.  The frame, written by what was enqueued on stream, is now the newest.  owner is told to
 * readers.  copy: it is also downloaded there.  Sets frame->serial. */
krn_status eng_preview_end (eng_preview *preview, krn_stream *stream, krn_stream *copy,
                            const void *owner, struct eng_preview_frame *frame);
/* Writer.  Whether the frame has come down to the host, so that get_pixels has it. */
gboolean eng_preview_is_down (eng_preview *preview, const struct eng_preview_frame *frame);
/* Writer.  [height, width, 4] on the host until the next begin; NULL: a later frame is written over
 * it. */
const uint8_t *eng_preview_get_pixels (eng_preview *preview, const struct eng_preview_frame *frame);
/* Writer.  No frame so far is for readers any more, their owners are gone. */
void eng_preview_clear (eng_preview *preview);

/* Reader.  There is one from now on (or no more), so frames need not come to the host. */
void eng_preview_set_reader (eng_preview *preview, gboolean there);
/* Reader.  The newest frame that is done; FALSE: there is none newer than serial `after`. */
gboolean eng_preview_acquire (eng_preview *preview, guint64 after, struct eng_preview_frame *frame);
void eng_preview_release (eng_preview *preview, const struct eng_preview_frame *frame);
