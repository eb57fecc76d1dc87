/* meta_log.c - appending to the meta log in batches, and its compaction. */
#include "chunkd/core/meta_log.h"
#include "chunkd/core/meta_file.h"
#include "shared/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { KICK_BYTES = 256 << 10, COMPACT_FACTOR = 4, SPACE_RETRY_MS = 100 };

static void pump(struct meta_log *log);
static void step_compaction(struct meta_log *log);

void meta_log_init(struct meta_log *log, struct env *env, const struct meta_log_events *ev,
                   void *owner)
{
    *log =
        (struct meta_log){.env = env, .events = ev, .owner = owner, .compact_min_bytes = 16u << 20};
    list_init(&log->waits);
}

static void stream_free(struct meta_stream *s)
{
    mem_free(s->pending.data);
    mem_free(s->writing.data);
    *s = (struct meta_stream){0};
}

void meta_log_close(struct meta_log *log)
{
    env_timer_stop(log->env, &log->retry);
    env_timer_stop(log->env, &log->turn);
    stream_free(&log->now);
    stream_free(&log->next);
}

static void stream_append(struct meta_stream *s, const struct meta_record *r)
{
    uint32_t size = meta_record_size(r);
    struct meta_bytes *b = &s->pending;
    if (b->cap - b->len < size) {
        b->cap = MAX(2 * b->cap, b->len + size + 4096);
        b->data = mem_resize(b->data, b->cap);
    }
    meta_record_encode(r, ++s->sequence, s->durable, b->data + b->len);
    b->len += size;
}

void meta_log_append(struct meta_log *log, const struct meta_record *r, bool in_next)
{
    stream_append(&log->now, r);
    log->tickets++;
    if (in_next && log->compaction != META_IDLE) {
        stream_append(&log->next, r);
    }
    if (log->now.pending.len >= KICK_BYTES) {
        pump(log);
    }
}

void meta_log_append_next(struct meta_log *log, const struct meta_record *r)
{
    stream_append(&log->next, r);
}

uint64_t meta_log_next_number(const struct meta_log *log)
{
    return log->compaction == META_IDLE ? 0 : log->next.number;
}

/* ---------------------------------------------------------------- batches */

static bool is_met(const struct meta_log *log, const struct meta_wait *w)
{
    return w->ticket <= (w->durable ? log->durable : log->written);
}

/* Runs the waits that are met. They are taken out first: done may wait again. */
static void end_waits(struct meta_log *log)
{
    struct list met;
    list_init(&met);
    list_for_each_safe (it, &log->waits) {
        if (is_met(log, list_entry(it, struct meta_wait, link))) {
            list_remove(it);
            list_push_back(&met, it);
        }
    }
    for (struct list *e; (e = list_pop_front(&met)) != NULL;) {
        struct meta_wait *w = list_entry(e, struct meta_wait, link);
        w->done(w);
    }
}

static void swap_out(struct meta_stream *s)
{
    struct meta_bytes empty = s->writing;
    s->writing = s->pending;
    s->pending = empty;
    s->pending.len = 0;
}

static void retry_fired(struct env_timer *t)
{
    struct meta_log *log = container_of(t, struct meta_log, retry);
    env_disk_submit(log->env, &log->batch);
}

static void batch_done(struct disk_op *op)
{
    struct meta_log *log = op->owner;
    if (op->result == -ENOSPC) {
        log->retry.fire = retry_fired;
        env_timer_set(log->env, &log->retry, SPACE_RETRY_MS * NS_PER_MS);
        return;
    }
    if (op->result < 0) {
        char text[128];
        snprintf(text, sizeof(text), "%s: cannot write the meta log: %s", log->path,
                 err_text((int)op->result));
        log->events->failed(log->owner, (int)op->result);
        env_die(log->env, text);
    }
    log->now.size += log->now.writing.len;
    log->now.writing.len = 0;
    log->busy = false;
    log->written = log->batch_ticket;
    if (op->sync || op->kind == DISK_SYNC) {
        log->durable = log->batch_ticket;
        log->now.durable = log->batch_sequence;
    }
    log->events->written(log->owner, log->written);
    end_waits(log);
    if (log->compaction == META_DRAINING) {
        step_compaction(log);
    }
    pump(log);
}

