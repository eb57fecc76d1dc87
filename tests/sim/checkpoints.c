/* checkpoints.c - checkpoints of the masters of a set. */
#include "tests/sim/checkpoints.h"
#include "master/core/master_internal.h"
#include "shared/base/hash.h"
#include "shared/base/mem.h"

/* One that was seen. */
struct seen {
    uint64_t index;
    uint64_t rows; /* state hash */
    uint64_t sums; /* hash of its sums: of all its bytes */
    uint32_t rank; /* of the master that had it first */
};

struct checkpoint_book {
    struct world *world;
    struct seen *all;
    uint32_t count, cap;
};

struct checkpoint_book *checkpoint_book_new(struct world *w)
{
    struct checkpoint_book *b = mem_new(struct checkpoint_book);
    b->world = w;
    return b;
}

void checkpoint_book_free(struct checkpoint_book *b)
{
    mem_free(b->all);
    mem_free(b);
}

/* False if the disk does not give it. */
static bool hash_file(struct env *env, const char *path, uint64_t *out)
{
    struct env_file *f;
    if (env_file_open(env, path, ENV_OPEN_READ_ONLY, &f) != 0) {
        return false;
    }
    int64_t size = env_file_size(env, f);
    uint8_t *bytes = mem_alloc(size > 0 ? (size_t)size : 1);
    bool got = size > 0 && env_file_read(env, f, 0, bytes, (uint32_t)size) == size;
    *out = got ? hash64(bytes, (size_t)size) : 0;
    mem_free(bytes);
    env_file_close(env, f);
    return got;
}

static void note(struct checkpoint_book *b, const struct seen *one)
{
    for (uint32_t i = 0; i < b->count; i++) {
        const struct seen *other = &b->all[i];
        if (other->index == one->index && (other->rows != one->rows || other->sums != one->sums)) {
            world_fail(b->world, "checkpoint %llu of %s differs from that of %s in its %s",
                       (unsigned long long)one->index, b->world->masters[one->rank]->process->name,
                       b->world->masters[other->rank]->process->name,
                       other->rows != one->rows ? "rows" : "bytes");
        }
        if (other->index == one->index) {
            return;
        }
    }
    if (b->count == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 64;
        b->all = mem_resize(b->all, b->cap * sizeof(*one));
    }
    b->all[b->count++] = *one;
}

void checkpoint_book_look(struct checkpoint_book *b, const struct sim_server *s)
{
    struct world *w = b->world;
    const struct oplog *log = s->master->log;
    struct env *env = &s->process->env;
    struct checkpoint_ref refs[CHECKPOINTS_LISTED_MAX];
    struct why why;
    struct sim_trap trap = s->process->trap;
    s->process->trap.kind = TRAP_NONE; /* it waits for a call of the master's */
    int count = checkpoint_list(env, refs, &why);
    bool begins = oplog_first(log) <= 1 || s->master->stateless || oplog_damaged(log);
    for (int i = 0; i < count; i++) {
        struct seen one = {.index = refs[i].at.index, .rows = refs[i].at.hash, .rank = s->rank};
        const struct record *r = log_tap_record(w->tap, one.index);
        char path[64];
        bool known = one.index == 0 || (r != NULL && r->chain == refs[i].at.chain);
        if (one.index > log_tap_certain(w->tap) || !known) {
            world_fail(w, "checkpoint %llu of %s is of no committed record",
                       (unsigned long long)one.index, s->process->name);
        }
        if (hash_file(env, checkpoint_sum_path(one.index, path, sizeof(path)), &one.sums)) {
            note(b, &one);
        }
        begins = begins || oplog_first(log) <= one.index + 1;
    }
    if (count >= 0 && !begins) {
        world_fail(w, "%s has no checkpoint that its log, from %llu on, goes on from",
                   s->process->name, (unsigned long long)oplog_first(log));
    }
    s->process->trap = trap;
}
