/* dirent.c - rows of directory entries. */
#include "master/core/dirent.h"
#include "shared/base/err.h"
#include "shared/base/hash.h"
#include "shared/base/invariant.h"
#include "shared/base/limits.h"

enum {
    COLLISIONS = 256,
    FAMILY_BITS = 16,
    NAME_BITS = 39,
    FAMILY_TAIL = 2, /* characters that members of a family may differ in */
};

static struct bytes family_of(struct bytes name)
{
    const uint8_t *dot = memrchr(name.data, '.', name.len);
    size_t len = dot != NULL && dot != name.data ? (size_t)(dot - name.data) : name.len;
    return bytes_of(name.data, len > FAMILY_TAIL ? len - FAMILY_TAIL : 0);
}

uint64_t dirent_cookie(struct bytes name)
{
    struct bytes family = family_of(name);
    uint64_t hash = hash64(family.data, family.len) >> (64 - FAMILY_BITS) << NAME_BITS |
                    hash64(name.data, name.len) >> (64 - NAME_BITS);
    return MAX(hash, 1) << 8;
}

uint32_t dirent_key(uint8_t out[DIRENT_KEY_MAX], uint64_t parent, uint64_t cookie)
{
    uint32_t n = put_key_u64(out, parent);
    put_be64(out + n, cookie);
    return n + 8;
}

int dirent_unpack(struct bytes key, struct bytes value, struct dirent_row *out)
{
    struct byte_reader k = byte_reader_of(key);
    out->parent = get_key_u64(&k);
    if (k.bad || byte_reader_left(&k) != 8) {
        return ERR_CORRUPT;
    }
    out->cookie = get_be64(k.at);
    struct byte_reader v = byte_reader_of(value);
    uint64_t packed = byte_reader_varint(&v);
    out->ino = packed >> 4;
    out->type = (uint32_t)(packed & 15) << 12;
    out->name = bytes_of(v.at, byte_reader_left(&v));
    return v.bad || out->name.len == 0 || out->name.len > NAME_LEN_MAX ? ERR_CORRUPT : 0;
}

int dirent_find(struct store *s, uint64_t parent, struct bytes name, struct dirent_row *out,
                uint64_t *out_free)
{
    uint8_t at[DIRENT_KEY_MAX];
    uint64_t cookie = dirent_cookie(name);
    uint64_t end = cookie + COLLISIONS;
    uint64_t free = cookie; /* lowest cookie not seen taken so far */
    struct bytes key = bytes_of(at, dirent_key(at, parent, cookie));
    struct bytes found_key, value;
    bool after = false;
    while (store_seek(s, TABLE_DENTRY, key, after, &found_key, &value) == 0) {
        struct dirent_row d;
        if (dirent_unpack(found_key, value, &d) != 0) {
            return ERR_CORRUPT;
        }
        if (d.parent != parent || d.cookie >= end) {
            break;
        }
        if (bytes_equal(d.name, name)) {
            *out = d;
            return 0;
        }
        free += d.cookie == free;
        key = bytes_of(at, dirent_key(at, parent, d.cookie));
        after = true;
    }
    if (out_free != NULL) {
        *out_free = free < end ? free : 0;
    }
    return -ENOENT;
}

void dirent_save(struct store *s, const struct dirent_row *d)
{
    uint8_t key[DIRENT_KEY_MAX];
    uint8_t value[DIRENT_ROW_MAX];
    ASSERT(d->name.len > 0 && d->name.len <= NAME_LEN_MAX && d->ino >> 60 == 0);
    uint32_t key_len = dirent_key(key, d->parent, d->cookie);
    size_t n = put_varint(value, d->ino << 4 | (d->type >> 12 & 15));
    memcpy(value + n, d->name.data, d->name.len);
    store_put(s, TABLE_DENTRY, bytes_of(key, key_len), bytes_of(value, n + d->name.len));
}

void dirent_delete(struct store *s, uint64_t parent, uint64_t cookie)
{
    uint8_t key[DIRENT_KEY_MAX];
    store_del(s, TABLE_DENTRY, bytes_of(key, dirent_key(key, parent, cookie)));
}
