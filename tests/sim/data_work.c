/* data_work.c - programs that write and read files and know every byte. */
#include "tests/sim/data_work.h"
#include "shared/base/mem.h"
#include "tests/sim/answers.h"
#include "tests/sim/durable.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { WRITE_MAX = 40 * 1024 };
/* How long before a mount leaves what happened to disks may keep it from committing everything. */
#define LEAVE_DOUBT_NS (30 * NS_PER_S)

/* One program at one file. */
struct job {
    struct actor *a;
    struct data_files *all;
    struct data_slot *slot;
    struct data_file *file;
    struct client_file *open;
    bool unlinked;
    bool o_sync; /* opened so: what a write has returned for is durable */
    uint8_t *buffer;
};

struct data_files *data_files_new(struct world *w)
{
    struct data_files *d = mem_new(struct data_files);
    d->world = w;
    list_init(&d->files);
    for (uint32_t i = 0; i < DATA_SLOTS; i++) {
        snprintf(d->slots[i].name, sizeof(d->slots[i].name), "d%u", i);
    }
    return d;
}

void data_files_free(struct data_files *d)
{
    list_for_each_safe (it, &d->files) {
        struct data_file *f = list_entry(it, struct data_file, link);
        file_model_free(f->model);
        mem_free(f);
    }
    mem_free(d);
}

struct data_file *data_file_of(struct world *w, uint64_t ino)
{
    list_for_each (it, &w->data->files) {
        struct data_file *f = list_entry(it, struct data_file, link);
        if (f->ino == ino) {
            return f;
        }
    }
    return NULL;
}

void data_work_dir(struct world *w, uint64_t ino)
{
    w->data->dir = ino;
}

/* Known inodes have a model; one that a dead mount created without hearing of it is empty. */
static struct data_file *file_for(struct world *w, uint64_t ino)
{
    struct data_file *f = data_file_of(w, ino);
    if (f == NULL) {
        f = mem_new(struct data_file);
        f->ino = ino;
        f->model = file_model_new((uint32_t)ino, world_power_losses, w);
        list_push_back(&w->data->files, &f->link);
    }
    return f;
}

static uint64_t now(const struct job *j)
{
    return j->a->world->sim->now_ns;
}

/* ---------------------------------------------------------------- reading */

/* Writing back may have failed: some disk is full, or the master has ended the mount's session and
 * cut the file where it knew it to end. */
static bool may_lose(struct actor *a)
{
    return a->entry->short_of_space || world_session_ended(a->world, a->mount);
}

/* Something written is not there, and that may be: the program that wrote it must hear of it when it
 * syncs. */
static int expect_loss(struct actor *a, struct client_file *f)
{
    int status = do_fsync(a, f);
    if (status == 0) {
        world_fail(a->world,
                   "mount-%u inode %llu: what was written is not there, and fsync succeeds",
                   a->mount->number, (unsigned long long)client_file_ino(f));
    }
    return status;
}

static bool is_there_without_unflushed(struct actor *a, struct data_file *d, uint64_t off)
{
    if (!may_lose(a)) {
        return false;
    }
    file_model_set_lossy(d->model, true);
    const char *why = file_model_check(d->model, off, slice_data(&a->data), a->data.len);
    file_model_set_lossy(d->model, false);
    return why == NULL;
}

static int read_check(struct actor *a, struct client_file *f, struct data_file *d, uint64_t off,
                      uint32_t len, uint64_t size)
{
    int status = do_read(a, f, off, len);
    if (status != 0) {
        return status;
    }
    uint64_t want = off < size ? MIN(len, size - off) : 0;
    if (a->data.len != want && a->data.len < want && may_lose(a)) {
        return expect_loss(a, f);
    }
    if (a->data.len != want) {
        world_fail(a->world, "mount-%u inode %llu: a read of %u bytes at %llu gave %u, wanted %llu",
                   a->mount->number, (unsigned long long)d->ino, len, (unsigned long long)off,
                   a->data.len, (unsigned long long)want);
    }
    const char *why = file_model_check(d->model, off, slice_data(&a->data), a->data.len);
    if (why != NULL && is_there_without_unflushed(a, d, off)) {
        return expect_loss(a, f);
    }
    if (why != NULL) {
        char text[256];
        op_describe(a->entry, text, sizeof(text));
        world_fail(a->world, "wrong bytes: %s (%s)", why, text);
    }
    return 0;
}

