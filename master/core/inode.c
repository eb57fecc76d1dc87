/* inode.c - packing of an inode. */
#include "master/core/inode.h"
#include "master/core/chunk_row.h"
#include "master/core/row_key.h"

enum {
    INODE_ATIME_IS_MTIME = 0x01,
    INODE_MTIME_IS_CTIME = 0x02,
    INODE_NLINK = 0x04,
    INODE_GID = 0x08,
    INODE_XATTR = 0x10,
    INODE_ROWS = 0x20,
    INODE_CHUNK0 = 0x40,
    INODE_EXTRA = 0x80,
    EXTRA_REPLICAS = 0x0f,
    EXTRA_NAME = 0x10,
    EXTRA_TRASH = 0x20,
    EXTRA_WRITERS = 0x40,
    EXTRA_KNOWN = 0x7f,
};

static uint32_t usual_nlink(uint32_t mode)
{
    return S_ISDIR(mode) ? 2 : 1;
}

static bool has_rdev(uint32_t mode)
{
    return S_ISCHR(mode) || S_ISBLK(mode);
}

static bool stamp_equal(struct stamp a, struct stamp b)
{
    return a.sec == b.sec && a.nsec == b.nsec;
}

/* Seconds are stored relative to `base`, modulo 2^64. */
static size_t put_stamp(uint8_t *p, struct stamp t, int64_t base)
{
    size_t n = put_varint(p, zigzag((int64_t)((uint64_t)t.sec - (uint64_t)base)));
    put_le(p + n, t.nsec, 4);
    return n + 4;
}

static struct stamp get_stamp(struct byte_reader *r, int64_t base)
{
    struct stamp t;
    t.sec = (int64_t)((uint64_t)base + (uint64_t)unzigzag(byte_reader_varint(r)));
    t.nsec = (uint32_t)byte_reader_le(r, 4);
    r->bad |= t.nsec >= 1000000000u;
    return t;
}

static uint8_t extra_of(const struct inode *in)
{
    return (uint8_t)(in->replicas | (in->name_len != 0 ? EXTRA_NAME : 0) |
                     (in->trash_expires != 0 ? EXTRA_TRASH : 0) |
                     (in->writers != 0 ? EXTRA_WRITERS : 0));
}

static uint8_t flags_of(const struct inode *in)
{
    unsigned f = 0;
    f |= stamp_equal(in->atime, in->mtime) ? INODE_ATIME_IS_MTIME : 0;
    f |= stamp_equal(in->mtime, in->ctime) ? INODE_MTIME_IS_CTIME : 0;
    f |= in->nlink != usual_nlink(in->mode) ? INODE_NLINK : 0;
    f |= in->gid != in->uid ? INODE_GID : 0;
    f |= in->xattr_names != 0 ? INODE_XATTR : 0;
    f |= in->rows != 0 ? INODE_ROWS : 0;
    f |= in->has_chunk0 ? INODE_CHUNK0 : 0;
    f |= extra_of(in) != 0 ? INODE_EXTRA : 0;
    return (uint8_t)f;
}

static size_t put_extra(const struct inode *in, uint8_t *p)
{
    size_t n = 0;
    p[n++] = extra_of(in);
    if (in->name_len != 0) {
        p[n++] = in->name_len;
        memcpy(p + n, in->name, in->name_len);
        n += in->name_len;
    }
    if (in->trash_expires != 0) {
        n += put_varint(p + n, in->trash_expires);
    }
    if (in->writers != 0) {
        n += put_varint(p + n, (uint64_t)in->writers << 1 | in->cut_due);
    }
    return n;
}

static void get_extra(struct byte_reader *r, struct inode *out)
{
    uint64_t extra = byte_reader_le(r, 1);
    out->replicas = extra & EXTRA_REPLICAS;
    r->bad |= extra == 0 || (extra & EXTRA_REPLICAS) > REPLICAS_MAX || extra > EXTRA_KNOWN;
    if (extra & EXTRA_NAME) {
        out->name_len = (uint8_t)byte_reader_le(r, 1);
        if (out->name_len == 0 || byte_reader_left(r) < out->name_len) {
            r->bad = true;
            out->name_len = 0;
            return;
        }
        memcpy(out->name, r->at, out->name_len);
        r->at += out->name_len;
    }
    if (extra & EXTRA_TRASH) {
        out->trash_expires = byte_reader_varint(r);
        r->bad |= out->trash_expires == 0;
    }
    if (extra & EXTRA_WRITERS) {
        uint64_t writers = byte_reader_varint(r);
        out->writers = (uint32_t)(writers >> 1);
        out->cut_due = writers & 1;
        r->bad |= out->writers == 0 || writers >> 1 > UINT32_MAX;
    }
}

