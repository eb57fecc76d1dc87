/* replica_table.c - the replicas of this disk: lookup, files, and the queue of each. */
#include "chunkd/core/replica_table.h"
#include "chunkd/core/page_sums.h"
#include "shared/base/bytes.h"
#include "shared/base/mem.h"

#include <stdlib.h>
#include <string.h>

/* The file of a dropped replica on its way out; the replica stays in the table, unfindable, until
 * it is gone, so that the handle is not made anew meanwhile. */
struct removal {
    struct disk_op op;
    struct list link; /* in table.removals */
    struct local_replica *replica;
    char path[REPLICA_PATH_BYTES];
    char kept[ASIDE_PATH_BYTES]; /* where it goes, if it is set aside */
};

void table_init(struct table *t, struct env *env, struct meta_log *meta, struct intent_ring *ring,
                struct aside *aside, const struct chunkd_limits *limits)
{
    *t = (struct table){.env = env,
                        .meta = meta,
                        .ring = ring,
                        .aside = aside,
                        .open_max = limits->open_files,
                        .tails_max = limits->tails};
    hmap_init(&t->replicas);
    list_init(&t->open);
    list_init(&t->tails);
    list_init(&t->unlogged);
    list_init(&t->dirty);
    list_init(&t->flushing);
    list_init(&t->damaged);
    list_init(&t->removals);
    hmap_init(&t->tombstones);
    list_init(&t->tombstone_order);
    t->page_sums = page_sums_new();
}

void table_set_geometry(struct table *t, uint32_t chunk_bytes, uint32_t block_bytes)
{
    ASSERT(t->block_bytes == 0 && block_bytes > 0);
    t->chunk_bytes = chunk_bytes;
    t->block_bytes = block_bytes;
    t->zeros = mem_alloc(block_bytes);
    t->zero_sum = block_sum(t->zeros, block_bytes);
}

static void replica_free(struct local_replica *r)
{
    replica_drop_tail(r);
    list_remove(&r->unlogged_link);
    list_remove(&r->dirty_link);
    list_remove(&r->flush_link);
    list_remove(&r->damaged_link);
    r->table->sums_count -= r->table->block_bytes > 0 ? replica_blocks(r) : 0;
    mem_free(r->sums);
    mem_free(r->bad);
    mem_free(r);
}

/* ---------------------------------------------------------------- tombstones */

struct tombstone {
    struct hmap_node node;
    struct list link;
    uint64_t handle;
};

static struct tombstone *tombstone_of(const struct table *t, uint64_t handle)
{
    for (struct hmap_node *n = hmap_first(&t->tombstones, hmap_hash_u64(handle)); n;
         n = hmap_next(n)) {
        struct tombstone *s = container_of(n, struct tombstone, node);
        if (s->handle == handle) {
            return s;
        }
    }
    return NULL;
}

static void tombstone_free(struct table *t, struct tombstone *s)
{
    hmap_remove(&t->tombstones, &s->node);
    list_remove(&s->link);
    mem_free(s);
}

void table_note_dropped(struct table *t, uint64_t handle)
{
    if (tombstone_of(t, handle) != NULL) {
        return;
    }
    if (t->tombstones.count >= TOMBSTONES_MAX) {
        tombstone_free(t, list_entry(t->tombstone_order.next, struct tombstone, link));
    }
    struct tombstone *s = mem_new(struct tombstone);
    s->handle = handle;
    hmap_add(&t->tombstones, &s->node, hmap_hash_u64(handle));
    list_push_back(&t->tombstone_order, &s->link);
}

bool table_was_dropped(const struct table *t, uint64_t handle)
{
    return tombstone_of(t, handle) != NULL || table_is_dropping(t, handle);
}

/* ---------------------------------------------------------------- replicas */

void table_close(struct table *t)
{
    t->dying = true;
    hmap_for_each (n, &t->replicas) {
        replica_free(container_of(n, struct local_replica, node));
    }
    hmap_close(&t->replicas);
    for (struct list *e; (e = list_pop_front(&t->removals)) != NULL;) {
        mem_free(list_entry(e, struct removal, link));
    }
    while (!list_empty(&t->tombstone_order)) {
        tombstone_free(t, list_entry(t->tombstone_order.next, struct tombstone, link));
    }
    hmap_close(&t->tombstones);
    page_sums_free(t->page_sums);
    mem_free(t->zeros);
    mem_free(t->snapshot);
}

