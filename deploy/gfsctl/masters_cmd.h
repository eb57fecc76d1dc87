/* masters_cmd.h - the masters of the cluster and who watches them, as one of them tells it. */
#ifndef DEPLOY_GFSCTL_MASTERS_CMD_H
#define DEPLOY_GFSCTL_MASTERS_CMD_H

#include "deploy/gfsctl/gfsctl.h"
#include "shared/base/limits.h"

enum { MASTERS_SEEN_MAX = 16 };

struct master_seen {
    char addr[ADDR_LEN_MAX + 1];
    struct master_status status; /* without its addr */
};

struct masters_seen {
    uint32_t count;
    struct master_seen all[MASTERS_SEEN_MAX];
    char monitor[ADDR_LEN_MAX + 1]; /* HOST:PORT; empty = none was heard of */
    uint64_t monitor_ms;            /* since it was; UINT64_MAX = never */
    bool watched;                   /* it holds the lock */
};

/* 0, or EXIT_FAILED after a sentence. */
MUST_CHECK int masters_ask(struct session *s, struct masters_seen *out);
void masters_print(const struct masters_seen *m);
void masters_json(struct json *j, const struct masters_seen *m); /* members masters, monitor */

int cmd_handover(struct call *c);

#endif
