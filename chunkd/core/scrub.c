/* scrub.c - the idle scan: which replica comes next, and when.
 *
 * items[at..count) are still to be read in this round; those that could not be read yet are moved
 * to the front, items[0..kept), and make the next round. A round in which nothing could be read is
 * followed by a pause; after some of them the pass ends without the rest.
 */
#include "chunkd/core/scrub.h"
#include "chunkd/core/core.h"
#include "shared/base/mem.h"

#include <stdlib.h>

enum {
    STEP_ITEMS = 256, /* looked at in one turn of the loop */
    EMPTY_MS = 1000,  /* between looks at an empty disk, and between idle rounds */
    IDLE_ROUNDS_MAX = 30,
    QUIET_MS = 10000,     /* a replica not written for so long is not being written */
    CLIENT_MS = 20,       /* clients count as served for so long after a request */
    YIELD_MS = 10,        /* until it is looked again whether they are */
    FORCED_YIELD_MS = 50, /* a forced pass waits for clients no longer */
    PLAN_PERCENT = 90,    /* of the period a pass is to take */
    LATE_SHARE = 200,     /* behind by this part of the period, clients are not waited for */
    REPLAN_MS = 60000,
};

static void fire(struct env_timer *t);

static void arm(struct scrub *s, uint64_t ns)
{
    s->timer.fire = fire;
    env_timer_set(s->c->env, &s->timer, ns);
}

/* ---------------------------------------------------------------- plan */

static uint64_t age_s(const struct scrub *s, uint32_t verified_s)
{
    uint64_t now = wall_clock_s(s->c->env);
    return now > verified_s ? now - verified_s : 0;
}

/* Time the plan gives to `bytes` of the pass. */
static uint64_t share_ns(const struct scrub *s, uint64_t bytes)
{
    double plan = (double)s->period_ns * PLAN_PERCENT / 100;
    return (uint64_t)(plan * ((double)bytes / (double)MAX(s->total, 1u)));
}

static bool clients_are_served(const struct chunkd *c)
{
    return !list_empty(&c->requests) ||
           env_mono_ns(c->env) - c->last_request_ns < CLIENT_MS * NS_PER_MS;
}

static uint64_t until(uint64_t now, uint64_t then)
{
    return then > now ? then - now : 0;
}

static uint64_t forced_wait_ns(const struct scrub *s)
{
    uint64_t rest = s->piece.took_ns * (100 - s->share) / s->share;
    if (clients_are_served(s->c)) {
        rest = MAX(rest, FORCED_YIELD_MS * NS_PER_MS);
    }
    uint64_t wait = until(env_mono_ns(s->c->env), s->piece_ns + rest);
    return MIN(wait, YIELD_MS * NS_PER_MS); /* clients may be done before */
}

/* How long to wait before `bytes` of the item are read. */
static uint64_t wait_ns(const struct scrub *s, const struct scrub_item *item, uint32_t bytes)
{
    if (s->forced) {
        return forced_wait_ns(s);
    }
    uint64_t now = env_mono_ns(s->c->env);
    uint64_t cost = share_ns(s, bytes);
    uint64_t due = s->due_ns + cost;
    if (age_s(s, item->verified_s) * NS_PER_S > s->period_ns) {
        due = MIN(due, s->piece_ns + cost / 4); /* it should have been read already */
    }
    if (now < due) {
        return MIN(due - now, REPLAN_MS * NS_PER_MS);
    }
    if (!clients_are_served(s->c)) {
        return 0;
    }
    if (now - due < s->period_ns / LATE_SHARE) {
        return YIELD_MS * NS_PER_MS;
    }
    return until(now, s->piece_ns + cost / 2);
}

/* ---------------------------------------------------------------- passes */

static int by_age(const void *a, const void *b)
{
    const struct scrub_item *x = a;
    const struct scrub_item *y = b;
    if (x->verified_s != y->verified_s) {
        return x->verified_s < y->verified_s ? -1 : 1;
    }
    return x->handle < y->handle ? -1 : x->handle > y->handle;
}

static void drop_items(struct scrub *s)
{
    mem_free(s->items);
    s->items = NULL;
    s->count = s->at = s->kept = 0;
}

