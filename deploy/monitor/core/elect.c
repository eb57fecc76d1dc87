/* elect.c - which master serves best. */
#include "deploy/monitor/core/elect.h"

#include "shared/proto/schema.h"

bool elect_better(const struct elect_candidate *a, const struct elect_candidate *b)
{
    bool a_serves = a->role == MASTER_PRIMARY, b_serves = b->role == MASTER_PRIMARY;
    if (a_serves != b_serves) {
        return a_serves;
    }
    if (a->braked != b->braked) {
        return b->braked;
    }
    return a->epoch != b->epoch ? a->epoch > b->epoch : a->durable > b->durable;
}