static void pump(struct meta_log *log)
{
    if (!log->serving || log->busy || log->compaction == META_DRAINING ||
        log->compaction == META_SWITCHING) {
        return;
    }
    bool sync = log->kicked_sync && log->durable < log->tickets;
    bool wanted = log->now.pending.len >= KICK_BYTES || log->kicked || sync;
    list_for_each (it, &log->waits) {
        const struct meta_wait *w = list_entry(it, struct meta_wait, link);
        if (!is_met(log, w)) {
            wanted = true;
            sync = sync || w->durable;
        }
    }
    if (!wanted) {
        return;
    }
    log->kicked = log->kicked_sync = false;
    swap_out(&log->now);
    log->busy = true;
    log->batch_ticket = log->tickets;
    log->batch_sequence = log->now.sequence;
    log->batch = (struct disk_op){.kind = log->now.writing.len > 0 ? DISK_WRITE : DISK_SYNC,
                                  .file = log->now.file,
                                  .off = log->now.size,
                                  .data = log->now.writing.data,
                                  .len = log->now.writing.len,
                                  .sync = sync,
                                  .done = batch_done,
                                  .owner = log};
    env_disk_submit(log->env, &log->batch);
}

static void turn_fired(struct env_timer *t)
{
    end_waits(container_of(t, struct meta_log, turn));
}

void meta_log_wait(struct meta_log *log, struct meta_wait *w, bool durable)
{
    w->ticket = log->tickets;
    w->durable = durable;
    list_push_back(&log->waits, &w->link);
    if (is_met(log, w)) {
        log->turn.fire = turn_fired;
        env_timer_set(log->env, &log->turn, 0);
    }
    pump(log);
}

void meta_log_cancel(struct meta_wait *w)
{
    if (w->link.next != NULL) {
        list_remove(&w->link);
    }
}

void meta_log_kick(struct meta_log *log)
{
    log->kicked = log->kicked || log->now.pending.len > 0;
    pump(log);
}

void meta_log_kick_sync(struct meta_log *log)
{
    log->kicked_sync = true;
    pump(log);
}

bool meta_log_idle(const struct meta_log *log)
{
    return !log->busy && log->compaction == META_IDLE && list_empty(&log->waits) && !log->unlinking;
}

bool meta_log_has_pending(const struct meta_log *log)
{
    return log->now.pending.len > 0;
}

int meta_log_sync_now(struct meta_log *log)
{
    ASSERT(!log->busy);
    struct meta_stream *s = &log->now;
    if (s->pending.len > 0) {
        int64_t n = env_file_write(log->env, s->file, s->size, s->pending.data, s->pending.len);
        if (n < 0) {
            return (int)n;
        }
        s->size += s->pending.len;
        s->pending.len = 0;
    }
    int err = env_file_sync(log->env, s->file);
    if (err == 0) {
        s->durable = s->sequence;
        log->written = log->durable = log->tickets;
    }
    return err;
}

/* ---------------------------------------------------------------- compaction
 *
 *   COPYING    snapshot pieces are written to meta/tmp while batches go on
 *   DRAINING   everything is copied; waits for the batch in flight, no new one starts
 *   SWITCHING  the rest is written and synced, then meta/tmp is renamed and the directory synced
 */

static void compaction_failed(struct meta_log *log, int err)
{
    env_log(log->env, LOG_WARN, "meta log: compaction given up: %s", err_text(err));
    env_file_close(log->env, log->next.file);
    stream_free(&log->next);
    log->compaction = META_IDLE;
    /* Not at once again: the log must grow as much as it is large. */
    log->compact_min_bytes = MAX(log->compact_min_bytes, 2 * log->now.size);
    pump(log);
}

static void unlinked(struct disk_op *op)
{
    struct meta_log *log = op->owner;
    log->unlinking = false;
    if (op->result < 0) {
        env_log(log->env, LOG_WARN, "%s: cannot remove: %s", log->old_path,
                err_text((int)op->result));
    }
}

