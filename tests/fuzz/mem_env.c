/* mem_env.c - files in memory for fuzz targets. */
#include "tests/fuzz/mem_env.h"
#include "shared/base/bytes.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct env_file {
    struct mem_file *file;
};

static struct mem_env *self(struct env *e)
{
    return container_of(e, struct mem_env, env);
}

struct mem_file *mem_env_find(struct mem_env *m, const char *path)
{
    for (uint32_t i = 0; i < MEM_FILES_MAX; i++) {
        if (m->files[i].path[0] != '\0' && strcmp(m->files[i].path, path) == 0) {
            return &m->files[i];
        }
    }
    return NULL;
}

static struct mem_file *make_file(struct mem_env *m, const char *path)
{
    for (uint32_t i = 0; i < MEM_FILES_MAX; i++) {
        struct mem_file *f = &m->files[i];
        if (f->path[0] == '\0' && f->opens == 0) {
            ASSERT(strlen(path) < sizeof(f->path));
            strcpy(f->path, path);
            f->size = 0;
            return f;
        }
    }
    UNREACHABLE();
}

static void resize(struct mem_file *f, uint64_t size)
{
    if (size > f->cap) {
        f->cap = size;
        f->data = mem_resize(f->data, size);
    }
    if (size > f->size) {
        memset(f->data + f->size, 0, size - f->size);
    }
    f->size = size;
}

/* ---------------------------------------------------------------- env */

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
    return self(e)->seed += 0x9e3779b97f4a7c15ull;
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
    struct mem_file *f = mem_env_find(self(e), path);
    if (f == NULL && !(flags & ENV_OPEN_CREATE)) {
        return -ENOENT;
    }
    if (f != NULL && (flags & ENV_OPEN_EXCL)) {
        return -EEXIST;
    }
    f = f == NULL ? make_file(self(e), path) : f;
    f->opens++;
    *out = mem_new(struct env_file);
    (*out)->file = f;
    return 0;
}

static void file_close(struct env *e, struct env_file *f)
{
    (void)e;
    ASSERT(f->file->opens > 0);
    f->file->opens--;
    mem_free(f);
}

static int64_t file_size(struct env *e, struct env_file *f)
{
    (void)e;
    return (int64_t)f->file->size;
}

static int64_t file_read(struct env *e, struct env_file *f, uint64_t off, void *data, uint32_t len)
{
    (void)e;
    const struct mem_file *file = f->file;
    uint32_t n = off >= file->size ? 0 : (uint32_t)MIN(file->size - off, (uint64_t)len);
    if (n > 0) {
        memcpy(data, file->data + off, n);
    }
    return n;
}

static int64_t file_write(struct env *e, struct env_file *f, uint64_t off, const void *data,
                          uint32_t len)
{
    (void)e;
    resize(f->file, MAX(f->file->size, off + len));
    if (len > 0) {
        memcpy(f->file->data + off, data, len);
    }
    return len;
}

static int file_sync(struct env *e, struct env_file *f)
{
    (void)e;
    (void)f;
    return 0;
}

static int file_truncate(struct env *e, struct env_file *f, uint64_t size)
{
    (void)e;
    resize(f->file, size);
    return 0;
}

static int sync_dir(struct env *e, const char *path)
{
    (void)e;
    (void)path;
    return 0;
}

static int unlink_file(struct env *e, const char *path)
{
    struct mem_file *f = mem_env_find(self(e), path);
    if (f == NULL) {
        return -ENOENT;
    }
    f->path[0] = '\0';
    return 0;
}

