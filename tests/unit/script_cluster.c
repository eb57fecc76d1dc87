/* script_cluster.c - a scripted master and chunkservers for tests of the mount's core. */
#include "tests/unit/script_cluster.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "shared/base/mem.h"

#define SECOND NS_PER_S

/* ---------------------------------------------------------------- answers */

static bool is_master(const struct script_server *s)
{
    return s->id == 0 || s->id >= SCRIPT_MASTER_ID;
}

static void answer_body(struct script_link *l, const struct message *m, int status,
                        struct slice body, struct slice *payload)
{
    const struct script_server *s = l->server;
    struct script_cluster *f = s->f;
    struct frame_header head = m->head;
    head.age_ms = s->role == MASTER_SHADOW ? MAX(s->age_ms, 1u) : 0;
    uint64_t index = s->applied != 0 ? s->applied : f->index;
    uint32_t epoch = s->epoch != 0 ? s->epoch : f->epoch;
    bool master = is_master(s);
    rpc_answer(&l->rpc, &head, status, master ? index : 0, master ? epoch : 0, body, payload);
}

void script_answer(struct script_link *l, const struct message *m, int status)
{
    answer_body(l, m, status, (struct slice){0}, NULL);
}

static struct attr attr_of(const struct script_file *file)
{
    return (struct attr){.ino = file->ino,
                         .mode = S_IFREG | 0644,
                         .nlink = 1,
                         .size = file->size,
                         .ctime = {.sec = (int64_t)file->stamp},
                         .mtime = {.sec = (int64_t)file->stamp}};
}

struct script_file *script_file_of(struct script_cluster *f, uint64_t ino)
{
    for (int n = 0; n < SCRIPT_FILES; n++) {
        if (f->files[n].ino == ino && ino != 0) {
            return &f->files[n];
        }
    }
    return NULL;
}

static struct script_file *file_named(struct script_cluster *f, struct bytes name)
{
    for (int n = 0; n < SCRIPT_FILES; n++) {
        if (f->files[n].ino != 0 && bytes_equal(bytes_str(f->files[n].name), name)) {
            return &f->files[n];
        }
    }
    return NULL;
}

static struct script_file *file_new(struct script_cluster *f, struct bytes name)
{
    for (int n = 0; n < SCRIPT_FILES; n++) {
        struct script_file *file = &f->files[n];
        if (file->ino == 0) {
            *file = (struct script_file){.ino = 100 + (uint64_t)n, .stamp = ++f->index};
            memcpy(file->name, name.data, MIN(name.len, sizeof(file->name) - 1));
            return file;
        }
    }
    ck_abort_msg("too many files");
}

static void chunk_new(struct script_cluster *f, struct script_file *file, uint64_t number)
{
    file->chunks[number] = (struct script_chunk){.handle = file->ino * 1000 + number,
                                                 .version = ((uint64_t)f->epoch << 32) + 1,
                                                 .trim = NO_TRIM,
                                                 .fresh = true};
}

static void make_replica(struct script_server *s, uint32_t file, uint32_t chunk)
{
    if (s->data[file][chunk] == NULL) {
        s->data[file][chunk] = mem_alloc(SCRIPT_CHUNK);
    }
}

/* The chunk for an answer; the encoded members are in *w. */
static struct chunk chunk_of(struct script_cluster *f, const struct script_file *file,
                             uint64_t number, struct writer *w)
{
    const struct script_chunk *c = &file->chunks[number];
    writer_init(w);
    for (uint32_t n = 0; n < SCRIPT_SERVERS; n++) {
        uint32_t id = (f->primary - 1 + n) % SCRIPT_SERVERS + 1;
        char addr[16], label[16];
        snprintf(addr, sizeof(addr), "s%u:1", id);
        snprintf(label, sizeof(label), "host%u", id);
        struct server s = {
            .id = id, .addr = bytes_str(addr), .host = bytes_str(label), .rack = bytes_str(label)};
        enc_server(w, &s);
    }
    return (struct chunk){.ino = file->ino,
                          .number = number,
                          .handle = c->handle,
                          .version = c->version,
                          .doubt = c->doubt,
                          .trim = c->trim,
                          .trim_set = c->trim_set,
                          .fresh = c->fresh,
                          .unsynced = !c->synced,
                          .gone = c->gone,
                          .primary = f->primary,
                          .members = writer_bytes(w)};
}

/* ---------------------------------------------------------------- master */

