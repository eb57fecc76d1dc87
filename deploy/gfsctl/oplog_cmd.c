/* oplog_cmd.c - `gfsctl oplog`: prints or verifies the operation log found in a directory.
 *
 * Reads the files only, so it may look at the log of a running master too; what it is just writing
 * may then be missing at the end. Records are recognised by their own checksums at 4 KiB units,
 * where batches begin; that each follows from the one before is checked by index and chain. In a
 * segment whatever lies behind the first record and is neither a record nor zero counts as damage.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deploy/gfsctl/gfsctl.h"
#include "master/core/oplog.h"
#include "shared/base/mem.h"

enum { UNIT_BYTES = 4096, SUPERBLOCK_BYTES = 512, LINE_BYTES = 64 * 1024 };

struct walk {
    bool dump;                        /* print records; else only what is wrong, and a summary */
    uint64_t from, to;                /* records to print */
    uint64_t first_index, last_index; /* 0 = none yet */
    uint64_t chain;
    uint32_t first_epoch, last_epoch;
    uint64_t faults;
    uint32_t files;
    const char *path; /* file being read */
    char *line;       /* LINE_BYTES */
};

static void fault(struct walk *w, const char *format, ...) PRINTF_LIKE(2, 3);

/* In a dump it stands among the records, so it is a comment there. */
static void fault(struct walk *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("# ", stdout);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    w->faults++;
}

/* Index, chain and epoch against the record before. */
static void check_record(struct walk *w, const struct record *r)
{
    if (w->last_index == 0) {
        w->first_index = r->index;
        w->first_epoch = r->epoch;
    } else if (r->index != w->last_index + 1) {
        fault(w, "records %" PRIu64 " to %" PRIu64 " are not here", w->last_index + 1,
              r->index - 1);
    } else if (r->prev_chain != w->chain) {
        fault(w, "record %" PRIu64 " does not follow from the one before", r->index);
    } else if (r->epoch < w->last_epoch) {
        fault(w, "record %" PRIu64 " has epoch %u, the one before had %u", r->index, r->epoch,
              w->last_epoch);
    }
    w->last_index = r->index;
    w->last_epoch = r->epoch;
    w->chain = r->chain;
}

static void print_record(struct walk *w, const struct record *r)
{
    const struct op_info *op = op_info_of(r->type);
    union op_any any;
    memset(&any, 0, sizeof(any));
    if (op == NULL || op->rec_decode(r->body, &any) != 0) {
        snprintf(w->line, LINE_BYTES, "(type %u, %u bytes)", r->type, r->body.len);
    } else {
        struct printer p = {w->line, LINE_BYTES};
        w->line[0] = 0;
        op->rec_print(&p, &any);
    }
    printf("%" PRIu64 " epoch %u time %" PRId64 ".%09" PRId64 " session %" PRIu64
           " sequence %" PRIu64 " %s %s\n",
           r->index, r->epoch, r->time_ns / 1000000000, r->time_ns % 1000000000, r->session,
           r->sequence, op_name(r->type), w->line);
}

static void walk_bytes(struct walk *w, const uint8_t *data, size_t len)
{
    size_t at = 0, damaged = 0;
    bool any = false;
    while (at < len) {
        struct record r;
        struct why why;
        bool header_good;
        struct bytes rest = bytes_of(data + at, MIN(len - at, (size_t)UINT32_MAX));
        if (record_decode(rest, &r, &header_good, &why) == 0 && r.index > w->last_index) {
            check_record(w, &r);
            if (w->dump && r.index >= w->from && r.index <= w->to) {
                print_record(w, &r);
            }
            any = true;
            at += record_size(&r);
            continue;
        }
        size_t next = MIN((at / UNIT_BYTES + 1) * UNIT_BYTES, len);
        if (any && !bytes_are_zero(data + at, next - at) && damaged++ == 0) {
            fault(w, "%s: what lies at %zu is no record", w->path, at);
        }
        at = next;
    }
}

static int walk_file(struct walk *w, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        (void)say("cannot read %s: %s", path, strerrordesc_np(errno));
        if (fd >= 0) {
            close(fd);
        }
        return EXIT_FAILED;
    }
    w->path = path;
    w->files++;
    if (S_ISREG(st.st_mode) && st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data != MAP_FAILED) {
            walk_bytes(w, data, (size_t)st.st_size);
            munmap(data, (size_t)st.st_size);
        }
    }
    close(fd);
    return 0;
}

