#!/bin/sh
# lost.sh - every server that holds a chunk is away. For a short time: readers wait. For longer: reads of that chunk give
# EIO, the rest of the file reads, nothing is ever shown in its place, and gfsctl names it. When one of them returns the
# chunk is served again and copied.
N=5
GFS_MASTER_CONF="trash_seconds = 0
heartbeat_ms = 200
lease_ms = 1000
session_ms = 5000
request_timeout_ms = 1000
away_grace_ms = 6000
rereplication_share = 100
chunk_bytes = 4194304"
. "$(dirname "$0")/lib.sh"
CHUNK=4194304
cluster_up

start_server() { setsid "$BIN/chunkd" "$RUN/chunkd-$1.conf" </dev/null >>"$RUN/chunkd-$1.log" 2>&1 & echo $! >"$RUN/chunkd-$1.pid"; }
mount_again() { # lib's would start every server
    p=$(pid_of fuse)
    umount "$MNT"
    wait_for "gfs-fuse to end" 15 ended "$p"
    "$BIN/gfs-fuse" "127.0.0.1:$PORT:/" "$MNT" -o "host=h1,rack=r1,pidfile=$RUN/fuse.pid,log=$RUN/fuse.log" || fail "mounting"
}
# A line for each chunk of the file: number, lost or not, good copies, the places of its servers.
layout() {
    # The line end: `read` drops a last line without one.
    { "$BIN/gfsctl" --json why --all /file | tr -d ' \n'; echo; } | sed 's/{"inode"/\n&/g' |
        sed -n -E 's/.*"number":([0-9]+),.*"good":([0-9]+),.*"lost":(true|false).*"replicas":\[([^]]*)\].*/\1 \3 \2 \4/p' |
        sed -E 's/\{"id":[0-9]+,"addr":"127\.0\.0\.1:([0-9]+)"[^}]*\},?/ \1/g' |
        while read -r number lost good ports; do
            # shellcheck disable=SC2086 # a list
            echo "$number $lost $good $(for p in $ports; do echo $((p - PORT)); done | sort -n | tr '\n' ' ')"
        done
}
servers_of() { layout | sed -n "s/^$1 [a-z]* [0-9]* //p"; }
good_of() { layout | sed -n "s/^$1 [a-z]* \([0-9]*\) .*/\1/p"; }
# Sets k: a chunk in the middle none of whose neighbours stands on the same three servers.
choose_chunk() {
    for k in 1 2 3 4; do
        [ "$(layout | sed -E 's/^[0-9]+ [a-z]+ [0-9]+ //' | grep -cx "$(servers_of $k)")" = 1 ] && return 0
    done
    return 1
}
piece() { dd if="$1" bs=$CHUNK skip="$2" count="$3" status=none; }
same_piece() { piece "$MNT/file" "$1" "$2" >"$WORK/got" && piece "$WORK/data" "$1" "$2" | cmp -s - "$WORK/got"; }
fails_with_eio() {
    ! dd if="$MNT/file" bs=$CHUNK skip="$k" count=1 2>"$WORK/err" >"$WORK/out" || return 1
    grep -q "Input/output error" "$WORK/err" || return 1
    # What came before the error, if anything, is none of that chunk's.
    [ ! -s "$WORK/out" ]
}
is_lost() { [ "$(status_field lost)" = 1 ]; }

dd if=/dev/urandom of="$WORK/data" bs=1M count=24 status=none
found=
for try in 1 2 3 4 5 6 7 8; do
    rm -f "$MNT/file"
    dd if="$WORK/data" of="$MNT/file" bs=1M conv=fsync status=none || fail "writing"
    choose_chunk && found=$try && break
done
[ -n "$found" ] || fail "every chunk stands where another does: $(layout)"
same "chunks that layout shows" "$(layout | wc -l)" 6
wait_for "three copies" 30 fully_replicated
holders=$(servers_of "$k")
same "servers of chunk $k" "$(echo "$holders" | wc -w)" 3
names=
for s in $holders; do names="$names chunkd-$s"; done

