#!/bin/sh
# trash_full.sh - on small disks the trash gives way, oldest first, before a program sees ENOSPC; also what
# chunkservers keep aside.
GFS_MASTER_CONF="trash_seconds = 86400
heartbeat_ms = 200
lease_ms = 1000
session_ms = 5000
request_timeout_ms = 1000
chunk_bytes = 4M
block_bytes = 64K"
. "$(dirname "$0")/lib.sh"
test_cleanup() {
    for i in 1 2 3; do
        umount "$RUN/chunkd-$i" 2>/dev/null || true
    done
}
for i in 1 2 3; do
    mkdir -p "$RUN/chunkd-$i"
    mount -t tmpfs -o size=100m tmpfs "$RUN/chunkd-$i"
done
cluster_up
say "several times the room of the disks, written and deleted"
head -c 16000000 /dev/urandom >"$WORK/keep"
cp "$WORK/keep" "$MNT/keep"
for i in $(seq 1 15); do
    dd if=/dev/urandom of="$MNT/file $i" bs=1M count=20 conv=fsync status=none || fail "no room for file $i"
    rm "$MNT/file $i"
done
expect "what was kept is intact" cmp "$WORK/keep" "$MNT/keep"
expect "something is still in the trash" test "$(status_field trash_files)" -ge 1
expect "the newest is still there" sh -c "'$BIN/gfsctl' trash list | grep -q '/file 15\$'"
expect "the oldest is not" sh -c "! '$BIN/gfsctl' trash list | grep -q '/file 1\$'"
say "a full disk is full when the trash is empty"
if dd if=/dev/zero of="$MNT/fill" bs=1M count=200 conv=fsync 2>"$WORK/err"; then
    fail "200 MiB went onto 100 MiB"
fi
grep -q "No space left" "$WORK/err" || fail "expected ENOSPC, got '$(cat "$WORK/err")'"
same "the trash" "$(status_field trash_bytes)" 0
expect "what was kept is intact" cmp "$WORK/keep" "$MNT/keep"
cluster_down
test_cleanup
