/* history.c - what was asked and answered, judged by the log and the reference filesystem. */
#include "tests/sim/history.h"
#include "shared/base/mem.h"
#include "tests/sim/drops.h"
#include "tests/sim/world.h"
#include "tests/sim/writer_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct session_of {
    uint64_t session;
    uint32_t mount, life;
};

enum { STRANGER = 7 }; /* no mount */

struct history {
    struct world *world;
    struct op_entry **ops;
    uint32_t count;
    uint32_t cap;
    struct model *model;
    struct writer_model *writers;
    struct session_of *sessions;
    uint32_t session_count;
    bool *lost;      /* [mount * 256 + life]: a session of it expired */
    bool *data_file; /* by inode: its size may run ahead of the log */
    uint64_t ino_cap;
    struct chunk_truth *chunks; /* by handle - 1; handle 0 = gone */
    uint64_t chunk_count;
    uint32_t servers[WORLD_SERVERS_MAX]; /* id of each one's disk, by the log so far */
};

struct history *history_new(struct world *w)
{
    struct history *h = mem_new(struct history);
    h->world = w;
    h->lost = mem_alloc(8 * 256 * sizeof(bool));
    h->writers = writer_model_new();
    return h;
}

void history_free(struct history *h)
{
    for (uint32_t i = 0; i < h->count; i++) {
        mem_free(h->ops[i]->bytes);
        mem_free(h->ops[i]);
    }
    mem_free(h->ops);
    if (h->model != NULL) {
        model_free(h->model);
    }
    writer_model_free(h->writers);
    mem_free(h->sessions);
    mem_free(h->lost);
    mem_free(h->data_file);
    mem_free(h->chunks);
    mem_free(h);
}

struct op_entry *history_add(struct history *h)
{
    if (h->count == h->cap) {
        h->cap = h->cap ? 2 * h->cap : 1024;
        h->ops = mem_resize(h->ops, h->cap * sizeof(h->ops[0]));
    }
    struct op_entry *e = mem_new(struct op_entry);
    e->number = h->count;
    h->ops[h->count++] = e;
    return e;
}

uint32_t history_count(const struct history *h)
{
    return h->count;
}

struct model *history_model(struct history *h)
{
    return h->model;
}

void op_describe(const struct op_entry *e, char *out, uint32_t size)
{
    int n = snprintf(out, size, "op %u of mount-%u-%u: %s", e->number, e->mount, e->life,
                     e->op == OP_sync          ? "fsync"
                     : e->op == OP_close_files ? "flush"
                     : e->op == OP_extend      ? "fallocate"
                                               : op_name((uint16_t)e->op));
    if (e->ino != 0) {
        n += snprintf(out + n, size - (uint32_t)n, " inode %llu", (unsigned long long)e->ino);
    }
    if (e->name[0] != 0) {
        n += snprintf(out + n, size - (uint32_t)n, " %llu/%s", (unsigned long long)e->parent,
                      e->name);
    }
    if (e->new_name[0] != 0) {
        n += snprintf(out + n, size - (uint32_t)n, " -> %llu/%s flags %u",
                      (unsigned long long)e->new_parent, e->new_name, e->flags);
    }
    if (e->size != 0 || e->offset != 0) {
        n += snprintf(out + n, size - (uint32_t)n, " off %llu size %llu",
                      (unsigned long long)e->offset, (unsigned long long)e->size);
    }
    snprintf(out + n, size - (uint32_t)n, " = %s, inode %llu, log %llu..%llu, index %llu",
             e->ended ? e->status == 0 ? "ok" : err_name(e->status) : "in doubt",
             (unsigned long long)e->attr.ino, (unsigned long long)e->low,
             (unsigned long long)e->high, (unsigned long long)e->index);
}

static _Noreturn void op_fails(struct history *h, const struct op_entry *e, const char *what)
{
    char text[512];
    op_describe(e, text, sizeof(text));
    world_fail(h->world, "%s (%s)", what, text);
}

/* ---------------------------------------------------------------- records */

static struct session_of *session_find(struct history *h, uint64_t session)
{
    for (uint32_t i = 0; i < h->session_count; i++) {
        if (h->sessions[i].session == session) {
            return &h->sessions[i];
        }
    }
    return NULL;
}

