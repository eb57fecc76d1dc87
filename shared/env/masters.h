/* masters.h - the masters somebody knows: which one is asked next, until one is the primary.
 *
 * They are taken in turn, for ever; whom one of them names as the primary is taken before that, once
 * in a round. A round has taken every one of the list. Pure.
 */
#ifndef SHARED_ENV_MASTERS_H
#define SHARED_ENV_MASTERS_H

#include <stdbool.h>

#include "shared/base/err.h"
#include "shared/base/limits.h"
#include "shared/proto/codec.h"

enum { MASTERS_MAX = 16 };

struct masters {
    char addrs[MASTERS_MAX][ADDR_LEN_MAX + 1];
    uint32_t count;
    uint32_t next;
    uint32_t taken;                 /* of the list, in this round */
    bool hinted;                    /* a hint was followed in this round */
    char hint[ADDR_LEN_MAX + 1];    /* taken next; empty = none */
    char current[ADDR_LEN_MAX + 1]; /* taken last */
};

/* HOST:PORT[,HOST:PORT ...]. -EINVAL: no address, too many, or one that is none. */
MUST_CHECK int masters_parse(struct masters *s, const char *list, struct why *why);
/* More than one. */
bool masters_several(const struct masters *s);
bool masters_have(const struct masters *s, struct bytes addr);
/* Whose turn it is; valid until the next is taken. */
const char *masters_take(struct masters *s);
/* The one taken last is not the primary, and names it; empty = it does not know. True: that one is
 * taken next. */
bool masters_named(struct masters *s, struct bytes primary);
/* The one at addr is taken last in the round that begins now. */
void masters_begin_after(struct masters *s, const char *addr);
/* Somebody else found out who is the primary: false if another one is to be taken first anyway. */
bool masters_found(struct masters *s, const char *addr);
/* All of the list were taken, and nobody was named. */
bool masters_round_over(const struct masters *s);
void masters_round_begins(struct masters *s);

#endif
