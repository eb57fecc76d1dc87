/* harmless.c - typed requests that do no harm. */
#include "tests/sim/harmless.h"
#include "master/core/master_internal.h"
#include "tests/sim/data_work.h"

#include <string.h>

enum { LOOKS = 8, TREE_LOOKS = 24 };
/* Leases that run so long yet run when the request arrives. */
#define CLAIM_NS (700 * NS_PER_MS)

/* ---------------------------------------------------------------- what there is */

/* A chunk, as far as the record names one. */
static void note_chunk(const struct record *r, const union op_any *rec, struct typed_ground *g)
{
    if (r->type == OP_chunk_new) {
        g->ino = rec->chunk_new_rec.ino;
        g->number = rec->chunk_new_rec.number;
        g->handle = rec->chunk_new_rec.handle;
        g->version = rec->chunk_new_rec.version;
    } else if (r->type == OP_chunk_version) {
        g->ino = rec->chunk_version_rec.ino;
        g->number = rec->chunk_version_rec.number;
        g->handle = rec->chunk_version_rec.handle;
        g->version = rec->chunk_version_rec.version;
    } else if (r->type == OP_create && rec->create_rec.handle != 0) {
        g->ino = rec->create_rec.ino;
        g->handle = rec->create_rec.handle;
        g->version = rec->create_rec.version;
    }
}

/* An inode that the record makes, of the tree that programs change; 0 = none. */
static uint64_t made_in_tree(const struct world *w, const struct record *r, const union op_any *rec)
{
    uint64_t ino = r->type == OP_mkdir     ? rec->mkdir_rec.ino
                   : r->type == OP_mknod   ? rec->mknod_rec.ino
                   : r->type == OP_symlink ? rec->symlink_rec.ino
                                           : 0;
    return ino != w->data->dir ? ino : 0;
}

static bool some_record(struct world *w, struct sim_rand *r, uint64_t among, union op_any *rec,
                        const struct record **out)
{
    uint64_t last = log_tap_last(w->tap);
    *out = log_tap_record(w->tap, last - sim_below(r, MIN(among, last)));
    const struct op_info *info = *out != NULL ? op_info_of((*out)->type) : NULL;
    memset(rec, 0, sizeof(*rec));
    return info != NULL && info->rec_decode((*out)->body, rec) == 0;
}

struct typed_ground harmless_ground(struct world *w, struct sim_rand *r)
{
    struct typed_ground g = {.dir = w->meta_dir, .masters = w->master_list};
    union op_any rec;
    const struct record *one;
    for (int i = 0; i < LOOKS && g.handle == 0 && log_tap_last(w->tap) > 0; i++) {
        if (some_record(w, r, UINT64_MAX, &rec, &one)) {
            note_chunk(one, &rec, &g);
            g.index = one->index;
        }
    }
    g.server = 1 + (uint32_t)sim_below(r, w->server_count);
    return g;
}

uint64_t harmless_of_tree(struct world *w, struct sim_rand *r)
{
    union op_any rec;
    const struct record *one;
    for (int i = 0; i < TREE_LOOKS && log_tap_last(w->tap) > 0; i++) {
        if (some_record(w, r, 300, &rec, &one) && made_in_tree(w, one, &rec) != 0) {
            return made_in_tree(w, one, &rec);
        }
    }
    return w->meta_dir;
}

/* ---------------------------------------------------------------- changes */

/* So short that nobody minds, or too long for anybody. */
static uint64_t bent_size(uint64_t size)
{
    return size > INT64_MAX ? size : size % 700000;
}

static bool change(struct world *w, struct sim_rand *r, enum op_code op, union op_any *q)
{
    uint64_t ino = sim_chance(r, 7, 8) ? harmless_of_tree(w, r) : sim_rand64(r) | 1ull << 50;
    switch (op) {
    case OP_create: /* it would be a file that somebody writes to */
        q->create_req.parent |= 1ull << 50;
        return true;
    case OP_link:
        q->link_req.ino = ino;
        return true;
    case OP_setattr:
        q->setattr_req.ino = ino;
        q->setattr_req.size = bent_size(q->setattr_req.size);
        return true;
    case OP_extend:
        q->extend_req.ino = ino;
        q->extend_req.end = bent_size(q->extend_req.end);
        return true;
    case OP_setxattr:
        q->setxattr_req.ino = ino;
        if (q->setxattr_req.value.len == 1 && q->setxattr_req.value.data[0] == '1') {
            q->setxattr_req.value =
                bytes_str("11"); /* not one replica: it may be lost with a disk */
        }
        return true;
    case OP_removexattr:
        q->removexattr_req.ino = ino;
        return true;
    case OP_trimmed:
        q->trimmed_req.ino = ino;
        return true;
    case OP_session_open:
        return false;
    default:
        return true;
    }
}