static void begin_pass(struct scrub *s, bool forced)
{
    const struct table *t = &s->c->table;
    drop_items(s);
    s->items = mem_alloc((t->replicas.count + 1) * sizeof(*s->items));
    s->done = s->total = 0;
    hmap_for_each (it, &t->replicas) {
        const struct local_replica *r = container_of(it, struct local_replica, node);
        if (!r->dropped) {
            s->items[s->count++] = (struct scrub_item){
                .handle = r->handle, .verified_s = r->verified_s, .length = r->length};
            s->total += r->length;
        }
    }
    qsort(s->items, s->count, sizeof(*s->items), by_age);
    s->pass++;
    s->forced = forced;
    s->progress = false;
    s->idle_rounds = 0;
    s->begin_ns = s->due_ns = env_mono_ns(s->c->env);
    if (forced) {
        s->piece_ns = s->begin_ns;
        s->found_before = t->found_bad;
        s->repaired_before = t->repaired;
    }
}

static void end_pass(struct scrub *s)
{
    const struct table *t = &s->c->table;
    drop_items(s);
    s->ended = s->pass;
    uint64_t now = env_mono_ns(s->c->env);
    if (s->forced) {
        env_log(s->c->env, LOG_INFO, "verified all replicas: %llu bytes, %llu damaged blocks found",
                (unsigned long long)s->done, (unsigned long long)(t->found_bad - s->found_before));
        s->forced = false;
        arm(s, 0);
        return;
    }
    /* One that took no time, because there was nothing to read, must not be repeated at once. */
    arm(s, until(now, s->begin_ns + MAX(s->period_ns / 100, EMPTY_MS * NS_PER_MS)));
}

/* At the end of a round: false if the pass has ended. */
static bool next_round(struct scrub *s)
{
    bool pause = !s->progress;
    s->idle_rounds = pause ? s->idle_rounds + 1 : 0;
    if (s->kept == 0 || s->idle_rounds > IDLE_ROUNDS_MAX) {
        end_pass(s);
        return false;
    }
    s->count = s->kept;
    s->at = s->kept = 0;
    s->progress = false;
    if (pause) {
        arm(s, EMPTY_MS * NS_PER_MS);
    }
    return !pause;
}

/* ---------------------------------------------------------------- items */

/* The item's replica is to be looked at in the next round. */
static void keep_item(struct scrub *s)
{
    s->items[s->kept++] = s->items[s->at++];
}

/* Nothing more is to be read of it. */
static void end_item(struct scrub *s)
{
    uint64_t left = s->items[s->at++].length;
    s->total -= MIN(left, s->total);
    s->total = MAX(s->total, s->done);
}

static void finish_item(struct scrub *s, struct local_replica *r)
{
    end_item(s);
    replica_mark_verified(r);
    scrub_tell_verified(s, r);
}

/* Can its bytes be judged, and is it worth it now? */
static bool is_ripe(const struct scrub *s, const struct local_replica *r,
                    const struct scrub_item *item)
{
    if (r->state != REPLICA_OK || !r->active || r->copying) {
        return false;
    }
    bool written = !list_empty(&r->dirty_link) &&
                   env_mono_ns(s->c->env) - r->last_write_ns < QUIET_MS * NS_PER_MS;
    bool overdue = age_s(s, item->verified_s) * NS_PER_S > s->period_ns;
    return s->forced || !written || overdue;
}

static uint32_t piece_bytes(const struct scrub *s, const struct local_replica *r, uint32_t block)
{
    enum { PIECE = 256 << 10 };
    uint64_t at = (uint64_t)block * s->c->table.block_bytes;
    return (uint32_t)MIN(r->length - at, (uint64_t)PIECE);
}

/* Looks at the item at hand. False: nothing more is to be done in this turn. */
static bool step(struct scrub *s)
{
    if (s->at == s->count) {
        return next_round(s);
    }
    struct scrub_item *item = &s->items[s->at];
    struct local_replica *r = table_get(&s->c->table, item->handle);
    if (r == NULL || r->failed) {
        end_item(s);
        return true;
    }
    if (!is_ripe(s, r, item)) {
        keep_item(s);
        return true;
    }
    if (item->block >= replica_blocks(r)) {
        s->progress = true;
        finish_item(s, r);
        return true;
    }
    uint64_t wait = wait_ns(s, item, piece_bytes(s, r, item->block));
    if (wait > 0) {
        arm(s, wait);
        return false;
    }
    scrub_piece_begin(s, r, item->block);
    return false;
}

static void fire(struct env_timer *t)
{
    struct scrub *s = container_of(t, struct scrub, timer);
    if (s->piece.running) {
        return; /* its end goes on */
    }
    if (s->held) {
        arm(s, EMPTY_MS * NS_PER_MS);
        return;
    }
    if (s->items == NULL) {
        if (s->c->table.count == 0 || s->c->table.block_bytes == 0) {
            arm(s, EMPTY_MS * NS_PER_MS);
            return;
        }
        begin_pass(s, false);
    }
    for (uint32_t n = 0; n < STEP_ITEMS; n++) {
        if (!step(s)) {
            return;
        }
    }
    arm(s, 0);
}