static void note_open(struct script_cluster *f, uint64_t ino)
{
    for (uint32_t n = 0; n < f->open_count; n++) {
        if (f->opens[n] == ino) {
            return;
        }
    }
    ck_assert_uint_lt(f->open_count, COUNT_OF(f->opens));
    f->opens[f->open_count++] = ino;
}

static void note_close(struct script_cluster *f, uint64_t ino)
{
    for (uint32_t n = 0; n < f->open_count; n++) {
        if (f->opens[n] == ino) {
            f->opens[n] = f->opens[--f->open_count];
            return;
        }
    }
}

static void do_attach(struct script_link *l, struct message *m, const union op_any *q)
{
    struct script_cluster *f = l->server->f;
    bool shadow = l->server->role == MASTER_SHADOW;
    if (q->session_attach_req.session != (shadow ? 0 : f->session)) {
        script_answer(l, m, ERR_NO_SESSION);
        return;
    }
    f->open_count = shadow ? f->open_count : 0;
    struct bytes lists[] = {q->session_attach_req.writing, q->session_attach_req.opens};
    for (size_t n = 0; n < COUNT_OF(lists); n++) {
        struct reader r = reader_of(lists[n]);
        while (!reader_done(&r)) {
            uint64_t ino;
            dec_u64(&r, &ino);
            note_open(f, ino);
        }
        f->attached_writing = n == 0 ? f->open_count : f->attached_writing;
    }
    struct session_attach_rep rep = {.chunk_bytes = SCRIPT_CHUNK,
                                     .block_bytes = SCRIPT_BLOCK,
                                     .session_ms = 6000,
                                     .request_timeout_ms = SCRIPT_TIMEOUT_MS};
    answer_body(l, m, 0, RPC_BODY(session_attach_rep, &rep), NULL);
}

static void do_create(struct script_link *l, struct message *m, const union op_any *q)
{
    struct script_cluster *f = l->server->f;
    struct script_file *file = file_named(f, q->create_req.name);
    if (file != NULL) {
        script_answer(l, m, -EEXIST);
        return;
    }
    file = file_new(f, q->create_req.name);
    chunk_new(f, file, 0);
    note_open(f, file->ino);
    struct writer w;
    struct create_rep rep = {.attr = attr_of(file), .chunk = chunk_of(f, file, 0, &w)};
    answer_body(l, m, 0, RPC_BODY(create_rep, &rep), NULL);
    writer_free(&w);
}

static void do_open(struct script_link *l, struct message *m, const union op_any *q)
{
    struct script_cluster *f = l->server->f;
    struct script_file *file = script_file_of(f, q->open_req.ino);
    struct open_rep rep = {.attr = attr_of(file)};
    struct writer w;
    writer_init(&w);
    if (f->open_tells && file->chunks[0].handle != 0) {
        rep.chunk = chunk_of(f, file, 0, &w);
    }
    if (l->server->role == MASTER_PRIMARY) {
        note_open(f, q->open_req.ino);
    }
    answer_body(l, m, 0, RPC_BODY(open_rep, &rep), NULL);
    writer_free(&w);
}

static void do_trimmed(struct script_link *l, struct message *m, const union op_any *q)
{
    struct script_cluster *f = l->server->f;
    struct script_chunk *c = &script_file_of(f, q->trimmed_req.ino)->chunks[q->trimmed_req.number];
    bool same = q->trimmed_req.trim == c->trim && q->trimmed_req.set == c->trim_set;
    if (same) {
        c->trim = NO_TRIM;
        c->trim_set = 0;
    }
    script_answer(l, m, same ? 0 : ERR_RETRY_GRANT);
}

static void do_locate(struct script_link *l, struct message *m, const union op_any *q)
{
    struct script_cluster *f = l->server->f;
    struct script_file *file = script_file_of(f, q->locate_req.ino);
    struct writer all, w;
    writer_init(&all);
    for (uint64_t n = q->locate_req.number;
         n < q->locate_req.number + q->locate_req.count && n < SCRIPT_CHUNKS; n++) {
        if (file->chunks[n].handle != 0) {
            struct chunk c = chunk_of(f, file, n, &w);
            enc_chunk(&all, &c);
            writer_free(&w);
        }
    }
    struct locate_rep rep = {.size = file->size, .chunks = writer_bytes(&all)};
    answer_body(l, m, 0, RPC_BODY(locate_rep, &rep), NULL);
    writer_free(&all);
}

