/* actor.c - calls of simulated programs. */
#include "tests/sim/actor.h"
#include "shared/base/mem.h"
#include "tests/sim/answers.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void interrupt(struct sim_event *ev);

static void run_body(void *owner)
{
    struct actor *a = owner;
    a->body(a);
}

static void wake(struct sim_event *e)
{
    struct actor *a = container_of(e, struct actor, wake);
    fiber_resume(a->fiber);
}

struct actor *actor_new(struct world *w, struct mount *m, void (*body)(struct actor *a), void *arg)
{
    struct actor *a = mem_new(struct actor);
    a->world = w;
    a->mount = m;
    a->body = body;
    a->arg = arg;
    a->number =
        list_empty(&w->actors) ? 1 : list_entry(w->actors.prev, struct actor, link)->number + 1;
    a->rand = sim_rand_of(w->seed, 100 + a->number);
    a->fiber = fiber_new(run_body, a);
    a->wake.run = wake;
    list_push_back(&w->actors, &a->link);
    sim_at(w->sim, &a->wake, w->sim->now_ns);
    return a;
}

void actors_free(struct world *w)
{
    list_for_each_safe (it, &w->actors) {
        struct actor *a = list_entry(it, struct actor, link);
        list_remove(&a->link);
        sim_cancel(w->sim, &a->wake);
        sim_cancel(w->sim, &a->interrupt);
        slice_drop(&a->data);
        fiber_free(a->fiber);
        mem_free(a);
    }
}

bool actors_done(void *world)
{
    struct world *w = world;
    list_for_each (it, &w->actors) {
        if (!fiber_ended(list_entry(it, struct actor, link)->fiber)) {
            return false;
        }
    }
    return true;
}

const struct op_entry *actors_stuck(struct world *w)
{
    list_for_each (it, &w->actors) {
        struct actor *a = list_entry(it, struct actor, link);
        if (a->calling) {
            return a->entry;
        }
    }
    return NULL;
}

void actors_wake(struct world *w)
{
    list_for_each (it, &w->actors) {
        struct actor *a = list_entry(it, struct actor, link);
        if (a->waiting_mount && a->mount->ready) {
            a->waiting_mount = false;
            sim_at(w->sim, &a->wake, w->sim->now_ns);
        }
    }
}

void actors_mount_died(struct mount *m)
{
    list_for_each (it, &m->world->actors) {
        struct actor *a = list_entry(it, struct actor, link);
        if (a->mount != m) {
            continue;
        }
        a->gone = true;
        if (a->calling) {
            a->calling = false;
            sim_cancel(m->world->sim, &a->interrupt);
            sim_at(m->world->sim, &a->wake, m->world->sim->now_ns);
        }
    }
}

void actors_mount_leaves(struct mount *m)
{
    list_for_each (it, &m->world->actors) {
        struct actor *a = list_entry(it, struct actor, link);
        if (a->mount == m) {
            a->gone = true;
            if (a->calling && sim_chance(&a->rand, 1, 2)) {
                interrupt(&a->interrupt);
            }
        }
    }
}

void actor_sleep(struct actor *a, uint64_t ns)
{
    sim_at(a->world->sim, &a->wake, a->world->sim->now_ns + ns);
    fiber_pause(a->fiber);
}

void actor_wait_mount(struct actor *a)
{
    while (!a->mount->ready) {
        a->waiting_mount = true;
        fiber_pause(a->fiber);
    }
    a->gone = false;
    a->life = a->mount->life;
}

/* ---------------------------------------------------------------- one call */

/* How long after a loss of power on several replicas EIO may still be the right answer; for good if
 * one of the disks also lies. */
#define EXCUSE_NS (30 * NS_PER_S)
/* An interrupted call ends at once: nobody is asked. */
#define INTERRUPT_MAX_NS NS_PER_MS
/* How long after a disk has room again calls may still fail for want of it. */
#define FULL_GRACE_NS (10 * NS_PER_S)

