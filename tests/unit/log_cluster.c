/* log_cluster.c - bare masters for tests. */
#include "tests/unit/log_cluster.h"
#include "master/core/oplog_internal.h"
#include "shared/base/mem.h"
#include "tests/sim/sim_net.h"
#include "tests/unit/unit.h"

#include <stdio.h>

static const uint64_t cluster_id = 0x1234567;

/* A connection of another master. */
struct peer {
    struct list link;
    struct log_master *m;
    struct rpc rpc;
};

/* ---------------------------------------------------------------- requests of others */

static void peer_free(struct peer *p)
{
    logger_forget(p->m->logger, &p->rpc);
    list_remove(&p->link);
    rpc_close(&p->rpc);
    mem_free(p);
}

static void on_request(void *owner, struct rpc *r, struct message *msg)
{
    struct peer *p = owner;
    if (msg->head.op == OP_hello) {
        struct hello_rep rep = {.cluster = cluster_id, .role = MASTER_SHADOW};
        rpc_answer(r, &msg->head, 0, 0, 0, RPC_BODY(hello_rep, &rep), NULL);
    } else {
        MUST(logger_request(p->m->logger, r, msg));
    }
}

static void on_close(void *owner, struct rpc *r, int err)
{
    (void)r;
    (void)err;
    peer_free(owner);
}

static const struct rpc_events peer_events = {.on_request = on_request, .on_close = on_close};

static void on_accept(void *owner, struct env_conn *c)
{
    struct peer *p = mem_new(struct peer);
    p->m = owner;
    list_push_back(&p->m->peers, &p->link);
    rpc_init(&p->rpc, &p->m->process->env, &peer_events, p);
    rpc_accept(&p->rpc, c);
}

/* ---------------------------------------------------------------- what is checked */

static uint64_t chain_of(struct log_master *m, uint64_t index)
{
    uint64_t chain = 0;
    struct why why;
    int rc = oplog_chain(m->log, index, &chain, &why);
    if (rc == ERR_CORRUPT && oplog_missing(m->log) > 0) {
        return 0; /* it is being mended */
    }
    if (rc != 0) {
        ck_abort_msg("record %llu of master %u: %s", (unsigned long long)index, m->number,
                     why.text);
    }
    return chain;
}

/* A gate of an older epoch is open while a newer one commits. */
static void check_gates(struct log_cluster *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        const struct log_master *m = &c->masters[i];
        if (m->alive && m->replicate != NULL && m->epoch < c->committed_epoch) {
            MUST(!replicate_open(m->replicate));
        }
    }
}

/* What this primary may tell its clients. */
static void on_commit(void *owner, uint64_t index)
{
    struct log_master *m = owner;
    struct log_cluster *c = m->all;
    if (m->replicate == NULL) {
        return; /* told by a primary */
    }
    MUST(index < HISTORY_MAX);
    MUST(index >= m->opening);
    /* A deposed primary may hear late of what was committed in its time. */
    c->committed_epoch = MAX(c->committed_epoch, m->epoch);
    check_gates(c);
    if (!m->serving) {
        m->serving = true;
        c->served++;
    }
    /* Chains bind all history: the newest one that is on the disk tells of all before. */
    uint64_t known = MIN(index, oplog_durable(m->log));
    for (uint64_t i = MIN(c->acknowledged_to, m->opening - 1); i <= known; i++) {
        uint64_t *at = &c->acknowledged[i];
        if (i > 0 && (*at == 0 || i == known || sim_chance(&c->rand, 1, 50))) {
            uint64_t chain = chain_of(m, i);
            MUST(*at == 0 || chain == 0 || *at == chain);
            *at = chain != 0 ? chain : *at;
        }
    }
    c->acknowledged_to = MAX(c->acknowledged_to, known);
}

static void on_durable(void *owner, uint64_t index)
{
    struct log_master *m = owner;
    logger_durable(m->logger, index);
    if (m->replicate != NULL) {
        replicate_durable(m->replicate);
    }
}

