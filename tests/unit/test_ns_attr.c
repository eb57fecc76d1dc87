/* test_ns_attr.c - setattr, truncation and trims, size commits, blocks, chunks, extended
 * attributes. */
#include "tests/unit/ns_fixture.h"

#include <stdio.h>
#include <sys/stat.h>

Suite *suite_ns_attr(void);

enum { CHUNK = FIXTURE_CHUNK };

START_TEST(mode_and_owner)
{
    struct fixture *f = fixture_open();
    uint64_t a = make_file(f, ROOT_INO, "a"), d = make_dir(f, ROOT_INO, "d");
    struct stamp made = attr(f, a).mtime;
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = SETATTR_MODE, .mode = S_IFDIR | 06755), 0);
    ck_assert_uint_eq(f->rep.setattr_rep.attr.mode, S_IFREG | 06755);
    ck_assert(same_time(attr(f, a).ctime, last_time(f)) && same_time(attr(f, a).mtime, made));
    /* Another owner: both bits go; the group's only if the group may execute. */
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = SETATTR_UID, .uid = 5, .gid = 6), 0);
    ck_assert_uint_eq(attr(f, a).mode, S_IFREG | 0755);
    ck_assert_uint_eq(attr(f, a).uid, 5);
    ck_assert_uint_eq(attr(f, a).gid, 0);
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = SETATTR_MODE, .mode = 06745), 0);
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = SETATTR_GID, .gid = 6), 0);
    ck_assert_uint_eq(attr(f, a).mode, S_IFREG | 02745);
    ck_assert_uint_eq(attr(f, a).gid, 6);
    ck_assert_int_eq(
        DO(f, setattr, .ino = a, .mask = SETATTR_GID | SETATTR_MODE, .gid = 7, .mode = 04711), 0);
    ck_assert_uint_eq(attr(f, a).mode, S_IFREG | 04711);
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = SETATTR_SIZE | SETATTR_CLEAR_SUID), 0);
    ck_assert_uint_eq(attr(f, a).mode, S_IFREG | 0711);
    /* Directories keep theirs. */
    ck_assert_int_eq(
        DO(f, setattr, .ino = d, .mask = SETATTR_UID | SETATTR_MODE, .uid = 5, .mode = 06755), 0);
    ck_assert_int_eq(DO(f, setattr, .ino = d, .mask = SETATTR_GID | SETATTR_CLEAR_SUID, .gid = 5),
                     0);
    ck_assert_uint_eq(attr(f, d).mode, S_IFDIR | 06755);
    ck_assert_int_eq(DO(f, setattr, .ino = 99, .mask = SETATTR_MODE), -ENOENT);
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = 1u << 20), -EINVAL);
    fixture_close(f);
}
END_TEST

START_TEST(times)
{
    struct fixture *f = fixture_open();
    uint64_t a = make_file(f, ROOT_INO, "a");
    static const struct stamp stamps[] = {{0, 0},          {-1, 999999999}, {INT64_MAX, 1},
                                          {INT64_MIN, 2},  {1ll << 33, 3},  {INT64_MIN, 0},
                                          {1700000000, 5}, {-5000000000, 6}};
    for (size_t i = 0; i < COUNT_OF(stamps); i++) {
        struct stamp other = stamps[(i + 3) % COUNT_OF(stamps)];
        ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = SETATTR_ATIME | SETATTR_MTIME,
                            .atime = stamps[i], .mtime = other),
                         0);
        struct attr got = attr(f, a);
        ck_assert(same_time(got.atime, stamps[i]));
        ck_assert(same_time(got.mtime, other));
        ck_assert(same_time(got.ctime, last_time(f)));
    }
    ck_assert_int_eq(
        DO(f, setattr, .ino = a, .mask = SETATTR_ATIME | SETATTR_ATIME_NOW, .atime = {9, 9}), 0);
    ck_assert(same_time(attr(f, a).atime, last_time(f)));
    ck_assert(same_time(attr(f, a).mtime, stamps[(COUNT_OF(stamps) + 2) % COUNT_OF(stamps)]));
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = SETATTR_MTIME_NOW), 0);
    ck_assert(same_time(attr(f, a).mtime, last_time(f)));
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = SETATTR_ATIME, .atime = {0, 1000000000}),
                     -EINVAL);
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = SETATTR_MTIME, .mtime = {0, 1000000000}),
                     -EINVAL);
    /* The size's own mtime gives way to an explicit one. */
    ck_assert_int_eq(
        DO(f, setattr, .ino = a, .mask = SETATTR_SIZE | SETATTR_MTIME, .mtime = {4, 5}, .size = 10),
        0);
    ck_assert(same_time(attr(f, a).mtime, (struct stamp){4, 5}));
    fixture_close(f);
}
END_TEST

