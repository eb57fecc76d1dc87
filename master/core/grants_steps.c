/* grants_steps.c - the machine that makes a new version of a chunk: one attempt, step by step.
 *
 *   WAIT -> [ROW] -> [FILL] -> PREPARE -> [ACCEPT] -> [PULL] -> LOG -> ACTIVATE -> end
 *
 * Whatever fails before LOG leads back to WAIT and to a fresh attempt with a higher version:
 * prepared replicas still hold the content of the row's version. Once replicas were prepared nobody
 * can use the old version, so the machine goes on until it succeeds, also if nobody waits any more.
 */
#include "master/core/grants_internal.h"

enum {
    RETRY_FIRST_MS = 50,
    RETRY_MAX_MS = 1000,
    LEASE_POLL_MS = 100,
    PREPARE_TIMEOUTS = 2, /* of request_timeout_ms: it drains and syncs */
};

/* ---------------------------------------------------------------- helpers */

static struct chunkserver *server_of(const struct part *p)
{
    return servers_get(&p->grant->m->servers, p->server);
}

/* An answer that says: what was to be prepared is not here, or not to be believed. It serves
 * nothing. */
bool grant_replica_is_lost(int status)
{
    return status == ERR_NO_REPLICA || status == ERR_WRONG_VERSION || status == -EIO;
}

/* The server does not do what it should, as opposed to not being able to now. */
static bool deserves_fence(int status)
{
    return status != ERR_DISCONNECTED && status != ERR_NOT_READY && status != ERR_BUSY;
}

/* Members without which no version is made. */
static uint32_t needed(const struct grant *g)
{
    return MIN(2u, g->row.member_count - (g->remove != 0));
}

void grant_stop_calls(struct grant *g)
{
    for (uint32_t i = 0; i < g->part_count; i++) {
        rpc_cancel(&g->parts[i].call);
    }
    g->asked = 0;
}

void grant_fill_done(struct grant *g)
{
    for (int i = 0; i < 2; i++) {
        if (g->counted[i] != 0) {
            servers_get(&g->m->servers, g->counted[i])->copies--;
            g->counted[i] = 0;
        }
    }
}

void grant_set_note(struct grant *g, uint32_t server, uint64_t version, enum note_kind kind)
{
    struct note n = {.handle = g->handle,
                     .ino = g->ino,
                     .number = g->number,
                     .version = version,
                     .server = server,
                     .kind = kind};
    notes_set(&g->m->notes, &n);
}

bool grant_is_news(struct grant *g, int status)
{
    return setback_news(&g->m->setbacks, g->handle, status, env_mono_ns(g->m->env));
}

static void wait_ms(struct grant *g, uint64_t ms)
{
    g->phase = GRANT_WAIT;
    env_timer_set(g->m->env, &g->timer, ms * NS_PER_MS);
}

/* The attempt failed: another one later. */
static void retry(struct grant *g)
{
    if (g->repair && !g->stopped && list_empty(&g->waiters)) {
        grant_end(g, -EAGAIN);
        return;
    }
    uint64_t ms = (uint64_t)RETRY_FIRST_MS << MIN(g->attempts, 5u);
    g->attempts++;
    wait_ms(g, MIN(ms, (uint64_t)RETRY_MAX_MS));
}

void grant_ask(struct part *p, enum op_code op, struct slice body, uint32_t timeouts,
               void (*done)(struct rpc_call *c))
{
    struct grant *g = p->grant;
    p->state = PART_ASKED;
    p->call.done = done;
    p->call.owner = p;
    g->asked++;
    server_call(g->m, p->server, &p->call, op, body,
                timeouts * g->m->cfg.geometry.request_timeout_ms);
}

/* ---------------------------------------------------------------- who takes part */

