/* asked.h - requests about chunks that are on their way, by connection and number: what an answer is an
 * answer to.
 */
#ifndef TESTS_SIM_ASKED_H
#define TESTS_SIM_ASKED_H

#include "shared/base/hmap.h"

#include <stdbool.h>

/* The last request with this number on the connection. */
struct asked {
    struct hmap_node node;
    uint64_t conn, request;
    uint64_t handle, version; /* of the chunk */
    uint64_t newest;          /* reads: durable version of the chunk when it came */
    uint32_t offset;          /* reads */
};

/* NULL: there is none, and none is to be made. The map owns it. */
struct asked *asked_find(struct hmap *all, uint64_t conn, uint64_t request, bool make);
void asked_drop(struct hmap *all, struct asked *one); /* NULL is fine */
void asked_close(struct hmap *all);                   /* drops all, and closes the map */

#endif
