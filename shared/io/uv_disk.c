/* uv_disk.c - the process's directory: files at once and asynchronously, its lock, its incarnation.
 *
 * Reads that the page cache can answer and small unsynced writes are done on the loop (a thread hop
 * costs more than the copy) and reported at the end of the turn; everything that may wait for a
 * device goes to the pool. Every path is resolved below the directory's descriptor.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "shared/base/hash.h"
#include "shared/base/mem.h"
#include "shared/io/uv_internal.h"

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000u
#endif

struct env_file {
    struct list link; /* env->files */
    int fd;
    bool scan; /* what its reads bring into the page cache leaves it again */
};

/* A mapping, to be undone at the end. */
struct ring_map {
    struct ring_map *next;
    void *at;
    size_t size;
};

/* ---------------------------------------------------------------- the directory */

int disk_init(struct uv_env *e, const struct uv_env_config *cfg, struct why *why)
{
    if (cfg->boot_override != NULL) {
        strncpy(e->boot_override, cfg->boot_override, sizeof(e->boot_override) - 1);
    }
    if (cfg->dir == NULL) {
        return 0;
    }
    e->dir_fd = open(cfg->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (e->dir_fd < 0) {
        return why_set(why, -errno, "cannot open directory %s: %s", cfg->dir,
                       strerrordesc_np(errno));
    }
    e->dir = realpath(cfg->dir, NULL);
    if (e->dir == NULL) {
        return why_set(why, -errno, "cannot resolve directory %s: %s", cfg->dir,
                       strerrordesc_np(errno));
    }
    struct statfs fs;
    e->memory_files = fstatfs(e->dir_fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
    return 0;
}

void disk_close(struct uv_env *e)
{
    while (!list_empty(&e->files)) { /* a core that is destroyed leaves its files to us */
        uv_op_file_close(&e->base, list_entry(e->files.next, struct env_file, link));
    }
    for (struct ring_map *r = e->rings, *next; r != NULL; r = next) {
        next = r->next;
        munmap(r->at, r->size);
        mem_free(r);
    }
    if (e->lock_fd >= 0) {
        close(e->lock_fd);
    }
    if (e->dir_fd >= 0) {
        close(e->dir_fd);
    }
    free(e->dir);
}

/* What a call failed with. */
static int failure(void)
{
    return errno == EDQUOT ? -ENOSPC : -errno;
}

/* Paths come from our own cores, never from a peer. */
static const char *checked(const char *path)
{
    ASSERT(path[0] != '/' && strstr(path, "..") == NULL);
    return path[0] == 0 ? "." : path;
}

int uv_op_lock_dir(struct env *env)
{
    struct uv_env *e = ENV_OF(env);
    int fd = openat(e->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return -errno;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int err = errno == EWOULDBLOCK ? -EBUSY : -errno;
        close(fd);
        return err;
    }
    e->lock_fd = fd;
    return 0;
}

static void read_boot_id(const struct uv_env *e, char out[64])
{
    memset(out, 0, 64);
    if (e->boot_override[0] != 0) {
        memcpy(out, e->boot_override, 64);
        return;
    }
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, 63) : -1;
    if (fd >= 0) {
        close(fd);
    }
    if (n <= 0) {
        /* Without a boot id no restart may count as the same incarnation. */
        snprintf(out, 64, "%d.%llu", getpid(), (unsigned long long)uv_mono_ns());
    }
}

/* Boot, mount and device decide: a remount or a reboot may have lost what was not synced. */
void uv_op_incarnation(struct env *env, uint8_t out[16])
{
    struct uv_env *e = ENV_OF(env);
    struct {
        char boot[64];
        uint64_t mount;
        uint64_t major, minor;
    } id = {0};
    struct statx sx = {0};
    read_boot_id(e, id.boot);
    if (statx(e->dir_fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID | STATX_MNT_ID_UNIQUE,
              &sx) == 0) {
        id.mount = sx.stx_mnt_id;
        id.major = sx.stx_dev_major;
        id.minor = sx.stx_dev_minor;
    }
    uint64_t h[2] = {hash64_seed(&id, sizeof(id), 1), hash64_seed(&id, sizeof(id), 2)};
    memcpy(out, h, 16);
}

const char *uv_op_real_path(struct env *env, const char *path, char *out, uint32_t size)
{
    int n = snprintf(out, size, "%s%s%s", ENV_OF(env)->dir, path[0] != 0 ? "/" : "", path);
    ASSERT(n >= 0 && (uint32_t)n < size);
    return out;
}

int uv_op_space(struct env *env, uint64_t *out_total, uint64_t *out_free)
{
    struct statvfs s;
    if (fstatvfs(ENV_OF(env)->dir_fd, &s) != 0) {
        return -errno;
    }
    *out_total = (uint64_t)s.f_blocks * s.f_frsize;
    *out_free = (uint64_t)s.f_bavail * s.f_frsize;
    return 0;
}

/* ---------------------------------------------------------------- files at once */

int uv_op_file_open(struct env *env, const char *path, unsigned flags, struct env_file **out)
{
    int f = O_CLOEXEC | (flags & ENV_OPEN_READ_ONLY ? O_RDONLY : O_RDWR) |
            (flags & ENV_OPEN_CREATE ? O_CREAT : 0) | (flags & ENV_OPEN_EXCL ? O_EXCL : 0);
    int fd = openat(ENV_OF(env)->dir_fd, checked(path), f, 0644);
    if (fd < 0) {
        return failure();
    }
    struct env_file *file = mem_new(struct env_file);
    file->fd = fd;
    file->scan = (flags & ENV_OPEN_SCAN) != 0;
    if (file->scan) {
        /* Nothing is read ahead: what a read finds cached was there before. */
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    }
    list_push_back(&ENV_OF(env)->files, &file->link);
    *out = file;
    return 0;
}

void uv_op_file_close(struct env *env, struct env_file *f)
{
    (void)env;
    list_remove(&f->link);
    close(f->fd);
    mem_free(f);
}

int64_t uv_op_file_size(struct env *env, struct env_file *f)
{
    (void)env;
    struct stat st;
    return fstat(f->fd, &st) == 0 ? (int64_t)st.st_size : -errno;
}

static int64_t read_all(int fd, uint64_t off, void *data, uint32_t len)
{
    uint32_t got = 0;
    while (got < len) {
        ssize_t n = pread(fd, (char *)data + got, len - got, (off_t)(off + got));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return -errno;
        }
        if (n == 0) {
            break;
        }
        got += (uint32_t)n;
    }
    return got;
}

