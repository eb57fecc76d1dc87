/* deletion.c - replicas the master decides to remove by itself. */
#include "master/core/master_internal.h"

static uint32_t confirmed(const struct master *m, const struct ns_chunk *row)
{
    uint64_t now = env_mono_ns(m->env);
    uint32_t n = 0;
    if (row->fresh && !row->bound) {
        return 0; /* perhaps none was written yet */
    }
    for (uint32_t i = 0; i < row->member_count; i++) {
        const struct chunkserver *s = servers_get(&m->servers, row->members[i]);
        enum note_kind kind = notes_get(&m->notes, row->handle, row->members[i], row->version);
        n += server_alive(s, now) && s->reported && (kind == NOTE_NONE || kind == NOTE_EXTRA);
    }
    return n;
}

/* ---------------------------------------------------------------- brakes */

static uint64_t alarm_limit(const struct master *m)
{
    return MAX((uint64_t)DELETIONS_FREE, ns_counts(m->ns).chunks / ALARM_SHARE);
}

/* Stops removals for a while if those the pass found are too many. */
static void hold_if_many(struct master *m)
{
    struct deletion *d = &m->deletion;
    uint64_t now = env_mono_ns(m->env);
    if (d->wanted <= alarm_limit(m)) {
        d->held_until_ns = 0;
        d->released = false;
    } else if (d->held_until_ns == 0 && !d->released) {
        d->held_until_ns = now + m->cfg.deletion_hold_s * NS_PER_S;
        env_log(m->env, LOG_ERROR,
                "%llu replicas would be removed as not needed or of no chunk, of %llu chunks: none "
                "is for %u s",
                (unsigned long long)d->wanted, (unsigned long long)ns_counts(m->ns).chunks,
                m->cfg.deletion_hold_s);
    } else if (d->held_until_ns != 0 && now >= d->held_until_ns) {
        d->held_until_ns = 0;
        d->released = true; /* nobody objected; the brake of each server goes on */
    }
}

/* The replica may go. It does once a whole pass has counted it among those that may. */
static bool due(struct master *m, struct note *n)
{
    m->deletion.wanted += n->reported;
    m->repair.acted = true;
    if (n->due == 0) {
        n->due = m->repair.round;
        return false;
    }
    return n->due != m->repair.round && m->deletion.held_until_ns == 0;
}

/* Sends it off, if the server's brake lets it and it has time; else it is asked again. */
static void remove_replica(struct master *m, struct chunkserver *s, struct note *n)
{
    uint64_t now = env_mono_ns(m->env);
    if (now - s->deletions_since_ns >= 60 * NS_PER_S) {
        s->deletions_since_ns = now;
        s->deletions = 0;
    }
    if (s->deletions >= MAX((uint64_t)DELETIONS_FREE, s->chunks / DELETIONS_SHARE) ||
        !garbage_drop_extra(m, s, n->handle)) {
        return;
    }
    n->asked = true;
    s->deletions++;
}

/* ---------------------------------------------------------------- the pass */

void deletion_pass_begin(struct master *m)
{
    struct deletion *d = &m->deletion;
    d->chunks = d->unconfirmed = d->wanted = 0;
    d->most_copies = MAX(servers_staying(&m->servers), 2u); /* others are to be emptied */
    uint64_t served = env_mono_ns(m->env) - m->start_ns, hold = m->cfg.deletion_hold_s * NS_PER_S;
    d->settled |= servers_all_reported(&m->servers) || (hold > 0 && served >= hold);
}

void deletion_pass_end(struct master *m)
{
    struct deletion *d = &m->deletion;
    d->settled |= d->chunks > 0 && d->unconfirmed <= d->chunks / 1000;
    hold_if_many(m);
}

static bool may_go(const struct ns_chunk *row, const struct note *n, uint32_t good, uint32_t wanted)
{
    uint32_t needed = n->current ? wanted : MIN(2u, wanted);
    needed = n->damaged ? MAX(needed, 2u) : needed;
    return good >= needed && row->member_count >= wanted;
}

void deletion_look(struct master *m, const struct ns_chunk *row)
{
    struct deletion *d = &m->deletion;
    uint32_t good = confirmed(m, row);
    uint32_t wanted = servers_wanted(&m->servers, &m->cfg.geometry, row->wanted);
    wanted = MIN(wanted, d->most_copies);
    bool empty = row->fresh && !row->bound;
    d->chunks += !empty;
    d->unconfirmed += !empty && good == 0;
    bool quiet = d->settled && ns_changed_at(m->ns, row->ino) <= committed_index(m) &&
                 !grants_running(m, row->handle);
    for (struct note *n = notes_first(&m->notes, row->handle), *next; n != NULL; n = next) {
        next = notes_next(n);
        n->round = m->repair.round;
        if (n->kind != NOTE_EXTRA) {
            continue;
        }
        if (ns_is_member(row, n->server)) {
            notes_clear(&m->notes, row->handle, n->server);
            continue;
        }
        struct chunkserver *s = servers_get(&m->servers, n->server);
        if (!quiet || !server_alive(s, env_mono_ns(m->env)) || !may_go(row, n, good, wanted)) {
            continue;
        }
        if (due(m, n)) {
            remove_replica(m, s, n);
        }
    }
}

bool deletion_orphan(void *owner, struct note *n)
{
    struct master *m = owner;
    struct ns_chunk row;
    if (ns_chunk_get(m->ns, n->ino, n->number, &row) == 0 && row.handle == n->handle) {
        return false;
    }
    struct chunkserver *s = servers_get(&m->servers, n->server);
    if (n->kind != NOTE_EXTRA || s->peer == NULL) {
        return true;
    }
    if (n->handle >= ns_next_handle(m->ns) || !m->deletion.settled ||
        grants_running(m, n->handle) || ns_changed_at(m->ns, n->ino) > committed_index(m)) {
        return false;
    }
    if (due(m, n)) {
        remove_replica(m, s, n);
    }
    return false;
}