int data_read_all(struct actor *a, struct client_file *f, struct data_file *d, uint64_t size)
{
    int status = 0;
    for (uint64_t off = 0; off < size && status == 0; off += 300 * 1024) {
        status = read_check(a, f, d, off, 300 * 1024, size);
    }
    return status;
}

/* ---------------------------------------------------------------- steps */

static uint64_t draw_offset(struct job *j)
{
    struct sim_rand *r = &j->a->rand;
    uint64_t chunk = j->a->world->geo.chunk_bytes;
    uint64_t size = file_model_size(j->file->model);
    uint64_t off = 0;
    switch (sim_below(r, 6)) {
    case 0:
        off = sim_below(r, 3 * chunk);
        break;
    case 1: /* about a border between chunks */
        off = sim_between(r, 1, 2) * chunk - sim_below(r, 3 * UNIT_BYTES);
        break;
    case 2:
        off = size;
        break;
    case 3:
        off = sim_below(r, size + 1) / 4096 * 4096;
        break;
    case 4:
        off = sim_below(r, size + 1) / UNIT_BYTES * UNIT_BYTES;
        break;
    default:
        off = sim_below(r, size + 1);
    }
    return MIN(off, (uint64_t)FILE_MODEL_MAX - WRITE_MAX);
}

static uint32_t draw_length(struct job *j)
{
    struct sim_rand *r = &j->a->rand;
    uint64_t len = sim_chance(r, 1, 3)   ? sim_between(r, 1, 8) * 4096
                   : sim_chance(r, 1, 2) ? sim_between(r, 1, 10) * UNIT_BYTES
                                         : sim_between(r, 1, WRITE_MAX);
    return (uint32_t)len;
}

static int write_at(struct job *j, uint64_t off, bool append)
{
    uint32_t len = draw_length(j);
    if (actor_gone(j->a)) {
        return GONE;
    }
    file_model_fill(j->file->model, ++j->all->next_write, off, j->buffer, len);
    file_model_write(j->file->model, off, j->buffer, len, now(j));
    int status = do_write(j->a, j->open, append ? 12345 : off, j->buffer, len, append);
    memset(j->buffer, 0xee, len); /* the core copied it */
    if (status == 0 && append && j->a->call.offset < off && may_lose(j->a)) {
        return expect_loss(j->a, j->open);
    }
    if (status == 0 && append && j->a->call.offset != off) {
        world_fail(j->a->world, "an append went to %llu, wanted %llu",
                   (unsigned long long)j->a->call.offset, (unsigned long long)off);
    }
    if (status == 0 && j->o_sync) {
        file_model_flushed(j->file->model, true);
        durable_check(j->a->world, j->file->ino, j->file->model);
    }
    return status;
}

static int step_write(struct job *j)
{
    bool append = sim_chance(&j->a->rand, 1, 5) &&
                  file_model_size(j->file->model) < FILE_MODEL_MAX - WRITE_MAX;
    return write_at(j, append ? file_model_size(j->file->model) : draw_offset(j), append);
}

/* Piece after piece, smaller than a block, with a change in between now and then. */
static int read_pieces(struct job *j)
{
    struct sim_rand *r = &j->a->rand;
    uint64_t off = draw_offset(j);
    uint32_t len = (uint32_t)sim_between(r, 200, 3000);
    int status = 0;
    for (uint64_t n = sim_between(r, 3, 8); n > 0 && status == 0; n--, off += len) {
        status = read_check(j->a, j->open, j->file, off, len, file_model_size(j->file->model));
        if (status == 0 && sim_chance(r, 1, 5)) {
            status = step_write(j);
        }
    }
    return status;
}

static int step_read(struct job *j)
{
    if (sim_chance(&j->a->rand, 1, 5)) {
        return read_pieces(j);
    }
    uint64_t off = draw_offset(j);
    uint32_t len = sim_chance(&j->a->rand, 1, 4) ? 300 * 1024 : draw_length(j);
    return read_check(j->a, j->open, j->file, off, len, file_model_size(j->file->model));
}

