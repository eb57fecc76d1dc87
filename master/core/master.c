/* master.c - start, stop, periodic work, and what the parts of the master ask of each other. */
#include "master/core/master_internal.h"
#include "master/core/opens.h"
#include "master/core/recalls.h"
#include "master/core/recovery.h"
#include "master/core/service.h"
#include "master/core/set.h"
#include "master/core/warming.h"
#include "shared/base/mem.h"

#include <string.h>

/* ---------------------------------------------------------------- sending */

static void send_reply(void *to, const struct frame_header *request, int status, uint64_t index,
                       struct slice body)
{
    struct peer *p = to;
    struct frame_header head = *request;
    if (!p->m->primary) {
        index = p->m->commit.applied;
        head.age_ms = (uint32_t)MIN(assure_age_ms(p->m), (uint64_t)UINT32_MAX);
    } else if (!term_may_answer(p->m, request, status)) {
        status = ERR_NOT_READY;
        slice_drop(&body);
    }
    rpc_answer(&p->rpc, &head, status, index, p->m->epoch, body, NULL);
}

void master_answer(struct peer *p, const struct frame_header *request, int status, uint64_t index,
                   struct slice body)
{
    if (status == 0 && body.buf == NULL) { /* an answer without fields is still an answer */
        union op_any rep;
        memset(&rep, 0, sizeof(rep));
        struct writer w;
        writer_init(&w);
        op_info_of(request->op)->rep_encode(&w, &rep);
        body = writer_take(&w);
    }
    replies_put(p->m->replies, &p->held, p, request, status, index, committed_index(p->m), body);
}

void server_call(struct master *m, uint32_t server, struct rpc_call *call, enum op_code op,
                 struct slice body, uint32_t timeout_ms)
{
    const struct chunkserver *s = servers_get(&m->servers, server);
    struct rpc *to = s->peer != NULL ? &s->peer->rpc : &m->nowhere;
    struct frame_header head = {.op = (uint16_t)op, .epoch = m->epoch, .index = committed_index(m)};
    rpc_call(to, call, &head, body, NULL, timeout_ms);
}

/* ---------------------------------------------------------------- servers */

void master_detach_server(struct master *m, struct chunkserver *s)
{
    if (s->peer == NULL) {
        return;
    }
    env_log(m->env, LOG_WARN, "chunkserver %u at %s is away", s->id, s->addr);
    s->peer->server = NULL;
    s->peer = NULL;
    s->beating = false;
    s->reported = false;
    report_end(m, s);
    repair_touch(m);
}

void master_fence_server(struct master *m, struct chunkserver *s, const char *reason)
{
    struct peer *p = s->peer;
    if (p == NULL) {
        return;
    }
    env_log(m->env, LOG_WARN,
            "chunkserver %u at %s is cut off until its lease has ended: it failed a request: %s",
            s->id, s->addr, reason);
    s->fenced = true;
    master_detach_server(m, s);
    service_close_soon(p);
}

/* Servers for a new chunk, the primary first; of a row of new files, if one is given. */
static int choose_members(struct master *m, struct placement_row *row, uint32_t wanted,
                          uint32_t *out_ids, uint32_t max)
{
    const struct geometry *geo = &m->cfg.geometry;
    uint64_t now = env_mono_ns(m->env);
    wanted = MIN(servers_wanted(&m->servers, geo, wanted), MIN(max, (uint32_t)REPLICAS_MAX));
    uint32_t needed = MIN(2u, wanted);
    /* Servers that are emptied take new chunks only when no others ever could. */
    bool leaving = servers_staying(&m->servers) < needed;
    if (servers_alive(&m->servers, now, leaving) < needed) {
        return 0;
    }
    struct placement_server all[SERVERS_MAX];
    uint32_t count = servers_candidates(&m->servers, now, geo, leaving, all, SERVERS_MAX);
    if (count < needed) {
        return -ENOSPC;
    }
    uint32_t n = row == NULL ? 0 : placement_row_next(row, all, count, wanted, now, out_ids);
    if (n > 0) {
        return (int)n;
    }
    n = placement_choose(m->env, all, count, NULL, 0, wanted, out_ids);
    for (uint32_t i = 1; i < n && servers_get(&m->servers, out_ids[0])->slow; i++) {
        if (!servers_get(&m->servers, out_ids[i])->slow) { /* the first becomes primary */
            uint32_t slow = out_ids[0];
            out_ids[0] = out_ids[i];
            out_ids[i] = slow;
        }
    }
    if (row != NULL) {
        placement_row_begin(row, out_ids, n, wanted, now);
    }
    return (int)n;
}

