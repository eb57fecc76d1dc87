#!/bin/sh
# programs.sh - what people do on a mount: clone, build, rsync, databases, and all of it again after a remount and
# after a restart of the whole cluster.
. "$(dirname "$0")/lib.sh"
cluster_up

say "git clone and make of this repository on the mount"
git clone -q "$TOP" "$MNT/clone" 2>&1 || fail "git clone"
expect "git fsck" git -C "$MNT/clone" fsck --no-progress
same "git status is clean" "$(git -C "$MNT/clone" status --porcelain)" ""
expect "make -j2 on the mount" make -s -j2 -C "$MNT/clone" all >"$WORK/make.log" 2>&1
expect "the built program runs" "$MNT/clone/build/bin/gfsctl" --help >/dev/null
rm -rf "$MNT/clone/build"

say "rsync of up to 10,000 files"
mkdir -p "$WORK/src"
find /usr/include /usr/share/doc -type f 2>/dev/null | sort | head -n 10000 >"$WORK/list"
rsync -a --files-from="$WORK/list" / "$MNT/files" || fail "rsync -a"
compare_files() { rsync -acn --itemize-changes --files-from="$WORK/list" / "$MNT/files" | grep -v '^\.d' || true; }
same "rsync -acn finds no difference" "$(compare_files)" ""

say "SQLite: 20,000 inserts in 200 transactions, DELETE and WAL"
for mode in DELETE WAL; do
    {
        echo "PRAGMA journal_mode=$mode; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);"
        i=0
        while [ $i -lt 200 ]; do
            echo "BEGIN; INSERT INTO t(v) WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<100)
                  SELECT hex(randomblob(50)) FROM c; COMMIT;"
            i=$((i + 1))
        done
    } | sqlite3 "$MNT/$mode.db" >/dev/null || fail "sqlite inserts in mode $mode"
    same "integrity in mode $mode" "$(sqlite3 "$MNT/$mode.db" 'PRAGMA integrity_check')" ok
    same "rows in mode $mode" "$(sqlite3 "$MNT/$mode.db" 'SELECT count(*) FROM t')" 20000
done

say "unmount, mount again"
remount
same "no difference after a remount" "$(compare_files)" ""

say "make down, make up"
cluster_down
cluster_up
same "no difference after a restart" "$(compare_files)" ""
same "database after a restart" "$(sqlite3 "$MNT/WAL.db" 'PRAGMA integrity_check')" ok
expect "git fsck after a restart" git -C "$MNT/clone" fsck --no-progress
wait_for "three copies of everything" 30 fully_replicated
expect "a second make up changes nothing" cluster_up
