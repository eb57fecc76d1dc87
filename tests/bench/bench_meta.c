/* bench_meta.c - millions of files through the master's core: namespace, operation log, store, checkpoints.
 *
 *   bench_meta DIR FILES
 *
 * Makes FILES files of one chunk each, with 18-byte names in random order over 2,000 directories; checkpoints
 * while changes go on; deletes a random half; checkpoints again; is killed; starts again after the kill, and
 * once more as after a power cut. Prints what `make bench-meta` promises to show, and fails if a file takes
 * more than BYTES_PER_FILE_MAX in a checkpoint. Each start is a process of its own (this program with a
 * third argument).
 */
#include "master/core/checkpoint.h"
#include "master/core/ns.h"
#include "master/core/recovery.h"
#include "shared/base/hmap.h"
#include "shared/base/mem.h"
#include "shared/io/uv_env.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    DIRECTORIES = 2000,
    BYTES_PER_FILE_MAX = 130,
    NAME_BYTES = 18,
    SERVERS = 12,
    COMMIT_RECORDS = 4096,
    STATE_HASH_EVERY = 1024,
    OPS_PER_TURN = 64,
    PENDING_BYTES_MAX = 4 << 20,
    TAIL_RECORDS = 100000, /* in the log after the last checkpoint when the process is killed */
};

/* What the loop works on; each phase runs until its step says it is over. */
struct phase {
    const char *name;
    bool (*step)(void); /* one change; false: nothing more to do */
    void (*end)(void);  /* at a point where everything is committed */
};

static struct env *env;
static struct uv_env *uv;
static struct store *store;
static struct oplog *oplog;
static struct ns *ns;
static struct checkpoint *maker;
static struct recovery_result found;
static struct geometry geometry = GEOMETRY_DEFAULT;
static struct why why;

static uint64_t files;
static uint64_t files_left;
static uint64_t dirs[DIRECTORIES];
static uint64_t first_file;
static uint64_t next; /* of the phase's work */
static const struct phase *phase;
static uint64_t phase_began, phase_first_record;
static struct env_timer turn_timer;
static bool draining;
static uint64_t last_commit; /* index LMDB contains */
static uint64_t chain;
static int64_t record_time;
static struct writer record_writer, apply_writer, prepare_writer;

static uint64_t last_turn;
static uint64_t longest_turn;
static bool checkpoint_made;
static uint64_t checkpoint_began;
static bool failed;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench_meta: %s: %s\n", what, why.text);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static double seconds(uint64_t ns_passed)
{
    return (double)ns_passed / 1e9;
}

/* ---------------------------------------------------------------- what the namespace asks */

static int choose_members(void *owner, uint32_t *out_ids, uint32_t max)
{
    static uint32_t turn;
    (void)owner;
    turn++;
    for (uint32_t i = 0; i < 3 && i < max; i++) {
        out_ids[i] = 1 + (turn + i * (1 + turn / SERVERS % 5)) % SERVERS;
    }
    return 3;
}

static void no_holders(void *owner, uint64_t ino, struct writer *w)
{
    (void)owner;
    (void)ino;
    (void)w;
}

static uint64_t next_version(void *owner, uint64_t old)
{
    (void)owner;
    return MAX(old + 1, (uint64_t)oplog_epoch(oplog) << 32 | 1);
}

/* As the master starts: recovery, replay, a new epoch. Returns the records replayed. */
static uint64_t start(const char *dir, const char *boot)
{
    static const struct ns_decider decider = {
        .choose_members = choose_members, .holders = no_holders, .next_version = next_version};
    struct uv_env_config uc = {.dir = dir, .log_level = LOG_WARN, .boot_override = boot};
    struct recovery_config rc = {.log = {.segment_bytes = geometry.segment_bytes},
                                 .cluster_name = "bench"};
    uint64_t replayed = 0;
    uv = uv_env_create(&uc, &why);
    if (uv == NULL) {
        fail("environment");
    }
    env = uv_env_base(uv);
    if (recovery_open(env, &rc, &store, &oplog, &found, &why) != 0) {
        fail("recovery");
    }
    ns = ns_create(env, store, &geometry, &decider);
    if (oplog_replay(oplog, found.replay_from, replay, &replayed, &why) != 0) {
        fail("replay");
    }
    if (oplog_start_epoch(oplog, oplog_epoch(oplog) + 1, &why) != 0 ||
        checkpoint_create(env, store, oplog, &maker, &why) != 0) {
        fail("start");
    }
    writer_init(&record_writer);
    writer_init(&apply_writer);
    writer_init(&prepare_writer);
    return replayed;
}