static int rename_file(struct env *e, const char *from, const char *to)
{
    struct mem_file *f = mem_env_find(self(e), from);
    if (f == NULL) {
        return -ENOENT;
    }
    (void)unlink_file(e, to);
    ASSERT(strlen(to) < sizeof(f->path));
    strcpy(f->path, to);
    return 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int list_dir(struct env *e, const char *path, void (*each)(void *owner, const char *name),
                    void *owner)
{
    char names[MEM_FILES_MAX][MEM_PATH_BYTES];
    size_t prefix = strlen(path);
    uint32_t count = 0;
    for (uint32_t i = 0; i < MEM_FILES_MAX; i++) {
        const char *p = self(e)->files[i].path;
        if (strncmp(p, path, prefix) == 0 && p[prefix] == '/') {
            strcpy(names[count++], p + prefix + 1);
        }
    }
    qsort(names, count, sizeof(names[0]), by_name);
    for (uint32_t i = 0; i < count; i++) {
        each(owner, names[i]);
    }
    return 0;
}

static int space(struct env *e, uint64_t *out_total, uint64_t *out_free)
{
    (void)e;
    *out_total = *out_free = 1ull << 40;
    return 0;
}

static void disk_submit(struct env *e, struct disk_op *op)
{
    struct mem_env *m = self(e);
    op->impl_next = NULL;
    if (m->last != NULL) {
        m->last->impl_next = op;
    } else {
        m->first = op;
    }
    m->last = op;
}

static void incarnation(struct env *e, uint8_t out[16])
{
    memset(out, 0, 16);
    out[0] = self(e)->boot;
}

static void PRINTF_LIKE(3, 0)
    log_line(struct env *e, enum log_level level, const char *format, va_list ap)
{
    char line[1024];
    (void)e;
    (void)level;
    ASSERT(vsnprintf(line, sizeof(line), format, ap) > 0);
}

static void end(struct env *e)
{
    (void)e;
}

static void __attribute__((noreturn)) die(struct env *e, const char *reason)
{
    (void)e;
    fprintf(stderr, "died: %s\n", reason);
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
    .make_dir = sync_dir,
    .rename = rename_file,
    .unlink = unlink_file,
    .sync_dir = sync_dir,
    .list_dir = list_dir,
    .space = space,
    .disk_submit = disk_submit,
    .incarnation = incarnation,
    .log = log_line,
    .end = end,
    .die = die,
};

static int64_t execute(struct env *e, struct disk_op *op)
{
    switch (op->kind) {
    case DISK_READ:
        return file_read(e, op->file, op->off, op->data, op->len);
    case DISK_WRITE:
        file_write(e, op->file, op->off, op->data, op->len);
        if (op->len2 > 0) {
            file_write(e, op->file, op->off2, op->data2, op->len2);
        }
        return 0;
    case DISK_TRUNCATE:
        return file_truncate(e, op->file, op->off);
    case DISK_UNLINK:
        return unlink_file(e, op->path);
    case DISK_RENAME:
        return rename_file(e, op->path, op->path2);
    case DISK_SYNC:
    case DISK_SYNC_DIR:
        return 0;
    case DISK_PUNCH:
    case DISK_RESERVE:
    case DISK_SEEK:
    case DISK_IMPORT:
    case DISK_ALLOCATE:
        break; /* no log does these */
    }
    UNREACHABLE();
}

/* ---------------------------------------------------------------- world */

void mem_env_init(struct mem_env *m)
{
    *m = (struct mem_env){.env.ops = &ops, .seed = 1, .boot = 1};
    timer_heap_init(&m->timers);
}

void mem_env_close(struct mem_env *m)
{
    mem_env_forget(m);
    timer_heap_close(&m->timers);
    for (uint32_t i = 0; i < MEM_FILES_MAX; i++) {
        ASSERT(m->files[i].opens == 0);
        mem_free(m->files[i].data);
    }
}

void mem_env_copy(struct mem_env *to, const struct mem_env *from)
{
    for (uint32_t i = 0; i < MEM_FILES_MAX; i++) {
        struct mem_file *f = &to->files[i];
        ASSERT(f->opens == 0);
        memcpy(f->path, from->files[i].path, sizeof(f->path));
        f->size = 0;
        resize(f, from->files[i].size);
        if (f->size > 0) {
            memcpy(f->data, from->files[i].data, f->size);
        }
    }
    to->now_ns = from->now_ns;
    to->seed = from->seed;
    to->boot = from->boot;
}

void mem_env_pump(struct mem_env *m)
{
    for (;;) {
        struct env_timer *t = timer_heap_first(&m->timers);
        struct disk_op *op = m->first;
        if (op != NULL) {
            m->first = op->impl_next;
            m->last = m->first == NULL ? NULL : m->last;
            op->result = execute(&m->env, op);
            op->done(op);
        } else if (t != NULL && t->at_ns <= m->now_ns) {
            timer_heap_stop(&m->timers, t);
            t->fire(t);
        } else {
            return;
        }
    }
}

void mem_env_advance(struct mem_env *m, uint64_t ns)
{
    uint64_t until = m->now_ns + ns;
    mem_env_pump(m);
    for (struct env_timer *t; (t = timer_heap_first(&m->timers)) != NULL && t->at_ns <= until;) {
        m->now_ns = t->at_ns;
        mem_env_pump(m);
    }
    m->now_ns = until;
}

void mem_env_forget(struct mem_env *m)
{
    m->first = m->last = NULL;
    for (struct env_timer *t; (t = timer_heap_first(&m->timers)) != NULL;) {
        timer_heap_stop(&m->timers, t);
    }
}

/* ---------------------------------------------------------------- damage */

/* The file number n % count of those that are there; NULL = there are none. */
static struct mem_file *pick(struct mem_env *m, uint32_t n)
{
    struct mem_file *there[MEM_FILES_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < MEM_FILES_MAX; i++) {
        if (m->files[i].path[0] != '\0') {
            there[count++] = &m->files[i];
        }
    }
    return count > 0 ? there[n % count] : NULL;
}

uint32_t mem_env_damage(struct mem_env *m, struct bytes in,
                        void (*seal)(struct mem_file *f, uint64_t offset))
{
    uint32_t sealed = 0;
    while (in.len >= MEM_EDIT_HEADER_BYTES) {
        uint8_t flags = in.data[0];
        uint64_t off = get_le(in.data + 1, 3);
        uint32_t count = MIN((uint32_t)in.data[4], in.len - MEM_EDIT_HEADER_BYTES);
        struct mem_file *f = pick(m, flags & 0x1f);
        in = bytes_of(in.data + MEM_EDIT_HEADER_BYTES, in.len - MEM_EDIT_HEADER_BYTES);
        if (f == NULL) {
            break;
        }
        off = f->size > 0 ? off % f->size : 0;
        uint32_t fit = (uint32_t)MIN((uint64_t)count, f->size - off);
        if (fit > 0) {
            memcpy(f->data + off, in.data, fit);
        }
        in = bytes_of(in.data + count, in.len - count);
        if (flags & MEM_SEAL) {
            seal(f, off);
            sealed++;
        }
        if (flags & MEM_CUT) {
            f->size = off;
        }
        if (flags & MEM_REMOVE) {
            f->path[0] = '\0';
        }
    }
    return sealed;
}

size_t mem_edit_encode(uint8_t flags, uint32_t offset, const uint8_t *bytes, uint8_t count,
                       uint8_t *out, size_t cap)
{
    ASSERT(cap >= (size_t)MEM_EDIT_HEADER_BYTES + count);
    out[0] = flags;
    put_le(out + 1, offset, 3);
    out[4] = count;
    memcpy(out + MEM_EDIT_HEADER_BYTES, bytes, count);
    return (size_t)MEM_EDIT_HEADER_BYTES + count;
}