static int write_all(int fd, uint64_t off, const void *data, uint32_t len)
{
    uint32_t put = 0;
    while (put < len) {
        ssize_t n = pwrite(fd, (const char *)data + put, len - put, (off_t)(off + put));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? failure() : -EIO;
        }
        put += (uint32_t)n;
    }
    return 0;
}

static int result_of(int n)
{
    return n == 0 ? 0 : failure();
}

int64_t uv_op_file_read(struct env *env, struct env_file *f, uint64_t off, void *data, uint32_t len)
{
    (void)env;
    return read_all(f->fd, off, data, len);
}

int64_t uv_op_file_write(struct env *env, struct env_file *f, uint64_t off, const void *data,
                         uint32_t len)
{
    (void)env;
    int err = write_all(f->fd, off, data, len);
    return err == 0 ? (int64_t)len : err;
}

int uv_op_file_sync(struct env *env, struct env_file *f)
{
    (void)env;
    return result_of(fdatasync(f->fd));
}

int uv_op_file_truncate(struct env *env, struct env_file *f, uint64_t size)
{
    (void)env;
    return result_of(ftruncate(f->fd, (off_t)size));
}

int uv_op_make_dir(struct env *env, const char *path)
{
    int n = mkdirat(ENV_OF(env)->dir_fd, checked(path), 0755);
    return n == 0 || errno == EEXIST ? 0 : failure();
}

