/* ns_audit.c - checks every row of the state against every other. Slow, and it holds all inodes in
 * memory: for tests, the simulator and an operator's audit.
 *
 * Each table is walked once; what inodes should say of themselves is counted, and compared at the
 * end.
 */
#include "master/core/ns_internal.h"
#include "shared/base/hmap.h"
#include "shared/base/mem.h"

struct audit_inode {
    struct hmap_node node;
    struct inode in;
    uint64_t names;
    uint64_t subdirs;
    uint64_t entries;
    uint64_t rows;
    uint64_t rows_inside;
    uint64_t unbound;
    uint64_t lowest_unbound;
    uint64_t xattr_names;
    uint64_t writers;
    bool has_target;
    bool held;
    bool trashed; /* its row in the trash, or of its removal, was met */
    bool named;   /* its entry has the name the inode has */
    bool reaches_root;
};

struct audit_handle {
    struct hmap_node node;
    uint64_t handle;
};

struct audit {
    struct ns *ns;
    struct why *why;
    int err;
    struct hmap inodes;
    struct hmap handles;
    uint64_t chunks;
    uint64_t trash_bytes;
};

typedef unsigned long long ull;

/* Notes what is wrong; false, so that a walk ends. */
#define FINDING(a, ...) ((a)->err = why_set((a)->why, ERR_CORRUPT, __VA_ARGS__), false)

static struct audit_inode *find_inode(struct audit *a, uint64_t ino)
{
    struct hmap_node *n = hmap_first(&a->inodes, hmap_hash_u64(ino));
    for (; n != NULL; n = hmap_next(n)) {
        struct audit_inode *ai = container_of(n, struct audit_inode, node);
        if (ai->in.ino == ino) {
            return ai;
        }
    }
    return NULL;
}

static bool handle_known(struct audit *a, uint64_t handle)
{
    struct hmap_node *n = hmap_first(&a->handles, hmap_hash_u64(handle));
    for (; n != NULL; n = hmap_next(n)) {
        if (container_of(n, struct audit_handle, node)->handle == handle) {
            return true;
        }
    }
    return false;
}

static bool check_chunk(struct audit *a, const struct audit_inode *ai, const struct ns_chunk *k)
{
    ull ino = ai->in.ino, number = k->number;
    if (!inode_is_file(&ai->in)) {
        return FINDING(a, "inode %llu is no file but has chunk %llu", ino, number);
    }
    if (k->handle == 0 || k->handle >= a->ns->next_handle || handle_known(a, k->handle)) {
        return FINDING(a, "chunk %llu of inode %llu has handle %llu: %s", number, ino,
                       (ull)k->handle,
                       handle_known(a, k->handle) ? "another has it too" : "never given");
    }
    if (k->trim == 0 || (k->trim != NO_TRIM && k->trim >= a->ns->geo.chunk_bytes)) {
        return FINDING(a, "chunk %llu of inode %llu has trim %u", number, ino, k->trim);
    }
    if (k->number >= chunks_below(a->ns, ai->in.size) && k->fresh && k->bound) {
        return FINDING(a, "chunk %llu of inode %llu is bound but lies beyond its size %llu", number,
                       ino, (ull)ai->in.size);
    }
    for (uint32_t i = 0; i < k->member_count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (k->members[i] == k->members[j]) {
                return FINDING(a, "chunk %llu of inode %llu names server %u twice", number, ino,
                               k->members[i]);
            }
        }
    }
    struct audit_handle *h = mem_new(struct audit_handle);
    h->handle = k->handle;
    hmap_add(&a->handles, &h->node, hmap_hash_u64(k->handle));
    a->chunks++;
    return true;
}

/* ---------------------------------------------------------------- rows, table by table */

static bool audit_inode_row(void *owner, struct bytes key, struct bytes value)
{
    struct audit *a = owner;
    uint64_t ino = 0;
    uint8_t again[INODE_ROW_MAX];
    struct audit_inode *ai = mem_new(struct audit_inode);
    if (!row_key_get_u64(key, &ino) || inode_unpack(value, ino, &ai->in) != 0) {
        mem_free(ai);
        return FINDING(a, "the row of inode %llu cannot be decoded", (ull)ino);
    }
    hmap_add(&a->inodes, &ai->node, hmap_hash_u64(ino));
    if (!bytes_equal(bytes_of(again, inode_pack(&ai->in, again)), value)) {
        return FINDING(a, "the row of inode %llu is not packed as it should be", (ull)ino);
    }
    if (ino == 0 || ino >= a->ns->next_ino) {
        return FINDING(a, "inode %llu was never given; the next is %llu", (ull)ino,
                       (ull)a->ns->next_ino);
    }
    if (ai->in.size > NS_SIZE_MAX) {
        return FINDING(a, "inode %llu has size %llu", (ull)ino, (ull)ai->in.size);
    }
    struct ns_chunk k = ai->in.chunk0;
    k.number = 0;
    return !ai->in.has_chunk0 || check_chunk(a, ai, &k);
}

