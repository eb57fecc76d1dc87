/* slow.c - chunkservers that are much slower than their peers. */
#include "master/core/slow.h"
#include "master/core/master_internal.h"

#include <stdlib.h>

uint64_t slow_mean(uint64_t mean, uint32_t figure, uint64_t passed_ns, uint64_t window_ns)
{
    uint64_t span = MAX(window_ns / 4, 1);
    if (mean == 0 || passed_ns >= span) {
        return figure;
    }
    uint64_t part = passed_ns * 1024 / span;
    return MAX((mean * (1024 - part) + figure * part) / 1024, 1);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

enum slow_look slow_compare(uint64_t figure, uint64_t *others, uint32_t count, uint64_t floor)
{
    uint32_t known = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (others[i] != 0) {
            others[known++] = others[i];
        }
    }
    if (figure == 0 || known < SLOW_OTHERS_MIN) {
        return SLOW_UNDER;
    }
    qsort(others, known, sizeof(others[0]), by_size);
    uint64_t limit = MAX(others[known / 2] * SLOW_TIMES, floor);
    return figure > limit ? SLOW_OVER : figure > limit / 2 ? SLOW_BETWEEN : SLOW_UNDER;
}

bool slow_step(struct slow_track *t, bool slow, enum slow_look look, uint64_t now_ns,
               uint64_t window_ns)
{
    t->over_ns = look != SLOW_OVER ? 0 : t->over_ns != 0 ? t->over_ns : now_ns;
    t->under_ns = look != SLOW_UNDER ? 0 : t->under_ns != 0 ? t->under_ns : now_ns;
    if (!slow) {
        return t->over_ns != 0 && now_ns - t->over_ns >= window_ns;
    }
    return t->under_ns == 0 || now_ns - t->under_ns < window_ns;
}

/* ---------------------------------------------------------------- what heartbeats tell */

static uint64_t window_ns(const struct master *m)
{
    return m->cfg.slow_window_ms * NS_PER_MS;
}

void slow_heard(struct master *m, struct chunkserver *s, const struct heartbeat_req *req)
{
    uint64_t now = env_mono_ns(m->env);
    if (req->disk_us != 0) {
        s->track.disk_us =
            slow_mean(s->track.disk_us, req->disk_us, now - s->track.disk_at_ns, window_ns(m));
        s->track.disk_at_ns = now;
        s->disk_us = (uint32_t)MIN(s->track.disk_us, (uint64_t)UINT32_MAX);
    }
    struct reader r = reader_of(req->peer_us);
    while (!reader_done(&r)) {
        uint32_t id, us;
        dec_u32(&r, &id);
        dec_u32(&r, &us);
        struct chunkserver *other = r.err == 0 ? servers_find(&m->servers, id) : NULL;
        if (other != NULL && other != s && us != 0) {
            struct slow_track *t = &other->track;
            t->peer_us = slow_mean(t->peer_us, us, now - t->peer_at_ns, window_ns(m));
            t->peer_at_ns = now;
        }
    }
}

/* ---------------------------------------------------------------- all of them */

/* The figures of one kind, 0 where they are old. */
static uint64_t figure(const struct master *m, const struct chunkserver *s, bool disk, uint64_t now)
{
    uint64_t at = disk ? s->track.disk_at_ns : s->track.peer_at_ns;
    uint64_t us = disk ? s->track.disk_us : s->track.peer_us;
    return at != 0 && now - at < MAX(window_ns(m), NS_PER_S) ? us : 0;
}

static enum slow_look look_at(struct master *m, const struct chunkserver *s, bool disk,
                              uint64_t now)
{
    uint64_t others[SERVERS_MAX];
    uint32_t count = 0;
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        const struct chunkserver *o = servers_get(&m->servers, id);
        if (o != s && server_alive(o, now)) {
            others[count++] = figure(m, o, disk, now);
        }
    }
    return slow_compare(figure(m, s, disk, now), others, count, m->cfg.slow_floor_ms * 1000ull);
}

static void change(struct master *m, struct chunkserver *s, bool slow)
{
    s->slow = slow;
    if (slow) {
        env_log(m->env, LOG_WARN,
                "chunkserver %u at %s is slow: its disk takes %llu us, its answers %llu us; it is "
                "avoided",
                s->id, s->addr, (unsigned long long)s->track.disk_us,
                (unsigned long long)s->track.peer_us);
    } else {
        env_log(m->env, LOG_INFO, "chunkserver %u at %s is no longer slow", s->id, s->addr);
    }
}

void slow_tick(struct master *m)
{
    uint64_t now = env_mono_ns(m->env);
    uint32_t alive = 0, slow = 0;
    if (now < m->slow_next_ns || m->cfg.slow_window_ms == 0) {
        return;
    }
    m->slow_next_ns = now + NS_PER_S;
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        const struct chunkserver *s = servers_get(&m->servers, id);
        alive += server_alive(s, now);
        slow += s->slow;
    }
    uint32_t most = MAX(alive / SLOW_SERVERS_SHARE, 1u);
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        struct chunkserver *s = servers_get(&m->servers, id);
        if (!server_alive(s, now)) {
            continue;
        }
        enum slow_look disk = look_at(m, s, true, now), peer = look_at(m, s, false, now);
        bool is = slow_step(&s->track, s->slow, MAX(disk, peer), now, window_ns(m));
        if (is && !s->slow && slow < most) {
            change(m, s, true);
            slow++;
        } else if (!is && s->slow) {
            change(m, s, false);
            slow--;
        }
    }
}
