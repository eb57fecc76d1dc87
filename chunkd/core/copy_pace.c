/* copy_pace.c - how fast copies may go on this chunkserver. */
#include "chunkd/core/copy_pace.h"
#include "shared/base/bytes.h"

enum { PIECES_PER_S = 10 };

static void go_on(struct copy_pace *p);

static void fire(struct env_timer *t)
{
    go_on(container_of(t, struct copy_pace, timer));
}

void copy_pace_init(struct copy_pace *p, struct env *env)
{
    *p = (struct copy_pace){.env = env, .timer.fire = fire};
    list_init(&p->waits);
}

void copy_pace_stop(struct copy_pace *p)
{
    env_timer_stop(p->env, &p->timer);
}

/* Takes the time of the bytes if it has come. */
static bool take(struct copy_pace *p, uint32_t bytes)
{
    uint64_t now = env_mono_ns(p->env);
    if (p->rate == 0) {
        p->next_ns = now;
        return true;
    }
    if (now < p->next_ns) {
        return false;
    }
    p->next_ns = now + (uint64_t)((double)bytes * (double)NS_PER_S / (double)p->rate);
    return true;
}

/* Lets go who may, and comes back for the others. */
static void go_on(struct copy_pace *p)
{
    while (!list_empty(&p->waits)) {
        struct copy_wait *w = list_entry(p->waits.next, struct copy_wait, link);
        if (!take(p, w->bytes)) {
            uint64_t now = env_mono_ns(p->env);
            env_timer_set(p->env, &p->timer, p->next_ns - MIN(now, p->next_ns));
            return;
        }
        list_remove(&w->link);
        w->go(w);
    }
}

void copy_pace_set(struct copy_pace *p, uint64_t rate)
{
    p->rate = rate;
    go_on(p);
}

bool copy_pace_pass(struct copy_pace *p, struct copy_wait *w, uint32_t bytes)
{
    if (list_empty(&p->waits) && take(p, bytes)) {
        return true;
    }
    w->bytes = bytes;
    list_push_back(&p->waits, &w->link);
    go_on(p);
    return false;
}

void copy_pace_cancel(struct copy_wait *w)
{
    if (w->link.next != NULL) {
        list_remove(&w->link);
    }
}

uint32_t copy_pace_piece(const struct copy_pace *p, uint32_t most)
{
    return p->rate == 0 ? most : (uint32_t)MIN((uint64_t)most, p->rate / PIECES_PER_S);
}
