/* spy_work.h - a program that keeps reading files that programs of other mounts write.
 *
 * What it reads is not looked at: between mounts only an open must show what a close left. But it
 * asks with the places and versions it once heard of, and whoever answers must be one that may
 * (reads.h).
 */
#ifndef TESTS_SIM_SPY_WORK_H
#define TESTS_SIM_SPY_WORK_H

#include "tests/sim/actor.h"

void spy_work(struct actor *a);

#endif
