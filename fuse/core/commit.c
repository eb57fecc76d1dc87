/* commit.c - making written data count. */
#include "fuse/core/commit.h"

#include "fuse/core/client_impl.h"
#include "fuse/core/first_chunk.h"

static void step(struct inode *i);

bool commit_due(const struct inode *i)
{
    return write_back_busy(i) || i->need_extend || i->extending;
}

void commit_settle(struct inode *i)
{
    if (!commit_due(i)) {
        list_remove(&i->dirty);
        list_remove(&i->aging);
    }
}

static void need_extend(struct inode *i)
{
    i->need_extend = true;
    if (list_empty(&i->dirty)) {
        list_push_back(&i->client->dirty, &i->dirty);
    }
}

void commit_need(struct inode *i, uint64_t end, bool bind)
{
    i->need_bind = i->need_bind || bind;
    i->need_touch = i->need_touch || !i->times_set;
    i->written_end = MAX(i->written_end, end);
    need_extend(i);
}

void commit_first_sync(struct inode *i, uint64_t number, uint64_t handle)
{
    enc_u64(&i->synced, &number);
    enc_u64(&i->synced, &handle);
    need_extend(i);
}

/* ---------------------------------------------------------------- extend */

static void finish(struct commit *k)
{
    struct inode *i = k->inode;
    list_remove(&k->link);
    k->inode = NULL;
    k->done(k);
    inode_unpin(i);
}

/* The answer has the size, unless a recall that came meanwhile is of a later truncate. */
static void size_committed(struct inode *i)
{
    i->size_unsure = i->size_unsure && i->sent_recalls != i->client->recalls;
}

/* Ends the commits that are through: riding ones, or all whose data is on the replicas. */
static void finish_commits(struct inode *i, bool riding)
{
    struct list over;
    list_init(&over);
    list_for_each_safe (e, &i->commits) {
        struct commit *k = list_entry(e, struct commit, link);
        if (riding ? k->riding : k->flushed) {
            list_remove(e);
            list_push_back(&over, e);
        }
    }
    while (!list_empty(&over)) {
        finish(list_entry(over.next, struct commit, link));
    }
}

static void extend_over(struct inode *i)
{
    inode_pin(i);
    i->extending = false;
    i->changes++;
    finish_commits(i, true);
    step(i);
    commit_settle(i);
    inode_unpin(i);
    inode_unpin(i); /* the pin of the extend */
}

static void extend_done(struct master_call *m)
{
    struct inode *i = m->owner;
    struct extend_rep rep;
    int err = MASTER_REPLY(extend, m, &rep);
    if (err == 0) {
        inode_learn_own(i, &rep.attr, rep.before, i->changes);
        size_committed(i);
    } else {
        env_log(i->client->env, LOG_ERROR, "inode %llu: its size could not be committed: %s",
                (unsigned long long)i->ino, err_text(err));
        inode_set_error(i, err);
    }
    extend_over(i);
}

static void send_extend(struct inode *i);

/* The size is still to be committed. */
static void extend_again(struct inode *i)
{
    i->extending = false;
    i->need_extend = true;
    i->need_touch = i->need_touch || i->sent_touch;
    i->written_end = MAX(i->written_end, i->sent_end);
    step(i);
    inode_unpin(i); /* the pin of the extend that failed */
}

static void carried_done(struct master_call *m)
{
    struct inode *i = m->owner;
    struct commit *k = i->carrier;
    struct setattr_rep rep = {0};
    int err = MASTER_REPLY(setattr, m, &rep);
    i->carrier = NULL;
    if (k != NULL) {
        k->carry = NULL;
        k->carried = true;
        k->carried_status = err;
        k->carried_attr = rep.attr;
        k->carried_index = m->reply != NULL ? m->reply->head.index : 0;
    }
    if (err != 0) {
        extend_again(i);
        return;
    }
    inode_learn_own(i, &rep.attr, rep.before, i->changes);
    size_committed(i);
    extend_over(i);
}

