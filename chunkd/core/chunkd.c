/* chunkd.c - life of a chunkserver: start, stop, its label, its space. */
#include "chunkd/core/chunkd.h"
#include "chunkd/core/core.h"
#include "chunkd/core/recover.h"
#include "chunkd/core/replica_sync.h"
#include "shared/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { REQUEST_TIMEOUT_MS = 2000, FLUSH_MS = 5000 };
#define RESERVE_MAX (4ull << 30)
#define RESERVE_MIN (1ull << 20)
/* Below this much above the reserve, free space is asked before each write. */
#define SPACE_NEAR (64ull << 20)
/* And with less than this much more, or a twentieth of the disk, nothing is kept aside. */
#define ASIDE_FREE_MAX (4ull << 30)

static bool snapshot(void *owner)
{
    return table_snapshot(&((struct chunkd *)owner)->table);
}

static void written(void *owner, uint64_t ticket)
{
    (void)ticket;
    table_meta_written(&((struct chunkd *)owner)->table);
}

static void failing_stored(struct label_wait *w, int status)
{
    const struct chunkd *c = container_of(w, struct chunkd, failing_wait);
    if (status != 0 && !c->table.dying) {
        env_log(c->env, LOG_ERROR, "label: cannot keep that the disk is failing: %s",
                err_text(status));
    }
}

/* In memory whatever happens; on the disk if it still takes it. */
static void disk_turned(void *owner)
{
    struct chunkd *c = owner;
    env_log(c->env, LOG_ERROR, "the disk is failing (%s): its chunks move to other servers",
            c->health.failing == DISK_SYNC_FAILED ? "a sync failed" : "I/O errors");
    chunkd_next_label(c)->failing = c->label.failing = c->health.failing;
    if (c->started) {
        c->failing_wait.done = failing_stored;
        chunkd_store_label(c, &c->failing_wait);
    }
}

/* The process ends: the next one must know that what it reads was perhaps never written. */
static void meta_failed(void *owner, int err)
{
    struct chunkd *c = owner;
    disk_health_sync_failed(&c->health, err);
    int status = -EBUSY;
    if (c->label.failing != DISK_WELL && !c->label_busy) {
        status = label_store(c->env, c->label_file, &c->label);
    }
    failing_stored(&c->failing_wait, status);
}

static const struct meta_log_events meta_events = {snapshot, written, meta_failed};

static uint64_t or_usual(uint64_t limit, uint64_t usual)
{
    return limit != 0 ? limit : usual;
}

static struct chunkd_limits limits_of(const struct chunkd_limits *l)
{
    return (struct chunkd_limits){.open_files = (uint32_t)or_usual(l->open_files, 512),
                                  .tails = (uint32_t)or_usual(l->tails, 512),
                                  .peers = (uint32_t)or_usual(l->peers, 1024),
                                  .links = (uint32_t)or_usual(l->links, 16384),
                                  .link_requests = (uint32_t)or_usual(l->link_requests, 1024),
                                  .request_bytes = or_usual(l->request_bytes, 512 << 20),
                                  .answer_bytes = or_usual(l->answer_bytes, 64 << 20)};
}

struct chunkd *chunkd_create(struct env *env, const struct chunkd_config *cfg)
{
    struct chunkd *c = mem_new(struct chunkd);
    c->env = env;
    c->cfg = *cfg;
    c->cfg.flush_ms = cfg->flush_ms != 0 ? cfg->flush_ms : FLUSH_MS;
    c->cfg.limits = limits_of(&cfg->limits);
    c->request_timeout_ms = REQUEST_TIMEOUT_MS;
    c->boot = env_rand64(env);
    c->first_handle = UINT64_MAX;
    list_init(&c->links);
    list_init(&c->requests);
    list_init(&c->label_waits);
    list_init(&c->label_active);
    list_init(&c->sync_runs);
    meta_log_init(&c->meta, env, &meta_events, c);
    if (cfg->compact_bytes != 0) {
        c->meta.compact_min_bytes = cfg->compact_bytes;
    }
    aside_init(&c->aside, env, &c->meta);
    c->aside.keep_ms = c->cfg.aside_ms;
    table_init(&c->table, env, &c->meta, &c->ring, &c->aside, &c->cfg.limits);
    disk_health_init(&c->health, env, disk_turned, c);
    c->table.health = &c->health;
    registration_init(&c->master, c);
    scrub_init(&c->scrub, c);
    copy_pace_init(&c->copy_pace, env);
    peers_init(&c->peers, env, &c->label.cluster, c->label.name, c->cfg.limits.peers);
    return c;
}

