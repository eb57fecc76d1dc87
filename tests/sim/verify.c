/* verify.c - after the faults: the cluster settles, and everything promised is there. */
#include "tests/sim/verify.h"
#include "master/core/master_internal.h"
#include "shared/base/mem.h"
#include "tests/sim/data_work.h"
#include "tests/sim/history.h"
#include "tests/sim/leave.h"
#include "tests/sim/monitors.h"
#include "tests/sim/shared_work.h"
#include "tests/sim/verify_set.h"
#include "tests/sim/verify_space.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { SETTLE_S = 600 };

/* What keeps the cluster from being at rest, or NULL. */
static const char *unsettled(struct world *w)
{
    const struct sim_server *primary = world_primary(w);
    if (primary == NULL || !master_settled(primary->master)) {
        return primary == NULL ? "no master is the primary" : "the master";
    }
    const char *apart = w->master_count > 1   ? verify_set_unsettled(w)
                        : w->monitors != NULL ? monitors_unsettled(w->monitors)
                                              : NULL;
    if (apart != NULL) {
        return apart;
    }
    for (uint32_t i = 1; i < w->server_count; i++) {
        if (!chunkd_settled(w->servers[i].chunkd)) {
            return w->servers[i].process->name;
        }
    }
    for (uint32_t i = 0; i < w->mount_count; i++) {
        if (!client_settled(w->mounts[i].client)) {
            return w->mounts[i].process->name;
        }
    }
    return NULL;
}

/* At rest means at rest for three seconds in a row, with dead sessions gone. */
static void settle(struct world *w)
{
    for (uint32_t i = 1; i < w->server_count; i++) {
        chunkd_hold_scans(w->servers[i].chunkd, true); /* what they verified is written down */
    }
    sim_run_for(w->sim, (uint64_t)w->geo.session_ms * NS_PER_MS * 3 / 2);
    uint64_t end = w->sim->now_ns + SETTLE_S * NS_PER_S;
    uint32_t calm = 0;
    const char *who = NULL;
    while (calm < 15) {
        if (w->sim->now_ns > end) {
            world_fail(w, "not at rest after %d s: %s", SETTLE_S, who);
        }
        sim_run_for(w->sim, 200 * NS_PER_MS);
        who = unsettled(w);
        calm = who == NULL ? calm + 1 : 0;
    }
}

static bool all_scanned(void *world)
{
    struct world *w = world;
    for (uint32_t i = 1; i < w->server_count; i++) {
        if (!chunkd_scanned(w->servers[i].chunkd)) {
            return false;
        }
    }
    return true;
}

static bool is_unreadable(const struct world *w, uint64_t handle)
{
    for (uint32_t i = 0; i < w->unreadable_count; i++) {
        if (w->unreadable[i] == handle) {
            return true;
        }
    }
    return false;
}

/* What was not synced is lost if one server lost power and the disk of another did not write what
 * it said it wrote: nobody can tell that it was not synced, so such blocks are EIO for good. */
static bool is_excused(struct world *w, const struct chunkd_replica_info *r)
{
    struct data_file *d = data_file_of(w, r->ino);
    uint64_t bytes = w->geo.chunk_bytes;
    bool doubtful = d != NULL ? file_model_is_doubtful(d->model, r->number * bytes, bytes)
                              : shared_is_doubtful(w, r->ino);
    if (!doubtful || w->unreadable_count == WORLD_UNREADABLE_MAX) {
        return false;
    }
    if (!is_unreadable(w, r->handle)) {
        w->unreadable[w->unreadable_count++] = r->handle;
    }
    return true;
}

/* Bytes of the replica that anybody can read: what lies behind its chunk's trim are zeros, whatever stands there. */
static uint32_t readable_bytes(const struct world *w, const struct chunkd_replica_info *r)
{
    struct ns_chunk k;
    bool there = ns_chunk_get(world_primary(w)->master->ns, r->ino, r->number, &k) == 0;
    return there && k.handle == r->handle ? k.trim : NO_TRIM;
}

