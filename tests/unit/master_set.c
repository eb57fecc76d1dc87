/* master_set.c - whole masters of one set in the simulator. */
#include "tests/unit/master_set.h"
#include "shared/base/mem.h"
#include "tests/unit/unit.h"

#include <stdio.h>

/* One only looks up, so that it stays with a primary that commits nothing. */
enum { READER = SET_MOUNTS - 1, AGAIN_MS = 50, SILENCE_MS = 700, NO_PRIMARY_MS = 700 };

static const char *addr_of(uint32_t number)
{
    static const char *const addrs[SET_MASTERS] = {"m0:1", "m1:1", "m2:1"};
    return addrs[number];
}

/* ---------------------------------------------------------------- mounts */

static void go_on(struct set_mount *k);

static void next_master(struct set_mount *k)
{
    rpc_close(&k->rpc);
    k->attached = false;
    k->master = (k->master + 1) % SET_MASTERS;
    if (k->all->writers_at != NULL && k->number != READER) {
        k->master = *k->all->writers_at;
    }
    env_timer_set(&k->process->env, &k->again, AGAIN_MS * NS_PER_MS);
}

static void ask(struct set_mount *k, enum op_code op, struct slice body, uint64_t sequence,
                void (*done)(struct rpc_call *c))
{
    struct frame_header head = {.op = (uint16_t)op, .session = k->session, .sequence = sequence};
    if (op == OP_session_open || op == OP_hello) {
        head.session = 0;
    }
    k->call.done = done;
    k->call.owner = k;
    rpc_call(&k->rpc, &k->call, &head, body, NULL, SILENCE_MS);
}

static void name_of(uint32_t dir, char out[32])
{
    snprintf(out, 32, "dir-%u", dir);
}

static void made(struct rpc_call *c)
{
    struct set_mount *k = c->owner;
    struct master_set *s = k->all;
    struct mkdir_rep rep;
    int status = RPC_REPLY(mkdir, c, &rep);
    if (status == 0) {
        s->inos[k->making] = rep.attr.ino;
        s->acked[s->acked_count++] = k->making;
        k->busy = false;
        go_on(k);
    } else if (status > -10000) {
        ck_abort_msg("dir-%u: %s", k->making, err_text(status));
    } else {
        next_master(k);
    }
}

static void found(struct rpc_call *c)
{
    struct set_mount *k = c->owner;
    struct lookup_rep rep;
    int status = RPC_REPLY(lookup, c, &rep);
    if (status == 0) {
        MUST(rep.attr.ino == k->all->inos[k->looking]);
        k->busy = false;
        go_on(k);
    } else if (status > -10000) {
        ck_abort_msg("dir-%u was acknowledged: %s", k->looking, err_text(status));
    } else {
        next_master(k);
    }
}

static void draw(struct set_mount *k)
{
    struct master_set *s = k->all;
    uint64_t now = s->sim->now_ns;
    if (k->since_ns != 0) {
        k->longest_ns = MAX(k->longest_ns, now - k->since_ns);
        k->acked++;
    }
    k->since_ns = now;
    k->busy = true;
    if (s->acked_count > 0 &&
        (k->number == READER || sim_chance(&s->rand, 7, 8))) { /* the newest most of all */
        uint32_t back = (uint32_t)sim_below(&s->rand, sim_chance(&s->rand, 1, 2) ? 3 : 1000);
        k->making = 0;
        k->looking = s->acked[s->acked_count - 1 - MIN(back, s->acked_count - 1)];
    } else {
        MUST(s->dirs + 1 < SET_DIRS_MAX);
        k->making = ++s->dirs;
        k->sequence++;
    }
}

/* The operation under way, or a new one, is sent. */
static void go_on(struct set_mount *k)
{
    char name[32];
    if (!k->busy && (k->all->stopping || (k->all->only_reader && k->number != READER))) {
        k->since_ns = 0;
        return;
    }
    if (!k->busy) {
        draw(k);
    }
    name_of(k->making != 0 ? k->making : k->looking, name);
    if (k->making != 0) {
        struct mkdir_req req = {.parent = ROOT_INO, .name = bytes_str(name), .mode = 0755};
        ask(k, OP_mkdir, RPC_BODY(mkdir_req, &req), k->sequence, made);
    } else {
        struct lookup_req req = {.parent = ROOT_INO, .name = bytes_str(name)};
        ask(k, OP_lookup, RPC_BODY(lookup_req, &req), 0, found);
    }
}

static void attached(struct rpc_call *c)
{
    struct set_mount *k = c->owner;
    MUST(c->status != ERR_NO_SESSION);
    if (c->status != 0) {
        next_master(k);
        return;
    }
    k->attached = true;
    go_on(k);
}

static void attach(struct set_mount *k)
{
    struct session_attach_req req = {.session = k->session};
    ask(k, OP_session_attach, RPC_BODY(session_attach_req, &req), 0, attached);
}

