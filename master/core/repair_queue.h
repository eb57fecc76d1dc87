/* repair_queue.h - chunks that wait for copies, in the order in which they are worked on: by risk,
 * then by bytes, small ones first, then as they came.
 *
 * An item is a hint: what the chunk needs is decided anew when its turn comes. Bounded: when it is
 * full an item of less risk makes room, or the new one is refused and found again by the next scan.
 * Pure; one item per chunk.
 */
#ifndef MASTER_CORE_REPAIR_QUEUE_H
#define MASTER_CORE_REPAIR_QUEUE_H

#include "master/core/repair_plan.h"
#include "shared/base/list.h"

enum { REPAIR_QUEUE_MAX = 65536, REPAIR_SIZES = 4 };

struct repair_item {
    struct hmap_node node;
    struct list link;
    uint64_t ino, number, handle;
    uint64_t bytes;
    enum repair_risk risk;
    uint32_t from, to; /* of RISK_BALANCE: the member that leaves and its successor; else 0 */
    uint32_t round;    /* scan that found it last */
};

struct repair_class {
    uint64_t chunks, bytes;
};

struct repair_queue {
    struct hmap by_handle;
    struct list lists[RISK_CLASSES][REPAIR_SIZES];
    struct repair_class waiting[RISK_CLASSES];
    uint32_t max;
};

void repair_queue_init(struct repair_queue *q, uint32_t max);
void repair_queue_close(struct repair_queue *q);
/* Adds a copy of *item, or replaces the chunk's: it goes behind those of its risk and size unless
 * it stands among them already. False if the queue is full of what is as urgent. */
bool repair_queue_put(struct repair_queue *q, const struct repair_item *item);
struct repair_item *repair_queue_find(const struct repair_queue *q, uint64_t handle);
void repair_queue_remove(struct repair_queue *q, struct repair_item *item);
/* The first one, and the one after `item`, in order; NULL at the end. */
struct repair_item *repair_queue_first(struct repair_queue *q);
struct repair_item *repair_queue_next(struct repair_queue *q, struct repair_item *item);
static inline bool repair_queue_empty(const struct repair_queue *q)
{
    return q->by_handle.count == 0;
}

#endif
