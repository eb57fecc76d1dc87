/* dir_env.c - files of a real directory for unit tests. */
#include "tests/unit/dir_env.h"
#include "shared/base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct env_file {
    int fd;
};

static struct dir_env *self(struct env *e)
{
    return container_of(e, struct dir_env, env);
}

static int64_t or_errno(int64_t rc)
{
    return rc < 0 ? -errno : rc;
}

static const char *absolute(struct env *e, const char *path, char out[512])
{
    snprintf(out, 512, "%s/%s", self(e)->root, path);
    return out;
}

const char *dir_env_path(struct dir_env *d, const char *path)
{
    static char out[4][512];
    static unsigned turn;
    return absolute(&d->env, path, out[turn++ % 4]);
}

static uint64_t mono_ns(struct env *e)
{
    return self(e)->now_ns;
}

static int64_t wall_ns(struct env *e)
{
    return (int64_t)self(e)->now_ns;
}

static uint64_t rand64(struct env *e)
{
    uint64_t z = self(e)->seed += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void timer_set(struct env *e, struct env_timer *t, uint64_t after_ns)
{
    timer_heap_set(&self(e)->timers, t, self(e)->now_ns + after_ns);
}

static void timer_stop(struct env *e, struct env_timer *t)
{
    timer_heap_stop(&self(e)->timers, t);
}

static int file_open(struct env *e, const char *path, unsigned flags, struct env_file **out)
{
    char full[512];
    int mode = flags & ENV_OPEN_READ_ONLY ? O_RDONLY : O_RDWR;
    mode |= (flags & ENV_OPEN_CREATE ? O_CREAT : 0) | (flags & ENV_OPEN_EXCL ? O_EXCL : 0);
    int fd = open(absolute(e, path, full), mode | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    *out = mem_new(struct env_file);
    (*out)->fd = fd;
    return 0;
}

static void file_close(struct env *e, struct env_file *f)
{
    (void)e;
    close(f->fd);
    mem_free(f);
}

static int64_t file_size(struct env *e, struct env_file *f)
{
    (void)e;
    struct stat st;
    return fstat(f->fd, &st) < 0 ? -errno : st.st_size;
}

static bool readable(const struct env_file *f, uint64_t off, uint32_t len)
{
    char begin[sizeof(DIR_ENV_UNREADABLE)];
    for (uint64_t at = off - off % DIR_ENV_PAGE; at < off + len; at += DIR_ENV_PAGE) {
        if (pread(f->fd, begin, sizeof(begin), (off_t)at) == (ssize_t)sizeof(begin) &&
            memcmp(begin, DIR_ENV_UNREADABLE, sizeof(begin)) == 0) {
            return false;
        }
    }
    return true;
}

static int64_t file_read(struct env *e, struct env_file *f, uint64_t off, void *data, uint32_t len)
{
    (void)e;
    if (!readable(f, off, len)) {
        return -EIO;
    }
    return or_errno(pread(f->fd, data, len, (off_t)off));
}

static int64_t file_write(struct env *e, struct env_file *f, uint64_t off, const void *data,
                          uint32_t len)
{
    (void)e;
    return or_errno(pwrite(f->fd, data, len, (off_t)off));
}

static int file_sync(struct env *e, struct env_file *f)
{
    (void)e;
    (void)f; /* nothing here survives the test */
    return 0;
}

static int file_truncate(struct env *e, struct env_file *f, uint64_t size)
{
    (void)e;
    return (int)or_errno(ftruncate(f->fd, (off_t)size));
}

static int make_dir(struct env *e, const char *path)
{
    char full[512];
    int rc = mkdir(absolute(e, path, full), 0700);
    return rc < 0 && errno != EEXIST ? -errno : 0;
}

static int rename_file(struct env *e, const char *from, const char *to)
{
    char a[512], b[512];
    return (int)or_errno(rename(absolute(e, from, a), absolute(e, to, b)));
}

static int unlink_file(struct env *e, const char *path)
{
    char full[512];
    return (int)or_errno(unlink(absolute(e, path, full)));
}

static int sync_dir(struct env *e, const char *path)
{
    char full[512];
    return (int)or_errno(access(absolute(e, path, full), F_OK));
}

static int list_dir(struct env *e, const char *path, void (*each)(void *owner, const char *name),
                    void *owner)
{
    char full[512];
    struct dirent **names;
    int n = scandir(absolute(e, path, full), &names, NULL, alphasort);
    if (n < 0) {
        return -errno;
    }
    for (int i = 0; i < n; i++) {
        if (strcmp(names[i]->d_name, ".") != 0 && strcmp(names[i]->d_name, "..") != 0) {
            each(owner, names[i]->d_name);
        }
        free(names[i]);
    }
    free(names);
    return 0;
}

static int space(struct env *e, uint64_t *out_total, uint64_t *out_free)
{
    struct dir_env *d = self(e);
    struct statvfs st;
    if (d->disk_total == 0 && statvfs(d->root, &st) < 0) {
        return -errno;
    }
    *out_total = d->disk_total ? d->disk_total : st.f_blocks * st.f_frsize;
    *out_free = d->disk_total ? d->disk_free : st.f_bavail * st.f_frsize;
    return 0;
}

static int allocate(struct env *e, const char *path, uint64_t off, uint64_t bytes)
{
    struct dir_env *d = self(e);
    char full[512];
    if (d->allocate_error != 0) {
        return d->allocate_error;
    }
    if (d->allocate_end != 0 && off + bytes > d->allocate_end) {
        return -ENOSPC;
    }
    int fd = open(absolute(e, path, full), O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int rc = (int)or_errno(fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)bytes));
    close(fd);
    return rc;
}

static int64_t execute(struct env *e, struct disk_op *op)
{
    char a[512], b[512];
    int64_t rc;
    switch (op->kind) {
    case DISK_READ:
        return file_read(e, op->file, op->off, op->data, op->len);
    case DISK_WRITE:
        rc = file_write(e, op->file, op->off, op->data, op->len);
        if (rc >= 0 && op->len2 > 0) {
            rc = file_write(e, op->file, op->off2, op->data2, op->len2);
        }
        return rc < 0 ? rc : 0;
    case DISK_SYNC:
        return 0;
    case DISK_TRUNCATE:
        return file_truncate(e, op->file, op->off);
    case DISK_PUNCH:
        return or_errno(fallocate(op->file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                  (off_t)op->off, (off_t)op->off2));
    case DISK_RESERVE:
        return or_errno(
            fallocate(op->file->fd, FALLOC_FL_KEEP_SIZE, (off_t)op->off, (off_t)op->off2));
    case DISK_SEEK:
        return or_errno(lseek(op->file->fd, (off_t)op->off, (int)op->len));
    case DISK_UNLINK:
        return or_errno(unlink(absolute(e, op->path, a)));
    case DISK_RENAME:
        return or_errno(rename(absolute(e, op->path, a), absolute(e, op->path2, b)));
    case DISK_SYNC_DIR:
    case DISK_IMPORT:
        return or_errno(access(absolute(e, op->path, a), F_OK));
    case DISK_ALLOCATE:
        return allocate(e, op->path, op->off, op->off2);
    }
    UNREACHABLE();
}

static void disk_submit(struct env *e, struct disk_op *op)
{
    struct dir_env *d = self(e);
    op->impl_next = NULL;
    if (d->last != NULL) {
        d->last->impl_next = op;
    } else {
        d->first = op;
    }
    d->last = op;
}

static void work_submit(struct env *e, struct env_work *w)
{
    struct dir_env *d = self(e);
    ASSERT(d->work_count < COUNT_OF(d->works));
    d->works[d->work_count++] = w;
}

static void incarnation(struct env *e, uint8_t out[16])
{
    memset(out, 0, 16);
    out[0] = self(e)->boot;
}

static const char *real_path(struct env *e, const char *path, char *out, uint32_t size)
{
    snprintf(out, size, "%s/%s", self(e)->root, path);
    return out;
}

static void PRINTF_LIKE(3, 0)
    log_line(struct env *e, enum log_level level, const char *format, va_list ap)
{
    (void)e;
    if (getenv("GFS_TEST_LOG") != NULL) {
        fprintf(stderr, "log %d: ", (int)level);
        vfprintf(stderr, format, ap);
        fputc('\n', stderr);
    }
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

/* The test ends here: it cannot clean up. */
static void end(struct env *e)
{
    (void)e;
}

static void __attribute__((noreturn)) die(struct env *e, const char *reason)
{
    if (self(e)->on_die != NULL) {
        self(e)->on_die(self(e), reason);
    }
    fprintf(stderr, "died: %s\n", reason);
    nftw(self(e)->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    abort();
}

static const struct env_ops ops = {
    .mono_ns = mono_ns,
    .wall_ns = wall_ns,
    .rand64 = rand64,
    .timer_set = timer_set,
    .timer_stop = timer_stop,
    .file_open = file_open,
    .file_close = file_close,
    .file_size = file_size,
    .file_read = file_read,
    .file_write = file_write,
    .file_sync = file_sync,
    .file_truncate = file_truncate,
    .make_dir = make_dir,
    .rename = rename_file,
    .unlink = unlink_file,
    .sync_dir = sync_dir,
    .list_dir = list_dir,
    .space = space,
    .allocate = allocate,
    .disk_submit = disk_submit,
    .work_submit = work_submit,
    .incarnation = incarnation,
    .real_path = real_path,
    .log = log_line,
    .end = end,
    .die = die,
};

struct dir_env *dir_env_new(void)
{
    struct dir_env *d = mem_new(struct dir_env);
    const char *tmp = getenv("TMPDIR");
    d->env.ops = &ops;
    d->boot = 1;
    d->seed = 1;
    timer_heap_init(&d->timers);
    snprintf(d->root, sizeof(d->root), "%s/gfs-unit-XXXXXX", tmp != NULL ? tmp : "/tmp");
    ASSERT(mkdtemp(d->root) != NULL);
    return d;
}

void dir_env_free(struct dir_env *d)
{
    dir_env_forget(d);
    timer_heap_close(&d->timers);
    nftw(d->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    mem_free(d);
}

static bool step_disk(struct dir_env *d)
{
    struct disk_op *op = d->first;
    if (op == NULL) {
        return false;
    }
    d->first = op->impl_next;
    if (d->first == NULL) {
        d->last = NULL;
    }
    op->result = ++d->ops_done == d->fail_at ? d->fail_error : execute(&d->env, op);
    op->done(op);
    return true;
}

bool dir_env_step(struct dir_env *d)
{
    if (step_disk(d)) {
        return true;
    }
    if (d->work_count == 0) {
        return false;
    }
    struct env_work *w = d->works[0];
    d->work_count--;
    memmove(&d->works[0], &d->works[1], d->work_count * sizeof(struct env_work *));
    w->run(w);
    w->done(w);
    return true;
}

static bool step_timer(struct dir_env *d)
{
    struct env_timer *t = timer_heap_first(&d->timers);
    if (t == NULL || t->at_ns > d->now_ns) {
        return false;
    }
    timer_heap_stop(&d->timers, t);
    t->fire(t);
    return true;
}

void dir_env_pump(struct dir_env *d)
{
    while (dir_env_step(d) || step_timer(d)) {
    }
}

void dir_env_advance(struct dir_env *d, uint64_t ns)
{
    uint64_t until = d->now_ns + ns;
    dir_env_pump(d);
    for (;;) {
        struct env_timer *t = timer_heap_first(&d->timers);
        if (t == NULL || t->at_ns > until) {
            break;
        }
        d->now_ns = t->at_ns;
        dir_env_pump(d);
    }
    d->now_ns = until;
}

void dir_env_forget(struct dir_env *d)
{
    d->first = d->last = NULL;
    d->work_count = 0;
    for (struct env_timer *t; (t = timer_heap_first(&d->timers)) != NULL;) {
        timer_heap_stop(&d->timers, t);
    }
}
