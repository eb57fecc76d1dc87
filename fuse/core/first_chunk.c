/* first_chunk.c - a file whose chunk 0 was granted with its creation and not written first. */
#include "fuse/core/first_chunk.h"

#include "fuse/core/client_impl.h"

static void finish(struct first_chunk *f, int status)
{
    struct inode *i = f->inode;
    f->inode = NULL;
    location_unpin(f->loc);
    i->first_written = i->first_written || status == 0;
    f->done(f, status);
    inode_unpin(i);
}

static void written(struct chunk_write *w)
{
    finish(w->owner, w->status);
}

static void look(struct first_chunk *f)
{
    if (f->loc->handle == 0 || !f->loc->fresh) {
        finish(f, 0);
        return;
    }
    /* A cut at the very end: it makes the replicas and takes nothing from a write that comes first.
     */
    f->write = (struct chunk_write){.done = written,
                                    .owner = f,
                                    .inode = f->inode,
                                    .kind = CHUNK_TRUNCATE,
                                    .offset = f->inode->client->master.chunk_bytes};
    chunk_write_start(&f->write);
}

static void located(struct location_wait *w, int status)
{
    struct first_chunk *f = container_of(w, struct first_chunk, wait);
    if (status != 0) {
        finish(f, status);
    } else {
        look(f);
    }
}

bool first_chunk_start(struct inode *i, struct first_chunk *f, uint64_t size)
{
    if (size == 0 || i->first_written || i->attr.size > 0) {
        return false;
    }
    struct location *l = location_get(i, 0);
    f->wait.done = located;
    list_init(&f->wait.link);
    if (location_locate(l, &f->wait) && (l->handle == 0 || !l->fresh)) {
        i->first_written = true;
        location_unpin(l);
        return false;
    }
    f->inode = i;
    f->loc = l;
    inode_pin(i);
    if (list_empty(&f->wait.link)) {
        look(f);
    }
    return true;
}

void first_chunk_cancel(struct first_chunk *f)
{
    if (f->inode == NULL) {
        return;
    }
    location_wait_cancel(&f->wait);
    chunk_write_cancel(&f->write);
    location_unpin(f->loc);
    inode_unpin(f->inode);
    f->inode = NULL;
}
