/* oplog_roll.c - segments come and go: the next one is zeroed under a name of its own, little by
 * little while the current one fills, gets its final name when that is full, and old ones are
 * removed one by one.
 *
 * A segment's name is durable before its first batch is written; its header goes out with that
 * batch.
 */
#include "master/core/oplog_internal.h"
#include "shared/base/mem.h"

/* ---------------------------------------------------------------- the next segment */

static void next_step(struct oplog *l);

static bool next_ready(const struct oplog *l)
{
    return l->next.file != NULL && !l->next.busy && l->next.zeroed == l->next.bytes;
}

/* Whether it is a lead ahead of the current segment: zeroed all at once it would hold up the flushes. */
static bool next_can_wait(const struct oplog *l)
{
    uint32_t units =
        l->current != NULL ? segment_units(l->segments[l->segment_count - 1].bytes) : 0;
    return !l->next.needed && units > 0 &&
           (uint64_t)l->next.zeroed * units >=
               (uint64_t)l->next.bytes * (l->current_unit + units / NEXT_LEAD_PART);
}

static void next_written(struct disk_op *op)
{
    struct oplog *l = op->owner;
    l->next.busy = false;
    if (op->result < 0) {
        /* Most likely a full disk: the flush waits, and room may come. */
        env_log(l->env, LOG_ERROR, "cannot prepare %s: %s", NEXT_SEGMENT,
                err_text((int)op->result));
        env_timer_set(l->env, &l->next_retry, NS_PER_S);
        return;
    }
    l->next.zeroed += op->len;
    next_step(l);
}

static void next_step(struct oplog *l)
{
    if (l->stopped) {
        return;
    }
    if (next_ready(l)) {
        mem_free(l->next.zeros);
        l->next.zeros = NULL;
        oplog_flush_next(l);
        return;
    }
    if (next_can_wait(l)) {
        return;
    }
    if (l->next.zeros == NULL) {
        l->next.zeros = mem_alloc(ZERO_STEP_BYTES);
    }
    /* Each step is synced: one big sync at the end would hold up the log's own. */
    l->next.busy = true;
    l->next.op =
        (struct disk_op){.kind = DISK_WRITE,
                         .file = l->next.file,
                         .off = l->next.zeroed,
                         .data = l->next.zeros,
                         .len = MIN(l->next.bytes - l->next.zeroed, (uint32_t)ZERO_STEP_BYTES),
                         .sync = true,
                         .done = next_written,
                         .owner = l};
    env_disk_submit(l->env, &l->next.op);
}

void oplog_prepare_next(struct oplog *l, uint32_t bytes)
{
    l->next.bytes = MAX(l->next.bytes, bytes);
    if (l->next.busy || l->next_retry.place != 0 || next_ready(l)) {
        return;
    }
    if (l->next.file == NULL) {
        int rc = env_file_open(l->env, NEXT_SEGMENT, ENV_OPEN_CREATE, &l->next.file);
        if (rc < 0) {
            env_log(l->env, LOG_ERROR, "cannot create %s: %s", NEXT_SEGMENT, err_text(rc));
            env_timer_set(l->env, &l->next_retry, NS_PER_S);
            return;
        }
    }
    next_step(l);
}

void oplog_next_on(struct oplog *l)
{
    if (l->next.file != NULL && !l->next.busy && l->next_retry.place == 0 && !next_ready(l)) {
        next_step(l);
    }
}

void oplog_next_retry(struct env_timer *t)
{
    struct oplog *l = container_of(t, struct oplog, next_retry);
    oplog_prepare_next(l, l->next.bytes);
}

/* ---------------------------------------------------------------- rolling over */

static void roll_named(struct disk_op *op)
{
    struct oplog *l = op->owner;
    if (op->result < 0) {
        env_die(l->env, "operation log: the name of a new segment could not be made durable");
    }
    uint32_t bytes = l->next.bytes;
    if (l->current != NULL) {
        env_file_close(l->env, l->current);
    }
    l->current = l->next.file;
    l->current_unit = 0;
    l->current_has_header = false;
    segment_list_add(
        l, (struct segment){.first = l->durable + 1, .chain = l->durable_chain, .bytes = bytes});
    l->next = (struct next_segment){0};
    l->rolling = false;
    oplog_flush_next(l);
    if (!l->stopped) {
        oplog_prepare_next(l, l->cfg.segment_bytes);
    }
}

static void roll_renamed(struct disk_op *op)
{
    struct oplog *l = op->owner;
    if (op->result < 0) {
        env_die(l->env, "operation log: a new segment could not be named");
    }
    l->roll_op =
        (struct disk_op){.kind = DISK_SYNC_DIR, .path = LOG_DIR, .done = roll_named, .owner = l};
    env_disk_submit(l->env, &l->roll_op);
}

bool oplog_make_room(struct oplog *l, uint32_t units)
{
    if (l->rolling) {
        return false;
    }
    if (l->current != NULL &&
        segment_units(l->segments[l->segment_count - 1].bytes) - l->current_unit >= units) {
        return true;
    }
    uint32_t bytes = segment_bytes_for(units, l->cfg.segment_bytes);
    if (!next_ready(l) || l->next.bytes < bytes) {
        l->next.needed = true;
        oplog_prepare_next(l, bytes);
        return false;
    }
    l->rolling = true;
    segment_path(l->durable + 1, l->current_path);
    l->roll_op = (struct disk_op){.kind = DISK_RENAME,
                                  .path = NEXT_SEGMENT,
                                  .path2 = l->current_path,
                                  .done = roll_renamed,
                                  .owner = l};
    env_disk_submit(l->env, &l->roll_op);
    return false;
}

/* ---------------------------------------------------------------- trimming */

static void trim_next(struct oplog *l);

static void trim_synced(struct disk_op *op)
{
    struct oplog *l = op->owner;
    l->trim_busy = false;
    if (op->result < 0) {
        env_log(l->env, LOG_ERROR, "cannot sync directory %s: %s", LOG_DIR,
                err_text((int)op->result));
        return;
    }
    trim_next(l);
}

static void trim_unlinked(struct disk_op *op)
{
    struct oplog *l = op->owner;
    if (op->result < 0 && op->result != -ENOENT) {
        l->trim_busy = false;
        env_log(l->env, LOG_ERROR, "cannot remove %s: %s", l->trim_path, err_text((int)op->result));
        return;
    }
    rot_forget(l, l->segments[0].first, l->segments[1].first - 1);
    segment_list_drop_first(l);
    /* One removal at a time: a power cut must not leave a gap between segments. */
    l->trim_op =
        (struct disk_op){.kind = DISK_SYNC_DIR, .path = LOG_DIR, .done = trim_synced, .owner = l};
    env_disk_submit(l->env, &l->trim_op);
}

static void trim_next(struct oplog *l)
{
    if (l->trim_busy || l->stopped || l->segment_count < 2 ||
        l->segments[1].first > l->trim_index + 1) {
        return;
    }
    l->trim_busy = true;
    segment_path(l->segments[0].first, l->trim_path);
    l->trim_op = (struct disk_op){
        .kind = DISK_UNLINK, .path = l->trim_path, .done = trim_unlinked, .owner = l};
    env_disk_submit(l->env, &l->trim_op);
}

void oplog_trim(struct oplog *l, uint64_t index)
{
    l->trim_index = MAX(l->trim_index, MIN(index, MIN(l->committed, l->durable)));
    trim_next(l);
}