int master_choose_members(struct master *m, uint32_t wanted, uint32_t *out_ids, uint32_t max)
{
    return choose_members(m, NULL, wanted, out_ids, max);
}

static int choose_for_file(void *owner, uint32_t wanted, uint32_t *out_ids, uint32_t max)
{
    struct master *m = owner;
    return choose_members(m, &m->files_row, wanted, out_ids, max);
}

uint64_t master_new_version(struct master *m, uint64_t old)
{
    m->version_counter++;
    ASSERT(m->version_counter < UINT32_MAX);
    return MAX(old + 1, (uint64_t)m->epoch << 32 | m->version_counter);
}

/* ---------------------------------------------------------------- what the namespace asks */

static void decide_holders(void *owner, uint64_t ino, struct writer *w)
{
    struct master *m = owner;
    sessions_holders(&m->sessions, ino, w);
}

static uint64_t decide_version(void *owner, uint64_t old)
{
    struct master *m = owner;
    return MAX(old + 1, (uint64_t)m->epoch << 32 | 1);
}

/* Whether a reader should keep away from the replica. */
static bool unusable(const struct master *m, const struct ns_chunk *row, uint32_t id, uint64_t now)
{
    const struct chunkserver *s = servers_get(&m->servers, id);
    enum note_kind kind = notes_get(&m->notes, row->handle, id, row->version);
    return !server_alive(s, now) || (kind != NOTE_NONE && kind != NOTE_EXTRA);
}

void master_chunk(struct master *m, const struct ns_chunk *row, bool reading, struct writer *w,
                  struct chunk *out)
{
    uint64_t now = env_mono_ns(m->env);
    uint32_t usable = 0, alive = 0;
    bool whole = true;
    if (!m->primary) {
        shadow_chunk(m, row, w, out);
        return;
    }
    for (uint32_t i = 0; i < row->member_count; i++) {
        const struct chunkserver *s = servers_get(&m->servers, row->members[i]);
        usable += !unusable(m, row, row->members[i], now);
        alive += server_alive(s, now);
    }
    for (uint32_t k = 0; k < 2 * row->member_count; k++) {
        uint32_t i = k % row->member_count;
        const struct chunkserver *s = servers_get(&m->servers, row->members[i]);
        /* For readers the slow ones come last. */
        bool last = reading && s->slow;
        if (last != (k >= row->member_count)) {
            continue;
        }
        /* That a first version has no replica means nothing before every member has said so, but
         * those that are gone. */
        bool gone = alive > 0 && !server_alive(s, now) && repair_away_long(m, row->members[i]);
        bool left_out =
            reading && (row->fresh ? gone : usable > 0 && unusable(m, row, row->members[i], now));
        if (left_out) {
            whole = false;
            continue;
        }
        struct server field = server_as_field(s);
        whole &= !last || i != 0; /* writers name the primary first */
        enc_server(w, &field);
    }
    const struct chunkserver *primary = servers_get(&m->servers, row->members[0]);
    bool live = server_alive(primary, now);
    *out = (struct chunk){
        .ino = row->ino,
        .number = row->number,
        .handle = row->handle,
        .version = row->version,
        .trim = row->trim,
        .trim_set = row->trim_set,
        .fresh = row->fresh && !row->bound,
        /* Who writes must name every member: a list cut for readers names no primary. */
        .primary = !reading || (live && whole) ? row->members[0] : 0,
        .doubt = row->doubt,
        .gone = reading && usable == 0 && repair_gone(m, row),
        .unsynced = row->fresh,
        .members = writer_bytes(w)};
}

/* ---------------------------------------------------------------- periodic work */

static void slice_fired(struct env_timer *t)
{
    struct master *m = container_of(t, struct master, slice);
    bool more = report_slice(m);
    if (m->serving) {
        more |= repair_slice(m);
        repair_pump(m);
        more |= trash_slice(m);
    }
    if (more) {
        master_arm_slice(m);
    }
}

void master_arm_slice(struct master *m)
{
    if (m->slice.place == 0 && !m->stopping) {
        env_timer_set(m->env, &m->slice, SLICE_MS * NS_PER_MS);
    }
}