int uv_op_rename(struct env *env, const char *from, const char *to)
{
    int dir = ENV_OF(env)->dir_fd;
    return result_of(renameat(dir, checked(from), dir, checked(to)));
}

int uv_op_unlink(struct env *env, const char *path)
{
    return result_of(unlinkat(ENV_OF(env)->dir_fd, checked(path), 0));
}

/* fsync of what `path` names, opened for the purpose. */
static int sync_path(struct uv_env *e, const char *path, int flags)
{
    int fd = openat(e->dir_fd, checked(path), O_RDONLY | O_CLOEXEC | flags);
    if (fd < 0) {
        return -errno;
    }
    int err = result_of(fsync(fd));
    close(fd);
    return err;
}

int uv_op_sync_dir(struct env *env, const char *path)
{
    return sync_path(ENV_OF(env), path, O_DIRECTORY);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int uv_op_list_dir(struct env *env, const char *path, void (*each)(void *owner, const char *name),
                   void *owner)
{
    int fd = openat(ENV_OF(env)->dir_fd, checked(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (d == NULL) {
        int err = -errno;
        if (fd >= 0) {
            close(fd);
        }
        return err;
    }
    char **names = NULL;
    size_t count = 0, cap = 0;
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(d)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (count == cap) {
            cap = cap ? cap * 2 : 64;
            names = mem_resize(names, cap * sizeof(*names));
        }
        names[count++] = mem_dup(entry->d_name, strlen(entry->d_name));
    }
    int err = -errno;
    closedir(d);
    if (count > 1) {
        qsort(names, count, sizeof(*names), by_name);
    }
    for (size_t i = 0; i < count; i++) {
        if (err == 0) {
            each(owner, names[i]);
        }
        mem_free(names[i]);
    }
    mem_free(names);
    return err;
}

/* The size stays: a library that appends finds its space beyond the end. */
static int allocate_path(struct uv_env *e, const char *path, uint64_t off, uint64_t bytes)
{
    int fd = openat(e->dir_fd, checked(path), O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int err = result_of(fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)bytes));
    close(fd);
    return err;
}

int uv_op_allocate(struct env *env, const char *path, uint64_t off, uint64_t bytes)
{
    return allocate_path(ENV_OF(env), path, off, bytes);
}

/* The space is taken at once: a full disk must not show as a bus error at a store into the map. */
void *uv_op_map_ring(struct env *env, const char *path, uint32_t size)
{
    struct uv_env *e = ENV_OF(env);
    int fd = openat(e->dir_fd, checked(path), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        env_log(env, LOG_ERROR, "cannot open %s/%s: %s", e->dir, path, strerrordesc_np(errno));
        return NULL;
    }
    void *at = MAP_FAILED;
    int err = posix_fallocate(fd, 0, size);
    if (err == 0) {
        at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        err = errno;
    }
    close(fd);
    if (at == MAP_FAILED) {
        env_log(env, LOG_ERROR, "cannot map %s/%s: %s", e->dir, path, strerrordesc_np(err));
        return NULL;
    }
    struct ring_map *r = mem_new(struct ring_map);
    *r = (struct ring_map){e->rings, at, size};
    e->rings = r;
    return at;
}

/* ---------------------------------------------------------------- files while serving */

static int run_write(struct disk_op *op)
{
    int fd = op->file->fd;
    int err = write_all(fd, op->off, op->data, op->len);
    if (err == 0 && op->len2 > 0) {
        err = write_all(fd, op->off2, op->data2, op->len2);
    }
    if (err == 0 && op->sync) {
        err = result_of(fdatasync(fd));
    }
    return err;
}

static int64_t bytes_allocated(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? (int64_t)st.st_blocks * 512 : -errno;
}

static int64_t run_allocate(struct disk_op *op)
{
    int fd = op->file->fd;
    int64_t before = bytes_allocated(fd);
    int n;
    do {
        n = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)op->off, (off_t)op->off2);
    } while (n != 0 && errno == EINTR);
    if (n != 0) {
        return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : failure();
    }
    int64_t after = bytes_allocated(fd);
    return before < 0 || after < before ? 0 : after - before;
}

