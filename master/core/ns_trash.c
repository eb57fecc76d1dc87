/* ns_trash.c - the trash: inodes that lost their last name and can still get one back; and removed
 * files whose chunks are too many for one record.
 *
 *   TABLE_TRASH  key expiry (seconds since 1970), inode (row_key.h): the first row is the first to
 *                go. value: varint deleted (zigzag seconds since 1970), varint parent, varint bytes,
 *                name. Expiry 0: nothing can get the file back, its chunks go by and by; value empty
 *
 * The inode row knows its expiry, so the row is found from either side. Directories stay as inodes
 * too: what lay in a removed tree finds its way up through them.
 */
#include "master/core/ns_internal.h"

enum { TRASH_ROW_MAX = 10 + 10 + 10 + NAME_LEN_MAX };

/* ---------------------------------------------------------------- rows */

int trash_unpack(struct bytes key, struct bytes value, struct ns_trash *out)
{
    memset(out, 0, sizeof(*out));
    if (!row_key_get_pair(key, &out->expires, &out->ino)) {
        return ERR_CORRUPT;
    }
    if (out->expires == 0) {
        return value.len == 0 ? 0 : ERR_CORRUPT;
    }
    struct byte_reader r = byte_reader_of(value);
    out->deleted = unzigzag(byte_reader_varint(&r));
    out->parent = byte_reader_varint(&r);
    out->bytes = byte_reader_varint(&r);
    out->name = bytes_of(r.at, byte_reader_left(&r));
    return r.bad || out->name.len == 0 || out->name.len > NAME_LEN_MAX ? ERR_CORRUPT : 0;
}

static void take_row(struct ns *ns, struct bytes key, struct bytes value, struct ns_trash *out)
{
    struct inode in;
    ROW_IS(ns, "trash", trash_unpack(key, value, out) == 0 && inode_load(ns, out->ino, &in) == 0);
    out->chunks = chunks_of(&in);
    out->size = in.size;
    out->mode = in.mode;
}

int ns_trash_next(struct ns *ns, uint64_t expires, uint64_t ino, struct ns_trash *out)
{
    struct row_key from = row_key_pair(expires, ino);
    struct bytes key, value;
    if (store_seek(ns->store, TABLE_TRASH, row_key_bytes(&from), false, &key, &value) != 0) {
        return -ENOENT;
    }
    take_row(ns, key, value, out);
    return 0;
}

int ns_trash_get(struct ns *ns, uint64_t ino, struct ns_trash *out)
{
    struct inode in;
    struct bytes value;
    if (inode_load(ns, ino, &in) != 0 || in.trash_expires == 0) {
        return -ENOENT;
    }
    struct row_key key = row_key_pair(in.trash_expires, ino);
    ROW_IS(ns, "trash", store_get(ns->store, TABLE_TRASH, row_key_bytes(&key), &value) == 0);
    take_row(ns, row_key_bytes(&key), value, out);
    return 0;
}

void trash_put(struct change *c, struct inode *in, const struct lost_name *was)
{
    uint8_t row[TRASH_ROW_MAX];
    uint64_t bytes = inode_is_file(in) ? attr_of(c->ns, in).blocks * 512 : 0;
    int64_t expires = MAX(c->now.sec, 0) + MAX((int64_t)was->trash, 1);
    in->trash_expires = (uint64_t)expires;
    size_t n = put_varint(row, zigzag(c->now.sec));
    n += put_varint(row + n, was->parent);
    n += put_varint(row + n, bytes);
    memcpy(row + n, was->name.data, was->name.len);
    struct row_key key = row_key_pair(in->trash_expires, in->ino);
    store_put(c->ns->store, TABLE_TRASH, row_key_bytes(&key), bytes_of(row, n + was->name.len));
    c->ns->trash_bytes += bytes;
}

void trash_doom(struct change *c, struct inode *in)
{
    struct row_key key = row_key_pair(0, in->ino);
    store_put(c->ns->store, TABLE_TRASH, row_key_bytes(&key), bytes_of("", 0));
}

void trash_take(struct change *c, struct inode *in)
{
    struct row_key key = row_key_pair(in->trash_expires, in->ino);
    struct bytes value;
    struct ns_trash t;
    ROW_IS(c->ns, "trash", store_get(c->ns->store, TABLE_TRASH, row_key_bytes(&key), &value) == 0);
    ROW_IS(c->ns, "trash", trash_unpack(row_key_bytes(&key), value, &t) == 0);
    c->ns->trash_bytes -= t.bytes;
    store_del(c->ns->store, TABLE_TRASH, row_key_bytes(&key));
    in->trash_expires = 0;
}

/* ---------------------------------------------------------------- records */