static bool audit_dirent_row(void *owner, struct bytes key, struct bytes value)
{
    struct audit *a = owner;
    struct dirent_row d, found;
    if (dirent_unpack(key, value, &d) != 0) {
        return FINDING(a, "a directory entry cannot be decoded");
    }
    int len = (int)d.name.len;
    const char *name = (const char *)d.name.data;
    struct audit_inode *dir = find_inode(a, d.parent);
    struct audit_inode *target = find_inode(a, d.ino);
    if (dir == NULL || !inode_is_dir(&dir->in)) {
        return FINDING(a, "entry '%.*s' is in inode %llu, which is no directory", len, name,
                       (ull)d.parent);
    }
    if (target == NULL || (target->in.mode & S_IFMT) != d.type) {
        return FINDING(a, "entry '%.*s' of inode %llu names inode %llu: %s", len, name,
                       (ull)d.parent, (ull)d.ino, target ? "of another type" : "does not exist");
    }
    if (dirent_find(a->ns->store, d.parent, d.name, &found, NULL) != 0 ||
        found.cookie != d.cookie) {
        return FINDING(a, "entry '%.*s' of inode %llu is not found by its name", len, name,
                       (ull)d.parent);
    }
    dir->entries++;
    target->names++;
    if (d.type == S_IFDIR) {
        dir->subdirs++;
        target->named = bytes_equal(d.name, bytes_of(target->in.name, target->in.name_len));
        if (target->in.parent != d.parent) {
            return FINDING(a, "directory %llu is in %llu but says it is in %llu", (ull)d.ino,
                           (ull)d.parent, (ull)target->in.parent);
        }
    }
    return true;
}

static bool audit_chunk_row(void *owner, struct bytes key, struct bytes value)
{
    struct audit *a = owner;
    struct ns_chunk k;
    struct byte_reader r = byte_reader_of(value);
    chunk_row_unpack(&r, &k);
    if (!row_key_get_pair(key, &k.ino, &k.number) || r.bad || byte_reader_left(&r) != 0) {
        return FINDING(a, "a chunk row cannot be decoded");
    }
    struct audit_inode *ai = find_inode(a, k.ino);
    if (ai == NULL || k.number == 0) {
        return FINDING(a, "chunk %llu of inode %llu has no place", (ull)k.number, (ull)k.ino);
    }
    ai->rows++;
    ai->rows_inside += k.number < chunks_below(a->ns, ai->in.size);
    if (!k.bound) {
        if (ai->unbound++ == 0) {
            ai->lowest_unbound = k.number;
        }
    }
    return check_chunk(a, ai, &k);
}

static bool audit_xattr_row(void *owner, struct bytes key, struct bytes value)
{
    struct audit *a = owner;
    struct byte_reader r = byte_reader_of(key);
    uint64_t ino = get_key_u64(&r);
    struct audit_inode *ai = r.bad ? NULL : find_inode(a, ino);
    size_t name_len = byte_reader_left(&r);
    if (ai == NULL || name_len == 0 || name_len > XATTR_NAME_MAX || value.len > XATTR_VALUE_MAX) {
        return FINDING(a, "an extended attribute of inode %llu has no place", (ull)ino);
    }
    ai->xattr_names += name_len + 1;
    return true;
}

static bool audit_symlink_row(void *owner, struct bytes key, struct bytes value)
{
    struct audit *a = owner;
    uint64_t ino = 0;
    struct audit_inode *ai = row_key_get_u64(key, &ino) ? find_inode(a, ino) : NULL;
    if (ai == NULL || !S_ISLNK(ai->in.mode) || ai->in.size != value.len) {
        return FINDING(a, "a symlink's target belongs to inode %llu, which does not fit", (ull)ino);
    }
    ai->has_target = true;
    return true;
}

static bool audit_session_row(void *owner, struct bytes key, struct bytes value)
{
    struct audit *a = owner;
    struct session_row s;
    if (session_unpack(key, value, &s) != 0 || s.session == 0 || s.session >= a->ns->next_session) {
        return FINDING(a, "a session row is damaged");
    }
    return true;
}

static bool audit_reply_row(void *owner, struct bytes key, struct bytes value)
{
    struct audit *a = owner;
    uint64_t session, sequence;
    struct bytes again;
    if (!row_key_get_pair(key, &session, &sequence) ||
        ns_reply_find(a->ns, session, sequence, &again) != 0 || !bytes_equal(value, again)) {
        return FINDING(a, "an answer is kept that no session can ask for");
    }
    return true;
}

