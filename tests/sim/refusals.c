/* refusals.c - what operators ask by mistake. */
#include "tests/sim/refusals.h"

#include "shared/base/limits.h"

#include <string.h>

/* Numbers that nothing was given. */
#define NO_INODE (1ull << 55)
enum { NO_SERVER = 900, MANY_INODES = 1025 };

static struct refusal bad_server(struct sim_rand *r)
{
    static const struct {
        uint32_t server, action;
        uint64_t duration_ms;
        int status;
    } rows[] = {{0, SERVER_DRAIN, 0, -ENOENT},
                {NO_SERVER, SERVER_UNDRAIN, 0, -ENOENT},
                {UINT32_MAX, SERVER_MAINTENANCE, 1000, -ENOENT},
                {1, 0, 0, -EINVAL},
                {1, SERVER_MAINTENANCE + 1, 0, -EINVAL},
                {1, SERVER_MAINTENANCE, UINT64_MAX, -EINVAL}};
    uint64_t i = sim_below(r, COUNT_OF(rows));
    struct server_set_req req = {
        .server = rows[i].server, .action = rows[i].action, .duration_ms = rows[i].duration_ms};
    return (struct refusal){OP_server_set, RPC_BODY(server_set_req, &req), rows[i].status};
}

static struct refusal bad_scan(struct sim_rand *r)
{
    struct scrub_now_req req = {.server = sim_chance(r, 1, 2) ? 0 : NO_SERVER};
    return (struct refusal){OP_scrub_now, RPC_BODY(scrub_now_req, &req), -ENOENT};
}

static struct refusal bad_replicas(struct sim_rand *r)
{
    struct writer w;
    uint64_t ino = NO_INODE;
    bool many = sim_chance(r, 1, 2);
    writer_init(&w);
    for (uint32_t i = 0; i < (many ? MANY_INODES : 1); i++) {
        enc_u64(&w, &ino);
    }
    struct replicas_set_req req = {.inodes = writer_bytes(&w),
                                   .replicas = many ? 0 : REPLICAS_MAX + 1};
    struct slice body = RPC_BODY(replicas_set_req, &req);
    writer_free(&w);
    return (struct refusal){OP_replicas_set, body, -EINVAL};
}

static struct refusal bad_chunk_list(struct sim_rand *r)
{
    struct chunk_list_req req = {.ino = NO_INODE, .count = 1, .one_file = true};
    int status = -ENOENT;
    if (sim_chance(r, 2, 3)) {
        req.count = sim_chance(r, 1, 2) ? 0 : LOCATE_COUNT_MAX + 1;
        status = ERR_PROTOCOL;
    }
    return (struct refusal){OP_chunk_list, RPC_BODY(chunk_list_req, &req), status};
}

static struct refusal bad_path(struct sim_rand *r)
{
    static uint8_t letters[NAME_LEN_MAX + 1];
    struct path_resolve_req req = {0};
    int status = -ENOENT;
    memset(letters, 'x', sizeof(letters));
    switch (sim_below(r, 3)) {
    case 0:
        req.path = bytes_str("/nowhere/x");
        break;
    case 1:
        req.path = bytes_of(letters, sizeof(letters));
        status = -ENAMETOOLONG;
        break;
    default:
        req.ino = NO_INODE;
        break;
    }
    return (struct refusal){OP_path_resolve, RPC_BODY(path_resolve_req, &req), status};
}

/* One whose body cannot be read. */
static struct refusal unreadable(struct sim_rand *r)
{
    static const enum op_code ops[] = {
        OP_server_set,   OP_scrub_now,  OP_trash_list,   OP_trash_restore, OP_trash_purge,
        OP_replicas_set, OP_chunk_list, OP_path_resolve, OP_replicas_get,  OP_readdir};
    struct writer w;
    writer_init(&w);
    writer_raw(&w, "\xc1", 1);
    return (struct refusal){ops[sim_below(r, COUNT_OF(ops))], writer_take(&w), ERR_PROTOCOL};
}

struct refusal refusal_draw(struct sim_rand *r)
{
    struct replicas_get_req none = {.ino = NO_INODE};
    switch (sim_below(r, 7)) {
    case 0:
        return bad_server(r);
    case 1:
        return bad_scan(r);
    case 2:
        return bad_replicas(r);
    case 3:
        return bad_chunk_list(r);
    case 4:
        return bad_path(r);
    case 5:
        return (struct refusal){OP_replicas_get, RPC_BODY(replicas_get_req, &none), -ENOENT};
    default:
        return unreadable(r);
    }
}
