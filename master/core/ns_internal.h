/* ns_internal.h - what the parts of the namespace share.
 *
 * Each operation has a function per phase, named after it: query_x, prepare_x, apply_x, declared
 * here from the tables and called by ns_dispatch.c. Queries and prepare run in a `struct look`,
 * which notes what was looked at; apply runs in a `struct change`, which notes what was changed.
 *
 * Rows that do not decode, and records that do not fit the state, end the process (env_die): the
 * environment is damaged.
 */
#ifndef MASTER_CORE_NS_INTERNAL_H
#define MASTER_CORE_NS_INTERNAL_H

#include "master/core/chunk_row.h"
#include "master/core/dirent.h"
#include "master/core/inode.h"
#include "master/core/ns.h"
#include "master/core/row_key.h"
#include "shared/base/hmap.h"
#include "shared/base/list.h"

enum {
    NS_CHANGED_SLOTS = 4096,
    /* Growth is refused below this much room; what frees space may use it. */
    NS_RESERVE_BYTES = 16 << 20,
    INODES_LOOKED_AT = 8, /* one after the other that have no chunk 0, before the loop turns */
    SLICE_CHUNKS = 1024,  /* most chunks of a file that one record removes with it */
    PATH_DEPTH_MAX = 1024,
};
#define NS_LINK_MAX ((uint32_t)INT32_MAX) /* names of a file; 2 + subdirectories of a directory */
#define NS_SIZE_MAX ((uint64_t)INT64_MAX)

struct ns {
    struct env *env;
    struct store *store;
    struct geometry geo;
    struct ns_decider decider;
    /* Kept in TABLE_META (ns_before_commit), not part of the state hash: they follow from the
     * records. */
    uint64_t next_ino;
    uint64_t next_handle;
    uint64_t next_session;
    uint32_t next_server;
    uint64_t chunks;
    uint64_t trash_bytes; /* of all rows of TABLE_TRASH */
    /* Index of the newest record that changed an inode, by hash of its number. */
    uint64_t changed[NS_CHANGED_SLOTS];
    uint64_t epoch_start; /* index of the newest record that began an epoch */
    struct list news;     /* struct session_news: what ns_replies.c has not put into rows yet */
    struct hmap news_by_session;
};

/* ---------------------------------------------------------------- reading */

struct look {
    struct ns *ns;
    struct writer *scratch;
    uint64_t session; /* who asks */
    uint64_t depends; /* newest change of anything looked at */
};

/* An inode, or a directory (-ENOTDIR): 0 or -ENOENT. Also on failure the answer depends on the
 * inode. */
MUST_CHECK int look_inode(struct look *l, uint64_t ino, struct inode *out);
MUST_CHECK int look_dir(struct look *l, uint64_t ino, struct inode *out);
/* A regular file; -EISDIR, -EINVAL for others. */
MUST_CHECK int look_file(struct look *l, uint64_t ino, struct inode *out);
/* Entry of a directory that exists: 0, -ENOENT, -ENAMETOOLONG. */
MUST_CHECK int look_entry(struct look *l, uint64_t parent, struct bytes name,
                          struct dirent_row *out);
/* 0 if an entry `name` can be made in `parent` and the store may grow, else the status to answer.
 */
MUST_CHECK int look_new_entry(struct look *l, uint64_t parent, struct bytes name,
                              struct inode *out_parent);
/* 0, or -ENOSPC if the store should not grow. */
MUST_CHECK int look_room(struct look *l);
/* Sessions that hold `in` open, if it is about to lose its last name; else an empty list. */
struct bytes look_holders(struct look *l, const struct inode *in);

/* Seconds in the trash for what the asking session removes, if `in` is about to lose its last name
 * and is of a kind that goes there: regular files and directories. */
uint32_t look_trash(struct look *l, const struct inode *in);

/* The same without a look: 0 or -ENOENT. */
MUST_CHECK int inode_load(struct ns *ns, uint64_t ino, struct inode *out);
MUST_CHECK int entry_load(struct ns *ns, uint64_t parent, struct bytes name, struct dirent_row *out,
                          uint64_t *out_free);
struct attr attr_of(struct ns *ns, const struct inode *in);

/* ---------------------------------------------------------------- changing */

struct change {
    struct ns *ns;
    const struct record *record;
    struct stamp now; /* the record's time */
    struct writer *scratch;
    bool aside; /* replicas of chunks that this record removes are kept aside for a while */
};

void inode_save(struct change *c, const struct inode *in);
/* The same for what no answer shows: answers about the inode need not wait for the record. */
void inode_save_unseen(struct change *c, const struct inode *in);
/* The inode's row, chunks (to garbage), extended attributes and target go. */
void inode_remove(struct change *c, struct inode *in);
/* inode_remove, or, if its chunks are too many for one record, a row that has them removed by and
 * by. Nothing holds it. */
