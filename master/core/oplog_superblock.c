/* oplog_superblock.c - the two slots meta.0 and meta.1 (format: oplog.c), written in turn so that a
 * torn write leaves the other one. An epoch counts as promised when both have it: one that is
 * damaged later takes no promise back. Only what this process wrote and synced counts: a slot that
 * the last one left, when it was killed or its sync failed, may stand in the page cache alone. */
#include "master/core/oplog_internal.h"
#include "shared/base/hash.h"

#include <stdio.h>

enum {
    SUPER_MAGIC = 0x54454d47, /* "GMET" */
    SUPER_FORMAT = 1,
    SUPER_SUM_OFFSET = SUPER_BYTES - 8,
};

static const char *const super_path[2] = {LOG_DIR "/meta.0", LOG_DIR "/meta.1"};

void superblock_encode(const struct oplog_identity *id, uint64_t counter, uint8_t out[SUPER_BYTES])
{
    memset(out, 0, SUPER_BYTES);
    put_le(out, SUPER_MAGIC, 4);
    put_le(out + 4, SUPER_FORMAT, 4);
    put_le(out + 8, counter, 8);
    put_le(out + 16, id->cluster, 8);
    put_le(out + 24, id->disk, 8);
    put_le(out + 32, id->epoch, 4);
    put_le(out + 36, id->joining, 4);
    put_le(out + 40, id->starts, 8);
    put_le(out + 48, id->committed, 8);
    put_le(out + 56, id->clean_index, 8);
    memcpy(out + 64, id->incarnation, sizeof(id->incarnation));
    memcpy(out + 80, id->name, sizeof(id->name));
    put_le(out + 144, id->behind.epoch, 4);
    put_le(out + 152, id->behind.index, 8);
    put_le(out + SUPER_SUM_OFFSET, hash64(out, SUPER_SUM_OFFSET), 8);
}

uint32_t superblock_format_of(const uint8_t in[SUPER_BYTES])
{
    bool whole = get_le(in, 4) == SUPER_MAGIC &&
                 get_le(in + SUPER_SUM_OFFSET, 8) == hash64(in, SUPER_SUM_OFFSET);
    return whole ? (uint32_t)get_le(in + 4, 4) : 0;
}

bool superblock_decode(const uint8_t in[SUPER_BYTES], struct oplog_identity *out,
                       uint64_t *out_counter)
{
    if (superblock_format_of(in) != SUPER_FORMAT) {
        return false;
    }
    *out_counter = get_le(in + 8, 8);
    *out = (struct oplog_identity){.cluster = get_le(in + 16, 8),
                                   .disk = get_le(in + 24, 8),
                                   .epoch = (uint32_t)get_le(in + 32, 4),
                                   .joining = get_le(in + 36, 4) == 1,
                                   .starts = get_le(in + 40, 8),
                                   .committed = get_le(in + 48, 8),
                                   .clean_index = get_le(in + 56, 8),
                                   .behind = {(uint32_t)get_le(in + 144, 4), get_le(in + 152, 8)}};
    memcpy(out->incarnation, in + 64, sizeof(out->incarnation));
    memcpy(out->name, in + 80, sizeof(out->name));
    out->name[sizeof(out->name) - 1] = '\0';
    return true;
}

bool oplog_read_identity(struct bytes slot, struct oplog_identity *out, uint64_t *out_counter)
{
    return slot.len == SUPER_BYTES && superblock_decode(slot.data, out, out_counter);
}

static int open_slots(struct oplog *l, unsigned flags, struct why *why)
{
    for (int i = 0; i < 2; i++) {
        if (l->super_file[i] == NULL) {
            int rc = env_file_open(l->env, super_path[i], flags, &l->super_file[i]);
            if (rc < 0 && rc != -ENOENT) {
                return why_set(why, rc, "cannot open %s: %s", super_path[i], err_text(rc));
            }
        }
    }
    return 0;
}

