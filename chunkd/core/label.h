/* label.h - identity of a chunkserver's disk directory.
 *
 * The file `label` has two slots, at bytes 0 and 4096; a store goes to the one that is not current,
 * so a torn write leaves the other. The valid slot with the greater sequence counts. A slot, little
 * endian:
 *
 *   off size field
 *     0   4  magic        "GFSL"
 *     4   4  format       1
 *     8   8  sequence     of stores
 *    16   8  disk         random, made when the directory was formatted
 *    24   8  cluster      cluster id, 0 = none yet
 *    32   4  server       id given by the master, 0 = none yet
 *    36   4  epoch        highest epoch of a master that was obeyed
 *    40  16  incarnation  of the last process that opened it (env.h)
 *    56   4  chunk_bytes  geometry, 0 = none yet
 *    60   4  block_bytes
 *    64   4  clean        0, or that process stopped with everything durable: 1 + the sequence
 *                         of the meta log's newest record; 1 also if that is not known
 *    68  64  name         cluster name, NUL-padded
 *   132   4  failing      why the disk is not to be trusted with more data (DISK_*), 0 = it is
 *   136   8  sum          XXH3-64 of the 136 bytes before
 */
#ifndef CHUNKD_CORE_LABEL_H
#define CHUNKD_CORE_LABEL_H

#include "shared/env/env.h"

enum { LABEL_SLOT_BYTES = 144, LABEL_SLOT_GAP = 4096 };

struct label {
    uint64_t sequence;
    uint64_t disk;
    uint64_t cluster;
    uint32_t server;
    uint32_t epoch;
    uint8_t incarnation[16];
    uint32_t chunk_bytes;
    uint32_t block_bytes;
    uint32_t clean;
    char name[64];
    uint32_t failing;
};

void label_encode(const struct label *l, uint8_t out[LABEL_SLOT_BYTES]);
/* -ENOENT: no slot here (all zero); ERR_CORRUPT: bad sum or content; -EPROTONOSUPPORT: another
 * format. */
MUST_CHECK int label_decode(struct label *l, const uint8_t in[LABEL_SLOT_BYTES]);

/* Opens the file and reads it: 0, -ENOENT if there is none, ERR_CORRUPT with a sentence, negative
 * errno. */
MUST_CHECK int label_load(struct env *env, struct label *l, struct env_file **out, struct why *why);
/* Makes the file with `l` in it, durably. */
MUST_CHECK int label_create(struct env *env, struct label *l, struct env_file **out,
                            struct why *why);
/* Durably replaces it; blocks. Raises l->sequence. */
MUST_CHECK int label_store(struct env *env, struct env_file *f, struct label *l);
/* Where the slot of `sequence` is. */
uint64_t label_slot_offset(uint64_t sequence);

#endif
