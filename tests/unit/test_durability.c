/* test_durability.c - log, store, checkpoints and recovery together under kills and power cuts, by
 * seed: what was committed is there, what comes back is a prefix of what was appended, and the rows
 * are those of that prefix.
 */
#include "master/core/checkpoint.h"
#include "master/core/recovery.h"
#include "shared/base/mem.h"
#include "tests/sim/sim_env.h"

#include <check.h>
#include <string.h>

enum { RECORDS_MAX = 20000, BODY_MAX = 90000, ROUNDS = 12, SEEDS = 40 };

/* A master whose state is the last body written under each of some keys. */
static struct {
    struct sim *sim;
    struct sim_process *process;
    struct env *env;
    struct sim_rand rand;
    struct store *store;
    struct oplog *log;
    struct checkpoint *maker;
    struct recovery_result found;
    uint64_t applied;
    uint64_t acknowledged; /* highest index that on_commit ever named */
    uint64_t checkpoints;
    uint64_t rebuilt;
    uint64_t kept;
    uint64_t cut; /* records that a power cut took, acknowledged to nobody */
} w;

static uint64_t chain_at[RECORDS_MAX]; /* of every record ever appended at the index, the newest */
static uint64_t hash_at[RECORDS_MAX];  /* of the rows after it */
static struct why why;

static int apply(void *owner, const struct record *r)
{
    uint8_t key[8];
    (void)owner;
    ck_assert_uint_eq(r->index, w.applied + 1);
    put_be64(key, (uint64_t)r->time_ns % 97);
    if (r->time_ns % 5 == 0) {
        (void)store_del(w.store, TABLE_INODE, bytes_of(key, 8)); /* it may not be there */
    } else {
        store_put(w.store, TABLE_INODE, bytes_of(key, 8), r->body);
    }
    w.applied = r->index;
    return 0;
}

static void on_commit(void *owner, uint64_t index)
{
    (void)owner;
    ck_assert_uint_gt(index, w.acknowledged);
    w.acknowledged = index;
}

static void append_one(void)
{
    static uint8_t body[BODY_MAX];
    uint32_t len = (uint32_t)sim_below(&w.rand, sim_chance(&w.rand, 1, 50) ? BODY_MAX : 3000);
    memset(body, (int)sim_below(&w.rand, 256), len);
    struct record r = {
        .type = 1, .time_ns = (int64_t)sim_below(&w.rand, 1000000), .body = bytes_of(body, len)};
    oplog_append(w.log, &r);
    apply(NULL, &r);
    ck_assert_uint_lt(r.index, RECORDS_MAX);
    chain_at[r.index] = r.chain;
    hash_at[r.index] = store_hash(w.store);
}

static void commit_if_quiet(void)
{
    if (oplog_committed(w.log) == w.applied && w.applied > 0) {
        store_commit(w.store, (struct store_position){.index = w.applied,
                                                      .epoch = oplog_epoch(w.log),
                                                      .chain = chain_at[w.applied]});
        recovery_settled(w.env);
    }
}

static void start(void)
{
    struct recovery_config cfg = {.log = {.segment_bytes = 64 << 10}, .cluster_name = "test"};
    sim_process_start(w.process);
    int rc = recovery_open(w.env, &cfg, &w.store, &w.log, &w.found, &why);
    ck_assert_msg(rc == 0, "seed %llu: %s", (unsigned long long)w.sim->seed, why.text);
    w.applied = w.found.replay_from - 1;
    rc = oplog_replay(w.log, w.found.replay_from, apply, NULL, &why);
    ck_assert_msg(rc == 0, "seed %llu: %s", (unsigned long long)w.sim->seed, why.text);
    ck_assert_uint_eq(w.applied, oplog_last(w.log));
    ck_assert_msg(w.applied >= w.acknowledged, "seed %llu: record %llu was committed, %llu is last",
                  (unsigned long long)w.sim->seed, (unsigned long long)w.acknowledged,
                  (unsigned long long)w.applied);
    uint64_t chain = 0;
    ck_assert_int_eq(oplog_chain(w.log, w.applied, &chain, &why), 0);
    if (w.applied > 0) {
        ck_assert_uint_eq(chain, chain_at[w.applied]);
        ck_assert_uint_eq(store_hash(w.store), hash_at[w.applied]);
    }
    w.acknowledged = w.applied;
    w.kept += w.found.live_kept;
    w.rebuilt += w.found.checkpoint > 0;
    oplog_on_commit(w.log, on_commit, NULL);
    ck_assert_int_eq(oplog_start_epoch(w.log, oplog_epoch(w.log) + 1, &why), 0);
    ck_assert_int_eq(checkpoint_create(w.env, w.store, w.log, &w.maker, &why), 0);
}

static void made(void *owner, int status, struct store_position at)
{
    (void)owner;
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(at.hash, hash_at[at.index]);
    w.checkpoints++;
}

static void work(void)
{
    uint32_t steps = (uint32_t)sim_below(&w.rand, 60);
    for (uint32_t i = 0; i < steps; i++) {
        uint64_t count = sim_below(&w.rand, 12);
        for (uint64_t n = 0; n < count; n++) {
            append_one();
        }
        sim_run_for(w.sim, sim_below(&w.rand, sim_chance(&w.rand, 1, 20) ? 3000000000 : 2000000));
        if (sim_chance(&w.rand, 1, 4)) {
            commit_if_quiet();
        }
        if (sim_chance(&w.rand, 1, 6) && store_committed(w.store).index > 0) {
            int rc = checkpoint_start(w.maker, made, NULL);
            ck_assert(rc == 0 || rc == -EBUSY || rc == -EALREADY);
        }
    }
}

static void end(void)
{
    uint64_t last = oplog_last(w.log);
    bool clean = sim_chance(&w.rand, 1, 5);
    if (clean) {
        commit_if_quiet();
        ck_assert_int_eq(store_sync(w.store), 0);
        sim_disk_real_synced(w.process->disk, true);
        ck_assert_int_eq(oplog_clean_stop(w.log, store_committed(w.store).index, &why), 0);
    }
    if (sim_chance(&w.rand, 1, 2)) {
        sim_process_kill(w.process);
    } else {
        sim_process_power_cut(w.process);
    }
    checkpoint_destroy(w.maker);
    oplog_close(w.log);
    store_close(w.store);
    w.cut += last - w.acknowledged;
}

START_TEST(nothing_committed_is_lost)
{
    uint64_t checkpoints = 0, rebuilt = 0, kept = 0, cut = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        memset(&w, 0, sizeof(w));
        w.sim = sim_create(seed);
        w.process = sim_process_create(w.sim, "master");
        w.env = &w.process->env;
        w.sim->log_level = LOG_ERROR + 1;
        w.rand = sim_rand_of(seed, 1);
        for (int round = 0; round < ROUNDS; round++) {
            start();
            work();
            end();
        }
        sim_destroy(w.sim);
        checkpoints += w.checkpoints;
        rebuilt += w.rebuilt;
        kept += w.kept;
        cut += w.cut;
    }
    /* The seeds meet what they are for. */
    ck_assert_uint_gt(checkpoints, SEEDS);
    ck_assert_uint_gt(rebuilt, SEEDS);
    ck_assert_uint_gt(kept, SEEDS);
    ck_assert_uint_gt(cut, SEEDS);
}
END_TEST

Suite *suite_durability(void);
Suite *suite_durability(void)
{
    Suite *s = suite_create("durability");
    TCase *c = tcase_create("durability");
    tcase_set_timeout(c, 120);
    tcase_add_test(c, nothing_committed_is_lost);
    suite_add_tcase(s, c);
    return s;
}