void inode_drop(struct change *c, struct inode *in);
/* What a name was. */
struct lost_name {
    uint64_t parent;
    struct bytes name;
    uint32_t trash; /* seconds to stay in the trash; 0 = none */
};
/* One name less, at this time. The inode is saved; with no name left it stays only in the trash, or
 * while a session of `holders` (u64 list) holds it. */
void inode_unlink(struct change *c, struct inode *in, struct bytes holders,
                  const struct lost_name *was);
/* An empty directory lost its entry: to the trash, or away. */
void dir_unlink(struct change *c, struct inode *dir, const struct lost_name *was);
/* Notes the sessions of the list (u64) that exist as holders of the inode; false if there is none.
 */
bool orphan_keep(struct change *c, uint64_t ino, struct bytes holders);
/* The session holds the inode no longer; with its last holder an inode without a name goes. */
void orphan_release(struct change *c, uint64_t ino, uint64_t session);
bool orphan_held(struct ns *ns, uint64_t ino);
/* It has a name again: nobody holds it as an orphan. */
void orphan_forget(struct change *c, uint64_t ino);

/* The inode, about to be saved without a name, gets a row in the trash. */
void trash_put(struct change *c, struct inode *in, const struct lost_name *was);
/* The removed file's chunks go by and by. */
void trash_doom(struct change *c, struct inode *in);
/* A row of TABLE_TRASH, without what the inode says: 0 or ERR_CORRUPT. */
MUST_CHECK int trash_unpack(struct bytes key, struct bytes value, struct ns_trash *out);
/* Takes the row of the inode, or its doom, away. */
void trash_take(struct change *c, struct inode *in);
/* Removes the set-user-ID bit, and the set-group-ID bit of what its group may execute; not of a
 * directory. */
void inode_clear_suid(struct inode *in);
/* mtime and ctime become the record's. */
void inode_touch(struct change *c, struct inode *in);
void ns_note_changed(struct change *c, uint64_t ino);
void xattrs_remove(struct change *c, struct inode *in);

/* Adds (name -> target), which is not there, to the directory, whose entry count, times and nlink
 * change but are not saved. */
void entry_add(struct change *c, struct inode *dir, struct bytes name, const struct inode *target);
/* The same without a look: the inode, or directory, that the record names. */
struct inode fitting_inode(struct change *c, uint64_t ino);
struct inode fitting_dir(struct change *c, uint64_t ino);
struct inode fitting_file(struct change *c, uint64_t ino);
/* Its entry. */
struct dirent_row fitting_entry(struct change *c, uint64_t dir, struct bytes name);
/* Takes the entry out of the directory; nlink falls if it is a subdirectory's. */
void entry_remove(struct change *c, struct inode *dir, const struct dirent_row *d);

/* ---------------------------------------------------------------- chunks of a file */

/* Positions of a file that begin below `size`. */
uint64_t chunks_below(const struct ns *ns, uint64_t size);
/* Chunk `number` of the file: 0 or -ENOENT. */
MUST_CHECK int chunk_load(struct ns *ns, const struct inode *in, uint64_t number,
                          struct ns_chunk *out);
/* First chunk of the file at or after `number`. */
MUST_CHECK int chunk_seek(struct ns *ns, const struct inode *in, uint64_t number,
                          struct ns_chunk *out);
/* Adds a chunk that does not exist; counters of *in change, the caller saves it. */
void chunk_add(struct change *c, struct inode *in, const struct ns_chunk *k);
/* Replaces `old` (as loaded) by `k` of the same number. */
void chunk_replace(struct change *c, struct inode *in, const struct ns_chunk *old,
                   const struct ns_chunk *k);
/* Removes chunks that begin at or beyond `size`, and trims the one that `size` cuts. */
void chunks_cut(struct change *c, struct inode *in, uint64_t size);
/* Every chunk that begins below `end` is bound. */
void chunks_bind(struct change *c, struct inode *in, uint64_t end);
/* Of those, the ones that were synced; the list is extend's. */
void chunks_synced(struct change *c, struct inode *in, struct bytes synced);
/* Sets in->size to a larger one. */
void chunks_grow(struct change *c, struct inode *in, uint64_t size);
void chunks_remove_all(struct change *c, struct inode *in);
/* At most `count` of them. */
void chunks_remove_some(struct change *c, struct inode *in, uint32_t count);
/* Its chunks. */
uint64_t chunks_of(const struct inode *in);
/* Server ids of a list: their number, at most REPLICAS_MAX. */
uint32_t member_ids(struct bytes list, uint32_t out[REPLICAS_MAX]);
/* A chunk for an answer, without a primary. Its members are appended to `w`, and must not be
 * followed by more while the result is used. */
struct chunk chunk_answer(struct ns *ns, const struct ns_chunk *k, struct writer *w);

/* ---------------------------------------------------------------- replicas of a file */

