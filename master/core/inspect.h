/* inspect.h - what an operator asks about single files and chunks: reads only.
 *
 * Answers describe what the master knows at this moment; a check of what replicas really hold asks
 * their chunkservers (verify_replica). Loop thread only. Bounded: a request looks at no more than
 * INSPECT_ROWS rows and says where to go on.
 */
#ifndef MASTER_CORE_INSPECT_H
#define MASTER_CORE_INSPECT_H

#include "shared/env/rpc.h"

enum { INSPECT_ROWS = 4096 };

struct peer;

/* Answers `chunk_list`. */
void inspect_chunk_list(struct peer *p, struct message *msg);

#endif
