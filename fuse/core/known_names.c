/* known_names.c - see known_names.h. */
#include "fuse/core/known_names.h"

#include <string.h>

#include "fuse/core/client_impl.h"
#include "shared/base/hash.h"

/* Our clock may be as much slower than the master's. */
#define TRUSTED_NS (NAME_LEASE_MS * NS_PER_MS / 100 * 99)

enum { SLOTS_MIN = 16, NAMES_EACH = 32, NAMES_DIR_EACH = 8, INODES_EACH_DIR = 4 };

struct known_dir {
    struct hmap_node node;
    struct list link;
    uint64_t dir, until_ns;
    uint64_t *hashes; /* open addressing; 0 = free */
    uint32_t slots;   /* power of two; at most half are taken */
    uint32_t taken;
};

void known_names_init(struct client *c)
{
    hmap_init(&c->names.dirs);
    list_init(&c->names.used);
}

static void forget(struct known_names *t, struct known_dir *d)
{
    t->hash_slots -= d->slots;
    hmap_remove(&t->dirs, &d->node);
    list_remove(&d->link);
    mem_free(d->hashes);
    mem_free(d);
}

void known_names_forget_all(struct client *c)
{
    while (!list_empty(&c->names.used)) {
        forget(&c->names, list_entry(c->names.used.next, struct known_dir, link));
    }
}

void known_names_close(struct client *c)
{
    known_names_forget_all(c);
    hmap_close(&c->names.dirs);
}

static struct known_dir *find(const struct known_names *t, uint64_t dir)
{
    struct hmap_node *n = hmap_first(&t->dirs, hmap_hash_u64(dir));
    for (; n != NULL; n = hmap_next(n)) {
        struct known_dir *d = container_of(n, struct known_dir, node);
        if (d->dir == dir) {
            return d;
        }
    }
    return NULL;
}

static void make_slots(struct known_names *t, struct known_dir *d, uint32_t slots)
{
    d->hashes = mem_alloc(slots * sizeof(*d->hashes));
    memset(d->hashes, 0, slots * sizeof(*d->hashes));
    d->slots = slots;
    t->hash_slots += slots;
}

/* Half of them are taken at most. */
static uint64_t slots_max(const struct client *c)
{
    return 2ull * NAMES_EACH * c->cfg.remembered;
}

void known_names_made(struct client *c, uint64_t dir, uint64_t sent_ns)
{
    struct known_names *t = &c->names;
    if (find(t, dir) != NULL) {
        return;
    }
    while (t->dirs.count > c->cfg.remembered / INODES_EACH_DIR ||
           t->hash_slots + SLOTS_MIN > slots_max(c)) {
        forget(t, list_entry(t->used.next, struct known_dir, link));
    }
    struct known_dir *d = mem_new(struct known_dir);
    d->dir = dir;
    d->until_ns = sent_ns + TRUSTED_NS;
    make_slots(t, d, SLOTS_MIN);
    hmap_add(&t->dirs, &d->node, hmap_hash_u64(dir));
    list_push_back(&t->used, &d->link);
}

void known_names_kept(struct client *c, uint64_t dir, uint64_t sent_ns)
{
    struct known_dir *d = find(&c->names, dir);
    if (d != NULL) {
        d->until_ns = MAX(d->until_ns, sent_ns + TRUSTED_NS);
        list_remove(&d->link);
        list_push_back(&c->names.used, &d->link);
    }
}

static uint64_t hash_of(struct bytes name)
{
    uint64_t h = hash64(name.data, name.len);
    return h != 0 ? h : 1;
}

/* Where the hash stands, or the free slot where it belongs. */
static uint64_t *slot_of(const struct known_dir *d, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & (d->slots - 1);
    while (d->hashes[at] != 0 && d->hashes[at] != hash) {
        at = (at + 1) & (d->slots - 1);
    }
    return &d->hashes[at];
}

static void grow(struct known_names *t, struct known_dir *d)
{
    uint64_t *old = d->hashes;
    uint32_t count = d->slots;
    t->hash_slots -= count;
    make_slots(t, d, 2 * count);
    for (uint32_t i = 0; i < count; i++) {
        if (old[i] != 0) {
            *slot_of(d, old[i]) = old[i];
        }
    }
    mem_free(old);
}

void known_names_add(struct client *c, uint64_t dir, struct bytes name)
{
    struct known_names *t = &c->names;
    struct known_dir *d = find(t, dir);
    if (d == NULL) {
        return;
    }
    uint64_t hash = hash_of(name);
    uint64_t *slot = slot_of(d, hash);
    if (*slot == hash) {
        return;
    }
    *slot = hash;
    if (++d->taken * 2 < d->slots) {
        return;
    }
    if (d->taken >= c->cfg.remembered * NAMES_DIR_EACH || t->hash_slots + d->slots > slots_max(c)) {
        forget(t, d);
    } else {
        grow(t, d);
    }
}

bool known_names_lack(struct client *c, uint64_t dir, struct bytes name)
{
    struct known_dir *d = find(&c->names, dir);
    if (d == NULL || env_mono_ns(c->env) >= d->until_ns) {
        return false;
    }
    uint64_t hash = hash_of(name);
    return *slot_of(d, hash) != hash;
}
