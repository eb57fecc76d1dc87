#!/bin/sh
# disk_full.sh - chunkservers on small filesystems fill up: ENOSPC for the program, what was stored is intact, deleting
# makes room again. fallocate says ENOSPC at once and changes nothing; what it reserved can be written on a full disk.
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
no_room_for() { # SIZE: fallocate of a file fails for space and leaves its size alone
    if fallocate -l "$1" "$MNT/reserved" 2>"$WORK/err"; then
        fail "$1 were reserved on 64 MiB"
    fi
    grep -q "No space left" "$WORK/err" || fail "expected ENOSPC, got '$(cat "$WORK/err")'"
    same "size after a reservation that failed" "$(stat -c %s "$MNT/reserved")" 0
}
no_room_for 200M
no_room_for 60M
expect "30 MiB are reserved" fallocate -l 30M "$MNT/reserved"
same "size of the reserved file" "$(stat -c %s "$MNT/reserved")" $((30 << 20))
used_mib() { df --output=used -B1M "$RUN/chunkd-$1" | tail -n 1; }
reserved_everywhere() { [ "$(used_mib 1)" -ge 46 ] && [ "$(used_mib 2)" -ge 46 ] && [ "$(used_mib 3)" -ge 46 ]; }
# A disk that was full a moment ago may become a member only later: two are enough for a start.
wait_for "30 MiB reserved on every disk" 60 reserved_everywhere
if in_background dd if=/dev/zero of="$MNT/fill" bs=1M count=200 conv=fsync 2>"$WORK/err"; then
    fail "200 MiB went onto 64 MiB"
fi
grep -q "No space left" "$WORK/err" || fail "expected ENOSPC, got '$(cat "$WORK/err")'"
expect "what was stored is intact" cmp "$WORK/keep" "$MNT/keep"
expect "the namespace still works" mkdir "$MNT/dir"
expect "reserved bytes can be written" dd if="$WORK/keep" of="$MNT/reserved" bs=1M conv=notrunc,fsync status=none
expect "they are there" cmp -n $((16 << 20)) "$WORK/keep" "$MNT/reserved"
expect "the rest is zeros" cmp -s -n $((14 << 20)) -i $((16 << 20)):0 "$MNT/reserved" /dev/zero
expect "a reserved range can be reserved again" fallocate -l 30M "$MNT/reserved"
rm "$MNT/fill"
room() { cp "$WORK/keep" "$MNT/keep2" 2>/dev/null && sync "$MNT/keep2" && cmp -s "$WORK/keep" "$MNT/keep2"; }
wait_for "room after deleting" 30 room
expect "the first file is still intact" cmp "$WORK/keep" "$MNT/keep"
rm "$MNT/keep2"
wait_for "room to reserve after deleting" 30 fallocate -o 30M -l 10M "$MNT/reserved"
same "size of the longer file" "$(stat -c %s "$MNT/reserved")" $((40 << 20))
rm "$MNT/reserved"
touch "$MNT/zeroed"
wait_for "room to zero a range" 30 fallocate -z -l 24M "$MNT/zeroed"
reserved=0
for i in 1 2 3; do
    [ "$(used_mib $i)" -lt 40 ] || reserved=$((reserved + 1))
done
[ $reserved -ge 2 ] || fail "zeroing reserved on $reserved disks of 3"
cluster_down
test_cleanup