static void do_grant(struct script_link *l, struct message *m, const union op_any *q)
{
    struct script_cluster *f = l->server->f;
    struct script_file *file = script_file_of(f, q->grant_req.ino);
    uint64_t number = q->grant_req.number;
    ck_assert_uint_lt(number, SCRIPT_CHUNKS);
    struct script_chunk *c = &file->chunks[number];
    if (c->handle == 0) {
        chunk_new(f, file, number);
    } else if (c->version == q->grant_req.failed_version) {
        c->version++;
        c->fresh = false;
        bool lost = true;
        for (uint32_t id = 1; id <= SCRIPT_SERVERS; id++) {
            lost = lost && f->servers[id].data[file - f->files][number] == NULL;
        }
        c->doubt = lost ? c->version : c->doubt;
        for (uint32_t id = 1; id <= SCRIPT_SERVERS; id++) {
            make_replica(&f->servers[id], (uint32_t)(file - f->files), (uint32_t)number);
        }
    }
    struct writer w;
    struct grant_rep rep = {.chunk = chunk_of(f, file, number, &w)};
    answer_body(l, m, 0, RPC_BODY(grant_rep, &rep), NULL);
    writer_free(&w);
}

static void do_setattr(struct script_link *l, struct message *m, const union op_any *q)
{
    struct script_cluster *f = l->server->f;
    struct script_file *file = script_file_of(f, q->setattr_req.ino);
    struct stamp before = {.sec = (int64_t)file->stamp};
    file->stamp = ++f->index;
    uint64_t size = q->setattr_req.size;
    if (q->setattr_req.mask & SETATTR_SIZE) {
        for (uint64_t n = 0; n < SCRIPT_CHUNKS && size < file->size; n++) {
            struct script_chunk *c = &file->chunks[n];
            if (n * SCRIPT_CHUNK >= size) {
                *c = (struct script_chunk){0};
            } else if (c->handle != 0 && size - n * SCRIPT_CHUNK < MIN(c->trim, SCRIPT_CHUNK)) {
                c->trim = (uint32_t)(size % SCRIPT_CHUNK);
                c->trim_set = (uint32_t)f->index;
            }
        }
        file->size = size;
    }
    if (q->setattr_req.mask & SETATTR_EXTEND) {
        file->size = MAX(file->size, size);
    }
    struct setattr_rep rep = {.attr = attr_of(file), .before = before};
    answer_body(l, m, 0, RPC_BODY(setattr_rep, &rep), NULL);
}

static void do_next_chunk(struct script_link *l, struct message *m, const union op_any *q)
{
    struct script_file *file = script_file_of(l->server->f, q->next_chunk_req.ino);
    for (uint64_t n = q->next_chunk_req.number; n < SCRIPT_CHUNKS; n++) {
        if (file->chunks[n].handle != 0) {
            struct next_chunk_rep rep = {.number = n};
            answer_body(l, m, 0, RPC_BODY(next_chunk_rep, &rep), NULL);
            return;
        }
    }
    script_answer(l, m, -ENXIO);
}

static void do_extend(struct script_link *l, struct message *m, const union op_any *q)
{
    struct script_cluster *f = l->server->f;
    struct script_file *file = script_file_of(f, q->extend_req.ino);
    file->size = MAX(file->size, q->extend_req.end);
    struct stamp before = {.sec = (int64_t)file->stamp};
    file->stamp = ++f->index;
    for (uint64_t n = 0; n * SCRIPT_CHUNK < q->extend_req.end; n++) {
        file->chunks[n].fresh = false;
    }
    struct extend_rep rep = {.attr = attr_of(file), .before = before};
    answer_body(l, m, 0, RPC_BODY(extend_rep, &rep), NULL);
}

static void do_closes(struct script_link *l, struct message *m, const union op_any *q)
{
    struct reader r = reader_of(q->close_files_req.inodes);
    while (!reader_done(&r)) {
        uint64_t ino;
        dec_u64(&r, &ino);
        note_close(l->server->f, ino);
    }
    script_answer(l, m, 0);
}

/* It has not applied what the asker saw, or it is no question. */
static bool refused_by_shadow(struct script_link *l, struct message *m)
{
    const struct script_server *s = l->server;
    uint16_t op = m->head.op;
    bool other = op == OP_hello || op == OP_session_attach;
    if (!other && op_info_of(op)->class != OP_QUERY) {
        script_answer(l, m, ERR_NOT_MASTER);
        return true;
    }
    if (!other && s->applied != 0 && s->applied < m->head.index) {
        script_answer(l, m, ERR_BEHIND);
        return true;
    }
    return false;
}