static void report_damage(struct world *w)
{
    for (uint32_t i = 1; i < w->server_count; i++) {
        struct sim_server *s = &w->servers[i];
        struct chunkd_replica_info r;
        bool behind = false;
        for (uint64_t h = 1; chunkd_replica_next(s->chunkd, h, &r) == 0; h = r.handle + 1) {
            uint32_t end = readable_bytes(w, &r);
            int err = chunkd_verify(s->chunkd, r.handle, end);
            behind = behind || (end != NO_TRIM && err == 0 &&
                                chunkd_verify(s->chunkd, r.handle, NO_TRIM) != 0);
            if (err != 0 && !is_excused(w, &r)) {
                world_fail(w, "a damaged block is not repaired: chunk %llu of inode %llu on %s: %s",
                           (unsigned long long)r.handle, (unsigned long long)r.ino,
                           s->process->name, err_text(err));
            }
        }
        if (!chunkd_scanned(s->chunkd) && w->unreadable_count == 0 && !behind) {
            world_fail(w, "the scan of %s does not end", s->process->name);
        }
    }
}

/* Every damaged block is found, and repaired from a good one. */
static void scan(struct world *w)
{
    for (uint32_t i = 1; i < w->server_count; i++) {
        chunkd_hold_scans(w->servers[i].chunkd, false);
    }
    /* One that an operator asked for may have read what was damaged since; it ends first. */
    (void)sim_run_until(w->sim, all_scanned, w, 120 * NS_PER_S);
    for (uint32_t i = 1; i < w->server_count; i++) {
        chunkd_scan(w->servers[i].chunkd);
    }
    if (!sim_run_until(w->sim, all_scanned, w, 120 * NS_PER_S)) {
        report_damage(w);
    }
}

/* ---------------------------------------------------------------- replicas */

static void check_replica(struct world *w, const struct chunk_truth *c, uint32_t number,
                          struct chunkd_replica_info *first)
{
    struct sim_server *s = &w->servers[number];
    struct chunkd_replica_info r;
    if (chunkd_replica(s->chunkd, c->handle, &r) != 0) {
        if (c->written) {
            world_fail(w, "chunk %llu of inode %llu: %s, a member of version %llx, has no replica",
                       (unsigned long long)c->handle, (unsigned long long)c->ino, s->process->name,
                       (unsigned long long)c->version);
        }
        return;
    }
    if (!c->written && r.length == 0) {
        return; /* made for a version whose record was never written: as good as none */
    }
    uint32_t end = readable_bytes(w, &r);
    bool doubted = r.state != REPLICA_OK && (end == NO_TRIM || r.state != REPLICA_BAD);
    if (r.version != c->version || doubted || r.ino != c->ino || r.number != c->number) {
        world_fail(
            w,
            "chunk %llu of inode %llu: %s has version %llx state %u of inode %llu, the log has "
            "%llx",
            (unsigned long long)c->handle, (unsigned long long)c->ino, s->process->name,
            (unsigned long long)r.version, r.state, (unsigned long long)r.ino,
            (unsigned long long)c->version);
    }
    int err = chunkd_verify(s->chunkd, c->handle, end);
    if (err != 0) {
        world_fail(w, "chunk %llu of inode %llu: what %s holds is damaged: %s",
                   (unsigned long long)c->handle, (unsigned long long)c->ino, s->process->name,
                   err_text(err));
    }
    if (first->handle == 0) {
        *first = r;
    } else if (r.digest != first->digest || r.length != first->length) {
        world_fail(
            w, "chunk %llu of inode %llu version %llx: replicas differ (lengths %u and %u at %s)",
            (unsigned long long)c->handle, (unsigned long long)c->ino,
            (unsigned long long)c->version, first->length, r.length, s->process->name);
    }
}

static void check_members(struct world *w, const struct chunk_truth *c)
{
    bool member[WORLD_SERVERS_MAX] = {false};
    struct chunkd_replica_info first = {0};
    for (uint32_t i = 0; i < c->member_count; i++) {
        uint32_t number = world_chunkd(w, c->members[i]);
        if (number == 0) {
            if (c->written) {
                world_fail(w, "chunk %llu of inode %llu has member %u, whose disk is lost",
                           (unsigned long long)c->handle, (unsigned long long)c->ino,
                           c->members[i]);
            }
            continue;
        }
        member[number] = true;
        check_replica(w, c, number, &first);
    }
    for (uint32_t i = 1; i < w->server_count; i++) {
        struct chunkd_replica_info r;
        if (!member[i] && chunkd_replica(w->servers[i].chunkd, c->handle, &r) == 0) {
            world_fail(w, "chunk %llu of inode %llu: %s keeps a replica and is no member",
                       (unsigned long long)c->handle, (unsigned long long)c->ino,
                       w->servers[i].process->name);
        }
    }
}