void scrub_piece_ended(struct scrub *s, enum scrub_outcome outcome, uint32_t next)
{
    const struct scrub_piece *p = &s->piece;
    if (s->stopped) {
        return;
    }
    s->piece_ns = env_mono_ns(s->c->env);
    arm(s, 0);
    if (p->pass != s->pass) {
        return; /* another pass began meanwhile */
    }
    if (outcome == SCRUB_LATER) {
        keep_item(s);
    } else if (outcome == SCRUB_GONE) {
        end_item(s);
    } else {
        struct scrub_item *item = &s->items[s->at];
        s->progress = true;
        item->block = next;
        item->length -= MIN(p->bytes, item->length);
        s->done += p->bytes;
        s->total = MAX(s->total, s->done);
        s->due_ns += share_ns(s, p->bytes);
    }
}

void scrub_begin_forced(struct scrub *s)
{
    if (!s->forced) {
        begin_pass(s, true);
        if (!s->piece.running) {
            arm(s, 0);
        }
    }
}

/* ---------------------------------------------------------------- state */

static bool counts(const struct scrub *s, const struct scrub_item *item)
{
    const struct local_replica *r = table_get(&s->c->table, item->handle);
    return r != NULL && !r->failed && r->state == REPLICA_OK;
}

/* Items are in the order of their age, those kept for another round too. */
static uint32_t oldest(const struct scrub *s, uint64_t from, uint64_t to, uint32_t best)
{
    for (uint64_t i = from; i < MIN(to, from + STEP_ITEMS); i++) {
        if (counts(s, &s->items[i])) {
            return MIN(best, s->items[i].verified_s);
        }
    }
    return best;
}

static uint64_t oldest_ms(const struct scrub *s)
{
    uint32_t none = wall_clock_s(s->c->env);
    uint32_t at = oldest(s, 0, s->kept, none);
    at = oldest(s, s->at, s->count, at);
    if (s->items == NULL && s->c->table.count > 0) { /* all that is here was verified since */
        uint64_t since = (env_mono_ns(s->c->env) - s->begin_ns) / NS_PER_S;
        at = s->pass > 0 && since < none ? none - (uint32_t)since : none;
    }
    return at == 0 ? UINT64_MAX : age_s(s, at) * 1000;
}

static uint64_t late_ms(const struct scrub *s)
{
    uint64_t now = env_mono_ns(s->c->env);
    if (s->at == s->count || s->idle_rounds > 0) {
        return 0;
    }
    const struct local_replica *r = table_get(&s->c->table, s->items[s->at].handle);
    if (r == NULL || r->length == 0) {
        return 0;
    }
    uint64_t since = s->forced ? s->piece_ns : s->due_ns + share_ns(s, MIN(r->length, 256u << 10));
    return until(since, now) / NS_PER_MS;
}

struct scrub_state scrub_state(struct scrub *s)
{
    const struct table *t = &s->c->table;
    struct scrub_state out = {.pass = s->pass,
                              .forced = s->forced,
                              .ended = s->ended,
                              .done = s->done,
                              .total = s->total,
                              .found = t->found_bad,
                              .repaired = t->repaired,
                              .disk_errors = s->c->health.errors,
                              .oldest_ms = oldest_ms(s),
                              .period_ms = s->period_ns / NS_PER_MS,
                              .late_ms = late_ms(s)};
    list_for_each (it, &t->damaged) {
        const struct local_replica *r = list_entry(it, struct local_replica, damaged_link);
        if (!r->dropped) {
            out.damaged += r->bad_count;
            out.failed += r->failed;
        }
    }
    return out;
}

/* ---------------------------------------------------------------- life */

void scrub_init(struct scrub *s, struct chunkd *c)
{
    uint32_t period = c->cfg.scrub_period_s != 0 ? c->cfg.scrub_period_s : SCRUB_PERIOD_S;
    uint32_t share = c->cfg.scrub_share != 0 ? c->cfg.scrub_share : SCRUB_SHARE;
    *s = (struct scrub){.c = c, .period_ns = period * NS_PER_S, .share = MIN(share, 100u)};
}

void scrub_start(struct scrub *s)
{
    arm(s, 0);
    scrub_tell_start(s);
}

void scrub_stop(struct scrub *s)
{
    s->stopped = true;
    env_timer_stop(s->c->env, &s->timer);
    env_timer_stop(s->c->env, &s->tell_timer);
}

void scrub_release(struct scrub *s)
{
    scrub_stop(s);
    drop_items(s);
    buf_unref(s->piece.buf);
    s->piece.buf = NULL;
}
