#!/bin/sh
# kill_master.sh - SIGKILL of the master in the middle of an untar, then make up: the untar goes on without a
# remount, and what was acknowledged is there.
. "$(dirname "$0")/lib.sh"
cluster_up
# The kills fall into the first seconds; a file costs about five syncs of the log, one after the other.
find /usr/include -type f | head -n 1000 >"$WORK/list"
tar cf "$WORK/files.tar" -T "$WORK/list" 2>/dev/null
mkdir "$WORK/local" && tar xf "$WORK/files.tar" -C "$WORK/local"

mkdir "$MNT/untar"
tar xf "$WORK/files.tar" -C "$MNT/untar" &
untar=$!
# Every directory this loop lists was acknowledged by the mount before it was noted.
(
    i=0
    while kill -0 $untar 2>/dev/null; do
        mkdir "$MNT/ack.$i" && echo "ack.$i" >>"$WORK/acked"
        i=$((i + 1))
    done
) &
acks=$!
for round in 1 2 3; do
    sleep 0.7
    kill -0 $untar 2>/dev/null || { say "untar ended before round $round"; break; }
    kill_hard master
    sleep 0.3
    cluster_up
done
wait $untar || fail "untar saw an error"
wait $acks || fail "mkdir saw an error"
expect "the untar is complete" diff -r "$WORK/local" "$MNT/untar"
[ "$(wc -l <"$WORK/acked")" -ge 10 ] || fail "too few directories were made"
while read -r d; do
    expect "acknowledged $d is there" test -d "$MNT/$d"
done <"$WORK/acked"

say "SIGKILL of master and all chunkservers at once"
kill_hard master chunkd-1 chunkd-2 chunkd-3
cluster_up
expect "everything is there after all daemons died" diff -r "$WORK/local" "$MNT/untar"

say "what the operator sees of log and checkpoints"
expect "a checkpoint is made" "$BIN/gfsctl" checkpoint now
expect "it is listed" sh -c "'$BIN/gfsctl' checkpoint list '$RUN/master' | grep -q 'checkpoint at index'"
expect "its sums fit" "$BIN/gfsctl" checkpoint verify "$RUN/master"
expect "a directory that is no master's is none" sh -c "! '$BIN/gfsctl' checkpoint verify '$RUN/chunkd-1' 2>/dev/null"
expect "the log is whole" "$BIN/gfsctl" oplog verify "$RUN/master"
expect "a record is printed" sh -c "'$BIN/gfsctl' oplog dump '$RUN/master' 1 | grep -q '^1 epoch 1 .* epoch_start'"
cp -r "$RUN/master" "$WORK/copy"
segment=$(ls "$WORK"/copy/log/log-* | head -n 1)
checkpoint=$(ls "$WORK"/copy/checkpoints/*.mdb | head -n 1)
at=$(grep -aob mkdir "$segment" | head -n 1 | cut -d: -f1)
printf '\377' | dd of="$segment" bs=1 seek="${at:-600000}" conv=notrunc status=none
printf '\377' | dd of="$checkpoint" bs=1 seek=9000 conv=notrunc status=none
expect "a flipped byte of a log is found" sh -c "! '$BIN/gfsctl' oplog verify '$WORK/copy' >'$WORK/out'"
expect "and named" grep -q "is no record\|are not here" "$WORK/out"
expect "a flipped byte of a checkpoint is found" sh -c "! '$BIN/gfsctl' checkpoint verify '$WORK/copy' >/dev/null"
sums=$(ls "$WORK"/copy/checkpoints/*.sum | tail -n 1)
printf '\377' | dd of="$sums" bs=1 seek=20 conv=notrunc status=none
expect "a damaged file of sums is named" sh -c "'$BIN/gfsctl' checkpoint verify '$WORK/copy' 2>&1 | grep -q '$(basename "$sums"): damaged'"
rm -rf "$WORK/copy" && cp -r "$RUN/master" "$WORK/copy"
rm "$(ls "$WORK"/copy/log/log-* | tail -n 1)"
expect "a log without its end is found" sh -c "! '$BIN/gfsctl' oplog verify '$WORK/copy' >'$WORK/out'"