static void on_promise(void *owner, uint32_t epoch)
{
    struct log_master *m = owner;
    if (m->replicate != NULL) {
        replicate_fenced(m->replicate, epoch);
    }
}

/* ---------------------------------------------------------------- primaries */

static void on_deposed(void *owner, enum deposed why, uint32_t epoch)
{
    struct log_master *m = owner;
    (void)epoch;
    MUST(why != DEPOSED_DIVERGED);
    m->deposed |= why != DEPOSED_ASKED;
    m->asked |= why == DEPOSED_ASKED;
}

static void on_yielded(void *owner)
{
    struct log_master *m = owner;
    m->yielded = true;
}

static void append_one(struct log_master *m, uint32_t len)
{
    static uint8_t body[RECORD_BODY_MAX];
    struct record r = {.type = 0x0120, .session = 1, .body = bytes_of(body, len)};
    r.sequence = oplog_last(m->log) + 1;
    r.time_ns = env_wall_ns(&m->process->env);
    oplog_append(m->log, &r);
}

static void on_promoted(void *owner, int status, uint32_t promised)
{
    struct log_master *m = owner;
    m->promotion_status = status;
    m->promotion_stale = status == ERR_STALE_EPOCH ? promised : 0;
    m->promotions_done++;
    if (status != 0) {
        return;
    }
    MUST(oplog_settled(m->log) && !oplog_damaged(m->log));
    m->epoch = oplog_epoch(m->log);
    m->opening = oplog_last(m->log) + 1;
    oplog_take_epoch(m->log, m->epoch);
    struct replicate_config cfg = {.env = &m->process->env,
                                   .log = m->log,
                                   .logger = m->logger,
                                   .links = m->links,
                                   .holder = m->epoch * 100 + m->number,
                                   .deposed = on_deposed,
                                   .owner = m};
    m->replicate = replicate_start(&cfg);
    append_one(m, 8);
}

void log_master_promote(struct log_master *m)
{
    MUST(m->alive && m->replicate == NULL);
    promotion_stop(m->promotion);
    m->all->epoch = MAX(m->all->epoch, m->promotion_stale) + 1;
    promotion_start(m->promotion, m->all->epoch, m->all->epoch * 100 + m->number, 0);
}

void log_master_append(struct log_master *m, uint32_t count, uint32_t body_max)
{
    MUST(m->replicate != NULL);
    for (uint32_t i = 0; i < count; i++) {
        append_one(m, (uint32_t)sim_below(&m->all->rand, body_max));
    }
}

struct log_master *log_cluster_primary(struct log_cluster *c)
{
    struct log_master *best = NULL;
    for (uint32_t i = 0; i < c->count; i++) {
        struct log_master *m = &c->masters[i];
        if (m->alive && m->serving && !m->deposed && (best == NULL || m->epoch > best->epoch)) {
            best = m;
        }
    }
    return best;
}

/* ---------------------------------------------------------------- lives */

/* There is no state. */
static uint64_t applied(void *owner)
{
    (void)owner;
    return 0;
}

void log_master_start(struct log_master *m)
{
    struct oplog_config cfg = {.segment_bytes = LOG_SEGMENT, .replicated = true};
    struct env *env = &m->process->env;
    struct why why = {0};
    sim_process_start(m->process);
    m->alive = true;
    MUST(oplog_open(env, &cfg, "test", &m->log, &why) == 0);
    if (oplog_cluster(m->log) == 0) { /* a new set, all of it */
        MUST(oplog_adopt(m->log, cluster_id, &why) == 0);
        oplog_joined(m->log);
    }
    MUST(oplog_start(m->log, &why) == 0);
    m->logger = logger_create(env, m->log, on_promise, m);
    m->links = log_links_create(env, &m->set, "test", &cluster_id);
    m->promotion = promotion_create(&(struct promotion_config){.applied = applied,
                                                               .env = env,
                                                               .log = m->log,
                                                               .logger = m->logger,
                                                               .links = m->links,
                                                               .done = on_promoted,
                                                               .owner = m});
    m->mender = log_mender_create(env, m->log, m->logger, m->links);
    log_scrub_start(&m->scrub, env, m->log, 1);
    oplog_on_durable(m->log, on_durable, m);
    oplog_on_commit(m->log, on_commit, m);
    MUST(env_listen(env, m->set.addr[m->number], on_accept, m) == 0);
    log_links_start(m->links);
}

