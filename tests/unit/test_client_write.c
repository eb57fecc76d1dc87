/* test_client_write.c - the mount's writing: coalescing, budget, errors, fsync, trims, commits. */
#include <check.h>
#include <fcntl.h>
#include <string.h>

#include "fuse/core/files.h"
#include "shared/base/mem.h"
#include "tests/unit/script_cluster.h"

Suite *suite_client_write(void);

enum { MIB = 1 << 20 };

/* Small writes one after another leave as one. */
START_TEST(contiguous_writes_leave_as_one)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    for (uint32_t n = 0; n < 100; n++) {
        ck_assert_int_eq(script_write(f, file, n * 1000, 1000, 5), 0);
    }
    ck_assert_uint_eq(script_count(f, OP_write), 0);
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert_uint_eq(script_count(f, OP_write), 1);
    ck_assert_uint_eq(script_request(f, OP_write, 0)->length, 100000);
    ck_assert_uint_eq(script_count(f, OP_grant), 0); /* the create's grant was used */
    ck_assert_uint_eq(script_count(f, OP_extend), 1);
    ck_assert_uint_eq(f->files[0].size, 100000);
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert_uint_eq(script_count(f, OP_extend), 1); /* nothing written since */
    script_end(f);
}
END_TEST

/* The first sync of each chunk is told to the master, once, and is no news of the file's time. */
START_TEST(first_sync_is_told_once)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    ck_assert_int_eq(script_write(f, file, 0, 1000, 5), 0);
    ck_assert_int_eq(script_write(f, file, 2 * SCRIPT_CHUNK, 1000, 5), 0);
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert_uint_eq(script_request(f, OP_extend, 0)->length, 0);
    ck_assert_int_eq(script_fsync(f, file), 0);
    ck_assert_uint_eq(script_request(f, OP_extend, 1)->length, 2 * 2);
    ck_assert(!script_request(f, OP_extend, 0)->untouched);
    ck_assert(script_request(f, OP_extend, 1)->untouched);
    ck_assert_int_eq(script_write(f, file, 2 * SCRIPT_CHUNK, 500, 5), 0);
    ck_assert_int_eq(script_write(f, file, SCRIPT_CHUNK, 1000, 5), 0);
    ck_assert_int_eq(script_fsync(f, file), 0);
    ck_assert_uint_eq(script_count(f, OP_extend), 3);
    ck_assert_uint_eq(script_request(f, OP_extend, 2)->length, 2);
    ck_assert(!script_request(f, OP_extend, 2)->untouched);
    ck_assert_int_eq(script_write(f, file, 0, 1000, 5), 0);
    ck_assert_int_eq(script_fsync(f, file), 0);
    ck_assert_uint_eq(script_request(f, OP_extend, 3)->length, 0);
    script_end(f);
}
END_TEST

/* A write over chunk and piece boundaries is cut there; full pieces leave at once. */
START_TEST(pieces_end_at_boundaries)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    for (uint32_t at = 0; at < 3 * MIB; at += MIB / 2) {
        ck_assert_int_eq(script_write(f, file, at + 100, MIB / 2, 9), 0);
    }
    script_run(f, 100);
    ck_assert_uint_eq(script_count(f, OP_write), 3);
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert_uint_eq(script_count(f, OP_write), 4);
    ck_assert_uint_eq(script_request(f, OP_write, 0)->length, MIB - 100);
    ck_assert_uint_eq(script_request(f, OP_write, 3)->length, 100);
    ck_assert_uint_eq(f->files[0].size, 3 * MIB + 100);
    script_end(f);
}
END_TEST

/* Bytes written in any order and overlapping are the bytes that arrive. */
START_TEST(random_overlaps_arrive)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    struct sim_rand r = sim_rand_of((uint64_t)_i, 1);
    uint8_t *model = mem_alloc(3 * MIB);
    uint64_t size = 0;
    for (int n = 0; n < 300; n++) {
        uint32_t len = (uint32_t)sim_between(&r, 1, 100000);
        uint64_t at = sim_below(&r, 3 * MIB - len);
        uint8_t fill = (uint8_t)sim_between(&r, 1, 255);
        ck_assert_int_eq(script_write(f, file, at, len, fill), 0);
        memset(model + at, fill, len);
        size = MAX(size, at + len);
        if (sim_chance(&r, 1, 20)) {
            script_run(f, (uint32_t)sim_below(&r, 3));
        }
    }
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert_uint_eq(f->files[0].size, size);
    ck_assert_int_eq(memcmp(f->servers[2].data[0][0], model, SCRIPT_CHUNK), 0);
    ck_assert_int_eq(memcmp(f->servers[2].data[0][1], model + SCRIPT_CHUNK, MIB), 0);
    for (uint64_t at = 0; at < size; at += 777777) {
        struct script_call c;
        script_call_init(&c);
        client_read(f->client, &c.k, file, at, MIB);
        ck_assert_int_eq(script_wait(f, &c), 0);
        ck_assert_uint_eq(c.data.len, MIN((uint64_t)MIB, size - at));
        ck_assert_int_eq(memcmp(slice_data(&c.data), model + at, c.data.len), 0);
        script_call_drop(&c);
    }
    mem_free(model);
    script_end(f);
}
END_TEST

