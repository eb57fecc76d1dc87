/* repair_queue.c - chunks that wait for copies. */
#include "master/core/repair_queue.h"
#include "shared/base/bytes.h"
#include "shared/base/mem.h"

void repair_queue_init(struct repair_queue *q, uint32_t max)
{
    *q = (struct repair_queue){.max = max};
    hmap_init(&q->by_handle);
    for (int risk = 0; risk < RISK_CLASSES; risk++) {
        for (int size = 0; size < REPAIR_SIZES; size++) {
            list_init(&q->lists[risk][size]);
        }
    }
}

void repair_queue_close(struct repair_queue *q)
{
    for (struct repair_item *i; (i = repair_queue_first(q)) != NULL;) {
        repair_queue_remove(q, i);
    }
    hmap_close(&q->by_handle);
}

static uint32_t size_of(uint64_t bytes)
{
    return bytes <= 1 << 20 ? 0 : bytes <= 8 << 20 ? 1 : bytes <= 32 << 20 ? 2 : 3;
}

struct repair_item *repair_queue_find(const struct repair_queue *q, uint64_t handle)
{
    for (struct hmap_node *n = hmap_first(&q->by_handle, hmap_hash_u64(handle)); n != NULL;
         n = hmap_next(n)) {
        struct repair_item *i = container_of(n, struct repair_item, node);
        if (i->handle == handle) {
            return i;
        }
    }
    return NULL;
}

void repair_queue_remove(struct repair_queue *q, struct repair_item *item)
{
    q->waiting[item->risk].chunks--;
    q->waiting[item->risk].bytes -= item->bytes;
    list_remove(&item->link);
    hmap_remove(&q->by_handle, &item->node);
    mem_free(item);
}

/* The last item of the least risk, if that is less than `risk`. */
static struct repair_item *last_below(struct repair_queue *q, enum repair_risk risk)
{
    for (int r = RISK_CLASSES; r-- > (int)risk + 1;) {
        for (int size = REPAIR_SIZES; size-- > 0;) {
            if (!list_empty(&q->lists[r][size])) {
                return list_entry(q->lists[r][size].prev, struct repair_item, link);
            }
        }
    }
    return NULL;
}

bool repair_queue_put(struct repair_queue *q, const struct repair_item *item)
{
    struct repair_item *old = repair_queue_find(q, item->handle);
    if (old != NULL && old->risk == item->risk && size_of(old->bytes) == size_of(item->bytes)) {
        q->waiting[old->risk].bytes += item->bytes - old->bytes;
        old->bytes = item->bytes;
        old->from = item->from;
        old->to = item->to;
        old->round = item->round;
        return true;
    }
    if (old != NULL) {
        repair_queue_remove(q, old);
    }
    if (q->by_handle.count >= q->max) {
        struct repair_item *last = last_below(q, item->risk);
        if (last == NULL) {
            return false;
        }
        repair_queue_remove(q, last);
    }
    struct repair_item *i = mem_new(struct repair_item);
    *i = *item;
    list_init(&i->link);
    hmap_add(&q->by_handle, &i->node, hmap_hash_u64(i->handle));
    list_push_back(&q->lists[i->risk][size_of(i->bytes)], &i->link);
    q->waiting[i->risk].chunks++;
    q->waiting[i->risk].bytes += i->bytes;
    return true;
}

static struct repair_item *first_from(struct repair_queue *q, uint32_t at)
{
    for (; at < RISK_CLASSES * REPAIR_SIZES; at++) {
        struct list *l = &q->lists[at / REPAIR_SIZES][at % REPAIR_SIZES];
        if (!list_empty(l)) {
            return list_entry(l->next, struct repair_item, link);
        }
    }
    return NULL;
}

struct repair_item *repair_queue_first(struct repair_queue *q)
{
    return first_from(q, 0);
}

struct repair_item *repair_queue_next(struct repair_queue *q, struct repair_item *item)
{
    uint32_t at = item->risk * REPAIR_SIZES + size_of(item->bytes);
    struct list *l = &q->lists[item->risk][size_of(item->bytes)];
    if (item->link.next != l) {
        return list_entry(item->link.next, struct repair_item, link);
    }
    return first_from(q, at + 1);
}
