/* log_mender.c - fetches what is missing in the middle of this log from other masters. */
#include "master/core/log_mender.h"
#include "master/core/record.h"
#include "shared/base/mem.h"

#include <string.h>

enum {
    LOOK_MS = 250,
    FETCHED_MAX = 80 << 20, /* bytes of one hole: a segment of the usual size */
};

struct log_mender {
    struct env *env;
    struct oplog *log;
    struct logger *logger;
    struct log_links *links;
    struct env_timer timer;
    struct rpc_call read;
    uint32_t turn;        /* which hole of whom is tried next */
    uint32_t number;      /* the master that is asked */
    struct log_hole hole; /* that is fetched */
    uint64_t next;        /* first record that is still missing */
    struct writer fetched;
};

/* Holes that records of others may fill. */
static uint32_t holes_of(const struct log_mender *d, struct log_hole out[LOG_HOLES_MAX])
{
    if (!oplog_damaged(d->log)) {
        return oplog_rot(d->log, out);
    }
    struct log_answer now = oplog_findings(d->log);
    memcpy(out, now.holes, sizeof(now.holes));
    return now.hole_count;
}

static void give_up(struct log_mender *d, const char *what)
{
    env_log(d->env, LOG_WARN, "records %llu to %llu cannot be had from master %s: %s",
            (unsigned long long)d->hole.from, (unsigned long long)d->hole.to,
            log_links_set(d->links)->addr[d->number], what);
    writer_free(&d->fetched);
}

static void mend(struct log_mender *d)
{
    struct why why;
    struct log_hole holes[LOG_HOLES_MAX];
    uint32_t count = holes_of(d, holes);
    bool still = false;
    for (uint32_t i = 0; i < count; i++) {
        still |= holes[i].from == d->hole.from && holes[i].to == d->hole.to;
    }
    if (!still || (oplog_damaged(d->log) && !oplog_quiet(d->log))) {
        writer_free(&d->fetched);
        return;
    }
    logger_will_cut(d->logger);
    int rc = oplog_mend(d->log, writer_bytes(&d->fetched), &why);
    if (rc != 0) {
        give_up(d, why.text);
        return;
    }
    env_log(d->env, LOG_WARN, "operation log is mended: records %llu to %llu came from master %s%s",
            (unsigned long long)d->hole.from, (unsigned long long)d->hole.to,
            log_links_set(d->links)->addr[d->number],
            holes_of(d, holes) > 0 ? "; there is more to mend" : "");
    writer_free(&d->fetched);
}

/* The records of a piece up to the end of the hole. */
static uint32_t wanted_of(const struct log_mender *d, struct bytes in, uint64_t *out_next)
{
    uint32_t len = 0;
    while (len < in.len && *out_next <= d->hole.to) {
        struct record rec;
        struct why why;
        bool header_good;
        if (record_decode(bytes_of(in.data + len, in.len - len), &rec, &header_good, &why) != 0 ||
            rec.index != *out_next) {
            return 0;
        }
        len += record_size(&rec);
        ++*out_next;
    }
    return len;
}

static void ask(struct log_mender *d);

static void read_done(struct rpc_call *c)
{
    struct log_mender *d = c->owner;
    struct log_read_rep rep;
    int status = RPC_REPLY(log_read, c, &rep);
    if (status != 0) {
        give_up(d, err_text(status));
        return;
    }
    struct bytes in = slice_bytes(&c->reply->payload);
    uint32_t len = wanted_of(d, in, &d->next);
    if (len == 0 || d->fetched.len + len > FETCHED_MAX) {
        give_up(d, len == 0 ? "it lacks them" : "they are too many");
        return;
    }
    writer_raw(&d->fetched, in.data, len);
    if (d->next > d->hole.to) {
        mend(d);
    } else {
        ask(d);
    }
}

static void ask(struct log_mender *d)
{
    d->read.done = read_done;
    d->read.owner = d;
    log_links_read(d->links, d->number, &d->read, d->next);
}

static void timer_fired(struct env_timer *t)
{
    struct log_mender *d = container_of(t, struct log_mender, timer);
    env_timer_set(d->env, t, LOOK_MS * NS_PER_MS);
    struct log_hole holes[LOG_HOLES_MAX];
    uint32_t count = holes_of(d, holes);
    const struct log_set *set = log_links_set(d->links);
    if (count == 0 || rpc_call_running(&d->read)) {
        return;
    }
    d->turn++;
    d->number = d->turn % set->count;
    d->hole = holes[d->turn / set->count % count];
    if (d->number != set->self && log_links_up(d->links, d->number)) {
        d->next = d->hole.from;
        writer_free(&d->fetched);
        ask(d);
    }
}

struct log_mender *log_mender_create(struct env *env, struct oplog *log, struct logger *logger,
                                     struct log_links *links)
{
    struct log_mender *d = mem_new(struct log_mender);
    d->env = env;
    d->log = log;
    d->logger = logger;
    d->links = links;
    writer_init(&d->fetched);
    d->timer.fire = timer_fired;
    env_timer_set(env, &d->timer, LOOK_MS * NS_PER_MS);
    return d;
}

void log_mender_destroy(struct log_mender *d)
{
    if (d != NULL) {
        env_timer_stop(d->env, &d->timer);
        rpc_cancel(&d->read);
        writer_free(&d->fetched);
        mem_free(d);
    }
}
