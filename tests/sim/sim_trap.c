/* sim_trap.c - a disk that fails. */
#include "tests/sim/sim_trap.h"
#include "shared/base/mem.h"
#include "tests/sim/sim_inode.h"

#include <errno.h>
#include <string.h>

/* One more operation of its kind. */
static bool springs(struct sim_trap *t, const char *path, struct sim_trap *out)
{
    if (path == NULL || strncmp(path, t->prefix, strlen(t->prefix)) != 0 ||
        !t->may(t->owner, path)) {
        return false;
    }
    if (t->after > 0) {
        t->after--;
        return false;
    }
    *out = *t;
    t->kind = TRAP_NONE;
    return true;
}

bool sim_trap_springs(struct sim_trap *t, const struct disk_op *op, const char *path,
                      struct sim_trap *out)
{
    bool syncs = op->kind == DISK_SYNC || (op->kind == DISK_WRITE && op->sync);
    bool matches = t->kind == TRAP_ANY || (t->kind == TRAP_SYNC ? syncs : op->kind == DISK_WRITE);
    return t->kind != TRAP_NONE && matches && springs(t, path, out);
}

bool sim_trap_springs_call(struct sim_trap *t, const char *path, struct sim_trap *out)
{
    return t->kind == TRAP_ANY && springs(t, path, out);
}

static int64_t write_both(struct sim_inode *i, const struct disk_op *op)
{
    int64_t n = sim_inode_write(i, op->off, op->data, op->len);
    return n >= 0 && op->len2 > 0 ? sim_inode_write(i, op->off2, op->data2, op->len2) : n;
}

/* The range is on the disk as if written, with the bytes that were there. */
static int64_t write_old(struct sim_inode *i, uint64_t off, uint32_t len)
{
    uint8_t *old = mem_alloc(len + 1u);
    memset(old, 0, len);
    (void)sim_inode_read(i, off, old, len);
    int64_t n = sim_inode_write(i, off, old, len);
    mem_free(old);
    return n;
}

static int64_t lose(struct sim_inode *i, const struct disk_op *op)
{
    int64_t n = write_old(i, op->off, op->len);
    if (n >= 0 && op->len2 > 0) {
        n = write_old(i, op->off2, op->len2);
    }
    if (n >= 0 && op->sync) {
        sim_inode_sync(i);
    }
    return n < 0 ? n : 0;
}

static int64_t misdirect(const struct sim_trap *t, struct sim_disk *d, struct sim_inode *i,
                         const struct disk_op *op, struct sim_rand *r)
{
    struct sim_inode *other = sim_disk_some_file(d, t->prefix, r);
    int64_t n = lose(i, op);
    if (other != NULL && sim_inode_size(other) >= op->len) {
        uint64_t places = (sim_inode_size(other) - op->len) / SIM_SECTOR_BYTES + 1;
        uint64_t at = sim_below(r, places) * SIM_SECTOR_BYTES;
        if (other != i || at != op->off) {
            (void)sim_inode_write(other, at, op->data, op->len);
        }
    }
    return n;
}

static int64_t fail_write(struct sim_inode *i, const struct disk_op *op, struct sim_rand *r)
{
    if (sim_chance(r, 1, 2)) {
        uint64_t end = op->off + sim_below(r, op->len + 1);
        end -= end % SIM_PAGE_BYTES;
        if (end > op->off) {
            (void)sim_inode_write(i, op->off, op->data, (uint32_t)(end - op->off));
        }
    }
    return -EIO;
}

static int64_t fail_sync(struct sim_inode *i, const struct disk_op *op)
{
    if (op->kind == DISK_WRITE) {
        int64_t n = write_both(i, op);
        if (n < 0) {
            return n;
        }
    }
    sim_inode_fail_sync(i);
    return -EIO;
}

int64_t sim_trap_perform(const struct sim_trap *t, struct sim_disk *d, struct sim_inode *inode,
                         const struct disk_op *op, struct sim_rand *r)
{
    switch (t->kind) {
    case TRAP_WRITE:
        return fail_write(inode, op, r);
    case TRAP_SYNC:
        return fail_sync(inode, op);
    case TRAP_LOST:
        return lose(inode, op);
    case TRAP_MISDIRECTED:
        return misdirect(t, d, inode, op, r);
    case TRAP_ANY:
    case TRAP_NONE:
        break;
    }
    return -EIO;
}