static struct op_entry *begin(struct actor *a, enum op_code op)
{
    struct world *w = a->world;
    struct op_entry *e = history_add(w->history);
    e->op = op;
    e->mount = a->mount->number;
    e->life = a->mount->life;
    e->low = log_tap_heard(w->tap);
    e->own_low = answers_seen(w->answers, a->mount);
    e->start_ns = w->sim->now_ns;
    a->entry = e;
    w->ops++;
    memset(&a->call, 0, sizeof(a->call));
    slice_drop(&a->data);
    return e;
}

static void keep_bytes(struct op_entry *e, const void *data, uint32_t len)
{
    e->bytes = mem_dup(data, len);
    e->byte_count = len;
}

/* The mount is soft, and its time for the call was over: clocks differ by a hundredth. */
static bool was_given_up(const struct actor *a, const struct op_entry *e)
{
    uint64_t least = a->world->soft_ms * (NS_PER_MS / 100 * 98);
    return a->world->soft_ms != 0 && e->status == -EIO && e->end_ns - e->start_ns >= least;
}

static void call_done(struct client_call *c)
{
    struct actor *a = c->owner;
    struct op_entry *e = a->entry;
    ASSERT(a->calling);
    a->calling = false;
    sim_cancel(a->world->sim, &a->interrupt);
    if (a->interrupted_ns != 0 && a->world->sim->now_ns - a->interrupted_ns > INTERRUPT_MAX_NS) {
        world_fail(a->world, "an interrupted call went on");
    }
    bool cut_off = a->gone && c->status == -EIO; /* the mount has left */
    e->ended = (a->interrupted_ns == 0 || c->status != -EINTR) && !cut_off;
    e->status = c->status;
    e->attr = c->attr;
    e->index = c->index;
    e->end = c->end;
    e->high = log_tap_certain(a->world->tap);
    if (answers_shadow_ns(a->world->answers, a->mount) >= e->start_ns) {
        e->low = MIN(e->low, e->own_low); /* perhaps not what was newest everywhere */
    }
    e->short_of_space = a->world->full_ns > 0 && e->start_ns <= a->world->full_ns + FULL_GRACE_NS;
    uint64_t since = a->world->rots ? 1 : e->start_ns - MIN(e->start_ns, EXCUSE_NS);
    e->end_ns = a->world->sim->now_ns;
    e->given_up = was_given_up(a, e);
    e->excused = e->given_up || world_may_doubt(a->world, since);
    if (c->status == 0 && (e->op == OP_readdir || e->op == OP_readlink || e->op == OP_getxattr ||
                           e->op == OP_listxattr)) {
        keep_bytes(e, c->bytes.data, c->bytes.len);
    }
    if (c->status == 0 && e->op == OP_read) {
        a->data = client_read_bytes(c);
    }
    if (e->op == OP_create && c->status == 0 && c->attr.uid != e->uid) {
        e->op = OP_lookup; /* it was there: found and opened */
    }
    if (a->world->trace) {
        char text[256];
        op_describe(e, text, sizeof(text));
        world_say(a->world, "%s", text);
    }
    sim_note(a->world->sim, 'A' | (uint64_t)e->op << 8, e->number, (uint64_t)e->status);
    uint64_t think = sim_below(&a->rand, 4) == 0 ? sim_below(&a->rand, 400 * NS_PER_MS)
                                                 : sim_below(&a->rand, 20 * NS_PER_MS);
    sim_at(a->world->sim, &a->wake, a->world->sim->now_ns + think);
}

static void interrupt(struct sim_event *ev)
{
    struct actor *a = container_of(ev, struct actor, interrupt);
    if (a->calling && a->mount->client != NULL) {
        a->interrupted_ns = a->world->sim->now_ns;
        client_cancel(a->mount->client, &a->call);
    }
}

