/* sim_files.c - open files of a simulated process and its asynchronous disk operations. */
#include "tests/sim/sim_files.h"
#include "shared/base/invariant.h"
#include "shared/base/mem.h"

#include <string.h>
#include <unistd.h>

struct env_file {
    struct list link; /* sim_process.files */
    struct sim_process *process;
    struct sim_inode *inode;
    char *path;
    bool read_only;
    uint32_t in_flight;
};

struct op_run {
    struct sim_event event;
    struct list link; /* sim_process.disk_ops */
    struct sim_process *process;
    struct disk_op *op;
};

static struct sim_process *process_of(struct env *e)
{
    return container_of(e, struct sim_process, env);
}

/* ---------------------------------------------------------------- at once */

int sim_file_open(struct env *e, const char *path, unsigned flags, struct env_file **out)
{
    struct sim_process *p = process_of(e);
    struct sim_inode *i;
    int err = sim_process_call(p, path);
    if (err == 0) {
        err = sim_disk_open(p->disk, path, flags, &i);
    }
    if (err != 0) {
        return err;
    }
    struct env_file *f = mem_new(struct env_file);
    f->process = p;
    f->inode = i;
    f->path = mem_dup(path, strlen(path));
    f->read_only = (flags & ENV_OPEN_READ_ONLY) != 0;
    list_push_back(&p->files, &f->link);
    *out = f;
    return 0;
}

void sim_file_close(struct env *e, struct env_file *f)
{
    (void)e;
    ASSERT(f->in_flight == 0);
    list_remove(&f->link);
    sim_inode_drop(f->inode);
    mem_free(f->path);
    mem_free(f);
}

int64_t sim_file_size(struct env *e, struct env_file *f)
{
    (void)e;
    int err = sim_process_call(f->process, f->path);
    return err != 0 ? err : (int64_t)sim_inode_size(f->inode);
}

int64_t sim_file_read(struct env *e, struct env_file *f, uint64_t off, void *data, uint32_t len)
{
    (void)e;
    int err = sim_process_call(f->process, f->path);
    return err != 0 ? err : sim_inode_read(f->inode, off, data, len);
}

int64_t sim_file_write(struct env *e, struct env_file *f, uint64_t off, const void *data,
                       uint32_t len)
{
    (void)e;
    ASSERT(!f->read_only && f->process->alive);
    int err = sim_process_call(f->process, f->path);
    return err != 0 ? err : sim_inode_write(f->inode, off, data, len);
}

int sim_file_sync(struct env *e, struct env_file *f)
{
    (void)e;
    ASSERT(f->process->alive);
    int err = sim_process_call(f->process, f->path);
    if (err != 0) {
        sim_inode_fail_sync(f->inode);
    } else {
        sim_inode_sync(f->inode);
    }
    return err;
}

int sim_file_truncate(struct env *e, struct env_file *f, uint64_t size)
{
    (void)e;
    ASSERT(!f->read_only && f->process->alive);
    int err = sim_process_call(f->process, f->path);
    return err != 0 ? err : sim_inode_truncate(f->inode, size);
}

/* ---------------------------------------------------------------- in time */

static int64_t write_both(const struct disk_op *op)
{
    int64_t n = sim_inode_write(op->file->inode, op->off, op->data, op->len);
    if (n >= 0 && op->len2 > 0) {
        n = sim_inode_write(op->file->inode, op->off2, op->data2, op->len2);
    }
    if (n < 0) {
        return n;
    }
    if (op->sync) {
        sim_inode_sync(op->file->inode);
    }
    return 0;
}

static int64_t perform(struct sim_process *p, const struct disk_op *op)
{
    switch (op->kind) {
    case DISK_READ:
        return sim_inode_read(op->file->inode, op->off, op->data, op->len);
    case DISK_WRITE:
        return write_both(op);
    case DISK_SYNC:
        sim_inode_sync(op->file->inode);
        return 0;
    case DISK_TRUNCATE:
        return sim_inode_truncate(op->file->inode, op->off);
    case DISK_PUNCH:
        sim_inode_punch(op->file->inode, op->off, op->off2);
        return 0;
    case DISK_RESERVE:
        return sim_inode_allocate(op->file->inode, op->off, op->off2);
    case DISK_SEEK:
        return sim_inode_seek(op->file->inode, op->off, op->len == SEEK_HOLE);
    case DISK_UNLINK:
        return sim_disk_unlink(p->disk, op->path);
    case DISK_RENAME:
        return sim_disk_rename(p->disk, op->path, op->path2);
    case DISK_SYNC_DIR:
        return sim_disk_sync_dir(p->disk, op->path);
    case DISK_IMPORT:
        return sim_disk_import(p->disk, op->path);
    case DISK_ALLOCATE:
        return sim_disk_allocate(p->disk, op->path, op->off, op->off2);
    }
    UNREACHABLE();
}

