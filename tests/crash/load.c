/* load.c - crash_load DIR STATE WRITERS SEED: works on a mounted DIR until SIGTERM, each writer in a
 * directory of its own, and journals under STATE what it does (journal.h). It goes on where the
 * journals of an earlier run end.
 *
 * An answer that the model does not allow ends it with status 1: an error, or a name that exists
 * although it was never made (an operation repeated after a reconnect took place twice). Calls may
 * hang as long as the cluster is down. SIGKILL leaves at most one operation of each writer in doubt.
 */
#include "tests/crash/model.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRITERS_MAX = 16, OPEN_MAX_FILES = 4, WRITE_SECTORS_MAX = 160 };

struct writer {
    struct model model;
    struct cuts cuts;
    uint64_t random;
    const char *state;
    int dir, journal;
    struct {
        int fd;
        struct object *file;
    } open[OPEN_MAX_FILES];
    uint8_t bytes[WRITE_SECTORS_MAX * SECTOR];
};

static volatile sig_atomic_t stopping;

static void stop(int number)
{
    (void)number;
    stopping = 1;
}

static uint32_t below(struct writer *w, uint32_t limit)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (uint32_t)((w->random * 0x2545f4914f6cdd1dull) >> 33) % limit;
}

/* A place that is filled as wanted (kind FREE: empty), PLACES if there is none. */
static uint32_t place_with(struct writer *w, enum kind kind)
{
    uint32_t from = below(w, PLACES);
    for (uint32_t i = 0; i < PLACES; i++) {
        uint32_t p = (from + i) % PLACES;
        const struct object *o = w->model.at[p];
        if (o == NULL ? kind == KIND_FREE : o->kind == kind) {
            return p;
        }
    }
    return PLACES;
}

/* ---------------------------------------------------------------- the system calls */

static int opened(struct writer *w, const struct entry *e, const char *path)
{
    for (unsigned i = 0; i < OPEN_MAX_FILES; i++) {
        if (w->open[i].file == w->model.at[e->name]) {
            return w->open[i].fd;
        }
    }
    int fd = openat(w->dir, path, O_WRONLY | O_CLOEXEC | (e->flags & WRITE_APPEND ? O_APPEND : 0));
    return fd < 0 ? -errno : fd;
}

/* Closes unless it stays open; the first error counts. */
static int let_go(struct writer *w, const struct entry *e, int fd, int result)
{
    unsigned slot = 0;
    while (slot < OPEN_MAX_FILES && w->open[slot].file != w->model.at[e->name]) {
        slot++;
    }
    if (slot == OPEN_MAX_FILES && e->op == OP_WRITE && (e->flags & WRITE_KEEP) && result == 0) {
        for (slot = 0; w->open[slot].file != NULL; slot++) {
        }
        w->open[slot].fd = fd;
        w->open[slot].file = w->model.at[e->name];
        return 0;
    }
    if (slot < OPEN_MAX_FILES) {
        if (e->op == OP_FSYNC || (e->op == OP_WRITE && (e->flags & WRITE_KEEP))) {
            return result;
        }
        w->open[slot].file = NULL;
    }
    return close(fd) != 0 && result == 0 ? -errno : result;
}

static int do_write(struct writer *w, const struct entry *e, const char *path)
{
    const struct object *o = w->model.at[e->name];
    uint32_t size = e->count * SECTOR;
    for (uint32_t i = 0; i < e->count; i++) {
        stamp_fill(w->bytes + (size_t)i * SECTOR, w->model.writer, o->id, e->first + i,
                   e->sequence);
    }
    int fd = opened(w, e, path);
    if (fd < 0) {
        return fd;
    }
    ssize_t n = e->flags & WRITE_APPEND ? write(fd, w->bytes, size)
                                        : pwrite(fd, w->bytes, size, (off_t)e->first * SECTOR);
    int result = n < 0 ? -errno : n != (ssize_t)size ? -ENODATA : 0;
    if (result == 0 && (e->flags & WRITE_FSYNC) && fsync(fd) != 0) {
        result = -errno;
    }
    return let_go(w, e, fd, result);
}

static int do_fsync(struct writer *w, const struct entry *e, const char *path)
{
    int fd = opened(w, e, path);
    if (fd < 0) {
        return fd;
    }
    return let_go(w, e, fd, e->op == OP_FSYNC && fsync(fd) != 0 ? -errno : 0);
}

