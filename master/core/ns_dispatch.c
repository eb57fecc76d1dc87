/* ns_dispatch.c - the namespace as others see it: creation, counters, and the way of an operation
 * to its functions.
 *
 * TABLE_META key "ns.counters": next_ino, next_handle, next_session, next_server, chunks,
 * trash_bytes, 8 bytes little endian each.
 */
#include "master/core/ns_internal.h"
#include "shared/base/mem.h"

#define COUNTERS_KEY "ns.counters"
enum { COUNTERS_BYTES = 48 };

static void read_counters(struct ns *ns)
{
    struct bytes row;
    ns->next_ino = ROOT_INO + 1;
    ns->next_handle = 1;
    ns->next_session = 1;
    ns->next_server = 1;
    if (store_get(ns->store, TABLE_META, bytes_str(COUNTERS_KEY), &row) != 0) {
        return; /* a new environment */
    }
    ROW_IS(ns, "meta", row.len == COUNTERS_BYTES);
    ns->next_ino = get_le(row.data, 8);
    ns->next_handle = get_le(row.data + 8, 8);
    ns->next_session = get_le(row.data + 16, 8);
    ns->next_server = (uint32_t)get_le(row.data + 24, 8);
    ns->chunks = get_le(row.data + 32, 8);
    ns->trash_bytes = get_le(row.data + 40, 8);
}

void ns_before_commit(struct ns *ns)
{
    uint8_t row[COUNTERS_BYTES];
    replies_settle(ns);
    put_le(row, ns->next_ino, 8);
    put_le(row + 8, ns->next_handle, 8);
    put_le(row + 16, ns->next_session, 8);
    put_le(row + 24, ns->next_server, 8);
    put_le(row + 32, ns->chunks, 8);
    put_le(row + 40, ns->trash_bytes, 8);
    store_put(ns->store, TABLE_META, bytes_str(COUNTERS_KEY), bytes_of(row, sizeof(row)));
}

struct ns *ns_create(struct env *env, struct store *store, const struct geometry *geo,
                     const struct ns_decider *decider)
{
    struct ns *ns = mem_new(struct ns);
    ns->env = env;
    ns->store = store;
    ns->geo = *geo;
    ns->decider = *decider;
    replies_init(ns);
    read_counters(ns);
    return ns;
}

void ns_destroy(struct ns *ns)
{
    replies_close(ns);
    mem_free(ns);
}

uint64_t ns_hash(struct ns *ns)
{
    replies_settle(ns);
    return store_hash(ns->store);
}

struct ns_counts ns_counts(const struct ns *ns)
{
    return (struct ns_counts){
        .inodes = store_rows(ns->store, TABLE_INODE),
        .chunks = ns->chunks,
        .sessions = store_rows(ns->store, TABLE_SESSION),
        .garbage = store_rows(ns->store, TABLE_GARBAGE),
        .trash = store_rows(ns->store, TABLE_TRASH),
        .trash_bytes = ns->trash_bytes,
        .next_ino = ns->next_ino,
        .next_handle = ns->next_handle,
    };
}

/* ---------------------------------------------------------------- operations */

#define CASE_NONE(name)

int ns_query(struct ns *ns, enum op_code op, const union op_any *req, struct writer *scratch,
             union op_any *rep, uint64_t *out_depends)
{
    struct look l = {.ns = ns, .scratch = scratch};
    int err = ERR_UNKNOWN_OP;
    memset(rep, 0, sizeof(*rep));
#define CASE_QUERY(name)                                                                           \
    case OP_##name:                                                                                \
        err = query_##name(&l, &req->name##_req, &rep->name##_rep);                                \
        break;
    switch ((unsigned)op) {
        NS_QUERIES(CASE_QUERY)
    default:
        break;
    }
#undef CASE_QUERY
    *out_depends = l.depends;
    return err;
}

