/* ns_fixture.h - a namespace over a real store in a simulated process, for tests.
 *
 * Every change goes the whole way: prepare, record encoded and decoded, apply; and is replayed into
 * a second namespace from the encoded record. fixture_check compares the two and audits both.
 */
#ifndef TESTS_UNIT_NS_FIXTURE_H
#define TESTS_UNIT_NS_FIXTURE_H

#include "master/core/ns.h"
#include "tests/sim/sim_env.h"
#include "tests/unit/unit.h"

enum { FIXTURE_CHUNK = 64 * 1024, FIXTURE_HOLDS = 16 };

struct fixture {
    struct sim *sim;
    struct sim_process *process;
    struct store *store, *replay_store;
    struct ns *ns, *replay;
    struct writer scratch;
    struct writer apply_scratch;
    /* The next record's. */
    uint64_t index;
    int64_t time_ns;
    uint64_t session;  /* 0 = none; mutations carry it with rising sequences */
    uint64_t sequence; /* of the last mutation */
    uint64_t acked;
    /* What the volatile side answers. */
    int members; /* servers up, or -ENOSPC */
    struct {
        uint64_t ino;
        uint64_t session;
    } holds[FIXTURE_HOLDS]; /* opens; ino 0 = empty */
    uint64_t depends;       /* of the last query or prepare */
    union op_any rep;       /* of the last success */
};

/* Has the root and servers 1..5. */
struct fixture *fixture_open(void);
/* Checks and frees. */
void fixture_close(struct fixture *f);
void fixture_check(struct fixture *f);

/* A mutation: status of prepare; on 0 it is applied and f->rep holds the answer. */
int fixture_do(struct fixture *f, enum op_code op, const union op_any *req);
/* A query: status; f->rep holds the answer. */
int fixture_ask(struct fixture *f, enum op_code op, const union op_any *req);
/* A record the master decides by itself. */
void fixture_record(struct fixture *f, enum op_code op, const union op_any *rec);

/* DO(f, mkdir, .parent = 1, .name = N("a")) and the like. */
#define DO(f, op, ...)                                                                             \
    fixture_do(f, OP_##op, &(union op_any){.op##_req = (struct op##_req){__VA_ARGS__}})
#define ASK(f, op, ...)                                                                            \
    fixture_ask(f, OP_##op, &(union op_any){.op##_req = (struct op##_req){__VA_ARGS__}})
#define RECORD(f, op, ...)                                                                         \
    fixture_record(f, OP_##op, &(union op_any){.op##_rec = (struct op##_rec){__VA_ARGS__}})
#define N(text) bytes_str(text)

/* Short forms that must succeed; they give the inode made. */
uint64_t make_dir(struct fixture *f, uint64_t parent, const char *name);
uint64_t make_file(struct fixture *f, uint64_t parent, const char *name); /* mknod: no chunk */
uint64_t create_file(struct fixture *f, uint64_t parent, const char *name);
uint64_t open_session(struct fixture *f, uint64_t nonce);
/* Inode of an entry, 0 if there is none. */
uint64_t find(struct fixture *f, uint64_t parent, const char *name);
struct attr attr(struct fixture *f, uint64_t ino); /* all zero if it does not exist */
struct ns_chunk chunk(struct fixture *f, uint64_t ino, uint64_t number); /* handle 0: none */
/* Adds chunk `number` with members 1, 2, 3; gives its handle. */
uint64_t grow_chunk(struct fixture *f, uint64_t ino, uint64_t number);
/* Bumps the version of a chunk to members 2, 3. */
void bump_chunk(struct fixture *f, uint64_t ino, uint64_t number);
void extend(struct fixture *f, uint64_t ino, uint64_t end);
void truncate_to(struct fixture *f, uint64_t ino, uint64_t size);
void hold(struct fixture *f, uint64_t ino, uint64_t session);
/* Garbage rows of a handle. */
unsigned garbage_of(struct fixture *f, uint64_t handle);
/* Stamp the last record's time gives. */
struct stamp last_time(const struct fixture *f);
bool same_time(struct stamp a, struct stamp b);

#endif
