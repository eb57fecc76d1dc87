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
#include "master/core/commit.h"
#include "master/core/ns.h"
#include "master/core/recovery.h"
#include "master/core/warming.h"
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
    OPS_PER_TURN = 64,
    PENDING_BYTES_MAX = 4 << 20,
    CLOSE_BATCH = 64,
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
static uint64_t session; /* of the one mount there is */
static struct writer
    closed_writer; /* u64 session, u64 inode of files closed since the last batch */
static uint32_t closed_count;
static struct writer record_writer, apply_writer, prepare_writer;

/* What a request may wait for, the longest of the phase. A turn of the loop is from one poll to the
 * next; its CPU time tells what a busy machine added. Changes wait from the moment a commit is due
 * until it is done, the log's sync included; reads go on meanwhile but for the last turn. */
static struct {
    uint64_t turn;
    uint64_t turn_cpu;
    uint64_t wait;
} longest;
static uv_check_t after_poll;
static uint64_t last_turn, last_idle, last_cpu;
static uint64_t drain_began;
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

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static double seconds(uint64_t ns_passed)
{
    return (double)ns_passed / 1e9;
}

/* ---------------------------------------------------------------- what the namespace asks */

static int choose_members(void *owner, uint32_t wanted, uint32_t *out_ids, uint32_t max)
{
    static uint32_t turn;
    (void)owner;
    (void)wanted;
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

/* ---------------------------------------------------------------- one change */

static void writer_clear(struct writer *w)
{
    w->len = 0;
}

static void log_and_apply(enum op_code op, const union op_any *rec, union op_any *rep)
{
    writer_clear(&record_writer);
    op_info_of((uint16_t)op)->rec_encode(&record_writer, rec);
    record_time = MAX(record_time + 1, env_wall_ns(env));
    struct record r = {.type = (uint16_t)op,
                       .time_ns = record_time,
                       .session = session,
                       .body = writer_bytes(&record_writer)};
    oplog_append(oplog, &r);
    writer_clear(&apply_writer);
    ns_apply(ns, &r, rec, &apply_writer, rep);
    chain = r.chain;
}

static void change(enum op_code op, const union op_any *rec, union op_any *rep)
{
    if ((oplog_last(oplog) + 1) % STATE_HASH_EVERY == 0) {
        union op_any hash = {.state_hash_rec = {.hash = store_hash(store)}};
        union op_any unused;
        log_and_apply(OP_state_hash, &hash, &unused);
    }
    log_and_apply(op, rec, rep);
}

static void mutate(enum op_code op, const union op_any *req, union op_any *rep)
{
    union op_any rec;
    uint64_t depends;
    writer_clear(&prepare_writer);
    int rc = ns_prepare(ns, op, 0, req, &prepare_writer, &rec, &depends);
    if (rc != 0) {
        why_set(&why, rc, "%s answers %s", op_name((uint16_t)op), err_name(rc));
        fail("change");
    }
    change(op, &rec, rep);
}

/* ---------------------------------------------------------------- the files */

static struct bytes name_of(uint64_t i, char out[NAME_BYTES + 1])
{
    snprintf(out, NAME_BYTES + 1, "f-%016llx", (unsigned long long)hmap_hash_u64(i + 1));
    return bytes_of(out, NAME_BYTES);
}

static bool is_deleted(uint64_t i)
{
    return hmap_hash_u64(i * 3 + 7) & 1;
}

static uint64_t size_of(uint64_t i)
{
    return 1 + hmap_hash_u64(i * 5 + 11) % 65536;
}

static bool make_directory(void)
{
    char name[32];
    union op_any req, rep;
    if (next == DIRECTORIES) {
        return false;
    }
    snprintf(name, sizeof(name), "directory-%04u", (unsigned)next);
    req = (union op_any){.mkdir_req = {.parent = ROOT_INO, .name = bytes_str(name), .mode = 0755}};
    mutate(OP_mkdir, &req, &rep);
    dirs[next++] = rep.mkdir_rep.attr.ino;
    return true;
}

/* The mount tells of files it closed in batches. */
static void close_file(uint64_t ino)
{
    union op_any rec = {.writers_remove_rec = {.closed = {0}}}, rep;
    enc_u64(&closed_writer, &session);
    enc_u64(&closed_writer, &ino);
    if (++closed_count == CLOSE_BATCH || next + 1 == files) {
        rec.writers_remove_rec.closed = writer_bytes(&closed_writer);
        change(OP_writers_remove, &rec, &rep);
        writer_clear(&closed_writer);
        closed_count = 0;
    }
}

static bool make_file(void)
{
    char name[NAME_BYTES + 1];
    union op_any req, rep;
    if (next == files) {
        return false;
    }
    req = (union op_any){.create_req = {.parent = dirs[hmap_hash_u64(next) % DIRECTORIES],
                                        .name = name_of(next, name),
                                        .mode = 0644,
                                        .uid = 1000,
                                        .gid = 1000}};
    mutate(OP_create, &req, &rep);
    uint64_t ino = rep.create_rep.attr.ino;
    if (next == 0) {
        first_file = ino;
    }
    req = (union op_any){.extend_req = {.ino = ino, .end = size_of(next)}};
    mutate(OP_extend, &req, &rep);
    close_file(ino);
    next++;
    return true;
}

/* Removed replicas are confirmed at once, as chunkservers would. */
static void drop_garbage(void)
{
    struct writer done;
    uint64_t handle = 0;
    uint32_t server = 0, count = 0;
    writer_init(&done);
    while (count < 2000 && ns_garbage_next(ns, handle, server, &handle, &server) == 0) {
        enc_u64(&done, &handle);
        enc_u32(&done, &server);
        server++;
        count++;
    }
    if (count > 0) {
        union op_any rec = {.garbage_done_rec = {.done = writer_bytes(&done)}}, rep;
        change(OP_garbage_done, &rec, &rep);
    }
    writer_free(&done);
}

static bool delete_file(void)
{
    char name[NAME_BYTES + 1];
    union op_any req, rep;
    while (next < files && !is_deleted(next)) {
        next++;
    }
    if (next == files) {
        uint64_t handle;
        uint32_t server;
        if (ns_garbage_next(ns, 0, 0, &handle, &server) == 0) {
            drop_garbage();
            return true;
        }
        return false;
    }
    req = (union op_any){.unlink_req = {.parent = dirs[hmap_hash_u64(next) % DIRECTORIES],
                                        .name = name_of(next, name)}};
    mutate(OP_unlink, &req, &rep);
    files_left--;
    if (next++ % 500 == 0) {
        drop_garbage();
    }
    return true;
}

/* A change of some file that is still there; for load. */
static void touch_file(void)
{
    union op_any req, rep;
    uint64_t i;
    do {
        i = hmap_hash_u64(next++) % files;
    } while (files_left < files && is_deleted(i));
    req = (union op_any){.extend_req = {.ino = first_file + i, .end = size_of(i)}};
    mutate(OP_extend, &req, &rep);
}

/* ---------------------------------------------------------------- phases */

static uint64_t newest_checkpoint_bytes(void)
{
    struct checkpoint_ref refs[CHECKPOINTS_LISTED_MAX];
    return checkpoint_list(env, refs, &why) > 0 ? refs[0].bytes : 0;
}

static void report_longest(void)
{
    printf("%-34s %10.1f ms   (%.1f ms of CPU; changes waited for a commit %.1f ms)\n",
           "  longest turn of the loop", seconds(longest.turn) * 1000,
           seconds(longest.turn_cpu) * 1000, seconds(longest.wait) * 1000);
}

static void report_rate(const char *what, uint64_t count)
{
    double s = seconds(now_ns() - phase_began);
    uint64_t records = oplog_last(oplog) - phase_first_record;
    printf("%-34s %10.0f /s   (%.0f records/s, %.1f s)\n", what, (double)count / s,
           (double)records / s, s);
    report_longest();
}

static void report_checkpoint(const char *what)
{
    double per_file = (double)newest_checkpoint_bytes() / (double)files_left;
    printf("%-34s %10.1f      (%llu files)\n", what, per_file, (unsigned long long)files_left);
    printf("%-34s %10.2f s    (meanwhile:)\n", "  checkpoint time",
           seconds(now_ns() - checkpoint_began));
    report_longest();
    if (per_file > BYTES_PER_FILE_MAX) {
        printf("FAILED: more than %d bytes per file\n", BYTES_PER_FILE_MAX);
        failed = true;
    }
}

static void checkpoint_ended(void *owner, int status, struct store_position at)
{
    (void)owner;
    (void)at;
    if (status != 0) {
        why_set(&why, status, "%s", err_text(status));
        fail("checkpoint");
    }
    checkpoint_made = true;
}

static bool until_checkpoint(void)
{
    if (checkpoint_made) {
        return false;
    }
    touch_file();
    return true;
}

static bool tail(void)
{
    touch_file();
    return oplog_last(oplog) - phase_first_record < TAIL_RECORDS;
}

static bool for_ever(void)
{
    touch_file();
    return true;
}

static void start_checkpoint(void)
{
    checkpoint_made = false;
    checkpoint_began = now_ns();
    if (checkpoint_start(maker, checkpoint_ended, NULL) != 0) {
        fail("checkpoint does not start");
    }
}

static void directories_made(void)
{
}

static void files_made(void)
{
    report_rate("files created (create + size)", files);
    start_checkpoint();
}

static void first_checkpoint_made(void)
{
    report_checkpoint("bytes per file in the checkpoint");
}

static void files_deleted(void)
{
    report_rate("files deleted", files - files_left);
    start_checkpoint();
}

static void second_checkpoint_made(void)
{
    report_checkpoint("bytes per file, half deleted");
}

static void tail_made(void)
{
    fflush(stdout);
    if (write(STDERR_FILENO, failed ? "F" : "R", 1) != 1) { /* tell the parent: kill me */
        exit(1);
    }
}

static void never(void)
{
}

static const struct phase phases[] = {
    {"directories", make_directory, directories_made},
    {"files", make_file, files_made},
    {"first checkpoint", until_checkpoint, first_checkpoint_made},
    {"deletes", delete_file, files_deleted},
    {"second checkpoint", until_checkpoint, second_checkpoint_made},
    {"tail", tail, tail_made},
    {"load", for_ever, never},
};

/* ---------------------------------------------------------------- the loop */

static void commit_store_now(void)
{
    ns_before_commit(ns);
    store_commit(store, (struct store_position){.index = oplog_last(oplog),
                                                .epoch = oplog_epoch(oplog),
                                                .chain = chain});
    last_commit = oplog_last(oplog);
    draining = false;
}

static void begin_phase(void)
{
    next = 0;
    memset(&longest, 0, sizeof(longest));
    phase_began = now_ns();
    phase_first_record = oplog_last(oplog);
}

static bool phase_over;

static void turned(uv_check_t *c)
{
    uint64_t now = now_ns(), idle = uv_metrics_idle_time(c->loop), cpu = cpu_ns();
    if (last_turn != 0) {
        longest.turn = MAX(longest.turn, now - last_turn - (idle - last_idle));
        longest.turn_cpu = MAX(longest.turn_cpu, cpu - last_cpu);
    }
    last_turn = now;
    last_idle = idle;
    last_cpu = cpu;
}

static void turn(struct env_timer *t)
{
    if (draining) {
        if (oplog_committed(oplog) != oplog_last(oplog)) {
            return; /* on_commit goes on */
        }
        commit_store_now();
        longest.wait = MAX(longest.wait, now_ns() - drain_began);
        if (phase_over) {
            phase->end();
            phase++;
            phase_over = false;
            begin_phase();
        }
    }
    for (int i = 0; i < OPS_PER_TURN && oplog_pending_bytes(oplog) < PENDING_BYTES_MAX; i++) {
        if (!phase->step()) {
            phase_over = true;
            draining = true;
            break;
        }
    }
    draining =
        draining || oplog_last(oplog) - last_commit >= COMMIT_RECORDS || store_commit_due(store);
    drain_began = now_ns();
    env_timer_set(env, t, 0);
}

static void on_commit(void *owner, uint64_t index)
{
    (void)owner;
    if (draining && index == oplog_last(oplog) && turn_timer.place == 0) {
        env_timer_set(env, &turn_timer, 0);
    }
}

/* ---------------------------------------------------------------- processes */

static int replay(void *owner, const struct record *r)
{
    uint64_t *count = owner;
    ++*count;
    record_time = r->time_ns;
    chain = r->chain;
    return ns_apply_record(ns, r, &why);
}

/* As the master starts: recovery, replay, a new epoch. Returns the records replayed. */
static uint64_t start(const char *dir, const char *boot)
{
    static const struct ns_decider decider = {
        .choose_members = choose_members, .holders = no_holders, .next_version = next_version};
    struct uv_env_config uc = {.dir = dir, .log_level = LOG_WARN, .boot_override = boot};
    struct recovery_config rc = {.log = {.segment_bytes = geometry.segment_bytes},
                                 .cluster_name = "bench",
                                 .ahead_bytes = PREALLOCATE_DEFAULT,
                                 .large_bytes = LARGE_STATE_BYTES};
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
    writer_init(&closed_writer);
    return replayed;
}

static int run_work(const char *dir)
{
    union op_any rec, unused;
    start(dir, "first boot");
    rec = (union op_any){.epoch_start_rec = {.epoch = oplog_epoch(oplog)}};
    change(OP_epoch_start, &rec, &unused); /* the first one makes the root */
    rec =
        (union op_any){.session_open_rec = {.session = 1, .nonce = 1, .host = bytes_str("bench")}};
    change(OP_session_open, &rec, &unused);
    session = 1;
    files_left = files;
    phase = phases;
    oplog_on_commit(oplog, on_commit, NULL);
    recovery_settled(env);
    begin_phase();
    turn_timer.fire = turn;
    uv_loop_configure(uv_env_loop(uv), UV_METRICS_IDLE_TIME);
    uv_check_init(uv_env_loop(uv), &after_poll);
    uv_check_start(&after_poll, turned);
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
