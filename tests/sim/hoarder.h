/* hoarder.h - a client that reserves more chunks for one file than one record removes, in some seeds.
 *
 * The file lies in the tree that programs change: they cut and remove it as they come by. Of its chunks
 * none is ever written.
 */
#ifndef TESTS_SIM_HOARDER_H
#define TESTS_SIM_HOARDER_H

struct world;
struct hoarder;

/* NULL: not in this seed. */
struct hoarder *hoarder_start(struct world *w);
void hoarder_stop(struct hoarder *h); /* frees; NULL is fine */

#endif
