/* test_checkpoint.c - making checkpoints, and what a starting master trusts. The "master" here
 * keeps each record's body as a row. */
#include "master/core/medium.h"
#include "master/core/recovery.h"
#include "shared/base/hash.h"
#include "tests/unit/dir_env.h"
#include "tests/unit/unit.h"

#include <check.h>
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct dir_env *d;
static struct store *store;
static struct oplog *l;
static struct checkpoint *maker;
static struct recovery_result result;
static struct why why;
static struct recovery_config cfg;
static uint64_t applied;
static uint64_t replayed;
static int done_status;
static uint32_t done_count;

static int apply(void *owner, const struct record *r)
{
    uint8_t key[8];
    (void)owner;
    ck_assert_uint_eq(r->index, applied + 1);
    put_be64(key, r->index % 50); /* rows change as well as come */
    store_put(store, TABLE_INODE, bytes_of(key, sizeof(key)), r->body);
    applied = r->index;
    return 0;
}

static int replay(void *owner, const struct record *r)
{
    replayed++;
    return apply(owner, r);
}

static struct store_position here(void)
{
    struct store_position at = {.index = oplog_committed(l), .epoch = oplog_epoch(l)};
    ck_assert_int_eq(oplog_chain(l, at.index, &at.chain, &why), 0);
    return at;
}

static void commit(void)
{
    dir_env_pump(d);
    ck_assert_uint_eq(applied, oplog_committed(l));
    store_commit(store, here());
}

static int try_start(void)
{
    int rc = recovery_open(&d->env, &cfg, &store, &l, &result, &why);
    if (rc < 0) {
        return rc;
    }
    applied = result.replay_from - 1;
    replayed = 0;
    ck_assert_msg(oplog_replay(l, result.replay_from, replay, NULL, &why) == 0, "%s", why.text);
    ck_assert_int_eq(oplog_start_epoch(l, oplog_epoch(l) + 1, &why), 0);
    ck_assert_int_eq(checkpoint_create(&d->env, store, l, &maker, &why), 0);
    if (applied > 0) {
        commit();
    }
    recovery_settled(&d->env);
    return 0;
}

static void start(void)
{
    ck_assert_msg(try_start() == 0, "%s", why.text);
}

static void kill_master(void)
{
    dir_env_forget(d);
    checkpoint_destroy(maker);
    oplog_close(l);
    store_close(store);
    maker = NULL;
    l = NULL;
    store = NULL;
}

static void cut_power(void)
{
    kill_master();
    d->boot++;
}

static void setup(void)
{
    d = dir_env_new();
    cfg = (struct recovery_config){.log = {.segment_bytes = 64 << 10}, .cluster_name = "test"};
    start();
}

static void teardown(void)
{
    if (l != NULL) {
        kill_master();
    }
    dir_env_free(d);
}

static void append(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char text[300];
        memset(text, 'x', sizeof(text));
        snprintf(text, sizeof(text), "body of record %llu", (unsigned long long)oplog_last(l) + 1);
        struct record r = {.type = 0x0120, .body = bytes_of(text, sizeof(text))};
        oplog_append(l, &r);
        apply(NULL, &r);
    }
    dir_env_pump(d);
}

static void checkpoint_was_made(void *owner, int status, struct store_position at)
{
    (void)owner;
    (void)at;
    done_status = status;
    done_count++;
}

static uint64_t make_checkpoint(void)
{
    commit();
    done_count = 0;
    ck_assert_int_eq(checkpoint_start(maker, checkpoint_was_made, NULL), 0);
    ck_assert_uint_eq(done_count, 0);
    dir_env_pump(d);
    ck_assert_uint_eq(done_count, 1);
    ck_assert_int_eq(done_status, 0);
    ck_assert(!checkpoint_running(maker));
    return checkpoint_newest(maker).index;
}

