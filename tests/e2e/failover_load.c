/* failover_load.c - namespace operations and small files in one directory, none of which may fail or be
 * done twice.
 *
 * failover_load DIR STOP LOG: works in DIR, which it makes, until file STOP exists; then DIR must hold
 * exactly what was acknowledged. Every operation is one that fails when it is repeated (mkdir, exclusive
 * creation, rename, link, unlink, rmdir) or shows it (appending). LOG gets a line "N MS" when operation
 * number N took MS > 50 milliseconds, and "ops N" now and then.
 * failover_load --check DIR LIST: DIR must hold what a run with DIR wrote to DIR.list at its end (LIST),
 * seen from another mount.
 * Exit status: 0 all is there; 1 with a sentence.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { ENTRIES = 120, BYTES_MAX = 20000, SLOW_MS = 50 };

enum kind { NONE, FILE_ENTRY, DIR_ENTRY, LINK_ENTRY };

struct entry {
    enum kind kind;
    unsigned name;    /* the number in its name */
    unsigned content; /* what its bytes are made from; the target's name of a symbolic link */
    unsigned bytes;
};

static struct entry all[ENTRIES];
static unsigned next_name = 1;
static unsigned appended;
static unsigned long done;
static const char *dir;
static FILE *log_file;
static uint64_t chance = 88172645463325252ull;
static unsigned char buffer[BYTES_MAX], wanted[BYTES_MAX];

static void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
static void fail(const char *format, ...)
{
    int err = errno;
    va_list ap;
    va_start(ap, format);
    fprintf(stderr, "%s: operation %lu: ", dir, done);
    vfprintf(stderr, format, ap);
    fprintf(stderr, ": %s\n", strerror(err));
    va_end(ap);
    exit(1);
}

static unsigned below(unsigned n)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return (unsigned)(chance % n);
}

static const char *path(unsigned name)
{
    static char text[4][4200];
    static unsigned turn;
    char *out = text[turn++ % 4];
    snprintf(out, sizeof(text[0]), "%s/e%07u", dir, name);
    return out;
}

static void fill(unsigned char *out, unsigned content, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        out[i] = (unsigned char)((content * 2654435761u + i * 40503u) >> 13);
    }
}