START_TEST(size_refusals)
{
    struct fixture *f = fixture_open();
    uint64_t d = make_dir(f, ROOT_INO, "d"), a = make_file(f, ROOT_INO, "a");
    ck_assert_int_eq(DO(f, mknod, .parent = d, .name = N("fifo"), .mode = S_IFIFO), 0);
    uint64_t fifo = f->rep.mknod_rep.attr.ino;
    ck_assert_int_eq(DO(f, setattr, .ino = d, .mask = SETATTR_SIZE), -EISDIR);
    ck_assert_int_eq(DO(f, setattr, .ino = fifo, .mask = SETATTR_SIZE), -EINVAL);
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = SETATTR_SIZE, .size = 1ull << 63), -EFBIG);
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = SETATTR_SIZE, .size = INT64_MAX), 0);
    ck_assert_uint_eq(attr(f, a).size, INT64_MAX);
    ck_assert_int_eq(DO(f, extend, .ino = d, .end = 1), -EISDIR);
    ck_assert_int_eq(DO(f, extend, .ino = fifo, .end = 1), -EINVAL);
    ck_assert_int_eq(DO(f, extend, .ino = 99, .end = 1), -ENOENT);
    ck_assert_int_eq(DO(f, extend, .ino = a, .end = 1ull << 63), -EFBIG);
    fixture_close(f);
}
END_TEST

START_TEST(extend_commits)
{
    struct fixture *f = fixture_open();
    uint64_t a = create_file(f, ROOT_INO, "a");
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = SETATTR_MODE, .mode = 06755), 0);
    ck_assert(!chunk(f, a, 0).bound);
    extend(f, a, 0);
    ck_assert(!chunk(f, a, 0).bound);
    extend(f, a, 1000);
    ck_assert_uint_eq(f->rep.extend_rep.attr.size, 1000);
    ck_assert_uint_eq(f->rep.extend_rep.attr.blocks, 2);
    ck_assert(chunk(f, a, 0).bound && chunk(f, a, 0).fresh);
    ck_assert(same_time(attr(f, a).mtime, last_time(f)));
    ck_assert(same_time(attr(f, a).ctime, last_time(f)));
    ck_assert(!same_time(attr(f, a).atime, last_time(f)));
    uint8_t pair[32];
    struct writer w;
    writer_init(&w);
    enc_u64(&w, &(uint64_t){0});
    enc_u64(&w, &(uint64_t){chunk(f, a, 0).handle});
    memcpy(pair, writer_bytes(&w).data, w.len);
    ck_assert_int_eq(DO(f, extend, .ino = a, .untouched = true, .synced = bytes_of(pair, w.len)),
                     0);
    writer_free(&w);
    ck_assert(!chunk(f, a, 0).fresh);
    ck_assert(!same_time(attr(f, a).mtime, last_time(f)));
    extend(f, a, 0); /* a hole was made: only the times */
    ck_assert(same_time(attr(f, a).mtime, last_time(f)));
    extend(f, a, 500);
    ck_assert_uint_eq(attr(f, a).size, 1000);
    ck_assert_uint_eq(attr(f, a).mode, S_IFREG | 06755);
    ck_assert_int_eq(DO(f, extend, .ino = a, .end = 10, .clear_suid = true), 0);
    ck_assert_uint_eq(attr(f, a).mode, S_IFREG | 0755);
    fixture_close(f);
}
END_TEST

/* Chunks in any order, beyond the size and in holes: binding and blocks stay right (the audit
 * counts). */