/* ---------------------------------------------------------------- start */

struct found {
    bool data; /* there is a data file */
};

static void each_entry(void *owner, const char *name)
{
    (void)name;
    ((struct found *)owner)->data = true;
}

/* A directory without a label: new, or a format that did not come to its end. With data files or records
 * in it, something is wrong that formatting would make worse. */
static int format(struct chunkd *c, struct why *why)
{
    struct env *env = c->env;
    struct found found = {false};
    int err = env_make_dir(env, "chunks");
    err = err == 0 ? env_make_dir(env, "meta") : err;
    err = err == 0 ? aside_make_dir(&c->aside) : err;
    for (uint64_t low = 0; low < 256 && err == 0; low++) {
        char dir[REPLICA_PATH_BYTES];
        replica_dir(low, dir);
        err = env_make_dir(env, dir);
        err = err == 0 ? env_list_dir(env, dir, each_entry, &found) : err;
    }
    err = err == 0 && !found.data ? meta_log_has_records(env, &found.data) : err;
    if (found.data) {
        return why_set(why, ERR_CORRUPT,
                       "label: missing, but there are chunks: not formatted over them");
    }
    err = err == 0 ? env_sync_dir(env, "chunks") : err;
    err = err == 0 ? env_sync_dir(env, "") : err;
    if (err != 0) {
        return why_set(why, err, "cannot format the directory: %s", err_text(err));
    }
    err = meta_log_create(&c->meta, why);
    if (err != 0) {
        return err;
    }
    c->label.disk = env_rand64(env) | 1;
    env_incarnation(env, c->label.incarnation);
    memcpy(c->label.name, c->cfg.cluster, sizeof(c->label.name));
    return label_create(env, &c->label, &c->label_file, why);
}

static enum last_end how_it_ended(struct chunkd *c)
{
    uint8_t now[16];
    env_incarnation(c->env, now);
    if (c->label.clean != 0) {
        return ENDED_CLEAN;
    }
    if (c->label.failing != DISK_WELL) {
        return ENDED_POWER_CUT; /* what the page cache shows need not be on the disk */
    }
    return memcmp(now, c->label.incarnation, sizeof(now)) == 0 ? ENDED_KILLED : ENDED_POWER_CUT;
}

static int check_cluster(const struct chunkd *c, struct why *why)
{
    const char *mine = c->label.name;
    const char *wanted = c->cfg.cluster;
    if (mine[0] != '\0' && wanted[0] != '\0' && strcmp(mine, wanted) != 0) {
        return why_set(why, ERR_FOREIGN_CLUSTER,
                       "the directory belongs to cluster \"%s\", not to \"%s\"", mine, wanted);
    }
    return 0;
}

/* From here on an unclean end is one of this incarnation. Both slots say so: an older one must not
 * be believed. */
static int take_over(struct chunkd *c, struct why *why)
{
    intent_ring_clear(&c->ring);
    c->label.clean = 0;
    env_incarnation(c->env, c->label.incarnation);
    int err = label_store(c->env, c->label_file, &c->label);
    err = err == 0 ? label_store(c->env, c->label_file, &c->label) : err;
    return err == 0 ? 0 : why_set(why, err, "label: cannot store it: %s", err_text(err));
}

