/* invariant.h - assertions that stay on in release, and small compile-time helpers.
 *
 * ASSERT states what our own code guarantees. Bytes from a peer or a disk are never asserted on:
 * they are checked and refused with an error.
 */
#ifndef SHARED_BASE_INVARIANT_H
#define SHARED_BASE_INVARIANT_H

#include <stddef.h>
#include <stdint.h>

/* Prints "file:line: what" to standard error and aborts. */
_Noreturn void invariant_broken(const char *file, int line, const char *what);

#define ASSERT(x)         ((x) ? (void)0 : invariant_broken(__FILE__, __LINE__, #x))
#define UNREACHABLE()     invariant_broken(__FILE__, __LINE__, "unreachable")
#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* The struct of type `type` whose member `member` is at `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define COUNT_OF(a)                     (sizeof(a) / sizeof((a)[0]))
#ifndef MIN /* <sys/param.h> has the same */
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#endif

#endif