static int run_work(const char *dir)
{
    union op_any rec, unused;
    start(dir, "first boot");
    rec = (union op_any){.epoch_start_rec = {.epoch = oplog_epoch(oplog)}};
    change(OP_epoch_start, &rec, &unused); /* the first one makes the root */
    files_left = files;
    phase = phases;
    oplog_on_commit(oplog, on_commit, NULL);
    recovery_settled(env);
    begin_phase();
    turn_timer.fire = turn;
    env_timer_set(env, &turn_timer, 0);
    uv_env_run(uv);
    return 1; /* it is killed */
}

static int run_restart(const char *dir, const char *boot, const char *what)
{
    uint64_t began = now_ns();
    uint64_t replayed = start(dir, boot);
    printf("%-34s %10.2f s    (%s, %llu records replayed)\n", what, seconds(now_ns() - began),
           found.live_kept ? "environment kept" : "built from a checkpoint",
           (unsigned long long)replayed);
    fflush(stdout);
    uint64_t hash = store_hash(store);
    uint64_t inodes = ns_counts(ns).inodes;
    uint64_t expected = 1 + DIRECTORIES;
    for (uint64_t i = 0; i < files; i++) {
        expected += !is_deleted(i);
    }
    if (inodes != expected || found.live_kept != (strcmp(boot, "first boot") == 0)) {
        printf("FAILED: %llu inodes, expected %llu; state hash %llx\n", (unsigned long long)inodes,
               (unsigned long long)expected, (unsigned long long)hash);
        return 1;
    }
    _exit(0); /* as a kill: nothing is closed */
}

static char self[4096];
static char files_text[32];

static pid_t spawn(const char *dir, const char *role, int error_fd)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (error_fd >= 0) {
            dup2(error_fd, STDERR_FILENO);
        }
        execl(self, self, dir, files_text, role, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Waits until the child is ready and kills it; false if it ended by itself or failed a bound. */
static bool work_and_kill(const char *dir)
{
    int fds[2];
    char told = 0;
    char text[512];
    if (pipe(fds) != 0) {
        return false;
    }
    pid_t pid = spawn(dir, "work", fds[1]);
    close(fds[1]);
    ssize_t n;
    while ((n = read(fds[0], text, sizeof(text))) > 0) {
        told = text[n - 1];
        if (n == 1 && (told == 'R' || told == 'F')) {
            break;
        }
        fwrite(text, 1, (size_t)n, stderr);
    }
    usleep(50000); /* in the middle of its work */
    kill(pid, SIGKILL);
    close(fds[0]);
    waitpid(pid, NULL, 0);
    return told == 'R';
}

static bool run_child(const char *dir, const char *role)
{
    int status;
    pid_t pid = spawn(dir, role, -1);
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* A machine that comes up has none of it in memory. */
static int forget_cached(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)at;
    if (kind == FTW_F) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            fsync(fd);
            posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
            close(fd);
        }
    }
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

int main(int argc, char **argv)
{
    if (argc < 3 || (files = strtoull(argv[2], NULL, 10)) < 1000) {
        fprintf(stderr, "usage: bench_meta DIR FILES   (FILES >= 1000; DIR must not exist)\n");
        return 2;
    }
    const char *dir = argv[1];
    if (argc == 4) {
        return strcmp(argv[3], "work") == 0 ? run_work(dir)
               : strcmp(argv[3], "kill") == 0
                   ? run_restart(dir, "first boot", "restart after a kill")
                   : run_restart(dir, "second boot", "restart after a power cut");
    }
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n < 0 || mkdir(dir, 0700) != 0) {
        perror(dir);
        return 2;
    }
    snprintf(files_text, sizeof(files_text), "%llu", (unsigned long long)files);
    bool good = work_and_kill(dir) && run_child(dir, "kill");
    if (good) {
        nftw(dir, forget_cached, 16, FTW_PHYS);
        good = run_child(dir, "power");
    }
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return good ? 0 : 1;
}