static void flip(const char *path, uint64_t off)
{
    struct env_file *f;
    uint8_t byte;
    ck_assert_int_eq(env_file_open(&d->env, path, 0, &f), 0);
    ck_assert_int_eq(env_file_read(&d->env, f, off, &byte, 1), 1);
    byte ^= 0x10;
    ck_assert_int_eq(env_file_write(&d->env, f, off, &byte, 1), 1);
    env_file_close(&d->env, f);
}

static void flip_checkpoint(uint64_t index, uint64_t off)
{
    char path[64];
    flip(checkpoint_path(index, path, sizeof(path)), off);
}

static int count_checkpoints(void)
{
    struct checkpoint_ref refs[CHECKPOINTS_LISTED_MAX];
    return checkpoint_list(&d->env, refs, &why);
}

/* ---------------------------------------------------------------- making */

START_TEST(a_checkpoint_is_listed_and_verifies)
{
    struct checkpoint_ref refs[CHECKPOINTS_LISTED_MAX];
    append(100);
    uint64_t hash = store_hash(store);
    ck_assert_uint_eq(make_checkpoint(), 100);
    ck_assert_int_eq(checkpoint_list(&d->env, refs, &why), 1);
    ck_assert_uint_eq(refs[0].at.index, 100);
    ck_assert_uint_eq(refs[0].at.hash, hash);
    ck_assert_uint_eq(refs[0].cluster, oplog_identity(l)->cluster);
    ck_assert_int_eq(checkpoint_verify(&d->env, &refs[0], &why), 0);
    flip_checkpoint(100, refs[0].bytes - 1);
    ck_assert_int_eq(checkpoint_verify(&d->env, &refs[0], &why), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(why.text, "expected sum"));
}
END_TEST

START_TEST(one_at_a_time_and_not_twice_the_same)
{
    append(10);
    commit();
    ck_assert_int_eq(checkpoint_start(maker, checkpoint_was_made, NULL), 0);
    ck_assert_int_eq(checkpoint_start(maker, checkpoint_was_made, NULL), -EBUSY);
    dir_env_pump(d);
    ck_assert_int_eq(checkpoint_start(maker, checkpoint_was_made, NULL), -EALREADY);
}
END_TEST

/* Records and commits go on while it is being made. */
START_TEST(it_holds_the_state_of_its_index)
{
    append(60);
    commit();
    uint64_t hash = store_hash(store);
    done_count = 0;
    ck_assert_int_eq(checkpoint_start(maker, checkpoint_was_made, NULL), 0);
    for (int i = 0; done_count == 0; i++) {
        append(1); /* pumps, too */
        commit();
        ck_assert_int_lt(i, 1000);
    }
    ck_assert_int_eq(done_status, 0);
    ck_assert_uint_eq(checkpoint_newest(maker).index, 60);
    ck_assert_uint_eq(checkpoint_newest(maker).hash, hash);
}
END_TEST

static void many_rows(void)
{
    char value[200];
    memset(value, 'v', sizeof(value));
    for (uint32_t i = 0; i < 2000; i++) {
        uint8_t key[8];
        put_be64(key, i);
        store_put(store, TABLE_DENTRY, bytes_of(key, sizeof(key)), bytes_of(value, sizeof(value)));
    }
}

/* The copy takes the time that its rate demands, and commits go on meanwhile. */
START_TEST(the_copy_keeps_its_rate)
{
    enum { RATE = 1 << 20, MS = 1000000 };
    many_rows();
    append(10);
    commit();
    checkpoint_set_rate(maker, RATE);
    uint64_t began = d->now_ns;
    done_count = 0;
    ck_assert_int_eq(checkpoint_start(maker, checkpoint_was_made, NULL), 0);
    while (done_count == 0) {
        append(1);
        commit();
        dir_env_advance(d, 5 * MS);
        ck_assert_uint_lt(d->now_ns - began, 2000ull * MS);
    }
    ck_assert_int_eq(done_status, 0);
    ck_assert_uint_eq(checkpoint_newest(maker).index, 10);
    ck_assert_uint_gt(d->now_ns - began, 2000ull * 208 * 1000 * MS / RATE - 50ull * MS);
}
END_TEST

