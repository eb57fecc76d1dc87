/* channel.h - the kernel's request queue (/dev/fuse) on the loop.
 *
 * Requests are read without blocking, at most CHANNEL_BATCH per wake-up so that answers get their
 * turn, and handed to libfuse, which calls the handlers. The library forgets a few flags of the
 * protocol that matter here: the channel reads them from the raw request, and adds features to the
 * answer of INIT that the library does not know how to ask for.
 *
 * Each request is read into a buffer of IO_MAX plus headers. A handler whose data must outlive it
 * takes the buffer (channel_take_buffer) and gives it back later. Loop thread only.
 */
#ifndef FUSE_IO_CHANNEL_H
#define FUSE_IO_CHANNEL_H

#include <fuse3/fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "shared/base/list.h"

enum { CHANNEL_BATCH = 16 };

struct channel_buffer; /* one request as it was read */

struct channel {
    uv_poll_t poll;
    struct fuse_session *session;
    int fd;
    struct channel_buffer *current;
    struct list spare; /* buffers waiting for use */
    uint32_t spare_count;
    uint32_t opcode;       /* of the request being handled */
    uint32_t write_flags;  /* of the write being handled */
    uint64_t kernel_flags; /* INIT flags the kernel offered */
    bool kills_suid;       /* the kernel tells us when a write must clear set-uid bits */
    bool parallel_writes;  /* what open or create answers now: the kernel need not queue writes */
    bool is_open;
    bool is_ready; /* INIT was answered */
    void (*on_ready)(void *owner);
    void (*on_request)(void *owner);      /* before each */
    void (*on_end)(void *owner, int err); /* unmounted (0), or the queue is broken */
    void *owner;
};

/* Starts reading the mounted session's queue; the session's user data must be `c`. The callbacks
 * and owner are set before; they run on the loop: on_ready once, when the kernel may send requests,
 * on_end at most once. 0 or a negative errno. */
int channel_open(struct channel *c, uv_loop_t *loop, struct fuse_session *session);
/* Stops reading for good; the handle is closed when the loop ran once more. The descriptor stays
 * open, it is the session's. */
void channel_close(struct channel *c);
/* After the loop has ended: frees the buffers. Fine for a channel that was never opened. */
void channel_free(struct channel *c);

/* In a handler: keeps the bytes of this request until channel_give_buffer. */
struct channel_buffer *channel_take_buffer(struct channel *c);
void channel_give_buffer(struct channel *c, struct channel_buffer *b); /* NULL is fine */
/* In the write handler: the writer has no right to keep set-uid and set-gid bits. */
bool channel_write_kills_suid(const struct channel *c, uint32_t uid, bool from_page_cache);
/* Files that are always read and written directly may be mapped. */
bool channel_direct_may_map(const struct channel *c);

#endif