void inode_set_name(struct inode *in, struct bytes name)
{
    ASSERT(name.len <= NAME_LEN_MAX);
    in->name_len = (uint8_t)name.len;
    memcpy(in->name, name.data, name.len);
}

uint32_t inode_pack(const struct inode *in, uint8_t out[INODE_ROW_MAX])
{
    uint8_t flags = flags_of(in);
    size_t n = 0;
    out[n++] = flags;
    put_le(out + n, in->mode, 2);
    n += 2;
    if (flags & INODE_NLINK) {
        n += put_varint(out + n, in->nlink);
    }
    n += put_varint(out + n, in->uid);
    if (flags & INODE_GID) {
        n += put_varint(out + n, in->gid);
    }
    n += put_varint(out + n, in->size);
    if (inode_is_dir(in)) {
        n += put_varint(out + n, in->parent);
    }
    if (has_rdev(in->mode)) {
        n += put_varint(out + n, in->rdev);
    }
    n += put_stamp(out + n, in->ctime, 0);
    if (!(flags & INODE_MTIME_IS_CTIME)) {
        n += put_stamp(out + n, in->mtime, in->ctime.sec);
    }
    if (!(flags & INODE_ATIME_IS_MTIME)) {
        n += put_stamp(out + n, in->atime, in->ctime.sec);
    }
    if (flags & INODE_XATTR) {
        n += put_varint(out + n, in->xattr_names);
    }
    if (flags & INODE_ROWS) {
        n += put_varint(out + n, in->rows);
        n += put_varint(out + n, in->rows_inside);
        n += put_varint(out + n, in->unbound);
        n += put_varint(out + n, in->first_unbound);
    }
    if (flags & INODE_CHUNK0) {
        n += chunk_row_pack(&in->chunk0, out + n);
    }
    if (flags & INODE_EXTRA) {
        n += put_extra(in, out + n);
    }
    ASSERT(n <= INODE_ROW_MAX);
    return (uint32_t)n;
}

int inode_unpack(struct bytes row, uint64_t ino, struct inode *out)
{
    struct byte_reader r = byte_reader_of(row);
    memset(out, 0, sizeof(*out));
    out->ino = ino;
    uint64_t flags = byte_reader_le(&r, 1);
    out->mode = (uint32_t)byte_reader_le(&r, 2);
    out->nlink = flags & INODE_NLINK ? get_varint32(&r) : usual_nlink(out->mode);
    out->uid = get_varint32(&r);
    out->gid = flags & INODE_GID ? get_varint32(&r) : out->uid;
    out->size = byte_reader_varint(&r);
    out->parent = inode_is_dir(out) ? byte_reader_varint(&r) : 0;
    out->rdev = has_rdev(out->mode) ? get_varint32(&r) : 0;
    out->ctime = get_stamp(&r, 0);
    out->mtime = flags & INODE_MTIME_IS_CTIME ? out->ctime : get_stamp(&r, out->ctime.sec);
    out->atime = flags & INODE_ATIME_IS_MTIME ? out->mtime : get_stamp(&r, out->ctime.sec);
    out->xattr_names = flags & INODE_XATTR ? get_varint32(&r) : 0;
    if (flags & INODE_ROWS) {
        out->rows = byte_reader_varint(&r);
        out->rows_inside = byte_reader_varint(&r);
        out->unbound = byte_reader_varint(&r);
        out->first_unbound = byte_reader_varint(&r);
    }
    out->has_chunk0 = flags & INODE_CHUNK0;
    if (out->has_chunk0) {
        chunk_row_unpack(&r, &out->chunk0);
    }
    if (flags & INODE_EXTRA) {
        get_extra(&r, out);
    }
    return r.bad || byte_reader_left(&r) != 0 ? ERR_CORRUPT : 0;
}
