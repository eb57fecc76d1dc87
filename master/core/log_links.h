/* log_links.h - the masters of a set, and a connection of this one to each of the others.
 *
 * Every master dials every other and says hello as one; what one asks of another goes over its own
 * connection. A link that fails is dialled again, for ever, with a pause. A logger of another
 * cluster is refused and named in the log. Pure; loop thread only.
 */
#ifndef MASTER_CORE_LOG_LINKS_H
#define MASTER_CORE_LOG_LINKS_H

#include "master/core/log_rule.h"
#include "shared/base/limits.h"
#include "shared/env/rpc.h"

/* Numbers are positions in the list of masters, the same at all of them. */
struct log_set {
    uint32_t count; /* N; 0 and 1: alone */
    uint32_t self;  /* number of this master */
    uint32_t acks;  /* W: a record is committed when so many logs have it */
    char addr[LOGGERS_MAX][ADDR_LEN_MAX + 1]; /* HOST:PORT others dial */
};

/* What another master said in its newest hello. */
struct log_peer {
    uint64_t cluster; /* 0 = it does not know yet */
    uint32_t role;    /* MASTER_* */
    uint32_t epoch;
    char primary[ADDR_LEN_MAX + 1]; /* empty = it knows none */
};

struct log_links;

/* Somebody who wants to know of links that came up or went down. Embedded in its owner. */
struct log_watch {
    struct list link;
    void (*changed)(struct log_watch *w, uint32_t number, bool up);
};

/* `set` and `cluster` (the id others must have; 0 = not known yet, any) must live as long. */
struct log_links *log_links_create(struct env *env, const struct log_set *set,
                                   const char *cluster_name, const uint64_t *cluster);
void log_links_destroy(struct log_links *l); /* NULL is fine */
void log_links_start(struct log_links *l);   /* dials all */

const struct log_set *log_links_set(const struct log_links *l);
void log_links_watch(struct log_links *l, struct log_watch *w); /* w->changed is set */
void log_links_unwatch(struct log_watch *w);

bool log_links_up(const struct log_links *l, uint32_t number);
/* NULL while it is down. */
const struct log_peer *log_links_peer(const struct log_links *l, uint32_t number);
/* A request to another master, as rpc_call; ERR_DISCONNECTED if it is away. Takes the references of
 * body and payload. */
void log_links_call(struct log_links *l, uint32_t number, struct rpc_call *call, enum op_code op,
                    uint32_t epoch, struct slice body, struct slice *payload, uint32_t timeout_ms);
/* Asks it for records from `from` on (log_read). */
void log_links_read(struct log_links *l, uint32_t number, struct rpc_call *call, uint64_t from);
/* It does not answer: another connection is made. All its calls end. */
void log_links_redial(struct log_links *l, uint32_t number);

#endif