/* Segments are named by their first index in fixed width: their order is that of their names. What a
 * forced start set aside ends in ".bad". */
static int is_segment(const struct dirent *e)
{
    size_t len = strlen(e->d_name);
    return strncmp(e->d_name, "log-", 4) == 0 && strcmp(e->d_name + len - 4, ".bad") != 0;
}

static int walk_dir(struct walk *w, const char *dir)
{
    char log_dir[4096], path[8192];
    struct dirent **entries;
    snprintf(log_dir, sizeof(log_dir), "%s/log", dir);
    int count = scandir(log_dir, &entries, is_segment, alphasort);
    if (count < 0) {
        snprintf(log_dir, sizeof(log_dir), "%s", dir);
        count = scandir(log_dir, &entries, is_segment, alphasort);
    }
    if (count < 0) {
        return say("cannot read directory %s: %s", log_dir, strerrordesc_np(errno));
    }
    w->line = mem_alloc(LINE_BYTES);
    int code = 0;
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s/%s", log_dir, entries[i]->d_name);
        code |= walk_file(w, path);
        free(entries[i]);
    }
    free(entries);
    mem_free(w->line);
    return code != 0 ? code : w->files == 0 ? say("%s holds no segment of a log", log_dir) : 0;
}

/* What the superblock says was committed must be there. */
static void check_end(struct walk *w, const char *dir)
{
    struct oplog_identity newest = {0};
    uint64_t highest = 0;
    uint32_t whole = 0;
    for (int i = 0; i < 4; i++) {
        char path[8192];
        uint8_t slot[SUPERBLOCK_BYTES];
        struct oplog_identity id;
        uint64_t counter;
        snprintf(path, sizeof(path), "%s%s/meta.%d", dir, i < 2 ? "/log" : "", i % 2);
        FILE *f = fopen(path, "re");
        size_t n = f != NULL ? fread(slot, 1, sizeof(slot), f) : 0;
        if (f != NULL) {
            fclose(f);
        }
        if (oplog_read_identity(bytes_of(slot, (uint32_t)n), &id, &counter)) {
            whole++;
            if (counter > highest) {
                highest = counter;
                newest = id;
            }
        } else if (f != NULL) {
            fault(w, "%s is damaged, or of another format", path);
        }
    }
    if (whole > 0 && w->last_index < newest.committed) {
        fault(w, "the log ends at record %" PRIu64 ", but records to %" PRIu64 " were committed",
              w->last_index, newest.committed);
    }
}

/* "17" or "17-30" or "17-". */
static bool parse_range(const char *text, uint64_t *from, uint64_t *to)
{
    char first[32];
    size_t n = strcspn(text, "-");
    snprintf(first, sizeof(first), "%.*s", (int)MIN(n, sizeof(first) - 1), text);
    if (!parse_u64(first, from)) {
        return false;
    }
    *to = text[n] == '\0' ? *from : UINT64_MAX;
    return text[n] == '\0' || text[n + 1] == '\0' || parse_u64(text + n + 1, to);
}

static int outcome(const struct walk *w, int code)
{
    return code != 0 || w->faults != 0 ? EXIT_FAILED : 0;
}

int cmd_oplog_dump(struct call *c)
{
    struct walk w = {.dump = true, .to = UINT64_MAX};
    if (c->argc < 1 || c->argc > 2 || (c->argc == 2 && !parse_range(c->argv[1], &w.from, &w.to))) {
        return EXIT_USAGE;
    }
    return outcome(&w, walk_dir(&w, c->argv[0]));
}

int cmd_oplog_verify(struct call *c)
{
    struct walk w = {0};
    if (c->argc != 1) {
        return EXIT_USAGE;
    }
    int code = walk_dir(&w, c->argv[0]);
    if (code == 0) {
        check_end(&w, c->argv[0]);
        printf("records %" PRIu64 " to %" PRIu64 ", epochs %u to %u, in %u segments: %s\n",
               w.first_index, w.last_index, w.first_epoch, w.last_epoch, w.files,
               w.faults == 0 ? "whole" : "DAMAGED");
    }
    return outcome(&w, code);
}
