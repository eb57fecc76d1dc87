/* timer_heap.h - binary heap of deadlines; ties fire in the order they were set.
 *
 * A timer is embedded in its owner and is in at most one heap.
 */
#ifndef SHARED_BASE_TIMER_HEAP_H
#define SHARED_BASE_TIMER_HEAP_H

#include <stddef.h>
#include <stdint.h>

struct env_timer {
    void (*fire)(struct env_timer *t); /* set by the owner before the timer is first armed */
    uint64_t at_ns;                    /* deadline on the env's monotonic clock */
    uint64_t order;                    /* of setting, breaks ties */
    size_t place;                      /* index in the heap + 1; 0 = not armed */
};

struct timer_heap {
    struct env_timer **items;
    size_t count;
    size_t cap;
    uint64_t next_order;
};

void timer_heap_init(struct timer_heap *h);
void timer_heap_close(struct timer_heap *h); /* armed timers are forgotten */
void timer_heap_set(struct timer_heap *h, struct env_timer *t, uint64_t at_ns); /* may be armed */
void timer_heap_stop(struct timer_heap *h, struct env_timer *t); /* fine if it is not armed */
/* The earliest timer, or NULL. Stays in the heap. */
struct env_timer *timer_heap_first(const struct timer_heap *h);

#endif