static struct local_replica *find(const struct table *t, uint64_t handle)
{
    for (struct hmap_node *n = hmap_first(&t->replicas, hmap_hash_u64(handle)); n;
         n = hmap_next(n)) {
        struct local_replica *r = container_of(n, struct local_replica, node);
        if (r->handle == handle) {
            return r;
        }
    }
    return NULL;
}

struct local_replica *table_get(const struct table *t, uint64_t handle)
{
    struct local_replica *r = find(t, handle);
    return r == NULL || r->dropped ? NULL : r;
}

bool table_is_dropping(const struct table *t, uint64_t handle)
{
    struct local_replica *r = find(t, handle);
    return r != NULL && r->dropped;
}

struct local_replica *table_add(struct table *t, uint64_t handle)
{
    ASSERT(find(t, handle) == NULL);
    struct local_replica *r = mem_new(struct local_replica);
    r->table = t;
    r->handle = handle;
    r->state = REPLICA_OK;
    list_init(&r->open_link);
    list_init(&r->queue);
    list_init(&r->tail_link);
    list_init(&r->unlogged_link);
    list_init(&r->dirty_link);
    list_init(&r->flush_link);
    list_init(&r->sync_waits);
    list_init(&r->damaged_link);
    r->verified_s = wall_clock_s(t->env);
    r->log_number = meta_log_next_number(t->meta);
    hmap_add(&t->replicas, &r->node, hmap_hash_u64(handle));
    t->count++;
    return r;
}

void table_forget(struct local_replica *r)
{
    hmap_remove(&r->table->replicas, &r->node);
    r->table->count--;
    replica_free(r);
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

uint64_t *table_handles(const struct table *t, uint64_t *out_count)
{
    uint64_t *handles = mem_alloc((t->replicas.count + 1) * sizeof(*handles));
    uint64_t n = 0;
    hmap_for_each (it, &t->replicas) {
        struct local_replica *r = container_of(it, struct local_replica, node);
        if (!r->dropped) {
            handles[n++] = r->handle;
        }
    }
    qsort(handles, n, sizeof(*handles), compare_u64);
    *out_count = n;
    return handles;
}

/* ---------------------------------------------------------------- files */

static char *put_text(char *at, const char *text)
{
    size_t len = strlen(text);
    memcpy(at, text, len);
    return at + len;
}

static char *put_hex(char *at, uint64_t v, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        *at++ = "0123456789abcdef"[v >> (4 * i) & 0xf];
    }
    return at;
}

static uint8_t dir_number(uint64_t handle)
{
    return (uint8_t)handle;
}

struct replica_names *replica_names(const struct local_replica *r)
{
    return &r->table->names[dir_number(r->handle)];
}

bool replica_name_is_durable(const struct local_replica *r)
{
    return r->file_made && r->name_number <= replica_names(r)->durable;
}

void replica_dir(uint64_t handle, char out[REPLICA_PATH_BYTES])
{
    *put_hex(put_text(out, "chunks/"), dir_number(handle), 2) = '\0';
}

/* Without printf: every small file comes through here on three servers. */
void replica_path(uint64_t handle, char out[REPLICA_PATH_BYTES])
{
    char *at = put_hex(put_text(out, "chunks/"), dir_number(handle), 2);
    *put_hex(put_text(at, "/"), handle, 16) = '\0';
}

static void close_file(struct local_replica *r)
{
    if (r->file != NULL) {
        list_remove(&r->open_link);
        r->table->open_count--;
        env_file_close(r->table->env, r->file);
        r->file = NULL;
    }
}

/* Closes files nobody uses, the longest unused first, until there is room for one more. */
static void make_room(struct table *t)
{
    list_for_each_safe (it, &t->open) {
        if (t->open_count < t->open_max) {
            return;
        }
        struct local_replica *r = list_entry(it, struct local_replica, open_link);
        if (r->users == 0) {
            close_file(r);
        }
    }
}

/* Descriptors are scarcer than thought: false if none can be given back. */
static bool keep_fewer(struct table *t)
{
    uint32_t before = t->open_count;
    t->open_max = MAX(before, 1u);
    make_room(t);
    return t->open_count < before;
}

int replica_open(struct local_replica *r, bool create)
{
    struct table *t = r->table;
    ASSERT(r->users > 0);
    if (r->file == NULL) {
        char path[REPLICA_PATH_BYTES];
        replica_path(r->handle, path);
        make_room(t);
        int err;
        do {
            err = env_file_open(t->env, path, create ? ENV_OPEN_CREATE : 0, &r->file);
        } while ((err == -EMFILE || err == -ENFILE) && keep_fewer(t));
        if (err != 0) {
            r->file = NULL;
            return err;
        }
        t->open_count++;
    }
    list_remove(&r->open_link);
    list_push_back(&t->open, &r->open_link);
    if (!r->file_made) {
        r->file_made = true;
        r->name_number = ++replica_names(r)->met;
    }
    return 0;
}

