/* surplus.c - bytes read beyond what was asked for, up to the end of a checksum block. */
#include "fuse/core/surplus.h"

#include <string.h>

#include "fuse/core/client_impl.h"
#include "fuse/core/files.h"

enum { SURPLUS_MS = 100, SURPLUS_MAX = 128 };

void surplus_drop(struct client_file *f)
{
    if (f->surplus.data.len > 0) {
        list_remove(&f->surplus.link);
        f->inode->client->surplus_count--;
        slice_drop(&f->surplus.data);
        f->surplus.data = (struct slice){0};
    }
}

void surplus_keep(struct client_file *f, const struct surplus *about, const uint8_t *data,
                  uint32_t len)
{
    struct client *c = f->inode->client;
    surplus_drop(f);
    if (c->surplus_count >= SURPLUS_MAX) {
        surplus_drop(list_entry(c->surpluses.next, struct client_file, surplus.link));
    }
    f->surplus = *about;
    f->surplus.data = (struct slice){buf_new(len), 0, len};
    memcpy(f->surplus.data.buf->data, data, len);
    list_init(&f->surplus.link);
    list_push_back(&c->surpluses, &f->surplus.link);
    c->surplus_count++;
}

struct slice surplus_take(struct client_file *f, uint64_t offset, uint32_t max)
{
    struct surplus *s = &f->surplus;
    struct client *c = f->inode->client;
    struct slice out = {0};
    if (s->data.len > 0 && s->offset == offset && s->changes_seen == f->inode->changes_seen &&
        env_mono_ns(c->env) - s->at_ns < SURPLUS_MS * NS_PER_MS) {
        out = slice_ref(&s->data);
        out.len = MIN(out.len, max);
    }
    if (out.len > 0 && out.len < s->data.len) {
        s->data.off += out.len;
        s->data.len -= out.len;
        s->offset += out.len;
    } else {
        surplus_drop(f);
    }
    return out;
}
