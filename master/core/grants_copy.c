/* grants_copy.c - the copies a new version takes: the new member's filling, and what makes prepared
 * replicas equal.
 */
#include "master/core/grants_internal.h"

enum { PULL_TIMEOUTS = 60 /* of request_timeout_ms: it may copy a whole chunk */ };

static void name_server(const struct grant *g, uint32_t server, struct writer *w)
{
    struct server one = server_as_field(servers_get(&g->m->servers, server));
    enc_server(w, &one);
}

static void ask_pull(struct grant *g, struct part *p, struct pull_req *req, uint32_t source,
                     const struct writer *others, void (*done)(struct rpc_call *c))
{
    uint32_t timeouts = PULL_TIMEOUTS;
    if (req->version == 0) { /* as slow as it may be beside clients, at both ends */
        uint64_t s = 2ull * COPIES_PER_SERVER * g->m->cfg.geometry.chunk_bytes / SHARE_FLOOR;
        timeouts += (uint32_t)(s * 1000 / g->m->cfg.geometry.request_timeout_ms);
    }
    req->handle = g->handle;
    req->ino = g->ino;
    req->number = g->number;
    req->source_version = req->version != 0 ? req->version : g->row.version;
    req->source = server_as_field(servers_get(&g->m->servers, source));
    req->others = writer_bytes(others);
    grant_ask(p, OP_pull, RPC_BODY(pull_req, req), timeouts, done);
}

/* ---------------------------------------------------------------- equal replicas */

static void pulled(struct rpc_call *c)
{
    struct part *p = c->owner;
    struct grant *g = p->grant;
    struct pull_rep rep;
    p->status = RPC_REPLY(pull, c, &rep);
    /* It was prepared: without the copy it serves neither version. */
    p->state = p->status == 0 ? PART_READY : PART_OUT;
    if (p->status == 0) {
        p->damaged = rep.bad > 0;
        g->lacking |= rep.bad > 0;
        g->parts[g->source].damaged |= rep.refused > 0;
    } else {
        if (grant_is_news(g, p->status)) {
            env_log(g->m->env, LOG_WARN,
                    "chunk %016llx: server %u could not copy from server %u: %s",
                    (unsigned long long)g->handle, p->server, g->parts[g->source].server,
                    err_text(p->status));
        }
    }
    if (--g->asked == 0) {
        grant_log_version(g);
    }
}

/* Whether the part must be made equal to the source. */
static bool must_pull(const struct grant *g, const struct part *p)
{
    const struct part *source = &g->parts[g->source];
    if (p == source || p->state != PART_READY) {
        return false;
    }
    return p->replica.digest != source->replica.digest ||
           p->replica.length != source->replica.length ||
           (p->replica.state != REPLICA_OK && source->replica.state == REPLICA_OK) ||
           (p->replica.state == REPLICA_BAD && g->mended);
}

/* Those that copy do so from the source, and what it cannot give from those that need not copy:
 * two that copied from each other would wait for each other. */
static void copy_from_source(struct grant *g)
{
    bool copies[GRANT_PARTS_MAX];
    struct writer others;
    writer_init(&others);
    for (uint32_t i = 0; i < g->part_count; i++) {
        copies[i] = must_pull(g, &g->parts[i]);
        if (i != g->source && g->parts[i].state == PART_READY && !copies[i]) {
            name_server(g, g->parts[i].server, &others);
        }
    }
    g->phase = GRANT_PULL;
    for (uint32_t i = 0; i < g->part_count; i++) {
        if (copies[i]) {
            struct pull_req req = {.version = g->version};
            ask_pull(g, &g->parts[i], &req, g->parts[g->source].server, &others, pulled);
        }
    }
    writer_free(&others);
    if (g->asked == 0) {
        grant_log_version(g);
    }
}

static void after_mending(struct grant *g)
{
    if (g->parts[g->source].replica.state == REPLICA_SUSPECT) {
        grant_accept(g);
    } else {
        copy_from_source(g);
    }
}

static void source_mended(struct rpc_call *c)
{
    struct part *p = c->owner;
    struct grant *g = p->grant;
    struct pull_rep rep;
    g->asked--;
    p->state = PART_READY;
    p->damaged = RPC_REPLY(pull, c, &rep) != 0 || rep.bad > 0;
    after_mending(g);
}

void grant_mend_source(struct grant *g)
{
    struct writer others;
    uint32_t first = 0;
    writer_init(&others);
    for (uint32_t i = 0; i < g->part_count; i++) {
        if (i == g->source || g->parts[i].state != PART_READY) {
            continue;
        }
        if (first == 0) {
            first = g->parts[i].server;
        } else {
            name_server(g, g->parts[i].server, &others);
        }
    }
    g->mended = g->parts[g->source].replica.state != REPLICA_SUSPECT;
    g->phase = GRANT_PULL;
    if (first != 0) {
        struct pull_req req = {.version = g->version, .mend = true};
        ask_pull(g, &g->parts[g->source], &req, first, &others, source_mended);
    } else {
        after_mending(g);
    }
    writer_free(&others);
}

void grant_reconcile(struct grant *g)
{
    for (uint32_t i = 0; i < g->part_count; i++) {
        g->parts[i].damaged = g->parts[i].replica.state == REPLICA_BAD;
    }
    if (g->parts[g->source].damaged) {
        grant_mend_source(g);
    } else {
        copy_from_source(g);
    }
}

/* ---------------------------------------------------------------- filling */

static void filled(struct rpc_call *c)
{
    struct part *p = c->owner;
    struct grant *g = p->grant;
    struct pull_rep rep;
    int status = RPC_REPLY(pull, c, &rep);
    uint32_t from = g->fill_from;
    g->asked--;
    grant_fill_done(g);
    g->fill_from = 0;
    if (status != 0) {
        if (grant_is_news(g, status)) {
            env_log(g->m->env, LOG_WARN, "chunk %016llx: filling a replica on server %u failed: %s",
                    (unsigned long long)g->handle, g->add, err_text(status));
        }
        if (grant_replica_is_lost(status) || status == ERR_CHECKSUM || status == ERR_SUSPECT) {
            /* Perhaps the source is not what it was thought to be: it is asked. */
            grant_set_note(g, from, g->row.version, NOTE_SUSPECT);
        }
        grant_end(g, status);
        return;
    }
    grant_attempt(g);
}

void grant_fill(struct grant *g)
{
    struct writer others;
    writer_init(&others);
    for (uint32_t i = 0; i < g->row.member_count; i++) {
        const struct chunkserver *s = servers_get(&g->m->servers, g->row.members[i]);
        if (s->id != g->fill_from && s->id != g->add && s->peer != NULL) {
            name_server(g, s->id, &others);
        }
    }
    g->phase = GRANT_FILL;
    g->part_count = 0;
    grant_part_add(g, g->add, true);
    grant_set_note(g, g->add, g->row.version, NOTE_EXTRA);
    struct pull_req req = {0};
    ask_pull(g, &g->parts[0], &req, g->fill_from, &others, filled);
    writer_free(&others);
}