void replica_reset(struct local_replica *r)
{
    char path[REPLICA_PATH_BYTES];
    replica_path(r->handle, path);
    close_file(r);
    int err = env_unlink(r->table->env, path);
    if (err != 0 && err != -ENOENT) {
        env_log(r->table->env, LOG_WARN, "%s: cannot remove: %s", path, err_text(err));
    }
    replica_set_length(r, 0);
    r->reserved_from = r->reserved_end = 0;
    r->file_made = false;
    r->failed = r->absent = false;
    replica_note_damage(r);
    r->state = REPLICA_CLONING;
    replica_note_unlogged(r, 0, 0);
}

static void removed(struct disk_op *op)
{
    struct removal *m = container_of(op, struct removal, op);
    struct local_replica *r = m->replica;
    struct table *t = r->table;
    if (op->result < 0 && op->result != -ENOENT) {
        env_log(t->env, LOG_WARN, "%s: cannot remove: %s", m->path, err_text((int)op->result));
    }
    if (r->aside && op->result >= 0) {
        aside_put(t->aside, r->handle, replica_stored_bytes(r));
    } else if (r->aside) {
        aside_lost(t->aside, r->handle);
    }
    list_remove(&m->link);
    hmap_remove(&t->replicas, &r->node);
    replica_free(r);
    mem_free(m);
}

static void remove_if_unused(struct local_replica *r)
{
    if (!r->dropped || r->users > 0 || r->table->dying) {
        return;
    }
    close_file(r);
    r->users = 1; /* the removal */
    struct removal *m = mem_new(struct removal);
    m->replica = r;
    replica_path(r->handle, m->path);
    aside_path(r->handle, m->kept);
    m->op = (struct disk_op){.kind = r->aside ? DISK_RENAME : DISK_UNLINK,
                             .path = m->path,
                             .path2 = m->kept,
                             .done = removed};
    list_push_back(&r->table->removals, &m->link);
    env_disk_submit(r->table->env, &m->op);
}

void replica_use(struct local_replica *r)
{
    r->users++;
}

void replica_unuse(struct local_replica *r)
{
    ASSERT(r->users > 0);
    r->users--;
    remove_if_unused(r);
}

/* ---------------------------------------------------------------- order of operations */

static bool conflicts(const struct replica_op *a, const struct replica_op *b)
{
    if (a->mutates && b->mutates) {
        return true;
    }
    return (a->mutates || b->mutates) && a->first < b->end && b->first < a->end;
}

/* The first operation that may run and does not. */
static struct replica_op *next_runnable(struct local_replica *r)
{
    list_for_each (it, &r->queue) {
        struct replica_op *op = list_entry(it, struct replica_op, link);
        if (op->running) {
            continue;
        }
        if (op->range != NULL) {
            op->range(op);
        }
        bool free = true;
        for (struct list *e = r->queue.next; e != it && free; e = e->next) {
            free = !conflicts(list_entry(e, struct replica_op, link), op);
        }
        if (free) {
            return op;
        }
    }
    return NULL;
}

bool replica_is_changing(const struct local_replica *r)
{
    list_for_each (it, &r->queue) {
        if (list_entry(it, struct replica_op, link)->mutates) {
            return true;
        }
    }
    return false;
}

static void pump(struct local_replica *r)
{
    if (r->pumping) {
        r->pump_again = true;
        return;
    }
    replica_use(r);
    r->pumping = true;
    struct replica_op *op;
    do {
        r->pump_again = false;
        while ((op = next_runnable(r)) != NULL) {
            op->running = true;
            op->start(op);
        }
    } while (r->pump_again);
    r->pumping = false;
    replica_unuse(r);
}

void replica_op_begin(struct local_replica *r, struct replica_op *op)
{
    op->replica = r;
    op->running = false;
    replica_use(r);
    list_push_back(&r->queue, &op->link);
    pump(r);
}

void replica_op_end(struct replica_op *op)
{
    struct local_replica *r = op->replica;
    ASSERT(op->running);
    list_remove(&op->link);
    op->running = false;
    pump(r);
    replica_unuse(r);
}
