/* transfer.c - a checkpoint of another's, for a shadow whose own log cannot be continued. */
#include "master/core/transfer.h"
#include "master/core/master_internal.h"
#include "shared/base/mem.h"

#define FETCHED_SUMS CHECKPOINT_DIR "/fetched.sum"
#define FETCHED_ROWS CHECKPOINT_DIR "/fetched.mdb"

enum { PATH_BYTES = 64, MENDING_MS = 3000 };

bool transfer_running(const struct master *m)
{
    return m->transfer.running;
}

bool transfer_ended(const struct master *m)
{
    return m->transfer.ended;
}

/* ---------------------------------------------------------------- whether one is needed */

/* Records that are committed cannot be read here: no primary can send what is before them again. */
static bool lost_committed(const struct master *m)
{
    if (!oplog_damaged(m->log)) {
        return false;
    }
    struct log_answer a = oplog_findings(m->log);
    /* A hole is mended from the others' records, if that is possible. */
    bool hole = a.hole_count > 0 && a.holes[0].from <= a.committed &&
                env_mono_ns(m->env) - m->start_ns >= MENDING_MS * NS_PER_MS;
    return a.tail.index < a.committed || hole;
}

/* The giver's log does not reach back to what cannot be read here, and what it has is committed. */
static bool is_hole_before(const struct master *m, const struct assure_peer *giver)
{
    if (!oplog_damaged(m->log) ||
        env_mono_ns(m->env) - m->start_ns < MENDING_MS * NS_PER_MS) { /* another log may have it */
        return false;
    }
    struct log_answer a = oplog_findings(m->log);
    return a.hole_count > 0 && a.holes[0].from <= giver->health.committed &&
           a.holes[0].from < giver->said.first;
}

/* The giver's log does not reach back to what is known to be committed here, so it cannot tell where
 * the two part; or it would have, and records would be committed here, in the meantime. */
static bool has_parted(struct master *m, const struct assure_peer *giver)
{
    struct transfer *t = &m->transfer;
    uint64_t committed = oplog_committed(m->log);
    uint64_t now = env_mono_ns(m->env);
    bool apart = giver->said.first > committed + 1 && giver->health.committed > committed;
    if (!apart || t->apart_at != committed) {
        t->apart_at = apart ? committed : UINT64_MAX;
        t->apart_ns = now;
    }
    return apart && now - t->apart_ns >= MENDING_MS * NS_PER_MS;
}

/* Why this master needs the checkpoint of that one; NULL: it does not. */
static const char *need(struct master *m, uint32_t giver)
{
    const struct assure_peer *p = &m->assure.peers[giver];
    if (lost_committed(m)) {
        return "committed records cannot be read here";
    }
    if (is_hole_before(m, p)) {
        return "records that cannot be read here are in its checkpoints only";
    }
    bool readable = oplog_last(m->log) + 1 > oplog_first(m->log);
    if (m->stateless && !(oplog_damaged(m->log) && readable)) {
        return "there is no state, and nothing here to build it from";
    }
    /* No other log has what cannot be read here and comes next. */
    if (oplog_rot_at(m->log, m->commit.applied + 1) && p->said.first > m->commit.applied + 1) {
        return "the records that come next cannot be read here, and are in its checkpoints only";
    }
    if (p->said.first > oplog_last(m->log) + 1) {
        return "the records that come next are in its checkpoints only";
    }
    if (has_parted(m, p)) {
        return "its log begins behind the last record that both are known to have";
    }
    return NULL;
}

/* It has everything that is committed: it serves, or it was promoted in the epoch promised here and waits
 * for its first record to be committed, perhaps by the log that needs the checkpoint. */
static bool is_primary(const struct master *m, const struct health_rep *h)
{
    return h->epoch >= oplog_epoch(m->log) &&
           (h->role == MASTER_PRIMARY ||
            (h->role == MASTER_STARTING && h->epoch > 0 && h->applied > 0));
}

/* It can be asked, and said lately how it is. */
static bool is_there(const struct master *m, uint32_t number)
{
    const struct assure_peer *p = &m->assure.peers[number];
    return p->health_ns != 0 &&
           env_mono_ns(m->env) - p->health_ns < 2 * ASSURE_WAIT_MS * NS_PER_MS &&
           log_links_up(m->links, number);
}

/* Number of a master that is the primary; count if none is known. */
static uint32_t find_primary(const struct master *m)
{
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        if (is_there(m, i) && is_primary(m, &m->assure.peers[i].health)) {
            return i;
        }
    }
    return m->cfg.set.count;
}

