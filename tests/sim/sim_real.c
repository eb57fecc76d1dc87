/* sim_real.c - files that libraries open themselves, in a real directory. */
#include "shared/base/invariant.h"
#include "shared/base/mem.h"
#include "shared/env/env.h"
#include "tests/sim/sim_disk_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *sim_real_name(struct sim_disk *d, const char *path, char *out, size_t size)
{
    int n = snprintf(out, size, "%s/%s%s%s", d->sim->real_base, d->name, *path ? "/" : "", path);
    ASSERT(n > 0 && (size_t)n < size);
    return out;
}

int64_t sim_real_size(struct sim_disk *d, const char *path)
{
    char name[512];
    struct stat st;
    if (!d->real_made || stat(sim_real_name(d, path, name, sizeof(name)), &st) != 0) {
        return -ENOENT;
    }
    return (int64_t)st.st_size;
}

void sim_real_make(struct sim_disk *d)
{
    if (d->real_made) {
        return;
    }
    char name[512];
    if (d->sim->real_base[0] == 0) {
        snprintf(d->sim->real_base, sizeof(d->sim->real_base), "/dev/shm/gfs-sim-%d",
                 (int)getpid());
    }
    ASSERT(mkdir(d->sim->real_base, 0700) == 0 || errno == EEXIST);
    sim_remove_tree(
        sim_real_name(d, "", name, sizeof(name))); /* of a killed process with our number */
    ASSERT(mkdir(sim_real_name(d, "", name, sizeof(name)), 0700) == 0 || errno == EEXIST);
    d->real_made = true;
    for (uint32_t i = 0; i < d->now.count; i++) {
        if (d->now.items[i].inode == NULL) {
            (void)mkdir(sim_real_name(d, d->now.items[i].path, name, sizeof(name)), 0700);
        }
    }
}

void sim_real_remove(struct sim_disk *d)
{
    if (d->real_made) {
        char name[512];
        sim_remove_tree(sim_real_name(d, "", name, sizeof(name)));
        d->real_made = false;
    }
}

static void tear_real(const char *name, struct sim_rand *r)
{
    static const uint8_t zeros[SIM_PAGE_BYTES];
    struct stat st;
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    ASSERT(fd >= 0 && fstat(fd, &st) == 0);
    for (int64_t at = 0; at < st.st_size; at += SIM_PAGE_BYTES) {
        if (sim_chance(r, 1, 3)) {
            ASSERT(pwrite(fd, zeros, sizeof(zeros), at) == SIM_PAGE_BYTES);
        }
    }
    close(fd);
}

void sim_disk_real_synced(struct sim_disk *d, bool synced)
{
    d->real_synced = synced;
}

void sim_real_power_cut(struct sim_disk *d, struct sim_rand *r)
{
    char name[512];
    char kept[512];
    snprintf(kept, sizeof(kept), "%s/%s.kept", d->sim->real_base, d->name);
    bool any =
        d->real_made && rename(sim_real_name(d, UNSYNCED_FILE, name, sizeof(name)), kept) == 0;
    sim_real_remove(d);
    if (any) {
        if (!d->real_synced) {
            tear_real(kept, r);
        }
        sim_real_make(d);
        if (rename(kept, sim_real_name(d, UNSYNCED_FILE, name, sizeof(name))) != 0) {
            (void)unlink(kept); /* its directory was not durable */
        }
    }
}

int64_t sim_real_read(const char *name, uint8_t **out)
{
    *out = NULL;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    struct stat st;
    ASSERT(fstat(fd, &st) == 0);
    uint8_t *data = mem_alloc((size_t)st.st_size + 1);
    int64_t n = 0;
    while (n < st.st_size) {
        ssize_t got = pread(fd, data + n, (size_t)(st.st_size - n), n);
        ASSERT(got > 0);
        n += got;
    }
    close(fd);
    *out = data;
    return n;
}

void sim_real_write(const char *name, const uint8_t *data, uint64_t size)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ASSERT(fd >= 0);
    for (uint64_t at = 0; at < size;) {
        ssize_t put = pwrite(fd, data + at, size - at, (off_t)at);
        ASSERT(put > 0);
        at += (uint64_t)put;
    }
    close(fd);
}

/* The simulated file's content becomes that of the real one, unless it is already. */
static void materialise(struct sim_inode *i, const char *name)
{
    uint8_t *data;
    int64_t n = sim_real_read(name, &data);
    if (n != (int64_t)i->now_size || (n > 0 && memcmp(data, i->now, (size_t)n) != 0)) {
        sim_real_write(name, i->now, i->now_size);
    }
    mem_free(data);
}

const char *sim_disk_real_path(struct sim_disk *d, const char *path, char *out, uint32_t size)
{
    sim_real_make(d);
    sim_real_name(d, path, out, size);
    struct entry *e = sim_names_find(&d->now, path);
    if (e != NULL && e->inode != NULL) {
        materialise(e->inode, out);
    }
    return out;
}

struct sim_inode *sim_real_view(struct sim_disk *d, const char *path)
{
    char name[512];
    uint8_t *data;
    uint64_t capacity = d->capacity;
    struct sim_inode *i = sim_inode_new(d);
    int64_t n = sim_real_read(sim_real_name(d, path, name, sizeof(name)), &data);
    ASSERT(n >= 0);
    d->capacity = UINT64_MAX; /* it takes no room of its own */
    (void)sim_inode_write(i, 0, data, (uint32_t)n);
    d->capacity = capacity;
    mem_free(data);
    return i;
}

int sim_disk_import(struct sim_disk *d, const char *path)
{
    char name[512];
    uint8_t *data;
    if (!d->real_made) {
        return -ENOENT;
    }
    int64_t n = sim_real_read(sim_real_name(d, path, name, sizeof(name)), &data);
    if (n < 0) {
        return (int)n;
    }
    struct sim_inode *i;
    int err = sim_disk_open(d, path, ENV_OPEN_CREATE, &i);
    if (err == 0) {
        (void)sim_inode_truncate(i, 0);
        err = (int)MIN(sim_inode_write(i, 0, data, (uint32_t)n), 0);
        sim_inode_sync(i);
        sim_inode_drop(i);
    }
    mem_free(data);
    return err;
}