static void answer_master(struct script_link *l, struct message *m, const union op_any *q)
{
    struct script_cluster *f = l->server->f;
    struct script_file *file;
    bool attached = m->head.op < OP_session_attach || m->head.op == OP_session_attach;
    bool shadow = l->server->role == MASTER_SHADOW;
    if (shadow && refused_by_shadow(l, m)) {
        return;
    }
    if (!attached && !shadow && m->head.session != f->session) {
        script_answer(l, m, ERR_NO_SESSION);
        return;
    }
    switch (m->head.op) {
    case OP_hello: {
        struct hello_rep rep = {.cluster = 77, .role = l->server->role};
        rep.primary = bytes_str(l->server->hint != NULL ? l->server->hint : "");
        answer_body(l, m, 0, RPC_BODY(hello_rep, &rep), NULL);
        break;
    }
    case OP_session_open: {
        f->session = 1000 + ++f->sessions_made;
        struct session_open_rep rep = {.session = f->session};
        answer_body(l, m, 0, RPC_BODY(session_open_rep, &rep), NULL);
        break;
    }
    case OP_session_attach:
        do_attach(l, m, q);
        break;
    case OP_create:
        do_create(l, m, q);
        break;
    case OP_lookup: {
        file = file_named(f, q->lookup_req.name);
        if (file == NULL) {
            script_answer(l, m, -ENOENT);
            break;
        }
        struct lookup_rep rep = {.attr = attr_of(file)};
        answer_body(l, m, 0, RPC_BODY(lookup_rep, &rep), NULL);
        break;
    }
    case OP_getattr: {
        struct getattr_rep rep = {.attr = attr_of(script_file_of(f, q->getattr_req.ino))};
        answer_body(l, m, 0, RPC_BODY(getattr_rep, &rep), NULL);
        break;
    }
    case OP_open:
        do_open(l, m, q);
        break;
    case OP_mkdir: {
        struct mkdir_rep rep = {.attr = {.ino = 7, .mode = S_IFDIR | 0755, .nlink = 2}};
        answer_body(l, m, 0, RPC_BODY(mkdir_rep, &rep), NULL);
        break;
    }
    case OP_rename: {
        struct rename_rep rep = {.ino = 2};
        answer_body(l, m, 0, RPC_BODY(rename_rep, &rep), NULL);
        break;
    }
    case OP_statfs: {
        struct statfs_rep rep = {.total = 1000 << 20, .avail = 500 << 20};
        answer_body(l, m, 0, RPC_BODY(statfs_rep, &rep), NULL);
        break;
    }
    case OP_trimmed:
        do_trimmed(l, m, q);
        break;
    case OP_locate:
        do_locate(l, m, q);
        break;
    case OP_next_chunk:
        do_next_chunk(l, m, q);
        break;
    case OP_grant:
        do_grant(l, m, q);
        break;
    case OP_setattr:
        do_setattr(l, m, q);
        break;
    case OP_extend:
        do_extend(l, m, q);
        break;
    case OP_close_files:
        do_closes(l, m, q);
        break;
    default: /* renew, report_bad, session_end: nothing to do */
        script_answer(l, m, 0);
    }
}

/* ---------------------------------------------------------------- chunkservers */

static struct writer sums_of(const uint8_t *data, uint32_t offset, uint32_t len)
{
    struct writer w;
    writer_init(&w);
    for (uint32_t n, at = 0; at < len; at += n) {
        n = MIN(SCRIPT_BLOCK - (offset + at) % SCRIPT_BLOCK, len - at);
        uint8_t le[4];
        put_le(le, block_sum(data + at, n), 4);
        writer_raw(&w, le, 4);
    }
    return w;
}

/* Where a handle's replica is: false if there is no such chunk at that version. */
static int find_chunk(struct script_cluster *f, uint64_t handle, uint64_t version,
                      uint32_t *out_file, uint32_t *out_chunk)
{
    *out_file = (uint32_t)(handle / 1000 - 100);
    *out_chunk = (uint32_t)(handle % 1000);
    const struct script_chunk *c = &f->files[*out_file].chunks[*out_chunk];
    if (c->handle != handle) {
        return ERR_NO_REPLICA;
    }
    return c->version == version ? 0 : ERR_WRONG_VERSION;
}