START_TEST(extend_binds_what_it_covers)
{
    struct fixture *f = fixture_open();
    uint64_t a = create_file(f, ROOT_INO, "a");
    grow_chunk(f, a, 7);
    grow_chunk(f, a, 3);
    grow_chunk(f, a, 5);
    fixture_check(f);
    ck_assert_uint_eq(attr(f, a).blocks, 0);
    extend(f, a, 3 * CHUNK + 1);
    fixture_check(f);
    ck_assert(chunk(f, a, 0).bound && chunk(f, a, 3).bound);
    ck_assert(!chunk(f, a, 5).bound && !chunk(f, a, 7).bound);
    ck_assert_uint_eq(attr(f, a).blocks, CHUNK / 512 + 1);
    grow_chunk(f, a, 2); /* in a hole, below the size */
    fixture_check(f);
    ck_assert_uint_eq(attr(f, a).blocks, 2 * CHUNK / 512 + 1);
    extend(f, a, 2 * CHUNK); /* does not reach it */
    ck_assert(!chunk(f, a, 2).bound);
    extend(f, a, 2 * CHUNK + 5);
    ck_assert(chunk(f, a, 2).bound);
    bump_chunk(f, a, 7); /* bound by its version though beyond the size */
    fixture_check(f);
    ck_assert(chunk(f, a, 7).bound && !chunk(f, a, 7).fresh);
    truncate_to(f, a, 100 * CHUNK);
    fixture_check(f);
    ck_assert(!chunk(f, a, 5).bound);
    ck_assert_uint_eq(attr(f, a).blocks, 5 * CHUNK / 512);
    extend(f, a, 6 * CHUNK);
    ck_assert(chunk(f, a, 5).bound);
    truncate_to(f, a, 5 * CHUNK + 100);
    ck_assert_uint_eq(chunk(f, a, 7).handle, 0);
    ck_assert_uint_eq(attr(f, a).blocks, 3 * CHUNK / 512 + 1);
    truncate_to(f, a, 1ull << 62);
    ck_assert_uint_eq(attr(f, a).blocks, 4 * CHUNK / 512);
    fixture_close(f);
}
END_TEST

START_TEST(truncate_trims)
{
    struct fixture *f = fixture_open();
    uint64_t a = create_file(f, ROOT_INO, "a");
    uint64_t h0 = chunk(f, a, 0).handle;
    uint64_t h1 = grow_chunk(f, a, 1), h2 = grow_chunk(f, a, 2);
    extend(f, a, 3 * CHUNK);
    truncate_to(f, a, CHUNK + 300);
    ck_assert_uint_eq(chunk(f, a, 1).trim, 300);
    ck_assert_uint_eq(chunk(f, a, 2).handle, 0);
    ck_assert_uint_eq(garbage_of(f, h2), 3);
    truncate_to(f, a, CHUNK + 500); /* up: the trim stays */
    ck_assert_uint_eq(chunk(f, a, 1).trim, 300);
    truncate_to(f, a, CHUNK + 400);
    ck_assert_uint_eq(chunk(f, a, 1).trim, 300);
    truncate_to(f, a, CHUNK + 200);
    ck_assert_uint_eq(chunk(f, a, 1).trim, 200);
    bump_chunk(f, a, 1); /* a version does not change it */
    ck_assert_uint_eq(chunk(f, a, 1).trim, 200);
    ck_assert_uint_eq(chunk(f, a, 0).trim, NO_TRIM);
    /* Carried out: forgotten only if it is the one that was. */
    ck_assert_int_eq(DO(f, trimmed, .ino = a, .number = 1, .handle = h1, .trim = 300),
                     ERR_RETRY_GRANT);
    ck_assert_uint_eq(chunk(f, a, 1).trim, 200);
    ck_assert_int_eq(DO(f, trimmed, .ino = a, .number = 1, .handle = h0, .trim = 200),
                     ERR_RETRY_GRANT);
    ck_assert_uint_eq(chunk(f, a, 1).trim, 200);
    ck_assert_int_eq(DO(f, trimmed, .ino = a, .number = 8, .handle = h0, .trim = 200),
                     ERR_RETRY_GRANT);
    ck_assert_int_eq(DO(f, trimmed, .ino = 99, .number = 0, .handle = h0, .trim = 200), -ENOENT);
    ck_assert_int_eq(DO(f, trimmed, .ino = a, .number = 1, .handle = h1, .trim = 200), 0);
    ck_assert_uint_eq(chunk(f, a, 1).trim, NO_TRIM);
    truncate_to(f, a, 100);
    ck_assert_uint_eq(chunk(f, a, 0).trim, 100);
    ck_assert_int_eq(DO(f, trimmed, .ino = a, .number = 0, .handle = h0, .trim = 100), 0);
    ck_assert_uint_eq(chunk(f, a, 0).trim, NO_TRIM);
    truncate_to(f, a, 0);
    ck_assert_uint_eq(chunk(f, a, 0).handle, 0);
    ck_assert_uint_eq(garbage_of(f, h0), 3);
    ck_assert_uint_eq(ns_counts(f->ns).chunks, 0);
    truncate_to(f, a, CHUNK); /* exactly at a boundary: nothing to trim */
    grow_chunk(f, a, 0);
    truncate_to(f, a, CHUNK);
    ck_assert_uint_eq(chunk(f, a, 0).trim, NO_TRIM);
    fixture_close(f);
}
END_TEST