static int set_size(struct job *j, uint64_t size)
{
    struct attr set = {.size = size};
    struct attr got;
    if (actor_gone(j->a)) {
        return GONE;
    }
    file_model_truncate(j->file->model, size, now(j));
    int status = do_setattr(j->a, j->file->ino, SETATTR_SIZE, &set, &got);
    if (status == 0 && got.size != size) {
        world_fail(j->a->world, "inode %llu has size %llu after a truncate to %llu",
                   (unsigned long long)j->file->ino, (unsigned long long)got.size,
                   (unsigned long long)size);
    }
    return status;
}

static int step_truncate(struct job *j)
{
    return set_size(j, draw_offset(j));
}

static int step_fsync(struct job *j)
{
    int status = do_fsync(j->a, j->open);
    if (status == 0) {
        file_model_flushed(j->file->model, true);
        durable_check(j->a->world, j->file->ino, j->file->model);
    }
    return status;
}

static int step_flush(struct job *j)
{
    int status = do_flush(j->a, j->open);
    if (status == 0) {
        file_model_flushed(j->file->model, false);
    }
    return status;
}

static int step_size(struct job *j)
{
    struct attr got;
    int status = do_getattr(j->a, j->file->ino, &got);
    if (status == 0 && got.size < file_model_size(j->file->model) && may_lose(j->a)) {
        return expect_loss(j->a, j->open);
    }
    if (status == 0 && got.size != file_model_size(j->file->model)) {
        world_fail(j->a->world, "inode %llu has size %llu, wanted %llu",
                   (unsigned long long)j->file->ino, (unsigned long long)got.size,
                   (unsigned long long)file_model_size(j->file->model));
    }
    return status;
}

/* Other attributes, which may travel with the size of what was written before. */
static int step_mode(struct job *j)
{
    struct attr set = {.mode = 0600 | (uint32_t)sim_below(&j->a->rand, 0100)};
    struct attr got;
    int status = do_setattr(j->a, j->file->ino, SETATTR_MODE, &set, &got);
    if (status == 0 && (got.mode & 07777) != set.mode) {
        world_fail(j->a->world, "inode %llu has mode %o after chmod to %o",
                   (unsigned long long)j->file->ino, got.mode, set.mode);
    }
    if (status == 0 && got.size != file_model_size(j->file->model) && !may_lose(j->a)) {
        world_fail(j->a->world, "inode %llu has size %llu after chmod, wanted %llu",
                   (unsigned long long)j->file->ino, (unsigned long long)got.size,
                   (unsigned long long)file_model_size(j->file->model));
    }
    return status;
}

/* A hole, or zeros that have their space; those may make the file longer. */
static int step_punch(struct job *j)
{
    uint64_t off = draw_offset(j);
    uint64_t len = draw_length(j);
    bool hole = sim_chance(&j->a->rand, 2, 3);
    bool keep = hole || sim_chance(&j->a->rand, 1, 2);
    if (actor_gone(j->a)) {
        return GONE;
    }
    file_model_zero(j->file->model, off, len, now(j));
    if (!keep && off + len > file_model_size(j->file->model)) {
        file_model_truncate(j->file->model, off + len, now(j));
    }
    return do_fallocate(j->a, j->open,
                        (hole ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) |
                            (keep ? FALLOC_FL_KEEP_SIZE : 0),
                        off, len);
}

/* Who is not privileged takes the set-user-ID bit away by writing. */
static int step_suid(struct job *j)
{
    struct attr set = {.mode = S_ISUID | 0755};
    struct attr got;
    int status = do_setattr(j->a, j->file->ino, SETATTR_MODE, &set, NULL);
    if (status == 0) {
        j->a->unprivileged = true;
        status = write_at(j, draw_offset(j), false);
        j->a->unprivileged = false;
    }
    if (status == 0) {
        status = step_flush(j);
    }
    if (status == 0) {
        status = do_getattr(j->a, j->file->ino, &got);
    }
    if (status == 0 && (got.mode & S_ISUID) && !may_lose(j->a)) {
        world_fail(j->a->world, "inode %llu was written to and has mode %o",
                   (unsigned long long)j->file->ino, got.mode);
    }
    return status;
}