/* A new log without a record vouches for nothing, so nothing is given up with it. */
static bool is_blank(const struct master *m)
{
    return oplog_joining(m->log) && !oplog_damaged(m->log) &&
           oplog_last(m->log) + 1 == oplog_first(m->log);
}

/* Number of the master that is furthest ahead, but for those in the bits of `without`; count if there is
 * none. */
static uint32_t find_foremost(const struct master *m, uint32_t without)
{
    uint32_t best = m->cfg.set.count;
    uint64_t applied = 0;
    for (uint32_t i = 0; i < m->cfg.set.count; i++) {
        const struct assure_peer *p = &m->assure.peers[i];
        if (!(without & 1u << i) && is_there(m, i) && p->health.applied > applied) {
            best = i;
            applied = p->health.applied;
        }
    }
    return best;
}

/* Number of the master whose checkpoint may be taken over; count if there is none. Every checkpoint has
 * committed records only. So a blank log takes that of anybody who is ahead: where all logs must
 * have a record, no primary serves before it has. */
static uint32_t find_giver(const struct master *m)
{
    uint32_t primary = find_primary(m);
    return primary < m->cfg.set.count || !is_blank(m) ? primary : find_foremost(m, 0);
}

/* Who is asked for it: the giver, or another one if that could not. */
static uint32_t find_source(struct master *m, uint32_t giver)
{
    struct transfer *t = &m->transfer;
    uint32_t source = t->refused & 1u << giver ? find_foremost(m, t->refused) : giver;
    if (source < m->cfg.set.count) {
        return source;
    }
    t->refused = 0;
    return giver;
}

/* ---------------------------------------------------------------- copying, last step first */

static void ends(struct master *m)
{
    struct transfer *t = &m->transfer;
    if (t->file != NULL) {
        env_file_close(m->env, t->file);
        t->file = NULL;
    }
    slice_drop(&t->piece);
    t->running = t->complete = false;
    t->next_ns = env_mono_ns(m->env) + TRANSFER_PAUSE_MS * NS_PER_MS;
}

static void failed(struct master *m, const char *what, int err)
{
    env_log(m->env, LOG_ERROR, "checkpoint of %s cannot be taken over: %s: %s",
            m->cfg.set.addr[m->transfer.source], what, err_text(err));
    ends(m);
}

/* The checkpoint that was copied, by its .sum file. */
static int copied(struct master *m, struct checkpoint_ref *out, struct why *why)
{
    struct checkpoint_ref refs[CHECKPOINTS_LISTED_MAX];
    int count = checkpoint_list(m->env, refs, why);
    for (int i = 0; i < count; i++) {
        if (refs[i].at.index == m->transfer.index) {
            *out = refs[i];
            return out->cluster == m->cluster
                       ? 0
                       : why_set(why, ERR_FOREIGN_CLUSTER, "it belongs to cluster %016llx",
                                 (unsigned long long)out->cluster);
        }
    }
    return count < 0 ? count : why_set(why, ERR_CORRUPT, "its sums do not fit");
}

static bool log_has(struct master *m, const struct store_position *at)
{
    uint64_t chain;
    struct why ignored;
    return !oplog_damaged(m->log) && at->index <= oplog_last(m->log) &&
           oplog_chain(m->log, at->index, &chain, &ignored) == 0 && chain == at->chain;
}

/* Both parts have their names. */
static void take_over(struct master *m)
{
    struct transfer *t = &m->transfer;
    struct checkpoint_ref ref = {0};
    struct why why = {0};
    if (!oplog_quiet(m->log) || oplog_promising(m->log)) {
        return; /* the next tick */
    }
    int rc = copied(m, &ref, &why);
    if (rc != 0) {
        env_log(m->env, LOG_ERROR, "checkpoint %llu: %s", (unsigned long long)t->index, why.text);
        failed(m, "reading it", rc);
        return;
    }
    if (!log_has(m, &ref.at)) {
        env_log(m->env, LOG_WARN, "the log begins anew behind checkpoint %llu",
                (unsigned long long)t->index);
        rc = oplog_begin_at(m->log, ref.at.index, ref.at.epoch, ref.at.chain, &why);
        if (rc != 0 && oplog_begun(m->log)) {
            env_die(m->env, why.text);
        }
        if (rc != 0) {
            failed(m, "beginning the log anew", rc);
            return;
        }
    } else if (
        !m->stateless) { /* the log goes on, and the next start would keep the state as it is */
        store_condemn(m->store);
    }
    t->ended = true;
    m->commit.stopped = true;
    env_end(m->env);
}