static void session_opened(struct history *h, const struct session_open_rec *rec)
{
    struct session_of s = {.session = rec->session};
    char host[ADDR_LEN_MAX + 1] = {0};
    memcpy(host, rec->host.data, rec->host.len);
    if (strcmp(host, "stranger") == 0) {
        s.mount = STRANGER;
    } else if (sscanf(host, "mount-%u-%u", &s.mount, &s.life) != 2) {
        world_fail(h->world, "a session of host '%s' is in the log", host);
    }
    struct session_of *old = session_find(h, rec->session);
    if (old != NULL) { /* the same nonce twice */
        if (old->mount != s.mount || old->life != s.life) {
            world_fail(h->world, "session %llu was given to two mounts",
                       (unsigned long long)rec->session);
        }
        return;
    }
    h->sessions = mem_resize(h->sessions, (h->session_count + 1) * sizeof(s));
    h->sessions[h->session_count++] = s;
}

static void text_of(struct bytes b, char *out, size_t size)
{
    size_t n = MIN(b.len, size - 1);
    if (n > 0) {
        memcpy(out, b.data, n);
    }
    out[n] = 0;
}

static size_t list_of_u64(struct bytes list, uint64_t *out, size_t max)
{
    struct reader r = reader_of(list);
    size_t n = 0;
    while (!reader_done(&r) && n < max) {
        dec_u64(&r, &out[n++]);
    }
    return r.err == 0 ? n : 0;
}

static bool same_name(struct bytes b, const char *name)
{
    return bytes_equal(b, bytes_str(name));
}

/* Does the record carry out this call? */
static bool is_record_of(const struct op_entry *e, enum op_code type, const union op_any *rec)
{
    /* What the mount adds by itself. */
    const uint32_t beside = SETATTR_CLEAR_SUID | SETATTR_EXTEND | SETATTR_EXTEND_UNTOUCHED;
    if (e->op != type) {
        return false;
    }
    switch (type) {
    case OP_mkdir:
        return rec->mkdir_rec.uid == e->uid;
    case OP_mknod:
        return rec->mknod_rec.uid == e->uid;
    case OP_create:
        return rec->create_rec.uid == e->uid;
    case OP_symlink:
        return rec->symlink_rec.uid == e->uid;
    case OP_link:
        return rec->link_rec.ino == e->ino && rec->link_rec.parent == e->parent &&
               same_name(rec->link_rec.name, e->name);
    case OP_unlink:
        return rec->unlink_rec.parent == e->parent && same_name(rec->unlink_rec.name, e->name);
    case OP_rmdir:
        return rec->rmdir_rec.parent == e->parent && same_name(rec->rmdir_rec.name, e->name);
    case OP_rename:
        return rec->rename_rec.parent == e->parent && same_name(rec->rename_rec.name, e->name) &&
               rec->rename_rec.new_parent == e->new_parent &&
               same_name(rec->rename_rec.new_name, e->new_name) &&
               rec->rename_rec.flags == e->flags;
    case OP_setattr:
        return rec->setattr_rec.ino == e->ino && (rec->setattr_rec.mask & ~beside) == e->mask &&
               (!(e->mask & SETATTR_SIZE) || rec->setattr_rec.size == e->size) &&
               (!(e->mask & SETATTR_MODE) || rec->setattr_rec.mode == e->mode) &&
               (!(e->mask & SETATTR_UID) || rec->setattr_rec.uid == e->uid);
    case OP_setxattr:
        return rec->setxattr_rec.ino == e->ino && same_name(rec->setxattr_rec.name, e->name) &&
               same_name(rec->setxattr_rec.value, e->target) && rec->setxattr_rec.flags == e->flags;
    case OP_removexattr:
        return rec->removexattr_rec.ino == e->ino && same_name(rec->removexattr_rec.name, e->name);
    default:
        return false;
    }
}

static bool is_change(enum op_code op)
{
    switch (op) {
    case OP_mkdir:
    case OP_mknod:
    case OP_create:
    case OP_symlink:
    case OP_link:
    case OP_unlink:
    case OP_rmdir:
    case OP_rename:
    case OP_setattr:
    case OP_setxattr:
    case OP_removexattr:
        return true;
    default:
        return false;
    }
}

static bool in_doubt(const struct op_entry *e)
{
    return !e->ended || e->status == -EIO;
}

