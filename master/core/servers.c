/* servers.c - the chunkservers as this master sees them. */
#include "master/core/servers.h"
#include "shared/base/mem.h"

enum { LOAD_MS = 10000, LOAD_IDLE = 1 << 20 };

void servers_close(struct servers *ss)
{
    for (uint32_t id = 1; id <= ss->highest; id++) {
        rpc_cancel(&ss->by_id[id]->drop_call);
        mem_free(ss->by_id[id]);
        ss->by_id[id] = NULL;
    }
    ss->highest = 0;
}

struct chunkserver *servers_find(const struct servers *ss, uint32_t id)
{
    return id <= SERVERS_MAX ? ss->by_id[id] : NULL;
}

struct chunkserver *servers_get(const struct servers *ss, uint32_t id)
{
    ASSERT(id > 0 && id <= ss->highest);
    return ss->by_id[id];
}

struct chunkserver *servers_by_disk(const struct servers *ss, uint64_t disk)
{
    for (uint32_t id = 1; id <= ss->highest; id++) {
        if (ss->by_id[id]->disk == disk) {
            return ss->by_id[id];
        }
    }
    return NULL;
}

static void copy_text(char *out, size_t size, struct bytes text)
{
    size_t n = MIN(text.len, size - 1);
    if (n > 0) {
        memcpy(out, text.data, n);
    }
    out[n] = 0;
}

struct chunkserver *servers_put(struct servers *ss, uint64_t disk, const struct server *row)
{
    ASSERT(row->id > 0 && row->id <= SERVERS_MAX && row->id <= ss->highest + 1);
    if (row->id > ss->highest) {
        ss->by_id[++ss->highest] = mem_new(struct chunkserver);
    }
    struct chunkserver *s = ss->by_id[row->id];
    s->id = row->id;
    s->disk = disk;
    copy_text(s->addr, sizeof(s->addr), row->addr);
    copy_text(s->host, sizeof(s->host), row->host);
    copy_text(s->rack, sizeof(s->rack), row->rack);
    return s;
}

bool servers_differs(const struct chunkserver *s, const struct server *row)
{
    return !bytes_equal(bytes_str(s->addr), row->addr) ||
           !bytes_equal(bytes_str(s->host), row->host) ||
           !bytes_equal(bytes_str(s->rack), row->rack);
}

bool server_alive(const struct chunkserver *s, uint64_t now_ns)
{
    return s->peer != NULL && s->beating && now_ns < s->lease_until_ns;
}

bool server_leaving(const struct chunkserver *s)
{
    return s->draining || s->failing;
}

bool server_in_maintenance(const struct chunkserver *s, uint64_t now_ns)
{
    return now_ns < s->maintenance_until_ns;
}

bool server_has_room(const struct chunkserver *s, const struct geometry *geo)
{
    /* What is free must hold a chunk, but a small disk may be filled to its last part. */
    uint64_t reserve = MIN((uint64_t)geo->chunk_bytes, s->total / 64);
    return !s->full && s->avail > reserve;
}

uint32_t servers_alive(const struct servers *ss, uint64_t now_ns, bool leaving)
{
    uint32_t n = 0;
    for (uint32_t id = 1; id <= ss->highest; id++) {
        const struct chunkserver *s = ss->by_id[id];
        n += server_alive(s, now_ns) && (leaving || !server_leaving(s));
    }
    return n;
}

bool servers_all_reported(const struct servers *ss)
{
    for (uint32_t id = 1; id <= ss->highest; id++) {
        if (!ss->by_id[id]->reported) {
            return false;
        }
    }
    return true;
}

uint32_t servers_staying(const struct servers *ss)
{
    uint32_t n = 0;
    for (uint32_t id = 1; id <= ss->highest; id++) {
        n += !server_leaving(ss->by_id[id]);
    }
    return n;
}

struct server server_as_field(const struct chunkserver *s)
{
    return (struct server){.id = s->id,
                           .addr = bytes_str(s->addr),
                           .host = bytes_str(s->host),
                           .rack = bytes_str(s->rack)};
}

struct placement_server server_as_candidate(const struct chunkserver *s)
{
    return (struct placement_server){.id = s->id,
                                     .host = bytes_str(s->host),
                                     .rack = bytes_str(s->rack),
                                     .avail = s->avail,
                                     .total = s->total,
                                     .slow = s->slow};
}

void server_note_load(struct chunkserver *s, uint64_t now_ns, uint64_t bytes)
{
    uint64_t passed_ms = s->heartbeat_ns == 0 ? 0 : (now_ns - s->heartbeat_ns) / NS_PER_MS;
    if (passed_ms == 0) {
        return; /* the first one says nothing of a rate */
    }
    uint64_t rate = MIN(bytes, 1ull << 50) * 1000 / passed_ms;
    uint64_t part = MIN(passed_ms, (uint64_t)LOAD_MS);
    s->load = (s->load * (LOAD_MS - part) + MIN(rate, 1ull << 40) * part) / LOAD_MS;
}

/* Loads against their mean; below LOAD_IDLE the mean says nothing. */
static void compare_loads(const struct servers *ss, struct placement_server *all, uint32_t count)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += ss->by_id[all[i].id]->load;
    }
    uint64_t mean = count > 0 ? sum / count : 0;
    for (uint32_t i = 0; i < count && mean >= LOAD_IDLE; i++) {
        all[i].load = (uint32_t)MIN(ss->by_id[all[i].id]->load * 1000 / mean, 1000000ull);
    }
}

uint32_t servers_candidates(const struct servers *ss, uint64_t now_ns, const struct geometry *geo,
                            bool leaving, struct placement_server *out, uint32_t max)
{
    uint32_t n = 0;
    for (uint32_t id = 1; id <= ss->highest && n < max; id++) {
        const struct chunkserver *s = ss->by_id[id];
        if (server_alive(s, now_ns) && server_has_room(s, geo) && (leaving || !server_leaving(s))) {
            out[n++] = server_as_candidate(s);
        }
    }
    compare_loads(ss, out, n);
    return n;
}

uint32_t servers_wanted(const struct servers *ss, const struct geometry *geo, uint32_t wanted)
{
    return MAX(1u, MIN(wanted != 0 ? wanted : geo->replicas, ss->highest));
}