/* What nobody flushes leaves by age, and is committed. */
START_TEST(written_bytes_leave_by_age)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    ck_assert_int_eq(script_write(f, file, 0, 10, 1), 0);
    script_run(f, 900);
    ck_assert_uint_eq(script_count(f, OP_write), 0);
    script_run(f, 400);
    ck_assert_uint_eq(f->files[0].size, 10);
    ck_assert(client_settled(f->client));
    script_end(f);
}
END_TEST

static enum script_verdict stall_writes(struct script_cluster *f, struct script_link *l,
                                        struct message *m)
{
    (void)l;
    return m->head.op == OP_write && f->hook_count == 0 ? SCRIPT_DONE : SCRIPT_GO_ON;
}

/* Writers beyond the budget wait, in order, until bytes have arrived; a read sees what waited
 * before it. */
START_TEST(budget_holds_writers_back)
{
    struct client_config cfg = {.dirty_bytes = 100000};
    struct script_cluster *f = script_start(&cfg);
    struct client_file *file = script_create(f, "x");
    f->hook = stall_writes;
    ck_assert_int_eq(script_write(f, file, 0, 80000, 1), 0);
    static uint8_t data[50000];
    memset(data, 1, sizeof(data));
    struct script_call w[3], r;
    for (uint32_t n = 0; n < 3; n++) {
        script_call_init(&w[n]);
        client_write(f->client, &w[n].k, file, 80000 + n * 50000, bytes_of(data, 50000), n == 2,
                     false);
    }
    script_call_init(&r);
    client_read(f->client, &r.k, file, 0, 500000);
    script_run(f, 500);
    ck_assert(!w[0].over && !w[1].over && !w[2].over && !r.over);
    f->hook_count = 1;
    ck_assert_int_eq(script_wait(f, &w[2]), 0);
    ck_assert(w[0].over && w[1].over);
    ck_assert_uint_eq(w[2].k.offset, 180000); /* appended where the one before it ended */
    if (!r.over) {
        ck_assert_int_eq(script_wait(f, &r), 0);
    }
    ck_assert_uint_eq(r.data.len, 230000);
    script_call_drop(&r);
    script_end(f);
}
END_TEST

/* Cancelling a writer that waits for budget takes it out of the line. */
START_TEST(cancelled_writer_leaves_the_line)
{
    struct client_config cfg = {.dirty_bytes = 1000};
    struct script_cluster *f = script_start(&cfg);
    struct client_file *file = script_create(f, "x");
    f->hook = stall_writes;
    ck_assert_int_eq(script_write(f, file, 0, 1000, 1), 0);
    struct script_call w;
    script_call_init(&w);
    client_write(f->client, &w.k, file, 5000, bytes_str("abc"), false, false);
    script_run(f, 100);
    client_cancel(f->client, &w.k);
    ck_assert_int_eq(script_wait(f, &w), -EINTR);
    f->hook_count = 1;
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert_uint_eq(f->files[0].size, 1000);
    script_end(f);
}
END_TEST

static void note_stopped(void *owner)
{
    *(bool *)owner = true;
}

/* A writer that waits for budget when the mount is stopped gets it while that writes back what others
 * wrote: what it was told is written must be on the replicas, too. */
START_TEST(stop_waits_for_writers_in_the_line)
{
    struct client_config cfg = {.dirty_bytes = 1000};
    struct script_cluster *f = script_start(&cfg);
    struct client_file *first = script_create(f, "x");
    struct client_file *second = script_create(f, "y");
    bool stopped = false;
    f->hook = stall_writes;
    ck_assert_int_eq(script_write(f, first, 0, 1000, 1), 0);
    struct script_call w;
    script_call_init(&w);
    client_write(f->client, &w.k, second, 5000, bytes_str("abc"), false, false);
    script_run(f, 100);
    ck_assert(!w.over);
    client_stop(f->client, 60000, note_stopped, &stopped);
    f->hook_count = 1;
    ck_assert_int_eq(script_wait(f, &w), 0);
    script_run(f, 30000);
    ck_assert(stopped);
    ck_assert_uint_eq(f->files[0].size, 1000);
    ck_assert_uint_eq(f->files[1].size, 5003);
    ck_assert_uint_eq(script_count(f, OP_session_end), 1);
    script_end(f);
}
END_TEST

