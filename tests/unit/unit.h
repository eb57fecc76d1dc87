/* unit.h - what every test may use besides Check.
 *
 * Check tells its parent about every ck_assert that passes; a loop of a million of them takes
 * minutes. MUST says something only when it fails.
 */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define MUST(x)                                                                                    \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            ck_abort_msg("not so: %s", #x);                                                        \
        }                                                                                          \
    } while (0)

/* False if the tests run in this process (CK_FORK=no): what ends the process cannot be tested. */
static inline int unit_forks(void)
{
    const char *fork = getenv("CK_FORK");
    return fork == NULL || strcmp(fork, "no") != 0;
}

#endif