/* Whatever is reserved, no byte changes; the size does if the range goes beyond it. */
static int step_reserve(struct job *j)
{
    uint64_t size = file_model_size(j->file->model);
    uint64_t off = draw_offset(j);
    uint64_t len = sim_chance(&j->a->rand, 1, 3) ? FILE_MODEL_MAX - off : draw_length(j);
    bool keep = off + len <= size || sim_chance(&j->a->rand, 2, 3);
    if (actor_gone(j->a)) {
        return GONE;
    }
    if (!keep) {
        file_model_truncate(j->file->model, off + len, now(j));
    }
    return do_fallocate(j->a, j->open, keep ? FALLOC_FL_KEEP_SIZE : 0, off, len);
}

/* What is passed over as holes must be zeros. */
static int step_seek(struct job *j)
{
    static const uint8_t zeros[WRITE_MAX];
    uint64_t size = file_model_size(j->file->model);
    uint64_t off = draw_offset(j);
    bool hole = sim_chance(&j->a->rand, 1, 3);
    int status = do_lseek(j->a, j->open, off, hole);
    if (status != 0 && status != -ENXIO) {
        return status;
    }
    uint64_t end = status == 0 ? j->a->call.offset : size;
    bool sane = status == 0 ? off < size && end >= off && end <= size : off >= size || !hole;
    const char *why = sane ? NULL : "it is not in the file";
    for (uint64_t at = off; !hole && at < end && why == NULL; at += WRITE_MAX) {
        why = file_model_check(j->file->model, at, zeros, (uint32_t)MIN(WRITE_MAX, end - at));
    }
    if (why != NULL && !may_lose(j->a)) {
        char text[256];
        op_describe(j->a->entry, text, sizeof(text));
        world_fail(j->a->world, "seek to %llu: %s (%s)", (unsigned long long)end, why, text);
    }
    return 0;
}

static int step_unlink(struct job *j)
{
    if (j->unlinked) {
        return 0;
    }
    int status = do_unlink(j->a, j->all->dir, j->slot->name);
    j->unlinked = status == 0;
    return status;
}

static struct data_slot *lock_slot(struct data_files *all, struct sim_rand *r)
{
    uint64_t start = sim_below(r, DATA_SLOTS);
    for (uint32_t i = 0; i < DATA_SLOTS; i++) {
        struct data_slot *s = &all->slots[(start + i) % DATA_SLOTS];
        if (!s->locked && s->free_ns <= all->world->sim->now_ns) {
            s->locked = true;
            return s;
        }
    }
    return NULL;
}

static void unlock_slot(struct job *j, struct data_slot *s, bool died)
{
    s->locked = false;
    if (died) {
        s->free_ns = now(j) + NS_PER_S + sim_below(&j->a->rand, 12 * NS_PER_S);
    }
}

/* Moves the open file over another name, whose file is gone then. */
static int step_rename(struct job *j)
{
    struct data_slot *to = j->unlinked ? NULL : lock_slot(j->all, &j->a->rand);
    if (to == NULL) {
        return 0;
    }
    int status = do_rename(j->a, j->all->dir, j->slot->name, j->all->dir, to->name, 0);
    if (status == 0) {
        unlock_slot(j, j->slot, false);
        j->slot = to;
        if (may_lose(j->a)) {
            return step_fsync(j); /* some of it may have been lost before */
        }
        file_model_flushed(j->file->model, false); /* its data went first */
    } else {
        unlock_slot(j, to, status == GONE);
    }
    return status;
}

/* Grows the file over what a dead mount may have left beyond its size, and looks at it. */
static int step_grow_over(struct job *j)
{
    struct sim_rand *r = &j->a->rand;
    uint64_t size = file_model_size(j->file->model);
    uint64_t end = size + sim_between(r, 1, 3 * WRITE_MAX);
    if (end > FILE_MODEL_MAX - WRITE_MAX) {
        return 0;
    }
    int status = sim_chance(r, 1, 3) ? set_size(j, end) : write_at(j, end, false);
    uint32_t shown = (uint32_t)(file_model_size(j->file->model) - size);
    return status == 0
               ? read_check(j->a, j->open, j->file, size, shown, file_model_size(j->file->model))
               : status;
}