static struct op_entry *match(struct history *h, const struct record *r, const union op_any *rec)
{
    struct session_of *s = session_find(h, r->session);
    if (r->session == 0 && r->type == OP_setattr) {
        return NULL; /* the master takes a large file apart, before it cuts it */
    }
    if (s == NULL) {
        world_fail(h->world, "record %llu belongs to session %llu, which was never opened",
                   (unsigned long long)r->index, (unsigned long long)r->session);
    }
    if (s->mount == STRANGER) {
        return NULL;
    }
    /* Those that were interrupted come after those that must have one. */
    for (uint32_t i = 0; i < 2 * h->count; i++) {
        struct op_entry *e = h->ops[i % h->count];
        bool may = i < h->count ? e->ended && e->status == 0 && r->index <= e->high
                                : in_doubt(e) || e->status == 0;
        if (may && e->record == 0 && e->mount == s->mount && e->life == s->life &&
            r->index > e->low && is_record_of(e, r->type, rec)) {
            e->record = r->index;
            return e;
        }
    }
    /* The mount's core itself changes sizes, for fallocate. */
    if (r->type == OP_setattr && (rec->setattr_rec.mask & SETATTR_SIZE)) {
        return NULL;
    }
    world_fail(h->world, "record %llu (%s, session %llu, sequence %llu) was not asked for",
               (unsigned long long)r->index, op_name(r->type), (unsigned long long)r->session,
               (unsigned long long)r->sequence);
}

/* ---------------------------------------------------------------- chunks */

static struct chunk_truth *chunk_slot(struct history *h, uint64_t handle)
{
    if (handle > h->chunk_count) {
        h->chunks = mem_resize(h->chunks, handle * sizeof(h->chunks[0]));
        memset(&h->chunks[h->chunk_count], 0, (handle - h->chunk_count) * sizeof(h->chunks[0]));
        h->chunk_count = handle;
    }
    return &h->chunks[handle - 1];
}

static void chunk_set(struct history *h, uint64_t ino, uint64_t number, uint64_t handle,
                      uint64_t version, struct bytes members)
{
    struct chunk_truth *c = chunk_slot(h, handle);
    *c = (struct chunk_truth){ino, number, handle, version, {0}, 0, c->written};
    struct reader r = reader_of(members);
    while (!reader_done(&r) && c->member_count < REPLICAS_MAX) {
        dec_u32(&r, &c->members[c->member_count++]);
    }
}

static void chunk_new_version(struct history *h, const struct chunk_version_rec *rec)
{
    if (rec->handle > h->chunk_count || h->chunks[rec->handle - 1].handle == 0) {
        return; /* it has gone meanwhile */
    }
    if (rec->version <= h->chunks[rec->handle - 1].version) {
        world_fail(h->world, "chunk %llu goes from version %llx to %llx",
                   (unsigned long long)rec->handle,
                   (unsigned long long)h->chunks[rec->handle - 1].version,
                   (unsigned long long)rec->version);
    }
    uint32_t before = h->chunks[rec->handle - 1].member_count;
    chunk_set(h, rec->ino, rec->number, rec->handle, rec->version, rec->members);
    h->chunks[rec->handle - 1].written = true;
    uint32_t members = h->chunks[rec->handle - 1].member_count;
    if (before > 2 && members < 2) {
        world_fail(h->world, "chunk %llu goes from %u members to %u with version %llx",
                   (unsigned long long)rec->handle, before, members,
                   (unsigned long long)rec->version);
    }
}

static void chunks_cut(struct history *h, uint64_t ino, uint64_t size)
{
    for (uint64_t i = 0; i < h->chunk_count; i++) {
        struct chunk_truth *c = &h->chunks[i];
        if (c->handle != 0 && c->ino == ino && c->number * h->world->geo.chunk_bytes >= size) {
            *c = (struct chunk_truth){0};
        }
    }
}

static void chunks_sweep(struct history *h)
{
    for (uint64_t i = 0; i < h->chunk_count; i++) {
        if (h->chunks[i].handle != 0 && !model_keeps(h->model, h->chunks[i].ino)) {
            h->chunks[i] = (struct chunk_truth){0};
        }
    }
}

static void chunks_bind(struct history *h, uint64_t ino, uint64_t end)
{
    for (uint64_t i = 0; i < h->chunk_count; i++) {
        struct chunk_truth *c = &h->chunks[i];
        if (c->handle != 0 && c->ino == ino && c->number * h->world->geo.chunk_bytes < end) {
            c->written = true;
        }
    }
}

