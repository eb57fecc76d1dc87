/* server_state.c - what is said of chunkservers, logged. */
#include "master/core/server_state.h"
#include "master/core/master_internal.h"
#include "master/core/service.h"

enum { AWAY_LOGGED_LEASES = 2 }; /* an absence is logged after so many lease times */

void server_state_load(struct master *m, struct chunkserver *s)
{
    struct server_state_rec state;
    int err = ns_server_state(m->ns, s->id, &state);
    ASSERT(err == 0);
    s->draining = state.draining;
    s->failing = state.failing != 0;
    s->failing_reason = state.failing;
    s->away_since = state.away_since;
    s->maintenance_until = state.maintenance_until;
    uint64_t wall = (uint64_t)MAX(env_wall_ns(m->env), 0);
    if (state.maintenance_until > wall) {
        uint64_t left = state.maintenance_until - wall;
        s->maintenance_until_ns = m->start_ns + MIN(left, MAINTENANCE_MS_MAX * NS_PER_MS);
    }
}

/* The state as it is now, in the log: the index it waits for. */
static uint64_t log_state(struct master *m, const struct chunkserver *s)
{
    union op_any rec = {.server_state_rec = {.id = s->id,
                                             .draining = s->draining,
                                             .failing = s->failing_reason,
                                             .away_since = s->away_since,
                                             .maintenance_until = s->maintenance_until}};
    return commit_record(m, OP_server_state, &rec, NULL, NULL);
}

void server_state_failing(struct master *m, struct chunkserver *s, uint32_t reason)
{
    if (s->failing_reason == reason) {
        return;
    }
    s->failing_reason = reason;
    s->failing = reason != 0;
    balance_leaving(m, s);
    (void)log_state(m, s);
}

uint64_t server_awaited_ns(const struct master *m, const struct chunkserver *s)
{
    return master_awake_ns(m) - MAX(s->heartbeat_awake_ns, m->start_awake_ns);
}

static void look_at_absence(struct master *m, struct chunkserver *s, uint64_t now)
{
    bool away = !server_alive(s, now);
    bool known = s->away_since != 0;
    if (away == known || (away && server_awaited_ns(m, s) <
                                      m->cfg.geometry.lease_ms * NS_PER_MS * AWAY_LOGGED_LEASES)) {
        return;
    }
    uint64_t wall = (uint64_t)MAX(env_wall_ns(m->env), 1);
    uint64_t since = MAX(s->heartbeat_ns, m->start_ns);
    s->away_since = away ? wall - MIN(now - since, wall - 1) : 0;
    (void)log_state(m, s);
}

void server_state_tick(struct master *m)
{
    uint64_t now = env_mono_ns(m->env);
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        struct chunkserver *s = servers_get(&m->servers, id);
        look_at_absence(m, s, now);
        if (s->maintenance_until_ns != 0 && now >= s->maintenance_until_ns) {
            s->maintenance_until_ns = s->maintenance_until = 0;
            env_log(m->env, LOG_INFO, "maintenance of chunkserver %u at %s is over", s->id,
                    s->addr);
            (void)log_state(m, s);
            repair_touch(m);
        }
    }
}

/* ---------------------------------------------------------------- operators */

uint64_t server_silent_ms(const struct master *m, const struct chunkserver *s)
{
    uint64_t wall = (uint64_t)MAX(env_wall_ns(m->env), 0);
    if (s->heartbeat_ns != 0) {
        return (env_mono_ns(m->env) - s->heartbeat_ns) / NS_PER_MS;
    }
    /* Not since this master started; it may stand in the log. */
    return s->away_since == 0 ? UINT64_MAX : (wall - MIN(s->away_since, wall)) / NS_PER_MS;
}

struct server_status server_status_of(const struct master *m, const struct chunkserver *s)
{
    uint64_t now = env_mono_ns(m->env);
    bool counted = balance_counted(m, s);
    return (struct server_status){
        .server = server_as_field(s),
        .total = s->total,
        .avail = s->avail,
        .chunks = s->chunks,
        .heartbeat_ms = server_silent_ms(m, s),
        .alive = server_alive(s, now),
        .draining = s->draining,
        .failing = s->failing_reason,
        .slow = s->slow,
        .maintenance_ms =
            server_in_maintenance(s, now) ? (s->maintenance_until_ns - now) / NS_PER_MS : 0,
        .member_of = counted ? s->member_of : UINT64_MAX,
        .stuck = counted ? s->stuck : 0,
        .drained = server_leaving(s) && counted && s->member_of == 0,
        .load = s->load,
        .disk_us = s->disk_us};
}

static void set_maintenance(struct master *m, struct chunkserver *s, uint64_t ms)
{
    uint64_t now = env_mono_ns(m->env);
    uint64_t wall = (uint64_t)MAX(env_wall_ns(m->env), 0);
    s->maintenance_until_ns = ms == 0 ? 0 : now + ms * NS_PER_MS;
    s->maintenance_until = ms == 0 ? 0 : wall + ms * NS_PER_MS;
    if (ms != 0) {
        env_log(m->env, LOG_INFO, "chunkserver %u at %s is in maintenance for %llu s", s->id,
                s->addr, (unsigned long long)(ms / 1000));
    } else {
        env_log(m->env, LOG_INFO, "maintenance of chunkserver %u at %s was ended", s->id, s->addr);
    }
}

static uint64_t carry_out(struct master *m, struct chunkserver *s, const struct server_set_req *req)
{
    bool drain = req->action == SERVER_DRAIN;
    if (req->action == SERVER_MAINTENANCE) {
        set_maintenance(m, s, req->duration_ms);
    } else if (drain ? s->draining : !server_leaving(s)) {
        return 0;
    } else {
        s->draining = drain;
        if (!drain) { /* the operator trusts the disk, until it fails again */
            s->failing = false;
            s->failing_reason = 0;
        }
        balance_leaving(m, s);
        env_log(m->env, LOG_INFO, "chunkserver %u at %s %s", s->id, s->addr,
                drain ? "is drained: its replicas move to others" : "is no longer drained");
    }
    repair_poke(m);
    master_arm_slice(m);
    return log_state(m, s);
}

void server_state_request(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct server_set_req req;
    if (server_set_req_decode(slice_bytes(&msg->body), &req) != 0) {
        master_answer(p, &msg->head, ERR_PROTOCOL, 0, (struct slice){0});
        service_close_soon(p);
        return;
    }
    struct chunkserver *s = servers_find(&m->servers, req.server);
    int err = s == NULL ? -ENOENT : 0;
    if (req.action < SERVER_DRAIN || req.action > SERVER_MAINTENANCE ||
        req.duration_ms > MAINTENANCE_MS_MAX) {
        err = -EINVAL;
    }
    if (err != 0) {
        master_answer(p, &msg->head, err, 0, (struct slice){0});
        return;
    }
    uint64_t index = carry_out(m, s, &req);
    struct server_set_rep rep = {.status = server_status_of(m, s)};
    master_answer(p, &msg->head, 0, index, RPC_BODY(server_set_rep, &rep));
}
