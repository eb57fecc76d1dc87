/* gfsctl.c - the operator's tool: arguments, and the conversation with a master.
 *
 * Asks the masters it was given one after another until one answers or the time is over.
 */
#include "deploy/gfsctl/gfsctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/base/config.h"
#include "shared/env/rpc.h"
#include "shared/io/daemon.h"

enum {
    ANSWER_WAIT_MS = 5000, /* for a first answer */
    CHECKPOINT_WAIT_MS = 600000,
    TRY_MS = 2000, /* one master */
    AGAIN_MS = 100,
    MASTERS_MAX = 16,
};

static const char usage[] =
    "usage: gfsctl [--masters HOST:PORT[,HOST:PORT]] COMMAND\n"
    "  status [--json]  masters, chunkservers, files and chunks of the cluster\n"
    "  checkpoint       make the master write a checkpoint now, wait until it is durable\n"
    "  oplog DIR        print the operation log in a stopped master's directory, a record a line\n"
    "The masters are those of --masters, else of the environment variable GFS_MASTERS, else\n"
    "127.0.0.1:9400. Exit status: 0 done, 1 failed (a sentence says why), 2 wrong arguments.\n";

struct session {
    struct uv_env *env;
    struct rpc rpc;
    struct rpc_call call;
    struct env_timer again;
    struct env_timer deadline;
    char masters[1024]; /* separated by NULs */
    const char *addrs[MASTERS_MAX];
    unsigned addr_count;
    unsigned next;
    bool json;
    uint16_t op;
    bool asked;      /* the request proper is with a master that introduced itself */
    struct why last; /* what went wrong last */
    int code;
};

static void finish(struct session *s, int code)
{
    s->code = code;
    uv_env_stop(s->env);
}

static void try_again(struct session *s)
{
    s->asked = false;
    env_timer_set(uv_env_base(s->env), &s->again, AGAIN_MS * NS_PER_MS);
}

static const char *current(const struct session *s)
{
    return s->addrs[s->next % s->addr_count];
}

static void failed(struct session *s, int err)
{
    (void)why_set(&s->last, err, "%s: %s", current(s), err_text(err));
    rpc_cancel(&s->call);
    rpc_close(&s->rpc);
    s->next++;
    try_again(s);
}

static void on_answer(struct rpc_call *c)
{
    struct session *s = c->owner;
    int err = c->status;
    struct status_rep status;
    struct checkpoint_now_rep checkpoint;
    if (err == 0 && s->op == OP_status && (err = RPC_REPLY(status, c, &status)) == 0) {
        if (s->json) {
            status_print_json(&status);
        } else {
            status_print(&status);
        }
    } else if (err == 0 && s->op == OP_checkpoint_now &&
               (err = RPC_REPLY(checkpoint_now, c, &checkpoint)) == 0) {
        printf("checkpoint at index %llu\n", (unsigned long long)checkpoint.index);
    }
    if (err == 0) {
        finish(s, 0);
    } else if (err == ERR_DISCONNECTED && s->rpc.conn == NULL) {
        (void)why_set(&s->last, err, "%s: %s", current(s), err_text(err)); /* on_close goes on */
    } else {
        failed(s, err);
    }
}

static void on_hello(struct rpc_call *c)
{
    struct session *s = c->owner;
    if (c->status != 0) {
        if (s->rpc.conn != NULL) {
            failed(s, c->status);
        }
        return;
    }
    s->asked = true;
    s->call.done = on_answer;
    struct frame_header head = {.op = s->op};
    rpc_call(&s->rpc, &s->call, &head, (struct slice){0}, NULL,
             s->op == OP_checkpoint_now ? CHECKPOINT_WAIT_MS : TRY_MS);
    if (s->op == OP_checkpoint_now) {
        env_timer_stop(uv_env_base(s->env),
                       &s->deadline); /* a master answers: it may take its time */
    }
}

static void on_open(void *owner, struct rpc *r)
{
    struct session *s = owner;
    struct hello_req hello = {.role = ROLE_ADMIN};
    struct frame_header head = {.op = OP_hello};
    s->call.done = on_hello;
    rpc_call(r, &s->call, &head, RPC_BODY(hello_req, &hello), NULL, TRY_MS);
}

static void on_request(void *owner, struct rpc *r, struct message *m)
{
    (void)owner;
    rpc_answer_status(r, &m->head, ERR_UNKNOWN_OP);
}

