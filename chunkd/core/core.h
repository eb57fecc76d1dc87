/* core.h - the chunkserver's state and the requests it works on. Private to chunkd/core.
 *
 * A request is a message that is being answered: it holds its frame's slices and its connection,
 * and is in chunkd.requests until request_end. Its handler embeds it in a struct of its own.
 */
#ifndef CHUNKD_CORE_CORE_H
#define CHUNKD_CORE_CORE_H

#include "chunkd/core/chunkd.h"
#include "chunkd/core/copy_pace.h"
#include "chunkd/core/disk_health.h"
#include "chunkd/core/label.h"
#include "chunkd/core/peers.h"
#include "chunkd/core/registration.h"
#include "chunkd/core/replica_table.h"
#include "chunkd/core/scrub.h"
#include "shared/env/rpc.h"

enum {
    SYNCS_MAX = 8, /* background syncs at a time */
};

/* A connection somebody made to us, or the one we made to the master. */
struct link {
    struct chunkd *c;
    struct rpc rpc;
    struct list list_link; /* in chunkd.links */
    uint32_t requests;     /* unanswered; the link lives as long */
    bool introduced;       /* it said hello */
    bool to_master;
    bool gone; /* the connection ended */
};

/* A wait for a store of the label. */
struct label_wait {
    struct list link;
    void (*done)(struct label_wait *w, int status);
};

struct chunkd {
    struct env *env;
    struct chunkd_config cfg;
    struct label label;
    struct env_file *label_file;
    struct table table;
    struct aside aside;
    struct meta_log meta;
    struct intent_ring ring;
    struct peers peers;
    struct registration master;
    struct disk_health health;
    struct label_wait failing_wait; /* of the store that keeps it */
    struct label_wait own_wait;     /* of the one that says that the disk is this process's */
    struct scrub scrub;
    uint64_t boot; /* random, of this process */
    /* Chunks from this handle on were made while this process was running; UINT64_MAX = no master has
     * said it yet. */
    uint64_t first_handle;
    uint32_t request_timeout_ms;
    struct list links;
    uint32_t link_count;
    struct list requests;
    uint64_t request_bytes;
    uint64_t last_request_ns; /* one began or ended */
    uint32_t running;         /* syncs and copies */
    struct copy_pace copy_pace;
    /* Bytes since the last heartbeat: for clients, into and out of copies. */
    uint64_t client_bytes, copied_in, copied_out;
    uint64_t requests_served; /* since the last heartbeat */
    struct env_timer flush_timer;
    uint32_t background_syncs;
    struct list sync_runs;
    uint64_t space_total, space_free, space_written; /* free as last asked, and written since */
    uint64_t reserve;
    bool started;
    /* The disk is so full that what the last process left could not be noted. Until it can, replicas are
     * served and nothing is written: label and ring stay as the last process left them. */
    bool crammed;
    struct meta_wait room_wait;
    /* A store of the label in progress, and requests that wait for it. */
    struct disk_op label_op;
    uint8_t label_bytes[LABEL_SLOT_BYTES];
    struct label label_next;   /* what is to be stored */
    struct label label_stored; /* what is being stored */
    bool label_busy;
    bool label_twice;         /* the second slot is being written */
    struct list label_waits;  /* of the store that comes next */
    struct list label_active; /* of the one in progress */
};

struct request {
    struct chunkd *c;
    struct link *link;
    struct list list_link; /* in chunkd.requests */
    struct frame_header head;
    struct slice body;
    struct slice payload;
    uint32_t charged; /* of request_bytes */
    /* Frees what the handler holds, cancelling calls; no I/O, no answers. Runs from request_end, or
     * when the chunkserver is destroyed. NULL = nothing. */
    void (*release)(struct request *q);
};

/* Makes a request of `size` bytes (a struct that begins with struct request) from a message. */
void *request_begin(struct link *l, struct message *m, size_t size);
void request_end(struct request *q); /* frees it; it was answered */
void request_answer(struct request *q, int status, struct slice body, struct slice *payload);
static inline void request_fail(struct request *q, int status)
{
    request_answer(q, status, (struct slice){0}, NULL);
    request_end(q);
}
/* Answer without having begun: the handler refuses at sight. */
void link_refuse(struct link *l, const struct message *m, int status);

/* Connections. */
struct link *link_new(struct chunkd *c);
void link_dial(struct link *l, const char *addr, const struct rpc_events *ev); /* to the master */
void link_close(struct link *l); /* hangs up; freed when its requests ended */
void links_accept(void *owner, struct env_conn *conn);
void links_close(struct chunkd *c);
/* A request of the master's connection. */
void master_request(struct link *l, struct message *m);

/* Handlers: each takes the message, answers now or later. */
void read_handle(struct link *l, struct message *m);     /* replica_read.c */
void read_raw_handle(struct link *l, struct message *m); /* replica_read.c */
void vector_handle(struct link *l, struct message *m);   /* replica_read.c */
void seek_handle(struct link *l, struct message *m);     /* replica_read.c */
void write_handle(struct link *l, struct message *m);    /* mutation.c */
void forward_handle(struct link *l, struct message *m);  /* mutation.c */
void sync_handle(struct link *l, struct message *m);     /* mutation_sync.c */
void sync_replica_handle(struct link *l, struct message *m);
void prepare_handle(struct link *l, struct message *m); /* version.c */
void activate_handle(struct link *l, struct message *m);
void drop_replicas_handle(struct link *l, struct message *m);
void verify_replica_handle(struct link *l, struct message *m);
void pull_handle(struct link *l, struct message *m); /* copy.c */

/* True once the master gave this disk a cluster and a geometry. */
bool chunkd_is_registered(const struct chunkd *c);
bool chunkd_has_lease(const struct chunkd *c);
/* 0, or -ENOSPC if `bytes` more would go below the reserve. growth: the chunk gets longer. */
MUST_CHECK int chunkd_check_space(struct chunkd *c, uint32_t bytes, bool growth);
void chunkd_ask_space(struct chunkd *c);
uint64_t chunkd_space_avail(const struct chunkd *c); /* bytes free for chunks */
/* Marks the block, tells the master, logs: its bytes do not match, or cannot be read. Again of a
 * block that is marked: nothing. */
void chunkd_found_bad(struct chunkd *c, struct local_replica *r, uint32_t block);
void chunkd_found_unreadable(struct chunkd *c, struct local_replica *r, uint32_t block, int err);

/* The label as it will be stored next: change it, then ask for the store. */
struct label *chunkd_next_label(struct chunkd *c);
/* Stores it durably; then w->done runs. */
void chunkd_store_label(struct chunkd *c, struct label_wait *w);

#endif