int superblock_load(struct oplog *l, struct why *why)
{
    bool found = false;
    int rc = open_slots(l, 0, why);
    if (rc < 0) {
        return rc;
    }
    for (int i = 0; i < 2; i++) {
        uint8_t bytes[SUPER_BYTES];
        struct oplog_identity id;
        uint64_t counter;
        if (l->super_file[i] == NULL) {
            continue;
        }
        int64_t n = env_file_read(l->env, l->super_file[i], 0, bytes, sizeof(bytes));
        if (n < 0) {
            return why_set(why, (int)n, "cannot read %s: %s", super_path[i], err_text((int)n));
        }
        uint32_t format = n == SUPER_BYTES ? superblock_format_of(bytes) : 0;
        if (format > SUPER_FORMAT) {
            return why_set(why, ERR_FORMAT, "%s: this program knows format %d, found %u",
                           super_path[i], SUPER_FORMAT, format);
        }
        if (n != SUPER_BYTES || !superblock_decode(bytes, &id, &counter)) {
            continue;
        }
        if (!found || counter > l->super_counter) {
            found = true;
            l->super_counter = counter;
            l->now = id;
        }
    }
    /* A slot lost with the power while the directory was formatted is made now. */
    rc = found ? open_slots(l, ENV_OPEN_CREATE, why) : -ENOENT;
    return rc;
}

int superblock_format(struct oplog *l, const char *cluster_name, struct why *why)
{
    l->now = (struct oplog_identity){.disk = env_rand64(l->env), .joining = l->cfg.replicated};
    if (!l->cfg.replicated) {
        l->now.cluster = env_rand64(l->env);
    }
    snprintf(l->now.name, sizeof(l->now.name), "%s", cluster_name);
    l->super_counter = 0;
    int rc = open_slots(l, ENV_OPEN_CREATE, why);
    for (int i = 0; i < 2 && rc == 0; i++) {
        rc = superblock_write(l, why);
    }
    if (rc == 0) {
        rc = env_sync_dir(l->env, LOG_DIR);
        if (rc == 0) {
            rc = env_sync_dir(l->env, "");
        }
        if (rc < 0) {
            return why_set(why, rc, "cannot sync directory %s: %s", LOG_DIR, err_text(rc));
        }
    }
    return rc;
}

int superblock_write(struct oplog *l, struct why *why)
{
    uint8_t bytes[SUPER_BYTES];
    l->super_counter++;
    superblock_encode(&l->now, l->super_counter, bytes);
    int i = (int)(l->super_counter & 1);
    int64_t n = env_file_write(l->env, l->super_file[i], 0, bytes, sizeof(bytes));
    int rc = n < 0 ? (int)n : n < SUPER_BYTES ? -EIO : env_file_sync(l->env, l->super_file[i]);
    l->super_epoch[i] = l->now.epoch;
    return rc < 0 ? why_set(why, rc, "cannot write %s: %s", super_path[i], err_text(rc)) : 0;
}

bool superblock_has_epoch(const struct oplog *l)
{
    return MIN(l->super_epoch[0], l->super_epoch[1]) >= l->now.epoch;
}

static void super_done(struct disk_op *op)
{
    struct oplog *l = op->owner;
    l->super_busy = false;
    if (op->result < 0) {
        env_die(l->env, "operation log: superblock could not be written");
    }
    if (l->promised == NULL || l->stopped) {
        return;
    }
    if (!superblock_has_epoch(l)) {
        superblock_submit(l);
        return;
    }
    void (*promised)(void *owner) = l->promised;
    l->promised = NULL;
    promised(l->promised_owner);
}

void superblock_submit(struct oplog *l)
{
    ASSERT(!l->super_busy);
    l->super_busy = true;
    l->super_counter++;
    l->super_epoch[l->super_counter & 1] = l->now.epoch; /* nobody is told before it is there */
    superblock_encode(&l->now, l->super_counter, l->super_bytes);
    l->super_op = (struct disk_op){.kind = DISK_WRITE,
                                   .file = l->super_file[l->super_counter & 1],
                                   .data = l->super_bytes,
                                   .len = SUPER_BYTES,
                                   .sync = true,
                                   .done = super_done,
                                   .owner = l};
    env_disk_submit(l->env, &l->super_op);
}

int oplog_adopt(struct oplog *l, uint64_t cluster, struct why *why)
{
    ASSERT(l->now.cluster == 0 && cluster != 0 && l->last == 0 && !l->super_busy);
    l->now.cluster = cluster;
    l->found.cluster = cluster;
    return superblock_write(l, why);
}

void oplog_joined(struct oplog *l)
{
    l->now.joining = false;
    l->now.behind = (struct log_place){0};
    l->joined = true;
    oplog_disturb_idle(l);
}
