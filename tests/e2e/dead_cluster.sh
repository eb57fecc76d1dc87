#!/bin/sh
# dead_cluster.sh - with every daemon dead, SIGKILL of a waiting program works and umount works.
. "$(dirname "$0")/lib.sh"
cluster_up
echo hello >"$MNT/file"
sync "$MNT/file"
kill_hard master chunkd-1 chunkd-2 chunkd-3
sh -c "exec cat '$MNT/another' '$MNT/file' >/dev/null 2>&1" &
reader=$!
sh -c "exec mkdir '$MNT/new'" &
writer=$!
sleep 3
kill -0 $reader 2>/dev/null || kill -0 $writer 2>/dev/null || fail "nobody waits for the dead cluster"
kill -9 $reader $writer 2>/dev/null || true
wait_for "the killed programs to be gone" 15 sh -c "! kill -0 $reader 2>/dev/null && ! kill -0 $writer 2>/dev/null"
p=$(pid_of fuse)
expect "umount works" timeout 15 umount "$MNT"
wait_for "gfs-fuse to end" 20 ended "$p"
cluster_up
same "the file is there after all" "$(cat "$MNT/file")" hello
