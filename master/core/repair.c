/* repair.c - the scan over all chunks: counts, and finds what brings replicas back in order. */
#include "master/core/master_internal.h"

void repair_init(struct master *m)
{
    m->repair = (struct repair){0};
    repair_queue_init(&m->repair.queue, m->cfg.bounds.repair_queue);
}

void repair_close(struct master *m)
{
    repair_queue_close(&m->repair.queue);
}

void repair_touch(struct master *m)
{
    m->repair.dirty = true;
    m->repair.clean = false;
}

void repair_poke(struct master *m)
{
    repair_touch(m);
    m->repair.next_ns = 0;
}

bool repair_away_long(const struct master *m, uint32_t server)
{
    const struct chunkserver *s = servers_get(&m->servers, server);
    return server_awaited_ns(m, s) > m->cfg.away_grace_ms * NS_PER_MS &&
           !server_in_maintenance(s, env_mono_ns(m->env));
}

bool repair_picture_complete(const struct master *m)
{
    uint64_t grace = m->cfg.geometry.lease_ms * NS_PER_MS * PICTURE_LEASES;
    return master_awake_ns(m) - m->start_awake_ns > grace || servers_all_reported(&m->servers);
}

static uint32_t crowding(const struct master *m, const struct ns_chunk *row,
                         const struct chunkserver *s)
{
    uint32_t racks = 0, hosts = 0;
    for (uint32_t i = 0; i < row->member_count; i++) {
        const struct chunkserver *other = servers_get(&m->servers, row->members[i]);
        if (other != s) {
            racks += strcmp(other->rack, s->rack) == 0;
            hosts += strcmp(other->host, s->host) == 0;
        }
    }
    return racks * REPLICAS_MAX + hosts;
}

void repair_look(const struct master *m, const struct ns_chunk *row, struct repair_view *out)
{
    uint64_t now = env_mono_ns(m->env);
    out->chunk =
        (struct plan_chunk){.members = out->members,
                            .count = row->member_count,
                            .wanted = servers_wanted(&m->servers, &m->cfg.geometry, row->wanted),
                            .fresh = row->fresh,
                            .bound = row->bound,
                            .unsettled = !repair_picture_complete(m)};
    for (uint32_t i = 0; i < row->member_count; i++) {
        uint32_t id = row->members[i];
        const struct chunkserver *s = servers_get(&m->servers, id);
        struct plan_member *p = &out->members[i];
        *p = (struct plan_member){.server = id,
                                  .note = notes_get(&m->notes, row->handle, id, row->version)};
        if (!server_alive(s, now)) {
            p->away_long = repair_away_long(m, id);
            continue;
        }
        p->alive = true;
        p->reported = s->reported;
        p->leaving = server_leaving(s);
        p->slow = s->slow;
        p->crowding = crowding(m, row, s);
    }
}

bool repair_gone(const struct master *m, const struct ns_chunk *row)
{
    struct repair_view v;
    repair_look(m, row, &v);
    return repair_plan(&v.chunk).gone;
}

bool repair_lost(const struct master *m, const struct ns_chunk *row)
{
    struct repair_view v;
    repair_look(m, row, &v);
    return repair_plan(&v.chunk).lost;
}

/* A member that is being filled although nobody misses it any more: those that were away came back
 * with what they had, or are to stay. */
static void stop_needless_fill(struct master *m, const struct ns_chunk *row,
                               const struct plan_chunk *c, const struct repair_plan *p)
{
    enum repair_risk risk;
    bool whole = p->need == NEED_NOTHING && p->unsure == 0 && p->good >= c->wanted;
    if (whole && grants_filling(m, row->handle, &risk) && risk != RISK_BALANCE) {
        grants_cancel_fill(m, row->handle);
    }
}

static void look_at_row(struct master *m, const struct ns_chunk *row)
{
    struct repair *r = &m->repair;
    struct repair_view v;
    repair_look(m, row, &v);
    struct repair_plan p = repair_plan(&v.chunk);
    deletion_look(m, row);
    if (!p.empty) {
        r->under += p.good < v.chunk.wanted;
        r->lost += p.lost;
        r->counted[MIN(p.good, COPIES_COUNTED - 1u)]++;
    }
    bool working = grants_running(m, row->handle);
    balance_row(m, row,
                p.need == NEED_NOTHING && !working && p.unsure == 0 && p.good >= v.chunk.wanted);
    if (working) {
        stop_needless_fill(m, row, &v.chunk, &p); /* the machines count as work of their own */
    } else if (p.need == NEED_NOTHING || p.need == NEED_WAIT) {
        return;
    } else if (!setback_past(&m->setbacks, row->handle, env_mono_ns(m->env))) {
        r->paused = true;
    } else {
        bool possible = repair_enqueue(m, row, &p);
        r->acted |= possible;
        r->homeless += !possible;
    }
}

static void pass_begin(struct master *m)
{
    struct repair *r = &m->repair;
    r->running = true;
    r->walk = (struct ns_chunk_walk){0};
    r->round++;
    r->under = r->lost = r->homeless = 0;
    memset(r->counted, 0, sizeof(r->counted));
    r->hosts = 0;
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        r->hosts += repair_may_take(m, id);
    }
    r->acted = r->paused = r->dirty = false;
    r->begin_ns = env_mono_ns(m->env);
    deletion_pass_begin(m);
    balance_pass_begin(m);
}

static void pass_end(struct master *m)
{
    struct repair *r = &m->repair;
    uint64_t now = env_mono_ns(m->env);
    r->running = false;
    notes_sweep(&m->notes, r->round, deletion_orphan, m);
    deletion_pass_end(m);
    r->under_replicated = r->under;
    r->chunks_lost = r->lost;
    memcpy(r->copies, r->counted, sizeof(r->copies));
    repair_wave_check(m);
    balance_pass_end(m);
    setbacks_sweep(&m->setbacks, now);
    r->clean = !r->acted && !r->paused && !r->dirty;
    /* A pass takes at most a fifth of the time. */
    uint64_t pause = r->acted ? PASS_PAUSE_BUSY_MS : PASS_PAUSE_MS;
    r->next_ns = now + MAX(pause * NS_PER_MS, (now - r->begin_ns) * 4);
}

/* Replicas that this turn found to be superfluous may be members the next one. */
static void remove_what_was_found(struct master *m)
{
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        garbage_flush(m, servers_get(&m->servers, id));
    }
}

bool repair_slice(struct master *m)
{
    struct repair *r = &m->repair;
    if (!r->running) {
        if (env_mono_ns(m->env) < r->next_ns) {
            return false;
        }
        pass_begin(m);
    }
    for (uint32_t n = 0; n < SLICE_ROWS; n++) {
        struct ns_chunk row;
        int err = ns_chunk_look(m->ns, &r->walk, &row);
        if (err == -EAGAIN) {
            continue;
        }
        if (err != 0) {
            pass_end(m);
            remove_what_was_found(m);
            return false;
        }
        look_at_row(m, &row);
        ns_chunk_pass(&r->walk, &row);
    }
    remove_what_was_found(m);
    return true;
}
