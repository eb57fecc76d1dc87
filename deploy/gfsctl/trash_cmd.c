/* trash_cmd.c - the trash: list, restore, purge.
 *
 * The master gives the trash page by page, oldest first, and takes inode numbers; what a path, a
 * tree or an age means is worked out here.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "deploy/gfsctl/gfsctl.h"
#include "deploy/gfsctl/path.h"
#include "shared/base/mem.h"

/* What restore and purge remember of an item. */
struct found {
    uint64_t ino;
    int64_t deleted;
    bool dir;
    char *path; /* NULL when it is not wanted */
};

struct gathered {
    struct found *all;
    size_t count, cap;
};

/* Calls each(owner, item) for everything in the trash at `prefix` or below; 0 or EXIT_FAILED. */
static int walk(struct session *s, struct bytes prefix,
                void (*each)(void *owner, const struct trash_item *item), void *owner)
{
    union op_any rep;
    uint64_t expires = 0, ino = 0;
    do {
        union op_any req = {.trash_list_req = {.expires = expires, .ino = ino, .prefix = prefix}};
        if (session_ask_or_say(s, OP_trash_list, &req, &rep, 0, "the trash") != 0) {
            return EXIT_FAILED;
        }
        struct reader r = reader_of(rep.trash_list_rep.items);
        while (!reader_done(&r)) {
            struct trash_item item;
            dec_trash_item(&r, &item);
            if (r.err != 0) {
                return say("the master's answer cannot be understood");
            }
            each(owner, &item);
        }
        expires = rep.trash_list_rep.expires;
        ino = rep.trash_list_rep.ino;
    } while (!rep.trash_list_rep.end);
    return 0;
}

static void gather(void *owner, const struct trash_item *item)
{
    struct gathered *g = owner;
    if (g->count == g->cap) {
        g->cap = g->cap != 0 ? 2 * g->cap : 64;
        g->all = mem_resize(g->all, g->cap * sizeof(*g->all));
    }
    struct found *f = &g->all[g->count++];
    *f = (struct found){.ino = item->ino, .deleted = item->deleted, .dir = S_ISDIR(item->mode)};
    f->path = mem_alloc(item->path.len + 1u);
    memcpy(f->path, item->path.data, item->path.len);
    f->path[item->path.len] = 0;
}

static void gathered_free(struct gathered *g)
{
    for (size_t i = 0; i < g->count; i++) {
        mem_free(g->all[i].path);
    }
    mem_free(g->all);
}

/* ---------------------------------------------------------------- list */

struct listing {
    bool json;
    struct json array;
    uint64_t count, bytes;
};

static void show(void *owner, const struct trash_item *item)
{
    struct listing *l = owner;
    l->count++;
    l->bytes += item->bytes;
    if (l->json) {
        struct json j;
        json_key(&l->array, NULL);
        json_open(&j, '{');
        json_u64(&j, "id", item->ino);
        json_text(&j, "path", item->path);
        json_text(&j, "type", bytes_str(S_ISDIR(item->mode) ? "directory" : "file"));
        json_u64(&j, "size", S_ISDIR(item->mode) ? 0 : item->size);
        json_u64(&j, "deleted", item->deleted > 0 ? (uint64_t)item->deleted : 0);
        json_u64(&j, "expires", item->expires);
        json_close(&j, '}');
        return;
    }
    char when[32] = "", size[SIZE_TEXT], path[PLAIN_TEXT];
    time_t t = (time_t)item->deleted;
    struct tm tm;
    if (localtime_r(&t, &tm) != NULL) {
        (void)strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
    }
    printf("%10" PRIu64 "  %s  %9s  %s%s\n", item->ino, when,
           S_ISDIR(item->mode) ? "-" : bytes_text(item->size, size), plain(item->path, path),
           S_ISDIR(item->mode) ? "/" : "");
}

/* The path from the root of the filesystem that an argument means: what lies on a gfs mount is cut
 * at the mount point, also if only a directory above it is still there. False: no memory for it. */
