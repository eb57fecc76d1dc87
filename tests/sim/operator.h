/* operator.h - somebody who restores what programs deleted, and purges some of it. */
#ifndef TESTS_SIM_OPERATOR_H
#define TESTS_SIM_OPERATOR_H

struct world;
struct operator;

/* At work until the world heals. */
struct operator* operator_start(struct world *w);
void operator_stop(struct operator* o); /* frees; may be called once, at any time */

#endif
