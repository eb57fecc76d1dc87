#!/bin/sh
# crash.sh - CUTS power cuts (100) under load, half of them with the master on ext4 and half with it on xfs; every second
# chunkserver has the other one. SEED chooses what is cut and when; without one it is the time.
GFS_MASTER_CONF='trash_seconds = 0
heartbeat_ms = 200
lease_ms = 1000
session_ms = 30000
request_timeout_ms = 1000
away_grace_ms = 30000
chunk_bytes = 262144
segment_bytes = 1048576
checkpoint_records = 2000
preallocate_bytes = 16777216'
. "$(dirname "$0")/../e2e/lib.sh"
. "$TOP/tests/crash/rounds.sh"
missing=$(what_is_missing)
if [ -n "$missing" ]; then
    say "skipped: power cuts need" $missing
    exit 0
fi
CUTS=${CUTS:-100}
SEED=${SEED:-$(date +%s)}
load=
test_cleanup() {
    [ -z "$load" ] || kill -9 $load 2>/dev/null || true
    disks_gone
}
round=0
began=$(date +%s)
for kinds in "ext4 xfs ext4 xfs" "xfs ext4 xfs ext4"; do
    say "SEED=$SEED; master, chunkd-1, 2, 3 on $kinds"
    # shellcheck disable=SC2086
    disks_make $kinds
    cluster_boot
    half=$((round == 0 ? (CUTS + 1) / 2 : CUTS))
    while [ $round -lt $half ]; do
        round=$((round + 1))
        one_round
        say "$round: $cutting ($how): $(cat "$STATE/checked")"
    done
    cluster_down
    disks_gone
    rm -rf "$RUN" "$STATE"
    mkdir -p "$RUN"
done
say "$CUTS cuts in $(($(date +%s) - began)) s: every fsynced byte and every acknowledged name is there, all replicas are equal"