static void opened(struct rpc_call *c)
{
    struct set_mount *k = c->owner;
    struct session_open_rep rep;
    if (RPC_REPLY(session_open, c, &rep) != 0) {
        next_master(k);
        return;
    }
    k->session = rep.session;
    attach(k);
}

static void greeted(struct rpc_call *c)
{
    struct set_mount *k = c->owner;
    struct hello_rep rep;
    if (RPC_REPLY(hello, c, &rep) != 0 || rep.role != MASTER_PRIMARY) {
        next_master(k);
    } else if (k->session != 0) {
        attach(k);
    } else {
        struct session_open_req req = {.host = bytes_str("h"), .nonce = 100 + k->number};
        ask(k, OP_session_open, RPC_BODY(session_open_req, &req), 0, opened);
    }
}

static void on_open(void *owner, struct rpc *r)
{
    struct hello_req req = {.role = ROLE_CLIENT};
    (void)r;
    ask(owner, OP_hello, RPC_BODY(hello_req, &req), 0, greeted);
}

static void on_close(void *owner, struct rpc *r, int err)
{
    (void)r;
    (void)err;
    next_master(owner);
}

static const struct rpc_events mount_events = {.on_open = on_open, .on_close = on_close};

static void again_fired(struct env_timer *t)
{
    struct set_mount *k = container_of(t, struct set_mount, again);
    if (k->rpc.conn == NULL) {
        rpc_dial(&k->rpc, addr_of(k->master));
    }
}

void master_set_move_writers(struct master_set *s, const uint32_t *number)
{
    s->only_reader = false;
    s->writers_at = number;
    for (uint32_t i = 0; i < READER; i++) {
        struct set_mount *k = &s->mounts[i];
        MUST(!k->busy);
        next_master(k);
    }
}

static void mount_start(struct master_set *s, uint32_t number)
{
    struct set_mount *k = &s->mounts[number];
    char name[16];
    snprintf(name, sizeof(name), "mount-%u", number);
    k->all = s;
    k->number = number;
    k->process = sim_process_create(s->sim, name);
    sim_process_start(k->process);
    k->again.fire = again_fired;
    rpc_init(&k->rpc, &k->process->env, &mount_events, k);
    env_timer_set(&k->process->env, &k->again, NS_PER_S);
}

/* ---------------------------------------------------------------- masters */

void set_master_start(struct master_set *s, uint32_t number)
{
    struct set_master *k = &s->masters[number];
    struct why why = {0};
    sim_process_start(k->process);
    k->m = master_create(&k->process->env, &k->cfg);
    if (master_start(k->m, &why) != 0) {
        ck_abort_msg("master %u does not start: %s", number, why.text);
    }
}

void set_master_kill(struct master_set *s, uint32_t number, bool power)
{
    struct set_master *k = &s->masters[number];
    if (power) {
        sim_process_power_cut(k->process);
    } else {
        sim_process_kill(k->process);
    }
    master_destroy(k->m);
    k->m = NULL;
}

int master_set_primary(const struct master_set *s)
{
    int best = -1;
    for (int i = 0; i < SET_MASTERS; i++) {
        const struct master *m = s->masters[i].m;
        if (m != NULL && m->serving && !m->vigil.ending &&
            (best < 0 || m->epoch > s->masters[best].m->epoch)) {
            best = i;
        }
    }
    return best;
}

/* ---------------------------------------------------------------- the monitor */

static void told(struct rpc_call *c)
{
    struct master_set *s = c->owner;
    s->asking = false;
    if (c->status == ERR_STALE_EPOCH && c->reply != NULL) {
        s->epoch = MAX(s->epoch, c->reply->head.epoch);
    }
    s->promotions += c->status == 0;
}

static void asker_greeted(struct rpc_call *c)
{
    struct master_set *s = c->owner;
    if (c->status != 0) {
        s->asking = false;
        return;
    }
    struct promote_req req = {.epoch = ++s->epoch, .nonce = 1000 + s->epoch};
    s->ask.done = told;
    rpc_call(&s->asker, &s->ask, &(struct frame_header){.op = OP_promote},
             RPC_BODY(promote_req, &req), NULL, 10000);
}

static void asker_open(void *owner, struct rpc *r)
{
    struct master_set *s = owner;
    struct hello_req req = {.role = ROLE_ADMIN};
    s->ask.done = asker_greeted;
    s->ask.owner = s;
    rpc_call(r, &s->ask, &(struct frame_header){.op = OP_hello}, RPC_BODY(hello_req, &req), NULL,
             3000);
}

static void asker_closed(void *owner, struct rpc *r, int err)
{
    struct master_set *s = owner;
    (void)r;
    (void)err;
    s->asking = false;
}

static const struct rpc_events asker_events = {.on_open = asker_open, .on_close = asker_closed};

void master_set_promote(struct master_set *s, uint32_t number)
{
    rpc_close(&s->asker);
    s->asking = true;
    s->asked = number;
    s->idle_ns = s->sim->now_ns;
    rpc_dial(&s->asker, addr_of(number));
}