static enum script_verdict refuse_write(struct script_cluster *f, struct script_link *l,
                                        struct message *m)
{
    if (m->head.op != OP_write || f->hook_count == 0) {
        return SCRIPT_GO_ON;
    }
    f->hook_count--;
    if (f->hook_status == ERR_MEMBER_FAILED) {
        struct write_rep rep = {.failed_server = 3, .failed_status = ERR_TIMEOUT};
        rpc_answer(&l->rpc, &m->head, ERR_MEMBER_FAILED, 0, 0, RPC_BODY(write_rep, &rep), NULL);
    } else if (f->hook_status != ERR_TIMEOUT) {
        script_answer(l, m, f->hook_status);
    }
    return SCRIPT_DONE;
}

/* Whatever fails on the way, the master hears of it and the write arrives under the next version. */
START_TEST(failed_write_is_repeated_under_a_new_version)
{
    static const int statuses[] = {
        ERR_MEMBER_FAILED, ERR_NOT_PRIMARY,   ERR_TIMEOUT, ERR_CHECKSUM, -EIO,
        ERR_RETRY_GRANT,   ERR_WRONG_VERSION, -ENOSPC};
    static const uint32_t blamed[] = {3, 0, 1, 1, 1, 0, 0, 1};
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    uint64_t version = f->files[0].chunks[0].version;
    f->hook = refuse_write;
    f->hook_status = statuses[_i];
    f->hook_count = 1;
    ck_assert_int_eq(script_write(f, file, 0, 5000, 4), 0);
    ck_assert_int_eq(script_flush(f, file), _i == 2 ? 0 : 0);
    ck_assert_uint_eq(script_count(f, OP_grant), 1);
    ck_assert_uint_eq(script_request(f, OP_grant, 0)->offset, version);
    ck_assert_uint_eq(script_request(f, OP_grant, 0)->length, blamed[_i]);
    ck_assert_uint_eq(f->files[0].chunks[0].version, version + 1);
    ck_assert_int_eq(script_read(f, file, 0, 5000, 4), 5000);
    script_end(f);
}
END_TEST

static enum script_verdict disk_full(struct script_cluster *f, struct script_link *l,
                                     struct message *m)
{
    if (f->hook_count > 0 && (m->head.op == OP_write || m->head.op == OP_grant)) {
        script_answer(l, m, -ENOSPC);
        return SCRIPT_DONE;
    }
    return SCRIPT_GO_ON;
}

/* An error of writing behind is reported once by every open file, at its next write, fsync or
 * flush. */
START_TEST(late_error_is_reported_once_per_file)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *a = script_create(f, "x");
    struct client_file *b = script_open(f, client_file_ino(a), O_RDWR);
    f->hook = disk_full;
    f->hook_count = 1;
    ck_assert_int_eq(script_write(f, a, 0, 5000, 4), 0);
    script_run(f, 3000);
    f->hook_count = 0;
    struct client_file *late = script_open(f, client_file_ino(a), O_RDWR);
    ck_assert_int_eq(script_write(f, a, 0, 10, 4), -ENOSPC);
    ck_assert_int_eq(script_fsync(f, a), 0);
    ck_assert_int_eq(script_flush(f, b), -ENOSPC);
    ck_assert_int_eq(script_flush(f, b), 0);
    ck_assert_int_eq(script_flush(f, late), 0);
    ck_assert_int_eq(script_write(f, a, 0, 10, 4), 0);
    ck_assert_int_eq(script_flush(f, a), 0);
    ck_assert_uint_eq(f->files[0].size, 10);
    script_end(f);
}
END_TEST

/* The second chunk has no room, the first one's replicas do not answer. */
static enum script_verdict half_full(struct script_cluster *f, struct script_link *l,
                                     struct message *m)
{
    struct grant_req req;
    if (m->head.op == OP_grant && grant_req_decode(slice_bytes(&m->body), &req) == 0 &&
        req.number == 1) {
        script_answer(l, m, -ENOSPC);
        return SCRIPT_DONE;
    }
    return stall_writes(f, l, m);
}

/* After an error was reported a close still waits for what did not fail: it must not be written over what
 * others write after the close. */