void log_master_rot_now(struct log_master *m, uint64_t index)
{
    struct env *env = &m->process->env;
    struct why why;
    struct segment_reader r;
    struct batch_view b;
    uint8_t byte;
    uint32_t i = m->log->segment_count;
    while (m->log->segments[i - 1].first > index) {
        i--;
    }
    MUST(segment_reader_open(&r, m->log, &m->log->segments[i - 1], &why) == 0);
    do {
        MUST(segment_reader_next(&r, &b, &why) == 1);
    } while (r.index <= index);
    uint64_t at = segment_unit_offset(m->log->segments[i - 1].bytes, b.unit) + 70;
    MUST(env_file_read(env, r.file, at, &byte, 1) == 1);
    byte ^= 0x55;
    MUST(env_file_write(env, r.file, at, &byte, 1) == 1);
    MUST(env_file_sync(env, r.file) == 0);
    segment_reader_close(&r);
}

void log_master_rot(struct log_master *m, uint64_t index)
{
    struct oplog_config cfg = {.segment_bytes = LOG_SEGMENT, .replicated = true};
    struct why why;
    sim_process_start(m->process);
    MUST(oplog_open(&m->process->env, &cfg, "test", &m->log, &why) == 0);
    log_master_rot_now(m, index);
    sim_process_kill(m->process);
    oplog_close(m->log);
}

bool log_master_rot_full(struct log_master *m)
{
    struct sim_rand *rand = &m->all->rand;
    const struct oplog *l = m->log;
    uint8_t bytes[3 * UNIT_BYTES];
    char path[SEGMENT_NAME_BYTES];
    struct env_file *f;
    if (l->segment_count < 2 || l->damaged) {
        return false;
    }
    const struct segment *s = &l->segments[sim_below(rand, l->segment_count - 1)];
    uint32_t unit = (uint32_t)sim_below(rand, segment_units(s->bytes) - 3);
    uint64_t off = sim_chance(rand, 1, 5) ? 0 : segment_unit_offset(s->bytes, unit);
    uint32_t len = sim_chance(rand, 1, 3) ? UNIT_BYTES : sizeof(bytes);
    segment_path(s->first, path);
    MUST(env_file_open(&m->process->env, path, 0, &f) == 0);
    MUST(env_file_read(&m->process->env, f, off, bytes, len) == (int64_t)len);
    if (sim_chance(rand, 1, 4)) {
        memset(bytes, 0, len);
    }
    bytes[70 + sim_below(rand, 26)] ^= 0x55;
    MUST(env_file_write(&m->process->env, f, off, bytes, len) == (int64_t)len);
    env_file_close(&m->process->env, f);
    return true;
}

void log_master_end(struct log_master *m, bool power)
{
    if (power) {
        sim_process_power_cut(m->process);
    } else {
        sim_process_kill(m->process);
    }
    replicate_destroy(m->replicate);
    promotion_destroy(m->promotion);
    log_mender_destroy(m->mender);
    log_scrub_close(&m->scrub);
    while (!list_empty(&m->peers)) {
        peer_free(list_entry(m->peers.next, struct peer, link));
    }
    log_links_destroy(m->links);
    logger_destroy(m->logger);
    oplog_close(m->log);
    m->replicate = NULL;
    m->alive = m->serving = m->deposed = m->asked = m->yielding = m->yielded = false;
}