static struct entry *pick(enum kind kind)
{
    unsigned first = below(ENTRIES);
    for (unsigned i = 0; i < ENTRIES; i++) {
        struct entry *e = &all[(first + i) % ENTRIES];
        if (e->kind == kind) {
            return e;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- operations */

static void op_create(struct entry *e)
{
    *e = (struct entry){FILE_ENTRY, next_name++, below(1u << 30), below(BYTES_MAX)};
    int fd = open(path(e->name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        fail("creating %s", path(e->name));
    }
    fill(buffer, e->content, e->bytes);
    for (unsigned at = 0; at < e->bytes;) {
        ssize_t n = write(fd, buffer + at, e->bytes - at);
        if (n <= 0) {
            fail("writing %s", path(e->name));
        }
        at += (unsigned)n;
    }
    if (below(3) == 0 && fsync(fd) != 0) {
        fail("fsync of %s", path(e->name));
    }
    if (close(fd) != 0) {
        fail("closing %s", path(e->name));
    }
}

static void op_mkdir(struct entry *e)
{
    *e = (struct entry){.kind = DIR_ENTRY, .name = next_name++};
    if (mkdir(path(e->name), 0755) != 0) {
        fail("mkdir %s", path(e->name));
    }
}

static void op_symlink(struct entry *e)
{
    char target[32];
    *e = (struct entry){.kind = LINK_ENTRY, .name = next_name++, .content = below(1u << 30)};
    snprintf(target, sizeof(target), "t%u", e->content);
    if (symlink(target, path(e->name)) != 0) {
        fail("symlink %s", path(e->name));
    }
}

static void op_link(struct entry *e)
{
    const struct entry *from = pick(FILE_ENTRY);
    if (from == NULL) {
        return;
    }
    struct entry fresh = *from;
    fresh.name = next_name++;
    if (link(path(from->name), path(fresh.name)) != 0) {
        fail("link %s", path(fresh.name));
    }
    *e = fresh;
}

static void op_remove(struct entry *e)
{
    if (e->kind == DIR_ENTRY ? rmdir(path(e->name)) != 0 : unlink(path(e->name)) != 0) {
        fail("removing %s", path(e->name));
    }
    e->kind = NONE;
}

static void op_rename(struct entry *e)
{
    unsigned name = next_name++;
    if (rename(path(e->name), path(name)) != 0) {
        fail("rename %s", path(e->name));
    }
    e->name = name;
}

static void op_append(void)
{
    char text[32], file[4200];
    snprintf(file, sizeof(file), "%s/appended", dir);
    int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int len = snprintf(text, sizeof(text), "%u\n", ++appended);
    if (fd < 0 || write(fd, text, (size_t)len) != len || close(fd) != 0) {
        fail("appending line %u", appended);
    }
}

static void op_any(void)
{
    struct entry *e = pick(NONE), *old = pick((enum kind)(1 + below(3)));
    unsigned what = below(12);
    if (e == NULL || (what < 3 && old != NULL)) {
        op_remove(e == NULL ? &all[below(ENTRIES)] : old);
    } else if (what < 5 && old != NULL) {
        op_rename(old);
    } else if (what < 8) {
        op_create(e);
    } else if (what == 8) {
        op_mkdir(e);
    } else if (what == 9) {
        op_symlink(e);
    } else if (what == 10) {
        op_link(e);
    } else {
        op_append();
    }
}

/* ---------------------------------------------------------------- checking */

static void check_entry(const struct entry *e)
{
    char target[64], expected[32];
    struct stat st;
    if (lstat(path(e->name), &st) != 0) {
        fail("acknowledged %s is not there", path(e->name));
    }
    if (e->kind == DIR_ENTRY    ? !S_ISDIR(st.st_mode)
        : e->kind == LINK_ENTRY ? !S_ISLNK(st.st_mode)
                                : !S_ISREG(st.st_mode)) {
        fail("%s is of another kind", path(e->name));
    }
    if (e->kind == LINK_ENTRY) {
        ssize_t n = readlink(path(e->name), target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = 0;
        snprintf(expected, sizeof(expected), "t%u", e->content);
        if (strcmp(target, expected) != 0) {
            fail("%s leads to %s", path(e->name), target);
        }
    } else if (e->kind == FILE_ENTRY) {
        int fd = open(path(e->name), O_RDONLY | O_CLOEXEC);
        unsigned have = 0;
        ssize_t n = 0;
        while (fd >= 0 && have < BYTES_MAX && (n = read(fd, buffer + have, BYTES_MAX - have)) > 0) {
            have += (unsigned)n;
        }
        fill(wanted, e->content, e->bytes);
        if (fd < 0 || n < 0 || have != e->bytes || memcmp(buffer, wanted, have) != 0) {
            fail("%s has %u bytes, expected %u, or others", path(e->name), have, e->bytes);
        }
        close(fd);
    }
}

static void check_appended(void)
{
    char file[4200], line[64];
    unsigned n = 0;
    snprintf(file, sizeof(file), "%s/appended", dir);
    FILE *f = fopen(file, "re");
    if (f == NULL && appended > 0) {
        fail("opening %s", file);
    }
    while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
        if (strtoul(line, NULL, 10) != ++n) {
            fail("line %u of %s is %s", n, file, line);
        }
    }
    if (n != appended) {
        fail("%s has %u lines, expected %u", file, n, appended);
    }
    if (f != NULL) {
        fclose(f);
    }
}

/* Everything that was acknowledged is there, and as many names as that. */
static void check_all(void)
{
    struct stat st;
    unsigned entries = 0, dirs = 0;
    for (unsigned i = 0; i < ENTRIES; i++) {
        if (all[i].kind != NONE) {
            check_entry(&all[i]);
            entries++;
            dirs += all[i].kind == DIR_ENTRY;
        }
    }
    check_appended();
    if (stat(dir, &st) != 0 || st.st_nlink != dirs + 2) {
        fail("%s has %lu links, expected %u", dir, (unsigned long)st.st_nlink, dirs + 2);
    }
    printf("%s: %lu operations, %u entries and %u lines are there\n", dir, done, entries, appended);
}

static void write_list(const char *name)
{
    FILE *f = fopen(name, "we");
    if (f == NULL) {
        fail("%s", name);
    }
    fprintf(f, "%u\n", appended);
    for (unsigned i = 0; i < ENTRIES; i++) {
        fprintf(f, "%d %u %u %u\n", all[i].kind, all[i].name, all[i].content, all[i].bytes);
    }
    fclose(f);
}

static void read_list(const char *name)
{
    FILE *f = fopen(name, "re");
    if (f == NULL || fscanf(f, "%u", &appended) != 1) {
        fail("%s", name);
    }
    for (unsigned i = 0; i < ENTRIES; i++) {
        int kind = 0;
        if (fscanf(f, "%d %u %u %u", &kind, &all[i].name, &all[i].content, &all[i].bytes) != 4) {
            fail("%s", name);
        }
        all[i].kind = (enum kind)kind;
    }
    fclose(f);
}

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: failover_load DIR STOP LOG, or failover_load --check DIR LIST\n");
        return 2;
    }
    if (strcmp(argv[1], "--check") == 0) {
        dir = argv[2];
        read_list(argv[3]);
        check_all();
        return 0;
    }
    dir = argv[1];
    log_file = fopen(argv[3], "ae");
    if (log_file == NULL || mkdir(dir, 0755) != 0) {
        fail("beginning");
    }
    setvbuf(log_file, NULL, _IOLBF, 0);
    chance ^= (uint64_t)getpid() << 20;
    long told = 0;
    while (access(argv[2], F_OK) != 0) {
        long start = now_ms();
        done++;
        op_any();
        long end = now_ms();
        if (end - start > SLOW_MS) {
            fprintf(log_file, "%lu %ld\n", done, end - start);
        }
        if (end - told > 200) {
            fprintf(log_file, "ops %lu\n", done);
            told = end;
        }
        usleep(2000);
    }
    check_all();
    char list[4200];
    snprintf(list, sizeof(list), "%s.list", argv[3]);
    write_list(list);
    return 0;
}
