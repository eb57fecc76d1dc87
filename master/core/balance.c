/* balance.c - where replicas are against where they should be. */
#include "master/core/balance.h"
#include "master/core/master_internal.h"
#include "shared/base/mem.h"

#include <stdio.h>

enum {
    MISSING_SAID_LEASES = 3,
    MOVE_LEAST = 64 << 10, /* bytes a move counts as at least: it costs a new version */
};
/* Moves of replicas that share a rack may be so far ahead of the pace: rows that need one come one
 * after the other in a pass, and then none until the next. Those for even disks may not: they
 * depend on what the ones before them changed. */
#define MOVES_AHEAD_NS NS_PER_S

void balance_close(struct master *m)
{
    mem_free(m->balance.all);
    m->balance.all = NULL;
}

/* ---------------------------------------------------------------- books */

void balance_leaving(struct master *m, struct chunkserver *s)
{
    s->counted_from_ns = env_mono_ns(m->env);
    s->member_of = s->stuck = 0;
    s->drained_said = false;
}

bool balance_counted(const struct master *m, const struct chunkserver *s)
{
    return m->balance.counted_ns > s->counted_from_ns;
}

/* Who may take replicas, and how evenly disks are filled, as a pass finds them. */
static void look_at_servers(struct master *m)
{
    struct balance *b = &m->balance;
    if (b->all == NULL) {
        b->all = mem_alloc(SERVERS_MAX * sizeof(b->all[0]));
    }
    b->count = servers_candidates(&m->servers, env_mono_ns(m->env), &m->cfg.geometry, false, b->all,
                                  SERVERS_MAX);
    b->low_fill = 1000;
    b->high_fill = 0;
    for (uint32_t id = 1; id <= m->servers.highest; id++) { /* full ones too */
        const struct chunkserver *s = servers_get(&m->servers, id);
        if (server_alive(s, env_mono_ns(m->env)) && !server_leaving(s)) {
            struct placement_server one = server_as_candidate(s);
            b->low_fill = MIN(b->low_fill, placement_fill(&one));
            b->high_fill = MAX(b->high_fill, placement_fill(&one));
        }
    }
    b->low_fill = MIN(b->low_fill, b->high_fill);
}

static void decide_levelling(struct master *m)
{
    struct balance *b = &m->balance;
    uint32_t apart = b->high_fill - b->low_fill, near = m->cfg.balance_percent * 10;
    bool on = near > 0 && b->count > 0 && apart > (b->levelling ? near : 2 * near);
    if (on != b->levelling) {
        env_log(m->env, LOG_INFO,
                on ? "disks are filled unevenly, %u %% to %u %%: chunks move"
                   : "disks are filled evenly, %u %% to %u %%: no chunk moves",
                b->low_fill / 10, b->high_fill / 10);
    }
    b->levelling = on;
}

/* In the log once it is so for a while: servers come and go together. */
static void say_what_is_missing(struct master *m)
{
    struct balance *b = &m->balance;
    char missing[sizeof(b->missing)];
    if (!repair_picture_complete(m)) {
        return; /* servers are still coming */
    }
    placement_missing(b->all, b->count, m->cfg.geometry.replicas, missing, sizeof(missing));
    if (strcmp(missing, b->missing) != 0) {
        memcpy(b->missing, missing, sizeof(missing));
        b->missing_since_ns = b->begin_ns;
        return;
    }
    uint64_t wait = m->cfg.geometry.lease_ms * NS_PER_MS * MISSING_SAID_LEASES;
    if (strcmp(missing, b->missing_said) != 0 && b->begin_ns - b->missing_since_ns >= wait) {
        env_log(m->env, missing[0] != 0 ? LOG_WARN : LOG_INFO, "%s",
                missing[0] != 0 ? missing : "there are racks and hosts enough for all replicas");
        memcpy(b->missing_said, missing, sizeof(missing));
    }
}

void balance_pass_begin(struct master *m)
{
    struct balance *b = &m->balance;
    b->begin_ns = env_mono_ns(m->env);
    b->crowded = 0;
    look_at_servers(m);
    decide_levelling(m);
    say_what_is_missing(m);
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        struct chunkserver *s = servers_get(&m->servers, id);
        s->member_counting = s->stuck_counting = 0;
    }
}

void balance_pass_end(struct master *m)
{
    struct balance *b = &m->balance;
    b->counted_ns = b->begin_ns;
    b->crowded_chunks = b->crowded;
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        struct chunkserver *s = servers_get(&m->servers, id);
        s->member_of = s->member_counting;
        s->stuck = s->stuck_counting;
        bool empty = server_leaving(s) && balance_counted(m, s) && s->member_of == 0;
        if (empty && !s->drained_said) {
            env_log(m->env, LOG_INFO, "chunkserver %u at %s is drained: it may be switched off",
                    s->id, s->addr);
        }
        s->drained_said = empty;
    }
}

