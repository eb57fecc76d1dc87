/* replies.c - answers held back until the operation log has committed what they saw.
 *
 * A binary heap by (index, order of arrival): answers mostly depend on the newest index, but a
 * query of something untouched for a while depends on an older one.
 */
#include "master/core/replies.h"
#include "shared/base/mem.h"

struct held {
    struct list link; /* in the asker's list; unlinked = the asker is gone */
    void *to;
    uint64_t index;
    uint64_t order;
    int status;
    struct frame_header request;
    struct slice body;
};

struct replies {
    replies_send send;
    struct held **heap;
    uint32_t count;
    uint32_t cap;
    uint64_t next_order;
};

struct replies *replies_new(replies_send send)
{
    struct replies *r = mem_new(struct replies);
    r->send = send;
    return r;
}

static void held_free(struct held *h)
{
    list_remove(&h->link);
    slice_drop(&h->body);
    mem_free(h);
}

void replies_free(struct replies *r)
{
    if (r == NULL) {
        return;
    }
    for (uint32_t i = 0; i < r->count; i++) {
        held_free(r->heap[i]);
    }
    mem_free(r->heap);
    mem_free(r);
}

static bool before(const struct held *a, const struct held *b)
{
    return a->index != b->index ? a->index < b->index : a->order < b->order;
}

static void heap_add(struct replies *r, struct held *h)
{
    if (r->count == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 64;
        r->heap = mem_resize(r->heap, r->cap * sizeof(*r->heap));
    }
    uint32_t at = r->count++;
    while (at > 0 && before(h, r->heap[(at - 1) / 2])) {
        r->heap[at] = r->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    r->heap[at] = h;
}

static struct held *heap_take(struct replies *r)
{
    struct held *first = r->heap[0];
    struct held *moved = r->heap[--r->count];
    uint32_t at = 0;
    for (uint32_t child; (child = 2 * at + 1) < r->count; at = child) {
        if (child + 1 < r->count && before(r->heap[child + 1], r->heap[child])) {
            child++;
        }
        if (!before(r->heap[child], moved)) {
            break;
        }
        r->heap[at] = r->heap[child];
    }
    r->heap[at] = moved;
    return first;
}

void replies_put(struct replies *r, struct list *of, void *to, const struct frame_header *request,
                 int status, uint64_t index, uint64_t committed, struct slice body)
{
    if (index <= committed) {
        r->send(to, request, status, index, body);
        return;
    }
    struct held *h = mem_new(struct held);
    h->to = to;
    h->index = index;
    h->order = r->next_order++;
    h->status = status;
    h->request = *request;
    h->body = body;
    list_push_back(of, &h->link);
    heap_add(r, h);
}

void replies_release(struct replies *r, uint64_t committed)
{
    while (r->count > 0 && r->heap[0]->index <= committed) {
        struct held *h = heap_take(r);
        if (!list_empty(&h->link)) {
            r->send(h->to, &h->request, h->status, h->index, h->body);
            h->body = (struct slice){0};
        }
        held_free(h);
    }
}

void replies_forget(struct replies *r, struct list *of)
{
    (void)r;
    while (list_pop_front(of) != NULL) {
    }
}

uint32_t replies_count(const struct replies *r)
{
    return r->count;
}
