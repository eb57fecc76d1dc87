#!/bin/sh
# scrub.sh - bits flipped in 100 different blocks of one chunkserver's files: a scan finds and repairs them all
# without anybody reading; reads meanwhile give right bytes; a partial overwrite of a damaged block is not built on
# damage; a file that is gone comes back.
. "$(dirname "$0")/lib.sh"
cluster_up
gfsctl() { "$BIN/gfsctl" "$@"; }
flip() { # flip FILE OFFSET
    b=$(dd if="$1" bs=1 skip="$2" count=1 status=none | od -An -tu1 | tr -d ' ')
    # shellcheck disable=SC2059
    printf "\\$(printf %03o $((b ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
server=127.0.0.1:$((PORT + 1)) # chunkd-1
for i in 0 1 2 3 4; do
    dd if=/dev/urandom of="$WORK/data$i" bs=1M count=4 status=none
    dd if="$WORK/data$i" of="$MNT/file$i" bs=1M conv=fsync status=none
done
wait_for "three copies" 20 fully_replicated
mine=$(find "$RUN/chunkd-1/chunks" -type f -size 4194304c | sort)
same "chunks on chunkd-1" "$(echo "$mine" | wc -l)" 5
expect "nothing is wrong yet" gfsctl scrub now "$server" --wait
same "a scan of good chunks" "$(gfsctl scrub now "$server" --wait)" "found 0, repaired 0"

say "a bit flipped in 100 blocks of one server: found and repaired without a reader"
for f in $mine; do
    for block in $(seq 0 3 57); do
        flip "$f" $((block * 65536 + block * 111))
    done
done
same "the scan" "$(gfsctl scrub now "$server" --wait)" "found 100, repaired 100"
same_everywhere() {
    for f in "$RUN"/chunkd-1/chunks/*/*; do
        for other in 2 3; do
            cmp "$f" "$RUN/chunkd-$other/${f#"$RUN/chunkd-1/"}" || return 1
        done
    done
}
expect "all replicas are equal" same_everywhere
gfsctl scrub --json | tr -d ' \n' | grep -q '"damaged":0,"failed":0,"disk_errors":0' || fail "scrub --json: $(gfsctl scrub --json)"
gfsctl scrub | grep -q warning && fail "a warning: $(gfsctl scrub)"

say "a read before the scan gives right bytes"
for f in $mine; do
    for block in 5 17 40; do
        flip "$f" $((block * 65536 + 99))
    done
done
remount
for i in 0 1 2 3 4; do
    expect "file$i reads right" cmp "$WORK/data$i" "$MNT/file$i"
done
expect "the rest is repaired" gfsctl scrub now "$server" --wait
expect "all replicas are equal again" same_everywhere

say "a partial overwrite of a damaged block"
for f in $mine; do
    flip "$f" $((20 * 65536 + 5000))
done
for i in 0 1 2 3 4; do
    for target in "$WORK/data$i" "$MNT/file$i"; do
        printf 'overwritten in the middle of a block' |
            dd of="$target" bs=1 seek=$((20 * 65536 + 100)) conv=notrunc,fsync status=none
    done
done
expect "what was refused is repaired" gfsctl scrub now "$server" --wait
wait_for "three copies again" 20 fully_replicated
expect "all replicas are equal after the overwrite" same_everywhere
remount
for i in 0 1 2 3 4; do
    expect "file$i has the overwrite and no damage" cmp "$WORK/data$i" "$MNT/file$i"
done

say "a data file that is gone, one that is short"
set -- $mine
rm "$1"
truncate -s 1M "$2"
expect "both are repaired" gfsctl scrub now "$server" --wait
wait_for "three copies at the end" 20 fully_replicated
expect "all replicas are equal at the end" same_everywhere
