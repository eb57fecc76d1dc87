/* journal.c - journal files and the file of cuts. */
#include "tests/crash/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void journal_append(int fd, const struct entry *e)
{
    if (write(fd, e, sizeof(*e)) != (ssize_t)sizeof(*e)) {
        die("journal: %s", strerror(errno));
    }
}

size_t journal_read(const char *path, struct entry **out)
{
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        if (errno == ENOENT) {
            return 0;
        }
        die("%s: %s", path, strerror(errno));
    }
    size_t count = (size_t)st.st_size / sizeof(struct entry);
    *out = calloc(count + 1, sizeof(struct entry));
    if (*out == NULL ||
        read(fd, *out, count * sizeof(struct entry)) != (ssize_t)(count * sizeof(struct entry))) {
        die("%s: cannot be read", path);
    }
    close(fd);
    return count;
}

void cuts_read(const char *path, struct cuts *out)
{
    FILE *f = fopen(path, "re");
    if (out->all == NULL && (out->all = calloc(CUTS_MAX, sizeof(struct cut))) == NULL) {
        die("no memory");
    }
    out->count = 0;
    unsigned long long at;
    while (f != NULL && out->count < CUTS_MAX &&
           fscanf(f, "%llu %u", &at, &out->all[out->count].mask) == 2) {
        out->all[out->count++].time_ns = at;
    }
    if (f != NULL) {
        fclose(f);
    }
}

unsigned cuts_between(const struct cuts *c, uint64_t from_ns, uint64_t to_ns)
{
    unsigned mask = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (c->all[i].time_ns >= from_ns && c->all[i].time_ns <= to_ns) {
            mask |= c->all[i].mask;
        }
    }
    return mask;
}