static void tell(struct sim_process *p, const struct disk_op *op, bool completed)
{
    if (op->kind == DISK_WRITE && p->on_write != NULL) {
        p->on_write(p->on_write_owner, p, op->file->path, op, completed);
    }
}

static void finished(struct sim_event *ev)
{
    struct op_run *r = container_of(ev, struct op_run, event);
    struct sim_process *p = r->process;
    struct disk_op *op = r->op;
    if (sim_process_put_off(p, ev)) {
        return;
    }
    list_remove(&r->link);
    mem_free(r);
    if (op->file != NULL) {
        op->file->in_flight--;
    }
    bool fails = (op->kind == DISK_READ || op->kind == DISK_WRITE) &&
                 p->sim->knobs.eio_per_mille > 0 &&
                 sim_chance(&p->sim->disk, p->sim->knobs.eio_per_mille, 1000);
    const char *path = op->file != NULL ? op->file->path : op->path;
    struct sim_inode *inode = op->file != NULL ? op->file->inode : NULL;
    int fault = p->fault == NULL ? 0 : p->fault(p->fault_owner, p, path, op);
    struct sim_trap trap;
    bool sprung = sim_trap_springs(&p->trap, op, path, &trap);
    op->result = fault != 0 ? fault
                 : fails    ? -EIO
                 : sprung   ? sim_trap_perform(&trap, p->disk, inode, op, &p->sim->disk)
                            : perform(p, op);
    if (sprung) {
        trap.sprung(trap.owner, path);
    }
    sim_note(p->sim, 'D' | (uint64_t)p->number << 8 | (uint64_t)op->kind << 32, op->off,
             (uint64_t)op->result);
    tell(p, op, true);
    op->done(op);
}

static bool uses_file(const struct disk_op *op)
{
    return op->kind <= DISK_SEEK;
}

void sim_disk_submit(struct env *e, struct disk_op *op)
{
    struct sim_process *p = process_of(e);
    if (!p->alive) {
        return;
    }
    ASSERT(op->done != NULL);
    struct op_run *r = mem_new(struct op_run);
    r->event.run = finished;
    r->process = p;
    r->op = op;
    if (uses_file(op)) {
        ASSERT(op->file->process == p);
        ASSERT(!op->file->read_only || op->kind == DISK_READ || op->kind == DISK_SEEK ||
               op->kind == DISK_SYNC);
        op->file->in_flight++;
    } else {
        op->file = NULL;
    }
    tell(p, op, false);
    list_push_back(&p->disk_ops, &r->link);
    struct sim *s = p->sim;
    uint64_t took =
        s->knobs.disk_min_ns + sim_below(&s->disk, (s->knobs.disk_max_ns - s->knobs.disk_min_ns) /
                                                       (sim_chance(&s->disk, 1, 4) ? 1 : 8));
    if (p->disk_slow_ns > s->now_ns) {
        took *= p->disk_factor;
    }
    sim_at(s, &r->event, s->now_ns + took);
}

/* A write that was cut: whole pages up to some point, of the first part or of both. */
static void write_part(struct sim_process *p, const struct disk_op *op)
{
    struct disk_op part = *op;
    part.sync = false;
    if (sim_chance(&p->sim->disk, 1, 2)) {
        part.len2 = 0;
        uint64_t end = op->off + sim_below(&p->sim->disk, op->len + 1);
        end -= end % SIM_PAGE_BYTES;
        part.len = end > op->off ? (uint32_t)(end - op->off) : 0;
    }
    (void)write_both(&part);
}

void sim_files_abandon(struct sim_process *p)
{
    list_for_each_safe (it, &p->disk_ops) {
        struct op_run *r = list_entry(it, struct op_run, link);
        uint64_t fate = sim_below(&p->sim->disk, 3);
        if (p->keeps_cache && r->op->kind == DISK_WRITE) {
            struct disk_op unsynced = *r->op;
            unsynced.sync = false;
            (void)write_both(&unsynced);
        } else if (fate == 0 && r->op->kind != DISK_READ) {
            (void)perform(p, r->op);
        } else if (fate == 1 && r->op->kind == DISK_WRITE) {
            write_part(p, r->op);
        }
        if (r->op->file != NULL) {
            r->op->file->in_flight--;
        }
        sim_cancel(p->sim, &r->event);
        list_remove(&r->link);
        mem_free(r);
    }
}

void sim_files_forget(struct sim_process *p)
{
    list_for_each_safe (it, &p->files) {
        sim_file_close(&p->env, list_entry(it, struct env_file, link));
    }
}
