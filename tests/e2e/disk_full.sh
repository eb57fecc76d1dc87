#!/bin/sh
# disk_full.sh - chunkservers on small filesystems fill up: ENOSPC for the program, what was stored is intact, deleting
# makes room again.
. "$(dirname "$0")/lib.sh"
test_cleanup() {
    for i in 1 2 3; do
        umount "$RUN/chunkd-$i" 2>/dev/null || umount -l "$RUN/chunkd-$i" 2>/dev/null || true
    done
}
for i in 1 2 3; do
    mkdir -p "$RUN/chunkd-$i"
    mount -t tmpfs -o size=64m tmpfs "$RUN/chunkd-$i"
done
cluster_up
dd if=/dev/urandom of="$WORK/keep" bs=1M count=16 status=none
in_background cp "$WORK/keep" "$MNT/keep"
in_background sync "$MNT/keep"
if in_background dd if=/dev/zero of="$MNT/fill" bs=1M count=200 conv=fsync 2>"$WORK/err"; then
    fail "200 MiB went onto 64 MiB"
fi
grep -q "No space left" "$WORK/err" || fail "expected ENOSPC, got '$(cat "$WORK/err")'"
expect "what was stored is intact" cmp "$WORK/keep" "$MNT/keep"
expect "the namespace still works" mkdir "$MNT/dir"
rm "$MNT/fill"
room() { cp "$WORK/keep" "$MNT/keep2" 2>/dev/null && sync "$MNT/keep2" && cmp -s "$WORK/keep" "$MNT/keep2"; }
wait_for "room after deleting" 30 room
expect "the first file is still intact" cmp "$WORK/keep" "$MNT/keep"
cluster_down
test_cleanup