/* Two are kept, and the log from the older one. */
START_TEST(older_ones_and_their_log_go)
{
    append(300);
    make_checkpoint();
    ck_assert_uint_eq(oplog_first(l), 1);
    append(300);
    make_checkpoint();
    dir_env_pump(d);
    uint64_t first = oplog_first(l);
    ck_assert_uint_gt(first, 1);
    ck_assert_uint_le(first, 301);
    append(300);
    make_checkpoint();
    dir_env_pump(d);
    ck_assert_int_eq(count_checkpoints(), 2);
    ck_assert_uint_gt(oplog_first(l), first);
    ck_assert_uint_le(oplog_first(l), 601);
}
END_TEST

/* A failure of any disk operation leaves the old checkpoints, and the next try succeeds. */
START_TEST(a_failed_one_may_be_tried_again)
{
    append(100);
    make_checkpoint();
    append(10);
    for (uint64_t n = 1; n < 100; n++) {
        commit();
        done_count = 0;
        ck_assert_int_eq(checkpoint_start(maker, checkpoint_was_made, NULL), 0);
        d->fail_at = d->ops_done + n;
        d->fail_error = -ENOSPC;
        dir_env_pump(d);
        d->fail_at = 0;
        ck_assert_uint_eq(done_count, 1);
        if (done_status == 0) {
            ck_assert_uint_gt(n, 5);
            ck_assert_uint_eq(checkpoint_newest(maker).index, 110);
            return;
        }
        ck_assert_int_eq(done_status, -ENOSPC);
        ck_assert_uint_eq(checkpoint_newest(maker).index, 100);
    }
    ck_abort_msg("never succeeded");
}
END_TEST

/* Killed after any step: a good checkpoint is left, and nothing else after the next start. */
START_TEST(a_kill_at_any_step_leaves_a_good_one)
{
    append(100);
    make_checkpoint();
    uint64_t hash = store_hash(store);
    for (int stop = 0; stop < 12; stop++) {
        append(1);
        commit();
        hash = store_hash(store);
        int rc = checkpoint_start(maker, checkpoint_was_made, NULL);
        ck_assert_int_eq(rc, 0);
        for (int i = 0; i < stop && dir_env_step(d); i++) {
        }
        if (stop % 2) {
            cut_power();
        } else {
            kill_master();
        }
        start();
        ck_assert_uint_eq(store_hash(store), hash);
        ck_assert_int_ge(count_checkpoints(), 1);
        append(1);
        make_checkpoint();
    }
}
END_TEST

/* ---------------------------------------------------------------- recovery */

START_TEST(a_killed_process_leaves_its_environment)
{
    append(50);
    commit();
    append(20);
    uint64_t hash = store_hash(store);
    kill_master();
    start();
    ck_assert(result.live_kept);
    ck_assert_uint_eq(result.replay_from, 51);
    ck_assert_uint_eq(replayed, 20);
    ck_assert_uint_eq(store_hash(store), hash);
}
END_TEST

START_TEST(after_a_power_cut_it_is_built_from_the_checkpoint)
{
    append(50);
    make_checkpoint();
    append(20);
    commit();
    append(5);
    uint64_t hash = store_hash(store);
    cut_power();
    start();
    ck_assert(!result.live_kept);
    ck_assert_uint_eq(result.checkpoint, 50);
    ck_assert_uint_eq(replayed, 25);
    ck_assert_uint_eq(store_hash(store), hash);
}
END_TEST

static int prove(void)
{
    struct store_proof *proof = store_proof_begin(store);
    while (!store_proof_over(proof)) {
        store_proof_run(proof, 100);
    }
    return store_proof_end(proof, &why);
}

