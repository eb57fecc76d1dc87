/* replicate_internal.h - what the files of replication share. Only replicate*.c include it. */
#ifndef MASTER_CORE_REPLICATE_INTERNAL_H
#define MASTER_CORE_REPLICATE_INTERNAL_H

#include "master/core/log_match.h"
#include "master/core/oplog_cursor.h"
#include "master/core/replicate.h"

enum {
    FLIGHTS_MAX = 4,            /* requests with records under way to one logger */
    RECENT_MAX = 128,           /* batches kept for those in step */
    RECENT_BYTES_MAX = 8 << 20, /* the newest is kept whatever its size */
    APPEND_MS = 3000,           /* a logger that does not answer in this time is dialled again */
    BEAT_MS = 200,              /* something goes to every logger so often */
    TELL_MS = 5,                /* what was committed is told so soon */
    SHUT_MS = 2000,             /* the read gate was shut for so long: nobody is served */
    SHUT_FIRST_MS = 20000,      /* and it never opened */
    BEHIND_MS = 5000,           /* an operator is told of a logger */
};

/* A batch that was handed to the disk. */
struct recent {
    struct slice records;
    uint64_t first, last;
    uint64_t prev_chain, chain;
};

struct flight {
    struct rpc_call call;
    struct follower *to;
    uint64_t sent_ns;
};

enum follower_state {
    FOLLOWER_AWAY,
    FOLLOWER_ASKED,   /* for what it has, or it is asked again soon */
    FOLLOWER_IN_STEP, /* it has our records to `durable`, those to `sent` are on the way */
};

/* Another logger. */
struct follower {
    struct replicate *r;
    uint32_t number;
    enum follower_state state;
    uint64_t durable;
    uint64_t sent;
    uint64_t sent_chain;     /* H(sent) */
    uint64_t told_committed; /* in the newest request */
    uint64_t sent_ns;        /* of the newest request */
    uint64_t heard_ns;       /* of the newest answer; 0 = never */
    uint64_t lease_ns;       /* until then it promises no other epoch */
    uint64_t good_ns;        /* when it last had nearly all */
    bool missed;             /* the log has a line about it */
    struct flight flights[FLIGHTS_MAX];
    uint32_t flying;
    struct rpc_call ask; /* promise, cut, yield */
    struct log_match match;
    struct env_timer again;
    struct oplog_cursor *cursor;
    uint64_t cursor_next;
};

struct replicate {
    struct replicate_config cfg;
    const struct log_set *set;
    uint32_t epoch;
    uint64_t opening; /* index of the record that opens the epoch */
    uint64_t serial;
    bool ended;       /* deposed or yielding */
    bool asked;       /* to yield */
    uint64_t shut_ns; /* since when the gate is shut; 0 = it is open */
    bool was_open;
    uint64_t mark;                          /* what was committed a beat ago */
    struct follower followers[LOGGERS_MAX]; /* by number; the own one is not used */
    struct recent recent[RECENT_MAX];       /* a ring */
    uint32_t recent_at, recent_count;
    uint64_t recent_bytes;
    struct env_timer beat;
    struct env_timer tell;
    struct log_watch watch;
    uint32_t yielding; /* loggers that have not answered */
    struct env_timer yield_end;
    void (*yielded)(void *owner);
    void *yielded_owner;
};

/* ---- replicate.c */

void replicate_depose(struct replicate *r, enum deposed why, uint32_t epoch);
/* Counts what the logs hold. */
void replicate_count(struct replicate *r);
/* A logger has answered a request sent at sent_ns: it promises nobody else for a while. */
void replicate_heard(struct follower *f, uint64_t sent_ns);

/* ---- replicate_send.c: records on their way to one logger */

/* What was handed to the disk; for oplog_on_batch. */
void replicate_batch(void *owner, const struct oplog_batch *b);
/* Sends what it lacks, as far as it may. */
void replicate_pump(struct follower *f);
/* An empty request, if none is on its way. */
void replicate_beat(struct follower *f);
void replicate_drop_recent(struct replicate *r, bool all);
/* Nothing is on its way to it any more. */
void replicate_stop_sending(struct follower *f);

/* ---- replicate_join.c: bringing one logger into step */

void replicate_ask(struct follower *f);
void replicate_ask_again(struct follower *f, uint32_t after_ms);
void replicate_away(struct follower *f);
/* What it needs next is not held here any more: a request it must refuse tells it so. */
void replicate_too_old(struct follower *f);

#endif
