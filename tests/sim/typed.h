/* typed.h - requests whose every field is drawn from the operation's table.
 *
 * A field gets what there is (typed_ground), something near it, or a value that makes no sense: the
 * name of the field in the table tells what it should be. Names are those of programs (meta_work.c),
 * or ones that are refused; lists have items of the right kind, noise, or far too many items.
 */
#ifndef TESTS_SIM_TYPED_H
#define TESTS_SIM_TYPED_H

#include "shared/base/limits.h"
#include "shared/proto/schema.h"
#include "tests/sim/sim.h"

enum { TYPED_LISTS_MAX = 4, TYPED_ITEMS_MAX = 1100 };

/* Things there are, to be asked for. */
struct typed_ground {
    uint64_t ino, dir, number, handle, version, index;
    uint32_t server;
    const char *masters; /* HOST:PORT,... */
    bool none;           /* only of what there is not: numbers above all that are given */
};

struct typed {
    struct sim_rand *rand;
    struct typed_ground ground;
    struct writer lists[TYPED_LISTS_MAX]; /* what the fields of the request point into */
    uint32_t list_count;
    uint8_t letters[XATTR_VALUE_MAX + 1];
};

struct typed *typed_new(struct sim_rand *r);
void typed_free(struct typed *t);

/* Draws a request of `op` on this ground. It is valid until the next one is drawn. */
void typed_draw(struct typed *t, const struct op_info *op, const struct typed_ground *ground,
                union op_any *out);
/* Its encoding; now and then cut off somewhere. */
struct slice typed_body(struct typed *t, const struct op_info *op, const union op_any *req);
/* A list of masters as log_compare has it. */
void typed_put_masters(struct writer *w, const char *list);

#endif