uint64_t master_awake_ns(const struct master *m)
{
    uint64_t passed = env_mono_ns(m->env) - m->awake_counted_ns;
    return m->awake_ns + MIN(passed, AWAKE_STEP_MS * NS_PER_MS);
}

static void count_awake(struct master *m)
{
    m->awake_ns = master_awake_ns(m);
    m->awake_counted_ns = env_mono_ns(m->env);
}

static void tick_fired(struct env_timer *t)
{
    struct master *m = container_of(t, struct master, tick);
    env_timer_set(m->env, &m->tick, TICK_MS * NS_PER_MS);
    count_awake(m);
    service_tick(m);
    vigil_tick(m);
    term_tick(m);
    if (m->warming) {
        warming_tick(m);
        return;
    }
    if (!m->primary) {
        set_tick(m);
        return;
    }
    if (m->serving) {
        service_expire(m);
        recalls_tick(m);
        server_state_tick(m);
        slow_tick(m);
        grants_tick(m);
        scrubs_tick(m);
        commit_tick(m);
        medium_tick(&m->medium);
    }
    if (m->logger != NULL) {
        transfer_offer(m);
    }
    if (!repair_queue_empty(&m->repair.queue)) {
        master_arm_slice(m); /* bandwidth may have become free */
    }
    if (m->repair.running || env_mono_ns(m->env) >= m->repair.next_ns ||
        (m->serving && trash_due(m))) {
        master_arm_slice(m);
    }
}

/* ---------------------------------------------------------------- start */

static void usual(uint32_t *bound, uint32_t value)
{
    if (*bound == 0) {
        *bound = value;
    }
}

static void usual_bounds(struct master_bounds *b)
{
    usual(&b->commit_records, COMMIT_RECORDS);
    usual(&b->held_replies, HELD_REPLIES_MAX);
    usual(&b->queued_mutations, MUTATION_QUEUE_MAX);
    usual(&b->pending_log_bytes, PENDING_LOG_BYTES_MAX);
    usual(&b->grants, GRANTS_MAX);
    usual(&b->grant_waiters, GRANT_WAITERS_MAX);
    usual(&b->repairs, REPAIRS_MAX);
    usual(&b->repair_queue, REPAIR_QUEUE_MAX);
    usual(&b->setbacks, SETBACKS_MAX);
    usual(&b->name_leases, NAME_LEASES_MAX);
    usual(&b->waiting_reads, SHADOW_WAITING_MAX);
}

struct master *master_create(struct env *env, const struct master_config *cfg)
{
    static const struct rpc_events nothing = {0};
    struct master *m = mem_new(struct master);
    m->env = env;
    m->cfg = *cfg;
    usual_bounds(&m->cfg.bounds);
    writer_init(&m->prep);
    writer_init(&m->apply);
    writer_init(&m->closed);
    list_init(&m->peers);
    list_init(&m->recalls);
    list_init(&m->serve_wait.link);
    sessions_init(&m->sessions);
    name_leases_init(&m->name_leases, m->cfg.bounds.name_leases);
    notes_init(&m->notes);
    setbacks_init(&m->setbacks, m->cfg.bounds.setbacks);
    grants_init(m);
    repair_init(m);
    scrubs_init(m);
    commit_init(m);
    set_init(m);
    m->replies = replies_new(send_reply);
    rpc_init(&m->nowhere, env, &nothing, m);
    m->tick.fire = tick_fired;
    m->slice.fire = slice_fired;
    return m;
}

struct replay {
    struct master *m;
    struct why *why;
};

static int replay_one(void *owner, const struct record *r)
{
    struct replay *replay = owner;
    struct master *m = replay->m;
    m->commit.time_ns = r->time_ns;
    m->commit.applied = r->index;
    m->commit.chain = r->chain;
    m->epoch = r->epoch;
    m->commit.uncommitted++;
    int err = ns_apply_record(m->ns, r, replay->why);
    if (err == 0 && store_commit_due(m->store)) { /* what the log holds now stays in it */
        commit_store(m);
    }
    return err;
}

static void add_session(void *owner, uint64_t session, struct bytes host)
{
    struct master *m = owner;
    (void)host;
    sessions_add(&m->sessions, session, false, m->start_awake_ns)->is_older = true;
}

/* The volatile side of what the rows hold. */
static void load_volatile(struct master *m)
{
    struct server row;
    uint64_t disk;
    ns_sessions(m->ns, add_session, m);
    for (uint32_t id = 1; ns_server_next(m->ns, id, &row, &disk) == 0; id = row.id + 1) {
        struct chunkserver *s = servers_put(&m->servers, disk, &row);
        /* A lease our predecessor renewed may run. */
        s->lease_until_ns = m->start_ns + m->cfg.geometry.lease_ms * NS_PER_MS / 100 * 101;
        server_state_load(m, s);
    }
}