/* A server that could become a member, or 0. */
static uint32_t find_addition(struct grant *g)
{
    struct master *m = g->m;
    struct placement_server all[SERVERS_MAX], have[REPLICAS_MAX];
    uint32_t count = servers_candidates(&m->servers, env_mono_ns(m->env), &m->cfg.geometry, false,
                                        all, SERVERS_MAX);
    for (uint32_t i = 0; i < g->row.member_count; i++) {
        have[i] = server_as_candidate(servers_get(&m->servers, g->row.members[i]));
    }
    uint32_t id = 0;
    return placement_choose(m->env, all, count, have, g->row.member_count, 1, &id) == 1 ? id : 0;
}

/* It had no right to serve the chunk when this attempt began: without its answer nobody needs to wait for its
 * lease to end. A member that is to be filled anew may serve what it has. */
static bool is_newcomer(const struct part *p)
{
    return p->added && !ns_is_member(&p->grant->row, p->server);
}

void grant_part_add(struct grant *g, uint32_t server, bool added)
{
    struct part *p = &g->parts[g->part_count++];
    *p = (struct part){.grant = g, .server = server, .added = added};
    const struct chunkserver *s = server_of(p);
    if (s->peer == NULL && env_mono_ns(g->m->env) >= s->lease_until_ns) {
        p->state = PART_OUT;
        p->status = ERR_DISCONNECTED;
        p->unasked = true;
    } else if (s->peer == NULL) {
        p->state = is_newcomer(p) ? PART_OUT : PART_LOST;
        p->status = ERR_DISCONNECTED;
    }
    p->leave = !added && (server == g->complained || server == g->remove);
}

/* Parts that may end up as members. */
static uint32_t possible(const struct grant *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->part_count; i++) {
        const struct part *p = &g->parts[i];
        n += !p->leave && (p->state == PART_NONE || p->state == PART_READY);
    }
    return n;
}

/* As good as it can be: if a block is damaged, nobody had it when all were asked. */
static bool is_sound(const struct part *p)
{
    const struct grant *g = p->grant;
    return (p->replica.state == REPLICA_OK && !p->damaged) ||
           (p->replica.state == REPLICA_BAD &&
            notes_get(&g->m->notes, g->handle, p->server, g->row.version) == NOTE_DAMAGED);
}

/* A planned removal goes on only while every other part is in good order. If one is not, the member
 * stays: told to leave or not, its replica is what the row says. True if it was given up now. */
static bool removal_fails(struct grant *g, enum part_state expected)
{
    bool goes_on = g->remove != 0 && g->complained == 0;
    bool found = false;
    for (uint32_t i = 0; i < g->part_count; i++) {
        const struct part *p = &g->parts[i];
        bool kept = p->server != g->remove;
        found = found || !kept;
        bool sound = expected == PART_NONE || p->added || is_sound(p);
        goes_on = goes_on && (!kept || (p->state == expected && sound));
    }
    if (g->remove == 0 || (found && goes_on)) {
        return false;
    }
    g->remove = 0;
    return true;
}

/* Fills in the parts: 0, -EAGAIN if it must wait for a lease or for members, or -ENOSPC. */
static int choose_parts(struct grant *g)
{
    g->part_count = 0;
    bool lost = false;
    bool refill = false;
    for (uint32_t i = 0; i < g->row.member_count; i++) {
        grant_part_add(g, g->row.members[i], g->row.members[i] == g->add);
        refill |= g->parts[i].added;
        lost |= g->parts[i].state == PART_LOST;
    }
    if (lost) {
        return -EAGAIN;
    }
    if (g->add != 0 && !refill) {
        grant_part_add(g, g->add, true);
    }
    if (possible(g) < needed(g) && g->add == 0 && (g->add = find_addition(g)) != 0) {
        grant_part_add(g, g->add, true);
    }
    if (removal_fails(g, PART_NONE)) {
        return choose_parts(g);
    }
    if (possible(g) < needed(g) && g->complained != 0) {
        const struct chunkserver *full = servers_get(&g->m->servers, g->complained);
        bool room = g->trash_asked && server_has_room(full, &g->m->cfg.geometry);
        if (g->no_space && !g->stopped && !room) {
            g->trash_asked = trash_give(g->m, false);
            return g->trash_asked ? -EAGAIN : -ENOSPC;
        }
        if (env_mono_ns(g->m->env) < g->pause_ns) {
            return -EAGAIN; /* these two did so a moment ago, and it did not help */
        }
        /* Too few would be left: the same members try again, under another primary. */
        for (uint32_t i = 0; i < g->part_count; i++) {
            g->parts[i].leave = false;
        }
        g->complained = 0;
        g->rotate = true;
    }
    return possible(g) < needed(g) ? -EAGAIN : 0;
}

