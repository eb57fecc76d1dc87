/* uv_spin.c - see uv_spin.h. */
#include "shared/io/uv_spin.h"

#include "shared/base/bytes.h"

static void begin(struct spin *s, uint64_t now_ns)
{
    if (s->awake && s->score < SPIN_SCORE_MAX) {
        s->score++;
    }
    s->stirred = false;
    s->from_ns = s->last_ns = now_ns;
    if (s->score == 0 && s->wait_events > 0) {
        s->wait_events--;
    }
    s->awake = s->awaited <= SPIN_AWAITED_MAX && (s->score > 0 || s->wait_events == 0);
    if (s->awake) {
        s->wait_events = SPIN_TRY_EVERY;
    }
}

bool spin_wanted(struct spin *s, uint64_t now_ns)
{
    if (s->stirred) {
        begin(s, now_ns);
    } else if (s->awake && now_ns - s->last_ns >= SPIN_OTHERS_NS) {
        s->score = 0;
        s->wait_events = SPIN_TRY_BUSY;
        s->awake = false;
    } else if (s->awake && now_ns - s->from_ns >= s->limit_ns) {
        s->score = s->score > SPIN_SCORE_MISS ? s->score - SPIN_SCORE_MISS : 0;
        s->awake = false;
    }
    s->last_ns = now_ns;
    return s->awake;
}
