/* chunk_cmd.c - what is wrong with single chunks.
 *
 * The master tells what it knows of the replicas. A check that compares asks the chunkservers
 * themselves to read every block of every replica against its sum; equal digests of the sums then
 * mean equal bytes, and none of them crosses the network. A chunk that is being written meanwhile
 * is looked at again.
 */
#include "deploy/gfsctl/chunk_cmd.h"
#include "deploy/gfsctl/path.h"
#include "shared/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    VERIFY_WAIT_MS = 120000, /* a slow disk reads a chunk */
    LOOKS_MAX = 20,          /* at a chunk whose version moves on */
    LOOK_AGAIN_MS = 250,
    SERVERS_MAX = 1024,
};

/* ---------------------------------------------------------------- printing */

static void print_copies(const struct chunk_state *k)
{
    char age[SIZE_TEXT], addr[PLAIN_TEXT], state[PLAIN_TEXT], host[PLAIN_TEXT];
    printf("inode %" PRIu64 " chunk %" PRIu64 " (%016" PRIx64 "), version %" PRIx64
           ": %u of %u copies good%s\n",
           k->ino, k->number, k->handle, k->version, k->good, k->wanted,
           k->lost        ? ": LOST until one of these returns; reads give EIO"
           : k->good == 0 ? ": reads wait for one of these"
                          : "");
    if (k->waiting > 0) {
        printf("  %u writes wait for more copies\n", k->waiting);
    }
    struct reader r = reader_of(k->replicas);
    while (!reader_done(&r)) {
        struct replica_state one;
        dec_replica_state(&r, &one);
        if (r.err != 0) {
            break;
        }
        printf("  server %u at %s (host %s): %s", one.server.id, plain(one.server.addr, addr),
               plain(one.server.host, host), plain(one.state, state));
        if (!one.alive) {
            printf(", last heard of %s", one.away_ms == UINT64_MAX ? "before this master started"
                                                                   : time_text(one.away_ms, age));
            fputs(one.away_ms == UINT64_MAX ? "" : " ago", stdout);
        }
        putchar('\n');
    }
}

static void json_chunk(struct json *j, const struct chunk_state *k)
{
    char handle[17];
    snprintf(handle, sizeof(handle), "%016" PRIx64, k->handle);
    json_key(j, NULL);
    fputs("\n  ", stdout);
    json_open(j, '{');
    json_u64(j, "inode", k->ino);
    json_u64(j, "number", k->number);
    json_text(j, "handle", bytes_str(handle));
    json_u64(j, "version", k->version);
    json_u64(j, "wanted", k->wanted);
    json_u64(j, "good", k->good);
    json_u64(j, "waiting", k->waiting);
    json_flag(j, "lost", k->lost);
    json_key(j, "replicas");
    json_open(j, '[');
    struct reader r = reader_of(k->replicas);
    while (!reader_done(&r)) {
        struct replica_state one;
        dec_replica_state(&r, &one);
        if (r.err != 0) {
            break;
        }
        json_key(j, NULL);
        json_open(j, '{');
        json_u64(j, "id", one.server.id);
        json_text(j, "addr", one.server.addr);
        json_text(j, "state", one.state);
        json_flag(j, "alive", one.alive);
        if (one.away_ms == UINT64_MAX) {
            json_null(j, "heard_ms_ago");
        } else {
            json_u64(j, "heard_ms_ago", one.away_ms);
        }
        json_close(j, '}');
    }
    json_close(j, ']');
    json_close(j, '}');
}

/* ---------------------------------------------------------------- walking */

/* Calls each for every chunk the master tells of; each may ask the master other things. 0, or
 * EXIT_FAILED after a sentence. Adds up what the master looked at. */
static int walk(struct session *s, struct chunk_list_req ask, const char *what, uint64_t *looked,
                int (*each)(void *owner, const struct chunk_state *k), void *owner)
{
    int code = 0;
    ask.count = LOCATE_COUNT_MAX;
    do {
        union op_any req = {.chunk_list_req = ask}, rep;
        if (session_ask_or_say(s, OP_chunk_list, &req, &rep, 0, what) != 0) {
            return EXIT_FAILED;
        }
        const struct chunk_list_rep *list = &rep.chunk_list_rep;
        *looked += list->looked;
        ask.ino = list->ino;
        ask.number = list->number;
        void *page = mem_dup(list->chunks.data, list->chunks.len);
        struct reader r = reader_of(bytes_of(page, list->chunks.len));
        while (code == 0 && !reader_done(&r)) {
            struct chunk_state k;
            dec_chunk_state(&r, &k);
            code = r.err != 0 ? say("%s: the master's answer is malformed", what) : each(owner, &k);
        }
        mem_free(page);
    } while (code == 0 && ask.ino != 0);
    return code;
}