/* ---------------------------------------------------------------- activate */

static void clear_notes(struct grant *g)
{
    for (uint32_t i = 0; i < g->part_count; i++) {
        const struct part *p = &g->parts[i];
        enum note_kind kind = NOTE_NONE;
        if (p->state == PART_READY && p->status != 0) {
            kind = NOTE_SUSPECT; /* it was not activated */
        } else if (p->state == PART_READY && p->damaged) {
            kind = g->mended ? NOTE_DAMAGED : NOTE_BAD;
        } else if (p->state != PART_READY && p->status != ERR_NO_REPLICA) {
            kind = NOTE_EXTRA;
        }
        /* What was noted of this version since it was logged is newer than what the part said. */
        if (kind != NOTE_NONE ||
            notes_get(&g->m->notes, g->handle, p->server, g->version) == NOTE_NONE) {
            grant_set_note(g, p->server, g->version, kind);
        }
    }
}

static void activated(struct rpc_call *c)
{
    struct part *p = c->owner;
    struct grant *g = p->grant;
    p->status = c->status;
    p->state = PART_READY;
    if (--g->asked > 0) {
        return;
    }
    clear_notes(g);
    for (uint32_t i = 0; i < g->part_count; i++) {
        if (g->parts[i].server == g->row.members[0] && g->parts[i].status != 0) {
            g->complained = 0;
            g->stopped = true;
            retry(g); /* the version has no primary: the next one */
            return;
        }
    }
    grant_end(g, 0);
}

/* The record that removed the chunk named its members. Others may have been prepared, or been filled,
 * and are told, too. */
static void end_gone(struct grant *g)
{
    for (uint32_t i = 0; i < g->part_count; i++) {
        grant_set_note(g, g->parts[i].server, g->version, NOTE_EXTRA);
    }
    repair_touch(g->m);
    grant_end(g, 0);
}

static void version_committed(struct commit_wait *w)
{
    struct grant *g = container_of(w, struct grant, wait);
    struct ns_chunk row;
    if (ns_chunk_get(g->m->ns, g->ino, g->number, &row) != 0 || row.handle != g->handle ||
        row.version != g->version) {
        end_gone(g);
        return;
    }
    g->row = row;
    g->phase = GRANT_ACTIVATE;
    for (uint32_t k = 0; k < row.member_count; k++) {
        for (uint32_t i = 0; i < g->part_count; i++) {
            struct part *p = &g->parts[i];
            if (p->state != PART_READY || p->server != row.members[k]) {
                continue;
            }
            struct activate_req req = {
                .handle = g->handle, .version = g->version, .primary = row.members[0]};
            grant_ask(p, OP_activate, RPC_BODY(activate_req, &req), PREPARE_TIMEOUTS, activated);
        }
    }
    ASSERT(g->asked > 0);
}

/* ---------------------------------------------------------------- log */

static uint32_t ready(const struct grant *g)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->part_count; i++) {
        n += g->parts[i].state == PART_READY;
    }
    return n;
}

/* Index of the part that becomes primary: the first in the row's order that is alive, one that is
 * not slow before others; the one after it if another is wanted. */
