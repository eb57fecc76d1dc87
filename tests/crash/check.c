/* check.c - crash_check DIR STATE WRITERS: compares a mounted DIR with what the journals of
 * crash_load under STATE say, name by name and sector by sector. The load must not run.
 *
 * An operation that was in doubt because the load was killed must have taken place as a whole or
 * not at all; which of the two is noted in the journal, and holds from then on. Prints what is
 * wrong and ends with status 1, or prints what was compared.
 */
#include "tests/crash/model.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct check {
    struct model model;
    struct cuts cuts;
    int dir, journal;
    unsigned wrong;
    uint64_t names, sectors, lost;
};

__attribute__((format(printf, 2, 3))) static void wrong(struct check *c, const char *format, ...)
{
    va_list args;
    if (c->wrong++ < 20) {
        fprintf(stderr, "crash_check: w%u/", c->model.writer);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fputc('\n', stderr);
    }
}

static void note(struct check *c, struct entry *e)
{
    e->sequence = c->model.sequence;
    e->end_ns = now_ns();
    journal_append(c->journal, e);
    (void)model_apply(&c->model, e);
}

/* ---------------------------------------------------------------- the operation in doubt */

static uint64_t inode_at(const struct check *c, uint32_t place, off_t *out_size)
{
    char path[32];
    struct stat st;
    place_path(place, path);
    if (fstatat(c->dir, path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno != ENOENT) {
            die("crash_check: w%u/%s: %s", c->model.writer, path, strerror(errno));
        }
        return 0;
    }
    *out_size = st.st_size;
    return st.st_ino;
}

static bool took_place(const struct check *c, const struct entry *d, uint64_t *out_inode)
{
    off_t size = 0, size2 = 0;
    uint64_t first = inode_at(c, d->name, &size);
    const struct object *second = c->model.at[d->name2];
    switch (d->op) {
    case OP_CREATE:
    case OP_SYMLINK:
    case OP_MKDIR:
        *out_inode = first;
        return first != 0;
    case OP_UNLINK:
    case OP_RMDIR:
    case OP_RENAME:
        return first == 0;
    case OP_EXCHANGE:
        return second != NULL && first == second->inode;
    case OP_LINK:
        return inode_at(c, d->name2, &size2) != 0;
    case OP_TRUNCATE:
        return size == (off_t)d->count * SECTOR;
    default:
        return true;
    }
}

static void settle(struct check *c)
{
    struct entry d = c->model.doubt;
    bool killed = (cuts_between(&c->cuts, c->model.checked_ns, now_ns()) & CUT_CLIENT) != 0;
    if (d.op != 0 && !killed) {
        die("crash_check: w%u: operation %llu never ended", c->model.writer,
            (unsigned long long)d.sequence);
    }
    if (d.op != 0) {
        struct entry e = {.op = OP_SETTLED_DOUBT};
        e.result = took_place(c, &d, &e.inode) ? 1 : 0;
        note(c, &e);
    }
    if (killed) {
        model_client_killed(&c->model);
    }
}

/* ---------------------------------------------------------------- comparing */

static void compare_sector(struct check *c, const struct object *o, const char *path, uint32_t i,
                           const uint8_t *bytes)
{
    char found[160];
    const struct sector *s = &o->sector[i];
    uint64_t at = stamp_read(bytes, c->model.writer, o->id, i, found);
    bool zero_is_newest = s->newest == s->floor && s->floor_zero;
    c->sectors++;
    if (at == (zero_is_newest ? 0 : s->newest)) {
        return;
    }
    bool lost = sector_may_be_lost(&c->model, s);
    if (lost &&
        (at == 0 ? s->floor_zero
                 : at < s->newest && (at > s->floor || (at == s->floor && !s->floor_zero)))) {
        c->lost++;
        return;
    }
    if (at != UINT64_MAX) {
        snprintf(found, sizeof(found), at == 0 ? "zeros" : "what operation %llu wrote",
                 (unsigned long long)at);
    }
    wrong(c,
          "%s: sector %u of file %llu (inode %llu) has %s, not operation %llu%s (durable: %llu%s)",
          path, i, (unsigned long long)o->id, (unsigned long long)o->inode, found,
          (unsigned long long)s->newest, lost ? ", which may be lost" : "",
          (unsigned long long)s->floor, s->floor_zero ? ", zeros" : "");
}

static void compare_file(struct check *c, uint32_t place, const char *path, off_t size)
{
    static uint8_t bytes[SECTORS_MAX * SECTOR];
    struct object *o = c->model.at[place];
    uint32_t sectors = (uint32_t)(size / SECTOR);
    bool killed = (cuts_between(&c->cuts, c->model.checked_ns, now_ns()) & CUT_CLIENT) != 0;
    if (size % SECTOR != 0 || sectors > o->size ||
        (sectors != o->size && (!killed || sectors < o->size_floor))) {
        wrong(c, "%s: %lld bytes, should be %u (at least %u) sectors", path, (long long)size,
              o->size, o->size_floor);
        return;
    }
    if (o->size != o->size_floor) {
        note(c, &(struct entry){.op = OP_SETTLED_SIZE, .name = place, .count = sectors});
    }
    int fd = openat(c->dir, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, bytes, sizeof(bytes), 0);
    if (n != (ssize_t)size) {
        wrong(c, "%s: read gives %zd of %lld bytes: %s", path, n, (long long)size,
              n < 0 ? strerror(errno) : "short");
    }
    for (uint32_t i = 0; n == (ssize_t)size && i < sectors; i++) {
        compare_sector(c, o, path, i, bytes + (size_t)i * SECTOR);
    }
    if (fd >= 0) {
        close(fd);
    }
}

