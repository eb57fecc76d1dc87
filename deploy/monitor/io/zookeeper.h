/* zookeeper.h - a keeper (core/keeper.h) that is ZooKeeper, by its single-threaded library.
 *
 * The library runs on the process's loop: a loop that stands still sends nothing, so a session never
 * outlives a monitor that hangs. What the library says to do next (a descriptor, what to wait for, how
 * long) is put into an epoll descriptor of ours, because it closes its own ones when it likes. Closing
 * may take a few seconds if a server is there that does not answer.
 */
#ifndef DEPLOY_MONITOR_IO_ZOOKEEPER_H
#define DEPLOY_MONITOR_IO_ZOOKEEPER_H

#include <uv.h>
#include <zookeeper/zookeeper.h>

#include "deploy/monitor/core/keeper.h"
#include "shared/env/env.h"

struct zookeeper {
    struct keeper keeper;
    struct env *env; /* for the log and timers */
    const char *servers;
    const char *rights; /* "USER:PASSWORD"; empty = everybody may do everything */
    uint32_t session_ms;
    const struct keeper_events *events;
    void *owner;
    zhandle_t *session; /* NULL = none */
    struct keeper_call *call;
    zoo_op_result_t results[2]; /* of a replacement with a proof */
    struct Stat stat;
    bool inside;           /* the library runs; a session is not closed meanwhile */
    bool called;           /* meanwhile something was asked for */
    bool unsent;           /* the call was not even sent */
    bool again;            /* a new session is to be begun */
    int waits;             /* the epoll descriptor */
    int watched;           /* the library's descriptor that is in it, -1 = none */
    uint64_t dial_ns;      /* no server is dialled before */
    struct env_timer turn; /* the library wants to run */
    struct env_timer fail; /* the call was not sent, or is not answered */
    uv_poll_t *poll;       /* NULL = not open */
};

/* `servers` = HOST:PORT[,HOST:PORT]; the strings must outlive it. */
MUST_CHECK int zookeeper_keeper_open(struct zookeeper *z, struct env *env, uv_loop_t *loop,
                                     const char *servers, const char *rights, uint32_t session_ms,
                                     struct why *why);
void zookeeper_keeper_close(struct zookeeper *z);

#endif
