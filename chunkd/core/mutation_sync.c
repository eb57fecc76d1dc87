/* mutation_sync.c - fsync of a chunk: every member of the version makes its replica durable. */
#include "chunkd/core/mutation.h"
#include "chunkd/core/replica_sync.h"

struct sync_request {
    struct request q;
    struct member_set members;
    struct sync_wait wait;
};

static void sync_release(struct request *q)
{
    struct sync_request *s = (struct sync_request *)q;
    member_set_release(&s->members);
    replica_sync_cancel(&s->wait);
}

static void sync_answered(struct member_set *set)
{
    struct sync_request *s = container_of(set, struct sync_request, members);
    struct sync_rep rep = {.failed_server = set->failed_server,
                           .failed_status = set->failed_status};
    request_answer(&s->q, member_set_status(set), RPC_BODY(sync_rep, &rep), NULL);
    request_end(&s->q);
}

static void synced_here(struct sync_wait *w, int status)
{
    struct sync_request *s = container_of(w, struct sync_request, wait);
    member_set_answered(&s->members, s->q.c->label.server, status);
}

void sync_handle(struct link *l, struct message *m)
{
    struct chunkd *c = l->c;
    struct sync_req req;
    if (sync_req_decode(slice_bytes(&m->body), &req) != 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    struct sync_request *s = request_begin(l, m, sizeof(*s));
    s->q.release = sync_release;
    struct local_replica *r = table_get(&c->table, req.handle);
    int err = primary_check(c, r, req.version);
    if (err == 0) {
        err = member_set_parse(&s->members, c, req.members, false);
    }
    if (err != 0) {
        struct sync_rep rep = {.failed_server = c->label.server, .failed_status = err};
        request_answer(&s->q, err, RPC_BODY(sync_rep, &rep), NULL);
        request_end(&s->q);
        return;
    }
    struct sync_replica_req f = {.handle = req.handle, .version = req.version};
    struct slice body = RPC_BODY(sync_replica_req, &f);
    struct slice none = {0};
    s->members.done = sync_answered;
    member_set_call(&s->members, OP_sync_replica, &body, &none);
    slice_drop(&body);
    s->wait.done = synced_here;
    replica_sync(c, r, &s->wait);
}

/* ---------------------------------------------------------------- secondary */

struct sync_replica_request {
    struct request q;
    struct sync_wait wait;
};

static void sync_replica_release(struct request *q)
{
    replica_sync_cancel(&((struct sync_replica_request *)q)->wait);
}

static void replica_synced(struct sync_wait *w, int status)
{
    struct sync_replica_request *s = container_of(w, struct sync_replica_request, wait);
    request_fail(&s->q, status);
}

void sync_replica_handle(struct link *l, struct message *m)
{
    struct chunkd *c = l->c;
    struct sync_replica_req req;
    if (sync_replica_req_decode(slice_bytes(&m->body), &req) != 0) {
        link_refuse(l, m, ERR_PROTOCOL);
        return;
    }
    struct local_replica *r = table_get(&c->table, req.handle);
    int err = r == NULL ? ERR_NO_REPLICA : secondary_check(r, req.version);
    if (err != 0) { /* a suspect one may have lost what is to be made durable */
        link_refuse(l, m, err);
        return;
    }
    struct sync_replica_request *s = request_begin(l, m, sizeof(*s));
    s->q.release = sync_replica_release;
    s->wait.done = replica_synced;
    replica_sync(c, r, &s->wait);
}
