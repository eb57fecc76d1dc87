/* fsload.c - small-file load for the bench: some processes, each in a directory of its own.
 *
 *   fsload WHAT PROCESSES COUNT     COUNT operations in all, in the current directory
 *   fsload tree DIR FILES           a tree of FILES small text files, the same every time
 *   fsload touch MIB                takes so much memory, at most half of what there is, and gives it back
 *
 * WHAT: create, write4k (create, write, close), read4k (open, read, close), rename, unlink, stat (each file once),
 * restat (the first files again and again). All but the first two want what create or write4k made with the same
 * numbers. Prints "operations seconds": from when all processes stand ready until the last has ended.
 * Any call that fails ends it with status 1.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, NAME_BYTES = 300, RESTAT_FILES = 1000, PROCESSES_MAX = 256 };

static char block[BLOCK];

static void die(const char *what, const char *name)
{
    fprintf(stderr, "fsload: %s %s: %s\n", what, name, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void create(const char *name, long i)
{
    (void)i;
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0 || close(fd) != 0) {
        die("create", name);
    }
}

static void write4k(const char *name, long i)
{
    (void)i;
    int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
    if (fd < 0 || write(fd, block, BLOCK) != BLOCK || close(fd) != 0) {
        die("write", name);
    }
}

static void read4k(const char *name, long i)
{
    char got[BLOCK];
    (void)i;
    int fd = open(name, O_RDONLY);
    if (fd < 0 || read(fd, got, BLOCK) != BLOCK || close(fd) != 0) {
        die("read", name);
    }
    if (memcmp(got, block, BLOCK) != 0) {
        errno = EBADMSG;
        die("contents of", name);
    }
}

static void rename_one(const char *name, long i)
{
    char to[NAME_BYTES];
    snprintf(to, sizeof to, "renamed%ld", i);
    if (rename(name, to) != 0) {
        die("rename", name);
    }
}

static void unlink_one(const char *name, long i)
{
    (void)i;
    if (unlink(name) != 0) {
        die("unlink", name);
    }
}

static void stat_one(const char *name, long i)
{
    struct stat st;
    (void)i;
    if (stat(name, &st) != 0) {
        die("stat", name);
    }
}

struct kind {
    const char *name;
    void (*one)(const char *name, long i);
    int makes; /* its directory too */
    long wrap; /* files there are, if fewer than operations */
};

static const struct kind kinds[] = {
    {"create", create, 1, 0},
    {"write4k", write4k, 1, 0},
    {"read4k", read4k, 0, 0},
    {"rename", rename_one, 0, 0},
    {"unlink", unlink_one, 0, 0},
    {"stat", stat_one, 0, 0},
    {"restat", stat_one, 0, RESTAT_FILES},
};

/* ---------------------------------------------------------------- processes */

static void work(const struct kind *k, long process, long count, int ready, int begin)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "p%ld", process);
    if ((k->makes && mkdir(name, 0755) != 0) || chdir(name) != 0) {
        die("directory", name);
    }
    if (write(ready, "r", 1) != 1 || close(ready) != 0 || read(begin, name, 1) != 0) {
        die("pipe", "");
    }
    for (long i = 0; i < count; i++) {
        snprintf(name, sizeof name, "file%ld", k->wrap > 0 ? i % k->wrap : i);
        k->one(name, i);
    }
    exit(0);
}

static int run(const struct kind *k, long processes, long count)
{
    int ready[2], begin[2], failed = 0;
    char told;
    if (pipe(ready) != 0 || pipe(begin) != 0) {
        die("pipe", "");
    }
    for (long p = 0; p < processes; p++) {
        pid_t pid = fork();
        if (pid < 0) {
            die("fork", "");
        }
        if (pid == 0) {
            close(begin[1]);
            close(ready[0]);
            work(k, p, count / processes, ready[1], begin[0]);
        }
    }
    close(ready[1]);
    for (long p = 0; p < processes; p++) {
        failed |= read(ready[0], &told, 1) != 1; /* all gone: one could not begin */
    }
    double began = now();
    close(begin[1]); /* all may go */
    for (long p = 0; p < processes; p++) {
        int status;
        failed |= wait(&status) < 0 || status != 0;
    }
    printf("%ld %.6f\n", count / processes * processes, now() - began);
    return failed;
}

/* ---------------------------------------------------------------- a tree */

static uint64_t random_state = 1;

static uint64_t next_random(void) /* splitmix64 */
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* Sizes as in source trees: half below 1 KiB, the mean near 3 KiB, a few of 100 KiB and more. */
static size_t next_size(void)
{
    unsigned doublings = 0;
    while (doublings < 9 && next_random() % 100 < 48) {
        doublings++;
    }
    return (size_t)(400 + next_random() % 400) << doublings;
}

static void write_text(const char *name, size_t size)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz    \n(){};=_0123456789";
    FILE *f = fopen(name, "w");
    if (f == NULL) {
        die("open", name);
    }
    for (size_t i = 0; i < size; i++) {
        putc(letters[next_random() % (sizeof letters - 1)], f);
    }
    if (fclose(f) != 0) {
        die("write", name);
    }
}

static int make_tree(const char *dir, long files)
{
    enum { PER_DIRECTORY = 16, PER_TOP = 20 };
    char name[NAME_BYTES];
    if (mkdir(dir, 0755) != 0) {
        die("mkdir", dir);
    }
    for (long i = 0; i < files; i++) {
        long sub = i / PER_DIRECTORY, top = sub / PER_TOP;
        if (i % (PER_DIRECTORY * PER_TOP) == 0) {
            snprintf(name, sizeof name, "%.200s/part%ld", dir, top);
            if (mkdir(name, 0755) != 0) {
                die("mkdir", name);
            }
        }
        if (i % PER_DIRECTORY == 0) {
            snprintf(name, sizeof name, "%.200s/part%ld/module%ld", dir, top, sub);
            if (mkdir(name, 0755) != 0) {
                die("mkdir", name);
            }
        }
        snprintf(name, sizeof name, "%.200s/part%ld/module%ld/source%ld.c", dir, top, sub, i);
        write_text(name, next_size());
    }
    return 0;
}

static int touch_memory(size_t mib)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t most = (size_t)sysconf(_SC_AVPHYS_PAGES) / 2 * page;
    size_t size = mib << 20 < most ? mib << 20 : most;
    volatile char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        die("mmap", "of memory to touch");
    }
    for (size_t at = 0; at < size; at += page) {
        p[at] = 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    memset(block, 'x', sizeof block);
    if (argc == 4 && strcmp(argv[1], "tree") == 0) {
        return make_tree(argv[2], atol(argv[3]));
    }
    if (argc == 3 && strcmp(argv[1], "touch") == 0 && atol(argv[2]) > 0) {
        return touch_memory((size_t)atol(argv[2]));
    }
    if (argc == 4) {
        long processes = atol(argv[2]), count = atol(argv[3]);
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            if (strcmp(kinds[i].name, argv[1]) == 0 && processes > 0 &&
                processes <= PROCESSES_MAX && count >= processes) {
                return run(&kinds[i], processes, count);
            }
        }
    }
    fprintf(stderr,
            "usage: fsload create|write4k|read4k|rename|unlink|stat|restat PROCESSES COUNT\n"
            "       fsload tree DIR FILES\n"
            "       fsload touch MIB\n");
    return 2;
}
