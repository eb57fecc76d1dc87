/* ns.h - the namespace: inodes, dirents, chunks of files, sessions, the reply table; every
 * operation's query, or prepare and apply.
 *
 * prepare reads the state and decides everything (numbers, handles, servers): it may fail and
 * changes nothing. apply changes the state from a record alone and cannot fail; it is the same
 * function live, on replay and in tests, so its result depends only on the state and the record.
 * Times come from the record.
 *
 * Rows are packed with varints; formats stand at the top of inode.h, dirent.h, chunk_row.h,
 * ns_session.c and ns_writers.c. Pure; loop thread only.
 *
 * Invariants (ns_audit): every dirent's inode exists; nlink of a file = its dirents, of a directory
 * = 2 + its subdirectories; a directory's size = its entries; an inode with nlink 0 has an orphan
 * row, stands in the trash, or waits for its chunks to be removed; a row of who has what open for
 * writing names a session and a file that exist; chunk rows belong to regular files, and none that
 * a size commit bound begins at or beyond the size; counters match.
 *
 * An empty store has no root: the first epoch_start record makes it.
 */
#ifndef MASTER_CORE_NS_H
#define MASTER_CORE_NS_H

#include "master/core/record.h"
#include "master/core/store.h"
#include "shared/base/geometry.h"
#include "shared/proto/schema.h"

/* What prepare must ask the volatile side of the master (service of chunkservers and sessions). */
struct ns_decider {
    /* Servers for a new chunk of a file that wants `wanted` replicas (0 = the cluster's default),
     * the primary first: count >= 0 (0 = none is up), or -ENOSPC. */
    int (*choose_members)(void *owner, uint32_t wanted, uint32_t *out_ids, uint32_t max);
    /* Sessions that hold (or, not yet re-attached, may hold) the inode open: appended as u64 to w. */
    void (*holders)(void *owner, uint64_t ino, struct writer *w);
    /* Next chunk version: above `old` and of the current epoch: max(old + 1, epoch << 32 | 1). */
    uint64_t (*next_version)(void *owner, uint64_t old);
    void *owner;
    uint32_t
        trash_s; /* what loses its last name stays so long in the trash, unless its session says
                         otherwise; seconds, 0 = not at all */
};

struct ns;

struct ns *ns_create(struct env *env, struct store *store, const struct geometry *geo,
                     const struct ns_decider *decider);
void ns_destroy(struct ns *ns);

/* Reads op's answer. Views in *rep point into the store or `scratch` (reset by the caller) and are
 * valid until the next apply. *out_depends: the index of the newest record that changed what was
 * read: the answer must wait until it is committed. Returns 0 or the answer's status. For class
 * QUERY but open, statfs, status, which the service answers. */
MUST_CHECK int ns_query(struct ns *ns, enum op_code op, const union op_any *req,
                        struct writer *scratch, union op_any *rep, uint64_t *out_depends);

/* Decides: 0 and *rec, or the status to answer. `session`: who asks, 0 = nobody. *out_depends as
 * above, also on failure (a refusal may depend on an uncommitted record). Views in *rec point into
 * *req or scratch. */
MUST_CHECK int ns_prepare(struct ns *ns, enum op_code op, uint64_t session, const union op_any *req,
                          struct writer *scratch, union op_any *rec, uint64_t *out_depends);

/* Applies a record (its body already decoded into *rec) and makes the answer. For a MUTATION with
 * sequence > 0 the encoded answer is stored in the session's reply table and sequences <= r->acked
 * are dropped from it. A record whose effect does not apply any more (its chunk is gone) does
 * nothing. */
void ns_apply(struct ns *ns, const struct record *r, const union op_any *rec,
              struct writer *scratch, union op_any *rep);
/* Decode and apply a record from the log. 0, or ERR_CORRUPT (undecodable; a state_hash record that
 * differs). */
MUST_CHECK int ns_apply_record(struct ns *ns, const struct record *r, struct why *why);

/* Stored answer of (session, sequence): 0 and the encoded reply body, -ENOENT if not applied,
 * -ESTALE if it was acknowledged and dropped, ERR_NO_SESSION. */