static int one_step(struct job *j)
{
    uint64_t draw = sim_below(&j->a->rand, 100);
    if (draw < 45) {
        return step_write(j);
    }
    if (draw < 68) {
        return step_read(j);
    }
    if (draw < 76) {
        return step_fsync(j);
    }
    if (draw < 78) {
        return step_flush(j);
    }
    if (draw < 80) {
        return sim_chance(&j->a->rand, 1, 3)   ? step_suid(j)
               : sim_chance(&j->a->rand, 1, 4) ? do_refused_file(j->a, j->open)
                                               : step_mode(j);
    }
    if (draw < 86) {
        return step_truncate(j);
    }
    if (draw < 88) {
        return step_size(j);
    }
    if (draw < 90) {
        return step_seek(j);
    }
    if (draw < 93) {
        return step_punch(j);
    }
    if (draw >= 98) {
        return step_reserve(j);
    }
    if (draw < 95) {
        return step_unlink(j);
    }
    if (draw < 98) {
        return step_rename(j);
    }
    return 0;
}

/* ---------------------------------------------------------------- a file's visit */

enum { LATER = 2 }; /* the visit is put off */

static uint32_t writer_of(const struct mount *m)
{
    return m->number * 256 + m->life;
}

/* What a shadow says of a file that an earlier life of the mount wrote may be older than that, and
 * whether the file was cut is not known if it was there although nobody had found it. */
static bool is_unsure(struct job *j, bool found, const struct attr *attr, uint64_t begin_ns)
{
    const struct data_file *known = data_file_of(j->a->world, attr->ino);
    bool shadow = answers_shadow_ns(j->a->world->answers, j->a->mount) >= begin_ns;
    return known != NULL && (shadow || !found) &&
           !file_model_is_writer(known->model, writer_of(j->a->mount));
}

/* Opens the file of the slot, or makes it. */
static int visit_open(struct job *j)
{
    struct attr attr;
    bool cut = false;
    uint64_t begin_ns = now(j);
    bool blind = sim_chance(&j->a->rand, 1, 12); /* open finds it, or makes it */
    int status = blind ? -ENOENT : do_lookup(j->a, j->all->dir, j->slot->name, &attr);
    bool found = status == 0;
    if (found) {
        int sync = !sim_chance(&j->a->rand, 1, 8)  ? 0
                   : sim_chance(&j->a->rand, 1, 2) ? O_SYNC
                                                   : O_DSYNC;
        int direct = sim_chance(&j->a->rand, 1, 12) ? O_DIRECT : 0;
        cut = world_is_cut(j->a->world, attr.ino);
        j->o_sync = sync != 0;
        status = do_open(j->a, attr.ino, O_RDWR | sync | direct, &attr);
        if (status == -ENOENT && answers_shadow_ns(j->a->world->answers, j->a->mount) >= begin_ns) {
            return LATER; /* a shadow found it that did not know yet that it was removed */
        }
    } else if (status == -ENOENT) {
        j->a->create_flags = !blind && sim_chance(&j->a->rand, 1, 3) ? O_EXCL : 0;
        status = do_create(j->a, j->all->dir, j->slot->name, 0644, &attr);
        if (status == -EEXIST && j->a->create_flags != 0) {
            return LATER; /* a call in doubt has made it */
        }
    }
    if (status != 0) {
        return status;
    }
    j->open = j->a->opened;
    if (is_unsure(j, found, &attr, begin_ns)) {
        return LATER;
    }
    j->file = file_for(j->a->world, attr.ino);
    file_model_writer(j->file->model, writer_of(j->a->mount));
    bool in_doubt = file_model_in_doubt(j->file->model);
    if (!file_model_settle_size(j->file->model, attr.size, cut, now(j))) {
        world_fail(j->a->world, "inode %llu is opened with size %llu, wanted %llu",
                   (unsigned long long)attr.ino, (unsigned long long)attr.size,
                   (unsigned long long)file_model_size(j->file->model));
    }
    if (in_doubt && sim_chance(&j->a->rand, 2, 3)) {
        status = step_grow_over(j);
    }
    if (status == 0 && sim_chance(&j->a->rand, 1, 2)) {
        status = data_read_all(j->a, j->open, j->file, file_model_size(j->file->model));
    }
    return status;
}

