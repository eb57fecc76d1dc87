/* follow.c - a shadow: applies the committed records of its own log to its state. */
#include "master/core/follow.h"
#include "master/core/master_internal.h"
#include "master/core/oplog_cursor.h"
#include "shared/base/mem.h"

#include <stdio.h>
#include <string.h>

/* Records as they came. */
struct kept {
    struct list link;
    uint64_t first, last;
    uint32_t len;
    uint8_t data[];
};

static void kept_free(struct follow *f, struct kept *k)
{
    list_remove(&k->link);
    f->kept_bytes -= k->len;
    mem_free(k);
}

static void forget(struct follow *f)
{
    oplog_cursor_close(f->cursor);
    f->cursor = NULL;
    list_for_each_safe (it, &f->kept) {
        kept_free(f, list_entry(it, struct kept, link));
    }
}

static struct kept *kept_new(struct follow *f, uint64_t first, uint64_t last, struct bytes records)
{
    struct kept *k = mem_alloc(sizeof(*k) + records.len);
    list_init(&k->link);
    k->first = first;
    k->last = last;
    k->len = records.len;
    memcpy(k->data, records.data, records.len);
    f->kept_bytes += k->len;
    return k;
}

/* Records of others are in the log now. */
static void on_records(void *owner, struct bytes records)
{
    struct master *m = owner;
    struct follow *f = &m->follow;
    struct record first;
    struct why ignored;
    bool header_good;
    if (m->primary || m->stateless || f->kept_bytes + records.len > FOLLOW_KEPT_BYTES_MAX) {
        return; /* read back when their turn comes */
    }
    int rc = record_decode(records, &first, &header_good, &ignored);
    ASSERT(rc == 0);
    list_push_back(&f->kept, &kept_new(f, first.index, oplog_last(m->log), records)->link);
}

/* ---------------------------------------------------------------- applying */

static int apply(struct master *m, const struct record *r, struct why *why)
{
    struct commit *c = &m->commit;
    if (r->index != c->applied + 1 || r->prev_chain != c->chain) {
        return why_set(
            why, ERR_CORRUPT,
            "record %llu on chain %#llx does not follow %llu, %#llx, which the state has",
            (unsigned long long)r->index, (unsigned long long)r->prev_chain,
            (unsigned long long)c->applied, (unsigned long long)c->chain);
    }
    int rc = ns_apply_record(m->ns, r, why);
    c->time_ns = r->time_ns;
    c->applied = r->index;
    c->chain = r->chain;
    c->uncommitted++;
    m->epoch = r->epoch;
    return rc;
}

/* Applies records up to `limit`, until `until_ns` or until LMDB is to commit. *out_all: there is no
 * record after the last one applied here. */
static int apply_records(struct master *m, struct bytes in, uint64_t limit, uint64_t until_ns,
                         bool *out_all, struct why *why)
{
    *out_all = false;
    while (in.len > 0) {
        struct record r;
        bool header_good;
        int rc = record_decode(in, &r, &header_good, why);
        if (rc == 0 && r.index > limit) {
            return 0;
        }
        if (rc == 0 && r.index > m->commit.applied) {
            rc = apply(m, &r, why);
        }
        if (rc < 0) {
            return rc;
        }
        in = bytes_of(in.data + record_size(&r), in.len - record_size(&r));
        if (commit_full(m)) {
            commit_followed(m);
        }
        if (in.len > 0 && env_mono_ns(m->env) >= until_ns) {
            return 0;
        }
    }
    *out_all = true;
    return 0;
}

/* The records after those applied, as far as they lie in one piece: 1, or 0 if there are none; a
 * negative error if they cannot be read. */
static int next_records(struct master *m, struct bytes *out, struct kept **out_kept,
                        struct why *why)
{
    struct follow *f = &m->follow;
    uint64_t next = m->commit.applied + 1;
    struct oplog_piece piece;
    if (f->cuts != oplog_cuts(m->log)) {
        forget(f);
        f->cuts = oplog_cuts(m->log);
    }
    *out_kept = NULL;
    while (!list_empty(&f->kept)) {
        struct kept *k = list_entry(f->kept.next, struct kept, link);
        if (k->last < next) {
            kept_free(f, k);
            continue;
        }
        if (k->first <= next) {
            if (f->cursor_next != k->last + 1) { /* it is not of use after k */
                oplog_cursor_close(f->cursor);
                f->cursor = NULL;
            }
            *out_kept = k;
            *out = bytes_of(k->data, k->len);
            return 1;
        }
        break;
    }
    if (f->cursor == NULL || f->cursor_next != next) {
        oplog_cursor_close(f->cursor);
        f->cursor = NULL;
        int rc = oplog_cursor_open(m->log, next, &f->cursor, why);
        if (rc < 0) {
            return rc;
        }
    }
    int rc = oplog_cursor_next(f->cursor, &piece, why);
    if (rc == 1) {
        f->cursor_next = piece.last + 1;
        *out = piece.records;
    }
    return rc;
}