START_TEST(close_after_an_error_waits_for_the_rest)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    f->hook = half_full;
    ck_assert_int_eq(script_write(f, file, SCRIPT_CHUNK - 1000, 2000, 4), 0);
    script_run(f, 3000);
    ck_assert_int_eq(script_write(f, file, 0, 10, 4), -ENOSPC);
    struct script_call c;
    script_call_init(&c);
    client_flush(f->client, &c.k, file);
    script_run(f, 3000);
    ck_assert(!c.over);
    f->hook_count = 1;
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(f->files[0].size, SCRIPT_CHUNK);
    ck_assert(client_settled(f->client));
    script_end(f);
}
END_TEST

/* A read of bytes just written waits until they have arrived, and one elsewhere does not. */
START_TEST(overlapping_read_flushes)
{
    struct script_cluster *f = script_start(NULL);
    uint64_t ino = script_make(f, "x", MIB, 1);
    struct client_file *file = script_open(f, ino, O_RDWR);
    ck_assert_int_eq(script_write(f, file, 1000, 1000, 2), 0);
    ck_assert_int_eq(script_read(f, file, 5000, 1000, 1), 1000);
    ck_assert_uint_eq(script_count(f, OP_write), 0);
    ck_assert_int_eq(script_read(f, file, 1500, 500, 2), 500);
    ck_assert_uint_eq(script_count(f, OP_write), 1);
    script_end(f);
}
END_TEST

/* getattr shows the size and the final time of what was written before. */
START_TEST(getattr_commits)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    ck_assert_int_eq(script_write(f, file, 0, 5000, 2), 0);
    struct script_call c;
    script_call_init(&c);
    client_getattr(f->client, &c.k, client_file_ino(file));
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(c.k.attr.size, 5000);
    int64_t stamp = c.k.attr.mtime.sec;
    ck_assert_int_eq(script_flush(f, file), 0);
    script_call_init(&c);
    client_lookup(f->client, &c.k, ROOT_INO, bytes_str("x"));
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_int_eq(c.k.attr.mtime.sec, stamp);
    script_end(f);
}
END_TEST

/* rename sends the data and size of the moved file before itself. */
START_TEST(rename_commits_first)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    ck_assert_int_eq(script_write(f, file, 0, 5000, 2), 0);
    struct script_call c;
    script_call_init(&c);
    client_rename(f->client, &c.k, ROOT_INO, bytes_str("x"), ROOT_INO, bytes_str("y"), 0);
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_lt(script_request(f, OP_extend, 0)->at_ns,
                      script_request(f, OP_rename, 0)->at_ns);
    script_call_init(&c);
    client_rename(f->client, &c.k, ROOT_INO, bytes_str("x"), ROOT_INO, bytes_str("y"), 0);
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(script_count(f, OP_lookup), 1); /* nothing uncommitted: no need to look */
    script_end(f);
}
END_TEST

static void truncate_to(struct script_cluster *f, uint64_t ino, uint64_t size)
{
    struct script_call c;
    script_call_init(&c);
    struct attr a = {.size = size};
    client_setattr(f->client, &c.k, ino, SETATTR_SIZE, &a);
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(c.k.attr.size, size);
}

/* After a truncation the tail reads as zeros; the next write cuts the replicas first, once. */
START_TEST(trim_is_carried_out_before_a_write)
{
    struct script_cluster *f = script_start(NULL);
    uint64_t ino = script_make(f, "x", 100000, 1);
    struct client_file *file = script_open(f, ino, O_RDWR);
    ck_assert_int_eq(script_read(f, file, 0, 100000, 1), 100000);
    truncate_to(f, ino, 1000);
    ck_assert_int_eq(script_read(f, file, 0, 100000, 1), 1000);
    truncate_to(f, ino, 100000);
    ck_assert_int_eq(script_read(f, file, 0, 1000, 1), 1000);
    ck_assert_int_eq(script_read(f, file, 1000, 200000, 0), 99000);
    ck_assert_int_eq(script_write(f, file, 50000, 1000, 2), 0);
    ck_assert_int_eq(script_write(f, file, 1500000, 1000, 2), 0);
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert_uint_eq(script_count(f, OP_trimmed), 1);
    ck_assert_uint_eq(script_count(f, OP_write), 3);
    ck_assert_uint_eq(script_request(f, OP_write, 0)->offset, 1000);
    ck_assert_int_eq(script_read(f, file, 1000, 49000, 0), 49000);
    ck_assert_int_eq(script_read(f, file, 50000, 1000, 2), 1000);
    ck_assert_int_eq(script_read(f, file, 51000, 49000, 0), 49000);
    script_end(f);
}
END_TEST