/* Applies the write on every server. */
static void apply_write(struct script_cluster *f, const struct write_req *q,
                        const struct slice *data, uint32_t file, uint32_t chunk)
{
    for (uint32_t id = 1; id <= SCRIPT_SERVERS; id++) {
        struct script_server *s = &f->servers[id];
        make_replica(s, file, chunk);
        uint32_t *length = &s->length[file][chunk];
        if (q->kind == WRITE_DATA) {
            memcpy(s->data[file][chunk] + q->offset, slice_data(data), q->length);
            *length = MAX(*length, q->offset + q->length);
        } else if (q->kind == WRITE_TRUNCATE) {
            memset(s->data[file][chunk] + q->offset, 0, SCRIPT_CHUNK - q->offset);
            *length = MIN(*length, q->offset);
        } else if (q->kind == WRITE_PUNCH) {
            memset(s->data[file][chunk] + q->offset, 0, q->length);
        }
    }
}

static void do_write(struct script_link *l, struct message *m, const union op_any *q)
{
    struct script_cluster *f = l->server->f;
    const struct write_req *req = &q->write_req;
    uint32_t file, chunk;
    int err = find_chunk(f, req->handle, req->version, &file, &chunk);
    if (err == 0 && l->server->id != f->primary) {
        err = ERR_NOT_PRIMARY;
    }
    if (err == 0 && !req->fresh && l->server->data[file][chunk] == NULL) {
        err = ERR_NO_REPLICA;
    }
    if (err == 0 && req->kind == WRITE_DATA) {
        ck_assert_uint_eq(m->payload.len, req->length);
        ck_assert_uint_le(req->length, IO_MAX);
        ck_assert_uint_le(req->offset + req->length, SCRIPT_CHUNK);
        struct writer w = sums_of(slice_data(&m->payload), req->offset, req->length);
        ck_assert(bytes_equal(writer_bytes(&w), req->sums));
        writer_free(&w);
    }
    if (err == 0) {
        apply_write(f, req, &m->payload, file, chunk);
    }
    struct write_rep rep = {0};
    answer_body(l, m, err, RPC_BODY(write_rep, &rep), NULL);
}

static void do_read(struct script_link *l, struct message *m, const union op_any *q)
{
    struct script_server *s = l->server;
    const struct read_req *req = &q->read_req;
    uint32_t file, chunk;
    int err = find_chunk(s->f, req->handle, req->version, &file, &chunk);
    if (err == 0 && s->data[file][chunk] == NULL) {
        err = ERR_NO_REPLICA;
    }
    if (err == 0 && s->f->no_lease && !req->unfenced_ok) {
        err = ERR_NO_LEASE;
    }
    if (err != 0) {
        script_answer(l, m, err);
        return;
    }
    uint32_t length = s->length[file][chunk];
    uint32_t n = req->offset < length ? MIN(req->length, length - req->offset) : 0;
    struct slice payload = {0};
    if (n > 0) {
        payload = (struct slice){buf_new(n), 0, n};
        memcpy(payload.buf->data, s->data[file][chunk] + req->offset, n);
    }
    struct writer w = sums_of(slice_data(&payload), req->offset, n);
    struct read_rep rep = {.sums = writer_bytes(&w)};
    answer_body(l, m, 0, RPC_BODY(read_rep, &rep), &payload);
    writer_free(&w);
}

/* Data is what is not zero, looked at in blocks. */
static void do_seek(struct script_link *l, struct message *m, const union op_any *q)
{
    struct script_server *s = l->server;
    const struct seek_req *req = &q->seek_req;
    uint32_t file, chunk;
    int err = find_chunk(s->f, req->handle, req->version, &file, &chunk);
    if (err != 0 || s->data[file][chunk] == NULL) {
        script_answer(l, m, err != 0 ? err : ERR_NO_REPLICA);
        return;
    }
    uint32_t at = req->offset, length = s->length[file][chunk];
    for (; at < length; at = (at / SCRIPT_BLOCK + 1) * SCRIPT_BLOCK) {
        const uint8_t *block = s->data[file][chunk] + at / SCRIPT_BLOCK * SCRIPT_BLOCK;
        bool zero = block[0] == 0 && memcmp(block, block + 1, SCRIPT_BLOCK - 1) == 0;
        if (zero == req->hole) {
            break;
        }
    }
    if (at >= length && !req->hole) {
        script_answer(l, m, -ENXIO);
        return;
    }
    struct seek_rep rep = {.offset = at >= length ? MAX(length, req->offset) : at};
    answer_body(l, m, 0, RPC_BODY(seek_rep, &rep), NULL);
}

