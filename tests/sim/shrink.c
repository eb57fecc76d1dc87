/* shrink.c - takes away from a failing seed what its failure does not need.
 *
 * A smaller plan is kept if it fails with the same words, numbers aside. First kinds of faults, then
 * single faults (all, halves, quarters, ... one by one), operations, programs, chunkservers; again
 * until nothing more goes, or TRIES_MAX runs were made.
 */
#include "tests/sim/many.h"

#include "shared/base/invariant.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIES_MAX = 400, SAID_MAX = 8192 };

struct failure {
    char text[512]; /* as said; empty = it passed */
    char key[512];  /* the same without numbers */
    uint32_t ops;   /* when it failed */
};

struct shrink {
    const char *program;
    uint32_t seconds; /* for one run */
    struct plan plan; /* smallest so far */
    struct failure failure;
    uint32_t struck[PLAN_SET_MAX]; /* numbers of the faults that happen in it */
    uint32_t struck_count;
    uint32_t tries;
};

/* ---------------------------------------------------------------- one run */

/* Words with a digit in them say what differs from run to run. */
static void without_numbers(const char *text, char *out, size_t size)
{
    size_t n = 0;
    while (*text != '\0' && n + 2 < size) {
        size_t word = 0;
        bool digit = false;
        while (isalnum((unsigned char)text[word])) {
            digit = digit || isdigit((unsigned char)text[word]);
            word++;
        }
        if (digit) {
            out[n++] = '#';
            text += word;
        } else {
            out[n++] = *text++;
        }
    }
    out[n] = '\0';
}

/* What a failed run said: the line of world_fail, or else the first one. */
static void understand(const char *said, int status, struct failure *out)
{
    const char *line = strstr(said, " failed at ");
    const char *colon = line != NULL ? strstr(line, ": ") : NULL;
    *out = (struct failure){0};
    if (colon != NULL) {
        (void)sscanf(line, " failed at %*f s, after %u operations", &out->ops);
        snprintf(out->text, sizeof(out->text), "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
    } else if (WIFSIGNALED(status)) {
        snprintf(out->text, sizeof(out->text), "%.*s (signal %s)", (int)strcspn(said, "\n"), said,
                 sigabbrev_np(WTERMSIG(status)));
    } else {
        snprintf(out->text, sizeof(out->text), "%.*s", (int)strcspn(said, "\n"), said);
    }
    without_numbers(out->text, out->key, sizeof(out->key));
}

/* Where the child notes the faults that strike. */
static struct plan_set *struck;

static struct failure run_plan(const struct plan *plan, uint32_t seconds)
{
    static char said[SAID_MAX];
    struct failure f = {0};
    size_t len = 0;
    int fds[2];
    int status;
    fflush(NULL);
    memset(struck, 0, sizeof(*struck));
    if (pipe(fds) != 0) {
        perror("pipe");
        exit(2);
    }
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        limit_this_process(seconds);
        struct plan p = *plan;
        p.struck = struck;
        (void)run_seed(&p, false);
        _exit(0);
    }
    close(fds[1]);
    for (ssize_t n; (n = read(fds[0], said + len, sizeof(said) - 1 - len)) > 0;) {
        len += (size_t)n;
    }
    said[len] = '\0';
    close(fds[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid) {
        perror("fork");
        exit(2);
    }
    char base[64];
    snprintf(base, sizeof(base), "/dev/shm/gfs-sim-%d", (int)pid);
    sim_remove_tree(base);
    if (status != 0) {
        understand(said, status, &f);
    }
    return f;
}

/* ---------------------------------------------------------------- smaller and smaller */

static void take_failure(struct shrink *s, const struct failure *f)
{
    s->failure = *f;
    s->struck_count = 0;
    for (uint32_t n = 0; n < PLAN_SET_MAX; n++) {
        if (plan_set_has(struck, n)) {
            s->struck[s->struck_count++] = n;
        }
    }
}

/* Takes the plan if it fails in the same way. */
static bool try(struct shrink *s, const struct plan *plan)
{
    if (s->tries >= TRIES_MAX) {
        return false;
    }
    s->tries++;
    struct failure f = run_plan(plan, s->seconds);
    if (f.text[0] == '\0' || strcmp(f.key, s->failure.key) != 0) {
        return false;
    }
    s->plan = *plan;
    take_failure(s, &f);
    return true;
}

static bool fewer_ops(struct shrink *s)
{
    bool any = false;
    uint32_t ops = s->plan.ops != 0 ? s->plan.ops : MAX(s->failure.ops, 2u);
    for (uint32_t cut = ops; cut > 0; cut /= 2) {
        struct plan p = s->plan;
        p.ops = ops - MIN(cut, ops - 1);
        if (p.ops < ops && try(s, &p)) {
            ops = p.ops;
            any = true;
        }
    }
    return any;
}

static bool fewer_kinds(struct shrink *s)
{
    bool any = false;
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
        struct plan p = s->plan;
        if (!plan_set_has(&p.absent, kind)) {
            plan_set_add(&p.absent, kind);
            any |= try(s, &p);
        }
    }
    return any;
}