/* A trim set anew at the same offset is not the one that was carried out before bytes were written behind
 * it. */
START_TEST(trim_set_anew_is_another)
{
    struct fixture *f = fixture_open();
    uint64_t a = create_file(f, ROOT_INO, "a");
    uint64_t h = chunk(f, a, 0).handle;
    extend(f, a, 1000);
    truncate_to(f, a, 100);
    uint32_t first = chunk(f, a, 0).trim_set;
    ck_assert_uint_ne(first, 0);
    truncate_to(f, a, 100); /* nothing can have been written behind it */
    ck_assert_uint_eq(chunk(f, a, 0).trim_set, first);
    ck_assert_int_eq(DO(f, trimmed, .ino = a, .handle = h, .trim = 100, .set = first), 0);
    ck_assert_uint_eq(chunk(f, a, 0).trim_set, 0);
    /* Another mount did the same. */
    ck_assert_int_eq(DO(f, trimmed, .ino = a, .handle = h, .trim = 100, .set = first), 0);
    extend(f, a, 1000);
    truncate_to(f, a, 100);
    uint32_t second = chunk(f, a, 0).trim_set;
    ck_assert_uint_gt(second, first);
    ck_assert_int_eq(DO(f, trimmed, .ino = a, .handle = h, .trim = 100, .set = first),
                     ERR_RETRY_GRANT);
    ck_assert_uint_eq(chunk(f, a, 0).trim, 100);
    ck_assert_int_eq(DO(f, trimmed, .ino = a, .handle = h, .trim = 100, .set = second), 0);
    ck_assert_uint_eq(chunk(f, a, 0).trim, NO_TRIM);
    fixture_close(f);
}
END_TEST

/* Bytes written beyond the size and never committed must not survive a truncate to that size. */
START_TEST(truncate_to_same_size_drops_uncommitted)
{
    struct fixture *f = fixture_open();
    uint64_t a = create_file(f, ROOT_INO, "a");
    extend(f, a, 100);
    uint64_t h1 = grow_chunk(f, a, 1);
    truncate_to(f, a, 100);
    ck_assert_uint_eq(chunk(f, a, 0).trim, 100);
    ck_assert_uint_eq(chunk(f, a, 1).handle, 0);
    ck_assert_uint_eq(garbage_of(f, h1), 3);
    fixture_close(f);
}
END_TEST

static void misfit(struct sim *s, struct sim_process *p, const char *reason)
{
    (void)s;
    (void)p;
    ck_assert_ptr_nonnull(strstr(reason, "does not fit the state"));
}

/* The record ends the process. */
static void must_not_fit(struct fixture *f, enum op_code op, const union op_any *rec)
{
    struct record r = {.index = f->index + 1, .type = (uint16_t)op};
    f->sim->on_die = misfit;
    if (setjmp(f->sim->out) == 0) {
        ns_apply(f->ns, &r, rec, &f->apply_scratch, &f->rep);
        ck_abort_msg("%s is applied", op_name((uint16_t)op));
    }
    f->sim->on_die = NULL;
    f->sim->dying = NULL;
}