static void begin_serving(struct commit_wait *w)
{
    struct master *m = container_of(w, struct master, serve_wait);
    m->serving = true;
    term_serves(m);
    env_log(m->env, LOG_INFO, "master of cluster \"%s\" serves at %s: epoch %u, index %llu",
            m->cfg.cluster, m->cfg.listen, m->epoch, (unsigned long long)m->commit.applied);
}

/* Opens log and state and brings the state to the end of the log, if nobody else has a say in it. */
static int recover(struct master *m, struct why *why)
{
    struct recovery_config rc = {
        .log = {.segment_bytes = m->cfg.geometry.segment_bytes,
                .force = m->cfg.force,
                .replicated = master_in_set(m)},
        .cluster_name = m->cfg.cluster,
        .ahead_bytes =
            m->cfg.preallocate_bytes != 0 ? m->cfg.preallocate_bytes : PREALLOCATE_DEFAULT,
        .large_bytes =
            m->cfg.large_state_bytes != 0 ? m->cfg.large_state_bytes : LARGE_STATE_BYTES};
    struct recovery_result found;
    int err = recovery_open(m->env, &rc, &m->store, &m->log, &found, why);
    if (err == 0) {
        err = checkpoint_create(m->env, m->store, m->log, &m->commit.checkpoint, why);
    }
    if (err != 0) {
        return err;
    }
    if (m->cfg.checkpoint_rate != 0) {
        checkpoint_set_rate(m->commit.checkpoint, m->cfg.checkpoint_rate);
    }
    medium_start(&m->medium, m->env, m->store, m->commit.checkpoint);
    struct ns_decider decider = {choose_for_file, decide_holders, decide_version, m,
                                 m->cfg.trash_seconds};
    m->ns = ns_create(m->env, m->store, &m->cfg.geometry, &decider);
    struct store_position at = store_committed(m->store);
    m->commit.applied = at.index;
    m->commit.chain = at.chain;
    m->commit.time_ns = at.time_ns;
    m->epoch = at.epoch;
    m->cluster = oplog_cluster(m->log);
    m->stateless = found.stateless;
    warming_found(m, &found);
    if (master_in_set(m) || m->warming) {
        return 0; /* the log is followed */
    }
    return found.replay_from <= oplog_last(m->log)
               ? oplog_replay(m->log, found.replay_from, replay_one, &(struct replay){m, why}, why)
               : 0;
}

void master_take_office(struct master *m, uint32_t epoch)
{
    m->primary = true;
    m->epoch = epoch;
    m->version_counter = 1;
    m->start_ns = env_mono_ns(m->env);
    m->start_awake_ns = master_awake_ns(m);
    m->commit.settled_ns = m->start_ns;
    load_volatile(m);
    oplog_on_commit(m->log, commit_advanced, m);
    union op_any rec = {.epoch_start_rec = {.epoch = epoch}};
    uint64_t index = commit_record(m, OP_epoch_start, &rec, NULL, NULL);
    m->serve_wait.done = begin_serving;
    commit_wait_for(m, &m->serve_wait, index);
}

int master_start_alone(struct master *m, struct why *why)
{
    uint32_t epoch = oplog_identity(m->log)->epoch + 1;
    int err = oplog_start_epoch(m->log, epoch, why);
    if (err == 0 && !m->started) {
        err = master_listen(m, why);
    }
    if (err == 0) {
        master_take_office(m, epoch);
    }
    return err;
}

int master_listen(struct master *m, struct why *why)
{
    int err = env_listen(m->env, m->cfg.listen, service_accept, m);
    if (err != 0) {
        return why_set(why, err, "cannot listen on %s: %s", m->cfg.listen, err_text(err));
    }
    m->started = true;
    env_timer_set(m->env, &m->tick, TICK_MS * NS_PER_MS);
    return 0;
}

