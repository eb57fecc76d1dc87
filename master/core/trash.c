/* trash.c - the trash gives things up, by itself. */
#include "master/core/master_internal.h"

enum {
    ITEMS_PER_RECORD = 128,
    CHUNKS_PER_RECORD = 1024,
    WANTED_MS = 2000,     /* who found no room asks again sooner than this */
    ROUND_WAIT_MS = 5000, /* for replicas to go; servers that are away are not waited for longer */
    ROUND_SHARE = 64,     /* of the space of all disks is given up in one round */
    LOW_SHARE = 32,       /* of its disk a server should have free */
};

static uint64_t now_s(struct master *m)
{
    int64_t s = env_wall_ns(m->env) / (int64_t)NS_PER_S;
    return s > 0 ? (uint64_t)s : 0;
}

/* ---------------------------------------------------------------- want of room */

/* Too few servers have room to spare: those of the next chunk might find none. */
static bool disks_are_low(const struct master *m)
{
    const struct geometry *geo = &m->cfg.geometry;
    uint64_t now = env_mono_ns(m->env);
    uint32_t alive = 0, roomy = 0;
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        const struct chunkserver *s = servers_get(&m->servers, id);
        if (!server_alive(s, now) || server_leaving(s)) {
            continue;
        }
        uint64_t low = MAX(s->total / LOW_SHARE, MIN((uint64_t)geo->chunk_bytes, s->total / 16));
        alive++;
        roomy += s->avail > low && !s->full;
    }
    return alive > 0 && roomy < MIN(alive, geo->replicas);
}

static bool rows_are_low(const struct master *m)
{
    return store_room(m->store) < 2 * ns_reserve_bytes();
}

bool trash_room_is_low(const struct master *m)
{
    return rows_are_low(m) || disks_are_low(m);
}

/* Bytes of one round, one replica counted. */
static uint64_t round_bytes(const struct master *m)
{
    uint64_t total = 0;
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        const struct chunkserver *s = servers_get(&m->servers, id);
        total += server_alive(s, env_mono_ns(m->env)) ? s->total : 0;
    }
    return MAX(total / m->cfg.geometry.replicas / ROUND_SHARE,
               (uint64_t)m->cfg.geometry.chunk_bytes / 8);
}

static void round_begin(struct master *m)
{
    struct trash *t = &m->trash;
    if (t->given == 0) {
        t->garbage = ns_counts(m->ns).garbage;
    }
}

static void round_ends(struct master *m)
{
    m->trash.given = 0;
    m->trash.round_end_ns = env_mono_ns(m->env) + ROUND_WAIT_MS * NS_PER_MS;
}

/* True while a round's replicas are being removed, or nobody has told yet what that gave. */
static bool round_waits(struct master *m)
{
    struct trash *t = &m->trash;
    uint64_t now = env_mono_ns(m->env);
    if (t->round_end_ns != 0) {
        if (now < t->round_end_ns &&
            (t->index > committed_index(m) || ns_counts(m->ns).garbage > t->garbage)) {
            return true;
        }
        t->round_end_ns = 0;
        t->pause_ns = now + (2ull * m->cfg.geometry.heartbeat_ms + 100) * NS_PER_MS;
    }
    return now < t->pause_ns;
}

/* The oldest are to go although their time is not over. */
static bool room_is_wanted(struct master *m)
{
    struct ns_counts counts = ns_counts(m->ns);
    if (counts.trash == 0) {
        return false;
    }
    if (rows_are_low(m)) {
        return true;
    }
    bool asked = env_mono_ns(m->env) < m->trash.wanted_ns;
    return counts.trash_bytes > 0 && (asked || disks_are_low(m)) && !round_waits(m);
}

bool trash_give(struct master *m, bool rows)
{
    struct ns_counts counts = ns_counts(m->ns);
    if (rows) {
        return counts.trash > 0; /* room_is_wanted sees it by itself */
    }
    m->trash.wanted_ns = env_mono_ns(m->env) + WANTED_MS * NS_PER_MS;
    return counts.trash_bytes > 0 || round_waits(m);
}

/* ---------------------------------------------------------------- giving up */

static bool first(struct master *m, struct ns_trash *out)
{
    return ns_trash_next(m->ns, 0, 0, out) == 0;
}

bool trash_due(struct master *m)
{
    struct ns_trash t;
    return first(m, &t) && (t.expires <= now_s(m) || room_is_wanted(m));
}

/* A record of what goes from the front of the trash: by time, or whatever it is up to `bytes`. */
static void give_up(struct master *m, bool by_time, uint64_t bytes)
{
    struct ns_trash t;
    uint64_t expires = 0, ino = 0, chunks = 0, given = 0, now = now_s(m);
    struct writer w;
    writer_init(&w);
    for (uint32_t n = 0; n < ITEMS_PER_RECORD && chunks < CHUNKS_PER_RECORD && given < bytes; n++) {
        if (ns_trash_next(m->ns, expires, ino, &t) != 0 || (by_time && t.expires > now)) {
            break;
        }
        enc_u64(&w, &t.expires);
        enc_u64(&w, &t.ino);
        chunks += t.chunks; /* a large file is taken apart by records of its own */
        given += t.bytes;
        expires = t.expires;
        ino = t.ino + 1;
    }
    union op_any rec = {.trash_drop_rec = {.items = writer_bytes(&w), .aside = by_time}};
    m->trash.index = commit_record(m, OP_trash_drop, &rec, NULL, NULL);
    writer_free(&w);
    m->trash.given += by_time ? 0 : given;
}

bool trash_slice(struct master *m)
{
    struct ns_trash t;
    if (!trash_due(m)) {
        return false;
    }
    if (m->commit.draining || m->trash.index > committed_index(m) || !first(m, &t)) {
        return true;
    }
    if (t.expires == 0) {
        union op_any rec = {.chunks_drop_rec = {.ino = t.ino, .count = CHUNKS_PER_RECORD}};
        m->trash.index = commit_record(m, OP_chunks_drop, &rec, NULL, NULL);
        return true;
    }
    if (t.expires <= now_s(m)) {
        give_up(m, true, UINT64_MAX);
        return true;
    }
    uint64_t limit = round_bytes(m);
    round_begin(m);
    give_up(m, false, limit - m->trash.given);
    if (m->trash.given >= limit || ns_counts(m->ns).trash_bytes == 0) {
        env_log(m->env, LOG_INFO, "the trash gave up %llu bytes: room is needed",
                (unsigned long long)m->trash.given);
        round_ends(m);
    }
    return true;
}