static void watch(struct master_set *s)
{
    for (uint32_t i = 0; i < SET_MASTERS; i++) {
        struct set_master *k = &s->masters[i];
        struct why why;
        if (k->m != NULL && k->process->end_asked) {
            k->ends++;
            MUST(master_stop(k->m, &why) == 0);
            set_master_kill(s, i, false);
            set_master_start(s, i);
        }
    }
    if (master_set_primary(s) >= 0) {
        s->idle_ns = s->sim->now_ns;
    } else if (!s->asking && s->sim->now_ns - s->idle_ns > NO_PRIMARY_MS * NS_PER_MS) {
        uint32_t number = (uint32_t)sim_below(&s->rand, SET_MASTERS);
        if (s->masters[number].m != NULL) {
            master_set_promote(s, number);
        }
    }
}

/* ---------------------------------------------------------------- all */

static void die(struct sim *s, struct sim_process *p, const char *reason)
{
    (void)s;
    ck_abort_msg("%s died: %s", p->name, reason);
}

static struct master_config config_of(uint32_t number)
{
    struct master_config cfg = {.cluster = "test", .geometry = GEOMETRY_DEFAULT};
    snprintf(cfg.listen, sizeof(cfg.listen), "%s", addr_of(number));
    cfg.geometry.segment_bytes = 1 << 20;
    cfg.geometry.session_ms = 120000;
    cfg.preallocate_bytes = 1 << 20;
    cfg.set.count = SET_MASTERS;
    cfg.set.self = number;
    cfg.set.acks = 2;
    for (uint32_t i = 0; i < SET_MASTERS; i++) {
        snprintf(cfg.set.addr[i], sizeof(cfg.set.addr[i]), "%s", addr_of(i));
    }
    return cfg;
}

struct master_set *master_set_new(uint64_t seed)
{
    struct master_set *s = mem_new(struct master_set);
    s->sim = sim_create(seed);
    s->sim->on_die = die;
    s->sim->log_level = getenv("MASTER_SET_TRACE") != NULL ? LOG_INFO : LOG_ERROR + 1;
    s->sim->knobs.drift_ppm = 500;
    s->rand = sim_rand_of(seed, 99);
    for (uint32_t i = 0; i < SET_MASTERS; i++) {
        char name[16];
        snprintf(name, sizeof(name), "master-%u", i);
        s->masters[i].cfg = config_of(i);
        s->masters[i].process = sim_process_create(s->sim, name);
        set_master_start(s, i);
    }
    s->monitor = sim_process_create(s->sim, "monitor");
    sim_process_start(s->monitor);
    rpc_init(&s->asker, &s->monitor->env, &asker_events, s);
    for (uint32_t i = 0; i < SET_MOUNTS; i++) {
        mount_start(s, i);
    }
    return s;
}

void master_set_free(struct master_set *s)
{
    for (uint32_t i = 0; i < SET_MOUNTS; i++) {
        sim_process_kill(s->mounts[i].process);
        rpc_cancel(&s->mounts[i].call);
        rpc_close(&s->mounts[i].rpc);
    }
    sim_process_kill(s->monitor);
    rpc_cancel(&s->ask);
    rpc_close(&s->asker);
    for (uint32_t i = 0; i < SET_MASTERS; i++) {
        if (s->masters[i].m != NULL) {
            set_master_kill(s, i, false);
        }
    }
    sim_destroy(s->sim);
    mem_free(s);
}

void master_set_run(struct master_set *s, uint64_t ms)
{
    for (uint64_t done = 0; done < ms; done += 20) {
        sim_run_for(s->sim, 20 * NS_PER_MS);
        watch(s);
    }
}

static bool equal(struct master_set *s)
{
    int primary = master_set_primary(s);
    for (uint32_t i = 0; i < SET_MOUNTS; i++) {
        if (s->mounts[i].busy) {
            return false;
        }
    }
    for (uint32_t i = 0; i < SET_MASTERS && primary >= 0; i++) {
        struct master *m = s->masters[i].m;
        const struct master *p = s->masters[primary].m;
        if (m == NULL || m->commit.applied != p->commit.applied ||
            committed_index(m) != p->commit.applied) {
            return false;
        }
    }
    return primary >= 0;
}

bool master_set_equal(struct master_set *s, uint64_t ms)
{
    s->stopping = true;
    for (uint64_t done = 0; done < ms && !equal(s); done += 100) {
        master_set_run(s, 100);
    }
    return equal(s);
}

void master_set_check(struct master_set *s)
{
    int primary = master_set_primary(s);
    MUST(primary >= 0);
    uint64_t hash = master_state_hash(s->masters[primary].m);
    for (uint32_t i = 0; i < SET_MASTERS; i++) {
        struct master *m = s->masters[i].m;
        struct why why;
        MUST(master_state_hash(m) == hash);
        if (ns_audit(m->ns, &why) != 0) {
            ck_abort_msg("master %u: %s", i, why.text);
        }
    }
    struct attr root;
    MUST(ns_attr(s->masters[primary].m->ns, ROOT_INO, &root) == 0);
    MUST(root.size == s->acked_count && s->acked_count == s->dirs);
}
