/* replica_sync.c - making a replica durable: data, its name, its sums. */
#include "chunkd/core/replica_sync.h"
#include "chunkd/core/disk_health.h"
#include "shared/base/mem.h"

#include <string.h>

/* One running sync. */
struct sync_run {
    struct list link; /* in chunkd.sync_runs */
    struct chunkd *c;
    struct local_replica *replica;
    uint64_t writes; /* covered by it */
    struct disk_op disk;
    uint64_t begin_ns; /* of it */
    struct meta_wait wait;
    char dir[REPLICA_PATH_BYTES];
    uint64_t names; /* covered by the sync of dir */
};

static void run(struct chunkd *c, struct local_replica *r);
static void flush_more(struct chunkd *c);

static void end_run(struct sync_run *s, int status)
{
    struct chunkd *c = s->c;
    struct local_replica *r = s->replica;
    r->sync_running = false;
    if (status == 0) {
        r->synced = MAX(r->synced, s->writes);
    }
    struct list ended;
    list_init(&ended);
    list_for_each_safe (it, &r->sync_waits) {
        if (status != 0 || list_entry(it, struct sync_wait, link)->writes <= s->writes) {
            list_remove(it);
            list_push_back(&ended, it);
        }
    }
    list_remove(&s->link);
    c->running--;
    mem_free(s);
    if (!list_empty(&r->sync_waits)) {
        run(c, r);
    }
    for (struct list *e; (e = list_pop_front(&ended)) != NULL;) {
        struct sync_wait *w = list_entry(e, struct sync_wait, link);
        w->done(w, status);
    }
    if (r->background_sync && !r->sync_running) {
        r->background_sync = false;
        c->background_syncs--;
        flush_more(c);
    }
    replica_unuse(r);
}

static void sums_durable(struct meta_wait *w)
{
    struct sync_run *s = container_of(w, struct sync_run, wait);
    end_run(s, s->replica->failed ? -EIO : 0);
}

static void log_sums(struct sync_run *s)
{
    replica_log_sums(s->replica);
    s->wait.done = sums_durable;
    meta_log_wait(s->replica->table->meta, &s->wait, true);
}

static void sync_failed(struct local_replica *r, int err)
{
    replica_mark_failed(r, err);
    disk_health_sync_failed(r->table->health, err);
}

static void file_synced(struct disk_op *op)
{
    struct sync_run *s = container_of(op, struct sync_run, disk);
    struct local_replica *r = s->replica;
    mean_time_add(&s->c->table.latency.disk, env_mono_ns(s->c->env) - s->begin_ns);
    if (op->result < 0) {
        /* What the failed sync left on disk is not known, and a second one would not tell. */
        sync_failed(r, (int)op->result);
        end_run(s, -EIO);
        return;
    }
    struct replica_names *names = replica_names(r);
    if (op->kind == DISK_SYNC_DIR) {
        names->durable = MAX(names->durable, s->names);
    } else if (!replica_name_is_durable(r)) {
        replica_dir(r->handle, s->dir);
        s->names = names->met;
        s->disk = (struct disk_op){.kind = DISK_SYNC_DIR, .path = s->dir, .done = file_synced};
        s->begin_ns = env_mono_ns(s->c->env);
        env_disk_submit(r->table->env, &s->disk);
        return;
    }
    log_sums(s);
}

static void run(struct chunkd *c, struct local_replica *r)
{
    struct sync_run *s = mem_new(struct sync_run);
    s->c = c;
    s->replica = r;
    s->writes = r->writes;
    list_push_back(&c->sync_runs, &s->link);
    c->running++;
    r->sync_running = true;
    replica_use(r);
    if (r->failed || !r->file_made || (r->synced >= r->writes && replica_name_is_durable(r))) {
        log_sums(s); /* nothing in a file: only records may be waiting */
        return;
    }
    int err = replica_open(r, false);
    if (err != 0) {
        replica_mark_failed(r, err);
        log_sums(s);
        return;
    }
    s->disk = (struct disk_op){.kind = DISK_SYNC, .file = r->file, .done = file_synced};
    s->begin_ns = env_mono_ns(s->c->env);
    env_disk_submit(r->table->env, &s->disk);
}

