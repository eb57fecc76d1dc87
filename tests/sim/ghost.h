/* ghost.h - in some seeds, a chunkserver that joins, tells of replicas that nobody asked for, and is gone
 * again. It never sends a heartbeat: nobody gives it a replica. */
#ifndef TESTS_SIM_GHOST_H
#define TESTS_SIM_GHOST_H

struct world;
struct ghost;

/* NULL: not in this seed. */
struct ghost *ghost_start(struct world *w);
void ghost_stop(struct ghost *g); /* frees; NULL is fine */

#endif