/* Between the truncate of the replicas and its sync another mount carries the same trim out and writes
 * behind it, under a new version. */
static enum script_verdict another_mount_trims(struct script_cluster *f, struct script_link *l,
                                               struct message *m)
{
    (void)l;
    if (m->head.op == OP_sync && f->hook_count == 0) {
        struct script_chunk *c = &f->files[0].chunks[0];
        f->hook_count = 1;
        f->index++;
        c->version++;
        c->trim = NO_TRIM;
        c->trim_set = 0;
        for (uint32_t id = 1; id <= SCRIPT_SERVERS; id++) {
            memset(f->servers[id].data[0][0] + 2000, 7, 1000);
            f->servers[id].length[0][0] = 3000;
        }
    }
    return SCRIPT_GO_ON;
}

/* It is not carried out again: what the other mount wrote stays. */
START_TEST(trim_that_another_mount_carried_out)
{
    struct script_cluster *f = script_start(NULL);
    uint64_t ino = script_make(f, "x", 100000, 1);
    struct client_file *file = script_open(f, ino, O_RDWR);
    truncate_to(f, ino, 1000);
    truncate_to(f, ino, 100000);
    f->hook = another_mount_trims;
    ck_assert_int_eq(script_write(f, file, 50000, 1000, 2), 0);
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert_int_eq(f->hook_count, 1);
    ck_assert_uint_eq(script_count(f, OP_write), 2);
    ck_assert_uint_eq(script_request(f, OP_write, 0)->offset, 1000);
    ck_assert_uint_eq(script_request(f, OP_write, 1)->offset, 50000);
    ck_assert_int_eq(script_read(f, file, 1000, 1000, 0), 1000);
    ck_assert_int_eq(script_read(f, file, 2000, 1000, 7), 1000);
    ck_assert_int_eq(script_read(f, file, 50000, 1000, 2), 1000);
    script_end(f);
}
END_TEST

/* A new size does not meet writes of before: they are committed first, later ones survive it. */
START_TEST(truncate_orders_with_writes)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    ck_assert_int_eq(script_write(f, file, 0, 50000, 1), 0);
    struct script_call c;
    script_call_init(&c);
    struct attr a = {.size = 10};
    client_setattr(f->client, &c.k, client_file_ino(file), SETATTR_SIZE, &a);
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_int_eq(script_write(f, file, 100, 100, 2), 0);
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert_uint_eq(f->files[0].size, 200);
    ck_assert_int_eq(script_read(f, file, 0, 10, 1), 10);
    ck_assert_int_eq(script_read(f, file, 10, 90, 0), 90);
    ck_assert_int_eq(script_read(f, file, 100, 900, 2), 100);
    script_end(f);
}
END_TEST

/* All replicas lost power between a write and its fsync: the fsync fails, unless what had not been
 * synced was cut off the file since. */
START_TEST(fsync_after_a_power_cut_of_all)
{
    static const struct {
        uint32_t at, again_at, cut, status;
    } cases[] = {{500000, 500000, 0, EIO},
                 {500000, 500000, 1000, 0},
                 {500, 500000, 1000, EIO},
                 {500000, 500, 1000, EIO},
                 {500000, 500000, 600000, EIO}};
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    ck_assert_int_eq(script_write(f, file, 0, 700000, 1), 0);
    ck_assert_int_eq(script_fsync(f, file), 0);
    ck_assert_int_eq(script_write(f, file, cases[_i].at, 100, 2), 0);
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert_int_eq(script_write(f, file, cases[_i].again_at, 100, 2), 0);
    ck_assert_int_eq(script_flush(f, file), 0);
    if (cases[_i].cut != 0) {
        truncate_to(f, client_file_ino(file), cases[_i].cut);
    }
    struct script_chunk *c = &f->files[0].chunks[0];
    c->doubt = ++c->version;
    ck_assert_int_eq(script_fsync(f, file), -(int)cases[_i].status);
    ck_assert_int_eq(script_fsync(f, file), 0);
    ck_assert_int_eq(script_write(f, file, 800, 100, 3), 0);
    ck_assert_int_eq(script_flush(f, file), 0);
    c->doubt = ++c->version;
    ck_assert_int_eq(script_fsync(f, file), -EIO);
    script_end(f);
}
END_TEST

static enum script_verdict extends_get_lost(struct script_cluster *f, struct script_link *l,
                                            struct message *m)
{
    (void)f;
    (void)l;
    return m->head.op == OP_extend ? SCRIPT_DONE : SCRIPT_GO_ON;
}