static bool path_from_root(const char *arg, char out[PATH_MAX])
{
    char whole[PATH_MAX], real[PATH_MAX];
    const char *dir = arg[0] == '/' ? "" : getcwd(real, sizeof(real));
    if (dir == NULL || snprintf(whole, sizeof(whole), "%s/%s", dir, arg) >= (int)sizeof(whole)) {
        return false;
    }
    size_t len = strlen(whole);
    while (len > 1 && whole[len - 1] == '/') {
        whole[--len] = 0;
    }
    /* The deepest part that exists, with its symbolic links followed. */
    size_t cut = len;
    char kept;
    for (;;) {
        kept = whole[cut];
        whole[cut] = 0;
        bool there = realpath(cut == 0 ? "/" : whole, real) != NULL;
        whole[cut] = kept;
        if (there || cut == 0) {
            break;
        }
        while (cut > 0 && whole[--cut] != '/') {
        }
    }
    char mount[PATH_MAX];
    if (!path_mount_point(real, mount)) {
        return snprintf(out, PATH_MAX, "%s%s", arg[0] == '/' ? "" : "/", arg) < PATH_MAX;
    }
    size_t skip = strcmp(mount, "/") == 0 ? 0 : strlen(mount);
    return snprintf(out, PATH_MAX, "%s%s", real + skip, whole + cut) < PATH_MAX;
}

int cmd_trash_list(struct call *c)
{
    char prefix[PATH_MAX] = "";
    if (c->argc > 1) {
        return EXIT_USAGE;
    }
    if (c->argc == 1 && !path_from_root(c->argv[0], prefix)) {
        return say("%s: too long", c->argv[0]);
    }
    struct listing l = {.json = c->json};
    if (c->json) {
        json_open(&l.array, '[');
    } else {
        printf("%10s  %-19s  %9s  %s\n", "id", "deleted", "size", "path");
    }
    int code = walk(c->session, bytes_str(prefix), show, &l);
    if (c->json) {
        json_close(&l.array, ']');
        putchar('\n');
    } else if (code == 0) {
        char size[SIZE_TEXT];
        printf("%" PRIu64 " in the trash, %s\n", l.count, bytes_text(l.bytes, size));
    }
    return code;
}

/* ---------------------------------------------------------------- restore */

static const char *restore_error(int64_t err)
{
    switch (err) {
    case -ENOENT:
        return "it is not in the trash, or the directory given does not exist";
    case -EEXIST:
        return "the name is taken: give another with --to";
    case -ESTALE:
        return "the directory it lay in is gone for good: give a place with --to";
    case -ENOTDIR:
        return "in the place of one of its directories is something else: give a place with --to";
    default:
        return err_text((int)err);
    }
}

/* Restores one after another; how many are done. */
static int restore_all(struct session *s, const struct found *all, size_t count, const char *to,
                       size_t *out_done)
{
    *out_done = 0;
    while (*out_done < count) {
        struct writer w;
        union op_any rep;
        writer_init(&w);
        size_t n = count - *out_done;
        for (size_t i = 0; i < n && i < TRASH_BATCH_MAX; i++) {
            enc_u64(&w, &all[*out_done + i].ino);
        }
        union op_any req = {.trash_restore_req = {.inodes = writer_bytes(&w),
                                                  .to = bytes_str(*out_done == 0 ? to : "")}};
        int err = session_ask_or_say(s, OP_trash_restore, &req, &rep, 0, "trash restore");
        writer_free(&w);
        if (err != 0) {
            return EXIT_FAILED;
        }
        *out_done += rep.trash_restore_rep.done;
        if (rep.trash_restore_rep.failed != 0) {
            const struct found *f = &all[*out_done < count ? *out_done : count - 1];
            return say("%s: %s", f->path != NULL ? f->path : "trash restore",
                       restore_error(rep.trash_restore_rep.failed));
        }
    }
    return 0;
}

/* By path, so that a directory comes before what lay in it; of equal paths the newest first. */
static int by_path(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    int order = strcmp(x->path, y->path);
    if (order != 0) {
        return order;
    }
    return x->deleted != y->deleted ? (x->deleted > y->deleted ? -1 : 1)
                                    : (x->ino > y->ino ? -1 : x->ino < y->ino);
}

static bool exists(struct session *s, const char *path)
{
    union op_any req = {.path_resolve_req = {.path = bytes_str(path)}}, rep;
    return session_ask(s, OP_path_resolve, &req, &rep, 0) == 0;
}