static int open_disk(struct chunkd *c, struct why *why)
{
    int err = label_load(c->env, &c->label, &c->label_file, why);
    if (err == -ENOENT) {
        err = format(c, why);
        if (err == 0 && intent_ring_open(&c->ring, c->env, c->label.disk) != 0) {
            err = why_set(why, -EIO, "ring: cannot map it");
        }
        return err == 0 ? take_over(c, why) : err;
    }
    err = err == 0 ? check_cluster(c, why) : err;
    if (err != 0) {
        return err;
    }
    c->health.failing = c->label.failing;
    if (intent_ring_open(&c->ring, c->env, c->label.disk) != 0) {
        return why_set(why, -EIO, "ring: cannot map it");
    }
    if (c->label.block_bytes != 0) {
        table_set_geometry(&c->table, c->label.chunk_bytes, c->label.block_bytes);
    }
    enum last_end end = how_it_ended(c);
    err = meta_log_open(&c->meta, c->label.clean, recover_record, why);
    if (err == 0 && end == ENDED_CLEAN) {
        err = take_over(c, why); /* nothing to settle; what is logged from here on may be torn */
    }
    err = err == 0 ? recover_replicas(c, end, why) : err;
    return err == 0 && end != ENDED_CLEAN && !c->crammed ? take_over(c, why) : err;
}

/* ---------------------------------------------------------------- started on a full disk */

static void own_stored(struct label_wait *w, int status)
{
    struct chunkd *c = container_of(w, struct chunkd, own_wait);
    if (c->table.dying) {
        return;
    }
    if (status != 0) {
        env_die(c->env, "label: cannot store it");
    }
    c->crammed = false;
    env_log(c->env, LOG_INFO, "the disk has room again: writes are taken");
}

static void recovered_durable(struct meta_wait *w)
{
    struct chunkd *c = container_of(w, struct chunkd, room_wait);
    struct label *label = chunkd_next_label(c);
    intent_ring_clear(&c->ring);
    label->clean = 0;
    env_incarnation(c->env, label->incarnation);
    c->own_wait.done = own_stored;
    chunkd_store_label(c, &c->own_wait);
}

static void wait_for_room(struct chunkd *c)
{
    env_log(c->env, LOG_ERROR,
            "the disk is full: replicas are served, but nothing is written or let go until it has "
            "room");
    c->room_wait.done = recovered_durable;
    meta_log_wait(&c->meta, &c->room_wait, true);
}

int chunkd_start(struct chunkd *c, struct why *why)
{
    int err = env_lock_dir(c->env);
    if (err != 0) {
        return err == -EBUSY ? why_set(why, err, "another chunkd is running on this directory")
                             : why_set(why, err, "cannot lock the directory: %s", err_text(err));
    }
    err = open_disk(c, why);
    if (err != 0) {
        return err;
    }
    chunkd_ask_space(c);
    err = env_listen(c->env, c->cfg.listen, links_accept, c);
    if (err != 0) {
        return why_set(why, err, "cannot listen on %s: %s", c->cfg.listen, err_text(err));
    }
    c->started = c->meta.serving = true;
    if (c->crammed) {
        wait_for_room(c);
    }
    background_flush_start(c);
    aside_start(&c->aside);
    scrub_start(&c->scrub);
    registration_start(&c->master);
    return 0;
}

/* ---------------------------------------------------------------- stop */

int chunkd_stop(struct chunkd *c, struct why *why)
{
    ASSERT(c->started);
    c->started = false;
    registration_stop(&c->master);
    scrub_stop(&c->scrub);
    env_timer_stop(c->env, &c->flush_timer);
    aside_stop(&c->aside);
    if (!list_empty(&c->requests) || c->running > 0 || c->meta.busy ||
        c->meta.compaction != META_IDLE || c->label_busy || c->crammed) {
        /* What is in flight cannot be waited for here: the next start settles it from the ring. */
        env_log(c->env, LOG_INFO, "stopped with requests in flight");
        return 0;
    }
    c->meta.serving = false;
    int err = sync_all_now(c);
    if (err == 0) {
        c->label.clean = (uint32_t)MIN(c->meta.now.sequence, UINT32_MAX - 1) + 1;
        err = label_store(c->env, c->label_file, &c->label);
    }
    return err == 0 ? 0 : why_set(why, err, "cannot sync: %s", err_text(err));
}

static void drop_label_waits(struct list *waits)
{
    for (struct list *e; (e = list_pop_front(waits)) != NULL;) {
        struct label_wait *w = list_entry(e, struct label_wait, link);
        w->done(w, ERR_DISCONNECTED);
    }
}

