/* request.h - one request of the kernel from the handler to its answer, and its interruption.
 *
 * A handler makes a request, starts one client call on it, and returns. When the call is done,
 * `answer` runs: it replies once and ends the request, or passes it on to a second call
 * (request_chain). Requests are pooled. Loop thread only.
 *
 * Interruption: any signal of a waiting program sends one INTERRUPT, but only a signal that ends
 * the program cancels its call, and only after REQUEST_PATIENCE_MS: an alarm or a child's death
 * must not make open() fail while the cluster changes a primary. So waiting programs behave as on a
 * hard NFS mount. A program that was killed, or exits, closes its files, and no signal reaches it
 * then: its flush is cancelled at once if it was killed, after REQUEST_EXIT_PATIENCE_MS otherwise;
 * what it wrote still goes out.
 */
#ifndef FUSE_IO_REQUEST_H
#define FUSE_IO_REQUEST_H

#include <fuse3/fuse_lowlevel.h>

#include "fuse/core/client.h"
#include "fuse/io/channel.h"
#include "shared/base/limits.h"

enum { REQUEST_PATIENCE_MS = 1000, REQUEST_EXIT_PATIENCE_MS = 30000, REQUEST_TICK_MS = 500 };

struct shell;
struct open_file;

struct request {
    struct client_call call; /* owner: the request */
    struct shell *shell;
    fuse_req_t fuse;
    void (*answer)(struct request *r);
    struct list link; /* in requests.running or requests.idle */
    uint64_t started_ns;
    bool was_interrupted;
    bool is_flush;
    bool
        has_fallback; /* the answer can do without the cluster: cancelled as soon as that is away */
    bool was_cancelled;
    bool unsettles; /* directories it changes are not all in its answer */

    /* Of the handlers. */
    uint64_t ino;
    uint64_t offset;
    uint32_t size;
    int flags;
    bool plus;
    bool clear_suid;
    struct open_file *file;
    struct attr wanted;          /* setattr */
    struct bytes data;           /* in `held` */
    struct channel_buffer *held; /* given back when the request ends */
    char name[NAME_LEN_MAX + 1];
    char new_name[NAME_LEN_MAX + 1];
};

struct requests {
    struct list running; /* oldest first */
    struct list idle;
    uv_timer_t tick; /* runs while requests do */
};

void requests_init(struct requests *q, uv_loop_t *loop);
void requests_close(struct requests *q); /* stops the timer and closes its handle */
/* The session is about to end: running requests will not be answered. */
void requests_drop_unanswered(struct requests *q);
void requests_free(struct requests *q); /* after the loop and the core have ended */

struct request *request_begin(fuse_req_t fuse, uint64_t ino, void (*answer)(struct request *r));
/* After an answer function has replied. */
void request_end(struct request *r);
/* In an answer function: a request that waits for another call and will answer the same kernel
 * request. It takes over what the handlers put into r; r is ended. */
struct request *request_chain(struct request *r, void (*answer)(struct request *r));
/* Replies with the error of a status < 0 and ends the request. */
void request_fail(struct request *r, int status);
/* The same where the kernel named an inode and not a path: one that is gone makes the kernel look
 * up the path again instead of telling the program. */
void request_fail_inode(struct request *r, int status);
/* Copies a name of at most NAME_LEN_MAX bytes. If it is longer replies ENAMETOOLONG, ends r, gives
 * false. */
bool request_keep_name(struct request *r, char out[NAME_LEN_MAX + 1], const char *name);

#endif