static int make_thing(struct writer *w, struct entry *e, const char *path)
{
    char target[32];
    struct stat st;
    snprintf(target, sizeof(target), "%llu", (unsigned long long)e->sequence);
    int rc;
    if (e->op == OP_CREATE) {
        int fd = openat(w->dir, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        rc = fd < 0 ? -1 : close(fd);
    } else if (e->op == OP_MKDIR) {
        rc = mkdirat(w->dir, path, 0755);
    } else {
        rc = symlinkat(target, w->dir, path);
    }
    if (rc == 0) {
        rc = fstatat(w->dir, path, &st, AT_SYMLINK_NOFOLLOW);
        e->inode = rc == 0 ? st.st_ino : 0;
    }
    return rc != 0 ? -errno : 0;
}

static int perform(struct writer *w, struct entry *e)
{
    char path[32], path2[32];
    place_path(e->name, path);
    place_path(e->name2, path2);
    switch (e->op) {
    case OP_WRITE:
        return do_write(w, e, path);
    case OP_FSYNC:
    case OP_CLOSE:
        return do_fsync(w, e, path);
    case OP_TRUNCATE: {
        int fd = openat(w->dir, path, O_WRONLY | O_CLOEXEC);
        int rc = fd < 0 || ftruncate(fd, (off_t)e->count * SECTOR) != 0 ? -errno : 0;
        return fd >= 0 && close(fd) != 0 && rc == 0 ? -errno : rc;
    }
    case OP_UNLINK:
        return unlinkat(w->dir, path, 0) != 0 ? -errno : 0;
    case OP_RMDIR:
        return unlinkat(w->dir, path, AT_REMOVEDIR) != 0 ? -errno : 0;
    case OP_RENAME:
        return renameat(w->dir, path, w->dir, path2) != 0 ? -errno : 0;
    case OP_EXCHANGE:
        return renameat2(w->dir, path, w->dir, path2, RENAME_EXCHANGE) != 0 ? -errno : 0;
    case OP_LINK:
        return linkat(w->dir, path, w->dir, path2, 0) != 0 ? -errno : 0;
    default:
        return make_thing(w, e, path);
    }
}

static void run(struct writer *w, struct entry *e)
{
    e->sequence = w->model.sequence + 1;
    e->begin_ns = now_ns();
    e->end_ns = 0;
    journal_append(w->journal, e);
    (void)model_apply(&w->model, e);
    e->result = perform(w, e);
    e->end_ns = now_ns();
    journal_append(w->journal, e);
    if (e->result == -EIO) {
        cuts_read(w->state, &w->cuts);
    }
    const char *wrong = model_apply(&w->model, e);
    if (wrong != NULL) {
        char path[32], path2[32];
        place_path(e->name, path);
        place_path(e->name2, path2);
        die("crash_load: writer %u, operation %llu (%u on %s, %s; sectors %u+%u, flags %u) %s: %s",
            w->model.writer, (unsigned long long)e->sequence, e->op, path, path2, e->first,
            e->count, e->flags, wrong, strerror(-e->result));
    }
}

/* ---------------------------------------------------------------- what is done next */

static bool is_open(const struct writer *w, const struct object *o)
{
    bool found = false;
    for (unsigned i = 0; i < OPEN_MAX_FILES; i++) {
        found |= w->open[i].file == o;
    }
    return found;
}

/* A file that is about to lose its name is closed before: a stamp tells of files, not of inodes. */
static void close_if_open(struct writer *w, uint32_t place)
{
    if (w->model.at[place] != NULL && is_open(w, w->model.at[place])) {
        run(w, &(struct entry){.op = OP_CLOSE, .name = place});
    }
}

static void close_one(struct writer *w)
{
    for (uint32_t p = 0; p < PLACES; p++) {
        if (w->model.at[p] != NULL && is_open(w, w->model.at[p])) {
            run(w, &(struct entry){.op = OP_CLOSE, .name = p});
            return;
        }
    }
}

static unsigned open_files(const struct writer *w)
{
    unsigned count = 0;
    for (unsigned i = 0; i < OPEN_MAX_FILES; i++) {
        count += w->open[i].file != NULL;
    }
    return count;
}

static void write_some(struct writer *w, uint32_t place)
{
    const struct object *o = w->model.at[place];
    struct entry e = {.op = OP_WRITE, .name = place, .count = 1 + below(w, 4)};
    if (below(w, 3) == 0) {
        e.count = 1 + below(w, WRITE_SECTORS_MAX);
    }
    e.first = below(w, SECTORS_MAX - e.count);
    e.flags = (below(w, 2) != 0 ? WRITE_FSYNC : 0) | (below(w, 3) == 0 ? WRITE_KEEP : 0);
    if (below(w, 3) == 0 && !is_open(w, o) && o->size + e.count <= SECTORS_MAX) {
        e.first = o->size;
        e.flags = WRITE_APPEND | (e.flags & WRITE_FSYNC);
    }
    if ((e.flags & WRITE_KEEP) && !is_open(w, o) && open_files(w) == OPEN_MAX_FILES) {
        close_one(w);
    }
    run(w, &e);
}

static void rename_some(struct writer *w)
{
    struct model *m = &w->model;
    uint32_t a = place_with(w, (enum kind)(KIND_FILE + below(w, 3)));
    uint32_t b = below(w, PLACES);
    if (a == PLACES || m->at[a] == m->at[b]) {
        return;
    }
    bool exchange = m->at[b] != NULL && below(w, 2) == 0;
    if (!exchange && m->at[b] != NULL &&
        (m->at[a]->kind == KIND_DIR) != (m->at[b]->kind == KIND_DIR)) {
        return;
    }
    if (!exchange) {
        close_if_open(w, b);
    }
    run(w, &(struct entry){.op = exchange ? OP_EXCHANGE : OP_RENAME, .name = a, .name2 = b});
}

/* What editors and databases do: a new file under another name, fsync, rename over the old one. */
static void replace_some(struct writer *w)
{
    uint32_t old = place_with(w, KIND_FILE), fresh = place_with(w, KIND_FREE);
    if (old == PLACES || fresh == PLACES) {
        return;
    }
    run(w, &(struct entry){.op = OP_CREATE, .name = fresh});
    run(w, &(struct entry){
               .op = OP_WRITE, .name = fresh, .count = 1 + below(w, 64), .flags = WRITE_FSYNC});
    close_if_open(w, old);
    run(w, &(struct entry){.op = OP_RENAME, .name = fresh, .name2 = old});
}

static void remove_some(struct writer *w)
{
    uint32_t p = place_with(w, (enum kind)(KIND_FILE + below(w, 3)));
    if (p != PLACES) {
        close_if_open(w, p);
        run(w, &(struct entry){.op = w->model.at[p]->kind == KIND_DIR ? OP_RMDIR : OP_UNLINK,
                               .name = p});
    }
}

static void step(struct writer *w)
{
    uint32_t file = place_with(w, KIND_FILE), empty = place_with(w, KIND_FREE);
    uint32_t die_of_20 = below(w, 20);
    if (file == PLACES || (empty != PLACES && die_of_20 < 3)) {
        static const enum op made[] = {OP_CREATE, OP_CREATE, OP_CREATE, OP_MKDIR, OP_SYMLINK};
        if (empty == PLACES) {
            remove_some(w);
        } else {
            run(w, &(struct entry){.op = made[below(w, 5)], .name = empty});
        }
    } else if (die_of_20 < 9) {
        write_some(w, file);
    } else if (die_of_20 < 11) {
        run(w, &(struct entry){.op = OP_FSYNC, .name = file});
    } else if (die_of_20 < 12) {
        uint32_t size = below(w, SECTORS_MAX);
        if (size != w->model.at[file]->size) {
            run(w, &(struct entry){.op = OP_TRUNCATE, .name = file, .count = size});
        }
    } else if (die_of_20 < 14) {
        rename_some(w);
    } else if (die_of_20 < 15) {
        if (empty != PLACES) {
            run(w, &(struct entry){.op = OP_LINK, .name = file, .name2 = empty});
        }
    } else if (die_of_20 < 17) {
        replace_some(w);
    } else if (die_of_20 < 19) {
        remove_some(w);
    } else {
        close_one(w);
    }
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    while (!stopping) {
        step(w);
    }
    while (open_files(w) > 0) {
        close_one(w);
    }
    return NULL;
}

static struct writer *writer_make(const char *dir, const char *state, uint32_t number,
                                  uint64_t seed)
{
    char path[4096];
    struct writer *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        die("no memory");
    }
    snprintf(path, sizeof(path), "%s/cuts", state);
    w->state = strdup(path);
    w->random = (seed * 64 + number + 1) * 0x9e3779b97f4a7c15ull;
    model_init(&w->model, number, &w->cuts);
    cuts_read(w->state, &w->cuts);
    snprintf(path, sizeof(path), "%s/journal.%u", state, number);
    model_load(&w->model, path);
    w->journal = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    snprintf(path, sizeof(path), "%s/w%u", dir, number);
    if (w->model.doubt.op != 0 || w->journal < 0) {
        die("crash_load: writer %u: its journal cannot be continued", number);
    }
    if (w->model.sequence == 0 && mkdir(path, 0755) != 0) {
        die("crash_load: %s: %s", path, strerror(errno));
    }
    w->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->dir < 0) {
        die("crash_load: %s: %s", path, strerror(errno));
    }
    for (unsigned d = 0; w->model.sequence == 0 && d < DIRS; d++) {
        snprintf(path, sizeof(path), "d%u", d);
        if (mkdirat(w->dir, path, 0755) != 0) {
            die("crash_load: mkdir %s: %s", path, strerror(errno));
        }
    }
    return w;
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: crash_load DIR STATE WRITERS SEED\n");
        return 2;
    }
    unsigned writers = (unsigned)atoi(argv[3]);
    pthread_t thread[WRITERS_MAX];
    struct writer *w[WRITERS_MAX];
    signal(SIGTERM, stop);
    for (unsigned i = 0; i < writers && i < WRITERS_MAX; i++) {
        w[i] = writer_make(argv[1], argv[2], i, strtoull(argv[4], NULL, 10));
    }
    for (unsigned i = 0; i < writers && i < WRITERS_MAX; i++) {
        if (pthread_create(&thread[i], NULL, writer_main, w[i]) != 0) {
            die("no thread");
        }
    }
    uint64_t operations = 0;
    for (unsigned i = 0; i < writers && i < WRITERS_MAX; i++) {
        pthread_join(thread[i], NULL);
        operations += w[i]->model.operations;
    }
    printf("%llu operations\n", (unsigned long long)operations);
    return 0;
}
