/* oplog.c - opening, identity and end of the operation log.
 *
 * Formats, version 1, little endian. Directory "log":
 *
 *   meta.0, meta.1   superblock slots of 512 bytes, written in turn; the higher counter holds
 *     off size field
 *       0   4  magic "GMET"
 *       4   4  format 1
 *       8   8  counter
 *      16   8  cluster id
 *      24   8  disk id
 *      32   4  epoch promised
 *      36   4  1 = joining, else 0
 *      40   8  starts
 *      48   8  committed lower bound
 *      56   8  clean_index
 *      64  16  incarnation
 *      80  64  cluster name, zero padded
 *     144   4  if joining: epoch of the last record that may have been there; 0 = not known
 *     152   8  its index
 *     504   8  XXH3-64 of the 504 bytes before
 *
 *   log-<first index, 20 digits>   segment, pre-sized and zero-filled before it gets this name
 *     header, 4 KiB:
 *       0   4  magic "GSEG"
 *       4   4  format 1
 *       8   8  cluster id
 *      16   8  first index
 *      24   8  H(first index - 1)
 *      32   4  bytes of the file
 *      36   4  epoch of the record before the first, if no segment before this one holds it
 *    4088   8  XXH3-64 of the 4088 bytes before
 *     id table, one slot of 32 bytes for each 4 KiB of the file, rounded up to 4 KiB. Slot u
 *     belongs to data unit u; only the first unit of a batch has one, the others stay zero:
 *       0   8  index of the batch's first record
 *       8   4  records
 *      12   4  units of the batch
 *      16   4  epoch of its last record
 *      20   4  low half of H(last record)
 *      24   8  XXH3-64, seeded with the cluster id, of the 24 bytes before
 *     data units of 4 KiB: batches of records (record.h), each padded with zeros to a unit. What
 *     is not used is zero.
 *
 *   next          the coming segment while it is being zeroed
 *   log-*.bad     what a forced start set aside
 *   cut           copy of a segment without its last records, until it takes its place
 *   base          first segment of a log that begins anew, until the old ones are gone
 *
 * A batch and its slot are written and synced together. The slot is the proof that the batch was
 * whole: without it the flush never ended, and nobody was told that it did.
 */
#include "master/core/oplog_internal.h"
#include "shared/base/mem.h"

#include <stdio.h>

enum {
    SEGMENT_BYTES_MIN = 64 << 10,
};

/* The committed lower bound goes to the superblock when the log is quiet: it costs a sync of its
 * own. */
static void idle_fired(struct env_timer *t)
{
    struct oplog *l = container_of(t, struct oplog, idle);
    bool quiet = !l->idle_disturbed && l->flushing == NULL;
    if (l->super_busy || (!quiet && !l->joined)) {
        l->idle_disturbed = false;
        env_timer_set(l->env, &l->idle, NS_PER_S);
    } else if (MIN(l->committed, l->durable) > l->now.committed || l->joined) {
        l->now.committed = MAX(MIN(l->committed, l->durable), l->now.committed);
        l->joined = false;
        superblock_submit(l);
    }
}

/* True if the directory holds a log without a readable superblock. */
static void note_segment(void *owner, const char *name)
{
    if (strncmp(name, "log-", 4) == 0) {
        *(bool *)owner = true;
    }
}

static int load_identity(struct oplog *l, const char *cluster_name, struct why *why)
{
    int rc = superblock_load(l, why);
    if (rc == -ENOENT) {
        bool holds_segments = false;
        rc = env_list_dir(l->env, LOG_DIR, note_segment, &holds_segments);
        if (rc < 0) {
            return why_set(why, rc, "cannot list %s: %s", LOG_DIR, err_text(rc));
        }
        if (holds_segments) {
            return why_set(why, ERR_CORRUPT,
                           LOG_DIR " holds segments, but neither meta.0 nor meta.1 is readable");
        }
        rc = superblock_format(l, cluster_name, why);
    }
    if (rc < 0) {
        return rc;
    }
    if (strcmp(l->now.name, cluster_name) != 0) {
        return why_set(why, ERR_FOREIGN_CLUSTER,
                       LOG_DIR " belongs to cluster \"%s\", but the configuration says \"%s\"",
                       l->now.name, cluster_name);
    }
    return 0;
}

int oplog_open(struct env *env, const struct oplog_config *cfg, const char *cluster_name,
               struct oplog **out, struct why *why)
{
    uint8_t incarnation[16];
    if (cfg->segment_bytes < SEGMENT_BYTES_MIN || cfg->segment_bytes % UNIT_BYTES != 0) {
        return why_set(why, -EINVAL,
                       "segment size: expected a multiple of %d, at least %d, found %u", UNIT_BYTES,
                       SEGMENT_BYTES_MIN, cfg->segment_bytes);
    }
    struct oplog *l = mem_new(struct oplog);
    l->env = env;
    l->cfg = *cfg;
    l->idle.fire = idle_fired;
    l->next_retry.fire = oplog_next_retry;
    l->soon.fire = oplog_soon;
    list_init(&l->queue);
    list_init(&l->spare);
    int rc = env_make_dir(env, LOG_DIR);
    rc = rc < 0 ? why_set(why, rc, "cannot make directory %s: %s", LOG_DIR, err_text(rc))
                : load_identity(l, cluster_name, why);
    if (rc == 0) {
        l->found = l->now;
        env_incarnation(env, incarnation);
        l->incarnation_same =
            l->now.starts > 0 && memcmp(incarnation, l->now.incarnation, sizeof(incarnation)) == 0;
        (void)env_unlink(env, NEXT_SEGMENT); /* how far it was zeroed is not known */
        rc = oplog_scan(l, why);
    }
    if (rc < 0) {
        oplog_close(l);
        return rc;
    }
    *out = l;
    return 0;
}

