/* test_client_read.c - the mount's reading: failover, reports, holes, lseek, fallocate. */
#include <check.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include "tests/unit/script_cluster.h"

Suite *suite_client_read(void);

enum { MIB = 1 << 20 };

/* Statuses the chunkservers answer reads with; 1 = damaged bytes, 2 = no answer. */
static int read_status[SCRIPT_SERVERS + 1];

static enum script_verdict fail_reads(struct script_cluster *f, struct script_link *l,
                                      struct message *m)
{
    (void)f;
    int status = l->server->id > 0 ? read_status[l->server->id] : 0;
    if (m->head.op != OP_read || status == 0) {
        return SCRIPT_GO_ON;
    }
    if (status == 1) {
        struct slice bad = {buf_new(1000), 0, 1000};
        memset(bad.buf->data, 0xee, 1000);
        uint8_t sum[4] = {1, 2, 3, 4};
        struct read_rep rep = {.sums = bytes_of(sum, 4)};
        rpc_answer(&l->rpc, &m->head, 0, 0, 0, RPC_BODY(read_rep, &rep), &bad);
    } else if (status < 0) {
        struct read_rep rep = {.block = 0};
        rpc_answer(&l->rpc, &m->head, status, 0, 0, RPC_BODY(read_rep, &rep), NULL);
    }
    return SCRIPT_DONE;
}

static struct script_cluster *start_with_file(struct client_file **out_file, uint32_t size)
{
    struct client_config cfg = {.host = "host2"};
    struct script_cluster *f = script_start(&cfg);
    *out_file = script_open(f, script_make(f, "x", size, 6), O_RDWR);
    f->hook = fail_reads;
    memset(read_status, 0, sizeof(read_status));
    return f;
}

/* The replica on this machine is asked first. */
START_TEST(nearest_replica_first)
{
    struct client_file *file;
    struct script_cluster *f = start_with_file(&file, 1000);
    ck_assert_int_eq(script_read(f, file, 0, 1000, 6), 1000);
    ck_assert_uint_eq(script_request(f, OP_read, 0)->server, 2);
    script_end(f);
}
END_TEST

/* What open told of the first chunk saves a question. */
START_TEST(open_tells_where_the_first_chunk_is)
{
    struct client_config cfg = {.host = "host2"};
    struct script_cluster *f = script_start(&cfg);
    f->open_tells = true;
    struct client_file *file = script_open(f, script_make(f, "x", 1000, 6), O_RDONLY);
    ck_assert_int_eq(script_read(f, file, 0, 1000, 6), 1000);
    ck_assert_uint_eq(script_count(f, OP_locate), 0);
    script_end(f);
}
END_TEST

/* A replica that fails is passed over; one without a good copy is reported. */
START_TEST(failed_replica_is_passed_over)
{
    static const struct {
        int status;
        bool reported;
    } cases[] = {{ERR_CHECKSUM, true},
                 {-EIO, true},
                 {ERR_NO_REPLICA, true},
                 {1, true},
                 {ERR_NO_LEASE, false},
                 {ERR_SUSPECT, false},
                 {2, false}};
    struct client_file *file;
    struct script_cluster *f = start_with_file(&file, 1000);
    read_status[2] = cases[_i].status;
    ck_assert_int_eq(script_read(f, file, 0, 1000, 6), 1000);
    script_run(f, 100);
    ck_assert_uint_eq(script_count(f, OP_report_bad), cases[_i].reported);
    if (cases[_i].reported) {
        ck_assert_uint_eq(script_request(f, OP_report_bad, 0)->length, 2);
    }
    script_end(f);
}
END_TEST

/* EIO comes only when every member of a confirmed version has no good copy. */
START_TEST(eio_when_no_replica_is_good)
{
    struct client_file *file;
    struct script_cluster *f = start_with_file(&file, 1000);
    read_status[1] = ERR_CHECKSUM;
    read_status[2] = -EIO;
    read_status[3] = 1;
    ck_assert_int_eq(script_read(f, file, 0, 1000, 6), -EIO);
    ck_assert_uint_eq(script_count(f, OP_report_bad), 3);
    ck_assert_uint_eq(script_count(f, OP_locate), 2);
    script_end(f);
}
END_TEST

