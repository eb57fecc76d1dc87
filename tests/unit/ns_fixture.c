/* ns_fixture.c - a namespace for tests. */
#include "tests/unit/ns_fixture.h"
#include "shared/base/mem.h"

static int choose_members(void *owner, uint32_t wanted, uint32_t *out_ids, uint32_t max)
{
    struct fixture *f = owner;
    int count = MIN(f->members, (int)MIN(wanted != 0 ? wanted : 3, max));
    for (int i = 0; i < count; i++) {
        out_ids[i] = (uint32_t)i + 1;
    }
    return count;
}

static void holders(void *owner, uint64_t ino, struct writer *w)
{
    struct fixture *f = owner;
    for (int i = 0; i < FIXTURE_HOLDS; i++) {
        if (f->holds[i].ino == ino) {
            enc_u64(w, &f->holds[i].session);
        }
    }
}

static uint64_t next_version(void *owner, uint64_t old)
{
    (void)owner;
    return MAX(old + 1, 1ull << 32 | 1);
}

static struct store *open_store(struct fixture *f, const char *name)
{
    struct store *s;
    struct why why;
    ck_assert_int_eq(store_open(&f->process->env, name, &s, &why), 0);
    return s;
}

struct fixture *fixture_open(void)
{
    struct fixture *f = mem_new(struct fixture);
    f->sim = sim_create(1);
    f->process = sim_process_create(f->sim, "master");
    sim_process_start(f->process);
    f->store = open_store(f, "live");
    f->replay_store = open_store(f, "replay");
    struct geometry geo = GEOMETRY_DEFAULT;
    geo.chunk_bytes = FIXTURE_CHUNK;
    geo.block_bytes = 4096;
    struct ns_decider decider = {
        .choose_members = choose_members,
        .holders = holders,
        .next_version = next_version,
        .owner = f,
    };
    f->ns = ns_create(&f->process->env, f->store, &geo, &decider);
    f->replay = ns_create(&f->process->env, f->replay_store, &geo, &decider);
    f->time_ns = 1700000000123456789;
    f->members = 5;
    writer_init(&f->scratch);
    writer_init(&f->apply_scratch);
    RECORD(f, epoch_start, .epoch = 1);
    for (uint32_t i = 1; i <= 5; i++) {
        RECORD(f, server_add, .disk = 1000 + i,
               .server = {.id = i, .addr = N("10.0.0.1:9401"), .host = N("h"), .rack = N("r")});
    }
    return f;
}

void fixture_check(struct fixture *f)
{
    struct why why;
    if (ns_audit(f->ns, &why) != 0 || ns_audit(f->replay, &why) != 0) {
        ck_abort_msg("audit: %s", why.text);
    }
    ck_assert_uint_eq(ns_hash(f->ns), ns_hash(f->replay));
    struct ns_counts a = ns_counts(f->ns), b = ns_counts(f->replay);
    ck_assert_mem_eq(&a, &b, sizeof(a));
}

void fixture_close(struct fixture *f)
{
    fixture_check(f);
    ns_destroy(f->ns);
    ns_destroy(f->replay);
    store_close(f->store);
    store_close(f->replay_store);
    writer_free(&f->scratch);
    writer_free(&f->apply_scratch);
    sim_process_kill(f->process);
    sim_destroy(f->sim);
    mem_free(f);
}

/* Applies a record live, and from its encoding to the second namespace. */
static void apply(struct fixture *f, enum op_code op, const union op_any *rec, uint64_t session,
                  uint64_t sequence)
{
    struct writer body;
    writer_init(&body);
    op_info_of((uint16_t)op)->rec_encode(&body, rec);
    f->time_ns += 1000000007;
    struct record r = {
        .index = ++f->index,
        .epoch = 1,
        .type = (uint16_t)op,
        .time_ns = f->time_ns,
        .session = session,
        .sequence = sequence,
        .acked = f->acked,
        .body = writer_bytes(&body),
    };
    f->apply_scratch.len = 0;
    ns_apply(f->ns, &r, rec, &f->apply_scratch, &f->rep);
    struct why why;
    if (ns_apply_record(f->replay, &r, &why) != 0) {
        ck_abort_msg("replay: %s", why.text);
    }
    uint64_t replayed = ns_hash(f->replay);
    MUST(f->index % 5 != 0 || ns_hash(f->ns) == replayed); /* their rows settle at other times */
    writer_free(&body);
}

int fixture_do(struct fixture *f, enum op_code op, const union op_any *req)
{
    union op_any rec;
    f->scratch.len = 0;
    uint64_t before = store_hash(f->store);
    int err = ns_prepare(f->ns, op, f->session, req, &f->scratch, &rec, &f->depends);
    MUST(before == store_hash(f->store));
    MUST(err <= 0);
    if (err == 0) {
        apply(f, op, &rec, f->session, f->session != 0 ? ++f->sequence : 0);
    }
    return err;
}

