/* operator.h - somebody who looks at everything, restores what programs deleted and purges some of it,
 * empties servers and takes them back, announces absences, asks for scans and checkpoints, changes
 * the number of replicas of files, makes mistakes, and does not always wait for an answer. */
#ifndef TESTS_SIM_OPERATOR_H
#define TESTS_SIM_OPERATOR_H

#include <stdbool.h>

struct world;
struct operator;

/* At work until the world heals; then it takes all servers back. */
struct operator* operator_start(struct world *w);
/* It has, and is idle. */
bool operator_done(void *operator);
void operator_stop(struct operator* o); /* frees; may be called once, at any time */

#endif
