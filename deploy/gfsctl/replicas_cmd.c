/* replicas_cmd.c - how many replicas files want and have; a tree is walked from here, so that the
 * master only ever does a bounded piece of the work.
 */
#include "deploy/gfsctl/replicas_cmd.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "deploy/gfsctl/path.h"
#include "shared/base/limits.h"
#include "shared/base/mem.h"

enum { BATCH = 1024, COPIES = REPLICAS_MAX + 1 };

/* What is found below a path. */
struct tree {
    struct session *s;
    bool set; /* give it `replicas` */
    uint32_t replicas;
    struct writer batch; /* inodes to be set */
    uint32_t batch_count;
    uint64_t *dirs; /* still to be read */
    uint64_t dir_count, dir_cap;
    /* The answer. */
    uint64_t files, directories;
    uint64_t copies[COPIES]; /* chunks with so many replicas */
    uint32_t own, wanted;    /* of the path itself */
    uint64_t lacking;        /* chunks with fewer than their file wants */
};

static int flush(struct tree *t)
{
    union op_any rep,
        req = {.replicas_set_req = {.inodes = writer_bytes(&t->batch), .replicas = t->replicas}};
    if (t->batch_count == 0) {
        return 0;
    }
    int err = session_ask_or_say(t->s, OP_replicas_set, &req, &rep, 0, "replicas");
    t->batch.len = 0;
    t->batch_count = 0;
    return err == 0 ? 0 : EXIT_FAILED;
}

/* Sets one inode's number, some time before the end. */
static int put(struct tree *t, uint64_t ino)
{
    enc_u64(&t->batch, &ino);
    return ++t->batch_count == BATCH ? flush(t) : 0;
}

/* Adds what one inode has; first: it is the path itself. */
static int count(struct tree *t, uint64_t ino, bool first)
{
    uint64_t number = 0;
    do {
        union op_any rep, req = {.replicas_get_req = {.ino = ino, .number = number}};
        int err = session_ask(t->s, OP_replicas_get, &req, &rep, 0);
        if (err == -ENOENT && !first) {
            return 0; /* gone since the directory was read */
        }
        if (err != 0) {
            return say("inode %" PRIu64 ": %s", ino, err_text(err));
        }
        const struct replicas_get_rep *g = &rep.replicas_get_rep;
        struct reader r = reader_of(g->copies);
        for (uint32_t i = 0; i < COPIES && !reader_done(&r); i++) {
            uint64_t n = 0;
            dec_u64(&r, &n);
            t->copies[i] += n;
            t->lacking += i < g->wanted ? n : 0;
        }
        if (first) {
            t->own = g->set;
            t->wanted = g->wanted;
        }
        number = g->next;
    } while (number != UINT64_MAX);
    return 0;
}

static int visit(struct tree *t, uint64_t ino, uint32_t type, bool first)
{
    bool is_dir = type == S_IFDIR;
    if (!is_dir && type != S_IFREG) {
        return 0;
    }
    t->directories += is_dir;
    t->files += !is_dir;
    if (is_dir) {
        if (t->dir_count == t->dir_cap) {
            uint64_t cap = t->dir_cap == 0 ? 64 : t->dir_cap * 2;
            uint64_t *dirs = mem_alloc(cap * sizeof(dirs[0]));
            if (t->dir_count > 0) {
                memcpy(dirs, t->dirs, t->dir_count * sizeof(dirs[0]));
            }
            mem_free(t->dirs);
            t->dirs = dirs;
            t->dir_cap = cap;
        }
        t->dirs[t->dir_count++] = ino;
    }
    if (t->set) {
        return put(t, ino);
    }
    return is_dir && !first ? 0 : count(t, ino, first);
}

