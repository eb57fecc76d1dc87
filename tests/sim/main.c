/* main.c - sim: the command line.
 *
 *   sim --seeds N [--start S]    N seeds from S; totals; last line "N passed, M failed"
 *       --first                  stop at the first that fails
 *   sim --seed S [--trace]       one seed in this process, with its log
 *   sim --seed S --shrink        takes away what a failure does not need; prints the command
 *
 *   --seconds N                  a seed may take so long, of the processor
 *
 * and what takes away from what a seed draws (plan.h):
 *   --ops N  --chunkds N  --masters 1  --without KIND,KIND  --faults NUMBERS  --idle PROGRAMS
 */
#include "tests/sim/many.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static int usage(void)
{
    fprintf(stderr, "usage: sim --seeds N [--start S] [--first] | sim --seed S [--trace|--shrink]\n"
                    "  [--seconds N] [--ops N] [--chunkds N] [--masters 1] [--without KINDS] "
                    "[--faults NUMBERS] "
                    "[--idle PROGRAMS]\n");
    return 2;
}

static int run_one(const struct many *m, bool trace)
{
    limit_this_process(m->seconds);
    struct run_result r = run_seed(&m->plan, trace);
    printf("seed %llu: %llu operations, %llu events, hash %016llx\n1 passed, 0 failed\n",
           (unsigned long long)m->plan.seed, (unsigned long long)r.ops,
           (unsigned long long)r.events, (unsigned long long)r.hash);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seeds", required_argument, NULL, 'n'},   {"start", required_argument, NULL, 's'},
        {"first", no_argument, NULL, 'f'},         {"seed", required_argument, NULL, '1'},
        {"trace", no_argument, NULL, 't'},         {"shrink", no_argument, NULL, 'h'},
        {"seconds", required_argument, NULL, 'l'}, {"ops", required_argument, NULL, 'o'},
        {"chunkds", required_argument, NULL, 'c'}, {"masters", required_argument, NULL, 'm'},
        {"without", required_argument, NULL, 'w'}, {"faults", required_argument, NULL, 'k'},
        {"idle", required_argument, NULL, 'i'},    {0}};
    struct many m = {.program = argv[0], .plan = {.seed = 1}, .seconds = SEED_SECONDS_MAX};
    bool one = false;
    bool trace = false;
    bool shrink = false;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'n':
            m.seeds = strtoull(optarg, NULL, 10);
            break;
        case '1':
            one = true;
            m.plan.seed = strtoull(optarg, NULL, 10);
            break;
        case 's':
            m.plan.seed = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            m.first = true;
            break;
        case 't':
            trace = true;
            break;
        case 'h':
            shrink = true;
            break;
        case 'l':
            m.seconds = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        default:
            if (c == '?' || !plan_option(&m.plan, c, optarg)) {
                return usage();
            }
        }
    }
    if (one && shrink) {
        return shrink_run(argv[0], &m.plan, m.seconds);
    }
    if (one) {
        return run_one(&m, trace);
    }
    return m.seeds == 0 ? usage() : many_run(&m);
}