static void drop_one(struct change *c, uint64_t expires, uint64_t ino)
{
    struct inode in;
    if (inode_load(c->ns, ino, &in) != 0 || in.trash_expires != expires) {
        return; /* it was named twice */
    }
    trash_take(c, &in);
    if (inode_is_dir(&in)) {
        inode_remove(c, &in);
    } else if (orphan_held(c->ns, ino)) {
        inode_save(c, &in);
    } else {
        inode_drop(c, &in);
    }
}

void apply_trash_drop(struct change *c, const struct trash_drop_rec *rec)
{
    struct reader r = reader_of(rec->items);
    c->aside = rec->aside;
    while (!reader_done(&r)) {
        uint64_t expires, ino;
        dec_u64(&r, &expires);
        dec_u64(&r, &ino);
        FITS(c, r.err == 0 && expires != 0);
        drop_one(c, expires, ino);
    }
}

void apply_chunks_drop(struct change *c, const struct chunks_drop_rec *rec)
{
    struct inode in = fitting_file(c, rec->ino);
    struct row_key key = row_key_pair(0, rec->ino);
    struct bytes value;
    FITS(c, store_get(c->ns->store, TABLE_TRASH, row_key_bytes(&key), &value) == 0);
    chunks_remove_some(c, &in, rec->count);
    if (chunks_of(&in) > 0) {
        inode_save(c, &in);
        return;
    }
    trash_take(c, &in);
    inode_remove(c, &in);
}

void apply_trash_return(struct change *c, const struct trash_return_rec *rec)
{
    struct inode in = fitting_inode(c, rec->ino);
    struct inode parent = fitting_dir(c, rec->parent);
    FITS(c, in.trash_expires != 0);
    entry_add(c, &parent, rec->name, &in);
    trash_take(c, &in);
    orphan_forget(c, in.ino);
    in.ctime = c->now;
    in.nlink = 1;
    if (inode_is_dir(&in)) {
        in.nlink = 2;
        in.parent = rec->parent;
        inode_set_name(&in, rec->name);
    }
    inode_save(c, &parent);
    inode_save(c, &in);
}

/* ---------------------------------------------------------------- coming back */

static struct bytes keep_bytes(struct writer *w, struct bytes b)
{
    uint32_t start = w->len;
    writer_raw(w, b.data, b.len);
    return bytes_of(writer_bytes(w).data + start, b.len);
}

/* 0 if an entry can be made; -EEXIST, and *out_dir if it is a directory. */
static int look_free(struct ns *ns, uint64_t parent, struct bytes name, uint64_t *out_dir)
{
    struct dirent_row d;
    uint64_t free = 0;
    *out_dir = 0;
    if (entry_load(ns, parent, name, &d, &free) == 0) {
        *out_dir = d.type == S_IFDIR ? d.ino : 0;
        return -EEXIST;
    }
    return free == 0 ? -ENOSPC : 0;
}

/* The directories above `parent` that are in the trash, the nearest first; *out_live is the one
 * above them. */
static int removed_above(struct ns *ns, uint64_t parent, uint64_t chain[PATH_DEPTH_MAX],
                         uint32_t *out_count, uint64_t *out_live)
{
    struct inode dir;
    *out_count = 0;
    for (;;) {
        if (inode_load(ns, parent, &dir) != 0) {
            return -ESTALE;
        }
        if (dir.nlink != 0) {
            *out_live = parent;
            return 0;
        }
        if (*out_count == PATH_DEPTH_MAX) {
            return -ENAMETOOLONG;
        }
        chain[(*out_count)++] = parent;
        parent = dir.parent;
    }
}

int ns_trash_return(struct ns *ns, uint64_t ino, uint64_t parent, struct bytes name,
                    struct writer *scratch, union op_any *rec, bool *out_last)
{
    struct ns_trash t;
    uint64_t chain[PATH_DEPTH_MAX], live = 0, dir = 0;
    uint32_t count = 0;
    if (ns_trash_get(ns, ino, &t) != 0) {
        return -ENOENT;
    }
    int err = removed_above(ns, parent != 0 ? parent : t.parent, chain, &count, &live);
    if (err != 0) {
        return err;
    }
    name = parent != 0 ? name : t.name;
    while (count > 0) {
        /* A directory made in the place of the removed one stands for it. */
        struct inode above;
        ROW_IS(ns, "inode", inode_load(ns, chain[count - 1], &above) == 0);
        struct bytes above_name = bytes_of(above.name, above.name_len);
        err = look_free(ns, live, above_name, &dir);
        if (err == 0) {
            rec->trash_return_rec = (struct trash_return_rec){
                .ino = above.ino, .parent = live, .name = keep_bytes(scratch, above_name)};
            *out_last = false;
            return 0;
        }
        if (dir == 0) {
            return err == -EEXIST ? -ENOTDIR : err;
        }
        live = dir;
        count--;
    }
    err = look_free(ns, live, name, &dir);
    if (err == 0) {
        rec->trash_return_rec = (struct trash_return_rec){
            .ino = ino, .parent = live, .name = keep_bytes(scratch, name)};
        *out_last = true;
    }
    return err;
}