/* A large state that is kept is used before it is read through; one that is built is from sums that fit. */
START_TEST(a_large_state_that_is_kept_is_read_through_later)
{
    cfg.large_bytes = 4096;
    append(30);
    make_checkpoint();
    append(30);
    make_checkpoint();
    append(10);
    uint64_t hash = store_hash(store);
    cut_power();
    flip_checkpoint(60, 5000);
    start();
    ck_assert(!result.unproven);
    ck_assert_uint_eq(result.checkpoint, 30);
    ck_assert_uint_eq(store_hash(store), hash);
    commit();
    kill_master();
    start();
    ck_assert(result.live_kept && result.unproven);
    ck_assert_msg(prove() == 0, "%s", why.text);
    cfg.large_bytes = 0;
}
END_TEST

START_TEST(without_checkpoint_it_is_built_from_the_log)
{
    append(30);
    commit();
    uint64_t hash = store_hash(store);
    cut_power();
    start();
    ck_assert(!result.live_kept);
    ck_assert_uint_eq(result.replay_from, 1);
    ck_assert_uint_eq(store_hash(store), hash);
}
END_TEST

START_TEST(a_clean_stop_keeps_it_across_a_power_cut)
{
    append(30);
    commit();
    ck_assert_int_eq(store_sync(store), 0);
    ck_assert_int_eq(oplog_clean_stop(l, 30, &why), 0);
    cut_power();
    start();
    ck_assert(result.live_kept);
    ck_assert_uint_eq(replayed, 0);
    cut_power(); /* the mark is used up */
    start();
    ck_assert(!result.live_kept);
}
END_TEST

START_TEST(a_clean_stop_at_another_index_keeps_nothing)
{
    append(30);
    commit();
    ck_assert_int_eq(oplog_clean_stop(l, 29, &why), 0);
    cut_power();
    start();
    ck_assert(!result.live_kept);
}
END_TEST

/* A damaged checkpoint is never used: the older one, then the log, then nothing at all. */
START_TEST(damaged_checkpoints_are_passed_over)
{
    append(300);
    uint64_t older = make_checkpoint();
    append(300);
    uint64_t newer = make_checkpoint();
    append(10);
    uint64_t hash = store_hash(store);
    cut_power();
    flip_checkpoint(newer, 5000);
    start();
    ck_assert_uint_eq(result.checkpoint, older);
    ck_assert_uint_eq(replayed, 310);
    ck_assert_uint_eq(store_hash(store), hash);
    ck_assert_int_eq(count_checkpoints(), 1);
    cut_power();
    flip_checkpoint(older, 5000);
    ck_assert_int_eq(try_start(), ERR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(why.text, "no good checkpoint"));
}
END_TEST

static void make_unreadable(uint64_t index)
{
    char path[64];
    struct env_file *f;
    MUST(env_file_open(&d->env, checkpoint_path(index, path, sizeof(path)), 0, &f) == 0);
    MUST(env_file_write(&d->env, f, DIR_ENV_PAGE, DIR_ENV_UNREADABLE, strlen(DIR_ENV_UNREADABLE)) >
         0);
    env_file_close(&d->env, f);
}

/* One that the disk does not give stays, it might later; but it is none of the two that are kept, so the
 * one that was used, and the log behind it, do not go for its sake. */
START_TEST(a_checkpoint_that_cannot_be_read_is_not_counted_on)
{
    append(300);
    uint64_t older = make_checkpoint();
    append(300);
    uint64_t newer = make_checkpoint();
    cut_power();
    make_unreadable(newer);
    start();
    ck_assert_uint_eq(result.checkpoint, older);
    ck_assert_uint_eq(checkpoint_newest(maker).index, older);
    ck_assert_int_eq(count_checkpoints(), 2);
    append(300);
    uint64_t newest = make_checkpoint();
    dir_env_pump(d);
    uint64_t hash = store_hash(store);
    ck_assert_int_eq(count_checkpoints(), 2);
    ck_assert_uint_le(oplog_first(l), older + 1);
    cut_power();
    flip_checkpoint(newest, 5000);
    start();
    ck_assert_uint_eq(result.checkpoint, older);
    ck_assert_uint_eq(store_hash(store), hash);
}
END_TEST