void chunkd_destroy(struct chunkd *c)
{
    c->table.dying = true;
    registration_stop(&c->master);
    links_close(c);
    copy_pace_stop(&c->copy_pace);
    scrub_release(&c->scrub);
    drop_label_waits(&c->label_waits);
    drop_label_waits(&c->label_active);
    background_flush_stop(c);
    peers_close(&c->peers);
    table_close(&c->table);
    aside_stop(&c->aside);
    aside_close(&c->aside);
    meta_log_close(&c->meta);
    mem_free(c);
}

/* ---------------------------------------------------------------- questions */

bool chunkd_is_registered(const struct chunkd *c)
{
    return c->label.cluster != 0 && c->table.block_bytes != 0;
}

bool chunkd_has_lease(const struct chunkd *c)
{
    return env_mono_ns(c->env) < c->master.lease_until_ns;
}

static void fill_info(const struct local_replica *r, struct chunkd_replica_info *out)
{
    struct replica shown = replica_report(r);
    *out = (struct chunkd_replica_info){.handle = r->handle,
                                        .ino = r->ino,
                                        .number = r->number,
                                        .version = r->version,
                                        .digest = replica_digest(r),
                                        .length = r->length,
                                        .state = shown.state};
}

int chunkd_replica(struct chunkd *c, uint64_t handle, struct chunkd_replica_info *out)
{
    const struct local_replica *r = table_get(&c->table, handle);
    if (r == NULL) {
        return -ENOENT;
    }
    fill_info(r, out);
    return 0;
}

int chunkd_replica_next(struct chunkd *c, uint64_t handle, struct chunkd_replica_info *out)
{
    const struct local_replica *best = NULL;
    hmap_for_each (it, &c->table.replicas) {
        const struct local_replica *r = container_of(it, struct local_replica, node);
        if (!r->dropped && r->handle >= handle && (best == NULL || r->handle < best->handle)) {
            best = r;
        }
    }
    if (best == NULL) {
        return -ENOENT;
    }
    fill_info(best, out);
    return 0;
}

int chunkd_verify(struct chunkd *c, uint64_t handle, uint32_t end)
{
    struct local_replica *r = table_get(&c->table, handle);
    if (r == NULL) {
        return -ENOENT;
    }
    if (r->length == 0) {
        return 0;
    }
    replica_use(r);
    int err = replica_open(r, false);
    uint8_t *block = mem_alloc(c->table.block_bytes);
    uint64_t step = c->table.block_bytes;
    for (uint32_t b = 0; b < replica_blocks(r) && b * step < end && err == 0; b++) {
        uint32_t n = block_extent(&c->table, r->length, b);
        int64_t got = env_file_read(c->env, r->file, b * step, block, n);
        if (got < 0) {
            err = (int)got;
        } else if (got != (int64_t)n || block_sum(block, n) != r->sums[b]) {
            err = ERR_CHECKSUM;
        }
    }
    mem_free(block);
    replica_unuse(r);
    return err;
}

void chunkd_hold_scans(struct chunkd *c, bool hold)
{
    c->scrub.held = hold;
}

void chunkd_scan(struct chunkd *c)
{
    scrub_begin_forced(&c->scrub);
}

bool chunkd_scanned(struct chunkd *c)
{
    return !c->scrub.forced && list_empty(&c->table.damaged);
}

bool chunkd_settled(struct chunkd *c)
{
    table_log_all_sums(&c->table);
    meta_log_kick(&c->meta);
    return list_empty(&c->requests) && c->running == 0 && list_empty(&c->table.removals) &&
           meta_log_idle(&c->meta);
}

static void found_damage(struct chunkd *c, struct local_replica *r, uint32_t block,
                         const char *what)
{
    if (block == UINT32_MAX || replica_block_is_bad(r, block)) {
        return;
    }
    env_log(c->env, LOG_ERROR, "chunk %016llx block %u: %s (server %u, file %llu)",
            (unsigned long long)r->handle, block, what, c->label.server,
            (unsigned long long)r->ino);
    replica_mark_bad(r, block);
    registration_report_bad(&c->master, r, c->label.server, block);
}

void chunkd_found_bad(struct chunkd *c, struct local_replica *r, uint32_t block)
{
    found_damage(c, r, block, "bytes do not match their checksum");
}

void chunkd_found_unreadable(struct chunkd *c, struct local_replica *r, uint32_t block, int err)
{
    replica_note_read_error(r, block, err);
    found_damage(c, r, block, err_text(err));
}

