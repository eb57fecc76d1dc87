/* durable.h - after an fsync, what it covered is on the disks. */
#ifndef TESTS_SIM_DURABLE_H
#define TESTS_SIM_DURABLE_H

#include "tests/sim/file_model.h"
#include "tests/sim/world.h"

/* The file was just synced: its synced bytes must be in the durable image of every member of every
 * chunk's version, but for the disk that goes bad. Fails the seed. */
void durable_check(struct world *w, uint64_t ino, const struct file_model *model);

#endif
