/* fiber.c - fibers on ucontext, made known to AddressSanitizer. */
#include "tests/sim/fiber.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"

#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBER_ASAN 1
#endif
#endif
#ifdef FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

enum { STACK_BYTES = 512 * 1024 };

struct fiber {
    ucontext_t inside;
    ucontext_t outside;
    void (*body)(void *owner);
    void *owner;
    void *stack;
    bool ended;
    void *outside_fake; /* AddressSanitizer's */
    void *inside_fake;
    const void *outside_bottom;
    size_t outside_size;
};

static struct fiber *entering; /* argument of the first switch into a fiber */

static void switched_in(struct fiber *f, void *fake)
{
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(fake, &f->outside_bottom, &f->outside_size);
#else
    (void)f;
    (void)fake;
#endif
}

static void switch_out(struct fiber *f, bool for_ever)
{
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(for_ever ? NULL : &f->inside_fake, f->outside_bottom,
                                   f->outside_size);
#else
    (void)for_ever;
#endif
    ASSERT(swapcontext(&f->inside, &f->outside) == 0);
    switched_in(f, f->inside_fake);
}

static void start(void)
{
    struct fiber *f = entering;
    switched_in(f, NULL);
    f->body(f->owner);
    f->ended = true;
    switch_out(f, true);
}

struct fiber *fiber_new(void (*body)(void *owner), void *owner)
{
    struct fiber *f = mem_new(struct fiber);
    f->body = body;
    f->owner = owner;
    f->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT(f->stack != MAP_FAILED);
    ASSERT(getcontext(&f->inside) == 0);
    f->inside.uc_stack.ss_sp = f->stack;
    f->inside.uc_stack.ss_size = STACK_BYTES;
    makecontext(&f->inside, start, 0);
    return f;
}

void fiber_free(struct fiber *f)
{
    if (f != NULL) {
        (void)munmap(f->stack, STACK_BYTES);
        mem_free(f);
    }
}

void fiber_resume(struct fiber *f)
{
    ASSERT(!f->ended);
    entering = f;
#ifdef FIBER_ASAN
    __sanitizer_start_switch_fiber(&f->outside_fake, f->stack, STACK_BYTES);
#endif
    ASSERT(swapcontext(&f->outside, &f->inside) == 0);
#ifdef FIBER_ASAN
    __sanitizer_finish_switch_fiber(f->outside_fake, NULL, NULL);
#endif
}

void fiber_pause(struct fiber *f)
{
    switch_out(f, false);
}

bool fiber_ended(const struct fiber *f)
{
    return f->ended;
}