static uint32_t choose_primary(const struct grant *g)
{
    uint64_t now = env_mono_ns(g->m->env);
    uint32_t first = UINT32_MAX, second = UINT32_MAX, quick = UINT32_MAX, any = 0;
    for (uint32_t i = g->part_count; i-- > 0;) {
        if (g->parts[i].state != PART_READY) {
            continue;
        }
        any = i;
        if (server_alive(server_of(&g->parts[i]), now)) {
            second = first;
            first = i;
            quick = server_of(&g->parts[i])->slow ? quick : i;
        }
    }
    if (first == UINT32_MAX) {
        return any;
    }
    if (g->rotate && second != UINT32_MAX) {
        return second;
    }
    return quick != UINT32_MAX ? quick : first;
}

static bool says_unreachable(int status)
{
    return status == ERR_TIMEOUT || status == ERR_DISCONNECTED || status == -ECONNREFUSED ||
           status == -EHOSTUNREACH || status == -ENETUNREACH || status == -ETIMEDOUT;
}

/* The source answers us, but the others cannot reach it. True if it can be done without. */
static bool source_is_cut_off(const struct grant *g)
{
    const struct part *source = &g->parts[g->source];
    bool cut_off = false, sound = false;
    for (uint32_t i = 0; i < g->part_count; i++) {
        const struct part *p = &g->parts[i];
        if (p == source) {
            continue;
        }
        if (p->state == PART_READY) {
            return false; /* it copied, or had no need to */
        }
        cut_off |= p->state == PART_OUT && says_unreachable(p->status) && p->replica.version != 0;
        sound |= grant_lost_nothing(p);
    }
    return cut_off && sound;
}

/* Too few replicas take part: what the next attempt does differently. */
static void try_otherwise(struct grant *g)
{
    /* Of two that do not reach each other either may be cut off from the rest: the one that was to
     * leave takes part again before one of them is left out. */
    if (g->complained != 0) {
        g->complained = 0;
        g->rotate = true;
        return;
    }
    if (g->source != UINT32_MAX && source_is_cut_off(g)) {
        g->complained = g->parts[g->source].server;
        return;
    }
    g->add = 0;
    for (uint32_t i = 0; i < g->row.member_count; i++) {
        const struct part *p = &g->parts[i];
        if (p->state == PART_OUT && !p->added && grant_replica_is_lost(p->status)) {
            g->add = p->server; /* a member that lost its replica is filled anew */
            return;
        }
    }
}

/* A member that was away when the parts were chosen is here again, or was and has got a lease. It was
 * not prepared, and would serve the old version: it must take part, or be told, or waited for. */
static bool somebody_returned(struct grant *g)
{
    uint64_t now = env_mono_ns(g->m->env);
    for (uint32_t i = 0; i < g->part_count; i++) {
        const struct part *p = &g->parts[i];
        const struct chunkserver *s = server_of(p);
        bool may_serve = s->peer != NULL || s->lease_until_ns > now;
        if (p->state == PART_OUT && p->unasked && !p->added && may_serve) {
            return true;
        }
    }
    return false;
}

/* Members had no room for what another has more. The next attempt takes the one with least; if it was
 * taken, nothing helps but room: clients are told, the machine goes on. */
static void note_room(struct grant *g)
{
    bool full = false;
    for (uint32_t i = 0; i < g->part_count; i++) {
        full |= g->parts[i].state == PART_OUT && g->parts[i].status == -ENOSPC;
    }
    if (full && g->no_room && !trash_give(g->m, false)) {
        grant_refuse_waiters(g, -ENOSPC);
    }
    g->no_room |= full;
}