#define MISFIT(f, op, ...)                                                                         \
    must_not_fit(f, OP_##op, &(union op_any){.op##_rec = (struct op##_rec){__VA_ARGS__}})

START_TEST(records_that_do_not_fit_are_not_applied)
{
    struct fixture *f = fixture_open();
    uint64_t a = create_file(f, ROOT_INO, "a"), d = make_dir(f, ROOT_INO, "d");
    uint64_t before = ns_hash(f->ns);
    uint32_t id = 1;
    struct writer w;
    writer_init(&w);
    enc_u32(&w, &id);
    struct bytes ids = writer_bytes(&w);
    MISFIT(f, chunk_version, .ino = a, .number = 0, .handle = 77, .version = 5, .members = ids);
    MISFIT(f, chunk_version, .ino = a, .number = 9, .handle = 1, .version = 5, .members = ids);
    MISFIT(f, chunk_version, .ino = 99, .number = 0, .handle = 1, .version = 5, .members = ids);
    MISFIT(f, chunk_new, .ino = a, .number = 0, .handle = 50, .version = 5, .members = ids);
    MISFIT(f, chunk_new, .ino = 99, .number = 0, .handle = 51, .version = 5, .members = ids);
    MISFIT(f, chunk_new, .ino = d, .number = 0, .handle = 52, .version = 5, .members = ids);
    MISFIT(f, mkdir, .parent = a, .name = N("n"), .ino = 90);
    MISFIT(f, mkdir, .parent = ROOT_INO, .name = N("d"), .ino = d);
    MISFIT(f, rmdir, .parent = ROOT_INO, .name = N("a"));
    MISFIT(f, unlink, .parent = ROOT_INO, .name = N("d"));
    MISFIT(f, unlink, .parent = ROOT_INO, .name = N("none"));
    MISFIT(f, setattr, .ino = d, .mask = SETATTR_SIZE);
    MISFIT(f, trash_return, .ino = a, .parent = ROOT_INO, .name = N("n"));
    MISFIT(f, server_state, .id = 77);
    RECORD(f, release_orphan, .ino = a, .session = 5);
    RECORD(f, session_expire, .session = 5);
    RECORD(f, state_hash, .hash = before);
    ck_assert_uint_eq(ns_hash(f->ns), before);
    writer_free(&w);
    fixture_close(f);
}
END_TEST

/* However many inodes without a chunk stand one after the other, no step of the walk looks at all. */
START_TEST(a_walk_over_chunks_stops_between_inodes_without_one)
{
    struct fixture *f = fixture_open();
    uint64_t ino = 0, number = 0;
    unsigned steps = 0, found = 0;
    struct ns_chunk k;
    uint64_t a = create_file(f, ROOT_INO, "a");
    for (int i = 0; i < 500; i++) {
        char name[16];
        snprintf(name, sizeof(name), "d%d", i);
        make_dir(f, ROOT_INO, name);
    }
    uint64_t b = create_file(f, ROOT_INO, "b");
    ck_assert_int_eq(ns_chunk_next(f->ns, a, 1, &k), -EAGAIN);
    for (int err; (err = ns_chunk_next(f->ns, ino, number, &k)) != -ENOENT; steps++) {
        ck_assert_uint_ge(k.ino, ino);
        if (err == 0) {
            ck_assert_uint_eq(k.ino, found++ == 0 ? a : b);
        }
        ino = k.ino;
        number = err == 0 ? k.number + 1 : 0;
    }
    ck_assert_uint_eq(found, 2);
    ck_assert_uint_ge(steps, 50);
    ck_assert_uint_le(steps, 100);
    fixture_close(f);
}
END_TEST

START_TEST(chunks_are_walked_in_order)
{
    struct fixture *f = fixture_open();
    uint64_t a = create_file(f, ROOT_INO, "a");
    make_dir(f, ROOT_INO, "d");
    uint64_t b = make_file(f, ROOT_INO, "b"); /* no chunk 0 */
    uint64_t c = create_file(f, ROOT_INO, "c");
    grow_chunk(f, a, 300);
    grow_chunk(f, a, 2);
    grow_chunk(f, b, 1);
    const struct {
        uint64_t ino, number;
    } want[] = {{a, 0}, {a, 2}, {a, 300}, {b, 1}, {c, 0}};
    struct ns_chunk k;
    uint64_t ino = 0, number = 0;
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        ck_assert_int_eq(ns_chunk_next(f->ns, ino, number, &k), 0);
        ck_assert_uint_eq(k.ino, want[i].ino);
        ck_assert_uint_eq(k.number, want[i].number);
        ino = k.ino;
        number = k.number + 1;
    }
    ck_assert_int_eq(ns_chunk_next(f->ns, ino, number, &k), -ENOENT);
    ck_assert_int_eq(ns_file_chunk_next(f->ns, a, 0, &k), 0);
    ck_assert_uint_eq(k.number, 0);
    ck_assert_int_eq(ns_file_chunk_next(f->ns, a, 3, &k), 0);
    ck_assert_uint_eq(k.number, 300);
    ck_assert_int_eq(ns_file_chunk_next(f->ns, a, 301, &k), -ENOENT);
    ck_assert_int_eq(ns_file_chunk_next(f->ns, b, 0, &k), 0);
    ck_assert_uint_eq(k.number, 1);
    ck_assert_int_eq(ns_file_chunk_next(f->ns, b, 2, &k), -ENOENT);
    ck_assert_int_eq(ns_file_chunk_next(f->ns, ROOT_INO, 0, &k), -ENOENT);
    ck_assert_int_eq(ns_chunk_next(f->ns, a, 3, &k), 0);
    ck_assert_uint_eq(k.number, 300);
    ck_assert_int_eq(ns_chunk_next(f->ns, UINT64_MAX, UINT64_MAX, &k), -ENOENT);
    /* For clients. */
    ck_assert_int_eq(ASK(f, next_chunk, .ino = a, .number = 3), 0);
    ck_assert_uint_eq(f->rep.next_chunk_rep.number, 300);
    ck_assert_int_eq(ASK(f, next_chunk, .ino = a, .number = 301), -ENXIO);
    ck_assert_int_eq(ASK(f, next_chunk, .ino = b, .number = 0), 0);
    ck_assert_uint_eq(f->rep.next_chunk_rep.number, 1);
    ck_assert_int_eq(ASK(f, next_chunk, .ino = ROOT_INO, .number = 0), -EISDIR);
    fixture_close(f);
}
END_TEST