/* A member that does not answer is waited for. */
START_TEST(unreachable_replica_is_waited_for)
{
    struct client_file *file;
    struct script_cluster *f = start_with_file(&file, 1000);
    read_status[1] = ERR_CHECKSUM;
    read_status[2] = 2;
    read_status[3] = ERR_CHECKSUM;
    struct script_call c;
    script_call_init(&c);
    client_read(f->client, &c.k, file, 0, 1000);
    script_run(f, 20000);
    ck_assert(!c.over);
    read_status[2] = 0;
    ck_assert_int_eq(script_wait(f, &c), 0);
    ck_assert_uint_eq(c.data.len, 1000);
    script_call_drop(&c);
    script_end(f);
}
END_TEST

/* What the master says is gone fails without asking around, and reads again soon after it is not. */
START_TEST(gone_chunk_fails_until_it_returns)
{
    struct client_file *file;
    struct script_cluster *f = start_with_file(&file, SCRIPT_CHUNK + 1000);
    struct script_file *on_master = script_file_of(f, f->files[0].ino);
    read_status[1] = read_status[2] = read_status[3] = 2;
    on_master->chunks[0].gone = true;
    ck_assert_int_eq(script_read(f, file, 0, 1000, 6), -EIO);
    ck_assert_uint_eq(script_count(f, OP_read), 0);
    uint32_t asked = script_count(f, OP_locate);
    ck_assert_int_eq(script_read(f, file, 0, 1000, 6), -EIO);
    ck_assert_uint_eq(script_count(f, OP_locate), asked);
    memset(read_status, 0, sizeof(read_status));
    ck_assert_int_eq(script_read(f, file, SCRIPT_CHUNK, 1000, 6), 1000);
    on_master->chunks[0].gone = false;
    script_run(f, 1100);
    ck_assert_int_eq(script_read(f, file, 0, 1000, 6), 1000);
    script_end(f);
}
END_TEST

/* It becomes known while a read waits for members that do not answer. */
START_TEST(waiting_ends_when_the_chunk_is_gone)
{
    struct client_file *file;
    struct script_cluster *f = start_with_file(&file, 1000);
    read_status[1] = read_status[2] = read_status[3] = 2;
    struct script_call c;
    script_call_init(&c);
    client_read(f->client, &c.k, file, 0, 1000);
    script_run(f, 20000);
    ck_assert(!c.over);
    f->files[0].chunks[0].gone = true;
    ck_assert_int_eq(script_wait(f, &c), -EIO);
    script_call_drop(&c);
    script_end(f);
}
END_TEST

/* A version that has moved on is asked for at once. */
START_TEST(new_version_is_located)
{
    struct client_file *file;
    struct script_cluster *f = start_with_file(&file, 1000);
    ck_assert_int_eq(script_read(f, file, 0, 1000, 6), 1000);
    f->files[0].chunks[0].version += 5;
    uint64_t before = f->sim->now_ns;
    ck_assert_int_eq(script_read(f, file, 0, 1000, 6), 1000);
    ck_assert_uint_lt(f->sim->now_ns - before, 50 * NS_PER_MS);
    ck_assert_uint_eq(script_count(f, OP_locate), 2);
    ck_assert_uint_eq(script_count(f, OP_report_bad), 0);
    script_end(f);
}
END_TEST

/* Reads end at the end of the file. */
START_TEST(reads_end_with_the_file)
{
    struct client_file *file;
    struct script_cluster *f = start_with_file(&file, 3 * MIB);
    ck_assert_int_eq(script_read(f, file, 3 * MIB, 10, 6), 0);
    ck_assert_int_eq(script_read(f, file, UINT64_MAX - 5, 10, 6), 0);
    ck_assert_int_eq(script_read(f, file, 3 * MIB - 10, 100, 6), 10);
    ck_assert_int_eq(script_read(f, file, 2 * MIB - 500, 1000, 6), 1000); /* over two chunks */
    script_end(f);
}
END_TEST

/* A cancelled read ends at once. */
START_TEST(cancelled_read_ends)
{
    struct client_file *file;
    struct script_cluster *f = start_with_file(&file, 1000);
    read_status[1] = read_status[2] = read_status[3] = 2;
    struct script_call c;
    script_call_init(&c);
    client_read(f->client, &c.k, file, 0, 1000);
    script_run(f, 10000);
    client_cancel(f->client, &c.k);
    ck_assert_int_eq(script_wait(f, &c), -EINTR);
    ck_assert(client_settled(f->client));
    script_end(f);
}
END_TEST

