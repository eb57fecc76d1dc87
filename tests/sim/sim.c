/* sim.c - the order of events. */
#include "tests/sim/sim.h"
#include "shared/base/hash.h"
#include "shared/base/hmap.h"
#include "shared/base/mem.h"
#include "tests/sim/sim_env.h"
#include "tests/sim/sim_net.h"

#include <ftw.h>
#include <stdio.h>
#include <unistd.h>

struct sim *sim_create(uint64_t seed)
{
    struct sim *s = mem_new(struct sim);
    s->seed = seed;
    s->now_ns = 1000000000;
    s->order = sim_rand_of(seed, 1);
    s->net = sim_rand_of(seed, 2);
    s->disk = sim_rand_of(seed, 3);
    s->knobs = (struct sim_knobs){.net_min_ns = 50000,
                                  .net_mean_ns = 200000,
                                  .disk_min_ns = 50000,
                                  .disk_max_ns = 5000000,
                                  .disk_bytes = 1ull << 30,
                                  .drift_ppm = 4000};
    s->log_level = LOG_ERROR + 1;
    list_init(&s->processes);
    list_init(&s->conns);
    list_init(&s->listeners);
    list_init(&s->blocks);
    return s;
}

void sim_destroy(struct sim *s)
{
    list_for_each_safe (it, &s->processes) {
        sim_process_free(list_entry(it, struct sim_process, link));
    }
    sim_net_close(s);
    if (s->real_base[0] != 0) {
        sim_remove_tree(s->real_base);
    }
    mem_free(s->heap);
    mem_free(s);
}

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    if (a->at_ns != b->at_ns) {
        return a->at_ns < b->at_ns;
    }
    return a->tie != b->tie ? a->tie < b->tie : a->seq < b->seq;
}

static void put(struct sim *s, size_t i, struct sim_event *e)
{
    s->heap[i] = e;
    e->place = i + 1;
}

static void sift(struct sim *s, size_t i, struct sim_event *e)
{
    while (i > 0 && before(e, s->heap[(i - 1) / 2])) {
        put(s, i, s->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < s->heap_count && before(s->heap[child + 1], s->heap[child])) {
            child++;
        }
        if (child >= s->heap_count || !before(s->heap[child], e)) {
            break;
        }
        put(s, i, s->heap[child]);
        i = child;
    }
    put(s, i, e);
}

void sim_cancel(struct sim *s, struct sim_event *e)
{
    if (e->place == 0) {
        return;
    }
    size_t i = e->place - 1;
    ASSERT(i < s->heap_count && s->heap[i] == e);
    e->place = 0;
    struct sim_event *last = s->heap[--s->heap_count];
    if (last != e) {
        sift(s, i, last);
    }
}

void sim_at(struct sim *s, struct sim_event *e, uint64_t at_ns)
{
    sim_cancel(s, e);
    if (s->heap_count == s->heap_cap) {
        s->heap_cap = s->heap_cap ? 2 * s->heap_cap : 256;
        s->heap = mem_resize(s->heap, s->heap_cap * sizeof(struct sim_event *));
    }
    e->at_ns = MAX(at_ns, s->now_ns);
    e->tie = sim_rand64(&s->order);
    e->seq = s->next_seq++;
    s->heap_count++;
    sift(s, s->heap_count - 1, e);
}

bool sim_step(struct sim *s)
{
    if (s->heap_count == 0) {
        return false;
    }
    struct sim_event *e = s->heap[0];
    ASSERT(e->at_ns >= s->now_ns);
    s->now_ns = e->at_ns;
    sim_cancel(s, e);
    s->events++;
    if (setjmp(s->out) == 0) {
        e->run(e);
    } else {
        struct sim_process *dying = s->dying;
        s->dying = NULL;
        sim_net_delivered(s);
        s->on_death(s, dying);
    }
    sim_net_sweep(s);
    if (s->break_events > 0 && --s->break_events == 0) {
        s->on_break(s);
        sim_net_sweep(s);
    }
    return true;
}

void sim_run_for(struct sim *s, uint64_t ns)
{
    uint64_t end = s->now_ns + ns;
    while (s->heap_count > 0 && s->heap[0]->at_ns <= end) {
        sim_step(s);
    }
    s->now_ns = end;
}

bool sim_run_until(struct sim *s, bool (*done)(void *owner), void *owner, uint64_t ns)
{
    uint64_t end = s->now_ns + ns;
    while (!done(owner)) {
        if (s->heap_count == 0 || s->heap[0]->at_ns > end) {
            s->now_ns = end;
            return done(owner);
        }
        sim_step(s);
    }
    return true;
}

void sim_note(struct sim *s, uint64_t what, uint64_t a, uint64_t b)
{
    uint64_t x[5] = {s->hash, s->now_ns, what, a, b};
    s->hash = hash64(x, sizeof(x));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st;
    (void)flag;
    (void)at;
    return remove(path);
}

void sim_remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