void grant_log_version(struct grant *g)
{
    struct master *m = g->m;
    if (somebody_returned(g)) {
        retry(g);
        return;
    }
    if (ready(g) < needed(g)) { /* some could not copy */
        note_room(g);
        try_otherwise(g);
        retry(g);
        return;
    }
    /* Damage that nobody knew of before the copy: the next attempt asks who was left out. */
    if (removal_fails(g, PART_READY) || (g->lacking && grant_better_may_come(g))) {
        retry(g);
        return;
    }
    struct ns_chunk row;
    if (ns_chunk_get(m->ns, g->ino, g->number, &row) != 0 || row.handle != g->handle) {
        end_gone(g);
        return;
    }
    if (row.version != g->row.version) {
        grant_end(g, 0);
        return;
    }
    uint32_t primary = choose_primary(g);
    const struct replica *source = &g->parts[g->source].replica;
    struct writer w;
    writer_init(&w);
    enc_u32(&w, &g->parts[primary].server);
    for (uint32_t i = 0, n = 1; i < g->part_count && n < REPLICAS_MAX; i++) {
        if (i != primary && g->parts[i].state == PART_READY) {
            enc_u32(&w, &g->parts[i].server);
            n++;
        }
    }
    union op_any rec = {.chunk_version_rec = {.ino = g->ino,
                                              .number = g->number,
                                              .handle = g->handle,
                                              .version = g->version,
                                              .members = writer_bytes(&w),
                                              .doubt = g->accepted || g->lacking ||
                                                       source->previous == 0 ||
                                                       source->state == REPLICA_CLONING}};
    g->phase = GRANT_LOG;
    uint64_t index = commit_record(m, OP_chunk_version, &rec, NULL, NULL);
    writer_free(&w);
    g->wait.done = version_committed;
    commit_wait_for(m, &g->wait, index);
}

/* ---------------------------------------------------------------- prepare */

static void accepted(struct rpc_call *c)
{
    struct part *p = c->owner;
    struct grant *g = p->grant;
    g->asked--;
    p->status = c->status;
    p->state = PART_READY;
    if (c->status != 0) {
        retry(g);
        return;
    }
    g->accepted = true;
    p->replica.state = REPLICA_OK;
    p->replica.digest = 0; /* blocks may have got new sums: the others compare */
    grant_reconcile(g);
}

/* Every member said that it does not hold the version. */
static bool none_holds(const struct grant *g)
{
    for (uint32_t i = 0; i < g->row.member_count; i++) {
        const struct part *p = &g->parts[i];
        if (!grant_replica_is_lost(p->status)) {
            return false;
        }
    }
    return true;
}

static void all_prepared(struct grant *g)
{
    for (uint32_t i = 0; i < g->part_count; i++) {
        if (g->parts[i].state == PART_LOST) {
            retry(g);
            return;
        }
    }
    if (none_holds(g)) {
        if (grant_is_news(g, -EIO)) {
            env_log(g->m->env, LOG_ERROR, "chunk %016llx of inode %llu: no member holds it",
                    (unsigned long long)g->handle, (unsigned long long)g->ino);
        }
        grant_end(g, -EIO);
        return;
    }
    g->source = grant_best_source(g);
    if (g->source == UINT32_MAX || ready(g) < needed(g)) {
        try_otherwise(g);
        retry(g);
        return;
    }
    if (removal_fails(g, PART_READY) || grant_better_may_come(g)) {
        retry(g);
        return;
    }
    if (g->parts[g->source].replica.state == REPLICA_SUSPECT) {
        grant_mend_source(g);
    } else {
        grant_reconcile(g);
    }
}

void grant_accept(struct grant *g)
{
    struct part *source = &g->parts[g->source];
    env_log(g->m->env, LOG_WARN,
            "chunk %016llx: only suspect replicas are left, that of server %u is accepted",
            (unsigned long long)g->handle, source->server);
    g->phase = GRANT_ACCEPT;
    struct activate_req req = {
        .handle = g->handle, .version = g->version, .primary = source->server, .accept_torn = true};
    grant_ask(source, OP_activate, RPC_BODY(activate_req, &req), PREPARE_TIMEOUTS, accepted);
}

