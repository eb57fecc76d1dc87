/* asked.c - requests about chunks that are on their way. */
#include "tests/sim/asked.h"
#include "shared/base/hash.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"

struct asked *asked_find(struct hmap *all, uint64_t conn, uint64_t request, bool make)
{
    uint64_t key[2] = {conn, request};
    uint64_t hash = hash64(key, sizeof(key));
    for (struct hmap_node *n = hmap_first(all, hash); n; n = hmap_next(n)) {
        struct asked *one = container_of(n, struct asked, node);
        if (one->conn == conn && one->request == request) {
            return one;
        }
    }
    if (!make) {
        return NULL;
    }
    struct asked *one = mem_new(struct asked);
    one->conn = conn;
    one->request = request;
    hmap_add(all, &one->node, hash);
    return one;
}

void asked_drop(struct hmap *all, struct asked *one)
{
    if (one != NULL) {
        hmap_remove(all, &one->node);
        mem_free(one);
    }
}

void asked_close(struct hmap *all)
{
    struct hmap_node *n;
    while ((n = hmap_begin(all)) != NULL) {
        asked_drop(all, container_of(n, struct asked, node));
    }
    hmap_close(all);
}
