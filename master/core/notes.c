/* notes.c - what is known to be wrong with single replicas. */
#include "master/core/notes.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"

void notes_init(struct notes *ns)
{
    hmap_init(&ns->map);
}

static void drop(struct notes *ns, struct note *n)
{
    hmap_remove(&ns->map, &n->node);
    mem_free(n);
}

void notes_close(struct notes *ns)
{
    hmap_for_each (it, &ns->map) {
        drop(ns, container_of(it, struct note, node));
    }
    hmap_close(&ns->map);
}

static struct note *at_or_after(struct hmap_node *n, uint64_t handle)
{
    for (; n != NULL; n = hmap_next(n)) {
        struct note *note = container_of(n, struct note, node);
        if (note->handle == handle) {
            return note;
        }
    }
    return NULL;
}

struct note *notes_first(const struct notes *ns, uint64_t handle)
{
    if (ns->map.count == 0) {
        return NULL;
    }
    return at_or_after(hmap_first(&ns->map, hmap_hash_u64(handle)), handle);
}

struct note *notes_next(const struct note *n)
{
    return at_or_after(hmap_next(&n->node), n->handle);
}

static struct note *find(const struct notes *ns, uint64_t handle, uint32_t server)
{
    struct note *n = notes_first(ns, handle);
    while (n != NULL && n->server != server) {
        n = notes_next(n);
    }
    return n;
}

void notes_clear(struct notes *ns, uint64_t handle, uint32_t server)
{
    struct note *n = find(ns, handle, server);
    if (n != NULL) {
        drop(ns, n);
    }
}

void notes_set(struct notes *ns, const struct note *what)
{
    struct note *n = find(ns, what->handle, what->server);
    if (what->kind == NOTE_NONE) {
        notes_clear(ns, what->handle, what->server);
        return;
    }
    if (n == NULL) {
        if (ns->map.count >= NOTES_MAX) {
            return;
        }
        n = mem_new(struct note);
        hmap_add(&ns->map, &n->node, hmap_hash_u64(what->handle));
    }
    struct hmap_node node = n->node;
    *n = *what;
    n->node = node;
    n->round = n->due = 0;
    n->asked = false;
}

void notes_removed(struct notes *ns, uint64_t handle, uint32_t server)
{
    struct note *n = find(ns, handle, server);
    if (n != NULL && n->asked) {
        drop(ns, n);
    }
}

enum note_kind notes_get(const struct notes *ns, uint64_t handle, uint32_t server, uint64_t version)
{
    const struct note *n = find(ns, handle, server);
    return n != NULL && n->version == version ? n->kind : NOTE_NONE;
}

void notes_clear_server(struct notes *ns, uint32_t server)
{
    hmap_for_each (it, &ns->map) {
        struct note *n = container_of(it, struct note, node);
        if (n->server == server && n->kind != NOTE_SUSPECT) {
            drop(ns, n);
        }
    }
}

void notes_sweep(struct notes *ns, uint32_t round, bool (*each)(void *owner, struct note *n),
                 void *owner)
{
    hmap_for_each (it, &ns->map) {
        struct note *n = container_of(it, struct note, node);
        if (n->round == 0) {
            n->round = round; /* younger than the scan that ends, perhaps */
        } else if (n->round < round && each(owner, n)) {
            drop(ns, n);
        }
    }
}