static void check_replicas(struct world *w)
{
    const struct chunk_truth *c;
    for (uint64_t h = 1; (c = history_chunk(w->history, h)) != NULL; h = c->handle + 1) {
        if (is_unreadable(w, c->handle)) {
            continue;
        }
        const struct model_inode *n = model_kept(history_model(w->history), c->ino);
        uint32_t wanted = n != NULL ? model_replicas(n) : 0;
        if (c->member_count != (wanted != 0 ? wanted : WORLD_REPLICAS) && c->written) {
            world_fail(w, "chunk %llu of inode %llu has %u members", (unsigned long long)c->handle,
                       (unsigned long long)c->ino, c->member_count);
        }
        check_members(w, c);
    }
    for (uint32_t i = 1; i < w->server_count; i++) {
        struct chunkd_replica_info r;
        for (uint64_t h = 1; chunkd_replica_next(w->servers[i].chunkd, h, &r) == 0;
             h = r.handle + 1) {
            c = history_chunk(w->history, r.handle);
            if (c == NULL || c->handle != r.handle) {
                world_fail(w, "%s keeps a replica of chunk %llu of inode %llu, which is gone",
                           w->servers[i].process->name, (unsigned long long)r.handle,
                           (unsigned long long)r.ino);
            }
        }
    }
}

/* ---------------------------------------------------------------- reading everything */

static void must(struct actor *a, int status)
{
    if (status != 0) {
        char text[256];
        op_describe(a->entry, text, sizeof(text));
        world_fail(a->world, "reading everything back: %s", text);
    }
}

static void read_file(struct actor *a, const struct model_inode *n)
{
    struct attr attr;
    uint64_t open_ns = a->world->sim->now_ns;
    must(a, do_open(a, n->ino, O_RDONLY, &attr));
    struct client_file *f = a->opened;
    int shared = shared_read_all(a, n->ino, f, open_ns);
    must(a, shared == -EIO && a->world->unreadable_count > 0 ? 0 : shared);
    struct data_file *d = data_file_of(a->world, n->ino);
    if (attr.size != n->size) {
        world_fail(a->world, "inode %llu has size %llu, the log says %llu",
                   (unsigned long long)n->ino, (unsigned long long)attr.size,
                   (unsigned long long)n->size);
    }
    if (d != NULL) {
        if (!file_model_settle_size(d->model, attr.size, false, a->world->sim->now_ns)) {
            world_fail(a->world, "inode %llu has size %llu in the end, its writer left %llu",
                       (unsigned long long)n->ino, (unsigned long long)attr.size,
                       (unsigned long long)file_model_size(d->model));
        }
        int status = data_read_all(a, f, d, attr.size);
        must(a, status == -EIO && a->world->unreadable_count > 0 ? 0 : status);
    }
    must(a, do_flush(a, f));
    do_release(a, f);
}

static void read_dir(struct actor *a, const struct model_inode *n)
{
    uint64_t cookie = 0;
    size_t seen = 0;
    bool end = false;
    while (!end) {
        must(a, do_readdir(a, n->ino, cookie));
        struct reader r = reader_of(bytes_of(a->entry->bytes, a->entry->byte_count));
        while (!reader_done(&r)) {
            struct dir_entry d;
            dec_dir_entry(&r, &d);
            char name[NAME_LEN_MAX + 1] = {0};
            uint64_t ino;
            memcpy(name, d.name.data, d.name.len);
            if (r.err != 0 ||
                model_lookup(history_model(a->world->history), n->ino, name, &ino) != 0 ||
                ino != d.attr.ino) {
                world_fail(a->world, "directory %llu has an entry '%s' it should not have",
                           (unsigned long long)n->ino, name);
            }
            cookie = d.cookie;
            seen++;
        }
        end = a->entry->end;
    }
    if (seen != n->entry_count) {
        world_fail(a->world, "directory %llu has %zu entries, the log says %zu",
                   (unsigned long long)n->ino, seen, n->entry_count);
    }
}

