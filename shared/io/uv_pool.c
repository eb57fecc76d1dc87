/* uv_pool.c - worker threads for file operations that may wait for a device and for computations.
 *
 * Threads start when work is there and nobody is idle, up to the limit, and stay. Finished jobs go
 * to a list; the loop is woken once per batch of them.
 */
#include <signal.h>

#include "shared/base/mem.h"
#include "shared/io/uv_internal.h"

void job_push(struct job_queue *q, struct job j)
{
    if (q->count == q->cap) {
        size_t cap = q->cap ? q->cap * 2 : 64;
        struct job *items = mem_alloc(cap * sizeof(*items));
        for (size_t i = 0; i < q->count; i++) {
            items[i] = q->items[(q->first + i) & (q->cap - 1)];
        }
        mem_free(q->items);
        q->items = items;
        q->first = 0;
        q->cap = cap;
    }
    q->items[(q->first + q->count++) & (q->cap - 1)] = j;
}

bool job_pop(struct job_queue *q, struct job *out)
{
    if (q->count == 0) {
        return false;
    }
    *out = q->items[q->first];
    q->first = (q->first + 1) & (q->cap - 1);
    q->count--;
    return true;
}

void job_queue_close(struct job_queue *q)
{
    mem_free(q->items);
    *q = (struct job_queue){0};
}

void job_finish(struct uv_env *e, struct job j)
{
    struct turn_part part = {
        .kind = TURN_JOB, .code = j.op != NULL ? (uintptr_t)j.op->done : (uintptr_t)j.work->done};
    uint64_t begin = turn_now_ns();
    e->jobs--;
    if (j.op != NULL) {
        j.op->done(j.op);
    } else {
        j.work->done(j.work);
    }
    turn_part_ended(&e->turn, part, begin, turn_now_ns());
}

static void *worker(void *arg)
{
    struct uv_env *e = arg;
    struct pool *p = &e->pool;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        struct job j;
        while (!p->ending && p->todo.count == 0) {
            p->idle++;
            pthread_cond_wait(&p->wake, &p->lock);
            p->idle--;
        }
        if (p->ending) {
            break;
        }
        (void)job_pop(&p->todo, &j);
        pthread_mutex_unlock(&p->lock);
        if (j.op != NULL) {
            disk_run(e, j.op);
        } else {
            j.work->run(j.work);
        }
        pthread_mutex_lock(&p->lock);
        job_push(&p->done, j);
        if (p->done.count == 1) {
            uv_async_send(&p->async);
        }
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* Signals belong to the loop thread. */
static void start_thread(struct uv_env *e)
{
    struct pool *p = &e->pool;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    if (pthread_create(&p->threads[p->thread_count], NULL, worker, e) == 0) {
        p->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void pool_submit(struct uv_env *e, struct job j)
{
    struct pool *p = &e->pool;
    if (e->halted) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    job_push(&p->todo, j);
    if (p->todo.count > p->idle && p->thread_count < p->threads_max) {
        start_thread(e);
    }
    bool stuck = p->thread_count == 0;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    if (stuck) {
        env_die(&e->base, "cannot start a worker thread");
    }
}

/* The lock is taken once per batch, not per job. */
static void on_async(uv_async_t *a)
{
    struct uv_env *e = container_of(a, struct uv_env, pool.async);
    struct pool *p = &e->pool;
    e->spin.stirred = true;
    pthread_mutex_lock(&p->lock);
    struct job_queue batch = p->done;
    p->done = (struct job_queue){0};
    pthread_mutex_unlock(&p->lock);
    struct job j;
    while (!e->halted && job_pop(&batch, &j)) {
        job_finish(e, j);
    }
    job_queue_close(&batch);
}

int pool_init(struct uv_env *e, unsigned threads_max)
{
    struct pool *p = &e->pool;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->threads_max = threads_max == 0 ? THREADS_DEFAULT : MIN(threads_max, (unsigned)THREADS_MAX);
    return uv_async_init(&e->loop, &p->async, on_async);
}

void pool_halt(struct uv_env *e)
{
    struct pool *p = &e->pool;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->wake);
    unsigned count = p->thread_count;
    p->thread_count = 0;
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < count; i++) {
        pthread_join(p->threads[i], NULL);
    }
}

void pool_close(struct uv_env *e)
{
    struct pool *p = &e->pool;
    job_queue_close(&p->todo);
    job_queue_close(&p->done);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->wake);
}
