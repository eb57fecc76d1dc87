/* ns_replies.c - the answers kept for the retries of mounts.
 *
 *   TABLE_REPLY    key session, sequence; value: the encoded answer
 *   TABLE_SESSION  its `acked`: every answer up to there has arrived, and is not kept
 *
 * Nearly every answer is acknowledged, and so dropped, by one of the next requests. What changed since
 * the rows were last settled is therefore kept here in memory, and goes into the rows before they are
 * committed, hashed or counted: most answers never become a row. Which rows there are at those points
 * follows from the records alone, not from when rows were settled before.
 */
#include "master/core/ns_internal.h"
#include "shared/base/mem.h"

#include <string.h>

struct answer {
    struct list link;
    uint64_t sequence;
    uint32_t len;
    uint8_t data[];
};

/* What is new of one session. */
struct session_news {
    struct hmap_node by_session;
    struct list link;
    uint64_t session;
    uint64_t acked;
    bool moved;          /* acked is not what the row says */
    struct list answers; /* by sequence; all are above acked */
};

static struct session_news *news_find(const struct ns *ns, uint64_t session)
{
    struct hmap_node *n = hmap_first(&ns->news_by_session, hmap_hash_u64(session));
    while (n != NULL && container_of(n, struct session_news, by_session)->session != session) {
        n = hmap_next(n);
    }
    return n == NULL ? NULL : container_of(n, struct session_news, by_session);
}

static struct session_news *news_new(struct ns *ns, const struct session_row *s)
{
    struct session_news *n = mem_new(struct session_news);
    n->session = s->session;
    n->acked = s->acked;
    list_init(&n->answers);
    hmap_add(&ns->news_by_session, &n->by_session, hmap_hash_u64(n->session));
    list_push_back(&ns->news, &n->link);
    return n;
}

static void answer_free(struct answer *a)
{
    list_remove(&a->link);
    mem_free(a);
}

static void news_free(struct ns *ns, struct session_news *n)
{
    list_for_each_safe (it, &n->answers) {
        answer_free(list_entry(it, struct answer, link));
    }
    hmap_remove(&ns->news_by_session, &n->by_session);
    list_remove(&n->link);
    mem_free(n);
}

void replies_init(struct ns *ns)
{
    hmap_init(&ns->news_by_session);
    list_init(&ns->news);
}

void replies_close(struct ns *ns)
{
    list_for_each_safe (it, &ns->news) {
        news_free(ns, list_entry(it, struct session_news, link));
    }
    hmap_close(&ns->news_by_session);
}

/* ---------------------------------------------------------------- rows */

/* Drops the rows of the session's answers up to `last`. */
static void rows_drop(struct ns *ns, uint64_t session, uint64_t last)
{
    struct row_key from = row_key_pair(session, 0);
    struct bytes key, value;
    while (store_seek(ns->store, TABLE_REPLY, row_key_bytes(&from), false, &key, &value) == 0) {
        uint64_t owner, sequence;
        ROW_IS(ns, "reply", row_key_get_pair(key, &owner, &sequence));
        if (owner != session || sequence > last) {
            break;
        }
        struct row_key row = row_key_pair(session, sequence);
        store_del(ns->store, TABLE_REPLY, row_key_bytes(&row));
    }
}

static void settle(struct ns *ns, const struct session_news *n)
{
    struct session_row s;
    ROW_IS(ns, "session", session_load(ns, n->session, &s) == 0);
    if (n->moved) {
        s.acked = n->acked;
        session_save(ns, &s);
        rows_drop(ns, n->session, n->acked);
    }
    list_for_each (it, &n->answers) {
        const struct answer *a = list_entry(it, struct answer, link);
        struct row_key key = row_key_pair(n->session, a->sequence);
        store_put(ns->store, TABLE_REPLY, row_key_bytes(&key), bytes_of(a->data, a->len));
    }
}

void replies_settle(struct ns *ns)
{
    list_for_each_safe (it, &ns->news) {
        struct session_news *n = list_entry(it, struct session_news, link);
        settle(ns, n);
        news_free(ns, n);
    }
}

/* ---------------------------------------------------------------- answers */

int ns_reply_find(struct ns *ns, uint64_t session, uint64_t sequence, struct bytes *out)
{
    struct session_row s;
    const struct session_news *n = news_find(ns, session);
    if (n == NULL && session_load(ns, session, &s) != 0) {
        return ERR_NO_SESSION;
    }
    if (sequence <= (n == NULL ? s.acked : n->acked)) {
        return -ESTALE;
    }
    for (struct list *at = n == NULL ? NULL : n->answers.prev; at != NULL && at != &n->answers;
         at = at->prev) {
        const struct answer *a = list_entry(at, struct answer, link);
        if (a->sequence == sequence) {
            *out = bytes_of(a->data, a->len);
            return 0;
        }
    }
    struct row_key key = row_key_pair(session, sequence);
    return store_get(ns->store, TABLE_REPLY, row_key_bytes(&key), out);
}

static void drop_acked(struct session_news *n)
{
    while (!list_empty(&n->answers)) {
        struct answer *a = list_entry(n->answers.next, struct answer, link);
        if (a->sequence > n->acked) {
            break;
        }
        answer_free(a);
    }
}

static void keep(struct session_news *n, uint64_t sequence, struct bytes reply)
{
    struct answer *a = mem_alloc(sizeof(*a) + reply.len);
    list_init(&a->link);
    a->sequence = sequence;
    a->len = (uint32_t)reply.len;
    memcpy(a->data, reply.data, reply.len);
    struct list *after = n->answers.prev;
    while (after != &n->answers && list_entry(after, struct answer, link)->sequence > sequence) {
        after = after->prev;
    }
    list_add_before(after->next, &a->link);
}

void reply_keep(struct change *c, struct bytes reply)
{
    const struct record *r = c->record;
    struct session_news *n = news_find(c->ns, r->session);
    if (n == NULL) {
        struct session_row s;
        if (session_load(c->ns, r->session, &s) != 0) {
            return; /* it has ended: nobody will ask */
        }
        n = news_new(c->ns, &s);
    }
    if (r->acked > n->acked) {
        n->acked = r->acked;
        n->moved = true;
        drop_acked(n);
    }
    if (r->sequence > n->acked) {
        keep(n, r->sequence, reply);
    }
}

void replies_end(struct ns *ns, uint64_t session)
{
    struct session_news *n = news_find(ns, session);
    if (n != NULL) {
        news_free(ns, n);
    }
    rows_drop(ns, session, UINT64_MAX);
}
