/* deletion.h - replicas the master decides to remove by itself: extra ones of chunks that have
 * enough others, and those of chunks that are gone. What a committed record named is garbage
 * (garbage.h), and none of this applies to it.
 *
 * Deleting is the one operation nothing can repair, so:
 *  - Only confirmed replicas count for the ones that stay: of members, on servers whose lease runs
 *    and whose report to this master was merged, with nothing noted against them. An extra replica
 *    of the chunk's present version goes when as many as are wanted are confirmed, an older one
 *    when two are (or the one that is wanted); a damaged or doubtful one only beside two good ones.
 *  - A replica of a chunk that no row names goes at once if its handle was given: handles are never
 *    given twice and a chunkserver hears of one only after the record that gave it is committed, so
 *    a missing row proves that a committed record removed the chunk. One with a handle that was
 *    never given stays for ever: it is from another history of the namespace than ours.
 *  - Safe mode: nothing of it after a start, until every server that ever joined reported, or all
 *    but a thousandth of the chunks have a confirmed replica, or hold_s have gone by: a server that
 *    never returns and a damaged chunk must not keep what is extra for ever.
 *  - A pass over all chunks counts what may go before any of it goes.
 *  - A brake: a hundredth of a server's replicas in a minute, or DELETIONS_FREE. If a pass finds
 *    that reports alone would have more than a twentieth of all chunks' number removed, nothing is
 *    for hold_s, and an error line says so.
 *  - Chunkservers set the files aside for a while.
 * Loop thread only; part of the repair scan.
 */
#ifndef MASTER_CORE_DELETION_H
#define MASTER_CORE_DELETION_H

#include <stdbool.h>
#include <stdint.h>

enum { DELETIONS_FREE = 1000, DELETIONS_SHARE = 100, ALARM_SHARE = 20 };

struct master;
struct note;
struct ns_chunk;

struct deletion {
    bool settled; /* safe mode is over */
    /* Of the pass under way. */
    uint64_t chunks, unconfirmed;
    uint64_t wanted;      /* removals that reports ask for */
    uint32_t most_copies; /* more than there can be are not waited for */
    /* Too many: nothing is removed until then, but then it is. */
    uint64_t held_until_ns;
    bool released;
};

void deletion_pass_begin(struct master *m);
/* Marks the chunk's notes as looked at, and removes extra replicas that are not needed. */
void deletion_look(struct master *m, const struct ns_chunk *row);
/* A note whose chunk the pass did not meet (notes_sweep): true drops the note. */
bool deletion_orphan(void *owner, struct note *n);
void deletion_pass_end(struct master *m);

#endif