/* Of a master that follows the log: it is behind the one that it could not use, and gets there. */
START_TEST(a_checkpoint_takes_the_place_of_one_that_cannot_be_read)
{
    append(100);
    make_checkpoint();
    append(200);
    struct store_position at = here();
    uint64_t hash = store_hash(store);
    uint64_t newer = make_checkpoint();
    cut_power();
    make_unreadable(newer);
    ck_assert_int_eq(recovery_open(&d->env, &cfg, &store, &l, &result, &why), 0);
    ck_assert_int_eq(checkpoint_create(&d->env, store, l, &maker, &why), 0);
    applied = result.replay_from - 1;
    ck_assert_uint_eq(applied, 100);
    ck_assert_int_eq(oplog_replay(l, 101, replay, NULL, &why), 0);
    store_commit(store, at);
    done_count = 0;
    ck_assert_int_eq(checkpoint_start(maker, checkpoint_was_made, NULL), 0);
    dir_env_pump(d);
    ck_assert_uint_eq(done_count, 1);
    ck_assert_int_eq(done_status, 0);
    ck_assert_int_eq(count_checkpoints(), 2);
    cut_power();
    start();
    ck_assert_uint_eq(result.checkpoint, newer);
    ck_assert_uint_eq(store_hash(store), hash);
}
END_TEST

START_TEST(a_damaged_sum_file_hides_its_checkpoint)
{
    char path[64];
    append(30);
    make_checkpoint();
    append(30);
    make_checkpoint();
    uint64_t hash = store_hash(store);
    cut_power();
    snprintf(path, sizeof(path), CHECKPOINT_DIR "/ckpt-%020d.sum", 60);
    for (uint64_t off = 0; off < 64; off += 9) {
        flip(path, off);
        ck_assert_int_eq(count_checkpoints(), 1);
        flip(path, off);
    }
    flip(path, 20);
    start();
    ck_assert_uint_eq(result.checkpoint, 30);
    ck_assert_uint_eq(store_hash(store), hash);
}
END_TEST

/* Two early deaths drop the environment. */
START_TEST(an_environment_in_doubt_is_dropped)
{
    append(30);
    commit();
    uint64_t hash = store_hash(store);
    kill_master();
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(recovery_open(&d->env, &cfg, &store, &l, &result, &why), 0);
        ck_assert_int_eq(result.live_kept, i < 2);
        kill_master(); /* before any commit */
    }
    start();
    ck_assert_uint_eq(store_hash(store), hash);
    kill_master();
    start();
    ck_assert(result.live_kept);
}
END_TEST

START_TEST(a_failed_environment_is_dropped)
{
    struct env_file *f;
    append(30);
    commit();
    kill_master();
    ck_assert_int_eq(
        env_file_open(&d->env, "live/data.mdb" STORE_FAILED_SUFFIX, ENV_OPEN_CREATE, &f), 0);
    env_file_close(&d->env, f);
    start();
    ck_assert(!result.live_kept);
    kill_master();
    start();
    ck_assert(result.live_kept);
}
END_TEST

/* Syncs of the live environment fail from now on: its descriptor is a pipe's. */
static void break_medium(void)
{
    char path[64], target[512];
    const char *file = dir_env_path(d, "live/data.mdb");
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    DIR *fds = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(fds);
    uint32_t found = 0;
    for (struct dirent *e; (e = readdir(fds)) != NULL;) {
        snprintf(path, sizeof(path), "/proc/self/fd/%.16s", e->d_name);
        ssize_t n = readlink(path, target, sizeof(target) - 1);
        target[MAX(n, 0)] = 0;
        if (n > 0 && strcmp(target, file) == 0) {
            ck_assert_int_ge(dup2(ends[1], atoi(e->d_name)), 0);
            found++;
        }
    }
    closedir(fds);
    close(ends[0]);
    close(ends[1]);
    ck_assert_uint_ge(found, 1);
}

