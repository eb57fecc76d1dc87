/* registration.h - our connection to the master: introduction, report, heartbeats, the lease, and
 * its requests.
 *
 * The masters of the configuration are dialled in turn, a primary that one of them names before the
 * others, until one says that it is the primary. The lease runs from the sending of the last
 * answered heartbeat for 99 % of lease_ms; while it runs, replicas may be read and primaries here
 * keep their role. Versions may be made without us once it has ended: it begins again only when the
 * answers to the report have named the replicas that were left out.
 */
#ifndef CHUNKD_CORE_REGISTRATION_H
#define CHUNKD_CORE_REGISTRATION_H

#include "shared/env/masters.h"
#include "shared/env/rpc.h"
#include "shared/proto/schema.h"

struct chunkd;
struct link;
struct local_replica;

struct registration {
    struct chunkd *c;
    struct masters masters;
    struct link *link;
    uint64_t dials;  /* so many connections were begun */
    bool registered; /* on the present connection */
    uint32_t rounds; /* of all masters, in vain */
    uint32_t heartbeat_ms, lease_ms;
    uint64_t heartbeat_sent_ns;
    uint64_t lease_until_ns;
    uint64_t report_round; /* reports begun */
    uint64_t told_round;   /* the newest that was answered as a whole */
    uint32_t report_parts; /* not answered yet, of the newest */
    struct rpc_call hello, heartbeat, reg;
    struct env_timer timer; /* redial or next heartbeat */
    struct list notes;      /* calls nobody waits for: reports */
    char said[160];         /* last complaint, so that it is not repeated */
    uint64_t said_ns;
};

void registration_init(struct registration *m, struct chunkd *c);
void registration_start(struct registration *m);
void registration_stop(struct registration *m);
/* Tells the master that the replica of r's chunk on `server` is not what it should be. block:
 * UINT32_MAX = not known. */
void registration_report_bad(struct registration *m, const struct local_replica *r, uint32_t server,
                             uint32_t block);
/* A version was made without this replica: by what the master answered last. */
bool registration_outdated(const struct registration *m, const struct local_replica *r);
/* A request whose answer nobody waits for. Takes the reference of body; not sent while there is no
 * master. */
void registration_tell(struct registration *m, enum op_code op, struct slice body);

#endif