static bool audit_orphan_row(void *owner, struct bytes key, struct bytes value)
{
    struct audit *a = owner;
    uint64_t ino = 0, session = 0;
    (void)value;
    bool good = row_key_get_pair(key, &ino, &session) && ns_session_exists(a->ns, session);
    struct audit_inode *ai = find_inode(a, ino);
    if (!good || ai == NULL || ai->in.nlink != 0) {
        return FINDING(a, "session %llu holds inode %llu: %s", (ull)session, (ull)ino,
                       !good        ? "no such session"
                       : ai == NULL ? "no such inode"
                                    : "it has a name");
    }
    ai->held = true;
    return true;
}

static bool audit_writer_row(void *owner, struct bytes key, struct bytes value)
{
    struct audit *a = owner;
    uint64_t session = 0, ino = 0;
    bool good = row_key_get_pair(key, &session, &ino) && value.len == 0 &&
                ns_session_exists(a->ns, session);
    struct audit_inode *ai = find_inode(a, ino);
    if (!good || ai == NULL || !inode_is_file(&ai->in)) {
        return FINDING(a, "session %llu has inode %llu open for writing: %s", (ull)session,
                       (ull)ino, good ? "no such file" : "no such session");
    }
    ai->writers++;
    return true;
}

static bool audit_garbage_row(void *owner, struct bytes key, struct bytes value)
{
    struct audit *a = owner;
    uint64_t handle = 0, server = 0;
    if (!row_key_get_pair(key, &handle, &server) || value.len > 1 || handle_known(a, handle) ||
        handle >= a->ns->next_handle) {
        return FINDING(a, "a replica of chunk %llu on server %llu waits for removal, wrongly",
                       (ull)handle, (ull)server);
    }
    return true;
}

static bool audit_trash_row(void *owner, struct bytes key, struct bytes value)
{
    struct audit *a = owner;
    struct ns_trash t;
    if (trash_unpack(key, value, &t) != 0) {
        return FINDING(a, "a row of the trash cannot be decoded");
    }
    struct audit_inode *ai = find_inode(a, t.ino);
    bool kind = ai != NULL && (inode_is_file(&ai->in) || (inode_is_dir(&ai->in) && t.expires != 0));
    if (!kind || ai->in.nlink != 0 || ai->in.trash_expires != t.expires || ai->trashed) {
        return FINDING(a, "inode %llu is in the trash until %llu, wrongly", (ull)t.ino,
                       (ull)t.expires);
    }
    if (t.expires == 0 && (ai->held || chunks_of(&ai->in) == 0)) {
        return FINDING(a, "inode %llu is being removed, wrongly", (ull)t.ino);
    }
    ai->trashed = true;
    a->trash_bytes += t.bytes;
    return true;
}

static bool audit_server_row(void *owner, struct bytes key, struct bytes value)
{
    struct audit *a = owner;
    struct server s;
    struct server_state_rec state;
    uint64_t disk;
    if (server_unpack(key, value, &s, &disk, &state) != 0 || s.id >= a->ns->next_server) {
        return FINDING(a, "a server row is damaged");
    }
    return true;
}

/* ---------------------------------------------------------------- inodes against what was counted
 */

static bool check_counts(struct audit *a, const struct audit_inode *ai)
{
    const struct inode *in = &ai->in;
    ull ino = in->ino;
    bool dir = inode_is_dir(in);
    bool gone = dir && ai->trashed;
    uint64_t nlink = gone ? 0 : dir ? 2 + ai->subdirs : ai->names;
    if (in->nlink != nlink) {
        return FINDING(a, "inode %llu has nlink %u, but should have %llu", ino, in->nlink,
                       (ull)nlink);
    }
    if (dir && (in->size != ai->entries || ai->names != (ino == ROOT_INO || gone ? 0 : 1))) {
        return FINDING(a, "directory %llu has %llu entries, says %llu, and %llu names", ino,
                       (ull)ai->entries, (ull)in->size, (ull)ai->names);
    }
    if (in->nlink == 0 && !ai->held && !ai->trashed) {
        return FINDING(a, "inode %llu has no name, no session holds it, and it is not in the trash",
                       ino);
    }
    if (in->trash_expires != 0 && !ai->trashed) {
        return FINDING(a, "inode %llu says it is in the trash, but has no row there", ino);
    }
    if (dir && !gone && ino != ROOT_INO && !ai->named) {
        return FINDING(a, "directory %llu has another name than its entry", ino);
    }
    if (S_ISLNK(in->mode) != ai->has_target) {
        return FINDING(a, "symlink %llu has no target", ino);
    }
    if (in->xattr_names != ai->xattr_names) {
        return FINDING(a, "inode %llu has %llu bytes of attribute names, says %u", ino,
                       (ull)ai->xattr_names, in->xattr_names);
    }
    if (in->writers != ai->writers) {
        return FINDING(a, "inode %llu is open for writing in %llu sessions, says %u", ino,
                       (ull)ai->writers, in->writers);
    }
    bool lowest =
        in->unbound == 0 ? in->first_unbound == 0 : in->first_unbound <= ai->lowest_unbound;
    if (in->rows != ai->rows || in->rows_inside != ai->rows_inside || in->unbound != ai->unbound ||
        !lowest) {
        return FINDING(a,
                       "inode %llu counts chunks as %llu/%llu/%llu from %llu, but they are "
                       "%llu/%llu/%llu from %llu",
                       ino, (ull)in->rows, (ull)in->rows_inside, (ull)in->unbound,
                       (ull)in->first_unbound, (ull)ai->rows, (ull)ai->rows_inside,
                       (ull)ai->unbound, (ull)ai->lowest_unbound);
    }
    return true;
}

