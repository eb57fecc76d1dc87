/* setbacks.c - chunks whose repair failed lately. */
#include "master/core/setbacks.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"
#include "shared/env/env.h"

#include <errno.h>

struct setback {
    struct hmap_node node;
    uint64_t handle;
    uint64_t again_ns; /* not before */
    uint64_t touched_ns;
    uint32_t failures; /* in a row */
    int said;          /* status of the last line about it, 0 = none */
};

void setbacks_init(struct setbacks *s, uint32_t max)
{
    s->max = max;
    hmap_init(&s->map);
}

static void drop(struct setbacks *s, struct setback *b)
{
    hmap_remove(&s->map, &b->node);
    mem_free(b);
}

void setbacks_close(struct setbacks *s)
{
    hmap_for_each (it, &s->map) {
        drop(s, container_of(it, struct setback, node));
    }
    hmap_close(&s->map);
}

static struct setback *find(const struct setbacks *s, uint64_t handle)
{
    if (s->map.count == 0) {
        return NULL;
    }
    for (struct hmap_node *n = hmap_first(&s->map, hmap_hash_u64(handle)); n; n = hmap_next(n)) {
        struct setback *b = container_of(n, struct setback, node);
        if (b->handle == handle) {
            return b;
        }
    }
    return NULL;
}

static struct setback *find_or_add(struct setbacks *s, uint64_t handle, uint64_t now_ns)
{
    struct setback *b = find(s, handle);
    if (b == NULL && s->map.count < s->max) {
        b = mem_new(struct setback);
        b->handle = handle;
        hmap_add(&s->map, &b->node, hmap_hash_u64(handle));
    }
    if (b != NULL) {
        b->touched_ns = now_ns;
    }
    return b;
}

bool setback_past(const struct setbacks *s, uint64_t handle, uint64_t now_ns)
{
    const struct setback *b = find(s, handle);
    return b == NULL || now_ns >= b->again_ns;
}

void setback_failed(struct setbacks *s, uint64_t handle, int status, uint64_t now_ns)
{
    struct setback *b = find_or_add(s, handle, now_ns);
    if (b == NULL) {
        return;
    }
    uint64_t ms = SETBACK_FIRST_MS;
    if (status != -EAGAIN) {
        ms = MIN(ms << MIN(b->failures, 10u), (uint64_t)SETBACK_MAX_MS);
        b->failures++;
    }
    b->again_ns = now_ns + ms * NS_PER_MS;
}

bool setback_news(struct setbacks *s, uint64_t handle, int status, uint64_t now_ns)
{
    struct setback *b = find_or_add(s, handle, now_ns);
    if (b == NULL || b->said == status) {
        return false;
    }
    b->said = status;
    return true;
}

bool setback_over(struct setbacks *s, uint64_t handle)
{
    struct setback *b = find(s, handle);
    bool said = b != NULL && b->said != 0;
    if (b != NULL) {
        drop(s, b);
    }
    return said;
}

void setbacks_hurry(struct setbacks *s)
{
    hmap_for_each (it, &s->map) {
        struct setback *b = container_of(it, struct setback, node);
        b->again_ns = 0;
        b->failures = 0;
    }
}

void setbacks_sweep(struct setbacks *s, uint64_t now_ns)
{
    hmap_for_each (it, &s->map) {
        struct setback *b = container_of(it, struct setback, node);
        if (now_ns - b->touched_ns > SETBACK_KEEP_MS * NS_PER_MS) {
            drop(s, b);
        }
    }
}
