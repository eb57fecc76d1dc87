/* garbage.c - removal of replicas that committed records named, and of extra ones. */
#include "master/core/master_internal.h"

enum {
    IDLE_PAUSE_MS = 1000,
    DROP_TIMEOUT_MS = 30000,
    CALM_MS = 200,      /* without a client's change: nobody is disturbed */
    GIVE_WAY_MS = 3000, /* then removal goes on beside them */
};

static void dropped(struct rpc_call *c)
{
    struct master *m = c->owner;
    struct chunkserver *s = container_of(c, struct chunkserver, drop_call);
    uint32_t count = s->drop_count;
    s->drop_count = 0;
    if (c->status != 0) {
        s->drop_after_ns = env_mono_ns(m->env) + IDLE_PAUSE_MS * NS_PER_MS;
        return;
    }
    struct writer w;
    writer_init(&w);
    for (uint32_t i = 0; i < count; i++) {
        if (s->drop_logged[i]) {
            enc_u64(&w, &s->drops[i]);
            enc_u32(&w, &s->id);
        } else {
            notes_removed(&m->notes, s->drops[i], s->id);
        }
    }
    if (w.len > 0) {
        union op_any rec = {.garbage_done_rec = {.done = writer_bytes(&w)}};
        (void)commit_record(m, OP_garbage_done, &rec, NULL, NULL);
    }
    writer_free(&w);
}

/* What a grant began to use since it was gathered stays. */
static void leave_out_used(struct master *m, struct chunkserver *s)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < s->drop_count; i++) {
        if (s->drop_logged[i] || !grants_running(m, s->drops[i])) {
            s->drops[kept] = s->drops[i];
            s->drop_logged[kept] = s->drop_logged[i];
            s->drop_aside[kept++] = s->drop_aside[i];
        }
    }
    s->drop_count = kept;
}

void garbage_flush(struct master *m, struct chunkserver *s)
{
    if (s->drop_count == 0 || rpc_call_running(&s->drop_call)) {
        return;
    }
    leave_out_used(m, s);
    if (s->drop_count == 0) {
        return;
    }
    struct writer w, aside;
    writer_init(&w);
    writer_init(&aside);
    for (uint32_t i = 0; i < s->drop_count; i++) {
        enc_u64(s->drop_aside[i] ? &aside : &w, &s->drops[i]);
    }
    struct drop_replicas_req req = {.handles = writer_bytes(&w), .aside = writer_bytes(&aside)};
    s->drop_call.done = dropped;
    s->drop_call.owner = m;
    server_call(m, s->id, &s->drop_call, OP_drop_replicas, RPC_BODY(drop_replicas_req, &req),
                DROP_TIMEOUT_MS);
    writer_free(&aside);
    writer_free(&w);
}

static bool add(struct master *m, struct chunkserver *s, uint64_t handle, bool logged, bool aside)
{
    uint64_t now = env_mono_ns(m->env);
    if (rpc_call_running(&s->drop_call) || s->drop_count == DROP_BATCH || !server_alive(s, now) ||
        now < s->drop_after_ns) {
        return false;
    }
    s->drop_logged[s->drop_count] = logged;
    s->drop_aside[s->drop_count] = aside;
    s->drops[s->drop_count++] = handle;
    return true;
}

bool garbage_drop_extra(struct master *m, struct chunkserver *s, uint64_t handle)
{
    return add(m, s, handle, false, true);
}

static bool gives_way(struct master *m, uint64_t now)
{
    struct garbage *g = &m->garbage;
    if (g->since_ns == 0) {
        g->since_ns = now;
    }
    return now < g->since_ns + GIVE_WAY_MS * NS_PER_MS &&
           now < m->changed_ns + CALM_MS * NS_PER_MS && !trash_room_is_low(m);
}

void garbage_scan(struct master *m)
{
    struct garbage *g = &m->garbage;
    uint64_t now = env_mono_ns(m->env);
    if (ns_counts(m->ns).garbage == 0) {
        g->since_ns = 0;
        return;
    }
    if (now < g->next_ns || gives_way(m, now)) {
        return;
    }
    bool any = false;
    for (uint32_t n = 0; n < GARBAGE_ROWS_PER_SCAN; n++) {
        if (ns_garbage_next(m->ns, g->handle, g->server, &g->handle, &g->server) != 0) {
            g->handle = 0;
            g->server = 0;
            break;
        }
        struct chunkserver *s = servers_get(&m->servers, g->server);
        any |= add(m, s, g->handle, true, ns_garbage_aside(m->ns, g->handle, g->server));
        g->server++;
    }
    if (!any) {
        g->next_ns =
            now + IDLE_PAUSE_MS * NS_PER_MS; /* of servers that are away, or busy with it */
    }
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        garbage_flush(m, servers_get(&m->servers, id));
    }
}

bool garbage_settled(struct master *m)
{
    uint64_t now = env_mono_ns(m->env);
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        const struct chunkserver *s = servers_get(&m->servers, id);
        if (s->drop_count > 0 || rpc_call_running(&s->drop_call)) {
            return false;
        }
    }
    uint64_t handle = 0;
    uint32_t server = 0;
    while (ns_garbage_next(m->ns, handle, server, &handle, &server) == 0) {
        if (server_alive(servers_get(&m->servers, server), now)) {
            return false;
        }
        server++;
    }
    return true;
}