int fixture_ask(struct fixture *f, enum op_code op, const union op_any *req)
{
    f->scratch.len = 0;
    return ns_query(f->ns, op, req, &f->scratch, &f->rep, &f->depends);
}

void fixture_record(struct fixture *f, enum op_code op, const union op_any *rec)
{
    apply(f, op, rec, 0, 0);
}

/* ---------------------------------------------------------------- short forms */

uint64_t make_dir(struct fixture *f, uint64_t parent, const char *name)
{
    ck_assert_int_eq(DO(f, mkdir, .parent = parent, .name = N(name), .mode = 0755), 0);
    return f->rep.mkdir_rep.attr.ino;
}

uint64_t make_file(struct fixture *f, uint64_t parent, const char *name)
{
    ck_assert_int_eq(DO(f, mknod, .parent = parent, .name = N(name), .mode = 0644), 0);
    return f->rep.mknod_rep.attr.ino;
}

uint64_t create_file(struct fixture *f, uint64_t parent, const char *name)
{
    ck_assert_int_eq(DO(f, create, .parent = parent, .name = N(name), .mode = 0644), 0);
    return f->rep.create_rep.attr.ino;
}

uint64_t open_session(struct fixture *f, uint64_t nonce)
{
    uint64_t session = f->session;
    f->session = 0;
    ck_assert_int_eq(DO(f, session_open, .nonce = nonce, .host = N("client")), 0);
    f->session = session;
    return f->rep.session_open_rep.session;
}

uint64_t find(struct fixture *f, uint64_t parent, const char *name)
{
    int err = ASK(f, lookup, .parent = parent, .name = N(name));
    MUST(err == 0 || err == -ENOENT);
    return err == 0 ? f->rep.lookup_rep.attr.ino : 0;
}

struct attr attr(struct fixture *f, uint64_t ino)
{
    struct attr a = {0};
    int err = ns_attr(f->ns, ino, &a);
    MUST(err == 0 || err == -ENOENT);
    return a;
}

struct ns_chunk chunk(struct fixture *f, uint64_t ino, uint64_t number)
{
    struct ns_chunk k = {0};
    int err = ns_chunk_get(f->ns, ino, number, &k);
    MUST(err == 0 || err == -ENOENT);
    if (err != 0) {
        k.handle = 0;
    }
    return k;
}

static struct bytes id_list(struct writer *w, uint32_t first, uint32_t last)
{
    writer_init(w);
    for (uint32_t id = first; id <= last; id++) {
        enc_u32(w, &id);
    }
    return writer_bytes(w);
}

uint64_t grow_chunk(struct fixture *f, uint64_t ino, uint64_t number)
{
    struct writer w;
    uint64_t handle = ns_next_handle(f->ns);
    RECORD(f, chunk_new, .ino = ino, .number = number, .handle = handle, .version = 1ull << 32 | 1,
           .members = id_list(&w, 1, 3));
    writer_free(&w);
    return handle;
}

void bump_chunk(struct fixture *f, uint64_t ino, uint64_t number)
{
    struct writer w;
    struct ns_chunk k = chunk(f, ino, number);
    RECORD(f, chunk_version, .ino = ino, .number = number, .handle = k.handle,
           .version = k.version + 1, .members = id_list(&w, 2, 3));
    writer_free(&w);
}

void extend(struct fixture *f, uint64_t ino, uint64_t end)
{
    MUST(DO(f, extend, .ino = ino, .end = end) == 0);
}

void truncate_to(struct fixture *f, uint64_t ino, uint64_t size)
{
    MUST(DO(f, setattr, .ino = ino, .mask = SETATTR_SIZE, .size = size) == 0);
}

void hold(struct fixture *f, uint64_t ino, uint64_t session)
{
    for (int i = 0; i < FIXTURE_HOLDS; i++) {
        if (f->holds[i].ino == 0) {
            f->holds[i].ino = ino;
            f->holds[i].session = session;
            return;
        }
    }
    ck_abort_msg("too many holds");
}

unsigned garbage_of(struct fixture *f, uint64_t handle)
{
    unsigned n = 0;
    uint64_t found;
    uint32_t server = 0;
    while (ns_garbage_next(f->ns, handle, server, &found, &server) == 0 && found == handle) {
        n++;
        server++;
    }
    return n;
}

struct stamp last_time(const struct fixture *f)
{
    return (struct stamp){f->time_ns / 1000000000, (uint32_t)(f->time_ns % 1000000000)};
}

bool same_time(struct stamp a, struct stamp b)
{
    return a.sec == b.sec && a.nsec == b.nsec;
}