static int read_dir(struct tree *t, uint64_t dir)
{
    uint64_t cookie = 0;
    bool end = false;
    while (!end) {
        union op_any rep,
            req = {.readdir_req = {.dir = dir, .cookie = cookie, .bytes = READDIR_BYTES_MAX}};
        int err = session_ask(t->s, OP_readdir, &req, &rep, 0);
        if (err == -ENOENT) {
            return 0;
        }
        if (err != 0) {
            return say("directory %" PRIu64 ": %s", dir, err_text(err));
        }
        /* Visiting asks again: the page is kept. */
        struct bytes page = rep.readdir_rep.entries;
        uint8_t *copy = mem_alloc(page.len + 1);
        memcpy(copy, page.data != NULL ? page.data : (const uint8_t *)"", page.len);
        end = rep.readdir_rep.end;
        struct reader r = reader_of(bytes_of(copy, page.len));
        int code = 0;
        while (code == 0 && !reader_done(&r)) {
            struct dir_entry e;
            dec_dir_entry(&r, &e);
            if (r.err == 0) {
                cookie = e.cookie;
                code = visit(t, e.attr.ino, e.attr.mode & S_IFMT, false);
            }
        }
        bool empty = page.len == 0;
        mem_free(copy);
        if (code != 0 || empty) {
            return code;
        }
    }
    return 0;
}

static void show(const struct call *c, const struct tree *t, bool recursive)
{
    if (c->json) {
        struct json j = {false};
        json_open(&j, '{');
        json_u64(&j, "set", t->own);
        json_u64(&j, "wanted", t->wanted);
        json_u64(&j, "files", t->files);
        json_u64(&j, "directories", t->directories);
        json_u64(&j, "lacking", t->lacking);
        json_key(&j, "chunks_by_copies");
        json_open(&j, '[');
        for (uint32_t i = 0; i < COPIES; i++) {
            json_u64(&j, NULL, t->copies[i]);
        }
        json_close(&j, ']');
        json_close(&j, '}');
        putchar('\n');
        return;
    }
    printf("wanted %u%s\n", t->wanted, t->own == 0 ? " (the cluster's default)" : "");
    if (recursive) {
        printf("below: %" PRIu64 " files, %" PRIu64 " directories\n", t->files, t->directories);
    }
    for (uint32_t i = 0; i < COPIES; i++) {
        if (t->copies[i] > 0) {
            printf("%" PRIu64 " chunk%s with %u replica%s\n", t->copies[i],
                   t->copies[i] == 1 ? "" : "s", i, i == 1 ? "" : "s");
        }
    }
    if (t->lacking > 0) {
        printf("%" PRIu64 " of them lack replicas\n", t->lacking);
    }
}

/* The inode's type, S_IFMT bits. */
static int type_of(struct session *s, uint64_t ino, uint32_t *out)
{
    union op_any rep, req = {.path_resolve_req = {.ino = ino}};
    if (session_ask_or_say(s, OP_path_resolve, &req, &rep, 0, "replicas") != 0) {
        return EXIT_FAILED;
    }
    *out = rep.path_resolve_rep.attr.mode & S_IFMT;
    return *out == S_IFDIR || *out == S_IFREG
               ? 0
               : say("only regular files and directories have a number of replicas");
}

static int walk(struct tree *t, uint64_t ino, bool recursive)
{
    uint32_t type;
    int code = type_of(t->s, ino, &type);
    if (code == 0) {
        code = visit(t, ino, type, true);
    }
    while (code == 0 && recursive && t->dir_count > 0) {
        code = read_dir(t, t->dirs[--t->dir_count]);
    }
    return code == 0 ? flush(t) : code;
}

int cmd_replicas(struct call *c)
{
    bool recursive = take_option(c, "-r");
    uint64_t ino, number = 0;
    if (c->argc < 1 || c->argc > 2 ||
        (c->argc == 2 && (!parse_u64(c->argv[1], &number) || number > REPLICAS_MAX))) {
        return EXIT_USAGE;
    }
    struct tree t = {.s = c->session, .set = c->argc == 2, .replicas = (uint32_t)number};
    writer_init(&t.batch);
    int code = path_inode(c->session, c->argv[0], &ino);
    if (code == 0) {
        code = walk(&t, ino, recursive);
    }
    if (code == 0 && t.set) { /* and what it is now */
        mem_free(t.dirs);
        writer_free(&t.batch);
        t = (struct tree){.s = c->session};
        writer_init(&t.batch);
        code = walk(&t, ino, recursive);
    }
    if (code == 0) {
        show(c, &t, recursive);
    }
    mem_free(t.dirs);
    writer_free(&t.batch);
    return code;
}
