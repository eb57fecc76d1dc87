/* meta_file.c - making and loading meta log files. */
#include "chunkd/core/meta_file.h"
#include "shared/base/bytes.h"
#include "shared/base/hash.h"
#include "shared/base/mem.h"

#include <stdio.h>
#include <string.h>

enum { META_MAGIC = 0x4d534647, META_FORMAT = 1, WINDOW_BYTES = 1 << 20 };

void meta_file_header_encode(uint64_t number, uint8_t out[META_FILE_HEADER_BYTES])
{
    memset(out, 0, META_FILE_HEADER_BYTES);
    put_le(out, META_MAGIC, 4);
    put_le(out + 4, META_FORMAT, 4);
    put_le(out + 8, number, 8);
    put_le(out + 24, hash64(out, 24), 8);
}

int meta_file_header_decode(uint64_t number, const uint8_t in[META_FILE_HEADER_BYTES])
{
    if (get_le(in, 4) != META_MAGIC) {
        return ERR_CORRUPT;
    }
    if (get_le(in + 4, 4) != META_FORMAT) {
        return -EPROTONOSUPPORT;
    }
    return get_le(in + 24, 8) == hash64(in, 24) && get_le(in + 8, 8) == number ? 0 : ERR_CORRUPT;
}

static void set_path(struct meta_log *log, uint64_t number)
{
    snprintf(log->path, sizeof(log->path), "meta/%016llx", (unsigned long long)number);
}

int meta_log_create(struct meta_log *log, struct why *why)
{
    uint8_t head[META_FILE_HEADER_BYTES];
    meta_file_header_encode(1, head);
    set_path(log, 1);
    int err = env_file_open(log->env, log->path, ENV_OPEN_CREATE, &log->now.file);
    if (err == 0) {
        err = env_file_truncate(log->env, log->now.file, 0);
        int64_t n = err == 0 ? env_file_write(log->env, log->now.file, 0, head, sizeof(head)) : err;
        err = n < 0 ? (int)n : env_file_sync(log->env, log->now.file);
        err = err == 0 ? env_sync_dir(log->env, "meta") : err;
    }
    if (err != 0) {
        return why_set(why, err, "%s: cannot make the meta log: %s", log->path, err_text(err));
    }
    log->now.number = log->highest_number = 1;
    log->now.size = sizeof(head);
    return 0;
}

struct look {
    struct env *env;
    bool records;
};

static void look_at(void *owner, const char *name)
{
    struct look *l = owner;
    struct env_file *f;
    char path[64];
    snprintf(path, sizeof(path), "meta/%.32s", name);
    if (env_file_open(l->env, path, ENV_OPEN_READ_ONLY, &f) != 0) {
        l->records = true; /* who knows */
        return;
    }
    l->records |= env_file_size(l->env, f) > META_FILE_HEADER_BYTES;
    env_file_close(l->env, f);
}

int meta_log_has_records(struct env *env, bool *out)
{
    struct look l = {.env = env};
    int err = env_list_dir(env, "meta", look_at, &l);
    *out = l.records;
    return err;
}

/* ---------------------------------------------------------------- load */

/* A file read through a window. */
struct window {
    struct env *env;
    struct env_file *file;
    uint64_t size; /* of the file */
    uint64_t at;   /* offset of the window's first byte */
    uint32_t len;
    uint8_t *data;
};

/* Bytes at `off`: as many as are left, but at least META_RECORD_MAX of them if the file has those.
 * NULL = read error. */
static const uint8_t *window_at(struct window *w, uint64_t off, uint64_t *out_left)
{
    if (off < w->at || off + META_RECORD_MAX > w->at + w->len) {
        w->at = off;
        w->len = 0;
        int64_t n = env_file_read(w->env, w->file, off, w->data, WINDOW_BYTES);
        if (n < 0) {
            return NULL;
        }
        w->len = (uint32_t)n;
    }
    *out_left = w->at + w->len - off;
    return w->data + (off - w->at);
}

/* Is there a valid record after the bad one at `off` that was made when `sequence`, the bad one's,
 * was synced? */
static bool tail_was_durable(struct window *w, uint64_t off, uint64_t sequence)
{
    for (uint64_t at = off + 8; at + META_HEADER_BYTES <= w->size; at += 8) {
        uint64_t left;
        const uint8_t *in = window_at(w, at, &left);
        struct meta_record r;
        uint64_t found;
        uint64_t durable;
        if (in != NULL && meta_record_decode(&r, &found, &durable, in, left) > 0 &&
            found > sequence && durable >= sequence) {
            return true;
        }
    }
    return false;
}

static int end_of_log(struct meta_log *log, struct window *w, uint64_t off, bool clean,
                      struct why *why)
{
    if (clean || tail_was_durable(w, off, log->now.sequence + 1)) {
        return why_set(why, ERR_CORRUPT,
                       "%s: damaged at offset %llu: the record there was synced and is not valid",
                       log->path, (unsigned long long)off);
    }
    env_log(log->env, LOG_INFO, "%s: torn at offset %llu of %llu, cut there", log->path,
            (unsigned long long)off, (unsigned long long)w->size);
    log->torn = true;
    int err = env_file_truncate(log->env, log->now.file, off);
    err = err == 0 ? env_file_sync(log->env, log->now.file) : err;
    if (err != 0) {
        return why_set(why, err, "%s: cannot cut it: %s", log->path, err_text(err));
    }
    return 0;
}

