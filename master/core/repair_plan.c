/* repair_plan.c - what one chunk needs. */
#include "master/core/repair_plan.h"
#include "shared/base/invariant.h"

enum standing {
    STANDS_GOOD,
    STANDS_CONTENT, /* holds content of this version that must be compared or mended */
    STANDS_FAILED,  /* the same, but its server said that it cannot use its file */
    STANDS_DAMAGED, /* holds it but for blocks that nobody has */
    STANDS_NOTHING,
    STANDS_AWAY,
};

static enum standing standing(const struct plan_chunk *c, const struct plan_member *m)
{
    if (!m->alive) {
        return STANDS_AWAY;
    }
    switch (m->note) {
    case NOTE_NONE:
    case NOTE_EXTRA:
        return STANDS_GOOD;
    case NOTE_SUSPECT:
    case NOTE_CLONING:
    case NOTE_AHEAD:
    case NOTE_BAD:
        return STANDS_CONTENT;
    case NOTE_UNSEEN:
        /* Once something is committed it must be there: its server is asked. */
        return c->bound ? STANDS_CONTENT : STANDS_GOOD;
    case NOTE_DAMAGED:
        return STANDS_DAMAGED;
    case NOTE_FAILED:
        return STANDS_FAILED;
    case NOTE_MISSING:
    case NOTE_STALE:
        break;
    }
    return STANDS_NOTHING;
}

struct tally {
    uint32_t good, unsure, content, failed, damaged, nothing, away, away_long;
    const struct plan_member *leaving; /* a good one, or a damaged one */
    const struct plan_member *gone;    /* one that is away for long */
};

static struct tally tally_of(const struct plan_chunk *c)
{
    struct tally t = {0};
    for (uint32_t i = 0; i < c->count; i++) {
        const struct plan_member *m = &c->members[i];
        switch (standing(c, m)) {
        case STANDS_GOOD:
            t.good++;
            t.unsure += m->note != NOTE_UNSEEN && !m->reported;
            t.leaving = m->leaving ? m : t.leaving;
            break;
        case STANDS_FAILED:
            t.failed++;
            t.content++;
            break;
        case STANDS_CONTENT:
            t.content++;
            break;
        case STANDS_DAMAGED:
            t.damaged++;
            t.leaving = m->leaving ? m : t.leaving;
            break;
        case STANDS_NOTHING:
            t.nothing++;
            break;
        case STANDS_AWAY:
            t.away++;
            t.away_long += m->away_long;
            t.gone = m->away_long ? m : t.gone;
            break;
        }
    }
    return t;
}

/* Members that could be good after a new version of the same members are not. */
static bool needs_healing(const struct tally *t)
{
    bool whole = t->away == t->away_long && t->unsure == 0;
    bool source = t->good > 0 || (t->content > 0 && whole);
    bool ill = t->content > 0 || t->nothing > 0 || (t->damaged > 0 && t->good > 0);
    bool now = t->away == 0 || t->away_long > 0 || t->good < 2;
    return ill && source && now;
}

static uint32_t burden(const struct plan_member *m)
{
    return (m->leaving ? 1u << 20 : 0u) + (m->slow ? 1u << 10 : 0u) + MIN(m->crowding, 1023u);
}

/* The member that is missed least; of equals a later one, so that the primary stays. */
static const struct plan_member *spare_member(const struct plan_chunk *c)
{
    const struct plan_member *worst = &c->members[0];
    for (uint32_t i = 1; i < c->count; i++) {
        if (burden(&c->members[i]) >= burden(worst)) {
            worst = &c->members[i];
        }
    }
    return worst;
}

static void plan_members(const struct plan_chunk *c, const struct tally *t, struct repair_plan *p)
{
    uint32_t away = t->good < 2 && c->wanted > 1 ? t->away : t->away_long;
    uint32_t stay = c->count - away;
    bool some = t->good > 0 || (t->content == 0 && t->damaged > 0);
    if (stay < c->wanted) {
        bool can = some && t->unsure == 0 && !c->unsettled;
        p->need = can ? NEED_ADD : NEED_WAIT;
        p->risk = t->good <= 1 && c->wanted > 1 ? RISK_LAST_COPY : RISK_FEW;
        return;
    }
    /* Of blocks that nobody has none can come back: those copies are as good as any. */
    uint32_t best = t->good > 0 ? t->good : t->damaged;
    bool all_good = best == stay && t->unsure == 0 && t->away == t->away_long;
    p->risk = RISK_MOVE;
    if (c->count > c->wanted && all_good) {
        p->need = NEED_REMOVE;
        p->remove = (t->gone != NULL ? t->gone : spare_member(c))->server;
    } else if (t->leaving != NULL && all_good && t->away == 0 && !c->unsettled) {
        p->need = NEED_MOVE;
        p->remove = t->leaving->server;
    } else if (t->good < c->wanted) {
        p->need = NEED_WAIT;
        p->risk = RISK_FEW;
    }
}

struct repair_plan repair_plan(const struct plan_chunk *c)
{
    struct tally t = tally_of(c);
    struct repair_plan p = {.need = NEED_NOTHING,
                            .risk = RISK_FEW,
                            .good = t.good,
                            .unsure = t.unsure,
                            .empty = c->fresh && !c->bound};
    p.lost = t.good == 0 && t.content == t.failed && t.away == t.away_long && !c->unsettled;
    p.gone = p.lost && t.damaged == 0;
    if (needs_healing(&t)) {
        p.need = NEED_HEAL;
        p.risk = t.good <= 1 && c->wanted > 1 ? RISK_LAST_COPY : RISK_FEW;
    } else if (!p.empty) {
        plan_members(c, &t, &p);
    }
    return p;
}

bool plan_may_give(const struct plan_chunk *c, const struct repair_plan *p,
                   const struct plan_member *m)
{
    enum standing s = standing(c, m);
    return m->reported &&
           (p->good > 0 ? s == STANDS_GOOD && m->note != NOTE_UNSEEN : s == STANDS_DAMAGED);
}

const char *risk_name(enum repair_risk risk)
{
    static const char *const names[RISK_CLASSES] = {
        [RISK_LAST_COPY] = "last_copy", [RISK_CLIENT] = "client",   [RISK_FEW] = "few",
        [RISK_MOVE] = "move",           [RISK_BALANCE] = "balance",
    };
    return names[risk];
}