static jmp_buf after_death;
static char last_words[512];

static void jump(struct dir_env *e, const char *reason)
{
    e->on_die = NULL;
    snprintf(last_words, sizeof(last_words), "%s", reason);
    longjmp(after_death, 1);
}

START_TEST(a_medium_that_fails_drops_the_environment)
{
    struct medium medium;
    append(30);
    make_checkpoint();
    append(30);
    commit();
    uint64_t hash = store_hash(store);
    medium_start(&medium, &d->env, store, maker);
    for (int i = 0; i < 70; i++) {
        dir_env_advance(d, NS_PER_S);
        medium_tick(&medium);
        dir_env_pump(d);
    }
    break_medium();
    medium_tick(&medium);
    dir_env_pump(d); /* not due yet */
    d->on_die = jump;
    if (setjmp(after_death) == 0) {
        dir_env_advance(d, MEDIUM_INTERVAL_MS * NS_PER_MS);
        medium_tick(&medium);
        dir_env_pump(d);
        ck_abort_msg("a sync failed and nobody heard it");
    }
    ck_assert_ptr_nonnull(strstr(last_words, "dropped"));
    kill_master();
    start();
    ck_assert(!result.live_kept);
    ck_assert_uint_eq(result.checkpoint, 30);
    ck_assert_uint_eq(store_hash(store), hash);
}
END_TEST

/* A checkpoint has the disk's bandwidth, and reads every row. */
START_TEST(the_medium_is_left_alone_while_a_checkpoint_is_copied)
{
    struct medium medium;
    many_rows();
    append(30);
    commit();
    medium_start(&medium, &d->env, store, maker);
    checkpoint_set_rate(maker, 4096);
    ck_assert_int_eq(checkpoint_start(maker, checkpoint_was_made, NULL), 0);
    dir_env_advance(d, MEDIUM_INTERVAL_MS * NS_PER_MS);
    medium_tick(&medium);
    ck_assert(checkpoint_running(maker));
    ck_assert(!medium.running);
    dir_env_advance(d, 200 * NS_PER_S);
    ck_assert(!checkpoint_running(maker));
    medium_tick(&medium);
    ck_assert(medium.running);
    dir_env_pump(d);
    ck_assert(!medium.running);
}
END_TEST

/* Also when it shows only at the clean stop. */
START_TEST(a_failed_last_sync_drops_the_environment)
{
    append(30);
    commit();
    uint64_t hash = store_hash(store);
    break_medium();
    ck_assert_int_lt(store_sync(store), 0);
    kill_master();
    start();
    ck_assert(!result.live_kept);
    ck_assert_uint_eq(store_hash(store), hash);
}
END_TEST

START_TEST(an_environment_that_cannot_be_opened_is_dropped)
{
    append(30);
    commit();
    uint64_t hash = store_hash(store);
    kill_master();
    flip("live/data.mdb", 16); /* magic of both meta pages */
    flip("live/data.mdb", 4096 + 16);
    start();
    ck_assert(!result.live_kept);
    ck_assert_uint_eq(store_hash(store), hash);
}
END_TEST

/* Flips a bit wherever the text stands in the live environment. */
static void flip_live(const char *text)
{
    static uint8_t image[1 << 20];
    size_t len = strlen(text);
    unsigned found = 0;
    struct env_file *f;
    ck_assert_int_eq(env_file_open(&d->env, "live/data.mdb", 0, &f), 0);
    int64_t n = env_file_read(&d->env, f, 0, image, sizeof(image));
    env_file_close(&d->env, f);
    for (int64_t i = 0; i + (int64_t)len <= n; i++) {
        if (memcmp(image + i, text, len) == 0) {
            flip("live/data.mdb", (uint64_t)i + len - 1);
            found++;
        }
    }
    ck_assert_uint_gt(found, 0);
}

