/* inode_refs.c - lookup counts, open files and last attributes of inodes the kernel knows. */
#include "fuse/io/inode_refs.h"

#include "shared/base/invariant.h"
#include "shared/base/mem.h"
#include "shared/env/env.h"

static struct inode_ref *add(struct inode_refs *t, uint64_t ino)
{
    struct inode_ref *r = mem_new(struct inode_ref);
    r->ino = ino;
    r->last.ino = ino;
    hmap_add(&t->map, &r->link, hmap_hash_u64(ino));
    return r;
}

static void drop_if_unused(struct inode_refs *t, struct inode_ref *r)
{
    if (r->lookups == 0 && r->files == 0) {
        hmap_remove(&t->map, &r->link);
        mem_free(r);
    }
}

void inode_refs_init(struct inode_refs *t)
{
    hmap_init(&t->map);
    add(t, ROOT_INO)->lookups = 1;
}

void inode_refs_close(struct inode_refs *t)
{
    hmap_for_each (n, &t->map) {
        hmap_remove(&t->map, n);
        mem_free(container_of(n, struct inode_ref, link));
    }
    hmap_close(&t->map);
}

struct inode_ref *inode_refs_find(const struct inode_refs *t, uint64_t ino)
{
    struct hmap_node *n = hmap_first(&t->map, hmap_hash_u64(ino));
    for (; n != NULL; n = hmap_next(n)) {
        struct inode_ref *r = container_of(n, struct inode_ref, link);
        if (r->ino == ino) {
            return r;
        }
    }
    return NULL;
}

struct inode_ref *inode_refs_learn(struct inode_refs *t, const struct attr *a, uint64_t lookups)
{
    struct inode_ref *r = inode_refs_find(t, a->ino);
    if (r == NULL) {
        if (lookups == 0) {
            return NULL;
        }
        r = add(t, a->ino);
    }
    r->lookups += lookups;
    r->last = *a;
    return r;
}

void inode_refs_learn_changed(struct inode_refs *t, const struct attr *dir, uint64_t now_ns)
{
    struct inode_ref *r = inode_refs_learn(t, dir, 0);
    if (r != NULL) {
        r->fresh_until_ns = now_ns + DIRECTORY_FRESH_MS * NS_PER_MS;
        r->fresh_at = t->unsettled;
    }
}

void inode_refs_unsettle(struct inode_refs *t)
{
    t->unsettled++;
}

const struct attr *inode_refs_fresh(const struct inode_refs *t, uint64_t ino, uint64_t now_ns)
{
    const struct inode_ref *r = inode_refs_find(t, ino);
    bool fresh = r != NULL && now_ns < r->fresh_until_ns && r->fresh_at == t->unsettled;
    return fresh ? &r->last : NULL;
}

void inode_refs_forget(struct inode_refs *t, uint64_t ino, uint64_t lookups)
{
    struct inode_ref *r = inode_refs_find(t, ino);
    if (r == NULL || ino == ROOT_INO) {
        return;
    }
    r->lookups -= MIN(lookups, r->lookups);
    drop_if_unused(t, r);
}

void inode_refs_open(struct inode_refs *t, uint64_t ino, bool writer)
{
    struct inode_ref *r = inode_refs_find(t, ino);
    if (r == NULL) {
        r = add(t, ino);
    }
    r->files++;
    r->writers += writer;
}

void inode_refs_release(struct inode_refs *t, uint64_t ino, bool writer)
{
    struct inode_ref *r = inode_refs_find(t, ino);
    ASSERT(r != NULL && r->files > 0 && (!writer || r->writers > 0));
    r->files--;
    r->writers -= writer;
    drop_if_unused(t, r);
}

bool inode_ref_is_outdated(const struct inode_ref *r, const struct attr *now)
{
    return r->told && (r->last.size != now->size || r->last.ctime.sec != now->ctime.sec ||
                       r->last.ctime.nsec != now->ctime.nsec);
}
