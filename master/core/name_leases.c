/* name_leases.c - see name_leases.h. */
#include "master/core/name_leases.h"

#include "master/core/master_internal.h"
#include "shared/base/mem.h"

/* Longer than a session counts it, whose clock may be as much slower as ours is faster. */
#define LEASE_NS   (NAME_LEASE_MS * NS_PER_MS / 100 * 101)
#define END_ALL_NS (10 * LEASE_NS)

struct name_lease {
    struct hmap_node node;
    struct list link;
    uint64_t dir, session, until_ns;
    bool ended; /* not renewed any more */
};

void name_leases_init(struct name_leases *t, uint32_t max)
{
    t->max = max;
    hmap_init(&t->by_dir);
    list_init(&t->used);
}

static void forget(struct name_leases *t, struct name_lease *l)
{
    hmap_remove(&t->by_dir, &l->node);
    list_remove(&l->link);
    mem_free(l);
}

static void forget_all(struct name_leases *t)
{
    while (!list_empty(&t->used)) {
        forget(t, list_entry(t->used.next, struct name_lease, link));
    }
}

void name_leases_close(struct name_leases *t)
{
    forget_all(t);
    hmap_close(&t->by_dir);
}

static struct name_lease *find(const struct name_leases *t, uint64_t dir)
{
    struct hmap_node *n = hmap_first(&t->by_dir, hmap_hash_u64(dir));
    for (; n != NULL; n = hmap_next(n)) {
        struct name_lease *l = container_of(n, struct name_lease, node);
        if (l->dir == dir) {
            return l;
        }
    }
    return NULL;
}

static void renew(struct name_leases *t, struct name_lease *l, uint64_t now)
{
    l->until_ns = now + LEASE_NS;
    list_remove(&l->link);
    list_push_back(&t->used, &l->link);
}

/* False if all there can be run. */
static bool give(struct name_leases *t, uint64_t dir, uint64_t session, uint64_t now)
{
    if (t->by_dir.count >= t->max) {
        struct name_lease *oldest = list_entry(t->used.next, struct name_lease, link);
        if (oldest->until_ns > now) {
            return false;
        }
        forget(t, oldest);
    }
    struct name_lease *l = mem_new(struct name_lease);
    l->dir = dir;
    l->session = session;
    list_init(&l->link);
    hmap_add(&t->by_dir, &l->node, hmap_hash_u64(dir));
    renew(t, l, now);
    return true;
}

/* The directory that gets a name it may not have had; 0 = none. */
static uint64_t grown_dir(enum op_code op, const union op_any *req)
{
    switch (op) {
    case OP_create:
        return req->create_req.parent;
    case OP_mkdir:
        return req->mkdir_req.parent;
    case OP_mknod:
        return req->mknod_req.parent;
    case OP_symlink:
        return req->symlink_req.parent;
    case OP_link:
        return req->link_req.parent;
    case OP_rename:
        return req->rename_req.new_parent;
    default:
        return 0;
    }
}

static uint64_t named_dir(enum op_code op, const union op_any *req)
{
    switch (op) {
    case OP_lookup:
        return req->lookup_req.parent;
    case OP_unlink:
        return req->unlink_req.parent;
    case OP_rmdir:
        return req->rmdir_req.parent;
    default:
        return grown_dir(op, req);
    }
}

/* Sessions the predecessor of this master may have promised something, but for one. */
static bool others_before(const struct master *m, uint64_t session)
{
    list_for_each (e, &m->sessions.all) {
        const struct session *s = list_entry(e, struct session, link);
        if (s->is_older && s->id != session) {
            return true;
        }
    }
    return false;
}

bool name_leases_bar(struct master *m, uint64_t session, enum op_code op, const union op_any *req)
{
    struct name_leases *t = &m->name_leases;
    uint64_t dir = grown_dir(op, req);
    uint64_t now = env_mono_ns(m->env);
    if (dir == 0) {
        return false;
    }
    if (now < m->start_ns + LEASE_NS && others_before(m, session)) {
        return true;
    }
    struct name_lease *l = find(t, dir);
    if (l == NULL || l->session == session) {
        return false;
    }
    l->ended = true;
    if (l->until_ns > now) {
        return true;
    }
    forget(t, l);
    return false;
}

uint32_t name_leases_after(struct master *m, uint64_t session, enum op_code op,
                           const union op_any *req, const union op_any *rep)
{
    struct name_leases *t = &m->name_leases;
    uint64_t now = env_mono_ns(m->env);
    uint64_t dir = named_dir(op, req);
    uint32_t flags = 0;
    if (dir == 0 || session == 0 || now < t->none_until_ns) {
        return 0;
    }
    struct name_lease *l = find(t, dir);
    if (l != NULL && l->session == session && !l->ended) {
        renew(t, l, now);
        flags |= FRAME_NAMES_KEPT;
    }
    if (op == OP_mkdir && rep->mkdir_rep.attr.ino != 0 &&
        give(t, rep->mkdir_rep.attr.ino, session, now)) {
        flags |= FRAME_NAMES_NEW;
    }
    return flags;
}

bool name_leases_end_all(struct master *m)
{
    struct name_leases *t = &m->name_leases;
    uint64_t now = env_mono_ns(m->env);
    struct name_lease *newest = list_entry(t->used.prev, struct name_lease, link);
    bool runs = !list_empty(&t->used) && newest->until_ns > now;
    t->none_until_ns = now + END_ALL_NS;
    if (!runs) {
        forget_all(t);
    }
    return runs || now < m->start_ns + LEASE_NS;
}