MUST_CHECK int ns_reply_find(struct ns *ns, uint64_t session, uint64_t sequence, struct bytes *out);
bool ns_session_exists(struct ns *ns, uint64_t session);
/* Calls each(owner, id, host) for every session, in order of id. */
void ns_sessions(struct ns *ns, void (*each)(void *owner, uint64_t session, struct bytes host),
                 void *owner);

/* Last index whose change concerns `ino` (or any inode sharing its slot): for answers made outside
 * ns. What changed before this process is not known: so no primary tells an index of before its epoch. Who
 * hears of a change in an answer must not be told a lower one later (`known` of a write). */
uint64_t ns_changed_at(const struct ns *ns, uint64_t ino);

/* A chunk as its row has it. */
struct ns_chunk {
    uint64_t ino, number, handle, version;
    uint32_t trim;     /* NO_TRIM = none */
    uint32_t trim_set; /* low bits of its record's index, never 0; 0 = not known, or none */
    bool fresh; /* version is the first, and no sync was told: replicas may be made anew, empty */
    bool bound; /* a size commit or a later version vouches for it: a missing replica is a loss */
    uint64_t doubt; /* last version made of replicas that may have lost writes; 0 = none */
    uint32_t members[REPLICAS_MAX];
    uint32_t member_count;
    uint8_t wanted; /* replicas its file wants, 0 = the cluster's default; not part of the row */
};
static inline bool ns_is_member(const struct ns_chunk *row, uint32_t server)
{
    for (uint32_t i = 0; i < row->member_count; i++) {
        if (row->members[i] == server) {
            return true;
        }
    }
    return false;
}
MUST_CHECK int ns_chunk_get(struct ns *ns, uint64_t ino, uint64_t number, struct ns_chunk *out);
/* First chunk at or after (ino, number) in row order: 0 or -ENOENT; -EAGAIN: there is none among a
 * good many inodes, and the search goes on at (out->ino, 0). For scans and for merging reports. */
MUST_CHECK int ns_chunk_next(struct ns *ns, uint64_t ino, uint64_t number, struct ns_chunk *out);
/* A walk over the rows. Its look is ns_chunk_next; after -EAGAIN it has come nearer. */
struct ns_chunk_walk {
    uint64_t ino, number;
};
MUST_CHECK int ns_chunk_look(struct ns *ns, struct ns_chunk_walk *w, struct ns_chunk *out);
/* Beyond that row. */
static inline void ns_chunk_pass(struct ns_chunk_walk *w, const struct ns_chunk *row)
{
    w->ino = row->number == UINT64_MAX ? row->ino + 1 : row->ino;
    w->number = row->number + 1;
}
/* The same within one file: 0 or -ENOENT. */
MUST_CHECK int ns_file_chunk_next(struct ns *ns, uint64_t ino, uint64_t number,
                                  struct ns_chunk *out);
/* Cutting the file at `size` would remove more chunks than one record should: true, and *out_size
 * is where to cut it first. */
bool ns_cut_first(struct ns *ns, uint64_t ino, uint64_t size, uint64_t *out_size);
/* First garbage replica at or after (handle, server): 0 or -ENOENT. */
MUST_CHECK int ns_garbage_next(struct ns *ns, uint64_t handle, uint32_t server,
                               uint64_t *out_handle, uint32_t *out_server);
/* A record named the replica, and its server has not confirmed yet that it is gone. */
bool ns_garbage_has(struct ns *ns, uint64_t handle, uint32_t server);
/* The replica is to be kept aside for a while by its server. */
bool ns_garbage_aside(struct ns *ns, uint64_t handle, uint32_t server);