static void names_synced(struct disk_op *op)
{
    struct master *m = op->owner;
    if (op->result < 0) {
        failed(m, "sync of " CHECKPOINT_DIR, (int)op->result);
        return;
    }
    m->transfer.complete = !m->primary;
}

/* The .sum file gets its name last: it makes it a checkpoint. */
static void give_names(struct master *m)
{
    struct transfer *t = &m->transfer;
    char path[PATH_BYTES];
    int rc = env_rename(m->env, FETCHED_ROWS, checkpoint_path(t->index, path, sizeof(path)));
    if (rc == 0) {
        rc = env_rename(m->env, FETCHED_SUMS, checkpoint_sum_path(t->index, path, sizeof(path)));
    }
    if (rc < 0) {
        failed(m, "naming it", rc);
        return;
    }
    t->op = (struct disk_op){
        .kind = DISK_SYNC_DIR, .path = CHECKPOINT_DIR, .done = names_synced, .owner = m};
    env_disk_submit(m->env, &t->op);
}

static void ask(struct master *m);

static bool begin_part(struct master *m, uint32_t part)
{
    struct transfer *t = &m->transfer;
    const char *path = part == CHECKPOINT_SUMS ? FETCHED_SUMS : FETCHED_ROWS;
    if (t->file != NULL) {
        env_file_close(m->env, t->file);
        t->file = NULL;
    }
    (void)env_unlink(m->env, path); /* of an attempt that failed */
    t->part = part;
    t->offset = t->size = 0;
    int rc = env_file_open(m->env, path, ENV_OPEN_CREATE | ENV_OPEN_EXCL, &t->file);
    if (rc < 0) {
        t->file = NULL;
        failed(m, "making a file", rc);
    }
    return rc == 0;
}

static void written(struct disk_op *op)
{
    struct master *m = op->owner;
    struct transfer *t = &m->transfer;
    if (m->stopping || m->primary) {
        ends(m);
        return;
    }
    if (op->result < 0) {
        failed(m, "writing it", (int)op->result);
        return;
    }
    t->offset += op->len;
    slice_drop(&t->piece);
    if (t->offset < t->size) {
        ask(m);
    } else if (t->part == CHECKPOINT_SUMS) {
        if (begin_part(m, CHECKPOINT_ROWS)) {
            ask(m);
        }
    } else {
        env_file_close(m->env, t->file);
        t->file = NULL;
        give_names(m);
    }
}

static void answered(struct rpc_call *c)
{
    struct master *m = c->owner;
    struct transfer *t = &m->transfer;
    struct checkpoint_read_rep rep;
    int rc = RPC_REPLY(checkpoint_read, c, &rep);
    if (rc == 0 && ((t->index != 0 && rep.index != t->index) || rep.index == 0 ||
                    c->reply->payload.len == 0 || c->reply->payload.len > FRAME_PAYLOAD_MAX ||
                    rep.size < t->offset + c->reply->payload.len)) {
        rc = ERR_PROTOCOL;
    }
    if (rc != 0) {
        t->refused |= 1u << t->source;
        failed(m, "reading it there", rc);
        return;
    }
    t->index = rep.index;
    t->size = rep.size;
    t->piece = slice_ref(&c->reply->payload);
    t->op = (struct disk_op){.kind = DISK_WRITE,
                             .file = t->file,
                             .off = t->offset,
                             .data = (void *)(uintptr_t)slice_data(&t->piece),
                             .len = t->piece.len,
                             .sync = true,
                             .done = written,
                             .owner = m};
    env_disk_submit(m->env, &t->op);
}

static void ask(struct master *m)
{
    struct transfer *t = &m->transfer;
    struct checkpoint_read_req req = {.index = t->index, .part = t->part, .offset = t->offset};
    t->call.done = answered;
    log_links_call(m->links, t->source, &t->call, OP_checkpoint_read, 0,
                   RPC_BODY(checkpoint_read_req, &req), NULL, TRANSFER_WAIT_MS);
}

void transfer_tick(struct master *m)
{
    struct transfer *t = &m->transfer;
    uint64_t now = env_mono_ns(m->env);
    if (t->complete && !t->ended) {
        take_over(m);
    }
    if (t->running || t->ended || m->cluster == 0 || now < t->next_ns ||
        checkpoint_running(m->commit.checkpoint)) {
        return;
    }
    t->next_ns = now + TRANSFER_CHECK_MS * NS_PER_MS;
    uint32_t giver = find_giver(m);
    const char *why = giver < m->cfg.set.count ? need(m, giver) : NULL;
    if (why == NULL) {
        return;
    }
    t->source = find_source(m, giver);
    env_log(m->env, LOG_WARN, "the newest checkpoint of master %s is taken over: %s",
            m->cfg.set.addr[t->source], why);
    t->running = true;
    t->index = 0;
    if (begin_part(m, CHECKPOINT_SUMS)) {
        ask(m);
    }
}