static int64_t seek(struct script_cluster *f, struct client_file *file, uint64_t offset, bool hole)
{
    struct script_call c;
    script_call_init(&c);
    client_lseek(f->client, &c.k, file, offset, hole);
    int status = script_wait(f, &c);
    return status != 0 ? status : (int64_t)c.k.offset;
}

/* lseek finds data and holes over and inside chunks. */
START_TEST(lseek_finds_data_and_holes)
{
    struct script_cluster *f = script_start(NULL);
    struct client_file *file = script_create(f, "x");
    ck_assert_int_eq(script_write(f, file, 0, SCRIPT_BLOCK, 1), 0);
    ck_assert_int_eq(script_write(f, file, 7 * MIB, SCRIPT_BLOCK, 1), 0); /* chunk 3 */
    ck_assert_int_eq(seek(f, file, 0, false), 0);
    ck_assert_int_eq(seek(f, file, 0, true), SCRIPT_BLOCK);
    ck_assert_int_eq(seek(f, file, 100000, true), 100000);
    ck_assert_int_eq(seek(f, file, 100000, false), 7 * MIB);
    ck_assert_int_eq(seek(f, file, 7 * MIB + 5, true), 7 * MIB + SCRIPT_BLOCK);
    ck_assert_int_eq(seek(f, file, 7 * MIB + SCRIPT_BLOCK, false), -ENXIO);
    ck_assert_int_eq(seek(f, file, 7 * MIB + SCRIPT_BLOCK, true), -ENXIO);
    ck_assert_int_eq(seek(f, file, 3 * MIB, true), 3 * MIB);
    script_end(f);
}
END_TEST

static int allocate(struct script_cluster *f, struct client_file *file, int mode, uint64_t offset,
                    uint64_t length)
{
    struct script_call c;
    script_call_init(&c);
    client_fallocate(f->client, &c.k, file, mode, offset, length);
    return script_wait(f, &c);
}

static int set_size(struct script_cluster *f, struct client_file *file, uint64_t size)
{
    struct script_call c;
    script_call_init(&c);
    struct attr set = {.size = size};
    client_setattr(f->client, &c.k, client_file_ino(file), SETATTR_SIZE, &set);
    return script_wait(f, &c);
}

/* A disk has no room for chunk 2: status -ENOSPC and no member to blame. */
static enum script_verdict no_room(struct script_cluster *f, struct script_link *l,
                                   struct message *m)
{
    if (m->head.op == OP_statfs && f->hook_status != 0) {
        struct statfs_rep rep = {.total = 100 * MIB, .avail = 3 * MIB};
        rpc_answer(&l->rpc, &m->head, 0, 0, 0, RPC_BODY(statfs_rep, &rep), NULL);
        return SCRIPT_DONE;
    }
    struct write_req req;
    if (m->head.op == OP_write && write_req_decode(slice_bytes(&m->body), &req) == 0 &&
        req.kind == WRITE_RESERVE && req.number == 2) {
        f->hook_count++;
        struct write_rep rep = {0};
        rpc_answer(&l->rpc, &m->head, -ENOSPC, 0, 0, RPC_BODY(write_rep, &rep), NULL);
        return SCRIPT_DONE;
    }
    return SCRIPT_GO_ON;
}

/* No room is the program's error at once: the size stays, no member is left out for it. */
START_TEST(fallocate_without_room)
{
    struct client_file *file;
    struct script_cluster *f = start_with_file(&file, MIB);
    f->hook = no_room;
    ck_assert_int_eq(allocate(f, file, 0, 0, 9 * MIB), -ENOSPC);
    ck_assert_uint_eq(f->files[0].size, MIB);
    ck_assert_int_eq(f->hook_count, 1);
    for (uint32_t n = 0; n < script_count(f, OP_grant); n++) {
        ck_assert_uint_eq(script_request(f, OP_grant, n)->offset, 0); /* no failed version */
    }
    ck_assert_int_eq(script_read(f, file, 0, MIB, 6), MIB);
    ck_assert_int_eq(script_flush(f, file), 0); /* it was reported */
    ck_assert_int_eq(allocate(f, file, 0, MIB, 3 * MIB), 0);
    ck_assert_uint_eq(f->files[0].size, 4 * MIB);
    script_end(f);
    /* What cannot fit is refused before anything is reserved. */
    f = start_with_file(&file, MIB);
    f->hook = no_room;
    f->hook_status = 1;
    ck_assert_int_eq(allocate(f, file, 0, 0, 9 * MIB), -ENOSPC);
    ck_assert_int_eq(f->hook_count, 0);
    ck_assert_uint_eq(f->files[0].chunks[1].handle, 0);
    ck_assert_uint_eq(f->files[0].size, MIB);
    script_end(f);
}
END_TEST

