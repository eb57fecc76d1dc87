/* meta_work.h - programs that change one small tree all at once: many of their operations conflict.
 */
#ifndef TESTS_SIM_META_WORK_H
#define TESTS_SIM_META_WORK_H

#include "tests/sim/actor.h"

/* Body of the first program: makes the directories the others work in. */
void setup_work(struct actor *a);
/* Body of a metadata program. */
void meta_work(struct actor *a);

#endif