/* Follows parents until one that is known to reach the root; every step marks one more, or it is a
 * circle. */
static bool check_reaches_root(struct audit *a, struct audit_inode *dir)
{
    size_t steps = 0;
    for (struct audit_inode *at = dir; at->in.ino != ROOT_INO && !at->reaches_root;) {
        struct audit_inode *up = find_inode(a, at->in.parent);
        if (up == NULL || ++steps > a->inodes.count) {
            return FINDING(a, "directory %llu is not below the root", (ull)dir->in.ino);
        }
        at = up;
    }
    for (struct audit_inode *at = dir; at->in.ino != ROOT_INO && !at->reaches_root;) {
        at->reaches_root = true;
        at = find_inode(a, at->in.parent);
    }
    return true;
}

static bool check_root(struct audit *a)
{
    struct audit_inode *root = find_inode(a, ROOT_INO);
    if (root == NULL) {
        return a->inodes.count == 0 || FINDING(a, "there is no root");
    }
    if (!inode_is_dir(&root->in) || root->in.parent != ROOT_INO) {
        return FINDING(a, "the root is no directory, or lies in another");
    }
    return true;
}

static void check_inodes(struct audit *a)
{
    hmap_for_each (n, &a->inodes) {
        struct audit_inode *ai = container_of(n, struct audit_inode, node);
        if (!check_counts(a, ai) ||
            (inode_is_dir(&ai->in) && ai->in.nlink != 0 && !check_reaches_root(a, ai))) {
            return;
        }
    }
    if (check_root(a) && a->chunks != a->ns->chunks) {
        a->err = why_set(a->why, ERR_CORRUPT, "there are %llu chunks, %llu were counted",
                         (ull)a->chunks, (ull)a->ns->chunks);
    }
    if (a->err == 0 && a->trash_bytes != a->ns->trash_bytes) {
        a->err =
            why_set(a->why, ERR_CORRUPT, "there are %llu bytes in the trash, %llu were counted",
                    (ull)a->trash_bytes, (ull)a->ns->trash_bytes);
    }
}

/* The order matters: inodes first, then what belongs to them. */
static const struct {
    enum store_table table;
    bool (*row)(void *owner, struct bytes key, struct bytes value);
} walks[] = {
    {TABLE_INODE, audit_inode_row},     {TABLE_DENTRY, audit_dirent_row},
    {TABLE_CHUNK, audit_chunk_row},     {TABLE_XATTR, audit_xattr_row},
    {TABLE_SYMLINK, audit_symlink_row}, {TABLE_SESSION, audit_session_row},
    {TABLE_REPLY, audit_reply_row},     {TABLE_ORPHAN, audit_orphan_row},
    {TABLE_GARBAGE, audit_garbage_row}, {TABLE_SERVER, audit_server_row},
    {TABLE_TRASH, audit_trash_row},     {TABLE_WRITER, audit_writer_row},
};

int ns_audit(struct ns *ns, struct why *why)
{
    struct audit a = {.ns = ns, .why = why};
    hmap_init(&a.inodes);
    hmap_init(&a.handles);
    replies_settle(ns);
    for (size_t i = 0; i < COUNT_OF(walks) && a.err == 0; i++) {
        store_walk(ns->store, walks[i].table, bytes_of("", 0), walks[i].row, &a);
    }
    if (a.err == 0) {
        check_inodes(&a);
    }
    hmap_for_each (n, &a.inodes) {
        mem_free(container_of(n, struct audit_inode, node));
    }
    hmap_for_each (n, &a.handles) {
        mem_free(container_of(n, struct audit_handle, node));
    }
    hmap_close(&a.inodes);
    hmap_close(&a.handles);
    return a.err;
}