/* fallocate: longer, punched, zeroed; holes stay holes. */
START_TEST(fallocate_modes)
{
    struct client_file *file;
    struct script_cluster *f = start_with_file(&file, 3 * MIB);
    const int keep = FALLOC_FL_KEEP_SIZE;
    ck_assert_int_eq(allocate(f, file, 0, 0, MIB), 0);
    ck_assert_uint_eq(f->files[0].size, 3 * MIB);
    ck_assert_int_eq(set_size(f, file, 8 * MIB), 0);
    ck_assert_int_eq(allocate(f, file, FALLOC_FL_PUNCH_HOLE | keep, MIB, 6 * MIB), 0);
    ck_assert_int_eq(script_read(f, file, 0, MIB, 6), MIB);
    ck_assert_int_eq(script_read(f, file, MIB, MIB, 0), MIB);
    ck_assert_int_eq(script_read(f, file, 2 * MIB, MIB, 0), MIB);
    ck_assert_uint_eq(f->files[0].chunks[2].handle, 0); /* no chunk was made for it */
    ck_assert_int_eq(allocate(f, file, FALLOC_FL_ZERO_RANGE, 0, 9 * MIB), 0);
    ck_assert_uint_eq(f->files[0].size, 9 * MIB);
    ck_assert_int_eq(script_read(f, file, 0, MIB, 0), MIB);
    ck_assert_int_eq(allocate(f, file, keep, 0, 20 * MIB), 0);
    ck_assert_uint_eq(f->files[0].size, 9 * MIB);
    ck_assert_uint_ne(f->files[0].chunks[9].handle, 0);
    ck_assert_uint_eq(f->files[0].chunks[10].handle, 0);
    ck_assert_int_eq(allocate(f, file, 0, 19 * MIB, 2 * MIB), 0);
    ck_assert_uint_eq(f->files[0].size, 21 * MIB);
    ck_assert_int_eq(seek(f, file, 0, false), -ENXIO); /* what is reserved is no data */
    ck_assert_int_eq(script_read(f, file, 20 * MIB, MIB, 0), MIB);
    ck_assert_int_eq(allocate(f, file, FALLOC_FL_COLLAPSE_RANGE, 0, MIB), -EOPNOTSUPP);
    ck_assert_int_eq(allocate(f, file, 0, INT64_MAX, MIB), -EFBIG);
    ck_assert_int_eq(allocate(f, file, 0, 0, 0), -EINVAL);
    script_end(f);
}
END_TEST

/* ---------------------------------------------------------------- small sequential reads */

enum { SMALL = 4096 };

/* The file's bytes change behind this mount's back. */
static void change_behind(struct script_cluster *f, uint8_t fill)
{
    for (uint32_t id = 1; id <= SCRIPT_SERVERS; id++) {
        memset(f->servers[id].data[0][0], fill, f->servers[id].length[0][0]);
    }
}

/* Two reads, so that the rest of the first block is there. */
static struct script_cluster *start_reading(struct client_file **out_file)
{
    struct script_cluster *f = start_with_file(out_file, MIB);
    ck_assert_int_eq(script_read(f, *out_file, 0, SMALL, 6), SMALL);
    ck_assert_int_eq(script_read(f, *out_file, SMALL, SMALL, 6), SMALL);
    ck_assert_uint_eq(script_count(f, OP_read), 2);
    ck_assert_uint_eq(script_request(f, OP_read, 1)->length, SCRIPT_BLOCK - SMALL);
    return f;
}

/* A block is asked for once, however small the pieces it is read in. */
START_TEST(small_sequential_reads_share_a_block)
{
    struct client_file *file;
    struct script_cluster *f = start_reading(&file);
    for (uint32_t at = 2 * SMALL; at < 2 * SCRIPT_BLOCK; at += SMALL) {
        ck_assert_int_eq(script_read(f, file, at, SMALL, 6), SMALL);
    }
    ck_assert_uint_eq(script_count(f, OP_read), 3);
    /* Pieces that fit no block, up to the end of the file. */
    uint32_t at = 2 * SCRIPT_BLOCK;
    for (int64_t n = 1; n > 0; at += (uint32_t)n) {
        n = script_read(f, file, at, 10000, 6);
        ck_assert_int_ge(n, 0);
    }
    ck_assert_uint_eq(at, MIB);
    ck_assert_uint_eq(script_count(f, OP_read), 3 + 14);
    script_end(f);
}
END_TEST