/* The same before the first size commit, when even the names of the replicas were not durable: the chunk
 * that is granted again is none that nobody has written. */
START_TEST(fsync_after_new_replicas_were_lost)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    f->hook = extends_get_lost;
    ck_assert_int_eq(script_write(f, file, 0, 1000, 1), 0);
    script_run(f, 1500);
    ck_assert_uint_eq(script_count(f, OP_write), 1);
    for (uint32_t id = 1; id <= SCRIPT_SERVERS; id++) {
        mem_free(f->servers[id].data[0][0]);
        f->servers[id].data[0][0] = NULL;
        f->servers[id].length[0][0] = 0;
    }
    files_recall(f->client, client_file_ino(file)); /* as when there is another master */
    ck_assert_int_eq(script_write(f, file, 5000, 100, 2), 0);
    script_run(f, 1500);
    ck_assert_uint_eq(script_count(f, OP_grant), 2);
    f->hook = NULL;
    script_cut(f, 0);
    ck_assert_int_eq(script_fsync(f, file), -EIO);
    ck_assert_int_eq(script_write(f, file, 0, 1000, 3), 0);
    ck_assert_int_eq(script_fsync(f, file), 0);
    ck_assert_int_eq(script_read(f, file, 0, 1000, 3), 1000);
    ck_assert_int_eq(script_read(f, file, 5000, 100, 2), 100);
    script_end(f);
}
END_TEST

/* fsync syncs every chunk written since the last one, then commits; also through another file. */
START_TEST(fsync_syncs_what_was_written)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *a = script_create(f, "x");
    ck_assert_int_eq(script_write(f, a, 0, MIB, 1), 0);
    ck_assert_int_eq(script_write(f, a, 5 * MIB, MIB, 1), 0);
    ck_assert_int_eq(script_flush(f, a), 0);
    client_release(f->client, a);
    struct client_file *b = script_open(f, 100, O_RDONLY);
    ck_assert_int_eq(script_fsync(f, b), 0);
    ck_assert_uint_eq(script_count(f, OP_sync), 2);
    ck_assert_int_eq(script_fsync(f, b), 0);
    ck_assert_uint_eq(script_count(f, OP_sync), 2);
    script_end(f);
}
END_TEST

/* fdatasync of bytes within the committed size leaves the time to a later commit. */
START_TEST(fdatasync_of_old_bytes_asks_no_master)
{
    struct script_cluster *f = script_start(NULL);
    uint64_t ino = script_make(f, "x", MIB, 1);
    struct client_file *file = script_open(f, ino, O_RDWR);
    ck_assert_int_eq(script_write(f, file, 4096, 4096, 3), 0);
    struct script_call c;
    script_call_init(&c);
    client_fsync(f->client, &c.k, file, true);
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(script_count(f, OP_sync), 1);
    ck_assert_uint_eq(script_count(f, OP_extend), 0);
    ck_assert_int_eq(script_fsync(f, file), 0);
    ck_assert_uint_eq(script_count(f, OP_extend), 1);
    script_end(f);
}
END_TEST

/* Another mount truncated the file: what was within its size may be beyond it, until that is committed. */
START_TEST(fdatasync_after_a_recall_commits_the_size)
{
    struct script_cluster *f = script_start(NULL);
    uint64_t ino = script_make(f, "x", MIB, 1);
    struct client_file *file = script_open(f, ino, O_RDWR);
    struct script_call c;
    for (uint32_t round = 0; round < 4; round++) {
        if (round == 1) {
            script_file_of(f, ino)->size = 1000;
            files_recall(f->client, ino);
        }
        ck_assert_int_eq(script_write(f, file, 4096, 4096, 3), 0);
        script_call_init(&c);
        client_fsync(f->client, &c.k, file, true);
        ck_assert_int_eq(script_wait(f, &c), 0);
        ck_assert_uint_eq(script_count(f, OP_extend), round > 0);
        ck_assert_uint_eq(script_file_of(f, ino)->size, round > 0 ? 8192 : MIB);
    }
    script_end(f);
}
END_TEST

/* A write to an O_SYNC file returns when it is durable. */
START_TEST(o_sync_write_is_durable)
{
    struct script_cluster *f = script_start(NULL);
    uint64_t ino = script_make(f, "x", 0, 0);
    struct client_file *file = script_open(f, ino, O_RDWR | O_SYNC);
    ck_assert_int_eq(script_write(f, file, 0, 100, 3), 0);
    ck_assert_uint_eq(script_count(f, OP_sync), 1);
    ck_assert_uint_eq(f->files[0].size, 100);
    script_end(f);
}
END_TEST