static void switched(struct meta_log *log)
{
    snprintf(log->old_path, sizeof(log->old_path), "meta/%016llx",
             (unsigned long long)log->now.number);
    env_file_close(log->env, log->now.file);
    stream_free(&log->now);
    log->now = log->next;
    log->next = (struct meta_stream){0};
    log->compaction = META_IDLE;
    log->written = log->durable = log->step_ticket;
    log->unlinking = true;
    log->unlink = (struct disk_op){
        .kind = DISK_UNLINK, .path = log->old_path, .done = unlinked, .owner = log};
    env_disk_submit(log->env, &log->unlink);
    log->events->written(log->owner, log->written);
    end_waits(log);
    pump(log);
}

static void step_done(struct disk_op *op)
{
    struct meta_log *log = op->owner;
    if (op->result < 0) {
        if (op->kind == DISK_SYNC_DIR) {
            /* Which of the two files a power cut would leave is not known: neither may be appended
             * to. */
            env_die(log->env, "meta: cannot sync the directory after replacing the meta log");
        }
        compaction_failed(log, (int)op->result);
        return;
    }
    if (op->kind == DISK_WRITE) {
        log->next.size += log->next.writing.len;
        log->next.writing.len = 0;
        if (op->sync) {
            log->next.durable = log->batch_sequence;
            snprintf(log->path, sizeof(log->path), "meta/%016llx",
                     (unsigned long long)log->next.number);
            log->step =
                (struct disk_op){.kind = DISK_RENAME, .path = "meta/tmp", .path2 = log->path};
        }
    } else if (op->kind == DISK_RENAME) {
        log->step = (struct disk_op){.kind = DISK_SYNC_DIR, .path = "meta"};
    } else if (op->kind == DISK_SYNC_DIR) {
        switched(log);
        return;
    }
    step_compaction(log);
}

static void write_next(struct meta_log *log, bool sync)
{
    swap_out(&log->next);
    log->batch_sequence = sync ? log->next.sequence : log->batch_sequence;
    log->step_ticket = log->tickets;
    log->step = (struct disk_op){.kind = DISK_WRITE,
                                 .file = log->next.file,
                                 .off = log->next.size,
                                 .data = log->next.writing.data,
                                 .len = log->next.writing.len,
                                 .sync = sync};
}

static void step_compaction(struct meta_log *log)
{
    if (log->compaction == META_COPYING) {
        bool more = log->events->snapshot(log->owner);
        if (!more) {
            log->compaction = META_DRAINING;
            if (log->busy) {
                return;
            }
        } else {
            write_next(log, false);
        }
    }
    if (log->compaction == META_DRAINING) {
        log->compaction = META_SWITCHING;
        write_next(log, true);
    }
    log->step.done = step_done;
    log->step.owner = log;
    env_disk_submit(log->env, &log->step);
}

void meta_log_consider_compaction(struct meta_log *log, uint64_t live_bytes)
{
    if (log->compaction != META_IDLE || log->unlinking || log->now.size < log->compact_min_bytes ||
        log->now.size < COMPACT_FACTOR * live_bytes) {
        return;
    }
    log->next = (struct meta_stream){.number = ++log->highest_number};
    int err = env_file_open(log->env, "meta/tmp", ENV_OPEN_CREATE, &log->next.file);
    if (err == 0) {
        err = env_file_truncate(log->env, log->next.file, 0);
        if (err != 0) {
            env_file_close(log->env, log->next.file);
        }
    }
    if (err != 0) {
        env_log(log->env, LOG_WARN, "meta/tmp: cannot make it: %s", err_text(err));
        return;
    }
    struct meta_bytes *b = &log->next.pending;
    b->cap = 1u << 20;
    b->data = mem_alloc(b->cap);
    b->len = META_FILE_HEADER_BYTES;
    meta_file_header_encode(log->next.number, b->data);
    log->compaction = META_COPYING;
    step_compaction(log);
}