static void on_close(void *owner, struct rpc *r, int err)
{
    struct session *s = owner;
    (void)r;
    (void)why_set(&s->last, err, "%s: %s", current(s), err_text(err));
    s->next++;
    if (s->op == OP_checkpoint_now && s->asked) {
        fprintf(stderr, "gfsctl: %s\n", s->last.text);
        finish(s, EXIT_FAILED);
        return;
    }
    try_again(s);
}

static const struct rpc_events events = {on_open, on_request, on_close};

static void again_fired(struct env_timer *t)
{
    struct session *s = container_of(t, struct session, again);
    rpc_close(&s->rpc);
    rpc_init(&s->rpc, uv_env_base(s->env), &events, s);
    rpc_dial(&s->rpc, current(s));
}

static void deadline_fired(struct env_timer *t)
{
    struct session *s = container_of(t, struct session, deadline);
    fprintf(stderr, "gfsctl: no master answered within %d s: %s\n", ANSWER_WAIT_MS / 1000,
            s->last.text[0] != 0 ? s->last.text : current(s));
    finish(s, EXIT_FAILED);
}

static int converse(struct session *s)
{
    struct why why;
    s->env = uv_env_create(&(struct uv_env_config){.log_level = LOG_ERROR, .threads_max = 1}, &why);
    if (s->env == NULL) {
        fprintf(stderr, "gfsctl: %s\n", why.text);
        return EXIT_FAILED;
    }
    struct env *env = uv_env_base(s->env);
    s->call.owner = s;
    s->again.fire = again_fired;
    s->deadline.fire = deadline_fired;
    rpc_init(&s->rpc, env, &events, s);
    env_timer_set(env, &s->again, 0);
    env_timer_set(env, &s->deadline, ANSWER_WAIT_MS * NS_PER_MS);
    uv_env_run(s->env);
    rpc_cancel(&s->call);
    rpc_close(&s->rpc);
    env_timer_stop(env, &s->again);
    env_timer_stop(env, &s->deadline);
    uv_env_destroy(s->env);
    return s->code;
}

/* Cuts the list at its commas. False: an entry is no address, or there are too many. */
static bool take_masters(struct session *s, const char *list)
{
    if (strlen(list) >= sizeof(s->masters)) {
        return false;
    }
    strcpy(s->masters, list);
    char *rest = s->masters, *one;
    while ((one = strsep(&rest, ",")) != NULL) {
        if (s->addr_count == MASTERS_MAX || !config_is_addr(bytes_str(one))) {
            return false;
        }
        s->addrs[s->addr_count++] = one;
    }
    return true;
}

static int wrong_usage(const char *what, const char *arg)
{
    fprintf(stderr, "gfsctl: %s%s%s\n%s", what, arg != NULL ? " " : "", arg != NULL ? arg : "",
            usage);
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    static struct session s;
    const char *masters = getenv("GFS_MASTERS");
    const char *words[2] = {NULL, NULL};
    int count = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(usage, stdout);
            return 0;
        } else if (strcmp(argv[i], "--version") == 0) {
            printf("gfsctl %s\n", GFS_VERSION);
            return 0;
        } else if (strcmp(argv[i], "--json") == 0) {
            s.json = true;
        } else if (strcmp(argv[i], "--masters") == 0 && i + 1 < argc) {
            masters = argv[++i];
        } else if (strncmp(argv[i], "--masters=", 10) == 0) {
            masters = argv[i] + 10;
        } else if (argv[i][0] != '-' && count < 2) {
            words[count++] = argv[i];
        } else {
            return wrong_usage("unexpected argument", argv[i]);
        }
    }
    if (count == 2 && strcmp(words[0], "oplog") == 0) {
        return oplog_print(words[1]);
    }
    if (count != 1) {
        return wrong_usage(count == 0 ? "no command given" : "unexpected argument", words[1]);
    }
    if (masters == NULL || masters[0] == 0) {
        masters = "127.0.0.1:9400";
    }
    if (!take_masters(&s, masters)) {
        return wrong_usage("expected HOST:PORT[,HOST:PORT] for the masters, found", masters);
    }
    if (strcmp(words[0], "status") == 0) {
        s.op = OP_status;
    } else if (strcmp(words[0], "checkpoint") == 0) {
        s.op = OP_checkpoint_now;
    } else {
        return wrong_usage("unknown command", words[0]);
    }
    return converse(&s);
}