/* A file that begins with a hole: chunk 0 of its create gets replicas before a size vouches for it. */
START_TEST(unwritten_first_chunk_is_made)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    ck_assert_int_eq(script_write(f, file, 5 * MIB, 1000, 3), 0);
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert_ptr_nonnull(f->servers[1].data[0][0]);
    ck_assert_int_eq(script_read(f, file, 0, MIB, 0), MIB);
    ck_assert_int_eq(script_read(f, file, 4 * MIB + MIB / 2, MIB / 2, 0), MIB / 2);
    ck_assert_int_eq(script_read(f, file, 5 * MIB, MIB, 3), 1000);
    script_end(f);
}
END_TEST

/* The session ended while a size was not committed: what the master cut off is reported. */
START_TEST(lost_session_reports_uncommitted_bytes)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    ck_assert_int_eq(script_write(f, file, 0, 1000, 3), 0);
    ck_assert_int_eq(script_read(f, file, 0, 1000, 3), 1000); /* on the replicas, not committed */
    f->session = 5;
    script_run(f, 500);
    ck_assert_int_eq(script_flush(f, file), -EIO);
    script_end(f);
}
END_TEST

/* Bytes still here when the session ended are written all the same. */
START_TEST(lost_session_keeps_dirty_bytes)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    ck_assert_int_eq(script_write(f, file, 0, 1000, 3), 0);
    f->session = 5;
    struct script_call c;
    script_call_init(&c);
    client_getattr(f->client, &c.k, 100); /* meets the end of the session after its flush */
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(f->files[0].size, 1000);
    script_end(f);
}
END_TEST

/* Two files that share the pages of the kernel: unchanged unless another mount wrote. */
START_TEST(unchanged_tells_of_other_writers)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *a = script_create(f, "x");
    ck_assert_int_eq(script_write(f, a, 0, 1000, 3), 0);
    struct client_file *b = script_open(f, 100, O_RDONLY); /* commits a's write first */
    ck_assert(client_file_unchanged(b));
    client_release(f->client, a);
    client_release(f->client, b);
    script_run(f, 1000);
    b = script_open(f, 100, O_RDONLY);
    ck_assert(client_file_unchanged(b));
    client_release(f->client, b);
    f->files[0].stamp = ++f->index;
    b = script_open(f, 100, O_RDWR);
    ck_assert(!client_file_unchanged(b));
    /* Another mount writes, and then this one: its own commit does not hide the other's. */
    f->files[0].stamp = ++f->index;
    ck_assert_int_eq(script_write(f, b, 0, 1000, 3), 0);
    client_release(f->client, b);
    script_run(f, 1000);
    b = script_open(f, 100, O_RDONLY);
    ck_assert(!client_file_unchanged(b));
    script_end(f);
}
END_TEST

/* Reopening a file while its close is due does not close it at the master. */
START_TEST(close_does_not_overtake_open)
{
    struct script_cluster *f = script_start(NULL);
    uint64_t ino = script_make(f, "x", 100, 1);
    for (uint32_t n = 0; n < 50; n++) {
        client_release(f->client, script_open(f, ino, O_RDONLY));
        script_run(f, n * 3);
        struct client_file *b = script_open(f, ino, O_RDONLY);
        script_run(f, 200);
        ck_assert_uint_eq(f->open_count, 1);
        client_release(f->client, b);
    }
    script_run(f, 200);
    ck_assert_uint_eq(f->open_count, 0);
    script_end(f);
}
END_TEST

static int set_attr(struct script_cluster *f, struct client_file *file, uint32_t mask)
{
    struct script_call c;
    struct attr set = {.mode = 0640, .mtime = {.sec = 77}};
    script_call_init(&c);
    client_setattr(f->client, &c.k, client_file_ino(file), mask, &set);
    int status = script_wait(f, &c);
    if (status == 0) {
        ck_assert_uint_eq(c.k.attr.size, 100);
    }
    return status;
}

/* What sets attributes while written bytes are on their way to the replicas does not wait for them;
 * once they are there it commits their size by the way. */
START_TEST(setattr_takes_the_size_along)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "a");
    ck_assert_int_eq(script_write(f, file, 0, 100, 1), 0);
    ck_assert_int_eq(set_attr(f, file, SETATTR_MODE), 0);
    script_run(f, 50);
    ck_assert_uint_eq(f->files[0].size, 0);
    ck_assert_int_eq(set_attr(f, file, SETATTR_MODE), 0);
    ck_assert_uint_eq(f->files[0].size, 100);
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert_uint_eq(script_count(f, OP_setattr), 2);
    ck_assert_uint_eq(script_count(f, OP_extend), 0);
    script_end(f);
}
END_TEST

