/* recalls.c - a truncate is answered when everybody who writes to the file knows of it. */
#include "master/core/recalls.h"
#include "master/core/master_internal.h"
#include "shared/base/mem.h"

/* One answer held back. */
struct recall {
    struct list link; /* master.recalls */
    struct peer *asker;
    struct frame_header head;
    uint64_t ino;
    uint64_t index;
    struct slice body;
    struct list waits;
};

/* A session that has not said yet that it forgot. */
struct recall_wait {
    struct list link; /* recall.waits */
    struct recall *recall;
    uint64_t session;
    uint32_t attaches; /* how often it had attached */
    struct rpc_call call;
};

static void wait_free(struct recall_wait *w)
{
    rpc_cancel(&w->call);
    list_remove(&w->link);
    mem_free(w);
}

static void recall_free(struct recall *r)
{
    list_for_each_safe (it, &r->waits) {
        wait_free(list_entry(it, struct recall_wait, link));
    }
    list_remove(&r->link);
    slice_drop(&r->body);
    mem_free(r);
}

/* Nobody is left to hear of it. */
static void answer(struct recall *r)
{
    struct slice body = slice_ref(&r->body);
    master_answer(r->asker, &r->head, 0, r->index, body);
    recall_free(r);
}

static void recalled(struct rpc_call *call)
{
    struct recall_wait *w = call->owner;
    struct recall *r = w->recall;
    if (call->status != 0) {
        return; /* asked again by the next tick */
    }
    wait_free(w);
    if (list_empty(&r->waits)) {
        answer(r);
    }
}

static void ask(struct recall_wait *w, struct session *s)
{
    struct master *m = w->recall->asker->m;
    struct frame_header head = {.op = OP_recall, .epoch = m->epoch};
    struct recall_req req = {.ino = w->recall->ino};
    if (s->peer != NULL && !s->peer->closing && !rpc_call_running(&w->call)) {
        w->call.done = recalled;
        w->call.owner = w;
        rpc_call(&s->peer->rpc, &w->call, &head, RPC_BODY(recall_req, &req), NULL,
                 m->cfg.geometry.request_timeout_ms);
    }
}

/* Does this session, or may it, have the file open for writing? */
static bool may_write(struct master *m, const struct session *s, uint64_t ino)
{
    return s->attached ? session_writes_to(s, ino) : ns_writer_exists(m->ns, s->id, ino);
}

bool recalls_hold(struct peer *p, const struct frame_header *head, uint64_t ino, uint64_t index,
                  struct slice body)
{
    struct master *m = p->m;
    struct recall *r = NULL;
    list_for_each (it, &m->sessions.all) {
        struct session *s = list_entry(it, struct session, link);
        if (s == p->session || !may_write(m, s, ino)) {
            continue;
        }
        if (r == NULL) {
            r = mem_new(struct recall);
            *r = (struct recall){
                .asker = p, .head = *head, .ino = ino, .index = index, .body = body};
            list_init(&r->link);
            list_init(&r->waits);
            list_push_back(&m->recalls, &r->link);
        }
        struct recall_wait *w = mem_new(struct recall_wait);
        w->recall = r;
        w->session = s->id;
        w->attaches = s->attaches;
        list_init(&w->link);
        list_push_back(&r->waits, &w->link);
        ask(w, s);
    }
    return r != NULL;
}

static void look_again(struct master *m, struct recall *r)
{
    list_for_each_safe (it, &r->waits) {
        struct recall_wait *w = list_entry(it, struct recall_wait, link);
        struct session *s = sessions_get(&m->sessions, w->session);
        if (s == NULL || s->attaches != w->attaches || !may_write(m, s, r->ino)) {
            wait_free(w);
        } else {
            ask(w, s);
        }
    }
    if (list_empty(&r->waits)) {
        answer(r);
    }
}

void recalls_tick(struct master *m)
{
    list_for_each_safe (it, &m->recalls) {
        look_again(m, list_entry(it, struct recall, link));
    }
}

void recalls_forget(struct peer *p)
{
    list_for_each_safe (it, &p->m->recalls) {
        struct recall *r = list_entry(it, struct recall, link);
        if (r->asker == p) {
            recall_free(r);
        }
    }
}

void recalls_close(struct master *m)
{
    list_for_each_safe (it, &m->recalls) {
        recall_free(list_entry(it, struct recall, link));
    }
}
