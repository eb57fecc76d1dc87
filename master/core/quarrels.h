/* quarrels.h - pairs of servers that failed each other lately, chunk by chunk.
 *
 * A primary whose member fails makes a new version of the chunk. Two servers that reach the master
 * but not each other could go on like that for ever: a pair makes at most one new version of a chunk
 * in a while. Remembered for the newest QUARRELS_MAX only.
 * Pure.
 */
#ifndef MASTER_CORE_QUARRELS_H
#define MASTER_CORE_QUARRELS_H

#include <stdbool.h>
#include <stdint.h>

enum { QUARRELS_MAX = 1024 };

struct quarrel {
    uint64_t handle, until_ns;
    uint32_t primary, failed;
};

struct quarrels {
    struct quarrel ring[QUARRELS_MAX];
    uint32_t next;
};

void quarrels_note(struct quarrels *q, const struct quarrel *what);
/* Until when these two make no other version of the chunk; 0 = they may. */
uint64_t quarrels_until(const struct quarrels *q, uint64_t handle, uint32_t a, uint32_t b,
                        uint64_t now_ns);
/* The server failed another as a member of this chunk. */
bool quarrels_failed(const struct quarrels *q, uint64_t handle, uint32_t server, uint64_t now_ns);

#endif