/* Sends the extend with the setattr of a commit that it is for. False: it must go alone. */
static bool send_carrying(struct inode *i)
{
    struct setattr_req req;
    bool plain = !i->sent_clear_suid && i->sent_synced.len == 0;
    list_for_each (e, &i->commits) {
        struct commit *k = list_entry(e, struct commit, link);
        if (plain && k->riding && k->carry != NULL && i->carrier == NULL) {
            i->carrier = k;
        }
    }
    if (i->carrier == NULL || setattr_req_decode(slice_bytes(i->carrier->carry), &req) != 0) {
        i->carrier = NULL;
        return false;
    }
    req.mask |= SETATTR_EXTEND | (i->sent_touch ? 0u : (uint32_t)SETATTR_EXTEND_UNTOUCHED);
    req.size = i->sent_end;
    i->extend.done = carried_done;
    i->extend.owner = i;
    i->extend.twice_ok = false;
    master_call(&i->client->master, &i->extend, OP_setattr, RPC_BODY(setattr_req, &req));
    return true;
}

static void send_extend(struct inode *i)
{
    i->sent_recalls = i->client->recalls;
    if (send_carrying(i)) {
        return;
    }
    struct extend_req req = {.ino = i->ino,
                             .end = i->sent_end,
                             .clear_suid = i->sent_clear_suid,
                             .untouched = !i->sent_touch,
                             .synced = writer_bytes(&i->sent_synced)};
    i->extend.done = extend_done;
    i->extend.owner = i;
    i->extend.twice_ok = true;
    master_call(&i->client->master, &i->extend, OP_extend, RPC_BODY(extend_req, &req));
}

static void first_chunk_made(struct first_chunk *f, int status)
{
    struct inode *i = f->inode_of_extend;
    i->first = NULL;
    mem_free(f);
    if (status != 0) {
        inode_set_error(i, status);
        extend_over(i);
    } else {
        send_extend(i);
    }
}

static void start_extend(struct inode *i)
{
    list_for_each (e, &i->commits) {
        struct commit *k = list_entry(e, struct commit, link);
        k->riding = k->flushed;
    }
    i->extending = true;
    inode_pin(i);
    i->sent_end = i->written_end;
    i->sent_clear_suid = i->clear_suid;
    i->sent_touch = i->need_touch;
    writer_free(&i->sent_synced);
    i->sent_synced = i->synced;
    writer_init(&i->synced);
    i->need_extend = i->need_bind = i->need_touch = i->clear_suid = false;
    i->written_end = 0;
    i->changes++;
    struct first_chunk *f = mem_new(struct first_chunk);
    f->done = first_chunk_made;
    f->inode_of_extend = i;
    i->first = f;
    if (!first_chunk_start(i, f, i->sent_end)) {
        i->first = NULL;
        mem_free(f);
        send_extend(i);
    }
}

static void step(struct inode *i)
{
    bool any = false;
    list_for_each (e, &i->commits) {
        any = any || list_entry(e, struct commit, link)->flushed;
    }
    if (!any || i->extending) {
        return;
    }
    if (i->need_extend) {
        start_extend(i);
    } else {
        finish_commits(i, false);
    }
}

static void flushed(struct flush *f)
{
    struct commit *k = container_of(f, struct commit, flush);
    struct inode *i = k->inode;
    k->flushed = true;
    inode_pin(i);
    step(i);
    commit_settle(i);
    inode_unpin(i);
}

bool commit_start(struct inode *i, struct commit *k)
{
    if (!commit_due(i)) {
        return false;
    }
    k->inode = i;
    inode_pin(i);
    k->riding = k->carried = false;
    k->flush = (struct flush){.done = flushed};
    list_init(&k->link);
    list_push_back(&i->commits, &k->link);
    k->flushed = !flush_start(i, &k->flush, 0, UINT64_MAX);
    if (k->flushed) {
        step(i);
    }
    return true;
}

void commit_cancel(struct commit *k)
{
    if (k->inode == NULL) {
        return;
    }
    flush_cancel(&k->flush);
    list_remove(&k->link);
    struct inode *i = k->inode;
    if (i->carrier == k) {
        i->carrier = NULL;
        if (!master_call_sent(&i->extend) && !i->client->freeing) { /* then it does not happen */
            master_call_cancel(&i->extend);
            send_extend(i);
        }
    }
    inode_unpin(k->inode);
    k->inode = NULL;
}

/* ---------------------------------------------------------------- overtaking */

struct plain_flush {
    struct op op;
    struct flush flush;
    struct inode *inode;
};

static void plain_drop(struct op *o)
{
    struct plain_flush *p = container_of(o, struct plain_flush, op);
    flush_cancel(&p->flush);
    inode_unpin(p->inode);
    mem_free(p);
}

