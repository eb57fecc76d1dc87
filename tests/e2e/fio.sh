#!/bin/sh
# fio.sh - verified random writes over four chunks, a file over 1 GiB with holes, dbench.
. "$(dirname "$0")/lib.sh"
cluster_up

say "fio --verify=crc32c, 4 KiB to 1 MiB over 256 MiB"
(cd "$WORK" && fio --name=verify --directory="$MNT" --size=256m --rw=randwrite --bsrange=4k-1m --ioengine=psync \
    --verify=crc32c --verify_fatal=1 --do_verify=1 --randseed=7 --end_fsync=1 --output="$WORK/fio.log") ||
    fail "fio: $(tail -5 "$WORK/fio.log")"
rm -f "$MNT"/verify*

say "a file over 1 GiB with holes, compared with the same on the local filesystem"
for d in "$WORK" "$MNT"; do
    # 3 MiB of data at each of these offsets (MiB); the rest are holes; the end is one too.
    for at in 0 1 63 64 100 500 1030; do
        dd if=/dev/urandom of="$WORK/piece" bs=1M count=3 status=none
        [ -e "$WORK/piece.$at" ] || mv "$WORK/piece" "$WORK/piece.$at"
        dd if="$WORK/piece.$at" of="$d/sparse" bs=1M seek="$at" conv=notrunc status=none
    done
    truncate -s 1200000001 "$d/sparse"
    dd if="$WORK/piece.0" of="$d/sparse" bs=1000003 seek=777 count=1 conv=notrunc status=none
done
expect "the sparse files are equal" cmp "$WORK/sparse" "$MNT/sparse"
same "size" "$(stat -c %s "$MNT/sparse")" 1200000001
remount
expect "the sparse files are equal after a remount" cmp "$WORK/sparse" "$MNT/sparse"
rm -f "$MNT/sparse" "$WORK/sparse"

say "dbench -t 20 4"
dbench -D "$MNT" -t 20 4 >"$WORK/dbench.log" 2>&1 || fail "dbench: $(tail -5 "$WORK/dbench.log")"
if grep -iE 'error|failed' "$WORK/dbench.log" | grep -v 'barrier semaphore' >"$WORK/errors"; then # no SysV semaphores: it starts without a barrier
    fail "dbench reports errors: $(head -3 "$WORK/errors")"
fi
grep '^Throughput' "$WORK/dbench.log"