static void prepared(struct rpc_call *c)
{
    struct part *p = c->owner;
    struct grant *g = p->grant;
    struct prepare_rep rep;
    p->status = RPC_REPLY(prepare, c, &rep);
    struct chunkserver *s = server_of(p);
    if (p->status == 0) {
        p->replica = rep.replica;
        p->state = p->leave ? PART_OUT : PART_READY;
    } else if (is_newcomer(p) || grant_replica_is_lost(p->status)) {
        p->state = PART_OUT;
        if (!p->added && p->status == -EIO) {
            grant_set_note(g, p->server, g->row.version, NOTE_FAILED);
        } else if (!p->added && p->status == ERR_NO_REPLICA) {
            grant_set_note(g, p->server, g->row.version, NOTE_MISSING);
        }
    } else {
        p->state = PART_LOST;
        if (deserves_fence(p->status)) {
            master_fence_server(g->m, s, err_text(p->status));
        }
    }
    if (--g->asked == 0) {
        all_prepared(g);
    }
}

/* Nothing but its first version ever was, and nobody was told that its data is durable: a member
 * without a replica holds the chunk as it was made, empty. If others have more, it copies from them.
 */
static bool may_be_empty(const struct grant *g)
{
    return g->row.fresh;
}

static void prepare(struct grant *g)
{
    /* A member that is to leave gets a lower version: it stops serving, looks stale ever after, and
     * refuses writes that are still on their way to it. */
    uint64_t leaving = master_new_version(g->m, g->row.version);
    g->version = master_new_version(g->m, leaving);
    g->phase = GRANT_PREPARE;
    g->stopped = true;
    g->accepted = false;
    g->mended = g->lacking = false;
    for (uint32_t i = 0; i < g->part_count; i++) {
        struct part *p = &g->parts[i];
        if (p->state != PART_NONE) {
            continue;
        }
        if (p->added) { /* it may be left with a replica */
            grant_set_note(g, p->server, g->row.version, NOTE_EXTRA);
        }
        /* A replica ahead of the row is known to come from the row's version. */
        bool any =
            p->added || notes_get(&g->m->notes, g->handle, p->server, g->row.version) == NOTE_AHEAD;
        struct prepare_req req = {.handle = g->handle,
                                  .ino = g->ino,
                                  .number = g->number,
                                  .old = any ? 0 : g->row.version,
                                  .version = p->leave ? leaving : g->version,
                                  .make = p->added          ? 1
                                          : may_be_empty(g) ? 2
                                                            : 0};
        grant_ask(p, OP_prepare, RPC_BODY(prepare_req, &req), PREPARE_TIMEOUTS, prepared);
    }
    ASSERT(g->asked > 0);
}

/* ---------------------------------------------------------------- begin */

static void row_committed(struct commit_wait *w)
{
    grant_attempt(container_of(w, struct grant, wait));
}

/* What was copied for this version is worth a lease's time: that of a member that is away runs. */
static bool lease_ends_soon(struct grant *g)
{
    uint32_t most = 2 * g->m->cfg.geometry.lease_ms / LEASE_POLL_MS;
    return g->action.add != 0 && g->lease_polls++ < most;
}

void grant_attempt(struct grant *g)
{
    struct master *m = g->m;
    if (ns_chunk_get(m->ns, g->ino, g->number, &g->row) != 0 || g->row.handle != g->handle) {
        end_gone(g); /* who waits is told why, or gets the new one */
        return;
    }
    uint64_t changed = ns_changed_at(m->ns, g->ino);
    if (changed > committed_index(m)) {
        g->phase = GRANT_ROW;
        g->wait.done = row_committed;
        commit_wait_for(m, &g->wait, changed);
        return;
    }
    if (g->fill_from != 0) {
        grant_fill(g);
        return;
    }
    int err = choose_parts(g);
    bool idle = g->repair && !g->stopped && list_empty(&g->waiters);
    if (err == -EAGAIN && idle && !lease_ends_soon(g)) {
        grant_end(g, err);
    } else if (err == -EAGAIN) {
        wait_ms(g, LEASE_POLL_MS);
    } else if (err != 0) {
        grant_end(g, err);
    } else {
        prepare(g);
    }
}