/* What was deleted last of each path at `path` and below, ready to be restored in this order. A
 * directory that is there again needs no restoring. */
static int tree_of(struct session *s, const char *path, struct gathered *g)
{
    int err = walk(s, bytes_str(path), gather, g);
    if (err != 0) {
        return err;
    }
    qsort(g->all, g->count, sizeof(*g->all), by_path);
    size_t n = 0;
    for (size_t i = 0; i < g->count; i++) {
        struct found *f = &g->all[i];
        bool older = n > 0 && strcmp(g->all[n - 1].path, f->path) == 0;
        if (older || (f->dir && strcmp(f->path, path) != 0 && exists(s, f->path)) ||
            (f->dir && g->count > 1 && exists(s, f->path))) {
            mem_free(f->path);
        } else {
            g->all[n++] = *f;
        }
    }
    g->count = n;
    return n > 0 ? 0 : say("%s: nothing of it is in the trash", path);
}

int cmd_trash_restore(struct call *c)
{
    char to[PATH_MAX] = "", path[PATH_MAX];
    uint64_t ino;
    bool other = c->argc == 3 && strcmp(c->argv[1], "--to") == 0;
    if (c->argc != 1 && !other) {
        return EXIT_USAGE;
    }
    if ((other && !path_from_root(c->argv[2], to)) || !path_from_root(c->argv[0], path)) {
        return say("a path is too long");
    }
    size_t done = 0;
    struct gathered g = {0};
    int code;
    if (parse_u64(c->argv[0], &ino)) {
        struct found one = {.ino = ino};
        code = restore_all(c->session, &one, 1, to, &done);
    } else {
        code = tree_of(c->session, path, &g);
        if (code == 0) {
            code = restore_all(c->session, g.all, g.count, to, &done);
        }
    }
    if (c->json) {
        printf("{\"restored\": %zu}\n", done);
    } else if (done > 0) {
        printf("%zu restored\n", done);
    }
    gathered_free(&g);
    return code;
}

/* ---------------------------------------------------------------- purge */

static int purge_all(struct session *s, const struct found *all, size_t count, uint64_t *out_done)
{
    for (size_t at = 0; at < count; at += TRASH_BATCH_MAX) {
        struct writer w;
        union op_any rep;
        writer_init(&w);
        for (size_t i = at; i < count && i < at + TRASH_BATCH_MAX; i++) {
            enc_u64(&w, &all[i].ino);
        }
        union op_any req = {.trash_purge_req = {.inodes = writer_bytes(&w)}};
        int err = session_ask_or_say(s, OP_trash_purge, &req, &rep, 0, "trash purge");
        writer_free(&w);
        if (err != 0) {
            return EXIT_FAILED;
        }
        *out_done += rep.trash_purge_rep.done;
    }
    return 0;
}

int cmd_trash_purge(struct call *c)
{
    struct gathered g = {0};
    uint64_t ino, age = 0, done = 0;
    bool older = c->argc == 2 && strcmp(c->argv[0], "--older") == 0;
    bool all = c->argc == 1 && strcmp(c->argv[0], "--all") == 0;
    int code = 0;
    if (older ? !parse_duration(c->argv[1], &age) : c->argc != 1) {
        return EXIT_USAGE;
    }
    if (older || all) {
        code = walk(c->session, bytes_str(""), gather, &g);
        int64_t before = (int64_t)time(NULL) - (int64_t)(age / 1000);
        size_t n = 0;
        for (size_t i = 0; i < g.count; i++) {
            if (all || g.all[i].deleted <= before) {
                struct found f = g.all[i];
                g.all[i] = g.all[n];
                g.all[n++] = f;
            }
        }
        code = code == 0 ? purge_all(c->session, g.all, n, &done) : code;
    } else if (parse_u64(c->argv[0], &ino)) {
        code = purge_all(c->session, &(struct found){.ino = ino}, 1, &done);
        if (code == 0 && done == 0) {
            code = say("%s is not in the trash", c->argv[0]);
        }
    } else {
        return EXIT_USAGE;
    }
    if (c->json) {
        printf("{\"purged\": %" PRIu64 "}\n", done);
    } else if (done > 0 || code == 0) {
        printf("%" PRIu64 " purged\n", done);
    }
    gathered_free(&g);
    return code;
}
