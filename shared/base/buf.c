/* buf.c - reference-counted data buffer. */
#include "shared/base/buf.h"
#include "shared/base/invariant.h"

#include <stdlib.h>

static size_t total_bytes;

struct buf *buf_new(uint32_t cap)
{
    struct buf *b = malloc(sizeof(*b) + cap);
    ASSERT(b != NULL);
    b->refs = 1;
    b->cap = cap;
    total_bytes += cap;
    return b;
}

struct buf *buf_ref(struct buf *b)
{
    ASSERT(b->refs > 0);
    b->refs++;
    return b;
}

void buf_unref(struct buf *b)
{
    if (b == NULL) {
        return;
    }
    ASSERT(b->refs > 0);
    if (--b->refs == 0) {
        total_bytes -= b->cap;
        free(b);
    }
}

size_t buf_total_bytes(void)
{
    return total_bytes;
}
