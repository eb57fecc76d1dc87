/* chunk_row.h - a chunk as stored: the value of a TABLE_CHUNK row, and a part of the inode row for
 * chunk 0.
 *
 *   1       bits 0..3 member count, 0x10 fresh, 0x20 bound, 0x40 a trim follows,
 *           0x80 a doubt follows
 *   varint  handle
 *   varint  version >> 32 (epoch)
 *   varint  version & 0xffffffff (counter)
 *   varint  id of each member, the primary of the first grant first
 *   varint  trim | trim_set << 32, if bit 0x40
 *   varint  doubt >> 32, then varint doubt & 0xffffffff, if bit 0x80
 *
 * Key of TABLE_CHUNK: inode, chunk number (row_key.h); number >= 1.
 */
#ifndef MASTER_CORE_CHUNK_ROW_H
#define MASTER_CORE_CHUNK_ROW_H

#include "master/core/ns.h"

enum { CHUNK_ROW_MAX = 1 + 10 + 5 + 5 + 5 * REPLICAS_MAX + 10 + 10 };

/* Writes everything but ino and number at out (up to CHUNK_ROW_MAX bytes); returns the length. */
uint32_t chunk_row_pack(const struct ns_chunk *c, uint8_t *out);
/* Reads it; ino and number of *c are left alone. A malformed row sets r->bad. */
void chunk_row_unpack(struct byte_reader *r, struct ns_chunk *c);

#endif
