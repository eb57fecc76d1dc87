#!/bin/sh
# corrupt.sh - a byte flipped in a chunk file: right bytes from another replica and a line in the log; flipped on all
# three: EIO, never wrong bytes.
. "$(dirname "$0")/lib.sh"
cluster_up
flip() { # flip FILE OFFSET
    b=$(dd if="$1" bs=1 skip="$2" count=1 status=none | od -An -tu1 | tr -d ' ')
    # shellcheck disable=SC2059
    printf "\\$(printf %03o $((b ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
dd if=/dev/urandom of="$WORK/data" bs=64k count=40 status=none
dd if="$WORK/data" of="$MNT/file" bs=1M conv=fsync status=none
wait_for "three copies" 20 fully_replicated
replicas=$(find "$RUN"/chunkd-*/chunks -type f -size 2621440c)
same "replicas" "$(echo "$replicas" | wc -l)" 3

say "one byte flipped on each server in a different block: every read finds a good copy"
block=3
for f in $replicas; do
    flip "$f" $((block * 65536 + 77))
    block=$((block + 10))
done
remount
expect "the reader gets right bytes" cmp "$WORK/data" "$MNT/file"
grep -hE 'chunk.*block|block.*chunk' "$RUN"/chunkd-*.log "$RUN"/fuse.log "$RUN"/master.log | head -3 | grep -q . ||
    fail "no log names chunk, block and server"

say "no replica was whole, every block had a good copy: all are made whole"
for i in 1 2 3; do
    "$BIN/gfsctl" scrub now $i >/dev/null || fail "scrub now $i"
done
all_whole() { for f in $replicas; do cmp -s "$f" "$WORK/data" || return 1; done; }
wait_for "three whole replicas" 60 all_whole

say "flipped on all three in one block: EIO, never wrong bytes"
dd if=/dev/urandom of="$WORK/data2" bs=64k count=40 status=none
dd if="$WORK/data2" of="$MNT/file2" bs=1M conv=fsync status=none
inode=$(stat -c %i "$MNT/file2")
for f in $(find "$RUN"/chunkd-*/chunks -type f -newer "$WORK/data2" -size 2621440c); do
    if cmp -s "$f" "$WORK/data2"; then
        flip "$f" $((20 * 65536 + 5))
    fi
done
remount
if cat "$MNT/file2" >"$WORK/out" 2>"$WORK/err"; then
    fail "a block damaged on all replicas was read without an error"
fi
grep -q "Input/output error" "$WORK/err" || fail "expected EIO, got '$(cat "$WORK/err")'"
expect "what was read before the damage is right" cmp -n "$(stat -c %s "$WORK/out")" "$WORK/out" "$WORK/data2"
dd if="$MNT/file2" of="$WORK/tail" bs=64k skip=24 status=none || fail "blocks after the damage must read"
dd if="$WORK/data2" of="$WORK/tail2" bs=64k skip=24 status=none
expect "the rest of the file reads" cmp "$WORK/tail" "$WORK/tail2"
: "$inode"