/* What is kept is not used after a write of this mount, a seek, a while, or news of a change. */
START_TEST(kept_bytes_are_never_old)
{
    struct client_file *file;
    struct script_cluster *f = start_reading(&file);
    uint64_t ino = client_file_ino(file);
    struct script_call c;
    uint8_t fill = 6;
    switch (_i) {
    case 0:
        ck_assert_int_eq(script_write(f, file, 2 * SMALL, SMALL, fill = 7), 0);
        break;
    case 1:
        ck_assert_int_eq(script_write(f, file, 2 * SMALL, SMALL, fill = 7), 0);
        ck_assert_int_eq(script_fsync(f, file), 0);
        break;
    case 2:
        ck_assert_int_eq(set_size(f, file, SMALL), 0);
        ck_assert_int_eq(set_size(f, file, MIB), 0);
        fill = 0;
        break;
    case 3:
        ck_assert_int_eq(allocate(f, file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, MIB), 0);
        fill = 0;
        break;
    case 4:
        change_behind(f, fill = 8);
        ck_assert_int_eq(script_read(f, file, 5 * SMALL, SMALL, fill), SMALL);
        break;
    case 5:
        change_behind(f, fill = 8);
        script_run(f, 100);
        break;
    case 6:
        change_behind(f, fill = 8);
        f->files[0].stamp++;
        script_call_init(&c);
        client_getattr(f->client, &c.k, ino);
        ck_assert_int_eq(script_wait(f, &c), 0);
        break;
    default: /* another open file has nothing kept */
        change_behind(f, fill = 8);
        file = script_open(f, ino, O_RDWR);
    }
    ck_assert_int_eq(script_read(f, file, 2 * SMALL, SMALL, fill), SMALL);
    script_end(f);
}
END_TEST

/* Nothing more is asked for while bytes of this mount wait to be written, by direct I/O, or for a
 * read of whole blocks. */
START_TEST(no_more_is_asked_for_than_helps)
{
    struct client_file *file;
    struct script_cluster *f = start_with_file(&file, MIB);
    if (_i == 1) {
        file = script_open(f, client_file_ino(file), O_RDWR | O_DIRECT);
    }
    uint32_t len = _i == 2 ? SCRIPT_BLOCK + SMALL : SMALL;
    ck_assert_int_eq(script_read(f, file, 0, len, 6), len);
    if (_i == 0) {
        ck_assert_int_eq(script_write(f, file, MIB / 2, 10, 7), 0);
    }
    ck_assert_int_eq(script_read(f, file, len, len, 6), len);
    ck_assert_uint_eq(script_request(f, OP_read, 1)->length, len);
    script_end(f);
}
END_TEST

Suite *suite_client_read(void)
{
    Suite *s = suite_create("client_read");
    TCase *t = tcase_create("read");
    suite_add_tcase(s, t);
    tcase_set_timeout(t, 30);
    tcase_add_test(t, nearest_replica_first);
    tcase_add_test(t, open_tells_where_the_first_chunk_is);
    tcase_add_loop_test(t, failed_replica_is_passed_over, 0, 7);
    tcase_add_test(t, eio_when_no_replica_is_good);
    tcase_add_test(t, unreachable_replica_is_waited_for);
    tcase_add_test(t, gone_chunk_fails_until_it_returns);
    tcase_add_test(t, waiting_ends_when_the_chunk_is_gone);
    tcase_add_test(t, new_version_is_located);
    tcase_add_test(t, reads_end_with_the_file);
    tcase_add_test(t, cancelled_read_ends);
    tcase_add_test(t, lseek_finds_data_and_holes);
    tcase_add_test(t, fallocate_modes);
    tcase_add_test(t, fallocate_without_room);
    tcase_add_test(t, small_sequential_reads_share_a_block);
    tcase_add_loop_test(t, kept_bytes_are_never_old, 0, 8);
    tcase_add_loop_test(t, no_more_is_asked_for_than_helps, 0, 3);
    return s;
}