/* Waits for the end of the call just started. */
static int finish(struct actor *a)
{
    a->calling = true;
    a->interrupted_ns = 0;
    if (a->signals > 0 && sim_chance(&a->rand, 1, a->signals)) {
        uint64_t most = sim_chance(&a->rand, 1, 2) ? 5 * NS_PER_MS : NS_PER_S;
        a->interrupt.run = interrupt;
        sim_at(a->world->sim, &a->interrupt, a->world->sim->now_ns + sim_below(&a->rand, most));
    }
    fiber_pause(a->fiber);
    return a->entry->ended ? a->entry->status : GONE;
}

static struct client_call *call_of(struct actor *a)
{
    a->call.done = call_done;
    a->call.owner = a;
    return &a->call;
}

static void copy_name(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s", name);
}

static int result(struct actor *a, struct attr *out)
{
    int status = finish(a);
    if (status == 0 && out != NULL) {
        *out = a->entry->attr;
    }
    return status;
}

bool actor_gone(struct actor *a)
{
    a->gone = a->gone || a->mount->client == NULL;
    return a->gone;
}

#define MOUNT_OR_GONE(a)                                                                           \
    do {                                                                                           \
        if (actor_gone(a)) {                                                                       \
            return GONE;                                                                           \
        }                                                                                          \
    } while (0)

/* ---------------------------------------------------------------- calls */

int do_lookup(struct actor *a, uint64_t parent, const char *name, struct attr *out)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_lookup);
    e->parent = parent;
    copy_name(e->name, sizeof(e->name), name);
    client_lookup(a->mount->client, call_of(a), parent, bytes_str(e->name));
    return result(a, out);
}

int do_getattr(struct actor *a, uint64_t ino, struct attr *out)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_getattr);
    e->ino = ino;
    client_getattr(a->mount->client, call_of(a), ino);
    return result(a, out);
}

int do_setattr(struct actor *a, uint64_t ino, uint32_t mask, const struct attr *set,
               struct attr *out)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_setattr);
    e->ino = ino;
    e->mask = mask;
    e->mode = set->mode;
    e->uid = set->uid;
    e->gid = set->gid;
    e->size = set->size;
    client_setattr(a->mount->client, call_of(a), ino, mask, set);
    return result(a, out);
}

int do_make(struct actor *a, uint64_t parent, const char *name, uint32_t mode, struct attr *out)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, S_ISDIR(mode) ? OP_mkdir : OP_mknod);
    e->parent = parent;
    copy_name(e->name, sizeof(e->name), name);
    e->mode = mode;
    e->uid = 1000 + e->number; /* tells records apart */
    e->gid = a->number;
    if (S_ISDIR(mode)) {
        client_mkdir(a->mount->client, call_of(a), parent, bytes_str(e->name), mode & 07777, e->uid,
                     e->gid);
    } else {
        client_mknod(a->mount->client, call_of(a), parent, bytes_str(e->name), mode, 0, e->uid,
                     e->gid);
    }
    return result(a, out);
}

int do_symlink(struct actor *a, uint64_t parent, const char *name, const char *target,
               struct attr *out)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_symlink);
    e->parent = parent;
    copy_name(e->name, sizeof(e->name), name);
    copy_name(e->target, sizeof(e->target), target);
    e->uid = 1000 + e->number;
    e->gid = a->number;
    client_symlink(a->mount->client, call_of(a), parent, bytes_str(e->name), bytes_str(e->target),
                   e->uid, e->gid);
    return result(a, out);
}

int do_readlink(struct actor *a, uint64_t ino)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_readlink);
    e->ino = ino;
    client_readlink(a->mount->client, call_of(a), ino);
    return finish(a);
}

int do_link(struct actor *a, uint64_t ino, uint64_t parent, const char *name)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_link);
    e->ino = ino;
    e->parent = parent;
    copy_name(e->name, sizeof(e->name), name);
    client_link(a->mount->client, call_of(a), ino, parent, bytes_str(e->name));
    return finish(a);
}

int do_unlink(struct actor *a, uint64_t parent, const char *name)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_unlink);
    e->parent = parent;
    copy_name(e->name, sizeof(e->name), name);
    client_unlink(a->mount->client, call_of(a), parent, bytes_str(e->name));
    return finish(a);
}

