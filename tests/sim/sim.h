/* sim.h - a simulated world: one clock, one order of events, all chance from one seed.
 *
 * Everything that happens is an event; events run in order of (time, tie drawn from the seed,
 * sequence), one to completion before the next. Nothing here reads a clock or an address, so the
 * same seed and the same calls give the same run; `hash` folds in every event of note and tells
 * whether two runs were equal.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/base/list.h"

/* A stream of random numbers (splitmix64). */
struct sim_rand {
    uint64_t state;
};

static inline uint64_t sim_rand64(struct sim_rand *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* Uniform in [0, n); 0 if n is 0. */
static inline uint64_t sim_below(struct sim_rand *r, uint64_t n)
{
    return n == 0 ? 0 : sim_rand64(r) % n;
}

/* Uniform in [low, high]. */
static inline uint64_t sim_between(struct sim_rand *r, uint64_t low, uint64_t high)
{
    return low + sim_below(r, high - low + 1);
}

/* True with probability n / of. */
static inline bool sim_chance(struct sim_rand *r, uint64_t n, uint64_t of)
{
    return sim_below(r, of) < n;
}

/* A stream of its own for `purpose`. */
static inline struct sim_rand sim_rand_of(uint64_t seed, uint64_t purpose)
{
    struct sim_rand r = {seed * 0xd1342543de82ef95ull + purpose};
    sim_rand64(&r);
    return r;
}

/* Embedded in its owner; scheduled at most once at a time. */
struct sim_event {
    void (*run)(struct sim_event *e);
    uint64_t at_ns;
    uint64_t tie;
    uint64_t seq;
    size_t place; /* index in the heap + 1; 0 = not scheduled */
};

struct sim_process;
struct message;

/* Ranges of chance; sim_create fills in defaults, the owner may change them before processes start.
 */
struct sim_knobs {
    uint64_t net_min_ns; /* one-way delay of a frame: minimum and mean of what is added */
    uint64_t net_mean_ns;
    uint64_t disk_min_ns; /* latency of an asynchronous disk operation */
    uint64_t disk_max_ns;
    uint64_t disk_bytes;    /* size of a new process's disk */
    uint32_t eio_per_mille; /* asynchronous reads and writes that fail with -EIO; 0 by default */
    int32_t drift_ppm;      /* clock rates differ by up to this either way */
};

struct sim {
    uint64_t seed;
    uint64_t now_ns;
    uint64_t hash;   /* of everything that happened */
    uint64_t events; /* that ran */
    struct sim_knobs knobs;
    struct sim_rand order; /* ties */
    struct sim_rand net;
    struct sim_rand disk;
    struct sim_event **heap;
    size_t heap_count;
    size_t heap_cap;
    uint64_t next_seq;
    struct list processes; /* struct sim_process.link, in order of creation */
    struct list conns;     /* struct env_conn.link, in order of creation */
    uint64_t dials;        /* connections so far */
    struct list listeners;
    bool sweep;         /* some connection ended */
    struct list blocks; /* partitions */
    int log_level;      /* lowest level printed; above LOG_ERROR = nothing */
    /* A simulated process called env_die: it may end the run (NULL: print and abort), or return:
     * then on_death is called when what the process was doing has been left, and must kill it. */
    void (*on_die)(struct sim *s, struct sim_process *p, const char *reason);
    void (*on_death)(struct sim *s, struct sim_process *p);
    /* A simulated process wants to be ended in order; may be NULL. It still runs. */
    void (*on_end)(struct sim *s, struct sim_process *p);
    struct sim_process *dying;
    struct message *delivered; /* the frame that arrives */
    jmp_buf out;               /* of the event that runs */
    /* A frame is sent, before it arrives anywhere; may be NULL. */
    void (*on_send)(struct sim *s, const struct sim_process *from, const struct sim_process *to,
                    const struct message *m);
    /* A frame arrives; for traces, may be NULL. A connection has the same number at both ends and no
     * other has it: two between the same processes may number their requests alike. */
    void (*on_frame)(struct sim *s, uint64_t conn, const struct sim_process *from,
                     const struct sim_process *to, const struct message *m);
    /* Called once between two events when so many more have run; 0 = never. */
    uint64_t break_events;
    void (*on_break)(struct sim *s);
    /* A process logs an error; may be NULL. */
    void (*on_error)(struct sim *s, const struct sim_process *p, const char *text);
    void *owner;        /* the creator's */
    char real_base[64]; /* directory for files of libraries; empty until it is needed */
};

struct sim *sim_create(uint64_t seed);
/* Ends all processes that still live (their cores must be destroyed) and removes real files. */
void sim_destroy(struct sim *s);

/* (Re)schedule; `e->run` is set. */
void sim_at(struct sim *s, struct sim_event *e, uint64_t at_ns);
void sim_cancel(struct sim *s, struct sim_event *e); /* fine if it is not scheduled */
static inline bool sim_scheduled(const struct sim_event *e)
{
    return e->place != 0;
}

/* Runs the next event; false if there is none. */
bool sim_step(struct sim *s);
/* Runs all events up to now + ns and moves the clock there. */
void sim_run_for(struct sim *s, uint64_t ns);
/* Runs events until done(owner) is true after one, at most for `ns`; returns whether it was. */
bool sim_run_until(struct sim *s, bool (*done)(void *owner), void *owner, uint64_t ns);

/* Folds what happened into the hash of the run. */
void sim_note(struct sim *s, uint64_t what, uint64_t a, uint64_t b);

/* Removes a directory tree of real files; fine if it is not there. */
void sim_remove_tree(const char *path);

#endif