/* ---------------------------------------------------------------- why */

struct telling {
    bool as_json;
    struct json j;
    uint64_t told;
};

static int tell(void *owner, const struct chunk_state *k)
{
    struct telling *t = owner;
    t->told++;
    if (t->as_json) {
        json_chunk(&t->j, k);
    } else {
        print_copies(k);
    }
    return 0;
}

int cmd_why(struct call *c)
{
    struct telling t = {.as_json = c->json};
    struct chunk_list_req ask = {.one_file = true, .whole = take_option(c, "--all")};
    uint64_t looked = 0;
    if (c->argc != 1) {
        return EXIT_USAGE;
    }
    char state[512];
    bool mounted = path_mount_state(c->argv[0], state, sizeof(state));
    bool orphaned = mounted && strncmp(state, "no primary", 10) == 0;
    if (orphaned && strstr(state, "reading from shadow") == NULL) {
        return say("%s: its mount has %s", c->argv[0], state); /* to look there would wait, too */
    }
    if (orphaned && !c->json) {
        printf("%s: its mount has %s\n", c->argv[0], state);
        fflush(stdout);
    }
    if (path_inode(c->session, c->argv[0], &ask.ino) != 0) {
        return EXIT_FAILED;
    }
    if (c->json) {
        json_open(&t.j, '{');
        json_u64(&t.j, "inode", ask.ino);
        if (mounted) {
            json_text(&t.j, "mount", bytes_str(state));
        }
        json_key(&t.j, "chunks");
        json_open(&t.j, '[');
    }
    int code = walk(c->session, ask, c->argv[0], &looked, tell, &t);
    if (c->json) {
        json_close(&t.j, ']');
        json_u64(&t.j, "looked_at", looked);
        json_close(&t.j, '}');
        putchar('\n');
    } else if (code == 0 && t.told == 0) {
        printf("%s: inode %" PRIu64 ": nothing is missing: %" PRIu64 " chunks have all copies\n",
               c->argv[0], ask.ino, looked);
    }
    return code;
}

/* ---------------------------------------------------------------- fsck */

struct check {
    struct session *master;
    bool as_json, compare;
    struct json j;
    struct session *servers[SERVERS_MAX + 1]; /* conversations with chunkservers, by id */
    uint64_t chunks, replicas, bytes;         /* looked at by comparing */
    uint64_t short_of_copies, lost;
    uint64_t bad, differing;
};

static void finding(struct check *f, const struct chunk_state *k, uint32_t server, const char *what)
{
    if (f->as_json) {
        json_key(&f->j, NULL);
        json_open(&f->j, '{');
        json_u64(&f->j, "inode", k->ino);
        json_u64(&f->j, "number", k->number);
        json_u64(&f->j, "server", server);
        json_text(&f->j, "what", bytes_str(what));
        json_close(&f->j, '}');
    } else {
        printf("inode %" PRIu64 " chunk %" PRIu64 " (%016" PRIx64 ") on server %u: %s\n", k->ino,
               k->number, k->handle, server, what);
    }
}

static struct session *talk_to(struct check *f, const struct server *s)
{
    char addr[PLAIN_TEXT];
    if (s->id > SERVERS_MAX) {
        return NULL;
    }
    if (f->servers[s->id] == NULL) {
        f->servers[s->id] = session_new(plain(s->addr, addr));
    }
    return f->servers[s->id];
}

/* What one look at the replicas of a chunk gives. */
enum look { LOOK_EQUAL, LOOK_WRONG, LOOK_MOVED };

/* Reads all replicas; *out_server: whose replica decided. */
static enum look compare_once(struct check *f, const struct chunk_state *k, uint32_t *out_server,
                              const char **out_what)
{
    struct reader r = reader_of(k->replicas);
    struct replica first = {0};
    uint64_t bytes = 0;
    uint32_t count = 0;
    while (!reader_done(&r)) {
        struct replica_state one;
        dec_replica_state(&r, &one);
        struct session *s = r.err == 0 && one.alive ? talk_to(f, &one.server) : NULL;
        if (s == NULL) {
            continue; /* counted as a copy that is missing */
        }
        union op_any req = {.verify_replica_req = {k->handle, k->version}}, rep;
        int err = session_ask(s, OP_verify_replica, &req, &rep, VERIFY_WAIT_MS);
        const struct replica *v = &rep.verify_replica_rep.replica;
        *out_server = one.server.id;
        if (err == ERR_WRONG_VERSION || err == ERR_NO_REPLICA) {
            *out_what = err == ERR_NO_REPLICA ? "it has no replica" : "it has another version";
            return LOOK_MOVED;
        }
        if (err != 0) {
            *out_what = err_text(err);
            return LOOK_WRONG;
        }
        if (v->state == REPLICA_BAD) {
            *out_what = "blocks do not match their checksums";
            return LOOK_WRONG;
        }
        if (v->state != REPLICA_OK) {
            *out_what = "it is being compared or copied";
            return LOOK_MOVED;
        }
        if (count > 0 && (v->digest != first.digest || v->length != first.length)) {
            *out_what = "it differs from the other replicas";
            return LOOK_MOVED; /* or a write is under way */
        }
        first = *v;
        bytes += v->length;
        count++;
    }
    f->replicas += count;
    f->bytes += bytes;
    return LOOK_EQUAL;
}