const struct chunk_truth *history_chunk(struct history *h, uint64_t handle)
{
    for (uint64_t i = MAX(handle, 1u); i <= h->chunk_count; i++) {
        if (h->chunks[i - 1].handle != 0) {
            return &h->chunks[i - 1];
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- replay */

static int make_inode(struct history *h, uint64_t parent, struct bytes name, uint32_t mode,
                      uint32_t uid, uint32_t gid, uint32_t rdev, struct bytes target, uint64_t ino)
{
    char text[NAME_LEN_MAX + 1];
    char to[64];
    text_of(name, text, sizeof(text));
    text_of(target, to, sizeof(to));
    if (model_find(h->model, ino) != NULL) {
        world_fail(h->world, "inode number %llu was given twice", (unsigned long long)ino);
    }
    struct model_make a = {parent, text, mode, uid, gid, rdev, target.len ? to : NULL, ino};
    return model_make(h->model, true, &a);
}

static bool is_device(uint32_t mode)
{
    return S_ISCHR(mode) || S_ISBLK(mode);
}

static int replay_create(struct history *h, const struct create_rec *c)
{
    if (c->ino >= h->ino_cap) {
        uint64_t cap = 2 * c->ino + 64;
        h->data_file = mem_resize(h->data_file, cap * sizeof(bool));
        memset(h->data_file + h->ino_cap, 0, (cap - h->ino_cap) * sizeof(bool));
        h->ino_cap = cap;
    }
    h->data_file[c->ino] = true;
    if (c->handle != 0) {
        chunk_set(h, c->ino, 0, c->handle, c->version, c->members);
    }
    return make_inode(h, c->parent, c->name, S_IFREG | (c->mode & 07777), c->uid, c->gid, 0,
                      (struct bytes){0}, c->ino);
}

static int replay_rename(struct history *h, const struct rename_rec *c)
{
    char name[NAME_LEN_MAX + 1];
    char new_name[NAME_LEN_MAX + 1];
    uint64_t holders[MODEL_HOLDERS_MAX];
    text_of(c->name, name, sizeof(name));
    text_of(c->new_name, new_name, sizeof(new_name));
    struct model_rename a = {c->parent,
                             name,
                             c->new_parent,
                             new_name,
                             c->flags,
                             holders,
                             list_of_u64(c->holders, holders, MODEL_HOLDERS_MAX),
                             c->trash != 0};
    return model_rename(h->model, true, &a);
}

static int replay_unlink(struct history *h, const struct unlink_rec *c)
{
    char name[NAME_LEN_MAX + 1];
    uint64_t holders[MODEL_HOLDERS_MAX];
    text_of(c->name, name, sizeof(name));
    size_t n = list_of_u64(c->holders, holders, MODEL_HOLDERS_MAX);
    return model_unlink(h->model, true, c->parent, name, holders, n, c->trash != 0);
}

static void replay_trash_drop(struct history *h, const struct trash_drop_rec *c)
{
    struct reader r = reader_of(c->items);
    while (!reader_done(&r)) {
        uint64_t expires, ino;
        dec_u64(&r, &expires);
        dec_u64(&r, &ino);
        model_trash_drop(h->model, ino);
    }
}

static int replay_setattr(struct history *h, const struct setattr_rec *c)
{
    struct model_setattr a = {.ino = c->ino,
                              .set_mode = c->mask & SETATTR_MODE,
                              .set_uid = c->mask & SETATTR_UID,
                              .set_gid = c->mask & SETATTR_GID,
                              .set_size = c->mask & SETATTR_SIZE,
                              .clear_suid = c->mask & SETATTR_CLEAR_SUID,
                              .mode = c->mode,
                              .uid = c->uid,
                              .gid = c->gid,
                              .size = c->size};
    const struct model_inode *n = model_find(h->model, c->ino);
    if ((c->mask & SETATTR_EXTEND) && n != NULL) {
        chunks_bind(h, c->ino, c->size);
        (void)model_extend(h->model, true, c->ino, c->size, false);
    }
    if (a.set_size && n != NULL && c->size <= n->size) { /* longer: what was reserved stays */
        chunks_cut(h, c->ino, c->size);
    }
    return model_setattr(h->model, true, &a);
}

static void replay_expire(struct history *h, const struct session_expire_rec *c)
{
    struct session_of *s = session_find(h, c->session);
    if (s != NULL) {
        h->lost[s->mount * 256 + s->life % 256] = true;
    }
    model_session_end(h->model, c->session);
}

static void cut_at_size(void *owner, uint64_t ino)
{
    struct history *h = owner;
    struct model_inode *n = model_find(h->model, ino);
    if (n != NULL) {
        chunks_cut(h, ino, n->size);
    }
}

static void replay_replicas(struct history *h, const struct replicas_put_rec *rec)
{
    uint64_t list[64];
    size_t count = list_of_u64(rec->inodes, list, COUNT_OF(list));
    for (size_t i = 0; i < count; i++) {
        struct model_inode *n = model_kept(h->model, list[i]);
        if (n != NULL && (S_ISREG(n->mode) || S_ISDIR(n->mode))) {
            model_set_replicas(n, rec->replicas);
        }
    }
}

/* Carries the record out in the reference. */
static int replay(struct history *h, const struct record *r, const union op_any *rec)
{
    char name[NAME_LEN_MAX + 1];
    char value[32];
    switch ((enum op_code)r->type) {
    case OP_session_open:
        session_opened(h, &rec->session_open_rec);
        return 0;
    case OP_session_end:
        model_session_end(h->model, r->session);
        return 0;
    case OP_session_expire:
        replay_expire(h, &rec->session_expire_rec);
        return 0;
    case OP_release_orphan:
        model_release(h->model, rec->release_orphan_rec.ino, rec->release_orphan_rec.session);
        return 0;
    case OP_mkdir:
        return make_inode(h, rec->mkdir_rec.parent, rec->mkdir_rec.name,
                          S_IFDIR | (rec->mkdir_rec.mode & 01777), rec->mkdir_rec.uid,
                          rec->mkdir_rec.gid, 0, (struct bytes){0}, rec->mkdir_rec.ino);
    case OP_mknod:
        return make_inode(h, rec->mknod_rec.parent, rec->mknod_rec.name, rec->mknod_rec.mode,
                          rec->mknod_rec.uid, rec->mknod_rec.gid,
                          is_device(rec->mknod_rec.mode) ? rec->mknod_rec.rdev : 0,
                          (struct bytes){0}, rec->mknod_rec.ino);
    case OP_create:
        return replay_create(h, &rec->create_rec);
    case OP_symlink:
        return make_inode(h, rec->symlink_rec.parent, rec->symlink_rec.name, S_IFLNK | 0777,
                          rec->symlink_rec.uid, rec->symlink_rec.gid, 0, rec->symlink_rec.target,
                          rec->symlink_rec.ino);
    case OP_link:
        text_of(rec->link_rec.name, name, sizeof(name));
        return model_link(h->model, true, rec->link_rec.ino, rec->link_rec.parent, name);
    case OP_unlink:
        return replay_unlink(h, &rec->unlink_rec);
    case OP_rmdir:
        text_of(rec->rmdir_rec.name, name, sizeof(name));
        return model_rmdir(h->model, true, rec->rmdir_rec.parent, name, rec->rmdir_rec.trash != 0);
    case OP_rename:
        return replay_rename(h, &rec->rename_rec);
    case OP_trash_drop:
        replay_trash_drop(h, &rec->trash_drop_rec);
        return 0;
    case OP_trash_return:
        text_of(rec->trash_return_rec.name, name, sizeof(name));
        return model_trash_return(h->model, rec->trash_return_rec.ino, rec->trash_return_rec.parent,
                                  name);
    case OP_setattr:
        return replay_setattr(h, &rec->setattr_rec);
    case OP_setxattr:
        text_of(rec->setxattr_rec.name, name, sizeof(name));
        text_of(rec->setxattr_rec.value, value, sizeof(value));
        return model_setxattr(h->model, true, rec->setxattr_rec.ino, name, value,
                              rec->setxattr_rec.flags);
    case OP_removexattr:
        text_of(rec->removexattr_rec.name, name, sizeof(name));
        return model_removexattr(h->model, true, rec->removexattr_rec.ino, name);
    case OP_replicas_put:
        replay_replicas(h, &rec->replicas_put_rec);
        return 0;
    case OP_extend:
        chunks_bind(h, rec->extend_rec.ino, rec->extend_rec.end);
        return model_extend(h->model, true, rec->extend_rec.ino, rec->extend_rec.end,
                            rec->extend_rec.clear_suid);
    case OP_chunk_new:
        chunk_set(h, rec->chunk_new_rec.ino, rec->chunk_new_rec.number, rec->chunk_new_rec.handle,
                  rec->chunk_new_rec.version, rec->chunk_new_rec.members);
        return 0;
    case OP_chunk_version:
        chunk_new_version(h, &rec->chunk_version_rec);
        return 0;
    default:
        return 0;
    }
}

/* ---------------------------------------------------------------- judgement of answers */

/* Why the attributes cannot be these, or NULL. */
static const char *attr_differs(struct history *h, const struct attr *a)
{
    struct model_inode *n = model_find(h->model, a->ino);
    if (n == NULL) {
        return "the inode does not exist";
    }
    if (a->mode != n->mode) {
        return "mode differs";
    }
    if (a->nlink != n->nlink) {
        return "nlink differs";
    }
    if (a->uid != n->uid || a->gid != n->gid || a->rdev != n->rdev) {
        return "owner differs";
    }
    bool runs_ahead = a->ino < h->ino_cap && h->data_file[a->ino];
    if (!runs_ahead && a->size != n->size) {
        return "size differs";
    }
    return NULL;
}

/* Is the page of a directory what the reference has? Only asked for pages that are whole
 * directories. */
static bool dir_fits(struct history *h, const struct op_entry *e)
{
    struct model_inode *dir = model_find(h->model, e->ino);
    struct reader r = reader_of(bytes_of(e->bytes, e->byte_count));
    size_t seen = 0;
    while (!reader_done(&r)) {
        struct dir_entry d;
        uint64_t ino;
        char name[NAME_LEN_MAX + 1];
        dec_dir_entry(&r, &d);
        if (r.err != 0) {
            return false;
        }
        text_of(d.name, name, sizeof(name));
        if (model_lookup(h->model, e->ino, name, &ino) != 0 || ino != d.attr.ino) {
            return false;
        }
        struct model_inode *n = model_find(h->model, ino);
        if (e->flags != 0 ? attr_differs(h, &d.attr) != NULL
                          : (d.attr.mode & S_IFMT) != (n->mode & S_IFMT)) {
            return false;
        }
        seen++;
    }
    return seen == dir->entry_count;
}

/* Whether another mount may open what has no name any more and this one holds is not promised. */
static int open_expected(const struct model_inode *n, int status)
{
    if (n == NULL || (n->nlink == 0 && status == -ENOENT)) {
        return -ENOENT;
    }
    if (S_ISDIR(n->mode)) {
        return -EISDIR;
    }
    return S_ISREG(n->mode) ? 0 : -EINVAL;
}

static bool xattr_fits(const struct model_inode *n, const struct op_entry *e)
{
    char names[256];
    struct bytes got = bytes_of(e->bytes, e->byte_count);
    if (e->op == OP_getxattr) {
        return bytes_equal(got, bytes_str(model_getxattr(n, e->name)));
    }
    return bytes_equal(got, bytes_of(names, (uint32_t)model_listxattr(n, names, sizeof(names))));
}

/* What the reference would answer now; 0 also compares the values, with 1 if they differ. */
static int expected_query(struct history *h, const struct op_entry *e)
{
    struct model *m = h->model;
    uint64_t ino = e->ino;
    int err = 0;
    if (e->op == OP_lookup) {
        err = model_lookup(m, e->parent, e->name, &ino);
    }
    struct model_inode *n = err == 0 ? model_find(m, ino) : NULL;
    if (err == 0 && e->op == OP_open) {
        err = open_expected(n, e->status);
    } else if (err == 0 && n == NULL) {
        err = -ENOENT;
    } else if (e->op == OP_readdir && !S_ISDIR(n->mode)) {
        err = -ENOTDIR;
    } else if (e->op == OP_readlink && !S_ISLNK(n->mode)) {
        err = -EINVAL;
    } else if (e->op == OP_getxattr && model_getxattr(n, e->name) == NULL) {
        err = -ENODATA;
    }
    if (err != 0 || e->status != 0) {
        return err;
    }
    if (e->op == OP_readdir) {
        return !e->end || e->offset != 0 || dir_fits(h, e) ? 0 : 1;
    }
    if (e->op == OP_getxattr || e->op == OP_listxattr) {
        return xattr_fits(n, e) ? 0 : 1;
    }
    if (e->op == OP_readlink) {
        return bytes_equal(bytes_of(e->bytes, e->byte_count), bytes_str(n->target)) ? 0 : 1;
    }
    return e->attr.ino == ino && attr_differs(h, &e->attr) == NULL ? 0 : 1;
}

static int expected_change(struct history *h, const struct op_entry *e)
{
    struct model *m = h->model;
    struct model_make make = {.parent = e->parent, .name = e->name, .mode = e->mode};
    struct model_rename move = {.parent = e->parent,
                                .name = e->name,
                                .new_parent = e->new_parent,
                                .new_name = e->new_name,
                                .flags = e->flags};
    struct model_setattr set = {.ino = e->ino, .set_size = e->mask & SETATTR_SIZE};
    switch (e->op) {
    case OP_link:
        return model_link(m, false, e->ino, e->parent, e->name);
    case OP_unlink:
        return model_unlink(m, false, e->parent, e->name, NULL, 0, false);
    case OP_rmdir:
        return model_rmdir(m, false, e->parent, e->name, false);
    case OP_rename:
        return model_rename(m, false, &move);
    case OP_setattr:
        return model_setattr(m, false, &set);
    case OP_setxattr:
        return model_setxattr(m, false, e->ino, e->name, e->target, e->flags);
    case OP_removexattr:
        return model_removexattr(m, false, e->ino, e->name);
    default:
        return model_make(m, false, &make);
    }
}

/* Would the call make the file longer than the log has it now? */
static bool is_longer(struct history *h, const struct op_entry *e)
{
    bool sets_size = e->op == OP_setattr && (e->mask & SETATTR_SIZE) != 0;
    const struct model_inode *n = sets_size ? model_find(h->model, e->ino) : NULL;
    return n != NULL && S_ISREG(n->mode) && n->size < e->size;
}

static bool is_query(enum op_code op)
{
    return op == OP_lookup || op == OP_getattr || op == OP_readdir || op == OP_readlink ||
           op == OP_open || op == OP_getxattr || op == OP_listxattr;
}

/* Answers that must fit some state between call and answer: look at the one after record `index`.
 */
static void judge_state(struct history *h, uint64_t index)
{
    for (uint32_t i = 0; i < h->count; i++) {
        struct op_entry *e = h->ops[i];
        if (!e->ended || e->found || index < e->low || index > e->high) {
            continue;
        }
        if (is_query(e->op)) {
            e->expected = expected_query(h, e);
        } else if (is_change(e->op) && e->status != 0) {
            e->expected = expected_change(h, e);
            e->lengthens |= is_longer(h, e);
        } else {
            continue;
        }
        e->found = e->expected == e->status;
    }
}

/* The call whose record was just replayed. */
static void judge_change(struct history *h, const struct op_entry *e)
{
    if (!e->ended || e->status != 0) {
        return;
    }
    if (e->record > e->high) {
        op_fails(h, e, "it was answered before its record was durable");
    }
    if (e->index != 0 && e->index < e->record) {
        op_fails(h, e, "its answer names an index before its record");
    }
    /* A create that was repeated opens its file then, and tells of that moment. */
    bool later = e->op == OP_create && e->high > e->record;
    bool has_attr = !later && e->op != OP_unlink && e->op != OP_rmdir && e->op != OP_rename &&
                    e->op != OP_setxattr && e->op != OP_removexattr;
    const char *why = has_attr ? attr_differs(h, &e->attr) : NULL;
    if (why != NULL) {
        op_fails(h, e, why);
    }
}

/* What makes room must work on a full disk. A file that gets longer needs some: the new size vouches
 * for its first chunk, whose replicas are made before (first_chunk.h) if the writes to it failed. */
static bool is_removal(const struct op_entry *e)
{
    return e->op == OP_unlink || e->op == OP_rmdir || e->op == OP_removexattr ||
           (e->op == OP_setattr && (e->mask & SETATTR_SIZE) != 0 && !e->lengthens);
}

static void judge_rest(struct history *h)
{
    for (uint32_t i = 0; i < h->count; i++) {
        struct op_entry *e = h->ops[i];
        if (!e->ended) {
            continue;
        }
        if (e->status == -ENOSPC && is_removal(e)) {
            op_fails(h, e, "a removal fails for want of space");
        }
        if (e->status == -ENOSPC && e->short_of_space) {
            continue;
        }
        if (e->status == -EIO) {
            if (!e->excused && !h->lost[e->mount * 256 + e->life % 256]) {
                op_fails(h, e, "it failed although its session had not ended");
            }
            continue;
        }
        if (is_change(e->op) && e->status == 0 && e->record == 0) {
            op_fails(h, e, "an acknowledged change is not in the log");
        }
        bool by_state = is_query(e->op) || (is_change(e->op) && e->status != 0);
        if (by_state && !e->found) {
            char text[64];
            snprintf(text, sizeof(text), "no state fits its answer, the last gave %s",
                     e->expected == 1   ? "other values"
                     : e->expected == 0 ? "ok"
                                        : err_name(e->expected));
            op_fails(h, e, text);
        }
    }
}

static void judge_sequences(struct history *h, uint64_t last)
{
    for (uint64_t i = 1; i <= last; i++) {
        const struct record *a = log_tap_record(h->world->tap, i);
        if (a->sequence == 0) {
            continue;
        }
        for (uint64_t k = i + 1; k <= last; k++) {
            const struct record *b = log_tap_record(h->world->tap, k);
            if (b->session == a->session && b->sequence == a->sequence) {
                world_fail(h->world, "records %llu and %llu both are session %llu sequence %llu",
                           (unsigned long long)i, (unsigned long long)k,
                           (unsigned long long)a->session, (unsigned long long)a->sequence);
            }
        }
    }
}

/* ---------------------------------------------------------------- removals */

/* The disk that the chunkserver with this number in the world has now. */
static void server_added(struct history *h, const struct server_add_rec *rec)
{
    uint32_t number = 0;
    char addr[ADDR_LEN_MAX + 1];
    text_of(rec->server.addr, addr, sizeof(addr));
    if (sscanf(addr, "10.0.1.%u:", &number) == 1 && number < WORLD_SERVERS_MAX) {
        h->servers[number] = rec->server.id;
    }
}

static bool is_member(void *owner, uint64_t handle, uint32_t chunkd)
{
    const struct history *h = owner;
    if (handle == 0 || handle > h->chunk_count) {
        return false;
    }
    const struct chunk_truth *c = &h->chunks[handle - 1];
    bool found = false;
    for (uint32_t i = 0; i < c->member_count; i++) {
        found = found || c->members[i] == h->servers[chunkd];
    }
    return c->handle != 0 && found;
}

void history_judge(struct history *h)
{
    struct world *w = h->world;
    uint64_t last = log_tap_last(w->tap);
    if (log_tap_wrong(w->tap) != NULL) {
        world_fail(w, "operation log: %s", log_tap_wrong(w->tap));
    }
    judge_sequences(h, last);
    h->model = model_new();
    judge_state(h, 0);
    int64_t time = INT64_MIN;
    for (uint64_t i = 1; i <= last; i++) {
        const struct record *r = log_tap_record(w->tap, i);
        const struct op_info *info = op_info_of(r->type);
        union op_any rec;
        memset(&rec, 0, sizeof(rec));
        if (r->time_ns <= time) {
            world_fail(w, "the time of record %llu does not rise", (unsigned long long)i);
        }
        time = r->time_ns;
        if (info == NULL || info->rec_decode(r->body, &rec) != 0) {
            world_fail(w, "record %llu (type %x) does not decode", (unsigned long long)i, r->type);
        }
        struct op_entry *e = is_change((enum op_code)r->type) ? match(h, r, &rec) : NULL;
        writer_model_record(h->writers, r, &rec, cut_at_size, h);
        int err = replay(h, r, &rec);
        if (err != 0) {
            world_fail(w, "record %llu (%s) is impossible: %s", (unsigned long long)i,
                       op_name(r->type), err_name(err));
        }
        chunks_sweep(h);
        if (e != NULL) {
            judge_change(h, e);
        }
        judge_state(h, i);
        if (r->type == OP_server_add) {
            server_added(h, &rec.server_add_rec);
        }
        drops_judge(w->drops, i, &(struct drop_ground){is_member, h});
    }
    judge_rest(h);
}
