/* fallocate.c - the call fallocate.
 *
 * Mode 0 and KEEP_SIZE reserve space chunk by chunk on the disks of all members; the size grows when
 * all of it is there. A call that fails leaves the size alone; like on a local filesystem, what was
 * reserved by then stays with the file until it is cut or removed. So a call that the cluster has no
 * room for at all is refused before it begins. A call that is interrupted stops after a chunk.
 *
 * Punching and zeroing write zeros as holes into the chunks that exist; zeroing reserves their space
 * then.
 */
#include <fcntl.h>
#include <linux/falloc.h>

#include "fuse/core/client_impl.h"
#include "fuse/core/commit.h"
#include "fuse/core/fsync.h"
#include "fuse/core/write_chunk.h"

struct fallocate_op {
    struct op op;
    struct client_file *file; /* valid while the call is */
    struct inode *inode;      /* pinned */
    bool punch;               /* bytes become zeros */
    bool reserve;             /* space is taken, after that */
    bool keep_size;
    bool punching;     /* now */
    bool holding;      /* pieces may not start */
    bool committing;   /* the end is near */
    uint64_t from, at; /* punched or reserved up to here */
    uint64_t new_from; /* behind it nothing is stored yet, if no chunk is there */
    uint64_t end;
    uint64_t punch_end; /* nothing to punch behind it */
    struct commit commit;
    struct master_call ask;
    struct chunk_write write;
    struct env_timer again;
};

static void fallocate_drop(struct op *o)
{
    struct fallocate_op *a = container_of(o, struct fallocate_op, op);
    env_timer_stop(o->client->env, &a->again);
    commit_cancel(&a->commit);
    master_call_cancel(&a->ask);
    chunk_write_cancel(&a->write);
    if (a->holding && !o->client->freeing) {
        write_back_release(a->inode);
    }
    inode_unpin(a->inode);
    mem_free(a);
}

/* A change of bytes goes on to its end; a reservation that nobody waits for is dropped. */
static void fallocate_cancelled(struct op *o)
{
    struct fallocate_op *a = container_of(o, struct fallocate_op, op);
    if (!a->punch && !a->committing) {
        op_end(o, 0);
    }
}

static void finish(struct fallocate_op *a, int status)
{
    op_end(&a->op, status == ERR_PROTOCOL ? -EIO : status);
}

static void size_committed(struct commit *k)
{
    struct fallocate_op *a = container_of(k, struct fallocate_op, commit);
    finish(a, a->op.call != NULL ? file_take_error(a->file) : 0);
}

/* ---------------------------------------------------------------- the size */

/* The data is as it should be: commit the time, and the size if it grew. */
static void commit_size(struct fallocate_op *a)
{
    struct inode *i = a->inode;
    a->committing = true;
    if (a->holding) {
        a->holding = false;
        write_back_release(i);
    }
    uint64_t end = a->keep_size ? 0 : a->end;
    if (a->punch || end > i->size) {
        i->size = MAX(i->size, end);
        i->changes++;
        i->times_set = false;
        commit_need(i, end, false);
    }
    a->commit.done = size_committed;
    if (!commit_start(i, &a->commit)) {
        finish(a, 0);
    }
}

/* ---------------------------------------------------------------- chunk by chunk */

static void find_next(struct fallocate_op *a);
static void begin_reserve(struct fallocate_op *a);
static void reserve_next(struct fallocate_op *a);

static void again_fired(struct env_timer *t)
{
    struct fallocate_op *a = container_of(t, struct fallocate_op, again);
    struct client *c = a->op.client;
    client_enter(c);
    if (a->punching) {
        find_next(a);
    } else {
        reserve_next(a);
    }
    client_leave(c);
}

/* From a->at to the end of that chunk or to `end`. */
static void change_chunk(struct fallocate_op *a, enum chunk_write_kind kind, uint64_t end,
                         void (*done)(struct chunk_write *w))
{
    uint64_t chunk = a->op.client->master.chunk_bytes;
    uint64_t number = a->at / chunk;
    a->write = (struct chunk_write){.done = done,
                                    .owner = a,
                                    .inode = a->inode,
                                    .number = number,
                                    .kind = kind,
                                    .offset = (uint32_t)(a->at % chunk),
                                    .length = (uint32_t)(MIN(end, (number + 1) * chunk) - a->at)};
    chunk_write_start(&a->write);
}

static void changed(struct fallocate_op *a)
{
    fsync_touch(a->inode, &a->write);
    a->inode->changes_seen++;
    a->at += a->write.length;
    env_timer_set(a->op.client->env, &a->again, 0);
}

static void punched(struct chunk_write *w)
{
    struct fallocate_op *a = w->owner;
    if (w->status != 0) {
        finish(a, w->status);
        return;
    }
    changed(a);
}

static void punch_over(struct fallocate_op *a)
{
    a->punching = false;
    if (!a->reserve) {
        commit_size(a);
        return;
    }
    a->holding = false;
    write_back_release(a->inode);
    a->at = a->from;
    begin_reserve(a);
}

