#!/bin/sh
# slow_disk.sh - a chunkserver whose disk turns slow: it gets no new replicas and gives no reads, what it holds stays,
# and it is used again when it is as fast as the others.
N=4
GFS_MASTER_CONF='trash_seconds = 0
heartbeat_ms = 200
lease_ms = 1000
session_ms = 5000
request_timeout_ms = 2000
balance_percent = 0
slow_window_ms = 1500
slow_floor_ms = 10'
export GFS_MASTER_CONF
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/lib_disk.sh"
cluster_up_on_bad_disks
files=0
more() { # more COUNT: files of one chunk
    for i in $(seq $((files + 1)) $((files + $1))); do
        head -c 200000 /dev/urandom | dd of="$MNT/$i" bs=50k conv=fsync status=none || fail "file $i"
    done
    files=$((files + $1))
}
more 8
used() { [ "$(field chunks 1)" -gt 0 ]; }
wait_for "replicas on chunkd-1" 20 used

say "chunkd-1 turns slow: it is found out while files are written"
faults "delay chunkd-1/chunks 50"
turned() { more 2 && field_is slow 1 "$1"; }
wait_for "it to be recognised" 30 turned true
on_it() { find "$RUN/chunkd-1/chunks" -type f | wc -l; }
before=$(on_it)
more 8
same "replicas on it after eight more files" "$(on_it)" "$before"
same "others that are slow" "$(ctl --json status | grep -c '"slow": true')" 1
fully_replicated || fail "chunks lack copies because a disk is slow"
sums >"$WORK/sums"

say "as fast as the others again: used again"
faults
turned_back() { more 1 && field_is slow 1 false; }
wait_for "it to be believed" 30 turned_back
used_again() { more 2 && [ "$(on_it)" -gt "$before" ]; }
wait_for "new replicas on it" 20 used_again
remount
(cd "$MNT" && sha256sum --quiet -c "$WORK/sums") || fail "files changed"
