/* hmap.c - intrusive hash map with chains. */
#include "shared/base/hmap.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"

void hmap_init(struct hmap *m)
{
    m->slots = NULL;
    m->slot_count = 0;
    m->count = 0;
}

void hmap_close(struct hmap *m)
{
    mem_free(m->slots);
    hmap_init(m);
}

static void push(struct hmap *m, struct hmap_node *n)
{
    struct hmap_node **slot = &m->slots[n->hash & (m->slot_count - 1)];
    n->next = *slot;
    *slot = n;
}

static void grow(struct hmap *m)
{
    size_t old_count = m->slot_count;
    struct hmap_node **old = m->slots;
    m->slot_count = old_count ? old_count * 2 : 16;
    m->slots = mem_alloc(m->slot_count * sizeof(*m->slots));
    for (size_t i = 0; i < old_count; i++) {
        for (struct hmap_node *n = old[i], *next; n != NULL; n = next) {
            next = n->next;
            push(m, n);
        }
    }
    mem_free(old);
}

void hmap_add(struct hmap *m, struct hmap_node *n, uint64_t hash)
{
    if (m->count >= m->slot_count) {
        grow(m);
    }
    n->hash = hash;
    push(m, n);
    m->count++;
}

void hmap_remove(struct hmap *m, struct hmap_node *n)
{
    ASSERT(m->slot_count > 0);
    struct hmap_node **at = &m->slots[n->hash & (m->slot_count - 1)];
    while (*at != n) {
        ASSERT(*at != NULL);
        at = &(*at)->next;
    }
    *at = n->next;
    n->next = NULL;
    m->count--;
}

struct hmap_node *hmap_first(const struct hmap *m, uint64_t hash)
{
    if (m->slot_count == 0) {
        return NULL;
    }
    struct hmap_node *n = m->slots[hash & (m->slot_count - 1)];
    while (n != NULL && n->hash != hash) {
        n = n->next;
    }
    return n;
}

struct hmap_node *hmap_next(const struct hmap_node *n)
{
    uint64_t hash = n->hash;
    n = n->next;
    while (n != NULL && n->hash != hash) {
        n = n->next;
    }
    return (struct hmap_node *)(uintptr_t)n;
}

static struct hmap_node *from_slot(const struct hmap *m, size_t i)
{
    for (; i < m->slot_count; i++) {
        if (m->slots[i] != NULL) {
            return m->slots[i];
        }
    }
    return NULL;
}

struct hmap_node *hmap_begin(const struct hmap *m)
{
    return from_slot(m, 0);
}

struct hmap_node *hmap_after(const struct hmap *m, const struct hmap_node *n)
{
    if (n->next != NULL) {
        return n->next;
    }
    return from_slot(m, (n->hash & (m->slot_count - 1)) + 1);
}