/* Something in the trash, or (expires 0) a removed file whose chunks are still to be removed. */
struct ns_trash {
    uint64_t expires; /* seconds since 1970 */
    uint64_t ino;
    int64_t deleted; /* seconds since 1970 */
    uint64_t parent;
    uint64_t bytes;  /* of its chunks, one replica counted, when it was deleted */
    uint64_t chunks; /* of its inode, now */
    uint64_t size;
    uint32_t mode;
    struct bytes name; /* a view: valid until the next change */
};
/* First row at or after (expires, ino): 0 or -ENOENT. */
MUST_CHECK int ns_trash_next(struct ns *ns, uint64_t expires, uint64_t ino, struct ns_trash *out);
/* The row of an inode: 0, or -ENOENT if it is not in the trash. */
MUST_CHECK int ns_trash_get(struct ns *ns, uint64_t ino, struct ns_trash *out);
/* The next record that brings the inode back to (parent, name), or with parent 0 to where it was:
 * first its directories, if they are in the trash, then itself; *out_last says that this one is it.
 * Views in *rec are in `scratch`. -ENOENT; -EEXIST; -ESTALE: its directory is gone; -ENOTDIR;
 * -ENAMETOOLONG: too deep. */
MUST_CHECK int ns_trash_return(struct ns *ns, uint64_t ino, uint64_t parent, struct bytes name,
                               struct writer *scratch, union op_any *rec, bool *out_last);

/* Appends "/a/b/name" to w; directories that are gone stand as "(gone)". */
void ns_path(struct ns *ns, uint64_t parent, struct bytes name, struct writer *w);
/* The inode at a path from the root; with out_name only its directory, and its last name is left:
 * 0, -ENOENT, -ENOTDIR, -EINVAL (no name is left), -ENAMETOOLONG. */
MUST_CHECK int ns_path_find(struct ns *ns, struct bytes path, uint64_t *out_ino,
                            struct bytes *out_name);
/* First orphan hold at or after (ino, session). */
MUST_CHECK int ns_orphan_next(struct ns *ns, uint64_t ino, uint64_t session, uint64_t *out_ino,
                              uint64_t *out_session);
/* Replicas that chunks of this file should have: 0 = the cluster's default, or no such file. */
uint32_t ns_wanted(struct ns *ns, uint64_t ino);
/* Whether a record says that the session has the inode open for writing. */
bool ns_writer_exists(struct ns *ns, uint64_t session, uint64_t ino);
/* First (session, inode) open for writing at or after this one: 0 or -ENOENT. */
MUST_CHECK int ns_writer_next(struct ns *ns, uint64_t session, uint64_t ino, uint64_t *out_session,
                              uint64_t *out_ino);
/* -ENOSPC if the state should not grow, else 0. */
MUST_CHECK int ns_room(struct ns *ns);
/* Attributes of an inode: 0 or -ENOENT, also if only the trash has it. */
MUST_CHECK int ns_attr(struct ns *ns, uint64_t ino, struct attr *out);

/* Servers that ever joined. 0 or -ENOENT. Views as store_get. */
MUST_CHECK int ns_server_next(struct ns *ns, uint32_t id, struct server *out, uint64_t *out_disk);
/* What was logged about it last; all zero if nothing was. 0 or -ENOENT. */
MUST_CHECK int ns_server_state(struct ns *ns, uint32_t id, struct server_state_rec *out);
uint32_t ns_next_server_id(const struct ns *ns);

struct ns_counts {
    uint64_t inodes, chunks, sessions, garbage;
    uint64_t trash, trash_bytes; /* inodes in the trash, those being removed included */
    uint64_t next_ino, next_handle;
};
struct ns_counts ns_counts(const struct ns *ns);
/* Handle a new chunk gets; a chunk_new record made with it takes it. */
uint64_t ns_next_handle(const struct ns *ns);

/* Below this much room growth is refused. */
uint64_t ns_reserve_bytes(void);

/* Puts into rows what is kept beside them, and the counters into TABLE_META; call before every
 * store_commit. */
void ns_before_commit(struct ns *ns);
/* Hash of all rows but TABLE_META's: the same on every master that applied the same records. */
uint64_t ns_hash(struct ns *ns);

/* Checks the whole state (slow: tests, simulator, audit). 0 or ERR_CORRUPT with the first finding.
 */
MUST_CHECK int ns_audit(struct ns *ns, struct why *why);

#endif
