/* fiber.h - a stack of its own for a simulated program, so that it can be written as straight code:
 * it gives the processor back with fiber_pause and goes on when somebody resumes it. All on one
 * thread.
 */
#ifndef TESTS_SIM_FIBER_H
#define TESTS_SIM_FIBER_H

#include <stdbool.h>

struct fiber;

/* body(owner) runs from the first fiber_resume on. */
struct fiber *fiber_new(void (*body)(void *owner), void *owner);
/* Frees it wherever it stands; not the running one. */
void fiber_free(struct fiber *f);
/* Runs f until it pauses or ends. Not from inside a fiber. */
void fiber_resume(struct fiber *f);
/* Back to who resumed f, the running fiber. */
void fiber_pause(struct fiber *f);
bool fiber_ended(const struct fiber *f);

#endif