static int load_records(struct meta_log *log, struct window *w, bool clean,
                        int (*apply)(void *owner, const struct meta_record *r), struct why *why)
{
    uint64_t off = META_FILE_HEADER_BYTES;
    while (off < w->size) {
        uint64_t left;
        const uint8_t *in = window_at(w, off, &left);
        if (in == NULL) {
            return why_set(why, -EIO, "%s: cannot read at offset %llu", log->path,
                           (unsigned long long)off);
        }
        struct meta_record r;
        uint64_t sequence;
        uint64_t durable;
        int n = meta_record_decode(&r, &sequence, &durable, in, left);
        if (n < 0 || sequence != log->now.sequence + 1) {
            int err = end_of_log(log, w, off, clean, why);
            if (err != 0) {
                return err;
            }
            break;
        }
        if (apply(log->owner, &r) != 0) {
            return why_set(why, ERR_CORRUPT, "%s: record at offset %llu makes no sense", log->path,
                           (unsigned long long)off);
        }
        log->now.sequence = sequence;
        off += (uint64_t)n;
    }
    log->now.size = off;
    /* What a killed process left in the page cache is not synced yet: `durable` starts at 0 and the
     * first sync covers it. */
    return 0;
}

static int load(struct meta_log *log, uint32_t clean,
                int (*apply)(void *owner, const struct meta_record *r), struct why *why)
{
    int64_t size = env_file_size(log->env, log->now.file);
    uint8_t head[META_FILE_HEADER_BYTES] = {0};
    int64_t n = size < 0 ? size : env_file_read(log->env, log->now.file, 0, head, sizeof(head));
    if (n < 0) {
        return why_set(why, (int)n, "%s: cannot read: %s", log->path, err_text((int)n));
    }
    int err = meta_file_header_decode(log->now.number, head);
    if (err != 0) {
        return why_set(why, ERR_CORRUPT,
                       err == -EPROTONOSUPPORT
                           ? "%s: a format of the meta log this program does not know"
                           : "%s: damaged at offset 0: the header is not valid",
                       log->path);
    }
    struct window w = {.env = log->env,
                       .file = log->now.file,
                       .size = (uint64_t)size,
                       .data = mem_alloc(WINDOW_BYTES)};
    err = load_records(log, &w, clean != 0, apply, why);
    if (err == 0 && log->now.sequence + 1 < clean) {
        err = why_set(why, ERR_CORRUPT,
                      "%s: damaged at offset %llu: it ends there, %llu records are missing",
                      log->path, (unsigned long long)log->now.size,
                      (unsigned long long)(clean - 1 - log->now.sequence));
    }
    mem_free(w.data);
    return err;
}

struct meta_names {
    struct meta_log *log;
    uint64_t old[16]; /* files to remove */
    uint32_t old_count;
    bool tmp;
};

static bool parse_number(const char *name, uint64_t *out)
{
    uint64_t v = 0;
    for (int i = 0; i < 16; i++) {
        char c = name[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) {
            return false;
        }
        v = v << 4 | (uint64_t)digit;
    }
    *out = v;
    return name[16] == '\0' && v != 0;
}

static void each_name(void *owner, const char *name)
{
    struct meta_names *n = owner;
    uint64_t number;
    if (strcmp(name, "tmp") == 0) {
        n->tmp = true;
    } else if (parse_number(name, &number)) {
        if (n->log->highest_number != 0 && n->old_count < COUNT_OF(n->old)) {
            n->old[n->old_count++] = n->log->highest_number; /* names come sorted */
        }
        n->log->highest_number = number;
    }
}

int meta_log_open(struct meta_log *log, uint32_t clean,
                  int (*apply)(void *owner, const struct meta_record *r), struct why *why)
{
    struct meta_names names = {.log = log};
    int err = env_list_dir(log->env, "meta", each_name, &names);
    if (err != 0) {
        return why_set(why, err, "meta: cannot list: %s", err_text(err));
    }
    if (log->highest_number == 0) {
        return why_set(why, ERR_CORRUPT, "meta: the meta log is missing");
    }
    log->now.number = log->highest_number;
    set_path(log, log->now.number);
    err = env_file_open(log->env, log->path, 0, &log->now.file);
    if (err != 0) {
        return why_set(why, err, "%s: cannot open: %s", log->path, err_text(err));
    }
    err = load(log, clean, apply, why);
    if (err != 0) {
        return err;
    }
    /* The last process may have been killed before its name was: then all that is synced from now on
     * would be in a file that a power cut takes back. */
    err = env_sync_dir(log->env, "meta");
    if (err != 0) {
        return why_set(why, err, "meta: cannot sync the directory: %s", err_text(err));
    }
    for (uint32_t i = 0; i < names.old_count; i++) {
        char path[32];
        snprintf(path, sizeof(path), "meta/%016llx", (unsigned long long)names.old[i]);
        (void)env_unlink(log->env, path); /* a leftover costs only space */
    }
    if (names.tmp) {
        (void)env_unlink(log->env, "meta/tmp");
    }
    return 0;
}