#define REPLICAS_NAME "user.gfs.replicas"
static inline bool is_replicas_name(struct bytes name)
{
    return bytes_equal(name, bytes_str(REPLICAS_NAME));
}
/* A decimal number 0..REPLICAS_MAX; 0 = none of its own. */
bool replicas_parse(struct bytes value, uint32_t *out);
/* Its own number as text, written to scratch; -ENODATA if it has none. */
MUST_CHECK int replicas_value(struct look *l, const struct inode *in, struct bytes *out);
/* 0, or why the number cannot be set: -EINVAL, -EPERM (no file or directory), -EEXIST, -ENODATA. */
MUST_CHECK int prepare_replicas(const struct inode *in, const struct setxattr_rec *rec);
/* Sets it, if the inode is there and may have one. */
void replicas_change(struct change *c, uint64_t ino, uint32_t replicas);

/* ---------------------------------------------------------------- sessions */

/* 0 and the session of that nonce, or -ENOENT. */
MUST_CHECK int session_of_nonce(struct ns *ns, uint64_t nonce, uint64_t *out);
/* The session, if it exists, has the file open for writing. *in changes, the caller saves it. */
void writer_add(struct change *c, struct inode *in, uint64_t session);
/* The session has the file open no longer. `died`: it may have left bytes beyond the size; they are
 * cut off at once, or when the last other writer leaves. */
void writer_remove(struct change *c, uint64_t session, uint64_t ino, bool died);
/* The session ends: as writer_remove of all it has open for writing. */
void writers_end(struct change *c, uint64_t session);
/* The inode goes: its rows too. */
void writers_drop(struct change *c, struct inode *in);
struct session_row {
    uint64_t session;
    uint64_t nonce;
    uint64_t acked; /* answers of lower or equal sequences were dropped */
    struct bytes host;
    uint32_t trash; /* seconds + 1; 0 = the cluster's */
};
/* The session's row: 0 or -ENOENT. `acked` may be older than what ns_replies.c knows. */
MUST_CHECK int session_load(struct ns *ns, uint64_t session, struct session_row *out);
MUST_CHECK int session_unpack(struct bytes key, struct bytes value, struct session_row *out);
void session_save(struct ns *ns, const struct session_row *s);

/* ---------------------------------------------------------------- answers kept (ns_replies.c) */

void replies_init(struct ns *ns);
void replies_close(struct ns *ns);
/* Keeps the answer of a mutation for a retry, and drops those the client has. */
void reply_keep(struct change *c, struct bytes reply);
/* The session ends: nobody will ask for its answers. */
void replies_end(struct ns *ns, uint64_t session);
/* What is in memory goes into the rows. */
void replies_settle(struct ns *ns);

/* A row of TABLE_SERVER: 0 or ERR_CORRUPT. */
MUST_CHECK int server_unpack(struct bytes key, struct bytes value, struct server *out,
                             uint64_t *out_disk, struct server_state_rec *out_state);

_Noreturn void ns_damaged(struct ns *ns, const char *table);
/* A row of the table is as it was put. */
#define ROW_IS(ns, table, x) ((x) ? (void)0 : ns_damaged((ns), (table)))

/* The record fits the state: what was seen by whoever decided it is so still, here and at a replay. If
 * not, the state is not what the log made, and the process ends. */
#define FITS(c, x) ((x) ? (void)0 : ns_misfit((c), #x))
_Noreturn void ns_misfit(const struct change *c, const char *what);

/* ---------------------------------------------------------------- operations */

/* Queries the namespace answers; the others are the service's. */
#define NS_QUERIES(X)                                                                              \
    X(lookup)                                                                                      \
    X(getattr)                                                                                     \
    X(readlink) X(readdir) X(getxattr) X(listxattr) X(next_chunk) X(path_resolve)

#define DECLARE_QUERY(name)                                                                        \
    int query_##name(struct look *l, const struct name##_req *req, struct name##_rep *rep);
NS_QUERIES(DECLARE_QUERY)
#undef DECLARE_QUERY

/* prepare_x finds the IN fields of *rec filled in and decides the rest. apply_x finds *rep zeroed.
 * Nothing is applied between the two. */
#define DECLARE_QUERY(name)
#define DECLARE_CONTROL(name)
#define DECLARE_RECORD(name) void apply_##name(struct change *c, const struct name##_rec *rec);
#define DECLARE_MUTATION(name)                                                                     \
    int prepare_##name(struct look *l, struct name##_rec *rec);                                    \
    void apply_##name(struct change *c, const struct name##_rec *rec, struct name##_rep *rep);
#define OP(name, code, class, doc) DECLARE_##class(name)
#include "shared/proto/ops.def"
#undef DECLARE_QUERY
#undef DECLARE_CONTROL
#undef DECLARE_RECORD
#undef DECLARE_MUTATION

#endif