static void plain_flushed(struct flush *f)
{
    op_end(&container_of(f, struct plain_flush, flush)->op, 0);
}

bool commit_overtake(struct inode *i, bool sets_mtime)
{
    if (!write_back_busy(i) || i->need_extend || i->extending || i->clear_suid) {
        return false;
    }
    i->times_set = i->times_set || sets_mtime;
    struct plain_flush *p = mem_new(struct plain_flush);
    op_begin(&p->op, i->client, NULL, plain_drop);
    p->flush.done = plain_flushed;
    p->inode = i;
    inode_pin(i);
    if (!flush_start(i, &p->flush, 0, UINT64_MAX)) {
        op_end(&p->op, 0);
    }
    return true;
}

void commit_times_not_set(struct inode *i)
{
    i->need_touch = i->need_touch || i->times_set;
    i->times_set = false;
}

/* ---------------------------------------------------------------- by age */

struct age_commit {
    struct op op;
    struct commit commit;
};

static void age_drop(struct op *o)
{
    struct age_commit *a = container_of(o, struct age_commit, op);
    commit_cancel(&a->commit);
    mem_free(a);
}

static void age_committed(struct commit *k)
{
    op_end(&container_of(k, struct age_commit, commit)->op, 0);
}

static void arm(struct client *c)
{
    if (list_empty(&c->aging)) {
        return;
    }
    struct inode *i = list_entry(c->aging.next, struct inode, aging);
    uint64_t at = i->aging_since_ns + c->cfg.dirty_age_ms * NS_PER_MS;
    uint64_t now = env_mono_ns(c->env);
    env_timer_set(c->env, &c->age_timer, at > now ? at - now : 0);
}

void commit_age(struct inode *i)
{
    struct client *c = i->client;
    if (list_empty(&i->dirty)) {
        list_push_back(&c->dirty, &i->dirty);
    }
    if (!list_empty(&i->aging)) {
        return;
    }
    bool first = list_empty(&c->aging);
    i->aging_since_ns = env_mono_ns(c->env);
    list_push_back(&c->aging, &i->aging);
    if (first) {
        arm(c);
    }
}

static void start_background(struct inode *i)
{
    struct age_commit *a = mem_new(struct age_commit);
    op_begin(&a->op, i->client, NULL, age_drop);
    a->commit.done = age_committed;
    if (!commit_start(i, &a->commit)) {
        op_end(&a->op, 0);
    }
}

void commit_age_fired(struct env_timer *t)
{
    struct client *c = container_of(t, struct client, age_timer);
    client_enter(c);
    uint64_t now = env_mono_ns(c->env);
    while (!list_empty(&c->aging)) {
        struct inode *i = list_entry(c->aging.next, struct inode, aging);
        if (i->aging_since_ns + c->cfg.dirty_age_ms * NS_PER_MS > now) {
            break;
        }
        list_remove(&i->aging);
        start_background(i);
    }
    arm(c);
    client_leave(c);
}

/* ---------------------------------------------------------------- everything */

struct commit_part {
    struct list link; /* commit_all.parts */
    struct commit_all *all;
    struct commit commit;
};

static void part_done(struct commit *k)
{
    struct commit_part *p = container_of(k, struct commit_part, commit);
    struct commit_all *a = p->all;
    list_remove(&p->link);
    mem_free(p);
    if (list_empty(&a->parts)) {
        a->done(a);
    }
}

bool commit_all_start(struct client *c, struct commit_all *a)
{
    list_init(&a->parts);
    list_for_each_safe (e, &c->dirty) {
        struct inode *i = list_entry(e, struct inode, dirty);
        struct commit_part *p = mem_new(struct commit_part);
        p->all = a;
        p->commit.done = part_done;
        if (commit_start(i, &p->commit)) {
            list_push_back(&a->parts, &p->link);
        } else {
            mem_free(p);
        }
    }
    return !list_empty(&a->parts);
}

void commit_all_cancel(struct commit_all *a)
{
    if (a->parts.next == NULL) {
        return;
    }
    for (struct list *e; (e = list_pop_front(&a->parts)) != NULL;) {
        struct commit_part *p = list_entry(e, struct commit_part, link);
        commit_cancel(&p->commit);
        mem_free(p);
    }
}