START_TEST(extended_attributes)
{
    struct fixture *f = fixture_open();
    uint64_t a = make_file(f, ROOT_INO, "a"), b = make_dir(f, ROOT_INO, "b");
    static char big[XATTR_VALUE_MAX + 1];
    ck_assert_uint_eq(attr(f, a).flags, 0);
    ck_assert_int_eq(ASK(f, getxattr, .ino = a, .name = N("user.x")), -ENODATA);
    ck_assert_int_eq(ASK(f, listxattr, .ino = a), 0);
    ck_assert_uint_eq(f->rep.listxattr_rep.names.len, 0);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("user.x"), .flags = 2), -ENODATA);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("user.x"), .value = N("1"), .flags = 1),
                     0);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("user.x"), .flags = 1), -EEXIST);
    ck_assert_uint_eq(attr(f, a).flags, ATTR_HAS_XATTR);
    ck_assert(same_time(attr(f, a).ctime, last_time(f)));
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("user.x"), .value = N("two"), .flags = 2),
                     0);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("user.a"), .value = N("")), 0);
    ck_assert_int_eq(
        DO(f, setxattr, .ino = b, .name = N("user.b"), .value = bytes_of(big, XATTR_VALUE_MAX)), 0);
    ck_assert_int_eq(ASK(f, getxattr, .ino = a, .name = N("user.x")), 0);
    ck_assert(bytes_equal(f->rep.getxattr_rep.value, N("two")));
    ck_assert_int_eq(ASK(f, getxattr, .ino = b, .name = N("user.b")), 0);
    ck_assert_uint_eq(f->rep.getxattr_rep.value.len, XATTR_VALUE_MAX);
    ck_assert_int_eq(ASK(f, listxattr, .ino = a), 0);
    ck_assert(bytes_equal(f->rep.listxattr_rep.names, bytes_of("user.a\0user.x", 14)));
    ck_assert_int_eq(
        DO(f, setxattr, .ino = a, .name = N("user.b"), .value = bytes_of(big, sizeof(big))),
        -E2BIG);
    memset(big, 'n', 300);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = bytes_of(big, 256)), -ERANGE);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("")), -ERANGE);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = bytes_of("a\0b", 3)), -EINVAL);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("user.x"), .flags = 4), -EINVAL);
    ck_assert_int_eq(DO(f, setxattr, .ino = 99, .name = N("user.x")), -ENOENT);
    ck_assert_int_eq(ASK(f, getxattr, .ino = 99, .name = N("user.x")), -ENOENT);
    ck_assert_int_eq(ASK(f, listxattr, .ino = 99), -ENOENT);
    ck_assert_int_eq(DO(f, removexattr, .ino = a, .name = N("user.q")), -ENODATA);
    ck_assert_int_eq(DO(f, removexattr, .ino = 99, .name = N("user.q")), -ENOENT);
    ck_assert_int_eq(DO(f, removexattr, .ino = a, .name = N("user.x")), 0);
    ck_assert_int_eq(DO(f, removexattr, .ino = a, .name = N("user.a")), 0);
    ck_assert_uint_eq(attr(f, a).flags, 0);
    fixture_close(f);
}
END_TEST

