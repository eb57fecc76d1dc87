/* assure.h - what this master knows of the others: how they are, and until when its own state is
 * known to be complete.
 *
 * Twice a second every master asks the others. Whatever was committed before the question was sent
 * is held by W logs, so one of any N-W+1 has it: when this state contains all that so many of them
 * have taken, it was complete at that moment. No clock but the own one takes part, and it makes no
 * difference whether there is a primary.
 *
 * When W logs have promised no later epoch than that of their last record, what they all hold of it is
 * committed, though the primary died before it said so. (log_level.h lets them all hold it.)
 * Loop thread only.
 */
#ifndef MASTER_CORE_ASSURE_H
#define MASTER_CORE_ASSURE_H

#include "master/core/log_links.h"

enum {
    ASSURE_MS = 500,
    ASSURE_WAIT_MS = 2000, /* for an answer */
};

struct master;

/* Another master. */
struct assure_peer {
    struct master *m;
    uint32_t number;
    struct rpc_call ask; /* log_assure */
    struct rpc_call how; /* health */
    uint64_t ask_ns;     /* when `ask` was sent; it belongs to that round */
    bool here;           /* `said` is of the round under way */
    struct log_assure_rep said;
    struct health_rep health; /* newest */
    uint64_t health_ns;       /* when it came; 0 = since the link is up there was none */
};

struct assure {
    struct env_timer timer;
    struct log_watch watch;
    uint64_t round_ns;  /* when the round under way was begun */
    uint64_t bound;     /* once this record is applied ... */
    uint64_t bound_ns;  /* ... the state was complete at this time; 0 = nothing waits */
    uint64_t proven_ns; /* it is complete as of this time; 0 = not known */
    struct assure_peer peers[LOGGERS_MAX];
};

void assure_init(struct master *m);
void assure_start(struct master *m);
void assure_close(struct master *m);

/* The state contains more records. */
void assure_applied(struct master *m);
/* Another master has another list or log_ack (identity.h): who committed without whom is not known. */
void assure_refused(struct master *m);
/* So long ago, at most, the state was complete; 0 for a primary and for nobody else, UINT64_MAX:
 * nothing is known. */
uint64_t assure_age_ms(const struct master *m);
/* HOST:PORT of the primary, as far as known, else "". */
const char *assure_primary(const struct master *m);

#endif
