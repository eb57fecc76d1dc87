/* seek.c - the call lseek: over chunks that exist by the master, inside a chunk by a chunkserver. */
#include "fuse/core/client_impl.h"
#include "fuse/core/commit.h"
#include "fuse/core/replica_call.h"

struct seek_op {
    struct op op;
    struct inode *inode; /* pinned */
    uint64_t at;         /* nothing was found before this */
    bool hole;
    struct commit commit;
    struct master_call next;
    struct replica_call call;
    struct env_timer again; /* a step on the next turn: steps do not nest */
};

static void seek_drop(struct op *o)
{
    struct seek_op *s = container_of(o, struct seek_op, op);
    env_timer_stop(o->client->env, &s->again);
    commit_cancel(&s->commit);
    master_call_cancel(&s->next);
    replica_call_cancel(&s->call);
    inode_unpin(s->inode);
    mem_free(s);
}

static void seek_cancelled(struct op *o)
{
    op_end(o, 0);
}

static void found(struct seek_op *s, uint64_t offset)
{
    if (offset >= s->inode->size && !s->hole) {
        op_end(&s->op, -ENXIO);
        return;
    }
    if (s->op.call != NULL) {
        s->op.call->offset = MIN(offset, s->inode->size); /* the end of the file is a hole */
    }
    op_end(&s->op, 0);
}

static void step_again(struct seek_op *s, uint64_t at)
{
    s->at = at;
    env_timer_set(s->op.client->env, &s->again, 0);
}

static void chunk_answered(struct replica_call *k)
{
    struct seek_op *s = k->owner;
    uint32_t chunk = s->op.client->master.chunk_bytes;
    uint64_t base = k->number * chunk;
    if (k->status == -EIO) { /* it cannot be read: data, whose reader gets the error */
        if (s->hole) {
            step_again(s, base + chunk);
        } else {
            found(s, s->at);
        }
        return;
    }
    if (k->status != 0 && k->status != -ENXIO) {
        op_end(&s->op, k->status == ERR_PROTOCOL ? -EIO : k->status);
        return;
    }
    bool nothing = k->is_hole || k->status == -ENXIO || k->offset >= k->trim;
    if (s->hole) {
        uint32_t hole = nothing ? k->offset : MIN(k->found, k->trim);
        if (hole < chunk) {
            found(s, base + MAX(hole, k->offset));
        } else {
            step_again(s, base + chunk);
        }
        return;
    }
    if (nothing || k->found >= MIN(k->trim, chunk)) {
        step_again(s, base + chunk);
    } else {
        found(s, base + MAX(k->found, k->offset));
    }
}

static void ask_chunk(struct seek_op *s)
{
    uint32_t chunk = s->op.client->master.chunk_bytes;
    s->call = (struct replica_call){.done = chunk_answered,
                                    .owner = s,
                                    .inode = s->inode,
                                    .number = s->at / chunk,
                                    .op = OP_seek,
                                    .offset = (uint32_t)(s->at % chunk),
                                    .hole = s->hole};
    replica_call_start(&s->call);
}

static void next_known(struct master_call *m)
{
    struct seek_op *s = m->owner;
    uint64_t chunk = s->op.client->master.chunk_bytes;
    struct next_chunk_rep rep;
    int err = MASTER_REPLY(next_chunk, m, &rep);
    if (err != 0) {
        op_end(&s->op, err == ERR_PROTOCOL ? -EIO : err);
        return;
    }
    if (rep.number > UINT64_MAX / chunk) {
        op_end(&s->op, -ENXIO);
        return;
    }
    s->at = MAX(s->at, rep.number * chunk);
    if (s->at >= s->inode->size) {
        op_end(&s->op, -ENXIO);
        return;
    }
    ask_chunk(s);
}

static void step(struct seek_op *s)
{
    struct client *c = s->op.client;
    if (s->at >= s->inode->size) {
        found(s, s->at);
        return;
    }
    if (s->hole) {
        ask_chunk(s);
        return;
    }
    struct next_chunk_req req = {.ino = s->inode->ino, .number = s->at / c->master.chunk_bytes};
    s->next = (struct master_call){.done = next_known, .owner = s};
    master_call(&c->master, &s->next, OP_next_chunk, RPC_BODY(next_chunk_req, &req));
}

static void again_fired(struct env_timer *t)
{
    struct seek_op *s = container_of(t, struct seek_op, again);
    struct client *c = s->op.client;
    client_enter(c);
    step(s);
    client_leave(c);
}

static void begin(struct seek_op *s)
{
    if (s->at >= s->inode->size) {
        op_end(&s->op, -ENXIO);
    } else {
        step(s);
    }
}

static void committed(struct commit *k)
{
    begin(container_of(k, struct seek_op, commit));
}

void client_lseek(struct client *c, struct client_call *k, struct client_file *f, uint64_t offset,
                  bool hole)
{
    api_begin(c);
    call_begin(c, k);
    struct seek_op *s = mem_new(struct seek_op);
    op_begin(&s->op, c, k, seek_drop);
    s->op.cancelled = seek_cancelled;
    s->inode = f->inode;
    inode_pin(s->inode);
    s->at = offset;
    s->hole = hole;
    s->again.fire = again_fired;
    s->commit.done = committed;
    if (!commit_start(s->inode, &s->commit)) {
        begin(s);
    }
    api_end(c);
}