/* Leaves out ever smaller parts of those that still happen. */
static bool fewer_faults(struct shrink *s)
{
    bool any = false;
    for (uint32_t size = MAX(s->struck_count, 1u); size > 0; size /= 2) {
        for (uint32_t from = 0; from < s->struck_count;) {
            struct plan p = s->plan;
            p.some_faults = true;
            memset(&p.faults, 0, sizeof(p.faults));
            for (uint32_t i = 0; i < s->struck_count; i++) {
                if (i < from || i >= from + size) {
                    plan_set_add(&p.faults, s->struck[i]);
                }
            }
            if (try(s, &p)) { /* those behind moved up */
                any = true;
            } else {
                from += size;
            }
        }
    }
    return any;
}

static bool fewer_programs(struct shrink *s)
{
    bool any = false;
    for (uint32_t n = 1; n <= run_programs(); n++) {
        struct plan p = s->plan;
        if (!plan_set_has(&p.idle, n)) {
            plan_set_add(&p.idle, n);
            any |= try(s, &p);
        }
    }
    return any;
}

static bool fewer_chunkds(struct shrink *s)
{
    struct plan p = s->plan;
    p.chunkds = WORLD_REPLICAS;
    return s->plan.chunkds != p.chunkds && try(s, &p);
}

static bool one_master(struct shrink *s)
{
    struct plan p = s->plan;
    p.masters = 1;
    return s->plan.masters != p.masters && try(s, &p);
}

int shrink_run(const char *program, const struct plan *plan, uint32_t seconds)
{
    struct shrink s = {.program = program, .seconds = seconds, .plan = *plan};
    char options[4096];
    struck = mmap(NULL, sizeof(*struck), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (struck == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    struct failure whole = run_plan(plan, seconds);
    take_failure(&s, &whole);
    if (s.failure.text[0] == '\0') {
        printf("seed %llu passes\n", (unsigned long long)plan->seed);
        return 1;
    }
    printf("it fails after %u operations and %u faults: %s\n", s.failure.ops, s.struck_count,
           s.failure.text);
    for (bool more = true; more && s.tries < TRIES_MAX;) {
        more = fewer_kinds(&s);
        more |= fewer_faults(&s);
        more |= fewer_ops(&s);
        more |= fewer_programs(&s);
        more |= fewer_chunkds(&s);
        more |= one_master(&s);
    }
    struct plan shorter = s.plan; /* the faults that are left say it, mostly */
    memset(&shorter.absent, 0, sizeof(shorter.absent));
    s.tries = MIN(s.tries, TRIES_MAX - 1u);
    (void)try(&s, &shorter);
    plan_print(&s.plan, options, sizeof(options));
    printf("reduced in %u runs; it fails after %u operations and %u faults: %s\n%s %s --trace\n",
           s.tries, s.failure.ops, s.struck_count, s.failure.text, program, options);
    return 0;
}