static void next_known(struct master_call *m)
{
    struct fallocate_op *a = m->owner;
    uint64_t chunk = a->op.client->master.chunk_bytes;
    struct next_chunk_rep rep;
    int err = MASTER_REPLY(next_chunk, m, &rep);
    if (err == -ENXIO || (err == 0 && rep.number > (a->punch_end - 1) / chunk)) {
        punch_over(a);
        return;
    }
    if (err != 0) {
        finish(a, err);
        return;
    }
    a->at = MAX(a->at, rep.number * chunk);
    change_chunk(a, CHUNK_PUNCH, a->punch_end, punched);
}

static void find_next(struct fallocate_op *a)
{
    struct client *c = a->op.client;
    if (a->at >= a->punch_end) {
        punch_over(a);
        return;
    }
    struct next_chunk_req req = {.ino = a->inode->ino, .number = a->at / c->master.chunk_bytes};
    a->ask = (struct master_call){.done = next_known, .owner = a, .primary_only = true};
    master_call(&c->master, &a->ask, OP_next_chunk, RPC_BODY(next_chunk_req, &req));
}

/* ---------------------------------------------------------------- reserving */

static void reserved(struct chunk_write *w)
{
    struct fallocate_op *a = w->owner;
    if (w->status != 0) {
        finish(a, w->status);
        return;
    }
    if (w->number == 0) {
        a->inode->first_written = true; /* its replicas are made */
    }
    changed(a);
}

static void reserve_next(struct fallocate_op *a)
{
    if (a->at >= a->end) {
        commit_size(a);
    } else {
        change_chunk(a, CHUNK_RESERVE, a->end, reserved);
    }
}

static void room_known(struct master_call *m)
{
    struct fallocate_op *a = m->owner;
    struct statfs_rep rep;
    int err = MASTER_REPLY(statfs, m, &rep);
    if (err == 0 && rep.away == 0 && rep.avail < a->end - a->new_from) {
        err = -ENOSPC;
    }
    if (err != 0) {
        finish(a, err);
    } else {
        reserve_next(a);
    }
}

/* Chunks behind the end of the file may be there, reserved earlier: then nobody knows how much is
 * missing. */
static void chunks_behind_known(struct master_call *m)
{
    struct fallocate_op *a = m->owner;
    struct client *c = a->op.client;
    struct next_chunk_rep rep;
    int err = MASTER_REPLY(next_chunk, m, &rep);
    if (err == 0 && rep.number <= (a->end - 1) / c->master.chunk_bytes) {
        reserve_next(a);
    } else if (err != 0 && err != -ENXIO) {
        finish(a, err);
    } else {
        struct statfs_req req;
        a->ask = (struct master_call){.done = room_known, .owner = a, .primary_only = true};
        master_call(&c->master, &a->ask, OP_statfs, RPC_BODY(statfs_req, &req));
    }
}

static void begin_reserve(struct fallocate_op *a)
{
    struct client *c = a->op.client;
    uint64_t chunk = c->master.chunk_bytes;
    uint64_t chunks = a->inode->size / chunk + (a->inode->size % chunk != 0);
    a->new_from = MAX(a->at, chunks * chunk);
    if (a->end <= a->new_from || a->end - a->new_from <= chunk) {
        reserve_next(a); /* little: the chunkservers see to it */
        return;
    }
    struct next_chunk_req req = {.ino = a->inode->ino, .number = a->new_from / chunk};
    a->ask = (struct master_call){.done = chunks_behind_known, .owner = a, .primary_only = true};
    master_call(&c->master, &a->ask, OP_next_chunk, RPC_BODY(next_chunk_req, &req));
}

/* ---------------------------------------------------------------- start */

/* Everything written before is on the replicas and committed. */
static void begin(struct fallocate_op *a)
{
    if (!a->punch) {
        begin_reserve(a);
        return;
    }
    a->punch_end = MIN(a->end, a->inode->size);
    a->inode->changes_seen++;
    a->holding = a->punching = true;
    write_back_hold(a->inode);
    find_next(a);
}

static void committed(struct commit *k)
{
    begin(container_of(k, struct fallocate_op, commit));
}

void client_fallocate(struct client *c, struct client_call *k, struct client_file *f, int mode,
                      uint64_t offset, uint64_t length)
{
    const int keep = FALLOC_FL_KEEP_SIZE;
    bool zero = (mode & ~keep) == FALLOC_FL_ZERO_RANGE;
    bool punch = mode == (FALLOC_FL_PUNCH_HOLE | keep);
    api_begin(c);
    call_begin(c, k);
    int err = 0;
    if (mode != 0 && mode != keep && !punch && !zero) {
        err = -EOPNOTSUPP;
    } else if (length == 0) {
        err = -EINVAL;
    } else if (offset > INT64_MAX || length > (uint64_t)INT64_MAX - offset) {
        err = -EFBIG;
    }
    if (err != 0) {
        call_end(k, err);
    } else {
        struct fallocate_op *a = mem_new(struct fallocate_op);
        op_begin(&a->op, c, k, fallocate_drop);
        a->op.cancelled = fallocate_cancelled;
        a->file = f;
        a->inode = f->inode;
        inode_pin(a->inode);
        a->punch = punch || zero;
        a->reserve = !punch;
        a->keep_size = (mode & keep) != 0;
        a->from = a->at = offset;
        a->end = offset + length;
        a->again.fire = again_fired;
        a->commit.done = committed;
        if (!commit_start(a->inode, &a->commit)) {
            begin(a);
        }
    }
    api_end(c);
}