void replica_sync(struct chunkd *c, struct local_replica *r, struct sync_wait *w)
{
    w->writes = r->writes;
    list_push_back(&r->sync_waits, &w->link);
    if (!r->sync_running) {
        run(c, r);
    }
}

void replica_sync_cancel(struct sync_wait *w)
{
    if (w->link.next != NULL) {
        list_remove(&w->link);
    }
}

/* ---------------------------------------------------------------- background */

static uint64_t flush_ns(const struct chunkd *c)
{
    return c->cfg.flush_ms * NS_PER_MS;
}

/* Long enough not written and wholly durable: the next power cut cannot touch it. */
static void mark_clean(struct local_replica *r)
{
    list_remove(&r->dirty_link);
    r->dirty = false;
    replica_log_head(r);
}

/* Starts syncs of replicas that wait for one, a few at a time. */
static void flush_more(struct chunkd *c)
{
    while (c->background_syncs < SYNCS_MAX && !list_empty(&c->table.flushing)) {
        struct list *it = list_pop_front(&c->table.flushing);
        struct local_replica *r = list_entry(it, struct local_replica, flush_link);
        if (r->failed || r->dropped) {
            continue;
        }
        r->background_sync = true;
        c->background_syncs++;
        if (!r->sync_running) {
            run(c, r);
        }
    }
}

/* Looks at every dirty replica once: a walk for each sync that ends would cost the square of them. */
static void flush_due(struct chunkd *c)
{
    uint64_t now = env_mono_ns(c->env);
    list_for_each_safe (it, &c->table.dirty) {
        struct local_replica *r = list_entry(it, struct local_replica, dirty_link);
        if (r->failed || r->dropped) {
            list_remove(&r->dirty_link);
        } else if (r->synced < r->writes || !replica_name_is_durable(r)) {
            if (!r->background_sync && list_empty(&r->flush_link)) {
                list_push_back(&c->table.flushing, &r->flush_link);
            }
        } else if (r->last_write_ns + flush_ns(c) <= now && list_empty(&r->queue) && !r->copying &&
                   r->dirty) {
            mark_clean(r);
        }
    }
    flush_more(c);
}

static void flush_fired(struct env_timer *t)
{
    struct chunkd *c = container_of(t, struct chunkd, flush_timer);
    flush_due(c);
    table_log_all_sums(&c->table);
    meta_log_kick_sync(&c->meta);
    meta_log_consider_compaction(&c->meta, table_live_bytes(&c->table));
    background_flush_start(c);
}

void background_flush_start(struct chunkd *c)
{
    c->flush_timer.fire = flush_fired;
    env_timer_set(c->env, &c->flush_timer, flush_ns(c));
}

void background_flush_stop(struct chunkd *c)
{
    env_timer_stop(c->env, &c->flush_timer);
    while (!list_empty(&c->sync_runs)) {
        struct sync_run *s = list_entry(c->sync_runs.next, struct sync_run, link);
        meta_log_cancel(&s->wait);
        list_remove(&s->link);
        mem_free(s);
    }
}

/* ---------------------------------------------------------------- clean stop */

static int sync_one_now(struct chunkd *c, struct local_replica *r)
{
    if (!r->file_made || (r->synced >= r->writes && replica_name_is_durable(r))) {
        return 0;
    }
    replica_use(r);
    int err = replica_open(r, false);
    err = err == 0 ? env_file_sync(c->env, r->file) : err;
    if (err == 0 && !replica_name_is_durable(r)) {
        char dir[REPLICA_PATH_BYTES];
        replica_dir(r->handle, dir);
        err = env_sync_dir(c->env, dir);
        if (err == 0) {
            replica_names(r)->durable = replica_names(r)->met;
        }
    }
    replica_unuse(r);
    return err;
}

int sync_all_now(struct chunkd *c)
{
    list_for_each_safe (it, &c->table.dirty) {
        struct local_replica *r = list_entry(it, struct local_replica, dirty_link);
        if (r->failed || r->dropped || replica_is_changing(r) || r->copying) {
            continue;
        }
        int err = sync_one_now(c, r);
        if (err != 0) {
            sync_failed(r, err);
            return err;
        }
        r->synced = r->writes;
        if (r->dirty) {
            mark_clean(r);
        }
    }
    table_log_all_sums(&c->table);
    return meta_log_sync_now(&c->meta);
}
