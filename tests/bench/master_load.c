/* master_load.c - operations per second of a master, asked by many mounts at once.
 *
 *   master_load HOST:PORT SECONDS CONNECTIONS...
 *   master_load HOST:PORT fill FILES
 *
 * For each number of connections, each with a session of its own and one request under way: SECONDS of getattr of the
 * root, then SECONDS of mkdir of new names, whose records are in the log before they are answered. Prints lines
 * "CONNECTIONS OPERATION PER_SECOND". fill: 64 connections make FILES empty files, a thousand in each directory, and a line
 * "64 fill PER_SECOND" is printed. Any failure ends it with status 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shared/base/mem.h"
#include "shared/env/rpc.h"
#include "shared/io/uv_env.h"

enum { CALLERS_MAX = 64, PHASES_MAX = 32, PATIENCE_MS = 20000, FILES_OF_DIRECTORY = 1000 };

/* One mount. */
struct caller {
    struct rpc rpc;
    struct rpc_call call;
    uint64_t session;
    uint64_t sequence;  /* of its last mutation */
    uint64_t directory; /* fill: where its files go; 0 = it is being made */
    unsigned room;      /* for so many more of them */
};

static struct uv_env *uv;
static struct env *env;
static const char *master;
static struct caller callers[CALLERS_MAX];
static unsigned dialled, ready; /* callers; those with a session */
static unsigned wanted;         /* for what comes next */

/* The measurement that runs. */
static unsigned phases[PHASES_MAX]; /* connections of each */
static unsigned phase_count, phase;
static bool changing;  /* mkdir, else getattr */
static uint64_t files; /* fill: still to be made; 0 = not filling */
static unsigned running;
static uint64_t answered, names, began_ns, seconds;

static void fail(const char *what, int status)
{
    fprintf(stderr, "master_load: %s: %s\n", what, err_text(status));
    exit(1);
}

static void begin_phase(void);

static void end_of_phase(void)
{
    double s = (double)(env_mono_ns(env) - began_ns) / (double)NS_PER_S;
    printf("%u %s %.0f\n", phases[phase], changing ? "mkdir" : "getattr", (double)answered / s);
    fflush(stdout);
    if (!changing) {
        changing = true;
    } else {
        changing = false;
        phase++;
    }
    if (phase == phase_count) {
        uv_env_stop(uv);
    } else {
        begin_phase();
    }
}

static void ask(struct caller *c)
{
    struct frame_header head = {.op = OP_getattr, .session = c->session, .acked = c->sequence};
    struct slice body;
    char name[32];
    if (changing) {
        snprintf(name, sizeof name, "d%llu", (unsigned long long)names++);
        struct mkdir_req req = {.parent = ROOT_INO, .name = bytes_str(name), .mode = 0755};
        head.op = OP_mkdir;
        head.sequence = ++c->sequence;
        body = RPC_BODY(mkdir_req, &req);
    } else {
        body = RPC_BODY(getattr_req, (&(struct getattr_req){.ino = ROOT_INO}));
    }
    rpc_call(&c->rpc, &c->call, &head, body, NULL, PATIENCE_MS);
}

static void fill_on(struct caller *c);

static void filled(struct rpc_call *k)
{
    struct caller *c = k->owner;
    if (c->directory == 0) {
        struct mkdir_rep rep;
        int err = RPC_REPLY(mkdir, k, &rep);
        if (err != 0) {
            fail("mkdir", err);
        }
        c->directory = rep.attr.ino;
        c->room = FILES_OF_DIRECTORY;
    } else if (k->status != 0) {
        fail("mknod", k->status);
    } else {
        answered++;
    }
    fill_on(c);
}

static void fill_on(struct caller *c)
{
    struct frame_header head = {.session = c->session, .acked = c->sequence};
    struct slice body;
    char name[32];
    if (files == 0) {
        if (--running == 0) {
            printf("%u fill %.0f\n", wanted,
                   (double)answered * NS_PER_S / (double)(env_mono_ns(env) - began_ns));
            uv_env_stop(uv);
        }
        return;
    }
    snprintf(name, sizeof name, "n%llu", (unsigned long long)names++);
    if (c->room == 0) {
        struct mkdir_req req = {.parent = ROOT_INO, .name = bytes_str(name), .mode = 0755};
        head.op = OP_mkdir;
        c->directory = 0;
        body = RPC_BODY(mkdir_req, &req);
    } else {
        struct mknod_req req = {
            .parent = c->directory, .name = bytes_str(name), .mode = S_IFREG | 0644};
        head.op = OP_mknod;
        c->room--;
        files--;
        body = RPC_BODY(mknod_req, &req);
    }
    head.sequence = ++c->sequence;
    c->call.done = filled;
    rpc_call(&c->rpc, &c->call, &head, body, NULL, PATIENCE_MS);
}