static void read_back(struct actor *a)
{
    struct model *m = history_model(a->world->history);
    actor_wait_mount(a);
    for (struct model_inode *n = model_next(m, 1); n != NULL; n = model_next(m, n->ino + 1)) {
        struct attr attr;
        must(a, do_getattr(a, n->ino, &attr));
        if (attr.mode != n->mode || attr.nlink != n->nlink || attr.uid != n->uid ||
            attr.gid != n->gid || attr.size != n->size) {
            world_fail(a->world,
                       "inode %llu has mode %o nlink %u uid %u gid %u size %llu, the log says "
                       "%o %u %u %u %llu",
                       (unsigned long long)n->ino, attr.mode, attr.nlink, attr.uid, attr.gid,
                       (unsigned long long)attr.size, n->mode, n->nlink, n->uid, n->gid,
                       (unsigned long long)n->size);
        }
        if (S_ISDIR(n->mode)) {
            read_dir(a, n);
        } else if (S_ISREG(n->mode)) {
            read_file(a, n);
        }
    }
}

static void check_no_orphans(struct world *w)
{
    struct model *m = history_model(w->history);
    for (struct model_inode *n = model_next(m, 1); n != NULL; n = model_next(m, n->ino + 1)) {
        if (n->nlink == 0) {
            world_fail(w, "inode %llu has no name and stays (held by session %llu)",
                       (unsigned long long)n->ino, (unsigned long long)n->holders[0]);
        }
    }
}

/* What the log last said of the server with this id. */
static bool is_leaving(struct world *w, uint32_t id, bool *out_failing)
{
    bool leaving = false;
    for (uint64_t i = 1; i <= log_tap_last(w->tap); i++) {
        const struct record *r = log_tap_record(w->tap, i);
        struct server_state_rec rec;
        if (r->type == OP_server_state && server_state_rec_decode(r->body, &rec) == 0 &&
            rec.id == id) {
            leaving = rec.draining || rec.failing != 0;
            *out_failing = rec.failing != 0;
        }
    }
    return leaving;
}

/* A size commit or a later version vouches for the chunk: what was only reserved is moved by
 * nobody. Nor is what all servers are members of. */
static bool is_bound(struct world *w, const struct chunkd_replica_info *c)
{
    bool made = c->number == 0;
    bool bound = false;
    uint32_t members = 0;
    for (uint64_t i = 1; i <= log_tap_last(w->tap); i++) {
        const struct record *r = log_tap_record(w->tap, i);
        struct chunk_version_rec version;
        struct chunk_new_rec fresh;
        struct extend_rec extend;
        struct setattr_rec set;
        if (r->type == OP_chunk_new && chunk_new_rec_decode(r->body, &fresh) == 0) {
            made |= fresh.handle == c->handle;
        }
        if (r->type == OP_chunk_version && chunk_version_rec_decode(r->body, &version) == 0 &&
            version.handle == c->handle) {
            bound = true;
            members = version.members.len; /* small numbers: a byte each */
        }
        if (made && r->type == OP_extend && extend_rec_decode(r->body, &extend) == 0 &&
            extend.ino == c->ino && extend.end > c->number * w->geo.chunk_bytes) {
            bound = true;
        }
        if (made && r->type == OP_setattr && setattr_rec_decode(r->body, &set) == 0 &&
            set.ino == c->ino && (set.mask & SETATTR_EXTEND) &&
            set.size > c->number * w->geo.chunk_bytes) {
            bound = true;
        }
    }
    return bound && members < w->server_count - 1;
}

/* A version left the server out. */
static bool was_left_out(struct world *w, uint64_t handle, uint32_t id)
{
    bool member = true;
    for (uint64_t i = 1; i <= log_tap_last(w->tap); i++) {
        const struct record *r = log_tap_record(w->tap, i);
        struct chunk_version_rec version;
        if (r->type != OP_chunk_version || chunk_version_rec_decode(r->body, &version) != 0 ||
            version.handle != handle) {
            continue;
        }
        struct reader members = reader_of(version.members);
        member = false;
        while (!reader_done(&members)) {
            uint32_t one = 0;
            dec_u32(&members, &one);
            member |= one == id;
        }
    }
    return !member;
}