static void compare_place(struct check *c, uint32_t place)
{
    static const mode_t mode_of[] = {
        [KIND_FILE] = S_IFREG, [KIND_SYMLINK] = S_IFLNK, [KIND_DIR] = S_IFDIR};
    const struct object *o = c->model.at[place];
    char path[32], target[32] = "", wanted[32];
    struct stat st;
    place_path(place, path);
    if (fstatat(c->dir, path, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        wrong(c, "%s (inode %llu): %s", path, (unsigned long long)o->inode, strerror(errno));
        return;
    }
    c->names++;
    if ((st.st_mode & S_IFMT) != mode_of[o->kind] || st.st_ino != o->inode) {
        wrong(c, "%s: inode %llu, mode %o; should be inode %llu, mode %o", path,
              (unsigned long long)st.st_ino, st.st_mode, (unsigned long long)o->inode,
              mode_of[o->kind]);
        return;
    }
    if (o->kind != KIND_DIR && st.st_nlink != o->links) {
        wrong(c, "%s: %u links, should be %u", path, (unsigned)st.st_nlink, o->links);
    }
    if (o->kind == KIND_FILE) {
        compare_file(c, place, path, st.st_size);
    } else if (o->kind == KIND_SYMLINK) {
        snprintf(wanted, sizeof(wanted), "%llu", (unsigned long long)o->id);
        ssize_t n = readlinkat(c->dir, path, target, sizeof(target) - 1);
        if (n < 0 || strcmp(target, wanted) != 0) {
            wrong(c, "%s -> '%s', should be '%s'", path, target, wanted);
        }
    }
}

/* Every name in the directory once, and none that should not be there. */
static void compare_names(struct check *c, unsigned number)
{
    char path[32], name[512];
    unsigned seen[PLACES] = {0};
    snprintf(path, sizeof(path), "d%u", number);
    int fd = openat(c->dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        wrong(c, "%s: %s", path, strerror(errno));
        return;
    }
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        uint32_t p = 0;
        snprintf(name, sizeof(name), "%s/%s", path, d->d_name);
        while (p < PLACES && (place_path(p, path), strcmp(path, name) != 0)) {
            p++;
        }
        snprintf(path, sizeof(path), "d%u", number);
        if (p < PLACES) {
            seen[p]++;
        } else if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0) {
            wrong(c, "%s: nobody made it", name);
        }
    }
    closedir(dir);
    for (uint32_t p = number; p < PLACES; p += DIRS) {
        place_path(p, path);
        if (seen[p] != (c->model.at[p] != NULL)) {
            wrong(c, "%s: listed %u times, should be %d", path, seen[p], c->model.at[p] != NULL);
        }
    }
}

static void check_writer(struct check *c, const char *dir, const char *state, uint32_t number)
{
    char path[4096];
    model_init(&c->model, number, &c->cuts);
    snprintf(path, sizeof(path), "%s/cuts", state);
    cuts_read(path, &c->cuts);
    snprintf(path, sizeof(path), "%s/journal.%u", state, number);
    model_load(&c->model, path);
    c->journal = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    snprintf(path, sizeof(path), "%s/w%u", dir, number);
    c->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->dir < 0 || c->journal < 0) {
        die("crash_check: %s: %s", path, strerror(errno));
    }
    settle(c);
    for (unsigned d = 0; d < DIRS; d++) {
        compare_names(c, d);
    }
    for (uint32_t p = 0; p < PLACES; p++) {
        if (c->model.at[p] != NULL) {
            compare_place(c, p);
        }
    }
    if (c->wrong == 0) {
        note(c, &(struct entry){.op = OP_CHECKED});
    }
    close(c->dir);
    close(c->journal);
    model_free(&c->model);
    free(c->cuts.all);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: crash_check DIR STATE WRITERS\n");
        return 2;
    }
    uint64_t operations = 0, syncs = 0, failed = 0, names = 0, sectors = 0, lost = 0;
    unsigned bad = 0;
    for (uint32_t i = 0; i < (uint32_t)atoi(argv[3]); i++) {
        struct check c = {.wrong = 0};
        check_writer(&c, argv[1], argv[2], i);
        operations += c.model.operations;
        syncs += c.model.syncs;
        failed += c.model.failed_syncs;
        names += c.names;
        sectors += c.sectors;
        lost += c.lost;
        bad += c.wrong;
    }
    printf("operations %llu fsyncs %llu refused %llu names %llu sectors %llu lost %llu\n",
           (unsigned long long)operations, (unsigned long long)syncs, (unsigned long long)failed,
           (unsigned long long)names, (unsigned long long)sectors, (unsigned long long)lost);
    return bad != 0;
}
