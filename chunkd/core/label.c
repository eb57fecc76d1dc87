/* label.c - identity of a chunkserver's disk directory. */
#include "chunkd/core/label.h"
#include "shared/base/bytes.h"
#include "shared/base/hash.h"
#include "shared/base/limits.h"

#include <string.h>

enum {
    LABEL_MAGIC = 0x4c534647,
    LABEL_FORMAT = 1,
    LABEL_SUM_OFFSET = LABEL_SLOT_BYTES - 8,
};

void label_encode(const struct label *l, uint8_t out[LABEL_SLOT_BYTES])
{
    memset(out, 0, LABEL_SLOT_BYTES);
    put_le(out, LABEL_MAGIC, 4);
    put_le(out + 4, LABEL_FORMAT, 4);
    put_le(out + 8, l->sequence, 8);
    put_le(out + 16, l->disk, 8);
    put_le(out + 24, l->cluster, 8);
    put_le(out + 32, l->server, 4);
    put_le(out + 36, l->epoch, 4);
    memcpy(out + 40, l->incarnation, sizeof(l->incarnation));
    put_le(out + 56, l->chunk_bytes, 4);
    put_le(out + 60, l->block_bytes, 4);
    put_le(out + 64, l->clean, 4);
    memcpy(out + 68, l->name, strnlen(l->name, sizeof(l->name) - 1));
    put_le(out + 132, l->failing, 4);
    put_le(out + LABEL_SUM_OFFSET, hash64(out, LABEL_SUM_OFFSET), 8);
}

static bool geometry_is_valid(uint32_t chunk_bytes, uint32_t block_bytes)
{
    if (chunk_bytes == 0 && block_bytes == 0) {
        return true;
    }
    return block_bytes >= 512 && block_bytes <= BLOCK_BYTES_MAX &&
           (block_bytes & (block_bytes - 1)) == 0 && (chunk_bytes & (chunk_bytes - 1)) == 0 &&
           chunk_bytes >= block_bytes && chunk_bytes / block_bytes <= CHUNK_BLOCKS_MAX;
}

int label_decode(struct label *l, const uint8_t in[LABEL_SLOT_BYTES])
{
    static const uint8_t nothing[LABEL_SLOT_BYTES];
    if (memcmp(in, nothing, LABEL_SLOT_BYTES) == 0) {
        return -ENOENT;
    }
    if (get_le(in, 4) != LABEL_MAGIC) {
        return ERR_CORRUPT;
    }
    if (get_le(in + 4, 4) != LABEL_FORMAT) {
        return -EPROTONOSUPPORT;
    }
    if (get_le(in + LABEL_SUM_OFFSET, 8) != hash64(in, LABEL_SUM_OFFSET)) {
        return ERR_CORRUPT;
    }
    l->sequence = get_le(in + 8, 8);
    l->disk = get_le(in + 16, 8);
    l->cluster = get_le(in + 24, 8);
    l->server = (uint32_t)get_le(in + 32, 4);
    l->epoch = (uint32_t)get_le(in + 36, 4);
    memcpy(l->incarnation, in + 40, sizeof(l->incarnation));
    l->chunk_bytes = (uint32_t)get_le(in + 56, 4);
    l->block_bytes = (uint32_t)get_le(in + 60, 4);
    l->clean = (uint32_t)get_le(in + 64, 4);
    memcpy(l->name, in + 68, sizeof(l->name));
    l->name[sizeof(l->name) - 1] = '\0';
    l->failing = (uint32_t)get_le(in + 132, 4);
    return geometry_is_valid(l->chunk_bytes, l->block_bytes) ? 0 : ERR_CORRUPT;
}

uint64_t label_slot_offset(uint64_t sequence)
{
    return (sequence & 1) * LABEL_SLOT_GAP;
}

int label_load(struct env *env, struct label *l, struct env_file **out, struct why *why)
{
    struct env_file *f = NULL;
    int err = env_file_open(env, "label", 0, &f);
    if (err != 0) {
        return err == -ENOENT ? err : why_set(why, err, "label: cannot open: %s", err_text(err));
    }
    int worst = ERR_CORRUPT;
    int unread = 0;
    bool found = false;
    for (uint64_t slot = 0; slot < 2; slot++) {
        uint8_t bytes[LABEL_SLOT_BYTES] = {0};
        int64_t n = env_file_read(env, f, slot * LABEL_SLOT_GAP, bytes, sizeof(bytes));
        struct label one = {0};
        err = n < 0 ? (int)n : label_decode(&one, bytes);
        if (err == 0 && (!found || one.sequence > l->sequence)) {
            *l = one;
            found = true;
        } else if (err == -EPROTONOSUPPORT) {
            worst = err;
        }
        unread = n < 0 ? (int)n : unread;
    }
    if (found) {
        *out = f;
        return 0;
    }
    env_file_close(env, f);
    if (worst == -EPROTONOSUPPORT) {
        return why_set(
            why, ERR_CORRUPT,
            "label: the directory has a disk format this program does not know (it knows %d)",
            LABEL_FORMAT);
    }
    if (unread != 0) {
        return why_set(why, unread, "label: cannot read it: %s", err_text(unread));
    }
    return why_set(why, ERR_CORRUPT,
                   "label: damaged: neither of its two slots has a valid checksum");
}

int label_store(struct env *env, struct env_file *f, struct label *l)
{
    uint8_t bytes[LABEL_SLOT_BYTES];
    l->sequence++;
    label_encode(l, bytes);
    int64_t n = env_file_write(env, f, label_slot_offset(l->sequence), bytes, sizeof(bytes));
    return n < 0 ? (int)n : env_file_sync(env, f);
}

int label_create(struct env *env, struct label *l, struct env_file **out, struct why *why)
{
    struct env_file *f = NULL;
    int err = env_file_open(env, "label.tmp", ENV_OPEN_CREATE, &f);
    if (err == 0) {
        err = env_file_truncate(env, f, 0);
        err = err == 0 ? label_store(env, f, l) : err;
        err = err == 0 ? env_rename(env, "label.tmp", "label") : err;
        err = err == 0 ? env_sync_dir(env, "") : err;
        if (err != 0) {
            env_file_close(env, f);
        }
    }
    if (err != 0) {
        return why_set(why, err, "label: cannot make it: %s", err_text(err));
    }
    *out = f;
    return 0;
}