int master_start(struct master *m, struct why *why)
{
    int err = env_lock_dir(m->env);
    if (err == -EBUSY) {
        return why_set(why, err, "another master is running on this directory");
    }
    if (err != 0) {
        return why_set(why, err, "the directory cannot be locked: %s", err_text(err));
    }
    err = recover(m, why);
    if (err != 0) {
        return err;
    }
    log_scrub_start(&m->log_scrub, m->env, m->log,
                    m->cfg.log_scrub_s != 0 ? m->cfg.log_scrub_s : LOG_SCRUB_S);
    return master_in_set(m) ? set_start(m, why)
           : m->warming     ? warming_start(m, why)
                            : master_start_alone(m, why);
}

/* ---------------------------------------------------------------- stop */

bool master_wind_down(struct master *m)
{
    bool yields = m->serving && m->term.replicate != NULL;
    m->vigil.ending |= yields;
    return yields;
}

int master_stop(struct master *m, struct why *why)
{
    if (!m->started) {
        return 0;
    }
    m->stopping = true;
    m->commit.stopped = true;
    service_free_peers(m);
    grants_close(m);
    scrubs_close(m);
    set_close(m);
    log_scrub_stop(&m->log_scrub);
    commit_close(m);
    if (transfer_ended(m) || m->stateless) { /* the next start builds another state */
        return 0;
    }
    (void)commit_quiet_point(m);
    int err = store_sync(m->store);
    if (err != 0) {
        return why_set(why, err, "the state cannot be synced: %s", err_text(err));
    }
    uint64_t index = store_committed(m->store).index;
    if (index > oplog_durable(m->log)) { /* other logs have it, this one's disk was slower */
        return 0;
    }
    return oplog_clean_stop(m->log, index, why);
}

void master_destroy(struct master *m)
{
    if (m == NULL) {
        return;
    }
    m->stopping = true;
    m->commit.stopped = true;
    env_timer_stop(m->env, &m->tick);
    env_timer_stop(m->env, &m->slice);
    grants_close(m);
    scrubs_close(m);
    recalls_close(m);
    service_free_peers(m);
    set_close(m);
    commit_close(m);
    balance_close(m);
    servers_close(&m->servers);
    rpc_close(&m->nowhere);
    sessions_close(&m->sessions);
    name_leases_close(&m->name_leases);
    notes_close(&m->notes);
    setbacks_close(&m->setbacks);
    repair_close(m);
    replies_free(m->replies);
    if (m->commit.checkpoint != NULL) {
        checkpoint_destroy(m->commit.checkpoint);
    }
    if (m->ns != NULL) {
        ns_destroy(m->ns);
    }
    transfer_free(m);
    logger_destroy(m->logger);
    log_links_destroy(m->links);
    log_scrub_close(&m->log_scrub);
    vouch_close(&m->vouch);
    if (m->log != NULL) {
        oplog_close(m->log);
    }
    if (m->store != NULL) {
        store_close(m->store);
    }
    writer_free(&m->prep);
    writer_free(&m->apply);
    writer_free(&m->closed);
    mem_free(m);
}

/* ---------------------------------------------------------------- tests */

int master_audit(struct master *m, struct why *why)
{
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        const struct chunkserver *s = servers_get(&m->servers, id);
        if (s->peer != NULL && s->peer->server != s) {
            return why_set(why, ERR_CORRUPT, "server %u and its connection disagree", id);
        }
    }
    list_for_each (it, &m->sessions.all) {
        const struct session *s = list_entry(it, struct session, link);
        if (!ns_session_exists(m->ns, s->id)) {
            return why_set(why, ERR_CORRUPT, "session %llu is known but has no row",
                           (unsigned long long)s->id);
        }
    }
    int err = opens_audit(m, why);
    return err != 0 ? err : ns_audit(m->ns, why);
}

bool master_settled(struct master *m)
{
    if (!m->serving || m->commit.draining || committed_index(m) != m->commit.applied ||
        m->closed.len > 0 || !list_empty(&m->recalls) || replies_count(m->replies) > 0 ||
        !grants_settled(m) || !garbage_settled(m) || trash_due(m) || !m->repair.clean ||
        !repair_queue_empty(&m->repair.queue)) {
        return false;
    }
    for (uint32_t id = 1; id <= m->servers.highest; id++) {
        const struct chunkserver *s = servers_get(&m->servers, id);
        if (s->peer != NULL && (!s->reported || !s->beating)) {
            return false;
        }
    }
    return true;
}

bool master_redundant(struct master *m)
{
    return master_settled(m) && m->repair.under_replicated == 0;
}

uint64_t master_state_hash(struct master *m)
{
    return ns_hash(m->ns);
}

uint64_t master_applied(const struct master *m)
{
    return m->commit.applied;
}
