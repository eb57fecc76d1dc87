/* list.h - intrusive doubly linked list. An element is in at most one list per `struct list`
 * member.
 *
 * A head and an unlinked element both point to themselves, so list_remove is safe to call twice.
 */
#ifndef SHARED_BASE_LIST_H
#define SHARED_BASE_LIST_H

#include <stdbool.h>

#include "shared/base/invariant.h"

struct list {
    struct list *prev;
    struct list *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_add_before(struct list *at, struct list *e)
{
    e->prev = at->prev;
    e->next = at;
    at->prev->next = e;
    at->prev = e;
}

static inline void list_push_back(struct list *head, struct list *e)
{
    list_add_before(head, e);
}

static inline void list_push_front(struct list *head, struct list *e)
{
    list_add_before(head->next, e);
}

static inline void list_remove(struct list *e)
{
    e->prev->next = e->next;
    e->next->prev = e->prev;
    list_init(e);
}

/* First element removed from the list, or NULL. */
static inline struct list *list_pop_front(struct list *head)
{
    struct list *e = head->next;
    if (e == head) {
        return NULL;
    }
    list_remove(e);
    return e;
}

#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define list_for_each(it, head)       for (struct list *it = (head)->next; it != (head); it = it->next)
#define list_for_each_safe(it, head)                                                               \
    for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                      \
         it = it##_next, it##_next = it->next)

#endif