static void answer_chunkserver(struct script_link *l, struct message *m, const union op_any *q)
{
    uint32_t file, chunk;
    int err;
    switch (m->head.op) {
    case OP_hello: {
        ck_assert_uint_eq(q->hello_req.cluster, 77);
        struct hello_rep rep = {.cluster = 77, .server = l->server->id};
        answer_body(l, m, 0, RPC_BODY(hello_rep, &rep), NULL);
        break;
    }
    case OP_write:
        do_write(l, m, q);
        break;
    case OP_read:
        do_read(l, m, q);
        break;
    case OP_seek:
        do_seek(l, m, q);
        break;
    case OP_sync:
        err = find_chunk(l->server->f, q->sync_req.handle, q->sync_req.version, &file, &chunk);
        script_answer(l, m, err);
        break;
    default:
        script_answer(l, m, ERR_UNKNOWN_OP);
    }
}

/* ---------------------------------------------------------------- requests and connections */

static uint64_t numbers_in(struct bytes list)
{
    struct reader r = reader_of(list);
    uint64_t n = 0, one;
    for (; !reader_done(&r); n++) {
        dec_u64(&r, &one);
    }
    ck_assert_int_eq(r.err, 0);
    return n;
}

static void note(struct script_link *l, const struct message *m, const union op_any *q)
{
    struct script_cluster *f = l->server->f;
    ck_assert_uint_lt(f->log_count, SCRIPT_LOG);
    struct script_request *r = &f->log[f->log_count++];
    *r = (struct script_request){.op = m->head.op,
                                 .server = l->server->id,
                                 .session = m->head.session,
                                 .sequence = m->head.sequence,
                                 .acked = m->head.acked,
                                 .index = m->head.index,
                                 .flags = m->head.flags,
                                 .at_ns = f->sim->now_ns};
    switch (m->head.op) {
    case OP_write:
        r->ino = q->write_req.ino;
        r->offset = q->write_req.number * SCRIPT_CHUNK + q->write_req.offset;
        r->length = q->write_req.length;
        break;
    case OP_extend:
        r->ino = q->extend_req.ino;
        r->offset = q->extend_req.end;
        r->length = numbers_in(q->extend_req.synced);
        r->untouched = q->extend_req.untouched;
        break;
    case OP_read:
        r->offset = q->read_req.offset;
        r->length = q->read_req.length;
        break;
    case OP_grant:
        r->ino = q->grant_req.ino;
        r->offset = q->grant_req.failed_version;
        r->length = q->grant_req.failed_server;
        break;
    case OP_report_bad:
        r->ino = q->report_bad_req.ino;
        r->offset = q->report_bad_req.block;
        r->length = q->report_bad_req.server;
        break;
    default:
        break;
    }
}

static void on_request(void *owner, struct rpc *r, struct message *m)
{
    struct script_link *l = owner;
    (void)r;
    union op_any q;
    ck_assert_int_eq(op_info_of(m->head.op)->req_decode(slice_bytes(&m->body), &q), 0);
    note(l, m, &q);
    struct script_cluster *f = l->server->f;
    if (l->server->mute || (f->hook != NULL && f->hook(f, l, m) == SCRIPT_DONE)) {
        return;
    }
    if (is_master(l->server)) {
        answer_master(l, m, &q);
    } else {
        answer_chunkserver(l, m, &q);
    }
}

static void on_close(void *owner, struct rpc *r, int err)
{
    struct script_link *l = owner;
    (void)r;
    (void)err;
    list_remove(&l->link);
    mem_free(l);
}

static const struct rpc_events events = {.on_request = on_request, .on_close = on_close};

static void on_accept(void *owner, struct env_conn *c)
{
    struct script_server *s = owner;
    if (s->dead) {
        env_hangup(&s->process->env, c);
        return;
    }
    struct script_link *l = mem_new(struct script_link);
    l->server = s;
    list_push_back(&s->links, &l->link);
    rpc_init(&l->rpc, &s->process->env, &events, l);
    rpc_accept(&l->rpc, c);
}