int do_rmdir(struct actor *a, uint64_t parent, const char *name)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_rmdir);
    e->parent = parent;
    copy_name(e->name, sizeof(e->name), name);
    client_rmdir(a->mount->client, call_of(a), parent, bytes_str(e->name));
    return finish(a);
}

int do_rename(struct actor *a, uint64_t parent, const char *name, uint64_t new_parent,
              const char *new_name, uint32_t flags)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_rename);
    e->parent = parent;
    e->new_parent = new_parent;
    e->flags = flags;
    copy_name(e->name, sizeof(e->name), name);
    copy_name(e->new_name, sizeof(e->new_name), new_name);
    client_rename(a->mount->client, call_of(a), parent, bytes_str(e->name), new_parent,
                  bytes_str(e->new_name), flags);
    return finish(a);
}

int do_readdir(struct actor *a, uint64_t ino, uint64_t cookie)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_readdir);
    e->ino = ino;
    e->offset = cookie;
    e->flags = (uint32_t)sim_below(&a->rand, 2);
    uint32_t bytes =
        sim_chance(&a->rand, 1, 3) ? (uint32_t)sim_between(&a->rand, 100, 2000) : 32768;
    client_readdir(a->mount->client, call_of(a), ino, cookie, bytes, e->flags != 0);
    return finish(a);
}

int do_getxattr(struct actor *a, uint64_t ino, const char *name)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_getxattr);
    e->ino = ino;
    copy_name(e->name, sizeof(e->name), name);
    client_getxattr(a->mount->client, call_of(a), ino, bytes_str(e->name));
    return finish(a);
}

int do_listxattr(struct actor *a, uint64_t ino)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_listxattr);
    e->ino = ino;
    client_listxattr(a->mount->client, call_of(a), ino);
    return finish(a);
}

int do_setxattr(struct actor *a, uint64_t ino, const char *name, const char *value, uint32_t flags)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_setxattr);
    e->ino = ino;
    e->flags = flags;
    copy_name(e->name, sizeof(e->name), name);
    copy_name(e->target, sizeof(e->target), value);
    client_setxattr(a->mount->client, call_of(a), ino, bytes_str(e->name), bytes_str(e->target),
                    flags);
    return finish(a);
}

int do_removexattr(struct actor *a, uint64_t ino, const char *name)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_removexattr);
    e->ino = ino;
    copy_name(e->name, sizeof(e->name), name);
    client_removexattr(a->mount->client, call_of(a), ino, bytes_str(e->name));
    return finish(a);
}

int do_lseek(struct actor *a, struct client_file *f, uint64_t off, bool hole)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_seek);
    e->ino = client_file_ino(f);
    e->offset = off;
    e->flags = hole;
    client_lseek(a->mount->client, call_of(a), f, off, hole);
    return finish(a);
}

int do_open(struct actor *a, uint64_t ino, int flags, struct attr *out)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_open);
    e->ino = ino;
    e->flags = (uint32_t)flags;
    client_open(a->mount->client, call_of(a), ino, flags);
    int status = result(a, out);
    a->opened = status == 0 ? a->call.file : NULL;
    return status;
}

int do_create(struct actor *a, uint64_t parent, const char *name, uint32_t mode, struct attr *out)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_create);
    e->parent = parent;
    copy_name(e->name, sizeof(e->name), name);
    e->mode = S_IFREG | mode;
    e->uid = 1000 + e->number;
    e->gid = a->number;
    client_create_file(a->mount->client, call_of(a), parent, bytes_str(e->name), mode, e->uid,
                       e->gid, O_RDWR | a->create_flags);
    int status = result(a, out);
    a->opened = status == 0 ? a->call.file : NULL;
    return status;
}

void do_release(struct actor *a, struct client_file *f)
{
    bool same = a->mount->client != NULL && a->life == a->mount->life;
    if (same && (!a->gone || a->mount->stopping)) {
        client_release(a->mount->client, f);
    }
}