int ns_prepare(struct ns *ns, enum op_code op, uint64_t session, const union op_any *req,
               struct writer *scratch, union op_any *rec, uint64_t *out_depends)
{
    struct look l = {.ns = ns, .scratch = scratch, .session = session};
    int err = ERR_UNKNOWN_OP;
#define CASE_QUERY   CASE_NONE
#define CASE_CONTROL CASE_NONE
#define CASE_RECORD  CASE_NONE
#define CASE_MUTATION(name)                                                                        \
    case OP_##name:                                                                                \
        name##_rec_from_req(&rec->name##_rec, &req->name##_req);                                   \
        err = prepare_##name(&l, &rec->name##_rec);                                                \
        break;
    switch ((unsigned)op) {
#define OP(name, code, class, doc) CASE_##class(name)
#include "shared/proto/ops.def"
    default:
        break;
    }
#undef CASE_RECORD
#undef CASE_MUTATION
    *out_depends = l.depends;
    return err;
}

static struct stamp stamp_of(int64_t time_ns)
{
    int64_t ns_per_s = (int64_t)NS_PER_S;
    int64_t sec = time_ns / ns_per_s - (time_ns % ns_per_s < 0);
    return (struct stamp){sec, (uint32_t)(time_ns - sec * ns_per_s)};
}

static void apply_op(struct change *c, const union op_any *rec, union op_any *rep)
{
#define CASE_RECORD(name)                                                                          \
    case OP_##name:                                                                                \
        apply_##name(c, &rec->name##_rec);                                                         \
        break;
#define CASE_MUTATION(name)                                                                        \
    case OP_##name:                                                                                \
        apply_##name(c, &rec->name##_rec, &rep->name##_rep);                                       \
        break;
    switch (c->record->type) {
#define OP(name, code, class, doc) CASE_##class(name)
#include "shared/proto/ops.def"
    default:
        break;
    }
#undef CASE_RECORD
#undef CASE_MUTATION
#undef CASE_CONTROL
#undef CASE_QUERY
}

void ns_apply(struct ns *ns, const struct record *r, const union op_any *rec,
              struct writer *scratch, union op_any *rep)
{
    struct change c = {.ns = ns, .record = r, .now = stamp_of(r->time_ns), .scratch = scratch};
    const struct op_info *info = op_info_of(r->type);
    memset(rep, 0, sizeof(*rep));
    apply_op(&c, rec, rep);
    if (info->class == OP_MUTATION && r->sequence > 0) {
        struct writer w;
        writer_init(&w);
        info->rep_encode(&w, rep);
        reply_keep(&c, writer_bytes(&w));
        writer_free(&w);
    }
}

void apply_state_hash(struct change *c, const struct state_hash_rec *rec)
{
    (void)c;
    (void)rec; /* compared in ns_apply_record: live, the hash was just taken from this state */
}

int ns_apply_record(struct ns *ns, const struct record *r, struct why *why)
{
    union op_any rec, rep;
    const struct op_info *info = op_info_of(r->type);
    if (info == NULL || (info->class != OP_MUTATION && info->class != OP_RECORD)) {
        return why_set(why, ERR_CORRUPT,
                       "record %llu has type 0x%04x, which is no operation of the log",
                       (unsigned long long)r->index, r->type);
    }
    if (info->rec_decode(r->body, &rec) != 0) {
        return why_set(why, ERR_CORRUPT, "record %llu (%s) cannot be decoded",
                       (unsigned long long)r->index, info->name);
    }
    if (r->type == OP_state_hash && rec.state_hash_rec.hash != ns_hash(ns)) {
        return why_set(why, ERR_CORRUPT,
                       "record %llu says the state's hash is %016llx, but it is %016llx",
                       (unsigned long long)r->index, (unsigned long long)rec.state_hash_rec.hash,
                       (unsigned long long)store_hash(ns->store));
    }
    struct writer scratch;
    writer_init(&scratch);
    ns_apply(ns, r, &rec, &scratch, &rep);
    writer_free(&scratch);
    return 0;
}