static void cut_links(struct script_server *s)
{
    for (struct list *e; (e = list_pop_front(&s->links)) != NULL;) {
        struct script_link *l = list_entry(e, struct script_link, link);
        rpc_close(&l->rpc);
        mem_free(l);
    }
}

void script_cut(struct script_cluster *f, uint32_t server)
{
    cut_links(&f->servers[server]);
}

struct script_server *script_master(struct script_cluster *f, uint32_t n)
{
    return n == 0 ? &f->servers[0] : &f->others[n - 1];
}

void script_kill(struct script_cluster *f, uint32_t n)
{
    script_master(f, n)->dead = true;
    cut_links(script_master(f, n));
}

void script_promote(struct script_cluster *f, uint32_t n)
{
    f->epoch++;
    for (uint32_t one = 0; one < SCRIPT_MASTERS; one++) {
        script_master(f, one)->role = one == n ? MASTER_PRIMARY : MASTER_SHADOW;
    }
    cut_links(script_master(f, n));
}

/* ---------------------------------------------------------------- life */

static void on_ready(void *owner, int status)
{
    ck_assert_int_eq(status, 0);
    *(bool *)owner = true;
}

static void start_server(struct script_cluster *f, struct script_server *s, uint32_t id,
                         const char *name)
{
    char addr[20];
    snprintf(addr, sizeof(addr), "%s:1", name);
    s->f = f;
    s->id = id;
    list_init(&s->links);
    s->process = sim_process_create(f->sim, name);
    sim_process_start(s->process);
    ck_assert_int_eq(env_listen(&s->process->env, addr, on_accept, s), 0);
}

static struct script_cluster *start_cluster(void)
{
    struct script_cluster *f = mem_new(struct script_cluster);
    f->sim = sim_create(1);
    f->primary = 1;
    f->epoch = 3;
    f->index = 10;
    for (uint32_t id = 0; id <= SCRIPT_SERVERS; id++) {
        char name[16];
        snprintf(name, sizeof(name), id == 0 ? "m" : "s%u", id);
        start_server(f, &f->servers[id], id, name);
    }
    f->servers[0].role = MASTER_PRIMARY;
    f->mount = sim_process_create(f->sim, "mount");
    sim_process_start(f->mount);
    return f;
}

static void start_client(struct script_cluster *f, const struct client_config *cfg,
                         const char *masters)
{
    struct client_config own = cfg != NULL ? *cfg : (struct client_config){0};
    snprintf(own.masters, sizeof(own.masters), "%s", masters);
    f->client = client_create(&f->mount->env, &own);
    client_start(f->client, on_ready, &f->ready);
}

struct script_cluster *script_start(const struct client_config *cfg)
{
    struct script_cluster *f = start_cluster();
    start_client(f, cfg, "m:1");
    script_run(f, 1000);
    ck_assert(f->ready);
    return f;
}

struct script_cluster *script_start_set(const struct client_config *cfg)
{
    struct script_cluster *f = start_cluster();
    for (uint32_t n = 1; n < SCRIPT_MASTERS; n++) {
        char name[16];
        snprintf(name, sizeof(name), "m%u", n + 1);
        start_server(f, script_master(f, n), SCRIPT_MASTER_ID + n - 1, name);
    }
    for (uint32_t n = 0; n < SCRIPT_MASTERS; n++) {
        script_master(f, n)->role = MASTER_SHADOW;
    }
    start_client(f, cfg, "m:1,m2:1,m3:1");
    return f;
}

void script_end(struct script_cluster *f)
{
    client_destroy(f->client);
    for (uint32_t id = 0; id <= SCRIPT_SERVERS; id++) {
        script_cut(f, id);
        for (int n = 0; n < SCRIPT_FILES * SCRIPT_CHUNKS; n++) {
            mem_free(f->servers[id].data[n / SCRIPT_CHUNKS][n % SCRIPT_CHUNKS]);
        }
    }
    for (uint32_t n = 0; n < COUNT_OF(f->others); n++) {
        if (f->others[n].process != NULL) {
            cut_links(&f->others[n]);
        }
    }
    sim_destroy(f->sim);
    mem_free(f);
}

void script_run(struct script_cluster *f, uint32_t ms)
{
    sim_run_for(f->sim, ms * NS_PER_MS);
}

uint32_t script_count(const struct script_cluster *f, uint16_t op)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < f->log_count; n++) {
        count += f->log[n].op == op;
    }
    return count;
}

