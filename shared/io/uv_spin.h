/* uv_spin.h - whether the loop stays awake for the next event.
 *
 * Waking a sleeping process on another processor takes 35 to 80 us on a virtual machine, more than
 * the work of a metadata operation. When one stream of requests is served, the next event comes
 * within a few dozen microseconds: looking for it costs less than sleeping, in time and in processor
 * time. With many streams, or when others want the processor, it is the other way round. So the
 * loop looks again only while few answers are awaited, gives way to who wants to run, and keeps a
 * score: an event that came in time counts for it, a wait in vain twice against. When the score is
 * used up it is tried now and then; when somebody else ran for long, not for a long time, because who
 * gives way on a busy machine waits for the other's time slice. That the program served, or another
 * server, had the processor for a moment is as it should be: where processors are few that costs less
 * than to wake one that sleeps.
 */
#ifndef SHARED_IO_UV_SPIN_H
#define SHARED_IO_UV_SPIN_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SPIN_AWAITED_MAX = 4, /* with more, one of many streams has an event soon anyway */
    SPIN_SCORE_MAX = 16,
    SPIN_SCORE_MISS = 2,
    SPIN_TRY_EVERY = 64,     /* events, when it did not pay */
    SPIN_TRY_BUSY = 1024,    /* events, when somebody else ran */
    SPIN_OTHERS_NS = 100000, /* between two looks: somebody else had this processor for long */
};

/* All zero but limit_ns at first. */
struct spin {
    uint64_t limit_ns;    /* awake so long after an event; 0 = never */
    uint64_t from_ns;     /* when something happened last */
    uint64_t last_ns;     /* previous look */
    uint32_t awaited;     /* requests of ours without an answer, on all connections */
    uint32_t score;       /* whether it paid lately */
    uint32_t wait_events; /* until it is tried with a score of 0 */
    bool stirred;         /* something happened in this turn */
    bool awake;
};

/* At the end of a turn that leaves nothing to do: true if the loop should look again at once. */
bool spin_wanted(struct spin *s, uint64_t now_ns);

#endif