say "the three servers of chunk $k restart: a read waits for them"
mount_again
# shellcheck disable=SC2086 # a list
kill_hard $names
same_piece "$k" 1 &
reader=$!
sleep 1.5
for s in $holders; do start_server "$s"; done
wait $reader || fail "a read of chunk $k did not wait for servers that were away for two seconds"
wait_for "three copies again" 30 fully_replicated

say "they die: reads of chunk $k fail, the rest reads"
mount_again
# shellcheck disable=SC2086 # a list
kill_hard $names
start=$(date +%s)
expect "EIO for chunk $k" fails_with_eio
seconds=$(($(date +%s) - start))
say "EIO after $seconds s"
[ $seconds -ge 4 ] || fail "an absence that could be short was not waited for"
[ $seconds -le 30 ] || fail "EIO took $seconds s"
start=$(date +%s)
expect "EIO again" fails_with_eio
[ $(($(date +%s) - start)) -le 3 ] || fail "the second EIO took as long as the first"
rest_reads() { same_piece 0 "$k" && same_piece $((k + 1)) $((5 - k)); }
expect "the rest of the file reads" rest_reads
cp "$MNT/file" "$WORK/copy" 2>/dev/null && fail "a copy of the whole file saw no error"

say "gfsctl names it"
wait_for "one lost chunk in the status" 15 is_lost
"$BIN/gfsctl" fsck >"$WORK/fsck" || true
grep -q "1 of them lost" "$WORK/fsck" || fail "fsck: $(cat "$WORK/fsck")"
"$BIN/gfsctl" why /file >"$WORK/why" || fail "gfsctl why"
named() {
    sed -n "/chunk $k (.*LOST/,/^inode/p" "$WORK/why" >"$WORK/why.k"
    for s in $holders; do
        grep -q "127\.0\.0\.1:$((PORT + s)) .*away, last heard of .* ago" "$WORK/why.k" || return 1
    done
}
named || fail "gfsctl why: $(cat "$WORK/why")"
sed -n 1,4p "$WORK/why.k" | sed 's/^/  /'

say "writes around it, a truncation, a new mount and a new master put nothing in its place"
for at in $((k * CHUNK - 65536)) $((k * CHUNK + CHUNK)); do
    dd if=/dev/urandom of="$WORK/data" bs=64k seek=$((at / 65536)) count=1 conv=notrunc status=none
    dd if="$WORK/data" of="$MNT/file" bs=64k skip=$((at / 65536)) seek=$((at / 65536)) count=1 conv=notrunc,fsync status=none ||
        fail "writing at $at"
done
truncate -s 32M "$MNT/file" "$WORK/data"
expect "EIO after writes and truncate" fails_with_eio
mount_again
expect "EIO after a new mount" fails_with_eio
kill_hard master
setsid "$BIN/gfs-master" "$RUN/master.conf" </dev/null >>"$RUN/master.log" 2>&1 &
echo $! >"$RUN/master.pid"
sleep 1.5 # what the mount was told before it does not count
expect "EIO after a new master" fails_with_eio
rest_reads() { same_piece 0 "$k" && same_piece $((k + 1)) $((7 - k)); }
expect "the rest of the file reads, zeros at its end" rest_reads
"$BIN/gfsctl" why /file >"$WORK/why" || fail "gfsctl why"
named || fail "what gfsctl why says after a restart of the master: $(cat "$WORK/why")"

say "one of the three returns: the chunk is served and copied"
first=${holders%% *}
start_server "$first"
wait_for "the chunk to be served" 30 same_piece "$k" 1
expect "the whole file" cmp "$WORK/data" "$MNT/file"
three_good() { [ "$(good_of "$k")" = 3 ]; }
wait_for "three copies of it" 60 three_good
same "lost chunks" "$("$BIN/gfsctl" fsck | sed -E 's/.* ([0-9]+) of them lost.*/\1/;q')" 0
cluster_up
wait_for "three copies of everything" 60 fully_replicated
mount_again
expect "the whole file at the end" cmp "$WORK/data" "$MNT/file"