int do_read(struct actor *a, struct client_file *f, uint64_t off, uint32_t len)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_read);
    e->ino = client_file_ino(f);
    e->offset = off;
    e->size = len;
    client_read(a->mount->client, call_of(a), f, off, len);
    return finish(a);
}

int do_write(struct actor *a, struct client_file *f, uint64_t off, const void *data, uint32_t len,
             bool append)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_write);
    e->ino = client_file_ino(f);
    e->offset = off;
    e->size = len;
    client_write(a->mount->client, call_of(a), f, off, bytes_of(data, len), append,
                 a->unprivileged);
    return finish(a);
}

int do_flush(struct actor *a, struct client_file *f)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_close_files);
    e->ino = client_file_ino(f);
    client_flush(a->mount->client, call_of(a), f);
    return finish(a);
}

int do_fsync(struct actor *a, struct client_file *f)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_sync);
    e->ino = client_file_ino(f);
    e->flags = sim_chance(&a->rand, 1, 2);
    client_fsync(a->mount->client, call_of(a), f, e->flags != 0);
    return finish(a);
}

int do_fallocate(struct actor *a, struct client_file *f, int mode, uint64_t off, uint64_t len)
{
    MOUNT_OR_GONE(a);
    struct op_entry *e = begin(a, OP_extend);
    e->ino = client_file_ino(f);
    e->flags = (uint32_t)mode;
    e->offset = off;
    e->size = len;
    client_fallocate(a->mount->client, call_of(a), f, mode, off, len);
    return finish(a);
}

/* ---------------------------------------------------------------- calls that change nothing */

int do_statfs(struct actor *a)
{
    char text[512];
    MOUNT_OR_GONE(a);
    if (client_state(a->mount->client, text, sizeof(text)) != strlen(text) || text[0] == '\0') {
        world_fail(a->world, "a mount cannot say how it is");
    }
    (void)begin(a, OP_statfs);
    client_statfs(a->mount->client, call_of(a));
    int status = finish(a);
    const struct statfs_rep *r = &a->call.statfs;
    bool told = status == 0 && a->call.index != 0 && a->world->master_count == 1 && !a->gone;
    if (told && client_waiting(a->mount->client)) {
        world_fail(a->world, "a mount that was just answered says that it waits");
    }
    if (status == 0 && r->avail > r->total) {
        world_fail(a->world, "statfs: %llu of %llu bytes are free", (unsigned long long)r->avail,
                   (unsigned long long)r->total);
    }
    return status;
}

bool actor_interrupted(const struct actor *a)
{
    return !a->gone && !a->entry->ended;
}

/* Errors of what was written before come first. */
static int must_be(struct actor *a, int expected)
{
    int status = finish(a);
    bool earlier = status == -EIO || status == -ENOSPC;
    if (status != expected && status != GONE && !earlier) {
        world_fail(a->world, "a call on a file that must give %s gave %s", err_name(expected),
                   err_name(status));
    }
    return status == expected ? 0 : status;
}

int do_refused_file(struct actor *a, struct client_file *f)
{
    static const uint8_t bytes[IO_MAX + 1];
    MOUNT_OR_GONE(a);
    struct client *c = a->mount->client;
    (void)begin(a, OP_statfs);
    struct client_call *k = call_of(a);
    switch (sim_below(&a->rand, 9)) {
    case 0:
        client_fallocate(c, k, f, FALLOC_FL_COLLAPSE_RANGE, 0, 4096);
        return must_be(a, -EOPNOTSUPP);
    case 1:
        client_fallocate(c, k, f, FALLOC_FL_KEEP_SIZE, sim_below(&a->rand, 70000), 0);
        return must_be(a, -EINVAL);
    case 2:
        client_fallocate(c, k, f, 0, (1ull << 63) - sim_below(&a->rand, 2), 4096);
        return must_be(a, -EFBIG);
    case 3:
        client_write(c, k, f, INT64_MAX - 5, bytes_of(bytes, 10), false, false);
        return must_be(a, -EFBIG);
    case 4:
        client_write(c, k, f, 0, bytes_of(bytes, sizeof(bytes)), false, false);
        return must_be(a, -EINVAL);
    case 5:
        client_write(c, k, f, 0, bytes_of(bytes, 0), false, false);
        return must_be(a, 0);
    case 6:
        client_read(c, k, f, UINT64_MAX - sim_below(&a->rand, 100), 300);
        return must_be(a, 0);
    case 7:
        client_read(c, k, f, sim_below(&a->rand, 70000), 0);
        return must_be(a, 0);
    default:
        client_lseek(c, k, f, UINT64_MAX - sim_below(&a->rand, 2), sim_chance(&a->rand, 1, 2));
        return must_be(a, -ENXIO);
    }
}