/* Asks the master anew: 0, -ENOENT if the chunk is gone, or another error. *k views *rep. */
static int look_up(struct check *f, struct chunk_state *k, union op_any *rep)
{
    uint64_t handle = k->handle;
    union op_any req = {
        .chunk_list_req = {
            .ino = k->ino, .number = k->number, .count = 1, .one_file = true, .whole = true}};
    int err = session_ask(f->master, OP_chunk_list, &req, rep, 0);
    if (err != 0) {
        return err;
    }
    struct reader r = reader_of(rep->chunk_list_rep.chunks);
    if (reader_done(&r)) {
        return -ENOENT;
    }
    dec_chunk_state(&r, k);
    return r.err != 0 ? ERR_PROTOCOL : k->handle != handle ? -ENOENT : 0;
}

static int compare_chunk(struct check *f, const struct chunk_state *listed)
{
    struct chunk_state k = *listed;
    union op_any rep;
    uint32_t server = 0;
    const char *what = "";
    enum look look;
    for (int looks = 1; (look = compare_once(f, &k, &server, &what)) == LOOK_MOVED; looks++) {
        if (looks == LOOKS_MAX) {
            break;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_AGAIN_MS * 1000000L}, NULL);
        int err = look_up(f, &k, &rep);
        if (err != 0) {
            return err == -ENOENT ? 0 : say("fsck: %s", err_text(err));
        }
    }
    f->chunks++;
    if (look != LOOK_EQUAL) {
        *(look == LOOK_WRONG ? &f->bad : &f->differing) += 1;
        finding(f, &k, server, what);
    }
    return 0;
}

static int check_chunk(void *owner, const struct chunk_state *k)
{
    struct check *f = owner;
    f->short_of_copies += k->good < k->wanted;
    f->lost += k->lost;
    if (k->good < k->wanted && !f->as_json) {
        print_copies(k);
    }
    return f->compare ? compare_chunk(f, k) : 0;
}

static void fsck_print(struct check *f, uint64_t looked)
{
    char size[SIZE_TEXT];
    if (f->as_json) {
        json_close(&f->j, ']');
        json_u64(&f->j, "looked_at", looked);
        json_u64(&f->j, "short_of_copies", f->short_of_copies);
        json_u64(&f->j, "lost", f->lost);
        json_u64(&f->j, "compared", f->chunks);
        json_u64(&f->j, "replicas", f->replicas);
        json_u64(&f->j, "bytes", f->bytes);
        json_u64(&f->j, "bad", f->bad);
        json_u64(&f->j, "differing", f->differing);
        json_close(&f->j, '}');
        putchar('\n');
        return;
    }
    printf("%" PRIu64 " chunks: %" PRIu64 " short of copies, %" PRIu64 " of them lost\n", looked,
           f->short_of_copies, f->lost);
    if (f->compare) {
        printf("%" PRIu64 " replicas of %" PRIu64 " chunks read and compared (%s): %" PRIu64
               " chunks bad, %" PRIu64 " differing\n",
               f->replicas, f->chunks, bytes_text(f->bytes, size), f->bad, f->differing);
    }
}

int cmd_fsck(struct call *c)
{
    struct check *f = mem_new(struct check);
    uint64_t looked = 0;
    f->master = c->session;
    f->as_json = c->json;
    f->compare = take_option(c, "--compare");
    if (c->argc != 0) {
        mem_free(f);
        return EXIT_USAGE;
    }
    if (f->as_json) {
        json_open(&f->j, '{');
        json_key(&f->j, "findings");
        json_open(&f->j, '[');
    }
    struct chunk_list_req ask = {.whole = f->compare};
    int code = walk(c->session, ask, "fsck", &looked, check_chunk, f);
    fsck_print(f, looked);
    if (f->short_of_copies + f->bad + f->differing > 0) {
        code = EXIT_FAILED;
    }
    for (uint32_t i = 0; i <= SERVERS_MAX; i++) {
        if (f->servers[i] != NULL) {
            session_free(f->servers[i]);
        }
    }
    mem_free(f);
    return code;
}