START_TEST(attribute_names_are_bounded)
{
    struct fixture *f = fixture_open();
    uint64_t a = make_file(f, ROOT_INO, "a");
    char name[256];
    memset(name, 'n', sizeof(name));
    for (int i = 0; i < 256; i++) {
        snprintf(name, sizeof(name), "%0255d", i);
        ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = bytes_of(name, 255)), 0);
    }
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = N("u")), -ENOSPC);
    ck_assert_int_eq(DO(f, setxattr, .ino = a, .name = bytes_of(name, 255), .value = N("v")), 0);
    ck_assert_int_eq(ASK(f, listxattr, .ino = a), 0);
    ck_assert_uint_eq(f->rep.listxattr_rep.names.len, 65536);
    ck_assert_int_eq(DO(f, unlink, .parent = ROOT_INO, .name = N("a")), 0);
    ck_assert_uint_eq(store_rows(f->store, TABLE_XATTR), 0);
    fixture_close(f);
}
END_TEST

/* The size of what was written, and then the attributes: as one change. */
START_TEST(setattr_extends)
{
    struct fixture *f = fixture_open();
    uint64_t a = make_file(f, ROOT_INO, "a"), d = make_dir(f, ROOT_INO, "d");
    struct stamp then = {.sec = 77, .nsec = 5};
    uint32_t mask = SETATTR_EXTEND | SETATTR_MTIME;
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = mask, .mtime = then, .size = 1000), 0);
    ck_assert_uint_eq(attr(f, a).size, 1000);
    ck_assert(same_time(attr(f, a).mtime, then) && same_time(attr(f, a).ctime, last_time(f)));
    mask = SETATTR_EXTEND | SETATTR_MODE;
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = mask, .mode = 0604, .size = 10), 0);
    ck_assert_uint_eq(attr(f, a).size, 1000);
    ck_assert_uint_eq(attr(f, a).mode, S_IFREG | 0604);
    ck_assert(same_time(attr(f, a).mtime, last_time(f)));
    struct stamp written = attr(f, a).mtime;
    mask = SETATTR_EXTEND | SETATTR_EXTEND_UNTOUCHED | SETATTR_MODE;
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = mask, .mode = 0600, .size = 2000), 0);
    ck_assert_uint_eq(attr(f, a).size, 2000);
    ck_assert(same_time(attr(f, a).mtime, written) && same_time(attr(f, a).ctime, last_time(f)));
    mask = SETATTR_EXTEND | SETATTR_SIZE;
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = mask, .size = 10), -EINVAL);
    ck_assert_int_eq(DO(f, setattr, .ino = d, .mask = SETATTR_EXTEND), -EISDIR);
    ck_assert_int_eq(DO(f, setattr, .ino = a, .mask = SETATTR_EXTEND, .size = 1ull << 63), -EFBIG);
    fixture_close(f);
}
END_TEST

Suite *suite_ns_attr(void)
{
    Suite *s = suite_create("ns_attr");
    TCase *t = tcase_create("ns_attr");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, mode_and_owner);
    tcase_add_test(t, times);
    tcase_add_test(t, size_refusals);
    tcase_add_test(t, extend_commits);
    tcase_add_test(t, setattr_extends);
    tcase_add_test(t, extend_binds_what_it_covers);
    tcase_add_test(t, truncate_trims);
    tcase_add_test(t, trim_set_anew_is_another);
    tcase_add_test(t, truncate_to_same_size_drops_uncommitted);
    tcase_add_test(t, records_that_do_not_fit_are_not_applied);
    tcase_add_test(t, a_walk_over_chunks_stops_between_inodes_without_one);
    tcase_add_test(t, chunks_are_walked_in_order);
    tcase_add_test(t, extended_attributes);
    tcase_add_test(t, attribute_names_are_bounded);
    suite_add_tcase(s, t);
    return s;
}
