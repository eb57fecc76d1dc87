#!/bin/sh
# rereplicate.sh - five chunkservers on three racks, two of them killed for good: everything is back to three copies by
# itself, chunks with one copy left first; and a server that returns in time costs no copy.
N=5
RACKS=3
export RACKS
GFS_MASTER_CONF="trash_seconds = 0
heartbeat_ms = 200
lease_ms = 1000
session_ms = 5000
request_timeout_ms = 2000
away_grace_ms = 8000
rereplication_share = 100
chunk_bytes = 4194304"
. "$(dirname "$0")/lib.sh"
cluster_up
copies() { # copies NUMBER: chunks with so many good copies
    status_field "copies_$1"
}
progress() { "$BIN/gfsctl" rereplication --json | tr -d ' \n' | sed -E "s/.*\"$1\":([0-9]+).*/\1/"; }
all_whole() { [ "$(copies 3)" = "$chunks" ]; }

mkdir "$MNT/d" "$WORK/src"
i=0
while [ $i -lt 12 ]; do
    dd if=/dev/urandom of="$WORK/src/$i" bs=1M count=10 status=none
    dd if="$WORK/src/$i" of="$MNT/d/$i" bs=1M conv=fsync status=none || fail "writing"
    i=$((i + 1))
done
chunks=$(status_field chunks)
wait_for "three copies of $chunks chunks" 60 all_whole
same "copies made before anything died" "$(progress begun)" 0

say "chunkd-4 dies and comes back before its time is over: nothing is copied"
kill_hard chunkd-4
wait_for "its absence to be seen" 20 sh -c "! [ \$('$BIN/gfsctl' status --json | tr -d ' \n' | sed -E 's/.*\"under_replicated\":([0-9]+).*/\1/') = 0 ]"
# At once: on a machine that is busy all of make up takes longer than it may be away.
setsid "$BIN/chunkd" "$RUN/chunkd-4.conf" </dev/null >>"$RUN/chunkd-4.log" 2>&1 &
echo $! >"$RUN/chunkd-4.pid"
wait_for "three copies again" 30 all_whole
same "copies" "$(progress begun)" 0

say "chunkd-4 and chunkd-5 die for good: chunks by good copies, over time"
kill_hard chunkd-4 chunkd-5
printf '  %6s %6s %6s %6s %6s\n' second 0 1 2 3
start=$(date +%s)
last=
wait_for "their absence to be seen" 20 sh -c "! [ \$('$BIN/gfsctl' status --json | tr -d ' \n' | sed -E 's/.*\"copies_3\":([0-9]+).*/\1/') = $chunks ]"
until all_whole; do
    now=$(($(date +%s) - start))
    line=$(printf '%6s %6s %6s %6s' "$(copies 0)" "$(copies 1)" "$(copies 2)" "$(copies 3)")
    [ "$line" = "$last" ] || printf '  %6s %s\n' "$now" "$line"
    last=$line
    [ "$now" -lt 120 ] || fail "not back to three copies after 120 s: $("$BIN/gfsctl" rereplication)"
    sleep 0.2
done
printf '  %6s %6s %6s %6s %6s\n' "$(($(date +%s) - start))" "$(copies 0)" "$(copies 1)" "$(copies 2)" "$(copies 3)"

wait_for "the end of the copying in the log" 20 grep -q "re-replication ends" "$RUN/master.log"
grep -h "re-replication" "$RUN/master.log" | sed 's/^/  /'
lines=$(grep -c 're-replication' "$RUN/master.log") # not one for each chunk
[ "$lines" -le 6 ] || fail "$lines lines about it in the log"
singles=$(progress last_copies_begun)
at=$(progress last_copy_begun_at)
say "$(progress begun) copies begun; the $singles for chunks with one copy left were among the first $at"
[ "$singles" -gt 0 ] || fail "no chunk had one copy left"
# Places next to them that they cannot use are given to others.
[ "$at" -le $((singles + 8)) ] || fail "chunks with one copy left had to wait for others"
remount() { # without the dead
    p=$(pid_of fuse)
    umount "$MNT"
    wait_for "gfs-fuse to end" 15 sh -c "! kill -0 $p 2>/dev/null"
    N=3 cluster_up
}
remount
expect "everything reads" diff -r "$WORK/src" "$MNT/d"
"$BIN/gfsctl" rereplication >/dev/null || fail "gfsctl rereplication"