/* ---------------------------------------------------------------- space */

void chunkd_ask_space(struct chunkd *c)
{
    uint64_t total;
    uint64_t avail;
    if (env_space(c->env, &total, &avail) != 0) {
        return; /* the last answer stands */
    }
    c->space_total = total;
    c->space_free = avail;
    c->space_written = 0;
    c->reserve = c->cfg.reserve_bytes != 0 ? c->cfg.reserve_bytes
                                           : MAX(MIN(total / 50, RESERVE_MAX), RESERVE_MIN);
    aside_press(&c->aside,
                chunkd_space_avail(c) < SPACE_NEAR + MIN(total / 20, (uint64_t)ASIDE_FREE_MAX));
}

uint64_t chunkd_space_avail(const struct chunkd *c)
{
    uint64_t used = c->reserve + c->space_written;
    return c->space_free > used ? c->space_free - used : 0;
}

int chunkd_check_space(struct chunkd *c, uint32_t bytes, bool growth)
{
    if (c->crammed) {
        return -ENOSPC;
    }
    if (chunkd_space_avail(c) < bytes + SPACE_NEAR) {
        chunkd_ask_space(c);
    }
    /* Overwriting usually takes no space: half of the reserve is for the holes it may fill. */
    uint64_t avail = chunkd_space_avail(c) + (growth ? 0 : c->reserve / 2);
    while (avail < bytes && aside_unlink_oldest(&c->aside)) {
        chunkd_ask_space(c);
        avail = chunkd_space_avail(c) + (growth ? 0 : c->reserve / 2);
    }
    if (avail < bytes) {
        return -ENOSPC;
    }
    c->space_written += bytes;
    return 0;
}

/* ---------------------------------------------------------------- label */

static void store_next(struct chunkd *c);
static void store_slot(struct chunkd *c);

static void label_stored(struct disk_op *op)
{
    struct chunkd *c = op->owner;
    int status = op->result < 0 ? (int)op->result : 0;
    struct list ended;
    if (status == 0 && !c->label_twice) {
        c->label_twice = true;
        c->label_stored.sequence++;
        store_slot(c);
        return;
    }
    c->label_busy = false;
    if (status == 0) {
        uint64_t sequence = c->label_stored.sequence;
        c->label = c->label_stored;
        c->label.failing = c->health.failing;
        c->label_next.sequence = sequence;
    }
    list_init(&ended);
    for (struct list *e; (e = list_pop_front(&c->label_active)) != NULL;) {
        list_push_back(&ended, e);
    }
    if (!list_empty(&c->label_waits)) {
        store_next(c);
    }
    for (struct list *e; (e = list_pop_front(&ended)) != NULL;) {
        struct label_wait *w = list_entry(e, struct label_wait, link);
        w->done(w, status);
    }
}

static void store_next(struct chunkd *c)
{
    for (struct list *e; (e = list_pop_front(&c->label_waits)) != NULL;) {
        list_push_back(&c->label_active, e);
    }
    c->label_busy = true;
    c->label_twice = false;
    c->label_stored = c->label_next;
    c->label_stored.sequence = c->label.sequence + 1;
    store_slot(c);
}

/* What is stored goes to both slots, one after the other: if one is damaged later, the other must not be one
 * that knows less (of an epoch, of the geometry). */
static void store_slot(struct chunkd *c)
{
    label_encode(&c->label_stored, c->label_bytes);
    c->label_op = (struct disk_op){.kind = DISK_WRITE,
                                   .file = c->label_file,
                                   .off = label_slot_offset(c->label_stored.sequence),
                                   .data = c->label_bytes,
                                   .len = LABEL_SLOT_BYTES,
                                   .sync = true,
                                   .done = label_stored,
                                   .owner = c};
    env_disk_submit(c->env, &c->label_op);
}

struct label *chunkd_next_label(struct chunkd *c)
{
    if (!c->label_busy && list_empty(&c->label_waits)) {
        c->label_next = c->label;
    }
    return &c->label_next;
}

void chunkd_store_label(struct chunkd *c, struct label_wait *w)
{
    list_push_back(&c->label_waits, &w->link);
    if (!c->label_busy) {
        store_next(c);
    }
}
