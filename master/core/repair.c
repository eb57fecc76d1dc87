/* repair.c - the scan over all chunks: counts, and starts what brings replicas back in order. */
#include "master/core/master_internal.h"

void repair_init(struct master *m)
{
    m->repair = (struct repair){0};
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
    uint64_t since = s != NULL ? MAX(s->heartbeat_ns, m->start_ns) : m->start_ns;
    uint64_t grace = m->cfg.geometry.lease_ms * NS_PER_MS * AWAY_GRACE_LEASES;
    return env_mono_ns(m->env) - since > grace;
}

/* What the scan finds about one chunk. */
struct finding {
    uint32_t wanted;
    uint32_t good;     /* live, confirmed or not contradicted */
    uint32_t unsure;   /* of them: their server's report is not merged yet */
    uint32_t troubled; /* live, and something is noted about them */
    uint32_t content;  /* of them: hold content of this version */
    uint32_t away;
    uint32_t away_long; /* of them: to be replaced */
    uint32_t source;    /* a good member that may be copied from, 0 = none free */
};

static void look_at_member(struct master *m, const struct ns_chunk *row, uint32_t id,
                           struct finding *f)
{
    const struct chunkserver *s = servers_get(&m->servers, id);
    if (s == NULL || !server_alive(s, env_mono_ns(m->env))) {
        f->away++;
        f->away_long += repair_away_long(m, id);
        return;
    }
    enum note_kind kind = notes_get(&m->notes, row->handle, id, row->version);
    if (kind == NOTE_MISSING && row->fresh) {
        kind = NOTE_UNSEEN; /* a size commit binds chunks that were never written, too */
    }
    switch (kind) {
    case NOTE_NONE:
    case NOTE_EXTRA:
        f->good++;
        f->unsure += !s->reported;
        if (s->reported && s->copies < COPIES_PER_SERVER) {
            f->source = id;
        }
        break;
    case NOTE_SUSPECT:
    case NOTE_CLONING:
    case NOTE_AHEAD:
        f->content++;
        f->troubled++;
        break;
    case NOTE_UNSEEN:
        /* Once something is committed it must be there: its server is asked. */
        f->good += !row->bound;
        f->content += row->bound;
        f->troubled += row->bound;
        break;
    case NOTE_MISSING:
    case NOTE_STALE:
    case NOTE_BAD:
        f->troubled++;
        break;
    }
}

/* A server that may become a member: 0 if there is none, *out_exists if there is one but busy. */
static uint32_t find_target(struct master *m, const struct ns_chunk *row, bool *out_exists)
{
    struct placement_server all[SERVERS_MAX], have[REPLICAS_MAX];
    uint32_t count =
        servers_candidates(&m->servers, env_mono_ns(m->env), &m->cfg.geometry, all, SERVERS_MAX);
    uint32_t have_count = 0;
    for (uint32_t i = 0; i < row->member_count; i++) {
        const struct chunkserver *s = servers_get(&m->servers, row->members[i]);
        if (s != NULL) {
            have[have_count++] = server_as_candidate(s);
        }
    }
    uint32_t id = 0;
    if (placement_choose(m->env, all, count, have, have_count, 1, &id) == 0) {
        return 0;
    }
    *out_exists = true;
    return servers_get(&m->servers, id)->copies < COPIES_PER_SERVER ? id : 0;
}

/* New members wait until the picture is complete: every server that ever joined reported, or had
 * its time. */
static bool picture_complete(const struct master *m)
{
    uint64_t grace = m->cfg.geometry.lease_ms * NS_PER_MS * AWAY_GRACE_LEASES;
    if (env_mono_ns(m->env) - m->start_ns > grace) {
        return true;
    }
    for (uint32_t id = 1; id <= SERVERS_MAX; id++) {
        const struct chunkserver *s = servers_get(&m->servers, id);
        if (s != NULL && !s->reported) {
            return false;
        }
    }
    return true;
}

static void add_member(struct master *m, const struct ns_chunk *row, const struct finding *f)
{
    uint32_t away = f->good < 2 ? f->away : f->away_long;
    if (row->member_count - away >= f->wanted || f->good == 0 || f->unsure > 0 ||
        !picture_complete(m)) {
        return;
    }
    bool exists = false;
    uint32_t target = find_target(m, row, &exists);
    m->repair.acted |= exists;
    if (target != 0 && f->source != 0) {
        (void)grants_repair(m, row, &(struct repair_action){.add = target, .source = f->source});
    }
}

static void look_at_row(struct master *m, const struct ns_chunk *row)
{
    struct finding f = {.wanted = servers_wanted(&m->servers, &m->cfg.geometry, row->wanted)};
    for (uint32_t i = 0; i < row->member_count; i++) {
        look_at_member(m, row, row->members[i], &f);
    }
    deletion_look(m, row);
    bool empty = row->fresh && !row->bound; /* what there is of it, its writer puts in order */
    if (!empty) {
        m->repair.under += f.good < f.wanted;
        m->repair.lost += f.good == 0;
    }
    if (grants_running(m, row->handle)) {
        return; /* the machines count as work of their own */
    }
    if (!setback_past(&m->setbacks, row->handle, env_mono_ns(m->env))) {
        m->repair.paused = true;
        return;
    }
    bool whole = f.away == 0 && f.unsure == 0;
    bool heal = f.troubled > 0 && (f.good > 0 || (f.content > 0 && whole)) &&
                (f.away == 0 || f.away_long > 0 || f.good < 2);
    if (heal) {
        m->repair.acted = true;
        (void)grants_repair(m, row, &(struct repair_action){0});
    } else if (!empty) {
        add_member(m, row, &f);
    }
}

static void pass_begin(struct master *m)
{
    struct repair *r = &m->repair;
    r->running = true;
    r->ino = r->number = 0;
    r->round++;
    r->under = r->lost = 0;
    r->acted = r->paused = r->dirty = false;
    r->begin_ns = env_mono_ns(m->env);
    deletion_pass_begin(m);
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
    setbacks_sweep(&m->setbacks, now);
    r->clean = !r->acted && !r->paused && !r->dirty;
    /* While copies run the next ones start soon after them; a pass takes at most a fifth of the
     * time. */
    uint64_t pause = r->acted ? PASS_PAUSE_BUSY_MS : PASS_PAUSE_MS;
    r->next_ns = now + MAX(pause * NS_PER_MS, (now - r->begin_ns) * 4);
    for (uint32_t id = 1; id <= SERVERS_MAX; id++) {
        struct chunkserver *s = servers_get(&m->servers, id);
        if (s != NULL) {
            garbage_flush(m, s);
        }
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
        if (ns_chunk_next(m->ns, r->ino, r->number, &row) != 0) {
            pass_end(m);
            return false;
        }
        look_at_row(m, &row);
        r->ino = row.number == UINT64_MAX ? row.ino + 1 : row.ino;
        r->number = row.number + 1;
    }
    return true;
}