/* ---------------------------------------------------------------- moves */

/* The members as placement sees them; false if one is leaving: that comes first. */
static bool members_of(struct master *m, const struct ns_chunk *row,
                       struct placement_server out[REPLICAS_MAX])
{
    for (uint32_t i = 0; i < row->member_count; i++) {
        const struct chunkserver *s = servers_get(&m->servers, row->members[i]);
        if (server_leaving(s)) {
            return false;
        }
        out[i] = server_as_candidate(s);
    }
    return true;
}

static void offer(struct master *m, const struct ns_chunk *row, uint32_t from, uint32_t to)
{
    struct balance *b = &m->balance;
    uint64_t rate = m->cfg.balance_kib_s, bytes;
    if (rate == 0 || !repair_offer_move(m, row, from, to, &bytes)) {
        return;
    }
    m->repair.acted = true;
    uint64_t kib = MAX(bytes, (uint64_t)MOVE_LEAST) >> 10;
    b->next_ns = MAX(b->next_ns, env_mono_ns(m->env)) + kib * NS_PER_S / rate;
    for (uint32_t i = 0; i < b->count; i++) { /* the next ones of this pass find it fuller */
        if (b->all[i].id == to) {
            b->all[i].avail -= MIN(b->all[i].avail, bytes);
        }
    }
}

static void look_for_move(struct master *m, const struct ns_chunk *row)
{
    struct balance *b = &m->balance;
    struct placement_server members[REPLICAS_MAX];
    uint32_t from, to;
    if (!members_of(m, row, members)) {
        return;
    }
    uint64_t now = env_mono_ns(m->env);
    bool crowded = placement_crowding(members, row->member_count) > 0 &&
                   placement_better(members, row->member_count, b->all, b->count, &from, &to);
    b->crowded += crowded;
    bool due = now + (crowded ? MOVES_AHEAD_NS : 0) >= b->next_ns;
    if (due &&
        (crowded || (b->levelling && placement_level(members, row->member_count, b->all, b->count,
                                                     m->cfg.balance_percent * 10, &from, &to)))) {
        offer(m, row, from, to);
    }
}

/* The chunk has a replica on a server that leaves: it is counted as stuck if nobody can take it. */
static void look_at_leaving(struct master *m, const struct ns_chunk *row, struct chunkserver *s)
{
    const struct balance *b = &m->balance;
    uint32_t takers = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        bool member = false;
        for (uint32_t j = 0; j < row->member_count; j++) {
            member |= row->members[j] == b->all[i].id;
        }
        takers += !member;
    }
    s->stuck_counting += takers == 0;
}

void balance_row(struct master *m, const struct ns_chunk *row, bool whole)
{
    if (row->fresh && !row->bound) {
        return; /* nobody wrote it yet: its replicas are made where its writer finds servers */
    }
    for (uint32_t i = 0; i < row->member_count; i++) {
        struct chunkserver *s = servers_get(&m->servers, row->members[i]);
        s->member_counting++;
        if (server_leaving(s)) {
            look_at_leaving(m, row, s);
        }
    }
    if (whole && repair_picture_complete(m)) {
        look_for_move(m, row);
    }
}

/* ---------------------------------------------------------------- warnings */

static void warn(struct writer *w, const char *text)
{
    struct bytes b = bytes_str(text);
    b.len = MIN(b.len, (uint32_t)ADDR_LEN_MAX); /* what a text holds */
    enc_text(w, &b);
}

void balance_warnings(const struct master *m, struct writer *w)
{
    const struct balance *b = &m->balance;
    char text[ADDR_LEN_MAX + 1];
    if (b->missing[0] != 0) {
        warn(w, b->missing);
    }
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        const struct chunkserver *s = servers_get(&m->servers, id);
        if (server_leaving(s) && balance_counted(m, s) && s->stuck > 0) {
            snprintf(text, sizeof(text),
                     "chunkserver %u cannot be emptied: no other one has room for %llu of its "
                     "replicas; add a chunkserver",
                     id, (unsigned long long)s->stuck);
            warn(w, text);
        }
        if (s->slow) {
            snprintf(text, sizeof(text),
                     "chunkserver %u is slow, %u us an operation on its disk: it is avoided", id,
                     s->disk_us);
            warn(w, text);
        }
    }
    if (b->crowded_chunks > 0) {
        snprintf(
            text, sizeof(text),
            "replicas of %llu chunks share racks or hosts although others have room: they move",
            (unsigned long long)b->crowded_chunks);
        warn(w, text);
    }
}