static void begin_to_fill(void)
{
    running = wanted;
    began_ns = env_mono_ns(env);
    for (unsigned i = 0; i < wanted; i++) {
        fill_on(&callers[i]);
    }
}

static void on_answer(struct rpc_call *k)
{
    if (k->status != 0) {
        fail(changing ? "mkdir" : "getattr", k->status);
    }
    answered++;
    if (env_mono_ns(env) - began_ns < seconds * NS_PER_S) {
        ask(k->owner);
    } else if (--running == 0) {
        end_of_phase();
    }
}

static void begin(void)
{
    answered = 0;
    running = phases[phase];
    began_ns = env_mono_ns(env);
    for (unsigned i = 0; i < phases[phase]; i++) {
        callers[i].call.done = on_answer;
        ask(&callers[i]);
    }
}

/* ---------------------------------------------------------------- introductions */

static void go_on(void)
{
    (files > 0 ? begin_to_fill : begin)();
}

static void attached(struct rpc_call *k)
{
    if (k->status != 0) {
        fail("session_attach", k->status);
    }
    if (++ready == wanted) {
        go_on();
    }
}

static void session_opened(struct rpc_call *k)
{
    struct caller *c = k->owner;
    struct session_open_rep rep;
    int err = RPC_REPLY(session_open, k, &rep);
    if (err != 0) {
        fail("session_open", err);
    }
    c->session = rep.session;
    struct session_attach_req req = {.session = c->session};
    struct frame_header head = {.op = OP_session_attach, .session = c->session};
    k->done = attached;
    rpc_call(&c->rpc, k, &head, RPC_BODY(session_attach_req, &req), NULL, PATIENCE_MS);
}

static void greeted(struct rpc_call *k)
{
    struct caller *c = k->owner;
    if (k->status != 0) {
        fail("hello", k->status);
    }
    struct session_open_req req = {.host = bytes_str("bench"), .nonce = env_rand64(env)};
    struct frame_header head = {.op = OP_session_open};
    k->done = session_opened;
    rpc_call(&c->rpc, k, &head, RPC_BODY(session_open_req, &req), NULL, PATIENCE_MS);
}

static void on_open(void *owner, struct rpc *r)
{
    struct caller *c = owner;
    struct hello_req req = {.role = ROLE_CLIENT};
    struct frame_header head = {.op = OP_hello};
    c->call.done = greeted;
    rpc_call(r, &c->call, &head, RPC_BODY(hello_req, &req), NULL, PATIENCE_MS);
}

static void on_close(void *owner, struct rpc *r, int err)
{
    (void)owner, (void)r;
    fail(master, err);
}

static const struct rpc_events events = {.on_open = on_open, .on_close = on_close};

/* Mounts are made when they are needed: those that are silent for long lose their sessions. */
static void introduce(unsigned count)
{
    wanted = MAX(ready, count);
    if (ready == wanted) {
        go_on();
    }
    for (; dialled < wanted; dialled++) {
        struct caller *c = &callers[dialled];
        c->call.owner = c;
        rpc_init(&c->rpc, env, &events, c);
        rpc_dial(&c->rpc, master);
    }
}

static void begin_phase(void)
{
    introduce(phases[phase]);
}

int main(int argc, char **argv)
{
    struct why why;
    bool fill = argc == 4 && strcmp(argv[2], "fill") == 0;
    seconds = argc > 3 && !fill ? strtoull(argv[2], NULL, 10) : 0;
    files = fill ? strtoull(argv[3], NULL, 10) : 0;
    bool good = fill ? files > 0 : seconds > 0;
    for (int i = 3; !fill && i < argc && phase_count < PHASES_MAX; i++) {
        phases[phase_count] = (unsigned)atoi(argv[i]);
        good = good && phases[phase_count] > 0 && phases[phase_count] <= CALLERS_MAX;
        phase_count++;
    }
    if (!good) {
        fprintf(stderr,
                "usage: master_load HOST:PORT SECONDS CONNECTIONS... | fill FILES   (1 to %d of "
                "them)\n",
                CALLERS_MAX);
        return 2;
    }
    master = argv[1];
    uv = uv_env_create(&(struct uv_env_config){.log_level = LOG_ERROR, .threads_max = 1}, &why);
    if (uv == NULL) {
        fprintf(stderr, "master_load: %s\n", why.text);
        return 1;
    }
    env = uv_env_base(uv);
    names = env_rand64(env) >> 8; /* new ones also when it runs again */
    introduce(fill ? CALLERS_MAX : phases[0]);
    uv_env_run(uv);
    return 0;
}