const struct script_request *script_request(const struct script_cluster *f, uint16_t op,
                                            uint32_t want)
{
    for (uint32_t n = 0; n < f->log_count; n++) {
        if (f->log[n].op == op && want-- == 0) {
            return &f->log[n];
        }
    }
    ck_abort_msg("no such %s", op_name(op));
}

uint64_t script_make(struct script_cluster *f, const char *name, uint32_t size, uint8_t fill)
{
    struct script_file *file = file_new(f, bytes_str(name));
    uint32_t place = (uint32_t)(file - f->files);
    file->size = size;
    for (uint32_t n = 0; n * SCRIPT_CHUNK < size; n++) {
        chunk_new(f, file, n);
        file->chunks[n].fresh = false;
        file->chunks[n].synced = true;
        for (uint32_t id = 1; id <= SCRIPT_SERVERS; id++) {
            struct script_server *s = &f->servers[id];
            uint32_t len = MIN((uint32_t)SCRIPT_CHUNK, size - n * SCRIPT_CHUNK);
            s->data[place][n] = mem_alloc(SCRIPT_CHUNK);
            memset(s->data[place][n], fill, len);
            s->length[place][n] = len;
        }
    }
    return file->ino;
}

/* ---------------------------------------------------------------- calls */

static void call_done(struct client_call *k)
{
    struct script_call *c = k->owner;
    ck_assert(!c->over);
    c->over = true;
    c->data = client_read_bytes(k);
    c->bytes_len = MIN(k->bytes.len, (uint32_t)sizeof(c->bytes));
    if (c->bytes_len > 0) {
        memcpy(c->bytes, k->bytes.data, c->bytes_len);
    }
}

void script_call_init(struct script_call *c)
{
    memset(c, 0, sizeof(*c));
    c->k.done = call_done;
    c->k.owner = c;
}

static bool is_over(void *owner)
{
    return ((struct script_call *)owner)->over;
}

int script_wait(struct script_cluster *f, struct script_call *c)
{
    ck_assert(sim_run_until(f->sim, is_over, c, 60 * SECOND));
    return c->k.status;
}

void script_call_drop(struct script_call *c)
{
    slice_drop(&c->data);
}

struct client_file *script_create(struct script_cluster *f, const char *name)
{
    struct script_call c;
    script_call_init(&c);
    client_create_file(f->client, &c.k, ROOT_INO, bytes_str(name), 0644, 0, 0, 2);
    ck_assert_int_eq(script_wait(f, &c), 0);
    return c.k.file;
}

struct client_file *script_open(struct script_cluster *f, uint64_t ino, int flags)
{
    struct script_call c;
    script_call_init(&c);
    client_open(f->client, &c.k, ino, flags);
    ck_assert_int_eq(script_wait(f, &c), 0);
    return c.k.file;
}

int script_write(struct script_cluster *f, struct client_file *file, uint64_t offset, uint32_t len,
                 uint8_t fill)
{
    struct script_call c;
    script_call_init(&c);
    uint8_t *data = mem_alloc(len);
    memset(data, fill, len);
    client_write(f->client, &c.k, file, offset, bytes_of(data, len), false, false);
    ck_assert(!c.over); /* done never runs from inside the function that started the call */
    int status = script_wait(f, &c);
    mem_free(data);
    return status;
}

int script_flush(struct script_cluster *f, struct client_file *file)
{
    struct script_call c;
    script_call_init(&c);
    client_flush(f->client, &c.k, file);
    return script_wait(f, &c);
}

int script_fsync(struct script_cluster *f, struct client_file *file)
{
    struct script_call c;
    script_call_init(&c);
    client_fsync(f->client, &c.k, file, false);
    return script_wait(f, &c);
}

int64_t script_read(struct script_cluster *f, struct client_file *file, uint64_t offset,
                    uint32_t len, uint8_t fill)
{
    struct script_call c;
    script_call_init(&c);
    client_read(f->client, &c.k, file, offset, len);
    int status = script_wait(f, &c);
    int64_t got = status != 0 ? status : (int64_t)c.data.len;
    for (uint32_t n = 0; n < c.data.len; n++) {
        if (slice_data(&c.data)[n] != fill) { /* an assertion for each byte takes long */
            ck_abort_msg("byte %u is %u, not %u", n, slice_data(&c.data)[n], fill);
        }
    }
    script_call_drop(&c);
    return got;
}
