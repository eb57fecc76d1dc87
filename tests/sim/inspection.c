/* inspection.c - questions about the cluster and their answers. */
#include "tests/sim/inspection.h"
#include "tests/sim/data_work.h"

#include <string.h>

static uint64_t some_inode(struct world *w, struct sim_rand *r)
{
    uint64_t seen = 0, ino = w->meta_dir;
    list_for_each (it, &w->data->files) {
        const struct data_file *f = list_entry(it, struct data_file, link);
        if (sim_below(r, ++seen) == 0) {
            ino = f->ino;
        }
    }
    return sim_chance(r, 1, 4) ? w->meta_dir : ino;
}

static const char *const paths[] = {
    "/meta",      "meta",      "//meta/./", "/",        "",         "/meta/../meta",
    "/meta/none", "/shared/x", "/data",     "/meta/n1", "/meta/n2", "/meta/n3/n4/..",
};

static const char *const prefixes[] = {"/meta", "/none", "/meta/", "/meta/n1", "/met", "//"};

struct inspection inspection_draw(struct world *w, struct sim_rand *r)
{
    static const enum op_code plain[] = {OP_status, OP_rereplication, OP_scrub_status, OP_masters};
    struct inspection i = {.op = plain[sim_below(r, COUNT_OF(plain))]};
    struct path_resolve_req path = {0};
    i.chunks = (struct chunk_list_req){.count = (uint32_t)sim_between(r, 1, 20),
                                       .one_file = sim_chance(r, 1, 2),
                                       .whole = sim_chance(r, 1, 2)};
    switch (sim_below(r, 6)) {
    case 0:
    case 1:
        i.op = OP_chunk_list;
        i.ino = i.chunks.ino = i.chunks.one_file ? some_inode(w, r) : 0;
        i.body = RPC_BODY(chunk_list_req, &i.chunks);
        break;
    case 2:
        i.op = OP_path_resolve;
        if (sim_chance(r, 1, 2)) {
            i.ino = path.ino = some_inode(w, r);
        } else {
            path.path = bytes_str(paths[sim_below(r, COUNT_OF(paths))]);
        }
        i.body = RPC_BODY(path_resolve_req, &path);
        break;
    case 3:
        i.op = OP_replicas_get;
        i.ino = i.replicas.ino = some_inode(w, r);
        i.body = RPC_BODY(replicas_get_req, &i.replicas);
        break;
    case 4:
        i.op = OP_trash_list;
        i.prefix = prefixes[sim_below(r, COUNT_OF(prefixes))];
        i.trash.prefix = bytes_str(i.prefix);
        i.body = RPC_BODY(trash_list_req, &i.trash);
        break;
    default:
        break;
    }
    return i;
}

static void check_chunks(struct world *w, const struct inspection *i, struct bytes list)
{
    struct reader r = reader_of(list);
    uint64_t ino = 0, number = 0;
    while (!reader_done(&r)) {
        struct chunk_state c;
        uint32_t members = 0;
        dec_chunk_state(&r, &c);
        struct reader m = reader_of(c.replicas);
        for (struct replica_state one; !reader_done(&m); members++) {
            dec_replica_state(&m, &one);
        }
        if (r.err != 0 || m.err != 0 || c.good > members || members == 0 || c.wanted == 0 ||
            c.wanted > WORLD_SERVERS_MAX || (c.lost && c.good > 0)) {
            world_fail(w, "chunk %llu is told of with %u of %u replicas good, %u wanted",
                       (unsigned long long)c.handle, c.good, members, c.wanted);
        }
        if (c.ino < ino || (c.ino == ino && c.number <= number && number != 0) ||
            (i->ino != 0 && c.ino != i->ino)) {
            world_fail(w, "chunks are told of out of order");
        }
        ino = c.ino;
        number = c.number;
    }
}

static void check_path(struct world *w, const struct inspection *i,
                       const struct path_resolve_rep *rep)
{
    bool dir = rep->attr.ino == w->meta_dir && i->ino == w->meta_dir;
    if ((i->ino != 0 && rep->attr.ino != i->ino) ||
        (dir && !bytes_equal(rep->path, bytes_str("/meta")))) {
        world_fail(w, "inode %llu is said to be %llu, %.*s", (unsigned long long)i->ino,
                   (unsigned long long)rep->attr.ino, (int)rep->path.len,
                   (const char *)rep->path.data);
    }
}

/* At the prefix, or below it. */
static void check_trash(struct world *w, const struct inspection *i, struct bytes list)
{
    struct reader r = reader_of(list);
    uint32_t len = (uint32_t)strlen(i->prefix);
    while (len > 0 && i->prefix[len - 1] == '/') {
        len--;
    }
    while (!reader_done(&r)) {
        struct trash_item t;
        dec_trash_item(&r, &t);
        bool below = t.path.len >= len && memcmp(t.path.data, i->prefix, len) == 0 &&
                     (t.path.len == len || t.path.data[len] == '/');
        if (r.err != 0 || !below || t.ino == 0 || t.expires == 0) {
            world_fail(w, "inode %llu is told of as deleted from %.*s", (unsigned long long)t.ino,
                       (int)t.path.len, (const char *)t.path.data);
        }
    }
}

void inspection_go_on(struct inspection *i)
{
    i->body = i->op == OP_chunk_list   ? RPC_BODY(chunk_list_req, &i->chunks)
              : i->op == OP_trash_list ? RPC_BODY(trash_list_req, &i->trash)
                                       : RPC_BODY(replicas_get_req, &i->replicas);
}

/* Notes where it goes on. */
static bool has_more(struct inspection *i, const union op_any *rep)
{
    if (i->op == OP_chunk_list) {
        i->chunks.ino = rep->chunk_list_rep.ino;
        i->chunks.number = rep->chunk_list_rep.number;
        return rep->chunk_list_rep.ino != 0;
    }
    if (i->op == OP_trash_list) {
        i->trash.expires = rep->trash_list_rep.expires;
        i->trash.ino = rep->trash_list_rep.ino;
        return !rep->trash_list_rep.end;
    }
    if (i->op == OP_replicas_get) {
        i->replicas.number = rep->replicas_get_rep.next;
        return rep->replicas_get_rep.next != UINT64_MAX;
    }
    return false;
}

bool inspection_check(struct world *w, struct inspection *i, struct rpc_call *c)
{
    union op_any rep;
    int err = op_info_of((uint16_t)i->op)->rep_decode(slice_bytes(&c->reply->body), &rep);
    if (err != 0) {
        world_fail(w, "the answer to %s cannot be read", op_info_of((uint16_t)i->op)->name);
    }
    if (i->op == OP_chunk_list) {
        check_chunks(w, i, rep.chunk_list_rep.chunks);
    } else if (i->op == OP_path_resolve) {
        check_path(w, i, &rep.path_resolve_rep);
    } else if (i->op == OP_replicas_get && (rep.replicas_get_rep.wanted == 0 ||
                                            rep.replicas_get_rep.wanted > WORLD_SERVERS_MAX)) {
        world_fail(w, "an inode wants %u replicas", rep.replicas_get_rep.wanted);
    } else if (i->op == OP_trash_list) {
        check_trash(w, i, rep.trash_list_rep.items);
    } else if (i->op == OP_status && bytes_equal(rep.status_rep.role, bytes_str("primary")) &&
               rep.status_rep.committed > rep.status_rep.index) {
        world_fail(w, "more is committed than there is");
    }
    return has_more(i, &rep);
}
