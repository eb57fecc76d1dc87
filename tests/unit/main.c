/* main.c - runs every suite of suites.def under Check.
 *
 * Check's environment variables choose: CK_FORK=no (for a debugger), CK_RUN_SUITE=name,
 * CK_RUN_CASE=name, CK_VERBOSITY=verbose.
 */
#include <check.h>
#include <stdlib.h>

#define SUITE(name) Suite *suite_##name(void);
#include "tests/unit/suites.def"
#undef SUITE

int main(void)
{
    SRunner *runner = srunner_create(NULL);
#define SUITE(name) srunner_add_suite(runner, suite_##name());
#include "tests/unit/suites.def"
#undef SUITE
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