static int64_t run_seek(struct disk_op *op)
{
    off_t at = lseek(op->file->fd, (off_t)op->off, (int)op->len);
    return at < 0 ? -errno : (int64_t)at;
}

void disk_run(struct uv_env *e, struct disk_op *op)
{
    switch (op->kind) {
    case DISK_READ:
        op->result = read_all(op->file->fd, op->off, op->data, op->len);
        if (op->file->scan) { /* it was not cached: else no thread would have come here */
            (void)posix_fadvise(op->file->fd, (off_t)op->off, (off_t)op->len, POSIX_FADV_DONTNEED);
        }
        return;
    case DISK_WRITE:
        op->result = run_write(op);
        return;
    case DISK_SYNC:
        op->result = result_of(fdatasync(op->file->fd));
        return;
    case DISK_TRUNCATE:
        op->result = result_of(ftruncate(op->file->fd, (off_t)op->off));
        return;
    case DISK_PUNCH:
        op->result = result_of(fallocate(op->file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                         (off_t)op->off, (off_t)op->off2));
        return;
    case DISK_RESERVE:
        op->result = run_allocate(op);
        return;
    case DISK_SEEK:
        op->result = run_seek(op);
        return;
    case DISK_UNLINK:
        op->result = result_of(unlinkat(e->dir_fd, checked(op->path), 0));
        return;
    case DISK_RENAME:
        op->result =
            result_of(renameat(e->dir_fd, checked(op->path), e->dir_fd, checked(op->path2)));
        return;
    case DISK_SYNC_DIR:
        op->result = sync_path(e, op->path, O_DIRECTORY);
        return;
    case DISK_IMPORT:
        op->result = sync_path(e, op->path, 0);
        return;
    case DISK_ALLOCATE:
        op->result = allocate_path(e, op->path, op->off, op->off2);
        return;
    }
    UNREACHABLE();
}

/* Reads without waiting for a device. False: it would have to wait. */
static bool read_cached(struct uv_env *e, struct disk_op *op)
{
    if (e->memory_files) {
        op->result = read_all(op->file->fd, op->off, op->data, op->len);
        return true;
    }
    uint32_t got = 0;
    while (got < op->len) {
        struct iovec iov = {(char *)op->data + got, op->len - got};
        ssize_t n = preadv2(op->file->fd, &iov, 1, (off_t)(op->off + got), RWF_NOWAIT);
        if (n < 0) {
            return false; /* not cached, or an error: a thread will see it again */
        }
        if (n == 0) {
            break;
        }
        got += (uint32_t)n;
    }
    op->result = got;
    return true;
}

static bool run_inline(struct uv_env *e, struct disk_op *op)
{
    if (op->kind == DISK_READ) {
        return read_cached(e, op);
    }
    bool small = (uint64_t)op->len + op->len2 <= INLINE_WRITE_MAX;
    bool waits = op->kind == DISK_SYNC || op->kind == DISK_SYNC_DIR || op->sync;
    bool names = op->kind == DISK_UNLINK || op->kind == DISK_RENAME;
    if ((op->kind == DISK_WRITE && small && !waits) ||
        (e->memory_files && (op->kind == DISK_WRITE || waits || names))) {
        disk_run(e, op);
        return true;
    }
    return false;
}

void uv_op_disk_submit(struct env *env, struct disk_op *op)
{
    struct uv_env *e = ENV_OF(env);
    struct job j = {.op = op};
    e->jobs++;
    if (run_inline(e, op)) {
        job_push(&e->ready, j);
    } else {
        pool_submit(e, j);
    }
}
