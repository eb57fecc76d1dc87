/* oplog_print.c - prints the operation log found in a directory, a record a line.
 *
 * Reads the files only, so it may look at the log of a running master too; what it is just writing
 * may then be missing at the end. Records are recognised by their own checksums at 4 KiB units,
 * where batches begin; the chain between them is checked.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "deploy/gfsctl/gfsctl.h"
#include "master/core/record.h"
#include "shared/base/mem.h"

enum { UNIT_BYTES = 4096, LINE_BYTES = 64 * 1024 };

struct walk {
    uint64_t last_index; /* 0 = none yet */
    uint64_t chain;
    char *line; /* LINE_BYTES */
};

static void print_record(struct walk *w, const struct record *r)
{
    const struct op_info *op = op_info_of(r->type);
    union op_any any;
    memset(&any, 0, sizeof(any));
    if (w->last_index != 0 && r->index != w->last_index + 1) {
        printf("# records %" PRIu64 " to %" PRIu64 " are not here\n", w->last_index + 1,
               r->index - 1);
    } else if (w->last_index != 0 && r->prev_chain != w->chain) {
        printf("# record %" PRIu64 " does not follow from the one before\n", r->index);
    }
    w->last_index = r->index;
    w->chain = r->chain;
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
    size_t at = 0;
    while (at < len) {
        struct record r;
        struct why why;
        bool header_good;
        struct bytes rest = bytes_of(data + at, MIN(len - at, (size_t)UINT32_MAX));
        if (record_decode(rest, &r, &header_good, &why) == 0 && r.index > w->last_index) {
            print_record(w, &r);
            at += record_size(&r);
        } else {
            at = (at / UNIT_BYTES + 1) * UNIT_BYTES;
        }
    }
}

static int walk_file(struct walk *w, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        fprintf(stderr, "gfsctl: cannot read %s: %s\n", path, strerrordesc_np(errno));
        if (fd >= 0) {
            close(fd);
        }
        return 1;
    }
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

/* Segments are named by their first index in fixed width: their order is that of their names. */
static int oplog_print(const char *dir)
{
    char log_dir[4096], path[8192];
    struct dirent **entries;
    snprintf(log_dir, sizeof(log_dir), "%s/log", dir);
    int count = scandir(log_dir, &entries, NULL, alphasort);
    if (count < 0) {
        snprintf(log_dir, sizeof(log_dir), "%s", dir);
        count = scandir(log_dir, &entries, NULL, alphasort);
    }
    if (count < 0) {
        fprintf(stderr, "gfsctl: cannot read directory %s: %s\n", log_dir, strerrordesc_np(errno));
        return 1;
    }
    struct walk w = {.line = mem_alloc(LINE_BYTES)};
    int code = 0;
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", log_dir, entries[i]->d_name);
            code |= walk_file(&w, path);
        }
        free(entries[i]);
    }
    free(entries);
    mem_free(w.line);
    return code;
}

int cmd_oplog(struct call *c)
{
    return c->argc == 1 ? oplog_print(c->argv[0]) : EXIT_USAGE;
}