/* Times that are set after a write stay as they were set when it counts later, but not those set
 * before a write. */
START_TEST(times_set_after_a_write_stay)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "a");
    ck_assert_int_eq(script_write(f, file, 0, 100, 1), 0);
    ck_assert_int_eq(set_attr(f, file, SETATTR_MTIME), 0);
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert(script_request(f, OP_extend, 0)->untouched);
    ck_assert_int_eq(script_write(f, file, 0, 100, 1), 0);
    ck_assert_int_eq(set_attr(f, file, SETATTR_MTIME), 0);
    ck_assert_int_eq(script_write(f, file, 50, 50, 2), 0);
    ck_assert_int_eq(script_flush(f, file), 0);
    ck_assert(!script_request(f, OP_extend, 1)->untouched);
    ck_assert_uint_eq(script_count(f, OP_extend), 2);
    script_end(f);
}
END_TEST

static enum script_verdict refuse_setattr(struct script_cluster *f, struct script_link *l,
                                          struct message *m)
{
    (void)f;
    if (m->head.op != OP_setattr) {
        return SCRIPT_GO_ON;
    }
    script_answer(l, m, -EPERM);
    return SCRIPT_DONE;
}

/* If the attributes are refused, what was written counts nevertheless. */
START_TEST(refused_setattr_leaves_the_size)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "a");
    f->hook = refuse_setattr;
    ck_assert_int_eq(script_write(f, file, 0, 100, 1), 0);
    ck_assert_int_eq(set_attr(f, file, SETATTR_MTIME), -EPERM);
    script_run(f, 50);
    ck_assert_int_eq(set_attr(f, file, SETATTR_MODE), -EPERM);
    ck_assert_uint_eq(f->files[0].size, 100);
    ck_assert_uint_eq(script_count(f, OP_extend), 1);
    ck_assert(!script_request(f, OP_extend, 0)->untouched);
    ck_assert_int_eq(script_flush(f, file), 0);
    script_end(f);
}
END_TEST

Suite *suite_client_write(void)
{
    Suite *s = suite_create("client_write");
    TCase *t = tcase_create("write");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 30);
    tcase_add_test(t, contiguous_writes_leave_as_one);
    tcase_add_test(t, first_sync_is_told_once);
    tcase_add_test(t, pieces_end_at_boundaries);
    tcase_add_loop_test(t, random_overlaps_arrive, 0, 8);
    tcase_add_test(t, written_bytes_leave_by_age);
    tcase_add_test(t, budget_holds_writers_back);
    tcase_add_test(t, stop_waits_for_writers_in_the_line);
    tcase_add_test(t, cancelled_writer_leaves_the_line);
    tcase_add_loop_test(t, failed_write_is_repeated_under_a_new_version, 0, 8);
    tcase_add_test(t, late_error_is_reported_once_per_file);
    tcase_add_test(t, close_after_an_error_waits_for_the_rest);
    tcase_add_test(t, overlapping_read_flushes);
    tcase_add_test(t, getattr_commits);
    tcase_add_test(t, setattr_takes_the_size_along);
    tcase_add_test(t, times_set_after_a_write_stay);
    tcase_add_test(t, refused_setattr_leaves_the_size);
    tcase_add_test(t, rename_commits_first);
    tcase_add_test(t, trim_is_carried_out_before_a_write);
    tcase_add_test(t, trim_that_another_mount_carried_out);
    tcase_add_test(t, truncate_orders_with_writes);
    tcase_add_loop_test(t, fsync_after_a_power_cut_of_all, 0, 5);
    tcase_add_test(t, fsync_after_new_replicas_were_lost);
    tcase_add_test(t, fsync_syncs_what_was_written);
    tcase_add_test(t, fdatasync_of_old_bytes_asks_no_master);
    tcase_add_test(t, fdatasync_after_a_recall_commits_the_size);
    tcase_add_test(t, o_sync_write_is_durable);
    tcase_add_test(t, unwritten_first_chunk_is_made);
    tcase_add_test(t, lost_session_reports_uncommitted_bytes);
    tcase_add_test(t, lost_session_keeps_dirty_bytes);
    tcase_add_test(t, unchanged_tells_of_other_writers);
    tcase_add_test(t, close_does_not_overtake_open);
    return s;
}
