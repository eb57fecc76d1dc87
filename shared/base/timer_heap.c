/* timer_heap.c - binary heap of deadlines. */
#include "shared/base/timer_heap.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"

#include <stdbool.h>

void timer_heap_init(struct timer_heap *h)
{
    *h = (struct timer_heap){0};
}

void timer_heap_close(struct timer_heap *h)
{
    for (size_t i = 0; i < h->count; i++) {
        h->items[i]->place = 0;
    }
    mem_free(h->items);
    timer_heap_init(h);
}

static bool before(const struct env_timer *a, const struct env_timer *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void put(struct timer_heap *h, size_t i, struct env_timer *t)
{
    h->items[i] = t;
    t->place = i + 1;
}

static void sift_up(struct timer_heap *h, size_t i, struct env_timer *t)
{
    while (i > 0 && before(t, h->items[(i - 1) / 2])) {
        put(h, i, h->items[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    put(h, i, t);
}

static void sift_down(struct timer_heap *h, size_t i, struct env_timer *t)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count) {
            break;
        }
        if (child + 1 < h->count && before(h->items[child + 1], h->items[child])) {
            child++;
        }
        if (!before(h->items[child], t)) {
            break;
        }
        put(h, i, h->items[child]);
        i = child;
    }
    put(h, i, t);
}

void timer_heap_set(struct timer_heap *h, struct env_timer *t, uint64_t at_ns)
{
    timer_heap_stop(h, t);
    if (h->count == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 16;
        h->items = mem_resize(h->items, h->cap * sizeof(struct env_timer *));
    }
    t->at_ns = at_ns;
    t->order = h->next_order++;
    sift_up(h, h->count++, t);
}

void timer_heap_stop(struct timer_heap *h, struct env_timer *t)
{
    if (t->place == 0) {
        return;
    }
    size_t i = t->place - 1;
    ASSERT(i < h->count && h->items[i] == t);
    t->place = 0;
    struct env_timer *last = h->items[--h->count];
    if (last == t) {
        return;
    }
    if (i > 0 && before(last, h->items[(i - 1) / 2])) {
        sift_up(h, i, last);
    } else {
        sift_down(h, i, last);
    }
}

struct env_timer *timer_heap_first(const struct timer_heap *h)
{
    return h->count > 0 ? h->items[0] : NULL;
}