/* A row that the disk changed is not built on, nor a counter. */
START_TEST(rows_that_were_not_committed_are_not_kept)
{
    static const char *const texts[] = {"body of record 7", "a counter"};
    for (unsigned i = 0; i < 2; i++) {
        append(30);
        store_put(store, TABLE_META, bytes_str("test.counter"), bytes_str("a counter"));
        commit();
        uint64_t hash = store_hash(store);
        kill_master();
        start();
        ck_assert(result.live_kept);
        kill_master();
        flip_live(texts[i]);
        start();
        ck_assert(!result.live_kept);
        ck_assert_uint_eq(store_hash(store), hash);
    }
}
END_TEST

/* A position the log does not have is another history. */
START_TEST(an_environment_off_the_log_is_dropped)
{
    append(30);
    struct store_position at = here();
    at.chain ^= 1;
    store_commit(store, at);
    kill_master();
    start();
    ck_assert(!result.live_kept);
    at = here();
    at.index = 31;
    store_commit(store, at);
    kill_master();
    start();
    ck_assert(!result.live_kept);
}
END_TEST

/* The log lost records that a checkpoint proves to have been committed. */
START_TEST(a_log_shorter_than_a_checkpoint_is_refused)
{
    char path[128];
    append(30);
    make_checkpoint();
    cut_power();
    snprintf(path, sizeof(path), "log/log-%020d", 1);
    ck_assert_int_eq(env_unlink(&d->env, path), 0);
    ck_assert_int_eq(try_start(), ERR_CORRUPT);
}
END_TEST

/* A whole .sum file with another value at `off`. */
static void rewrite_sum(const char *path, uint32_t off, uint64_t value, uint32_t len)
{
    uint8_t bytes[128];
    struct env_file *f;
    MUST(env_file_open(&d->env, path, 0, &f) == 0);
    int64_t n = env_file_read(&d->env, f, 0, bytes, sizeof(bytes));
    ck_assert(n > 64 && n < (int64_t)sizeof(bytes));
    put_le(bytes + off, value, (int)len);
    put_le(bytes + n - 8, hash64(bytes, (size_t)n - 8), 8);
    MUST(env_file_write(&d->env, f, 0, bytes, (uint32_t)n) == n);
    env_file_close(&d->env, f);
}

/* The start is refused with the name of the file, which stays as it is, and so does the state. */
static void refused_for(const char *path, int status)
{
    struct env_file *f;
    ck_assert_int_eq(try_start(), status);
    ck_assert_msg(strstr(why.text, path) != NULL, "%s", why.text);
    MUST(env_file_open(&d->env, path, ENV_OPEN_READ_ONLY, &f) == 0);
    env_file_close(&d->env, f);
    MUST(env_file_open(&d->env, "live/data.mdb", ENV_OPEN_READ_ONLY, &f) == 0);
    env_file_close(&d->env, f);
}

START_TEST(a_checkpoint_of_another_format_is_refused)
{
    char path[64];
    append(30);
    make_checkpoint();
    kill_master();
    d->boot = (uint8_t)(d->boot + _i % 2); /* without power, too */
    rewrite_sum(checkpoint_sum_path(30, path, sizeof(path)), 4, _i < 2 ? 3 : 1, 4);
    refused_for(path, ERR_FORMAT);
}
END_TEST

/* Also where the state needs no checkpoint. */
START_TEST(a_foreign_checkpoint_is_refused)
{
    char path[64];
    append(30);
    make_checkpoint();
    append(30);
    commit();
    kill_master();
    d->boot = (uint8_t)(d->boot + _i); /* without power, too */
    rewrite_sum(checkpoint_sum_path(30, path, sizeof(path)), 48, 4711, 8);
    refused_for(path, ERR_FOREIGN_CLUSTER);
}
END_TEST

START_TEST(checkpoints_without_their_log_are_refused)
{
    append(30);
    make_checkpoint();
    cut_power();
    ck_assert_int_eq(env_unlink(&d->env, "log/log-00000000000000000001"), 0);
    ck_assert_int_eq(env_unlink(&d->env, "log/meta.0"), 0);
    ck_assert_int_eq(env_unlink(&d->env, "log/meta.1"), 0);
    ck_assert_int_eq(try_start(), ERR_FOREIGN_CLUSTER);
}
END_TEST

