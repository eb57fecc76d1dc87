/* hmap.h - intrusive hash map with chains; the owner keeps the key inside the element.
 *
 * The map stores a 64-bit hash with each node; the caller compares keys while it walks
 * hmap_first/hmap_next of one hash. Iteration order (hmap_for_each) depends only on the hashes and
 * the order of insertion, never on addresses, so it is the same in every run. An element may be
 * removed while hmap_for_each stands on it; nothing may be added during the walk.
 */
#ifndef SHARED_BASE_HMAP_H
#define SHARED_BASE_HMAP_H

#include <stddef.h>
#include <stdint.h>

struct hmap_node {
    struct hmap_node *next;
    uint64_t hash;
};

struct hmap {
    struct hmap_node **slots;
    size_t slot_count; /* 0 or a power of two */
    size_t count;      /* elements */
};

void hmap_init(struct hmap *m);
void hmap_close(struct hmap *m); /* frees the slots, not the elements */
void hmap_add(struct hmap *m, struct hmap_node *n, uint64_t hash);
void hmap_remove(struct hmap *m, struct hmap_node *n);             /* n must be in m */
struct hmap_node *hmap_first(const struct hmap *m, uint64_t hash); /* NULL if none */
struct hmap_node *hmap_next(const struct hmap_node *n);            /* same hash, NULL if none */
struct hmap_node *hmap_begin(const struct hmap *m);
struct hmap_node *hmap_after(const struct hmap *m, const struct hmap_node *n);

/* A good 64-bit mix of an integer key. */
static inline uint64_t hmap_hash_u64(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ULL;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

#define hmap_for_each(it, map)                                                                     \
    for (struct hmap_node *it = hmap_begin(map), *it##_next = it ? hmap_after(map, it) : NULL;     \
         it != NULL; it = it##_next, it##_next = it ? hmap_after(map, it) : NULL)

#endif