/* What is not needed any more stays while nobody else has all of the chunk: some of its blocks may be the
 * last ones. */
static bool may_be_last(struct sim_server *s, uint32_t id, const struct chunkd_replica_info *r)
{
    struct world *w = s->world;
    for (uint32_t i = 1; i < w->server_count; i++) {
        struct chunkd_replica_info other;
        if (&w->servers[i] != s && chunkd_replica(w->servers[i].chunkd, r->handle, &other) == 0 &&
            other.state == REPLICA_OK) {
            return false;
        }
    }
    return was_left_out(w, r->handle, id);
}

struct leaving {
    struct sim_server *server;
    uint32_t id;
};

/* A chunk that it has, or 0. */
static uint64_t chunk_on(const struct leaving *l)
{
    struct sim_server *s = l->server;
    struct chunkd_replica_info r;
    for (uint64_t h = 1; chunkd_replica_next(s->chunkd, h, &r) == 0; h = r.handle + 1) {
        if (is_bound(s->world, &r) && !may_be_last(s, l->id, &r)) {
            return r.handle;
        }
    }
    return 0;
}

static bool is_empty(void *leaving)
{
    return chunk_on(leaving) == 0;
}

/* A disk that fails is emptied, if the others can hold everything; then somebody replaces it. */
static void replace_failing(struct world *w)
{
    bool replaced = false;
    for (uint32_t id = 1; id < 64; id++) {
        bool failing = false;
        uint32_t number = world_chunkd(w, id);
        if (number == 0 || !is_leaving(w, id, &failing) || !failing) {
            continue;
        }
        struct sim_server *s = &w->servers[number];
        struct leaving leaving = {s, id};
        if (w->server_count - 2 >= WORLD_REPLICAS &&
            !sim_run_until(w->sim, is_empty, &leaving, 120 * NS_PER_S)) {
            world_fail(w, "the disk of %s fails, and it keeps chunk %llu", s->process->name,
                       (unsigned long long)chunk_on(&leaving));
        }
        world_say(w, "the disk of %s is replaced", s->process->name);
        server_kill(s, true, 0);
        server_wipe(s);
        server_start(s);
        replaced = true;
    }
    if (replaced) {
        sim_run_for(w->sim, 2 * NS_PER_S);
        settle(w);
    }
}

/* No file stays aside for longer. What expires in the trash meanwhile is set aside, too. */
static void wait_for_aside(struct world *w)
{
    enum { TURNS_MAX = 10 };
    uint64_t before;
    int turns = 0;
    do {
        before = master_applied(world_primary(w)->master);
        sim_run_for(w->sim, (uint64_t)w->aside_ms * NS_PER_MS * 102 / 100);
        settle(w);
    } while (master_applied(world_primary(w)->master) != before && ++turns < TURNS_MAX);
}

void verify_all(struct world *w)
{
    struct why why = {{0}};
    settle(w);
    replace_failing(w);
    scan(w);
    settle(w);
    replace_failing(w); /* the scan met errors of one that was well, or trusted again */
    wait_for_aside(w);
    if (w->master_count > 1) {
        verify_set(w);
    }
    for (uint32_t i = 0; i < w->master_count; i++) {
        verify_identity(w->masters[i]);
    }
    history_judge(w->history);
    check_no_orphans(w);
    check_replicas(w);
    verify_files(w);
    if (master_audit(world_primary(w)->master, &why) != 0) {
        world_fail(w, "audit of the master: %s", why.text);
    }
    struct mount *m = &w->mounts[w->mount_count];
    mount_start(m);
    struct actor *reader = actor_new(w, m, read_back, NULL);
    (void)reader;
    if (!sim_run_until(w->sim, actors_done, w, 120 * NS_PER_S)) {
        const struct op_entry *e = actors_stuck(w);
        char text[256] = "the mount does not come up";
        if (e != NULL) {
            op_describe(e, text, sizeof(text));
        }
        world_fail(w, "reading everything back hangs: %s", text);
    }
    leave_all(w);
}
