/* balance.h - where replicas are against where they should be: the books on it, and moves that make
 * it better.
 *
 * The scan over all chunks (repair.h) shows every row to balance_row. It counts the chunks each
 * server is a member of, which tells when a server that is drained is empty, and offers moves of
 * whole chunks: first of replicas that share a rack or host although another has room, then, while
 * the disks are filled unevenly, from full ones to empty ones. Moves have the lowest class of the
 * repair queue and a pace of their own (balance_kib_s), so that they are not felt.
 *
 * Hysteresis: moves for even disks begin when the fullest and the emptiest disk differ by more than
 * twice `balance_percent` of fill and end when they differ by no more than `balance_percent`.
 * Servers that are leaving, slow or away take no part. Loop thread only.
 */
#ifndef MASTER_CORE_BALANCE_H
#define MASTER_CORE_BALANCE_H

#include "master/core/servers.h"

struct master;
struct ns_chunk;

struct balance {
    bool levelling;               /* moves for even disks are wanted */
    uint64_t next_ns;             /* the pace allows the next move */
    uint64_t begin_ns;            /* of the pass under way */
    uint64_t counted_ns;          /* when the last whole pass began; 0 = none yet */
    uint64_t crowded;             /* of the pass: chunks whose replicas share more than they must */
    uint64_t crowded_chunks;      /* of the last whole pass */
    uint32_t low_fill, high_fill; /* permille, of the servers that take part */
    char missing[256];            /* what the cluster lacks for the replicas it wants */
    char missing_said[256];       /* as it stands in the log */
    uint64_t missing_since_ns;
    struct placement_server *all; /* servers that may take a replica; avail less what was offered */
    uint32_t count;
};

void balance_close(struct master *m);
void balance_pass_begin(struct master *m);
/* whole: the chunk has all replicas it wants, in good order, and nothing is being done about it. */
void balance_row(struct master *m, const struct ns_chunk *row, bool whole);
void balance_pass_end(struct master *m);

/* The server began or ceased to leave: what was counted of it before says nothing any more. */
void balance_leaving(struct master *m, struct chunkserver *s);
/* member_of and stuck of the server are of a whole pass that began after that. */
bool balance_counted(const struct master *m, const struct chunkserver *s);
/* What is wrong with servers and their places, one sentence each, for status: text items to w. */
void balance_warnings(const struct master *m, struct writer *w);

#endif
