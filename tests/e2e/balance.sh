#!/bin/sh
# balance.sh - chunkservers on small filesystems, then one more: chunks move until disks are filled evenly; then two that
# stood in one rack stand in two: replicas that shared it part.
N=3
GFS_MASTER_CONF='heartbeat_ms = 200
lease_ms = 1000
session_ms = 5000
request_timeout_ms = 1000
chunk_bytes = 1M
trash_seconds = 0
balance_kib_s = 1048576'
GFS_CHUNKD_CONF='flush_ms = 1000
aside_ms = 0'
export GFS_MASTER_CONF GFS_CHUNKD_CONF
. "$(dirname "$0")/lib.sh"
test_cleanup() {
    for i in 1 2 3 4; do
        umount "$RUN/chunkd-$i" 2>/dev/null || true
    done
}
disk() {
    mkdir -p "$RUN/chunkd-$1"
    mount -t tmpfs -o size=96m tmpfs "$RUN/chunkd-$1"
}
for i in 1 2 3; do disk $i; done
cluster_up
mkdir "$MNT/d"
for i in $(seq 20); do head -c 2097152 /dev/urandom >"$MNT/d/$i"; done
sync -f "$MNT"
(cd "$MNT/d" && sha256sum ./*) >"$WORK/sums"

N=4
disk 4
cluster_up
# Percent points between the fullest and the emptiest.
apart() {
    "$BIN/gfsctl" --json status | grep '"avail"' | sed -E 's/.*"total": ([0-9]+), "avail": ([0-9]+).*/\1 \2/' | awk '
        { f = 100 * ($1 - $2) / $1; if (NR == 1 || f < low) low = f; if (NR == 1 || f > high) high = f }
        END { printf "%d\n", high - low }'
}
[ "$(apart)" -gt 20 ] || fail "the new disk should be much emptier: $("$BIN/gfsctl" status)"
even() { [ "$(apart)" -le 6 ]; }
wait_for "evenly filled disks" 120 even
wait_for "three replicas of everything" 30 fully_replicated
remount
(cd "$MNT/d" && sha256sum ./*) | cmp -s - "$WORK/sums" || fail "files changed"
grep -q "filled unevenly" "$RUN/master.log" || fail "the log does not tell of it"
cluster_down
test_cleanup