struct log_cluster *log_cluster_create(uint64_t seed, uint32_t count, uint32_t acks)
{
    struct log_cluster *c = mem_new(struct log_cluster);
    c->sim = sim_create(seed);
    c->sim->log_level = getenv("LOG_SET_TRACE") != NULL ? LOG_INFO : LOG_ERROR + 1;
    c->sim->knobs.drift_ppm = 500;
    c->rand = sim_rand_of(seed, 77);
    c->count = count;
    c->acknowledged = mem_alloc(HISTORY_MAX * sizeof(uint64_t));
    memset(c->acknowledged, 0, HISTORY_MAX * sizeof(uint64_t));
    for (uint32_t i = 0; i < count; i++) {
        struct log_master *m = &c->masters[i];
        char name[24];
        snprintf(name, sizeof(name), "master-%u", i);
        m->all = c;
        m->number = i;
        m->process = sim_process_create(c->sim, name);
        m->set = (struct log_set){.count = count, .self = i, .acks = acks};
        for (uint32_t k = 0; k < count; k++) {
            snprintf(m->set.addr[k], sizeof(m->set.addr[k]), "m%u:1", k);
        }
        list_init(&m->peers);
        log_master_start(m);
    }
    log_cluster_run(c, 1000);
    return c;
}

void log_cluster_free(struct log_cluster *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        if (c->masters[i].alive) {
            log_master_end(&c->masters[i], false);
        }
        sim_process_free(c->masters[i].process);
    }
    sim_destroy(c->sim);
    mem_free(c->acknowledged);
    mem_free(c);
}

/* ---------------------------------------------------------------- running */

static void look_after(struct log_master *m)
{
    if (m->asked && !m->yielding && !m->deposed && oplog_settled(m->log)) {
        m->yielding = true;
        replicate_yield(m->replicate, on_yielded, m);
    }
    if (m->deposed || m->yielded) {
        log_master_end(m, false);
        log_master_start(m);
    }
}

void log_cluster_run(struct log_cluster *c, uint64_t ms)
{
    for (uint64_t done = 0; done < ms;) {
        uint64_t step = MIN(ms - done, 1 + sim_below(&c->rand, 20));
        sim_run_for(c->sim, step * NS_PER_MS);
        done += step;
        for (uint32_t i = 0; i < c->count; i++) {
            if (c->masters[i].alive) {
                look_after(&c->masters[i]);
            }
        }
        check_gates(c);
    }
}

static bool promoting(const struct log_cluster *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        const struct log_master *m = &c->masters[i];
        if (m->alive && (m->replicate != NULL || promotion_running(m->promotion))) {
            return true;
        }
    }
    return false;
}

bool log_cluster_settle(struct log_cluster *c, uint64_t ms)
{
    for (uint64_t done = 0; done < ms && log_cluster_primary(c) == NULL; done += 50) {
        struct log_master *m = &c->masters[sim_below(&c->rand, c->count)];
        if (m->alive && !promoting(c)) {
            log_master_promote(m);
        }
        log_cluster_run(c, 50);
    }
    return log_cluster_primary(c) != NULL;
}

static bool equal(struct log_cluster *c)
{
    const struct log_master *p = log_cluster_primary(c);
    for (uint32_t i = 0; i < c->count && p != NULL; i++) {
        const struct log_master *m = &c->masters[i];
        if (!m->alive || !oplog_settled(m->log) || oplog_damaged(m->log) ||
            oplog_missing(m->log) > 0 || oplog_last(m->log) != oplog_last(p->log) ||
            oplog_last_chain(m->log) != oplog_last_chain(p->log) ||
            oplog_committed(m->log) != oplog_last(p->log)) {
            return false;
        }
    }
    return p != NULL;
}

bool log_cluster_equal(struct log_cluster *c, uint64_t ms)
{
    for (uint64_t done = 0; done < ms && !equal(c); done += 50) {
        log_cluster_run(c, 50);
    }
    return equal(c);
}

void log_cluster_check(struct log_cluster *c)
{
    for (uint32_t i = 0; i < c->count; i++) {
        struct log_master *m = &c->masters[i];
        MUST(oplog_last(m->log) >= c->acknowledged_to);
        for (uint64_t k = oplog_first(m->log); k <= c->acknowledged_to; k++) {
            if (c->acknowledged[k] != 0 &&
                (k == c->acknowledged_to || sim_chance(&c->rand, 1, 20))) {
                MUST(chain_of(m, k) == c->acknowledged[k]);
            }
        }
    }
}