static const struct {
    uint32_t len; /* of the name, or value */
    char text[8]; /* it; else it is made of as many letters */
    int status;
} refused[] = {
    {0, "", -EINVAL},    {1, ".", -EINVAL},    {2, "..", -EINVAL},
    {3, "a/b", -EINVAL}, {3, "a\0b", -EINVAL}, {3, "/..", -EINVAL},
    {1, "/", -EINVAL},   {2, "./", -EINVAL},   {256, "", -ENAMETOOLONG},
};

int do_refused(struct actor *a, uint64_t dir)
{
    static char letters[XATTR_VALUE_MAX + 1];
    MOUNT_OR_GONE(a);
    struct client *c = a->mount->client;
    const uint64_t row = sim_below(&a->rand, COUNT_OF(refused));
    struct attr large = {.size = 1ull << 63};
    struct bytes good = bytes_str("n");
    uint32_t over = (uint32_t)sim_below(&a->rand, 2);
    int expected = refused[row].status;
    bool asked = false;
    memset(letters, 'x', sizeof(letters));
    struct bytes bad = refused[row].text[0] != 0 ? bytes_of(refused[row].text, refused[row].len)
                                                 : bytes_of(letters, refused[row].len);
    (void)begin(a, OP_statfs);
    struct client_call *k = call_of(a);
    switch (sim_below(&a->rand, 12)) {
    case 0:
        client_mkdir(c, k, dir, bad, 0755, 0, 0);
        break;
    case 1:
        client_mknod(c, k, dir, bad, S_IFREG | 0644, 0, 0, 0);
        break;
    case 2:
        client_unlink(c, k, dir, bad);
        break;
    case 3:
        client_rename(c, k, dir, good, dir, bad, 0);
        break;
    case 4:
        client_symlink(c, k, dir, bad, good, 0, 0);
        break;
    case 5:
        client_link(c, k, dir, dir, bad);
        break;
    case 6:
        client_symlink(c, k, dir, good, bytes_of(letters, over ? SYMLINK_LEN_MAX + 1 : 0), 0, 0);
        expected = over ? -ENAMETOOLONG : -ENOENT;
        break;
    case 7:
        client_getxattr(c, k, dir, bytes_of(letters, over ? XATTR_NAME_MAX + 1 : 0));
        expected = -ERANGE;
        break;
    case 8:
        client_setxattr(c, k, dir, good, bytes_of(letters, XATTR_VALUE_MAX + 1), 0);
        expected = -E2BIG;
        break;
    case 9:
        client_removexattr(c, k, dir, bytes_of(letters, over ? XATTR_NAME_MAX + 1 : 0));
        expected = -ERANGE;
        break;
    case 10:
        client_setxattr(c, k, ROOT_INO, good, good,
                        over ? 4 : 1u << 31); /* refused by the master */
        expected = -EINVAL;
        asked = true;
        break;
    default:
        client_setattr(c, k, dir, SETATTR_SIZE, &large);
        expected = -EFBIG;
        break;
    }
    int status = finish(a);
    if (status != GONE && status != expected && !(asked && status == -EIO)) {
        world_fail(a->world, "a call that must fail with %s gave %s", err_name(expected),
                   err_name(status));
    }
    return status;
}
