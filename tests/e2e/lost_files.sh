#!/bin/sh
# lost_files.sh - the files of a chunk vanish on all three chunkservers: never zeros in its place, whether it is read,
# written around or written into; once the files are back it is served again.
GFS_MASTER_CONF="trash_seconds = 0
heartbeat_ms = 200
lease_ms = 1000
session_ms = 5000
request_timeout_ms = 1000
away_grace_ms = 3000
chunk_bytes = 4194304"
. "$(dirname "$0")/lib.sh"
CHUNK=4194304
cluster_up
dd if=/dev/urandom of="$WORK/data" bs=1M count=12 status=none
dd if="$WORK/data" of="$MNT/file" bs=1M conv=fsync status=none || fail "writing"
wait_for "three copies" 20 fully_replicated
sleep 2.5 # they are clean
handle=$("$BIN/gfsctl" --json why --all /file | tr -d ' \n' | sed -E 's/.*"number":1,"handle":"([0-9a-f]+)".*/\1/')
stop_all() { kill_hard chunkd-1 chunkd-2 chunkd-3; }
stop_all
mkdir "$WORK/kept"
for i in 1 2 3; do
    f=$(find "$RUN/chunkd-$i/chunks" -type f -name "*$handle*")
    [ -n "$f" ] || fail "no file of $handle: $(find "$RUN/chunkd-$i/chunks" -type f)"
    echo "$f" >"$WORK/kept/$i.path"
    mv "$f" "$WORK/kept/$i"
done
cluster_up
remount
fails() {
    ! timeout 30 dd if="$MNT/file" bs=$CHUNK skip=1 count=1 2>"$WORK/err" >"$WORK/out" || return 1
    grep -q "Input/output error" "$WORK/err" && [ ! -s "$WORK/out" ]
}
rest_reads() {
    for k in 0 2; do
        dd if="$MNT/file" bs=$CHUNK skip=$k count=1 status=none >"$WORK/got" || return 1
        dd if="$WORK/data" bs=$CHUNK skip=$k count=1 status=none | cmp -s - "$WORK/got" || return 1
    done
}
say "read"
fails || fail "the chunk without files: $(cat "$WORK/err")"
rest_reads || fail "the rest does not read"
is_lost() { [ "$(status_field lost)" = 1 ]; }
wait_for "one lost chunk in the status" 15 is_lost

say "a write into it fails, and nothing takes its place"
if timeout 30 dd if=/dev/urandom of="$MNT/file" bs=64k seek=70 count=1 conv=notrunc,fsync 2>"$WORK/err"; then
    fail "a write into a chunk that is lost succeeded"
fi
grep -q "Input/output error" "$WORK/err" || fail "the write: $(cat "$WORK/err")"
sleep 1.5
fails || fail "the chunk without files, after a write: $(cat "$WORK/err")"
dd if="$WORK/data" of="$MNT/file" bs=64k seek=63 skip=63 count=1 conv=notrunc,fsync status=none || fail "a write before it"
rest_reads || fail "the rest does not read"

say "the files are back"
stop_all
for i in 1 2 3; do mv "$WORK/kept/$i" "$(cat "$WORK/kept/$i.path")"; done
cluster_up
remount
is_whole() { timeout 20 cmp "$WORK/data" "$MNT/file"; }
wait_for "the whole file" 30 is_whole
wait_for "three copies" 30 fully_replicated
