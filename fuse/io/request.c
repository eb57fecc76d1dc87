/* request.c - one request of the kernel from the handler to its answer, and its interruption. */
#include "fuse/io/request.h"

#include <string.h>

#include "fuse/io/caller.h"
#include "fuse/io/shell.h"
#include "shared/base/mem.h"

static void on_done(struct client_call *call)
{
    struct request *r = call->owner;
    if (r->unsettles) {
        inode_refs_unsettle(&r->shell->inodes);
    }
    for (size_t n = 0; n < COUNT_OF(call->dirs) && call->dirs[n].ino != 0; n++) {
        inode_refs_learn_changed(&r->shell->inodes, &call->dirs[n], env_mono_ns(r->shell->env));
    }
    r->answer(r);
}

/* The library may hold a lock of its own here: nothing is answered, the tick will look. */
static void on_interrupt(fuse_req_t fuse, void *data)
{
    struct request *r = data;
    (void)fuse;
    r->was_interrupted = true;
}

static bool should_cancel(const struct request *r, uint64_t waited_ns)
{
    pid_t thread = fuse_req_ctx(r->fuse)->pid;
    if (r->was_interrupted && caller_must_die(thread)) {
        return true;
    }
    if (r->has_fallback && client_waiting(r->shell->client)) {
        return true;
    }
    if (!r->is_flush) {
        return false;
    }
    enum caller_end end = caller_end(thread);
    return end == CALLER_WAS_KILLED ||
           (end == CALLER_EXITS && waited_ns >= REQUEST_EXIT_PATIENCE_MS * NS_PER_MS);
}

static void on_tick(uv_timer_t *t)
{
    struct requests *q = container_of(t, struct requests, tick);
    if (list_empty(&q->running)) {
        uv_timer_stop(t);
        return;
    }
    list_for_each_safe (l, &q->running) {
        struct request *r = list_entry(l, struct request, link);
        uint64_t waited_ns = env_mono_ns(r->shell->env) - r->started_ns;
        if (waited_ns < REQUEST_PATIENCE_MS * NS_PER_MS) {
            break; /* the others are younger */
        }
        if (!r->was_cancelled && should_cancel(r, waited_ns)) {
            r->was_cancelled = true;
            client_cancel(r->shell->client, &r->call);
        }
    }
}

void requests_init(struct requests *q, uv_loop_t *loop)
{
    list_init(&q->running);
    list_init(&q->idle);
    uv_timer_init(loop, &q->tick);
}

void requests_close(struct requests *q)
{
    uv_close((uv_handle_t *)&q->tick, NULL);
}

void requests_drop_unanswered(struct requests *q)
{
    list_for_each (l, &q->running) {
        struct request *r = list_entry(l, struct request, link);
        fuse_reply_none(r->fuse); /* frees it and sends nothing */
        r->fuse = NULL;
    }
}

static void free_all(struct list *l)
{
    struct list *e;
    while ((e = list_pop_front(l)) != NULL) {
        struct request *r = list_entry(e, struct request, link);
        channel_give_buffer(&r->shell->channel, r->held);
        mem_free(r);
    }
}

void requests_free(struct requests *q)
{
    free_all(&q->running);
    free_all(&q->idle);
}

static struct request *take(struct shell *s, fuse_req_t fuse, void (*answer)(struct request *r))
{
    struct requests *q = &s->requests;
    struct list *l = list_pop_front(&q->idle);
    struct request *r;
    if (l != NULL) {
        r = list_entry(l, struct request, link);
    } else {
        r = mem_new(struct request);
        list_init(&r->link);
    }
    r->call.done = on_done;
    r->call.owner = r;
    r->shell = s;
    r->fuse = fuse;
    r->answer = answer;
    r->was_interrupted = false;
    r->is_flush = false;
    r->has_fallback = false;
    r->was_cancelled = false;
    r->unsettles = false;
    r->file = NULL;
    r->held = NULL;
    if (list_empty(&q->running) && !uv_is_active((uv_handle_t *)&q->tick)) {
        uv_timer_start(&q->tick, on_tick, REQUEST_TICK_MS, REQUEST_TICK_MS);
    }
    list_push_back(&q->running, &r->link);
    return r;
}

struct request *request_begin(fuse_req_t fuse, uint64_t ino, void (*answer)(struct request *r))
{
    struct shell *s = shell_of(fuse);
    struct request *r = take(s, fuse, answer);
    r->ino = ino;
    r->started_ns = env_mono_ns(s->env);
    fuse_req_interrupt_func(fuse, on_interrupt, r);
    return r;
}

void request_end(struct request *r)
{
    struct requests *q = &r->shell->requests;
    channel_give_buffer(&r->shell->channel, r->held);
    r->held = NULL;
    r->fuse = NULL;
    list_remove(&r->link);
    list_push_back(&q->idle, &r->link);
}

struct request *request_chain(struct request *r, void (*answer)(struct request *r))
{
    struct request *n = take(r->shell, r->fuse, answer);
    n->started_ns = r->started_ns;
    n->was_interrupted = r->was_interrupted;
    n->is_flush = r->is_flush;
    n->has_fallback = r->has_fallback;
    n->ino = r->ino;
    n->offset = r->offset;
    n->size = r->size;
    n->flags = r->flags;
    n->plus = r->plus;
    n->clear_suid = r->clear_suid;
    n->file = r->file;
    n->data = r->data;
    n->held = r->held;
    memcpy(n->name, r->name, sizeof n->name);
    memcpy(n->new_name, r->new_name, sizeof n->new_name);
    /* In the order of age: the tick stops at the first young one. */
    list_remove(&n->link);
    list_add_before(&r->link, &n->link);
    r->held = NULL;
    fuse_req_interrupt_func(n->fuse, on_interrupt, n);
    request_end(r);
    return n;
}

void request_fail(struct request *r, int status)
{
    fuse_reply_err(r->fuse, err_to_errno(status));
    request_end(r);
}

void request_fail_inode(struct request *r, int status)
{
    request_fail(r, status == -ENOENT ? -ESTALE : status);
}

bool request_keep_name(struct request *r, char out[NAME_LEN_MAX + 1], const char *name)
{
    size_t len = strlen(name);
    if (len > NAME_LEN_MAX) {
        request_fail(r, -ENAMETOOLONG);
        return false;
    }
    memcpy(out, name, len + 1);
    return true;
}