/* ---------------------------------------------------------------- giving */

void transfer_offer(struct master *m)
{
    struct transfer *t = &m->transfer;
    struct log_hole holes[LOG_HOLES_MAX];
    uint32_t count = oplog_rot(m->log, holes);
    uint64_t newest = checkpoint_newest(m->commit.checkpoint).index;
    uint64_t now = env_mono_ns(m->env);
    uint64_t from = 0;
    for (uint32_t i = 0; i < count; i++) {
        from = holes[i].to <= newest ? MAX(from, holes[i].to + 1) : from;
    }
    if (from == 0) {
        t->hole_ns = now;
    }
    logger_give_from(m->logger, now - t->hole_ns >= MENDING_MS * NS_PER_MS ? from : 0);
}

/* One piece of a file: its bytes in *out; negative errno. */
static int read_piece(struct env *env, const char *path, uint64_t offset, uint64_t *out_size,
                      struct slice *out)
{
    struct env_file *f;
    int rc = env_file_open(env, path, ENV_OPEN_READ_ONLY, &f);
    if (rc < 0) {
        return rc;
    }
    int64_t n = env_file_size(env, f);
    if (n >= 0) {
        *out_size = (uint64_t)n;
        uint64_t left = offset < *out_size ? *out_size - offset : 0;
        uint32_t len = (uint32_t)MIN(left, (uint64_t)TRANSFER_PIECE_BYTES);
        *out = (struct slice){.buf = buf_new(len), .len = len};
        n = len == 0 ? -EINVAL : env_file_read(env, f, offset, out->buf->data, len);
        n = n >= 0 && n < len ? -EIO : n;
    }
    env_file_close(env, f);
    return n < 0 ? (int)n : 0;
}

bool transfer_request(struct peer *p, struct message *msg)
{
    struct master *m = p->m;
    struct checkpoint_read_req req;
    struct checkpoint_read_rep rep = {0};
    struct slice payload = {0};
    char path[PATH_BYTES];
    if (msg->head.op != OP_checkpoint_read) {
        return false;
    }
    int status = 0;
    if (checkpoint_read_req_decode(slice_bytes(&msg->body), &req) != 0 ||
        (req.part != CHECKPOINT_SUMS && req.part != CHECKPOINT_ROWS)) {
        status = ERR_PROTOCOL;
    }
    if (status == 0 && req.index == 0 && checkpoint_newest(m->commit.checkpoint).index == 0) {
        m->commit.wanted = true; /* there will be one when it asks again */
    }
    if (status == 0) {
        rep.index = req.index != 0 ? req.index : checkpoint_newest(m->commit.checkpoint).index;
        status = rep.index == 0
                     ? -ENOENT
                     : read_piece(m->env,
                                  req.part == CHECKPOINT_SUMS
                                      ? checkpoint_sum_path(rep.index, path, sizeof(path))
                                      : checkpoint_path(rep.index, path, sizeof(path)),
                                  req.offset, &rep.size, &payload);
    }
    if (status != 0) {
        slice_drop(&payload);
        rpc_answer_status(&p->rpc, &msg->head, status);
        return true;
    }
    rpc_answer(&p->rpc, &msg->head, 0, committed_index(m), m->epoch,
               RPC_BODY(checkpoint_read_rep, &rep), &payload);
    return true;
}

/* ---------------------------------------------------------------- life */

void transfer_init(struct master *m)
{
    m->transfer.apart_at = UINT64_MAX;
    m->transfer.call.owner = m;
}

void transfer_start(struct master *m)
{
    (void)env_unlink(m->env, FETCHED_SUMS); /* of a process that ended in the middle */
    (void)env_unlink(m->env, FETCHED_ROWS);
}

/* With an operation of the disk under way, its callback does it. */
void transfer_stop(struct master *m)
{
    struct transfer *t = &m->transfer;
    if (rpc_call_running(&t->call) || t->complete) {
        rpc_cancel(&t->call);
        ends(m);
    }
}

void transfer_free(struct master *m)
{
    struct transfer *t = &m->transfer;
    rpc_cancel(&t->call);
    if (t->file != NULL) {
        env_file_close(m->env, t->file);
        t->file = NULL;
    }
    slice_drop(&t->piece);
}