/* ---------------------------------------------------------------- the rest */

/* A copy of a disk that is in use: refused while the lease of who uses it runs. */
static void claim_disk(struct world *w, struct sim_rand *r, struct register_req *q)
{
    const struct sim_server *primary = world_primary(w);
    q->self.addr.len = 0; /* a chunkserver that is not there must not get replicas */
    if (primary == NULL || primary->master->servers.highest == 0 || sim_chance(r, 1, 2)) {
        return;
    }
    struct master *m = primary->master;
    uint32_t id = 1 + (uint32_t)sim_below(r, m->servers.highest);
    const struct chunkserver *s = servers_get(&m->servers, id);
    if (s->peer != NULL && s->boot != q->boot && q->boot != 0 &&
        env_mono_ns(m->env) + CLAIM_NS < s->lease_until_ns) {
        *q = (struct register_req){.disk = s->disk, .self = server_as_field(s), .boot = q->boot};
    }
}

static bool of_primary(struct world *w, struct sim_rand *r, enum op_code op, union op_any *q)
{
    switch (op) {
    case OP_promote:
        q->promote_req.epoch = q->promote_req.ended = 0;
        return true;
    case OP_master_lease:
        q->master_lease_req.epoch = UINT32_MAX;
        return true;
    case OP_step_down:
        q->step_down_req.epoch = 0;
        return true;
    case OP_log_promise:
        q->log_promise_req.epoch = 0;
        q->log_promise_req.holder = sim_chance(r, 1, 2) ? 0 : 1;
        return true;
    case OP_register:
        claim_disk(w, r, &q->register_req);
        return true;
    default:
        return true;
    }
}

static bool of_operator(struct world *w, struct sim_rand *r, enum op_code op, union op_any *q)
{
    switch (op) {
    case OP_server_set:
        if (sim_chance(r, 1, 2)) {
            q->server_set_req.server = sim_chance(r, 1, 2) ? 0 : UINT32_MAX;
        } else if (sim_chance(r, 1, 2)) {
            q->server_set_req.action += SERVER_MAINTENANCE + 1;
        } else {
            q->server_set_req.duration_ms = UINT64_MAX;
        }
        return true;
    case OP_checkpoint_now:
    case OP_handover:
    case OP_hello:
        return false;
    default:
        return of_primary(w, r, op, q);
    }
}

/* Of a chunkserver: another version than any is asked for when more than reading is wanted. */
static bool of_chunk(struct world *w, struct sim_rand *r, enum op_code op, union op_any *q)
{
    uint64_t version = 1ull << 62 | sim_rand64(r);
    switch (op) {
    case OP_write:
        q->write_req.version = version;
        q->write_req.fresh = false;
        return true;
    case OP_forward:
        q->forward_req.version = version;
        q->forward_req.fresh &= q->forward_req.mutation != 1;
        return true;
    case OP_sync: /* what is synced once more is the same, whoever is said to be a member */
        return true;
    case OP_sync_replica:
        q->sync_replica_req.version = version;
        return true;
    case OP_grant: /* a chunk would be made */
        if (sim_chance(r, 1, 2)) {
            q->grant_req.ino = w->meta_dir;
        }
        return true;
    default:
        return of_operator(w, r, op, q);
    }
}

/* What is named is not there: it would be removed, closed, complained of, or a chunk made. */
static bool needs_nothing(enum op_code op)
{
    switch (op) {
    case OP_session_attach:
    case OP_close_files:
    case OP_grant:
    case OP_report_bad:
    case OP_trash_restore:
    case OP_trash_purge:
    case OP_replicas_set:
    case OP_report:
    case OP_scanned:
        return true;
    default:
        return false;
    }
}

bool harmless_draw(struct typed *t, struct world *w, const struct op_info *op, uint64_t session,
                   union op_any *out)
{
    enum op_code code = (enum op_code)op->code;
    struct typed_ground g = harmless_ground(w, t->rand);
    g.none = needs_nothing(code);
    if (op->class == OP_MUTATION && sim_chance(t->rand, 1, 3)) {
        g.dir = harmless_of_tree(w, t->rand);
    }
    typed_draw(t, op, &g, out);
    if (op->class == OP_MUTATION) {
        return change(w, t->rand, code, out);
    }
    if (code == OP_session_attach) {
        out->session_attach_req.session = session;
    } else if (code == OP_open) {
        out->open_req.flags &= ~3u; /* what it leaves would be cut when its session ends */
    }
    return of_chunk(w, t->rand, code, out);
}