/* The call that was interrupted changes nothing if it goes on. */
static bool is_idle(const struct op_entry *e)
{
    return e->op == OP_read || e->op == OP_seek || e->op == OP_getattr || e->op == OP_sync ||
           e->op == OP_close_files || e->op == OP_statfs ||
           (e->op == OP_extend && e->flags == FALLOC_FL_KEEP_SIZE);
}

static int visit_steps(struct job *j)
{
    uint64_t steps = sim_between(&j->a->rand, 3, 20);
    int status = 0;
    for (uint64_t i = 0; i < steps && status == 0 && !j->a->world->healing; i++) {
        status = one_step(j);
        if (status == GONE && actor_interrupted(j->a) && is_idle(j->a->entry)) {
            status = 0;
        }
    }
    if (status == 0 && sim_chance(&j->a->rand, 1, 3)) {
        status = step_fsync(j);
    }
    return status == 0 ? step_flush(j) : status;
}

/* The mount has left in order, while the program was thinking: what it wrote is on the replicas. */
static bool has_left(struct job *j)
{
    struct actor *a = j->a;
    struct world *w = a->world;
    const struct mount *m = a->mount;
    while (m->stopping && m->life == a->life) {
        actor_sleep(a, 20 * NS_PER_MS);
    }
    uint64_t since = m->stop_ns - MIN(m->stop_ns, LEAVE_DOUBT_NS);
    bool full = w->full_ns != 0 && since <= w->full_ns;
    return m->left && m->life == a->life && a->entry->ended && !full &&
           !world_session_ended(w, m) && !world_may_doubt(w, since);
}

/* Errors that a call on a data file may end with. */
static void check_status(struct job *j, int status)
{
    bool full = status == -ENOSPC && j->a->entry->short_of_space;
    bool gone = status == -ENOENT && world_session_ended(j->a->world, j->a->mount);
    if (status != 0 && status != GONE && status != LATER && status != -EIO && !full && !gone) {
        char text[256];
        op_describe(j->a->entry, text, sizeof(text));
        world_fail(j->a->world, "a call on a data file failed: %s", text);
    }
}

static void visit(struct job *j)
{
    j->file = NULL;
    j->open = NULL;
    j->unlinked = false;
    j->o_sync = false;
    int status = visit_open(j);
    if (status == 0) {
        status = visit_steps(j);
    }
    bool interrupted = j->open != NULL && status == GONE && actor_interrupted(j->a);
    if (j->open != NULL && status == GONE) {
        do_release(j->a, j->open);
        j->open = NULL;
    }
    if (status == GONE && j->file != NULL && has_left(j)) {
        file_model_flushed(j->file->model, false);
        status = 0;
    }
    if (status != 0 && j->file != NULL) {
        file_model_writer_died(j->file->model, now(j));
    }
    check_status(j, status);
    bool given_up = status == -EIO && j->a->entry->given_up;
    if (status != 0 && j->file != NULL && j->open != NULL && !given_up) {
        /* close(2) after an error: what did not fail may still be on its way. Nobody else gets the file
         * before it is there or lost, else it would be written over what others write meanwhile. */
        int closed = do_flush(j->a, j->open);
        check_status(j, closed);
        given_up = closed == -EIO && j->a->entry->given_up;
        interrupted = closed == GONE && actor_interrupted(j->a);
    }
    if (interrupted) {
        actor_sleep(j->a, sim_below(&j->a->rand, NS_PER_S));
    }
    if ((interrupted && !j->a->gone) || (j->open != NULL && given_up)) {
        mount_end(j->a->mount); /* what was given up shall not be done between what others do */
    } else if (j->open != NULL) {
        do_release(j->a, j->open);
    }
    unlock_slot(j, j->slot, status != 0);
}

void data_work(struct actor *a)
{
    struct job j = {.a = a, .all = a->world->data, .buffer = mem_alloc(WRITE_MAX)};
    a->signals = 300;
    while (a->world->ops < a->world->ops_wanted && !a->world->healing) {
        actor_wait_mount(a);
        j.slot = j.all->dir != 0 ? lock_slot(j.all, &a->rand) : NULL;
        if (j.slot == NULL) {
            actor_sleep(a, 50 * NS_PER_MS);
            continue;
        }
        visit(&j);
    }
    mem_free(j.buffer);
}
