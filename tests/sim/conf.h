/* conf.h - configuration files of the simulated servers.
 *
 * What a server is started with is written as an operator writes it - keys in any order, comments,
 * suffixes, without what holds anyway - and read by the parser of its program. Now and then there was a
 * mistake in it before: that must be refused, with the file, the line and the key.
 */
#ifndef TESTS_SIM_CONF_H
#define TESTS_SIM_CONF_H

#include "tests/sim/world.h"

/* For the start that comes next. */
void conf_master(struct sim_server *s, struct master_config *out);
void conf_chunkd(struct sim_server *s, struct chunkd_config *out);

#endif
