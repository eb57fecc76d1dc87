#!/bin/sh
# bad_disk.sh - disks that fail reads and syncs under running chunkservers: one sector that cannot be read is served by
# another replica and rewritten; a disk that fails often, or fails a sync, is emptied. No program sees an error.
N=5
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_disk.sh"
cluster_up_on_bad_disks
for i in 1 2 3 4 5 6 7 8; do
    head -c 1000000 /dev/urandom >"$MNT/$i"
done
sync -f "$MNT"
sums >"$WORK/sums"
wait_for "three copies" 20 fully_replicated
unchanged() {
    remount cluster_up_on_bad_disks
    sums >"$WORK/sums.now"
    cmp -s "$WORK/sums" "$WORK/sums.now" || fail "$1: $(diff "$WORK/sums" "$WORK/sums.now" | head -3)"
}

say "one sector cannot be read: another replica is, and the block is rewritten"
set -- "$RUN"/chunkd-*/chunks/*/*
victim=${1#"$RUN/"}
on=${victim#chunkd-}
on=${on%%/*}
faults "sector $victim 200000"
ctl scrub now "127.0.0.1:$((PORT + on))" >/dev/null & # a reader that certainly meets it, beside the mount
unchanged "files changed with a sector that cannot be read"
wait $!
mended() { [ "$(scrub_field repaired "$on")" = 1 ] && [ "$(scrub_field damaged "$on")" = 0 ]; }
wait_for "the block to be rewritten" 20 mended
same "one error does not make a failing disk" "$(field failing "$on")" 0
same "the scan after it" "$(ctl scrub now "127.0.0.1:$((PORT + on))" --wait)" "found 0, repaired 0"

say "a disk that fails every read is emptied"
faults "read chunkd-$on/chunks"
ctl scrub now "127.0.0.1:$((PORT + on))" >/dev/null
unchanged "files changed with a disk that fails reads"
wait_for "the disk to count as failing" 20 field_is failing "$on" 2
wait_for "it to be emptied" 30 field_is drained "$on" true
wait_for "three copies elsewhere" 20 fully_replicated

say "a disk that fails a sync is emptied, and its chunkserver remembers"
other=$((on % N + 1))
faults "sync chunkd-$other/chunks"
for i in 11 12 13 14 15 16 17 18; do
    head -c 300000 /dev/urandom >"$WORK/$i"
    expect "a file that is synced beside it" dd if="$WORK/$i" of="$MNT/$i" bs=100k conv=fsync status=none
done
sums >"$WORK/sums"
wait_for "the disk to count as failing" 20 field_is failing "$other" 1
wait_for "it to be emptied" 30 field_is drained "$other" true
wait_for "three copies on the other three" 20 fully_replicated
faults
kill_hard "chunkd-$other"
unchanged "files changed with a disk that fails syncs"
wait_for "it to say so after a restart" 20 field_is failing "$other" 1
ctl fsck --compare >"$WORK/fsck" 2>&1 || fail "fsck: $(tail -n 5 "$WORK/fsck")"