/* Rows that do not hash to what was committed: the process ends, the environment is marked. */
START_TEST(rotten_rows_end_the_process)
{
    append(30);
    store_commit(store, here());
    uint8_t image[1 << 16];
    struct env_file *f;
    ck_assert_int_eq(env_file_open(&d->env, "live/data.mdb", 0, &f), 0);
    int64_t n = env_file_read(&d->env, f, 0, image, sizeof(image));
    for (int64_t i = 0; i + 17 < n; i++) {
        if (memcmp(image + i, "body of record 7", 17) == 0) {
            image[i + 15] = '8';
            ck_assert_int_eq(env_file_write(&d->env, f, (uint64_t)i + 15, image + i + 15, 1), 1);
        }
    }
    env_file_close(&d->env, f);
    ck_assert_int_eq(checkpoint_start(maker, checkpoint_was_made, NULL), 0);
    dir_env_pump(d);
}
END_TEST

Suite *suite_checkpoint(void);
Suite *suite_checkpoint(void)
{
    Suite *s = suite_create("checkpoint");
    TCase *c = tcase_create("making");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_test(c, a_checkpoint_is_listed_and_verifies);
    tcase_add_test(c, one_at_a_time_and_not_twice_the_same);
    tcase_add_test(c, it_holds_the_state_of_its_index);
    tcase_add_test(c, the_copy_keeps_its_rate);
    tcase_add_test(c, older_ones_and_their_log_go);
    tcase_add_test(c, a_failed_one_may_be_tried_again);
    tcase_add_test(c, a_kill_at_any_step_leaves_a_good_one);
    if (unit_forks()) {
        tcase_add_test_raise_signal(c, rotten_rows_end_the_process, SIGABRT);
    }
    suite_add_tcase(s, c);
    TCase *r = tcase_create("recovery");
    tcase_add_checked_fixture(r, setup, teardown);
    tcase_add_test(r, a_killed_process_leaves_its_environment);
    tcase_add_test(r, after_a_power_cut_it_is_built_from_the_checkpoint);
    tcase_add_test(r, a_large_state_that_is_kept_is_read_through_later);
    tcase_add_test(r, without_checkpoint_it_is_built_from_the_log);
    tcase_add_test(r, a_clean_stop_keeps_it_across_a_power_cut);
    tcase_add_test(r, a_clean_stop_at_another_index_keeps_nothing);
    tcase_add_test(r, damaged_checkpoints_are_passed_over);
    tcase_add_test(r, a_checkpoint_that_cannot_be_read_is_not_counted_on);
    tcase_add_test(r, a_checkpoint_takes_the_place_of_one_that_cannot_be_read);
    tcase_add_test(r, a_damaged_sum_file_hides_its_checkpoint);
    tcase_add_test(r, an_environment_in_doubt_is_dropped);
    tcase_add_test(r, a_failed_environment_is_dropped);
    tcase_add_test(r, a_medium_that_fails_drops_the_environment);
    tcase_add_test(r, the_medium_is_left_alone_while_a_checkpoint_is_copied);
    tcase_add_test(r, a_failed_last_sync_drops_the_environment);
    tcase_add_test(r, an_environment_that_cannot_be_opened_is_dropped);
    tcase_add_test(r, rows_that_were_not_committed_are_not_kept);
    tcase_add_test(r, an_environment_off_the_log_is_dropped);
    tcase_add_test(r, a_log_shorter_than_a_checkpoint_is_refused);
    tcase_add_loop_test(r, a_foreign_checkpoint_is_refused, 0, 2);
    tcase_add_test(r, checkpoints_without_their_log_are_refused);
    tcase_add_loop_test(r, a_checkpoint_of_another_format_is_refused, 0, 4);
    suite_add_tcase(s, r);
    return s;
}