/* The state is not what the records make of it, or cannot be continued. What was checkpointed since
 * the hash was right the last time may be wrong, too. */
static void give_up(struct master *m, const struct why *why)
{
    struct checkpoint_ref refs[CHECKPOINTS_LISTED_MAX];
    struct why ignored;
    uint64_t right = m->commit.applied - MIN(m->commit.applied, STATE_HASH_EVERY + 1ull);
    char reason[sizeof(why->text) + 64];
    int count = master_in_set(m) ? checkpoint_list(m->env, refs, &ignored) : 0;
    for (int i = 0; i < count; i++) {
        if (refs[i].at.index > right) {
            env_log(m->env, LOG_WARN, "checkpoint %llu may have the same fault and is removed",
                    (unsigned long long)refs[i].at.index);
            checkpoint_remove(m->env, &refs[i]);
        }
    }
    snprintf(reason, sizeof(reason), "the state is given up and built anew: %s", why->text);
    store_abandon(m->store, reason);
}

/* One turn: true if there is more to do at once. */
static bool turn(struct master *m, uint64_t limit, uint64_t until_ns)
{
    struct why why = {0};
    while (m->commit.applied < limit) {
        struct bytes in;
        struct kept *k;
        bool all = false;
        int rc = next_records(m, &in, &k, &why);
        if (rc == 0) {
            return false;
        }
        if (rc < 0 && master_in_set(m) && oplog_rot_at(m->log, m->commit.applied + 1)) {
            return false; /* it is mended from the others, and follow_tick goes on then */
        }
        if (rc < 0) {
            env_log(m->env, LOG_ERROR, "%s", why.text);
            env_die(m->env, "the operation log cannot be read");
        }
        if (apply_records(m, in, limit, until_ns, &all, &why) < 0) {
            give_up(m, &why);
        }
        if (all && k != NULL) {
            kept_free(&m->follow, k);
        } else if (!all && k == NULL) { /* the rest of the piece has its turn later */
            k = kept_new(&m->follow, m->commit.applied + 1, m->follow.cursor_next - 1, in);
            list_push_front(&m->follow.kept, &k->link);
        }
        if (env_mono_ns(m->env) >= until_ns) {
            return m->commit.applied < limit;
        }
    }
    return false;
}

static void follow_on(struct master *m)
{
    if (m->primary || m->stateless || m->stopping || oplog_damaged(m->log)) {
        return;
    }
    uint64_t limit = MIN(oplog_committed(m->log), oplog_durable(m->log));
    uint64_t before = m->commit.applied;
    if (turn(m, limit, env_mono_ns(m->env) + FOLLOW_TURN_US * 1000ull)) {
        env_timer_set(m->env, &m->follow.more, 0);
    }
    if (m->commit.applied > before) {
        assure_applied(m);
        shadow_applied(m);
    }
}

void follow_wake(struct master *m)
{
    if (m->follow.more.place == 0 && !m->primary && !m->stopping) {
        env_timer_set(m->env, &m->follow.more, 0);
    }
}

static void more_fired(struct env_timer *t)
{
    follow_on(container_of(t, struct master, follow.more));
}

void follow_tick(struct master *m)
{
    if (!m->primary && !m->stateless && !m->stopping) {
        commit_followed(m);
        if (m->commit.applied < MIN(oplog_committed(m->log), oplog_durable(m->log))) {
            follow_wake(m); /* the log was mended */
        }
    }
}

int follow_finish(struct master *m, struct why *why)
{
    uint64_t last = oplog_last(m->log);
    if (m->stateless || m->cfg.logger_only || oplog_damaged(m->log)) {
        return why_set(why, -EOPNOTSUPP, "this master holds the log only");
    }
    ASSERT(oplog_settled(m->log));
    env_timer_stop(m->env, &m->follow.more);
    bool more = true;
    while (more) {
        more = turn(m, last, env_mono_ns(m->env) + NS_PER_S);
    }
    forget(&m->follow);
    return m->commit.applied == last
               ? 0
               : why_set(why, ERR_CORRUPT, "record %llu is missing in the operation log",
                         (unsigned long long)m->commit.applied + 1);
}

/* ---------------------------------------------------------------- life */

void follow_init(struct master *m)
{
    list_init(&m->follow.kept);
    m->follow.more.fire = more_fired;
}

void follow_start(struct master *m)
{
    m->follow.cuts = oplog_cuts(m->log);
    oplog_on_records(m->log, on_records, m);
    env_timer_set(m->env, &m->follow.more, 0);
}

void follow_close(struct master *m)
{
    env_timer_stop(m->env, &m->follow.more);
    forget(&m->follow);
}