static void free_batches(struct list *batches)
{
    for (struct list *it = list_pop_front(batches); it != NULL; it = list_pop_front(batches)) {
        batch_free(batch_of_link(it));
    }
}

void oplog_close(struct oplog *l)
{
    if (l == NULL) {
        return;
    }
    env_timer_stop(l->env, &l->idle);
    env_timer_stop(l->env, &l->next_retry);
    env_timer_stop(l->env, &l->soon);
    struct env_file *files[] = {l->super_file[0], l->super_file[1], l->current, l->next.file};
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        if (files[i] != NULL) {
            env_file_close(l->env, files[i]);
        }
    }
    free_batches(&l->queue);
    free_batches(&l->spare);
    batch_free(l->flushing);
    mem_free(l->next.zeros);
    mem_free(l->segments);
    mem_free(l);
}

const struct oplog_identity *oplog_identity(const struct oplog *l)
{
    return &l->found;
}

bool oplog_incarnation_same(const struct oplog *l)
{
    return l->incarnation_same;
}

uint64_t oplog_first(const struct oplog *l)
{
    return l->segment_count > 0 ? l->segments[0].first : l->last + 1;
}

uint64_t oplog_last(const struct oplog *l)
{
    return l->last;
}

uint64_t oplog_durable(const struct oplog *l)
{
    return l->durable;
}

uint64_t oplog_committed(const struct oplog *l)
{
    return l->committed;
}

bool oplog_settled(const struct oplog *l)
{
    return l->last == l->durable;
}

uint64_t oplog_last_chain(const struct oplog *l)
{
    return l->chain;
}

uint32_t oplog_last_epoch(const struct oplog *l)
{
    return l->last_epoch;
}

uint32_t oplog_epoch(const struct oplog *l)
{
    return l->now.epoch;
}

uint64_t oplog_cluster(const struct oplog *l)
{
    return l->now.cluster;
}

bool oplog_joining(const struct oplog *l)
{
    return l->now.joining;
}

uint32_t oplog_cuts(const struct oplog *l)
{
    return l->cuts;
}

void oplog_on_records(struct oplog *l, void (*on_records)(void *owner, struct bytes records),
                      void *owner)
{
    l->on_records = on_records;
    l->on_records_owner = owner;
}

uint64_t oplog_pending_bytes(const struct oplog *l)
{
    return l->pending_bytes;
}

void oplog_on_batch(struct oplog *l, void (*on_batch)(void *owner, const struct oplog_batch *b),
                    void *owner)
{
    l->on_batch = on_batch;
    l->on_batch_owner = owner;
}

void oplog_on_durable(struct oplog *l, void (*on_durable)(void *owner, uint64_t index), void *owner)
{
    l->on_durable = on_durable;
    l->on_durable_owner = owner;
}

void oplog_on_commit(struct oplog *l, void (*on_commit)(void *owner, uint64_t index), void *owner)
{
    l->on_commit = on_commit;
    l->on_commit_owner = owner;
}

int oplog_start(struct oplog *l, struct why *why)
{
    l->now.starts++;
    l->now.clean_index = 0;
    l->now.committed = l->committed;
    env_incarnation(l->env, l->now.incarnation);
    int rc = superblock_write(l, why);
    if (rc == 0 && !superblock_has_epoch(l)) {
        rc = superblock_write(l, why);
    }
    if (rc == 0) {
        oplog_prepare_next(l, l->cfg.segment_bytes);
    }
    return rc;
}

int oplog_start_epoch(struct oplog *l, uint32_t epoch, struct why *why)
{
    ASSERT(!l->cfg.replicated);
    if (epoch <= l->now.epoch || epoch < l->last_epoch) {
        return why_set(why, ERR_STALE_EPOCH, "epoch %u was promised already, %u is not above it",
                       MAX(l->now.epoch, l->last_epoch), epoch);
    }
    l->now.epoch = epoch;
    l->writer_epoch = epoch;
    return oplog_start(l, why);
}

void oplog_promise(struct oplog *l, uint32_t epoch, void (*done)(void *owner), void *owner)
{
    ASSERT(epoch > l->now.epoch && l->promised == NULL);
    l->now.epoch = epoch;
    l->deposed |= l->writer_epoch != 0;
    l->writer_epoch = 0;
    l->promised = done;
    l->promised_owner = owner;
    if (!l->super_busy) { /* else as soon as the slot being written is there */
        superblock_submit(l);
    }
}

bool oplog_promising(const struct oplog *l)
{
    return l->promised != NULL;
}

void oplog_take_epoch(struct oplog *l, uint32_t epoch)
{
    ASSERT(epoch == l->now.epoch && epoch >= l->last_epoch && l->promised == NULL);
    l->writer_epoch = epoch;
}

int oplog_clean_stop(struct oplog *l, uint64_t index, struct why *why)
{
    ASSERT(index <= l->committed && index <= l->durable);
    l->stopped = true;
    env_timer_stop(l->env, &l->idle);
    env_timer_stop(l->env, &l->next_retry);
    env_timer_stop(l->env, &l->soon);
    l->now.committed = MIN(l->committed, l->durable);
    l->now.clean_index = index;
    return superblock_write(l, why);
}
